//! Loss, gradient and second derivatives by the numbers of a block-symmetric state, prepared once for many evaluations.
//!
//! The same sums as [`super::block_gradient`] in plain doubles without allocation: what a search for roots spends its time
//! in. Each class of equivalent pairs is a list of positions (entry of the one unit, entry of the other, number of such
//! coordinates); the sine of its angle comes from Lagrange's identity, accurate also for nearly parallel units.

use std::f64::consts::PI;
use std::ops::Range;

use super::blocks::mixture;
use crate::expectation::angles::direction;
use crate::model::{Blocks, Place};

/// A class of pairs of units. Each of the two is a unit of the list of groups (students, then teachers).
struct Class {
    units: [usize; 2],
    /// Number of pairs times the product of their readouts; pairs of students count once.
    weight: f64,
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
        let entries = partition.entries();
        let n = entries.len();
        let labels: Vec<f64> = (0..n).map(|i| i as f64).collect();
        // Entries that hold their own index: the pair vectors then name positions.
        let labelled = blocks.with_entries(&labels).unwrap_or_else(|_| blocks.clone());
        let (sets, sizes) = (partition.unit_sets(), partition.sizes());
        let students = partition.student_sets().len();
        let readouts: Vec<f64> =
            blocks.readouts().iter().copied().chain(blocks.teacher().readouts.iter().map(|b| -b)).collect();
        let mut equations = BlockEquations {
            scales: entries.iter().map(|entry| entry.count.sqrt()).collect(),
            constants: Vec::new(),
            positions: Vec::new(),
            classes: Vec::new(),
            selves: Vec::new(),
            teacher_squares: (students..sets.len()).map(|h| square(&blocks.pair_vectors(h, h, true))).collect(),
            offset: 0.0,
            slope: blocks.teacher().slope,
            totals: Vec::new(),
        };
        if equations.slope != 0.0 {
            equations.totals = totals(blocks, &readouts);
        }
        let [kinked, _] = mixture(equations.slope);
        for g in 0..students {
            let range = equations.place(n, [true; 2], labelled.pair_vectors(g, g, true));
            equations.selves.push((range, 0.25 * kinked * sizes[sets[g]] * readouts[g] * readouts[g]));
        }
        for g in 0..students {
            for h in (0..=g).chain(students..sets.len()) {
                let (a, b) = (sizes[sets[g]], sizes[sets[h]]);
                let shared = sets[g] == sets[h];
                let half = if g == h { 0.5 } else { 1.0 };
                let counts = if shared { [a, a * (a - 1.0)] } else { [0.0, a * b] };
                for (same, count) in [(true, counts[0]), (false, counts[1])] {
                    if count != 0.0 && !(g == h && same) {
                        let weight = kinked * half * count * readouts[g] * readouts[h];
                        let vectors = labelled.pair_vectors(g, h, same);
                        let positions = equations.place(n, [true, h < students], vectors);
                        equations.classes.push(Class { units: [g, h], weight, positions });
                    }
                }
            }
        }
        for g in students..sets.len() {
            for h in students..=g {
                let (a, b) = (sizes[sets[g]], sizes[sets[h]]);
                let weight = kinked * readouts[g] * readouts[h] * if g == h { 0.5 } else { 1.0 };
                if g == h {
                    equations.offset += 0.5 * weight * a * equations.teacher_squares[g - students];
                }
                let count = if g == h { a * (a - 1.0) } else { a * b };
                if count != 0.0 {
                    let vectors = blocks.pair_vectors(g, h, false);
                    let squares = [g, h].map(|unit| equations.teacher_squares[unit - students]);
                    equations.offset += weight * count * Planar::new(&vectors, squares).average();
                }
            }
        }
        equations
    }

    /// Appends positions whose values are labels of entries (students) or numbers (teachers).
    fn place(&mut self, n: usize, labelled: [bool; 2], vectors: Vec<[f64; 3]>) -> Range<usize> {
        let start = self.positions.len();
        for [x, y, count] in vectors {
            let mut index = |value: f64, is_label: bool| {
                if is_label {
                    return value as usize;
                }
                self.constants.push(value);
                n + self.constants.len() - 1
            };
            let pair = (index(x, labelled[0]), index(y, labelled[1]), count);
            self.positions.push(pair);
        }
        start..self.positions.len()
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

/// The linear part on each coordinate set.
fn totals(blocks: &Blocks, readouts: &[f64]) -> Vec<Total> {
    let partition = blocks.partition();
    let (sizes, sets) = (partition.sizes(), partition.unit_sets());
    let students = partition.student_sets().len();
    let total = |set: usize| Total {
        count: sizes[set],
        constant: (students..sets.len()).map(|h| readouts[h] * blocks.column_sum(h, set)).sum(),
        terms: (0..)
            .zip(partition.entries())
            .filter(|(_, entry)| entry.set == set)
            .map(|(i, entry)| {
                let n = sizes[sets[entry.group]];
                let units = match entry.place {
                    Place::Own => 1.0,
                    Place::Inside => n - 1.0,
                    Place::Outside => n,
                };
                (i, readouts[entry.group] * units)
            })
            .collect(),
    };
    (0..partition.teacher_groups()).map(total).collect()
}

fn square(vectors: &[[f64; 3]]) -> f64 {
    vectors.iter().map(|p| p[0] * p[0] * p[2]).sum()
}

/// Two vectors in their plane.
struct Planar {
    norms: [f64; 2],
    cosine: f64,
    sine: f64,
    supplement: f64,
}

impl Planar {
    fn new(vectors: &[[f64; 3]], squares: [f64; 2]) -> Planar {
        Planar::of(vectors.iter().copied(), squares)
    }

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
    use crate::model::{BlockTeacher, Partition};
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
