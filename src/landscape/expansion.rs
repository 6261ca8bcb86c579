//! Families at large M: coefficients of their expansion in powers of M^(-1/2) (Arjevani and Field 2020, 2021), fitted.

use super::reduced::{BlockPoint, Shape};
use crate::error::Result;
use crate::model::{Blocks, Entry, Place};

/// Nodes M = FIRST, RATIO FIRST, RATIO^2 FIRST, ... Larger M would add rounding: eigenvalues have errors of 1e-16 M.
const FIRST: f64 = 100.0;
const RATIO: f64 = 2.5;
const NODES: usize = 9;

/// A quantity y = M^power (c0 + c1 M^(-1/2) + c2 / M + ...).
#[derive(Clone, Debug, PartialEq)]
pub struct Expansion {
    /// loss, eigenvalue, or the entry: a (own teacher), b (other teachers of the group), c (other groups) with the numbers
    /// of the student group and, for c, of the teacher group.
    pub quantity: String,
    /// A multiple of 1/2, read off the two largest M.
    pub power: f64,
    /// (value, error) of c0, c1, c2.
    pub coefficients: [(f64, f64); 3],
}

/// Fits loss, smallest eigenvalue inside the span and all entries of a family given at any M. The polynomial in M^(-1/2) goes
/// through M = 100, 250, ..., 152 588; the error is the larger change when the first or the last of these is left out.
///
/// # Errors
/// Those of the family and of its spectrum.
pub fn expand(family: &dyn Fn(f64) -> Result<(Shape, Blocks)>) -> Result<Vec<Expansion>> {
    let sizes: Vec<f64> = (0..NODES).map(|j| FIRST * RATIO.powi(j as i32)).collect();
    let mut names = Vec::new();
    let mut values: Vec<Vec<f64>> = Vec::new();
    for &m in &sizes {
        let (shape, state) = family(m)?;
        let point = BlockPoint::new(&shape, state)?;
        names = vec!["loss".to_string(), "eigenvalue".to_string()];
        names.extend(point.state.partition().entries().iter().map(name));
        let mut row = vec![point.loss, point.smallest().0];
        row.extend(point.state.entries());
        values.push(row);
    }
    let fit = |(column, quantity): (usize, String)| {
        let y: Vec<f64> = values.iter().map(|row| row[column]).collect();
        let ratio = (y[NODES - 1] / y[NODES - 2]).abs();
        let power = (2.0 * ratio.ln() / RATIO.ln()).round() / 2.0;
        let scaled: Vec<f64> = y.iter().zip(&sizes).map(|(y, m)| y * m.powf(-power)).collect();
        let nodes: Vec<f64> = sizes.iter().map(|m| m.sqrt().recip()).collect();
        let all = interpolate(&nodes, &scaled);
        let shorter = [interpolate(&nodes[1..], &scaled[1..]), interpolate(&nodes[..NODES - 1], &scaled[..NODES - 1])];
        let error = |k: usize| shorter.iter().map(|c| (c[k] - all[k]).abs()).fold(0.0, f64::max);
        Expansion { quantity, power, coefficients: [0, 1, 2].map(|k| (all[k], error(k))) }
    };
    Ok(names.into_iter().enumerate().map(fit).collect())
}

fn name(entry: &Entry) -> String {
    match entry.place {
        Place::Own => format!("a{}", entry.group + 1),
        Place::Inside => format!("b{}", entry.group + 1),
        Place::Outside => format!("c{}{}", entry.group + 1, entry.set + 1),
    }
}

/// Coefficients of the polynomial through all points, by Newton's divided differences.
fn interpolate(x: &[f64], y: &[f64]) -> Vec<f64> {
    let n = x.len();
    let mut differences = y.to_vec();
    for order in 1..n {
        for i in (order..n).rev() {
            differences[i] = (differences[i] - differences[i - 1]) / (x[i] - x[i - order]);
        }
    }
    let mut coefficients = vec![0.0; n];
    for i in (0..n).rev() {
        // coefficients = coefficients * (t - x_i) + differences_i
        for k in (1..n).rev() {
            coefficients[k] = coefficients[k - 1] - x[i] * coefficients[k];
        }
        coefficients[0] = differences[i] - x[i] * coefficients[0];
    }
    coefficients
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::known;
    use std::f64::consts::PI;

    #[test]
    fn polynomials_come_back() {
        let x = [0.5, 0.25, 0.125, 0.0625];
        let y = x.map(|t| 3.0 - 2.0 * t + 0.5 * t * t * t);
        let c = interpolate(&x, &y);
        for (found, expected) in c.iter().zip([3.0, -2.0, 0.0, 0.5]) {
            assert!((found - expected).abs() < 1e-12, "{c:?}");
        }
    }

    /// Type II: M L = 1/2 - 2/pi^2 + ...; c21 = 2/M, c12 = (4/pi)/M; type A: L = 1/2 - 1/pi - 4/(3 pi) M^(-1/2) + ...
    #[test]
    fn leading_coefficients_are_those_of_the_theory() {
        let type_two = expand(&|m| known::flipped(1.0, m)).unwrap();
        let of = |list: &[Expansion], quantity: &str| list.iter().find(|e| e.quantity == quantity).unwrap().clone();
        let check = |e: &Expansion, power: f64, k: usize, value: f64| {
            assert_eq!(e.power, power, "{e:?}");
            assert!((e.coefficients[k].0 - value).abs() < 1e-6 && e.coefficients[k].1 < 1e-4, "{e:?}");
        };
        check(&of(&type_two, "loss"), -1.0, 0, 0.5 - 2.0 / (PI * PI));
        check(&of(&type_two, "c12"), -1.0, 0, 4.0 / PI);
        check(&of(&type_two, "c21"), -1.0, 0, 2.0);
        check(&of(&type_two, "a1"), 0.0, 0, -1.0);
        let type_a = expand(&|m| known::block(m, m, true)).unwrap();
        check(&of(&type_a, "loss"), 0.0, 0, 0.5 - 1.0 / PI);
        check(&of(&type_a, "loss"), 0.0, 1, -4.0 / (3.0 * PI));
    }
}
