//! Block-symmetric critical points: the equations on groups, their solution, and what kind of point it is.

use ndarray::{Array1, Array2};
use twofloat::TwoFloat;

use super::stability::Verdict;
use crate::error::{Error, Result};
use crate::model::{BlockTeacher, Blocks, Entry, Partition, Place};
use crate::numerics::linalg;
use crate::numerics::root::{self, System};
use crate::numerics::tolerance;
use crate::population::{BlockEquations, BlockHessian, Sector, SectorValues, Workspace, block_gradient, block_risk};

/// A parameter of a family that may take real values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Parameter {
    /// M; the last group of teachers grows.
    Teachers,
    /// Size of an index set at fixed M; the last group of teachers gives way. Free sets do not change M.
    Size(usize),
    /// Correlation rho between the teachers: T = (1 - rho) I + rho J.
    Correlation,
    /// Norm of the teachers of the first group; the others have norm 1.
    Norm,
    /// Slope alpha of the activation below 0.
    Slope,
}

/// Groups and teacher of a family, and the parameter by which it is followed.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub teachers: Vec<f64>,
    /// Teacher group of each matched student group.
    pub matched: Vec<usize>,
    /// Sizes of the free student groups.
    pub free: Vec<f64>,
    /// Whether weights may leave span(V) along one direction: one more coordinate, after those of the teachers. For
    /// [`super::departure`]: equations, sectors and continuation know it, names, guesses and phase diagrams do not. Turning
    /// the direction costs nothing, so its trivial mode across the span is a zero mode.
    pub across: bool,
    pub correlation: f64,
    pub norm: f64,
    /// alpha of g(u) = max(u, alpha u).
    pub slope: f64,
    pub parameter: Parameter,
}

impl Shape {
    /// k1 flipped and M - k1 aligned students and extra ones in groups of their own; an empty group is left out.
    pub fn flipped(k1: f64, teachers: f64, extra: usize) -> Shape {
        let sizes: Vec<f64> = [k1, teachers - k1].into_iter().filter(|&n| n > 0.0).collect();
        Shape {
            matched: (0..sizes.len()).collect(),
            teachers: sizes,
            free: vec![1.0; extra],
            across: false,
            correlation: 0.0,
            norm: 1.0,
            slope: 0.0,
            parameter: Parameter::Teachers,
        }
    }

    /// The value of the parameter.
    pub fn value(&self) -> f64 {
        match self.parameter {
            Parameter::Teachers => self.teachers.iter().sum(),
            Parameter::Size(set) if set < self.teachers.len() => self.teachers[set],
            Parameter::Size(set) => self.free[set - self.coordinate_sets()],
            Parameter::Correlation => self.correlation,
            Parameter::Norm => self.norm,
            Parameter::Slope => self.slope,
        }
    }

    /// The same family at another value of the parameter.
    pub fn at(&self, value: f64) -> Shape {
        let mut shape = self.clone();
        let last = self.teachers.len() - 1;
        match self.parameter {
            Parameter::Teachers => shape.teachers[last] += value - self.value(),
            Parameter::Size(set) if set < last => {
                shape.teachers[last] += self.teachers[set] - value;
                shape.teachers[set] = value;
            }
            Parameter::Size(set) if set == last => shape.teachers[last] = value,
            Parameter::Size(set) => shape.free[set - self.coordinate_sets()] = value,
            Parameter::Correlation => shape.correlation = value,
            Parameter::Norm => shape.norm = value,
            Parameter::Slope => shape.slope = value,
        }
        shape
    }

    /// The same family followed by another parameter.
    pub fn along(&self, parameter: Parameter) -> Shape {
        Shape { parameter, ..self.clone() }
    }

    /// The sets that carry coordinates: teacher groups, and the direction across their span.
    pub fn coordinate_sets(&self) -> usize {
        self.teachers.len() + usize::from(self.across)
    }

    /// The groups. A direction across the span is a group of one teacher, to which no student is matched.
    ///
    /// # Errors
    /// Those of [`Partition::new`].
    pub fn partition(&self) -> Result<Partition> {
        let mut sizes = self.teachers.clone();
        sizes.resize(self.coordinate_sets(), 1.0);
        Partition::new(&sizes, &self.matched, &self.free)
    }

    /// The state with these entries (see [`Partition::entries`]).
    ///
    /// # Errors
    /// Those of [`Blocks::new`].
    pub fn state(&self, entries: &[f64]) -> Result<Blocks> {
        let sets = self.coordinate_sets();
        let mut teacher = BlockTeacher { slope: self.slope, ..BlockTeacher::correlated(sets, self.correlation) };
        if self.across {
            // A unit vector that the task does not use.
            teacher.readouts[sets - 1] = 0.0;
            teacher.overlaps.row_mut(sets - 1).fill(0.0);
            teacher.overlaps.column_mut(sets - 1).fill(0.0);
        }
        if self.norm != 1.0 {
            teacher.squares[0] *= self.norm * self.norm;
            for set in 0..self.teachers.len() {
                teacher.overlaps[[0, set]] *= self.norm;
                teacher.overlaps[[set, 0]] *= self.norm;
            }
        }
        Blocks::new(self.partition()?, teacher, entries, None)
    }

    /// Square roots of the counts of the entries: unknowns are entries times these, which makes the Jacobian symmetric.
    fn scales(&self) -> Result<Vec<f64>> {
        Ok(self.partition()?.entries().iter().map(|entry| entry.count.sqrt()).collect())
    }

    /// Unknowns of the equations from entries.
    ///
    /// # Errors
    /// Those of [`Partition::new`]; [`Error::Shape`] when the number of entries is another one, as it is at a size of 1.
    pub fn unknowns(&self, entries: &[f64]) -> Result<Vec<f64>> {
        Ok(entries.iter().zip(self.matching_scales(entries.len())?).map(|(x, scale)| x * scale).collect())
    }

    /// Entries from the unknowns of the equations.
    ///
    /// # Errors
    /// As [`Shape::unknowns`].
    pub fn entries(&self, unknowns: &[f64]) -> Result<Vec<f64>> {
        Ok(unknowns.iter().zip(self.matching_scales(unknowns.len())?).map(|(x, scale)| x / scale).collect())
    }

    fn matching_scales(&self, number: usize) -> Result<Vec<f64>> {
        let scales = self.scales()?;
        if scales.len() == number {
            return Ok(scales);
        }
        let needs = format!("{} numbers", scales.len());
        Err(Error::Shape { action: "use a family", what: "the list of entries", rows: number, columns: 1, needs })
    }

    /// Orders of the entries that rename units: groups of equal sizes, or the two students of a group of two. Each gives
    /// another solution with the same loss. The first changes nothing.
    ///
    /// # Errors
    /// Those of [`Partition::new`].
    pub fn relabellings(&self) -> Result<Vec<Vec<usize>>> {
        let partition = self.partition()?;
        let (sizes, entries) = (partition.sizes(), partition.entries());
        let (groups, sets) = (partition.student_sets(), self.coordinate_sets());
        let plain = self.norm == 1.0;
        let kind = |set: usize| (set < self.teachers.len(), set < sets);
        let may = |a: usize, b: usize| sizes[a] == sizes[b] && kind(a) == kind(b) && (a == b || a.min(b) > 0 || plain);
        let mut out = Vec::new();
        for sets in permutations(sizes.len(), &may) {
            for students in permutations(groups.len(), &|g, h| groups[h] == sets[groups[g]]) {
                let image = |e: &Entry| {
                    entries.iter().position(|f| (f.group, f.set, f.place) == (students[e.group], sets[e.set], e.place))
                };
                out.extend(entries.iter().map(image).collect::<Option<Vec<usize>>>());
            }
        }
        let place = |g: usize, place: Place| entries.iter().position(|e| e.group == g && e.place == place);
        for g in (0..groups.len()).filter(|&g| sizes[groups[g]] == 2.0) {
            let (Some(own), Some(inside)) = (place(g, Place::Own), place(g, Place::Inside)) else { continue };
            let exchanged = out.clone().into_iter().map(|mut order| {
                order.swap(own, inside);
                order
            });
            out.extend(exchanged);
        }
        Ok(out)
    }

    fn state_at(&self, unknowns: &[f64], value: f64) -> Result<Blocks> {
        let shape = self.at(value);
        shape.state(&shape.entries(unknowns)?)
    }

    /// The equations at p and their gradient (with second derivatives if wanted) at the unknowns; `None` outside the
    /// parameter's range.
    fn evaluated(&self, x: &[f64], p: f64, second: bool) -> Option<(Blocks, BlockEquations, Workspace)> {
        let shape = self.at(p);
        let state = shape.state(&vec![0.0; x.len()]).ok()?;
        let equations = BlockEquations::new(&state);
        let mut work = Workspace::default();
        equations.evaluate(x, second, &mut work);
        Some((state, equations, work))
    }

    /// Derivatives of the sizes of the index sets by the parameter; `None` when something else changes too.
    fn size_rates(&self) -> Option<Vec<f64>> {
        let last = self.teachers.len() - 1;
        let mut rates = vec![0.0; self.coordinate_sets() + self.free.len()];
        match self.parameter {
            // V = T^(1/2) of correlated teachers depends on the sizes.
            _ if self.correlation != 0.0 => return None,
            Parameter::Teachers => rates[last] = 1.0,
            Parameter::Size(set) => {
                rates[set] = 1.0;
                if set < last {
                    rates[last] = -1.0;
                }
            }
            Parameter::Correlation | Parameter::Norm | Parameter::Slope => return None,
        }
        Some(rates)
    }

    /// The Hessian by sectors at unknowns x and parameter p.
    ///
    /// # Errors
    /// Those of [`Blocks::new`].
    pub fn hessian(&self, unknowns: &[f64], value: f64) -> Result<BlockHessian> {
        Ok(BlockHessian::new(&self.state_at(unknowns, value)?))
    }
}

/// Permutations of n things in which `may` allows each image, in lexicographic order; at most 5040.
fn permutations(n: usize, may: &dyn Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut out: Vec<Vec<usize>> = vec![Vec::new()];
    for i in 0..n {
        let longer = |head: &Vec<usize>| {
            let free = (0..n).filter(|&j| may(i, j) && !head.contains(&j));
            free.map(|j| [&head[..], &[j]].concat()).collect::<Vec<_>>()
        };
        out = out.iter().flat_map(longer).take(5040).collect();
    }
    out
}

/// The gradient on the groups as equations for the entries times the square roots of their counts; parameter: the shape's.
/// Outside the parameter's range everything is NaN.
impl System for Shape {
    fn dim(&self) -> usize {
        self.partition().map_or(0, |partition| partition.entries().len())
    }

    fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
        match self.evaluated(x, p, false) {
            Some((_, _, work)) => work.gradient.into(),
            None => Array1::from_elem(x.len(), f64::NAN),
        }
    }

    fn jacobian(&self, x: &[f64], p: f64) -> Array2<f64> {
        match self.evaluated(x, p, true) {
            Some((_, _, work)) => square(x.len(), &work.hessian),
            None => Array2::from_elem((x.len(), x.len()), f64::NAN),
        }
    }

    fn linearised(&self, x: &[f64], p: f64) -> (Array1<f64>, Array2<f64>) {
        let n = x.len();
        let Some((state, equations, work)) = self.evaluated(x, p, true) else {
            return (Array1::from_elem(n, f64::NAN), Array2::from_elem((n, n + 1), f64::NAN));
        };
        let by_parameter = self
            .size_rates()
            .and_then(|rates| equations.gradient_by_sizes(state.partition(), &rates, &work))
            .map_or_else(|| self.by_parameter(x, p), Array1::from);
        let wide = root::beside(&square(n, &work.hessian), &by_parameter);
        (work.gradient.into(), wide)
    }
}

fn square(n: usize, flat: &[f64]) -> Array2<f64> {
    Array2::from_shape_fn((n, n), |(i, j)| flat[i * n + j])
}

/// A block-symmetric critical point with its exact loss and spectrum.
#[derive(Clone, Debug)]
pub struct BlockPoint {
    pub shape: Shape,
    pub state: Blocks,
    pub loss: f64,
    /// Largest derivative of the loss by an entry of W, recomputed in double-double arithmetic.
    pub residual: f64,
    pub span: Vec<SectorValues>,
    pub transverse: Vec<SectorValues>,
    pub verdict: Verdict,
}

impl BlockPoint {
    /// Analyses a state of a family.
    ///
    /// # Errors
    /// Those of the eigenvalues.
    pub fn new(shape: &Shape, state: Blocks) -> Result<BlockPoint> {
        let hessian = BlockHessian::new(&state);
        let (span, transverse) = (hessian.span()?, hessian.transverse()?);
        let loss = block_risk(&state);
        let residual = block_gradient::<TwoFloat>(&state).iter().fold(0.0f64, |m, g| m.max(g.abs()));
        let all = || span.iter().chain(&transverse).flat_map(|level| &level.values);
        let scale = all().fold(0.0f64, |m, x| m.max(x.abs()));
        let norms: f64 = state.teacher().squares.iter().zip(&shape.teachers).map(|(square, n)| square * n).sum();
        let floor = tolerance::ZERO_MODE * scale;
        let verdict = if loss <= 1e-24 * norms {
            Verdict::GlobalMinimum
        } else if all().any(|&x| x < -floor) {
            Verdict::Saddle
        } else if all().any(|&x| x <= floor) {
            Verdict::Degenerate
        } else {
            Verdict::LocalMinimum
        };
        Ok(BlockPoint { shape: shape.clone(), state, loss, residual, span, transverse, verdict })
    }

    /// Smallest eigenvalue inside the span with its sector.
    pub fn smallest(&self) -> (f64, Sector) {
        smallest(&self.span)
    }

    /// Smallest eigenvalue across the span with its sector.
    pub fn smallest_across(&self) -> (f64, Sector) {
        smallest(&self.transverse)
    }

    /// Number of negative eigenvalues inside the span, real at real sizes.
    pub fn unstable(&self) -> f64 {
        let count = |level: &SectorValues| level.values.iter().filter(|&&x| x < 0.0).count() as f64;
        self.span.iter().map(|level| level.multiplicity * count(level)).sum()
    }
}

fn smallest(levels: &[SectorValues]) -> (f64, Sector) {
    let first = |level: &SectorValues| (level.values.first().copied().unwrap_or(f64::INFINITY), level.sector);
    levels.iter().map(first).fold((f64::INFINITY, Sector::Trivial), |best, x| if x.0 < best.0 { x } else { best })
}

/// Solves the equations of a family from a guess of its entries: damped Newton steps, then steps with the gradient in
/// double-double arithmetic, so that entries of size 1 / M^2 keep their digits.
///
/// # Errors
/// [`Error::NotConverged`]; those of [`Blocks::new`].
pub fn solve(shape: &Shape, guess: &[f64]) -> Result<Blocks> {
    polish(shape, &approach(shape, guess)?)
}

/// Largest residual that rounding of one sum over all units leaves in the scaled unknowns.
pub(super) fn rounding(shape: &Shape) -> Result<f64> {
    let size = shape.scales()?.iter().fold(1.0f64, |m, &x| m.max(x));
    Ok(tolerance::RESIDUAL.max(1e-15 * size * size))
}

/// Entries by damped Newton steps from a guess, in plain doubles.
pub(super) fn approach(shape: &Shape, guess: &[f64]) -> Result<Vec<f64>> {
    let root = root::newton(shape, &shape.unknowns(guess)?, shape.value(), rounding(shape)?, 1e-14, 60)?;
    shape.entries(&root.x)
}

/// Newton steps with the exact gradient until they no longer shrink.
pub(super) fn polish(shape: &Shape, entries: &[f64]) -> Result<Blocks> {
    let scales = shape.scales()?;
    let mut state = shape.state(entries)?;
    let mut last = f64::INFINITY;
    for _ in 0..8 {
        let gradient: Array1<f64> =
            block_gradient::<TwoFloat>(&state).iter().zip(&scales).map(|(g, scale)| g * scale).collect();
        let Some(jacobian) = BlockHessian::new(&state).block(Sector::Trivial) else { break };
        let (values, vectors) = linalg::eigh(jacobian.view())?;
        let floor = 1e-14 * linalg::max_abs(&values);
        let mut along = vectors.t().dot(&gradient);
        for (component, value) in along.iter_mut().zip(&values) {
            *component = if value.abs() > floor { *component / value } else { 0.0 };
        }
        let step = vectors.dot(&along);
        let length = step.dot(&step).sqrt();
        if !length.is_finite() {
            return Err(Error::NonFinite { action: "solve a family", quantity: "the Newton step" });
        }
        if length >= 0.5 * last {
            break;
        }
        last = length;
        let next: Vec<f64> =
            state.entries().iter().zip(step.iter().zip(&scales)).map(|(x, (s, c))| x - s / c).collect();
        state = shape.state(&next)?;
    }
    Ok(state)
}

/// Entries near the family with k1 flipped units at K = M, leading order in 1/M (theory 08, eq. 08-type-two); in the order
/// of [`Partition::entries`].
pub fn flipped_guess(shape: &Shape) -> Vec<f64> {
    let m: f64 = shape.teachers.iter().sum();
    let pi = std::f64::consts::PI;
    let single = shape.teachers.len() == 1;
    let flipped = [-1.0 + 3.4 / m, 1.6 / m, 4.0 / pi / m];
    let aligned = [1.0, -0.1 / m / m.max(10.0) * 10.0, 1.85 / m];
    let mut guess = Vec::new();
    for &set in &shape.matched {
        let row = if set == 0 && !single { flipped } else { aligned };
        for (other, &n) in shape.teachers.iter().enumerate() {
            if other != set {
                guess.push(row[2]);
            } else {
                guess.push(row[0]);
                if n > 1.0 {
                    guess.push(row[1]);
                }
            }
        }
    }
    guess
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flipped_families_have_the_published_losses() {
        for (k1, m, loss, value) in [
            (1.0, 6.0, 0.025080581002, 0.00470035),
            (1.0, 17.0, 0.012796245493, 0.05076672),
            (2.0, 17.0, 0.0247664285, 0.03973741),
            (3.0, 17.0, 0.0361749155, 0.03167781),
            (6.0, 17.0, 0.0674347372, 0.01110355),
        ] {
            let shape = Shape::flipped(k1, m, 0);
            let point = BlockPoint::new(&shape, solve(&shape, &flipped_guess(&shape)).unwrap()).unwrap();
            assert!((point.loss - loss).abs() < 1e-10, "{k1} {m}: {}", point.loss);
            assert!((point.smallest().0 - value).abs() < 1e-8, "{k1} {m}: {:?}", point.smallest());
            assert!(point.residual < 1e-15 && point.verdict == Verdict::LocalMinimum);
        }
    }

    /// The derivative by M or by the size of a group is that of differences, at any point and at parallel units.
    #[test]
    fn derivatives_by_sizes_are_those_of_differences() {
        let graded = Shape { norm: 1.3, ..Shape::flipped(2.0, 9.5, 1) };
        let shared = Shape { matched: vec![0, 1, 1], teachers: vec![2.5, 1.6], ..Shape::flipped(2.0, 9.0, 2) };
        let across = Shape { across: true, ..Shape::flipped(3.0, 7.4, 1) };
        for shape in [Shape::flipped(1.0, 5.3, 0), Shape::flipped(2.0, 60.0, 0), graded, shared, across] {
            let sets = shape.coordinate_sets() + shape.free.len();
            let sizes = (0..sets).filter(|&set| set != shape.teachers.len() || !shape.across).map(Parameter::Size);
            for parameter in sizes.chain([Parameter::Teachers]) {
                // At sizes of 1 and 2 a number of coordinates leaves 0, and differences have to do.
                let mut shape = shape.along(parameter);
                if [1.0, 2.0].contains(&shape.value()) {
                    shape = shape.at(shape.value() + 0.4);
                }
                let (p, n) = (shape.value(), shape.dim());
                let entry = |i: usize| 0.4 * (1.3 * i as f64).sin() + if i.is_multiple_of(5) { 0.6 } else { 0.0 };
                let parallel =
                    |i: usize| f64::from(u8::from(shape.partition().unwrap().entries()[i].place == Place::Own));
                for entries in [(0..n).map(entry).collect::<Vec<_>>(), (0..n).map(parallel).collect()] {
                    let x = shape.unknowns(&entries).unwrap();
                    let (residual, wide) = shape.linearised(&x, p);
                    let (state, equations, work) = shape.evaluated(&x, p, true).unwrap();
                    assert!(
                        equations.gradient_by_sizes(state.partition(), &shape.size_rates().unwrap(), &work).is_some()
                    );
                    assert_eq!(residual, shape.residual(&x, p));
                    let expected = shape.by_parameter(&x, p);
                    let size = linalg::max_abs(&expected).max(1e-3);
                    for i in 0..n {
                        let error = (wide[[i, n]] - expected[i]).abs();
                        assert!(error < 1e-8 * size, "{parameter:?} {p} {i}: {} {}", wide[[i, n]], expected[i]);
                    }
                }
            }
        }
    }

    /// Every relabelling keeps the loss; two groups of two students can be renamed in eight ways.
    #[test]
    fn relabellings_keep_the_loss() {
        let shape = Shape { teachers: vec![2.0, 2.0, 3.0], matched: vec![0, 1, 2], ..Shape::flipped(0.0, 7.0, 2) };
        let entries: Vec<f64> = (0..shape.dim()).map(|i| (1.7 * i as f64).sin()).collect();
        let loss = block_risk(&shape.state(&entries).unwrap());
        let orders = shape.relabellings().unwrap();
        assert_eq!(orders.len(), 16);
        assert!(orders[0].iter().copied().eq(0..entries.len()));
        for order in orders {
            let image: Vec<f64> = order.iter().map(|&i| entries[i]).collect();
            assert!((block_risk(&shape.state(&image).unwrap()) / loss - 1.0).abs() < 1e-13);
        }
    }

    /// M L of the family with one flipped unit tends to 1/2 - 2/pi^2, corrections in powers of M^(-1/2).
    #[test]
    fn one_flipped_unit_at_a_hundred_million_teachers() {
        let scaled = |m: f64| {
            let shape = Shape::flipped(1.0, m, 0);
            m * block_risk(&solve(&shape, &flipped_guess(&shape)).unwrap())
        };
        let [a, b, c] = [1e6, 4e6, 1.6e7].map(scaled);
        // Removes M^(-1/2), then 1/M.
        let limit = (4.0 * (2.0 * c - b) - (2.0 * b - a)) / 3.0;
        let expected = 0.5 - 2.0 / (std::f64::consts::PI * std::f64::consts::PI);
        assert!((limit - expected).abs() < 1e-9, "{limit} {expected}");
    }
}
