//! The equations of SGD against simulations at several d, and the two simulators against each other.

use ndarray::{Array1, Array2, Array3};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::sgd::Simulator;
use super::training::{at_least_one, positive, spans, state_entries, step_times};
use crate::dynamics::{Equations, Fault, Outcome, evolve_sgd, mean_path};
use crate::error::{Error, Result};
use crate::model::{Activation, InitialLaw, Overlaps, Sgd, Teacher, TeacherSpec, Weights};
use crate::numerics::random::{purpose, stream};
use crate::numerics::statistics::{holm, holm_smallest, line_fit_with_errors};
use crate::report::{Report, Table, Value};
use crate::simulation::{Recording, Simulation};

mod curves;
mod tables;

pub use curves::validation_curves;
use tables::Tables;

const ACTION: &str = "validate the equations";

/// Level of the family of all tests, below which equations and simulations are said to differ.
const LEVEL: f64 = 0.01;

/// Where the mean at finite d is not derived, runs are compared with the equations of d = infinity at dimensions of at least
/// this many times the runs, and of 1 / (1 - mu)^2 times the runs with momentum mu. The O(1/d) that these leave out is, in
/// standard errors of a mean over d runs, at most 0.3 on the sphere and 0.4 for orthonormal students, 0.5 and 1.4 at mu = 0.5
/// and 0.8 (20 000 runs at d = 200, K = M = 2, rate 0.5): about 0.3 of one over so many runs.
const DIMENSION_OVER_RUNS: f64 = 25.0;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ValidateSpec {
    /// K.
    pub students: usize,
    /// M.
    pub teachers: usize,
    pub teacher: TeacherSpec,
    pub activation: Activation,
    /// Input dimensions d.
    pub dimensions: Vec<usize>,
    /// Dimension in which the start is drawn, the same overlaps for every d; `None`: the smallest of `dimensions`.
    pub init_dimension: Option<usize>,
    /// Initial weights N(0, s^2 I / init_dimension).
    pub init_scale: f64,
    pub seed: u64,
    /// Start of run N of `landscape` with the same seed.
    pub run: u64,
    /// End of the time axis, in steps / d.
    pub time: f64,
    /// Times after 0 at which equations and chain are recorded, evenly spaced.
    pub points: usize,
    /// How many of them are tested.
    pub checks: usize,
    /// Error per step of the integration.
    pub tolerance: f64,
    /// Simulated runs at each d.
    pub runs: usize,
    /// Fresh inputs for the test error of each run at each tested time; 0: none.
    pub test_inputs: usize,
    /// Networks in d dimensions are trained where B K d steps runs is at most this.
    pub explicit_limit: f64,
    /// Inputs drawn for the covariance of one step.
    pub samples: usize,
    pub rule: Sgd,
}

impl Default for ValidateSpec {
    fn default() -> Self {
        ValidateSpec {
            students: 2,
            teachers: 2,
            teacher: TeacherSpec::default(),
            activation: Activation::default(),
            dimensions: vec![100, 1000, 10_000],
            init_dimension: None,
            init_scale: 1.0,
            seed: 1,
            run: 0,
            time: 10.0,
            points: 20,
            checks: 5,
            tolerance: 1e-10,
            runs: 100,
            test_inputs: 200,
            explicit_limit: 1e10,
            samples: 1 << 16,
            rule: Sgd { learning_rate: 0.5, ..Sgd::default() },
        }
    }
}

impl ValidateSpec {
    /// Dimension in which the start is drawn.
    pub fn start_dimension(&self) -> usize {
        self.init_dimension.or(self.dimensions.iter().copied().min()).unwrap_or(1)
    }

    /// Number of simulated runs in all.
    pub fn simulations(&self) -> usize {
        self.dimensions.iter().map(|&d| self.simulators(d).len() * self.runs).sum()
    }

    /// The simulators used at this d.
    fn simulators(&self, dimension: usize) -> Vec<Simulator> {
        let d = dimension as f64;
        let work = self.rule.batch as f64 * self.students as f64 * self.runs as f64 * d * (self.time * d);
        if work <= self.explicit_limit { vec![Simulator::Chain, Simulator::Explicit] } else { vec![Simulator::Chain] }
    }
}

fn dimension_over_runs(rule: &Sgd) -> f64 {
    (1.0 - rule.momentum).powi(-2).max(DIMENSION_OVER_RUNS)
}

/// The names of the entries of a state.
fn names(spec: &ValidateSpec) -> Vec<(String, String)> {
    state_entries(spec.students, spec.teachers, &spec.rule)
}

/// Compares equations and simulations; reports tables `agreement` (one row per d and simulator), `overlaps` (every entry at
/// every time), `witness` (explicit against chain) and `risks` (test error of each run), and the verdict. `progress` gets
/// (finished, total) runs and returns false to stop.
///
/// # Errors
/// [`Error::Count`], [`Error::Real`] for numbers out of range; [`Error::Spec`] when the equations diverge before the end;
/// those of the teacher, the start, the equations and the simulations.
pub fn validate(spec: &ValidateSpec, progress: &(dyn Fn(usize, usize) -> bool + Sync)) -> Result<Report> {
    validate_against(spec, spec.rule, Fault::default(), progress)
}

/// As [`validate`], with the simulation's own rule and something wrong in the equations: for tests that must see a wrong law
/// refused.
#[doc(hidden)]
pub fn validate_against(
    spec: &ValidateSpec,
    simulated: Sgd,
    fault: Fault,
    progress: &(dyn Fn(usize, usize) -> bool + Sync),
) -> Result<Report> {
    let problem = Problem::new(spec, fault)?;
    let equations = Equations::new(&problem.overlaps, &problem.teacher, spec.rule)?.with_fault(fault);
    let plans: Vec<Plan> = spec.dimensions.iter().map(|&d| Plan::new(spec, d, equations.has_map())).collect();
    let total = spec.simulations();
    let mut finished = 0;
    let mut tables = Tables::new();
    let mut verdict = Verdict::default();
    let mut report = Report::new("validate", spec, Some(spec.seed));
    if let Some(reason) = equations.without_map() {
        let left_out: Vec<String> =
            plans.iter().filter(|plan| !plan.is_tested).map(|plan| plan.dimension.to_string()).collect();
        report.notes.push(format!(
            "{reason}: means over runs are compared with the equations of d = infinity, at d of at least \
             {:.0} times the runs{}.",
            dimension_over_runs(&spec.rule),
            match left_out.len() {
                0 => String::new(),
                _ => format!("; not tested at d = {} (fewer --runs or a larger d)", left_out.join(", ")),
            }
        ));
    }
    for plan in &plans {
        let path = plan.predict(spec, &problem.overlaps, &equations)?;
        let mut recordings: Vec<(Simulator, Vec<usize>, Recording)> = Vec::new();
        for &simulator in &plan.simulators {
            // The witness is costly to look at: it is recorded at the tested times only.
            let kept: Vec<usize> = match simulator {
                Simulator::Chain => (0..plan.times.len()).collect(),
                Simulator::Explicit => plan.checks.clone(),
            };
            let simulation = Simulation {
                dimension: plan.dimension,
                rule: simulated,
                teacher: problem.teacher.clone(),
                start: problem.start.clone(),
                times: kept.iter().map(|&n| plan.times[n]).collect(),
                runs: spec.runs,
                seed: plan.seed,
                test_inputs: spec.test_inputs,
            };
            let recording = simulator.simulate(&simulation, &|done| progress(finished + done, total))?;
            finished += spec.runs;
            recordings.push((simulator, kept, recording));
        }
        for (simulator, kept, recording) in &recordings {
            tables.compare(plan, &path, *simulator, kept, recording, &equations, spec, &mut verdict);
        }
        if let [(_, kept, chain), (_, _, explicit)] = &recordings[..] {
            tables.witness(plan, kept, chain, explicit, spec, &mut verdict);
        }
        store(&mut report, plan, path, recordings);
    }
    verdict.judge(&mut tables.agreement);
    verdict.close(&mut report, spec);
    report.tables = vec![tables.agreement, tables.overlaps, tables.witness, tables.risks];
    Ok(report)
}

/// The problem, checked.
struct Problem {
    teacher: Teacher,
    start: Weights,
    overlaps: Overlaps,
}

impl Problem {
    fn new(spec: &ValidateSpec, fault: Fault) -> Result<Problem> {
        let counts = [
            ("students K", spec.students),
            ("teachers M", spec.teachers),
            ("points", spec.points),
            ("checks", spec.checks),
            ("the number of dimensions", spec.dimensions.len()),
        ];
        at_least_one(ACTION, &counts)?;
        if spec.runs < 2 {
            let needs = "at least 2 for a standard error".into();
            return Err(Error::Count { action: ACTION, quantity: "runs", value: spec.runs, needs });
        }
        positive(ACTION, "time", spec.time)?;
        spec.rule.checked()?;
        let teacher = spec.teacher.build(spec.teachers)?.with_activation(spec.activation)?;
        let smallest = spec.dimensions.iter().copied().min().unwrap_or(1);
        spans(ACTION, smallest, spec.students, &teacher)?;
        let law = InitialLaw::new(spec.start_dimension(), spec.init_scale, &teacher)?;
        let start = spec.rule.starting(law.draw(spec.students, &teacher, spec.seed, spec.run)?)?;
        let overlaps = start.overlaps(&teacher);
        let equations = Equations::new(&overlaps, &teacher, spec.rule)?.with_fault(fault);
        if let Outcome::Diverged { time, .. } = evolve_sgd(&overlaps, &equations, &[spec.time], spec.tolerance)?.outcome
        {
            let problem = format!(
                "the equations diverge at time {time:.4}, before {}; take a smaller learning rate than {} or an earlier end",
                spec.time, spec.rule.learning_rate
            );
            return Err(Error::Spec { action: ACTION, problem });
        }
        Ok(Problem { teacher, start, overlaps })
    }
}

/// What is done at one d.
struct Plan {
    dimension: usize,
    seed: u64,
    times: Vec<f64>,
    /// Places of the tested times.
    checks: Vec<usize>,
    simulators: Vec<Simulator>,
    /// Whether runs are tested against the equations.
    is_tested: bool,
}

impl Plan {
    /// `corrected`: the mean at finite d is known.
    fn new(spec: &ValidateSpec, dimension: usize, corrected: bool) -> Plan {
        let times = step_times(spec.time, spec.points, dimension);
        let last = times.len() - 1;
        let mut checks: Vec<usize> = (1..=spec.checks).map(|c| (last * c).div_ceil(spec.checks)).collect();
        checks.retain(|&n| n > 0);
        checks.dedup();
        // Equal seeds would give equal inputs at different d.
        let seed = stream(spec.seed, &[purpose::VALIDATE, dimension as u64]).random();
        let is_tested = corrected || dimension as f64 >= dimension_over_runs(&spec.rule) * spec.runs as f64;
        Plan { dimension, seed, times, checks, simulators: spec.simulators(dimension), is_tested }
    }

    /// Equations of d = infinity, and mean and covariance at this d where they are derived.
    fn predict(&self, spec: &ValidateSpec, start: &Overlaps, equations: &Equations) -> Result<Path> {
        let evolution = evolve_sgd(start, equations, &self.times, spec.tolerance)?;
        let limit: Vec<Vec<f64>> =
            evolution.trajectory.frames.iter().map(|frame| equations.pack(&frame.overlaps)).collect();
        if !equations.has_map() {
            return Ok(Path { mean: limit.clone(), limit, covariance: Vec::new() });
        }
        let finite = equations.clone().at_dimension(self.dimension as f64)?;
        let states = mean_path(start, &finite, &self.times, spec.samples, spec.seed)?;
        let (mean, covariance) = states.into_iter().map(|state| (state.mean, state.covariance)).unzip();
        Ok(Path { limit, mean, covariance })
    }
}

/// Predictions at the times of a plan.
struct Path {
    limit: Vec<Vec<f64>>,
    /// Those of `limit` where no others are derived.
    mean: Vec<Vec<f64>>,
    /// None where they are not derived.
    covariance: Vec<Array2<f64>>,
}

/// Everything the verdict rests on.
#[derive(Default)]
struct Verdict {
    p_values: Vec<f64>,
    diverged: usize,
    /// Row of `agreement`, its p-values of means and of test errors as places in `p_values`.
    rows: Vec<[std::ops::Range<usize>; 2]>,
    /// d, logarithm of the chain's rms deviation and its standard error.
    deviations: Vec<[f64; 3]>,
}

impl Verdict {
    /// Completes the rows of `agreement`: their p-values are adjusted over the tests of all rows, so that no row differs where
    /// the whole agrees.
    fn judge(&self, agreement: &mut Table) {
        let adjusted = holm(&self.p_values);
        let smallest = |places: &std::ops::Range<usize>| {
            adjusted[places.clone()].iter().copied().filter(|p| !p.is_nan()).fold(f64::INFINITY, f64::min)
        };
        let cell = |p: f64| if p.is_finite() { p.into() } else { Value::Missing("not tested".into()) };
        for (row, places) in agreement.rows.iter_mut().zip(&self.rows) {
            let [means, risks] = [smallest(&places[0]), smallest(&places[1])];
            let lost = row[3].as_f64().is_some_and(|lost| lost > 0.0);
            row.extend([cell(means), cell(risks)]);
            row.push(match () {
                () if lost => "diverged".into(),
                () if means.min(risks) == f64::INFINITY => "untested".into(),
                () if means.min(risks) >= LEVEL => "agrees".into(),
                () => "differs".into(),
            });
        }
    }

    fn close(self, report: &mut Report, spec: &ValidateSpec) {
        let p = holm_smallest(&self.p_values);
        let tests = self.p_values.iter().filter(|p| !p.is_nan()).count();
        let verdict = match () {
            () if self.diverged > 0 || p < LEVEL => "differs",
            () if tests == 0 => "untested",
            () => "agrees",
        };
        let mut line =
            format!("{verdict}: the smallest of {tests} p-values, adjusted by Holm, is {p:.3} (differs below {LEVEL})");
        if p < 1e-3 {
            line = line.replace(&format!("is {p:.3}"), &format!("is {p:.1e}"));
        }
        if self.diverged > 0 {
            line.push_str(&format!("; {} runs diverged, the equations do not", self.diverged));
        }
        let known: Vec<&[f64; 3]> = self.deviations.iter().filter(|row| row.iter().all(|x| x.is_finite())).collect();
        let column = |i: usize| known.iter().map(|row| if i == 0 { row[0].ln() } else { row[i] }).collect::<Vec<f64>>();
        let mut distinct: Vec<u64> = known.iter().map(|row| row[0] as u64).collect();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() > 1 {
            let (slope, error) = line_fit_with_errors(&column(0), &column(1), &column(2));
            line.push_str(&format!("; one run deviates from the equations like d^({slope:.3} ± {error:.3})"));
            report.results.insert("exponent".into(), slope.into());
            report.results.insert("exponent_error".into(), error.into());
        }
        let results = [
            ("verdict", verdict.into()),
            ("p_value", p.into()),
            ("tests", tests.into()),
            ("level", LEVEL.into()),
            ("diverged_runs", self.diverged.into()),
            ("runs", spec.runs.into()),
            ("line", line.into()),
        ];
        report.results.extend(results.into_iter().map(|(name, value)| (name.to_string(), value)));
    }
}

/// Keeps predictions and runs of one d as arrays.
fn store(report: &mut Report, plan: &Plan, path: Path, recordings: Vec<(Simulator, Vec<usize>, Recording)>) {
    let d = plan.dimension;
    let n = path.mean.first().map_or(0, Vec::len);
    let rows = |rows: &[Vec<f64>]| Array2::from_shape_fn((rows.len(), n), |(i, j)| rows[i][j]).into_dyn();
    let covariance =
        Array3::from_shape_fn((path.covariance.len(), n, n), |(t, i, j)| path.covariance[t][[i, j]]).into_dyn();
    let checked: Vec<f64> = plan.checks.iter().map(|&n| plan.times[n]).collect();
    let arrays = [
        ("times", Array1::from_vec(plan.times.clone()).into_dyn()),
        ("tested_times", Array1::from_vec(checked).into_dyn()),
        ("equations", rows(&path.limit)),
        ("predicted", rows(&path.mean)),
    ];
    if !path.covariance.is_empty() {
        report.arrays.insert(format!("covariance_{d}"), covariance);
    }
    report.arrays.extend(arrays.into_iter().map(|(name, array)| (format!("{name}_{d}"), array)));
    for (simulator, _, recording) in recordings {
        report.arrays.insert(format!("{}_{d}", simulator.name()), recording.overlaps.into_dyn());
    }
}

#[cfg(test)]
mod tests;
