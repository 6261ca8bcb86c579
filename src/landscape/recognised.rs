//! From a dense critical point, as a search finds it, to the family on whose branch it lies.

use super::Point;
use super::reduced::{Shape, solve};
use crate::error::{Error, Result};
use crate::model::{Blocks, Place, Teacher};
use crate::population::block_risk;

/// The groups of a point by its symmetry, with its state on them, solved again; the largest group of teachers comes last, so
/// that it grows with M. Orthonormal teacher.
///
/// # Errors
/// [`Error::Spec`] for another teacher, for erf, for equal students that stand to no group of teachers one-to-one, and when the
/// solution is not the point; those of the solver.
pub fn recognised(point: &Point, teacher: &Teacher) -> Result<(Shape, Blocks)> {
    let refuse = |problem: String| Error::Spec { action: "follow a stored point", problem };
    let Some(slope) = teacher.activation().negative_slope() else {
        return Err(refuse(format!(
            "the activation is {}, needs one that is linear on each side of 0",
            teacher.activation()
        )));
    };
    if !teacher.is_orthonormal() {
        return Err(refuse("the teacher is not orthonormal".into()));
    }
    let r = point.overlaps.r();
    let mut sets = point.canonical.teacher_cells.clone();
    sets.sort_by_key(Vec::len);
    // Students of each group, in the order of the teachers they stand to; matched groups by set, then the free ones.
    let mut matched: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    for cell in &point.canonical.student_cells {
        let own = |i: usize, set: &[usize]| {
            set.iter()
                .copied()
                .max_by(|&x, &y| (r[[i, x]] - mean(r, i, set)).abs().total_cmp(&(r[[i, y]] - mean(r, i, set)).abs()))
        };
        let fits = sets.iter().position(|set| {
            let mut teachers: Vec<usize> = cell.iter().filter_map(|&i| own(i, set)).collect();
            teachers.sort_unstable();
            teachers.dedup();
            set.len() == cell.len()
                && teachers.len() == cell.len()
                && (cell.len() > 1 || is_largest(r, cell[0], set[0]))
        });
        match fits {
            Some(set) => {
                let students =
                    sets[set].iter().filter_map(|&m| cell.iter().copied().find(|&i| own(i, &sets[set]) == Some(m)));
                matched.push((set, students.collect()));
            }
            None if cell.len() == 1 => free.push(cell[0]),
            None => {
                let problem = format!("{} equal students stand to no group of as many teachers", cell.len());
                return Err(refuse(problem));
            }
        }
    }
    matched.sort();
    let shape = Shape {
        teachers: sets.iter().map(|set| set.len() as f64).collect(),
        matched: matched.iter().map(|(set, _)| *set).collect(),
        free: vec![1.0; free.len()],
        slope,
        ..Shape::flipped(0.0, teacher.units() as f64, 0)
    };
    let groups: Vec<&[usize]> =
        matched.iter().map(|(_, students)| students.as_slice()).chain(free.iter().map(std::slice::from_ref)).collect();
    let entries: Vec<f64> = shape
        .partition()?
        .entries()
        .iter()
        .map(|entry| {
            let (i, set) = (groups[entry.group][0], &sets[entry.set]);
            r[[i, set[usize::from(entry.place == Place::Inside)]]]
        })
        .collect();
    let state = solve(&shape, &entries)?;
    let loss = block_risk(&state);
    if (loss - point.loss).abs() > 1e-10 {
        return Err(refuse(format!("its groups have a solution with loss {loss}, the point has {}", point.loss)));
    }
    Ok((shape, state))
}

fn mean(r: &ndarray::Array2<f64>, i: usize, set: &[usize]) -> f64 {
    if set.len() == 1 { 0.0 } else { set.iter().map(|&m| r[[i, m]]).sum::<f64>() / set.len() as f64 }
}

/// Whether a teacher has the largest overlap of a student, in size.
fn is_largest(r: &ndarray::Array2<f64>, i: usize, m: usize) -> bool {
    r.row(i).iter().all(|x| x.abs() <= r[[i, m]].abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::known;

    /// Dense points of families are recognised, whatever the order of their units.
    #[test]
    fn expanded_families_come_back() {
        let starts = [
            known::flipped(2.0, 9.0).unwrap(),
            known::block(6.0, 12.0, false).unwrap(),
            known::with_extra(3.0, 12.0).unwrap(),
            known::opposed(1.0, 9.0).unwrap(),
        ];
        for (shape, state) in starts {
            let (weights, teacher) = state.expand().unwrap();
            let mut rows = weights.rows().clone();
            // Another order of the students.
            let k = rows.nrows();
            for i in 0..k {
                rows.row_mut(i).assign(&weights.rows().row((i * 2 + 1) % k));
            }
            let order: std::collections::BTreeSet<usize> = (0..k).map(|i| (i * 2 + 1) % k).collect();
            let weights = if order.len() == k { weights.with_rows(rows) } else { weights };
            let point = Point::new(&weights, &teacher, 0).unwrap();
            let (found, again) = recognised(&point, &teacher).unwrap();
            assert_eq!(found.teachers.len(), shape.teachers.len());
            assert!((block_risk(&again) - block_risk(&state)).abs() < 1e-13);
        }
    }
}
