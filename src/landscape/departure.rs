//! Branches that leave a family where a symmetry breaks, in the space of states with less symmetry (theory 09, eq.
//! 09-switch).

use super::branch::{Crossing, Trace, trace_from};
use super::reduced::{Parameter, Shape};
use crate::error::{Error, Result};
use crate::model::{Blocks, Entry, Place};
use crate::numerics::follow::Options;
use crate::numerics::root::System;
use crate::numerics::{linalg, singular};
use crate::population::Sector;

const ACTION: &str = "leave a family";

/// Eigenvalues of the equations at an event count as zero up to this share of the largest.
const KERNEL: f64 = 1e-7;

/// Stands for the coarse set of the direction across the span, which has none.
const ACROSS: usize = usize::MAX;

/// An index set divided: the set and the sizes of its first parts. What is left is the last part.
pub type Division = (usize, Vec<f64>);

/// A family's shape with divided index sets, and where its groups come from.
#[derive(Clone, Debug)]
pub struct Refined {
    pub shape: Shape,
    /// For each index set, the set it is a part of; for each student group, the group.
    sets: Vec<usize>,
    groups: Vec<usize>,
}

impl Refined {
    /// Divides index sets; students matched to a set are divided with it. With `across` the students also get a coordinate
    /// across the span.
    ///
    /// # Errors
    /// [`Error::Real`] when a part would be smaller than 1; [`Error::Spec`] for a second direction across the span; those of
    /// [`Shape::partition`].
    pub fn new(shape: &Shape, divisions: &[Division], across: bool) -> Result<Refined> {
        if shape.across {
            let problem = "the family has a direction across the span already".into();
            return Err(Error::Spec { action: ACTION, problem });
        }
        let partition = shape.partition()?;
        let (mut sizes, mut sets) = (Vec::new(), Vec::new());
        for (set, &size) in partition.sizes().iter().enumerate() {
            let mut parts = divisions.iter().find(|division| division.0 == set).map_or(Vec::new(), |d| d.1.clone());
            parts.push(size - parts.iter().sum::<f64>());
            let least = parts.iter().copied().fold(f64::INFINITY, f64::min);
            if parts.len() > 1 && !(least >= 1.0) {
                return Err(Error::Real {
                    action: ACTION,
                    quantity: "the size of a part of a group".into(),
                    value: least,
                    needs: "a number of at least 1",
                });
            }
            sets.extend(vec![set; parts.len()]);
            sizes.extend(parts);
        }
        let coarse_teachers = shape.teachers.len();
        let teachers = sets.iter().filter(|&&set| set < coarse_teachers).count();
        // Groups with the coarse group they come from; free ones follow their sets.
        let (mut matched, mut groups) = (Vec::new(), Vec::new());
        for (group, &set) in shape.matched.iter().enumerate() {
            for part in (0..teachers).filter(|&part| sets[part] == set) {
                matched.push(part);
                groups.push(group);
            }
        }
        groups.extend(sets[teachers..].iter().map(|set| shape.matched.len() + set - coarse_teachers));
        let (teacher_sizes, free) = (sizes[..teachers].to_vec(), sizes[teachers..].to_vec());
        if across {
            sets.insert(teachers, ACROSS);
        }
        // A parameter that is the size of a divided set is that of its last part.
        let parameter = match shape.parameter {
            Parameter::Size(set) => Parameter::Size(sets.iter().rposition(|&from| from == set).unwrap_or(set)),
            other => other,
        };
        let shape = Shape { teachers: teacher_sizes, matched, free, across, parameter, ..shape.clone() };
        Ok(Refined { shape, sets, groups })
    }

    /// The same state in the divided groups.
    ///
    /// # Errors
    /// Those of [`Shape::state`].
    pub fn carried(&self, state: &Blocks) -> Result<Blocks> {
        let rows = state.rows();
        let entry = |e: &Entry| match self.sets[e.set] {
            ACROSS => 0.0,
            set => rows[[self.groups[e.group], set]][usize::from(e.place != Place::Own)],
        };
        let entries: Vec<f64> = self.shape.partition()?.entries().iter().map(entry).collect();
        self.shape.state(&entries)
    }

    /// Largest difference between a state with divided sets and its average over the undivided ones, which has no entries
    /// across the span.
    ///
    /// # Errors
    /// Those of [`Shape::entries`].
    pub fn asymmetry(&self, x: &[f64], p: f64) -> Result<f64> {
        let shape = self.shape.at(p);
        let (partition, values) = (shape.partition()?, shape.entries(x)?);
        let entries = partition.entries();
        let key = |e: &Entry| (self.groups[e.group], self.sets[e.set], e.place == Place::Own);
        let mut largest = 0.0f64;
        for (entry, value) in entries.iter().zip(&values) {
            let like = || entries.iter().zip(&values).filter(|(other, _)| key(other) == key(entry));
            let count: f64 = like().map(|(other, _)| other.count).sum();
            let mean = match self.sets[entry.set] {
                ACROSS => 0.0,
                _ => like().map(|(other, value)| other.count * value).sum::<f64>() / count,
            };
            largest = largest.max((value - mean).abs());
        }
        Ok(largest)
    }

    /// The order of the entries in which the first three parts of a set take each other's place in a cycle.
    fn cycle(&self, set: usize) -> Result<Vec<usize>> {
        let partition = self.shape.partition()?;
        let first = self.sets.iter().position(|&from| from == set).unwrap_or(0);
        let next = |part: usize| if (first..first + 3).contains(&part) { first + (part - first + 1) % 3 } else { part };
        let own = partition.student_sets();
        let image = |group: usize| {
            let (from, to) = (self.groups[group], next(own[group]));
            (0..own.len()).find(|&other| self.groups[other] == from && own[other] == to).unwrap_or(group)
        };
        let entries = partition.entries();
        let at = |e: &Entry| (image(e.group), next(e.set), e.place);
        let order = entries.iter().map(|e| entries.iter().position(|f| (f.group, f.set, f.place) == at(e)));
        Ok(order.map(|at| at.unwrap_or(0)).collect())
    }
}

/// A branch that leaves a family at an event.
#[derive(Clone, Debug)]
pub struct Departure {
    /// How index sets were divided; empty when the symmetry stays.
    pub divisions: Vec<Division>,
    /// Whether the weights leave span(V).
    pub across: bool,
    pub trace: Trace,
    /// Add this to a value of the trace's parameter to have the family's: not 0 when the size of a divided set is followed.
    pub offset: f64,
    /// Largest distance of the new branch from the symmetry of the old one, among its points.
    pub distance: f64,
}

/// Leaves a family at an event, in the simplest space of states with less symmetry in which the mode lives: one or two
/// sets divided in two, for an exterior sector three single units that follow each other in a cycle. `first` is the size
/// of the first part of a set divided in two (1 or more); `side` is +1 or -1 along the mode.
///
/// A mode across the span needs one more coordinate besides.
///
/// # Errors
/// [`Error::Spec`] when no different branch is found; those of the solver.
pub fn depart(shape: &Shape, event: &Crossing, first: f64, side: f64, options: &Options) -> Result<Departure> {
    let across = event.mode.across;
    let divisions: Vec<Division> = match event.mode.sector {
        Sector::Trivial => Vec::new(),
        Sector::Standard(t) => vec![(t, vec![first])],
        Sector::Symmetric(t) => vec![(t, vec![first.max(2.0)])],
        Sector::Product(t, u) => vec![(t, vec![first]), (u, vec![first])],
        Sector::Exterior(t) => vec![(t, vec![1.0; 3])],
    };
    let at = shape.at(event.p);
    let refined = Refined::new(&at, &divisions, across)?;
    let offset = event.p - refined.shape.value();
    // The old branch in the larger space: the event, and its tangent by differences.
    let carried = |h: f64| -> Result<Vec<f64>> {
        let moved: Vec<f64> = event.x.iter().zip(&event.tangent).map(|(x, t)| x + h * t).collect();
        let at = shape.at(event.p + h * event.tangent[event.x.len()]);
        let refined = Refined::new(&at, &divisions, across)?;
        let mut z = refined.shape.unknowns(&refined.carried(&at.state(&at.entries(&moved)?)?)?.entries())?;
        z.push(refined.shape.value());
        Ok(z)
    };
    let mut x = carried(0.0)?;
    let p = x.pop().unwrap_or(event.p);
    let old: Vec<f64> = carried(1e-5)?.iter().zip(carried(-1e-5)?).map(|(above, below)| above - below).collect();
    let direction = direction(&refined, event.mode.sector, &x, p)?;
    let limits = Options { range: (options.range.0 - offset, options.range.1 - offset), ..*options };
    let mut problem = None;
    for amplitude in [0.05, 0.02, 0.1, 0.005, 0.2] {
        let start = singular::switch(&refined.shape, &x, p, &direction, side * amplitude, Some(&old), &limits);
        match start.and_then(|start| trace_from(&refined.shape, &start, &limits)) {
            Ok(trace) => {
                let distances = trace.branch.points.iter().map(|point| refined.asymmetry(&point.x, point.p));
                let distance = distances.collect::<Result<Vec<f64>>>()?.into_iter().fold(0.0, f64::max);
                if (divisions.is_empty() && !across) || distance > 1e-3 {
                    return Ok(Departure { divisions, across, trace, offset, distance });
                }
            }
            Err(error) => problem = Some(error),
        }
    }
    Err(problem.unwrap_or_else(|| Error::Spec {
        action: ACTION,
        problem: format!("the branch that leaves at {} came back to the old symmetry", event.p),
    }))
}

/// The direction in which the branch leaves: the kernel of the equations, for an exterior sector the part of it that is
/// left by the cyclic exchange of three units.
fn direction(refined: &Refined, sector: Sector, x: &[f64], p: f64) -> Result<Vec<f64>> {
    let (values, vectors) = linalg::eigh(refined.shape.jacobian(x, p).view())?;
    let smallest = (0..values.len()).min_by(|&i, &j| values[i].abs().total_cmp(&values[j].abs())).unwrap_or(0);
    let Sector::Exterior(set) = sector else { return Ok(vectors.column(smallest).to_vec()) };
    let order = refined.cycle(set)?;
    let scale = values.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let mut best = vec![0.0; x.len()];
    for column in (0..values.len()).filter(|&i| values[i].abs() < KERNEL * scale) {
        let v = vectors.column(column);
        let turned = |i: usize| v[i] + v[order[i]] + v[order[order[i]]];
        let part: Vec<f64> = (0..x.len()).map(turned).collect();
        let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>();
        if length(&part) > length(&best) {
            best = part;
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::branch::{options, trace};
    use crate::landscape::known;
    use crate::numerics::root::newton;
    use crate::population::{block_risk, coefficients};

    fn threshold((shape, state): (Shape, Blocks), to: f64) -> (Shape, Crossing) {
        let from = shape.value();
        let mut limits = options((to.min(from), to.max(from)));
        if shape.parameter == Parameter::Correlation {
            (limits.step, limits.largest) = (0.002, 0.02);
        }
        let trace = trace(&shape, &state, to - from, &limits).unwrap();
        let event = trace.threshold().unwrap().clone();
        (trace.shape, event)
    }

    /// A divided state is the same state; the branch that leaves it at the threshold has less symmetry and solves its
    /// equations, on both sides.
    #[test]
    fn branches_leave_with_less_symmetry() {
        let (shape, event) = threshold(known::flipped(1.0, 8.0).unwrap(), 4.5);
        let at = shape.at(event.p);
        let coarse = at.state(&at.entries(&event.x).unwrap()).unwrap();
        let fine = Refined::new(&at, &[(1, vec![1.0])], false).unwrap().carried(&coarse).unwrap();
        assert!((block_risk(&fine) - block_risk(&coarse)).abs() < 1e-15);
        assert!((fine.partition().teacher_count() - event.p).abs() < 1e-12);
        let limits = Options { points: 40, ..options((4.0, 9.0)) };
        for side in [1.0, -1.0] {
            let departure = depart(&shape, &event, 1.0, side, &limits).unwrap();
            assert!(departure.distance > 0.02 && departure.offset.abs() < 1e-12, "{}", departure.distance);
            assert!(departure.trace.branch.points.iter().all(|point| point.residual < 1e-10));
            let first = &departure.trace.branch.points[0];
            assert!((first.p - event.p).abs() < 0.3, "{} {}", first.p, event.p);
        }
    }

    /// Where the size of a set is followed and that set divides, the size of its last part is followed instead.
    #[test]
    fn the_size_of_a_divided_set_is_that_of_its_last_part() {
        let (shape, state) = known::block(7.0, 17.0, false).unwrap();
        let (shape, event) = threshold((shape.along(Parameter::Size(0)), state), 5.0);
        assert!((event.p - 5.9981).abs() < 1e-3 && event.mode.sector == Sector::Standard(0), "{event:?}");
        let limits = Options { points: 20, ..options((5.0, 8.0)) };
        let departure = depart(&shape, &event, 1.0, 1.0, &limits).unwrap();
        assert!((departure.offset - 1.0).abs() < 1e-12 && departure.distance > 0.02);
        let points = &departure.trace.branch.points;
        assert!((points[0].p + departure.offset - event.p).abs() < 0.2, "{}", points[0].p);
        assert!(points.iter().all(|point| (5.0..8.0 + 1e-9).contains(&(point.p + departure.offset))));
    }

    /// Four flipped units beside an opposed one: at M = 5.4174 all weights leave the span together, and the branch that
    /// does, up to M = 9 and beyond, is a critical point of the full problem with one more dimension.
    #[test]
    fn branches_leave_the_span() {
        let (shape, state) = known::opposed(4.0, 17.0).unwrap();
        let traced = trace(&shape, &state, -1.0, &options((5.0, 60.0))).unwrap();
        let event = traced.crossings.iter().find(|event| event.mode.across).unwrap();
        assert!((event.p - 5.41743886897).abs() < 1e-9 && event.mode.sector == Sector::Trivial, "{event:?}");
        let limits = Options { points: 60, ..options((4.0, 9.0)) };
        let [one, other] = [1.0, -1.0].map(|side| depart(&traced.shape, event, 1.0, side, &limits).unwrap());
        assert!(one.across && one.divisions.is_empty() && one.distance > 0.02, "{}", one.distance);
        // Copies of each other, on one side of the event.
        for (a, b) in one.trace.branch.points.iter().zip(&other.trace.branch.points) {
            assert!((a.p - b.p).abs() < 1e-6 && a.residual < 1e-10, "{} {}", a.p, b.p);
        }
        let near =
            one.trace.branch.points.iter().min_by(|a, b| (a.p - 8.0).abs().total_cmp(&(b.p - 8.0).abs())).unwrap();
        let at = one.trace.shape.at(8.0);
        let found = newton(&at, &near.x, 8.0, 1e-13, 1e-14, 60).unwrap();
        let state = at.state(&at.entries(&found.x).unwrap()).unwrap();
        let (weights, teacher) = state.expand().unwrap();
        assert_eq!((weights.students(), teacher.readouts().sum()), (9, 8.0));
        let c = coefficients(&weights, &teacher, 0);
        let gradient = c.a.dot(weights.rows()) + c.b.dot(teacher.vectors());
        assert!(gradient.iter().all(|g| g.abs() < 1e-12), "{gradient}");
        let across = weights.rows().column(8);
        assert!(across.iter().all(|z| z.abs() > 1e-4), "{across}");
    }

    /// The minimum with a block of eight loses stability in an exterior sector when the teachers correlate. What leaves
    /// keeps a cyclic symmetry only, and is a critical point of the full problem.
    #[test]
    fn branches_leave_exterior_sectors_with_a_cyclic_symmetry() {
        let (shape, state) = known::block(8.0, 17.0, false).unwrap();
        let (shape, event) = threshold((shape.along(Parameter::Correlation), state), 0.2);
        assert!(event.mode.sector == Sector::Exterior(0) && (event.p - 0.09491445896).abs() < 1e-9, "{event:?}");
        let mut limits = Options { points: 10, ..options((0.0, 0.3)) };
        (limits.step, limits.largest) = (0.002, 0.02);
        let departure = depart(&shape, &event, 1.0, 1.0, &limits).unwrap();
        assert_eq!(departure.divisions, [(0, vec![1.0; 3])]);
        assert!(departure.distance > 0.02, "{}", departure.distance);
        let point = departure.trace.branch.points.last().unwrap();
        let state = departure.trace.state(&point.x, point.p).unwrap();
        let rows = state.rows();
        // w_1 on v_2, w_2 on v_3, w_3 on v_1 agree, and differ from the opposite ones.
        let (forth, back) = ([[0, 1], [1, 2], [2, 0]], [[1, 0], [2, 1], [0, 2]]);
        for way in [forth, back] {
            assert!(way.iter().all(|&at| (rows[at][0] - rows[way[0]][0]).abs() < 1e-9), "{way:?}");
        }
        assert!((rows[forth[0]][0] - rows[back[0]][0]).abs() > 0.02);
        let (weights, teacher) = state.expand().unwrap();
        let c = coefficients(&weights, &teacher, 0);
        let mut gradient = c.a.dot(weights.rows());
        let rank = teacher.rank();
        let mut part = gradient.slice_mut(ndarray::s![.., ..rank]);
        part += &c.b.dot(teacher.vectors());
        assert!(gradient.iter().all(|g| g.abs() < 1e-10), "{gradient}");
    }
}
