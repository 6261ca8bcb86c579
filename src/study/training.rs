//! What the studies of training share: checks, times, the columns of overlaps.

use crate::dynamics::Outcome;
use crate::error::{Error, Result};
use crate::model::{Overlaps, Sgd, Teacher};
use crate::report::Value;

/// [`Error::Count`] for the first of these that is 0.
pub(super) fn at_least_one(action: &'static str, counts: &[(&'static str, usize)]) -> Result<()> {
    match counts.iter().find(|(_, value)| *value == 0) {
        Some(&(quantity, value)) => Err(Error::Count { action, quantity, value, needs: "at least 1".into() }),
        None => Ok(()),
    }
}

/// [`Error::Real`] unless the value is a positive number.
pub(super) fn positive(action: &'static str, quantity: &str, value: f64) -> Result<()> {
    if value > 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::Real { action, quantity: quantity.into(), value, needs: "a positive number" })
}

/// [`Error::Count`] for d < K + rank T, where the overlaps are not free and neither the equations nor the chain hold.
pub(super) fn spans(action: &'static str, dimension: usize, students: usize, teacher: &Teacher) -> Result<()> {
    let needed = students.saturating_add(teacher.rank());
    if dimension < needed {
        let needs = format!("at least {needed} (K + rank T: below it the overlaps are not free)");
        return Err(Error::Count { action, quantity: "dimension d", value: dimension, needs });
    }
    Ok(())
}

/// `points` evenly spaced times up to `end` and 0 before them, each a whole number of steps of 1/d, none twice.
pub(super) fn step_times(end: f64, points: usize, dimension: usize) -> Vec<f64> {
    let d = dimension as f64;
    let mut times: Vec<f64> = (0..=points).map(|i| (end * i as f64 / points as f64 * d).round() / d).collect();
    times.dedup();
    times
}

/// Names and meanings of the overlaps in the order of a packed state: Q_ij, i <= j, by rows, then R by rows.
pub(super) fn entries(students: usize, teachers: usize) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    for i in 1..=students {
        entries.extend((i..=students).map(|j| (format!("q_{i}_{j}"), format!("w_{i} . w_{j}"))));
    }
    for i in 1..=students {
        entries.extend((1..=teachers).map(|m| (format!("r_{i}_{m}"), format!("w_{i} . v_{m}"))));
    }
    entries
}

/// [`entries`] and the readouts behind them, where the rule trains them.
pub(super) fn state_entries(students: usize, teachers: usize, rule: &Sgd) -> Vec<(String, String)> {
    let mut entries = entries(students, teachers);
    if rule.trains_readouts() {
        entries.extend((1..=students).map(|i| (format!("a_{i}"), format!("readout of student {i}"))));
    }
    entries
}

/// The overlaps in the same order.
pub(super) fn packed(overlaps: &Overlaps) -> Vec<f64> {
    let k = overlaps.q().nrows();
    let mut x: Vec<f64> = (0..k).flat_map(|i| (i..k).map(move |j| (i, j))).map(|at| overlaps.q()[at]).collect();
    x.extend(overlaps.r());
    x
}

/// The outcome as a result of the report: null, or time and bound of the loss.
pub(super) fn divergence(outcome: Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Finished => serde_json::Value::Null,
        Outcome::Diverged { time, bound } => serde_json::json!({ "time": time, "loss_bound": bound }),
    }
}

/// What a reader should know of an outcome.
pub(super) fn divergence_note(outcome: Outcome) -> Option<String> {
    match outcome {
        Outcome::Finished => None,
        Outcome::Diverged { time, bound } => Some(format!(
            "The equations diverge: the loss passes {bound:.1e} at time {time:.4} and the table ends before it; take a smaller learning rate."
        )),
    }
}

/// A value after the end of a diverged trajectory.
pub(super) fn diverged_cell() -> Value {
    Value::Missing("diverged".into())
}
