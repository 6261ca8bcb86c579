//! Sets on which weights are held: each row on a sphere, or all rows orthonormal.

use ndarray::{Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::numerics::{linalg, tolerance};

const ACTION: &str = "hold the weights to their constraint";

/// A set of weight matrices W (theory 10, eq. 10-sets).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Constraint {
    /// No constraint.
    #[default]
    Free,
    /// |w_k| = 1 for each row; |w_k|^2 = d where the field is w.x / sqrt(d).
    Sphere,
    /// W W^T = I: orthonormal rows, K <= d.
    Stiefel,
}

impl Constraint {
    /// Whether K rows in d dimensions can lie on the set.
    ///
    /// # Errors
    /// [`Error::Count`] for more orthonormal rows than dimensions.
    pub fn fits(self, students: usize, dimension: usize) -> Result<()> {
        if self == Constraint::Stiefel && students > dimension {
            return Err(Error::Count {
                action: "keep the students orthonormal",
                quantity: "students K",
                value: students,
                needs: format!("at most d = {dimension}"),
            });
        }
        Ok(())
    }

    /// Replaces W by the nearest matrix of the set: rows divided by their norms, or the polar factor (W W^T)^(-1/2) W.
    ///
    /// # Errors
    /// [`Error::Real`] for a zero row (sphere) or dependent rows (Stiefel).
    pub fn retract(self, rows: &mut Array2<f64>) -> Result<()> {
        match self {
            Constraint::Free => Ok(()),
            Constraint::Sphere => {
                for (i, mut row) in rows.outer_iter_mut().enumerate() {
                    let norm = row.dot(&row).sqrt();
                    if !(norm > 0.0 && norm.is_finite()) {
                        let quantity = format!("the norm of unit {}", i + 1);
                        return Err(Error::Real { action: ACTION, quantity, value: norm, needs: "a positive number" });
                    }
                    row /= norm;
                }
                Ok(())
            }
            Constraint::Stiefel => polar(rows),
        }
    }

    /// Largest violation: | |w_k|^2 - 1 |, or an entry of W W^T - I.
    pub fn violation(self, rows: ArrayView2<f64>) -> f64 {
        let gram = rows.dot(&rows.t());
        let off = |(i, j)| gram[[i, j]] - f64::from(u8::from(i == j));
        let k = rows.nrows();
        match self {
            Constraint::Free => 0.0,
            Constraint::Sphere => (0..k).map(|i| f64::abs(off((i, i)))).fold(0.0, f64::max),
            Constraint::Stiefel => linalg::max_abs(&Array2::from_shape_fn((k, k), off)),
        }
    }

    /// The multipliers Lambda (K x K, symmetric) for which G - Lambda W is tangent at W: diag(g_i.w_i), or sym(G W^T);
    /// zero without constraint (theory 10, eq. 10-multipliers). G is any K x D matrix.
    pub fn multipliers(self, rows: ArrayView2<f64>, g: ArrayView2<f64>) -> Array2<f64> {
        let k = rows.nrows();
        match self {
            Constraint::Free => Array2::zeros((k, k)),
            Constraint::Sphere => Array2::from_diag(&(&g * &rows).sum_axis(ndarray::Axis(1))),
            Constraint::Stiefel => {
                let product = g.dot(&rows.t());
                (&product + &product.t()) * 0.5
            }
        }
    }

    /// The part of G (K x D) tangent to the set at W.
    pub fn tangent(self, rows: ArrayView2<f64>, g: ArrayView2<f64>) -> Array2<f64> {
        match self {
            Constraint::Free => g.to_owned(),
            _ => &g - &self.multipliers(rows, g).dot(&rows),
        }
    }

    /// Orthonormal basis of the tangent space at W, K D x t with index (unit, coordinate) row-major; t = K D, K (D - 1) or
    /// K (K - 1)/2 + K (D - K).
    ///
    /// # Errors
    /// Those of the eigenvalues behind the orthogonal complement.
    pub fn tangent_basis(self, rows: ArrayView2<f64>) -> Result<Array2<f64>> {
        let (k, d) = rows.dim();
        let n = k * d;
        match self {
            Constraint::Free => Ok(Array2::eye(n)),
            Constraint::Sphere => {
                let mut basis = Array2::zeros((n, k * (d - 1)));
                for (i, row) in rows.outer_iter().enumerate() {
                    let across = complement(row.insert_axis(ndarray::Axis(0)))?;
                    let columns = i * (d - 1)..(i + 1) * (d - 1);
                    basis.slice_mut(s![i * d..(i + 1) * d, columns]).assign(&across.t());
                }
                Ok(basis)
            }
            Constraint::Stiefel => {
                let across = complement(rows)?;
                let mut columns: Vec<(usize, Array2<f64>)> = Vec::new();
                let half = std::f64::consts::FRAC_1_SQRT_2;
                let mut basis = Array2::zeros((n, k * (k - 1) / 2 + k * (d - k)));
                for i in 0..k {
                    for j in 0..i {
                        let mut turn = Array2::zeros((k, d));
                        turn.row_mut(i).assign(&(&rows.row(j) * half));
                        turn.row_mut(j).assign(&(&rows.row(i) * -half));
                        columns.push((columns.len(), turn));
                    }
                    for other in across.outer_iter() {
                        let mut turn = Array2::zeros((k, d));
                        turn.row_mut(i).assign(&other);
                        columns.push((columns.len(), turn));
                    }
                }
                for (c, turn) in columns {
                    basis.column_mut(c).iter_mut().zip(&turn).for_each(|(slot, x)| *slot = *x);
                }
                Ok(basis)
            }
        }
    }
}

/// Orthonormal rows that span the complement of these orthonormal rows.
fn complement(rows: ArrayView2<f64>) -> Result<Array2<f64>> {
    let (k, d) = rows.dim();
    // The projector on the rows has eigenvalues 0 (d - k times) and 1.
    let (_, vectors) = linalg::eigh(rows.t().dot(&rows).view())?;
    Ok(vectors.slice(s![.., ..d - k]).t().to_owned())
}

/// One step of Newton and Schulz towards the polar factor: the distance to it is squared.
pub fn towards_polar(rows: &Array2<f64>) -> Array2<f64> {
    let gram = rows.dot(&rows.t());
    1.5 * rows - 0.5 * gram.dot(rows)
}

fn polar(rows: &mut Array2<f64>) -> Result<()> {
    let k = rows.nrows();
    // The Frobenius norm bounds the spectral norm: up to here the squared singular values lie between 1/2 and 3/2, from where
    // Newton and Schulz take six steps. A bound on entries is none on singular values: rows with Gram matrix I - J/K are
    // dependent.
    let gram = rows.dot(&rows.t());
    let off = gram.indexed_iter().map(|((i, j), x)| (x - f64::from(u8::from(i == j))).powi(2)).sum::<f64>().sqrt();
    if !(off <= 0.5) {
        let (values, vectors) = linalg::eigh(rows.dot(&rows.t()).view())?;
        let smallest = values[0];
        if !(smallest > f64::EPSILON * values[k - 1]) {
            let quantity = "the smallest eigenvalue of W W^T".into();
            return Err(Error::Real { action: ACTION, quantity, value: smallest, needs: "a positive number (K <= d)" });
        }
        let scaled = &vectors / &values.mapv(f64::sqrt);
        *rows = scaled.dot(&vectors.t()).dot(rows);
    }
    for _ in 0..8 {
        if Constraint::Stiefel.violation(rows.view()) <= 4.0 * f64::EPSILON {
            break;
        }
        *rows = towards_polar(rows);
    }
    let violation = Constraint::Stiefel.violation(rows.view());
    if violation <= tolerance::ORTHONORMAL {
        return Ok(());
    }
    let quantity = "the largest entry of W W^T - I after the retraction".into();
    Err(Error::Real { action: ACTION, quantity, value: violation, needs: "rows that are clearly independent" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn example(d: usize) -> Array2<f64> {
        Array2::from_shape_fn((3, d), |(i, c)| ((7 * i + 3 * c + 1) as f64).sin() + f64::from(u8::from(i == c)))
    }

    #[test]
    fn retraction_basis_and_projection_belong_together() {
        for d in [3, 5] {
            for (constraint, t) in
                [(Constraint::Free, 3 * d), (Constraint::Sphere, 3 * (d - 1)), (Constraint::Stiefel, 3 + 3 * (d - 3))]
            {
                let mut rows = example(d);
                constraint.retract(&mut rows).unwrap();
                assert!(constraint.violation(rows.view()) < 1e-14, "{constraint:?}");
                let basis = constraint.tangent_basis(rows.view()).unwrap();
                assert_eq!(basis.dim(), (3 * d, t));
                let gram = basis.t().dot(&basis) - Array2::<f64>::eye(t);
                assert!(linalg::max_abs(&gram) < 1e-14, "{constraint:?}: {gram}");
                // The projection is that on the basis, and it is idempotent.
                let g = example(d).mapv(|x| x * x - 0.3);
                let flat = ndarray::Array1::from_iter(g.iter().copied());
                let by_basis = basis.dot(&basis.t().dot(&flat));
                let tangent = constraint.tangent(rows.view(), g.view());
                let difference = tangent.iter().zip(&by_basis).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
                assert!(difference < 1e-14, "{constraint:?}: {difference:e}");
                // Along a tangent direction the violation is of second order.
                let step = |h: f64| constraint.violation((&rows + &(&tangent * h)).view());
                assert!(step(1e-4) < 1e-6, "{constraint:?}");
            }
        }
    }

    /// The polar factor is the nearest orthonormal matrix: W O^T is symmetric and positive.
    #[test]
    fn polar_factor_is_symmetric_against_its_matrix() {
        let rows = example(5);
        let mut orthonormal = rows.clone();
        Constraint::Stiefel.retract(&mut orthonormal).unwrap();
        let product = rows.dot(&orthonormal.t());
        assert!(linalg::max_abs(&(&product - &product.t())) < 1e-14);
        assert!(linalg::eigvalsh(product.view()).unwrap()[0] > 0.0);
    }

    #[test]
    fn zero_and_dependent_rows_are_refused() {
        let mut rows = array![[1.0, 0.0], [0.0, 0.0]];
        assert!(Constraint::Sphere.retract(&mut rows).unwrap_err().to_string().contains("norm of unit 2 is 0"));
        let mut rows = array![[1.0, 0.5], [2.0, 1.0], [0.3, 0.1]];
        assert!(Constraint::Stiefel.retract(&mut rows).is_err());
        // Dependent rows whose Gram matrix I - J/K has entries near those of I.
        let k = 17;
        let mut rows = Array2::from_shape_fn((k, k), |(i, j)| f64::from(u8::from(i == j)) - 1.0 / k as f64);
        assert!(Constraint::Stiefel.retract(&mut rows).is_err());
    }

    /// Many small overlaps of one sign make a large singular value.
    #[test]
    fn rows_with_many_small_overlaps_go_to_their_polar_factor() {
        for k in [30, 60] {
            // W^2 = (1 - c) I + c J.
            let (a, b) = ((0.91f64).sqrt(), ((0.91 + 0.09 * k as f64).sqrt() - (0.91f64).sqrt()) / k as f64);
            let mut rows = Array2::from_shape_fn((k, k), |(i, j)| b + if i == j { a } else { 0.0 });
            Constraint::Stiefel.retract(&mut rows).unwrap();
            // The polar factor of a positive matrix is the identity.
            assert!(linalg::max_abs(&(&rows - &Array2::<f64>::eye(k))) < 1e-13, "K = {k}");
        }
    }
}
