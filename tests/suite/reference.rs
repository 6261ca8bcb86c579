//! Averages, loss, gradient and Hessian against the 35-digit values of `tests/reference/relu.json`.

use committee::expectation::{Averages, Pair, Relu};
use committee::model::{Overlaps, Teacher, Weights};
use committee::population::{Field, hessian, risk, signed_risk};
use ndarray::Array2;
use serde_json::Value;

fn table() -> Value {
    serde_json::from_str(include_str!("../reference/relu.json")).expect("relu.json is JSON")
}

fn vector(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().expect("rows").iter().map(vector).collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn number(value: &Value) -> f64 {
    value.as_str().expect("a decimal string").parse().expect("a number")
}

fn numbers(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row.as_array().expect("row").iter().map(number).collect())
        .collect();
    Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j])
}

fn dot(u: &[f64], v: &[f64]) -> f64 {
    u.iter().zip(v).map(|(a, b)| a * b).sum()
}

fn norm(u: &[f64]) -> f64 {
    dot(u, u).sqrt()
}

/// Relative 1e-13, at every angle down to 1e-15 from (anti)parallel.
#[test]
fn pairs() {
    for case in table()["pairs"].as_array().unwrap() {
        let (u, v) = (vector(&case["u"]), vector(&case["v"]));
        let pair = Pair::from_vectors(&u, &v);
        let value = Relu.pair(&pair);
        let close = |name: &str, found: f64, expected: f64| {
            assert!(
                (found - expected).abs() <= 1e-13 * expected.abs(),
                "{name} of {case}: {found:e} against {expected:e}"
            );
        };
        close("pair", value.value, number(&case["pair"]));
        if !case["orthant"].is_null() {
            close("orthant", value.d_uv, number(&case["orthant"]));
            close("sine", pair.sine, number(&case["sine"]));
            close("supplement", pair.supplement, number(&case["supplement"]));
        }
    }
}

/// Relative 1e-13, or 1e-16 |v| |w| where the two terms cancel.
#[test]
fn triples() {
    for case in table()["triples"].as_array().unwrap() {
        let (u, v, w) = (vector(&case["u"]), vector(&case["v"]), vector(&case["w"]));
        let found = Relu.triple(&Pair::from_vectors(&u, &w), dot(&u, &v), dot(&v, &w)).value;
        let expected = number(&case["triple"]);
        let bound = (1e-13 * expected.abs()).max(2e-16 * norm(&v) * norm(&w));
        assert!((found - expected).abs() <= bound, "{case}: {found:e} against {expected:e}");
    }
}

/// Double-double: relative 1e-6 (in fact 1e-12) down to L = 1e-24; exact zeros give less than 1e-30. The sum of small
/// parts agrees to 1e-15 of the squared norms.
#[test]
fn losses() {
    let mut smallest = f64::INFINITY;
    for case in table()["losses"].as_array().unwrap() {
        let (w, v) = (matrix(&case["w"]), matrix(&case["v"]));
        let (a, b) = (vector(&case["a"]), vector(&case["b"]));
        let mut units: Vec<(f64, &[f64])> = Vec::new();
        w.outer_iter().zip(&a).for_each(|(row, &a)| units.push((a, row.to_slice().unwrap())));
        v.outer_iter().zip(&b).for_each(|(row, &b)| units.push((-b, row.to_slice().unwrap())));
        let size: f64 = units.iter().map(|(s, u)| s.abs() * norm(u)).sum();
        let (found, expected) = (signed_risk(&units), number(&case["loss"]));
        let bound = (1e-12 * expected).max(1e-31 * size * size);
        assert!((found - expected).abs() <= bound, "{}: {found:e} against {expected:e}", case["kind"]);
        if expected > 0.0 {
            smallest = smallest.min(expected);
        }
        let Ok(teacher) = Teacher::new(v.dot(&v.t()), Some(Array2::from_shape_vec((1, b.len()), b.clone()).unwrap()))
        else {
            continue;
        };
        let a = Array2::from_shape_vec((1, a.len()), a).unwrap();
        let Ok(overlaps) = Overlaps::new(w.dot(&w.t()), w.dot(&v.t()), a, &teacher) else { continue };
        let parts = risk(&overlaps.lift(&teacher).unwrap(), &teacher, 0);
        assert!(
            (parts - expected).abs() <= 1e-10 * expected + 1e-13 * size * size,
            "{}: parts {parts:e}",
            case["kind"]
        );
    }
    assert!(smallest < 1e-18, "the table reaches down to {smallest:e}");
}

/// Gradient and Hessian in the teacher's own coordinates, which are the table's when V is lower triangular there.
#[test]
fn derivatives() {
    let mut checked = 0;
    for case in table()["derivatives"].as_array().unwrap() {
        let (w, v) = (matrix(&case["w"]), matrix(&case["v"]));
        let (k, d) = w.dim();
        let b = Array2::from_shape_vec((1, v.nrows()), vector(&case["b"])).unwrap();
        let a = Array2::from_shape_vec((1, k), vector(&case["a"])).unwrap();
        let teacher = Teacher::new(v.dot(&v.t()), Some(b)).unwrap();
        // Orthogonal map from the table's coordinates to ours: Gram-Schmidt of the teacher's rows, then the axes.
        let mut basis: Vec<Vec<f64>> = Vec::new();
        let axes = (0..d).map(|i| (0..d).map(|j| f64::from(u8::from(i == j))).collect::<Vec<f64>>());
        for row in v.outer_iter().map(|row| row.to_vec()).chain(axes) {
            let mut rest = row.clone();
            for _ in 0..2 {
                for e in &basis {
                    let c = dot(&rest, e);
                    rest.iter_mut().zip(e).for_each(|(r, e)| *r -= c * e);
                }
            }
            if norm(&rest) > 1e-6 * norm(&row) && basis.len() < d {
                let n = norm(&rest);
                basis.push(rest.iter().map(|r| r / n).collect());
            }
        }
        let rotation = Array2::from_shape_fn((d, d), |(i, c)| basis[c][i]);
        let weights = Weights::new(w.dot(&rotation), Some(a), &teacher).unwrap();
        let gradient = Field::new(&weights, &teacher, 0).gradient_at(weights.rows().view()).dot(&rotation.t());
        let error = (&gradient - &numbers(&case["gradient"])).iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(error < 5e-14, "{}: gradient off by {error:e}", case["kind"]);
        let found = hessian(&weights, &teacher, 0).unwrap();
        let expected = numbers(&case["hessian"]);
        let map =
            Array2::from_shape_fn((k * d, k * d), |(x, y)| if x / d == y / d { rotation[[x % d, y % d]] } else { 0.0 });
        let back = map.dot(&found.span).dot(&map.t());
        let error = (&back - &expected).iter().fold(0.0f64, |m, x| m.max(x.abs()));
        assert!(error < 2e-13, "{}: Hessian off by {error:e}", case["kind"]);
        checked += 1;
    }
    assert!(checked >= 14);
}
