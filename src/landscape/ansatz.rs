//! Points solved from a symmetric guess: k1 flipped units, m units beside one extra student.

use ndarray::Array2;

use super::fixed_point::Stationarity;
use crate::error::{Error, Result};
use crate::model::{Teacher, Weights};
use crate::numerics::root::{self, System};
use crate::numerics::tolerance;

/// Entries of a guess by block: flipped rows (own teacher, other flipped teachers, rest), aligned rows (own, other
/// aligned, flipped teachers), extra row (flipped teachers, rest). Orthonormal teacher.
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    pub flipped: [f64; 3],
    pub aligned: [f64; 3],
    pub extra: Option<[f64; 2]>,
}

impl Guess {
    /// A guess for the flipped family at K = M: sizes that fit M = 5 to 20 (leading order at large M: theory 04).
    pub fn flipped(teachers: usize) -> Guess {
        let m = teachers as f64;
        Guess { flipped: [-1.0 + 3.4 / m, 1.6 / m, 1.3 / m], aligned: [1.0, -0.1 / m, 1.85 / m], extra: None }
    }

    /// K = M + 1: the extra unit points along the sum of the flipped teachers.
    pub fn with_extra(flipped_units: usize) -> Guess {
        let n = flipped_units as f64;
        Guess { flipped: [-0.6, 0.6 / n, 0.02], aligned: [1.0, -0.002, 0.06], extra: Some([0.9 / n.sqrt(), -0.05]) }
    }

    /// The guessed weights, K x M with K = M or M + 1.
    pub fn weights(&self, flipped_units: usize, teacher: &Teacher) -> Result<Weights> {
        let m = teacher.units();
        if flipped_units > m || !teacher.is_orthonormal() {
            return Err(Error::Count {
                action: "guess a symmetric point",
                quantity: "flipped units",
                value: flipped_units,
                needs: format!("at most M = {m}, with an orthonormal teacher"),
            });
        }
        let k = m + usize::from(self.extra.is_some());
        let entry = |i: usize, j: usize| {
            let near = j < flipped_units;
            match (self.extra, i) {
                (Some([on, off]), i) if i == m => {
                    if near {
                        on
                    } else {
                        off
                    }
                }
                _ if i < flipped_units => {
                    self.flipped[if i == j {
                        0
                    } else if near {
                        1
                    } else {
                        2
                    }]
                }
                _ => {
                    self.aligned[if i == j {
                        0
                    } else if near {
                        2
                    } else {
                        1
                    }]
                }
            }
        };
        Weights::new(Array2::from_shape_fn((k, m), |(i, j)| entry(i, j)), None, teacher)
    }
}

/// Solves for the critical point near a guess inside the guess's symmetry: the residual and Jacobian are averaged over
/// equal entries, so saddles are found as easily as minima.
///
/// # Errors
/// [`Error::NotConverged`] when Newton does not reach the residual tolerance.
pub fn solve(guess: &Guess, flipped_units: usize, teacher: &Teacher) -> Result<Weights> {
    let start = guess.weights(flipped_units, teacher)?;
    let reduced = Reduced::new(&start, teacher);
    let root = root::newton(&reduced, &reduced.start(), 0.0, 0.1 * tolerance::RESIDUAL, 1e-13, 200)
        .or_else(|_| root::newton(&reduced, &reduced.start(), 0.0, tolerance::RESIDUAL, 1e-13, 400))?;
    Ok(start.with_rows(reduced.expand(&root.x)))
}

/// The stationarity equations on entries that are equal in the guess. Unknowns are scaled by the square root of their
/// number, which keeps the Jacobian symmetric.
struct Reduced<'a> {
    full: Stationarity<'a>,
    /// Class of each entry of W, and the number of entries of each class.
    class: Vec<usize>,
    count: Vec<f64>,
}

impl<'a> Reduced<'a> {
    fn new(start: &'a Weights, teacher: &'a Teacher) -> Reduced<'a> {
        let mut values: Vec<f64> = Vec::new();
        let mut count: Vec<f64> = Vec::new();
        let class = start
            .rows()
            .iter()
            .map(|&x| match values.iter().position(|&v| v == x) {
                Some(c) => {
                    count[c] += 1.0;
                    c
                }
                None => {
                    values.push(x);
                    count.push(1.0);
                    values.len() - 1
                }
            })
            .collect();
        Reduced { full: Stationarity { weights: start, teacher, task: 0 }, class, count }
    }

    fn start(&self) -> Vec<f64> {
        let mut x = vec![0.0; self.count.len()];
        for (&c, &value) in self.class.iter().zip(self.full.weights.rows()) {
            x[c] = value * self.count[c].sqrt();
        }
        x
    }

    fn flat(&self, x: &[f64]) -> Vec<f64> {
        self.class.iter().map(|&c| x[c] / self.count[c].sqrt()).collect()
    }

    fn expand(&self, x: &[f64]) -> Array2<f64> {
        let flat = self.flat(x);
        let columns = self.full.weights.coordinates();
        Array2::from_shape_fn(self.full.weights.rows().dim(), |(i, c)| flat[i * columns + c])
    }
}

impl System for Reduced<'_> {
    fn dim(&self) -> usize {
        self.count.len()
    }

    fn residual(&self, x: &[f64], p: f64) -> ndarray::Array1<f64> {
        let full = self.full.residual(&self.flat(x), p);
        let mut sums = ndarray::Array1::zeros(self.dim());
        for (&c, g) in self.class.iter().zip(&full) {
            sums[c] += g / self.count[c].sqrt();
        }
        sums
    }

    fn jacobian(&self, x: &[f64], p: f64) -> Array2<f64> {
        let full = self.full.jacobian(&self.flat(x), p);
        let mut sums = Array2::zeros((self.dim(), self.dim()));
        for ((i, j), h) in full.indexed_iter() {
            let (a, b) = (self.class[i], self.class[j]);
            sums[[a, b]] += h / (self.count[a] * self.count[b]).sqrt();
        }
        sums
    }
}
