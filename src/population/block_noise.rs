//! Averages of one SGD step on a block-symmetric state: E[e^2 H_i H_k], E[H_i H_k] and E[e H_i lambda_v], with their
//! derivatives, at a cost that does not depend on the sizes of the groups.
//!
//! Four units enter an average of e^2 H_i H_k, and by symmetry only the pattern of equal indices among them matters. The
//! indices of i and k are fixed; each further unit takes an index that is there already, or one of the n - (indices of its
//! set that are taken) others. So the sums are polynomials in the sizes, which may be real (theory 06, eq. 06-classes).

use std::f64::consts::PI;

use ndarray::Array2;

use crate::expectation::orthant::{self, Link, PAIRS};
use crate::expectation::quadruple::{three_moment_derivatives, three_moments, two_moment_derivatives, two_moments};
use crate::expectation::{Averages, Pair, Quad, Relu, quartic_part};
use crate::model::Blocks;

/// A representative of the units of a group (students, then teachers) with its index in the group's set. What matters is
/// which units of one set have equal indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    pub group: usize,
    pub index: usize,
}

/// Norms, readouts and angles of the groups of a state; see [`super::Fields`] for single units.
#[derive(Clone, Debug)]
pub struct BlockFields {
    /// Index set of each group of units, students first.
    sets: Vec<usize>,
    sizes: Vec<f64>,
    students: usize,
    /// a of students, -b of teachers.
    readouts: Vec<f64>,
    norms: Vec<f64>,
    /// Units x units: [equal index, different indices]; one value for both where a class does not exist.
    links: Array2<[Link; 2]>,
}

/// Receives derivatives by the covariance of two units.
pub type Add<'a> = dyn FnMut(Unit, Unit, f64) + 'a;

/// The products of three fields in the order of [`three_moments`].
const PRODUCTS: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];

impl BlockFields {
    /// From the geometry of pairs: of a unit of group g and one of group h with equal or different indices.
    pub fn new(
        sets: Vec<usize>,
        sizes: Vec<f64>,
        students: usize,
        readouts: Vec<f64>,
        pair: impl Fn(usize, usize, bool) -> Pair,
    ) -> BlockFields {
        let units = sets.len();
        let norms = (0..units).map(|g| pair(g, g, true).norm_u).collect();
        let links = Array2::from_shape_fn((units, units), |(g, h)| {
            let shared = sets[g] == sets[h];
            let same = Link::from(&pair(g, h, shared));
            if shared && sizes[sets[g]] > 1.0 { [same, Link::from(&pair(g, h, false))] } else { [same; 2] }
        });
        BlockFields { sets, sizes, students, readouts, norms, links }
    }

    /// From weights: accurate at any angle.
    pub fn from_blocks(blocks: &Blocks) -> BlockFields {
        let partition = blocks.partition();
        let teachers = blocks.teacher().readouts.iter().map(|b| -b);
        BlockFields::new(
            partition.unit_sets(),
            partition.sizes().to_vec(),
            partition.student_sets().len(),
            blocks.readouts().iter().copied().chain(teachers).collect(),
            |g, h, same| Pair::from_counted(&blocks.pair_vectors(g, h, same)),
        )
    }

    /// Number of groups of students.
    pub fn students(&self) -> usize {
        self.students
    }

    /// Number of groups of units.
    pub fn units(&self) -> usize {
        self.sets.len()
    }

    /// |w| of the units of a group.
    pub fn norm(&self, group: usize) -> f64 {
        self.norms[group]
    }

    /// a of a student group, -b of a teacher group.
    pub fn readout(&self, group: usize) -> f64 {
        self.readouts[group]
    }

    /// A unit of group g and one of group h, with equal indices where they share a set and `same` is set. `None` when there
    /// are no such units.
    pub fn pair(&self, g: usize, h: usize, same: bool) -> Option<[Unit; 2]> {
        let shared = self.sets[g] == self.sets[h];
        let exists = if same { shared } else { !shared || self.sizes[self.sets[g]] > 1.0 };
        let index = usize::from(shared && !same);
        exists.then_some([Unit { group: g, index: 0 }, Unit { group: h, index }])
    }

    /// Whether two units of one set have the same index.
    pub fn same_index(&self, u: Unit, v: Unit) -> bool {
        self.sets[u.group] == self.sets[v.group] && u.index == v.index
    }

    fn link(&self, u: Unit, v: Unit) -> &Link {
        &self.links[[u.group, v.group]][usize::from(!self.same_index(u, v))]
    }

    fn covariance(&self, u: Unit, v: Unit) -> f64 {
        let r = if u == v { 1.0 } else { self.link(u, v).r };
        self.norms[u.group] * self.norms[v.group] * r
    }

    /// The units of a group beside those taken, by index: at each index of its set that is taken, and at one that stands for
    /// all others; with their numbers. At real sizes a number may be negative.
    fn choices(&self, taken: &[Unit], group: usize) -> Vec<(Unit, f64)> {
        if self.norms[group] == 0.0 {
            return Vec::new();
        }
        let set = self.sets[group];
        let mut out: Vec<(Unit, f64)> = Vec::with_capacity(4);
        for unit in taken.iter().filter(|unit| self.sets[unit.group] == set) {
            if out.iter().all(|(known, _)| known.index != unit.index) {
                out.push((Unit { group, index: unit.index }, 1.0));
            }
        }
        let rest = self.sizes[set] - out.len() as f64;
        if rest != 0.0 {
            let free = out.iter().map(|(known, _)| known.index + 1).max().unwrap_or(0);
            out.push((Unit { group, index: free }, rest));
        }
        out
    }

    /// All pairs of units u, v beside i and k, with their numbers times the readouts; for different groups both orders at
    /// once.
    fn each_pair(&self, i: Unit, k: Unit, mut term: impl FnMut(Unit, Unit, f64)) {
        for p in 0..self.units() {
            for (u, n) in self.choices(&[i, k], p) {
                for q in p..self.units() {
                    let orders = if p == q { 1.0 } else { 2.0 };
                    let strength = orders * self.readouts[p] * self.readouts[q];
                    for (v, m) in self.choices(&[i, k, u], q) {
                        term(u, v, strength * n * m);
                    }
                }
            }
        }
    }

    /// E[e^2 H_i H_k] of two students; 0 for a zero student. Label noise is not included. Absolute error about 1e-16 times
    /// the square of the sum over all units of |readout| |norm|. At the minima, where N is about 0.3 / M, that is 1e-4 of it
    /// at M = 1e4 and all of it at M = 1e5.
    pub fn error_moment(&self, i: Unit, k: Unit) -> f64 {
        let mut sum = 0.0;
        if self.norms[i.group] > 0.0 && self.norms[k.group] > 0.0 {
            self.each_pair(i, k, |u, v, weight| {
                let scale = self.norms[u.group] * self.norms[v.group];
                sum += weight * scale * self.moment(&Four::new(i, k, u, v));
            });
        }
        sum
    }

    /// Derivatives of [`BlockFields::error_moment`] by covariances, times `factor`. They exist away from parallel and zero
    /// units; infinite ones are left out.
    pub fn error_moment_derivatives(&self, i: Unit, k: Unit, factor: f64, add: &mut Add) {
        if self.norms[i.group] > 0.0 && self.norms[k.group] > 0.0 {
            self.each_pair(i, k, |u, v, weight| {
                self.moment_derivatives(&Four::new(i, k, u, v), factor * weight, add);
            });
        }
    }

    /// E[H_i H_k]; 0 for a zero student.
    pub fn step_moment(&self, i: Unit, k: Unit) -> f64 {
        if self.norms[i.group] == 0.0 || self.norms[k.group] == 0.0 {
            0.0
        } else if i == k {
            0.5
        } else {
            orthant::p2(self.link(i, k).a)
        }
    }

    /// Derivatives of [`BlockFields::step_moment`], times `factor`.
    pub fn step_moment_derivatives(&self, i: Unit, k: Unit, factor: f64, add: &mut Add) {
        let (first, second) = (self.norms[i.group], self.norms[k.group]);
        if i == k || first == 0.0 || second == 0.0 || self.link(i, k).s == 0.0 {
            return;
        }
        let link = self.link(i, k);
        let slope = factor / (2.0 * PI * link.s);
        add(i, k, slope / (first * second));
        add(i, i, -0.5 * link.r * slope / (first * first));
        add(k, k, -0.5 * link.r * slope / (second * second));
    }

    /// E[e H_i lambda_v]: a_i times it is the gradient of student i along the unit v (theory 06, eq. 06-drift).
    pub fn drift(&self, i: Unit, v: Unit) -> f64 {
        let mut sum = 0.0;
        if self.norms[i.group] > 0.0 {
            self.each_unit(i, v, |u, weight| {
                sum += weight * if u == i { 0.5 * self.covariance(i, v) } else { self.triple(i, v, u).value };
            });
        }
        sum
    }

    /// Derivatives of [`BlockFields::drift`], times `factor`.
    pub fn drift_derivatives(&self, i: Unit, v: Unit, factor: f64, add: &mut Add) {
        if self.norms[i.group] == 0.0 {
            return;
        }
        self.each_unit(i, v, |u, weight| {
            let weight = weight * factor;
            if u == i {
                add(i, v, 0.5 * weight);
                return;
            }
            let average = self.triple(i, v, u);
            add(i, i, weight * average.d_uu);
            add(u, u, weight * average.d_ww);
            add(i, v, weight * average.d_uv);
            add(i, u, weight * average.d_uw);
            add(v, u, weight * average.d_vw);
        });
    }

    fn each_unit(&self, i: Unit, v: Unit, mut term: impl FnMut(Unit, f64)) {
        for p in 0..self.units() {
            for (u, n) in self.choices(&[i, v], p) {
                term(u, n * self.readouts[p]);
            }
        }
    }

    fn triple(&self, i: Unit, v: Unit, u: Unit) -> crate::expectation::TripleAverage {
        let link = self.link(i, u);
        let pair = Pair {
            norm_u: self.norms[i.group],
            norm_v: self.norms[u.group],
            cosine: link.r,
            sine: link.s,
            supplement: link.a,
        };
        Relu.triple(&pair, self.covariance(i, v), self.covariance(v, u))
    }

    /// The population loss E[e^2] / 2 (label noise not included), absolute error about 1e-16 times the squared sum of
    /// strengths (theory 01, eq. 01-parts).
    pub fn risk(&self) -> f64 {
        let strengths: Vec<f64> = (0..self.units()).map(|g| self.readouts[g] * self.norms[g]).collect();
        let size = |g: usize| self.sizes[self.sets[g]];
        let total: f64 = (0..self.units()).map(|g| size(g) * strengths[g]).sum();
        let mut rest = 0.0;
        for g in 0..self.units() {
            let first = Unit { group: g, index: 0 };
            for h in 0..self.units() {
                for (other, n) in self.choices(&[first], h) {
                    let r = if other == first { 1.0 } else { self.link(first, other).r };
                    let part = r / 4.0 + r * r / (4.0 * PI) + quartic_part(r);
                    rest += 0.5 * size(g) * n * strengths[g] * strengths[h] * part;
                }
            }
        }
        (total * total / (4.0 * PI) + rest).max(0.0)
    }

    /// E[H_i H_k u+ v+] of unit fields.
    fn moment(&self, four: &Four) -> f64 {
        let [a, b] = four.ramps;
        let link = |x: usize, y: usize| self.link(four.units[x], four.units[y]);
        match four.distinct {
            1 => 0.5,
            2 => two_moments(link(0, 1))[usize::from(a != b)],
            3 => three_moments(link(0, 1), link(0, 2), link(1, 2))[product(a, b)],
            _ => Relu.quadruple(&Quad { norms: [1.0; 4], links: PAIRS.map(|(x, y)| *link(x, y)) }).value,
        }
    }

    /// Derivatives of E[H_i H_k u+ v+], times `weight`.
    fn moment_derivatives(&self, four: &Four, weight: f64, add: &mut Add) {
        let [a, b] = four.ramps;
        let norm = |x: usize| self.norms[four.units[x].group];
        let link = |x: usize, y: usize| self.link(four.units[x], four.units[y]);
        let scale = weight * norm(a) * norm(b);
        let mut put = |x: usize, y: usize, unit: f64| {
            add(four.units[x], four.units[y], scale / (norm(x) * norm(y)) * unit);
        };
        match four.distinct {
            1 => put(0, 0, 0.5),
            2 => {
                let row = if a != b { 2 } else { a };
                let unit = two_moment_derivatives(link(0, 1))[row];
                [(0, 0), (1, 1), (0, 1)].into_iter().zip(unit).for_each(|((x, y), d)| put(x, y, d));
            }
            3 => {
                let unit = three_moment_derivatives(link(0, 1), link(0, 2), link(1, 2))[product(a, b)];
                PRODUCTS.into_iter().zip(unit).for_each(|((x, y), d)| put(x, y, d));
            }
            _ => {
                let links = PAIRS.map(|(x, y)| *link(x, y));
                let unit = Relu.quadruple(&Quad { norms: [1.0; 4], links }).derivatives;
                let ends = (0..4).flat_map(|x| (x..4).map(move |y| (x, y)));
                ends.zip(unit).for_each(|((x, y), d)| put(x, y, d));
            }
        }
    }
}

/// Position of a product among [`PRODUCTS`].
fn product(a: usize, b: usize) -> usize {
    if a == b { a } else { a + b + 2 }
}

/// The distinct ones among four units, and the places of the two ramps among them. Four distinct ones stand in order.
struct Four {
    units: [Unit; 4],
    distinct: usize,
    ramps: [usize; 2],
}

impl Four {
    fn new(i: Unit, k: Unit, u: Unit, v: Unit) -> Four {
        let (mut units, mut distinct, mut places) = ([i; 4], 0, [0; 4]);
        for (place, unit) in places.iter_mut().zip([i, k, u, v]) {
            *place = units[..distinct].iter().position(|known| *known == unit).unwrap_or(distinct);
            if *place == distinct {
                units[distinct] = unit;
                distinct += 1;
            }
        }
        Four { units, distinct, ramps: [places[2], places[3]] }
    }
}

/// N = E[e^2 H_i H_k] of all student groups: [equal index, different indices]; both equal for groups of different sets, 0
/// where there is no such pair. In time independent of the sizes of the groups.
pub fn block_error_moments(fields: &BlockFields) -> Array2<[f64; 2]> {
    table(fields, |i, k| fields.error_moment(i, k))
}

/// E[H_i H_k] of all student groups, in the layout of [`block_error_moments`]: what label noise of variance 1 adds.
pub fn block_step_moments(fields: &BlockFields) -> Array2<[f64; 2]> {
    table(fields, |i, k| fields.step_moment(i, k))
}

fn table(fields: &BlockFields, value: impl Fn(Unit, Unit) -> f64) -> Array2<[f64; 2]> {
    let mut out = Array2::from_elem((fields.students(), fields.students()), [0.0; 2]);
    for g in 0..fields.students() {
        for h in g..fields.students() {
            let of = |same| fields.pair(g, h, same).map(|[i, k]| value(i, k));
            let different = of(false);
            let both = [of(true).or(different).unwrap_or(0.0), different.unwrap_or(0.0)];
            (out[[g, h]], out[[h, g]]) = (both, both);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BlockTeacher, Partition};
    use crate::numerics::linalg;
    use crate::population::{Fields, error_moments, step_moments};

    /// Two or three groups, free groups, several student groups on a set, correlated teachers, real readouts.
    fn examples() -> Vec<Blocks> {
        let make = |seed: usize, teachers: &[f64], matched: &[usize], free: &[f64], rho: f64| {
            let partition = Partition::new(teachers, matched, free).unwrap();
            let entry =
                |i: usize| 0.4 * (1.7 * i as f64 + seed as f64).sin() + if i.is_multiple_of(3) { 0.6 } else { 0.0 };
            let entries: Vec<f64> = (0..partition.entries().len()).map(entry).collect();
            let readouts = (0..matched.len() + free.len()).map(|g| [1.0, 0.6, -1.3][(g + seed) % 3]).collect();
            Blocks::new(partition, BlockTeacher::correlated(teachers.len(), rho), &entries, Some(readouts)).unwrap()
        };
        vec![
            make(0, &[5.0], &[0], &[], 0.0),
            make(1, &[1.0, 4.0], &[0, 1], &[1.0], 0.0),
            make(2, &[2.0, 3.0], &[0, 1], &[1.0], 0.2),
            make(3, &[3.0, 2.0], &[0, 1], &[2.0], -0.1),
            make(4, &[3.0, 3.0], &[0, 1, 1], &[1.0], 0.15),
            make(5, &[1.0, 2.0, 3.0], &[0, 1, 2], &[1.0], 0.1),
            make(6, &[4.0, 2.0], &[0, 0], &[3.0], 0.3),
            make(7, &[2.0, 2.0, 2.0], &[0, 1, 2], &[2.0], -0.15),
            make(8, &[1.0, 1.0, 4.0], &[2, 1], &[4.0], 0.0),
            make(9, &[6.0, 1.0], &[0, 1], &[1.0, 1.0], 0.25),
        ]
    }

    /// Places of the first two members of a pair of groups in the dense order.
    fn places(blocks: &Blocks, g: usize, h: usize, same: bool) -> [usize; 2] {
        let partition = blocks.partition();
        let sets = partition.student_sets();
        let first = |g: usize| (0..g).map(|x| partition.sizes()[sets[x]] as usize).sum::<usize>();
        [first(g), first(h) + usize::from(sets[g] == sets[h] && !same)]
    }

    #[test]
    fn moments_are_those_of_the_expanded_state() {
        for (number, blocks) in examples().iter().enumerate() {
            let (weights, teacher) = blocks.expand().unwrap();
            let dense = Fields::from_weights(&weights, &teacher, 0);
            let fields = BlockFields::from_blocks(blocks);
            let groups = fields.students();
            for (name, full, small) in [
                ("error", error_moments(&dense), block_error_moments(&fields)),
                ("step", step_moments(&dense), block_step_moments(&fields)),
            ] {
                let scale = linalg::max_abs(&full);
                for g in 0..groups {
                    for h in 0..groups {
                        for same in [true, false] {
                            if fields.pair(g, h, same).is_none() {
                                continue;
                            }
                            let [i, k] = places(blocks, g, h, same);
                            let difference = small[[g, h]][usize::from(!same)] - full[[i, k]];
                            assert!(
                                difference.abs() < 1e-12 * scale,
                                "{number}: {name} {g} {h} {same}: {difference:e} of {scale}"
                            );
                        }
                    }
                }
            }
            assert!((fields.risk() / dense.risk() - 1.0).abs() < 1e-12, "{number}: {}", fields.risk());
        }
    }

    /// With the geometry of the pairs held fixed, N is a polynomial of degree two in the size of each set: the value at a
    /// real size is that of the parabola through three whole sizes.
    #[test]
    fn moments_are_polynomials_in_the_sizes() {
        let blocks = &examples()[4];
        let at = |n: f64| {
            let fields = BlockFields::from_blocks(blocks);
            BlockFields { sizes: [n, 3.0, 1.0].to_vec(), ..fields }
        };
        let [a, b, c, d, real] = [4.0, 5.0, 6.0, 9.0, 7.3].map(|n| block_error_moments(&at(n)));
        for (place, a) in a.indexed_iter() {
            for class in 0..2 {
                let (y, z) = (b[place][class], c[place][class]);
                let parabola = |n: f64| {
                    a[class] * (n - 5.0) * (n - 6.0) / 2.0 - y * (n - 4.0) * (n - 6.0) + z * (n - 4.0) * (n - 5.0) / 2.0
                };
                for (n, value) in [(9.0, d[place][class]), (7.3, real[place][class])] {
                    let scale = value.abs().max(1.0);
                    assert!((parabola(n) - value).abs() < 1e-12 * scale, "{place:?} {class} {n}: {value}");
                }
            }
        }
    }

    /// Derivatives by every class of covariances against central differences of the averages.
    #[test]
    fn derivatives_match_differences() {
        let blocks = &examples()[2];
        let fields = BlockFields::from_blocks(blocks);
        let covariance =
            |g: usize, h: usize, same: bool| fields.pair(g, h, same).map_or(0.0, |[u, v]| fields.covariance(u, v));
        let key = |u: Unit, v: Unit| (u.group.min(v.group), u.group.max(v.group), fields.same_index(u, v));
        let moved = |at: (usize, usize, bool), by: f64| {
            let value = |g: usize, h: usize, same: bool| {
                covariance(g, h, same) + if (g.min(h), g.max(h), same) == at { by } else { 0.0 }
            };
            BlockFields::new(
                fields.sets.clone(),
                fields.sizes.clone(),
                fields.students,
                fields.readouts.clone(),
                |g, h, same| Pair::from_covariance(value(g, g, true), value(h, h, true), value(g, h, same)),
            )
        };
        let mut checked = 0;
        for (g, h, same) in [(0, 0, true), (1, 1, false), (0, 1, false), (1, 2, false)] {
            let [i, k] = fields.pair(g, h, same).unwrap();
            let value =
                |fields: &BlockFields| [fields.error_moment(i, k), fields.step_moment(i, k), fields.drift(i, k)];
            for x in 0..fields.units() {
                for (y, equal) in (x..fields.units()).flat_map(|y| [(y, true), (y, false)]) {
                    if fields.pair(x, y, equal).is_none() {
                        continue;
                    }
                    let at = (x, y, equal);
                    let mut slopes = [0.0; 3];
                    let mut gather = |n: usize| {
                        let mut sum = 0.0;
                        let mut add = |u: Unit, v: Unit, d: f64| sum += if key(u, v) == at { d } else { 0.0 };
                        match n {
                            0 => fields.error_moment_derivatives(i, k, 1.0, &mut add),
                            1 => fields.step_moment_derivatives(i, k, 1.0, &mut add),
                            _ => fields.drift_derivatives(i, k, 1.0, &mut add),
                        }
                        slopes[n] = sum;
                    };
                    (0..3).for_each(&mut gather);
                    let step = 1e-5;
                    let (up, down) = (value(&moved(at, step)), value(&moved(at, -step)));
                    for n in 0..3 {
                        let numeric = (up[n] - down[n]) / (2.0 * step);
                        let bar = 1e-7 * (1.0 + slopes[n].abs());
                        assert!((slopes[n] - numeric).abs() < bar, "{n} {at:?}: {} {numeric}", slopes[n]);
                        checked += 1;
                    }
                }
            }
        }
        assert!(checked > 100);
    }
}
