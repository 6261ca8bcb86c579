//! ReLU averages of up to four fields: second moments over an orthant.
//!
//! E[H(a) H(b) c+ d+] = `E[c d; a, b, c, d > 0]`. Everything in it is elementary except P4 (theory 02, eq.
//! 02-quadruple). The cases in which fields coincide are second moments over an orthant of fewer fields, with closed forms
//! of their own.

use std::f64::consts::PI;

use super::orthant::{self, Link, PAIRS, Quadruples, p2, p3, position};
use super::path::partial;
use super::{Averages, Pair, Relu, angles};
use crate::numerics::level::Level;

const FOUR_PI: f64 = 4.0 * PI;
const FOUR_PI_SQUARED: f64 = 4.0 * PI * PI;

/// Geometry of four fields: standard deviations, and the six pairs of unit fields in the order of
/// [`orthant::PAIRS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quad {
    pub norms: [f64; 4],
    pub links: [Link; 6],
}

impl Quad {
    /// From the vectors, all of one length: accurate also for nearly parallel ones.
    pub fn from_vectors(vectors: [&[f64]; 4]) -> Quad {
        Quad::from_pairs(PAIRS.map(|(i, j)| Pair::from_vectors(vectors[i], vectors[j])))
    }

    /// From the covariance matrix (its upper triangle is read). Nearly parallel fields are as good as their correlation.
    pub fn from_covariance(c: &[[f64; 4]; 4]) -> Quad {
        let angles = |r: &[f64], s: &mut [f64], a: &mut [f64]| angles::from_correlations(Level::best(), r, s, a);
        let (norms, [correlations, sines, supplements]) = orthant::correlations(c, angles);
        let link = |p: usize| {
            let (r, s) = (correlations[p], sines[p]);
            Link { r, s, e: s * s / (1.0 + r.abs()), a: supplements[p] }
        };
        Quad { norms, links: std::array::from_fn(link) }
    }

    fn from_pairs(pairs: [Pair; 6]) -> Quad {
        let norms = [pairs[0].norm_u, pairs[0].norm_v, pairs[5].norm_u, pairs[5].norm_v];
        Quad { norms, links: pairs.map(|pair| Link::from(&pair)) }
    }
}

/// E[g'(a) g'(b) g(c) g(d)] and its derivatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuadAverage {
    pub value: f64,
    /// By the covariances aa, ab, ac, ad, bb, bc, bd, cc, cd, dd; an off-diagonal one counts once.
    pub derivatives: [f64; 10],
}

/// E[H(a) H(b) c+ d+] with derivatives; see [`Averages::quadruple`].
pub(super) fn average(quad: &Quad) -> QuadAverage {
    if quad.norms.contains(&0.0) {
        return QuadAverage { value: 0.0, derivatives: [0.0; 10] };
    }
    let orthants = orthant::evaluate(&quad.links);
    let given = orthants.given.map(|g| g[0]);
    let scale = quad.norms[2] * quad.norms[3];
    let mut value = [0.0];
    product(&orthant::single(&quad.links), &orthants.p4, &orthants.given, [0, 1, 2, 3], &mut value);
    let mut derivatives = derivatives(&quad.links, orthants.p4[0], &given);
    let mut at = 0;
    for i in 0..4 {
        for j in i..4 {
            derivatives[at] *= scale / (quad.norms[i] * quad.norms[j]);
            at += 1;
        }
    }
    QuadAverage { value: scale * value[0], derivatives }
}

/// `E[c d; a, b, c, d > 0]` of unit fields in L lanes; `roles` are the positions of a, b, c, d among the lanes' fields
/// (theory 02, eq. 02-quadruple).
#[inline(always)]
pub(crate) fn product<const L: usize>(
    fields: &Quadruples<L>,
    p4: &[f64; L],
    given: &[[f64; L]; 6],
    roles: [usize; 4],
    value: &mut [f64; L],
) {
    let [a, b, c, d] = roles;
    let [ab, ac, ad] = [position(a, b), position(a, c), position(a, d)];
    let [bc, bd, cd] = [position(b, c), position(b, d), position(c, d)];
    let (r, s) = (&fields.r, &fields.s);
    for t in 0..L {
        let (ca, cb, da, db) = (r[ac][t], r[bc][t], r[ad][t], r[bd][t]);
        let tilt = tilt(r[ab][t], s[ab][t], fields.e[ab][t], ca, cb, da, db);
        let edges = s[cd][t] * given[cd][t]
            + (ca * s[ad][t] * given[ad][t] + cb * s[bd][t] * given[bd][t])
            + (da * s[ac][t] * given[ac][t] + db * s[bc][t] * given[bc][t])
            + tilt * given[ab][t];
        value[t] = r[cd][t] * p4[t] + edges / FOUR_PI_SQUARED;
    }
}

/// (r_ca r_db + r_cb r_da - r_ab (r_ca r_da + r_cb r_db)) / s_ab, without cancellation at nearly parallel a, b, where it
/// vanishes.
#[inline(always)]
fn tilt(r: f64, s: f64, e: f64, ca: f64, cb: f64, da: f64, db: f64) -> f64 {
    let along = e * (ca * da + cb * db);
    let parallel = along - (ca - cb) * (da - db);
    let opposite = (ca + cb) * (da + db) - along;
    (if r > 0.0 { parallel } else { opposite }) / (if s > 0.0 { s } else { 1.0 })
}

/// Derivatives at unit variances, in the order of [`QuadAverage`] (theory 02, eq. 02-quadruple-derivative).
fn derivatives(links: &[Link; 6], p4: f64, given: &[f64; 6]) -> [f64; 10] {
    let link = |i: usize, j: usize| &links[position(i, j)];
    // Density of (j, l) at 0 times P(the others > 0 | j = l = 0); infinite numerators over 0 count as 0.
    let edge = |j: usize, l: usize| {
        let p = position(j, l);
        if links[p].s > 0.0 { given[p] / (FOUR_PI_SQUARED * links[p].s) } else { 0.0 }
    };
    // Covariance of d and l given j = 0.
    let part = |d: usize, l: usize, j: usize| given_zero(link(d, l), link(d, j), link(l, j));
    // E[delta(j) H(p) H(q) d+], {j, p, q, d} the four fields.
    let cut = |j: usize, d: usize| {
        let others = (0..4).filter(|&l| l != j && l != d).map(|l| part(d, l, j) * edge(j, l));
        others.sum::<f64>() + link(j, d).s * given[position(j, d)] / FOUR_PI_SQUARED
    };
    let [a, b, c, d] = [0, 1, 2, 3];
    let (ab, ac, ad, bc, bd) = (both_cut(links, given), cut(a, d), cut(a, c), cut(b, d), cut(b, c));
    let (cc, dd) = (0.5 * cut(c, d), 0.5 * cut(d, c));
    // Steps do not feel the scale of their field.
    let aa = -0.5 * (link(a, b).r * ab + link(a, c).r * ac + link(a, d).r * ad);
    let bb = -0.5 * (link(a, b).r * ab + link(b, c).r * bc + link(b, d).r * bd);
    [aa, ab, ac, ad, bb, bc, bd, cc, p4, dd]
}

/// Covariance of k and l given i = 0, from the pairs kl, ik, il.
fn given_zero(kl: &Link, ik: &Link, il: &Link) -> f64 {
    partial(kl.r, kl.e, ik.r, ik.e, il.r, il.e)
}

/// E[delta(a) delta(b) c+ d+] at unit variances.
fn both_cut(links: &[Link; 6], given: &[f64; 6]) -> f64 {
    let [ab, ac, ad, bc, bd, _] = links;
    if !(ab.s > 0.0) {
        return 0.0;
    }
    // Standard deviation of c given a = b = 0, from det(a, b, c).
    let width = |ac: &Link, bc: &Link| {
        let mixed = given_zero(bc, ab, ac);
        ((ab.s * ac.s - mixed) * (ab.s * ac.s + mixed)).max(0.0).sqrt() / ab.s
    };
    let angle = PI - given[0];
    let pair = Pair {
        norm_u: width(ac, bc),
        norm_v: width(ad, bd),
        cosine: angle.cos(),
        sine: angle.sin(),
        supplement: given[0],
    };
    Relu.pair(&pair).value / (2.0 * PI * ab.s)
}

/// Second moments over the orthant of three unit fields x, y, z, given the pairs (xy, xz, yz): E[x x], E[y y], E[z z],
/// E[x y], E[x z], E[y z], each times the indicator of x, y, z > 0 (theory 02, eq. 02-three-moments).
pub fn three_moments(xy: &Link, xz: &Link, yz: &Link) -> [f64; 6] {
    let p = p3(xy.a, xz.a, yz.a);
    // E[c d; c, d, e > 0] from the pairs cd, ce, de.
    let mixed = |cd: &Link, ce: &Link, de: &Link| cd.r * p + (cd.s + ce.r * de.s + de.r * ce.s) / FOUR_PI;
    // E[c c; c, d, e > 0].
    let square = |cd: &Link, ce: &Link, de: &Link| {
        p + (cd.r * cd.s + ce.r * ce.s + tilt(de.r, de.s, de.e, cd.r, ce.r, cd.r, ce.r)) / FOUR_PI
    };
    [
        square(xy, xz, yz),
        square(xy, yz, xz),
        square(xz, yz, xy),
        mixed(xy, xz, yz),
        mixed(xz, xy, yz),
        mixed(yz, xy, xz),
    ]
}

/// Second moments over the quadrant of two unit fields: `E[x x; x, y > 0]` (equal to that of y) and `E[x y; x, y > 0]`
/// (theory 02, eq. 02-two-moments).
pub fn two_moments(xy: &Link) -> [f64; 2] {
    let p = p2(xy.a);
    [p + xy.r * xy.s / (2.0 * PI), xy.r * p + xy.s / (2.0 * PI)]
}

/// x / y, and 0 where y is: numerators over the sine of parallel fields vanish with it or have no derivative.
fn ratio(x: f64, y: f64) -> f64 {
    if y > 0.0 { x / y } else { 0.0 }
}

/// Derivatives of [`three_moments`] (rows, in its order) by the covariances xx, yy, zz, xy, xz, yz (columns).
pub fn three_moment_derivatives(xy: &Link, xz: &Link, yz: &Link) -> [[f64; 6]; 6] {
    let p = p3(xy.a, xz.a, yz.a);
    // By cc, dd, ee, cd, ce, de for E[c d; c, d, e > 0].
    let mixed = |cd: &Link, ce: &Link, de: &Link| {
        let by_ce = (de.s + ratio(given_zero(cd, ce, de), ce.s)) / FOUR_PI;
        let by_de = (ce.s + ratio(given_zero(cd, ce, de), de.s)) / FOUR_PI;
        let by_cc = (cd.s + ratio(given_zero(de, cd, ce), ce.s)) / (2.0 * FOUR_PI);
        let by_dd = (cd.s + ratio(given_zero(ce, cd, de), de.s)) / (2.0 * FOUR_PI);
        [by_cc, by_dd, -0.5 * (ce.r * by_ce + de.r * by_de), p, by_ce, by_de]
    };
    // By cc, dd, ee, cd, ce, de for E[c c; c, d, e > 0].
    let square = |cd: &Link, ce: &Link, de: &Link| {
        let by_cd = 2.0 * (cd.s + ratio(given_zero(ce, cd, de), de.s)) / FOUR_PI;
        let by_ce = 2.0 * (ce.s + ratio(given_zero(cd, ce, de), de.s)) / FOUR_PI;
        // Variance of c given d = e = 0.
        let across = given_zero(ce, cd, de);
        let variance = ratio((cd.s * de.s - across) * (cd.s * de.s + across), de.s * de.s);
        let by_de = ratio(variance.max(0.0), de.s) / FOUR_PI;
        let by_dd = -0.5 * (cd.r * by_cd + de.r * by_de);
        [p, by_dd, -0.5 * (ce.r * by_ce + de.r * by_de), by_cd, by_ce, by_de]
    };
    let [xx, yy, zz] = [square(xy, xz, yz), square(xy, yz, xz), square(xz, yz, xy)];
    let [mxy, mxz, myz] = [mixed(xy, xz, yz), mixed(xz, xy, yz), mixed(yz, xy, xz)];
    [
        xx,
        [yy[1], yy[0], yy[2], yy[3], yy[5], yy[4]],
        [zz[1], zz[2], zz[0], zz[5], zz[3], zz[4]],
        mxy,
        [mxz[0], mxz[2], mxz[1], mxz[4], mxz[3], mxz[5]],
        [myz[2], myz[0], myz[1], myz[4], myz[5], myz[3]],
    ]
}

/// Derivatives of `E[x x; x, y > 0]`, `E[y y; x, y > 0]`, `E[x y; x, y > 0]` (rows) by the covariances xx, yy, xy
/// (columns).
pub fn two_moment_derivatives(xy: &Link) -> [[f64; 3]; 3] {
    let (p, slope) = (p2(xy.a), xy.s / PI);
    [[p, -0.5 * xy.r * slope, slope], [-0.5 * xy.r * slope, p, slope], [xy.s / FOUR_PI, xy.s / FOUR_PI, p]]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields that coincide: the same numbers from the closed forms of fewer fields, also times -1 and with zero fields.
    #[test]
    fn coincidences_have_their_own_closed_forms() {
        let u = [[0.3, -0.4, 1.2, 0.1], [1.0, 0.2, 0.5, -0.3], [0.4, 0.9, -0.3, 1.0], [-0.5, 0.3, 0.8, 0.2]];
        let link = |i: usize, j: usize| Link::from(&Pair::from_vectors(&u[i], &u[j]));
        let norm = |i: usize| u[i].iter().map(|x| x * x).sum::<f64>().sqrt();
        let quad = |i: [usize; 4]| Relu.quadruple(&Quad::from_vectors(i.map(|i| &u[i][..]))).value;
        let three = three_moments(&link(0, 1), &link(0, 2), &link(1, 2));
        let two = two_moments(&link(0, 1));
        for (units, expected) in [
            ([0, 0, 1, 2], three[5] * norm(1) * norm(2)),
            ([0, 1, 2, 2], three[2] * norm(2) * norm(2)),
            ([0, 1, 0, 2], three[4] * norm(0) * norm(2)),
            ([0, 1, 2, 0], three[4] * norm(0) * norm(2)),
            ([0, 1, 1, 2], three[5] * norm(1) * norm(2)),
            ([0, 0, 1, 1], two[0] * norm(1) * norm(1)),
            ([0, 0, 0, 1], two[1] * norm(1) * norm(0)),
            ([0, 1, 0, 1], two[1] * norm(1) * norm(0)),
            ([0, 1, 0, 0], two[0] * norm(0) * norm(0)),
            ([0, 0, 0, 0], 0.5 * norm(0) * norm(0)),
        ] {
            assert!((quad(units) - expected).abs() < 1e-15, "{units:?}: {} against {expected}", quad(units));
        }
        let (zero, minus) = ([0.0; 4], u[0].map(|x| -x));
        for vectors in [[&zero, &u[0], &u[1], &u[2]], [&u[0], &u[1], &zero, &u[2]], [&u[0], &minus, &u[1], &u[2]]] {
            let value = Relu.quadruple(&Quad::from_vectors(vectors.map(|v| &v[..]))).value;
            assert!(value.abs() < 1e-16, "{value:e}");
        }
    }

    /// Derivatives of moments of two and three fields against central differences, norms away from 1.
    #[test]
    fn derivatives_of_fewer_fields_match_differences() {
        let c = [1.3, 0.8, 1.7, 0.4, -0.5, 0.3]; // xx, yy, zz, xy, xz, yz
        let links = |c: &[f64; 6]| {
            [(0, 1, 3), (0, 2, 4), (1, 2, 5)].map(|(i, j, p)| Link::from(&Pair::from_covariance(c[i], c[j], c[p])))
        };
        const ENDS: [(usize, usize); 6] = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];
        let norm = |c: &[f64; 6], u: usize| c[u].sqrt();
        let three = |c: &[f64; 6]| {
            let [xy, xz, yz] = links(c);
            let unit = three_moments(&xy, &xz, &yz);
            std::array::from_fn::<f64, 6, _>(|m| unit[m] * norm(c, ENDS[m].0) * norm(c, ENDS[m].1))
        };
        let two = |c: &[f64; 6]| {
            let [square, product] = two_moments(&links(c)[0]);
            [square * c[0], square * c[1], product * (c[0] * c[1]).sqrt()]
        };
        let [xy, xz, yz] = links(&c);
        let (of_three, of_two) = (three_moment_derivatives(&xy, &xz, &yz), two_moment_derivatives(&xy));
        for column in 0..6 {
            let h = 1e-5;
            let (mut up, mut down) = (c, c);
            (up[column], down[column]) = (c[column] + h, c[column] - h);
            let scale = norm(&c, ENDS[column].0) * norm(&c, ENDS[column].1);
            for m in 0..6 {
                let numeric = (three(&up)[m] - three(&down)[m]) / (2.0 * h);
                let analytic = of_three[m][column] * norm(&c, ENDS[m].0) * norm(&c, ENDS[m].1) / scale;
                assert!((analytic - numeric).abs() < 1e-9, "three: {m} by {column}: {analytic} against {numeric}");
            }
            let Some(place) = [0, 1, 3].iter().position(|&p| p == column) else { continue };
            for (m, size) in [c[0], c[1], (c[0] * c[1]).sqrt()].into_iter().enumerate() {
                let numeric = (two(&up)[m] - two(&down)[m]) / (2.0 * h);
                let analytic = of_two[m][place] * size / scale;
                assert!((analytic - numeric).abs() < 1e-9, "two: {m} by {column}: {analytic} against {numeric}");
            }
        }
    }
}
