//! Up to which learning rate SGD stays at the local minima with flipped units.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::training::at_least_one;
use crate::dynamics::{far_threshold, orthonormal_threshold};
use crate::error::{Error, Result};
use crate::landscape::noisy::{Followed, follow_minimum};
use crate::landscape::reduced::{BlockPoint, Shape, flipped_guess, solve};
use crate::landscape::stability::Verdict;
use crate::model::{Blocks, Sgd};
use crate::report::{Report, Table, Value};

/// Which minima.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// K = M orthonormal teachers.
    pub teachers: usize,
    /// Numbers k1 of flipped units. Empty: all that have a local minimum.
    pub flipped: Vec<usize>,
    pub batch: usize,
    /// Standard deviation of the noise on the labels.
    pub label_noise: f64,
    pub weight_decay: f64,
    /// Largest learning rate; 0: twice the local threshold.
    pub max_rate: f64,
    /// Find each limit a second time from the dense equations: seconds at M = 8, minutes at M = 12.
    pub dense_check: bool,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        LimitsSpec {
            teachers: 8,
            flipped: Vec::new(),
            batch: 1,
            label_noise: 0.0,
            weight_decay: 0.0,
            max_rate: 0.0,
            dense_check: false,
        }
    }
}

const ACTION: &str = "find the limits of the minima";
/// Reach of the dense check in units of the local threshold, and its final width. A reach of 0.005 lets Newton's method
/// leave the branch at K = M = 12, k1 = 4.
const REACH: f64 = 0.0005;
const CLOSE: f64 = 1e-6;

/// Table `limits`, one row for each k1: the learning rate at which the fixed point that is a minimum at 0 ceases to exist or
/// to be stable, and how; table `branches`: loss and leading eigenvalue on the way. Results `local_threshold` (of the
/// global minimum, without label noise and decay) and `far_threshold`.
///
/// # Errors
/// [`Error::Count`], [`Error::Real`] for numbers out of range. A minimum that cannot be followed is
/// a row with its reason.
pub fn learning_rate_limits(spec: &LimitsSpec) -> Result<Report> {
    at_least_one(ACTION, &[("the batch size", spec.batch)])?;
    let m = spec.teachers;
    if m < 2 {
        return Err(Error::Count { action: ACTION, quantity: "teachers M", value: m, needs: "at least 2".into() });
    }
    if let Some(&k1) = spec.flipped.iter().find(|&&k1| k1 == 0 || k1 >= m) {
        let needs =
            format!("at least 1 and below M = {m} (the exact solution, k1 = 0, has its limit in `local_threshold`)");
        return Err(Error::Count { action: ACTION, quantity: "flipped units k1", value: k1, needs });
    }
    if !(spec.max_rate >= 0.0 && spec.max_rate.is_finite()) {
        return Err(Error::Real {
            action: ACTION,
            quantity: "the largest learning rate".into(),
            value: spec.max_rate,
            needs: "a number above 0, or 0 for twice the local threshold",
        });
    }
    let rule =
        Sgd { batch: spec.batch, label_noise: spec.label_noise, weight_decay: spec.weight_decay, ..Sgd::default() }
            .checked()?;
    let local = orthonormal_threshold(m, spec.batch);
    let largest = if spec.max_rate > 0.0 { spec.max_rate } else { 2.0 * local };
    let asked: Vec<usize> = if spec.flipped.is_empty() { (1..m).collect() } else { spec.flipped.clone() };
    let found: Vec<Result<Followed>> = asked.par_iter().map(|&k1| follow(k1, m, rule, largest)).collect();
    let mut limits = Table::new(
        "limits",
        &[
            ("k1", "", "flipped units of the minimum"),
            ("learning_rate", "", "learning rate at which the fixed point ceases to exist or to be stable"),
            ("kind", "", "fold: it ceases to exist; real eigenvalue or Hopf: it ceases to be stable"),
            ("sector", "", "symmetry of the perturbation that grows there; set 1: flipped units, set 2: the others"),
            ("multiplicity", "", "dimension of that sector"),
            ("loss_at_zero", "", "population loss of the minimum"),
            ("loss", "", "population loss of the fixed point at the limit"),
            ("frequency", "per unit of t = steps / d", "at a Hopf point"),
            ("eigenvalue", "per unit of t = steps / d", "leading eigenvalue at 0.9 times the limit, real part"),
            ("ratio", "", "learning rate / local threshold of the exact solution"),
            ("direct_difference", "", "learning rate minus that of the equations of the singular point"),
            ("dense_difference", "", "learning rate minus that of the dense equations, bisected to 1e-6"),
        ],
    );
    let mut branches = Table::new(
        "branches",
        &[
            ("k1", "", "flipped units"),
            ("learning_rate", "", "learning rate eta"),
            ("loss", "", "population loss of the fixed point"),
            ("eigenvalue", "per unit of t = steps / d", "leading eigenvalue of all sectors, real part"),
            ("imaginary", "per unit of t = steps / d", "its imaginary part"),
            ("sector", "", "its sector"),
        ],
    );
    let mut report = Report::new("limits", spec, None);
    for (&k1, followed) in asked.iter().zip(&found) {
        match followed {
            Ok(followed) => {
                limits.push(row(k1, followed, local, spec.dense_check)?);
                for point in &followed.branch.points {
                    let settled = followed.settled(&point.x, point.p)?;
                    branches.push(vec![
                        k1.into(),
                        settled.learning_rate.into(),
                        settled.loss.into(),
                        Value::real(settled.leading[0]),
                        Value::real(settled.leading[1]),
                        settled.sector.name().into(),
                    ]);
                }
            }
            Err(_) if spec.flipped.is_empty() => {}
            Err(error) => {
                let mut row: Vec<Value> = vec![k1.into()];
                row.resize_with(limits.columns.len(), || Value::Missing(error.to_string()));
                limits.push(row);
                report.notes.push(format!("k1 = {k1}: {error}."));
            }
        }
    }
    report.results.insert("local_threshold".into(), local.into());
    report.results.insert("far_threshold".into(), far_threshold(&vec![1.0; m], spec.batch).into());
    report
        .notes
        .push(format!("The exact solution loses stability at learning rate {local:.6} (no label noise, no decay)."));
    report.results.insert("limits".into(), limits.to_json());
    report.tables.extend([limits, branches]);
    Ok(report)
}

/// The minimum with k1 flipped units, followed.
fn follow(k1: usize, m: usize, rule: Sgd, largest: f64) -> Result<Followed> {
    follow_minimum(&minimum(k1 as f64, m as f64)?, rule, largest)
}

/// The minimum of the loss with k1 of M units flipped; sizes may be real.
///
/// # Errors
/// [`Error::Spec`] when there is none; those of the solver.
pub(super) fn minimum(k1: f64, m: f64) -> Result<Blocks> {
    let shape = Shape::flipped(k1, m, 0);
    let point = BlockPoint::new(&shape, solve(&shape, &flipped_guess(&shape))?)?;
    // Newton's method may end in another family: there the flipped units hardly see the other teachers, or all are flipped.
    let rows = point.state.rows();
    let is_flipped = rows[[0, 0]][0] < 0.0 && rows[[0, 1]][1] > 0.3 / m && rows[[1, 1]][0] > 0.5;
    if !is_flipped || point.verdict != Verdict::LocalMinimum {
        let problem = format!("no local minimum with {k1} of {m} units flipped was found at learning rate 0");
        return Err(Error::Spec { action: ACTION, problem });
    }
    Ok(point.state)
}

fn row(k1: usize, followed: &Followed, local: f64, dense_check: bool) -> Result<Vec<Value>> {
    let missing = |reason: &str| Value::Missing(reason.into());
    let start = &followed.branch.points[0];
    let zero: Value = followed.system.risk(&start.x).into();
    let Some(limit) = &followed.limit else {
        let reason = format!("stable as far as followed: {}", followed.branch.end);
        let mut row: Vec<Value> = vec![k1.into()];
        row.extend((0..11).map(|_| missing(&reason)));
        row[5] = zero;
        return Ok(row);
    };
    let near = 0.9 * limit.learning_rate;
    let eigenvalue = match followed.at(near) {
        Ok(x) => Value::real(followed.settled(&x, near)?.leading[0]),
        Err(error) => missing(&error.to_string()),
    };
    let dense = match dense_check.then(|| followed.dense_limit(REACH * local, CLOSE)) {
        None => missing("no dense check asked for"),
        Some(Ok(Some(rate))) => (limit.learning_rate - rate).into(),
        Some(Ok(None)) => missing("no limit"),
        Some(Err(error)) => missing(&error.to_string()),
    };
    Ok(vec![
        k1.into(),
        limit.learning_rate.into(),
        limit.kind.name().into(),
        limit.sector.name().into(),
        limit.multiplicity.into(),
        zero,
        limit.loss.into(),
        limit.frequency.into(),
        eigenvalue,
        (limit.learning_rate / local).into(),
        limit.direct.map_or_else(|| missing("did not converge"), |found| (limit.learning_rate - found.0).into()),
        dense,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_lie_below_the_local_threshold() {
        let spec = LimitsSpec { flipped: vec![1, 2, 5], ..LimitsSpec::default() };
        let report = learning_rate_limits(&spec).unwrap();
        let table = report.table("limits").unwrap();
        let rates = table.numbers("learning_rate");
        assert!((rates[0].unwrap() - 0.4225110).abs() < 1e-7 && (rates[1].unwrap() - 0.4165144).abs() < 1e-7);
        assert!(rates[2].is_none() && report.notes.len() == 2, "{:?}", report.notes);
        assert_eq!(table.texts("kind")[..2], ["fold", "real eigenvalue"]);
        assert!(table.numbers("ratio")[..2].iter().all(|ratio| ratio.unwrap() < 1.0));
        // All of them: those without a minimum have no row.
        let all = learning_rate_limits(&LimitsSpec::default()).unwrap();
        assert_eq!(all.table("limits").unwrap().rows.len(), 2);
        assert!(learning_rate_limits(&LimitsSpec { flipped: vec![0], ..LimitsSpec::default() }).is_err());
    }
}
