//! The fields of a state: students first, then teachers, with norms and pairwise angles.

use ndarray::Array2;

use crate::expectation::Pair;
use crate::expectation::orthant::Link;
use crate::model::{Overlaps, Teacher, Weights};

/// Norms, readouts and pairs of the U = K + M units of a state, for one task. What every sum over averages at finite
/// learning rate starts from.
#[derive(Clone, Debug)]
pub struct Fields {
    students: usize,
    norms: Vec<f64>,
    /// a_i for students, -b_m for teachers: e = sum_u readout_u g(lambda_u).
    readouts: Vec<f64>,
    /// U x U.
    links: Vec<Link>,
}

impl Fields {
    /// From overlaps. Nearly parallel units are as good as their correlation: an angle theta has error 1e-16 / theta.
    pub fn from_overlaps(overlaps: &Overlaps, teacher: &Teacher, task: usize) -> Fields {
        let k = overlaps.q().nrows();
        let covariance = |i: usize, j: usize| match (i < k, j < k) {
            (true, true) => overlaps.q()[[i, j]],
            (true, false) => overlaps.r()[[i, j - k]],
            (false, true) => overlaps.r()[[j, i - k]],
            (false, false) => teacher.gram()[[i - k, j - k]],
        };
        let diagonal: Vec<f64> = (0..k + teacher.units()).map(|i| covariance(i, i)).collect();
        let pair = |i: usize, j: usize| Pair::from_covariance(diagonal[i], diagonal[j], covariance(i, j));
        Fields::new(k, overlaps.readouts(), teacher, task, pair)
    }

    /// From weights: accurate at any angle.
    pub fn from_weights(weights: &Weights, teacher: &Teacher, task: usize) -> Fields {
        let (k, d) = weights.rows().dim();
        let units: Vec<Vec<f64>> = weights
            .rows()
            .rows()
            .into_iter()
            .map(|row| row.to_vec())
            .chain(teacher.vectors().rows().into_iter().map(|row| {
                let mut row = row.to_vec();
                row.resize(d, 0.0);
                row
            }))
            .collect();
        Fields::new(k, weights.readouts(), teacher, task, |i, j| Pair::from_vectors(&units[i], &units[j]))
    }

    fn new(
        students: usize,
        a: &Array2<f64>,
        teacher: &Teacher,
        task: usize,
        pair: impl Fn(usize, usize) -> Pair,
    ) -> Fields {
        let units = students + teacher.units();
        let readouts = a.row(task).iter().copied().chain(teacher.readouts().row(task).iter().map(|b| -b)).collect();
        let mut norms = vec![0.0; units];
        let mut links = vec![Link { r: 1.0, s: 0.0, e: 0.0, a: std::f64::consts::PI }; units * units];
        for i in 0..units {
            norms[i] = pair(i, i).norm_u;
            for j in i + 1..units {
                let link = Link::from(&pair(i, j));
                (links[i * units + j], links[j * units + i]) = (link, link);
            }
        }
        Fields { students, norms, readouts, links }
    }

    /// Number of students K.
    pub fn students(&self) -> usize {
        self.students
    }

    /// Number of units K + M.
    pub fn units(&self) -> usize {
        self.norms.len()
    }

    /// |w_i| or |v_m|.
    pub fn norm(&self, unit: usize) -> f64 {
        self.norms[unit]
    }

    /// a_i of a student, -b_m of a teacher.
    pub fn readout(&self, unit: usize) -> f64 {
        self.readouts[unit]
    }

    /// Pair of unit fields.
    pub fn link(&self, i: usize, j: usize) -> &Link {
        &self.links[i * self.units() + j]
    }
}
