//! One-pass SGD at a finite learning rate: its equations in the overlaps, and simulated runs beside them.

use std::str::FromStr;

use ndarray::{Array1, ArrayD};
use serde::{Deserialize, Serialize};

use super::training::{
    at_least_one, diverged_cell, divergence, divergence_note, positive, spans, state_entries, step_times,
};
use crate::dynamics::{Equations, evolve_sgd};
use crate::error::{Error, Result};
use crate::model::{Activation, InitialLaw, Sgd, TeacherSpec};
use crate::numerics::statistics::Sample;
use crate::report::{Report, Table, Value};
use crate::simulation::{Recording, Simulation, chain, explicit};

/// Which way runs are simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Simulator {
    /// The same law at a cost that does not depend on d.
    #[default]
    Chain,
    /// Networks in d dimensions.
    Explicit,
}

impl Simulator {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Simulator::Chain => "chain",
            Simulator::Explicit => "explicit",
        }
    }

    /// Runs the simulation; `progress` gets finished runs and returns false to stop.
    ///
    /// # Errors
    /// Those of the simulators.
    pub fn simulate(self, simulation: &Simulation, progress: &(dyn Fn(usize) -> bool + Sync)) -> Result<Recording> {
        match self {
            Simulator::Chain => chain::simulate(simulation, progress),
            Simulator::Explicit => explicit::simulate(simulation, progress),
        }
    }
}

impl FromStr for Simulator {
    type Err = Error;

    fn from_str(text: &str) -> Result<Simulator> {
        match text {
            "chain" => Ok(Simulator::Chain),
            "explicit" => Ok(Simulator::Explicit),
            other => Err(Error::Spec {
                action: "simulate training",
                problem: format!("'{other}' is no simulator, needs 'chain' or 'explicit'"),
            }),
        }
    }
}

/// Which training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdSpec {
    /// K.
    pub students: usize,
    /// M.
    pub teachers: usize,
    /// Input dimension d of the start and of the runs; the equations are those of d = infinity.
    pub dimension: usize,
    /// Initial weights N(0, s^2 I / d).
    pub init_scale: f64,
    pub seed: u64,
    /// Start of run N of `landscape` with the same seed.
    pub run: u64,
    pub teacher: TeacherSpec,
    pub activation: Activation,
    /// End of the time axis, in steps / d.
    pub time: f64,
    /// Recorded times after 0, evenly spaced.
    pub points: usize,
    /// Error per step of the integration.
    pub tolerance: f64,
    /// Simulated runs; 0: the equations only.
    pub runs: usize,
    pub simulator: Simulator,
    /// Fresh inputs for a test error at each time of each run; 0: none.
    pub test_inputs: usize,
    pub rule: Sgd,
}

impl Default for SgdSpec {
    fn default() -> Self {
        SgdSpec {
            students: 2,
            teachers: 2,
            dimension: 1000,
            init_scale: 1.0,
            seed: 1,
            run: 0,
            teacher: TeacherSpec::default(),
            activation: Activation::default(),
            time: 100.0,
            points: 100,
            tolerance: 1e-10,
            runs: 0,
            simulator: Simulator::Chain,
            test_inputs: 0,
            rule: Sgd::default(),
        }
    }
}

/// Integrates the equations, simulates the runs and reports table `trajectory`: time, loss, gradient_norm, q_i_j (i <= j),
/// r_i_m, a_i where readouts are trained; with runs also runs, loss_mean, loss_deviation, and mean and deviation of each of
/// these. A divergence is a result. The start is put on the rule's constraint.
/// `progress` gets (finished, total) runs and returns false to stop.
///
/// # Errors
/// [`Error::Count`], [`Error::Real`] for numbers out of range; those of the teacher, the start, the equations and the
/// simulation.
pub fn sgd(spec: &SgdSpec, progress: &(dyn Fn(usize, usize) -> bool + Sync)) -> Result<Report> {
    const ACTION: &str = "train by SGD";
    at_least_one(ACTION, &[("students K", spec.students), ("teachers M", spec.teachers), ("points", spec.points)])?;
    positive(ACTION, "time", spec.time)?;
    let rule = spec.rule.checked()?;
    let teacher = spec.teacher.build(spec.teachers)?.with_activation(spec.activation)?;
    spans(ACTION, spec.dimension, spec.students, &teacher)?;
    let law = InitialLaw::new(spec.dimension, spec.init_scale, &teacher)?;
    let start = rule.starting(law.draw(spec.students, &teacher, spec.seed, spec.run)?)?;
    let overlaps = start.overlaps(&teacher);
    let equations = Equations::new(&overlaps, &teacher, rule)?;
    let times = step_times(spec.time, spec.points, spec.dimension);
    let evolution = evolve_sgd(&overlaps, &equations, &times, spec.tolerance)?;
    let recording = if spec.runs > 0 {
        let simulation = Simulation {
            dimension: spec.dimension,
            rule,
            teacher: teacher.clone(),
            start,
            times: times.clone(),
            runs: spec.runs,
            seed: spec.seed,
            test_inputs: spec.test_inputs,
        };
        Some(spec.simulator.simulate(&simulation, &|finished| progress(finished, spec.runs))?)
    } else {
        None
    };

    let names = state_entries(spec.students, spec.teachers, &rule);
    let mut columns: Vec<(String, &'static str, String)> = vec![
        ("time".into(), "steps / d", "steps of SGD over the input dimension".into()),
        ("loss".into(), "", "population loss L = E[(f - f*)^2]/2 by the equations, label noise not included".into()),
        ("gradient_norm".into(), "", "Euclidean norm of the gradient of L over all weights".into()),
    ];
    columns.extend(names.iter().map(|(name, meaning)| (name.clone(), "", format!("{meaning} by the equations"))));
    if recording.is_some() {
        columns.push(("runs".into(), "runs", "simulated runs that had not diverged".into()));
        columns.push(("loss_mean".into(), "", "mean over runs of the population loss of their overlaps".into()));
        columns.push(("loss_deviation".into(), "", "its standard deviation over runs".into()));
        if spec.test_inputs > 0 {
            columns.push(("test_error_mean".into(), "", "mean over runs of (f - f*)^2/2 on fresh inputs".into()));
            columns.push(("test_error_deviation".into(), "", "its standard deviation over runs".into()));
        }
        for (name, meaning) in &names {
            columns.push((format!("{name}_mean"), "", format!("mean over runs of {meaning}")));
            columns.push((format!("{name}_deviation"), "", format!("standard deviation over runs of {meaning}")));
        }
    }
    let named: Vec<(&str, &'static str, &str)> =
        columns.iter().map(|(name, unit, meaning)| (name.as_str(), *unit, meaning.as_str())).collect();
    let mut table = Table::new("trajectory", &named);
    for (n, &time) in times.iter().enumerate() {
        let mut row: Vec<Value> = vec![time.into()];
        match evolution.trajectory.frames.get(n) {
            Some(frame) => {
                row.extend([frame.loss.into(), frame.gradient_norm.into()]);
                row.extend(equations.pack(&frame.overlaps).into_iter().map(Value::from));
            }
            None if recording.is_none() => break,
            None => row.extend((0..names.len() + 2).map(|_| diverged_cell())),
        }
        if let Some(recording) = &recording {
            push_runs(&mut row, recording, n, &equations, spec.test_inputs > 0);
        }
        table.push(row);
    }
    let mut report = Report::new("sgd", spec, Some(spec.seed));
    report.results.insert("diverged".into(), divergence(evolution.outcome));
    report.notes.extend(divergence_note(evolution.outcome));
    if let Some(last) = evolution.trajectory.frames.last() {
        report.results.insert("final_time".into(), last.time.into());
        report.results.insert("final_loss".into(), last.loss.into());
    }
    report.results.insert("dimension".into(), spec.dimension.into());
    if let Some(recording) = recording {
        let lost = recording.diverged.iter().filter(|time| time.is_some()).count();
        report.results.insert("diverged_runs".into(), lost.into());
        if lost > 0 {
            report.notes.push(format!("{lost} of {} runs diverged; means are over the others.", spec.runs));
        }
        report.arrays.insert("runs".into(), recording.overlaps.into_dyn());
        let arrays: ArrayD<f64> = Array1::from_vec(times).into_dyn();
        report.arrays.insert("times".into(), arrays);
    }
    report.tables.push(table);
    Ok(report)
}

/// Mean and deviation of loss, test error and overlaps over the runs at time number n.
fn push_runs(row: &mut Vec<Value>, recording: &Recording, n: usize, equations: &Equations, tested: bool) {
    let kept: Vec<usize> =
        (0..recording.diverged.len()).filter(|&run| recording.overlaps[[run, n, 0]].is_finite()).collect();
    let push = |row: &mut Vec<Value>, sample: Sample| {
        row.extend([sample.mean, sample.variance.sqrt()].map(|x| match kept.len() {
            0 => diverged_cell(),
            1 if x.is_nan() => Value::Missing("one run".into()),
            _ => x.into(),
        }));
    };
    row.push(kept.len().into());
    let losses: Vec<f64> =
        kept.iter().map(|&run| equations.risk(&recording.overlaps.slice(ndarray::s![run, n, ..]).to_vec())).collect();
    push(row, Sample::new(losses.iter().copied()));
    if tested {
        push(row, Sample::new(kept.iter().map(|&run| recording.test[[run, n, 0]])));
    }
    for entry in 0..recording.overlaps.dim().2 {
        push(row, Sample::new(kept.iter().map(|&run| recording.overlaps[[run, n, entry]])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_scatter_about_the_equations() {
        let spec = SgdSpec { time: 3.0, points: 6, runs: 20, test_inputs: 50, ..SgdSpec::default() };
        let report = sgd(&spec, &|_, _| true).unwrap();
        let table = report.table("trajectory").unwrap();
        for column in ["loss", "q_1_1", "r_2_1"] {
            let (equations, means, deviations) = (
                table.numbers(column),
                table.numbers(&format!("{column}_mean")),
                table.numbers(&format!("{column}_deviation")),
            );
            for n in 1..=6 {
                let (x, mean, deviation) = (equations[n].unwrap(), means[n].unwrap(), deviations[n].unwrap());
                assert!(
                    (x - mean).abs() < 5.0 * deviation / 20f64.sqrt() + 1e-3,
                    "{column} at {n}: {x} {mean} {deviation}"
                );
                assert!(deviation > 0.0 && deviation < 0.1);
            }
        }
        assert!(report.results["diverged"].is_null());
    }

    #[test]
    fn divergence_is_a_result() {
        let rule = Sgd { learning_rate: 3.0, ..Sgd::default() };
        let spec = SgdSpec { rule, time: 200.0, runs: 2, dimension: 50, ..SgdSpec::default() };
        let report = sgd(&spec, &|_, _| true).unwrap();
        assert!(report.results["diverged"]["time"].as_f64().unwrap() > 0.0);
        assert_eq!(report.table("trajectory").unwrap().rows.len(), 101);
        let alone = sgd(&SgdSpec { runs: 0, ..spec }, &|_, _| true).unwrap();
        assert!(alone.table("trajectory").unwrap().rows.len() < 101);
    }
}
