//! One-pass SGD in the overlaps: the ordinary differential equations of d -> infinity (theory 06, eq. 06-overlaps).

use std::borrow::Cow;

use ndarray::Array2;

use super::held::{check_start, hold};
use crate::error::{Error, Result};
use crate::model::{Constraint, Frame, Overlaps, Sgd, Teacher, Trajectory};
use crate::numerics::integrate;
use crate::population::{
    Fields, drift_derivatives, error_moment_derivatives, error_moments, error_moments_at, readout_gradient,
    step_moment_derivatives, step_moments_at,
};

/// Smallest relative tolerance that rounding of the right-hand side allows.
const LEAST_TOLERANCE: f64 = 1e-13;

/// The state is called divergent when the loss passes this many times the larger of 1 and the loss at the start.
const DIVERGED: f64 = 1e6;

/// Pieces into which the time between two frames is cut to see a divergence.
const LOOKS: usize = 8;

/// Velocity of (Q, R) under [`Sgd`], for the readouts of a start and task 0.
///
/// The state as a vector: the K (K + 1) / 2 entries Q_ij, i <= j, row by row, then R row by row, then the readouts a where
/// they are trained. Time is steps / d.
#[derive(Clone, Debug)]
pub struct Equations<'a> {
    teacher: &'a Teacher,
    rule: Sgd,
    readouts: Array2<f64>,
    students: usize,
    /// 1 / d; 0 for the limit.
    inverse_dimension: f64,
    /// 1, or 0 for gradient flow: the factor of what is quadratic in the learning rate.
    noise: f64,
    fault: Fault,
}

/// Step of the differences that stand for the Jacobian of a rule other than plain SGD.
const DIFFERENCE: f64 = 1e-5;

/// What tests put wrong into the equations, to see that a comparison with simulations refuses them. A wrong law has to be
/// integrated like the right one, so it cannot be made outside; nothing but tests uses this.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Factor on the terms in eta^2.
    pub squares: f64,
    /// In the place of [`error_moments`].
    pub error_moments: fn(&Fields) -> Array2<f64>,
    /// Factor on what a constraint takes away.
    pub radial: f64,
    /// Factor on the velocity of the readouts.
    pub readouts: f64,
}

impl Default for Fault {
    /// No fault.
    fn default() -> Fault {
        Fault { squares: 1.0, error_moments, radial: 1.0, readouts: 1.0 }
    }
}

impl<'a> Equations<'a> {
    /// Equations of d = infinity.
    ///
    /// # Errors
    /// As [`Sgd::checked`]; [`Error::Count`] when the teacher has several tasks; [`Error::Real`] when the start is not on the
    /// rule's constraint (see [`Sgd::starting`]).
    pub fn new(start: &Overlaps, teacher: &'a Teacher, rule: Sgd) -> Result<Equations<'a>> {
        let tasks = teacher.readouts().nrows();
        if tasks != 1 {
            return Err(Error::Count {
                action: "train by SGD",
                quantity: "the number of tasks",
                value: tasks,
                needs: "1".into(),
            });
        }
        let (readouts, students) = (start.readouts().clone(), start.q().nrows());
        let rule = rule.checked()?;
        check_start(rule.constraint, start.q())?;
        Ok(Equations { teacher, rule, readouts, students, inverse_dimension: 0.0, noise: 1.0, fault: Fault::default() })
    }

    /// Gradient flow in the overlaps, in the time learning rate x steps / d: the limit of a small learning rate.
    ///
    /// # Errors
    /// [`Error::Count`] when the teacher has several tasks.
    pub fn gradient_flow(start: &Overlaps, teacher: &'a Teacher) -> Result<Equations<'a>> {
        let rule = Sgd { learning_rate: 1.0, ..Sgd::default() };
        Ok(Equations { noise: 0.0, ..Equations::new(start, teacher, rule)? })
    }

    /// The same equations with something wrong in them.
    #[doc(hidden)]
    pub fn with_fault(self, fault: Fault) -> Equations<'a> {
        Equations { fault, ..self }
    }

    /// The exact conditional mean of one step at this d, times d: a map x -> x + velocity / d, not a differential
    /// equation (theory 06, eq. 06-map).
    ///
    /// # Errors
    /// [`Error::Real`] when d is below K + rank T, where the overlaps are not free; [`Error::Spec`] for a rule whose mean at
    /// finite d is not derived: see [`Equations::has_map`].
    pub fn at_dimension(mut self, d: f64) -> Result<Equations<'a>> {
        if let Some(reason) = self.without_map() {
            return Err(Error::Spec { action: "train by SGD at finite d", problem: reason.into() });
        }
        let needed = self.students + self.teacher.rank();
        if !(d >= needed as f64) {
            return Err(Error::Real {
                action: "train by SGD",
                quantity: format!("the dimension d (K + rank T is {needed})"),
                value: d,
                needs: "at least K + rank T",
            });
        }
        self.inverse_dimension = 1.0 / d;
        Ok(self)
    }

    /// Whether the mean of a step at finite d is known: not with a constraint, where a step is a ratio, and not with momentum,
    /// where it depends on the velocity too.
    pub fn has_map(&self) -> bool {
        self.without_map().is_none()
    }

    /// Why there is no map.
    pub(crate) fn without_map(&self) -> Option<&'static str> {
        match () {
            () if self.rule.momentum > 0.0 => {
                Some("with momentum the overlaps are no Markov chain, and their mean at finite d is not derived")
            }
            () if self.rule.constraint != Constraint::Free => {
                Some("the mean of a step that ends on the constraint is not derived at finite d")
            }
            () => None,
        }
    }

    /// The same equations at d = infinity.
    pub fn in_the_limit(&self) -> Equations<'a> {
        Equations { inverse_dimension: 0.0, ..self.clone() }
    }

    /// 1 / d, 0 at d = infinity.
    pub fn inverse_dimension(&self) -> f64 {
        self.inverse_dimension
    }

    /// Whether terms quadratic in the learning rate are left out.
    pub(super) fn is_gradient_flow(&self) -> bool {
        self.noise == 0.0
    }

    /// Number of students K.
    pub fn students(&self) -> usize {
        self.students
    }

    /// The teacher.
    pub fn teacher(&self) -> &'a Teacher {
        self.teacher
    }

    /// The training rule.
    pub fn rule(&self) -> &Sgd {
        &self.rule
    }

    /// Number of unknowns K (K + 1) / 2 + K M, and K where the readouts are trained.
    pub fn dim(&self) -> usize {
        let k = self.students;
        k * (k + 1) / 2 + k * self.teacher.units() + if self.rule.trains_readouts() { k } else { 0 }
    }

    /// The state as a vector.
    pub fn pack(&self, overlaps: &Overlaps) -> Vec<f64> {
        let mut x = self.flatten(overlaps.q(), overlaps.r());
        if self.rule.trains_readouts() {
            x.extend(overlaps.readouts().row(0));
        }
        x
    }

    /// The readouts of a state, 1 x K.
    fn readouts(&self, x: &[f64]) -> Cow<'_, Array2<f64>> {
        if !self.rule.trains_readouts() {
            return Cow::Borrowed(&self.readouts);
        }
        let k = self.students;
        Cow::Owned(Array2::from_shape_fn((1, k), |(_, i)| x[x.len() - k + i]))
    }

    fn flatten(&self, q: &Array2<f64>, r: &Array2<f64>) -> Vec<f64> {
        let k = self.students;
        let mut x: Vec<f64> = (0..k).flat_map(|i| (i..k).map(move |j| q[[i, j]])).collect();
        x.extend(r.iter());
        x
    }

    /// The vector as overlaps, if it is a Gram matrix to this relative tolerance.
    ///
    /// # Errors
    /// [`Error::NotPositive`] with the eigenvalue, [`Error::NonFinite`].
    pub fn unpack(&self, x: &[f64], tolerance: f64) -> Result<Overlaps> {
        let (q, r) = self.matrices(x);
        Overlaps::integrated(q, r, self.readouts(x).into_owned(), self.teacher, tolerance)
    }

    fn matrices(&self, x: &[f64]) -> (Array2<f64>, Array2<f64>) {
        let (k, m) = (self.students, self.teacher.units());
        let mut q = Array2::zeros((k, k));
        let mut at = 0;
        for i in 0..k {
            for j in i..k {
                (q[[i, j]], q[[j, i]]) = (x[at], x[at]);
                at += 1;
            }
        }
        let r = Array2::from_shape_fn((k, m), |(i, n)| x[at + i * m + n]);
        (q, r)
    }

    /// Norms and angles at x.
    pub fn fields(&self, x: &[f64]) -> Fields {
        let (q, r) = self.matrices(x);
        Fields::from_matrices(&q, &r, &self.readouts(x), self.teacher, 0)
    }

    /// Population loss at x.
    pub fn risk(&self, x: &[f64]) -> f64 {
        self.fields(x).risk()
    }

    /// Writes dx/dt at time t. A zero student does not move.
    pub fn velocity(&self, time: f64, x: &[f64], velocity: &mut [f64]) {
        let (q, r) = self.matrices(x);
        let readouts = self.readouts(x);
        let fields = Fields::from_matrices(&q, &r, &readouts, self.teacher, 0);
        let (rate, batch) = (self.rule.effective_rate(time), self.rule.batch as f64);
        let t = self.teacher.gram();
        let coefficients = fields.coefficients();
        let (a, b) = (&coefficients.a, &coefficients.b);
        // grad_i . w_j and grad_i . v_n.
        let along_students = a.dot(&q) + b.dot(&r.t());
        let along_teachers = a.dot(&r) + b.dot(t);
        let decay = rate * self.rule.weight_decay;
        let shrink = 1.0 - decay * self.inverse_dimension;
        let inverse = self.inverse_dimension;
        let errors = |fields: &Fields| error_moments_at((self.fault.error_moments)(fields), fields, inverse);
        let noise = self.step_noise(&fields, errors, |fields| step_moments_at(fields, inverse));
        let readouts = readouts.row(0);
        let k = self.students;
        let mut dq = Array2::zeros((k, k));
        for i in 0..k {
            for j in 0..k {
                dq[[i, j]] = -rate * shrink * (along_students[[i, j]] + along_students[[j, i]])
                    + self.fault.squares * rate * rate * readouts[i] * readouts[j] * noise[[i, j]]
                    - decay * (1.0 + shrink) * q[[i, j]];
            }
        }
        if self.inverse_dimension > 0.0 {
            // Products of different samples of a batch: grad_i . grad_j.
            let products = along_students.dot(&a.t()) + along_teachers.dot(&b.t());
            dq.scaled_add(rate * rate * (1.0 - 1.0 / batch) * self.inverse_dimension, &products);
        }
        let mut dr = along_teachers * -rate - &r * decay;
        if self.rule.constraint != Constraint::Free {
            hold(self.rule.constraint, self.fault.radial, &q, &r, &mut dq, &mut dr);
        }
        let moved = self.flatten(&dq, &dr);
        velocity[..moved.len()].copy_from_slice(&moved);
        if self.rule.trains_readouts() {
            // Theory 06, eq. 06-readouts.
            let factor = -rate * self.rule.readout_rate * self.fault.readouts;
            velocity[moved.len()..].iter_mut().zip(readout_gradient(&fields)).for_each(|(v, g)| *v = factor * g);
        }
    }

    /// (E[e^2 g'_i g'_k] + sigma^2 E[g'_i g'_k]) / B, or its derivatives; zero for gradient flow.
    fn step_noise(
        &self,
        fields: &Fields,
        errors: impl Fn(&Fields) -> Array2<f64>,
        labels: impl Fn(&Fields) -> Array2<f64>,
    ) -> Array2<f64> {
        let batch = self.rule.batch as f64;
        if self.noise == 0.0 {
            return Array2::zeros(labels(fields).dim());
        }
        let mut noise = errors(fields) * (self.noise / batch);
        if self.rule.label_noise > 0.0 {
            noise.scaled_add(self.noise * self.rule.label_noise.powi(2) / batch, &labels(fields));
        }
        noise
    }

    /// Derivatives of the velocity of d = infinity by the overlaps, n x n with n = [`Equations::dim`]; not symmetric.
    ///
    /// They exist away from parallel and zero units, also where the students lie in the span of the teacher. An infinite
    /// one is given as 0. Exact for plain SGD; by central differences, to about 1e-9, for other rules.
    pub fn jacobian(&self, time: f64, x: &[f64]) -> Array2<f64> {
        if !self.rule.is_plain() {
            return self.in_the_limit().differences(time, x);
        }
        let fields = self.fields(x);
        let (k, m) = (self.students, self.teacher.units());
        let rate = self.rule.rate(time);
        let decay = rate * self.rule.weight_decay;
        let noise = self.step_noise(&fields, error_moment_derivatives, step_moment_derivatives);
        let readouts = self.readouts.row(0);
        let mut jacobian = Array2::zeros((self.dim(), self.dim()));
        let mut row = 0;
        for i in 0..k {
            for j in i..k {
                let (first, second) = (drift_derivatives(&fields, i, j), drift_derivatives(&fields, j, i));
                for column in 0..self.dim() {
                    jacobian[[row, column]] = -rate * (readouts[i] * first[column] + readouts[j] * second[column])
                        + rate * rate * readouts[i] * readouts[j] * noise[[row, column]];
                }
                jacobian[[row, row]] -= 2.0 * decay;
                row += 1;
            }
        }
        for i in 0..k {
            for n in 0..m {
                for (column, slope) in drift_derivatives(&fields, i, k + n).into_iter().enumerate() {
                    jacobian[[row, column]] = -rate * readouts[i] * slope;
                }
                jacobian[[row, row]] -= decay;
                row += 1;
            }
        }
        jacobian
    }

    fn differences(&self, time: f64, x: &[f64]) -> Array2<f64> {
        let n = self.dim();
        let mut jacobian = Array2::zeros((n, n));
        let (mut moved, mut velocity) = (x.to_vec(), vec![0.0; n]);
        for column in 0..n {
            for sign in [1.0, -1.0] {
                moved[column] = x[column] + sign * DIFFERENCE;
                self.velocity(time, &moved, &mut velocity);
                let factor = 0.5 * sign / DIFFERENCE;
                jacobian.column_mut(column).iter_mut().zip(&velocity).for_each(|(j, v)| *j += factor * v);
            }
            moved[column] = x[column];
        }
        jacobian
    }
}

/// How an integration ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    Finished,
    /// The loss passed `bound` at about this time.
    Diverged {
        time: f64,
        bound: f64,
    },
}

/// A trajectory of the SGD equations.
#[derive(Clone, Debug)]
pub struct Evolution {
    /// Frames at the times asked for, up to a divergence.
    pub trajectory: Trajectory,
    pub outcome: Outcome,
    /// Right-hand sides evaluated.
    pub evaluations: usize,
}

/// Integrates the equations of d = infinity through the given ascending times from t = 0, relative and absolute
/// tolerance per step as given (Dormand-Prince 8(5,3)); each frame's overlaps are checked to be a Gram matrix.
///
/// The loss has absolute error 1e-16 (K + M)^2; the `gradient_norm` of a frame is that of the population loss.
///
/// # Errors
/// [`Error::Real`] for a tolerance below rounding or times that do not ascend; [`Error::NotPositive`] with the
/// eigenvalue when a frame is no Gram matrix; [`Error::NonFinite`].
pub fn evolve_sgd(start: &Overlaps, equations: &Equations, times: &[f64], tolerance: f64) -> Result<Evolution> {
    check_times(times, tolerance)?;
    let mut x = equations.pack(start);
    let bound = DIVERGED * equations.risk(&x).max(1.0);
    let mut evolution = Evolution { trajectory: Trajectory::default(), outcome: Outcome::Finished, evaluations: 0 };
    let breaks = equations.rule.schedule.breaks(times.last().copied().unwrap_or(0.0));
    let (mut now, mut loss) = (0.0, equations.risk(&x));
    for &time in times {
        let mut piece = (time - now) / LOOKS as f64;
        while now < time {
            let next_break = breaks.iter().copied().find(|&b| b > now * (1.0 + 1e-12)).unwrap_or(f64::INFINITY);
            let next = (now + piece).min(next_break).min(time);
            let next = if time - next < 1e-9 * time { time } else { next };
            // A step rule is right-continuous: keep the integrator's stages on its own side of the break.
            let last = next - 1e-12 * next.abs();
            let mut trial = x.clone();
            let used = integrate::dop853_in_time(&mut trial, (now, next), tolerance, &mut |t, x, v| {
                equations.velocity(t.min(last), x, v)
            });
            match used {
                Ok(used) => evolution.evaluations += used,
                // Growth beyond all numbers within one piece: look more often.
                Err(_) if next - now > 1e-6 * next => {
                    piece = 0.25 * (next - now);
                    continue;
                }
                Err(error) => return Err(error),
            }
            x = trial;
            let before = std::mem::replace(&mut loss, equations.risk(&x));
            if !(loss <= bound) {
                // Growth is exponential: interpolate the logarithm.
                let share = ((bound / before).ln() / (loss / before).ln()).clamp(0.0, 1.0);
                evolution.outcome = Outcome::Diverged { time: now + share * (next - now), bound };
                return Ok(evolution);
            }
            now = next;
        }
        let overlaps = equations.unpack(&x, 100.0 * tolerance.max(1e-12))?;
        let fields = equations.fields(&x);
        evolution.trajectory.frames.push(Frame {
            time,
            loss: fields.risk(),
            gradient_norm: gradient_norm(&fields, &overlaps, equations.teacher),
            overlaps,
        });
    }
    Ok(evolution)
}

fn gradient_norm(fields: &Fields, overlaps: &Overlaps, teacher: &Teacher) -> f64 {
    let c = fields.coefficients();
    let students = c.a.dot(overlaps.q()) + c.b.dot(&overlaps.r().t());
    let teachers = c.a.dot(overlaps.r()) + c.b.dot(teacher.gram());
    let squares = (&students * &c.a).sum() + (&teachers * &c.b).sum();
    squares.max(0.0).sqrt()
}

pub(super) fn check_times(times: &[f64], tolerance: f64) -> Result<()> {
    let refuse = |quantity: String, value: f64, needs| Error::Real { action: "integrate", quantity, value, needs };
    if !(LEAST_TOLERANCE..=0.1).contains(&tolerance) {
        return Err(refuse("the tolerance".into(), tolerance, "a number from 1e-13 (rounding) to 0.1"));
    }
    let mut before = 0.0;
    for (n, &time) in times.iter().enumerate() {
        if !(time >= before && time.is_finite()) {
            return Err(refuse(format!("time number {}", n + 1), time, "finite times of 0 or above, ascending"));
        }
        before = time;
    }
    Ok(())
}

/// Iterates the exact conditional mean of one step (see [`Equations::at_dimension`]) for t d steps between the times
/// given. At learning rates that matter this differs from the mean of SGD at order 1/d, because the mean of a function is
/// not the function of the mean: see [`super::mean_path`].
///
/// # Errors
/// As [`evolve_sgd`]; [`Error::Spec`] when the equations are those of d = infinity.
pub fn iterate_map(start: &Overlaps, equations: &Equations, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    check_times(times, 0.1)?;
    if equations.inverse_dimension == 0.0 {
        return Err(Error::Spec {
            action: "iterate the map of one step",
            problem: "the equations are those of d = infinity; give them a dimension".into(),
        });
    }
    let mut x = equations.pack(start);
    let mut velocity = vec![0.0; x.len()];
    let mut states = Vec::with_capacity(times.len());
    let mut step = 0u64;
    for &time in times {
        let last = (time / equations.inverse_dimension).round() as u64;
        while step < last {
            equations.velocity(step as f64 * equations.inverse_dimension, &x, &mut velocity);
            x.iter_mut().zip(&velocity).for_each(|(x, v)| *x += equations.inverse_dimension * v);
            step += 1;
        }
        states.push(x.clone());
    }
    Ok(states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InitialLaw, Weights};

    fn start(k: usize, teacher: &Teacher, d: usize) -> Overlaps {
        InitialLaw::new(d, 1.0, teacher).unwrap().draw(k, teacher, 3, 0).unwrap().overlaps(teacher)
    }

    /// eta -> 0 at fixed eta t is gradient flow, and the difference is of order eta.
    #[test]
    fn small_learning_rates_are_gradient_flow() {
        let teacher = Teacher::correlated(2, 0.3).unwrap();
        let start = start(3, &teacher, 7);
        let weights = start.lift(&teacher).unwrap();
        let flow = crate::dynamics::evolve(&weights, &teacher, 0, &[2.0], 1e-11, crate::dynamics::Integrator::Dop853)
            .unwrap()
            .frames[0]
            .overlaps
            .clone();
        let distance = |learning_rate: f64| {
            let rule = Sgd { learning_rate, ..Sgd::default() };
            let equations = Equations::new(&start, &teacher, rule).unwrap();
            let end =
                evolve_sgd(&start, &equations, &[2.0 / learning_rate], 1e-10).unwrap().trajectory.frames[0].clone();
            crate::numerics::linalg::max_abs(&(end.overlaps.q() - flow.q()))
        };
        let (coarse, fine) = (distance(1e-2), distance(1e-3));
        assert!(fine < 2e-3 && (coarse / fine - 10.0).abs() < 0.5, "{coarse:e} {fine:e}");
    }

    /// K = M = 1: one unit at the teacher's direction, e = (|w| - 1) lambda*, all averages 1/2.
    #[test]
    fn one_aligned_unit_by_hand() {
        let teacher = Teacher::orthonormal(1).unwrap();
        let w = 1.3;
        let start = Weights::new(ndarray::array![[w]], None, &teacher).unwrap().overlaps(&teacher);
        let rule = Sgd { learning_rate: 0.7, batch: 3, label_noise: 0.4, weight_decay: 0.2, ..Sgd::default() };
        let d = 50.0;
        let equations = Equations::new(&start, &teacher, rule).unwrap();
        let mut v = [0.0; 2];
        equations.velocity(0.0, &[w * w, w], &mut v);
        let e = w - 1.0;
        let dq = -2.0 * 0.7 * e * w / 2.0 + 0.49 / 3.0 * (e * e + 0.16) / 2.0 - 2.0 * 0.7 * 0.2 * w * w;
        assert!((v[0] - dq).abs() < 1e-15 && (v[1] - (-0.7 * e / 2.0 - 0.14 * w)).abs() < 1e-15, "{v:?} {dq}");
        let equations = equations.at_dimension(d).unwrap();
        equations.velocity(0.0, &[w * w, w], &mut v);
        // The step by hand: w' = (1 - 0.14 / d) w - (0.7 / d) g, g the batch mean of (e lambda - xi) H x.
        let shrink = 1.0 - 0.14 / d;
        let square = ((1.0 + 2.0 / d) * e * e / 2.0 + 0.08) / 3.0 * d + (2.0 / 3.0) * (e / 2.0).powi(2);
        let expected =
            ((shrink * w).powi(2) - 2.0 * shrink * 0.7 / d * w * e / 2.0 + 0.49 / (d * d) * square - w * w) * d;
        assert!((v[0] - expected).abs() < 1e-13, "{} {expected}", v[0]);
    }

    #[test]
    fn divergence_is_an_answer() {
        let teacher = Teacher::orthonormal(2).unwrap();
        let start = start(2, &teacher, 1000);
        let rule = Sgd { learning_rate: 1.5, ..Sgd::default() };
        let equations = Equations::new(&start, &teacher, rule).unwrap();
        let evolution = evolve_sgd(&start, &equations, &[0.0, 1.0, 1000.0], 1e-8).unwrap();
        assert_eq!(evolution.trajectory.frames.len(), 2);
        match evolution.outcome {
            Outcome::Diverged { time, .. } => assert!((1.0..1000.0).contains(&time), "{time}"),
            outcome => panic!("{outcome:?}"),
        }
    }

    /// A schedule with a kink and jumps against a Runge-Kutta rule of fixed small steps that meets them all.
    #[test]
    fn schedules_are_followed() {
        let teacher = Teacher::orthonormal(2).unwrap();
        let start = start(2, &teacher, 1000);
        let rule = Sgd { learning_rate: 0.6, schedule: "warm-up:1+step:1.5:0.4".parse().unwrap(), ..Sgd::default() };
        let equations = Equations::new(&start, &teacher, rule).unwrap();
        let evolution = evolve_sgd(&start, &equations, &[4.0], 1e-11).unwrap();
        assert!(evolution.evaluations < 20_000, "{}", evolution.evaluations);
        let (mut x, n, h) = (equations.pack(&start), equations.dim(), 0.005);
        for step in 0..800 {
            let t = f64::from(step) * h;
            // All stages on one side of a jump.
            let slope = |share: f64, from: &[f64]| {
                let mut v = vec![0.0; n];
                equations.velocity(t + h * share.min(1.0 - 1e-9), from, &mut v);
                v
            };
            let moved = |v: &[f64], share: f64| x.iter().zip(v).map(|(x, v)| x + h * share * v).collect::<Vec<f64>>();
            let k1 = slope(1e-9, &x);
            let k2 = slope(0.5, &moved(&k1, 0.5));
            let k3 = slope(0.5, &moved(&k2, 0.5));
            let k4 = slope(1.0, &moved(&k3, 1.0));
            x = (0..n).map(|i| x[i] + h / 6.0 * (k1[i] + 2.0 * (k2[i] + k3[i]) + k4[i])).collect();
        }
        let end = equations.pack(&evolution.trajectory.frames[0].overlaps);
        let worst = end.iter().zip(&x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-9, "{worst:e}");
    }

    /// A divergence within one piece of a very long time.
    #[test]
    fn divergence_is_seen_however_late_the_frame() {
        let teacher = Teacher::orthonormal(2).unwrap();
        let start = start(2, &teacher, 1000);
        let equations = Equations::new(&start, &teacher, Sgd { learning_rate: 3.0, ..Sgd::default() }).unwrap();
        let evolution = evolve_sgd(&start, &equations, &[1e4], 1e-8).unwrap();
        assert!(matches!(evolution.outcome, Outcome::Diverged { time, .. } if time < 100.0), "{:?}", evolution.outcome);
    }

    #[test]
    fn nonsense_is_refused() {
        let teacher = Teacher::orthonormal(2).unwrap();
        let start = start(2, &teacher, 10);
        let equations = Equations::new(&start, &teacher, Sgd::default()).unwrap();
        assert!(evolve_sgd(&start, &equations, &[1.0], 1e-15).is_err());
        assert!(evolve_sgd(&start, &equations, &[1.0, 0.5], 1e-8).is_err());
        assert!(evolve_sgd(&start, &equations, &[f64::NAN], 1e-8).is_err());
        assert!(equations.clone().at_dimension(3.0).unwrap_err().to_string().contains("4"));
        assert!(Equations::new(&start, &teacher, Sgd { batch: 0, ..Sgd::default() }).is_err());
        assert!(equations.unpack(&[1.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0], 1e-10).is_err());
    }

    /// The Jacobian against central differences: a free state, one whose students lie in the span of the teacher, more
    /// teachers than students, readouts of both signs.
    #[test]
    fn jacobian_matches_differences() {
        for (k, m, d, rho) in [(1, 1, 5, 0.0), (2, 2, 9, 0.0), (3, 2, 9, 0.3), (2, 4, 4, -0.2), (4, 3, 20, 0.2)] {
            let teacher = Teacher::correlated(m, rho).unwrap();
            let weights = InitialLaw::new(d, 1.0, &teacher).unwrap().draw(k, &teacher, 3, 0).unwrap();
            let a = Array2::from_shape_fn((1, k), |(_, i)| 1.0 - 0.6 * i as f64);
            let start = Weights::new(weights.rows().clone(), Some(a), &teacher).unwrap().overlaps(&teacher);
            let rule = Sgd { learning_rate: 0.7, batch: 2, label_noise: 0.4, weight_decay: 0.2, ..Sgd::default() };
            let equations = Equations::new(&start, &teacher, rule).unwrap();
            let x = equations.pack(&start);
            let jacobian = equations.jacobian(0.0, &x);
            let n = equations.dim();
            for column in 0..n {
                let h = 1e-5;
                let shifted = |sign: f64| {
                    let (mut y, mut v) = (x.clone(), vec![0.0; n]);
                    y[column] += sign * h;
                    equations.velocity(0.0, &y, &mut v);
                    v
                };
                let (up, down) = (shifted(1.0), shifted(-1.0));
                for row in 0..n {
                    let numeric = (up[row] - down[row]) / (2.0 * h);
                    let error = (jacobian[[row, column]] - numeric).abs();
                    assert!(error < 1e-7 * (1.0 + numeric.abs()), "K = {k}, M = {m}, {row} by {column}: {error:e}");
                }
            }
        }
    }
}
