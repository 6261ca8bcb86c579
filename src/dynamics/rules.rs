//! Velocities of the deterministic rules, and gradient descent with a finite step (theory 10).

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Constraint, Descent as Steps, Normalisation, Teacher, Training, Weights, towards_polar};
use crate::population::{Field, constrained_gradient, risk, two_layer_gradient};

/// Velocity of a continuous rule on its flat state: W row-major, followed by a for `two-layer`.
pub(super) struct Velocity {
    field: Field,
    rule: Training,
    task: usize,
    shape: (usize, usize),
    /// a_i^2 - (eta_a/eta_w) |w_i|^2 at the start of `two-layer`.
    conserved: Vec<f64>,
    /// Unit vectors along the rows, K x D, for `sphere`.
    units: Vec<f64>,
}

impl Velocity {
    /// Gradient flow at these weights, and its state.
    pub fn gradient_flow(start: &Weights, teacher: &Teacher, task: usize) -> (Velocity, Vec<f64>) {
        let field = Field::new(start, teacher, task);
        let (rule, shape) = (Training::GradientFlow, start.rows().dim());
        (
            Velocity { field, rule, task, shape, conserved: Vec::new(), units: Vec::new() },
            start.rows().iter().copied().collect(),
        )
    }

    /// The velocity and the state at these weights, put on the rule's constraint. Readouts other than the weights' own are
    /// not set: `two-layer` starts at the readouts given.
    ///
    /// # Errors
    /// [`Error::Spec`] for a rule that is no flow; those of [`Constraint::retract`].
    pub fn new(start: &Weights, teacher: &Teacher, task: usize, rule: Training) -> Result<(Velocity, Vec<f64>)> {
        if let Training::Descent(_) | Training::Sgd(_) = rule {
            return Err(Error::Spec { action: "follow the flow", problem: format!("{rule} has finite steps") });
        }
        rule.meets(teacher.activation())?;
        let mut rows = start.rows().clone();
        rule.constraint().retract(&mut rows)?;
        let shape = rows.dim();
        let mut state: Vec<f64> = rows.iter().copied().collect();
        let mut conserved = Vec::new();
        if let Training::TwoLayer(two) = rule {
            let a = start.readouts().row(task);
            conserved = rows.outer_iter().zip(a).map(|(row, a)| a * a - two.readout_rate * row.dot(&row)).collect();
            state.extend(a);
        }
        let units = if rule == Training::Sphere { state.clone() } else { Vec::new() };
        Ok((Velocity { field: Field::new(start, teacher, task), rule, task, shape, conserved, units }, state))
    }

    /// Writes the velocity at y.
    pub fn at(&mut self, y: &[f64], v: &mut [f64]) {
        let (k, d) = self.shape;
        match self.rule {
            Training::GradientFlow => self.field.velocity(y, v),
            Training::TwoLayer(two) => {
                let (by_w, by_a) = v.split_at_mut(k * d);
                two_layer_gradient(&mut self.field, &y[..k * d], &y[k * d..], by_w, by_a);
                by_w.iter_mut().for_each(|x| *x = -*x);
                by_a.iter_mut().for_each(|x| *x *= -two.readout_rate);
            }
            // Defined beside the set by its value at the nearest point of it, to first order, so that the flow is neutral
            // across the set.
            Training::Stiefel => {
                let rows = towards_polar(&matrix(y, self.shape));
                self.write_tangent(&rows, v);
            }
            Training::Sphere => {
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                self.units.copy_from_slice(y);
                for row in self.units.chunks_exact_mut(d) {
                    let norm = dot(row, row).sqrt();
                    row.iter_mut().for_each(|x| *x /= norm);
                }
                self.field.velocity(&self.units, v);
                for (v, row) in v.chunks_exact_mut(d).zip(self.units.chunks_exact(d)) {
                    let radial = dot(v, row);
                    v.iter_mut().zip(row).for_each(|(v, x)| *v -= radial * x);
                }
            }
            _ => self.write_tangent(&matrix(y, self.shape), v),
        }
    }

    fn write_tangent(&mut self, rows: &Array2<f64>, v: &mut [f64]) {
        let tangent = constrained_gradient(&mut self.field, rows, self.rule.constraint(), self.rule.weight_decay());
        v.iter_mut().zip(&tangent).for_each(|(v, g)| *v = -g);
    }

    /// Puts the state back on its constraint, or on its conserved quantities; returns whether it may have changed.
    ///
    /// # Errors
    /// Those of [`Constraint::retract`].
    pub fn retract(&self, y: &mut [f64]) -> Result<bool> {
        let (k, d) = self.shape;
        if let Training::TwoLayer(two) = self.rule {
            let (w, a) = y.split_at_mut(k * d);
            for (i, (row, a)) in w.chunks_exact_mut(d).zip(a).enumerate() {
                let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                let (length, readout) = balance(norm * a.abs(), self.conserved[i], two.readout_rate);
                if norm > 0.0 && *a != 0.0 {
                    row.iter_mut().for_each(|x| *x *= length / norm);
                    *a = readout.copysign(*a);
                }
            }
            return Ok(true);
        }
        if self.rule.constraint() == Constraint::Free {
            return Ok(false);
        }
        let mut rows = matrix(y, self.shape);
        self.rule.constraint().retract(&mut rows)?;
        y.iter_mut().zip(&rows).for_each(|(y, x)| *y = *x);
        Ok(true)
    }

    /// The weights of a state; other tasks keep the readouts of `start`.
    pub fn weights(&self, start: &Weights, y: &[f64]) -> Weights {
        let rows = matrix(y, self.shape);
        match y.len() - rows.len() {
            0 => start.with_rows(rows),
            _ => start.with_readouts(rows, self.task, &y[self.shape.0 * self.shape.1..]),
        }
    }
}

/// |w| and |a| with product p = |a| |w| and a^2 - rate |w|^2 = c (theory 10, eq. 10-conserved).
pub fn balance(p: f64, c: f64, rate: f64) -> (f64, f64) {
    let root = c.hypot(2.0 * rate.sqrt() * p);
    // a^2 = (root + c)/2, rate |w|^2 = (root - c)/2: the one without cancellation, and the product.
    if c >= 0.0 {
        let a = (0.5 * (root + c)).sqrt();
        (if a > 0.0 { p / a } else { 0.0 }, a)
    } else {
        let w = (0.5 * (root - c) / rate).sqrt();
        (w, p / w)
    }
}

fn matrix(y: &[f64], (k, d): (usize, usize)) -> Array2<f64> {
    Array2::from_shape_fn((k, d), |(i, c)| y[i * d + c])
}

/// Where descent with a finite step stopped: what a training run would report.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    pub loss: f64,
    /// Euclidean norm of the (tangent) gradient.
    pub gradient_norm: f64,
    pub steps: usize,
    /// Whether the gradient reached the rule's bound.
    pub converged: bool,
}

/// A weight norm at which descent has diverged, in units of the start's.
const DIVERGED: f64 = 1e4;

/// Gradient descent by the rule's steps from these weights (put on the constraint first) to its gradient or number of steps.
///
/// # Errors
/// [`Error::NonFinite`] when the weights diverge; those of [`Constraint::retract`].
pub fn descend(start: &Weights, teacher: &Teacher, task: usize, rule: &Steps) -> Result<(Weights, Stopped)> {
    let constraint = rule.then.constraint();
    let mut rows = start.rows().clone();
    constraint.retract(&mut rows)?;
    let mut field = Field::new(start, teacher, task);
    let n = rows.len();
    let (mut gradient, mut velocity) = (vec![0.0; n], vec![0.0; n]);
    let size = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
    let bound = DIVERGED * size(flat(&rows)).max(1.0);
    let mut steps = 0;
    let mut norm;
    loop {
        field.gradient(flat(&rows), &mut gradient);
        if rule.weight_decay > 0.0 {
            gradient.iter_mut().zip(&rows).for_each(|(g, w)| *g += rule.weight_decay * w);
        }
        norm = tangent_norm(constraint, &rows, &gradient);
        if norm <= rule.gradient || steps == rule.steps {
            break;
        }
        for ((w, v), g) in rows.iter_mut().zip(&mut velocity).zip(&gradient) {
            *v = rule.momentum * *v - rule.step * g;
            *w += *v;
        }
        if !(size(flat(&rows)) < bound) {
            return Err(Error::NonFinite { action: "descend with this step", quantity: "the limit of the weights" });
        }
        match rule.then {
            Normalisation::GramSchmidt => gram_schmidt(&mut rows)?,
            _ => constraint.retract(&mut rows)?,
        }
        steps += 1;
    }
    let weights = start.with_rows(rows);
    let loss = risk(&weights, teacher, task);
    Ok((weights, Stopped { loss, gradient_norm: norm, steps, converged: norm <= rule.gradient }))
}

fn flat(rows: &Array2<f64>) -> &[f64] {
    rows.as_slice().unwrap_or(&[])
}

fn tangent_norm(constraint: Constraint, rows: &Array2<f64>, gradient: &[f64]) -> f64 {
    let squares = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    match (constraint, ArrayView2::from_shape(rows.dim(), gradient)) {
        (Constraint::Sphere | Constraint::Stiefel, Ok(view)) => {
            squares(&mut constraint.tangent(rows.view(), view).iter().copied())
        }
        _ => squares(&mut gradient.iter().copied()),
    }
}

/// Orthonormalises the rows one after the other, twice (which is enough for rounding).
fn gram_schmidt(rows: &mut Array2<f64>) -> Result<()> {
    for i in 0..rows.nrows() {
        for _ in 0..2 {
            for j in 0..i {
                let (before, mut rest) = rows.view_mut().split_at(ndarray::Axis(0), i);
                let along = before.row(j).dot(&rest.row(0));
                rest.row_mut(0).scaled_add(-along, &before.row(j));
            }
            let mut row = rows.row_mut(i);
            let norm = row.dot(&row).sqrt();
            if !(norm > f64::EPSILON) {
                let quantity = format!("the part of unit {} across the units before it", i + 1);
                return Err(Error::Real { action: "orthonormalise", quantity, value: norm, needs: "a positive norm" });
            }
            row /= norm;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InitialLaw, TwoLayer, WeightDecay};

    fn start(k: usize, m: usize, d: usize) -> (Weights, Teacher) {
        let teacher = Teacher::orthonormal(m).unwrap();
        (InitialLaw::new(d, 1.0, &teacher).unwrap().draw(k, &teacher, 3, 1).unwrap(), teacher)
    }

    #[test]
    fn balance_keeps_product_and_difference() {
        for (p, c, rate) in [(0.7, 0.3, 1.0), (0.7, -0.3, 2.0), (1e-9, 0.5, 1.0), (1e-9, -0.5, 0.3), (0.4, 0.0, 1.0)] {
            let (w, a) = balance(p, c, rate);
            assert!((w * a - p).abs() <= 1e-15 * p && (a * a - rate * w * w - c).abs() < 1e-15, "{p}, {c}, {rate}");
        }
    }

    /// The discrete rules are first-order approximations of the flows: the mean velocity of one short step.
    #[test]
    fn one_short_step_is_the_velocity() {
        let (start, teacher) = start(3, 3, 5);
        for (flow, then, gamma) in [
            (Training::GradientFlow, Normalisation::None, 0.0),
            (Training::WeightDecay(WeightDecay { gamma: 0.2 }), Normalisation::None, 0.2),
            (Training::Sphere, Normalisation::Sphere, 0.0),
            (Training::Stiefel, Normalisation::Stiefel, 0.0),
        ] {
            let (mut velocity, y) = Velocity::new(&start, &teacher, 0, flow).unwrap();
            let mut v = vec![0.0; y.len()];
            velocity.at(&y, &mut v);
            let error = |step: f64| {
                let rule = Steps { step, steps: 1, then, weight_decay: gamma, ..Steps::default() };
                let (end, _) = descend(&velocity.weights(&start, &y), &teacher, 0, &rule).unwrap();
                end.rows().iter().zip(&y).zip(&v).map(|((w, y), v)| ((w - y) / step - v).abs()).fold(0.0, f64::max)
            };
            assert!(error(1e-5) < 1e-4 && error(1e-6) < 0.2 * error(1e-5) + 1e-9, "{flow}: {:e}", error(1e-5));
        }
    }

    /// Flows keep their sets and lower the loss.
    #[test]
    fn velocities_are_tangent_and_descend() {
        let (start, teacher) = start(4, 3, 6);
        for rule in [Training::Sphere, Training::Stiefel, Training::TwoLayer(TwoLayer { readout_rate: 2.0 })] {
            let (mut velocity, mut y) = Velocity::new(&start, &teacher, 0, rule).unwrap();
            let mut v = vec![0.0; y.len()];
            let mut loss = f64::INFINITY;
            for _ in 0..50 {
                velocity.at(&y, &mut v);
                y.iter_mut().zip(&v).for_each(|(y, v)| *y += 0.05 * v);
                velocity.retract(&mut y).unwrap();
                let weights = velocity.weights(&start, &y);
                assert!(rule.constraint().violation(weights.rows().view()) < 1e-14);
                for (i, c) in velocity.conserved.iter().enumerate() {
                    let (row, a) = (weights.rows().row(i), weights.readouts()[[0, i]]);
                    assert!((a * a - 2.0 * row.dot(&row) - c).abs() < 1e-14);
                }
                let new = risk(&weights, &teacher, 0);
                assert!(new < loss, "{rule}: {new} after {loss}");
                loss = new;
            }
        }
    }

    #[test]
    fn large_steps_are_reported() {
        let (start, teacher) = start(3, 3, 5);
        let rule = Steps { step: 20.0, ..Steps::default() };
        assert!(matches!(descend(&start, &teacher, 0, &rule), Err(Error::NonFinite { .. })));
    }
}
