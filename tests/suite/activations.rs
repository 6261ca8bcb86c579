//! Leaky ReLU, linear and erf: averages against 35-digit references, loss and derivatives against differences and
//! against each other, equations of SGD against drawn inputs, thresholds.

use committee::dynamics::{Equations, Fault, evolve_sgd, local_threshold, mean_path};
use committee::expectation::{Averages, Erf, Leaky, Linear, Pair, Quad, Relu};
use committee::landscape::{Point, Verdict, settle};
use committee::model::{Activation, InitialLaw, Overlaps, Sgd, Teacher, Weights};
use committee::numerics::{linalg, random};
use committee::population::{
    Field, Fields, coefficients, error_moments, error_moments_at, hessian, risk, risk_exact, step_moments,
};
use committee::simulation::{Simulation, chain, explicit};
use committee::study::{ValidateSpec, validate, validate_against};
use ndarray::{Array1, Array2, array};
use rand::Rng;
use rand_distr::StandardNormal;
use serde_json::Value;
use std::f64::consts::PI;

const ALL: [Activation; 5] = [
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.1 },
    Activation::LeakyRelu { slope: -0.6 },
    Activation::Linear,
    Activation::Erf,
];

fn dot(u: &[f64], v: &[f64]) -> f64 {
    u.iter().zip(v).map(|(a, b)| a * b).sum()
}

/// Averages of one kind as functions of ten covariances aa, ab, ac, ad, bb, bc, bd, cc, cd, dd.
fn averages(g: &impl Averages, slope: f64, which: &str, vectors: &[Vec<f64>]) -> [f64; 3] {
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| vectors[i].as_slice());
    let found = [
        g.pair(&Pair::from_vectors(a, b)).value,
        g.triple(&Pair::from_vectors(a, c), dot(a, b), dot(b, c)).value,
        g.quadruple(&Quad::from_vectors([a, b, c, d])).value,
    ];
    assert!(found.iter().all(|x| x.is_finite()), "{which} {slope}");
    found
}

/// Absolute 2e-15 in units of what bounds the average for erf (times the variance, which enters where large fields nearly
/// cancel); 2e-14 in the same units for leaky ReLU, whose orthants are good to 1e-14.
#[test]
fn references() {
    let table: Value = serde_json::from_str(include_str!("../reference/activations.json")).expect("JSON");
    let cases = table["cases"].as_array().expect("cases");
    assert!(cases.len() >= 40);
    for case in cases {
        let rows = case["vectors"].as_array().expect("vectors").iter();
        let vectors: Vec<Vec<f64>> = rows
            .map(|row| row.as_array().expect("row").iter().map(|x| x.as_f64().expect("number")).collect())
            .collect();
        let slope = case["slope"].as_f64().expect("slope");
        let norms: Vec<f64> = vectors.iter().map(|v| dot(v, v).sqrt()).collect();
        let number =
            |kind: &str, name: &str| case[kind][name].as_str().expect("digits").parse::<f64>().expect("number");
        let largest = norms.iter().fold(1.0f64, |m, n| m.max(*n));
        let found = averages(&Erf, 0.0, "erf", &vectors);
        for ((name, found), size) in ["pair", "triple", "quadruple"].into_iter().zip(found).zip([1.0, norms[1], 1.0]) {
            let error = (found - number("erf", name)).abs();
            assert!(error <= 2e-15 * size * largest * largest, "{case} erf {name}: {error:e}");
        }
        let found = averages(&Leaky { slope }, slope, "leaky", &vectors);
        let sizes = [norms[0] * norms[1], norms[1] * norms[2], norms[2] * norms[3]];
        for ((name, found), size) in ["pair", "triple", "quadruple"].into_iter().zip(found).zip(sizes) {
            let error = (found - number("leaky", name)).abs();
            let factor = (1.0 + slope.abs()).powi(4);
            assert!(error <= 2e-14 * size * factor, "{case} leaky {name}: {error:e}");
        }
    }
}

/// All derivatives by covariances against central differences, variances away from 1.
#[test]
fn derivatives_of_averages_match_differences() {
    fn check(name: &str, g: &impl Averages) {
        let c = [1.3, 0.4, -0.2, 0.3, 0.9, 0.35, -0.25, 1.6, 0.5, 0.7];
        let h = 1e-5;
        let matrix = |c: &[f64; 10]| {
            [[c[0], c[1], c[2], c[3]], [0.0, c[4], c[5], c[6]], [0.0, 0.0, c[7], c[8]], [0.0, 0.0, 0.0, c[9]]]
        };
        let shifted = |k: usize, s: f64| {
            let mut c = c;
            c[k] += s * h;
            c
        };
        let close = |what: &str, analytic: f64, f: &dyn Fn(&[f64; 10]) -> f64, k: usize| {
            let numeric = (f(&shifted(k, 1.0)) - f(&shifted(k, -1.0))) / (2.0 * h);
            assert!((analytic - numeric).abs() < 1e-8, "{name} {what} by {k}: {analytic} against {numeric}");
        };
        let quad = |c: &[f64; 10]| g.quadruple(&Quad::from_covariance(&matrix(c)));
        (0..10).for_each(|k| close("quadruple", quad(&c).derivatives[k], &|c| quad(c).value, k));
        // u = a, v = b.
        let pair = |c: &[f64; 10]| Pair::from_covariance(c[0], c[4], c[1]);
        let (p, second) = (g.pair(&pair(&c)), g.curvature(&pair(&c)));
        let first =
            |pick: fn(&committee::expectation::PairAverage) -> f64| move |c: &[f64; 10]| pick(&g.pair(&pair(c)));
        close("pair", p.d_uu, &first(|p| p.value), 0);
        close("pair", p.d_vv, &first(|p| p.value), 4);
        close("pair", p.d_uv, &first(|p| p.value), 1);
        close("d_uu", second.uu_uu, &first(|p| p.d_uu), 0);
        close("d_uu", second.uu_vv, &first(|p| p.d_uu), 4);
        close("d_uu", second.uu_uv, &first(|p| p.d_uu), 1);
        close("d_vv", second.vv_vv, &first(|p| p.d_vv), 4);
        close("d_uv", second.vv_uv, &first(|p| p.d_uv), 4);
        close("d_uv", second.uv_uv, &first(|p| p.d_uv), 1);
        // u = a, v = b, w = c.
        let triple = |c: &[f64; 10]| g.triple(&Pair::from_covariance(c[0], c[7], c[2]), c[1], c[5]);
        let t = triple(&c);
        for (slope, k) in [(t.d_uu, 0), (t.d_ww, 7), (t.d_uv, 1), (t.d_uw, 2), (t.d_vw, 5)] {
            close("triple", slope, &|c| triple(c).value, k);
        }
    }
    check("relu", &Relu);
    check("leaky 0.2", &Leaky { slope: 0.2 });
    check("leaky -0.7", &Leaky { slope: -0.7 });
    check("linear", &Linear);
    check("erf", &Erf);
}

/// Slope 0 is ReLU to the bit, in the averages and in everything built on a teacher; slope 1 is linear.
#[test]
fn limits_of_leaky_relu() {
    let u = [[0.3, -0.4, 1.2, 0.1], [1.0, 0.2, 0.5, -0.3], [0.4, 0.9, -0.3, 1.0], [-0.5, 0.3, 0.8, 0.2]];
    let (pair, quad) = (Pair::from_vectors(&u[0], &u[1]), Quad::from_vectors([&u[0], &u[1], &u[2], &u[3]]));
    assert_eq!(Leaky { slope: 0.0 }.pair(&pair), Relu.pair(&pair));
    assert_eq!(Leaky { slope: 0.0 }.quadruple(&quad), Relu.quadruple(&quad));
    let (found, expected) = (Leaky { slope: 1.0 }.quadruple(&quad), Linear.quadruple(&quad));
    assert!((found.value - expected.value).abs() < 1e-14);
    assert!(found.derivatives.iter().zip(expected.derivatives).all(|(x, y)| (x - y).abs() < 1e-13));
    assert_eq!(Leaky { slope: 1.0 }.pair(&pair), Linear.pair(&pair));
    let (weights, plain) = state(4, 3, 9, Activation::Relu);
    let leaky = |slope| plain.clone().with_activation(Activation::LeakyRelu { slope }).unwrap();
    assert_eq!(leaky(0.0), plain);
    assert_eq!(leaky(1.0).activation(), Activation::Linear);
    // Next to the two ends everything is continuous: the algebra of leaky ReLU is also theirs.
    for (slope, end) in [(1e-13, plain.clone()), (1.0 + 1e-13, leaky(1.0))] {
        let near = leaky(slope);
        let moments = |teacher: &Teacher| error_moments(&Fields::from_weights(&weights, teacher, 0));
        assert!(linalg::max_abs(&(moments(&near) - moments(&end))) < 1e-11, "{slope}");
        assert!((risk(&weights, &near, 0) - risk(&weights, &end, 0)).abs() < 1e-11);
        assert!(linalg::max_abs(&(gradient(&weights, &near) - gradient(&weights, &end))) < 1e-11);
    }
    // Linear: L = |sum a w - sum b v|^2 / 2.
    let teacher = leaky(1.0);
    let fields = Fields::from_weights(&weights, &teacher, 0);
    let target = teacher.readouts().row(0).dot(teacher.vectors());
    let mut rest = weights.readouts().row(0).dot(weights.rows());
    rest.iter_mut().zip(&target).for_each(|(rest, target)| *rest -= target);
    let loss = 0.5 * rest.dot(&rest);
    for found in [risk(&weights, &teacher, 0), risk_exact(&weights, &teacher, 0), fields.risk()] {
        assert!((found - loss).abs() < 1e-15 * (1.0 + loss), "{found} {loss}");
    }
    assert!(error_moments(&fields).iter().all(|x| (x - 2.0 * loss).abs() < 1e-14));
    let a = weights.readouts();
    let expected = Array2::from_shape_fn(weights.rows().dim(), |(i, c)| a[[0, i]] * rest[c]);
    assert!(linalg::max_abs(&(gradient(&weights, &teacher) - expected)) < 1e-15 * 10.0);
}

fn state(k: usize, m: usize, d: usize, activation: Activation) -> (Weights, Teacher) {
    let readouts = Array2::from_shape_fn((1, m), |(_, i)| 1.0 - 0.2 * i as f64);
    let gram = Array2::from_shape_fn((m, m), |(i, j)| if i == j { 1.0 + 0.3 * i as f64 } else { 0.2 });
    let teacher = Teacher::new(gram, Some(readouts)).unwrap().with_activation(activation).unwrap();
    let weights = InitialLaw::new(d, 1.0, &teacher).unwrap().draw(k, &teacher, 5, 0).unwrap();
    let a = Array2::from_shape_fn((1, k), |(_, i)| 1.0 - 0.5 * i as f64 + 0.1 * (i * i) as f64);
    (Weights::new(weights.rows().clone(), Some(a), &teacher).unwrap(), teacher)
}

fn gradient(weights: &Weights, teacher: &Teacher) -> Array2<f64> {
    Field::new(weights, teacher, 0).gradient_at(weights.rows().view())
}

/// Loss three ways, gradient and coefficients two ways and against differences of the double-double loss, Hessian inside and
/// across the span against differences of the gradient; zero and parallel units too.
#[test]
fn loss_gradient_and_hessian() {
    for activation in ALL {
        for (k, m, d, special) in [(3, 2, 6, false), (9, 5, 8, false), (1, 1, 2, false), (4, 3, 8, true)] {
            let (mut weights, teacher) = state(k, m, d, activation);
            if special {
                let mut rows = weights.rows().clone();
                let first = rows.row(0).to_owned();
                rows.row_mut(2).assign(&(&first * -1.0));
                if activation.is_smooth() {
                    rows.row_mut(1).fill(0.0);
                    rows.row_mut(3).assign(&first);
                }
                weights = weights.with_rows(rows);
            }
            let fields = Fields::from_weights(&weights, &teacher, 0);
            let exact = risk_exact(&weights, &teacher, 0);
            let of_overlaps = Fields::from_overlaps(&weights.overlaps(&teacher), &teacher, 0);
            for loss in [risk(&weights, &teacher, 0), fields.risk(), of_overlaps.risk()] {
                assert!((loss - exact).abs() < 2e-15 * (1 + k * m) as f64, "{activation}: {loss} {exact}");
            }
            let (g, c) = (gradient(&weights, &teacher), coefficients(&weights, &teacher, 0));
            for other in [fields.coefficients(), of_overlaps.coefficients()] {
                let error = linalg::max_abs(&(&c.a - &other.a)).max(linalg::max_abs(&(&c.b - &other.b)));
                assert!(error < 1e-7, "{activation} K = {k}: {error:e}");
            }
            assert!(linalg::max_abs(&(&c.a - &c.a.t())) < 1e-15);
            let direction = Array2::from_shape_fn(weights.rows().dim(), |(i, c)| ((3 * i + 5 * c) as f64).sin());
            let moved = |h: f64| weights.with_rows(weights.rows() + &(&direction * h));
            let h = 1e-4;
            let slope = (risk_exact(&moved(h), &teacher, 0) - risk_exact(&moved(-h), &teacher, 0)) / (2.0 * h);
            assert!(
                (slope - (&g * &direction).sum()).abs() < 2e-7,
                "{activation}: {slope} {}",
                (&g * &direction).sum()
            );
            let difference = (gradient(&moved(1e-5), &teacher) - gradient(&moved(-1e-5), &teacher)) / 2e-5;
            let full = hessian(&weights, &teacher, 0).unwrap();
            let product = full.span.dot(&Array1::from_iter(direction.iter().copied()));
            // At parallel units the Hessian of kinked activations is not differentiable.
            let bound = if special && !activation.is_smooth() { 1e-4 } else { 1e-7 };
            for (x, y) in difference.iter().zip(&product) {
                assert!((x - y).abs() < bound, "{activation}, K = {k}, {special}: {x} {y}");
            }
            assert_eq!(full.transverse, c.a);
        }
    }
}

/// The loss against drawn inputs, and the one-sample moments: nothing here but g itself.
#[test]
fn averages_of_drawn_inputs() {
    let mut rng = random::stream(3, &[5]);
    for activation in ALL {
        let (weights, teacher) = state(2, 2, 4, activation);
        let fields = Fields::from_weights(&weights, &teacher, 0);
        let d = 10.0;
        let (moments, steps) = (error_moments(&fields), step_moments(&fields));
        let finite = error_moments_at(moments.clone(), &fields, 1.0 / d);
        let samples = 400_000;
        let mut sums = [[0.0f64; 2]; 5];
        for _ in 0..samples {
            let x: Vec<f64> = (0..10).map(|_| rng.sample(StandardNormal)).collect();
            let field = |row: ndarray::ArrayView1<f64>| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
            let mut e = 0.0;
            for (row, a) in weights.rows().outer_iter().zip(weights.readouts()) {
                e += a * activation.value(field(row));
            }
            for (row, b) in teacher.vectors().outer_iter().zip(teacher.readouts()) {
                e -= b * activation.value(field(row));
            }
            let [first, second] = [0, 1].map(|i| activation.derivative(field(weights.rows().row(i))));
            let square = x.iter().map(|x| x * x).sum::<f64>() / d;
            let values = [
                0.5 * e * e,
                e * e * first * second,
                e * e * first * first,
                first * second,
                e * e * first * second * square,
            ];
            for (sum, value) in sums.iter_mut().zip(values) {
                sum[0] += value;
                sum[1] += value * value;
            }
        }
        let expected = [fields.risk(), moments[[0, 1]], moments[[0, 0]], steps[[0, 1]], finite[[0, 1]]];
        for (n, (sum, expected)) in sums.iter().zip(expected).enumerate() {
            let mean = sum[0] / samples as f64;
            let error = ((sum[1] / samples as f64 - mean * mean) / samples as f64).sqrt();
            assert!((mean - expected).abs() < 4.5 * error + 1e-12, "{activation}, {n}: {mean} {expected} {error}");
        }
    }
}

/// The Jacobian of the equations of SGD against central differences of the velocity.
#[test]
fn jacobians_match_differences() {
    for activation in ALL {
        for (k, m, d) in [(1, 1, 5), (2, 2, 9), (3, 2, 9), (2, 4, 4)] {
            let (weights, teacher) = state(k, m, d, activation);
            let start = weights.overlaps(&teacher);
            let rule = Sgd { learning_rate: 0.7, batch: 2, label_noise: 0.4, weight_decay: 0.2, ..Sgd::default() };
            let equations = Equations::new(&start, &teacher, rule).unwrap();
            let x = equations.pack(&start);
            let (jacobian, n) = (equations.jacobian(0.0, &x), equations.dim());
            for column in 0..n {
                let shifted = |h: f64| {
                    let (mut y, mut v) = (x.clone(), vec![0.0; n]);
                    y[column] += h;
                    equations.velocity(0.0, &y, &mut v);
                    v
                };
                let (up, down) = (shifted(1e-5), shifted(-1e-5));
                for row in 0..n {
                    let numeric = (up[row] - down[row]) / 2e-5;
                    let error = (jacobian[[row, column]] - numeric).abs();
                    assert!(error < 2e-7 * (1.0 + numeric.abs()), "{activation} K = {k}: {row} by {column}: {error:e}");
                }
            }
        }
    }
}

/// Gradient flow of the weights is gradient flow of the overlaps, and never raises the loss.
#[test]
fn flows_of_weights_and_overlaps_agree() {
    use committee::dynamics::{Integrator, evolve};
    for activation in ALL {
        let (weights, teacher) = state(3, 2, 7, activation);
        let start = weights.overlaps(&teacher);
        let frames = evolve(&weights, &teacher, 0, &[0.0, 1.5], 1e-11, Integrator::Dop853).unwrap().frames;
        let equations = Equations::gradient_flow(&start, &teacher).unwrap();
        let end = evolve_sgd(&start, &equations, &[1.5], 1e-11).unwrap().trajectory.frames[0].clone();
        let error = linalg::max_abs(&(end.overlaps.q() - frames[1].overlaps.q()));
        assert!(error < 1e-9 && frames[1].loss < frames[0].loss, "{activation}: {error:e}");
    }
}

/// Means of SGD at d = 60 as predicted to O(1/d), by the chain and by explicit networks; the prediction with the factor
/// 1 + 2/d of homogeneous activations would be refused for erf.
#[test]
fn means_of_sgd_at_finite_dimension() {
    for activation in [Activation::Erf, Activation::LeakyRelu { slope: 0.3 }] {
        let teacher = Teacher::orthonormal(2).unwrap().with_activation(activation).unwrap();
        let start = InitialLaw::new(10, 1.0, &teacher).unwrap().draw(2, &teacher, 1, 0).unwrap();
        let overlaps = start.overlaps(&teacher);
        let rate = if activation == Activation::Erf { 1.0 } else { 0.5 };
        let rule = Sgd { learning_rate: rate, label_noise: 0.3, ..Sgd::default() };
        let (d, times, runs) = (60, vec![1.0, 2.0], 20_000);
        let finite = Equations::new(&overlaps, &teacher, rule).unwrap().at_dimension(d as f64).unwrap();
        let path = mean_path(&overlaps, &finite, &times, 1 << 14, 1).unwrap();
        let simulation =
            Simulation { dimension: d, rule, teacher: teacher.clone(), start, times, runs, seed: 1, test_inputs: 0 };
        let few = Simulation { runs: 4000, ..simulation.clone() };
        for (recording, runs) in
            [(chain::simulate(&simulation, &|_| true), runs), (explicit::simulate(&few, &|_| true), 4000)]
        {
            let moments = recording.unwrap().moments();
            for (n, state) in path.iter().enumerate() {
                for i in 0..finite.dim() {
                    let z = (state.mean[i] - moments.mean[[n, i]]) / (moments.variance[[n, i]] / runs as f64).sqrt();
                    assert!(z.abs() < 5.0, "{activation}, entry {i} at t = {}: {z}", state.time);
                }
            }
        }
    }
}

/// The equations against the chain: the right law agrees, terms in eta^2 wrong by 5 % are refused.
#[test]
fn equations_are_validated() {
    for (activation, learning_rate) in [(Activation::Erf, 2.0), (Activation::LeakyRelu { slope: 0.3 }, 0.5)] {
        let spec = ValidateSpec {
            activation,
            dimensions: vec![500],
            runs: 2500,
            time: 4.0,
            points: 4,
            checks: 4,
            test_inputs: 0,
            explicit_limit: 0.0,
            samples: 1 << 13,
            rule: Sgd { learning_rate, ..Sgd::default() },
            ..ValidateSpec::default()
        };
        let report = validate(&spec, &|_, _| true).unwrap();
        assert_eq!(report.results["verdict"], "agrees", "{activation}: {}", report.results["line"]);
        let fault = Fault { squares: 0.95, ..Fault::default() };
        let wrong = validate_against(&spec, spec.rule, fault, &|_, _| true).unwrap();
        assert!(wrong.results["p_value"].as_f64().unwrap() < 1e-4, "{activation}: {}", wrong.results["line"]);
    }
}

/// Thresholds of the exact solution: erf (facts of the literature: pi sqrt(5/3) for one unit), linear 2 B / K, leaky ReLU in
/// between, and by hand for one unit: 2 E[g'^2] / E[g'^4].
#[test]
fn local_thresholds() {
    let threshold = |m: usize, activation| {
        local_threshold(&Teacher::orthonormal(m).unwrap().with_activation(activation).unwrap(), 1).unwrap()
    };
    for (m, expected) in [(1, PI * (5.0f64 / 3.0).sqrt()), (2, 2.30683), (3, 1.62067), (4, 1.24939)] {
        let found = threshold(m, Activation::Erf);
        assert!((found - expected).abs() < if m == 1 { 1e-12 } else { 1e-5 }, "M = {m}: {found}");
    }
    for slope in [0.3, -0.8] {
        let found = threshold(1, Activation::LeakyRelu { slope });
        assert!((found - 2.0 * (1.0 + slope * slope) / (1.0 + slope.powi(4))).abs() < 1e-12, "{found}");
    }
    assert!((threshold(2, Activation::LeakyRelu { slope: 1e-9 }) - threshold(2, Activation::Relu)).abs() < 1e-8);
    assert!((threshold(1, Activation::Linear) - 2.0).abs() < 1e-12);
}

/// At the teacher e = 0, so the Hessian is the Gram matrix of g'(v_m.x) x. For erf across the span it is E[g'_m g'_n]; one
/// unit along itself has E[g'^2 x^2] = (2 / pi) 3^(-3/2).
#[test]
fn spectrum_of_erf_at_the_teacher() {
    let teacher = Teacher::orthonormal(3).unwrap().with_activation(Activation::Erf).unwrap();
    let exact = Weights::new(Array2::eye(3), None, &teacher).unwrap();
    let point = Point::new(&exact, &teacher, 0).unwrap();
    assert_eq!((point.verdict, point.loss, point.residual < 1e-15), (Verdict::GlobalMinimum, 0.0, true));
    // E[g'_m^2] = (2/pi)/sqrt 3, E[g'_m g'_n] = (2/pi)/2: eigenvalues diagonal - off and diagonal + 2 off.
    let (own, other) = (2.0 / PI / 3.0f64.sqrt(), 1.0 / PI);
    let found: Vec<(f64, usize)> = point.spectrum.transverse.iter().map(|l| (l.value, l.multiplicity)).collect();
    assert_eq!(found.iter().map(|l| l.1).collect::<Vec<_>>(), [2, 1]);
    assert!((found[0].0 - (own - other)).abs() < 1e-15 && (found[1].0 - (own + 2.0 * other)).abs() < 1e-15);
    let span = hessian(&exact, &teacher, 0).unwrap().span;
    assert!((span[[0, 0]] - own / 3.0).abs() < 1e-15 && (span[[1, 1]] - own).abs() < 1e-15);
    // g'_1 x_1 and g'_2 x_2 have mean 0; g'_1 x_1 with g'_2 x_1: E[x_1^2 g'_1] E[g'_2] = (2/pi) 2^(-3/2) 2^(-1/2).
    assert!(span[[0, 4]].abs() < 1e-15 && (span[[0, 3]] - 0.5 / PI).abs() < 1e-15, "{}", span[[0, 3]]);
}

/// Searches end in verified points for every activation, with the expected verdicts.
#[test]
fn runs_settle() {
    for (k, m, activation) in [
        (3, 3, Activation::Erf),
        (4, 3, Activation::Erf),
        (5, 3, Activation::Erf),
        (3, 3, Activation::LeakyRelu { slope: 0.2 }),
        (4, 3, Activation::LeakyRelu { slope: 0.2 }),
        (4, 3, Activation::LeakyRelu { slope: -0.4 }),
        (4, 3, Activation::Linear),
    ] {
        let teacher = Teacher::orthonormal(m).unwrap().with_activation(activation).unwrap();
        let law = InitialLaw::new(20, 1.0, &teacher).unwrap();
        let mut global = 0;
        for run in 0..6 {
            let start = law.draw(k, &teacher, 1, run).unwrap();
            let end = settle(&start, &teacher, 0).unwrap();
            let point = Point::new(&end.weights, &teacher, 0).unwrap();
            assert!(end.residual <= 1e-13 && point.residual <= 1e-12, "{activation}: {:e}", point.residual);
            assert!(point.verdict != Verdict::Degenerate, "{activation} {run}: {:?}", point.spectrum);
            let spectrum = &point.spectrum;
            if point.verdict == Verdict::GlobalMinimum {
                global += 1;
                assert_eq!(spectrum.span_index.unstable, 0, "{activation}: {spectrum:?}");
                let neutral = (spectrum.span_index.neutral, spectrum.transverse_index.neutral);
                assert_eq!(neutral, spectrum.expected_neutral, "{activation} {run}: {spectrum:?}");
            }
        }
        assert!(global > 0, "{activation}, K = {k}, M = {m}");
    }
}

/// erf is odd: reversing a student and its readout changes nothing, also not its label; reversing the student alone does.
#[test]
fn reversed_students_of_erf() {
    let teacher = Teacher::orthonormal(2).unwrap().with_activation(Activation::Erf).unwrap();
    let point = |length: f64, a: f64| {
        let weights = Weights::new(array![[length, 0.0], [0.0, 1.0]], Some(array![[a, 1.0]]), &teacher).unwrap();
        Point::new(&weights, &teacher, 0).unwrap()
    };
    assert_eq!(point(-1.0, -1.0).verdict, Verdict::GlobalMinimum);
    // Away from the exact zero, where no student is called anti-aligned.
    assert_eq!(point(-0.9, -1.0).family.anti_aligned, 0);
    assert_eq!(point(-0.9, 1.0).family.anti_aligned, 1);
    let relu = Teacher::orthonormal(2).unwrap();
    let weights = Weights::new(array![[-1.0, 0.0], [0.0, 1.0]], Some(array![[-1.0, 1.0]]), &relu).unwrap();
    assert_eq!(Point::new(&weights, &relu, 0).unwrap().family.anti_aligned, 1);
}

/// What knows ReLU only says so.
#[test]
fn relu_only_parts_refuse() {
    use committee::study::{FamiliesSpec, families};
    let refused = families(&FamiliesSpec { activation: Activation::Erf, ..FamiliesSpec::default() }, &|_| true);
    assert!(refused.unwrap_err().to_string().contains("erf"));
    let teacher = Teacher::orthonormal(2).unwrap().with_activation(Activation::LeakyRelu { slope: 0.1 }).unwrap();
    assert!(teacher.needs_relu("do it").unwrap_err().to_string().contains("leaky-relu:0.1"));
    let start = Overlaps::new(Array2::eye(1), Array2::zeros((1, 2)), array![[1.0]], &teacher).unwrap();
    let weights = start.lift(&teacher).unwrap();
    assert!(committee::landscape::widen::Widening::new(&weights, &teacher, 0, 5).is_err());
}
