//! Families followed in a parameter: where an eigenvalue of any symmetry sector passes zero, which symmetry breaks there,
//! and the branches that leave (theory 09).

use ndarray::{Array1, Array2};

use super::reduced::{BlockPoint, Parameter, Shape, solve};
use crate::error::{Error, Result};
use crate::model::{Blocks, Place};
use crate::numerics::follow::{self, Branch, End, Event, Options};
use crate::numerics::linalg;
use crate::numerics::root::System;
use crate::numerics::singular::{self, Boundary, Critical, Singular};
use crate::population::Sector;

const ACTION: &str = "follow a family";

/// A block of the Hessian whose eigenvalues are watched along a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub sector: Sector,
    /// Across the span of the units instead of inside it: the mode of every further input dimension.
    pub across: bool,
}

impl Mode {
    /// Name for tables.
    pub fn name(self) -> String {
        if self.across { format!("{}, across", self.sector.name()) } else { self.sector.name() }
    }

    fn block(self, shape: &Shape, x: &[f64], p: f64) -> Option<Array2<f64>> {
        let hessian = shape.hessian(x, p).ok()?;
        if self.across { hessian.transverse_block(self.sector) } else { hessian.block(self.sector) }
    }
}

/// What happens where an eigenvalue passes zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The branch turns back in the parameter.
    Fold,
    /// Branches of the same symmetry meet.
    Crossing,
    /// Branches of lower symmetry leave, or states with weights across the span.
    Breaking,
}

impl Kind {
    /// Name for tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Fold => "fold",
            Kind::Crossing => "branch point",
            Kind::Breaking => "symmetry breaking",
        }
    }
}

/// A located event of a branch.
#[derive(Clone, Debug)]
pub struct Crossing {
    pub kind: Kind,
    pub mode: Mode,
    /// Value of the parameter, from the event on the branch.
    pub p: f64,
    /// Arclength between the last two points with opposite signs.
    pub width: f64,
    /// The same from F = 0, B phi = 0, |phi| = 1 solved at once, with its error; `None` where that did not converge.
    pub direct: Option<(f64, f64)>,
    /// Unknowns of the reduced equations.
    pub x: Vec<f64>,
    /// Unit tangent of the branch.
    pub tangent: Vec<f64>,
    /// Index of the point of the branch before it.
    pub before: usize,
}

impl Crossing {
    /// The symmetry that is left on the simplest branch that leaves, for tables.
    pub fn breaks(&self, shape: &Shape) -> String {
        breaks(self.mode, shape)
    }
}

/// The isotropy that is left where a mode grows: the axial subgroup of its sector (theory 08).
fn breaks(mode: Mode, shape: &Shape) -> String {
    if mode.across {
        return "weights leave span(V)".into();
    }
    let name = |set: usize| match set.checked_sub(shape.teachers.len()) {
        None => format!("n{}", set + 1),
        Some(free) => format!("f{}", free + 1),
    };
    match mode.sector {
        Sector::Trivial => "none".into(),
        Sector::Standard(t) => format!("S_{0} to S_1 x S_({0}-1)", name(t)),
        Sector::Symmetric(t) => format!("S_{0} to S_2 x S_({0}-2)", name(t)),
        Sector::Exterior(t) => format!("S_{0} to Z_3 x S_({0}-3)", name(t)),
        Sector::Product(t, u) => {
            format!("S_{0} x S_{1} to S_({0}-1) x S_({1}-1)", name(t), name(u))
        }
    }
}

/// A family followed in its parameter.
#[derive(Clone, Debug)]
pub struct Trace {
    pub shape: Shape,
    /// What the test functions of the branch are eigenvalues of, in order: mode and rank among its eigenvalues.
    pub modes: Vec<(Mode, usize)>,
    pub branch: Branch,
    pub crossings: Vec<Crossing>,
}

impl Trace {
    /// The state of a point of the branch.
    ///
    /// # Errors
    /// Those of [`Shape::state`].
    pub fn state(&self, x: &[f64], p: f64) -> Result<Blocks> {
        let shape = self.shape.at(p);
        shape.state(&shape.entries(x)?)
    }

    /// Smallest eigenvalue at a point of the branch, inside the span or across it, with its sector.
    pub fn smallest(&self, tests: &[f64], across: bool) -> (f64, Sector) {
        let values = self.modes.iter().zip(tests).filter(|((mode, _), _)| mode.across == across);
        let values = values.map(|((mode, _), &x)| (x, mode.sector));
        values.fold((f64::INFINITY, Sector::Trivial), |best, next| if next.0 < best.0 { next } else { best })
    }

    /// Whether all eigenvalues inside the span are positive at a point of the branch.
    pub fn is_stable(&self, tests: &[f64]) -> bool {
        self.smallest(tests, false).0 > 0.0
    }

    /// The first event, in the order of travel, at which the smallest eigenvalue inside the span changes sign.
    pub fn threshold(&self) -> Option<&Crossing> {
        self.crossings.iter().find(|event| {
            let [before, after] = [event.before, event.before + 1].map(|i| &self.branch.points[i].tests);
            self.is_stable(before) != self.is_stable(after)
        })
    }
}

/// All modes of a shape with the numbers of their eigenvalues, at one state.
fn modes(shape: &Shape, x: &[f64], p: f64) -> Result<Vec<(Mode, usize)>> {
    let hessian = shape.hessian(x, p)?;
    let mut out = Vec::new();
    for (levels, across) in [(hessian.span()?, false), (hessian.transverse()?, true)] {
        for level in levels {
            out.extend((0..level.values.len()).map(|rank| (Mode { sector: level.sector, across }, rank)));
        }
    }
    Ok(out)
}

/// Steps that suit families: up to a quarter of a teacher, or a two hundredth of a wide range.
pub fn options(range: (f64, f64)) -> Options {
    let largest = 0.25f64.max((range.1 - range.0).min(1e4) / 200.0);
    Options { step: 0.02, largest, points: 4000, range, tolerance: 1e-11, ..Options::default() }
}

/// Follows a family from a state of its own, first toward larger (direction > 0) or smaller values of its parameter, and
/// locates every sign change of every eigenvalue of every sector, each by two routes.
///
/// # Errors
/// Those of the solver at the start; a branch that ends early says so in `branch.end`.
pub fn trace(shape: &Shape, state: &Blocks, direction: f64, options: &Options) -> Result<Trace> {
    let x = shape.unknowns(&state.entries())?;
    let first = follow::start(shape, &x, shape.value(), direction, options)?;
    trace_from(shape, &first, options)
}

/// Follows a family without looking for events.
///
/// # Errors
/// Those of the solver at the start.
pub fn walk(shape: &Shape, state: &Blocks, direction: f64, options: &Options) -> Result<Branch> {
    let x = shape.unknowns(&state.entries())?;
    follow::follow(shape, &x, shape.value(), direction, options, &|_, _| Ok(Vec::new()))
}

/// As [`trace`], from a point with its tangent.
///
/// # Errors
/// As [`trace`].
pub fn trace_from(shape: &Shape, first: &follow::Point, options: &Options) -> Result<Trace> {
    let modes = modes(shape, &first.x, first.p)?;
    let tests = |x: &[f64], p: f64| -> Result<Vec<f64>> {
        let hessian = shape.hessian(x, p)?;
        let mut values = Vec::with_capacity(modes.len());
        let mut last: Option<Mode> = None;
        for &(mode, _) in &modes {
            if last == Some(mode) {
                continue;
            }
            last = Some(mode);
            let block = if mode.across { hessian.transverse_block(mode.sector) } else { hessian.block(mode.sector) };
            match block {
                Some(block) => values.extend(linalg::eigvalsh(block.view())?),
                None => values.extend(hessian.sector(mode.sector)?.values),
            }
        }
        values.resize(modes.len(), f64::NAN);
        Ok(values)
    };
    let branch = follow::follow_from(shape, first, options, &tests, &mut |_| true)?;
    let mut crossings: Vec<Crossing> = Vec::new();
    for event in &branch.events {
        let (kind, mode) = match event.kind {
            Event::Fold => (Kind::Fold, Mode { sector: Sector::Trivial, across: false }),
            Event::Test(index) => {
                let mode = modes[index].0;
                let trivial = mode.sector == Sector::Trivial && !mode.across;
                // A value that jumps through zero belongs to a size at which the sector changes its dimension.
                if event.point.tests[index].abs() > 1e-6 {
                    continue;
                }
                (if trivial { Kind::Crossing } else { Kind::Breaking }, mode)
            }
        };
        let p = event.point.p;
        // At a fold the trivial sector has a zero eigenvalue as well.
        let near = |other: &Crossing| other.mode == mode && (other.p - p).abs() < 1e-6 * p.abs().max(1.0);
        if let Some(known) = crossings.iter_mut().find(|other| near(other)) {
            if kind == Kind::Fold {
                known.kind = Kind::Fold;
            }
            continue;
        }
        // At real sizes a sector may have an eigenvalue and no dimension.
        if mode.sector.multiplicity(&shape.at(p).partition()?) <= 0.0 {
            continue;
        }
        let edge = Edge { shape: shape.clone(), second: None, mode };
        // From the point of the branch before it, so that the two routes share no digit.
        let near = &branch.points[event.before];
        let direct = match singular::locate(&edge, &near.x, [near.p, 0.0], None) {
            Ok(found) if (found.p[0] - p).abs() < 1e-3 * p.abs().max(1.0) => Some((found.p[0], found.error)),
            _ => None,
        };
        crossings.push(Crossing {
            kind,
            mode,
            p,
            width: event.width,
            direct,
            x: event.point.x.clone(),
            tangent: event.point.tangent.clone(),
            before: event.before,
        });
    }
    Ok(Trace { shape: shape.clone(), modes, branch, crossings })
}

/// Where an eigenvalue of one mode vanishes on a family, as a function of a second parameter.
pub(super) struct Edge {
    pub shape: Shape,
    pub second: Option<Parameter>,
    pub mode: Mode,
}

impl Edge {
    fn at(&self, p: [f64; 2]) -> Shape {
        match self.second {
            None => self.shape.clone(),
            Some(second) => self.shape.along(second).at(p[1]).along(self.shape.parameter),
        }
    }
}

impl Critical for Edge {
    fn dim(&self) -> usize {
        self.shape.dim()
    }
    fn residual(&self, x: &[f64], p: [f64; 2]) -> Array1<f64> {
        self.at(p).residual(x, p[0])
    }
    fn jacobian(&self, x: &[f64], p: [f64; 2]) -> Array2<f64> {
        self.at(p).jacobian(x, p[0])
    }
    fn modes(&self) -> usize {
        let start = vec![1.0; self.dim()];
        self.mode.block(&self.shape, &start, self.shape.value()).map_or(0, |block| block.nrows())
    }
    fn operator(&self, x: &[f64], p: [f64; 2]) -> Array2<f64> {
        let n = self.modes();
        self.mode.block(&self.at(p), x, p[0]).unwrap_or_else(|| Array2::from_elem((n, n), f64::NAN))
    }
}

/// The curve on which an event of a family happens, in its parameter and a second one.
///
/// # Errors
/// Those of [`singular::locate`] and [`singular::boundary`].
pub fn boundary(
    shape: &Shape,
    event: &Crossing,
    second: Parameter,
    range: (f64, f64),
    options: &Options,
) -> Result<Boundary> {
    let edge = Edge { shape: shape.clone(), second: Some(second), mode: event.mode };
    let start: Singular = singular::locate(&edge, &event.x, [event.p, shape.along(second).value()], None)?;
    singular::boundary(&edge, &start, range, options)
}

/// The event at one value of the second parameter, from a point of its boundary curve.
///
/// # Errors
/// Those of [`singular::locate`].
pub fn locate(shape: &Shape, mode: Mode, second: Parameter, x: &[f64], p: [f64; 2]) -> Result<Singular> {
    singular::locate(&Edge { shape: shape.clone(), second: Some(second), mode }, x, p, None)
}

/// Divides index sets in two, the first part of the given size, and carries the state over: the same point in the larger
/// space of states with less symmetry. Students matched to a set are divided with it.
///
/// # Errors
/// [`Error::Real`] when a part would be smaller than 1; those of [`Shape::state`].
pub fn refined(shape: &Shape, state: &Blocks, parts: &[(usize, f64)]) -> Result<(Shape, Blocks)> {
    let part = |set: usize| parts.iter().find(|part| part.0 == set).map(|part| part.1);
    let sizes = state.partition().sizes();
    let mut fine_sizes = Vec::new();
    // For each fine set: the coarse set it comes from.
    let mut origin = Vec::new();
    for (set, &size) in sizes.iter().enumerate() {
        match part(set) {
            Some(first) if first >= 1.0 && size - first >= 1.0 => {
                fine_sizes.extend([first, size - first]);
                origin.extend([set; 2]);
            }
            Some(first) => {
                return Err(Error::Real {
                    action: ACTION,
                    quantity: "the size of a part of a group".into(),
                    value: first.min(size - first),
                    needs: "a number of at least 1",
                });
            }
            None => {
                fine_sizes.push(size);
                origin.push(set);
            }
        }
    }
    let coarse_teachers = shape.teachers.len();
    let fine_teachers = origin.iter().filter(|&&set| set < coarse_teachers).count();
    // Student groups with the coarse group they come from; free ones follow their sets.
    let mut matched = Vec::new();
    let mut from = Vec::new();
    for (group, &set) in shape.matched.iter().enumerate() {
        for fine in (0..fine_teachers).filter(|&fine| origin[fine] == set) {
            matched.push(fine);
            from.push(group);
        }
    }
    for fine in fine_teachers..origin.len() {
        from.push(shape.matched.len() + origin[fine] - coarse_teachers);
    }
    let fine = Shape {
        teachers: fine_sizes[..fine_teachers].to_vec(),
        matched,
        free: fine_sizes[fine_teachers..].to_vec(),
        parameter: match shape.parameter {
            Parameter::Size(set) => Parameter::Size(origin.iter().rposition(|&from| from == set).unwrap_or(set)),
            other => other,
        },
        ..shape.clone()
    };
    let rows = state.rows();
    let entries: Vec<f64> = fine
        .partition()?
        .entries()
        .iter()
        .map(|entry| rows[[from[entry.group], origin[entry.set]]][usize::from(entry.place != Place::Own)])
        .collect();
    let carried = fine.state(&entries)?;
    Ok((fine, carried))
}

/// A branch that leaves a family at an event.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Parts into which sets were divided: (set, size of the first part).
    pub parts: Vec<(usize, f64)>,
    pub trace: Trace,
    /// Largest distance of the new branch from the symmetry of the old one, among its points.
    pub distance: f64,
}

/// Leaves a family at an event, in the simplest space of states with less symmetry in which the mode lives: one or two
/// sets divided. `first` is the size of the first part of a divided set (1 or more); `side` is +1 or -1 along the mode.
///
/// # Errors
/// [`Error::Spec`] for modes whose space is not block-symmetric (exterior sectors, modes across the span); those of the
/// solver when no different branch is found.
pub fn depart(shape: &Shape, event: &Crossing, first: f64, side: f64, options: &Options) -> Result<Departure> {
    let parts = match event.mode.sector {
        _ if event.mode.across => Vec::new(),
        Sector::Trivial => return depart_within(shape, event, side, options),
        Sector::Standard(t) => vec![(t, first)],
        Sector::Symmetric(t) => vec![(t, first.max(2.0))],
        Sector::Product(t, u) => vec![(t, first), (u, first)],
        Sector::Exterior(_) => Vec::new(),
    };
    if parts.is_empty() {
        let problem = format!("the branches that leave in the sector {} are not block-symmetric", event.mode.name());
        return Err(Error::Spec { action: ACTION, problem });
    }
    // The old branch in the larger space: the event, and its tangent by differences.
    let carried = |h: f64| -> Result<(Shape, Vec<f64>)> {
        let moved: Vec<f64> = event.x.iter().zip(&event.tangent).map(|(x, t)| x + h * t).collect();
        let at = shape.at(event.p + h * event.tangent[event.x.len()]);
        let (fine, state) = refined(&at, &at.state(&at.entries(&moved)?)?, &parts)?;
        let mut z = fine.unknowns(&state.entries())?;
        z.push(at.value());
        Ok((fine, z))
    };
    let (fine, mut x) = carried(0.0)?;
    x.pop();
    let old: Vec<f64> = carried(1e-5)?.1.iter().zip(carried(-1e-5)?.1).map(|(above, below)| above - below).collect();
    let jacobian = fine.jacobian(&x, event.p);
    let (values, vectors) = linalg::eigh(jacobian.view())?;
    let smallest = (0..values.len()).min_by(|&i, &j| values[i].abs().total_cmp(&values[j].abs())).unwrap_or(0);
    let direction: Vec<f64> = vectors.column(smallest).to_vec();
    let mut problem = None;
    for amplitude in [0.05, 0.02, 0.1, 0.005, 0.2] {
        let start = singular::switch(&fine, &x, event.p, &direction, side * amplitude, Some(&old), options);
        match start.and_then(|start| trace_from(&fine, &start, options)) {
            Ok(trace) => {
                let distance = trace
                    .branch
                    .points
                    .iter()
                    .map(|point| asymmetry(&fine, &parts, &point.x, point.p))
                    .collect::<Result<Vec<f64>>>()?
                    .into_iter()
                    .fold(0.0, f64::max);
                if distance > 1e-3 {
                    return Ok(Departure { parts, trace, distance });
                }
            }
            Err(error) => problem = Some(error),
        }
    }
    Err(problem.unwrap_or_else(|| Error::Spec {
        action: ACTION,
        problem: format!("the branch that leaves at {} came back to the old symmetry", event.p),
    }))
}

/// The other branch of the same symmetry through an event.
fn depart_within(shape: &Shape, event: &Crossing, side: f64, options: &Options) -> Result<Departure> {
    let (values, vectors) = linalg::eigh(shape.jacobian(&event.x, event.p).view())?;
    let smallest = (0..values.len()).min_by(|&i, &j| values[i].abs().total_cmp(&values[j].abs())).unwrap_or(0);
    let direction: Vec<f64> = vectors.column(smallest).to_vec();
    let old = Some(event.tangent.as_slice());
    let start = singular::switch(shape, &event.x, event.p, &direction, side * 0.05, old, options)?;
    let trace = trace_from(shape, &start, options)?;
    Ok(Departure { parts: Vec::new(), trace, distance: 0.0 })
}

/// Largest difference between a state with divided sets and its average over the undivided ones.
fn asymmetry(fine: &Shape, parts: &[(usize, f64)], x: &[f64], p: f64) -> Result<f64> {
    let fine = fine.at(p);
    let state = fine.state(&fine.entries(x)?)?;
    let mut largest = 0.0f64;
    for &(set, _) in parts {
        // The two parts follow each other; groups matched to them, and every group's entries on them, are compared.
        let shift = parts.iter().filter(|part| part.0 < set).count();
        let (a, b) = (set + shift, set + shift + 1);
        let rows = state.rows();
        for g in 0..fine.matched.len() + fine.free.len() {
            let own = state.partition().student_sets()[g];
            if own != a && own != b && b < fine.teachers.len() {
                largest = largest.max((rows[[g, a]][1] - rows[[g, b]][1]).abs());
            }
        }
        let groups = |set: usize| -> Vec<usize> {
            (0..state.partition().student_sets().len())
                .filter(|&g| state.partition().student_sets()[g] == set)
                .collect()
        };
        for (g, h) in groups(a).into_iter().zip(groups(b)) {
            let own =
                |g: usize, set: usize| if set < fine.teachers.len() { rows[[g, set]][0] } else { rows[[g, 0]][1] };
            largest = largest.max((own(g, a) - own(h, b)).abs());
        }
    }
    Ok(largest)
}

/// A point of a branch, solved again at an exact value of the parameter near it and analysed.
///
/// # Errors
/// Those of [`solve`] and [`BlockPoint::new`].
pub fn point_at(trace: &Trace, index: usize, p: f64) -> Result<BlockPoint> {
    let shape = trace.shape.at(p);
    let near = &trace.branch.points[index];
    let entries = trace.shape.at(near.p).entries(&near.x)?;
    BlockPoint::new(&shape, solve(&shape, &entries)?)
}

/// Why a branch ends, for tables.
pub fn ending(end: &End) -> String {
    end.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::reduced::flipped_guess;

    fn flipped(k1: f64, m: f64, to: f64) -> Trace {
        let shape = Shape::flipped(k1, m, 0);
        let state = solve(&shape, &flipped_guess(&shape)).unwrap();
        trace(&shape, &state, (to - m).signum(), &options((to.min(m), to.max(m)))).unwrap()
    }

    /// One flipped unit is a minimum from M = 5.58 on, two from between 7 and 8 (Arjevani and Field; Safran and Shamir).
    #[test]
    fn thresholds_lie_where_published_by_two_routes() {
        for (k1, low, high) in [(1.0, 5.57, 5.59), (2.0, 7.0, 8.0), (4.0, 10.0, 12.0), (8.0, 17.0, 18.0)] {
            let trace = flipped(k1, 25.0, k1 + 2.5);
            let event = trace.threshold().unwrap();
            let (direct, error) = event.direct.unwrap();
            assert!((low..high).contains(&event.p), "{k1}: {}", event.p);
            assert!((direct - event.p).abs() < 1e-9 && error < 1e-10, "{k1}: {} {direct} {error:e}", event.p);
            assert_eq!(event.mode, Mode { sector: Sector::Standard(1), across: false });
        }
    }

    /// The branch of two flipped units turns back in M, where the Jacobian of the reduced equations is singular.
    #[test]
    fn folds_are_seen_as_folds() {
        let trace = flipped(2.0, 8.0, 3.2);
        let fold = trace.crossings.iter().find(|event| event.kind == Kind::Fold).unwrap();
        assert!((fold.direct.unwrap().0 - fold.p).abs() < 1e-9);
        let values = linalg::eigvalsh(trace.shape.jacobian(&fold.x, fold.p).view()).unwrap();
        assert!(values.iter().any(|x| x.abs() < 1e-8), "{values}");
    }

    /// A divided state is the same state; the branch that leaves it at the threshold has less symmetry and solves its
    /// equations, on both sides.
    #[test]
    fn branches_leave_with_less_symmetry() {
        let trace = flipped(1.0, 8.0, 4.5);
        let event = trace.threshold().unwrap();
        let at = trace.shape.at(event.p);
        let coarse = at.state(&at.entries(&event.x).unwrap()).unwrap();
        let (_, fine) = refined(&at, &coarse, &[(1, 1.0)]).unwrap();
        let loss = crate::population::block_risk;
        assert!((loss(&fine) - loss(&coarse)).abs() < 1e-15);
        assert!((fine.partition().teacher_count() - event.p).abs() < 1e-12);
        let limits = Options { points: 40, ..options((4.0, 9.0)) };
        for side in [1.0, -1.0] {
            let departure = depart(&trace.shape, event, 1.0, side, &limits).unwrap();
            assert!(departure.distance > 0.02, "{}", departure.distance);
            assert!(departure.trace.branch.points.iter().all(|point| point.residual < 1e-10));
            let first = &departure.trace.branch.points[0];
            assert!((first.p - event.p).abs() < 0.3, "{} {}", first.p, event.p);
        }
    }
}
