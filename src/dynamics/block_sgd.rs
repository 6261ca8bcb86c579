//! One-pass SGD on block-symmetric states: the overlap equations of d = infinity in one number for each class of pairs, at
//! a cost that does not depend on the sizes of the groups (theory 06, eq. 06-overlaps; theory 08).

use ndarray::{Array1, Array2};

use crate::error::{Error, Result};
use crate::expectation::Pair;
use crate::model::{BlockTeacher, Blocks, Overlaps, Partition, Sgd, Teacher};
use crate::numerics::root::{self, System};
use crate::population::{BlockFields, Unit};

/// Largest residual of a fixed point, before rounding of the sums over all units.
const RESIDUAL: f64 = 1e-12;

/// What is varied when the equations are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockParameter {
    LearningRate,
    /// Standard deviation of the noise on the labels.
    LabelNoise,
    WeightDecay,
    /// Size of an index set; real. K and M grow with a set of teachers that students are matched to.
    Size(usize),
}

/// A class of pairs of units whose overlap is one unknown: groups (students, then teachers), first <= second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairClass {
    pub first: usize,
    pub second: usize,
    /// Equal indices; false also for groups of different sets.
    pub same: bool,
    /// Number of overlaps Q_ij (i <= j) or R_im that it stands for.
    pub count: f64,
}

/// Velocity of the overlaps in the time learning rate x steps / d, so that a learning rate of 0 is gradient flow:
///
/// dR_im = -grad_i . v_m - gamma R_im, dQ_ik = -(grad_i . w_k + grad_k . w_i) - 2 gamma Q_ik
/// + (eta / B) a_i a_k (N_ik + sigma^2 P_ik).
///
/// Unknowns: one overlap for each class of [`BlockSgd::classes`]. The schedule is not used.
#[derive(Clone, Debug)]
pub struct BlockSgd {
    partition: Partition,
    teacher: BlockTeacher,
    readouts: Vec<f64>,
    rule: Sgd,
    parameter: BlockParameter,
    classes: Vec<PairClass>,
}

impl BlockSgd {
    /// Equations for states with the groups, teacher and readouts of this one.
    ///
    /// # Errors
    /// As [`Sgd::checked`]; [`Error::Spec`] for another activation than ReLU and another rule than plain SGD.
    pub fn new(blocks: &Blocks, rule: Sgd, parameter: BlockParameter) -> Result<BlockSgd> {
        rule.needs_plain("follow SGD on groups")?;
        let (partition, teacher) = (blocks.partition().clone(), blocks.teacher().clone());
        if teacher.slope != 0.0 {
            let problem = format!(
                "the slope below 0 is {}, needs 0: the noise of SGD on groups is known for ReLU (`committee sgd` takes any slope)",
                teacher.slope
            );
            return Err(Error::Spec { action: "follow SGD on groups", problem });
        }
        Ok(BlockSgd::assemble(partition, teacher, blocks.readouts().to_vec(), rule.checked()?, parameter))
    }

    fn assemble(
        partition: Partition,
        teacher: BlockTeacher,
        readouts: Vec<f64>,
        rule: Sgd,
        parameter: BlockParameter,
    ) -> BlockSgd {
        let mut system = BlockSgd { partition, teacher, readouts, rule, parameter, classes: Vec::new() };
        let (sets, students) = (system.partition.unit_sets(), system.readouts.len());
        for (range, own) in [(0..students, true), (students..sets.len(), false)] {
            for first in 0..students {
                for second in range.clone().filter(|&second| !own || second >= first) {
                    for same in [true, false] {
                        let count = system.count(first, second, same);
                        if count > 0.0 {
                            system.classes.push(PairClass { first, second, same, count });
                        }
                    }
                }
            }
        }
        system
    }

    fn count(&self, first: usize, second: usize, same: bool) -> f64 {
        let (sets, sizes) = (self.partition.unit_sets(), self.partition.sizes());
        let (n, m) = (sizes[sets[first]], sizes[sets[second]]);
        match (sets[first] == sets[second], same) {
            (true, true) => n,
            (true, false) if first == second => 0.5 * n * (n - 1.0),
            (true, false) => n * (n - 1.0),
            (false, true) => 0.0,
            (false, false) => n * m,
        }
    }

    /// The unknowns: classes of pairs of students, then of a student and a teacher.
    pub fn classes(&self) -> &[PairClass] {
        &self.classes
    }

    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    pub fn rule(&self) -> &Sgd {
        &self.rule
    }

    /// The same equations with the parameter at p.
    pub fn at(&self, p: f64) -> Result<BlockSgd> {
        let mut system = self.clone();
        match self.parameter {
            BlockParameter::LearningRate => system.rule.learning_rate = p,
            BlockParameter::LabelNoise => system.rule.label_noise = p,
            BlockParameter::WeightDecay => system.rule.weight_decay = p,
            BlockParameter::Size(set) => {
                let mut sizes = self.partition.sizes().to_vec();
                sizes[set] = p;
                let partition = self.partition.with_sizes(&sizes)?;
                let (teacher, readouts) = (self.teacher.clone(), self.readouts.clone());
                system = BlockSgd::assemble(partition, teacher, readouts, self.rule, self.parameter);
            }
        }
        Ok(system)
    }

    /// The value of the parameter.
    pub fn value(&self) -> f64 {
        match self.parameter {
            BlockParameter::LearningRate => self.rule.learning_rate,
            BlockParameter::LabelNoise => self.rule.label_noise,
            BlockParameter::WeightDecay => self.rule.weight_decay,
            BlockParameter::Size(set) => self.partition.sizes()[set],
        }
    }

    /// The overlaps of a state with these groups.
    pub fn pack(&self, blocks: &Blocks) -> Vec<f64> {
        let product = |class: &PairClass| {
            blocks.pair_vectors(class.first, class.second, class.same).iter().map(|p| p[0] * p[1] * p[2]).sum()
        };
        self.classes.iter().map(product).collect()
    }

    /// Place of each pair of groups among the unknowns: [equal index, different indices].
    fn places(&self) -> Array2<[Option<usize>; 2]> {
        let units = self.partition.unit_sets().len();
        let mut places = Array2::from_elem((units, units), [None; 2]);
        for (at, class) in self.classes.iter().enumerate() {
            places[[class.first, class.second]][usize::from(!class.same)] = Some(at);
            places[[class.second, class.first]][usize::from(!class.same)] = Some(at);
        }
        places
    }

    fn overlap(&self, places: &Array2<[Option<usize>; 2]>, x: &[f64], g: usize, h: usize, same: bool) -> f64 {
        if let Some(at) = places[[g, h]][usize::from(!same)] {
            return x[at];
        }
        let students = self.readouts.len();
        match (g.checked_sub(students), h.checked_sub(students)) {
            (Some(t), Some(u)) if t == u && same => self.teacher.squares[t],
            (Some(t), Some(u)) => self.teacher.overlaps[[t, u]],
            _ => 0.0,
        }
    }

    /// Norms and angles at x. Nearly parallel units are as good as their correlation.
    pub fn fields(&self, x: &[f64]) -> BlockFields {
        let places = self.places();
        let value = |g: usize, h: usize, same: bool| self.overlap(&places, x, g, h, same);
        BlockFields::new(
            self.partition.unit_sets(),
            self.partition.sizes().to_vec(),
            self.readouts.len(),
            self.readouts.iter().copied().chain(self.teacher.readouts.iter().map(|b| -b)).collect(),
            |g, h, same| Pair::from_covariance(value(g, g, true), value(h, h, true), value(g, h, same)),
        )
    }

    /// Population loss at x.
    pub fn risk(&self, x: &[f64]) -> f64 {
        self.fields(x).risk()
    }

    /// The velocity at x divided by the learning rate.
    pub fn velocity(&self, x: &[f64]) -> Vec<f64> {
        let fields = self.fields(x);
        let decay = self.rule.weight_decay;
        let value = |(class, x): (&PairClass, &f64)| {
            let [i, k] = units(&fields, class);
            let mut sum = -self.readouts[i.group] * fields.drift(i, k) - decay * x;
            if k.group < self.readouts.len() {
                sum -= self.readouts[k.group] * fields.drift(k, i) + decay * x;
                let [error, label] = self.noise(i, k);
                if error != 0.0 {
                    sum += error * fields.error_moment(i, k);
                }
                sum += label * fields.step_moment(i, k);
            }
            sum
        };
        self.classes.iter().zip(x).map(value).collect()
    }

    /// Factors of N_ik and P_ik.
    fn noise(&self, i: Unit, k: Unit) -> [f64; 2] {
        let strength = self.rule.learning_rate / self.rule.batch as f64;
        let factor = strength * self.readouts[i.group] * self.readouts[k.group];
        [factor, factor * self.rule.label_noise * self.rule.label_noise]
    }

    /// Derivatives of [`BlockSgd::velocity`] by the unknowns, exact; not symmetric. They exist away from parallel and zero
    /// units; an infinite one is given as 0.
    pub fn velocity_derivatives(&self, x: &[f64]) -> Array2<f64> {
        let (fields, places) = (self.fields(x), self.places());
        let mut jacobian = Array2::zeros((x.len(), x.len()));
        for (row, class) in self.classes.iter().enumerate() {
            let [i, k] = units(&fields, class);
            let mut line = vec![0.0; x.len()];
            let mut add = |u: Unit, v: Unit, slope: f64| {
                if let Some(at) = places[[u.group, v.group]][usize::from(!fields.same_index(u, v))] {
                    line[at] += slope;
                }
            };
            fields.drift_derivatives(i, k, -self.readouts[i.group], &mut add);
            let mut decay = self.rule.weight_decay;
            if k.group < self.readouts.len() {
                fields.drift_derivatives(k, i, -self.readouts[k.group], &mut add);
                let [error, label] = self.noise(i, k);
                if error != 0.0 {
                    fields.error_moment_derivatives(i, k, error, &mut add);
                }
                fields.step_moment_derivatives(i, k, label, &mut add);
                decay *= 2.0;
            }
            line[row] -= decay;
            jacobian.row_mut(row).assign(&Array1::from(line));
        }
        jacobian
    }

    /// The fixed point near a guess at the value p of the parameter.
    ///
    /// # Errors
    /// [`Error::NotConverged`], [`Error::NonFinite`].
    pub fn fixed_point(&self, guess: &[f64], p: f64) -> Result<Vec<f64>> {
        let units = self.partition.student_count() + self.partition.teacher_count();
        Ok(root::newton(self, guess, p, RESIDUAL.max(1e-16 * units * units), 1e-7, 60)?.x)
    }

    /// The dense overlaps with their teacher, when all sizes are whole: students and teachers in the order of the groups.
    ///
    /// # Errors
    /// [`Error::Real`] for a size that is not whole; [`Error::NotPositive`] when the overlaps are no Gram matrix.
    pub fn expand(&self, x: &[f64]) -> Result<(Overlaps, Teacher)> {
        if let Some(&size) = self.partition.sizes().iter().find(|n| n.fract() != 0.0) {
            return Err(Error::Real {
                action: "expand the groups",
                quantity: "the size of a group".into(),
                value: size,
                needs: "a whole number",
            });
        }
        let (sets, sizes, places) = (self.partition.unit_sets(), self.partition.sizes(), self.places());
        let units: Vec<(usize, usize)> =
            sets.iter().enumerate().flat_map(|(g, &set)| (0..sizes[set] as usize).map(move |i| (g, i))).collect();
        let students = units.iter().filter(|unit| unit.0 < self.readouts.len()).count();
        let value = |(g, i): (usize, usize), (h, j): (usize, usize)| {
            self.overlap(&places, x, g, h, sets[g] == sets[h] && i == j)
        };
        let (own, other) = units.split_at(students);
        let table = |a: &[(usize, usize)], b: &[(usize, usize)]| {
            Array2::from_shape_fn((a.len(), b.len()), |(i, j)| value(a[i], b[j]))
        };
        let groups = self.readouts.len();
        let b = Array2::from_shape_fn((1, other.len()), |(_, m)| self.teacher.readouts[other[m].0 - groups]);
        let a = Array2::from_shape_fn((1, students), |(_, i)| self.readouts[own[i].0]);
        let teacher = Teacher::new(table(other, other), Some(b))?;
        let overlaps = Overlaps::integrated(table(own, own), table(own, other), a, &teacher, 1e-9)?;
        Ok((overlaps, teacher))
    }

    /// The same equations with one index set divided in two, the first part of size `first`, and for each new class the old
    /// one that it is part of: the states of the old symmetry are those with equal values in each old class.
    ///
    /// # Errors
    /// [`Error::Real`] when a part would be smaller than 1.
    pub fn refined(&self, set: usize, first: f64) -> Result<(BlockSgd, Vec<usize>)> {
        let old = self.partition.sizes();
        let coarse_teachers = self.partition.teacher_groups();
        let origin = |fine: usize| if fine > set { fine - 1 } else { fine };
        let sizes: Vec<f64> = (0..=old.len())
            .map(|fine| match fine {
                _ if fine == set => first,
                _ if fine == set + 1 => old[set] - first,
                _ => old[origin(fine)],
            })
            .collect();
        let teachers = coarse_teachers + usize::from(set < coarse_teachers);
        let (mut matched, mut from) = (Vec::new(), Vec::new());
        for (group, &own) in self.partition.student_sets().iter().enumerate() {
            for fine in (0..sizes.len()).filter(|&fine| origin(fine) == own) {
                from.push(group);
                if fine < teachers {
                    matched.push(fine);
                }
            }
        }
        let partition = Partition::new(&sizes[..teachers], &matched, &sizes[teachers..])?;
        let students = from.len();
        from.extend((0..teachers).map(|fine| self.readouts.len() + origin(fine)));
        let coarse = |fine: usize| origin(fine);
        let teacher = BlockTeacher {
            squares: (0..teachers).map(|t| self.teacher.squares[coarse(t)]).collect(),
            overlaps: Array2::from_shape_fn((teachers, teachers), |(t, u)| {
                self.teacher.overlaps[[coarse(t), coarse(u)]]
            }),
            readouts: (0..teachers).map(|t| self.teacher.readouts[coarse(t)]).collect(),
            slope: self.teacher.slope,
        };
        let readouts = from[..students].iter().map(|&group| self.readouts[group]).collect();
        let parameter = match self.parameter {
            BlockParameter::Size(at) if at >= set => BlockParameter::Size(at + 1),
            other => other,
        };
        let fine = BlockSgd::assemble(partition, teacher, readouts, self.rule, parameter);
        let places = self.places();
        let part_of = |class: &PairClass| {
            places[[from[class.first], from[class.second]]][usize::from(!class.same)].unwrap_or(usize::MAX)
        };
        let map = fine.classes.iter().map(part_of).collect();
        Ok((fine, map))
    }
}

/// Members of a class.
fn units(fields: &BlockFields, class: &PairClass) -> [Unit; 2] {
    let other = Unit { group: class.second, index: 0 };
    fields.pair(class.first, class.second, class.same).unwrap_or([Unit { group: class.first, index: 0 }, other])
}

/// Outside the parameter's range everything is NaN.
impl System for BlockSgd {
    fn symmetric(&self) -> bool {
        false
    }

    fn dim(&self) -> usize {
        self.classes.len()
    }

    fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
        match self.at(p) {
            Ok(system) if system.classes.len() == x.len() => system.velocity(x).into(),
            _ => Array1::from_elem(x.len(), f64::NAN),
        }
    }

    fn jacobian(&self, x: &[f64], p: f64) -> Array2<f64> {
        match self.at(p) {
            Ok(system) if system.classes.len() == x.len() => system.velocity_derivatives(x),
            _ => Array2::from_elem((x.len(), x.len()), f64::NAN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamics::{Equations, excess_loss_slope, steady_state};
    use crate::landscape::reduced::{Shape, flipped_guess, solve};
    use crate::numerics::linalg;

    fn rule(learning_rate: f64) -> Sgd {
        Sgd { learning_rate, batch: 2, label_noise: 0.3, weight_decay: 0.05, ..Sgd::default() }
    }

    fn example(number: usize) -> Blocks {
        let (teachers, matched, free, rho): (&[f64], &[usize], &[f64], f64) = match number {
            0 => (&[4.0], &[0], &[], 0.0),
            1 => (&[1.0, 4.0], &[0, 1], &[2.0], 0.2),
            2 => (&[3.0, 2.0], &[0, 1, 1], &[1.0], -0.1),
            _ => (&[2.0, 2.0, 3.0], &[2, 0], &[3.0], 0.1),
        };
        let partition = Partition::new(teachers, matched, free).unwrap();
        let entries: Vec<f64> = (0..partition.entries().len())
            .map(|i| 0.4 * (1.7 * i as f64).sin() + if i % 3 == 0 { 0.6 } else { 0.0 })
            .collect();
        let readouts = (0..matched.len() + free.len()).map(|g| [1.0, 0.6, -1.3][g % 3]).collect();
        Blocks::new(partition, BlockTeacher::correlated(teachers.len(), rho), &entries, Some(readouts)).unwrap()
    }

    /// The members of each class, as places in the dense vector of overlaps.
    fn members(system: &BlockSgd, equations: &Equations) -> Vec<Vec<usize>> {
        let marked: Vec<f64> = (0..system.dim()).map(|at| 1e-6 * (at + 1) as f64).collect();
        let mut shifted = system.clone();
        shifted.teacher.overlaps.fill(0.0);
        // Values that name their class, on top of a Gram matrix.
        let base: Vec<f64> = system
            .classes
            .iter()
            .zip(&marked)
            .map(|(class, mark)| mark + f64::from(u8::from(class.first == class.second && class.same)))
            .collect();
        let (overlaps, _) = shifted.expand(&base).unwrap();
        let dense = equations.pack(&overlaps);
        let mut out = vec![Vec::new(); system.dim()];
        for (place, value) in dense.iter().enumerate() {
            let at = base.iter().position(|x| (x - value).abs() < 1e-9).unwrap();
            out[at].push(place);
        }
        out
    }

    #[test]
    fn velocity_and_jacobian_are_those_of_the_expanded_state() {
        for number in 0..4 {
            let blocks = example(number);
            let rule = rule(0.7);
            let system = BlockSgd::new(&blocks, rule, BlockParameter::LearningRate).unwrap();
            let mut x = system.pack(&blocks);
            // Units of a free group are parallel in the span of the teacher: turn them apart.
            for (x, class) in x.iter_mut().zip(&system.classes) {
                *x *= if class.first == class.second && class.same { 1.2 } else { 1.0 };
            }
            let (overlaps, teacher) = system.expand(&x).unwrap();
            let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
            let dense = equations.pack(&overlaps);
            let mut full = vec![0.0; dense.len()];
            equations.velocity(0.0, &dense, &mut full);
            let (small, scale) = (system.velocity(&x), linalg::max_abs(&full));
            let members = members(&system, &equations);
            let (jacobian, wide) = (system.velocity_derivatives(&x), equations.jacobian(0.0, &dense));
            let slopes = linalg::max_abs(&wide);
            for (row, places) in members.iter().enumerate() {
                assert_eq!(places.len() as f64, system.classes[row].count, "{number} {row}");
                for &place in places {
                    let difference = 0.7 * small[row] - full[place];
                    assert!(difference.abs() < 1e-12 * scale, "{number} {row}: {difference:e}");
                }
                for (column, others) in members.iter().enumerate() {
                    let sum: f64 = others.iter().map(|&other| wide[[places[0], other]]).sum();
                    let difference = 0.7 * jacobian[[row, column]] - sum;
                    assert!(difference.abs() < 1e-11 * slopes, "{number} {row} {column}: {difference:e}");
                }
            }
        }
    }

    /// A refined system at a state of the old symmetry has the old velocity in every part.
    #[test]
    fn refinements_carry_the_velocity() {
        let blocks = example(1);
        let system = BlockSgd::new(&blocks, rule(0.5), BlockParameter::LearningRate).unwrap();
        let x = system.pack(&blocks);
        let velocity = system.velocity(&x);
        for (set, first) in [(1, 1.0), (1, 2.0), (2, 1.0), (1, 1.6)] {
            let (fine, map) = system.refined(set, first).unwrap();
            let carried: Vec<f64> = map.iter().map(|&at| x[at]).collect();
            for (value, &at) in fine.velocity(&carried).iter().zip(&map) {
                assert!((value - velocity[at]).abs() < 1e-13, "{set} {first}: {value} {}", velocity[at]);
            }
        }
        assert!(system.refined(0, 1.0).is_err());
    }

    /// K = M = 8, one flipped unit: the slope of the excess loss at eta = 0, and the fixed points of the dense solver.
    #[test]
    fn fixed_points_are_those_of_the_dense_equations() {
        let shape = Shape::flipped(1.0, 8.0, 0);
        let state = solve(&shape, &flipped_guess(&shape)).unwrap();
        let system = BlockSgd::new(&state, Sgd::default(), BlockParameter::LearningRate).unwrap();
        let start = system.pack(&state);
        assert!(linalg::max_abs(&system.residual(&start, 0.0)) < 1e-13);
        let at = |eta: f64| system.fixed_point(&start, eta).unwrap();
        let loss = |eta: f64| system.risk(&at(eta));
        // Removes the second order.
        let slope = (4.0 * (loss(5e-5) - loss(0.0)) - (loss(1e-4) - loss(0.0))) / 1e-4;
        assert!((slope - 0.0409929).abs() < 1e-7, "{slope}");
        let (weights, teacher) = state.expand().unwrap();
        let fields = crate::population::Fields::from_weights(&weights, &teacher, 0);
        assert!((slope - excess_loss_slope(&fields, 0.0, 1, f64::INFINITY)).abs() < 1e-7);
        for eta in [0.05, 0.1] {
            let x = at(eta);
            let (overlaps, teacher) = system.expand(&x).unwrap();
            let rule = Sgd { learning_rate: eta, ..Sgd::default() };
            let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
            let steady = steady_state(&equations, &overlaps).unwrap();
            assert!((steady.loss - system.risk(&x)).abs() < 1e-12, "{eta}");
            let moved = linalg::max_abs(&(steady.overlaps.q() - overlaps.q()));
            assert!(moved < 1e-9, "{eta}: {moved:e}");
        }
    }

    /// A size as the parameter: at a whole size the fixed point is that of the system made there, and real sizes join them.
    #[test]
    fn sizes_can_be_varied() {
        let make = |m: f64, parameter| {
            let shape = Shape::flipped(1.0, m, 0);
            let state = solve(&shape, &flipped_guess(&shape)).unwrap();
            let system = BlockSgd::new(&state, Sgd::default(), parameter).unwrap();
            (system.pack(&state), system)
        };
        let (start, system) = make(8.0, BlockParameter::Size(1));
        let (other, direct) = make(9.0, BlockParameter::LearningRate);
        let (moved, there) = (system.fixed_point(&start, 8.0).unwrap(), direct.fixed_point(&other, 0.1).unwrap());
        for (a, b) in moved.iter().zip(&there) {
            assert!((a - b).abs() < 1e-10, "{a} {b}");
        }
        assert_eq!((system.value(), system.at(8.0).unwrap().partition()), (7.0, direct.partition()));
        let loss = |n: f64| system.at(n).unwrap().risk(&system.fixed_point(&start, n).unwrap());
        let [a, b, c] = [7.0, 7.5, 8.0].map(loss);
        assert!((a > b && b > c) && (b - 0.5 * (a + c)).abs() < 0.1 * (a - c), "{a} {b} {c}");
    }
}
