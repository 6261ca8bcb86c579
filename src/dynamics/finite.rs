//! Mean and covariance of SGD at finite d, to first order in 1/d (theory 06, eq. 06-linear-noise).
//!
//! One step moves the overlaps by velocity / d plus fluctuations of the same order. Over a unit of time these leave a
//! covariance S / d, and because the velocity is curved the mean moves by (velocity''(x) : S) / 2 d. The equations of S and
//! of the shift m1 are linear around the path of d = infinity; everything in them is exact except the covariance of one
//! step, whose fourth powers of e have no closed form and are averaged over drawn inputs.

use ndarray::{Array1, Array2, ArrayView2};
use rand::Rng;
use rand_distr::StandardNormal;

use super::sgd::Equations;
use crate::error::{Error, Result};
use crate::model::{Overlaps, Schedule, Teacher, Weights};
use crate::numerics::random::{self, purpose};
use crate::numerics::{integrate, linalg};

/// Tolerance of the path of d = infinity.
const TOLERANCE: f64 = 1e-11;

/// Steps of the fourth-order Runge-Kutta rule for the linear equations: at most this much of 1 / |Jacobian| each.
const STEP: f64 = 0.25;

/// Step of second differences of the velocity, relative to the size of the state.
const DIFFERENCE: f64 = 1e-3;

/// State of SGD at dimension d: mean and covariance over runs, in the layout of [`Equations::pack`].
#[derive(Clone, Debug)]
pub struct MeanState {
    pub time: f64,
    /// Right to O(1/d): the error is O(1/d^2), plus O(1/d) times the sampling error of the covariance of one step.
    pub mean: Vec<f64>,
    /// n x n, leading order: S / d.
    pub covariance: Array2<f64>,
}

/// Mean and covariance at these ascending times, for equations with a dimension; `samples` inputs are drawn (stream of
/// `seed`) for the covariance of one step: relative error about 5 / sqrt(samples).
///
/// # Errors
/// [`Error::Spec`] when the equations are those of d = infinity; those of [`super::evolve_sgd`] and [`Overlaps::lift`].
pub fn mean_path(
    start: &Overlaps,
    equations: &Equations,
    times: &[f64],
    samples: usize,
    seed: u64,
) -> Result<Vec<MeanState>> {
    super::sgd::check_times(times, TOLERANCE)?;
    let epsilon = equations.inverse_dimension();
    if epsilon == 0.0 {
        return Err(Error::Spec {
            action: "follow the mean at finite d",
            problem: "the equations are those of d = infinity; give them a dimension".into(),
        });
    }
    if equations.is_gradient_flow() {
        return Err(Error::Spec {
            action: "follow the mean at finite d",
            problem: "gradient flow does not fluctuate; give equations of SGD".into(),
        });
    }
    let n = equations.dim();
    let limit = equations.in_the_limit();
    let breaks = equations.rule().schedule.breaks(times.last().copied().unwrap_or(0.0));
    let inputs = Inputs::draw(equations, samples.max(2), seed);
    let mut x = equations.pack(start);
    let (mut shift, mut spread) = (Array1::zeros(n), Array2::zeros((n, n)));
    let mut states = Vec::with_capacity(times.len());
    let mut now = 0.0;
    for &time in times {
        while now < time {
            // Just after a break of the schedule, which belongs to what follows it.
            let here = Local::new(&limit, equations, &inputs, now, &x)?;
            // The velocity grows with the rate: a warm-up starts from 0.
            let rate = equations.rule().learning_rate / equations.rule().rate(now).max(f64::MIN_POSITIVE);
            let size = here.jacobian.iter().map(|x| x * x).sum::<f64>().sqrt() * rate.min(1e6);
            let end = breaks.iter().copied().find(|&b| b > now * (1.0 + 1e-12)).unwrap_or(time).min(time);
            let step = (STEP / size.max(1e-3)).min(end - now);
            let step = if end - now - step < 1e-9 * end { end - now } else { step };
            let along = |from: f64, to: f64, x: &mut Vec<f64>| {
                integrate::dop853_in_time(x, (from, to), TOLERANCE, &mut |t, x, v| limit.velocity(t, x, v))
            };
            along(now, now + 0.5 * step, &mut x)?;
            let middle = Local::new(&limit, equations, &inputs, now + 0.5 * step, &x)?;
            along(now + 0.5 * step, now + step, &mut x)?;
            let before_break = (now + step) * (1.0 - 1e-12);
            let there = Local::new(&limit, equations, &inputs, before_break, &x)?;
            let (k1, s1) = here.slopes(&limit, &shift, &spread)?;
            let (k2, s2) =
                middle.slopes(&limit, &(&shift + &(&k1 * (0.5 * step))), &(&spread + &(&s1 * (0.5 * step))))?;
            let (k3, s3) =
                middle.slopes(&limit, &(&shift + &(&k2 * (0.5 * step))), &(&spread + &(&s2 * (0.5 * step))))?;
            let (k4, s4) = there.slopes(&limit, &(&shift + &(&k3 * step)), &(&spread + &(&s3 * step)))?;
            shift = shift + (k1 + k2 * 2.0 + k3 * 2.0 + k4) * (step / 6.0);
            spread = spread + (s1 + s2 * 2.0 + s3 * 2.0 + s4) * (step / 6.0);
            now = if end - now - step <= 0.0 { end } else { now + step };
        }
        let mean = x.iter().zip(&shift).map(|(x, s)| x + epsilon * s).collect();
        states.push(MeanState { time, mean, covariance: &spread * epsilon });
    }
    Ok(states)
}

/// Coefficients of the linear equations at one point of the path.
struct Local {
    time: f64,
    x: Vec<f64>,
    jacobian: Array2<f64>,
    /// d (velocity at d - velocity of the limit) - (Jacobian velocity + d velocity / dt) / 2: what a map of step 1/d adds.
    pull: Array1<f64>,
    /// Covariance of one step times d^2.
    diffusion: Array2<f64>,
    velocity: Array1<f64>,
}

impl Local {
    fn new(limit: &Equations, finite: &Equations, inputs: &Inputs, time: f64, x: &[f64]) -> Result<Local> {
        let n = x.len();
        let (mut velocity, mut at_d) = (Array1::zeros(n), vec![0.0; n]);
        limit.velocity(time, x, velocity.as_slice_mut().expect("a fresh array is contiguous"));
        finite.velocity(time, x, &mut at_d);
        let jacobian = limit.jacobian(time, x);
        let inverse = 1.0 / finite.inverse_dimension();
        let mut pull = (Array1::from_vec(at_d) - &velocity) * inverse - jacobian.dot(&velocity) * 0.5;
        if limit.rule().schedule != Schedule::default() {
            // The slope of the velocity in time, from the side on which the schedule is smooth.
            let h = 1e-6 * (1.0 + time);
            let from = (time - h).max(0.0);
            let (mut early, mut late) = (Array1::<f64>::zeros(n), Array1::<f64>::zeros(n));
            let inside = |b: &f64| *b > from && *b <= time + h;
            let (from, to) = match limit.rule().schedule.breaks(time + 2.0 * h).iter().copied().find(inside) {
                Some(b) if b > time => (from, time),
                Some(_) => (time, time + h),
                None => (from, time + h),
            };
            limit.velocity(from, x, early.as_slice_mut().expect("a fresh array is contiguous"));
            limit.velocity(to, x, late.as_slice_mut().expect("a fresh array is contiguous"));
            if to > from {
                pull.scaled_add(-0.5 / (to - from), &(late - early));
            }
        }
        let diffusion = inputs.covariance(limit, time, x)?;
        Ok(Local { time, x: x.to_vec(), jacobian, pull, diffusion, velocity })
    }

    /// Slopes of the shift m1 and of S.
    fn slopes(
        &self,
        limit: &Equations,
        shift: &Array1<f64>,
        spread: &Array2<f64>,
    ) -> Result<(Array1<f64>, Array2<f64>)> {
        let moved = self.jacobian.dot(spread);
        let slope = &moved + &moved.t() + &self.diffusion;
        Ok((self.jacobian.dot(shift) + &self.pull + self.curvature(limit, spread.view())?, slope))
    }

    /// Half the second derivative of the velocity contracted with S, by second differences along S's axes.
    fn curvature(&self, limit: &Equations, spread: ArrayView2<f64>) -> Result<Array1<f64>> {
        let n = self.x.len();
        let (values, vectors) = linalg::eigh(spread)?;
        let largest = linalg::max_abs(&values);
        let h = DIFFERENCE * linalg::max_abs(&self.x).max(1e-3);
        let mut sum = Array1::zeros(n);
        for (value, axis) in values.iter().zip(vectors.columns()) {
            if value.abs() <= 1e-9 * largest {
                continue;
            }
            let mut difference = &self.velocity * -2.0;
            for sign in [-h, h] {
                let moved: Vec<f64> = self.x.iter().zip(axis).map(|(x, u)| x + sign * u).collect();
                let mut velocity = Array1::zeros(n);
                limit.velocity(self.time, &moved, velocity.as_slice_mut().expect("a fresh array is contiguous"));
                difference += &velocity;
            }
            sum.scaled_add(0.5 * value / (h * h), &difference);
        }
        Ok(sum)
    }
}

/// Inputs in reduced coordinates and label noises, drawn once: the same at every point of the path.
struct Inputs {
    coordinates: usize,
    values: Vec<f64>,
    noises: Vec<f64>,
}

impl Inputs {
    fn draw(equations: &Equations, samples: usize, seed: u64) -> Inputs {
        let coordinates = equations.students() + equations.teacher().rank();
        let mut rng = random::stream(seed, &[purpose::DIFFUSION]);
        // Every input also with the opposite sign: odd averages vanish as they should.
        let half: Vec<f64> = (0..samples.div_ceil(2) * coordinates).map(|_| rng.sample(StandardNormal)).collect();
        let values: Vec<f64> = half.iter().copied().chain(half.iter().map(|x| -x)).collect();
        let noises = (0..values.len() / coordinates).map(|_| rng.sample(StandardNormal)).collect();
        Inputs { coordinates, values, noises }
    }

    /// Covariance of d times one step's change of the overlaps, to leading order in 1/d.
    fn covariance(&self, equations: &Equations, time: f64, x: &[f64]) -> Result<Array2<f64>> {
        let teacher: &Teacher = equations.teacher();
        // Off the path by integration error only: accept what the integrator leaves.
        let weights: Weights = equations.unpack(x, 1e-8)?.lift(teacher)?;
        let (k, m, n) = (equations.students(), teacher.units(), equations.dim());
        let (rows, a) = (weights.rows(), weights.readouts().row(0));
        let (b, g, rule) = (teacher.readouts().row(0), teacher.activation(), equations.rule());
        let mut pushes = vec![0.0; k];
        let (rate, batch) = (rule.rate(time), rule.batch as f64);
        let (mut mean, mut square) = (Array1::<f64>::zeros(n), Array2::<f64>::zeros((n, n)));
        let mut change = vec![0.0; n];
        let (mut students, mut teachers) = (vec![0.0; k], vec![0.0; m]);
        for (input, noise) in self.values.chunks_exact(self.coordinates).zip(&self.noises) {
            for (field, row) in students.iter_mut().zip(rows.outer_iter()) {
                *field = row.iter().zip(input).map(|(w, x)| w * x).sum();
            }
            for (field, row) in teachers.iter_mut().zip(teacher.vectors().outer_iter()) {
                *field = row.iter().zip(input).map(|(v, x)| v * x).sum();
            }
            let output: f64 = students.iter().zip(a).map(|(l, a)| a * g.value(*l)).sum();
            let target: f64 = teachers.iter().zip(b).map(|(l, b)| b * g.value(*l)).sum();
            let error = output - target - rule.label_noise * noise;
            for (i, push) in pushes.iter_mut().enumerate() {
                *push = -rate * a[i] * error * g.derivative(students[i]);
            }
            let push = |i: usize| pushes[i];
            let mut at = 0;
            for i in 0..k {
                for j in i..k {
                    change[at] = push(i) * students[j] + push(j) * students[i] + push(i) * push(j) / batch;
                    at += 1;
                }
            }
            for i in 0..k {
                for field in &teachers {
                    change[at] = push(i) * field;
                    at += 1;
                }
            }
            // The readouts, where they are trained.
            for (change, field) in change[at..].iter_mut().zip(&students) {
                *change = -rate * rule.readout_rate * error * g.value(*field);
            }
            for row in 0..n {
                mean[row] += change[row];
                if change[row] != 0.0 {
                    for column in 0..=row {
                        square[[row, column]] += change[row] * change[column];
                    }
                }
            }
        }
        let samples = self.noises.len() as f64;
        Ok(Array2::from_shape_fn((n, n), |(i, j)| {
            let (i, j) = (i.max(j), i.min(j));
            (square[[i, j]] / samples - mean[i] * mean[j] / (samples * samples)) / batch
        }))
    }
}
