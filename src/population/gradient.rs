//! Gradient of the population loss in coefficient form: grad_i L = sum_j A_ij w_j + sum_m B_im v_m.
//!
//! A and B depend on overlaps only (theory 03, eq. 03-coefficients). A is also the Hessian across span(W, V), per
//! dimension (theory 05, eq. 05-transverse).

use std::f64::consts::PI;

use ndarray::{Array2, ArrayView2};

use super::kernel::{LANES, dot, multiply, multiply_upper, padded};
use crate::expectation::{Leaky, angles, erf};
use crate::model::{Teacher, Weights};
use crate::numerics::level::Level;

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

/// Coefficients of one state for one task. A zero unit of ReLU or leaky ReLU gets zero rows: the loss is only
/// directionally differentiable there (see [`super::one_sided`]).
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
    /// Slope of g at negative fields, and (1 - slope)^2; `None` for erf.
    slope: Option<f64>,
    ramp: f64,
    /// Whether the loss has a gradient at zero units.
    smooth: bool,
    student_readouts: Vec<f64>,
    teacher_readouts: Vec<f64>,
    /// b_m |v_m|.
    teacher_strengths: Vec<f64>,
    inverse_teacher_norms: Vec<f64>,
    teacher_squares: Vec<f64>,
    /// V as rows of length dp, and its transpose as r rows of length mp; empty when V = I.
    v: Vec<f64>,
    v_transposed: Vec<f64>,
    rank: usize,
    orthonormal: bool,
    /// Pairs of students i < j, and the room for them among the angles.
    pairs: Vec<(u32, u32)>,
    student_pairs: usize,
    // Scratch: W with room to read a row of length mp anywhere, W^T with rows of length kp, Q (upper triangle), R, angles
    // (students i < j, then students x teachers row by row), a_i n_i, sums of a_j n_j sin, A, B. Padding of the
    // teachers' rows has strength and readout 0.
    w: Vec<f64>,
    w_transposed: Vec<f64>,
    q: Vec<f64>,
    r: Vec<f64>,
    norms: Vec<f64>,
    inverse_norms: Vec<f64>,
    strengths: Vec<f64>,
    pulls: Vec<f64>,
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
        let student_pairs = padded(k * (k - 1) / 2);
        let angles = padded(student_pairs + (k - 1) * m + mp);
        let slope = teacher.activation().negative_slope();
        Field {
            k,
            m,
            d,
            kp,
            mp,
            dp,
            level,
            slope,
            ramp: Leaky::ramp(slope.unwrap_or(0.0)),
            smooth: teacher.activation().is_smooth(),
            student_readouts: weights.readouts().row(task).to_vec(),
            teacher_strengths: lanes(norms.iter().zip(teacher.readouts().row(task)).map(|(n, b)| n * b).collect()),
            teacher_readouts: lanes(teacher.readouts().row(task).to_vec()),
            inverse_teacher_norms: lanes(norms.iter().map(|n| 1.0 / n).collect()),
            teacher_squares: teacher.gram().diag().to_vec(),
            pairs: (0..k as u32).flat_map(|i| (i + 1..k as u32).map(move |j| (i, j))).collect(),
            student_pairs,
            v,
            v_transposed,
            rank,
            orthonormal,
            w: vec![0.0; k * d + mp.max(LANES)],
            w_transposed: vec![0.0; d * kp],
            q: vec![0.0; k * kp],
            r: vec![0.0; k * mp],
            norms: vec![0.0; k],
            inverse_norms: vec![0.0; k],
            strengths: vec![0.0; k],
            pulls: vec![0.0; k],
            correlation: vec![0.0; angles],
            sine: vec![0.0; angles],
            supplement: vec![0.0; angles],
            a: vec![0.0; k * kp],
            b: vec![0.0; k * mp],
            out: vec![0.0; k * dp],
        }
    }

    /// Number of weights K D.
    pub fn dim(&self) -> usize {
        self.k * self.d
    }

    /// Changes the students' readouts, K values.
    pub fn set_readouts(&mut self, readouts: &[f64]) {
        self.student_readouts.copy_from_slice(readouts);
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
            Level::Baseline => self.body::<1>(factor, w, Some(gradient)),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
            Level::Avx2 => unsafe { self.body_avx2(factor, w, Some(gradient)) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { self.body_avx512(factor, w, Some(gradient)) },
            #[cfg(not(target_arch = "x86_64"))]
            _ => self.body::<1>(factor, w, Some(gradient)),
        }
    }

    fn coefficients(&mut self, w: &[f64]) {
        self.body::<1>(1.0, w, None);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    unsafe fn body_avx2(&mut self, factor: f64, w: &[f64], gradient: Option<&mut [f64]>) {
        self.body::<1>(factor, w, gradient);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl")]
    unsafe fn body_avx512(&mut self, factor: f64, w: &[f64], gradient: Option<&mut [f64]>) {
        self.body::<2>(factor, w, gradient);
    }

    #[inline(always)]
    fn body<const WIDE: usize>(&mut self, factor: f64, w: &[f64], gradient: Option<&mut [f64]>) {
        let (k, m, d, kp, mp, dp) = (self.k, self.m, self.d, self.kp, self.mp, self.dp);
        self.w[..k * d].copy_from_slice(&w[..k * d]);
        for (c, column) in self.w_transposed.chunks_exact_mut(kp).enumerate() {
            for (slot, row) in column.iter_mut().zip(w.chunks_exact(d)) {
                *slot = row[c];
            }
        }
        multiply_upper::<WIDE>(k, d, kp, &self.w, d, &self.w_transposed, kp, &mut self.q, kp);
        if !self.orthonormal {
            self.r.fill(0.0);
            multiply::<WIDE>(k, self.rank, mp, &self.w, d, &self.v_transposed, mp, &mut self.r, mp);
        }
        for (i, (norm, inverse)) in self.norms.iter_mut().zip(&mut self.inverse_norms).enumerate() {
            *norm = self.q[i * kp + i].sqrt();
            *inverse = if *norm > 0.0 { 1.0 / *norm } else { 0.0 };
        }
        match self.slope {
            Some(slope) => {
                self.angles();
                self.fill_coefficients(factor);
                if slope != 0.0 {
                    self.tilt(factor * slope);
                }
                if !self.smooth {
                    self.clear_zero_units();
                }
            }
            None => self.fill_erf(factor),
        }
        let Some(gradient) = gradient else { return };
        self.out.fill(0.0);
        // Rows of W follow each other without padding: the lanes past D read the next row and are dropped below.
        multiply::<WIDE>(k, k, dp, &self.a, kp, &self.w, d, &mut self.out, dp);
        if self.orthonormal {
            for (out, b) in self.out.chunks_exact_mut(dp).zip(self.b.chunks_exact(mp)) {
                out[..m].iter_mut().zip(&b[..m]).for_each(|(out, b)| *out += b);
            }
        } else {
            multiply::<WIDE>(k, m, dp, &self.b, mp, &self.v, dp, &mut self.out, dp);
        }
        for (gradient, out) in gradient.chunks_exact_mut(d).zip(self.out.chunks_exact(dp)) {
            gradient.copy_from_slice(&out[..d]);
        }
    }

    /// Sine and supplement of every pair: all at once from the correlations, nearly parallel pairs again from vectors.
    #[inline(always)]
    fn angles(&mut self) {
        let (kp, mp) = (self.kp, self.mp);
        let (q, inverse) = (&self.q[..self.k * kp], &self.inverse_norms[..self.k]);
        for (slot, &(i, j)) in self.correlation.iter_mut().zip(&self.pairs) {
            let (i, j) = (i as usize, j as usize);
            // SAFETY: `pairs` holds i < j < k only (built in `with_level`), q has k rows of kp >= k entries.
            *slot = unsafe { q.get_unchecked(i * kp + j) * (inverse.get_unchecked(i) * inverse.get_unchecked(j)) };
        }
        // Rows follow each other without padding: what a row writes past its end the next one overwrites, what it reads
        // past its end meets teachers of strength 0. With V = I the overlaps R are the first entries of each row of W.
        let (overlaps, stride) = if self.orthonormal { (&self.w, self.d) } else { (&self.r, mp) };
        for i in 0..self.k {
            let slots = &mut self.correlation[self.student_pairs + i * self.m..][..mp];
            scale_row(slots, &overlaps[i * stride..][..mp], &self.inverse_teacher_norms, self.inverse_norms[i]);
        }
        angles::body(&self.correlation, &mut self.sine, &mut self.supplement);
        if nearest(&self.correlation) > 1.0 - NEAR {
            self.refine();
        }
    }

    /// Recomputes nearly parallel pairs from the difference (or sum) of their unit vectors.
    #[inline(never)]
    fn refine(&mut self) {
        let (d, dp) = (self.d, self.dp);
        for p in 0..self.correlation.len() {
            let rho = self.correlation[p];
            let (student, teacher) = match p.checked_sub(self.student_pairs) {
                None if p < self.pairs.len() => ((self.pairs[p].0 as usize, self.pairs[p].1 as usize), None),
                Some(q) if q < self.k * self.m => ((q / self.m, 0), Some(q % self.m)),
                _ => continue,
            };
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
            let i = student.0;
            let x = self.inverse_norms[i];
            match teacher {
                None => {
                    let (j, y) = (student.1, self.inverse_norms[student.1]);
                    (0..d).for_each(|c| add(self.w[i * d + c] * x, self.w[j * d + c] * y));
                }
                Some(t) => {
                    let y = self.inverse_teacher_norms[t];
                    for c in 0..d {
                        let v = if self.orthonormal { f64::from(u8::from(c == t)) } else { self.v[t * dp + c] };
                        add(self.w[i * d + c] * x, v * y);
                    }
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
        let (k, kp, mp) = (self.k, self.kp, self.mp);
        // 1 times the factor for ReLU, to the bit.
        let factor = factor * self.ramp;
        let scale = factor / TAU;
        for ((strength, a), n) in self.strengths.iter_mut().zip(&self.student_readouts).zip(&self.norms) {
            *strength = a * n;
        }
        self.pulls.fill(0.0);
        let (readouts, strengths) = (&self.student_readouts[..k], &self.strengths[..k]);
        let (pulls, a) = (&mut self.pulls[..k], &mut self.a[..k * kp]);
        for (&(i, j), (sine, supplement)) in self.pairs.iter().zip(self.sine.iter().zip(&self.supplement)) {
            let (i, j) = (i as usize, j as usize);
            // a_j n_j sin pulls unit i, a_i n_i sin pulls unit j.
            // SAFETY: `pairs` holds i < j < k only, and the slices above have at least k (a: k rows of kp) entries.
            unsafe {
                *pulls.get_unchecked_mut(i) += strengths.get_unchecked(j) * sine;
                *pulls.get_unchecked_mut(j) += strengths.get_unchecked(i) * sine;
                let angle = scale * readouts.get_unchecked(i) * readouts.get_unchecked(j) * supplement;
                *a.get_unchecked_mut(i * kp + j) = angle;
                *a.get_unchecked_mut(j * kp + i) = angle;
            }
        }
        for i in 0..k {
            let start = self.student_pairs + i * self.m;
            let (sine, supplement) = (&self.sine[start..][..mp], &self.supplement[start..][..mp]);
            let (a, inverse) = (self.student_readouts[i], self.inverse_norms[i]);
            let pull = self.pulls[i] - dot(sine, &self.teacher_strengths);
            self.a[i * kp + i] = factor * 0.5 * a * a + scale * a * inverse * pull;
            scale_row(&mut self.b[i * mp..(i + 1) * mp], supplement, &self.teacher_readouts, -scale * a);
        }
    }

    /// Adds f times the coefficients of |sum a w - sum b v|^2 / 2 (theory 11, eq. 11-coefficients).
    #[inline(always)]
    fn tilt(&mut self, f: f64) {
        for (i, &a) in self.student_readouts.iter().enumerate() {
            let row = &mut self.a[i * self.kp..][..self.k];
            row.iter_mut().zip(&self.student_readouts).for_each(|(slot, other)| *slot += f * a * other);
            let row = &mut self.b[i * self.mp..][..self.m];
            row.iter_mut().zip(&self.teacher_readouts).for_each(|(slot, other)| *slot -= f * a * other);
        }
    }

    #[inline(always)]
    fn clear_zero_units(&mut self) {
        let (kp, mp) = (self.kp, self.mp);
        for i in 0..self.k {
            if self.norms[i] == 0.0 {
                self.a[i * kp..i * kp + kp].fill(0.0);
                self.b[i * mp..i * mp + mp].fill(0.0);
            }
        }
    }

    /// Coefficients for erf (theory 11, eq. 11-erf-coefficients). The scratch of the correlations holds E[g'(u) g'(v)] of one
    /// student and all others, then of it and all teachers.
    #[inline(always)]
    fn fill_erf(&mut self, factor: f64) {
        let (k, m, kp, mp) = (self.k, self.m, self.kp, self.mp);
        let squares = &mut self.strengths;
        squares.iter_mut().enumerate().for_each(|(i, square)| *square = self.q[i * kp + i]);
        self.pulls.fill(0.0);
        let (overlaps, stride) = if self.orthonormal { (&self.w, self.d) } else { (&self.r, mp) };
        for i in 0..k {
            let own = self.student_readouts[i];
            let (row, slopes) = (&self.q[i * kp + i..i * kp + k], &mut self.correlation[..k - i]);
            erf::slopes(squares[i], &squares[i..], row, slopes);
            for (j, (overlap, slope)) in (i..k).zip(row.iter().zip(slopes.iter())) {
                let other = self.student_readouts[j];
                let product = factor * own * other * slope;
                (self.a[i * kp + j], self.a[j * kp + i]) = (product, product);
                self.pulls[i] += other * overlap * slope;
                if j > i {
                    self.pulls[j] += own * overlap * slope;
                }
            }
            let (row, slopes) = (&overlaps[i * stride..][..m], &mut self.correlation[..m]);
            erf::slopes(squares[i], &self.teacher_squares, row, slopes);
            let readouts = &self.teacher_readouts[..m];
            let b = &mut self.b[i * mp..][..m];
            for (((slot, readout), overlap), slope) in b.iter_mut().zip(readouts).zip(row).zip(slopes.iter()) {
                *slot = -factor * own * readout * slope;
                self.pulls[i] -= readout * overlap * slope;
            }
        }
        for i in 0..k {
            self.a[i * kp + i] -= factor * self.student_readouts[i] * self.pulls[i] / (1.0 + squares[i]);
        }
    }
}

/// The values with zeros up to a multiple of [`LANES`].
fn lanes(mut values: Vec<f64>) -> Vec<f64> {
    values.resize(padded(values.len()), 0.0);
    values
}

/// out_j = x_j y_j f, all of one length, a multiple of [`LANES`].
#[inline(always)]
fn scale_row(out: &mut [f64], x: &[f64], y: &[f64], f: f64) {
    for ((out, x), y) in out.chunks_exact_mut(LANES).zip(x.chunks_exact(LANES)).zip(y.chunks_exact(LANES)) {
        for t in 0..LANES {
            out[t] = x[t] * (y[t] * f);
        }
    }
}

/// Largest |x|, for a length that is a multiple of [`LANES`].
#[inline(always)]
fn nearest(x: &[f64]) -> f64 {
    let mut largest = [0.0f64; LANES];
    for part in x.chunks_exact(LANES) {
        for t in 0..LANES {
            let size = part[t].abs();
            largest[t] = if size > largest[t] { size } else { largest[t] };
        }
    }
    largest.iter().fold(0.0, |m, x| if *x > m { *x } else { m })
}
