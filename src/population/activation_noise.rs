//! Second moments of the one-sample gradient, and their derivatives, for activations other than ReLU (theory 11).

use ndarray::Array2;

use super::Fields;
use super::noise::ramp_moments;
use super::noise_derivatives::{overlap_index, overlaps, ramp_moment_derivatives};
use crate::expectation::orthant::PAIRS;
use crate::expectation::{Averages, Erf, QuadAverage};
use crate::numerics::level::Level;

/// N for leaky ReLU, as that of the ReLU network it is (theory 11, eq. 11-signs).
pub(super) fn leaky_moments(fields: &Fields, slope: f64, level: Level) -> Array2<f64> {
    let k = fields.students();
    let both = ramp_moments(&fields.mirrored(slope), level);
    Array2::from_shape_fn((k, k), |(i, j)| {
        both[[i, j]] + slope * (both[[i, k + j]] + both[[k + i, j]]) + slope * slope * both[[k + i, k + j]]
    })
}

/// Derivatives of [`leaky_moments`] in the layout of [`super::error_moment_derivatives`].
pub(super) fn leaky_moment_derivatives(fields: &Fields, slope: f64) -> Array2<f64> {
    let (k, units) = (fields.students(), fields.units());
    let mirrored = fields.mirrored(slope);
    let both = ramp_moment_derivatives(&mirrored);
    // The two mirrored units of a unit, with the sign of their fields.
    let images = |u: usize| {
        let (first, half) = if u < k { (u, k) } else { (u + k, units - k) };
        [(first, 1.0), (first + half, -1.0)]
    };
    let mut rows = Array2::zeros((k * (k + 1) / 2, overlaps(fields)));
    for i in 0..k {
        for j in i..k {
            let Some(row) = overlap_index(fields, i, j) else { continue };
            for (x, sign_x) in images(i) {
                for (y, sign_y) in images(j) {
                    let Some(from) = overlap_index(&mirrored, x, y) else { continue };
                    let factor = |sign: f64| if sign < 0.0 { slope } else { 1.0 };
                    let weight = factor(sign_x) * factor(sign_y);
                    for_each_overlap(fields, |u, v, column| {
                        for (p, sign_p) in images(u) {
                            for (q, sign_q) in images(v) {
                                // One covariance of a unit with itself counts once for each of its two fields.
                                if u == v && p != q {
                                    continue;
                                }
                                if let Some(by) = overlap_index(&mirrored, p, q) {
                                    rows[[row, column]] += weight * sign_p * sign_q * both[[from, by]];
                                }
                            }
                        }
                    });
                }
            }
        }
    }
    rows
}

/// All overlaps that can move: two units u <= v and their column.
fn for_each_overlap(fields: &Fields, mut visit: impl FnMut(usize, usize, usize)) {
    for u in 0..fields.students() {
        for v in u..fields.units() {
            if let Some(column) = overlap_index(fields, u, v) {
                visit(u, v, column);
            }
        }
    }
}

/// N for linear networks: E[e^2] in every entry.
pub(super) fn linear_moments(fields: &Fields) -> Array2<f64> {
    Array2::from_elem((fields.students(), fields.students()), fields.linear_square())
}

/// Derivatives of [`linear_moments`].
pub(super) fn linear_moment_derivatives(fields: &Fields) -> Array2<f64> {
    let k = fields.students();
    let mut rows = Array2::zeros((k * (k + 1) / 2, overlaps(fields)));
    for_each_overlap(fields, |u, v, column| {
        let value = fields.readout(u) * fields.readout(v) * if u == v { 1.0 } else { 2.0 };
        rows.column_mut(column).fill(value);
    });
    rows
}

/// Calls `add` for the students i <= j and each pair of units with its weight: N_ij = sum of weight times average.
fn for_each_quadruple(fields: &Fields, mut add: impl FnMut([usize; 4], f64, QuadAverage)) {
    let (k, units) = (fields.students(), fields.units());
    for i in 0..k {
        for j in i..k {
            for u in 0..units {
                for v in u..units {
                    let weight = fields.readout(u) * fields.readout(v) * if u == v { 1.0 } else { 2.0 };
                    let set = [i, j, u, v];
                    add(set, weight, Erf.quadruple(&fields.quad(set)));
                }
            }
        }
    }
}

/// N for erf.
pub(super) fn erf_moments(fields: &Fields) -> Array2<f64> {
    let mut moments = Array2::zeros((fields.students(), fields.students()));
    for_each_quadruple(fields, |[i, j, ..], weight, average| moments[[i, j]] += weight * average.value);
    symmetric(moments)
}

/// Derivatives of [`erf_moments`].
pub(super) fn erf_moment_derivatives(fields: &Fields) -> Array2<f64> {
    let k = fields.students();
    let mut rows = Array2::zeros((k * (k + 1) / 2, overlaps(fields)));
    for_each_quadruple(fields, |set, weight, average| {
        let Some(row) = overlap_index(fields, set[0], set[1]) else { return };
        let mut at = 0;
        for x in 0..4 {
            for y in x..4 {
                if let Some(column) = overlap_index(fields, set[x], set[y]) {
                    rows[[row, column]] += weight * average.derivatives[at];
                }
                at += 1;
            }
        }
    });
    rows
}

/// sum_p C_p dN/dC_p over all covariances for erf: half of x . grad, what the length of the input adds (theory 11, eq.
/// 11-length).
pub(super) fn erf_moment_growth(fields: &Fields) -> Array2<f64> {
    let mut growth = Array2::zeros((fields.students(), fields.students()));
    for_each_quadruple(fields, |set, weight, average| {
        let quad = fields.quad(set);
        let mut at = 0;
        for x in 0..4 {
            for y in x..4 {
                let correlation = PAIRS.iter().position(|&pair| pair == (x, y)).map_or(1.0, |p| quad.links[p].r);
                let covariance = quad.norms[x] * quad.norms[y] * correlation;
                growth[[set[0], set[1]]] += weight * covariance * average.derivatives[at];
                at += 1;
            }
        }
    });
    symmetric(growth)
}

/// The same for E[g'_i g'_j].
pub(super) fn erf_step_growth(fields: &Fields) -> Array2<f64> {
    let k = fields.students();
    Array2::from_shape_fn((k, k), |(i, j)| {
        let pair = fields.pair(i, j);
        let c = Erf.curvature(&pair);
        pair.norm_u.powi(2) * c.uu_uv + pair.norm_v.powi(2) * c.vv_uv + pair.covariance() * c.uv_uv
    })
}

/// The upper triangle on both sides.
fn symmetric(mut a: Array2<f64>) -> Array2<f64> {
    for i in 0..a.nrows() {
        for j in 0..i {
            a[[i, j]] = a[[j, i]];
        }
    }
    a
}
