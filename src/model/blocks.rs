//! The state when units fall into groups of equal units: block-symmetric weights with real group sizes.
//!
//! Every unit belongs to an *index set*. The first sets are the groups of teachers; each carries as many coordinates as
//! it has indices. A student group is *matched* to a teacher group when it shares its set (one student for each teacher,
//! several student groups may share a set), else it is *free* and has a set of its own, without coordinates. On the
//! coordinates of its own set the unit with index i has one entry at i and another one elsewhere; on any other set a
//! constant (theory 08, eq. 08-unit). Sizes only enter through counts, so they may be real.

use ndarray::Array2;

use super::{Activation, Teacher, Weights};
use crate::error::{Error, Result};
use crate::numerics::linalg;

const ACTION: &str = "use the groups";

/// Which units belong together: sizes of the index sets (teacher groups first) and the set of each student group.
#[derive(Clone, Debug, PartialEq)]
pub struct Partition {
    sizes: Vec<f64>,
    teachers: usize,
    students: Vec<usize>,
}

/// Where an entry of a group's rows stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the unit's own index.
    Own,
    /// On the other indices of the unit's own set.
    Inside,
    /// On another set.
    Outside,
}

/// One number of a block-symmetric state: an entry of the rows of `group` on the coordinates of `set`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    pub group: usize,
    pub set: usize,
    pub place: Place,
    /// How many entries of W are equal to it.
    pub count: f64,
}

impl Partition {
    /// Teacher groups with their sizes; student groups matched to a teacher group or free, with sizes.
    ///
    /// # Errors
    /// [`Error::Real`] for a size below 1, [`Error::Count`] for a teacher group that does not exist or no group at all.
    pub fn new(teachers: &[f64], matched: &[usize], free: &[f64]) -> Result<Partition> {
        for &size in teachers.iter().chain(free) {
            if !(size >= 1.0 && size.is_finite()) {
                return Err(Error::Real {
                    action: ACTION,
                    quantity: "the size of a group".into(),
                    value: size,
                    needs: "a number of at least 1 (leave an empty group out)",
                });
            }
        }
        if let Some(&set) = matched.iter().find(|&&set| set >= teachers.len()) {
            let needs = format!("the index of a teacher group, below {}", teachers.len());
            return Err(Error::Count { action: ACTION, quantity: "the group of a student group", value: set, needs });
        }
        if teachers.is_empty() || matched.len() + free.len() == 0 {
            let needs = "at least one group of teachers and one of students".into();
            return Err(Error::Count { action: ACTION, quantity: "the number of groups", value: 0, needs });
        }
        let mut sizes = teachers.to_vec();
        sizes.extend(free);
        let students = matched.iter().copied().chain(teachers.len()..sizes.len()).collect();
        Ok(Partition { sizes, teachers: teachers.len(), students })
    }

    /// k1 flipped students and M - k1 aligned ones, and `extra` units in groups of their own. An empty group is left out.
    ///
    /// # Errors
    /// As [`Partition::new`]; [`Error::Real`] when k1 is not in 0 ..= M.
    pub fn flipped(k1: f64, teachers: f64, extra: usize) -> Result<Partition> {
        if !(0.0..=teachers).contains(&k1) {
            return Err(Error::Real {
                action: ACTION,
                quantity: "the number of flipped units k1".into(),
                value: k1,
                needs: "a number from 0 to M",
            });
        }
        let sizes: Vec<f64> = [k1, teachers - k1].into_iter().filter(|&n| n > 0.0).collect();
        let matched: Vec<usize> = (0..sizes.len()).collect();
        Partition::new(&sizes, &matched, &vec![1.0; extra])
    }

    /// Sizes of all index sets, teacher groups first.
    pub fn sizes(&self) -> &[f64] {
        &self.sizes
    }

    /// The same groups with other sizes (same number).
    ///
    /// # Errors
    /// As [`Partition::new`].
    pub fn with_sizes(&self, sizes: &[f64]) -> Result<Partition> {
        let matched: Vec<usize> = self.students.iter().copied().filter(|&set| set < self.teachers).collect();
        Partition::new(&sizes[..self.teachers], &matched, &sizes[self.teachers..])
    }

    /// Number of teacher groups, which is the number of coordinate sets.
    pub fn teacher_groups(&self) -> usize {
        self.teachers
    }

    /// Index set of each student group: matched ones first.
    pub fn student_sets(&self) -> &[usize] {
        &self.students
    }

    /// Index set of a group of units: students, then teachers.
    pub fn set_of(&self, unit: usize) -> usize {
        self.students.get(unit).copied().unwrap_or_else(|| unit - self.students.len())
    }

    /// Index set of each group of units: students, then teachers.
    pub fn unit_sets(&self) -> Vec<usize> {
        self.students.iter().copied().chain(0..self.teachers).collect()
    }

    /// Number of students K, real.
    pub fn student_count(&self) -> f64 {
        self.students.iter().map(|&set| self.sizes[set]).sum()
    }

    /// Number of teachers M, real.
    pub fn teacher_count(&self) -> f64 {
        self.sizes[..self.teachers].iter().sum()
    }

    /// Shows the coordinates of a unit of group g and one of group h that are not equivalent (units: students, then teachers;
    /// the same index or different ones): set, place of either unit's number on it (0 at the own index, 1 elsewhere), number of
    /// such coordinates. The number may be negative at real sizes below 2 (theory 08, eq. 08-pairs).
    pub fn each_pair_place(&self, g: usize, h: usize, same: bool, mut see: impl FnMut(usize, [usize; 2], f64)) {
        let (a, b) = (self.set_of(g), self.set_of(h));
        for (set, &n) in self.sizes[..self.teachers].iter().enumerate() {
            let (single, rest): (&[[usize; 2]], f64) = match (a == set, b == set) {
                (false, false) => (&[], n),
                (true, false) => (&[[0, 1]], n - 1.0),
                (false, true) => (&[[1, 0]], n - 1.0),
                (true, true) if same => (&[[0, 0]], n - 1.0),
                (true, true) => (&[[0, 1], [1, 0]], n - 2.0),
            };
            single.iter().for_each(|&places| see(set, places, 1.0));
            if rest != 0.0 {
                see(set, [1, 1], rest);
            }
        }
    }

    /// The numbers that make up a state, in the order of its entries: by student group, then by set.
    pub fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.students.len() * (self.teachers + 1));
        for (group, &own) in self.students.iter().enumerate() {
            for (set, &n) in self.sizes[..self.teachers].iter().enumerate() {
                if set == own {
                    entries.push(Entry { group, set, place: Place::Own, count: n });
                    if n > 1.0 {
                        entries.push(Entry { group, set, place: Place::Inside, count: n * (n - 1.0) });
                    }
                } else {
                    entries.push(Entry { group, set, place: Place::Outside, count: n * self.sizes[own] });
                }
            }
        }
        entries
    }
}

/// A teacher whose Gram matrix is equal within groups: squared norm and overlap inside each group, overlaps between them.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockTeacher {
    /// |v|^2 of each group.
    pub squares: Vec<f64>,
    /// Overlaps: inside a group on the diagonal, between groups off it.
    pub overlaps: Array2<f64>,
    /// b of each group.
    pub readouts: Vec<f64>,
    /// Slope alpha of the activation below 0, of both networks: 0 for ReLU.
    pub slope: f64,
}

impl BlockTeacher {
    /// T = (1 - rho) I + rho J.
    pub fn correlated(groups: usize, rho: f64) -> BlockTeacher {
        BlockTeacher {
            squares: vec![1.0; groups],
            overlaps: Array2::from_elem((groups, groups), rho),
            readouts: vec![1.0; groups],
            slope: 0.0,
        }
    }

    /// T = I.
    pub fn orthonormal(groups: usize) -> BlockTeacher {
        BlockTeacher::correlated(groups, 0.0)
    }

    /// V = T^(1/2) as block rows: entries at the own index and elsewhere, groups x sets (theory 08, eq. 08-root).
    fn vectors(&self, sizes: &[f64]) -> Result<Array2<[f64; 2]>> {
        let groups = self.squares.len();
        if self.overlaps.dim() != (groups, groups) || self.readouts.len() != groups || groups > sizes.len() {
            return Err(Error::Shape {
                action: ACTION,
                what: "the overlaps between groups of teachers",
                rows: self.overlaps.nrows(),
                columns: self.overlaps.ncols(),
                needs: format!("{groups} x {groups}, a readout for each group, and {} groups", sizes.len()),
            });
        }
        if self.overlaps.iter().all(|&x| x == 0.0) && self.squares.iter().all(|&x| x > 0.0) {
            let own = |i: usize, j: usize| if i == j { self.squares[i].sqrt() } else { 0.0 };
            return Ok(Array2::from_shape_fn((groups, groups), |(i, j)| [own(i, j), 0.0]));
        }
        let refuse = |eigenvalue: f64| Error::NotPositive {
            what: "the Gram matrix of the teacher's groups",
            eigenvalue,
            floor: 0.0,
        };
        let root = |value: f64, scale: f64| {
            if value < -1e-12 * scale { Err(refuse(value)) } else { Ok(value.max(0.0).sqrt()) }
        };
        let mut trivial = Array2::zeros((groups, groups));
        for i in 0..groups {
            for j in 0..groups {
                trivial[[i, j]] = self.overlaps[[i, j]] * (sizes[i] * sizes[j]).sqrt();
            }
            trivial[[i, i]] = self.squares[i] + (sizes[i] - 1.0) * self.overlaps[[i, i]];
        }
        let (values, vectors) = linalg::eigh(trivial.view())?;
        let scale = linalg::max_abs(&values);
        let roots = values.iter().map(|&x| root(x, scale)).collect::<Result<Vec<f64>>>()?;
        let trivial = vectors.dot(&Array2::from_diag(&ndarray::Array1::from(roots))).dot(&vectors.t());
        let mut rows = Array2::from_elem((groups, groups), [0.0; 2]);
        for i in 0..groups {
            let standard =
                if sizes[i] > 1.0 { root(self.squares[i] - self.overlaps[[i, i]], self.squares[i])? } else { 0.0 };
            for j in 0..groups {
                let between = trivial[[i, j]] / (sizes[i] * sizes[j]).sqrt();
                rows[[i, j]] = [between; 2];
            }
            let inside = (trivial[[i, i]] - standard) / sizes[i];
            rows[[i, i]] = if sizes[i] > 1.0 { [inside + standard, inside] } else { [trivial[[i, i]], 0.0] };
        }
        Ok(rows)
    }
}

/// A block-symmetric state of one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    partition: Partition,
    teacher: BlockTeacher,
    /// Rows of all groups, students then teachers: [at the own index, elsewhere] for each set of coordinates.
    rows: Array2<[f64; 2]>,
    readouts: Vec<f64>,
}

impl Blocks {
    /// From the numbers in the order of [`Partition::entries`] and a readout for each student group (`None`: all 1).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NonFinite`], [`Error::NotPositive`] for a teacher that is no Gram matrix.
    pub fn new(
        partition: Partition,
        teacher: BlockTeacher,
        entries: &[f64],
        readouts: Option<Vec<f64>>,
    ) -> Result<Blocks> {
        let groups = partition.students.len();
        let readouts = readouts.unwrap_or_else(|| vec![1.0; groups]);
        if readouts.len() != groups || teacher.squares.len() != partition.teachers {
            return Err(Error::Shape {
                action: ACTION,
                what: "the readouts of the student groups and the teacher groups",
                rows: readouts.len(),
                columns: teacher.squares.len(),
                needs: format!("{groups} and {}", partition.teachers),
            });
        }
        let vectors = teacher.vectors(&partition.sizes)?;
        let mut rows = Array2::from_elem((groups + partition.teachers, partition.teachers), [0.0; 2]);
        rows.slice_mut(ndarray::s![groups.., ..]).assign(&vectors);
        Blocks { partition, teacher, rows, readouts }.filled(entries)
    }

    /// The same groups with other numbers.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NonFinite`].
    pub fn with_entries(&self, entries: &[f64]) -> Result<Blocks> {
        self.clone().filled(entries)
    }

    fn filled(mut self, entries: &[f64]) -> Result<Blocks> {
        let places = self.partition.entries();
        if entries.len() != places.len() {
            return Err(Error::Shape {
                action: ACTION,
                what: "the list of entries",
                rows: entries.len(),
                columns: 1,
                needs: format!("{} numbers", places.len()),
            });
        }
        if entries.iter().any(|x| !x.is_finite()) {
            return Err(Error::NonFinite { action: ACTION, quantity: "an entry" });
        }
        for (place, &x) in places.iter().zip(entries) {
            let slot = &mut self.rows[[place.group, place.set]];
            match place.place {
                Place::Own => *slot = [x, 0.0],
                Place::Inside => slot[1] = x,
                Place::Outside => *slot = [x; 2],
            }
        }
        Ok(self)
    }

    /// The sum over all units of a group of their coordinates on a set: equal on every coordinate of the set.
    pub fn column_sum(&self, group: usize, set: usize) -> f64 {
        let own = self.partition.set_of(group);
        let [first, second] = self.rows[[group, set]];
        let n = self.partition.sizes()[own];
        if own == set { first + (n - 1.0) * second } else { n * second }
    }

    /// The numbers, in the order of [`Partition::entries`].
    pub fn entries(&self) -> Vec<f64> {
        let value = |e: &Entry| self.rows[[e.group, e.set]][usize::from(e.place == Place::Inside)];
        self.partition.entries().iter().map(value).collect()
    }

    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    pub fn teacher(&self) -> &BlockTeacher {
        &self.teacher
    }

    /// a of each student group.
    pub fn readouts(&self) -> &[f64] {
        &self.readouts
    }

    /// Rows of all groups of units on the coordinate sets: [at the own index, elsewhere]; students, then teachers.
    pub fn rows(&self) -> &Array2<[f64; 2]> {
        &self.rows
    }

    /// The pair of vectors of one unit of group g and one of group h (units: students, then teachers), with the same index
    /// or different ones, as (entry of the first, entry of the second, number of such coordinates). The number may be
    /// negative at real sizes below 2 (theory 08, eq. 08-pairs).
    pub fn pair_vectors(&self, g: usize, h: usize, same: bool) -> Vec<[f64; 3]> {
        let mut out = Vec::with_capacity(self.partition.teachers + 2);
        self.partition.each_pair_place(g, h, same, |set, [i, j], count| {
            out.push([self.rows[[g, set]][i], self.rows[[h, set]][j], count]);
        });
        out
    }

    /// The dense state and its teacher, when all sizes are whole: students and teachers in the order of the groups.
    ///
    /// # Errors
    /// [`Error::Real`] for a size that is not whole; those of [`Teacher::new`] and [`Weights::new`].
    pub fn expand(&self) -> Result<(Weights, Teacher)> {
        if let Some(&size) = self.partition.sizes.iter().find(|n| n.fract() != 0.0) {
            return Err(Error::Real {
                action: "expand the groups",
                quantity: "the size of a group".into(),
                value: size,
                needs: "a whole number",
            });
        }
        let sizes: Vec<usize> = self.partition.sizes.iter().map(|&n| n as usize).collect();
        let columns: Vec<(usize, usize)> =
            (0..self.partition.teachers).flat_map(|set| (0..sizes[set]).map(move |i| (set, i))).collect();
        let dense = |groups: std::ops::Range<usize>, sets: &[usize]| {
            let units: Vec<(usize, usize, usize)> =
                groups.zip(sets).flat_map(|(g, &set)| (0..sizes[set]).map(move |i| (g, set, i))).collect();
            Array2::from_shape_fn((units.len(), columns.len()), |(u, c)| {
                let ((g, own, i), (set, j)) = (units[u], columns[c]);
                self.rows[[g, set]][usize::from(!(own == set && i == j))]
            })
        };
        let groups = self.partition.students.len();
        let w = dense(0..groups, &self.partition.students);
        let teacher_sets: Vec<usize> = (0..self.partition.teachers).collect();
        let v = dense(groups..groups + teacher_sets.len(), &teacher_sets);
        let repeated = |values: &[f64], sets: &[usize]| {
            let row: Vec<f64> =
                values.iter().zip(sets).flat_map(|(&x, &set)| std::iter::repeat_n(x, sizes[set])).collect();
            Array2::from_shape_fn((1, row.len()), |(_, i)| row[i])
        };
        let teacher = Teacher::new(v.dot(&v.t()), Some(repeated(&self.teacher.readouts, &teacher_sets)))?
            .with_activation(Activation::LeakyRelu { slope: self.teacher.slope })?;
        let a = repeated(&self.readouts, &self.partition.students);
        let w = if teacher.is_orthonormal() {
            w
        } else {
            // From the coordinates in which V = T^(1/2) to those of the teacher: W V^-1 V'.
            let (values, vectors) = linalg::eigh(v.view())?;
            let floor = 1e-10 * linalg::max_abs(&values);
            let inverse = values.mapv(|x| if x > floor { 1.0 / x } else { 0.0 });
            w.dot(&vectors).dot(&Array2::from_diag(&inverse)).dot(&vectors.t()).dot(teacher.vectors())
        };
        Ok((Weights::new(w, Some(a), &teacher)?, teacher))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn example(rho: f64) -> Blocks {
        let partition = Partition::new(&[2.0, 3.0], &[0, 1, 1], &[2.0]).unwrap();
        let n = partition.entries().len();
        let entries: Vec<f64> = (0..n).map(|i| (1.0 + i as f64).sin()).collect();
        Blocks::new(partition, BlockTeacher::correlated(2, rho), &entries, Some(vec![1.0, 0.5, 2.0, -1.0])).unwrap()
    }

    /// The pair vectors give the overlaps of the dense state, with and without correlated teachers.
    #[test]
    fn pair_vectors_have_the_dense_overlaps() {
        for rho in [0.0, 0.3, -0.2] {
            let blocks = example(rho);
            let (weights, teacher) = blocks.expand().unwrap();
            let overlaps = weights.overlaps(&teacher);
            let product = |g, h, same| blocks.pair_vectors(g, h, same).iter().map(|p| p[0] * p[1] * p[2]).sum::<f64>();
            // Students: 0-1, 2-4, 5-7, 8-9; teachers 0-1, 2-4.
            for (i, j, g, h, same) in
                [(0, 1, 0, 0, false), (2, 5, 1, 2, true), (2, 6, 1, 2, false), (0, 3, 0, 1, false), (8, 9, 3, 3, false)]
            {
                assert!((overlaps.q()[[i, j]] - product(g, h, same)).abs() < 1e-13, "{rho} {i} {j}");
            }
            for (i, m, g, h, same) in
                [(0, 0, 0, 4, true), (0, 1, 0, 4, false), (3, 3, 1, 5, true), (6, 2, 2, 5, false), (9, 4, 3, 5, false)]
            {
                assert!((overlaps.r()[[i, m]] - product(g, h, same)).abs() < 1e-13, "{rho} {i} {m}");
            }
            assert!((teacher.gram()[[0, 3]] - rho).abs() < 1e-15);
        }
    }

    #[test]
    fn refusals() {
        assert!(matches!(Partition::new(&[0.5], &[0], &[]), Err(Error::Real { .. })));
        assert!(matches!(Partition::new(&[2.0], &[1], &[]), Err(Error::Count { value: 1, .. })));
        assert!(matches!(Partition::new(&[2.0], &[], &[]), Err(Error::Count { .. })));
        assert!(matches!(Partition::flipped(9.0, 8.0, 0), Err(Error::Real { .. })));
        assert!(matches!(example(0.0).with_entries(&[1.0]), Err(Error::Shape { .. })));
        let real = Partition::flipped(1.0, 5.5, 0).unwrap();
        let blocks = Blocks::new(real, BlockTeacher::orthonormal(2), &[-0.6, 0.2, 0.3, 1.0, -0.05], None).unwrap();
        assert!(matches!(blocks.expand(), Err(Error::Real { value, .. }) if value == 4.5));
        let negative = BlockTeacher { squares: vec![1.0], overlaps: array![[-0.9]], readouts: vec![1.0], slope: 0.0 };
        let partition = Partition::flipped(0.0, 4.0, 0).unwrap();
        assert!(matches!(Blocks::new(partition, negative, &[1.0, 0.0], None), Err(Error::NotPositive { .. })));
    }
}
