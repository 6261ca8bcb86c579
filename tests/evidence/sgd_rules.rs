//! One-pass SGD with norms held, orthonormal students, trained readouts and momentum: equations, chain and networks in d
//! dimensions agree, and laws wrong by a few per cent are refused.

use crate::lines::Lines;
use committee::dynamics::Fault;
use committee::model::{Constraint, Sgd};
use committee::report::Report;
use committee::study::{ValidateSpec, validate, validate_against};

fn go(_: usize, _: usize) -> bool {
    true
}

fn p_value(report: &Report) -> f64 {
    report.results["p_value"].as_f64().unwrap()
}

/// Every rule with its wrong laws: what is wrong, the rule that is simulated, the fault of the equations.
#[allow(clippy::type_complexity)]
fn rules() -> Vec<(&'static str, Sgd, Vec<(&'static str, Sgd, Fault)>)> {
    let plain = Sgd { learning_rate: 0.5, label_noise: 0.2, ..Sgd::default() };
    let none = Fault::default();
    let squares = Fault { squares: 0.95, ..none };
    let radial = |radial: f64| Fault { radial, ..none };
    let sphere = Sgd { constraint: Constraint::Sphere, ..plain };
    let stiefel = Sgd { constraint: Constraint::Stiefel, ..plain };
    let layers = Sgd { readout_rate: 1.0, learning_rate: 0.4, ..plain };
    let heavy = Sgd { momentum: 0.5, learning_rate: 0.25, ..plain };
    let both = Sgd { momentum: 0.8, learning_rate: 0.1, ..sphere };
    let readouts = Fault { readouts: 0.98, ..none };
    let independent = Fault { squares: (1.0 - 0.5) / (1.0 + 0.5), ..none };
    vec![
        (
            "sphere",
            sphere,
            vec![
                ("eta^2 x 0.95", sphere, squares),
                ("what is taken away x 0.98", sphere, radial(0.98)),
                ("nothing taken away", sphere, radial(0.0)),
            ],
        ),
        (
            "stiefel",
            stiefel,
            vec![
                ("eta^2 x 0.95", stiefel, squares),
                ("what is taken away x 0.98", stiefel, radial(0.98)),
                ("nothing taken away", stiefel, radial(0.0)),
            ],
        ),
        ("two layers", layers, vec![("readout rate x 0.98", layers, readouts), ("eta^2 x 0.95", layers, squares)]),
        (
            "momentum 0.5",
            heavy,
            vec![
                ("momentum 0.51 simulated", Sgd { momentum: 0.51, ..heavy }, none),
                ("eta^2 x 0.95", heavy, squares),
                ("eta^2/(1 - mu^2) for eta^2/(1 - mu)^2", heavy, independent),
            ],
        ),
        (
            "momentum 0.8 on the sphere",
            both,
            vec![("momentum 0.804 simulated", Sgd { momentum: 0.804, ..both }, none), ("eta^2 x 0.95", both, squares)],
        ),
    ]
}

/// K = M = 2. At d = 10 000, 200 runs of the chain against the equations; at d = 200, as many networks against the chain. A wrong
/// multiplier shows at once in what is held; eta^2 x 0.95 leaves that alone.
#[test]
#[ignore = "evidence"]
fn quick_sgd_rules() {
    let mut lines = Lines::new("quick_sgd_rules");
    for (name, rule, wrong) in rules() {
        let spec = ValidateSpec {
            dimensions: vec![200, 10_000],
            init_dimension: Some(100),
            runs: 200,
            time: 3.0,
            points: 3,
            checks: 3,
            test_inputs: 50,
            explicit_limit: 1e9,
            rule,
            ..ValidateSpec::default()
        };
        let right = validate(&spec, &go).unwrap();
        lines.note(right.results["line"].as_str().unwrap());
        let p = p_value(&right);
        let agrees = right.results["verdict"] == "agrees" && p >= 0.01;
        lines.line(&format!("{name}: right law, p"), format!("{p:.3}"), ">= 0.01", agrees);
        let refused = ValidateSpec { dimensions: vec![10_000], test_inputs: 0, explicit_limit: 0.0, ..spec };
        for (what, simulated, fault) in wrong {
            let p = p_value(&validate_against(&refused, simulated, fault, &go).unwrap());
            lines.line(&format!("{name}: {what}, p"), format!("{p:.1e}"), "< 1e-6", p < 1e-6);
        }
    }
    lines.close();
}
