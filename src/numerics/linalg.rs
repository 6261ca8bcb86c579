//! Dense linear algebra on `ndarray`, by faer (default) or by LAPACK through ndarray-linalg (feature `openblas`).
//!
//! Both backends give the same answers to rounding; a test compares them. faer runs sequentially here: parallelism is
//! over runs, one level up.

use ndarray::{Array1, Array2, ArrayView2};

use crate::error::{Error, Result};

/// Eigenvalues of a symmetric matrix (lower triangle read), ascending. Shape n x n.
///
/// # Errors
/// [`Error::NonFinite`] when the matrix holds a value that is not finite or the iteration fails.
pub fn eigvalsh(a: ArrayView2<f64>) -> Result<Array1<f64>> {
    check(a, "compute eigenvalues")?;
    if a.is_empty() {
        return Ok(Array1::zeros(0));
    }
    backend::eigvalsh(a)
}

/// Eigenvalues (ascending) and orthonormal eigenvectors (columns) of a symmetric matrix. Shape n x n.
///
/// # Errors
/// As [`eigvalsh`].
pub fn eigh(a: ArrayView2<f64>) -> Result<(Array1<f64>, Array2<f64>)> {
    check(a, "compute eigenvectors")?;
    if a.is_empty() {
        return Ok((Array1::zeros(0), Array2::zeros((0, 0))));
    }
    backend::eigh(a)
}

/// Eigenvalues of a general real matrix as (real, imaginary) parts, the largest real part first. Shape n x n.
///
/// # Errors
/// As [`eigvalsh`].
pub fn eigenvalues(a: ArrayView2<f64>) -> Result<Vec<[f64; 2]>> {
    check(a, "compute eigenvalues")?;
    if a.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = backend::eigenvalues(a)?;
    values.sort_by(|x, y| y[0].total_cmp(&x[0]).then(y[1].total_cmp(&x[1])));
    Ok(values)
}

/// Unit vector v with a v = value v for a real eigenvalue of a general matrix, its largest entry positive.
///
/// # Errors
/// As [`eigvalsh`].
pub fn eigenvector(a: ArrayView2<f64>, value: f64) -> Result<Array1<f64>> {
    let shifted = &a - &(Array2::<f64>::eye(a.nrows()) * value);
    let (_, vectors) = eigh(shifted.t().dot(&shifted).view())?;
    let mut vector = vectors.column(0).to_owned();
    let largest = vector.iter().fold(0.0f64, |m, x| if x.abs() > m.abs() { *x } else { m });
    vector *= largest.signum();
    Ok(vector)
}

/// Largest absolute entry; NaN when any entry is NaN (`f64::max` alone would hide it).
pub fn max_abs<'a>(entries: impl IntoIterator<Item = &'a f64>) -> f64 {
    entries.into_iter().fold(0.0, |m: f64, x| if x.is_nan() || m.is_nan() { f64::NAN } else { m.max(x.abs()) })
}

/// Cholesky factor of a symmetric positive definite matrix.
pub struct Cholesky(backend::Factor);

impl Cholesky {
    /// Factor of a (lower triangle read), or `None` when a pivot is not positive.
    pub fn new(a: ArrayView2<f64>) -> Option<Cholesky> {
        if a.iter().any(|x| !x.is_finite()) {
            return None;
        }
        backend::cholesky(a).map(Cholesky)
    }

    /// Replaces b by the solution of a x = b.
    pub fn solve(&self, b: &mut [f64]) {
        backend::solve(&self.0, b);
    }
}

fn check(a: ArrayView2<f64>, action: &'static str) -> Result<()> {
    if a.nrows() != a.ncols() {
        return Err(Error::Shape {
            action,
            what: "the matrix",
            rows: a.nrows(),
            columns: a.ncols(),
            needs: "a square matrix".into(),
        });
    }
    if a.iter().any(|x| !x.is_finite()) {
        return Err(Error::NonFinite { action, quantity: "a matrix entry" });
    }
    Ok(())
}

#[cfg(not(feature = "openblas"))]
mod backend {
    use super::*;
    use faer::linalg::solvers::{Llt, Solve};
    use faer::{MatRef, Side};

    pub type Factor = Llt<f64>;

    /// Calls `each` with the matrix as faer sees it: row-major memory read column by column is the transpose, so its
    /// upper triangle is our lower one and nothing is copied.
    fn view<T>(a: ArrayView2<f64>, each: impl FnOnce(MatRef<f64>, Side) -> T) -> T {
        faer::set_global_parallelism(faer::Par::Seq);
        let owned = a.as_standard_layout();
        let slice = owned.as_slice().expect("standard layout is contiguous");
        each(MatRef::from_column_major_slice(slice, a.ncols(), a.nrows()), Side::Upper)
    }

    pub fn eigvalsh(a: ArrayView2<f64>) -> Result<Array1<f64>> {
        let values = view(a, |matrix, side| matrix.self_adjoint_eigenvalues(side))
            .map_err(|_| Error::NonFinite { action: "compute eigenvalues", quantity: "the result" })?;
        Ok(values.into())
    }

    pub fn eigh(a: ArrayView2<f64>) -> Result<(Array1<f64>, Array2<f64>)> {
        let eigen = view(a, |matrix, side| matrix.self_adjoint_eigen(side))
            .map_err(|_| Error::NonFinite { action: "compute eigenvectors", quantity: "the result" })?;
        let values = eigen.S().column_vector();
        let vectors = eigen.U();
        let n = a.nrows();
        Ok((Array1::from_shape_fn(n, |i| values[i]), Array2::from_shape_fn((n, n), |(i, j)| vectors[(i, j)])))
    }

    pub fn eigenvalues(a: ArrayView2<f64>) -> Result<Vec<[f64; 2]>> {
        // The transpose, which is what faer sees, has the same eigenvalues.
        let values = view(a, |matrix, _| matrix.eigenvalues())
            .map_err(|_| Error::NonFinite { action: "compute eigenvalues", quantity: "the result" })?;
        Ok(values.iter().map(|z| [z.re, z.im]).collect())
    }

    pub fn cholesky(a: ArrayView2<f64>) -> Option<Factor> {
        view(a, |matrix, side| matrix.llt(side)).ok()
    }

    pub fn solve(factor: &Factor, b: &mut [f64]) {
        let n = b.len();
        factor.solve_in_place(faer::MatMut::from_column_major_slice_mut(b, n, 1));
    }
}

#[cfg(feature = "openblas")]
mod backend {
    use super::*;
    use ndarray::{ArrayViewMut1, OwnedRepr};
    use ndarray_linalg::{CholeskyFactorized, EigVals, EigValsh, Eigh, FactorizeCInto, SolveC, UPLO};

    pub type Factor = CholeskyFactorized<OwnedRepr<f64>>;

    /// A symmetric copy of the lower triangle: which triangle LAPACK reads depends on the memory order.
    fn mirrored(a: ArrayView2<f64>) -> Array2<f64> {
        Array2::from_shape_fn(a.dim(), |(i, j)| a[[i.max(j), i.min(j)]])
    }

    pub fn eigvalsh(a: ArrayView2<f64>) -> Result<Array1<f64>> {
        EigValsh::eigvalsh(&mirrored(a), UPLO::Lower)
            .map_err(|_| Error::NonFinite { action: "compute eigenvalues", quantity: "the result" })
    }

    pub fn eigh(a: ArrayView2<f64>) -> Result<(Array1<f64>, Array2<f64>)> {
        Eigh::eigh(&mirrored(a), UPLO::Lower)
            .map_err(|_| Error::NonFinite { action: "compute eigenvectors", quantity: "the result" })
    }

    pub fn eigenvalues(a: ArrayView2<f64>) -> Result<Vec<[f64; 2]>> {
        let values = EigVals::eigvals(&a.to_owned())
            .map_err(|_| Error::NonFinite { action: "compute eigenvalues", quantity: "the result" })?;
        Ok(values.iter().map(|z| [z.re, z.im]).collect())
    }

    pub fn cholesky(a: ArrayView2<f64>) -> Option<Factor> {
        mirrored(a).factorizec_into(UPLO::Lower).ok()
    }

    pub fn solve(factor: &Factor, b: &mut [f64]) {
        let solution = factor.solvec(&Array1::from(b.to_vec()));
        match solution {
            Ok(x) => ArrayViewMut1::from(b).assign(&x),
            Err(_) => b.fill(f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;
    use rand::Rng;

    fn random_symmetric(n: usize) -> Array2<f64> {
        let mut rng = random::stream(7, &[n as u64]);
        let a = Array2::from_shape_fn((n, n), |_| rng.random_range(-1.0..1.0));
        &a + &a.t()
    }

    #[test]
    fn eigenvectors_recompose_the_matrix() {
        for n in [1, 2, 3, 7, 17, 40] {
            let a = random_symmetric(n);
            let (values, vectors) = eigh(a.view()).unwrap();
            let back = vectors.dot(&Array2::from_diag(&values)).dot(&vectors.t());
            assert!((&back - &a).iter().all(|x| x.abs() < 1e-13 * n as f64), "n = {n}");
            let only = eigvalsh(a.view()).unwrap();
            assert!((&only - &values).iter().all(|x| x.abs() < 1e-13 * n as f64), "n = {n}");
            assert!(values.windows(2).into_iter().all(|w| w[0] <= w[1]), "n = {n}: not ascending");
        }
    }

    /// The backends agree: LAPACK's eigenvalues against faer's.
    #[cfg(feature = "openblas")]
    #[test]
    fn backends_agree() {
        for n in [3, 17, 289] {
            let a = random_symmetric(n);
            let lapack = eigvalsh(a.view()).unwrap();
            let faer = faer::Mat::from_fn(n, n, |i, j| a[[i, j]]).self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
            let worst = lapack.iter().zip(&faer).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(worst < 1e-11, "n = {n}: {worst:e}");
        }
    }

    #[test]
    fn only_the_lower_triangle_is_read() {
        let a = random_symmetric(7);
        let mut lower = a.clone();
        (0..7).for_each(|i| (i + 1..7).for_each(|j| lower[[i, j]] = 1e3));
        let (expected, found) = (eigvalsh(a.view()).unwrap(), eigvalsh(lower.view()).unwrap());
        assert!((&expected - &found).iter().all(|x| x.abs() < 1e-13));
    }

    /// A rotation by 0.3 scaled by 2, and a triangular matrix, whose eigenvalues are known.
    #[test]
    fn general_matrices() {
        let (c, s) = (2.0 * 0.3f64.cos(), 2.0 * 0.3f64.sin());
        let values = eigenvalues(ndarray::array![[c, -s], [s, c]].view()).unwrap();
        for (value, sign) in values.iter().zip([1.0, -1.0]) {
            assert!((value[0] - c).abs() < 1e-14 && (value[1] - sign * s).abs() < 1e-14, "{values:?}");
        }
        let a = ndarray::array![[1.0, 5.0, 0.0], [0.0, 3.0, 1.0], [0.0, 0.0, -2.0]];
        let values = eigenvalues(a.view()).unwrap();
        assert!(values.iter().zip([3.0, 1.0, -2.0]).all(|(x, y)| (x[0] - y).abs() < 1e-13 && x[1] == 0.0));
        let v = eigenvector(a.view(), 3.0).unwrap();
        assert!((a.dot(&v) - &v * 3.0).iter().all(|x| x.abs() < 1e-13) && (v.dot(&v) - 1.0).abs() < 1e-13);
    }

    #[test]
    fn cholesky_solves_and_refuses() {
        let a = random_symmetric(9);
        let square = a.dot(&a.t()) + Array2::<f64>::eye(9);
        let mut b: Vec<f64> = (0..9).map(|i| i as f64).collect();
        Cholesky::new(square.view()).unwrap().solve(&mut b);
        let back = square.dot(&Array1::from(b));
        assert!(back.iter().enumerate().all(|(i, x)| (x - i as f64).abs() < 1e-12));
        assert!(Cholesky::new((-&square).view()).is_none());
        assert!(Cholesky::new(Array2::from_elem((2, 2), f64::NAN).view()).is_none());
        assert!(eigvalsh(Array2::from_elem((2, 2), f64::NAN).view()).is_err());
    }
}
