//! Runge-Kutta-Chebyshev: explicit, second order, stable on a long piece of the negative real axis.
//!
//! For gradient flows (Jacobian symmetric) on which an explicit Runge-Kutta method would be limited by stability: s stages
//! cover h * radius up to 0.65 s^2. Formulas and step control: Sommeijer, Shampine, Verwer, J. Comput. Appl. Math. 88
//! (1997) 315; damping 2/13.

use std::sync::OnceLock;

use super::level::Level;
use crate::error::{Error, Result};

/// Most stages of one step while the flow is fast. More do not pay: the error control, not stability, sets the step then
/// (measured on the flow at K = M = 17).
pub const STAGES: usize = 30;

/// Most stages of any step, for creeping along directions of almost no curvature: see [`Rkc::most_stages`].
pub const MAX_STAGES: usize = 120;

const DAMPING: f64 = 2.0 / 13.0;
const STEPS_PER_RADIUS: usize = 25;

/// Coefficients of the method with a given number of stages (indices 2..=s used).
struct Stages {
    first: f64,
    mu: Vec<f64>,
    nu: Vec<f64>,
    mu_tilde: Vec<f64>,
    gamma_tilde: Vec<f64>,
}

impl Stages {
    fn new(s: usize) -> Stages {
        let w0 = 1.0 + DAMPING / (s * s) as f64;
        // Chebyshev polynomials at w0 with first and second derivatives, by recurrence.
        let (mut t, mut d, mut dd) = (vec![1.0, w0], vec![0.0, 1.0], vec![0.0, 0.0]);
        for j in 2..=s {
            t.push(2.0 * w0 * t[j - 1] - t[j - 2]);
            d.push(2.0 * t[j - 1] + 2.0 * w0 * d[j - 1] - d[j - 2]);
            dd.push(4.0 * d[j - 1] + 2.0 * w0 * dd[j - 1] - dd[j - 2]);
        }
        let w1 = d[s] / dd[s];
        let mut b: Vec<f64> = (0..=s).map(|j| if j < 2 { 0.0 } else { dd[j] / (d[j] * d[j]) }).collect();
        (b[0], b[1]) = (b[2], b[2]);
        let a: Vec<f64> = (0..=s).map(|j| 1.0 - b[j] * t[j]).collect();
        let mut stages = Stages {
            first: b[1] * w1,
            mu: vec![0.0; s + 1],
            nu: vec![0.0; s + 1],
            mu_tilde: vec![0.0; s + 1],
            gamma_tilde: vec![0.0; s + 1],
        };
        for j in 2..=s {
            stages.mu[j] = 2.0 * b[j] * w0 / b[j - 1];
            stages.nu[j] = -b[j] / b[j - 2];
            stages.mu_tilde[j] = 2.0 * b[j] * w1 / b[j - 1];
            stages.gamma_tilde[j] = -a[j - 1] * stages.mu_tilde[j];
        }
        stages
    }

    fn get(s: usize) -> &'static Stages {
        static TABLE: OnceLock<Vec<Stages>> = OnceLock::new();
        &TABLE.get_or_init(|| (2..=MAX_STAGES).map(Stages::new).collect())[s - 2]
    }
}

/// An autonomous system y' = f(y) under integration.
pub struct Rkc {
    /// Current state, length n.
    pub y: Vec<f64>,
    /// f at the current state.
    pub velocity: Vec<f64>,
    /// Current time.
    pub time: f64,
    /// Calls of f so far.
    pub evaluations: usize,
    /// Most stages of a step, at most [`MAX_STAGES`]; starts at [`STAGES`].
    pub most_stages: usize,
    step: f64,
    radius: f64,
    direction: Vec<f64>,
    since_radius: usize,
    last_error: f64,
    last_step: f64,
    scratch: [Vec<f64>; 4],
}

impl Rkc {
    /// Starts at y0 at time 0.
    pub fn new(y0: &[f64], f: &mut impl FnMut(&[f64], &mut [f64])) -> Rkc {
        let n = y0.len();
        let mut velocity = vec![0.0; n];
        f(y0, &mut velocity);
        Rkc {
            y: y0.to_vec(),
            direction: velocity.clone(),
            velocity,
            time: 0.0,
            evaluations: 1,
            most_stages: STAGES,
            step: 0.0,
            radius: 0.0,
            since_radius: usize::MAX,
            last_error: 0.0,
            last_step: 0.0,
            scratch: std::array::from_fn(|_| vec![0.0; n]),
        }
    }

    /// Makes one accepted step with this bound on the absolute root-mean-square error, never beyond `end`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] when the state or the error estimate stops being finite.
    pub fn advance(&mut self, tolerance: f64, end: f64, f: &mut impl FnMut(&[f64], &mut [f64])) -> Result<()> {
        let n = self.y.len();
        loop {
            if self.since_radius >= STEPS_PER_RADIUS {
                self.estimate_radius(f)?;
            }
            if self.step == 0.0 {
                self.step = 1.0 / self.radius;
            }
            let most = self.most_stages.clamp(2, MAX_STAGES);
            let largest = ((most * most - 1) as f64) / (1.54 * self.radius);
            let h = self.step.min(largest).min(end - self.time);
            let s = ((1.0 + (1.0 + 1.54 * h * self.radius).sqrt()) as usize).clamp(2, most);
            self.stages(s, h, f);
            let [before, new, _, new_velocity] = &mut self.scratch;
            let mut sum = 0.0;
            for i in 0..n {
                let estimate = 0.8 * (self.y[i] - new[i]) + 0.4 * h * (self.velocity[i] + new_velocity[i]);
                sum += estimate * estimate;
            }
            let error = (sum / n as f64).sqrt() / tolerance;
            if !error.is_finite() {
                return Err(Error::NonFinite { action: "integrate the flow", quantity: "the state" });
            }
            if error > 1.0 {
                self.step = h * (0.8 / error.cbrt()).max(0.1);
                self.since_radius = self.since_radius.max(STEPS_PER_RADIUS / 2);
                continue;
            }
            let mut factor = 0.8 / error.max(1e-10).cbrt();
            if self.last_error > 0.0 && self.last_step > 0.0 {
                let predicted = 0.8 * h / self.last_step * self.last_error.cbrt() / error.max(1e-10).powf(2.0 / 3.0);
                factor = factor.min(predicted);
            }
            std::mem::swap(before, &mut self.y);
            std::mem::swap(&mut self.y, new);
            std::mem::swap(&mut self.velocity, new_velocity);
            self.time += h;
            (self.last_error, self.last_step) = (error.max(1e-10), h);
            self.step = (h * factor.clamp(0.1, 10.0)).min(largest);
            self.since_radius += 1;
            return Ok(());
        }
    }

    /// One step of s stages: the new state in scratch[1], its velocity in scratch[3].
    fn stages(&mut self, s: usize, h: f64, f: &mut impl FnMut(&[f64], &mut [f64])) {
        let c = Stages::get(s);
        let [older, old, fresh, velocity] = &mut self.scratch;
        older.copy_from_slice(&self.y);
        for ((old, y), f) in old.iter_mut().zip(&self.y).zip(&self.velocity) {
            *old = y + c.first * h * f;
        }
        for j in 2..=s {
            f(old, velocity);
            let (mu, nu) = (c.mu[j], c.nu[j]);
            let (kept, m, g) = (1.0 - mu - nu, c.mu_tilde[j] * h, c.gamma_tilde[j] * h);
            let factors = [kept, mu, nu, m, g];
            combine(factors, [&self.y, old, older, velocity, &self.velocity], fresh);
            std::mem::swap(older, old);
            std::mem::swap(old, fresh);
        }
        f(old, velocity);
        self.evaluations += s;
    }

    /// Largest |eigenvalue| of the Jacobian by the power method on differences of f, with a margin of 10 %.
    fn estimate_radius(&mut self, f: &mut impl FnMut(&[f64], &mut [f64])) -> Result<()> {
        let n = self.y.len();
        let norm = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
        let size = 1e-6 * norm(&self.y).max(1e-3);
        if norm(&self.direction) == 0.0 {
            self.direction.fill(1.0);
        }
        let mut radius = 0.0;
        for iteration in 0..50 {
            let scale = size / norm(&self.direction);
            let [_, point, image, _] = &mut self.scratch;
            for i in 0..n {
                point[i] = self.y[i] + scale * self.direction[i];
            }
            f(point, image);
            self.evaluations += 1;
            for i in 0..n {
                self.direction[i] = image[i] - self.velocity[i];
            }
            let new = norm(&self.direction) / size;
            if !new.is_finite() {
                return Err(Error::NonFinite { action: "integrate the flow", quantity: "the Jacobian" });
            }
            if new == 0.0 {
                self.direction.fill(1.0);
                radius = 1e-3;
                break;
            }
            let settled = (new - radius).abs() <= 0.02 * new;
            radius = new;
            if settled && (iteration > 1 || self.radius > 0.0) {
                break;
            }
        }
        self.radius = 1.1 * radius;
        self.since_radius = 0;
        Ok(())
    }
}

/// out = sum of five vectors with factors, at the processor's best instruction set (the same bits at each).
fn combine(factors: [f64; 5], vectors: [&[f64]; 5], out: &mut [f64]) {
    match Level::best() {
        Level::Baseline => combine_body(factors, vectors, out),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
        Level::Avx2 | Level::Avx512 => unsafe { combine_avx2(factors, vectors, out) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => combine_body(factors, vectors, out),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn combine_avx2(factors: [f64; 5], vectors: [&[f64]; 5], out: &mut [f64]) {
    combine_body(factors, vectors, out);
}

#[inline(always)]
fn combine_body(f: [f64; 5], vectors: [&[f64]; 5], out: &mut [f64]) {
    let n = out.len();
    let [a, b, c, d, e] = vectors.map(|vector| &vector[..n]);
    for i in 0..n {
        out[i] = f[0] * a[i] + f[1] * b[i] + f[2] * c[i] + f[3] * d[i] + f[4] * e[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates 1e-2 .. 10, solved exactly: the error is of the order of the tolerance and falls with it.
    #[test]
    fn stiff_linear_decay_matches_the_exponential() {
        let rates = [0.01, 0.3, 2.0, 10.0];
        let mut f = |y: &[f64], dy: &mut [f64]| (0..4).for_each(|i| dy[i] = -rates[i] * y[i]);
        let mut worst = Vec::new();
        for tolerance in [1e-4, 1e-6] {
            let mut flow = Rkc::new(&[1.0; 4], &mut f);
            while flow.time < 5.0 {
                flow.advance(tolerance, 5.0, &mut f).unwrap();
            }
            let error = (0..4).map(|i| (flow.y[i] - (-rates[i] * 5.0f64).exp()).abs()).fold(0.0, f64::max);
            assert!(error < 20.0 * tolerance, "tolerance {tolerance:e}: error {error:e}");
            worst.push(error);
        }
        assert!(worst[1] < worst[0] / 10.0, "{worst:?}");
    }

    /// Every number of stages integrates at second order: halving the step divides the error by four.
    #[test]
    fn every_stage_count_is_second_order() {
        let mut f = |y: &[f64], dy: &mut [f64]| dy[0] = -y[0] * y[0];
        for s in 2..=MAX_STAGES {
            let mut error = [0.0; 2];
            for (slot, h) in [(0, 0.02), (1, 0.01)] {
                let mut flow = Rkc::new(&[1.0], &mut f);
                flow.stages(s, h, &mut f);
                error[slot] = (flow.scratch[1][0] - 1.0 / (1.0 + h)).abs();
            }
            let order = (error[0] / error[1]).log2();
            assert!((2.8..3.2).contains(&order), "s = {s}: local order {order}");
        }
    }
}
