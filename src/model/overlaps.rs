//! The state as overlaps: Q (student-student), R (student-teacher), readouts a.

use ndarray::{Array2, concatenate};

use super::teacher::check_gram;
use super::{Teacher, Weights};
use crate::error::{Error, Result};
use crate::numerics::{linalg, tolerance};

/// Order parameters of a student: Q = W W^T (K x K), R = W V^T (K x M), readouts a (tasks x K).
#[derive(Clone, Debug, PartialEq)]
pub struct Overlaps {
    q: Array2<f64>,
    r: Array2<f64>,
    a: Array2<f64>,
}

impl Overlaps {
    /// From the matrices; checks shapes and that the joint Gram matrix [[Q, R], [R^T, T]] is positive semidefinite.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NonFinite`], [`Error::NotSymmetric`], [`Error::NotPositive`] with the eigenvalue.
    pub fn new(q: Array2<f64>, r: Array2<f64>, a: Array2<f64>, teacher: &Teacher) -> Result<Overlaps> {
        Overlaps::integrated(q, r, a, teacher, tolerance::GRAM)
    }

    /// As [`Overlaps::new`] with a relative tolerance for the smallest eigenvalue: a state out of an integrator is a Gram
    /// matrix to the integrator's tolerance only. It is checked, never clipped.
    ///
    /// # Errors
    /// As [`Overlaps::new`].
    pub fn integrated(
        q: Array2<f64>,
        r: Array2<f64>,
        a: Array2<f64>,
        teacher: &Teacher,
        tolerance: f64,
    ) -> Result<Overlaps> {
        const ACTION: &str = "use the overlaps";
        let (k, m) = (q.nrows(), teacher.units());
        let tasks = teacher.readouts().nrows();
        for (what, matrix, rows, columns) in [("Q", &q, k, k), ("R", &r, k, m), ("the readouts a", &a, tasks, k)] {
            if k == 0 || matrix.dim() != (rows, columns) {
                return Err(Error::Shape {
                    action: ACTION,
                    what,
                    rows: matrix.nrows(),
                    columns: matrix.ncols(),
                    needs: format!("{rows} x {columns} with K >= 1"),
                });
            }
        }
        if q.iter().chain(&r).chain(&a).any(|x| !x.is_finite()) {
            return Err(Error::NonFinite { action: ACTION, quantity: "an entry of Q, R or a" });
        }
        let top = concatenate![ndarray::Axis(1), q, r];
        let bottom = concatenate![ndarray::Axis(1), r.t(), *teacher.gram()];
        let joint = check_gram(
            "the joint Gram matrix of students and teachers",
            concatenate![ndarray::Axis(0), top, bottom],
            tolerance,
        )?;
        let q = joint.slice(ndarray::s![..k, ..k]).to_owned();
        Ok(Overlaps { q, r, a })
    }

    /// Overlaps that are Gram by construction.
    pub(super) fn trusted(q: Array2<f64>, r: Array2<f64>, a: Array2<f64>) -> Overlaps {
        Overlaps { q, r, a }
    }

    /// Q, K x K.
    pub fn q(&self) -> &Array2<f64> {
        &self.q
    }

    /// R, K x M.
    pub fn r(&self) -> &Array2<f64> {
        &self.r
    }

    /// Readouts a, tasks x K.
    pub fn readouts(&self) -> &Array2<f64> {
        &self.a
    }

    /// Weights in the fewest coordinates that have these overlaps: the teacher's r plus the rank of the transverse part
    /// S = Q - R T^+ R^T.
    pub fn lift(&self, teacher: &Teacher) -> Result<Weights> {
        let v = teacher.vectors();
        let (values, vectors) = linalg::eigh(v.t().dot(v).view())?;
        let inverse = vectors.dot(&Array2::from_diag(&values.mapv(|x| 1.0 / x))).dot(&vectors.t());
        let along = self.r.dot(v).dot(&inverse);
        let rest = &self.q - &along.dot(&along.t());
        let (values, vectors) = linalg::eigh(rest.view())?;
        let floor = tolerance::GRAM * linalg::max_abs(&self.q);
        let kept: Vec<usize> = (0..values.len()).rev().filter(|&i| values[i] > floor).collect();
        let k = self.q.nrows();
        let across = Array2::from_shape_fn((k, kept.len()), |(i, c)| vectors[[i, kept[c]]] * values[kept[c]].sqrt());
        Weights::new(concatenate![ndarray::Axis(1), along, across], Some(self.a.clone()), teacher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;
    use rand::Rng;

    #[test]
    fn lift_inverts_projection() {
        for (k, m, d, rho) in [(3, 2, 5, 0.3), (2, 4, 4, 0.0), (4, 3, 3, -0.5), (5, 2, 9, 0.9)] {
            let teacher = Teacher::correlated(m, rho).unwrap();
            let mut rng = random::stream(3, &[k as u64, m as u64]);
            let d = d.max(teacher.rank());
            let w = Array2::from_shape_fn((k, d), |_| rng.random_range(-1.0..1.0));
            let overlaps = Weights::new(w, None, &teacher).unwrap().overlaps(&teacher);
            let back = overlaps.lift(&teacher).unwrap().overlaps(&teacher);
            let error = linalg::max_abs(&(back.q() - overlaps.q())).max(linalg::max_abs(&(back.r() - overlaps.r())));
            assert!(error < 1e-13, "K = {k}, M = {m}: {error:e}");
            assert!(Overlaps::new(overlaps.q.clone(), overlaps.r.clone(), overlaps.a.clone(), &teacher).is_ok());
        }
    }

    #[test]
    fn not_a_gram_matrix_is_refused_with_its_eigenvalue() {
        let teacher = Teacher::orthonormal(1).unwrap();
        let result = Overlaps::new(ndarray::array![[1.0]], ndarray::array![[2.0]], Array2::ones((1, 1)), &teacher);
        match result {
            Err(Error::NotPositive { eigenvalue, .. }) => assert!((eigenvalue + 1.0).abs() < 1e-12),
            other => panic!("{other:?}"),
        }
    }
}
