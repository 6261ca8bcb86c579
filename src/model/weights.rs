//! The state as weight vectors in reduced coordinates.

use ndarray::Array2;

use super::{Overlaps, Teacher};
use crate::error::{Error, Result};

/// K student vectors as rows in D coordinates of which the first r = rank T span the teacher; readouts a (tasks x K).
///
/// Any d-dimensional student is such a state with D = min(d, K + r): coordinates orthogonal to all units carry nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    rows: Array2<f64>,
    a: Array2<f64>,
}

impl Weights {
    /// From rows (K x D, D >= rank T) and readouts (`None`: all 1).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NonFinite`].
    pub fn new(rows: Array2<f64>, a: Option<Array2<f64>>, teacher: &Teacher) -> Result<Weights> {
        const ACTION: &str = "use the weights";
        let (k, d) = rows.dim();
        if k == 0 || d < teacher.rank() {
            return Err(Error::Shape {
                action: ACTION,
                what: "the weight matrix W",
                rows: k,
                columns: d,
                needs: format!("K x D with K >= 1 and D >= {} (rank of T)", teacher.rank()),
            });
        }
        let tasks = teacher.readouts().nrows();
        let a = a.unwrap_or_else(|| Array2::ones((tasks, k)));
        if a.dim() != (tasks, k) {
            return Err(Error::Shape {
                action: ACTION,
                what: "the readouts a",
                rows: a.nrows(),
                columns: a.ncols(),
                needs: format!("{tasks} x {k}"),
            });
        }
        if rows.iter().chain(&a).any(|x| !x.is_finite()) {
            return Err(Error::NonFinite { action: ACTION, quantity: "an entry of W or a" });
        }
        Ok(Weights { rows: rows.as_standard_layout().into_owned(), a })
    }

    /// W, K x D.
    pub fn rows(&self) -> &Array2<f64> {
        &self.rows
    }

    /// Readouts a, tasks x K.
    pub fn readouts(&self) -> &Array2<f64> {
        &self.a
    }

    /// Number of students K.
    pub fn students(&self) -> usize {
        self.rows.nrows()
    }

    /// Number of coordinates D.
    pub fn coordinates(&self) -> usize {
        self.rows.ncols()
    }

    /// The same readouts with other rows (same K).
    pub fn with_rows(&self, rows: Array2<f64>) -> Weights {
        debug_assert_eq!(rows.nrows(), self.students());
        Weights { rows, a: self.a.clone() }
    }

    /// Other rows (same K) with other readouts of one task.
    pub fn with_readouts(&self, rows: Array2<f64>, task: usize, readouts: &[f64]) -> Weights {
        let mut weights = self.with_rows(rows);
        weights.a.row_mut(task).iter_mut().zip(readouts).for_each(|(slot, a)| *slot = *a);
        weights
    }

    /// Projection on the order parameters: Q = W W^T, R = W V^T.
    pub fn overlaps(&self, teacher: &Teacher) -> Overlaps {
        let along = self.rows.slice(ndarray::s![.., ..teacher.rank()]);
        Overlaps::trusted(self.rows.dot(&self.rows.t()), along.dot(&teacher.vectors().t()), self.a.clone())
    }
}
