//! Hessian of the population loss: a block inside span(W, V) and a block across it, for any input dimension.
//!
//! Every dimension orthogonal to all units contributes the same K x K matrix A (the coefficients of the gradient), so two
//! finite matrices give the full spectrum at any d, d = infinity included (theory 05, eq. 05-span and 05-transverse).

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView1};

use super::gradient::coefficients;
use crate::error::Result;
use crate::model::{Teacher, Weights};
use crate::numerics::memory;

const TAU: f64 = 2.0 * PI;

/// Second derivatives at one state. Zero units are left out: the loss has no second derivative there.
#[derive(Clone, Debug)]
pub struct Hessian {
    /// Inside the D coordinates of the state: n x n with n = K' D, index (unit, coordinate) row-major.
    pub span: Array2<f64>,
    /// Across them, per further dimension: K' x K'.
    pub transverse: Array2<f64>,
    /// The K' students with non-zero norm, in order.
    pub units: Vec<usize>,
}

/// Hessian of one task's loss at a state.
///
/// # Errors
/// [`crate::error::Error::Memory`] when the span block would not fit.
pub fn hessian(weights: &Weights, teacher: &Teacher, task: usize) -> Result<Hessian> {
    let d = weights.coordinates();
    let rows = weights.rows();
    let norms: Vec<f64> = rows.outer_iter().map(|row| row.dot(&row).sqrt()).collect();
    let units: Vec<usize> = (0..norms.len()).filter(|&i| norms[i] > 0.0).collect();
    let n = units.len() * d;
    memory::check_dense(
        "compute the Hessian",
        "the Hessian inside span(W, V)",
        n,
        3,
        "losses, gradients and flows still work at this size (landscape without spectra is not offered: take fewer units)",
    )?;
    let coefficients = coefficients(weights, teacher, task);
    let transverse = Array2::from_shape_fn((units.len(), units.len()), |(i, j)| coefficients.a[[units[i], units[j]]]);
    let a = weights.readouts().row(task);
    let unit_vectors: Vec<Vec<f64>> =
        units.iter().map(|&i| rows.row(i).iter().map(|x| x / norms[i]).collect()).collect();
    let mut span = Array2::<f64>::zeros((n, n));
    let flat = span.as_slice_mut().expect("a fresh array is contiguous");
    let mut add = |i: usize, j: usize, scale: f64, x: &[f64], y: &[f64]| {
        for (mu, &x) in x.iter().enumerate() {
            let row = &mut flat[(i * d + mu) * n + j * d..(i * d + mu) * n + (j + 1) * d];
            let factor = scale * x;
            row.iter_mut().zip(y).for_each(|(h, &y)| *h += factor * y);
        }
    };
    let mut identity: Vec<(usize, usize, f64)> = Vec::new();
    for (s, &i) in units.iter().enumerate() {
        identity.push((s, s, coefficients.a[[i, i]]));
        let own = &unit_vectors[s];
        let mut along = 0.0;
        let mut curve = |other: &[f64], weight: f64, add: &mut dyn FnMut(usize, usize, f64, &[f64], &[f64])| {
            let pair = Chords::new(own, other);
            let sine = pair.sine();
            if sine > 0.0 {
                along += weight * sine;
                let across = pair.across(own);
                add(s, s, weight / sine, &across, &across);
            }
        };
        for (o, &j) in units.iter().enumerate() {
            if o != s {
                curve(&unit_vectors[o], a[i] * a[j] * norms[j] / (TAU * norms[i]), &mut add);
            }
        }
        for (v, &b) in teacher.vectors().outer_iter().zip(teacher.readouts().row(task)) {
            let norm = v.dot(&v).sqrt();
            let other = padded(v, norm, d);
            curve(&other, -a[i] * b * norm / (TAU * norms[i]), &mut add);
        }
        add(s, s, -along, own, own);
        for (o, &j) in units.iter().enumerate() {
            if o == s {
                continue;
            }
            let pair = Chords::new(own, &unit_vectors[o]);
            let scale = a[i] * a[j] / TAU;
            identity.push((s, o, coefficients.a[[i, j]]));
            if pair.minus > 0.0 && pair.plus > 0.0 {
                add(s, o, scale * pair.minus / (2.0 * pair.plus), &pair.sum, &pair.sum);
                add(s, o, -scale * pair.plus / (2.0 * pair.minus), &pair.difference, &pair.difference);
            }
        }
    }
    for (i, j, value) in identity {
        for mu in 0..d {
            flat[(i * d + mu) * n + j * d + mu] += value;
        }
    }
    Ok(Hessian { span, transverse, units })
}

fn padded(v: ArrayView1<f64>, norm: f64, d: usize) -> Vec<f64> {
    let mut out: Vec<f64> = v.iter().map(|x| x / norm).collect();
    out.resize(d, 0.0);
    out
}

/// Sum and difference of two unit vectors: their lengths are 2 cos(theta/2) and 2 sin(theta/2).
struct Chords {
    sum: Vec<f64>,
    difference: Vec<f64>,
    plus: f64,
    minus: f64,
}

impl Chords {
    fn new(u: &[f64], v: &[f64]) -> Chords {
        let sum: Vec<f64> = u.iter().zip(v).map(|(a, b)| a + b).collect();
        let difference: Vec<f64> = u.iter().zip(v).map(|(a, b)| a - b).collect();
        let length = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
        // Shorter than rounding of the unit vectors: parallel or antiparallel.
        let cut = |x: f64| if x < 4.0 * f64::EPSILON { 0.0 } else { x };
        Chords { plus: cut(length(&sum)), minus: cut(length(&difference)), sum, difference }
    }

    fn sine(&self) -> f64 {
        0.5 * self.plus * self.minus
    }

    /// The part of v orthogonal to u, of length sin theta, from the shorter chord.
    fn across(&self, u: &[f64]) -> Vec<f64> {
        let (chord, along, sign) = if self.minus <= self.plus {
            (&self.difference, 0.5 * self.minus * self.minus, -1.0)
        } else {
            (&self.sum, -0.5 * self.plus * self.plus, 1.0)
        };
        chord.iter().zip(u).map(|(c, u)| sign * c + along * u).collect()
    }
}
