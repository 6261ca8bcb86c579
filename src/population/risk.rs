//! The population loss, as a sum of small parts in double precision and in double-double arithmetic.

use std::f64::consts::PI;

use ndarray::Array2;
use twofloat::TwoFloat;

use super::Fields;
use crate::expectation::{Leaky, exact_pair_of, quartic_part};
use crate::model::{Activation, Teacher, Weights};

/// L = E[(f - f*)^2] / 2 of one task, as a sum of parts that are each small near f = f* (theory 01, eq. 01-parts):
/// (sum a|w| - sum b|v|)^2 / 4 pi + |sum a w - sum b v|^2 / 8 + |sum a w w^T/|w| - sum b v v^T/|v||_F^2 / 8 pi + rest for
/// ReLU; for leaky ReLU and linear see theory 11, eq. 11-loss; for erf the sum of pair averages.
///
/// Absolute error about 1e-17 times the squared sum of norms. [`risk_exact`] keeps relative accuracy to L = 1e-25.
pub fn risk(weights: &Weights, teacher: &Teacher, task: usize) -> f64 {
    let Some(slope) = teacher.activation().negative_slope() else {
        return Fields::from_weights(weights, teacher, task).risk();
    };
    let units = signed_units(weights, teacher, task);
    let d = weights.coordinates();
    let norms: Vec<f64> = units.iter().map(|(_, u)| u.iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
    let mut total_norm = 0.0;
    let mut total = vec![0.0; d];
    let mut square = Array2::<f64>::zeros((d, d));
    for ((s, u), &n) in units.iter().zip(&norms) {
        total_norm += s * n;
        for (i, x) in u.iter().enumerate() {
            total[i] += s * x;
            if n > 0.0 {
                let row = s * x / n;
                u.iter().enumerate().for_each(|(j, y)| square[[i, j]] += row * y);
            }
        }
    }
    let mut rest = 0.0;
    for i in 0..units.len() {
        for j in 0..=i {
            let product = norms[i] * norms[j];
            if product == 0.0 {
                continue;
            }
            let cosine = units[i].1.iter().zip(units[j].1).map(|(x, y)| x * y).sum::<f64>() / product;
            let weight = if i == j { 0.5 } else { 1.0 };
            rest += weight * units[i].0 * units[j].0 * product * quartic_part(cosine.clamp(-1.0, 1.0));
        }
    }
    let sum = total.iter().map(|x| x * x).sum::<f64>();
    let relu = total_norm * total_norm / (4.0 * PI)
        + sum / 8.0
        + square.iter().map(|x| x * x).sum::<f64>() / (8.0 * PI)
        + rest;
    if slope == 0.0 { relu } else { Leaky::ramp(slope) * relu + 0.5 * slope * sum }
}

/// L of the given (double precision) weights and teacher vectors to about 1e-30 absolute, in double-double arithmetic:
/// keeps relative accuracy however close f is to f*. About 2 us per pair of units.
pub fn risk_exact(weights: &Weights, teacher: &Teacher, task: usize) -> f64 {
    signed_risk_of(teacher.activation(), &signed_units(weights, teacher, task))
}

/// E[(sum_k s_k (u_k.x)+)^2] / 2 for signed units (s, u), as [`risk_exact`]; units may have different lengths (missing
/// entries are 0).
pub fn signed_risk(units: &[(f64, &[f64])]) -> f64 {
    signed_risk_of(Activation::Relu, units)
}

fn signed_risk_of(activation: Activation, units: &[(f64, &[f64])]) -> f64 {
    let zero = TwoFloat::from(0.0);
    let product = |u: &[f64], v: &[f64]| u.iter().zip(v).fold(zero, |sum, (&x, &y)| sum + TwoFloat::new_mul(x, y));
    let squares: Vec<TwoFloat> = units.iter().map(|(_, u)| product(u, u)).collect();
    let mut sum = zero;
    for i in 0..units.len() {
        if squares[i] == zero {
            continue;
        }
        sum += match activation {
            Activation::Relu => squares[i] * TwoFloat::new_mul(units[i].0, units[i].0) * 0.5,
            _ => {
                exact_pair_of(activation, squares[i], squares[i], squares[i])
                    * TwoFloat::new_mul(units[i].0, units[i].0)
            }
        };
        for j in 0..i {
            if squares[j] == zero {
                continue;
            }
            let cross = product(units[i].1, units[j].1);
            let average = exact_pair_of(activation, squares[i], squares[j], cross);
            sum += average * TwoFloat::new_mul(units[i].0, units[j].0) * 2.0;
        }
    }
    f64::from(sum * 0.5).max(0.0)
}

/// Students with sign +a and teachers with sign -b; teacher rows are shorter (missing entries are 0).
fn signed_units<'a>(weights: &'a Weights, teacher: &'a Teacher, task: usize) -> Vec<(f64, &'a [f64])> {
    let mut units: Vec<(f64, &[f64])> = Vec::with_capacity(weights.students() + teacher.units());
    for (row, &a) in weights.rows().outer_iter().zip(weights.readouts().row(task)) {
        units.push((a, row.to_slice().unwrap_or(&[])));
    }
    for (row, &b) in teacher.vectors().outer_iter().zip(teacher.readouts().row(task)) {
        units.push((-b, row.to_slice().unwrap_or(&[])));
    }
    units
}
