//! Loss, gradient and second derivatives by the numbers of a block-symmetric state, prepared once for many evaluations.
//!
//! The same sums as [`super::block_gradient`] in plain doubles without allocation: what a search for roots spends its time
//! in. Each class of equivalent pairs is a list of positions (entry of the one unit, entry of the other, number of such
//! coordinates); the sine of its angle comes from Lagrange's identity, accurate also for nearly parallel units.

use std::f64::consts::PI;
use std::ops::Range;

use super::blocks::mixture;
use crate::expectation::angles::direction;
use crate::model::{Blocks, Entry, Partition, Place};

/// A class of pairs of units. Each of the two is a unit of the list of groups (students, then teachers).
struct Class {
    units: [usize; 2],
    /// Number of pairs times the product of their readouts; pairs of students count once.
    weight: f64,
    /// Whether they are pairs with the same index.
    same: bool,
    positions: Range<usize>,
}

/// The equations of one partition and teacher.
pub struct BlockEquations {
    /// Square roots of the counts: unknowns are entries times these.
    scales: Vec<f64>,
    /// Values at positions are looked up among the entries, followed by these numbers of the teacher.
    constants: Vec<f64>,
    /// Index of the value of the first unit, of the second, number of coordinates.
    positions: Vec<(usize, usize, f64)>,
    /// For each position the index set whose size its number grows with, if any.
    growing: Vec<Option<usize>>,
    classes: Vec<Class>,
    /// Positions of |w|^2 of each student group, and half its number of units times a^2.
    selves: Vec<(Range<usize>, f64)>,
    teacher_squares: Vec<f64>,
    /// Loss of the teacher's own pairs.
    offset: f64,
    /// Slope alpha of the activation below 0; what it adds, for each coordinate set (none at alpha = 0).
    slope: f64,
    totals: Vec<Total>,
}

/// sum a w - sum b v on the coordinates of one set: `constant` plus a sum over entries of the state.
struct Total {
    /// Number of coordinates.
    count: f64,
    constant: f64,
    /// (index of the entry, its factor).
    terms: Vec<(usize, f64)>,
}

/// Memory of one evaluation.
#[derive(Default)]
pub struct Workspace {
    values: Vec<f64>,
    squares: Vec<f64>,
    /// Both unit vectors and the unit vectors orthogonal to them in their plane.
    frames: Vec<[f64; 4]>,
    /// The plane of each class.
    planes: Vec<Planar>,
    /// Loss of the last evaluation.
    pub loss: f64,
    /// Gradient by the unknowns.
    pub gradient: Vec<f64>,
    /// Second derivatives by the unknowns, n x n by rows.
    pub hessian: Vec<f64>,
}

impl Workspace {
    /// Smallest norm among the students of the last evaluation.
    pub fn smallest_norm(&self, students: usize) -> f64 {
        self.squares[..students].iter().fold(f64::INFINITY, |m, x| m.min(*x)).max(0.0).sqrt()
    }
}

impl BlockEquations {
    /// For the groups, teacher and readouts of a state; its entries do not matter.
    pub fn new(blocks: &Blocks) -> BlockEquations {
        let partition = blocks.partition();
        let (entries, sizes) = (partition.entries(), partition.sizes());
        let (students, teachers) = (partition.student_sets().len(), partition.teacher_groups());
        let units = students + teachers;
        let set_of = |unit: usize| partition.set_of(unit);
        let readout = |unit: usize| match unit.checked_sub(students) {
            None => blocks.readouts()[unit],
            Some(teacher) => -blocks.teacher().readouts[teacher],
        };
        // Index of the number at a place (0 at the own index, 1 elsewhere) of the rows: entries, then those of the teachers.
        let mut index = vec![[0; 2]; units * teachers];
        for (i, entry) in entries.iter().enumerate() {
            let slot = &mut index[entry.group * teachers + entry.set];
            match entry.place {
                Place::Own => slot[0] = i,
                Place::Inside => slot[1] = i,
                Place::Outside => *slot = [i; 2],
            }
        }
        let mut constants = Vec::with_capacity(2 * teachers * teachers);
        for (slot, values) in
            index[students * teachers..].iter_mut().zip(blocks.rows().iter().skip(students * teachers))
        {
            *slot = [0, 1].map(|place| entries.len() + constants.len() + place);
            constants.extend(values);
        }
        let mut positions = Vec::with_capacity(units * units * 2 * (teachers + 1));
        let mut growing = Vec::with_capacity(positions.capacity());
        let mut place = |g: usize, h: usize, same: bool| {
            let start = positions.len();
            partition.each_pair_place(g, h, same, |set, [i, j], count| {
                positions.push((index[g * teachers + set][i], index[h * teachers + set][j], count));
                growing.push(([i, j] == [1, 1]).then_some(set));
            });
            start..positions.len()
        };
        let slope = blocks.teacher().slope;
        let [kinked, _] = mixture(slope);
        let own = |g: usize| (place(g, g, true), 0.25 * kinked * sizes[set_of(g)] * readout(g) * readout(g));
        let selves: Vec<_> = (0..students).map(own).collect();
        let mut classes = Vec::with_capacity(students * (units + students));
        for g in 0..students {
            for h in (0..=g).chain(students..units) {
                let (a, b) = (sizes[set_of(g)], sizes[set_of(h)]);
                let half = if g == h { 0.5 } else { 1.0 };
                let counts = if set_of(g) == set_of(h) { [a, a * (a - 1.0)] } else { [0.0, a * b] };
                for (same, count) in [(true, counts[0]), (false, counts[1])] {
                    if count != 0.0 && !(g == h && same) {
                        let weight = kinked * half * count * readout(g) * readout(h);
                        classes.push(Class { units: [g, h], weight, same, positions: place(g, h, same) });
                    }
                }
            }
        }
        let square =
            |unit: usize| blocks.pair_vectors(unit, unit, true).iter().map(|[x, _, count]| x * x * count).sum();
        let teacher_squares: Vec<f64> = (students..units).map(square).collect();
        let mut offset = 0.0;
        for g in students..units {
            for h in students..=g {
                let (a, b) = (sizes[set_of(g)], sizes[set_of(h)]);
                let squares = [g, h].map(|unit| teacher_squares[unit - students]);
                let weight = kinked * readout(g) * readout(h) * if g == h { 0.5 } else { 1.0 };
                if g == h {
                    offset += 0.5 * weight * a * squares[0];
                }
                let count = if g == h { a * (a - 1.0) } else { a * b };
                if count != 0.0 {
                    let vectors = blocks.pair_vectors(g, h, false);
                    offset += weight * count * Planar::of(vectors.iter().copied(), squares).average();
                }
            }
        }
        BlockEquations {
            scales: entries.iter().map(|entry| entry.count.sqrt()).collect(),
            constants,
            positions,
            growing,
            classes,
            selves,
            teacher_squares,
            offset,
            slope,
            totals: if slope == 0.0 { Vec::new() } else { totals(blocks, &entries, readout) },
        }
    }

    /// Number of unknowns.
    pub fn dim(&self) -> usize {
        self.scales.len()
    }

    /// Square roots of the counts of the entries: unknowns are entries times these.
    pub fn scales(&self) -> &[f64] {
        &self.scales
    }

    /// Number of student groups.
    pub fn students(&self) -> usize {
        self.selves.len()
    }

    /// Loss and gradient at these unknowns, and second derivatives when asked for.
    pub fn evaluate(&self, unknowns: &[f64], second: bool, work: &mut Workspace) {
        let (n, students) = (self.dim(), self.selves.len());
        work.values.clear();
        work.values.extend(unknowns.iter().zip(&self.scales).map(|(x, scale)| x / scale));
        work.values.extend(&self.constants);
        work.gradient.clear();
        work.gradient.resize(n, 0.0);
        work.hessian.clear();
        work.hessian.resize(if second { n * n } else { 0 }, 0.0);
        work.squares.clear();
        work.planes.clear();
        work.loss = self.offset;
        for (range, weight) in &self.selves {
            let mut sum = 0.0;
            for &(i, _, count) in &self.positions[range.clone()] {
                let x = work.values[i];
                sum += count * x * x;
                work.gradient[i] += 2.0 * weight * count * x;
                if second {
                    work.hessian[i * n + i] += 2.0 * weight * count;
                }
            }
            work.squares.push(sum);
            work.loss += weight * sum;
        }
        work.squares.extend(&self.teacher_squares);
        for class in &self.classes {
            self.add(class, class.units[1] < students, second, work);
        }
        for Total { count, constant, terms } in &self.totals {
            let total = constant + terms.iter().map(|&(i, factor)| factor * work.values[i]).sum::<f64>();
            let weight = self.slope * count;
            work.loss += 0.5 * weight * total * total;
            for &(i, factor) in terms {
                work.gradient[i] += weight * total * factor;
                if second {
                    terms.iter().for_each(|&(j, other)| work.hessian[i * n + j] += weight * factor * other);
                }
            }
        }
        for i in 0..n {
            work.gradient[i] /= self.scales[i];
        }
        if second {
            for i in 0..n {
                for j in 0..n {
                    work.hessian[i * n + j] /= self.scales[i] * self.scales[j];
                }
            }
        }
    }

    /// Adds one class of pairs (u, v): with e and f the unit vectors orthogonal to u and to v in their plane,
    /// 2 pi d^2/du^2 = |v| / |u| sin (1 - u^ u^ + e e), 2 pi d^2/(du dv) = sin (u^ v^ + e f) + (pi - theta).
    fn add(&self, class: &Class, both: bool, second: bool, work: &mut Workspace) {
        let n = self.dim();
        let positions = &self.positions[class.positions.clone()];
        let squares = class.units.map(|unit| work.squares[unit]);
        let values = &work.values;
        let plane = Planar::of(positions.iter().map(|&(i, j, count)| [values[i], values[j], count]), squares);
        work.planes.push(plane);
        let [u, v] = plane.norms;
        if !(u > 0.0 && v > 0.0) {
            return;
        }
        let weight = class.weight / (2.0 * PI);
        work.loss += class.weight * plane.average();
        let (pull, back) = (weight * v * plane.sine / u, weight * u * plane.sine / v);
        for &(i, j, count) in positions {
            let (x, y) = (values[i], values[j]);
            work.gradient[i] += count * (pull * x + weight * plane.supplement * y);
            if both {
                work.gradient[j] += count * (back * y + weight * plane.supplement * x);
            }
        }
        if !second {
            return;
        }
        let inverse = if plane.sine > 0.0 { 1.0 / plane.sine } else { 0.0 };
        work.frames.clear();
        work.frames.extend(positions.iter().map(|&(i, j, count)| {
            let (x, y) = (values[i] / u, values[j] / v);
            let (e, f) = ((y - plane.cosine * x) * inverse, (x - plane.cosine * y) * inverse);
            [x, y, e, f].map(|z| z * count)
        }));
        let mixed = weight * plane.sine;
        for (&(i, j, count), p) in positions.iter().zip(&work.frames) {
            work.hessian[i * n + i] += pull * count;
            if both {
                let between = weight * plane.supplement * count;
                work.hessian[j * n + j] += back * count;
                work.hessian[i * n + j] += between;
                work.hessian[j * n + i] += between;
            }
            for (&(k, l, _), q) in positions.iter().zip(&work.frames) {
                work.hessian[i * n + k] += pull * (p[2] * q[2] - p[0] * q[0]);
                if both {
                    work.hessian[j * n + l] += back * (p[3] * q[3] - p[1] * q[1]);
                    let between = mixed * (p[0] * q[1] + p[2] * q[3]);
                    work.hessian[i * n + l] += between;
                    work.hessian[l * n + i] += between;
                }
            }
        }
    }
}

impl BlockEquations {
    /// Derivative of the gradient at fixed unknowns when the sizes of the index sets grow at these rates, for ReLU and teachers
    /// whose vectors do not depend on the sizes. `partition` is that of the equations, `work` holds an evaluation at the
    /// unknowns. `None` where a number of coordinates is about to leave 0, for other activations too.
    ///
    /// A number c of coordinates that grows at the rate c' counts as c coordinates whose values grow at the relative rate
    /// c' / (2 c), so the second derivatives of [`BlockEquations::evaluate`] give what the angles add (theory 09, eq. 09-sizes).
    pub(crate) fn gradient_by_sizes(&self, partition: &Partition, rates: &[f64], work: &Workspace) -> Option<Vec<f64>> {
        let (sizes, students) = (partition.sizes(), self.selves.len());
        if self.slope != 0.0 || sizes.iter().zip(rates).any(|(&n, &rate)| rate != 0.0 && (n == 1.0 || n == 2.0)) {
            return None;
        }
        // Relative rates of n and of n (n - 1).
        let one = |set: usize| rates[set] / sizes[set];
        let two = |set: usize| one(set) + if rates[set] == 0.0 { 0.0 } else { rates[set] / (sizes[set] - 1.0) };
        let scale_rate = |entry: &Entry| match entry.place {
            Place::Own => 0.5 * one(entry.set),
            Place::Inside => 0.5 * two(entry.set),
            Place::Outside => 0.5 * (one(entry.set) + one(partition.set_of(entry.group))),
        };
        let scale_rates: Vec<f64> = partition.entries().iter().map(scale_rate).collect();
        // Rate of the value with this index; those of the teachers stay.
        let moving = |i: usize| scale_rates.get(i).map_or(0.0, |rate| -rate * work.values[i]);
        let growth = |position: usize| self.growing[position].map_or(0.0, |set| rates[set]);
        let mut raw = vec![0.0; self.dim()];
        for (g, (range, weight)) in self.selves.iter().enumerate() {
            for position in range.clone() {
                let (i, _, count) = self.positions[position];
                let x = work.values[i];
                raw[i] +=
                    2.0 * weight * ((one(partition.set_of(g)) * count + growth(position)) * x + count * moving(i));
            }
        }
        for (class, plane) in self.classes.iter().zip(&work.planes) {
            let [u, v] = plane.norms;
            if !(u > 0.0 && v > 0.0) {
                continue;
            }
            let [a, b] = class.units.map(|unit| partition.set_of(unit));
            let more = match (a == b, class.same) {
                (true, true) => one(a),
                (true, false) => two(a),
                (false, _) => one(a) + one(b),
            };
            let weight = class.weight / (2.0 * PI);
            let inverse = if plane.sine > 0.0 { 1.0 / plane.sine } else { 0.0 };
            let (pull, back) = (weight * v * plane.sine / u, weight * u * plane.sine / v);
            let (mixed, straight) = (weight * plane.sine, weight * plane.supplement);
            let frame = |position: usize| {
                let (i, j, count) = self.positions[position];
                let (x, y) = (work.values[i], work.values[j]);
                let (x_unit, y_unit) = (x / u, y / v);
                let e = (y_unit - plane.cosine * x_unit) * inverse;
                let f = (x_unit - plane.cosine * y_unit) * inverse;
                let half = 0.5 * growth(position) / count;
                ([x, x_unit, e, moving(i) + half * x], [y, y_unit, f, moving(j) + half * y])
            };
            // Components of the two rates along u, e and v, f.
            let (mut along, mut aside) = ([0.0; 2], [0.0; 2]);
            for position in class.positions.clone() {
                let count = self.positions[position].2;
                let (first, second) = frame(position);
                for (t, [_, straight, across, rate]) in [first, second].into_iter().enumerate() {
                    along[t] += count * straight * rate;
                    aside[t] += count * across * rate;
                }
            }
            for position in class.positions.clone() {
                let (i, j, count) = self.positions[position];
                let ([x, x_unit, e, x_rate], [y, y_unit, f, y_rate]) = frame(position);
                // The gradient's own factors, then its change with the two vectors.
                let factor = more * count + 0.5 * growth(position);
                raw[i] += factor * (pull * x + straight * y)
                    + count * (pull * (x_rate - x_unit * along[0] + e * aside[0]) + straight * y_rate)
                    + count * mixed * (x_unit * along[1] + e * aside[1]);
                if class.units[1] < students {
                    raw[j] += factor * (back * y + straight * x)
                        + count * (back * (y_rate - y_unit * along[1] + f * aside[1]) + straight * x_rate)
                        + count * mixed * (y_unit * along[0] + f * aside[0]);
                }
            }
        }
        for (i, rate) in scale_rates.iter().enumerate() {
            raw[i] = raw[i] / self.scales[i] - work.gradient[i] * rate;
        }
        Some(raw)
    }
}

/// The linear part on each coordinate set, with the readouts of all units (those of teachers negative).
fn totals(blocks: &Blocks, entries: &[Entry], readout: impl Fn(usize) -> f64) -> Vec<Total> {
    let partition = blocks.partition();
    let (sizes, students) = (partition.sizes(), partition.student_sets());
    let units = students.len() + partition.teacher_groups();
    let total = |set: usize| Total {
        count: sizes[set],
        constant: (students.len()..units).map(|h| readout(h) * blocks.column_sum(h, set)).sum(),
        terms: (0..)
            .zip(entries)
            .filter(|(_, entry)| entry.set == set)
            .map(|(i, entry)| {
                let n = sizes[students[entry.group]];
                let factor = match entry.place {
                    Place::Own => 1.0,
                    Place::Inside => n - 1.0,
                    Place::Outside => n,
                };
                (i, readout(entry.group) * factor)
            })
            .collect(),
    };
    (0..partition.teacher_groups()).map(total).collect()
}

/// Two vectors in their plane.
#[derive(Clone, Copy)]
struct Planar {
    norms: [f64; 2],
    cosine: f64,
    sine: f64,
    supplement: f64,
}

impl Planar {
    fn of(vectors: impl Iterator<Item = [f64; 3]> + Clone, squares: [f64; 2]) -> Planar {
        let norms = squares.map(|x| x.max(0.0).sqrt());
        let product = norms[0] * norms[1];
        let (mut inner, mut area) = (0.0, 0.0);
        let mut rest = vectors;
        while let Some([x, y, count]) = rest.next() {
            inner += count * x * y;
            for [v, w, other] in rest.clone() {
                let minor = x * w - v * y;
                area += count * other * minor * minor;
            }
        }
        let area = area.max(0.0).sqrt();
        let inverse = if product > 0.0 { 1.0 / product } else { 0.0 };
        Planar { norms, cosine: inner * inverse, sine: area * inverse, supplement: direction(area, -inner) }
    }

    /// E[relu(u.x) relu(v.x)].
    fn average(&self) -> f64 {
        self.norms[0] * self.norms[1] * (self.sine + self.supplement * self.cosine) / (2.0 * PI)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BlockTeacher;
    use crate::population::{BlockHessian, Sector, block_gradient, block_risk};

    /// Loss, gradient and trivial block of the other, slower code, also at parallel units and a correlated teacher.
    #[test]
    fn agrees_with_the_sums_over_groups() {
        for (teachers, matched, free, rho) in [
            (&[3.0, 14.0][..], &[0, 1][..], &[][..], 0.0),
            (&[1.0, 5.5], &[0, 1], &[1.0], 0.2),
            (&[4.0, 3.0], &[0, 1, 1], &[2.0], -0.1),
            (&[6.0, 1.0, 13.0], &[0, 1, 2], &[], 0.1),
        ] {
            for slope in [0.0, 0.3] {
                let partition = Partition::new(teachers, matched, free).unwrap();
                let n = partition.entries().len();
                let teacher = BlockTeacher { slope, ..BlockTeacher::correlated(teachers.len(), rho) };
                for parallel in [false, true] {
                    let entry = |i: usize| 0.3 * (1.3 * i as f64).sin() + if i.is_multiple_of(4) { 0.7 } else { 0.0 };
                    let entries: Vec<f64> = if parallel {
                        // Every matched student on its teacher.
                        let place = |e: &crate::model::Entry| f64::from(u8::from(e.place == crate::model::Place::Own));
                        partition
                            .entries()
                            .iter()
                            .map(|e| place(e) + if e.group >= matched.len() { 0.3 } else { 0.0 })
                            .collect()
                    } else {
                        (0..n).map(entry).collect()
                    };
                    let state = Blocks::new(partition.clone(), teacher.clone(), &entries, None).unwrap();
                    let equations = BlockEquations::new(&state);
                    let unknowns: Vec<f64> = entries.iter().zip(equations.scales()).map(|(x, s)| x * s).collect();
                    let mut work = Workspace::default();
                    equations.evaluate(&unknowns, true, &mut work);
                    assert!((work.loss - block_risk(&state)).abs() < 1e-12, "{} {}", work.loss, block_risk(&state));
                    let block = BlockHessian::new(&state).block(Sector::Trivial).unwrap();
                    for (i, g) in block_gradient::<f64>(&state).iter().enumerate() {
                        assert!((work.gradient[i] - g * equations.scales()[i]).abs() < 1e-12, "{i}");
                        for j in 0..n {
                            let difference = (work.hessian[i * n + j] - block[[i, j]]).abs();
                            assert!(difference < 1e-11, "{teachers:?} {parallel} {i} {j}: {difference:e}");
                        }
                    }
                }
            }
        }
    }
}
