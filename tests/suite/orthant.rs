//! Orthant probabilities of four fields and the four-field average, against the 35-digit values of
//! `tests/reference/orthant.json` and against a second path.

use committee::expectation::orthant::{self, Link, PAIRS};
use committee::expectation::quadruple::three_moments;
use committee::expectation::{Averages, Pair, Quad, Relu};
use committee::numerics::{linalg, random};
use ndarray::Array2;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::StandardNormal;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    let number = |x: &Value| x.as_f64().unwrap_or_else(|| x.as_str().expect("a number").parse().expect("a number"));
    value.as_array().expect("an array").iter().map(number).collect()
}

fn quad(case: &Value) -> Quad {
    if case["kind"] == "gram" {
        let g = numbers(&case["gram"]);
        let upper = [[g[0], g[1], g[2], g[3]], [0.0, g[4], g[5], g[6]], [0.0, 0.0, g[7], g[8]], [0.0, 0.0, 0.0, g[9]]];
        Quad::from_covariance(&upper)
    } else {
        let vectors: Vec<Vec<f64>> = case["vectors"].as_array().expect("vectors").iter().map(numbers).collect();
        Quad::from_vectors([&vectors[0], &vectors[1], &vectors[2], &vectors[3]])
    }
}

/// P4 and I4 absolute 1e-14 (I4 in units of |c| |d|); derivatives relative 1e-9. Near singular configurations the
/// rounding of the correlations adds 1e-15 / s^2 (pairs at sine s, whose joint density at 0 is 1 / s) or 1e-15 / h
/// (fields within h of dependent, whose dihedral angles turn by that much) to the derivatives.
#[test]
fn references() {
    let table: Value = serde_json::from_str(include_str!("../reference/orthant.json")).expect("orthant.json is JSON");
    let cases = table["cases"].as_array().expect("cases");
    let near = cases.iter().filter(|case| case["class"] != "regular").count();
    assert!(
        cases.len() >= 300 && 3 * near >= cases.len(),
        "{} cases, {near} of them singular or nearly so",
        cases.len()
    );
    for case in cases {
        let quad = quad(case);
        let number = |key: &str| case[key].as_str().expect("a decimal string").parse::<f64>().expect("a number");
        let (name, scale) = (&case["name"], quad.norms[2] * quad.norms[3]);
        let found = orthant::p4_with_error(&quad.links);
        assert!((found.value - number("p4")).abs() < 1e-14, "{name}: P4 {:e}", found.value - number("p4"));
        let [ab, ac, _, bc, _, _] = quad.links;
        assert!((orthant::p3(ab.a, ac.a, bc.a) - number("p3")).abs() < 1e-15, "{name}: P3");
        let average = Relu.quadruple(&quad);
        assert!((average.value - number("i4")).abs() < 1e-14 * scale, "{name}: I4 {:e}", average.value - number("i4"));
        if case["d_i4"].is_null() {
            continue;
        }
        let sine = quad.links.iter().fold(1.0f64, |least, link| least.min(link.s));
        let correlations =
            Array2::from_shape_fn((4, 4), |(i, j)| if i == j { 1.0 } else { quad.links[orthant::position(i, j)].r });
        let height = linalg::eigvalsh(correlations.view()).expect("eigenvalues")[0].max(1e-17).sqrt();
        let floor = if case["class"] == "regular" { 0.0 } else { 1e-15 * scale * (sine * sine).min(height).recip() };
        let mut at = 0;
        let expected = numbers(&case["d_i4"]);
        for i in 0..4 {
            for j in i..4 {
                let error = (average.derivatives[at] - expected[at]).abs();
                let bound = 1e-9 * expected[at].abs() + floor / (quad.norms[i] * quad.norms[j]);
                assert!(error <= bound, "{name}: derivative by C_{i}{j} {error:e} above {bound:e}");
                at += 1;
            }
        }
    }
}

/// 1e5 random matrices, a third of them with smallest eigenvalue below 1e-10: a second path, and another order of the
/// arguments, give the same P4.
#[test]
fn a_second_path_and_another_order_agree() {
    let mut rng = random::stream(1, &[77]);
    let mut worst = 0.0f64;
    for case in 0..100_000 {
        // Full rank; nearly or exactly dependent; a weakly correlated or a nearly parallel pair among them.
        let dimension = [4, 4, 3, 6, 4, 3][case % 6];
        let mut v: [Vec<f64>; 4] =
            std::array::from_fn(|_| (0..dimension).map(|_| rng.sample(StandardNormal)).collect());
        match case % 6 {
            1 => {
                let h = 10f64.powf(rng.random_range(-9.0..-5.5));
                v[3] = (0..dimension).map(|i| v[0][i] * 0.3 - v[1][i] + 0.7 * v[2][i] + h * v[3][i]).collect();
            }
            4 => {
                let h = 10f64.powf(rng.random_range(-9.0..-1.0));
                v[2] = (0..dimension).map(|i| h * v[2][i] - v[0][i]).collect();
            }
            5 => (0..4).for_each(|i| v[i][0] *= 1e-3),
            _ => {}
        }
        let pair =
            |order: &[usize; 4], (i, j): (usize, usize)| Link::from(&Pair::from_vectors(&v[order[i]], &v[order[j]]));
        let mut order = [0, 1, 2, 3];
        let first = orthant::p4_with_error(&PAIRS.map(|p| pair(&order, p)));
        order.shuffle(&mut rng);
        let second = orthant::p4(&PAIRS.map(|p| pair(&order, p)));
        assert!(first.value >= 0.0 && second >= 0.0, "{:e} {second:e}", first.value);
        worst = worst.max(first.error).max((first.value - second).abs());
    }
    assert!(worst < 2e-13, "{worst:e}");
    assert!(worst > 0.0);
}

/// Nearly independent fields have a rule of their own: on both sides of its bound it meets the general one.
#[test]
fn weak_correlations() {
    let mut rng = random::stream(2, &[77]);
    for _ in 0..4000 {
        let size = 10f64.powf(rng.random_range(-8.0..-0.7));
        let links: [Link; 6] =
            std::array::from_fn(|_| Link::from(&Pair::from_covariance(1.0, 1.0, size * rng.random_range(-1.0..1.0))));
        let difference = orthant::p4(&links) - orthant::p4_along(&links, 3);
        assert!(difference.abs() < 1e-14, "{difference:e} at {links:?}");
    }
}

/// Many at once, in blocks that mix nearly independent and other fields and end in a short one, are the same as each alone.
#[test]
fn blocks_give_the_same() {
    let mut rng = random::stream(3, &[77]);
    let quadruples: Vec<[Link; 6]> = (0..45)
        .map(|n| {
            let d = if n < 16 { 4000 } else { 4 };
            let v: [Vec<f64>; 4] = std::array::from_fn(|_| (0..d).map(|_| rng.sample(StandardNormal)).collect());
            PAIRS.map(|(i, j)| Link::from(&Pair::from_vectors(&v[i], &v[j])))
        })
        .collect();
    for (links, found) in quadruples.iter().zip(orthant::p4_many(&quadruples)) {
        assert!((found - orthant::p4(links)).abs() < 1e-14, "{found}");
    }
    assert!(orthant::p4_many(&[]).is_empty());
}

/// I4 does not change when its steps, or its ramps, or nothing but the order of the fields, are exchanged: of the 24
/// orders each pair of steps has four.
#[test]
fn every_order_of_the_arguments() {
    let u = [[0.3, -0.4, 1.2, 0.1], [1.0, 0.2, 0.5, -0.3], [0.4, 0.9, -0.3, 1.0], [-0.5, 0.3, 0.8, 0.2]];
    let value = |order: [usize; 4]| Relu.quadruple(&Quad::from_vectors(order.map(|i| &u[i][..]))).value;
    let mut orders = 0;
    for a in 0..4 {
        for b in (0..4).filter(|&b| b != a) {
            for c in (0..4).filter(|&c| c != a && c != b) {
                let d = 6 - a - b - c;
                let sorted = value([a.min(b), a.max(b), c.min(d), c.max(d)]);
                assert!((value([a, b, c, d]) - sorted).abs() < 1e-15, "{:?}", [a, b, c, d]);
                orders += 1;
            }
        }
    }
    assert_eq!(orders, 24);
    assert!((value([0, 1, 2, 3]) - value([0, 2, 1, 3])).abs() > 1e-3);
}

/// H(a) + H(-a) = 1 leaves an average over three fields, which has a closed form: P4 and I4 at dependent, equal, opposite
/// and nearly parallel fields, one or two pairs of them. Derivatives stay finite.
#[test]
fn a_step_and_its_reverse_add_to_an_average_of_three_fields() {
    let check = |v: [&[f64]; 4]| {
        let link = |i: usize, j: usize| Link::from(&Pair::from_vectors(v[i], v[j]));
        let minus: Vec<f64> = v[0].iter().map(|x| -x).collect();
        let (quad, reversed) = (Quad::from_vectors(v), Quad::from_vectors([&minus, v[1], v[2], v[3]]));
        let scale = quad.norms[2] * quad.norms[3];
        let (average, other) = (Relu.quadruple(&quad), Relu.quadruple(&reversed));
        let three = scale * three_moments(&link(1, 2), &link(1, 3), &link(2, 3))[5];
        let error = (average.value + other.value - three).abs() / scale;
        assert!(error < 1e-14, "I4 {error:e} at {v:?}");
        let p3 = orthant::p3(link(1, 2).a, link(1, 3).a, link(2, 3).a);
        let error = (orthant::p4(&quad.links) + orthant::p4(&reversed.links) - p3).abs();
        assert!(error < 1e-14, "P4 {error:e} at {v:?}");
        assert!(average.derivatives.iter().all(|x| x.is_finite()), "{:?} at {v:?}", average.derivatives);
    };
    // All quadruples of these: planes and lines of dependent fields.
    let grid: Vec<[f64; 3]> = (0..27)
        .filter(|i| i % 2 == 0 && *i != 13)
        .map(|i| [f64::from(i / 9) - 1.0, f64::from(i / 3 % 3) - 1.0, f64::from(i % 3) - 1.0])
        .collect();
    for a in &grid {
        for b in &grid {
            for c in &grid {
                for d in &grid {
                    check([a, b, c, d]);
                }
            }
        }
    }
    let mut rng = random::stream(3, &[77]);
    for case in 0..4000 {
        let dimension = [4, 2, 3, 5][case % 4];
        let mut v: [Vec<f64>; 4] =
            std::array::from_fn(|_| (0..dimension).map(|_| rng.sample(StandardNormal)).collect());
        // c near a, d near b; or b near a, d near c; sometimes near the opposite.
        let pairs = if case % 8 < 4 { [(0, 2), (1, 3)] } else { [(0, 1), (2, 3)] };
        for (from, to) in pairs {
            let h = 10f64.powf(rng.random_range(-12.0..-0.5));
            let sign = if rng.random_range(0.0..1.0) < 0.3 { -1.0 } else { 1.0 };
            v[to] = (0..dimension).map(|i| sign * v[from][i] + h * v[to][i]).collect();
        }
        check([&v[0], &v[1], &v[2], &v[3]]);
    }
}
