//! Branches that leave a family where a symmetry breaks, in the space of states with less symmetry (theory 09, eq.
//! 09-switch).

use super::branch::{Crossing, Trace, trace_from};
use super::reduced::{Parameter, Shape};
use crate::error::{Error, Result};
use crate::model::{Blocks, Place};
use crate::numerics::follow::Options;
use crate::numerics::root::System;
use crate::numerics::{linalg, singular};
use crate::population::Sector;

const ACTION: &str = "leave a family";

/// Divides index sets in two, the first part of the given size, and carries the state over: the same point in the larger
/// space of states with less symmetry. Students matched to a set are divided with it.
///
/// # Errors
/// [`Error::Real`] when a part would be smaller than 1; those of [`Shape::state`].
pub fn refined(shape: &Shape, state: &Blocks, parts: &[(usize, f64)]) -> Result<(Shape, Blocks)> {
    let part = |set: usize| parts.iter().find(|part| part.0 == set).map(|part| part.1);
    let sizes = state.partition().sizes();
    let mut fine_sizes = Vec::new();
    // For each fine set: the coarse set it comes from.
    let mut origin = Vec::new();
    for (set, &size) in sizes.iter().enumerate() {
        match part(set) {
            Some(first) if first >= 1.0 && size - first >= 1.0 => {
                fine_sizes.extend([first, size - first]);
                origin.extend([set; 2]);
            }
            Some(first) => {
                return Err(Error::Real {
                    action: ACTION,
                    quantity: "the size of a part of a group".into(),
                    value: first.min(size - first),
                    needs: "a number of at least 1",
                });
            }
            None => {
                fine_sizes.push(size);
                origin.push(set);
            }
        }
    }
    let coarse_teachers = shape.teachers.len();
    let fine_teachers = origin.iter().filter(|&&set| set < coarse_teachers).count();
    // Student groups with the coarse group they come from; free ones follow their sets.
    let mut matched = Vec::new();
    let mut from = Vec::new();
    for (group, &set) in shape.matched.iter().enumerate() {
        for fine in (0..fine_teachers).filter(|&fine| origin[fine] == set) {
            matched.push(fine);
            from.push(group);
        }
    }
    for fine in fine_teachers..origin.len() {
        from.push(shape.matched.len() + origin[fine] - coarse_teachers);
    }
    let fine = Shape {
        teachers: fine_sizes[..fine_teachers].to_vec(),
        matched,
        free: fine_sizes[fine_teachers..].to_vec(),
        parameter: match shape.parameter {
            Parameter::Size(set) => Parameter::Size(origin.iter().rposition(|&from| from == set).unwrap_or(set)),
            other => other,
        },
        ..shape.clone()
    };
    let rows = state.rows();
    let entries: Vec<f64> = fine
        .partition()?
        .entries()
        .iter()
        .map(|entry| rows[[from[entry.group], origin[entry.set]]][usize::from(entry.place != Place::Own)])
        .collect();
    let carried = fine.state(&entries)?;
    Ok((fine, carried))
}

/// A branch that leaves a family at an event.
#[derive(Clone, Debug)]
pub struct Departure {
    /// Parts into which sets were divided: (set, size of the first part).
    pub parts: Vec<(usize, f64)>,
    pub trace: Trace,
    /// Largest distance of the new branch from the symmetry of the old one, among its points.
    pub distance: f64,
}

/// Leaves a family at an event, in the simplest space of states with less symmetry in which the mode lives: one or two
/// sets divided. `first` is the size of the first part of a divided set (1 or more); `side` is +1 or -1 along the mode.
///
/// # Errors
/// [`Error::Spec`] for modes whose space is not block-symmetric (exterior sectors, modes across the span); those of the
/// solver when no different branch is found.
pub fn depart(shape: &Shape, event: &Crossing, first: f64, side: f64, options: &Options) -> Result<Departure> {
    let parts = match event.mode.sector {
        _ if event.mode.across => Vec::new(),
        Sector::Trivial => return depart_within(shape, event, side, options),
        Sector::Standard(t) => vec![(t, first)],
        Sector::Symmetric(t) => vec![(t, first.max(2.0))],
        Sector::Product(t, u) => vec![(t, first), (u, first)],
        Sector::Exterior(_) => Vec::new(),
    };
    if parts.is_empty() {
        let problem = format!("the branches that leave in the sector {} are not block-symmetric", event.mode.name());
        return Err(Error::Spec { action: ACTION, problem });
    }
    // The old branch in the larger space: the event, and its tangent by differences.
    let carried = |h: f64| -> Result<(Shape, Vec<f64>)> {
        let moved: Vec<f64> = event.x.iter().zip(&event.tangent).map(|(x, t)| x + h * t).collect();
        let at = shape.at(event.p + h * event.tangent[event.x.len()]);
        let (fine, state) = refined(&at, &at.state(&at.entries(&moved)?)?, &parts)?;
        let mut z = fine.unknowns(&state.entries())?;
        z.push(at.value());
        Ok((fine, z))
    };
    let (fine, mut x) = carried(0.0)?;
    x.pop();
    let old: Vec<f64> = carried(1e-5)?.1.iter().zip(carried(-1e-5)?.1).map(|(above, below)| above - below).collect();
    let jacobian = fine.jacobian(&x, event.p);
    let (values, vectors) = linalg::eigh(jacobian.view())?;
    let smallest = (0..values.len()).min_by(|&i, &j| values[i].abs().total_cmp(&values[j].abs())).unwrap_or(0);
    let direction: Vec<f64> = vectors.column(smallest).to_vec();
    let mut problem = None;
    for amplitude in [0.05, 0.02, 0.1, 0.005, 0.2] {
        let start = singular::switch(&fine, &x, event.p, &direction, side * amplitude, Some(&old), options);
        match start.and_then(|start| trace_from(&fine, &start, options)) {
            Ok(trace) => {
                let distance = trace
                    .branch
                    .points
                    .iter()
                    .map(|point| asymmetry(&fine, &parts, &point.x, point.p))
                    .collect::<Result<Vec<f64>>>()?
                    .into_iter()
                    .fold(0.0, f64::max);
                if distance > 1e-3 {
                    return Ok(Departure { parts, trace, distance });
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

/// The other branch of the same symmetry through an event.
fn depart_within(shape: &Shape, event: &Crossing, side: f64, options: &Options) -> Result<Departure> {
    let (values, vectors) = linalg::eigh(shape.jacobian(&event.x, event.p).view())?;
    let smallest = (0..values.len()).min_by(|&i, &j| values[i].abs().total_cmp(&values[j].abs())).unwrap_or(0);
    let direction: Vec<f64> = vectors.column(smallest).to_vec();
    let old = Some(event.tangent.as_slice());
    let start = singular::switch(shape, &event.x, event.p, &direction, side * 0.05, old, options)?;
    let trace = trace_from(shape, &start, options)?;
    Ok(Departure { parts: Vec::new(), trace, distance: 0.0 })
}

/// Largest difference between a state with divided sets and its average over the undivided ones.
fn asymmetry(fine: &Shape, parts: &[(usize, f64)], x: &[f64], p: f64) -> Result<f64> {
    let fine = fine.at(p);
    let state = fine.state(&fine.entries(x)?)?;
    let mut largest = 0.0f64;
    for &(set, _) in parts {
        // The two parts follow each other; groups matched to them, and every group's entries on them, are compared.
        let shift = parts.iter().filter(|part| part.0 < set).count();
        let (a, b) = (set + shift, set + shift + 1);
        let rows = state.rows();
        for g in 0..fine.matched.len() + fine.free.len() {
            let own = state.partition().student_sets()[g];
            if own != a && own != b && b < fine.teachers.len() {
                largest = largest.max((rows[[g, a]][1] - rows[[g, b]][1]).abs());
            }
        }
        let groups = |set: usize| -> Vec<usize> {
            (0..state.partition().student_sets().len())
                .filter(|&g| state.partition().student_sets()[g] == set)
                .collect()
        };
        for (g, h) in groups(a).into_iter().zip(groups(b)) {
            let own =
                |g: usize, set: usize| if set < fine.teachers.len() { rows[[g, set]][0] } else { rows[[g, 0]][1] };
            largest = largest.max((own(g, a) - own(h, b)).abs());
        }
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::branch::{options, trace};
    use crate::landscape::reduced::{flipped_guess, solve};

    fn flipped(k1: f64, m: f64, to: f64) -> Trace {
        let shape = Shape::flipped(k1, m, 0);
        let state = solve(&shape, &flipped_guess(&shape)).unwrap();
        trace(&shape, &state, (to - m).signum(), &options((to.min(m), to.max(m)))).unwrap()
    }

    /// A divided state is the same state; the branch that leaves it at the threshold has less symmetry and solves its
    /// equations, on both sides.
    #[test]
    fn branches_leave_with_less_symmetry() {
        let trace = flipped(1.0, 8.0, 4.5);
        let event = trace.threshold().unwrap();
        let at = trace.shape.at(event.p);
        let coarse = at.state(&at.entries(&event.x).unwrap()).unwrap();
        let (_, fine) = refined(&at, &coarse, &[(1, 1.0)]).unwrap();
        let loss = crate::population::block_risk;
        assert!((loss(&fine) - loss(&coarse)).abs() < 1e-15);
        assert!((fine.partition().teacher_count() - event.p).abs() < 1e-12);
        let limits = Options { points: 40, ..options((4.0, 9.0)) };
        for side in [1.0, -1.0] {
            let departure = depart(&trace.shape, event, 1.0, side, &limits).unwrap();
            assert!(departure.distance > 0.02, "{}", departure.distance);
            assert!(departure.trace.branch.points.iter().all(|point| point.residual < 1e-10));
            let first = &departure.trace.branch.points[0];
            assert!((first.p - event.p).abs() < 0.3, "{} {}", first.p, event.p);
        }
    }
}
