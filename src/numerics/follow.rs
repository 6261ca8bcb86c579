//! Branches of solutions: pseudo-arclength continuation of F(x, p) = 0 in the parameter p (Keller 1977), with events on the
//! way and the switch to another branch.
//!
//! A point is z = (x, p), lengths are Euclidean in z: scale the unknowns when they differ by orders of magnitude. A step
//! goes along the unit tangent and back to the curve in the hyperplane orthogonal to it, so a fold is a point like any
//! other.

use std::fmt;

use ndarray::Array1;

use super::linalg;
use super::root::{Bordered, Corrected, Failure, Side, System, changes, unit};
pub use super::singular::switch;
use crate::error::{Error, Result};

/// Test functions at (x, p): always the same number of values; each change of sign along a branch is an event.
pub type Tests<'a> = dyn Fn(&[f64], f64) -> Result<Vec<f64>> + 'a;

/// How to follow a branch.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// First step in arclength.
    pub step: f64,
    /// The branch ends when a step would have to be smaller.
    pub smallest: f64,
    /// No step is larger: two events of the same kind closer than a step cancel each other and are not seen.
    pub largest: f64,
    /// Most steps.
    pub points: usize,
    /// Range of p, the last point lies on the bound.
    pub range: (f64, f64),
    /// Largest residual |F_i| of a point.
    pub tolerance: f64,
    /// Most Newton iterations of the corrector.
    pub iterations: usize,
    /// Smallest cosine of the angle between successive tangents; a step that turns more is repeated with half the length.
    pub cosine: f64,
    /// Largest distance the corrector may go, in units of the step.
    pub ratio: f64,
    /// Stop after so many events; 0 is never.
    pub events: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            step: 0.01,
            smallest: 1e-8,
            largest: 0.1,
            points: 1000,
            range: (f64::NEG_INFINITY, f64::INFINITY),
            tolerance: 1e-12,
            iterations: 8,
            cosine: 0.95,
            ratio: 0.25,
            events: 0,
        }
    }
}

/// A point of a branch.
#[derive(Clone, Debug)]
pub struct Point {
    pub x: Vec<f64>,
    pub p: f64,
    /// Unit tangent (dx/ds, dp/ds), n + 1 values, in the direction of travel. At a branch point found as an event it is
    /// interpolated between the neighbours.
    pub tangent: Vec<f64>,
    /// Largest |F_i|, recomputed at (x, p).
    pub residual: f64,
    /// Values of the test functions.
    pub tests: Vec<f64>,
}

impl Point {
    fn z(&self) -> Array1<f64> {
        self.x.iter().copied().chain([self.p]).collect()
    }

    fn side(&self, value: f64) -> Side {
        let corrected = Corrected { z: self.z(), residual: self.residual, iterations: 0, wide: None };
        Side { at: 0.0, corrected, value }
    }
}

/// What happens at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// dp/ds changes sign: the branch turns back in p. A symmetric side branch does so at its pitchfork, too.
    Fold,
    /// The test function with this index changes sign; zero counts as positive.
    Test(usize),
}

/// An event with its point.
#[derive(Clone, Debug)]
pub struct Located {
    pub kind: Event,
    /// At the end of the bracket where the function (dp/ds or the test) is smaller. A test that jumps through zero is still
    /// large there.
    pub point: Point,
    /// Arclength between the last two points with opposite signs.
    pub width: f64,
    /// Index of the branch's point before the event.
    pub before: usize,
    /// Index of the branch's point after the event.
    pub after: usize,
}

/// Where and why a branch ends.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The bound p of the range was reached.
    Range { p: f64 },
    /// All steps were made.
    Points { points: usize, p: f64 },
    /// All events asked for were found.
    Events { events: usize, p: f64 },
    /// The step would have to be smaller than allowed: the last point, the residual of the last attempt and its fault.
    Step { step: f64, p: f64, residual: f64, problem: &'static str },
    /// The monitor said stop.
    Stopped { p: f64 },
    /// Residual, Newton step (singular equations) or test functions are not finite at any allowed step from p.
    NonFinite { step: f64, p: f64 },
    /// The branch came back to its first point, which is repeated as the last.
    Closed { points: usize, p: f64 },
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            End::Range { p } => write!(f, "reached the bound p = {p}"),
            End::Points { points, p } => write!(f, "made {points} steps, to p = {p}"),
            End::Events { events, p } => write!(f, "found {events} events, at p = {p}"),
            End::Step { step, p, residual, problem } => {
                write!(f, "at p = {p}: {problem} with step {step:e} (residual {residual:e})")
            }
            End::Stopped { p } => write!(f, "stopped by the monitor at p = {p}"),
            End::NonFinite { step, p } => write!(f, "at p = {p}: not finite with step {step:e}"),
            End::Closed { points, p } => write!(f, "closed after {points} points, at p = {p}"),
        }
    }
}

/// A piece of a branch.
#[derive(Clone, Debug)]
pub struct Branch {
    pub points: Vec<Point>,
    /// In the order of travel.
    pub events: Vec<Located>,
    /// Where and why it ends.
    pub end: End,
    /// Where and why the other direction ended, for a branch followed both ways.
    pub begin: Option<End>,
}

/// Follows the branch through the solution near (x0, p0), first toward larger p (direction > 0) or smaller p (< 0).
///
/// # Errors
/// Those of [`start`] and of [`follow_from`].
pub fn follow(
    system: &dyn System,
    x0: &[f64],
    p0: f64,
    direction: f64,
    options: &Options,
    tests: &Tests,
) -> Result<Branch> {
    let first = start(system, x0, p0, direction, options)?;
    follow_from(system, &first, options, tests, &mut |_| true)
}

/// Follows the branch through the solution near (x0, p0) both ways; points and events in the order of the direction that
/// begins toward larger p. A limit on points or events is meant for each way.
///
/// # Errors
/// Those of [`start`] and of [`follow_from`].
pub fn follow_both(system: &dyn System, x0: &[f64], p0: f64, options: &Options, tests: &Tests) -> Result<Branch> {
    let first = start(system, x0, p0, 1.0, options)?;
    follow_both_from(system, &first, options, tests)
}

/// As [`follow_both`], from a point with its tangent.
///
/// # Errors
/// Those of [`follow_from`].
pub fn follow_both_from(system: &dyn System, first: &Point, options: &Options, tests: &Tests) -> Result<Branch> {
    let forward = follow_from(system, first, options, tests, &mut |_| true)?;
    if matches!(forward.end, End::Closed { .. }) {
        return Ok(forward);
    }
    let turn = |point: Point| Point { tangent: point.tangent.iter().map(|t| -t).collect(), ..point };
    let backward = follow_from(system, &turn(first.clone()), options, tests, &mut |_| true)?;
    let last = backward.points.len() - 1;
    let mut points: Vec<Point> = backward.points.into_iter().rev().map(turn).collect();
    points.extend(forward.points.into_iter().skip(1));
    let mirrored = backward.events.into_iter().rev().map(|event| Located {
        point: turn(event.point),
        before: last - event.after,
        after: last - event.before,
        ..event
    });
    let shifted = forward.events.into_iter().map(|event| Located {
        before: event.before + last,
        after: event.after + last,
        ..event
    });
    let events = mirrored.chain(shifted).collect();
    Ok(Branch { points, events, end: forward.end, begin: Some(backward.end) })
}

/// The first point of a branch: the solution near x0 at p0 and the unit tangent there, with dp/ds of the sign of
/// `direction`; at a fold, where dp/ds = 0, `direction` is the sign of the tangent's largest entry. `tests` stays empty.
///
/// # Errors
/// [`Error::NotConverged`] when Newton's method at fixed p0 does not reach the tolerance; [`Error::NonFinite`]; an argument
/// outside its range.
pub fn start(system: &dyn System, x0: &[f64], p0: f64, direction: f64, options: &Options) -> Result<Point> {
    let path = Path::new(system, options, x0.len())?;
    if direction == 0.0 || direction.is_nan() {
        return Err(real("the direction", direction, "a sign"));
    }
    let guess: Array1<f64> = x0.iter().copied().chain([p0]).collect();
    let fixed = path.equations.along_p();
    let mut corrected =
        path.equations.correct(guess, &fixed, p0, false).map_err(Failure::error(FOLLOW, options.tolerance))?;
    // A solution of the bordered equations moves p by rounding, which at an end of the range is outside it.
    corrected.z[path.n] = p0;
    corrected.wide = None;
    let wide = path.equations.wide(&corrected).into_owned();
    let (_, vectors) = linalg::eigh(wide.t().dot(&wide).view())?;
    let mut border = vectors.column(0).to_owned();
    let largest = border.iter().fold(0.0f64, |m, t| if t.abs() > m.abs() { *t } else { m });
    let along = if border[path.n].abs() > 1e-12 { border[path.n] } else { largest };
    border *= along.signum() * direction.signum();
    // The border is an eigenvector of a squared matrix; one bordered solution makes it accurate.
    corrected.wide = Some(wide);
    let tangent = path.equations.tangent(&corrected, &border).unwrap_or(border);
    Ok(path.point(&corrected, &tangent, Vec::new()))
}

/// Follows a branch from a point on it in the direction of its tangent. Each new point is shown to the monitor, which
/// returns whether to go on.
///
/// Events are found between successive points, so one of them is certain only when the step is smaller than the distance
/// of two zeros of one function. When the first point itself is an event, its sign is rounding and it may be found again.
///
/// # Errors
/// Those of the test functions; an argument outside its range. A branch that cannot be continued is no error: see [`End`].
pub fn follow_from(
    system: &dyn System,
    first: &Point,
    options: &Options,
    tests: &Tests,
    monitor: &mut dyn FnMut(&Point) -> bool,
) -> Result<Branch> {
    let path = Path::new(system, options, first.x.len())?;
    path.length("length of the tangent", first.tangent.len(), path.n + 1)?;
    let (low, high) = options.range;
    if !(first.p >= low && first.p <= high) {
        return Err(real("p at the start", first.p, "a value inside the range"));
    }
    let mut first = first.clone();
    first.tests = tests(&first.x, first.p)?;
    if first.tests.iter().any(|value| !value.is_finite()) {
        return Err(Error::NonFinite { action: FOLLOW, quantity: "a test function at the start" });
    }
    let mut branch =
        Branch { points: vec![first.clone()], events: Vec::new(), end: End::Stopped { p: first.p }, begin: None };
    let mut step = options.step;
    branch.end = loop {
        let last = &branch.points[branch.points.len() - 1];
        let (p, steps) = (last.p, branch.points.len() - 1);
        let dp = last.tangent[path.n];
        if (p >= high && dp > 0.0) || (p <= low && dp < 0.0) {
            break End::Range { p };
        }
        if steps == options.points {
            break End::Points { points: steps, p };
        }
        let failure = match path.step(&first, last, step, tests)? {
            Ok(Step { point, grow, ends }) => {
                path.length("number of test functions", point.tests.len(), first.tests.len())?;
                let mut events = path.events(last, &point, steps, tests)?;
                let enough = options.events > 0 && branch.events.len() + events.len() >= options.events;
                if enough {
                    events.truncate(options.events - branch.events.len());
                }
                let goes_on = monitor(&point);
                let (p, steps) = (point.p, steps + 1);
                branch.events.extend(events);
                branch.points.push(point);
                step = (step * grow).clamp(options.smallest, options.largest);
                match ends {
                    _ if enough => {
                        let at = branch.events.last().map_or(p, |event| event.point.p);
                        break End::Events { events: branch.events.len(), p: at };
                    }
                    Some(End::Closed { p, .. }) => break End::Closed { points: steps, p },
                    Some(end) => break end,
                    None if !goes_on => break End::Stopped { p },
                    None => continue,
                }
            }
            Err(failure) => failure,
        };
        if step * 0.5 < options.smallest {
            break match failure {
                Failure::NonFinite => End::NonFinite { step, p },
                Failure::Fault { residual, problem, .. } => End::Step { step, p, residual, problem },
            };
        }
        step *= 0.5;
    };
    Ok(branch)
}

pub(super) const FOLLOW: &str = "follow a branch";

pub(super) fn real(quantity: &str, value: f64, needs: &'static str) -> Error {
    Error::Real { action: FOLLOW, quantity: quantity.into(), value, needs }
}

/// An accepted step, the factor for the next, and the end of the branch when this is it.
struct Step {
    point: Point,
    grow: f64,
    ends: Option<End>,
}

type Attempt<T> = std::result::Result<T, Failure>;

pub(super) struct Path<'a> {
    pub(super) equations: Bordered<'a>,
    options: &'a Options,
    pub(super) n: usize,
}

impl<'a> Path<'a> {
    pub(super) fn new(system: &'a dyn System, options: &'a Options, n: usize) -> Result<Path<'a>> {
        let Options { step, smallest, largest, range, tolerance, iterations, .. } = *options;
        let path = Path { equations: Bordered { system, tolerance, iterations }, options, n: system.dim() };
        path.length("number of unknowns", n, path.n)?;
        if !(smallest > 0.0 && smallest <= step) {
            return Err(real("smallest step", smallest, "a positive value, at most the first step"));
        }
        if !(step <= largest && largest.is_finite()) {
            return Err(real("largest step", largest, "a finite value, at least the first step"));
        }
        if !(range.0 < range.1) {
            return Err(real("lower bound of p", range.0, "a value below the upper bound"));
        }
        Ok(path)
    }

    pub(super) fn length(&self, quantity: &'static str, value: usize, needs: usize) -> Result<()> {
        if value == needs {
            return Ok(());
        }
        Err(Error::Count { action: FOLLOW, quantity, value, needs: needs.to_string() })
    }

    /// Largest distance of successive unit tangents.
    fn turn(&self) -> f64 {
        (2.0 - 2.0 * self.options.cosine).max(0.0).sqrt()
    }

    pub(super) fn point(&self, corrected: &Corrected, tangent: &Array1<f64>, tests: Vec<f64>) -> Point {
        let mut x = corrected.z.to_vec();
        x.truncate(self.n);
        let tangent = tangent.to_vec();
        Point { x, p: corrected.z[self.n], tangent, residual: corrected.residual, tests }
    }

    /// One step from `last`. The outer error is that of the test functions.
    fn step(&self, first: &Point, last: &Point, step: f64, tests: &Tests) -> Result<Attempt<Step>> {
        let (corrected, ends) = match self.advance(first, last, step) {
            Ok(advanced) => advanced,
            Err(failure) => return Ok(Err(failure)),
        };
        let old = Array1::from(last.tangent.clone());
        let way = &corrected.z - &last.z();
        let is_long = way.dot(&way).sqrt() >= self.options.smallest;
        // At a singular point, which a step meets by accident only, the secant stands in.
        let chord = if is_long { unit(way) } else { None }.unwrap_or_else(|| old.clone());
        let tangent = self.equations.tangent(&corrected, &old).unwrap_or_else(|| chord.clone());
        let size = |v: Array1<f64>| v.dot(&v).sqrt();
        let (turned, limit) = (size(&tangent - &old), self.turn());
        let Corrected { residual, iterations, .. } = corrected;
        let fault = |problem| Ok(Err(Failure::Fault { residual, problem, iterations }));
        if !(turned <= limit) {
            return fault("the tangent turns too far");
        }
        // The chord of a smooth curve bisects its tangents up to the square of the step; a jump to a branch beside it does not.
        let skew = match unit(&tangent + &old) {
            Some(bisector) if is_long => size(&chord - &bisector),
            _ => 0.0,
        };
        if skew > 0.1 * limit {
            return fault("the chord does not bisect the tangents");
        }
        let mut point = self.point(&corrected, &tangent, Vec::new());
        point.tests = tests(&point.x, point.p)?;
        if point.tests.iter().any(|value| !value.is_finite()) {
            return Ok(Err(Failure::NonFinite));
        }
        // Aim at two or three iterations and half the angles allowed.
        let by_iterations = [2.0, 2.0, 1.6, 1.2, 1.0][iterations.min(4)];
        let by_angle = (0.5 * limit / turned.max(1e-300)).min((0.05 * limit / skew.max(1e-300)).sqrt());
        Ok(Ok(Step { point, grow: by_angle.min(by_iterations).max(0.3), ends }))
    }

    /// Predictor and corrector, and the end of the branch when the point lies on a bound or closes the loop.
    fn advance(&self, first: &Point, last: &Point, step: f64) -> Attempt<(Corrected, Option<End>)> {
        let (low, high) = self.options.range;
        let (z, tangent, n) = (last.z(), Array1::from(last.tangent.clone()), self.n);
        let near = |guess: Array1<f64>, border: &Array1<f64>, target: f64| {
            let distance = |to: &Array1<f64>, from: &Array1<f64>| (to - from).mapv(|d| d * d).sum().sqrt();
            let corrected = self.equations.correct(guess.clone(), border, target, true)?;
            let Corrected { residual, iterations, .. } = corrected;
            if distance(&corrected.z, &guess) > self.options.ratio * distance(&guess, &z) {
                return Err(Failure::Fault { residual, problem: "the corrector goes too far", iterations });
            }
            if tangent.dot(&(&corrected.z - &z)) < 0.0 {
                return Err(Failure::Fault { residual, problem: "the corrector goes back", iterations });
            }
            Ok(corrected)
        };
        // A point at the bound that (to - z) crosses first.
        let land = |to: &Array1<f64>| {
            let bound = to[n].clamp(low, high);
            let mut guess = &z + &((to - &z) * ((bound - z[n]) / (to[n] - z[n])));
            guess[n] = bound;
            near(guess, &self.equations.along_p(), bound).map(|corrected| (corrected, Some(End::Range { p: bound })))
        };
        let inside = |z: &Array1<f64>| z[n] >= low && z[n] <= high;
        let guess = &z + &(&tangent * step);
        if !inside(&guess) {
            return land(&guess);
        }
        let corrected = near(guess, &tangent, tangent.dot(&z) + step)?;
        if !inside(&corrected.z) {
            return land(&corrected.z);
        }
        // Through the first point: the curve crosses the hyperplane orthogonal to it there, at the first point itself.
        let (home, normal) = (first.z(), Array1::from(first.tangent.clone()));
        let (from, to) = (normal.dot(&(&z - &home)), normal.dot(&(&corrected.z - &home)));
        if from < 0.0 && to >= 0.0 && normal.dot(&tangent) > 0.0 {
            let span = &corrected.z - &z;
            let size = linalg::max_abs(&span);
            let guess = &z + &(&span * (-from / (to - from)));
            if linalg::max_abs(&(&guess - &home)) <= size
                && let Ok(back) = self.equations.correct(guess, &normal, normal.dot(&home), false)
                && linalg::max_abs(&(&back.z - &home)) <= 1e-6 * size
            {
                let ends = Some(End::Closed { points: 0, p: first.p });
                return Ok((Corrected { z: home, residual: first.residual, iterations: 0, wide: None }, ends));
            }
        }
        Ok((corrected, None))
    }

    /// All events between two successive points, in the order of travel.
    fn events(&self, last: &Point, next: &Point, before: usize, tests: &Tests) -> Result<Vec<Located>> {
        let tangent = Array1::from(last.tangent.clone());
        let slope = |at: &Corrected| Ok(self.equations.tangent(at, &tangent).map(|tangent| tangent[self.n]));
        let mut found = Vec::new();
        if changes(last.tangent[self.n], next.tangent[self.n]) {
            let (a, b) = (last.side(last.tangent[self.n]), next.side(next.tangent[self.n]));
            found.push((Event::Fold, self.equations.bracket(&tangent, a, b, &slope)?));
        }
        for (k, (a, b)) in last.tests.iter().zip(&next.tests).enumerate() {
            if changes(*a, *b) {
                let test = |at: &Corrected| {
                    let z = at.z.to_vec();
                    let values = tests(&z[..self.n], z[self.n])?;
                    Ok(values.get(k).copied().filter(|value| value.is_finite()))
                };
                let bracket = self.equations.bracket(&tangent, last.side(*a), next.side(*b), &test)?;
                found.push((Event::Test(k), bracket));
            }
        }
        found.sort_by(|x, y| x.1.0.at.total_cmp(&y.1.0.at));
        let (new, length) = (Array1::from(next.tangent.clone()), tangent.dot(&(next.z() - last.z())));
        let located = found.into_iter().map(|(kind, (side, width))| {
            // At a branch point the bordered equations are singular and their tangent is rounding.
            let between = &tangent + &((&new - &tangent) * (side.at / length));
            let solved = self.equations.tangent(&side.corrected, &between);
            let is_near = |t: &Array1<f64>| linalg::max_abs(&(t - &between)) <= 0.1 * self.turn();
            let along = solved.filter(is_near).or_else(|| unit(between.clone())).unwrap_or_else(|| tangent.clone());
            let mut point = self.point(&side.corrected, &along, Vec::new());
            point.tests = tests(&point.x, point.p)?;
            Ok(Located { kind, point, width, before, after: before + 1 })
        });
        located.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    /// A system of one unknown from its residual and its derivative by x.
    struct Scalar(fn(f64, f64) -> f64, fn(f64, f64) -> f64);
    impl System for Scalar {
        fn dim(&self) -> usize {
            1
        }
        fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
            array![self.0(x[0], p)]
        }
        fn jacobian(&self, x: &[f64], p: f64) -> Array2<f64> {
            array![[self.1(x[0], p)]]
        }
    }

    const CIRCLE: Scalar = Scalar(|x, p| x * x + p * p - 1.0, |x, _| 2.0 * x);
    const PITCHFORK: Scalar = Scalar(|x, p| x * (p - x * x), |x, p| p - 3.0 * x * x);
    const CUBIC: Scalar = Scalar(|x, p| x * x * x - x - p, |x, _| 3.0 * x * x - 1.0);

    fn no_tests(_: &[f64], _: f64) -> Result<Vec<f64>> {
        Ok(Vec::new())
    }

    #[test]
    fn circle_closes_with_two_folds() {
        for direction in [1.0, -1.0] {
            let branch = follow(&CIRCLE, &[1.0], 0.0, direction, &Options::default(), &no_tests).unwrap();
            assert!(matches!(branch.end, End::Closed { .. }), "{}", branch.end);
            let folds: Vec<f64> = branch.events.iter().map(|event| event.point.p).collect();
            assert_eq!(folds.len(), 2);
            assert!((folds[0] - direction).abs() < 1e-12 && (folds[1] + direction).abs() < 1e-12, "{folds:?}");
            assert!(branch.events.iter().all(|event| event.kind == Event::Fold && event.point.x[0].abs() < 1e-7));
            let length = |w: &[Point]| ((w[1].x[0] - w[0].x[0]).powi(2) + (w[1].p - w[0].p).powi(2)).sqrt();
            let arc: f64 = branch.points.windows(2).map(length).sum();
            assert!((arc - std::f64::consts::TAU).abs() < 0.01, "{arc}");
            let (first, last) = (&branch.points[0], &branch.points[branch.points.len() - 1]);
            assert_eq!((&first.x, first.p), (&last.x, last.p));
            assert!(branch.points.iter().all(|point| point.residual <= 1e-12));
        }
    }

    #[test]
    fn cubic_folds_are_exact() {
        let options = Options { range: (-1.0, 1.0), ..Options::default() };
        let branch = follow_both(&CUBIC, &[0.0], 0.0, &options, &no_tests).unwrap();
        // dp/dx = -1 at the origin: toward larger p first is toward smaller x.
        let fold = 2.0 / 27f64.sqrt();
        let found: Vec<[f64; 2]> = branch.events.iter().map(|event| [event.point.p, event.point.x[0]]).collect();
        assert_eq!(found.len(), 2);
        for ([p, x], sign) in found.into_iter().zip([-1.0, 1.0]) {
            assert!((p - sign * fold).abs() < 1e-14, "{p}");
            assert!((x + sign / 3f64.sqrt()).abs() < 1e-9, "{x}");
        }
        assert_eq!((branch.end, branch.begin), (End::Range { p: -1.0 }, Some(End::Range { p: 1.0 })));
        assert_eq!((branch.points[0].p, branch.points[branch.points.len() - 1].p), (1.0, -1.0));
        for pair in branch.points.windows(2) {
            assert!(pair[1].x[0] < pair[0].x[0] && pair[0].tangent[0] < 0.0);
        }
        for event in &branch.events {
            let (before, after) = (&branch.points[event.before], &branch.points[event.after]);
            assert!(after.x[0] < event.point.x[0] && event.point.x[0] < before.x[0]);
        }
    }

    #[test]
    fn pitchfork_is_found_and_switched() {
        let options = Options { range: (-0.55, 1.0), ..Options::default() };
        let stability = |x: &[f64], p: f64| Ok(vec![p - 3.0 * x[0] * x[0]]);
        let trivial = follow(&PITCHFORK, &[0.0], -0.5, 1.0, &options, &stability).unwrap();
        assert_eq!((trivial.events.len(), trivial.events[0].kind), (1, Event::Test(0)));
        let at = &trivial.events[0].point;
        assert!(at.p.abs() < 1e-14 && at.x[0] == 0.0, "{at:?}");
        for sign in [1.0, -1.0] {
            let old = Some(&at.tangent[..]);
            let first = switch(&PITCHFORK, &at.x, at.p, &[1.0], 0.02 * sign, old, &options).unwrap();
            assert!((first.x[0] - 0.02 * sign).abs() < 1e-15 && (first.p - 4e-4).abs() < 1e-12, "{first:?}");
            let side = follow_from(&PITCHFORK, &first, &options, &stability, &mut |_| true).unwrap();
            assert_eq!(side.end, End::Range { p: 1.0 });
            assert!(side.points.iter().all(|z| (z.x[0] - sign * z.p.sqrt()).abs() < 1e-9) && side.events.is_empty());
        }
        // Along the branch itself no other branch is found.
        let along = switch(&PITCHFORK, &[0.0], 0.5, &[1.0], 0.02, None, &options);
        assert!(matches!(along, Err(Error::Real { .. })), "{along:?}");
        // From the side: dp/ds and the test change sign together.
        let back =
            follow(&PITCHFORK, &[0.7], 0.49, -1.0, &Options { range: (-1.0, 0.6), ..options }, &stability).unwrap();
        assert_eq!(back.end, End::Range { p: 0.6 });
        assert!(back.points[back.points.len() - 1].x[0] < -0.7);
        let fold = back.events.iter().find(|event| event.kind == Event::Fold).unwrap();
        assert!(fold.point.p.abs() < 1e-12, "{fold:?}");
    }

    /// Three zeros of two test functions inside one step of length 0.5.
    #[test]
    fn events_inside_one_step_come_in_order() {
        let line = Scalar(|x, p| x - p, |_, _| 1.0);
        let options = Options { step: 0.5, largest: 0.5, range: (0.0, 1.0), ..Options::default() };
        let tests = |_: &[f64], p: f64| Ok(vec![p - 0.3, (p - 0.1) * (1.0 + p * p), 0.2f64.exp() - p.exp()]);
        let branch = follow(&line, &[0.0], 0.0, 1.0, &options, &tests).unwrap();
        let found: Vec<(Event, f64)> = branch.events.iter().map(|event| (event.kind, event.point.p)).collect();
        let expected = [(Event::Test(1), 0.1), (Event::Test(2), 0.2), (Event::Test(0), 0.3)];
        assert_eq!(found.len(), 3, "{found:?}");
        for ((kind, p), (k, q)) in found.iter().zip(expected) {
            assert!(*kind == k && (p - q).abs() < 1e-15, "{found:?}");
        }
        assert!(branch.events.iter().all(|event| (event.before, event.after) == (0, 1) && event.width < 1e-14));
        let two = follow(&line, &[0.0], 0.0, 1.0, &Options { events: 2, ..options }, &tests).unwrap();
        assert_eq!((two.events.len(), two.points.len()), (2, 2));
        assert!(matches!(two.end, End::Events { events: 2, p } if (p - 0.2).abs() < 1e-15), "{:?}", two.end);
    }

    #[test]
    fn ends_say_where_and_why() {
        let options = Options::default();
        // x = p until p = 1, where the residual jumps; its difference quotient by p jumps a little before.
        let broken = Scalar(|x, p| if p < 1.0 { x - p } else { 1.0 + x * x }, |_, _| 1.0);
        let branch = follow(&broken, &[0.0], 0.0, 1.0, &options, &no_tests).unwrap();
        let End::Step { step, p, residual, problem } = branch.end else { panic!("{}", branch.end) };
        assert!((1.0 - 1e-5..1.0).contains(&p) && step < 2e-8 && residual <= 1e-12, "{p} {residual:e}");
        assert_eq!(problem, "the tangent turns too far");
        assert!(branch.end.to_string().starts_with("at p = 0.99999"), "{}", branch.end);
        let log = Scalar(|x, p| x - (1.0 - p).ln(), |_, _| 1.0);
        let root = Scalar(|x, p| x + (0.5 - p).powf(1.5), |_, _| 1.0);
        let branch = follow(&root, &[-0.5f64.powf(1.5)], 0.0, 1.0, &options, &no_tests).unwrap();
        assert!(matches!(branch.end, End::NonFinite { p, .. } if (0.5 - 1e-6..=0.5).contains(&p)), "{}", branch.end);
        let few = Options { points: 7, ..options };
        let branch = follow(&log, &[0.0], 0.0, -1.0, &few, &no_tests).unwrap();
        assert!(matches!(branch.end, End::Points { points: 7, .. }) && branch.points.len() == 8);
        let first = start(&log, &[0.0], 0.0, -1.0, &options).unwrap();
        let branch = follow_from(&log, &first, &options, &no_tests, &mut |point| point.p > -0.5).unwrap();
        assert!(matches!(branch.end, End::Stopped { p } if p <= -0.5 && p > -0.65), "{}", branch.end);
        let found = follow(&broken, &[0.0], 2.0, 1.0, &options, &no_tests);
        assert!(matches!(found, Err(Error::NotConverged { .. } | Error::NonFinite { .. })));
        assert!(follow(&log, &[0.0, 1.0], 0.0, 1.0, &options, &no_tests).is_err());
        assert!(follow(&log, &[0.0], 0.0, 0.0, &options, &no_tests).is_err());
        assert!(follow(&log, &[0.0], 0.0, 1.0, &options, &|_, _| Ok(vec![f64::NAN])).is_err());
        let refused = Options { smallest: 0.1, ..options };
        assert!(matches!(follow(&log, &[0.0], 0.0, 1.0, &refused, &no_tests), Err(Error::Real { .. })));
    }

    /// Twelve pitchforks y_i (p - c_i - y_i^2) = 0, mixed by a rotation Q: x = sin(p) (1, ..., 1) + Q y.
    struct Mixed {
        rotation: Array2<f64>,
        onsets: Vec<f64>,
    }

    impl Mixed {
        fn new() -> Mixed {
            let symmetric = Array2::from_shape_fn((12, 12), |(i, j)| ((i * j + i + j) as f64).sin());
            let (_, rotation) = linalg::eigh(symmetric.view()).unwrap();
            let onsets = [0.1, 0.25, 0.25, 0.7].into_iter().chain((0..8).map(|i| 2.0 + i as f64)).collect();
            Mixed { rotation, onsets }
        }

        fn y(&self, x: &[f64], p: f64) -> Array1<f64> {
            self.rotation.t().dot(&(Array1::from(x.to_vec()) - p.sin()))
        }
    }

    impl System for Mixed {
        fn dim(&self) -> usize {
            12
        }
        fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
            let f: Array1<f64> = self.y(x, p).iter().zip(&self.onsets).map(|(y, c)| y * (p - c - y * y)).collect();
            self.rotation.dot(&f)
        }
        fn jacobian(&self, x: &[f64], p: f64) -> Array2<f64> {
            let slopes: Array1<f64> = self.y(x, p).iter().zip(&self.onsets).map(|(y, c)| p - c - 3.0 * y * y).collect();
            self.rotation.dot(&Array2::from_diag(&slopes)).dot(&self.rotation.t())
        }
    }

    /// The branch goes straight through a simple and a double branch point; each onset is an event; two kernel vectors of the
    /// double point and the sum of both lead to three different branches.
    #[test]
    fn branch_points_of_a_mixed_system() {
        let mixed = Mixed::new();
        let options = Options { range: (-0.2, 1.0), ..Options::default() };
        let tests = |x: &[f64], p: f64| Ok(linalg::eigvalsh(mixed.jacobian(x, p).view())?.to_vec());
        let branch = follow(&mixed, &[-0.2f64.sin(); 12], -0.2, 1.0, &options, &tests).unwrap();
        assert_eq!(branch.end, End::Range { p: 1.0 });
        assert!(branch.points.iter().all(|z| z.x.iter().all(|x| (x - z.p.sin()).abs() < 1e-9)));
        let found: Vec<f64> = branch.events.iter().map(|event| event.point.p).collect();
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found.iter().zip(&mixed.onsets).all(|(p, c)| (p - c).abs() < 1e-13), "{found:?}");
        let at = &branch.events[1].point;
        let slope = at.p.cos() / (1.0 + 12.0 * at.p.cos().powi(2)).sqrt();
        assert!(at.tangent[..12].iter().all(|t| (t - slope).abs() < 1e-3), "{:?}", at.tangent);
        for weights in [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]] {
            let kernel = &mixed.rotation.column(1) * weights[0] + &mixed.rotation.column(2) * weights[1];
            let first = switch(&mixed, &at.x, at.p, &kernel.to_vec(), 0.05, Some(&at.tangent), &options).unwrap();
            let side = follow_from(&mixed, &first, &options, &tests, &mut |_| true).unwrap();
            assert_eq!(side.end, End::Range { p: 1.0 });
            for point in &side.points {
                let y = mixed.y(&point.x, point.p);
                let expected = [0.0, weights[0], weights[1], 0.0].map(|w| w * (point.p - 0.25).sqrt());
                assert!(y.iter().zip(expected).all(|(y, e)| (y - e).abs() < 1e-9), "{weights:?} {y}");
            }
        }
    }

    /// The start is at the p asked for to the last bit, so that a branch can start at an end of its range.
    #[test]
    fn starts_lie_inside_the_range() {
        let mixed = Mixed::new();
        for n in -30..30 {
            let p = f64::from(n) / 300.0;
            let options = Options { range: (p, 1.0), ..Options::default() };
            let near: Vec<f64> = (0..12).map(|i| p.sin() + 1e-2 * f64::from(i).sin()).collect();
            let first = start(&mixed, &near, p, 1.0, &options).unwrap();
            assert_eq!(first.p.to_bits(), p.to_bits(), "{:e}", first.p - p);
        }
    }

    /// Two curves 0.02 apart: large steps must not change from one to the other.
    #[test]
    fn neighbouring_branches_are_not_mixed() {
        let pair = Scalar(
            |x, p| (x - (3.0 * p).sin()) * (x - (3.0 * p).sin() - 0.02),
            |x, p| 2.0 * (x - (3.0 * p).sin()) - 0.02,
        );
        let options = Options { step: 0.1, range: (0.0, 3.0), ..Options::default() };
        let branch = follow(&pair, &[0.02], 0.0, 1.0, &options, &no_tests).unwrap();
        assert_eq!(branch.end, End::Range { p: 3.0 });
        assert!(branch.points.iter().all(|z| (z.x[0] - (3.0 * z.p).sin() - 0.02).abs() < 1e-9));
        assert!(
            branch.events.len() == 3 && branch.events.iter().all(|e| e.kind == Event::Fold) || branch.events.is_empty()
        );
    }
}
