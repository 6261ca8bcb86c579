//! Derivatives of the second moments by the overlaps.

use ndarray::Array2;

use super::Fields;
use super::activation_noise::{erf_moment_derivatives, leaky_moment_derivatives, linear_moment_derivatives};
use crate::expectation::orthant::PAIRS;
use crate::expectation::quadruple::{three_moment_derivatives, two_moment_derivatives};
use crate::expectation::{Averages, Erf, Leaky, Quad, Relu};
use crate::model::Activation;

/// Number of overlaps that can move: K (K + 1) / 2 entries of Q and K M of R.
pub(super) fn overlaps(fields: &Fields) -> usize {
    let k = fields.students();
    k * (k + 1) / 2 + k * (fields.units() - k)
}

/// Place of the overlap of units u and v among Q_11, Q_12, ..., Q_KK, R_11, ..., R_KM; none for two teachers.
pub fn overlap_index(fields: &Fields, u: usize, v: usize) -> Option<usize> {
    let (k, m) = (fields.students(), fields.units() - fields.students());
    let (u, v) = (u.min(v), u.max(v));
    match (u < k, v < k) {
        (true, true) => Some(u * k - u * (u + 1) / 2 + v),
        (true, false) => Some(k * (k + 1) / 2 + u * m + (v - k)),
        _ => None,
    }
}

/// Rows of derivatives, each in its unit-norm form: entry times n_p n_q / (n_u n_v).
struct Rows<'a> {
    fields: &'a Fields,
    rows: Array2<f64>,
}

impl Rows<'_> {
    /// Adds `weight` times the derivative of E[p q ...] by the covariance of u and v to row N_ij.
    fn add(&mut self, (i, j): (usize, usize), weight: f64, (p, q): (usize, usize), (u, v): (usize, usize), unit: f64) {
        let fields = self.fields;
        if let (Some(row), Some(column)) = (overlap_index(fields, i, j), overlap_index(fields, u, v)) {
            let scale = fields.norm(p) * fields.norm(q) / (fields.norm(u) * fields.norm(v));
            self.rows[[row, column]] += weight * scale * unit;
        }
    }
}

/// Derivatives of N_ik = E[e^2 g'_i g'_k] (rows i <= k, in the order of Q) by the overlaps Q_11, ..., R_KM (columns; an
/// off-diagonal Q_ij counts once). Where g has a kink they exist away from parallel and zero units; infinite ones are given
/// as 0.
pub fn error_moment_derivatives(fields: &Fields) -> Array2<f64> {
    match fields.activation() {
        Activation::Relu => ramp_moment_derivatives(fields),
        Activation::LeakyRelu { slope } => leaky_moment_derivatives(fields, slope),
        Activation::Linear => linear_moment_derivatives(fields),
        Activation::Erf => erf_moment_derivatives(fields),
    }
}

/// Those of ReLU.
pub(super) fn ramp_moment_derivatives(fields: &Fields) -> Array2<f64> {
    let (k, units) = (fields.students(), fields.units());
    let mut rows = Rows { fields, rows: Array2::zeros((k * (k + 1) / 2, overlaps(fields))) };
    let alive: Vec<usize> = (0..units).filter(|&u| fields.norm(u) > 0.0).collect();
    let readout = |u: usize| fields.readout(u);
    for (x, &i) in alive.iter().enumerate().filter(|(_, i)| **i < k) {
        rows.add((i, i), 0.5 * readout(i) * readout(i), (i, i), (i, i), 1.0);
        for (y, &j) in alive.iter().enumerate().skip(x + 1).filter(|(_, j)| !fields.exclude(i, **j)) {
            two(&mut rows, [i, j]);
            let fits = |l: usize| !fields.exclude(i, l) && !fields.exclude(j, l);
            for (z, &l) in alive.iter().enumerate().skip(y + 1).filter(|(_, l)| fits(**l)) {
                three(&mut rows, [i, j, l]);
                for &m in alive.iter().skip(z + 1).filter(|m| j < k && fits(**m) && !fields.exclude(l, **m)) {
                    four(&mut rows, [i, j, l, m]);
                }
            }
        }
    }
    rows.rows
}

fn two(rows: &mut Rows, set: [usize; 2]) {
    let (fields, [i, j]) = (rows.fields, set);
    let unit = two_moment_derivatives(fields.link(i, j));
    let (c, d) = (fields.readout(i), fields.readout(j));
    let products = [(i, i, c * c), (j, j, d * d), (i, j, 2.0 * c * d)];
    for (column, ends) in [(i, i), (j, j), (i, j)].into_iter().enumerate() {
        for (m, &(p, q, weight)) in products.iter().enumerate() {
            // Step i: the pairs of ramps that make the set whole contain j; step j: those that contain i.
            if (p, q) != (i, i) {
                rows.add((i, i), weight, (p, q), ends, unit[m][column]);
            }
            if j < fields.students() {
                if (p, q) != (j, j) {
                    rows.add((j, j), weight, (p, q), ends, unit[m][column]);
                }
                rows.add((i, j), weight, (p, q), ends, unit[m][column]);
            }
        }
    }
}

fn three(rows: &mut Rows, set: [usize; 3]) {
    let (fields, [i, j, l]) = (rows.fields, set);
    let unit = three_moment_derivatives(fields.link(i, j), fields.link(i, l), fields.link(j, l));
    let products = [(i, i), (j, j), (l, l), (i, j), (i, l), (j, l)];
    for (m, &(p, q)) in products.iter().enumerate() {
        let weight = fields.readout(p) * fields.readout(q) * if p == q { 1.0 } else { 2.0 };
        for (s, &first) in set.iter().enumerate() {
            for &second in &set[s..] {
                // Steps and ramps together must make up the set.
                let whole = set.iter().all(|u| [first, second, p, q].contains(u));
                if !whole || second >= fields.students() {
                    continue;
                }
                for (column, ends) in products.into_iter().enumerate() {
                    rows.add((first, second), weight, (p, q), ends, unit[m][column]);
                }
            }
        }
    }
}

fn four(rows: &mut Rows, set: [usize; 4]) {
    let fields = rows.fields;
    for (pair, (first, second)) in PAIRS.into_iter().enumerate() {
        if set[second] >= fields.students() {
            continue;
        }
        let (c, d) = PAIRS[5 - pair];
        let order = [set[first], set[second], set[c], set[d]];
        let links = PAIRS.map(|(x, y)| *fields.link(order[x], order[y]));
        let unit = Relu.quadruple(&Quad { norms: [1.0; 4], links }).derivatives;
        let weight = 2.0 * fields.readout(order[2]) * fields.readout(order[3]);
        let mut at = 0;
        for x in 0..4 {
            for y in x..4 {
                rows.add((order[0], order[1]), weight, (order[2], order[3]), (order[x], order[y]), unit[at]);
                at += 1;
            }
        }
    }
}

/// Derivatives of E[g'_i g'_k], in the layout of [`error_moment_derivatives`].
pub fn step_moment_derivatives(fields: &Fields) -> Array2<f64> {
    match fields.activation().negative_slope() {
        Some(0.0) => ramp_step_derivatives(fields),
        Some(slope) => ramp_step_derivatives(fields) * Leaky::ramp(slope),
        None => {
            let k = fields.students();
            let mut rows = Array2::zeros((k * (k + 1) / 2, overlaps(fields)));
            for i in 0..k {
                for j in i..k {
                    let c = Erf.curvature(&fields.pair(i, j));
                    for (u, v, slope) in [(i, i, c.uu_uv), (j, j, c.vv_uv), (i, j, c.uv_uv)] {
                        if let (Some(row), Some(column)) = (overlap_index(fields, i, j), overlap_index(fields, u, v)) {
                            rows[[row, column]] += slope;
                        }
                    }
                }
            }
            rows
        }
    }
}

fn ramp_step_derivatives(fields: &Fields) -> Array2<f64> {
    let k = fields.students();
    let mut rows = Rows { fields, rows: Array2::zeros((k * (k + 1) / 2, overlaps(fields))) };
    let alive = |u: usize| fields.norm(u) > 0.0;
    for i in (0..k).filter(|&i| alive(i)) {
        for j in (i + 1..k).filter(|&j| alive(j)) {
            let link = fields.link(i, j);
            if link.s > 0.0 {
                let slope = 1.0 / (2.0 * std::f64::consts::PI * link.s);
                // Ramps (i, i) with ends (i, i) have scale 1, and so on: E[H H] itself has no scale.
                let scale = 1.0 / (fields.norm(i) * fields.norm(j));
                rows.add((i, j), slope * scale, (i, j), (i, j), 1.0);
                rows.add((i, j), -0.5 * link.r * slope / fields.norm(i).powi(2), (i, i), (i, i), 1.0);
                rows.add((i, j), -0.5 * link.r * slope / fields.norm(j).powi(2), (j, j), (j, j), 1.0);
            }
        }
    }
    rows.rows
}

/// Derivatives by the overlaps of E[e g'_i lambda_v] for a student i and any unit v: a_i times it is the gradient of unit i
/// along v (theory 06, eq. 06-drift).
pub fn drift_derivatives(fields: &Fields, i: usize, v: usize) -> Vec<f64> {
    let mut row = vec![0.0; overlaps(fields)];
    let mut add = |x: usize, y: usize, value: f64| {
        if let Some(column) = overlap_index(fields, x, y) {
            row[column] += value;
        }
    };
    if !fields.is_alive(i) {
        return row;
    }
    let slope = fields.activation().negative_slope();
    if let Some(slope) = slope.filter(|slope| *slope != 0.0) {
        (0..fields.units()).for_each(|u| add(v, u, slope * fields.readout(u)));
    }
    let ramp = Leaky::ramp(slope.unwrap_or(0.0));
    if ramp == 0.0 {
        return row;
    }
    let covariance = |x: usize, y: usize| {
        let link = if x == y { 1.0 } else { fields.link(x, y).r };
        fields.norm(x) * fields.norm(y) * link
    };
    for u in (0..fields.units()).filter(|&u| fields.is_alive(u)) {
        let readout = ramp * fields.readout(u);
        if u == i && slope.is_some() {
            add(i, v, 0.5 * readout);
            continue;
        }
        let (pair, c_iv, c_vu) = (fields.pair(i, u), covariance(i, v), covariance(v, u));
        let average = if slope.is_some() { Relu.triple(&pair, c_iv, c_vu) } else { Erf.triple(&pair, c_iv, c_vu) };
        add(i, i, readout * average.d_uu);
        add(u, u, readout * average.d_ww);
        add(i, v, readout * average.d_uv);
        add(i, u, readout * average.d_uw);
        add(v, u, readout * average.d_vw);
    }
    row
}
