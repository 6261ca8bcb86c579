//! The equations of SGD against simulations at several d, and the two simulators against each other.

use ndarray::{Array1, Array2, Array3, s};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::sgd::Simulator;
use super::training::{at_least_one, entries, packed, positive, spans, step_times};
use crate::dynamics::{Equations, Fault, Outcome, evolve_sgd, mean_path};
use crate::error::{Error, Result};
use crate::model::{Activation, InitialLaw, Overlaps, Sgd, Teacher, TeacherSpec, Weights};
use crate::numerics::random::{purpose, stream};
use crate::numerics::statistics::{Sample, Test, holm, holm_smallest, line_fit_with_errors};
use crate::report::{Report, Table, Value};
use crate::simulation::{Recording, Simulation};

mod curves;

pub use curves::validation_curves;

const ACTION: &str = "validate the equations";

/// Level of the family of all tests, below which equations and simulations are said to differ.
const LEVEL: f64 = 0.01;

/// Differences below this many times the tolerance of the integration count as none.
const ROUNDING: f64 = 100.0;

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
            samples: 1 << 14,
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
    let plans: Vec<Plan> = spec.dimensions.iter().map(|&d| Plan::new(spec, d)).collect();
    let total = spec.simulations();
    let mut finished = 0;
    let mut tables = Tables::new();
    let mut verdict = Verdict::default();
    let mut report = Report::new("validate", spec, Some(spec.seed));
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
        let teacher = spec.teacher.build(spec.teachers)?;
        let smallest = spec.dimensions.iter().copied().min().unwrap_or(1);
        spans(ACTION, smallest, spec.students, &teacher)?;
        let law = InitialLaw::new(spec.start_dimension(), spec.init_scale, &teacher)?;
        let start = law.draw(spec.students, &teacher, spec.seed, spec.run)?;
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
}

impl Plan {
    fn new(spec: &ValidateSpec, dimension: usize) -> Plan {
        let times = step_times(spec.time, spec.points, dimension);
        let last = times.len() - 1;
        let mut checks: Vec<usize> = (1..=spec.checks).map(|c| (last * c).div_ceil(spec.checks)).collect();
        checks.retain(|&n| n > 0);
        checks.dedup();
        // Equal seeds would give equal inputs at different d.
        let seed = stream(spec.seed, &[purpose::VALIDATE, dimension as u64]).random();
        Plan { dimension, seed, times, checks, simulators: spec.simulators(dimension) }
    }

    /// Equations of d = infinity, and mean and covariance at this d.
    fn predict(&self, spec: &ValidateSpec, start: &Overlaps, equations: &Equations) -> Result<Path> {
        let evolution = evolve_sgd(start, equations, &self.times, spec.tolerance)?;
        let limit = evolution.trajectory.frames.iter().map(|frame| packed(&frame.overlaps)).collect();
        let finite = equations.clone().at_dimension(self.dimension as f64)?;
        let states = mean_path(start, &finite, &self.times, spec.samples, spec.seed)?;
        let (mean, covariance) = states.into_iter().map(|state| (state.mean, state.covariance)).unzip();
        Ok(Path { limit, mean, covariance })
    }
}

/// Predictions at the times of a plan.
struct Path {
    limit: Vec<Vec<f64>>,
    mean: Vec<Vec<f64>>,
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
                () if means.min(risks) >= LEVEL => "agrees".into(),
                () => "differs".into(),
            });
        }
    }

    fn close(self, report: &mut Report, spec: &ValidateSpec) {
        let p = holm_smallest(&self.p_values);
        let agrees = p >= LEVEL && self.diverged == 0;
        let mut line = format!(
            "{}: the smallest of {} p-values, adjusted by Holm, is {p:.3} (differs below {LEVEL})",
            if agrees { "agrees" } else { "differs" },
            self.p_values.iter().filter(|p| !p.is_nan()).count()
        );
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
            ("verdict", if agrees { "agrees" } else { "differs" }.into()),
            ("p_value", p.into()),
            ("tests", self.p_values.iter().filter(|p| !p.is_nan()).count().into()),
            ("level", LEVEL.into()),
            ("diverged_runs", self.diverged.into()),
            ("runs", spec.runs.into()),
            ("line", line.into()),
        ];
        report.results.extend(results.into_iter().map(|(name, value)| (name.to_string(), value)));
    }
}

struct Tables {
    agreement: Table,
    overlaps: Table,
    witness: Table,
    risks: Table,
}

impl Tables {
    fn new() -> Tables {
        let agreement = [
            ("dimension", "", "input dimension d"),
            ("simulator", "", "chain or explicit"),
            ("runs", "runs", "simulated runs"),
            ("diverged", "runs", "runs that diverged; no mean contains them"),
            ("deviation", "", "root mean square, over runs, times and overlaps, of one run minus the equations"),
            ("deviation_error", "", "its standard error"),
            ("bias", "", "root mean square, over times and overlaps, of the mean over runs minus the equations"),
            ("residual", "", "the same minus the predicted mean at this d"),
            ("noise", "", "root mean square standard error of the means: what bias and residual are by chance"),
            ("largest_z", "", "largest (mean - predicted) / standard error in size"),
            (
                "p_means",
                "",
                "smallest p-value over tested times and overlaps, adjusted by Holm over all tests of the report",
            ),
            ("p_test_error", "", "the same for the test error minus the population loss at the run's overlaps"),
            ("verdict", "", "agrees when both are at least 0.01, else differs"),
        ];
        let overlaps = [
            ("dimension", "", "input dimension d"),
            ("simulator", "", "chain or explicit"),
            ("time", "steps / d", "steps of SGD over the input dimension"),
            ("entry", "", "q_i_j = w_i . w_j, r_i_m = w_i . v_m"),
            ("runs", "runs", "runs that had not diverged"),
            ("equations", "", "the equations of d = infinity"),
            ("predicted", "", "predicted mean at this d, right to O(1/d)"),
            ("predicted_deviation", "", "predicted standard deviation of one run, leading order"),
            ("mean", "", "mean over runs"),
            ("deviation", "", "standard deviation over runs"),
            ("standard_error", "", "of the mean"),
            ("z", "", "(mean - predicted) / standard error; empty where not tested"),
            ("p_value", "", "two-sided, by Student's law with runs - 1 degrees of freedom"),
        ];
        let witness = [
            ("dimension", "", "input dimension d"),
            ("time", "steps / d", "steps of SGD over the input dimension"),
            ("entry", "", "q_i_j = w_i . w_j, r_i_m = w_i . v_m"),
            ("explicit_mean", "", "mean over explicit runs"),
            ("chain_mean", "", "mean over runs of the chain"),
            ("z_mean", "", "Welch's statistic of the two"),
            ("p_mean", "", "its two-sided p-value"),
            ("explicit_variance", "", "variance over explicit runs"),
            ("chain_variance", "", "variance over runs of the chain"),
            ("z_variance", "", "difference of the logarithms over its standard error"),
            ("p_variance", "", "its two-sided p-value"),
        ];
        let risks = [
            ("dimension", "", "input dimension d"),
            ("simulator", "", "chain or explicit"),
            ("run", "", "number of the run"),
            ("time", "steps / d", "steps of SGD over the input dimension"),
            ("test_error", "", "mean of (f - f*)^2/2 over fresh inputs"),
            ("standard_error", "", "of the test error"),
            ("loss", "", "population loss at the run's overlaps"),
            ("z", "", "(test_error - loss) / standard_error"),
        ];
        Tables {
            agreement: Table::new("agreement", &agreement),
            overlaps: Table::new("overlaps", &overlaps),
            witness: Table::new("witness", &witness),
            risks: Table::new("risks", &risks),
        }
    }

    /// Rows of one d and simulator; `kept` are the places of the recorded times in the plan's.
    #[allow(clippy::too_many_arguments)]
    fn compare(
        &mut self,
        plan: &Plan,
        path: &Path,
        simulator: Simulator,
        kept: &[usize],
        recording: &Recording,
        equations: &Equations,
        spec: &ValidateSpec,
        verdict: &mut Verdict,
    ) {
        let names = entries(spec.students, spec.teachers);
        let head = || -> Vec<Value> { vec![plan.dimension.into(), simulator.name().into()] };
        let (mut p_values, mut largest) = (Vec::new(), 0.0f64);
        let mut squares = vec![0.0; spec.runs];
        let [mut bias, mut residual, mut noise, mut count] = [0.0; 4];
        for (at, &n) in kept.iter().enumerate() {
            for (entry, (name, _)) in names.iter().enumerate() {
                let values = recording.overlaps.slice(s![.., at, entry]);
                let sample = Sample::new(values.iter().copied().filter(|x| x.is_finite()));
                let (limit, predicted) = (path.limit[n][entry], path.mean[n][entry]);
                let error = sample.standard_error();
                let mut row = head();
                row.extend([plan.times[n].into(), name.as_str().into(), sample.size.into(), limit.into()]);
                row.extend([predicted, path.covariance[n][[entry, entry]].max(0.0).sqrt()].map(Value::from));
                row.extend([sample.mean, sample.variance.sqrt(), error].map(Value::from));
                if plan.checks.contains(&n) {
                    let test = sample.against(predicted, ROUNDING * spec.tolerance);
                    row.extend([test.z.into(), test.p_value.into()]);
                    p_values.push(test.p_value);
                    largest = if test.z.abs() > largest.abs() { test.z } else { largest };
                } else {
                    row.extend([(); 2].map(|()| Value::Missing("not tested".into())));
                }
                self.overlaps.push(row);
                if n > 0 {
                    squares.iter_mut().zip(values).for_each(|(sum, x)| *sum += (x - limit).powi(2));
                    bias += (sample.mean - limit).powi(2);
                    residual += (sample.mean - predicted).powi(2);
                    noise += error * error;
                    count += 1.0;
                }
            }
        }
        let risk_p_values = self.risks(plan, simulator, kept, recording, equations, spec);
        let lost = recording.diverged.iter().filter(|time| time.is_some()).count();
        let deviation = Sample::new(squares.iter().map(|x| x / count).filter(|x| x.is_finite()));
        let rms = deviation.mean.sqrt();
        let relative = 0.5 * deviation.standard_error() / deviation.mean;
        if simulator == Simulator::Chain {
            verdict.deviations.push([plan.dimension as f64, rms.ln(), relative]);
        }
        let mut row = head();
        row.extend([spec.runs.into(), lost.into()]);
        row.extend([rms, relative * rms].map(Value::from));
        row.extend([bias, residual, noise].map(|x| Value::from((x / count).sqrt())));
        row.push(largest.into());
        // The last cells follow when all tests are known.
        self.agreement.rows.push(row);
        let from = verdict.p_values.len();
        let middle = from + p_values.len();
        verdict.rows.push([from..middle, middle..middle + risk_p_values.len()]);
        verdict.p_values.extend(p_values.into_iter().chain(risk_p_values));
        verdict.diverged += lost;
    }

    /// Test errors against the population loss, tested time by time over the runs.
    fn risks(
        &mut self,
        plan: &Plan,
        simulator: Simulator,
        kept: &[usize],
        recording: &Recording,
        equations: &Equations,
        spec: &ValidateSpec,
    ) -> Vec<f64> {
        let mut p_values = Vec::new();
        if spec.test_inputs == 0 {
            return p_values;
        }
        for (at, &n) in kept.iter().enumerate().filter(|(_, n)| plan.checks.contains(n)) {
            let mut differences = Vec::with_capacity(spec.runs);
            for run in (0..spec.runs).filter(|&run| recording.overlaps[[run, at, 0]].is_finite()) {
                let loss = equations.risk(&recording.overlaps.slice(s![run, at, ..]).to_vec());
                let [test, error] = [0, 1].map(|i| recording.test[[run, at, i]]);
                differences.push(test - loss);
                let z =
                    if error > 0.0 { Value::from((test - loss) / error) } else { Value::Missing("no spread".into()) };
                self.risks.push(vec![
                    plan.dimension.into(),
                    simulator.name().into(),
                    run.into(),
                    plan.times[n].into(),
                    test.into(),
                    error.into(),
                    loss.into(),
                    z,
                ]);
            }
            p_values.push(Sample::new(differences.into_iter()).against(0.0, ROUNDING * spec.tolerance).p_value);
        }
        p_values
    }

    /// Rows of explicit against chain at the tested times.
    fn witness(
        &mut self,
        plan: &Plan,
        kept: &[usize],
        chain: &Recording,
        explicit: &Recording,
        spec: &ValidateSpec,
        verdict: &mut Verdict,
    ) {
        let sample = |recording: &Recording, at: usize, entry: usize| {
            Sample::new(recording.overlaps.slice(s![.., at, entry]).into_iter().copied().filter(|x| x.is_finite()))
        };
        for (at, n) in plan.checks.iter().enumerate() {
            let place = kept.iter().position(|kept| kept == n).unwrap_or(0);
            for (entry, (name, _)) in entries(spec.students, spec.teachers).iter().enumerate() {
                let (first, second) = (sample(explicit, at, entry), sample(chain, place, entry));
                let mean = first.compare_means(&second, ROUNDING * spec.tolerance);
                let floor = ROUNDING * spec.tolerance;
                let variance = if first.variance.max(second.variance) < floor * floor {
                    Test { z: 0.0, p_value: 1.0 }
                } else {
                    first.compare_variances(&second)
                };
                let mut row: Vec<Value> = vec![plan.dimension.into(), plan.times[*n].into(), name.as_str().into()];
                let means = [first.mean, second.mean, mean.z, mean.p_value];
                let variances = [first.variance, second.variance, variance.z, variance.p_value];
                row.extend(means.into_iter().chain(variances).map(Value::from));
                self.witness.push(row);
                verdict.p_values.extend([mean.p_value, variance.p_value]);
            }
        }
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
        ("covariance", covariance),
    ];
    report.arrays.extend(arrays.into_iter().map(|(name, array)| (format!("{name}_{d}"), array)));
    for (simulator, _, recording) in recordings {
        report.arrays.insert(format!("{}_{d}", simulator.name()), recording.overlaps.into_dyn());
    }
}

#[cfg(test)]
mod tests;
