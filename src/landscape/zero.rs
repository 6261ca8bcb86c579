//! Exact zeros of the loss: every student a non-negative multiple of one teacher, multiples summing to the teacher.
//!
//! For linear networks any weights with sum a w = sum b v. Leaky ReLU has the zeros of ReLU when its slope is not -1 (theory
//! 11, eq. 11-zeros); for erf none need construction, students stand alone on their teachers.
//!
//! With more students than teachers these zeros lie in a cubic valley that gradient flow descends algebraically
//! (L ~ t^-3) and Newton cannot finish (theory 04, eq. 04-valley): the end is constructed instead.

use ndarray::Array2;

use crate::model::{Activation, Teacher, Weights};
use crate::population::risk;

/// A zero further away than this, relative to the norm of all weights, is not near.
const FAR: f64 = 0.1;

/// Points on the segment at which the loss must have fallen.
const SAMPLES: usize = 8;

/// The nearest exact zero and its Euclidean distance, if it is within 10 % of the weights' norm and the loss falls
/// monotonically on the straight way. `None` otherwise; also when a teacher would be left without students, and for erf
/// and leaky ReLU of slope -1.
pub fn nearest_zero(weights: &Weights, teacher: &Teacher, task: usize) -> Option<(Weights, f64)> {
    let rows = weights.rows();
    let (k, d) = rows.dim();
    let zero = match teacher.activation() {
        Activation::Erf | Activation::LeakyRelu { slope: -1.0 } => return None,
        Activation::Linear => nearest_linear_zero(weights, teacher, task)?,
        _ => nearest_split(weights, teacher, task)?,
    };
    let distance = (rows - &zero).iter().map(|x| x * x).sum::<f64>().sqrt();
    if distance > FAR * rows.iter().map(|x| x * x).sum::<f64>().sqrt() {
        return None;
    }
    let loss_at = |t: f64| {
        let rows = Array2::from_shape_fn((k, d), |(i, c)| (1.0 - t) * rows[[i, c]] + t * zero[[i, c]]);
        risk(&weights.with_rows(rows), teacher, task)
    };
    let mut last = loss_at(0.0);
    for sample in 1..=SAMPLES {
        let next = loss_at(sample as f64 / SAMPLES as f64);
        if next > last + 1e-15 {
            return None;
        }
        last = next;
    }
    Some((weights.with_rows(zero), distance))
}

/// The nearest weights with sum a w = sum b v.
fn nearest_linear_zero(weights: &Weights, teacher: &Teacher, task: usize) -> Option<Array2<f64>> {
    let (a, b) = (weights.readouts().row(task), teacher.readouts().row(task));
    let squares = a.dot(&a);
    let mut zero = weights.rows().clone();
    // The second shift removes what rounding of the first has left.
    for _ in 0..2 {
        let mut rest = -a.dot(&zero);
        let target = b.dot(teacher.vectors());
        rest.iter_mut().zip(&target).for_each(|(rest, target)| *rest += target);
        for (mut row, &a) in zero.outer_iter_mut().zip(a) {
            row.scaled_add(a / squares, &rest);
        }
    }
    (squares > 0.0).then_some(zero)
}

/// Every student on the teacher it is nearest to.
fn nearest_split(weights: &Weights, teacher: &Teacher, task: usize) -> Option<Array2<f64>> {
    let rows = weights.rows();
    let (k, d) = rows.dim();
    let a = weights.readouts().row(task);
    let rays = rays(teacher, task)?;
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); rays.len()];
    for i in 0..k {
        let lengths = rays.iter().map(|ray| along(rows, i, &ray.direction) * a[i] * ray.strength.signum());
        let (best, _) = lengths.enumerate().max_by(|x, y| x.1.total_cmp(&y.1))?;
        members[best].push(i);
    }
    let mut zero = Array2::<f64>::zeros((k, d));
    for (ray, students) in rays.iter().zip(&members) {
        let multiples = multiples(ray.strength, students, &a.to_vec(), |i| along(rows, i, &ray.direction))?;
        for (&i, c) in students.iter().zip(multiples) {
            for (slot, x) in zero.row_mut(i).iter_mut().zip(&ray.direction) {
                *slot = c * x;
            }
        }
    }
    Some(zero)
}

fn along(rows: &Array2<f64>, i: usize, direction: &[f64]) -> f64 {
    rows.row(i).iter().zip(direction).map(|(w, v)| w * v).sum()
}

/// A direction of the teacher with the summed b |v| of its (parallel) units.
struct Ray {
    direction: Vec<f64>,
    strength: f64,
}

/// Distinct directions of the teacher; `None` when a direction carries strengths of both signs.
fn rays(teacher: &Teacher, task: usize) -> Option<Vec<Ray>> {
    let mut rays: Vec<Ray> = Vec::new();
    for (v, &b) in teacher.vectors().outer_iter().zip(teacher.readouts().row(task)) {
        let norm = v.dot(&v).sqrt();
        let direction: Vec<f64> = v.iter().map(|x| x / norm).collect();
        let strength = b * norm;
        match rays.iter_mut().find(|ray| ray.direction.iter().zip(&direction).all(|(x, y)| (x - y).abs() < 1e-12)) {
            Some(ray) if (ray.strength > 0.0) == (strength > 0.0) => ray.strength += strength,
            Some(_) => return None,
            None => rays.push(Ray { direction, strength }),
        }
    }
    Some(rays)
}

/// Lengths c_i >= 0 with sum a_i c_i = strength, nearest to the given ones; `None` when no student can carry it.
fn multiples(strength: f64, students: &[usize], a: &[f64], length: impl Fn(usize) -> f64) -> Option<Vec<f64>> {
    let mut free: Vec<usize> = students.iter().copied().filter(|&i| a[i] * strength > 0.0).collect();
    if free.is_empty() {
        return None;
    }
    loop {
        let total: f64 = free.iter().map(|&i| a[i] * length(i)).sum();
        let squares: f64 = free.iter().map(|&i| a[i] * a[i]).sum();
        let shift = (strength - total) / squares;
        let before = free.len();
        let kept: Vec<usize> = free.iter().copied().filter(|&i| length(i) + a[i] * shift > 0.0).collect();
        if kept.is_empty() {
            return None;
        }
        if kept.len() < before {
            free = kept;
            continue;
        }
        // The last one takes the rest, so that the sum is exact to rounding.
        let mut rest = strength;
        let mut found = vec![0.0; students.len()];
        for (position, &i) in free.iter().enumerate() {
            let c = if position + 1 == free.len() { rest / a[i] } else { length(i) + a[i] * shift };
            rest -= a[i] * c;
            let slot = students.iter().position(|&s| s == i)?;
            found[slot] = c;
        }
        return Some(found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::risk_exact;
    use ndarray::array;

    #[test]
    fn split_units_are_put_on_their_teacher() {
        let teacher = Teacher::graded(2, 0.5).unwrap();
        let rows = array![[0.6, 0.02, 0.01], [0.45, -0.03, -0.01], [0.01, 0.52, 0.0]];
        let weights = Weights::new(rows, None, &teacher).unwrap();
        let (zero, distance) = nearest_zero(&weights, &teacher, 0).unwrap();
        assert!(risk_exact(&zero, &teacher, 0) < 1e-31);
        assert!(distance < 0.1 && zero.rows()[[2, 1]] == 0.5);
        assert!((zero.rows()[[0, 0]] - 0.575).abs() < 1e-12);
    }

    #[test]
    fn far_states_and_missing_students_give_none() {
        let teacher = Teacher::orthonormal(2).unwrap();
        let far = Weights::new(array![[1.0, 1.0], [0.0, 1.0]], None, &teacher).unwrap();
        assert!(nearest_zero(&far, &teacher, 0).is_none());
        let missing = Weights::new(array![[0.5, 0.0], [0.5, 0.0]], None, &teacher).unwrap();
        assert!(nearest_zero(&missing, &teacher, 0).is_none());
    }
}
