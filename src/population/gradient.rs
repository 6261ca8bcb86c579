//! Gradient of the population loss in coefficient form: grad_i L = sum_j A_ij w_j + sum_m B_im v_m.
//!
//! A and B depend on overlaps only (theory 03, eq. 03-coefficients). A is also the Hessian across span(W, V), per
//! dimension (theory 05, eq. 05-transverse).

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView2};

use super::kernel::{dot, multiply, padded};
use crate::expectation::angles::{self, Level};
use crate::model::{Teacher, Weights};

const TAU: f64 = 2.0 * PI;

/// Correlations closer to +-1 than this get their angle from the vectors: from the correlation it would be wrong by
/// more than 2e-16 / sqrt(2 NEAR).
const NEAR: f64 = 1e-4;

/// A (K x K, symmetric) and B (K x M) of the gradient's coefficient form.
#[derive(Clone, Debug, PartialEq)]
pub struct Coefficients {
    pub a: Array2<f64>,
    pub b: Array2<f64>,
}

/// Coefficients of one state for one task. A zero unit gets zero rows: the loss is only directionally differentiable
/// there (see [`super::one_sided`]).
pub fn coefficients(weights: &Weights, teacher: &Teacher, task: usize) -> Coefficients {
    let mut field = Field::new(weights, teacher, task);
    field.coefficients(weights.rows().as_slice().unwrap_or(&[]));
    let (k, m) = (weights.students(), teacher.units());
    Coefficients {
        a: Array2::from_shape_fn((k, k), |(i, j)| field.a[i * field.kp + j]),
        b: Array2::from_shape_fn((k, m), |(i, m)| field.b[i * field.mp + m]),
    }
}

/// The gradient as a function of the flat weights (K x D row-major), with its scratch memory; one per thread.
pub struct Field {
    k: usize,
    m: usize,
    d: usize,
    kp: usize,
    mp: usize,
    dp: usize,
    level: Level,
    student_readouts: Vec<f64>,
    teacher_readouts: Vec<f64>,
    teacher_norms: Vec<f64>,
    inverse_teacher_norms: Vec<f64>,
    /// V as rows of length dp, and its transpose as r rows of length mp; empty when V = I.
    v: Vec<f64>,
    v_transposed: Vec<f64>,
    rank: usize,
    orthonormal: bool,
    // Scratch: W padded, W^T padded, Q, R, angles of all pairs (students i < j first, then students x teachers), A, B.
    w: Vec<f64>,
    w_transposed: Vec<f64>,
    q: Vec<f64>,
    r: Vec<f64>,
    norms: Vec<f64>,
    inverse_norms: Vec<f64>,
    correlation: Vec<f64>,
    sine: Vec<f64>,
    supplement: Vec<f64>,
    a: Vec<f64>,
    b: Vec<f64>,
    out: Vec<f64>,
}

impl Field {
    /// For states with the shape (K, D) and readouts of these weights.
    pub fn new(weights: &Weights, teacher: &Teacher, task: usize) -> Field {
        Field::with_level(weights, teacher, task, Level::best())
    }

    /// As [`Field::new`] on a chosen instruction set; the result is the same to the last bit.
    pub fn with_level(weights: &Weights, teacher: &Teacher, task: usize, level: Level) -> Field {
        let (k, d) = weights.rows().dim();
        let (m, rank) = (teacher.units(), teacher.rank());
        let (kp, mp, dp) = (padded(k), padded(m), padded(d));
        let orthonormal = teacher.is_orthonormal();
        let (mut v, mut v_transposed) = (Vec::new(), Vec::new());
        if !orthonormal {
            v = vec![0.0; m * dp];
            v_transposed = vec![0.0; rank * mp];
            for ((i, c), &x) in teacher.vectors().indexed_iter() {
                v[i * dp + c] = x;
                v_transposed[c * mp + i] = x;
            }
        }
        let norms: Vec<f64> = teacher.gram().diag().iter().map(|t| t.sqrt()).collect();
        let pairs = padded(k * (k - 1) / 2 + k * m);
        Field {
            k,
            m,
            d,
            kp,
            mp,
            dp,
            level,
            student_readouts: weights.readouts().row(task).to_vec(),
            teacher_readouts: teacher.readouts().row(task).to_vec(),
            inverse_teacher_norms: norms.iter().map(|n| 1.0 / n).collect(),
            teacher_norms: norms,
            v,
            v_transposed,
            rank,
            orthonormal,
            w: vec![0.0; k * dp],
            w_transposed: vec![0.0; d * kp],
            q: vec![0.0; k * kp],
            r: vec![0.0; k * mp],
            norms: vec![0.0; k],
            inverse_norms: vec![0.0; k],
            correlation: vec![0.0; pairs],
            sine: vec![0.0; pairs],
            supplement: vec![0.0; pairs],
            a: vec![0.0; k * kp],
            b: vec![0.0; k * mp],
            out: vec![0.0; k * dp],
        }
    }

    /// Number of weights K D.
    pub fn dim(&self) -> usize {
        self.k * self.d
    }

    /// Writes grad L at w (both K x D row-major) into `gradient`.
    pub fn gradient(&mut self, w: &[f64], gradient: &mut [f64]) {
        self.scaled(1.0, w, gradient);
    }

    /// Writes the velocity of gradient flow, - grad L.
    pub fn velocity(&mut self, w: &[f64], velocity: &mut [f64]) {
        self.scaled(-1.0, w, velocity);
    }

    /// The gradient at w as a matrix.
    pub fn gradient_at(&mut self, w: ArrayView2<f64>) -> Array2<f64> {
        let flat: Vec<f64> = w.iter().copied().collect();
        let mut gradient = Array2::zeros(w.dim());
        self.gradient(&flat, gradient.as_slice_mut().expect("a fresh array is contiguous"));
        gradient
    }

    fn scaled(&mut self, factor: f64, w: &[f64], gradient: &mut [f64]) {
        match self.level {
            Level::Baseline => self.body(factor, w, Some(gradient)),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
            Level::Avx2 => unsafe { self.body_avx2(factor, w, Some(gradient)) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { self.body_avx512(factor, w, Some(gradient)) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => self.body(factor, w, Some(gradient)),
        }
    }

    fn coefficients(&mut self, w: &[f64]) {
        self.body(1.0, w, None);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn body_avx2(&mut self, factor: f64, w: &[f64], gradient: Option<&mut [f64]>) {
        self.body(factor, w, gradient);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    unsafe fn body_avx512(&mut self, factor: f64, w: &[f64], gradient: Option<&mut [f64]>) {
        self.body(factor, w, gradient);
    }

    #[inline(always)]
    fn body(&mut self, factor: f64, w: &[f64], gradient: Option<&mut [f64]>) {
        let (k, m, d, kp, mp, dp) = (self.k, self.m, self.d, self.kp, self.mp, self.dp);
        for i in 0..k {
            let row = &w[i * d..(i + 1) * d];
            self.w[i * dp..i * dp + d].copy_from_slice(row);
            for (c, &x) in row.iter().enumerate() {
                self.w_transposed[c * kp + i] = x;
            }
        }
        self.q.fill(0.0);
        multiply(k, d, kp, &self.w, dp, &self.w_transposed, kp, &mut self.q, kp);
        if self.orthonormal {
            for i in 0..k {
                self.r[i * mp..i * mp + m].copy_from_slice(&self.w[i * dp..i * dp + m]);
            }
        } else {
            self.r.fill(0.0);
            multiply(k, self.rank, mp, &self.w, dp, &self.v_transposed, mp, &mut self.r, mp);
        }
        for i in 0..k {
            let norm = self.q[i * kp + i].sqrt();
            self.norms[i] = norm;
            self.inverse_norms[i] = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        }
        self.angles();
        self.fill_coefficients(factor);
        let Some(gradient) = gradient else { return };
        self.out.fill(0.0);
        multiply(k, k, dp, &self.a, kp, &self.w, dp, &mut self.out, dp);
        if self.orthonormal {
            for i in 0..k {
                for (out, b) in self.out[i * dp..i * dp + m].iter_mut().zip(&self.b[i * mp..i * mp + m]) {
                    *out += b;
                }
            }
        } else {
            multiply(k, m, dp, &self.b, mp, &self.v, dp, &mut self.out, dp);
        }
        for i in 0..k {
            gradient[i * d..(i + 1) * d].copy_from_slice(&self.out[i * dp..i * dp + d]);
        }
    }

    /// Sine and supplement of every pair: all at once from the correlations, nearly parallel pairs again from vectors.
    #[inline(always)]
    fn angles(&mut self) {
        let (k, m, kp, mp) = (self.k, self.m, self.kp, self.mp);
        let mut p = 0;
        for i in 0..k {
            let inverse = self.inverse_norms[i];
            let others = self.q[i * kp + i + 1..i * kp + k].iter().zip(&self.inverse_norms[i + 1..k]);
            for (slot, (q, n)) in self.correlation[p..].iter_mut().zip(others) {
                *slot = q * (inverse * n);
            }
            p += k - i - 1;
        }
        for i in 0..k {
            let inverse = self.inverse_norms[i];
            let others = self.r[i * mp..i * mp + m].iter().zip(&self.inverse_teacher_norms);
            for (slot, (r, n)) in self.correlation[p..].iter_mut().zip(others) {
                *slot = r * (inverse * n);
            }
            p += m;
        }
        angles::body(&self.correlation, &mut self.sine, &mut self.supplement);
        for chunk in 0..self.correlation.len() / 8 {
            let part: &[f64; 8] = self.correlation[chunk * 8..chunk * 8 + 8].try_into().expect("eight entries");
            let mut near = false;
            for x in part {
                near |= x.abs() > 1.0 - NEAR;
            }
            if near {
                self.refine(chunk * 8, k * (k - 1) / 2);
            }
        }
    }

    /// Recomputes nearly parallel pairs among eight from the difference (or sum) of their unit vectors.
    #[inline(never)]
    fn refine(&mut self, start: usize, student_pairs: usize) {
        let dp = self.dp;
        for p in start..(start + 8).min(student_pairs + self.k * self.m) {
            let rho = self.correlation[p];
            if rho.abs() <= 1.0 - NEAR {
                continue;
            }
            let sign = rho.signum();
            let (mut squared, mut along) = (0.0, 0.0);
            let mut add = |x: f64, y: f64| {
                let difference = y - sign * x;
                squared += difference * difference;
                along += difference * x;
            };
            if p < student_pairs {
                let (i, j) = unpack(p, self.k);
                let (x, y) = (self.inverse_norms[i], self.inverse_norms[j]);
                (0..self.d).for_each(|c| add(self.w[i * dp + c] * x, self.w[j * dp + c] * y));
            } else {
                let (i, t) = ((p - student_pairs) / self.m, (p - student_pairs) % self.m);
                let (x, y) = (self.inverse_norms[i], self.inverse_teacher_norms[t]);
                for c in 0..self.d {
                    let v = if self.orthonormal { f64::from(u8::from(c == t)) } else { self.v[t * dp + c] };
                    add(self.w[i * dp + c] * x, v * y);
                }
            }
            // The part of the difference orthogonal to the first unit vector has length sin theta.
            let sine = (squared - along * along).max(0.0).sqrt();
            self.sine[p] = sine;
            self.supplement[p] = if sign > 0.0 { PI - sine.asin() } else { sine.asin() };
        }
    }

    #[inline(always)]
    fn fill_coefficients(&mut self, factor: f64) {
        let (k, m, kp, mp) = (self.k, self.m, self.kp, self.mp);
        let scale = factor / TAU;
        for i in 0..k {
            let a = self.student_readouts[i];
            self.a[i * kp + i] = factor * 0.5 * a * a;
        }
        let mut p = 0;
        for i in 0..k {
            let (ai, ni, inverse_i) = (self.student_readouts[i], self.norms[i], self.inverse_norms[i]);
            let mut sum = 0.0;
            for j in i + 1..k {
                let product = scale * ai * self.student_readouts[j];
                let sine = product * self.sine[p];
                let angle = product * self.supplement[p];
                sum += self.norms[j] * sine;
                self.a[j * kp + j] += ni * self.inverse_norms[j] * sine;
                self.a[i * kp + j] = angle;
                self.a[j * kp + i] = angle;
                p += 1;
            }
            self.a[i * kp + i] += inverse_i * sum;
        }
        for i in 0..k {
            let product = scale * self.student_readouts[i];
            let pull = weighted_sum(&self.sine[p..p + m], &self.teacher_norms, &self.teacher_readouts);
            self.a[i * kp + i] -= product * self.inverse_norms[i] * pull;
            let angles = self.supplement[p..p + m].iter().zip(&self.teacher_readouts);
            for (b, (supplement, readout)) in self.b[i * mp..i * mp + m].iter_mut().zip(angles) {
                *b = -product * readout * supplement;
            }
            p += m;
        }
        for i in 0..k {
            if self.norms[i] == 0.0 {
                self.a[i * kp..i * kp + kp].fill(0.0);
                self.b[i * mp..i * mp + mp].fill(0.0);
            }
        }
    }
}

/// sum_m s_m n_m b_m in interleaved partial sums.
#[inline(always)]
fn weighted_sum(sine: &[f64], norms: &[f64], readouts: &[f64]) -> f64 {
    let mut products = [0.0f64; 64];
    let mut total = 0.0;
    for ((sine, norms), readouts) in sine.chunks(64).zip(norms.chunks(64)).zip(readouts.chunks(64)) {
        let n = sine.len();
        for i in 0..n {
            products[i] = norms[i] * readouts[i];
        }
        total += dot(sine, &products[..n]);
    }
    total
}

/// Students (i, j) of the p-th pair i < j.
fn unpack(mut p: usize, k: usize) -> (usize, usize) {
    for i in 0..k {
        let row = k - i - 1;
        if p < row {
            return (i, i + 1 + p);
        }
        p -= row;
    }
    (0, 0)
}
