use super::*;
use crate::expectation::quadruple::two_moments;
use crate::population::{Fields, error_moments};

fn spec(dimensions: &[usize], runs: usize) -> ValidateSpec {
    ValidateSpec { dimensions: dimensions.to_vec(), runs, time: 4.0, points: 4, checks: 4, ..ValidateSpec::default() }
}

fn p_value(report: &Report) -> f64 {
    report.results["p_value"].as_f64().unwrap()
}

#[test]
fn the_right_law_agrees() {
    let report = validate(&ValidateSpec { init_dimension: Some(40), ..spec(&[60, 120], 400) }, &|_, _| true).unwrap();
    assert_eq!(report.results["verdict"], "agrees", "{}", report.results["line"]);
    assert_eq!(report.table("agreement").unwrap().rows.len(), 4, "both simulators at both d");
    // 7 overlaps and all together at 4 times: 2 d, 2 simulators, means; 2 d, witness means and variances; test errors at 4
    // times.
    assert_eq!(report.results["tests"], 4 * 32 + 2 * 56 + 4 * 4);
}

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

fn refused(spec: &ValidateSpec, simulated: Sgd, fault: Fault) {
    let p = p_value(&validate_against(spec, simulated, fault, &|_, _| true).unwrap());
    assert!(p < 1e-6, "p = {p}");
}

fn chain_only(spec: ValidateSpec) -> ValidateSpec {
    ValidateSpec { test_inputs: 0, explicit_limit: 0.0, ..spec }
}

/// 2 % on the terms in eta^2; one four-field average of E[e^2 H H] missing, or of the wrong sign.
#[test]
fn wrong_equations_are_refused() {
    let wide = chain_only(spec(&[1000], 4000));
    refused(&wide, wide.rule, Fault { squares: 0.98, ..Fault::default() });
    for error_moments in [dropped_coincidence, flipped_sign] {
        refused(&ValidateSpec { runs: 300, ..wide.clone() }, wide.rule, Fault { error_moments, ..Fault::default() });
    }
}

/// Label noise 0.21 for 0.2, late in training at a large rate, where the noise is most of the error.
#[test]
fn wrong_label_noise_is_refused() {
    let rule = Sgd { learning_rate: 1.0, label_noise: 0.2, ..Sgd::default() };
    let late = ValidateSpec { time: 12.0, points: 2, checks: 1, ..chain_only(spec(&[300], 10_000)) };
    refused(&ValidateSpec { rule: Sgd { label_noise: 0.21, ..rule }, ..late }, rule, Fault::default());
}
