//! The fields of a state: students first, then teachers, with norms and pairwise angles.

use std::f64::consts::PI;

use ndarray::Array2;

use super::Coefficients;
use crate::expectation::orthant::{self, Link};
use crate::expectation::{Averages, Erf, Leaky, Pair, Quad, quartic_part};
use crate::model::{Activation, Overlaps, Teacher, Weights};

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
    activation: Activation,
    /// Whether the second half of the students and of the teachers are the first half reversed.
    mirrored: bool,
}

impl Fields {
    /// From overlaps. Nearly parallel units are as good as their correlation: an angle theta has error 1e-16 / theta.
    pub fn from_overlaps(overlaps: &Overlaps, teacher: &Teacher, task: usize) -> Fields {
        Fields::from_matrices(overlaps.q(), overlaps.r(), overlaps.readouts(), teacher, task)
    }

    /// As [`Fields::from_overlaps`] from Q (K x K), R (K x M) and readouts (tasks x K), taken as they are.
    pub fn from_matrices(q: &Array2<f64>, r: &Array2<f64>, a: &Array2<f64>, teacher: &Teacher, task: usize) -> Fields {
        let k = q.nrows();
        let covariance = |i: usize, j: usize| match (i < k, j < k) {
            (true, true) => q[[i, j]],
            (true, false) => r[[i, j - k]],
            (false, true) => r[[j, i - k]],
            (false, false) => teacher.gram()[[i - k, j - k]],
        };
        let diagonal: Vec<f64> = (0..k + teacher.units()).map(|i| covariance(i, i)).collect();
        let pair = |i: usize, j: usize| Pair::from_covariance(diagonal[i], diagonal[j], covariance(i, j));
        Fields::new(k, a, teacher, task, pair)
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
        Fields { students, norms, readouts, links, activation: teacher.activation(), mirrored: false }
    }

    /// The ReLU network that a leaky one with this slope is (theory 11, eq. 11-signs): students, students reversed,
    /// teachers, teachers reversed, the reversed ones with readouts times - slope.
    pub(super) fn mirrored(&self, slope: f64) -> Fields {
        let (k, m) = (self.students, self.units() - self.students);
        let order: Vec<(usize, bool)> = [(0..k, false), (0..k, true), (k..k + m, false), (k..k + m, true)]
            .into_iter()
            .flat_map(|(units, reversed)| units.map(move |u| (u, reversed)))
            .collect();
        let link = |&(u, x): &(usize, bool), &(v, y): &(usize, bool)| {
            if x == y { *self.link(u, v) } else { self.link(u, v).reversed() }
        };
        Fields {
            students: 2 * k,
            norms: order.iter().map(|&(u, _)| self.norms[u]).collect(),
            readouts: order
                .iter()
                .map(|&(u, x)| if x { -slope * self.readouts[u] } else { self.readouts[u] })
                .collect(),
            links: order.iter().flat_map(|x| order.iter().map(move |y| link(x, y))).collect(),
            activation: Activation::Relu,
            mirrored: true,
        }
    }

    /// Whether two units are a field and its reverse by construction: their steps are never both 1.
    pub(super) fn exclude(&self, x: usize, y: usize) -> bool {
        let half = if x < self.students { self.students / 2 } else { (self.units() - self.students) / 2 };
        self.mirrored && (x < self.students) == (y < self.students) && x.abs_diff(y) == half
    }

    /// g of all units.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Whether the loss has a gradient by this unit: not at the kink of a zero unit.
    pub fn is_alive(&self, unit: usize) -> bool {
        self.norms[unit] > 0.0 || self.activation.is_smooth()
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

    /// Pair of fields with their norms.
    pub fn pair(&self, i: usize, j: usize) -> Pair {
        let link = self.link(i, j);
        Pair { norm_u: self.norms[i], norm_v: self.norms[j], cosine: link.r, sine: link.s, supplement: link.a }
    }

    /// Four fields with their norms.
    pub fn quad(&self, units: [usize; 4]) -> Quad {
        Quad { norms: units.map(|u| self.norms[u]), links: orthant::PAIRS.map(|(x, y)| *self.link(units[x], units[y])) }
    }

    /// E[(sum_u readout_u lambda_u)^2] = |sum a w - sum b v|^2.
    pub(super) fn linear_square(&self) -> f64 {
        let strength = |u: usize| self.readouts[u] * self.norms[u];
        let units = self.units();
        let row = |i: usize| (0..units).map(|j| strength(j) * self.link(i, j).r).sum::<f64>();
        (0..units).map(|i| strength(i) * row(i)).sum::<f64>().max(0.0)
    }

    /// The population loss E[e^2] / 2 (label noise not included), absolute error about 1e-16 times the squared sum of
    /// strengths (theory 01, eq. 01-parts).
    pub fn risk(&self) -> f64 {
        match self.activation.negative_slope() {
            Some(0.0) => self.ramp_risk(),
            Some(slope) => (Leaky::ramp(slope) * self.ramp_risk() + 0.5 * slope * self.linear_square()).max(0.0),
            None => {
                let units = self.units();
                let term = |i: usize, j: usize| self.readouts[i] * self.readouts[j] * Erf.pair(&self.pair(i, j)).value;
                let below = |i: usize| 0.5 * term(i, i) + (0..i).map(|j| term(i, j)).sum::<f64>();
                (0..units).map(below).sum::<f64>().max(0.0)
            }
        }
    }

    fn ramp_risk(&self) -> f64 {
        let units = self.units();
        let strengths: Vec<f64> = (0..units).map(|u| self.readouts[u] * self.norms[u]).collect();
        let total: f64 = strengths.iter().sum();
        let mut rest = 0.0;
        for i in 0..units {
            for j in 0..=i {
                let r = self.link(i, j).r;
                let weight = if i == j { 0.5 } else { 1.0 };
                rest += weight * strengths[i] * strengths[j] * (r / 4.0 + r * r / (4.0 * PI) + quartic_part(r));
            }
        }
        (total * total / (4.0 * PI) + rest).max(0.0)
    }

    /// A and B of the gradient's coefficient form (theory 03, eq. 03-coefficients; theory 11, eq. 11-coefficients). A zero
    /// student at a kink gets zero rows.
    pub fn coefficients(&self) -> Coefficients {
        match self.activation.negative_slope() {
            Some(0.0) => self.ramp_coefficients(),
            Some(slope) => self.tilted(slope),
            None => self.smooth_coefficients(&Erf),
        }
    }

    /// Those of leaky ReLU and linear, from those of ReLU.
    fn tilted(&self, slope: f64) -> Coefficients {
        let Coefficients { mut a, mut b } = self.ramp_coefficients();
        let (k, ramp) = (self.students, Leaky::ramp(slope));
        for i in (0..k).filter(|&i| self.is_alive(i)) {
            let weight = |u: usize| slope * self.readouts[i] * self.readouts[u];
            (0..k).for_each(|j| a[[i, j]] = ramp * a[[i, j]] + weight(j));
            (k..self.units()).for_each(|m| b[[i, m - k]] = ramp * b[[i, m - k]] + weight(m));
        }
        Coefficients { a, b }
    }

    /// From the derivatives of the pair average.
    fn smooth_coefficients(&self, averages: &impl Averages) -> Coefficients {
        let (k, units) = (self.students, self.units());
        let (mut a, mut b) = (Array2::zeros((k, k)), Array2::zeros((k, units - k)));
        for i in 0..k {
            for u in 0..units {
                let (weight, average) = (self.readouts[i] * self.readouts[u], averages.pair(&self.pair(i, u)));
                a[[i, i]] += 2.0 * weight * average.d_uu;
                let slot = if u < k { &mut a[[i, u]] } else { &mut b[[i, u - k]] };
                *slot += weight * average.d_uv;
            }
        }
        Coefficients { a, b }
    }

    fn ramp_coefficients(&self) -> Coefficients {
        let (k, units) = (self.students, self.units());
        let mut a = Array2::zeros((k, k));
        let mut b = Array2::zeros((k, units - k));
        for i in (0..k).filter(|&i| self.norms[i] > 0.0) {
            let readout = self.readouts[i];
            let mut pull = 0.0;
            for u in (0..units).filter(|&u| u != i && self.norms[u] > 0.0) {
                let link = self.link(i, u);
                pull += self.readouts[u] * self.norms[u] * link.s;
                let angle = readout * self.readouts[u] * orthant::p2(link.a);
                if u < k {
                    a[[i, u]] = angle;
                } else {
                    b[[i, u - k]] = angle;
                }
            }
            a[[i, i]] = 0.5 * readout * readout + readout * pull / (2.0 * PI * self.norms[i]);
        }
        Coefficients { a, b }
    }
}
