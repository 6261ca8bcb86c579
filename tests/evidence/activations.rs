//! Leaky ReLU, linear and erf.

use crate::lines::Lines;
use committee::dynamics::{Fault, local_threshold};
use committee::expectation::{Averages, Erf, Leaky, Pair, Quad};
use committee::landscape::{Point, settle};
use committee::model::{Activation, InitialLaw, Sgd, Teacher};
use committee::study::{ValidateSpec, validate, validate_against};
use serde_json::Value;

/// Averages against 35-digit values, thresholds of erf, the laws of SGD, ends of gradient flow. Half a minute.
#[test]
#[ignore = "evidence"]
fn quick_activations() {
    let mut lines = Lines::new("quick_activations");
    let table: Value = serde_json::from_str(include_str!("../reference/activations.json")).unwrap();
    let cases = table["cases"].as_array().unwrap();
    // Largest error in units of what bounds the average: for erf the squared norm, for leaky ReLU the product of norms.
    let mut worst = [[0.0f64; 3]; 2];
    for case in cases {
        let vectors: Vec<Vec<f64>> = serde_json::from_value(case["vectors"].clone()).unwrap();
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| vectors[i].as_slice());
        let dot = |u: &[f64], v: &[f64]| u.iter().zip(v).map(|(x, y)| x * y).sum::<f64>();
        let norms = [a, b, c, d].map(|v| dot(v, v).sqrt());
        let slope = case["slope"].as_f64().unwrap();
        let largest = norms.iter().fold(1.0f64, |m, n| m.max(*n)).powi(2);
        let all = (1.0 + slope.abs()).powi(4);
        let bounds = [
            [largest, norms[1] * largest, largest],
            [norms[0] * norms[1], norms[1] * norms[2], norms[2] * norms[3]].map(|x| (x * all).max(f64::MIN_POSITIVE)),
        ];
        let (quad, pair, outer) =
            (Quad::from_vectors([a, b, c, d]), Pair::from_vectors(a, b), Pair::from_vectors(a, c));
        let (first, second) = (dot(a, b), dot(b, c));
        let leaky = Leaky { slope };
        let found = [
            [Erf.pair(&pair).value, Erf.triple(&outer, first, second).value, Erf.quadruple(&quad).value],
            [leaky.pair(&pair).value, leaky.triple(&outer, first, second).value, leaky.quadruple(&quad).value],
        ];
        for (kind, name) in ["erf", "leaky"].into_iter().enumerate() {
            for (n, average) in ["pair", "triple", "quadruple"].into_iter().enumerate() {
                let expected: f64 = case[name][average].as_str().unwrap().parse().unwrap();
                worst[kind][n] = worst[kind][n].max((found[kind][n] - expected).abs() / bounds[kind][n]);
            }
        }
    }
    for (name, worst, bar, text) in [("erf", worst[0], 2e-15, "2e-15"), ("leaky ReLU", worst[1], 2e-14, "2e-14")] {
        for (average, error) in ["pair", "triple", "quadruple"].into_iter().zip(worst) {
            let line = format!("{name}, {average} average, {} cases", cases.len());
            lines.line(&line, format!("{error:.1e}"), text, error < bar);
        }
    }
    for (m, expected) in [(1, 4.0558), (2, 2.30683), (3, 1.62067), (4, 1.24939)] {
        let teacher = Teacher::orthonormal(m).unwrap().with_activation(Activation::Erf).unwrap();
        let found = local_threshold(&teacher, 1).unwrap();
        let bar = if m == 1 { 5e-5 } else { 1e-5 };
        let line = format!("erf, threshold of SGD at the teacher, K = M = {m}");
        lines.line(&line, format!("{found:.6}"), &format!("{expected}"), (found - expected).abs() < bar);
    }
    for (activation, learning_rate) in
        [(Activation::Erf, 2.0), (Activation::LeakyRelu { slope: 0.3 }, 0.5), (Activation::Linear, 0.5)]
    {
        let spec = ValidateSpec {
            activation,
            dimensions: vec![1000],
            runs: 4000,
            time: 4.0,
            points: 4,
            checks: 4,
            test_inputs: 0,
            explicit_limit: 0.0,
            samples: 1 << 14,
            rule: Sgd { learning_rate, label_noise: 0.2, ..Sgd::default() },
            ..ValidateSpec::default()
        };
        let p = |report: committee::report::Report| report.results["p_value"].as_f64().unwrap();
        let right = p(validate(&spec, &|_, _| true).unwrap());
        lines.line(
            &format!("{activation}, eta = {learning_rate}: right law, p"),
            format!("{right:.3}"),
            ">= 0.01",
            right >= 0.01,
        );
        let fault = Fault { squares: 0.95, ..Fault::default() };
        let wrong = p(validate_against(&spec, spec.rule, fault, &|_, _| true).unwrap());
        lines.line(&format!("{activation}: eta^2 x 0.95, p"), format!("{wrong:.1e}"), "< 1e-6", wrong < 1e-6);
    }
    for (k, m, activation) in [
        (6, 6, Activation::Erf),
        (8, 6, Activation::Erf),
        (6, 6, Activation::LeakyRelu { slope: 0.2 }),
        (7, 6, Activation::LeakyRelu { slope: 0.2 }),
        (6, 6, Activation::Linear),
    ] {
        let teacher = Teacher::orthonormal(m).unwrap().with_activation(activation).unwrap();
        let law = InitialLaw::new(k + m, 1.0, &teacher).unwrap();
        let (mut verified, mut names) = (0, std::collections::BTreeMap::<String, usize>::new());
        for run in 0..50 {
            let start = law.draw(k, &teacher, 1, run).unwrap();
            let Ok(end) = settle(&start, &teacher, 0) else { continue };
            let point = Point::new(&end.weights, &teacher, 0).unwrap();
            verified += usize::from(end.residual <= 1e-13);
            *names.entry(format!("{} ({})", point.verdict.name(), point.family.name)).or_default() += 1;
        }
        lines.line(
            &format!("{activation}, K = {k}, M = {m}: verified ends of 50 runs"),
            verified,
            "50",
            verified == 50,
        );
        for (name, count) in names {
            lines.note(&format!("{count} {name}"));
        }
    }
    lines.close();
}
