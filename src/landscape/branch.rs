//! Families followed in a parameter: where an eigenvalue of any symmetry sector passes zero, which symmetry breaks there,
//! and the branches that leave (theory 09).

use ndarray::{Array1, Array2};

use super::reduced::{BlockPoint, Parameter, Shape, solve};
use crate::error::Result;
use crate::model::Blocks;
use crate::numerics::follow::{self, Branch, Event, Options};
use crate::numerics::linalg;
use crate::numerics::root::System;
use crate::numerics::singular::{self, Boundary, Critical, Singular};
use crate::population::Sector;

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
    let name = |set: usize| match set.checked_sub(shape.coordinate_sets()) {
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
                // Rounding of a zero mode: the direction across the span turned into another one.
                if shape.across && mode.across && mode.sector == Sector::Trivial {
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
}
