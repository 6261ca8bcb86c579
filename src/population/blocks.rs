//! Loss and gradient of a block-symmetric state, at a cost that does not depend on the sizes of its groups.
//!
//! Pairs of units fall into few classes with a number of members each, so every sum over pairs is a short sum with
//! counts (theory 08, eq. 08-parts and 08-gradient), and sizes may be real.

use ndarray::Array2;
use twofloat::TwoFloat;

use crate::expectation::{Angle, Number, exact_pair};
use crate::model::{Blocks, Entry, Place};

/// Values of a block-symmetric matrix: [equal index, different indices] for groups on one set; both equal elsewhere.
pub(super) type Equivariant<N> = Array2<[N; 2]>;

/// Pairwise geometry of the groups of a state. Units: student groups, then teacher groups.
pub(super) struct Geometry<N> {
    /// Index set of each group of units.
    pub sets: Vec<usize>,
    /// Sizes of the index sets.
    pub sizes: Vec<f64>,
    pub students: usize,
    /// a of students, -b of teachers.
    pub readouts: Vec<f64>,
    pub norms: Vec<N>,
    /// Slope alpha of the activation below 0.
    pub slope: f64,
    /// Students x units: angles at equal and at different indices. Where a class has no members, as the other one.
    pub angles: Array2<[Angle<N>; 2]>,
    /// A and B side by side: students x units; the diagonal of A stands at equal indices of a group with itself.
    pub coefficients: Equivariant<N>,
}

impl<N: Number> Geometry<N> {
    pub fn new(blocks: &Blocks) -> Geometry<N> {
        let partition = blocks.partition();
        let (sets, sizes) = (partition.unit_sets(), partition.sizes().to_vec());
        let (students, units) = (partition.student_sets().len(), sets.len());
        let readouts: Vec<f64> =
            blocks.readouts().iter().copied().chain(blocks.teacher().readouts.iter().map(|b| -b)).collect();
        let norms: Vec<N> = (0..units).map(|g| N::angle(&blocks.pair_vectors(g, g, true)).norm_u).collect();
        let angle = |g: usize, h: usize, same: bool| N::angle(&blocks.pair_vectors(g, h, same));
        let angles = Array2::from_shape_fn((students, units), |(g, h)| {
            let shared = sets[g] == sets[h];
            let same = angle(g, h, shared);
            if shared && sizes[sets[g]] > 1.0 { [same, angle(g, h, false)] } else { [same; 2] }
        });
        let mut geometry = Geometry {
            sets,
            sizes,
            students,
            readouts,
            norms,
            slope: blocks.teacher().slope,
            angles,
            coefficients: Array2::from_elem((0, 0), [N::from(0.0); 2]),
        };
        geometry.coefficients = geometry.gradient_coefficients();
        geometry
    }

    /// Numbers of units of group h with the index of a unit of group g, and with another one; the unit itself not counted.
    pub fn others(&self, g: usize, h: usize) -> [f64; 2] {
        if self.sets[g] != self.sets[h] {
            return [0.0, self.sizes[self.sets[h]]];
        }
        [if g == h { 0.0 } else { 1.0 }, self.sizes[self.sets[h]] - 1.0]
    }

    /// The factor of the ReLU part of every second-order average, and that of the linear part (theory 11, eq. 11-loss).
    pub fn mixture(&self) -> [f64; 2] {
        mixture(self.slope)
    }

    fn gradient_coefficients(&self) -> Equivariant<N> {
        let [kinked, linear] = self.mixture();
        let tau = N::PI * N::from(2.0);
        let number = |x: f64| N::from(x);
        let mut out = Array2::from_elem((self.students, self.sets.len()), [number(0.0); 2]);
        for g in 0..self.students {
            let readout = self.readouts[g];
            let mut pull = number(0.0);
            for h in 0..self.sets.len() {
                let others = self.others(g, h);
                for class in 0..2 {
                    let angle = &self.angles[[g, h]][class];
                    out[[g, h]][class] = (angle.supplement * number(readout * self.readouts[h])).over(tau);
                    pull = pull + angle.sine * angle.norm_v * number(others[class] * self.readouts[h]);
                }
            }
            let norm: f64 = self.norms[g].into();
            let own = if norm > 0.0 { (pull * number(readout)).over(tau * self.norms[g]) } else { number(0.0) };
            out[[g, g]][0] = number(0.5 * readout * readout) + own;
            if linear != 0.0 {
                for h in 0..self.sets.len() {
                    let part = number(linear * readout * self.readouts[h]);
                    out[[g, h]] = out[[g, h]].map(|x| x * number(kinked) + part);
                }
            }
        }
        out
    }

    /// Rows of the gradient: at the own index and elsewhere, student groups x coordinate sets.
    fn gradient(&self, rows: &Array2<[f64; 2]>) -> Equivariant<N> {
        Array2::from_shape_fn((self.students, rows.ncols()), |(g, set)| {
            let mut sum = [N::from(0.0); 2];
            for h in 0..self.sets.len() {
                let y = rows[[h, set]];
                let product = multiply(
                    (self.sets[g], self.sets[h], set),
                    self.sizes[self.sets[h]],
                    self.coefficients[[g, h]],
                    [N::from(y[0]), N::from(y[1])],
                );
                sum = [sum[0] + product[0], sum[1] + product[1]];
            }
            sum
        })
    }
}

/// For g(u) = alpha u + (1 - alpha) relu(u), L = (1 - alpha)^2 L_relu + alpha |sum a w - sum b v|^2 / 2.
pub(super) fn mixture(slope: f64) -> [f64; 2] {
    [(1.0 - slope) * (1.0 - slope), slope]
}

/// One term of a product of block-symmetric matrices, over the index set of the middle, which has n members.
pub(super) fn multiply<N: Number>(sets: (usize, usize, usize), n: f64, x: [N; 2], y: [N; 2]) -> [N; 2] {
    let (a, c, b) = sets;
    let number = |x: f64| N::from(x);
    if a == c && c == b {
        return [
            x[0] * y[0] + x[1] * y[1] * number(n - 1.0),
            x[0] * y[1] + x[1] * y[0] + x[1] * y[1] * number(n - 2.0),
        ];
    }
    let value = if a == c {
        (x[0] + x[1] * number(n - 1.0)) * y[1]
    } else if c == b {
        x[1] * (y[0] + y[1] * number(n - 1.0))
    } else {
        x[1] * y[1] * number(n)
    };
    [value; 2]
}

/// The population loss L = E[(f - f*)^2] / 2 to about 1e-30 times the square of the number of units, in double-double
/// arithmetic (theory 08, eq. 08-parts): relative accuracy also at a million units.
pub fn block_risk(blocks: &Blocks) -> f64 {
    let partition = blocks.partition();
    let sets = partition.unit_sets();
    let readouts: Vec<f64> =
        blocks.readouts().iter().copied().chain(blocks.teacher().readouts.iter().map(|b| -b)).collect();
    let average = |g: usize, h: usize, same: bool| {
        let vectors = blocks.pair_vectors(g, h, same);
        let product = |a: usize, b: usize| {
            vectors.iter().fold(TwoFloat::from(0.0), |sum, p| sum + TwoFloat::new_mul(p[a], p[b]) * p[2])
        };
        let (uu, vv) = (product(0, 0), product(1, 1));
        if uu.hi() <= 0.0 || vv.hi() <= 0.0 {
            return TwoFloat::from(0.0);
        }
        if g == h && same { uu * 0.5 } else { exact_pair(uu, vv, product(0, 1)) }
    };
    let mut sum = TwoFloat::from(0.0);
    for g in 0..sets.len() {
        for h in 0..=g {
            let (m, n) = (partition.sizes()[sets[g]], partition.sizes()[sets[h]]);
            let weight = readouts[g] * readouts[h] * if g == h { 1.0 } else { 2.0 };
            if sets[g] == sets[h] {
                sum += average(g, h, true) * TwoFloat::new_mul(weight, n);
                if n > 1.0 {
                    sum += average(g, h, false) * TwoFloat::new_mul(n, n - 1.0) * weight;
                }
            } else {
                sum += average(g, h, false) * TwoFloat::new_mul(m, n) * weight;
            }
        }
    }
    let [kinked, linear] = mixture(blocks.teacher().slope);
    let mut loss = sum * (0.5 * kinked);
    if linear != 0.0 {
        for set in 0..partition.teacher_groups() {
            let total = (0..sets.len()).fold(TwoFloat::from(0.0), |total, group| {
                total + TwoFloat::new_mul(readouts[group], blocks.column_sum(group, set))
            });
            loss += total * total * (0.5 * linear * partition.sizes()[set]);
        }
    }
    f64::from(loss).max(0.0)
}

/// Derivative of the loss by one entry of W for each of the state's numbers (not by the number, which changes `count`
/// entries at once), in the order of [`crate::model::Partition::entries`]. Sums over groups are in `N`: `f64`, or
/// `TwoFloat` where thousands of units nearly cancel.
pub fn block_gradient<N: Number>(blocks: &Blocks) -> Vec<f64> {
    let gradient = Geometry::<N>::new(blocks).gradient(blocks.rows());
    let value = |e: &Entry| gradient[[e.group, e.set]][usize::from(e.place == Place::Inside)].into();
    blocks.partition().entries().iter().map(value).collect()
}
