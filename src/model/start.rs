//! Where training starts: the Gaussian initial law, drawn exactly in reduced coordinates.

use ndarray::Array2;
use rand::Rng;
use rand_distr::{ChiSquared, Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{Teacher, Weights};
use crate::error::{Error, Result};
use crate::numerics::random;

/// D = min(d, K + rank T): coordinates that a state of K students in d dimensions can need.
pub fn reduced_dimension(students: usize, dimension: usize, teacher: &Teacher) -> usize {
    dimension.min(students + teacher.rank())
}

/// w ~ N(0, s^2 I / d) in d dimensions: s = 1 gives unit norms. Shares of minima depend on d and s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct InitialLaw {
    /// Input dimension d.
    pub dimension: usize,
    /// Scale s.
    pub scale: f64,
}

impl InitialLaw {
    /// Checks d >= rank T and s > 0.
    ///
    /// # Errors
    /// [`Error::Count`], [`Error::Real`].
    pub fn new(dimension: usize, scale: f64, teacher: &Teacher) -> Result<InitialLaw> {
        const ACTION: &str = "draw initial weights";
        if dimension < teacher.rank().max(1) {
            return Err(Error::Count {
                action: ACTION,
                quantity: "dimension d",
                value: dimension,
                needs: format!("at least {} (the teacher spans so many dimensions)", teacher.rank().max(1)),
            });
        }
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(Error::Real {
                action: ACTION,
                quantity: "init scale s".into(),
                value: scale,
                needs: "a positive number",
            });
        }
        Ok(InitialLaw { dimension, scale })
    }

    /// Initial weights of one run, K x D, from the stream (seed, run).
    ///
    /// Coordinates along the teacher are plain Gaussians; the K x (d - r) Gaussian matrix across it enters only through
    /// its Gram matrix, whose Bartlett factor (lower triangle, chi on the diagonal) is drawn instead.
    pub fn draw(&self, students: usize, teacher: &Teacher, seed: u64, run: u64) -> Result<Weights> {
        let mut rng = random::stream(seed, &[random::purpose::START, run]);
        let r = teacher.rank();
        let across = self.dimension - r;
        let columns = students.min(across);
        let unit = self.scale / (self.dimension as f64).sqrt();
        let mut rows = Array2::<f64>::zeros((students, r + columns));
        for i in 0..students {
            for c in 0..r {
                rows[[i, c]] = unit * rng.sample::<f64, _>(StandardNormal);
            }
            for c in 0..columns {
                rows[[i, r + c]] = unit
                    * if across < students || c < i {
                        rng.sample::<f64, _>(StandardNormal)
                    } else if c == i {
                        let degrees = (across - i) as f64;
                        ChiSquared::new(degrees).map_or(f64::NAN, |law| law.sample(&mut rng)).sqrt()
                    } else {
                        0.0
                    };
            }
        }
        Weights::new(rows, None, teacher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Second and fourth moments of Q and R over many draws against the law in d dimensions: E Q_ii = s^2,
    /// Var Q_ii = 2 s^4 / d, E Q_ij^2 = s^4 / d, E R_im^2 = s^2 / d, for d below, at and above K + r.
    #[test]
    fn moments_match_the_law_in_d_dimensions() {
        let teacher = Teacher::orthonormal(2).unwrap();
        let (k, s) = (3, 0.7);
        for d in [2, 4, 5, 40] {
            let law = InitialLaw::new(d, s, &teacher).unwrap();
            let n = 20_000;
            let (mut mean, mut variance, mut cross, mut along) = (0.0, 0.0, 0.0, 0.0);
            for run in 0..n {
                let overlaps = law.draw(k, &teacher, 5, run).unwrap().overlaps(&teacher);
                mean += overlaps.q()[[2, 2]] / n as f64;
                variance += (overlaps.q()[[2, 2]] - s * s).powi(2) / n as f64;
                cross += overlaps.q()[[2, 1]].powi(2) / n as f64;
                along += overlaps.r()[[2, 0]].powi(2) / n as f64;
            }
            let d = d as f64;
            for (name, found, expected) in [
                ("mean", mean, s * s),
                ("variance", variance, 2.0 * s.powi(4) / d),
                ("cross", cross, s.powi(4) / d),
                ("along", along, s * s / d),
            ] {
                assert!((found / expected - 1.0).abs() < 0.06, "d = {d}, {name}: {found} against {expected}");
            }
        }
    }

    #[test]
    fn runs_differ_and_repeat() {
        let teacher = Teacher::orthonormal(4).unwrap();
        let law = InitialLaw::new(8, 1.0, &teacher).unwrap();
        assert_eq!(law.draw(4, &teacher, 1, 7).unwrap(), law.draw(4, &teacher, 1, 7).unwrap());
        assert_ne!(law.draw(4, &teacher, 1, 7).unwrap(), law.draw(4, &teacher, 1, 8).unwrap());
    }

    #[test]
    fn refusals() {
        let teacher = Teacher::orthonormal(4).unwrap();
        assert!(matches!(InitialLaw::new(3, 1.0, &teacher), Err(Error::Count { value: 3, .. })));
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(InitialLaw::new(8, scale, &teacher), Err(Error::Real { .. })), "{scale}");
        }
    }
}
