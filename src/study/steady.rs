//! What SGD at a constant learning rate settles to near the exact solution, against the learning rate.

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::dynamics::{
    Equations, Outcome, Steady, evolve_sgd, excess_loss_slope, far_threshold, local_threshold, steady_state,
};
use crate::error::{Error, Result};
use crate::model::{Overlaps, Sgd, Teacher, TeacherSpec, Weights};
use crate::population::Fields;
use crate::report::{Report, Table, Value};
use crate::simulation::{self, Simulation};

/// Which fixed points.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SteadySpec {
    /// K; equal to M, so that an exact solution with one student for each teacher exists.
    pub students: usize,
    pub teachers: usize,
    pub teacher: TeacherSpec,
    pub batch: usize,
    /// Standard deviation of the noise on the labels, above 0.
    pub label_noise: f64,
    /// Empty: `points` values, equally spaced, up to 1.1 times the local threshold.
    pub learning_rates: Vec<f64>,
    pub points: usize,
    /// Simulated runs at each learning rate; 0: none.
    pub runs: usize,
    /// Input dimension d of the simulated runs.
    pub dimension: usize,
    /// Length of a simulated run, learning rate x steps / d; its second half is averaged.
    pub time: f64,
    pub seed: u64,
}

impl Default for SteadySpec {
    fn default() -> Self {
        SteadySpec {
            students: 2,
            teachers: 2,
            teacher: TeacherSpec::default(),
            batch: 1,
            label_noise: 0.1,
            learning_rates: Vec::new(),
            points: 24,
            runs: 0,
            dimension: 1000,
            time: 200.0,
            seed: 1,
        }
    }
}

const ACTION: &str = "find the steady state";
/// Time, in units of 1 / learning rate, that the equations get to come near their fixed point.
const APPROACH: f64 = 100.0;
/// Last of the default learning rates, in units of the local threshold.
const BEYOND: f64 = 1.1;
/// Recorded states of a simulated run.
const RECORDS: usize = 200;

/// Table `steady`, one row for each learning rate, ascending; results `local_threshold`, `far_threshold`,
/// `slope`, and `last_fixed_point`, the largest of the learning rates that has one.
///
/// # Errors
/// [`Error::Count`], [`Error::Real`] for numbers out of range; those of the teacher and of the simulation.
pub fn steady(spec: &SteadySpec) -> Result<Report> {
    check(spec)?;
    let teacher = spec.teacher.build(spec.teachers)?;
    let readouts: Vec<f64> = teacher.readouts().row(0).to_vec();
    let (local, far) = (local_threshold(&teacher, spec.batch)?, far_threshold(&readouts, spec.batch));
    let exact = Weights::new(teacher.vectors().clone(), Some(teacher.readouts().clone()), &teacher)?;
    let fields = Fields::from_weights(&exact, &teacher, 0);
    let slope = excess_loss_slope(&fields, spec.label_noise, spec.batch, f64::INFINITY);
    let mut rates = spec.learning_rates.clone();
    if rates.is_empty() {
        rates = (1..=spec.points).map(|i| BEYOND * local * i as f64 / spec.points as f64).collect();
    }
    rates.sort_by(f64::total_cmp);
    let mut table = Table::new(
        "steady",
        &[
            ("learning_rate", "", "learning rate eta"),
            ("loss", "", "population loss of the fixed point of the equations at d = infinity"),
            ("eigenvalue", "per unit of t = steps / d", "largest real part among the eigenvalues of the fixed point"),
            ("first_order", "", "learning rate x slope of the excess loss at the exact solution"),
            ("simulated_loss", "", "mean over runs and over the second half of each run"),
            ("simulated_error", "", "standard error of simulated_loss over runs"),
            ("diverged", "", "share of simulated runs that diverged"),
        ],
    );
    let mut before: Option<Overlaps> = None;
    let (mut last, mut last_reason) = (None, None);
    for &learning_rate in &rates {
        let rule =
            Sgd { learning_rate, batch: spec.batch, label_noise: spec.label_noise, ..Sgd::default() }.checked()?;
        let found = fixed_point(&teacher, rule, before.as_ref());
        let [loss, eigenvalue] = match &found {
            Ok(state) => [state.loss, state.eigenvalues.first().map_or(f64::NAN, |e| e[0])].map(Value::real),
            Err(error) => [Value::Missing(error.to_string()), Value::Missing(error.to_string())],
        };
        let mut row = vec![learning_rate.into(), loss, eigenvalue, (learning_rate * slope).into()];
        row.extend(match spec.runs {
            0 => [(); 3].map(|()| Value::Missing("no runs asked for".into())),
            _ => {
                let start = match &found {
                    Ok(state) => state.overlaps.lift(&teacher)?,
                    Err(_) => exact.clone(),
                };
                simulated(spec, &teacher, rule, start)?
            }
        });
        table.push(row);
        match found {
            Ok(state) => {
                before = Some(state.overlaps);
                last = Some(learning_rate);
            }
            Err(error) => last_reason = last_reason.or(Some((learning_rate, error.to_string()))),
        }
    }
    let mut report = Report::new("steady", spec, Some(spec.seed));
    report.results.insert("local_threshold".into(), local.into());
    report.results.insert("far_threshold".into(), far.into());
    report.results.insert("slope".into(), slope.into());
    report.results.insert("last_fixed_point".into(), last.into());
    report.notes.push(format!(
        "Without label noise the exact solution loses stability at learning rate {local:.6}; large students diverge above {far:.6}."
    ));
    if let Some((rate, reason)) = last_reason {
        report.notes.push(format!("No fixed point at learning rate {rate:.4}: {reason}."));
    }
    report.results.insert("steady".into(), table.to_json());
    report.tables.push(table);
    Ok(report)
}

fn check(spec: &SteadySpec) -> Result<()> {
    let count =
        |quantity, value, needs: &str| Err(Error::Count { action: ACTION, quantity, value, needs: needs.into() });
    if spec.students == 0 {
        return count("students K", 0, "at least 1");
    }
    if spec.teachers != spec.students {
        let needs = format!("M = K = {} (the exact solution has one student for each teacher)", spec.students);
        return count("teachers M", spec.teachers, &needs);
    }
    if spec.learning_rates.is_empty() && spec.points == 0 {
        return count("points", 0, "at least 1, or a list of learning rates");
    }
    if spec.batch == 0 {
        return count("the batch size", 0, "at least 1");
    }
    if spec.runs == 1 {
        return count("runs", 1, "0, or at least 2 for a standard error");
    }
    let positive = spec.learning_rates.iter().map(|&rate| ("a learning rate", rate));
    for (quantity, value) in positive.chain([("the label noise", spec.label_noise), ("time", spec.time)]) {
        if !(value > 0.0 && value.is_finite()) {
            let needs = match quantity {
                "the label noise" => "a positive number (without label noise the steady loss is 0)",
                _ => "a positive number",
            };
            return Err(Error::Real { action: ACTION, quantity: quantity.into(), value, needs });
        }
    }
    Ok(())
}

/// The fixed point that is the exact solution at learning rate 0: from that of a smaller learning rate, or from the end of
/// the equations' path from the exact solution.
fn fixed_point(teacher: &Teacher, rule: Sgd, before: Option<&Overlaps>) -> Result<Steady> {
    let t = teacher.gram();
    // A little off the exact solution, where the equations have no derivatives.
    let off = Array1::from_elem(t.nrows(), 0.01 * rule.learning_rate / rule.batch as f64);
    let q = t + &Array2::from_diag(&(off * t.diag()));
    let start = Overlaps::new(q, t.clone(), teacher.readouts().clone(), teacher)?;
    let equations = Equations::new(&start, teacher, rule)?;
    let near = |state: &Steady| (0..t.nrows()).all(|i| state.overlaps.r()[[i, i]] > 0.5 * t[[i, i]]);
    if let Some(Ok(state)) = before.map(|guess| steady_state(&equations, guess))
        && near(&state)
    {
        return Ok(state);
    }
    let away = |problem: String| Error::Spec { action: ACTION, problem };
    let evolution = evolve_sgd(&start, &equations, &[APPROACH / rule.learning_rate], 1e-10)?;
    if let Outcome::Diverged { time, .. } = evolution.outcome {
        return Err(away(format!("the equations diverge from the exact solution, at t = {time:.3}")));
    }
    let Some(frame) = evolution.trajectory.frames.last() else {
        return Err(away("the equations give no state".into()));
    };
    let state = steady_state(&equations, &frame.overlaps)?;
    if near(&state) { Ok(state) } else { Err(away("the equations leave the exact solution".into())) }
}

/// Mean loss with standard error of the runs that did not diverge, and the share of those that did.
fn simulated(spec: &SteadySpec, teacher: &Teacher, rule: Sgd, start: Weights) -> Result<[Value; 3]> {
    let length = spec.time / rule.learning_rate;
    let readouts = start.readouts().clone();
    let simulation = Simulation {
        dimension: spec.dimension,
        rule,
        teacher: teacher.clone(),
        start,
        times: (1..=RECORDS).map(|i| 0.5 * length * (1.0 + i as f64 / RECORDS as f64)).collect(),
        runs: spec.runs,
        seed: spec.seed,
        test_inputs: 0,
    };
    let recording = simulation::chain::simulate(&simulation, &|_| true)?;
    let mut means = Vec::new();
    for run in (0..spec.runs).filter(|&run| recording.diverged[run].is_none()) {
        let mut sum = 0.0;
        for time in 0..RECORDS {
            sum += Fields::from_overlaps(&recording.state(run, time, &readouts, teacher)?, teacher, 0).risk();
        }
        means.push(sum / RECORDS as f64);
    }
    let share = 1.0 - means.len() as f64 / spec.runs as f64;
    if means.is_empty() {
        return Ok([
            Value::Missing("all runs diverged".into()),
            Value::Missing("all runs diverged".into()),
            share.into(),
        ]);
    }
    let (mean, error) = super::mean_and_error(&means);
    Ok([mean.into(), error.map_or_else(|| Value::Missing("one run only".into()), Value::real), share.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small learning rates follow the first-order slope; the fixed point is stable below the threshold, and simulated runs
    /// agree with it.
    #[test]
    fn steady_loss_starts_with_the_slope_and_is_simulated() {
        let spec = SteadySpec { learning_rates: vec![0.4, 0.005, 0.8], ..SteadySpec::default() };
        let report = steady(&spec).unwrap();
        let table = report.table("steady").unwrap();
        let [loss, first, value] = ["loss", "first_order", "eigenvalue"].map(|c| table.numbers(c));
        assert!((loss[0].unwrap() / first[0].unwrap() - 1.0).abs() < 0.02, "{loss:?} {first:?}");
        assert!((report.results["slope"].as_f64().unwrap() - 0.01 * 2.0 / 8.0).abs() < 1e-15);
        assert!(loss.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(value.iter().all(|v| v.unwrap() < 0.0), "{value:?}");
        let spec = SteadySpec { learning_rates: vec![0.4], runs: 4, dimension: 400, ..SteadySpec::default() };
        let report = steady(&spec).unwrap();
        let table = report.table("steady").unwrap();
        let [loss, mean, error] = ["loss", "simulated_loss", "simulated_error"].map(|c| table.numbers(c)[0].unwrap());
        assert!((mean / loss - 1.0).abs() < 0.03 + 4.0 * error / loss, "{mean} +- {error} against {loss}");
    }
}
