//! Roots of systems of equations: the trait every set of equations implements, and Newton's method with pseudo-inverse.

use ndarray::{Array1, Array2};

use super::linalg;
use crate::error::{Error, Result};

/// n equations in n unknowns with one parameter p.
pub trait System {
    /// Whether the Jacobian is symmetric: true for every gradient, false for SGD at a finite learning rate.
    fn symmetric(&self) -> bool {
        true
    }
    /// Number of unknowns n.
    fn dim(&self) -> usize;
    /// The n residuals at x.
    fn residual(&self, x: &[f64], p: f64) -> Array1<f64>;
    /// Derivatives of the residuals by the unknowns, n x n.
    fn jacobian(&self, x: &[f64], p: f64) -> Array2<f64>;
}

/// A root with the evidence for it.
#[derive(Clone, Debug)]
pub struct Root {
    pub x: Vec<f64>,
    /// Largest residual, recomputed at x.
    pub residual: f64,
    pub iterations: usize,
}

/// Newton's method by the pseudo-inverse of the Jacobian: finds saddles as well as minima, and steps nowhere along
/// directions whose eigenvalue (singular value, when the Jacobian is not symmetric) is below `cut` times the largest. Without
/// symmetry the pseudo-inverse goes through J^T J, so `cut` means nothing below 1e-7.
///
/// # Errors
/// [`Error::NotConverged`] with the last residual when `iterations` do not reach `tolerance`; [`Error::NonFinite`].
pub fn newton(system: &impl System, x0: &[f64], p: f64, tolerance: f64, cut: f64, iterations: usize) -> Result<Root> {
    let mut x = x0.to_vec();
    let mut residual = system.residual(&x, p);
    for iteration in 0..=iterations {
        let size = linalg::max_abs(&residual);
        if !size.is_finite() {
            return Err(Error::NonFinite { action: "solve for a fixed point", quantity: "the residual" });
        }
        if size <= tolerance {
            return Ok(Root { x, residual: size, iterations: iteration });
        }
        if iteration == iterations {
            break;
        }
        let jacobian = system.jacobian(&x, p);
        let (matrix, right, cut) = if system.symmetric() {
            (jacobian, residual.clone(), cut)
        } else {
            (jacobian.t().dot(&jacobian), jacobian.t().dot(&residual), cut * cut)
        };
        let (values, vectors) = linalg::eigh(matrix.view())?;
        let floor = cut * linalg::max_abs(&values);
        let mut along = vectors.t().dot(&right);
        for (component, value) in along.iter_mut().zip(&values) {
            *component = if value.abs() > floor { *component / value } else { 0.0 };
        }
        let step = vectors.dot(&along);
        // Halve the step until the residual falls; a full step near the root.
        let mut scale = 1.0;
        loop {
            let trial: Vec<f64> = x.iter().zip(&step).map(|(x, s)| x - scale * s).collect();
            let trial_residual = system.residual(&trial, p);
            let shorter = trial_residual.dot(&trial_residual) < residual.dot(&residual);
            if shorter || scale < 1e-3 {
                (x, residual) = (trial, trial_residual);
                break;
            }
            scale *= 0.5;
        }
    }
    Err(Error::NotConverged {
        action: "solve for a fixed point",
        residual: linalg::max_abs(&residual),
        iterations,
        needs: tolerance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gradient of x^2 y + y^2 - p y: saddles and minima known in closed form; p = 1 has roots (+-1, 0) and (0, 1/2).
    struct Toy;
    impl System for Toy {
        fn dim(&self) -> usize {
            2
        }
        fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
            ndarray::array![2.0 * x[0] * x[1], x[0] * x[0] + 2.0 * x[1] - p]
        }
        fn jacobian(&self, x: &[f64], _p: f64) -> Array2<f64> {
            ndarray::array![[2.0 * x[1], 2.0 * x[0]], [2.0 * x[0], 2.0]]
        }
    }

    #[test]
    fn finds_saddle_and_minimum() {
        let saddle = newton(&Toy, &[0.9, 0.1], 1.0, 1e-14, 1e-12, 20).unwrap();
        assert!((saddle.x[0] - 1.0).abs() < 1e-13 && saddle.x[1].abs() < 1e-13);
        let minimum = newton(&Toy, &[0.05, 0.6], 1.0, 1e-14, 1e-12, 20).unwrap();
        assert!(minimum.x[0].abs() < 1e-13 && (minimum.x[1] - 0.5).abs() < 1e-13);
        assert!(minimum.residual <= 1e-14);
    }

    /// x^2 = p, x y = 2: an unsymmetric Jacobian.
    struct Skew;
    impl System for Skew {
        fn symmetric(&self) -> bool {
            false
        }
        fn dim(&self) -> usize {
            2
        }
        fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
            ndarray::array![x[0] * x[0] - p, x[0] * x[1] - 2.0]
        }
        fn jacobian(&self, x: &[f64], _p: f64) -> Array2<f64> {
            ndarray::array![[2.0 * x[0], 0.0], [x[1], x[0]]]
        }
    }

    #[test]
    fn unsymmetric_systems_converge() {
        let root = newton(&Skew, &[3.0, 3.0], 4.0, 1e-14, 1e-7, 20).unwrap();
        assert!((root.x[0] - 2.0).abs() < 1e-14 && (root.x[1] - 1.0).abs() < 1e-14);
    }

    #[test]
    fn too_few_iterations_are_an_error() {
        assert!(matches!(newton(&Toy, &[3.0, 3.0], 1.0, 1e-14, 1e-12, 1), Err(Error::NotConverged { .. })));
    }
}
