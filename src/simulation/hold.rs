//! What puts the students back on the set they are held to, from their scalar products alone.

use ndarray::ArrayView2;

use crate::model::Constraint;
use crate::numerics::linalg;

/// Distance of W W^T from the unit matrix up to which Newton's steps begin; beyond it eigenvalues are taken.
const NEAR: f64 = 0.1;

/// The matrix P that takes W to the nearest P W of the set: norms, or (W W^T)^(-1/2).
#[derive(Clone, Debug)]
pub struct Hold {
    constraint: Constraint,
    students: usize,
    /// W W^T, K x K, to be filled by the caller.
    pub gram: Vec<f64>,
    /// P, K x K.
    pub factor: Vec<f64>,
    work: [Vec<f64>; 2],
}

impl Hold {
    pub fn new(constraint: Constraint, students: usize) -> Hold {
        let zeros = || vec![0.0; students * students];
        Hold { constraint, students, gram: zeros(), factor: zeros(), work: [zeros(), zeros()] }
    }

    /// Whether anything is held.
    pub fn is_free(&self) -> bool {
        self.constraint == Constraint::Free
    }

    /// Finds P; false when there is none: a zero student, or dependent ones.
    pub fn find(&mut self) -> bool {
        let k = self.students;
        match self.constraint {
            Constraint::Free => true,
            Constraint::Sphere => {
                self.factor.fill(0.0);
                for i in 0..k {
                    self.factor[i * k + i] = 1.0 / self.gram[i * k + i].sqrt();
                }
                self.factor.iter().all(|x| x.is_finite())
            }
            Constraint::Stiefel => {
                let unit = |n: usize| f64::from(u8::from(n.is_multiple_of(k + 1)));
                self.factor.iter_mut().enumerate().for_each(|(n, x)| *x = unit(n));
                let off = |(n, x): (usize, &f64)| (x - unit(n)).abs();
                let worst = |matrix: &[f64]| matrix.iter().enumerate().map(off).fold(0.0, f64::max);
                if !(worst(&self.gram) * k as f64 <= NEAR) && !self.by_eigenvalues() {
                    return false;
                }
                for _ in 0..8 {
                    // P <- P (3 - W W^T P P) / 2 squares the distance of W W^T P P from 1.
                    let [square, product] = &mut self.work;
                    multiply(&self.factor, &self.factor, square, k);
                    multiply(&self.gram, square, product, k);
                    if worst(product) <= 4.0 * f64::EPSILON {
                        break;
                    }
                    for (n, x) in product.iter_mut().enumerate() {
                        *x = 1.5 * unit(n) - 0.5 * *x;
                    }
                    multiply(&self.factor, product, square, k);
                    self.factor.copy_from_slice(square);
                }
                self.factor.iter().all(|x| x.is_finite())
            }
        }
    }

    fn by_eigenvalues(&mut self) -> bool {
        let k = self.students;
        let Ok(gram) = ArrayView2::from_shape((k, k), &self.gram) else { return false };
        if self.gram.iter().any(|x| !x.is_finite()) {
            return false;
        }
        let Ok((values, vectors)) = linalg::eigh(gram) else { return false };
        if !(values[0] > f64::EPSILON * values[k - 1]) {
            return false;
        }
        let root = (&vectors / &values.mapv(f64::sqrt)).dot(&vectors.t());
        self.factor.iter_mut().zip(&root).for_each(|(slot, x)| *slot = *x);
        true
    }

    /// Replaces the first K of `rows` (any number of columns) by P times them; `column` is memory.
    pub fn apply(&self, rows: &mut [f64], columns: usize, column: &mut [f64]) {
        let k = self.students;
        if self.constraint == Constraint::Sphere {
            for (i, row) in rows.chunks_exact_mut(columns).take(k).enumerate() {
                let factor = self.factor[i * k + i];
                row.iter_mut().for_each(|x| *x *= factor);
            }
            return;
        }
        for c in 0..columns {
            for (i, x) in column[..k].iter_mut().enumerate() {
                *x = (0..k).map(|j| self.factor[i * k + j] * rows[j * columns + c]).sum();
            }
            (0..k).for_each(|i| rows[i * columns + c] = column[i]);
        }
    }
}

fn multiply(a: &[f64], b: &[f64], out: &mut [f64], k: usize) {
    for i in 0..k {
        for j in 0..k {
            out[i * k + j] = (0..k).map(|l| a[i * k + l] * b[l * k + j]).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// The same as [`Constraint::retract`], near the set and far from it; dependent rows have no factor.
    #[test]
    fn the_factor_is_the_retraction() {
        for size in [1e-3, 0.5] {
            let mut rows = Array2::from_shape_fn((3, 5), |(i, c)| {
                f64::from(u8::from(i == c)) + size * ((7 * i + 3 * c + 1) as f64).sin()
            });
            for constraint in [Constraint::Sphere, Constraint::Stiefel] {
                let mut hold = Hold::new(constraint, 3);
                hold.gram.iter_mut().zip(&rows.dot(&rows.t())).for_each(|(slot, x)| *slot = *x);
                assert!(hold.find());
                let (mut ours, mut theirs) = (rows.clone(), rows.clone());
                hold.apply(ours.as_slice_mut().unwrap(), 5, &mut [0.0; 3]);
                constraint.retract(&mut theirs).unwrap();
                assert!(linalg::max_abs(&(&ours - &theirs)) < 1e-14, "{constraint:?}, {size}");
            }
            let first = rows.row(0).to_owned();
            rows.row_mut(2).assign(&first);
            let mut hold = Hold::new(Constraint::Stiefel, 3);
            hold.gram.iter_mut().zip(&rows.dot(&rows.t())).for_each(|(slot, x)| *slot = *x);
            assert!(!hold.find());
        }
    }
}
