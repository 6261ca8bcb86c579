//! Hessian of the population loss: a block inside span(W, V) and a block across it, for any input dimension.
//!
//! Every dimension orthogonal to all units contributes the same K x K matrix A (the coefficients of the gradient), so two
//! finite matrices give the full spectrum at any d, d = infinity included (theory 05, eq. 05-span and 05-transverse).

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView1};

use super::gradient::coefficients;
use crate::error::Result;
use crate::expectation::{Averages, Erf, Leaky, Linear, Pair};
use crate::model::{Activation, Teacher, Weights};
use crate::numerics::level::Level;
use crate::numerics::memory;

const TAU: f64 = 2.0 * PI;

/// Second derivatives at one state. Zero units at a kink are left out: the loss has no second derivative there.
#[derive(Clone, Debug)]
pub struct Hessian {
    /// Inside the D coordinates of the state: n x n with n = K' D, index (unit, coordinate) row-major.
    pub span: Array2<f64>,
    /// Across them, per further dimension: K' x K'.
    pub transverse: Array2<f64>,
    /// The K' students, in order: those with non-zero norm, or all when the activation is smooth.
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
    let activation = teacher.activation();
    let units: Vec<usize> = (0..norms.len()).filter(|&i| norms[i] > 0.0 || activation.is_smooth()).collect();
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
    let span = match activation {
        Activation::Linear => Some(by_pairs(&Linear, weights, teacher, task, &transverse)),
        Activation::Erf => Some(by_pairs(&Erf, weights, teacher, task, &transverse)),
        _ => None,
    };
    if let Some(span) = span {
        return Ok(Hessian { span, transverse, units });
    }
    let ramp = Leaky::ramp(activation.negative_slope().unwrap_or(0.0));
    // Students first, then teachers, as unit vectors with their strengths: a_i |w_i| and - b_m |v_m|.
    let mut directions: Vec<Vec<f64>> =
        units.iter().map(|&i| rows.row(i).iter().map(|x| x / norms[i]).collect()).collect();
    let mut strengths: Vec<f64> = units.iter().map(|&i| ramp * a[i] * norms[i]).collect();
    for (v, &b) in teacher.vectors().outer_iter().zip(teacher.readouts().row(task)) {
        let norm = v.dot(&v).sqrt();
        directions.push(padded(v, norm, d));
        strengths.push(-ramp * b * norm);
    }
    let parts = Parts {
        students: units.len(),
        d,
        directions,
        strengths,
        readouts: units.iter().map(|&i| a[i]).collect(),
        ramp,
        norms: units.iter().map(|&i| norms[i]).collect(),
        transverse: transverse.iter().copied().collect(),
    };
    let mut span = Array2::<f64>::zeros((n, n));
    parts.fill(span.as_slice_mut().expect("a fresh array is contiguous"));
    Ok(Hessian { span, transverse, units })
}

/// The span block from second derivatives of the pair average (theory 11, eq. 11-hessian): for activations without kinks.
fn by_pairs(
    averages: &impl Averages,
    weights: &Weights,
    teacher: &Teacher,
    task: usize,
    transverse: &Array2<f64>,
) -> Array2<f64> {
    let (k, d) = weights.rows().dim();
    let mut vectors: Vec<Vec<f64>> = weights.rows().outer_iter().map(|row| row.to_vec()).collect();
    vectors.extend(teacher.vectors().outer_iter().map(|v| padded(v, 1.0, d)));
    let (a, b) = (weights.readouts().row(task), teacher.readouts().row(task));
    let readouts: Vec<f64> = a.iter().copied().chain(b.iter().map(|b| -b)).collect();
    let n = k * d;
    let mut span =
        Array2::<f64>::from_shape_fn((n, n), |(x, y)| if x % d == y % d { transverse[[x / d, y / d]] } else { 0.0 });
    let flat = span.as_slice_mut().expect("a fresh array is contiguous");
    for i in 0..k {
        for (u, other) in vectors.iter().enumerate() {
            let own = &vectors[i];
            let (weight, c) = (readouts[i] * readouts[u], averages.curvature(&Pair::from_vectors(own, other)));
            let corner = (i * d, i * d);
            rank_one(flat, n, corner, 4.0 * weight * c.uu_uu, own, own);
            rank_one(flat, n, corner, 2.0 * weight * c.uu_uv, own, other);
            rank_one(flat, n, corner, 2.0 * weight * c.uu_uv, other, own);
            rank_one(flat, n, corner, weight * c.uv_uv, other, other);
            if u < k {
                let corner = (i * d, u * d);
                rank_one(flat, n, corner, 4.0 * weight * c.uu_vv, own, other);
                rank_one(flat, n, corner, 2.0 * weight * c.uu_uv, own, own);
                rank_one(flat, n, corner, 2.0 * weight * c.vv_uv, other, other);
                rank_one(flat, n, corner, weight * c.uv_uv, other, own);
            }
        }
    }
    span
}

/// What the span block is made of: units with norm, in flat arrays.
struct Parts {
    students: usize,
    d: usize,
    directions: Vec<Vec<f64>>,
    strengths: Vec<f64>,
    readouts: Vec<f64>,
    /// (1 - slope)^2, contained in the strengths.
    ramp: f64,
    norms: Vec<f64>,
    transverse: Vec<f64>,
}

impl Parts {
    /// Fills the n x n matrix at the processor's best instruction set (the same bits at each).
    fn fill(&self, flat: &mut [f64]) {
        match Level::best() {
            Level::Baseline => self.body(flat),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
            Level::Avx2 | Level::Avx512 => unsafe { self.body_avx2(flat) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => self.body(flat),
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn body_avx2(&self, flat: &mut [f64]) {
        self.body(flat);
    }

    #[inline(always)]
    fn body(&self, flat: &mut [f64]) {
        let (k, d) = (self.students, self.d);
        let n = k * d;
        for i in 0..k {
            let own = &self.directions[i];
            let mut along = 0.0;
            for (o, other) in self.directions.iter().enumerate() {
                if o == i {
                    continue;
                }
                let pair = Chords::new(own, other);
                let sine = pair.sine();
                if sine > 0.0 {
                    // (uu^T - w^w^T) sin theta for the part u of the other unit vector orthogonal to this one.
                    let weight = self.readouts[i] * self.strengths[o] / (TAU * self.norms[i]);
                    along += weight * sine;
                    let across = pair.across(own);
                    rank_one(flat, n, (i * d, i * d), weight / sine, &across, &across);
                }
                if o < i && pair.minus > 0.0 && pair.plus > 0.0 {
                    let scale = self.ramp * self.readouts[i] * self.readouts[o] / (2.0 * TAU);
                    let corner = (i * d, o * d);
                    rank_one(flat, n, corner, scale * pair.minus / pair.plus, &pair.sum, &pair.sum);
                    rank_one(flat, n, corner, -scale * pair.plus / pair.minus, &pair.difference, &pair.difference);
                }
            }
            rank_one(flat, n, (i * d, i * d), -along, own, own);
            for j in 0..=i {
                for mu in 0..d {
                    flat[(i * d + mu) * n + j * d + mu] += self.transverse[i * k + j];
                }
            }
        }
        for row in 0..n {
            for column in row + 1..n {
                flat[row * n + column] = flat[column * n + row];
            }
        }
    }
}

/// Adds scale x y^T to the block with this corner of an n x n matrix.
#[inline(always)]
fn rank_one(flat: &mut [f64], n: usize, corner: (usize, usize), scale: f64, x: &[f64], y: &[f64]) {
    for (mu, x) in x.iter().enumerate() {
        let start = (corner.0 + mu) * n + corner.1;
        let factor = scale * x;
        for (slot, y) in flat[start..start + y.len()].iter_mut().zip(y) {
            *slot += factor * y;
        }
    }
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
