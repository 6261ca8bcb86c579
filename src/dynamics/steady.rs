//! Fixed points of SGD at a finite learning rate, the plateau and its escape, and learning rates at which SGD diverges
//! (theory 06, eq. 06-threshold and 06-plateau).

use ndarray::{Array1, Array2, s};

use super::sgd::Equations;
use crate::error::{Error, Result};
use crate::expectation::orthant::{self, Link, PAIRS};
use crate::expectation::{Erf, Pair};
use crate::model::{Activation, Overlaps, Sgd, Teacher, Weights};
use crate::numerics::root::{self, System};
use crate::numerics::{integrate, linalg};
use crate::population::{Fields, error_moments, error_moments_at, step_moments, step_moments_at};

/// Largest velocity entry of a fixed point, in units of the learning rate.
const RESIDUAL: f64 = 1e-12;

/// Relative difference of Q_ii and Q_ij below which students are tried as parallel ones.
const NEARLY_PARALLEL: f64 = 1e-4;

/// Time, in units of 1 / learning rate, that exchangeable students get to come near their plateau.
const APPROACH: usize = 300;

/// A fixed point of (Q, R) at a finite learning rate.
#[derive(Clone, Debug)]
pub struct Steady {
    pub overlaps: Overlaps,
    /// Population loss (label noise not included).
    pub loss: f64,
    /// Largest velocity entry, recomputed.
    pub residual: f64,
    /// Eigenvalues (real, imaginary) of the Jacobian, the largest real part first: perturbations grow as exp(value t),
    /// t = steps / d.
    pub eigenvalues: Vec<[f64; 2]>,
    /// Unit vector in the layout of [`Equations::pack`] along which the fastest perturbation moves; `None` when the leading
    /// eigenvalue is complex.
    pub direction: Option<Array1<f64>>,
}

struct Velocity<'a, 'b>(&'b Equations<'a>);

impl System for Velocity<'_, '_> {
    fn symmetric(&self) -> bool {
        false
    }

    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn residual(&self, x: &[f64], _p: f64) -> Array1<f64> {
        let mut velocity = vec![0.0; x.len()];
        self.0.velocity(0.0, x, &mut velocity);
        velocity.into()
    }

    fn jacobian(&self, x: &[f64], _p: f64) -> Array2<f64> {
        self.0.jacobian(0.0, x)
    }
}

/// The fixed point of d = infinity near a guess, by Newton's method; the schedule is taken at t = 0.
///
/// # Errors
/// [`Error::NotConverged`] (no fixed point near the guess, as beyond a threshold), [`Error::NotPositive`] when the root is
/// no Gram matrix, [`Error::NonFinite`]; [`Error::Spec`] for another rule than plain SGD.
pub fn steady_state(equations: &Equations, guess: &Overlaps) -> Result<Steady> {
    equations.rule().needs_plain("find the fixed point of SGD")?;
    let equations = &equations.in_the_limit();
    let start = equations.pack(guess);
    let tolerance = RESIDUAL * equations.rule().rate(0.0);
    let found = root::newton(&Velocity(equations), &start, 0.0, tolerance, 1e-7, 60)?;
    at_fixed_point(equations, &found.x)
}

fn at_fixed_point(equations: &Equations, x: &[f64]) -> Result<Steady> {
    let overlaps = equations.unpack(x, 1e-9)?;
    let jacobian = equations.jacobian(0.0, x);
    let eigenvalues = linalg::eigenvalues(jacobian.view())?;
    let direction = match eigenvalues.first() {
        Some([value, imaginary]) if imaginary.abs() <= 1e-9 * value.abs() => {
            Some(linalg::eigenvector(jacobian.view(), *value)?)
        }
        _ => None,
    };
    let residual = linalg::max_abs(&Velocity(equations).residual(x, 0.0));
    Ok(Steady { overlaps, loss: equations.risk(x), residual, eigenvalues, direction })
}

/// States in which the students are exchangeable: Q_ii = q, Q_ij = c, R_im = r_m, as q, c, r_1, ..., r_M.
struct Exchangeable<'a, 'b> {
    equations: &'b Equations<'a>,
    /// n x (2 + M): the full state from the reduced one.
    expand: Array2<f64>,
    /// (2 + M) x n: means over students.
    contract: Array2<f64>,
}

impl<'a, 'b> Exchangeable<'a, 'b> {
    fn new(equations: &'b Equations<'a>) -> Exchangeable<'a, 'b> {
        let (k, m) = (equations.students(), equations.teacher().units());
        let mut expand = Array2::<f64>::zeros((equations.dim(), 2 + m));
        let mut row = 0;
        for i in 0..k {
            for j in i..k {
                expand[[row, usize::from(i != j)]] = 1.0;
                row += 1;
            }
        }
        for _ in 0..k {
            for n in 0..m {
                expand[[row, 2 + n]] = 1.0;
                row += 1;
            }
        }
        let mut contract = expand.t().to_owned();
        for mut row in contract.rows_mut() {
            // A single student has no c.
            let count: f64 = f64::max(row.sum(), 1.0);
            row /= count;
        }
        Exchangeable { equations, expand, contract }
    }

    /// The same with c = q, as q, r_1, ..., r_M: parallel students of one norm.
    fn parallel(&self) -> Exchangeable<'a, 'b> {
        let merged = &self.expand.column(0) + &self.expand.column(1);
        let mut expand = self.expand.slice(s![.., 1..]).to_owned();
        expand.column_mut(0).assign(&merged);
        let mut contract = expand.t().to_owned();
        for mut row in contract.rows_mut() {
            let count: f64 = row.sum();
            row /= count;
        }
        Exchangeable { equations: self.equations, expand, contract }
    }

    fn full(&self, y: &[f64]) -> Vec<f64> {
        self.expand.dot(&Array1::from(y.to_vec())).to_vec()
    }
}

impl System for Exchangeable<'_, '_> {
    fn symmetric(&self) -> bool {
        false
    }

    fn dim(&self) -> usize {
        self.expand.ncols()
    }

    fn residual(&self, y: &[f64], _p: f64) -> Array1<f64> {
        let mut velocity = Array1::zeros(self.expand.nrows());
        let x = self.full(y);
        self.equations.velocity(0.0, &x, velocity.as_slice_mut().expect("a fresh array is contiguous"));
        self.contract.dot(&velocity)
    }

    fn jacobian(&self, y: &[f64], _p: f64) -> Array2<f64> {
        self.contract.dot(&self.equations.jacobian(0.0, &self.full(y))).dot(&self.expand)
    }
}

/// The unspecialised plateau for readouts 1: the fixed point that exchangeable small students without overlap with the
/// teacher reach, at the learning rate of a rule or (`None`) under gradient flow, whose time is learning rate x steps / d.
/// Its leading eigenvalue is the rate of escape: a deviation of 1 / sqrt(d) takes about ln(d) / (2 rate) to grow.
///
/// # Errors
/// Those of [`steady_state`]; [`Error::Spec`] when the loss diverges on the way, and for another rule than plain SGD.
pub fn plateau(students: usize, teacher: &Teacher, rule: Option<Sgd>) -> Result<Steady> {
    let small = 1e-2 * teacher.gram().diag().mean().unwrap_or(1.0);
    let (k, m) = (students, teacher.units());
    let start = Overlaps::new(Array2::eye(k) * small, Array2::zeros((k, m)), Array2::ones((1, k)), teacher)?;
    let equations = match rule {
        Some(rule) => {
            rule.needs_plain("find the plateau")?;
            Equations::new(&start, teacher, rule)?
        }
        None => Equations::gradient_flow(&start, teacher)?,
    };
    let system = Exchangeable::new(&equations);
    let mut y = vec![0.0; system.dim()];
    y[0] = small;
    let step = 1.0 / equations.rule().rate(0.0);
    for _ in 0..APPROACH {
        integrate::dop853(&mut y, step, 1e-9, &mut |y, v| {
            v.copy_from_slice(system.residual(y, 0.0).as_slice().unwrap_or(&[]))
        })?;
        if !(y[0] < 1e6) {
            return Err(Error::Spec {
                action: "find the plateau",
                problem: format!(
                    "small students diverge at learning rate {}; take a smaller one",
                    equations.rule().learning_rate
                ),
            });
        }
    }
    let found = root::newton(&system, &y, 0.0, RESIDUAL / step, 1e-7, 60)?;
    let [q, c] = [found.x[0], found.x[1]];
    // Where students become parallel under gradient flow (erf, theory 11, eq. 11-plateau) the root is double, and Newton's
    // method knows it to half the digits. At a finite rate the state with parallel students repels.
    if rule.is_none() && k > 1 && (q - c).abs() < NEARLY_PARALLEL * q {
        let parallel = system.parallel();
        if let Ok(exact) = root::newton(&parallel, &found.x[1..], 0.0, RESIDUAL / step, 1e-7, 60)
            && linalg::max_abs(&Velocity(&equations).residual(&parallel.full(&exact.x), 0.0)) <= RESIDUAL / step
        {
            return at_fixed_point(&equations, &parallel.full(&exact.x));
        }
    }
    // At a small rate the two roots are nearly one, and the residual has to be smaller for the same digits: as small as rounding
    // lets it be.
    let mut best = found;
    for share in [1e-1, 1e-2, 1e-3] {
        match root::newton(&system, &best.x, 0.0, share * RESIDUAL / step, 1e-7, 20) {
            Ok(better) => best = better,
            Err(_) => break,
        }
    }
    at_fixed_point(&equations, &system.full(&best.x))
}

/// The learning rate above which SGD without label noise leaves the neighbourhood of the exact solution w_k = v_k, a = b,
/// in mean square at d = infinity (theory 06, eq. 06-threshold): dS/dt = -eta (A S + S A) + (eta^2 / B) Phi(S) for
/// deviations with Gram matrix S across the span loses stability.
///
/// K = M = 1, B = 1: 2 for ReLU, pi sqrt(5/3) for erf. Orthonormal teachers and ReLU, K = M = 2, 3, 4, 17: 1.2679, 0.9619,
/// 0.7775, 0.22158.
///
/// # Errors
/// [`Error::NonFinite`], [`Error::NotConverged`].
pub fn local_threshold(teacher: &Teacher, batch: usize) -> Result<f64> {
    let k = teacher.units();
    let v = teacher.vectors();
    let rows: Vec<Vec<f64>> = v.outer_iter().map(|row| row.to_vec()).collect();
    let b = teacher.readouts().row(0);
    let link = |i: usize, j: usize| Link::from(&Pair::from_vectors(&rows[i], &rows[j]));
    let links: Vec<Link> = (0..k * k).map(|p| link(p / k, p % k)).collect();
    let t = teacher.gram();
    let activation = teacher.activation();
    // E[g'_i g'_j g'_k g'_l].
    let average = |units: [usize; 4]| match activation {
        Activation::Relu => all_positive(&links, k, &units),
        Activation::LeakyRelu { slope } => leaky_slopes(&links, k, units, slope),
        Activation::Linear => 1.0,
        Activation::Erf => Erf.slopes(&units.map(|i| units.map(|j| t[[i, j]]))),
    };
    // By the set of units, K^4 entries.
    let mut fourth = vec![0.0; k * k * k * k];
    for i in 0..k {
        for j in i..k {
            for l in j..k {
                for m in l..k {
                    let value = average([i, j, l, m]);
                    for p in permutations([i, j, l, m]) {
                        fourth[((p[0] * k + p[1]) * k + p[2]) * k + p[3]] = value;
                    }
                }
            }
        }
    }
    let exact = Weights::new(v.clone(), Some(teacher.readouts().clone()), teacher)?;
    let steps = step_moments(&Fields::from_weights(&exact, teacher, 0));
    let a = Array2::from_shape_fn((k, k), |(i, j)| b[i] * b[j] * steps[[i, j]]);
    let (values, vectors) = linalg::eigh(a.view())?;
    // Power iteration of the positive map S -> L^-1 Phi(S), L(S) = A S + S A.
    let mut s = Array2::<f64>::eye(k);
    let mut growth = 0.0f64;
    const ITERATIONS: usize = 20_000;
    for _ in 0..ITERATIONS {
        let phi = Array2::from_shape_fn((k, k), |(i, j)| {
            let row = &fourth[(i * k + j) * k * k..][..k * k];
            let sum: f64 = (0..k * k).map(|p| row[p] * b[p / k] * b[p % k] * s[[p / k, p % k]]).sum();
            b[i] * b[j] * sum
        });
        let mut next = vectors.t().dot(&phi).dot(&vectors);
        for ((i, j), x) in next.indexed_iter_mut() {
            *x /= values[i] + values[j];
        }
        let next = vectors.dot(&next).dot(&vectors.t());
        let before = std::mem::replace(&mut growth, next.diag().sum() / s.diag().sum());
        s = &next / next.diag().sum();
        if !growth.is_finite() {
            return Err(Error::NonFinite { action: "find the threshold", quantity: "the growth rate" });
        }
        if (growth - before).abs() < 1e-15 * growth {
            return Ok(batch as f64 / growth);
        }
    }
    Err(Error::NotConverged {
        action: "find the threshold",
        residual: 1e-15 * growth,
        iterations: ITERATIONS,
        needs: 1e-15,
    })
}

/// [`local_threshold`] of K = M orthonormal ReLU teachers with readouts 1, in closed form (theory 06, eq. 06-orthonormal).
pub fn orthonormal_threshold(units: usize, batch: usize) -> f64 {
    let k = units as f64;
    let root = ((k + 2.0) * (k + 2.0) - 4.0 * (k * k + k + 2.0) / (k + 1.0)).sqrt();
    8.0 * batch as f64 / (k + 2.0 + root)
}

/// P of the distinct ones among four unit fields to be positive.
fn all_positive(links: &[Link], k: usize, units: &[usize]) -> f64 {
    let mut distinct = units.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let link = |x: usize, y: usize| &links[distinct[x] * k + distinct[y]];
    match distinct.len() {
        0 => 1.0,
        1 => 0.5,
        2 => orthant::p2(link(0, 1).a),
        3 => orthant::p3(link(0, 1).a, link(0, 2).a, link(1, 2).a),
        _ => orthant::p4(&PAIRS.map(|(x, y)| *link(x, y))),
    }
}

/// E[g'_i g'_j g'_k g'_l] of unit fields for leaky ReLU: g'^n = slope^n + (1 - slope^n) H for a unit that occurs n times.
fn leaky_slopes(links: &[Link], k: usize, units: [usize; 4], slope: f64) -> f64 {
    let mut distinct = units.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let power = |u: &usize| slope.powi(units.iter().filter(|v| *v == u).count() as i32);
    (0..1usize << distinct.len())
        .map(|steps| {
            let (stepped, flat): (Vec<usize>, Vec<usize>) =
                (0..distinct.len()).partition(|place| steps >> place & 1 == 1);
            let weight: f64 = stepped.iter().map(|&p| 1.0 - power(&distinct[p])).product();
            let rest: f64 = flat.iter().map(|&p| power(&distinct[p])).product();
            let stepped: Vec<usize> = stepped.into_iter().map(|p| distinct[p]).collect();
            weight * rest * all_positive(links, k, &stepped)
        })
        .sum()
}

fn permutations(x: [usize; 4]) -> Vec<[usize; 4]> {
    let mut all = Vec::with_capacity(24);
    for a in 0..4 {
        for b in (0..4).filter(|&b| b != a) {
            for c in (0..4).filter(|&c| c != a && c != b) {
                all.push([x[a], x[b], x[c], x[6 - a - b - c]]);
            }
        }
    }
    all
}

/// For ReLU, the learning rate 2 B / sum a^2 above which large students diverge whatever the teacher: students parallel in the
/// proportion of their readouts act as one, with the sum of the squared readouts as rate. For readouts of one sign no start
/// diverges below it (theory 06, eq. 06-far); with both signs some may.
pub fn far_threshold(readouts: &[f64], batch: usize) -> f64 {
    2.0 * batch as f64 / readouts.iter().map(|a| a * a).sum::<f64>()
}

/// First order in the learning rate of the excess loss of SGD around a minimum: d loss / d eta at eta = 0 in dimension d
/// (`f64::INFINITY` allowed), (theory 06, eq. 06-excess).
pub fn excess_loss_slope(fields: &Fields, label_noise: f64, batch: usize, d: f64) -> f64 {
    let moments = error_moments_at(error_moments(fields), fields, 1.0 / d);
    let steps = step_moments_at(fields, 1.0 / d);
    let sum: f64 = (0..fields.students())
        .map(|i| fields.readout(i).powi(2) * (moments[[i, i]] + steps[[i, i]] * label_noise * label_noise))
        .sum();
    sum / (4.0 * batch as f64)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;
    use crate::dynamics::evolve_sgd;
    use crate::expectation::{Averages, Quad, Relu};
    use crate::landscape::ansatz::{Guess, solve};

    /// Closed form for K = M = 1, and values of the second-moment operator found elsewhere to 9 digits.
    #[test]
    fn thresholds_of_the_orthonormal_teacher() {
        for (m, expected) in [(1, 2.0), (2, 1.267949192), (3, 0.961928691), (4, 0.777489946), (17, 0.221580528)] {
            let teacher = Teacher::orthonormal(m).unwrap();
            let found = local_threshold(&teacher, 1).unwrap();
            assert!((found - expected).abs() < 1e-9, "M = {m}: {found}");
            assert!((local_threshold(&teacher, 4).unwrap() - 4.0 * found).abs() < 1e-12);
            assert!((orthonormal_threshold(m, 1) / found - 1.0).abs() < 1e-12, "M = {m}");
        }
        assert_eq!(far_threshold(&[1.0; 8], 1), 0.25);
    }

    /// K = M = 8, one flipped unit: trace of the noise over 4, against the sum over all pairs of units.
    #[test]
    fn excess_loss_at_a_minimum() {
        let teacher = Teacher::orthonormal(8).unwrap();
        let point = solve(&Guess::flipped(8), 1, &teacher).unwrap();
        let fields = Fields::from_weights(&point, &teacher, 0);
        let slope = excess_loss_slope(&fields, 0.0, 1, f64::INFINITY);
        let rows: Vec<Vec<f64>> =
            point.rows().outer_iter().chain(teacher.vectors().outer_iter()).map(|r| r.to_vec()).collect();
        let mut trace = 0.0;
        for i in 0..8 {
            for (x, u) in rows.iter().enumerate() {
                for (y, v) in rows.iter().enumerate() {
                    let sign = if (x < 8) == (y < 8) { 1.0 } else { -1.0 };
                    trace += sign * Relu.quadruple(&Quad::from_vectors([&rows[i], &rows[i], u, v])).value;
                }
            }
        }
        assert!((slope - trace / 4.0).abs() < 1e-12 && (slope - 0.040_992_904).abs() < 1e-9, "{slope}");
        let finite = excess_loss_slope(&fields, 0.3, 4, 100.0);
        assert!((4.0 * finite - (1.02 * slope + 0.09 * 8.0 / 8.0)).abs() < 1e-12, "{finite}");
    }

    /// With label noise the loss of the fixed point near the teacher starts with the slope sigma^2 K / 8 B, and grows towards
    /// the threshold.
    #[test]
    fn fixed_points_with_label_noise() {
        let teacher = Teacher::orthonormal(2).unwrap();
        let state = |learning_rate: f64, guess: Option<Overlaps>| {
            let rule = Sgd { learning_rate, label_noise: 0.1, ..Sgd::default() };
            let near = 0.01 * learning_rate;
            let q = Array2::eye(2) * (1.0 + near);
            let start = Overlaps::new(q, Array2::eye(2), Array2::ones((1, 2)), &teacher).unwrap();
            let equations = Equations::new(&start, &teacher, rule).unwrap();
            let guess = guess.unwrap_or_else(|| {
                evolve_sgd(&start, &equations, &[100.0 / learning_rate], 1e-10).unwrap().trajectory.frames[0]
                    .overlaps
                    .clone()
            });
            steady_state(&equations, &guess).unwrap()
        };
        let low = state(0.01, None);
        // sigma^2 K / 2 / 4 per unit of learning rate.
        assert!((low.loss / 0.01 / (0.01 * 2.0 / 8.0) - 1.0).abs() < 0.012, "{}", low.loss / 0.01);
        assert!(low.eigenvalues[0][0] < 0.0 && low.residual < 1e-13);
        let high = state(1.0, None);
        assert!(high.loss > 100.0 * low.loss && high.eigenvalues[0][0] < 0.0);
    }

    /// The closed form of erf (theory 11, eq. 11-plateau), where the root of the equations is double.
    #[test]
    fn plateau_of_parallel_students() {
        for students in [2, 3, 5] {
            let teacher = Teacher::orthonormal(students).unwrap().with_activation(Activation::Erf).unwrap();
            let found = plateau(students, &teacher, None).unwrap();
            let k = students as f64;
            let (q, r) = (1.0 / (2.0 * k - 1.0), 1.0 / (k * (2.0 * k - 1.0)).sqrt());
            let loss = k / PI * (PI / 6.0 - k * (0.5 / k).asin());
            assert!((found.loss - loss).abs() < 1e-13, "K = {k}: {}", found.loss);
            assert!(found.overlaps.q().iter().all(|x| (x - q).abs() < 1e-12), "K = {k}: {}", found.overlaps.q());
            assert!(found.overlaps.r().iter().all(|x| (x - r).abs() < 1e-12), "K = {k}: {}", found.overlaps.r());
        }
        // The noise of steps keeps students apart, in proportion to the rate. K = M = 2, from the averages of
        // Saad and Solla 1995; errors are those of the residual over the distance of the two roots.
        let teacher = Teacher::orthonormal(2).unwrap().with_activation(Activation::Erf).unwrap();
        for (learning_rate, q, c, error) in [
            (1e-4, 0.333338568394761, 0.333332083030269, 1e-8),
            (1e-3, 0.333385705743476, 0.333320825901701, 1e-9),
            (1e-2, 0.333859248649012, 0.333207816407977, 1e-10),
            (0.1, 0.338823853517839, 0.332031252606378, 1e-11),
            (1.0, 0.435084945385643, 0.310212816799274, 1e-12),
        ] {
            let found = plateau(2, &teacher, Some(Sgd { learning_rate, ..Sgd::default() })).unwrap();
            let overlaps = found.overlaps.q();
            let [wrong_q, wrong_c] = [overlaps[[0, 0]] - q, overlaps[[0, 1]] - c];
            assert!(wrong_q.abs().max(wrong_c.abs()) < error, "{learning_rate}: {wrong_q:e}, {wrong_c:e}");
        }
    }

    /// The plateau's loss and rate of escape go over into those of gradient flow; noise keeps it from escaping fast.
    #[test]
    fn plateau_and_escape() {
        for (k, teacher) in [(3, Teacher::orthonormal(3).unwrap()), (2, Teacher::correlated(3, 0.2).unwrap())] {
            let flow = plateau(k, &teacher, None).unwrap();
            let at = |learning_rate: f64| plateau(k, &teacher, Some(Sgd { learning_rate, ..Sgd::default() })).unwrap();
            let (fine, coarse) = (at(0.002), at(0.4));
            let ratio = fine.eigenvalues[0][0] / (0.002 * flow.eigenvalues[0][0]);
            eprintln!(
                "{} {} {ratio} loss {} {} {} res {:e}",
                flow.eigenvalues[0][0],
                coarse.eigenvalues[0][0] / 0.4,
                flow.loss,
                fine.loss,
                coarse.loss,
                flow.residual
            );
            assert!((ratio - 1.0).abs() < 0.01 && ratio < 1.0, "{ratio}");
            assert!(flow.residual < 1e-12 && (fine.loss / flow.loss - 1.0).abs() < 0.01 && coarse.loss > fine.loss);
            // The escape breaks the symmetry between students: the mean over students of each overlap stays.
            let direction = flow.direction.unwrap();
            let start = Overlaps::new(Array2::eye(k), Array2::zeros((k, 3)), Array2::ones((1, k)), &teacher).unwrap();
            let equations = Equations::gradient_flow(&start, &teacher).unwrap();
            assert!(linalg::max_abs(&Exchangeable::new(&equations).contract.dot(&direction)) < 1e-6);
        }
    }
}
