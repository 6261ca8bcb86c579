//! SGD at finite learning rates: averages, local stability of the exact solution, divergence from afar.

use crate::lines::Lines;
use committee::dynamics::{Equations, Outcome, evolve_sgd, local_threshold};
use committee::expectation::{Averages, Quad, Relu, orthant};
use committee::model::{InitialLaw, Overlaps, Sgd, Teacher, Weights};
use committee::numerics::linalg;
use committee::population::{Fields, error_moments};
use committee::simulation::{Simulation, chain};
use ndarray::{Array2, array};
use rayon::prelude::*;
use serde_json::Value;

/// Orthant probabilities and the four-field average against 35-digit values. Seconds.
#[test]
#[ignore = "evidence"]
fn quick_orthants() {
    let mut lines = Lines::new("quick_orthants");
    let table: Value = serde_json::from_str(include_str!("../reference/orthant.json")).unwrap();
    let cases = table["cases"].as_array().unwrap();
    let numbers =
        |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let (mut p4, mut i4) = ([0.0f64; 3], [0.0f64; 3]);
    let mut counts = [0; 3];
    for case in cases {
        let quad = if case["kind"] == "gram" {
            let g = numbers(&case["gram"]);
            Quad::from_covariance(&[
                [g[0], g[1], g[2], g[3]],
                [0.0, g[4], g[5], g[6]],
                [0.0, 0.0, g[7], g[8]],
                [0.0, 0.0, 0.0, g[9]],
            ])
        } else {
            let vectors: Vec<Vec<f64>> = case["vectors"].as_array().unwrap().iter().map(numbers).collect();
            Quad::from_vectors([&vectors[0], &vectors[1], &vectors[2], &vectors[3]])
        };
        let class = ["regular", "near", "singular"].iter().position(|name| case["class"] == *name).unwrap();
        let number = |key: &str| case[key].as_str().unwrap().parse::<f64>().unwrap();
        counts[class] += 1;
        p4[class] = p4[class].max((orthant::p4(&quad.links) - number("p4")).abs());
        let scale = quad.norms[2] * quad.norms[3];
        i4[class] = i4[class].max((Relu.quadruple(&quad).value - number("i4")).abs() / scale);
    }
    for (class, name) in ["regular", "nearly singular", "singular"].iter().enumerate() {
        let count = counts[class];
        lines.line(&format!("P4, {count} {name} cases"), format!("{:.1e}", p4[class]), "< 1e-13", p4[class] < 1e-13);
        lines.line(
            &format!("I4 / |c||d|, {count} {name} cases"),
            format!("{:.1e}", i4[class]),
            "< 1e-13",
            i4[class] < 1e-13,
        );
    }
    let half = Quad::from_covariance(&std::array::from_fn(|i| std::array::from_fn(|j| if i == j { 1.0 } else { 0.5 })));
    let error = (orthant::p4(&half.links) - 0.2).abs();
    lines.line("P4 at all correlations 1/2, minus 1/5", format!("{error:.1e}"), "< 1e-15", error < 1e-15);
    lines.close();
}

/// All E[e^2 H_i H_k] at K = M = 17 against the sum over all pairs of units, each average on its own; a random state, a
/// state near the exact solution, and a minimum. Half a minute.
#[test]
#[ignore = "evidence"]
fn quick_error_moments() {
    let mut lines = Lines::new("quick_error_moments");
    let m = 17;
    let teacher = Teacher::orthonormal(m).unwrap();
    let random = InitialLaw::new(2 * m, 1.0, &teacher).unwrap().draw(m, &teacher, 5, 0).unwrap();
    let mut near = Array2::<f64>::eye(m);
    near.zip_mut_with(&random.rows().slice(ndarray::s![.., ..m]), |x, y| *x += 1e-3 * y);
    let guess = committee::landscape::ansatz::Guess::flipped(m);
    let minimum = committee::landscape::ansatz::solve(&guess, 1, &teacher).unwrap();
    for (name, weights) in [
        ("random", random),
        ("1e-3 from the solution", Weights::new(near, None, &teacher).unwrap()),
        ("k1 = 1", minimum),
    ] {
        let (k, d) = weights.rows().dim();
        let mut units: Vec<(f64, Vec<f64>)> = weights.rows().outer_iter().map(|w| (1.0, w.to_vec())).collect();
        for v in teacher.vectors().outer_iter() {
            let mut v = v.to_vec();
            v.resize(d, 0.0);
            units.push((-1.0, v));
        }
        let moments = error_moments(&Fields::from_weights(&weights, &teacher, 0));
        let worst = (0..k * k)
            .into_par_iter()
            .map(|p| {
                let (i, j) = (p / k, p % k);
                let mut sum = 0.0;
                for (a, u) in &units {
                    for (b, v) in &units {
                        sum += a * b * Relu.quadruple(&Quad::from_vectors([&units[i].1, &units[j].1, u, v])).value;
                    }
                }
                (sum - moments[[i, j]]).abs()
            })
            .reduce(|| 0.0, f64::max);
        lines.line(
            &format!("{name}: sets of units against pairs of units"),
            format!("{worst:.1e}"),
            "< 1e-12",
            worst < 1e-12,
        );
        let least = linalg::eigvalsh(moments.view()).unwrap()[0];
        lines.line(&format!("{name}: smallest eigenvalue of N"), format!("{least:.2e}"), ">= -1e-10", least >= -1e-10);
    }
    lines.close();
}

/// Growth rate of the loss around the orthonormal exact solution, Q = I + 1e-6 I / M, R = I (a perturbation of 1e-6 in all
/// keeps L below 1e-6), while 1e-8 <= L <= 1e-6; the first half of the time is transient and left out.
pub fn rate(teacher: &Teacher, learning_rate: f64) -> f64 {
    let m = teacher.units();
    let q = Array2::eye(m) * (1.0 + 1e-6 / m as f64);
    let start = Overlaps::new(q, Array2::eye(m), Array2::ones((1, m)), teacher).unwrap();
    let rule = Sgd { learning_rate, ..Sgd::default() };
    let equations = Equations::new(&start, teacher, rule).unwrap();
    let times: Vec<f64> = (0..=40).map(f64::from).collect();
    let evolution = evolve_sgd(&start, &equations, &times, 1e-10).unwrap();
    let frames: Vec<_> =
        evolution.trajectory.frames.into_iter().filter(|frame| (1e-8..=1e-6).contains(&frame.loss)).collect();
    let (first, last) = (&frames[frames.len() / 2], &frames[frames.len() - 1]);
    (last.loss / first.loss).ln() / (last.time - first.time)
}

fn local_stability(sizes: &[usize], lines: &mut Lines) {
    let known = [(1, 2.0), (2, 1.267949192), (3, 0.961928691), (4, 0.777489946), (17, 0.221580528)];
    for &(m, expected) in known.iter().filter(|(m, _)| sizes.contains(m)) {
        let teacher = Teacher::orthonormal(m).unwrap();
        let threshold = local_threshold(&teacher, 1).unwrap();
        lines.line(
            &format!("K = M = {m}: threshold of the second-moment operator"),
            format!("{threshold:.9}"),
            &format!("{expected} to 1e-9"),
            (threshold - expected).abs() < 1e-9,
        );
        let (below, above) = (rate(&teacher, 0.995 * expected), rate(&teacher, 1.005 * expected));
        lines.line(
            &format!("K = M = {m}: rate of the loss at 0.995 and 1.005 times it"),
            format!("{below:.2e}, {above:.2e}"),
            "< 0, > 0",
            below < 0.0 && above > 0.0,
        );
    }
}

/// Ten seconds.
#[test]
#[ignore = "evidence"]
fn quick_local_stability() {
    let mut lines = Lines::new("quick_local_stability");
    local_stability(&[1, 2, 3, 4], &mut lines);
    lines.close();
}

/// About a minute.
#[test]
#[ignore = "evidence"]
fn local_stability_k17() {
    let mut lines = Lines::new("local_stability_k17");
    local_stability(&[17], &mut lines);
    lines.close();
}

/// K = M = 2: between 2 B / K = 1 and the local threshold 1.268 the outcome depends on the start. Half a minute.
#[test]
#[ignore = "evidence"]
fn quick_divergence() {
    let mut lines = Lines::new("quick_divergence");
    let teacher = Teacher::orthonormal(2).unwrap();
    let unit = Overlaps::new(Array2::eye(2), array![[0.1, 0.0], [0.0, 0.1]], Array2::ones((1, 2)), &teacher).unwrap();
    let far =
        Overlaps::new(Array2::from_elem((2, 2), 100.0), Array2::zeros((2, 2)), Array2::ones((1, 2)), &teacher).unwrap();
    let follow = |start: &Overlaps, learning_rate: f64, time: f64| {
        let rule = Sgd { learning_rate, ..Sgd::default() };
        let equations = Equations::new(start, &teacher, rule).unwrap();
        let times: Vec<f64> = (0..=20).map(|n| time * f64::from(n) / 20.0).collect();
        let evolution = evolve_sgd(start, &equations, &times, 1e-9).unwrap();
        (evolution.outcome, evolution.trajectory.frames.last().map_or(f64::NAN, |frame| frame.loss))
    };
    for (learning_rate, name, start, time, converges) in [
        (1.05, "unit norm", &unit, 4000.0, true),
        (1.15, "unit norm", &unit, 4000.0, true),
        (1.05, "two parallel students of norm 10", &far, 4000.0, false),
        (1.15, "two parallel students of norm 10", &far, 4000.0, false),
        (1.5, "unit norm", &unit, 4000.0, false),
    ] {
        let (outcome, loss) = follow(start, learning_rate, time);
        let (text, pass) = match outcome {
            Outcome::Finished => (format!("loss {loss:.1e} at t = {time}"), converges && loss < 1e-6),
            Outcome::Diverged { time, bound } => (format!("loss passed {bound:.1e} at t = {time:.1}"), !converges),
        };
        let bar = if converges { "converges" } else { "diverges" };
        lines.line(&format!("eta = {learning_rate} from {name}"), text, bar, pass);
    }
    let simulation = Simulation {
        dimension: 1000,
        rule: Sgd { learning_rate: 1.5, ..Sgd::default() },
        start: unit.lift(&teacher).unwrap(),
        teacher,
        times: vec![0.0, 200.0],
        runs: 20,
        seed: 1,
        test_inputs: 0,
    };
    let recording = chain::simulate(&simulation, &|_| true).unwrap();
    let grown =
        (0..20).filter(|&run| recording.diverged[run].is_some() || recording.overlaps[[run, 1, 0]] > 1e6).count();
    lines.line(
        "eta = 1.5, chain at d = 1000, t = 200: runs with |w|^2 > 1e6",
        format!("{grown} of 20"),
        "20",
        grown == 20,
    );
    lines.close();
}
