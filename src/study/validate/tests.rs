use super::*;
use crate::expectation::{Averages, Quad, Relu};
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
    // 7 overlaps at 4 times: 2 d, 2 simulators, means; 2 d, witness means and variances; test errors at 4 times.
    assert_eq!(report.results["tests"], 4 * 28 + 2 * 56 + 4 * 4);
}

/// Laws wrong by a little, refused: 2 % on the terms in eta^2, label noise 0.21 for 0.2.
#[test]
fn wrong_laws_are_refused() {
    let wide = ValidateSpec { test_inputs: 0, explicit_limit: 0.0, ..spec(&[1000], 6000) };
    let refused = |spec: &ValidateSpec, simulated: Sgd, fault: Fault| {
        let p = p_value(&validate_against(spec, simulated, fault, &|_, _| true).unwrap());
        assert!(p < 1e-6, "p = {p}");
    };
    refused(&wide, wide.rule, Fault { squares: 0.98, ..Fault::default() });
    let noisy = Sgd { label_noise: 0.2, ..wide.rule };
    refused(&ValidateSpec { rule: Sgd { label_noise: 0.21, ..noisy }, ..wide.clone() }, noisy, Fault::default());
}
