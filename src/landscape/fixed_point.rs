//! From a start to a verified critical point, without leaving the basin that gradient flow chose.
//!
//! Flow to a small gradient, drop what decays across the teacher's span, then finish by Newton. The finish is accepted
//! only where the quadratic picture holds: Hessian positive definite, short step, loss falling as predicted. Otherwise the
//! flow goes on by another decade; a plateau is never called a fixed point because its velocity is small (theory 04).

use ndarray::{Array1, Array2, s};

use super::ruled::Details;
use super::zero::nearest_zero;
use crate::dynamics::Descent;
use crate::error::{Error, Result};
use crate::model::{Teacher, Weights};
use crate::numerics::linalg::{Cholesky, max_abs};
use crate::numerics::optimise::{Smooth, TrustRegionOptions, trust_region};
use crate::numerics::root::{self, System};
use crate::numerics::tolerance;
use crate::population::{Field, coefficients, hessian, risk};

/// Gradient norms at which the flow is interrupted to try the finish.
pub(super) const STOPS: [f64; 7] = [1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10];

/// Gradient evaluations after which a run is given up.
pub(super) const BUDGET: usize = 2_000_000;

/// Longest first Newton step, relative to the norm of all weights, that still counts as the neighbourhood of the flow's
/// end. The basin test in the evidence tier measures what this costs.
pub(super) const LONGEST_STEP: f64 = 0.03;

/// How the end point was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Newton with a positive definite Hessian.
    Newton,
    /// An exact zero of the loss, constructed ([`nearest_zero`]).
    ExactZero,
    /// Newton with the pseudo-inverse, where the Hessian is not positive definite: a saddle or a degenerate point.
    PseudoInverse,
}

impl Ending {
    /// One word for tables.
    pub fn name(self) -> &'static str {
        match self {
            Ending::Newton => "newton",
            Ending::ExactZero => "exact-zero",
            Ending::PseudoInverse => "pseudo-inverse",
        }
    }
}

/// A critical point that a run ended in.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Polished weights, K x r when nothing is left across the teacher's span, else K x D.
    pub weights: Weights,
    /// Largest gradient entry, recomputed.
    pub residual: f64,
    pub ending: Ending,
    /// Gradient norm at which the flow was left.
    pub gradient_norm: f64,
    /// Time of the flow there.
    pub time: f64,
    /// Gradients used by the flow.
    pub evaluations: usize,
    /// Euclidean distance from the flow's end to the point.
    pub moved: f64,
    /// What only some training rules have.
    pub details: Details,
}

/// Follows gradient flow from a start and finishes at the critical point it leads to.
///
/// # Errors
/// [`Error::NotConverged`] with the last gradient when the flow's budget ends first, [`Error::NonFinite`].
pub fn settle(start: &Weights, teacher: &Teacher, task: usize) -> Result<Settled> {
    settle_by(Descent::new(start, teacher, task), start, teacher, task)
}

/// As [`settle`], by a given integrator that stands at the start.
///
/// # Errors
/// As [`settle`].
pub fn settle_by(mut descent: Descent, start: &Weights, teacher: &Teacher, task: usize) -> Result<Settled> {
    let mut last = None;
    for stop in STOPS {
        let reached = descent.until(stop, BUDGET)?;
        let end = descent.weights(start);
        let settled = |weights: Weights, residual, ending| {
            let moved = moved(&end, &weights);
            let (gradient_norm, time, evaluations) = (descent.gradient_norm(), descent.time(), descent.evaluations());
            Settled { weights, residual, ending, gradient_norm, time, evaluations, moved, details: Details::default() }
        };
        if let Some((zero, _)) = nearest_zero(&end, teacher, task) {
            // Those of linear networks may leave the teacher's span.
            let across = zero.rows().slice(s![.., teacher.rank()..]).iter().any(|&x| x != 0.0);
            let zero = if across { zero } else { within_span(&zero, teacher) };
            let residual = largest_gradient(&zero, teacher, task);
            return Ok(settled(zero, residual, Ending::ExactZero));
        }
        let reduced = reduce(&end, teacher, task);
        if let Some((weights, residual)) = polish(&reduced, teacher, task)? {
            return Ok(settled(weights, residual, Ending::Newton));
        }
        if !reached {
            break;
        }
        last = Some(end);
    }
    // The flow rests where the Hessian is not positive definite.
    if let Some(end) = last {
        let reduced = reduce(&end, teacher, task);
        let equations = Stationarity { weights: &reduced, teacher, task };
        let flat: Vec<f64> = reduced.rows().iter().copied().collect();
        if let Ok(found) = root::newton(&equations, &flat, 0.0, tolerance::RESIDUAL, 1e-10, 40) {
            let weights = reduced.with_rows(matrix(&found.x, reduced.rows().dim()));
            let moved = moved(&end, &weights);
            if moved < LONGEST_STEP * norm(end.rows()) {
                return Ok(Settled {
                    residual: found.residual,
                    ending: Ending::PseudoInverse,
                    gradient_norm: descent.gradient_norm(),
                    time: descent.time(),
                    evaluations: descent.evaluations(),
                    moved,
                    weights,
                    details: Details::default(),
                });
            }
        }
    }
    Err(Error::NotConverged {
        action: "settle a run",
        residual: descent.gradient_norm(),
        iterations: descent.evaluations(),
        needs: STOPS[STOPS.len() - 1],
    })
}

/// Drops the coordinates across the teacher's span when all of them decay (A positive definite) and little is left there.
pub(super) fn reduce(weights: &Weights, teacher: &Teacher, task: usize) -> Weights {
    let r = teacher.rank();
    if weights.coordinates() == r {
        return weights.clone();
    }
    let across = norm(&weights.rows().slice(s![.., r..]).to_owned());
    let within = within_span(weights, teacher);
    let decays = || Cholesky::new(coefficients(&within, teacher, task).a.view()).is_some();
    if across < LONGEST_STEP * norm(weights.rows()) && decays() { within } else { weights.clone() }
}

pub(super) fn within_span(weights: &Weights, teacher: &Teacher) -> Weights {
    weights.with_rows(weights.rows().slice(s![.., ..teacher.rank()]).to_owned())
}

/// Newton's method to a minimum, with few factorisations: the Cholesky factor is kept while the residual falls fast.
///
/// `None` when the start is outside the quadratic neighbourhood: Hessian not positive definite, first step longer than
/// 3 % of the weights, or the loss does not fall as the quadratic model says. Returns the point and its largest gradient
/// entry, at most 1e-13.
///
/// # Errors
/// [`Error::Memory`] when the Hessian does not fit.
pub fn polish(weights: &Weights, teacher: &Teacher, task: usize) -> Result<Option<(Weights, f64)>> {
    let size = norm(weights.rows());
    let mut w = weights.clone();
    let mut field = Field::new(weights, teacher, task);
    let mut gradient = field.gradient_at(w.rows().view());
    let mut residual = max_abs(&gradient);
    let mut predicted = 0.0;
    let mut factor = None;
    for iteration in 0..60 {
        if residual <= 0.1 * tolerance::RESIDUAL {
            break;
        }
        if factor.is_none() {
            let hessian = hessian(&w, teacher, task)?;
            if hessian.units.len() < w.students() {
                return Ok(None);
            }
            factor = Cholesky::new(hessian.span.view());
        }
        let Some(solver) = &factor else { return Ok(None) };
        let mut step: Vec<f64> = gradient.iter().copied().collect();
        solver.solve(&mut step);
        let step = matrix(&step, w.rows().dim());
        if !(norm(&step) <= LONGEST_STEP * size) {
            return Ok(None);
        }
        if iteration == 0 {
            predicted = 0.5 * (&gradient * &step).sum();
        }
        let trial = w.with_rows(w.rows() - &step);
        let trial_gradient = field.gradient_at(trial.rows().view());
        let trial_residual = max_abs(&trial_gradient);
        if trial_residual >= residual && residual <= tolerance::RESIDUAL {
            break;
        }
        if !(trial_residual < 0.2 * residual) {
            factor = None;
            if !(trial_residual < 10.0 * residual) {
                return Ok(None);
            }
        }
        (w, gradient, residual) = (trial, trial_gradient, trial_residual);
    }
    if !(residual <= tolerance::RESIDUAL) {
        return Ok(None);
    }
    let fall = risk(weights, teacher, task) - risk(&w, teacher, task);
    let noise = 1e-14;
    let quadratic = (fall - predicted).abs() <= 0.5 * predicted + noise;
    Ok((quadratic && moved(weights, &w) <= LONGEST_STEP * size).then_some((w, residual)))
}

/// Descends from any weights by argmin's trust region to a small gradient, then polishes: for weights that are not the
/// end of a flow (a file, a point displaced on purpose). Stays close to steepest descent by its small radius.
///
/// # Errors
/// Those of [`trust_region`]; [`Error::NotConverged`] when the end is no minimum.
pub fn relax(weights: &Weights, teacher: &Teacher, task: usize) -> Result<(Weights, f64)> {
    let equations = Stationarity { weights, teacher, task };
    let mut x: Vec<f64> = weights.rows().iter().copied().collect();
    let (mut residual, mut iterations) = (f64::INFINITY, 0);
    // Near a saddle the first threshold is met at once; the second one is not met before the descent has left it.
    for gradient in [1e-7, 1e-12] {
        let used;
        (x, used) = trust_region(&equations, &x, TrustRegionOptions { gradient, ..TrustRegionOptions::default() })?;
        iterations += used;
        let end = weights.with_rows(matrix(&x, weights.rows().dim()));
        if let Some((zero, _)) = nearest_zero(&end, teacher, task) {
            let residual = largest_gradient(&zero, teacher, task);
            return Ok((zero, residual));
        }
        if let Some(found) = polish(&reduce(&end, teacher, task), teacher, task)? {
            return Ok(found);
        }
        residual = largest_gradient(&end, teacher, task);
    }
    Err(Error::NotConverged {
        action: "relax to a minimum",
        residual,
        iterations: iterations as usize,
        needs: tolerance::RESIDUAL,
    })
}

/// The stationarity equations grad L = 0 in the coordinates of a state.
pub struct Stationarity<'a> {
    pub weights: &'a Weights,
    pub teacher: &'a Teacher,
    pub task: usize,
}

impl Stationarity<'_> {
    fn state(&self, x: &[f64]) -> Weights {
        self.weights.with_rows(matrix(x, self.weights.rows().dim()))
    }

    fn gradient(&self, x: &[f64]) -> Array1<f64> {
        let state = self.state(x);
        let gradient = Field::new(&state, self.teacher, self.task).gradient_at(state.rows().view());
        Array1::from_iter(gradient)
    }

    /// Hessian with zero rows for zero units.
    fn hessian(&self, x: &[f64]) -> Array2<f64> {
        let n = x.len();
        let d = self.weights.coordinates();
        let Ok(part) = hessian(&self.state(x), self.teacher, self.task) else {
            return Array2::from_elem((n, n), f64::NAN);
        };
        let mut full = Array2::zeros((n, n));
        for (s, &i) in part.units.iter().enumerate() {
            for (t, &j) in part.units.iter().enumerate() {
                let block = part.span.slice(s![s * d..(s + 1) * d, t * d..(t + 1) * d]);
                full.slice_mut(s![i * d..(i + 1) * d, j * d..(j + 1) * d]).assign(&block);
            }
        }
        full
    }
}

impl System for Stationarity<'_> {
    fn dim(&self) -> usize {
        self.weights.rows().len()
    }
    fn residual(&self, x: &[f64], _p: f64) -> Array1<f64> {
        self.gradient(x)
    }
    fn jacobian(&self, x: &[f64], _p: f64) -> Array2<f64> {
        self.hessian(x)
    }
}

impl Smooth for Stationarity<'_> {
    fn value(&self, x: &[f64]) -> f64 {
        risk(&self.state(x), self.teacher, self.task)
    }
    fn gradient(&self, x: &[f64]) -> Array1<f64> {
        Stationarity::gradient(self, x)
    }
    fn hessian(&self, x: &[f64]) -> Array2<f64> {
        Stationarity::hessian(self, x)
    }
}

/// Largest gradient entry at a state.
pub fn largest_gradient(weights: &Weights, teacher: &Teacher, task: usize) -> f64 {
    max_abs(&Field::new(weights, teacher, task).gradient_at(weights.rows().view()))
}

pub(super) fn matrix(x: &[f64], shape: (usize, usize)) -> Array2<f64> {
    Array2::from_shape_fn(shape, |(i, c)| x[i * shape.1 + c])
}

pub(super) fn norm(x: &Array2<f64>) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Euclidean distance of two states of which the second may have fewer coordinates.
pub(super) fn moved(from: &Weights, to: &Weights) -> f64 {
    let columns = to.coordinates();
    let mut sum = 0.0;
    for ((i, c), x) in from.rows().indexed_iter() {
        let y = if c < columns { to.rows()[[i, c]] } else { 0.0 };
        sum += (x - y) * (x - y);
    }
    sum.sqrt()
}
