//! The equations of SGD against simulations: right laws pass, laws wrong by a little are refused, deviations fall as they
//! should with d.

use crate::lines::Lines;
use committee::dynamics::{Equations, Fault, evolve_sgd, mean_path};
use committee::expectation::quadruple::two_moments;
use committee::model::{InitialLaw, Sgd, Teacher};
use committee::numerics::statistics::{holm_smallest, line_fit};
use committee::population::{Fields, error_moments};
use committee::report::Report;
use committee::simulation::{Simulation, chain};
use committee::study::{ValidateSpec, validate, validate_against};
use ndarray::Array2;

fn go(_: usize, _: usize) -> bool {
    true
}

fn number(report: &Report, name: &str) -> f64 {
    report.results[name].as_f64().unwrap()
}

/// A wrong E[e^2 H H].
type Wrong = fn(&Fields) -> Array2<f64>;

/// E[e^2 H_1 H_2] without one of its two terms in which the units of the error are the students themselves.
fn dropped_coincidence(fields: &Fields) -> Array2<f64> {
    let mut moments = error_moments(fields);
    let [_, product] = two_moments(fields.link(0, 1));
    let term = fields.readout(0) * fields.readout(1) * fields.norm(0) * fields.norm(1) * product;
    moments[[0, 1]] -= term;
    moments[[1, 0]] -= term;
    moments
}

/// E[e^2 H_1] with the wrong sign before its term in student 1 and teacher 1.
fn flipped_sign(fields: &Fields) -> Array2<f64> {
    let mut moments = error_moments(fields);
    let teacher = fields.students();
    let [_, product] = two_moments(fields.link(0, teacher));
    moments[[0, 0]] -=
        4.0 * fields.readout(0) * fields.readout(teacher) * fields.norm(0) * fields.norm(teacher) * product;
    moments
}

/// The right law passes at the level 0.01; each fault is refused at 1e-6.
fn laws(name: &str, spec: &ValidateSpec, noise: f64, lines: &mut Lines) {
    let right = validate(spec, &go).unwrap();
    let p = number(&right, "p_value");
    lines.note(right.results["line"].as_str().unwrap());
    lines.line(&format!("{name}: right law, p"), format!("{p:.3}"), ">= 0.01", p >= 0.01);
    let plain = ValidateSpec { test_inputs: 0, ..spec.clone() };
    let mut refused = |what: &str, spec: &ValidateSpec, simulated: Sgd, fault: Fault| {
        let p = number(&validate_against(spec, simulated, fault, &go).unwrap(), "p_value");
        lines.line(&format!("{name}: {what}, p"), format!("{p:.1e}"), "< 1e-6", p < 1e-6);
    };
    refused("eta^2 x 0.98", &plain, spec.rule, Fault { squares: 0.98, ..Fault::default() });
    let wrong: [(&str, Wrong); 2] =
        [("a coincidence of I4 missing", dropped_coincidence), ("a sign of I4 flipped", flipped_sign)];
    // Later these laws leave the set of Gram matrices, and the equations themselves refuse them.
    let early = ValidateSpec { time: spec.time.min(4.0), ..plain.clone() };
    for (what, error_moments) in wrong {
        refused(what, &early, spec.rule, Fault { error_moments, ..Fault::default() });
    }
    let simulated = Sgd { label_noise: 0.2, ..spec.rule };
    let other = ValidateSpec { rule: Sgd { label_noise: noise, ..simulated }, ..plain };
    let what = format!("label noise 0.2 taken for {noise}");
    refused(&what, &other, simulated, Fault::default());
}

fn spec(dimensions: &[usize], runs: usize, time: f64) -> ValidateSpec {
    ValidateSpec {
        dimensions: dimensions.to_vec(),
        runs,
        time,
        points: 4,
        checks: 4,
        explicit_limit: 0.0,
        ..ValidateSpec::default()
    }
}

/// About two minutes.
#[test]
#[ignore = "evidence"]
fn validate_laws() {
    let mut lines = Lines::new("validate_laws");
    laws("K = M = 2, d = 4000, eta = 0.5", &spec(&[4000], 4000, 24.0), 0.21, &mut lines);
    lines.close();
}

/// About five minutes. A batch of 4 at this rate makes the terms in eta^2 a tenth of those above.
#[test]
#[ignore = "evidence"]
fn validate_laws_batch() {
    let mut lines = Lines::new("validate_laws_batch");
    let rule = Sgd { learning_rate: 0.3, batch: 4, label_noise: 0.2, ..Sgd::default() };
    let teacher = "graded:0.5".parse().unwrap();
    let spec = ValidateSpec { students: 4, teachers: 3, teacher, rule, ..spec(&[2000], 6000, 12.0) };
    laws("K = 4, M = 3, d = 2000, eta = 0.3, B = 4, sigma = 0.2", &spec, 0.21, &mut lines);
    lines.close();
}

/// The two simulators at one d: means and variances of all overlaps, 10 000 runs each. About a minute.
#[test]
#[ignore = "evidence"]
fn validate_witness() {
    let mut lines = Lines::new("validate_witness");
    let spec = ValidateSpec { test_inputs: 0, explicit_limit: 1e12, ..spec(&[40, 400], 10_000, 4.0) };
    let report = validate(&spec, &go).unwrap();
    let table = report.table("witness").unwrap();
    for d in [40.0, 400.0] {
        for column in ["p_mean", "p_variance"] {
            let all = table.numbers("dimension").into_iter().zip(table.numbers(column));
            let p_values: Vec<f64> = all.filter(|row| row.0 == Some(d)).filter_map(|row| row.1).collect();
            let p = holm_smallest(&p_values);
            let line = format!("d = {d}, 10 000 runs each, smallest {column} of {} (Holm)", p_values.len());
            lines.line(&line, format!("{p:.3}"), ">= 0.01", p >= 0.01);
        }
    }
    lines.close();
}

/// One run deviates from the equations like d^(-1/2). About half a minute.
#[test]
#[ignore = "evidence"]
fn quick_validate_exponent() {
    let mut lines = Lines::new("quick_validate_exponent");
    let dimensions = [100, 1000, 10_000, 100_000, 1_000_000];
    let report = validate(&ValidateSpec { points: 10, ..spec(&dimensions, 32, 5.0) }, &go).unwrap();
    let agreement = report.table("agreement").unwrap();
    for (d, rms) in dimensions.iter().zip(agreement.numbers("deviation")) {
        lines.note(&format!("d = {d}: rms deviation {:.3e}", rms.unwrap()));
    }
    let (slope, error) = (number(&report, "exponent"), number(&report, "exponent_error"));
    let measured = format!("{slope:.4} +- {error:.4}");
    lines.line("exponent, d = 1e2 ... 1e6, 32 runs each", measured, "-0.5 +- 0.05", (slope + 0.5).abs() < 0.05);
    lines.close();
}

/// The mean of many runs differs from the equations of d = infinity like 1/d, from the mean predicted at d like 1/d^2. Mean
/// squares are taken less their expectation by chance; the number of runs keeps that small against 1/d^4. About five
/// minutes.
#[test]
#[ignore = "evidence"]
fn validate_bias() {
    let mut lines = Lines::new("validate_bias");
    let teacher = Teacher::orthonormal(2).unwrap();
    let start = InitialLaw::new(14, 1.0, &teacher).unwrap().draw(2, &teacher, 1, 0).unwrap();
    let overlaps = start.overlaps(&teacher);
    let rule = Sgd { learning_rate: 0.5, ..Sgd::default() };
    let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
    // Whole steps at every d.
    let times = [1.0, 2.0, 4.0];
    let limit = evolve_sgd(&overlaps, &equations, &times, 1e-11).unwrap().trajectory;
    let limit: Vec<Vec<f64>> = limit.frames.iter().map(|frame| equations.pack(&frame.overlaps)).collect();
    let dimensions = [14usize, 20, 28, 40];
    let mut heights = [Vec::new(), Vec::new()];
    for (&dimension, batches) in dimensions.iter().zip([4, 8, 24, 64]) {
        let finite = equations.clone().at_dimension(dimension as f64).unwrap();
        let path = mean_path(&overlaps, &finite, &times, 1 << 19, 7).unwrap();
        let runs = 125_000;
        let (mut mean, mut square) = (Array2::<f64>::zeros((3, 7)), Array2::<f64>::zeros((3, 7)));
        for seed in 0..batches {
            let (teacher, start, times) = (teacher.clone(), start.clone(), times.to_vec());
            let simulation = Simulation { dimension, rule, teacher, start, times, runs, seed, test_inputs: 0 };
            let moments = chain::simulate(&simulation, &|_| true).unwrap().moments();
            mean += &(&moments.mean / batches as f64);
            square += &(&moments.variance / (runs as f64 * (batches * batches) as f64));
        }
        let size = |predicted: &dyn Fn(usize, usize) -> f64| {
            let sum: f64 = mean.indexed_iter().map(|(at, x)| (x - predicted(at.0, at.1)).powi(2) - square[at]).sum();
            (sum.max(0.0) / 21.0).sqrt()
        };
        let (plain, corrected) = (size(&|t, i| limit[t][i]), size(&|t, i| path[t].mean[i]));
        let noise = (square.sum() / 21.0).sqrt();
        lines.note(&format!(
            "d = {dimension}: bias {plain:.3e}, of the predicted mean {corrected:.3e}, noise {noise:.1e}"
        ));
        heights[0].push(plain.ln());
        heights[1].push(corrected.ln());
    }
    let logarithms: Vec<f64> = dimensions.iter().map(|&d| (d as f64).ln()).collect();
    for (what, bar, heights) in
        [("equations of d = infinity", -1.0, &heights[0]), ("predicted mean", -2.0, &heights[1])]
    {
        let (slope, _) = line_fit(&logarithms, heights);
        let line = format!("exponent of the bias, {what}, d = 14 ... 40");
        lines.line(&line, format!("{slope:.3}"), &format!("{bar} +- 0.3"), (slope - bar).abs() < 0.3);
    }
    lines.close();
}
