//! The rows of the comparison, and the tests behind its verdict.

use ndarray::{Axis, s};

use super::super::sgd::Simulator;
use super::{Path, Plan, ValidateSpec, Verdict, names};
use crate::dynamics::Equations;
use crate::model::Constraint;
use crate::numerics::statistics::{Sample, Test, hotelling};
use crate::report::{Table, Value};
use crate::simulation::Recording;

/// Differences below this many times the tolerance of the integration count as none.
const ROUNDING: f64 = 100.0;

/// The tables of the report as they grow.
pub(super) struct Tables {
    pub agreement: Table,
    pub overlaps: Table,
    pub witness: Table,
    pub risks: Table,
}

impl Tables {
    /// Empty tables.
    pub fn new() -> Tables {
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
                "smallest p-value over tested times, of each overlap and of all together (Hotelling), adjusted by Holm over all tests of the report",
            ),
            ("p_test_error", "", "the same for the test error minus the population loss at the run's overlaps"),
            ("verdict", "", "agrees when both are at least 0.01, else differs; untested when there are neither"),
        ];
        let overlaps = [
            ("dimension", "", "input dimension d"),
            ("simulator", "", "chain or explicit"),
            ("time", "steps / d", "steps of SGD over the input dimension"),
            ("entry", "", "q_i_j = w_i . w_j, r_i_m = w_i . v_m, a_i = readout of student i where trained"),
            ("runs", "runs", "runs that had not diverged"),
            ("equations", "", "the equations of d = infinity"),
            ("predicted", "", "predicted mean at this d, right to O(1/d); the equations where that is not derived"),
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
            ("entry", "", "q_i_j = w_i . w_j, r_i_m = w_i . v_m, a_i = readout of student i where trained"),
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
    pub fn compare(
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
        let names = names(spec);
        let head = || -> Vec<Value> { vec![plan.dimension.into(), simulator.name().into()] };
        let (mut p_values, mut largest) = (Vec::new(), 0.0f64);
        let mut squares = vec![0.0; spec.runs];
        let [mut bias, mut residual, mut noise, mut count] = [0.0; 4];
        for (at, &n) in kept.iter().enumerate() {
            if plan.is_tested && plan.checks.contains(&n) {
                p_values.push(together(recording, at, &path.mean[n], spec.rule.constraint));
            }
            for (entry, (name, _)) in names.iter().enumerate() {
                let values = recording.overlaps.slice(s![.., at, entry]);
                let sample = Sample::new(values.iter().copied().filter(|x| x.is_finite()));
                let (limit, predicted) = (path.limit[n][entry], path.mean[n][entry]);
                let error = sample.standard_error();
                let mut row = head();
                row.extend([plan.times[n].into(), name.as_str().into(), sample.size.into(), limit.into()]);
                row.push(predicted.into());
                row.push(match path.covariance.get(n) {
                    Some(covariance) => covariance[[entry, entry]].max(0.0).sqrt().into(),
                    None => Value::Missing("not derived".into()),
                });
                row.extend([sample.mean, sample.variance.sqrt(), error].map(Value::from));
                if plan.is_tested && plan.checks.contains(&n) {
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
        row.push(if plan.is_tested { largest.into() } else { Value::Missing("not tested".into()) });
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
    pub fn witness(
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
            for (entry, (name, _)) in names(spec).iter().enumerate() {
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

/// All overlaps at one time together: sees a shift along directions in which runs hardly differ, such as the norms across
/// the teacher that noise builds up. Overlaps that are held spread by rounding alone, which is no scale for the integrator's
/// error: they are tested one by one only.
fn together(recording: &Recording, at: usize, predicted: &[f64], constraint: Constraint) -> f64 {
    let k = recording.students;
    let held: Vec<usize> = match constraint {
        Constraint::Free => Vec::new(),
        Constraint::Sphere => (0..k).map(|i| recording.q_entry(i, i)).collect(),
        Constraint::Stiefel => (0..recording.r_entry(0, 0)).collect(),
    };
    let states = recording.overlaps.slice(s![.., at, ..]);
    let finite: Vec<usize> = (0..states.nrows()).filter(|&run| states.row(run).iter().all(|x| x.is_finite())).collect();
    let states = states.select(Axis(0), &finite);
    if held.is_empty() {
        return hotelling(states.view(), predicted);
    }
    let free: Vec<usize> = (0..predicted.len()).filter(|i| !held.contains(i)).collect();
    let expected: Vec<f64> = free.iter().map(|&i| predicted[i]).collect();
    hotelling(states.select(Axis(1), &free).view(), &expected)
}
