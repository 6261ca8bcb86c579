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

/// Solution x of a x = b for a general real matrix, by LU with partial pivoting. Shapes n x n and n.
///
/// # Errors
/// As [`Lu::new`] and [`Lu::solve`].
pub fn solve(a: ArrayView2<f64>, b: &Array1<f64>) -> Result<Array1<f64>> {
    let n = b.len();
    if n > SMALL || a.dim() != (n, n) {
        return Lu::new(a)?.solve(b);
    }
    check(a, SOLVE)?;
    let (mut a, mut x): (Vec<f64>, Vec<f64>) = (a.iter().copied().collect(), b.to_vec());
    if eliminate(&mut a, &mut x) {
        Ok(x.into())
    } else {
        Err(Error::NonFinite { action: SOLVE, quantity: "the solution" })
    }
}

/// Up to this n [`eliminate`] is faster than the factors of a library.
const SMALL: usize = 20;

/// Solves a x = b without allocation, by elimination with partial pivoting: a, n x n by rows, is overwritten, b becomes x.
/// `false` when a pivot is zero or not finite; b then means nothing.
pub fn eliminate(a: &mut [f64], b: &mut [f64]) -> bool {
    let n = b.len();
    for c in 0..n {
        let pivot = (c..n).fold(c, |best, r| if a[r * n + c].abs() > a[best * n + c].abs() { r } else { best });
        if pivot != c {
            (0..n).for_each(|k| a.swap(c * n + k, pivot * n + k));
            b.swap(c, pivot);
        }
        let value = a[c * n + c];
        if value == 0.0 || !value.is_finite() {
            return false;
        }
        for r in c + 1..n {
            let factor = a[r * n + c] / value;
            if factor != 0.0 {
                (c + 1..n).for_each(|k| a[r * n + k] -= factor * a[c * n + k]);
                b[r] -= factor * b[c];
            }
        }
    }
    for r in (0..n).rev() {
        let known: f64 = (r + 1..n).map(|k| a[r * n + k] * b[k]).sum();
        b[r] = (b[r] - known) / a[r * n + r];
    }
    b.iter().all(|x| x.is_finite())
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

/// LU factors, with partial pivoting, of a general real matrix.
pub struct Lu {
    factor: Option<backend::General>,
    n: usize,
}

impl Lu {
    /// Factors of a. Shape n x n.
    ///
    /// # Errors
    /// [`Error::Shape`] when the matrix is not square, [`Error::NonFinite`] when an entry is not finite or, with LAPACK, a
    /// pivot is exactly zero.
    pub fn new(a: ArrayView2<f64>) -> Result<Lu> {
        check(a, SOLVE)?;
        let factor = if a.is_empty() { None } else { Some(backend::lu(a)?) };
        Ok(Lu { factor, n: a.nrows() })
    }

    /// Solution x of a x = b. Shape n.
    ///
    /// # Errors
    /// [`Error::Shape`] when b has another length, [`Error::NonFinite`] when the solution is not finite (a pivot is zero).
    pub fn solve(&self, b: &Array1<f64>) -> Result<Array1<f64>> {
        if b.len() != self.n {
            return Err(Error::Shape {
                action: SOLVE,
                what: "the right-hand side",
                rows: b.len(),
                columns: 1,
                needs: format!("{} x 1", self.n),
            });
        }
        let x = match &self.factor {
            Some(factor) => backend::solve_general(factor, b)?,
            None => Array1::zeros(0),
        };
        if x.iter().any(|x| !x.is_finite()) {
            return Err(Error::NonFinite { action: SOLVE, quantity: "the solution" });
        }
        Ok(x)
    }

    /// Sign of the determinant: 1, -1, or 0 when a pivot is exactly zero. An empty matrix has determinant 1.
    pub fn sign(&self) -> f64 {
        self.factor.as_ref().map_or(1.0, backend::sign)
    }
}

const SOLVE: &str = "solve linear equations";

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
    use faer::linalg::solvers::{Llt, PartialPivLu, Solve};
    use faer::{MatMut, MatRef, Side};

    pub type Factor = Llt<f64>;
    /// Factors of the transpose, which is what faer sees.
    pub type General = PartialPivLu<f64>;

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
        factor.solve_in_place(MatMut::from_column_major_slice_mut(b, n, 1));
    }

    pub fn lu(a: ArrayView2<f64>) -> Result<General> {
        Ok(view(a, |matrix, _| matrix.partial_piv_lu()))
    }

    pub fn solve_general(factor: &General, b: &Array1<f64>) -> Result<Array1<f64>> {
        let mut x = b.to_vec();
        factor.solve_transpose_in_place(MatMut::from_column_major_slice_mut(&mut x, b.len(), 1));
        Ok(Array1::from(x))
    }

    pub fn sign(factor: &General) -> f64 {
        let (upper, rows) = (factor.U(), factor.P().arrays().0);
        let mut sign: f64 =
            (0..upper.nrows()).map(|i| if upper[(i, i)] == 0.0 { 0.0 } else { upper[(i, i)].signum() }).product();
        // A cycle of even length is an odd permutation.
        let mut seen = vec![false; rows.len()];
        for start in 0..rows.len() {
            let (mut at, mut length) = (start, 0);
            while !seen[at] {
                seen[at] = true;
                at = rows[at];
                length += 1;
            }
            if length > 0 && length % 2 == 0 {
                sign = -sign;
            }
        }
        sign
    }
}

#[cfg(feature = "openblas")]
mod backend {
    use super::*;
    use ndarray::{ArrayViewMut1, OwnedRepr};
    use ndarray_linalg::{
        CholeskyFactorized, Determinant, EigVals, EigValsh, Eigh, FactorizeCInto, FactorizeInto, LUFactorized, Solve,
        SolveC, UPLO,
    };

    pub type Factor = CholeskyFactorized<OwnedRepr<f64>>;
    pub type General = LUFactorized<OwnedRepr<f64>>;

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

    pub fn lu(a: ArrayView2<f64>) -> Result<General> {
        a.to_owned().factorize_into().map_err(|_| Error::NonFinite { action: SOLVE, quantity: "the inverse" })
    }

    pub fn solve_general(factor: &General, b: &Array1<f64>) -> Result<Array1<f64>> {
        factor.solve(b).map_err(|_| Error::NonFinite { action: SOLVE, quantity: "the solution" })
    }

    pub fn sign(factor: &General) -> f64 {
        factor.sln_det().map_or(f64::NAN, |(sign, _)| sign)
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

    /// Residual to rounding, and the sign of the determinant against the product of the eigenvalues.
    #[test]
    fn general_equations() {
        let mut rng = random::stream(8, &[1]);
        for n in [1, 2, 3, 8, 33] {
            let a = Array2::from_shape_fn((n, n), |_| rng.random_range(-1.0..1.0));
            let b = Array1::from_shape_fn(n, |i| i as f64 - 0.5);
            let lu = Lu::new(a.view()).unwrap();
            let x = lu.solve(&b).unwrap();
            let size = max_abs(&x) * n as f64;
            for x in [&x, &solve(a.view(), &b).unwrap()] {
                assert!((a.dot(x) - &b).iter().all(|r| r.abs() < 1e-14 * size), "n = {n}");
            }
            let (mut matrix, mut small) = (a.as_standard_layout().to_owned().into_raw_vec_and_offset().0, b.to_vec());
            assert!(eliminate(&mut matrix, &mut small));
            assert!(x.iter().zip(&small).all(|(x, y)| (x - y).abs() < 1e-11 * size), "n = {n}");
            // A complex pair multiplies to a positive number.
            let real = eigenvalues(a.view()).unwrap().into_iter().filter(|z| z[1] == 0.0);
            assert_eq!(lu.sign(), real.map(|z| z[0].signum()).product::<f64>(), "n = {n}");
        }
        let swap = ndarray::array![[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]];
        assert_eq!(Lu::new(swap.view()).unwrap().sign(), 1.0);
        let x = solve(swap.view(), &ndarray::array![2.0, 3.0, 1.0]).unwrap();
        assert_eq!(x, ndarray::array![1.0, 2.0, 3.0]);
        assert_eq!(Lu::new(swap.slice(ndarray::s![..2, ..2])).map_or(0.0, |lu| lu.sign()), 0.0);
    }

    #[test]
    fn equations_without_a_solution_are_errors() {
        let ones = Array2::from_elem((2, 2), 1.0);
        assert!(matches!(solve(ones.view(), &ndarray::array![1.0, 2.0]), Err(Error::NonFinite { .. })));
        assert!(matches!(solve(Array2::zeros((2, 3)).view(), &Array1::zeros(2)), Err(Error::Shape { .. })));
        assert!(matches!(solve(Array2::eye(2).view(), &Array1::zeros(3)), Err(Error::Shape { .. })));
        assert!(solve(Array2::from_elem((2, 2), f64::NAN).view(), &Array1::zeros(2)).is_err());
        assert_eq!(solve(Array2::zeros((0, 0)).view(), &Array1::zeros(0)).unwrap().len(), 0);
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
