//! Families over two parameters: followed from a place where they are easily found, read at single values, the ranges in
//! which they are minima, and the curves that bound these ranges.

use super::branch::{self, Crossing, Edge, Kind, Mode, Trace};
use super::reduced::{BlockPoint, Parameter, Shape, flipped_guess, solve};
use super::stability::Verdict;
use crate::error::{Error, Result};
use crate::model::Blocks;
use crate::numerics::follow::Options;
use crate::numerics::singular::{self, Singular};
use crate::population::Sector;

/// Largest correlation to which a family is followed. At rho = 1 all teachers are equal.
pub const MOST_CORRELATED: f64 = 0.999;
/// A family is followed in rho down to this share of -1 / (M - 1), where T is singular and T^(1/2) has a root singularity.
const TO_EDGE: f64 = 0.999;
/// A family is followed in M down to k1 + 2 and this: at two aligned units sectors lose their dimensions.
const ABOVE_TWO: f64 = 1e-6;
/// An eigenvalue at a point of a boundary counts as negative below this.
const NEGATIVE: f64 = -1e-9;

/// Where Newton's method finds the family with k1 flipped units from its guess: a number of teachers.
pub fn easy_teachers(k1: f64) -> f64 {
    (3.0 * k1 + 10.0).max(17.0)
}

/// The family with k1 flipped units, and a group of `extra` equal further units (none for 0; real), at M teachers.
///
/// # Errors
/// [`Error::NotConverged`]: M should be at least [`easy_teachers`].
pub fn easy(k1: f64, teachers: f64, extra: f64) -> Result<(Shape, Blocks)> {
    let mut shape = Shape::flipped(k1, teachers, 0);
    if extra == 0.0 {
        let state = solve(&shape, &flipped_guess(&shape))?;
        return Ok((shape, state));
    }
    shape.free = vec![extra];
    let mut guess = vec![-0.6];
    if k1 > 1.0 {
        guess.push(0.6 / k1);
    }
    // The further units point along the sum of the flipped teachers, and share one length.
    let share = 1.0 / extra;
    guess.extend([0.02, 0.06, 1.0, -0.002, share * 0.9 / k1.sqrt(), -0.05 * share]);
    let state = solve(&shape, &guess)?;
    Ok((shape, state))
}

/// A family followed in its parameter from one state, both ways.
#[derive(Clone, Debug)]
pub struct Line {
    pub start: BlockPoint,
    pub down: Option<Trace>,
    pub up: Option<Trace>,
}

/// What a family is at one value of its parameter.
#[derive(Clone, Debug)]
pub enum Found {
    Point(Box<BlockPoint>),
    /// Why the branch is not there.
    Nothing(String),
}

/// An end of a range of minima.
#[derive(Clone, Debug)]
pub enum Bound {
    Event(Box<Crossing>),
    /// Nothing happens as far as the family was followed, to p.
    Open {
        p: f64,
        why: String,
    },
}

impl Bound {
    /// Value of the parameter.
    pub fn p(&self) -> f64 {
        match self {
            Bound::Event(event) => event.p,
            Bound::Open { p, .. } => *p,
        }
    }
}

impl Line {
    /// Follows a family from a state of its own over a range that holds it.
    ///
    /// # Errors
    /// Those of [`branch::trace`].
    pub fn follow(shape: &Shape, state: &Blocks, range: (f64, f64)) -> Result<Line> {
        let value = shape.value();
        let options = match shape.parameter {
            Parameter::Correlation => Options { step: 0.005, largest: 0.05, ..branch::options(range) },
            _ => branch::options(range),
        };
        let way = |direction: f64, is_open: bool| {
            is_open.then(|| branch::trace(shape, state, direction, &options)).transpose()
        };
        Ok(Line {
            start: BlockPoint::new(shape, state.clone())?,
            down: way(-1.0, value > range.0)?,
            up: way(1.0, value < range.1)?,
        })
    }

    /// The family with k1 flipped and `extra` further units, followed in real M from an easy place down to k1 + 2 and up to
    /// `most`. At k1 + 2 aligned and flipped units may be alike (type A): the family's name has no meaning there.
    ///
    /// # Errors
    /// Those of [`easy`] and [`Line::follow`].
    pub fn in_teachers(k1: f64, extra: f64, most: f64) -> Result<Line> {
        let from = easy_teachers(k1);
        let (shape, state) = easy(k1, from, extra)?;
        Line::follow(&shape, &state, (k1 + 2.0 + ABOVE_TWO, most.max(from)))
    }

    /// The family followed in the correlation of the teachers from its point at rho = 0.
    ///
    /// # Errors
    /// Those of [`Line::follow`].
    pub fn in_correlation(point: &BlockPoint) -> Result<Line> {
        let shape = point.shape.along(Parameter::Correlation);
        let edge = singular_correlation(point.state.partition().teacher_count());
        Line::follow(&shape, &point.state, (TO_EDGE * edge, MOST_CORRELATED))
    }

    /// The family at a value of its parameter, on the piece of the branch before it first turns back.
    ///
    /// # Errors
    /// Those of [`branch::point_at`].
    pub fn at(&self, p: f64) -> Result<Found> {
        let value = self.start.shape.value();
        let trace = match p.total_cmp(&value) {
            std::cmp::Ordering::Equal => return Ok(Found::Point(Box::new(self.start.clone()))),
            std::cmp::Ordering::Less => &self.down,
            std::cmp::Ordering::Greater => &self.up,
        };
        let Some(trace) = trace else { return Ok(Found::Nothing("not followed so far".into())) };
        let points = &trace.branch.points;
        let last = before_fold(trace);
        let is_end = |i: usize| i == last && (points[i].p - p).abs() <= 2.0 * ABOVE_TWO;
        let passed = |i: usize| (points[i].p - p) * (points[i - 1].p - p) <= 0.0;
        let Some(i) = (1..=last).find(|&i| passed(i) || is_end(i)) else {
            let why = match fold(trace) {
                Some(event) if last + 1 < points.len() => format!("the branch turns back at {:.6}", event.p),
                _ => format!("the branch {}", trace.branch.end),
            };
            return Ok(Found::Nothing(why));
        };
        let nearest = if (points[i].p - p).abs() < (points[i - 1].p - p).abs() { i } else { i - 1 };
        Ok(Found::Point(Box::new(branch::point_at(trace, nearest, p)?)))
    }

    /// The ranges of the parameter in which the family is a minimum (all eigenvalues inside the span positive), ascending.
    pub fn minima(&self) -> Vec<[Bound; 2]> {
        let mut ends = Vec::new();
        let mut is_stable = self.start.smallest().0 > 0.0;
        let mut lowest = Bound::Open { p: self.start.shape.value(), why: "start".into() };
        if let Some(trace) = &self.down {
            ends.extend(changes(trace).into_iter().rev());
            let last = before_fold(trace);
            is_stable = trace.is_stable(&trace.branch.points[last].tests);
            lowest = open_end(trace);
        }
        let mut highest = Bound::Open { p: self.start.shape.value(), why: "start".into() };
        if let Some(trace) = &self.up {
            ends.extend(changes(trace));
            highest = open_end(trace);
        }
        let mut ranges = Vec::new();
        let mut from = is_stable.then_some(lowest);
        for event in ends {
            match from.take() {
                Some(low) => ranges.push([low, event]),
                None => from = Some(event),
            }
        }
        ranges.extend(from.map(|low| [low, highest]));
        ranges
    }
}

/// -1 / (M - 1): the correlation at which M teachers of norm 1 add up to zero.
pub fn singular_correlation(teachers: f64) -> f64 {
    -1.0 / (teachers - 1.0)
}

/// The family at the correlation at which T is singular, solved from the last point that was followed toward it; whether
/// it is a minimum there.
///
/// # Errors
/// Those of [`solve`].
pub fn at_singular_correlation(line: &Line) -> Result<Option<BlockPoint>> {
    let Some(trace) = &line.down else { return Ok(None) };
    let m = line.start.state.partition().teacher_count();
    let last = &trace.branch.points[before_fold(trace)];
    let entries = trace.shape.at(last.p).entries(&last.x)?;
    let shape = trace.shape.at(singular_correlation(m));
    Ok(Some(BlockPoint::new(&shape, solve(&shape, &entries)?)?))
}

/// Index of the last point before the branch turns back in its parameter.
fn before_fold(trace: &Trace) -> usize {
    let points = &trace.branch.points;
    let direction = points.get(1).map_or(1.0, |second| second.p - points[0].p);
    (1..points.len()).take_while(|&i| (points[i].p - points[i - 1].p) * direction > 0.0).last().unwrap_or(0)
}

fn fold(trace: &Trace) -> Option<&Crossing> {
    trace.crossings.iter().find(|event| event.kind == Kind::Fold)
}

fn open_end(trace: &Trace) -> Bound {
    let last = before_fold(trace);
    match fold(trace) {
        Some(event) if last + 1 < trace.branch.points.len() => Bound::Event(Box::new(event.clone())),
        _ => Bound::Open { p: trace.branch.points[last].p, why: trace.branch.end.to_string() },
    }
}

/// The events at which the smallest eigenvalue changes its sign, in the order of travel, up to the first fold. Of several
/// in one step the one that ends or begins the range of minima.
fn changes(trace: &Trace) -> Vec<Bound> {
    let points = &trace.branch.points;
    let mut out = Vec::new();
    for i in 1..=before_fold(trace) {
        let [before, after] = [i - 1, i].map(|i| trace.is_stable(&points[i].tests));
        if before == after {
            continue;
        }
        let way = |event: &&Crossing| (event.p - points[i - 1].p).abs();
        let events = trace.crossings.iter().filter(|event| event.before == i - 1 && !event.mode.across);
        let found = if before {
            events.min_by(|a, b| way(a).total_cmp(&way(b)))
        } else {
            events.max_by(|a, b| way(a).total_cmp(&way(b)))
        };
        out.push(match found {
            Some(event) => Bound::Event(Box::new(event.clone())),
            None => Bound::Open { p: points[i].p, why: "an eigenvalue changes its sign without an event".into() },
        });
    }
    out
}

/// A point of a boundary curve at one value of the second parameter.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The family's parameter and the second one.
    pub p: [f64; 2],
    /// Error of the first.
    pub error: f64,
    /// No eigenvalue inside the span is negative: minima end here.
    pub bounds: bool,
    /// Unknowns of the reduced equations.
    pub x: Vec<f64>,
}

/// The curve on which an event happens, where a second parameter has the values asked for; and those of the values that it
/// passes where the point was not found.
///
/// # Errors
/// Those of [`branch::boundary`] and [`branch::locate`].
pub fn curve(
    shape: &Shape,
    event: &Crossing,
    second: Parameter,
    range: (f64, f64),
    values: &[f64],
) -> Result<(Vec<Sample>, Vec<f64>)> {
    let options = Options { step: 0.01, largest: 0.1, ..branch::options(range) };
    let curve = branch::boundary(shape, event, second, range, &options)?;
    let edge = Edge { shape: shape.clone(), second: Some(second), mode: event.mode };
    let (mut samples, mut missed) = (Vec::new(), Vec::new());
    for pair in curve.points.windows(2) {
        let (from, to) = (pair[0].p[1], pair[1].p[1]);
        let (low, high) = (from.min(to), from.max(to));
        // Each value belongs to one step: the upper end is that of the next, or the end of the range.
        let inside = |v: f64| low <= v && (v < high || (v == high && v == range.1));
        let mut met: Vec<f64> = values.iter().copied().filter(|&v| inside(v)).collect();
        if to < from {
            met.reverse();
        }
        for v in met {
            let share = if to == from { 0.0 } else { (v - from) / (to - from) };
            let between = |a: f64, b: f64| a + share * (b - a);
            let x: Vec<f64> = pair[0].x.iter().zip(&pair[1].x).map(|(&a, &b)| between(a, b)).collect();
            let p = between(pair[0].p[0], pair[1].p[0]);
            let closer = &pair[usize::from(share > 0.5)];
            let near = |found: &Singular| (found.p[0] - p).abs() <= 2.0 * (pair[1].p[0] - pair[0].p[0]).abs() + 1e-6;
            let found = singular::locate(&edge, &x, [p, v], Some(&closer.phi)).ok().filter(near);
            let Some(found) = found else {
                missed.push(v);
                continue;
            };
            let bounds = !has_negative(&both(shape, second, found.p), &found.x, found.p[0])?;
            samples.push(Sample { p: found.p, error: found.error, bounds, x: found.x });
        }
    }
    Ok((samples, missed))
}

/// The shape at a value of a second parameter and of its own.
pub fn both(shape: &Shape, second: Parameter, p: [f64; 2]) -> Shape {
    shape.along(second).at(p[1]).along(shape.parameter).at(p[0])
}

/// Whether an eigenvalue inside the span is negative. Sectors of sets of real size between 1 and 2 have no sign and are
/// left out.
fn has_negative(shape: &Shape, x: &[f64], p: f64) -> Result<bool> {
    let partition = shape.partition()?;
    let hessian = shape.hessian(x, p)?;
    for sector in Sector::all(&partition) {
        let is_between = |set: usize| (1.0..2.0).contains(&partition.sizes()[set]);
        let is_left_out = match sector {
            Sector::Trivial => false,
            Sector::Standard(t) | Sector::Symmetric(t) | Sector::Exterior(t) => is_between(t),
            Sector::Product(t, u) => is_between(t) || is_between(u),
        };
        if !is_left_out
            && sector.multiplicity(&partition) > 0.0
            && hessian.sector(sector)?.values.iter().any(|&value| value < NEGATIVE)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The value of the second parameter between `from` and `to` at which two boundary curves meet: the eigenvalue of `other`
/// vanishes on the curve of `mode`, of which `x` and `p` are a point at `from`. By bisection to `width`.
///
/// # Errors
/// Those of [`branch::locate`]; [`Error::Spec`] when the eigenvalue has one sign at both ends.
pub fn corner(
    shape: &Shape,
    (mode, other): (Mode, Mode),
    second: Parameter,
    start: (&[f64], f64),
    (mut from, mut to): (f64, f64),
    width: f64,
) -> Result<[f64; 2]> {
    let smallest = |x: &[f64], p: [f64; 2]| -> Result<f64> {
        let values = both(shape, second, p).hessian(x, p[0])?.sector(other.sector)?.values;
        Ok(values.first().copied().unwrap_or(f64::NAN))
    };
    let mut at = branch::locate(shape, mode, second, start.0, [start.1, from])?;
    let sign = smallest(&at.x, at.p)?.signum();
    let far = branch::locate(shape, mode, second, &at.x, [at.p[0], to])?;
    if smallest(&far.x, far.p)?.signum() == sign {
        let problem = format!("{} and {} do not meet between {from} and {to}", mode.name(), other.name());
        return Err(Error::Spec { action: "find a corner of a boundary", problem });
    }
    while (to - from).abs() > width {
        let middle = 0.5 * (from + to);
        let next = branch::locate(shape, mode, second, &at.x, [at.p[0], middle])?;
        if smallest(&next.x, next.p)?.signum() == sign {
            (from, at) = (middle, next);
        } else {
            to = middle;
        }
    }
    Ok(at.p)
}

/// Whether a point is a minimum: of lowest loss or not.
pub fn is_minimum(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::LocalMinimum | Verdict::GlobalMinimum)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: fn(usize) -> Mode = |set| Mode { sector: Sector::Standard(set), across: false };

    /// Minima of the flipped families at integer M, and the branch that is there below its threshold as a saddle.
    #[test]
    fn lines_are_read_at_integers() {
        for (k1, m, verdict) in
            [(4.0, 12.0, Verdict::LocalMinimum), (5.0, 12.0, Verdict::Saddle), (1.0, 5.0, Verdict::Saddle)]
        {
            let line = Line::in_teachers(k1, 0.0, 30.0).unwrap();
            let Found::Point(point) = line.at(m).unwrap() else { panic!("{k1} {m}") };
            assert_eq!(point.verdict, verdict, "{k1} {m}");
            let ranges = line.minima();
            assert!(ranges.len() == 1 && matches!(ranges[0][1], Bound::Open { .. }), "{ranges:?}");
        }
        let line = Line::in_teachers(2.0, 0.0, 20.0).unwrap();
        let Found::Point(least) = line.at(4.0).unwrap() else { panic!() };
        assert!(least.residual < 1e-15 && least.verdict == Verdict::Saddle, "{:?}", least.verdict);
        assert!(matches!(line.at(21.0).unwrap(), Found::Nothing(why) if why.contains("20")));
    }

    /// At M = k1 + 2 the branch of k1 = 4, 5 is at the type-A point, at which all units are alike: a minimum for M = 6, 7, and
    /// the dense Hessian says so too.
    #[test]
    fn branches_end_at_the_point_where_all_units_are_alike() {
        for (k1, value) in [(4.0, 0.0015036524), (5.0, 0.0068473522)] {
            let line = Line::in_teachers(k1, 0.0, 20.0).unwrap();
            let Found::Point(point) = line.at(k1 + 2.0).unwrap() else { panic!() };
            let entries = point.state.entries();
            let own = entries[0];
            assert!(entries.iter().all(|x| (x - own).abs() < 1e-12 || (x - entries[1]).abs() < 1e-12), "{entries:?}");
            let (weights, teacher) = point.state.expand().unwrap();
            let span = crate::population::hessian(&weights, &teacher, 0).unwrap().span;
            let dense = crate::numerics::linalg::eigvalsh(span.view()).unwrap()[0];
            assert!((dense - value).abs() < 1e-9 && (point.smallest().0 - dense).abs() < 1e-12, "{k1}: {dense}");
        }
    }

    /// M*(k1) at real k1 passes through the events of the families with integer k1.
    #[test]
    fn the_threshold_is_a_curve_in_real_sizes() {
        let line = Line::in_teachers(2.0, 0.0, 17.0).unwrap();
        let Bound::Event(event) = line.minima()[0][0].clone() else { panic!() };
        let shape = &line.down.as_ref().unwrap().shape;
        let (samples, missed) = curve(shape, &event, Parameter::Size(0), (1.05, 4.0), &[1.1, 2.5, 3.0, 4.0]).unwrap();
        assert!(missed.is_empty());
        let at = |k1: f64| samples.iter().find(|s| s.p[1] == k1).map(|s| (s.p[0], s.bounds));
        assert!((at(3.0).unwrap().0 - 9.32317221769).abs() < 1e-9, "{samples:?}");
        assert!((at(4.0).unwrap().0 - 10.9783902655).abs() < 1e-9);
        assert!(at(2.5).unwrap().1 && (5.6..6.1).contains(&at(1.1).unwrap().0), "{samples:?}");
    }

    /// A flipped pair is a minimum for correlations between two ends: where T is singular and where the pair breaks up.
    #[test]
    fn a_flipped_pair_breaks_up_under_correlation() {
        let line = Line::in_teachers(2.0, 0.0, 17.0).unwrap();
        let Found::Point(point) = line.at(10.0).unwrap() else { panic!() };
        let line = Line::in_correlation(&point).unwrap();
        let ranges = line.minima();
        let [Bound::Open { .. }, Bound::Event(event)] = &ranges[0] else { panic!("{ranges:?}") };
        assert!(ranges.len() == 1 && event.mode == STANDARD(0), "{ranges:?}");
        assert!((event.p - 0.12547937797).abs() < 1e-9 && event.direct.unwrap().1 < 1e-11);
        let edge = at_singular_correlation(&line).unwrap().unwrap();
        assert!(is_minimum(edge.verdict) && edge.residual < 1e-13, "{:?} {:e}", edge.verdict, edge.residual);
    }

    /// The ends in rho of neighbouring M lie on one curve, on which another sector takes over below M = 8.
    #[test]
    fn ends_lie_on_curves_that_meet_in_a_corner() {
        let line = Line::in_teachers(2.0, 0.0, 17.0).unwrap();
        let Found::Point(point) = line.at(8.0).unwrap() else { panic!() };
        let line = Line::in_correlation(&point).unwrap();
        let Bound::Event(event) = line.minima()[0][1].clone() else { panic!() };
        let shape = &line.start.shape;
        let (samples, missed) = curve(shape, &event, Parameter::Teachers, (7.0, 10.0), &[7.0, 8.0, 9.0, 10.0]).unwrap();
        assert!(missed.is_empty());
        let ends: Vec<(f64, bool)> = samples.iter().map(|s| (s.p[0], s.bounds)).collect();
        let expected = [(0.04508415713, false), (0.07881353397, true), (0.10479619367, true), (0.12547937797, true)];
        assert_eq!(ends.len(), 4, "{ends:?}");
        for ((rho, bounds), (known, is_end)) in ends.into_iter().zip(expected) {
            assert!((rho - known).abs() < 1e-9 && bounds == is_end, "{rho} {bounds} {known}");
        }
        let modes = (STANDARD(0), STANDARD(1));
        let start = (samples[1].x.as_slice(), samples[1].p[0]);
        let [rho, m] = corner(shape, modes, Parameter::Teachers, start, (8.0, 7.0), 1e-9).unwrap();
        assert!((7.5..8.0).contains(&m) && (0.04..0.08).contains(&rho), "{rho} {m}");
        assert!(corner(shape, modes, Parameter::Teachers, start, (8.0, 8.5), 1e-9).is_err());
    }

    /// n equal extra units are one function at any real n: the loss, the signs of what n = 1 has, and the event of the
    /// flipped units stay; the copies turn apart by n (H_ii - I / 2), H_ii the dense block of the single unit
    /// (theory 09, eq. 09-copies).
    #[test]
    fn the_number_of_equal_extra_units_only_scales() {
        let at = |n: f64| {
            let line = Line::in_teachers(4.0, n, 22.0).unwrap();
            let Found::Point(point) = line.at(17.0).unwrap() else { panic!("{n}") };
            (line, *point)
        };
        let (line, single) = at(1.0);
        let (weights, teacher) = single.state.expand().unwrap();
        let span = crate::population::hessian(&weights, &teacher, 0).unwrap().span;
        let own = span.slice(ndarray::s![17 * 17.., 17 * 17..]).to_owned() - 0.5 * ndarray::Array2::<f64>::eye(17);
        let split = crate::numerics::linalg::eigvalsh(own.view()).unwrap()[0];
        assert!(split < -0.1 && single.verdict == Verdict::LocalMinimum, "{split}");
        let negative = |point: &BlockPoint, sector: Sector| {
            let level = point.span.iter().find(|level| level.sector == sector).unwrap();
            level.values.iter().filter(|&&x| x < 0.0).count()
        };
        let event = |line: &Line| {
            let crossings = &line.down.as_ref().unwrap().crossings;
            crossings.iter().find(|event| event.mode == STANDARD(0)).unwrap().p
        };
        for n in [1.6, 2.0, 7.5] {
            let (other, point) = at(n);
            assert!((point.loss - single.loss).abs() < 1e-14 && point.verdict == Verdict::Saddle, "{n}");
            assert!((point.smallest().0 - n * split).abs() < 1e-10, "{n}: {:?} {split}", point.smallest());
            assert!((event(&other) - event(&line)).abs() < 1e-9, "{n}: {}", event(&other));
            for level in &single.span {
                assert_eq!(negative(&point, level.sector), negative(&single, level.sector), "{n} {:?}", level.sector);
            }
        }
    }
}
