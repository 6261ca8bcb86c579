//! Second derivatives under a training rule's constraint: the Riemannian Hessian inside span(W, V) and across it.

use ndarray::Array2;

use super::gradient::Field;
use super::hessian::{Hessian, hessian};
use crate::error::{Error, Result};
use crate::model::{Constraint, Teacher, Weights};
use crate::numerics::linalg::max_abs;

/// Gradient of L + (gamma/2) |W|^2, its part tangent to the constraint, K x D.
pub fn constrained_gradient(
    field: &mut Field,
    rows: &Array2<f64>,
    constraint: Constraint,
    weight_decay: f64,
) -> Array2<f64> {
    let mut gradient = field.gradient_at(rows.view());
    if weight_decay > 0.0 {
        gradient.scaled_add(weight_decay, rows);
    }
    constraint.tangent(rows.view(), gradient.view())
}

/// Hessian of L + (gamma/2) |W|^2 on the constraint at W, which must lie on it. The span block is t x t in an orthonormal
/// basis of the tangent space ([`Constraint::tangent_basis`], returned beside it; `None` is the identity): basis^T (Hess - Lambda x I) basis; the
/// block across the span is A - Lambda, with the multipliers Lambda of [`Constraint::multipliers`] (theory 10, eq.
/// 10-hessian and 10-transverse). Without constraint both are the plain ones plus gamma I.
///
/// # Errors
/// Those of [`hessian`]; [`Error::Real`] for a zero unit.
pub fn constrained_hessian(
    weights: &Weights,
    teacher: &Teacher,
    task: usize,
    constraint: Constraint,
    weight_decay: f64,
) -> Result<(Hessian, Option<Array2<f64>>)> {
    let rows = weights.rows();
    let (k, d) = rows.dim();
    let mut plain = hessian(weights, teacher, task)?;
    if plain.units.len() < k && constraint != Constraint::Free {
        return Err(Error::Real {
            action: "compute the Hessian on the constraint",
            quantity: "the norm of a unit".into(),
            value: 0.0,
            needs: "a positive number",
        });
    }
    plain.span.diag_mut().iter_mut().for_each(|x| *x += weight_decay);
    plain.transverse.diag_mut().iter_mut().for_each(|x| *x += weight_decay);
    if constraint == Constraint::Free {
        return Ok((plain, None));
    }
    let basis = constraint.tangent_basis(rows.view())?;
    let gradient = Field::new(weights, teacher, task).gradient_at(rows.view());
    let multipliers = constraint.multipliers(rows.view(), gradient.view());
    for ((i, j), x) in multipliers.indexed_iter() {
        for c in 0..d {
            plain.span[[i * d + c, j * d + c]] -= x;
        }
    }
    plain.transverse -= &multipliers;
    plain.span = basis.t().dot(&plain.span).dot(&basis);
    Ok((plain, Some(basis)))
}

/// Largest entry of the tangent gradient of L + (gamma/2) |W|^2.
pub fn constrained_residual(
    weights: &Weights,
    teacher: &Teacher,
    task: usize,
    constraint: Constraint,
    weight_decay: f64,
) -> f64 {
    let mut field = Field::new(weights, teacher, task);
    max_abs(&constrained_gradient(&mut field, weights.rows(), constraint, weight_decay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::risk_exact;
    use ndarray::{Array1, s};

    fn random(k: usize, d: usize, salt: usize) -> Array2<f64> {
        Array2::from_shape_fn((k, d), |(i, c)| ((13 * i * c + 5 * c * c + 3 * i + 7 * salt + 1) as f64 * 0.7).sin())
    }

    /// Both Hessian blocks against second differences of the loss along retracted curves, in double-double arithmetic: in
    /// the coordinates of the state and in one more dimension. At a point that is not critical the second derivative along
    /// the retraction of a straight line is the Riemannian Hessian for both retractions, which are of second order.
    #[test]
    fn hessians_match_differences_along_retractions() {
        let teacher = Teacher::correlated(3, 0.2).unwrap();
        for constraint in [Constraint::Free, Constraint::Sphere, Constraint::Stiefel] {
            let gamma = if constraint == Constraint::Free { 0.3 } else { 0.0 };
            for d in [3, 5] {
                let mut rows = random(3, d, 1);
                constraint.retract(&mut rows).unwrap();
                let weights = Weights::new(rows.clone(), None, &teacher).unwrap();
                let (hessian, basis) = constrained_hessian(&weights, &teacher, 0, constraint, gamma).unwrap();
                let basis = basis.unwrap_or_else(|| Array2::eye(3 * d));
                // The same state in one dimension more, and a direction with a part inside and one across.
                let mut wide = Array2::zeros((3, d + 1));
                wide.slice_mut(s![.., ..d]).assign(&rows);
                let inside = Array1::from_shape_fn(basis.ncols(), |c| ((3 * c + 2) as f64).cos());
                let across = Array1::from(vec![0.4, -0.7, 0.2]);
                let direction = basis.dot(&inside);
                for (name, x, y) in [("span", 1.0, 0.0), ("transverse", 0.0, 1.0), ("both", 0.6, 0.8)] {
                    let z =
                        Array2::from_shape_fn(
                            (3, d + 1),
                            |(i, c)| {
                                if c < d { x * direction[i * d + c] } else { y * across[i] }
                            },
                        );
                    let value = |h: f64| {
                        let mut moved = &wide + &(&z * h);
                        constraint.retract(&mut moved).unwrap();
                        let squares = moved.iter().map(|x| x * x).sum::<f64>();
                        risk_exact(&weights.with_rows(moved), &teacher, 0) + 0.5 * gamma * squares
                    };
                    let expected = x * x * inside.dot(&hessian.span.dot(&inside))
                        + y * y * across.dot(&hessian.transverse.dot(&across));
                    // Central second differences of fourth order; rounding of the retracted weights at h = 3e-3 leaves 1e-10.
                    let h = 3e-3;
                    let second = |h: f64| (value(h) - 2.0 * value(0.0) + value(-h)) / (h * h);
                    let found = (4.0 * second(0.5 * h) - second(h)) / 3.0;
                    assert!(
                        (found - expected).abs() < 2e-8,
                        "{constraint:?}, d = {d}, {name}: {found} against {expected}"
                    );
                    // And the gradient.
                    let mut field = Field::new(&weights, &teacher, 0);
                    let gradient = constrained_gradient(&mut field, &rows, constraint, gamma);
                    let slope: f64 = (0..3).map(|i| gradient.row(i).dot(&z.slice(s![i, ..d]))).sum();
                    let first = |h: f64| (value(h) - value(-h)) / (2.0 * h);
                    let found = (4.0 * first(0.5 * h) - first(h)) / 3.0;
                    assert!((found - slope).abs() < 1e-8, "{constraint:?}, d = {d}, {name}: {found} against {slope}");
                }
            }
        }
    }
}
