//! What a constraint takes away from the velocity of the overlaps.

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::model::Constraint;

/// Largest violation of the constraint by a start: what rounding leaves.
const VIOLATION: f64 = 1e-9;

/// Refuses a start whose Q violates the constraint.
///
/// # Errors
/// [`Error::Real`] with the violation.
pub(super) fn check_start(constraint: Constraint, q: &Array2<f64>) -> Result<()> {
    let off = |(i, j): (usize, usize)| f64::abs(q[[i, j]] - f64::from(u8::from(i == j)));
    let counts = |&(i, j): &(usize, usize)| match constraint {
        Constraint::Free => false,
        Constraint::Sphere => i == j,
        Constraint::Stiefel => true,
    };
    let k = q.nrows();
    let violation = (0..k).flat_map(|i| (0..k).map(move |j| (i, j))).filter(counts).map(off).fold(0.0, f64::max);
    if violation <= VIOLATION {
        return Ok(());
    }
    Err(Error::Real {
        action: "train by SGD on a constraint",
        quantity: "the violation of the constraint by the start".into(),
        value: violation,
        needs: "at most 1e-9: put the start on the constraint first",
    })
}

/// Takes away what a step across the constraint adds, `factor` times (1), from the velocities of free weights: with
/// D = dQ/dt of the free rule and the multipliers Lambda that keep the set, dQ -= Lambda Q + Q Lambda^T, dR -= Lambda R
/// (theory 06, eq. 06-sphere, 06-stiefel).
///
/// Beside the set Lambda is such that a small violation neither grows nor shrinks: an integrator's error stays one.
pub(super) fn hold(
    constraint: Constraint,
    factor: f64,
    q: &Array2<f64>,
    r: &Array2<f64>,
    dq: &mut Array2<f64>,
    dr: &mut Array2<f64>,
) {
    let multipliers = match constraint {
        Constraint::Free => return,
        Constraint::Sphere => {
            Array2::from_diag(&ndarray::Array1::from_shape_fn(q.nrows(), |i| 0.5 * factor * dq[[i, i]] / q[[i, i]]))
        }
        // Q^-1 = 2 I - Q to first order in the violation.
        Constraint::Stiefel => dq.dot(&(Array2::eye(q.nrows()) * 2.0 - q)) * (0.5 * factor),
    };
    let across = multipliers.dot(q);
    *dq -= &across;
    *dq -= &across.t();
    *dr -= &multipliers.dot(r);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamics::{Equations, Integrator, evolve_by, evolve_sgd};
    use crate::model::{InitialLaw, Sgd, Teacher, Training, TwoLayer, Weights};
    use crate::numerics::linalg;

    fn start(k: usize, m: usize, d: usize, rule: &Sgd) -> (Weights, Teacher) {
        let teacher = Teacher::correlated(m, 0.3).unwrap();
        let start = InitialLaw::new(d, 1.0, &teacher).unwrap().draw(k, &teacher, 3, 0).unwrap();
        (rule.starting(start).unwrap(), teacher)
    }

    #[test]
    fn the_set_is_kept_along_the_way() {
        for constraint in [Constraint::Sphere, Constraint::Stiefel] {
            for momentum in [0.0, 0.5] {
                let rule =
                    Sgd { learning_rate: 0.4, label_noise: 0.3, constraint, momentum, batch: 2, ..Sgd::default() };
                let (start, teacher) = start(3, 2, 9, &rule);
                let overlaps = start.overlaps(&teacher);
                let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
                let end = evolve_sgd(&overlaps, &equations, &[1.0, 50.0], 1e-10).unwrap();
                assert_eq!(end.trajectory.frames.len(), 2);
                for frame in &end.trajectory.frames {
                    assert!(
                        check_start(constraint, frame.overlaps.q()).is_ok(),
                        "{constraint:?}: {:?}",
                        frame.overlaps
                    );
                    assert!(linalg::max_abs(&(frame.overlaps.r() - overlaps.r())) > 0.01);
                }
            }
        }
    }

    /// One unit at the teacher, e = 0: the labels' noise alone adds eta^2 sigma^2 / 2 B to |w|^2, and what keeps |w| = 1
    /// turns the unit away.
    #[test]
    fn label_noise_turns_a_held_unit_by_hand() {
        let teacher = Teacher::orthonormal(1).unwrap();
        let start = Weights::new(ndarray::array![[1.0]], None, &teacher).unwrap().overlaps(&teacher);
        for constraint in [Constraint::Sphere, Constraint::Stiefel] {
            let rule = Sgd { learning_rate: 0.7, batch: 3, label_noise: 0.4, constraint, ..Sgd::default() };
            let mut v = [0.0; 2];
            Equations::new(&start, &teacher, rule).unwrap().velocity(0.0, &[1.0, 1.0], &mut v);
            assert!(v[0].abs() < 1e-15 && (v[1] + 0.25 * 0.49 * 0.16 / 3.0).abs() < 1e-15, "{v:?}");
        }
    }

    /// eta -> 0 at fixed eta t is the Riemannian gradient flow, or that of both layers, by the code of weights; the difference
    /// is of order eta. Momentum is a factor on the time.
    #[test]
    fn small_learning_rates_are_the_flows_of_the_rules() {
        let plain = Sgd::default();
        for (flow, rule) in [
            (Training::Sphere, Sgd { constraint: Constraint::Sphere, ..plain }),
            (Training::Stiefel, Sgd { constraint: Constraint::Stiefel, ..plain }),
            (Training::TwoLayer(TwoLayer { readout_rate: 2.0 }), Sgd { readout_rate: 2.0, ..plain }),
        ] {
            let (start, teacher) = start(3, 2, 7, &rule);
            let end =
                evolve_by(flow, &start, &teacher, 0, &[2.0], 1e-11, Integrator::Dop853).unwrap().frames[0].clone();
            let distance = |learning_rate: f64, momentum: f64| {
                let rule = Sgd { learning_rate: learning_rate * (1.0 - momentum), momentum, ..rule };
                let overlaps = start.overlaps(&teacher);
                let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
                let frames =
                    evolve_sgd(&overlaps, &equations, &[2.0 / learning_rate], 1e-10).unwrap().trajectory.frames;
                let (first, second) = (equations.pack(&frames[0].overlaps), equations.pack(&end.overlaps));
                first.iter().zip(&second).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
            };
            let (coarse, fine) = (distance(1e-2, 0.0), distance(1e-3, 0.75));
            assert!(fine < 2e-3 && (coarse / fine - 10.0).abs() < 0.5, "{flow}: {coarse:e} {fine:e}");
        }
    }

    /// The Jacobian of other rules goes with the velocity; those without a map at finite d say so.
    #[test]
    fn other_rules_say_what_is_not_derived() {
        let held = Sgd { constraint: Constraint::Sphere, ..Sgd::default() };
        let (start, teacher) = start(2, 2, 9, &Sgd::default());
        let overlaps = start.overlaps(&teacher);
        let error = Equations::new(&overlaps, &teacher, held).unwrap_err().to_string();
        assert!(error.contains("violation of the constraint") && error.contains("first"), "{error}");
        let on = held.starting(start.clone()).unwrap().overlaps(&teacher);
        for (rule, reason) in [
            (held, "ends on the constraint"),
            (Sgd { momentum: 0.3, ..held }, "no Markov chain"),
            (Sgd { momentum: 0.3, ..Sgd::default() }, "no Markov chain"),
        ] {
            let equations = Equations::new(&on, &teacher, rule).unwrap();
            assert!(!equations.has_map());
            assert!(equations.clone().at_dimension(100.0).unwrap_err().to_string().contains(reason));
            assert!(crate::dynamics::steady_state(&equations, &on).is_err());
            assert!(crate::dynamics::plateau(2, &teacher, Some(rule)).is_err());
        }
        let rule = Sgd { readout_rate: 0.5, ..Sgd::default() };
        let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
        assert!(equations.has_map() && equations.dim() == 9);
        let x = equations.pack(&overlaps);
        assert_eq!(&x[7..], [1.0, 1.0]);
        let (mut first, mut second) = (vec![0.0; 9], vec![0.0; 9]);
        equations.velocity(0.0, &x, &mut first);
        let direction: Vec<f64> = (0..9).map(|i| (1.0 + i as f64).sin()).collect();
        let moved: Vec<f64> = x.iter().zip(&direction).map(|(x, u)| x + 1e-6 * u).collect();
        equations.velocity(0.0, &moved, &mut second);
        let slope = equations.jacobian(0.0, &x).dot(&ndarray::Array1::from_vec(direction));
        for i in 0..9 {
            assert!((slope[i] - (second[i] - first[i]) / 1e-6).abs() < 1e-5, "{i}");
        }
    }
}
