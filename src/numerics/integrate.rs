//! The reference integrator: Dormand-Prince 8(5,3) of `ode_solvers`, in segments.
//!
//! `ode_solvers` stops only after a step, so the time axis is cut into segments and the stop rule is asked at their ends.

use nalgebra::DVector;
use ode_solvers::dop853::Dop853;
use ode_solvers::{OutputType, System};

use crate::error::{Error, Result};

struct Autonomous<F>(std::cell::RefCell<F>);

impl<F: FnMut(&[f64], &mut [f64])> System<f64, DVector<f64>> for Autonomous<&mut F> {
    fn system(&self, _time: f64, y: &DVector<f64>, dy: &mut DVector<f64>) {
        (self.0.borrow_mut())(y.as_slice(), dy.as_mut_slice());
    }
}

/// Integrates y' = f(y) over a duration with these relative and absolute tolerances; y is replaced by the end state.
/// Returns the number of calls of f.
///
/// # Errors
/// [`Error::NonFinite`] when the integrator gives up or the state stops being finite. A warning about stiffness is a
/// normal outcome near slow manifolds and answered by cutting the duration in halves.
pub fn dop853(y: &mut [f64], duration: f64, tolerance: f64, f: &mut impl FnMut(&[f64], &mut [f64])) -> Result<usize> {
    segment(y, duration, tolerance, f, 0)
}

/// As [`dop853`] for y' = f(t, y) from one time to another. Time is carried as one more unknown: the time that ode_solvers
/// 0.6.2 gives to the stages of this method is wrong (the integral of 3 t^2 over [1, 3] takes 7 million calls and is good to
/// six digits only).
///
/// # Errors
/// As [`dop853`].
pub fn dop853_in_time(
    y: &mut [f64],
    (from, to): (f64, f64),
    tolerance: f64,
    f: &mut impl FnMut(f64, &[f64], &mut [f64]),
) -> Result<usize> {
    let n = y.len();
    let mut timed: Vec<f64> = y.iter().copied().chain([from]).collect();
    let mut rhs = |timed: &[f64], slope: &mut [f64]| {
        f(timed[n], &timed[..n], &mut slope[..n]);
        slope[n] = 1.0;
    };
    let calls = segment(&mut timed, to - from, tolerance, &mut rhs, 0)?;
    y.copy_from_slice(&timed[..n]);
    Ok(calls)
}

fn segment<F: FnMut(&[f64], &mut [f64])>(
    y: &mut [f64],
    duration: f64,
    tolerance: f64,
    f: &mut F,
    depth: usize,
) -> Result<usize> {
    let start = DVector::from_column_slice(y);
    let mut solver = Dop853::from_param(
        Autonomous(std::cell::RefCell::new(&mut *f)),
        0.0,
        duration,
        duration,
        start,
        tolerance,
        tolerance,
        0.9,
        0.0,
        0.333,
        6.0,
        duration,
        0.0,
        1_000_000,
        u32::MAX,
        OutputType::Sparse,
    );
    let outcome = solver.integrate();
    match outcome {
        Ok(statistics) => {
            let Some(end) = solver.y_out().last() else {
                return Err(Error::NonFinite { action: "integrate the flow", quantity: "the state" });
            };
            if end.iter().any(|x| !x.is_finite()) {
                return Err(Error::NonFinite { action: "integrate the flow", quantity: "the state" });
            }
            y.copy_from_slice(end.as_slice());
            Ok(statistics.num_eval as usize)
        }
        Err(_) if depth < 12 => {
            drop(solver);
            let first = segment(y, duration / 2.0, tolerance, f, depth + 1)?;
            Ok(first + segment(y, duration / 2.0, tolerance, f, depth + 1)?)
        }
        Err(_) => Err(Error::NonFinite { action: "integrate the flow", quantity: "the state" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oscillator_returns_after_one_period() {
        let mut y = [1.0, 0.0];
        let mut f = |y: &[f64], dy: &mut [f64]| (dy[0], dy[1]) = (y[1], -y[0]);
        dop853(&mut y, std::f64::consts::TAU, 1e-12, &mut f).unwrap();
        assert!((y[0] - 1.0).abs() < 1e-10 && y[1].abs() < 1e-10, "{y:?}");
    }

    #[test]
    fn time_enters_the_right_hand_side() {
        let mut y = [0.0];
        let mut f = |t: f64, _: &[f64], dy: &mut [f64]| dy[0] = 3.0 * t * t;
        let calls = dop853_in_time(&mut y, (1.0, 3.0), 1e-12, &mut f).unwrap();
        assert!((y[0] - 26.0).abs() < 1e-10 && calls < 1000, "{y:?} after {calls} calls");
    }

    #[test]
    fn blow_up_is_an_error() {
        let mut y = [1.0];
        assert!(dop853(&mut y, 2.0, 1e-8, &mut |y: &[f64], dy: &mut [f64]| dy[0] = y[0] * y[0]).is_err());
    }
}
