//! The loss near a zero unit, where it has one-sided derivatives only.

use ndarray::Array2;

use super::gradient::Field;
use crate::error::Result;
use crate::model::{Teacher, Weights};

/// Steepest one-sided slope of the loss at a zero unit.
#[derive(Clone, Debug)]
pub struct OneSided {
    /// Index of the zero unit.
    pub unit: usize,
    /// Smallest derivative over unit directions found: the point is no minimum when it is negative.
    pub slope: f64,
    /// The direction, D entries.
    pub direction: Vec<f64>,
}

/// The loss near one zero unit: slope along unit directions, and its descent over them (theory 04, eq. 04-one-sided).
pub struct ZeroUnit {
    field: Field,
    trial: Array2<f64>,
    unit: usize,
    readout: f64,
    /// E[g(lambda)^2] of a unit field.
    square: f64,
}

impl ZeroUnit {
    /// For the student with this index, whose row must be zero; ReLU or leaky ReLU.
    pub fn new(weights: &Weights, teacher: &Teacher, task: usize, unit: usize) -> ZeroUnit {
        let field = Field::new(weights, teacher, task);
        let slope = teacher.activation().negative_slope().unwrap_or(0.0);
        let square = 0.5 * (1.0 + slope * slope);
        ZeroUnit { field, trial: weights.rows().clone(), unit, readout: weights.readouts()[[task, unit]], square }
    }

    /// Slope h(u) = a E[(f - f*) g(u.x)] along a unit vector u (D entries) and its gradient a E[(f - f*) g'(u.x) x].
    /// The loss at length tau along u is L(0) + tau h(u) + a^2 tau^2 (1 + slope^2) / 4 exactly.
    pub fn slope(&mut self, u: &[f64]) -> (f64, Vec<f64>) {
        // A unit of length 1 put in place of the zero unit has gradient a E[e g'(u.x) x] + a^2 E[g^2] u, e without it.
        let a = self.readout;
        self.trial.row_mut(self.unit).iter_mut().zip(u).for_each(|(t, &u)| *t = u);
        let gradient = self.field.gradient_at(self.trial.view());
        let pull: Vec<f64> = gradient.row(self.unit).iter().zip(u).map(|(g, u)| g - self.square * a * a * u).collect();
        let slope: f64 = pull.iter().zip(u).map(|(p, u)| p * u).sum();
        (slope, pull)
    }

    /// A local minimum of the slope over unit directions by projected descent from a direction (D entries, any length):
    /// the slope and the direction, `None` from the zero vector.
    pub fn steepest_from(&mut self, start: Vec<f64>) -> Option<(f64, Vec<f64>)> {
        let mut u = normalised(start)?;
        let (mut slope, mut pull) = self.slope(&u);
        let mut step = 1.0;
        for _ in 0..500 {
            let trial: Vec<f64> = u.iter().zip(&pull).map(|(u, p)| u - step * (p - slope * u)).collect();
            let Some(trial) = normalised(trial) else { break };
            let (new_slope, new_pull) = self.slope(&trial);
            if new_slope < slope - 1e-15 {
                (u, slope, pull) = (trial, new_slope, new_pull);
                step *= 1.5;
            } else {
                step *= 0.5;
                if step < 1e-8 {
                    break;
                }
            }
        }
        Some((slope, u))
    }
}

/// For each zero unit the smallest one-sided derivative of the loss over unit directions in the state's coordinates
/// (theory 04, eq. 04-one-sided). The slope along u is a E[(f - f*) g(u.x)], minimised by projected descent from each
/// unit's and teacher's direction, their opposites and their sums. None for a smooth activation.
pub fn one_sided(weights: &Weights, teacher: &Teacher, task: usize) -> Result<Vec<OneSided>> {
    if teacher.activation().is_smooth() {
        return Ok(Vec::new());
    }
    let rows = weights.rows();
    let (k, d) = rows.dim();
    let zero: Vec<usize> = (0..k).filter(|&i| rows.row(i).iter().all(|&x| x == 0.0)).collect();
    let mut found = Vec::new();
    for unit in zero {
        let mut near = ZeroUnit::new(weights, teacher, task, unit);
        let mut starts: Vec<Vec<f64>> = Vec::new();
        let mut total = vec![0.0; d];
        for row in rows.outer_iter().chain(teacher.vectors().outer_iter()) {
            let mut start: Vec<f64> = row.to_vec();
            start.resize(d, 0.0);
            total.iter_mut().zip(&start).for_each(|(t, s)| *t += s);
            starts.push(start);
        }
        starts.push(total);
        let mut best = OneSided { unit, slope: f64::INFINITY, direction: vec![0.0; d] };
        for start in starts {
            for sign in [1.0, -1.0] {
                let signed = start.iter().map(|x| sign * x).collect();
                let Some((slope, direction)) = near.steepest_from(signed) else { continue };
                if slope < best.slope {
                    best = OneSided { unit, slope, direction };
                }
            }
        }
        found.push(best);
    }
    Ok(found)
}

fn normalised(mut u: Vec<f64>) -> Option<Vec<f64>> {
    let norm = u.iter().map(|x| x * x).sum::<f64>().sqrt();
    if norm < 1e-12 {
        return None;
    }
    u.iter_mut().for_each(|x| *x /= norm);
    Some(u)
}
