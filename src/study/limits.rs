//! Up to which learning rate SGD stays at the local minima with flipped units.

use std::str::FromStr;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::training::at_least_one;
use crate::dynamics::{BlockParameter, far_threshold, orthonormal_threshold};
use crate::error::{Error, Result};
use crate::landscape::noisy::{Followed, follow_disturbed};
use crate::landscape::reduced::{BlockPoint, Shape, flipped_guess, solve};
use crate::landscape::stability::Verdict;
use crate::model::{Blocks, Sgd};
use crate::report::{Report, Table, Value};

/// The parameter of SGD that is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SgdParameter {
    #[default]
    LearningRate,
    LabelNoise,
    WeightDecay,
}

impl SgdParameter {
    /// Name of its column.
    fn column(self) -> &'static str {
        match self {
            SgdParameter::LearningRate => "learning_rate",
            SgdParameter::LabelNoise => "label_noise",
            SgdParameter::WeightDecay => "weight_decay",
        }
    }

    fn parameter(self) -> BlockParameter {
        match self {
            SgdParameter::LearningRate => BlockParameter::LearningRate,
            SgdParameter::LabelNoise => BlockParameter::LabelNoise,
            SgdParameter::WeightDecay => BlockParameter::WeightDecay,
        }
    }
}

impl FromStr for SgdParameter {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<SgdParameter, String> {
        match text {
            "learning-rate" => Ok(SgdParameter::LearningRate),
            "label-noise" => Ok(SgdParameter::LabelNoise),
            "weight-decay" => Ok(SgdParameter::WeightDecay),
            _ => Err(format!("'{text}' is not known, needs learning-rate, label-noise or weight-decay")),
        }
    }
}

/// Which minima.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// K = M orthonormal teachers.
    pub teachers: usize,
    /// Numbers k1 of flipped units. Empty: all that have a local minimum.
    pub flipped: Vec<usize>,
    /// What is followed upward from 0.
    pub along: SgdParameter,
    /// Learning rate while another parameter is followed; 0: half the local threshold.
    pub learning_rate: f64,
    pub batch: usize,
    /// Standard deviation of the noise on the labels.
    pub label_noise: f64,
    pub weight_decay: f64,
    /// Largest value of what is followed; 0: twice the local threshold, label noise 3, weight decay 1.
    pub max_rate: f64,
    /// Find each limit a second time from the dense equations: seconds at M = 8, minutes at M = 12.
    pub dense_check: bool,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        LimitsSpec {
            teachers: 8,
            flipped: Vec::new(),
            along: SgdParameter::default(),
            learning_rate: 0.0,
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

/// Table `limits`, one row for each k1: the learning rate (or label noise, weight decay) at which the fixed point that is a
/// minimum at learning rate 0 ceases to exist or to be stable, and how; table `branches`: loss and leading eigenvalue on the way. Results `local_threshold` (of the
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
    for (quantity, value) in [("the largest value", spec.max_rate), ("the learning rate", spec.learning_rate)] {
        if !(value >= 0.0 && value.is_finite()) {
            let needs = "a number above 0, or 0 for the default";
            return Err(Error::Real { action: ACTION, quantity: quantity.into(), value, needs });
        }
    }
    if spec.dense_check && spec.along != SgdParameter::LearningRate {
        return Err(Error::Spec { action: ACTION, problem: "the dense check knows the learning rate only".into() });
    }
    let twice = match spec.along {
        SgdParameter::LearningRate => spec.learning_rate > 0.0,
        SgdParameter::LabelNoise => spec.label_noise > 0.0,
        SgdParameter::WeightDecay => spec.weight_decay > 0.0,
    };
    if twice {
        let problem = format!(
            "{} is what is followed, from 0 on; leave its value out, or follow another parameter",
            spec.along.column()
        );
        return Err(Error::Spec { action: ACTION, problem });
    }
    let local = orthonormal_threshold(m, spec.batch);
    let learning_rate = if spec.learning_rate > 0.0 { spec.learning_rate } else { 0.5 * local };
    let (batch, label_noise, weight_decay) = (spec.batch, spec.label_noise, spec.weight_decay);
    let rule = Sgd { learning_rate, batch, label_noise, weight_decay, ..Sgd::default() }.checked()?;
    let largest = match spec.along {
        _ if spec.max_rate > 0.0 => spec.max_rate,
        SgdParameter::LearningRate => 2.0 * local,
        SgdParameter::LabelNoise => 3.0,
        SgdParameter::WeightDecay => 1.0,
    };
    let asked: Vec<usize> = if spec.flipped.is_empty() { (1..m).collect() } else { spec.flipped.clone() };
    let found: Vec<Result<Followed>> = asked.par_iter().map(|&k1| follow(k1, m, rule, spec.along, largest)).collect();
    let mut limits = Table::new(
        "limits",
        &[
            ("k1", "", "flipped units of the minimum"),
            (spec.along.column(), "", "value at which the fixed point ceases to exist or to be stable"),
            ("kind", "", "fold: it ceases to exist; real eigenvalue or Hopf: it ceases to be stable"),
            ("sector", "", "symmetry of the perturbation that grows there; set 1: flipped units, set 2: the others"),
            ("multiplicity", "", "dimension of that sector"),
            ("loss_at_zero", "", "population loss of the minimum"),
            ("loss", "", "population loss of the fixed point at the limit"),
            ("frequency", "per unit of t = steps / d", "at a Hopf point"),
            ("eigenvalue", "per unit of t = steps / d", "leading eigenvalue at 0.9 times the value, real part"),
            ("ratio", "", "learning rate / local threshold of the exact solution"),
            ("direct_difference", "", "the value minus that of the equations of the singular point"),
            ("dense_difference", "", "learning rate minus that of the dense equations, bisected to 1e-6"),
        ],
    );
    let mut branches = Table::new(
        "branches",
        &[
            ("k1", "", "flipped units"),
            (spec.along.column(), "", "value of what is followed"),
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
                limits.push(row(k1, followed, local, spec)?);
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
fn follow(k1: usize, m: usize, rule: Sgd, along: SgdParameter, largest: f64) -> Result<Followed> {
    follow_disturbed(&minimum(k1 as f64, m as f64)?, rule, along.parameter(), largest)
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

fn row(k1: usize, followed: &Followed, local: f64, spec: &LimitsSpec) -> Result<Vec<Value>> {
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
    let dense = match spec.dense_check.then(|| followed.dense_limit(REACH * local, CLOSE)) {
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
        match spec.along {
            SgdParameter::LearningRate => (limit.learning_rate / local).into(),
            _ => missing("another parameter is followed"),
        },
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

    /// A limit in the label noise at one learning rate is the limit in the learning rate at that label noise, and both ways
    /// to a learning rate with weight decay end at one point.
    #[test]
    fn limits_in_label_noise_and_in_the_learning_rate_are_one_curve() {
        let noise = LimitsSpec { flipped: vec![1], along: SgdParameter::LabelNoise, ..LimitsSpec::default() };
        let noise = LimitsSpec { learning_rate: 0.3, ..noise };
        let at = |spec: &LimitsSpec, name: &str| {
            let report = learning_rate_limits(spec).unwrap();
            (report.table("limits").unwrap().numbers(name)[0], report.table("limits").unwrap().texts("kind"))
        };
        let (sigma, kind) = at(&noise, "label_noise");
        let back = LimitsSpec { flipped: vec![1], label_noise: sigma.unwrap(), ..LimitsSpec::default() };
        let (rate, same) = at(&back, "learning_rate");
        assert!((rate.unwrap() - 0.3).abs() < 1e-8, "sigma {sigma:?}: {rate:?}");
        assert_eq!(kind, same);
        let end = |spec: LimitsSpec| {
            let report = learning_rate_limits(&spec).unwrap();
            let last = report.table("branches").unwrap().numbers("loss").pop().flatten();
            last.unwrap_or_else(|| panic!("{:?}", report.notes))
        };
        let decay =
            LimitsSpec { along: SgdParameter::WeightDecay, learning_rate: 0.1, max_rate: 0.02, ..noise.clone() };
        let back = LimitsSpec { flipped: vec![1], weight_decay: 0.02, max_rate: 0.1, ..LimitsSpec::default() };
        let (first, second) = (end(decay), end(back));
        assert!((first - second).abs() < 1e-9, "{first} {second}");
        assert!(learning_rate_limits(&LimitsSpec { dense_check: true, ..noise.clone() }).is_err());
        let twice = learning_rate_limits(&LimitsSpec { label_noise: 0.1, ..noise }).unwrap_err().to_string();
        assert!(twice.contains("label_noise is what is followed"), "{twice}");
    }
}
