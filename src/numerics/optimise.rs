//! The door to argmin: trust region with Steihaug's conjugate gradients.
//!
//! "Converged" is never taken from the optimiser: callers recompute the gradient. Values that are not finite end the
//! iteration with an error (argmin's line searches would not return on NaN, which is why none is used here).

use argmin::core::{CostFunction, Error as ArgminError, Executor, Gradient, Hessian, State};
use argmin::solver::trustregion::{Steihaug, TrustRegion};
use ndarray::{Array1, Array2};

use super::linalg::max_abs;
use crate::error::{Error, Result};

/// A twice differentiable function of n real variables.
pub trait Smooth {
    fn value(&self, x: &[f64]) -> f64;
    fn gradient(&self, x: &[f64]) -> Array1<f64>;
    fn hessian(&self, x: &[f64]) -> Array2<f64>;
}

/// Radii and stop rule of [`trust_region`].
#[derive(Clone, Copy, Debug)]
pub struct TrustRegionOptions {
    /// First radius of the trust region.
    pub radius: f64,
    /// Largest radius: a small one keeps the iteration in the basin it starts in.
    pub max_radius: f64,
    /// Stop when the largest gradient entry is below this.
    pub gradient: f64,
    /// Most iterations.
    pub iterations: u64,
}

impl Default for TrustRegionOptions {
    fn default() -> Self {
        TrustRegionOptions { radius: 0.05, max_radius: 0.1, gradient: 1e-8, iterations: 500 }
    }
}

struct Problem<'a, S>(&'a S);

fn finite<T>(value: T, ok: bool) -> std::result::Result<T, ArgminError> {
    if ok { Ok(value) } else { Err(ArgminError::msg("not finite")) }
}

impl<S: Smooth> CostFunction for Problem<'_, S> {
    type Param = Array1<f64>;
    type Output = f64;
    fn cost(&self, x: &Self::Param) -> std::result::Result<f64, ArgminError> {
        let value = self.0.value(&x.to_vec());
        finite(value, value.is_finite())
    }
}

impl<S: Smooth> Gradient for Problem<'_, S> {
    type Param = Array1<f64>;
    type Gradient = Array1<f64>;
    fn gradient(&self, x: &Self::Param) -> std::result::Result<Array1<f64>, ArgminError> {
        let gradient = self.0.gradient(&x.to_vec());
        let ok = gradient.iter().all(|g| g.is_finite());
        finite(gradient, ok)
    }
}

impl<S: Smooth> Hessian for Problem<'_, S> {
    type Param = Array1<f64>;
    type Hessian = Array2<f64>;
    fn hessian(&self, x: &Self::Param) -> std::result::Result<Array2<f64>, ArgminError> {
        let hessian = self.0.hessian(&x.to_vec());
        let ok = hessian.iter().all(|h| h.is_finite());
        finite(hessian, ok)
    }
}

/// Descends from x0 until the largest gradient entry is below `options.gradient`; returns the end point and the number
/// of iterations.
///
/// # Errors
/// [`Error::NonFinite`] when value, gradient or Hessian are not finite on the way; [`Error::NotConverged`] with the
/// recomputed gradient when the iterations run out.
pub fn trust_region<S: Smooth>(function: &S, x0: &[f64], options: TrustRegionOptions) -> Result<(Vec<f64>, u64)> {
    let failed = |_| Error::NonFinite { action: "descend by trust region", quantity: "loss, gradient or Hessian" };
    let largest = |x: &[f64]| max_abs(&function.gradient(x));
    let mut x = x0.to_vec();
    let mut radius = options.radius;
    let mut done = 0;
    // argmin's trust region has no stopping test of its own: run it in short stretches and test the gradient between.
    while done < options.iterations {
        if largest(&x) < options.gradient {
            return Ok((x, done));
        }
        let solver = TrustRegion::new(Steihaug::new().with_max_iters(x.len() as u64))
            .with_radius(radius)
            .and_then(|solver| solver.with_max_radius(options.max_radius))
            .map_err(failed)?;
        let stretch = 5.min(options.iterations - done);
        let result = Executor::new(Problem(function), solver)
            .configure(|state| state.param(Array1::from(x.clone())).max_iters(stretch))
            .run()
            .map_err(failed)?;
        let Some(best) = result.state().get_best_param() else { break };
        let next = best.to_vec();
        if next == x {
            radius /= 4.0;
        }
        x = next;
        done += stretch;
    }
    let residual = largest(&x);
    if residual < options.gradient {
        return Ok((x, done));
    }
    Err(Error::NotConverged {
        action: "descend by trust region",
        residual,
        iterations: done as usize,
        needs: options.gradient,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's function: minimum 0 at (1, 1).
    struct Rosenbrock;
    impl Smooth for Rosenbrock {
        fn value(&self, x: &[f64]) -> f64 {
            (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2)
        }
        fn gradient(&self, x: &[f64]) -> Array1<f64> {
            let slope = x[1] - x[0] * x[0];
            ndarray::array![-2.0 * (1.0 - x[0]) - 400.0 * x[0] * slope, 200.0 * slope]
        }
        fn hessian(&self, x: &[f64]) -> Array2<f64> {
            let mixed = -400.0 * x[0];
            ndarray::array![[2.0 - 400.0 * (x[1] - 3.0 * x[0] * x[0]), mixed], [mixed, 200.0]]
        }
    }

    #[test]
    fn finds_the_minimum() {
        let (x, _) = trust_region(&Rosenbrock, &[-1.2, 1.0], TrustRegionOptions::default()).unwrap();
        assert!((x[0] - 1.0).abs() < 1e-7 && (x[1] - 1.0).abs() < 1e-7, "{x:?}");
    }

    #[test]
    fn not_finite_and_too_short_are_errors() {
        assert!(matches!(
            trust_region(&Rosenbrock, &[f64::NAN, 1.0], TrustRegionOptions::default()),
            Err(Error::NonFinite { .. })
        ));
        let short = TrustRegionOptions { iterations: 2, ..Default::default() };
        assert!(matches!(trust_region(&Rosenbrock, &[-1.2, 1.0], short), Err(Error::NotConverged { .. })));
    }
}
