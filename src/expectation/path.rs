//! P4 along one path: one correlation is moved from the value where the four fields become linearly dependent, and P4
//! elementary, to its own (theory 02, section 6).
//!
//! In the variable t = tan(psi / 2) all singularities of the integrand lie on the imaginary axis, so the quality of a path
//! is one ratio, from which the number of Gauss nodes follows (theory 02, eq. 02-ellipse).

use std::f64::consts::PI;
use std::sync::OnceLock;

use super::angles::direction;
use super::orthant::{Quadruples, p3, position};
use crate::numerics::quadrature::legendre;

/// Fields (1, 2, 3, 4) of a path: 1 and 2 are moved against each other, 1 is reversed first if `reversed`.
const ROLES: [[usize; 4]; 6] = [[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2], [1, 2, 0, 3], [1, 3, 0, 2], [2, 3, 0, 1]];

/// Positions of 12, 13, 14, 23, 24, 34 for each of [`ROLES`].
const PLACES: [[usize; 6]; 6] = {
    let mut places = [[0; 6]; 6];
    let mut pair = 0;
    while pair < 6 {
        let [i, j, k, l] = ROLES[pair];
        places[pair] = [position(i, j), position(i, k), position(i, l), position(j, k), position(j, l), position(k, l)];
        pair += 1;
    }
    places
};

/// Sines below this make their pair the one that is moved, reversed so that it is nearly antiparallel: then every
/// cancellation is multiplied by the small sine (theory 02, section 6).
const NEAR: f64 = 0.02;

/// Relative error of the rule aimed at is exp(-2 AIM).
const AIM: f64 = 16.5;

/// Numbers of nodes that are tried.
const NODES: [usize; 18] = [4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 32, 48, 64, 96, 128];

/// Quadrature on a path from 0 to its end.
struct Rule {
    /// Smallest squared quality for which the rule suffices.
    quality: f64,
    /// Nodes and weights as shares of the end.
    nodes: Vec<(f64, f64)>,
}

/// Gauss rules in x of t = tau sinh x, each on the longest interval of x that it suffices for; tau follows from the end. On a
/// path that could do with a shorter interval all singularities are still at height pi / 2.
fn rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let rule = |&n: &usize| {
            // Singularities at distance pi / 2 from an interval of length X leave a Bernstein ellipse of parameter rho with
            // ln rho = asinh(pi / X); n nodes have error rho^(-2 n) (theory 02, eq. 02-ellipse).
            let length = PI / (AIM / n as f64).sinh();
            let end = length.sinh();
            let node = |&(x, weight): &(f64, f64)| {
                let x = x * length;
                (x.sinh() / end, weight * length * x.cosh() / end)
            };
            Rule { quality: 1.0 / (end * end), nodes: legendre(n).iter().map(node).collect() }
        };
        NODES.iter().map(rule).collect()
    })
}

/// r_a + r_b without cancellation when the two are nearly opposite.
#[inline(always)]
fn sum(ra: f64, ea: f64, rb: f64, eb: f64) -> f64 {
    let difference = if ra > rb { eb - ea } else { ea - eb };
    if ra * rb < 0.0 { difference } else { ra + rb }
}

/// Covariance of k and l given i = 0, r_kl - r_ik r_il, without cancellation when all three fields are nearly parallel.
#[inline(always)]
pub(super) fn partial(rkl: f64, ekl: f64, rik: f64, eik: f64, ril: f64, eil: f64) -> f64 {
    let product = rik * ril;
    let near = eik + eil - ekl - eik * eil;
    let near = if rkl < 0.0 { -near } else { near };
    if rkl * product > 0.0 { near } else { rkl - product }
}

/// Quality of a path at the better end of its range, and whether 1 is reversed: the nearest singularity over the length of
/// the way.
#[inline(always)]
fn quality([r12, r13, r14, r23, r24, r34]: [f64; 6], [s13, s14, s23, s24, s34]: [f64; 5]) -> (f64, f64) {
    // Positions on the axis of r12, all times s34^2: centre c and half-width of its range, and the nearest singularities
    // below and above, cos(theta13 +- theta23) or cos(theta14 +- theta24).
    let square = s34 * s34;
    let (y1, y2) = (r14 - r13 * r34, r24 - r23 * r34);
    let (product3, sines3) = (r13 * r23, s13 * s23);
    let (product4, sines4) = (r14 * r24, s14 * s24);
    let half = (s13 * s13 * square - y1 * y1) * (s23 * s23 * square - y2 * y2);
    let half = (if half > 0.0 { half } else { 0.0 }).sqrt();
    let c = product3 * square + y1 * y2;
    let below = square * larger(product3 - sines3, product4 - sines4);
    let above = -square * larger(-product3 - sines3, -product4 - sines4);
    let r12 = r12 * square;
    let (to_low, to_high) = (r12 - (c - half), (c + half) - r12);
    let (low, low_over) = ((c - half - below) * to_high, larger((c + half - below) * to_low, 1e-300));
    let (high, high_over) = ((above - c - half) * to_low, larger((above - c + half) * to_high, 1e-300));
    let (best, over, reversed) =
        if low * high_over >= high * low_over { (low, low_over, 0.0) } else { (high, high_over, 1.0) };
    (best / over, reversed)
}

/// The path with the largest Bernstein ellipse; with a nearly (anti)parallel pair the one that moves it. One pair may be
/// left out.
#[inline(always)]
pub(super) fn choose<const L: usize>(input: &Quadruples<L>, left_out: Option<usize>) -> [usize; L] {
    let (mut best, mut chosen) = ([-1.0f64; L], [0.0f64; L]);
    let (mut smallest, mut nearest) = ([2.0f64; L], [0.0f64; L]);
    for (pair, places) in PLACES.iter().enumerate() {
        if left_out == Some(pair) {
            continue;
        }
        let [r12, r13, r14, r23, r24, r34] = places.map(|place| &input.r[place]);
        let [s12, s13, s14, s23, s24, s34] = places.map(|place| &input.s[place]);
        for t in 0..L {
            let (value, reversed) =
                quality([r12[t], r13[t], r14[t], r23[t], r24[t], r34[t]], [s13[t], s14[t], s23[t], s24[t], s34[t]]);
            let index = pair as f64 * 2.0 + reversed;
            (best[t], chosen[t]) = if value > best[t] { (value, index) } else { (best[t], chosen[t]) };
            // Reversed (odd) when nearly parallel.
            let index = if r12[t] > 0.0 { pair as f64 * 2.0 + 1.0 } else { pair as f64 * 2.0 };
            (smallest[t], nearest[t]) = if s12[t] < smallest[t] { (s12[t], index) } else { (smallest[t], nearest[t]) };
        }
    }
    std::array::from_fn(|t| (if smallest[t] < NEAR { nearest[t] } else { chosen[t] }) as usize)
}

/// [`choose`] for one quadruple, its six pairs side by side.
#[inline(always)]
pub(super) fn choose_one(input: &Quadruples<1>) -> [usize; 1] {
    let (mut r, mut s) = ([[0.0f64; 8]; 6], [[1.0f64; 8]; 6]);
    for (lane, places) in PLACES.iter().enumerate() {
        for (p, &place) in places.iter().enumerate() {
            (r[p][lane], s[p][lane]) = (input.r[place][0], input.s[place][0]);
        }
    }
    let ([r12, r13, r14, r23, r24, r34], [_, s13, s14, s23, s24, s34]) = (&r, &s);
    let (mut value, mut reversed) = ([0.0f64; 8], [0.0f64; 8]);
    for t in 0..8 {
        let found = quality([r12[t], r13[t], r14[t], r23[t], r24[t], r34[t]], [s13[t], s14[t], s23[t], s24[t], s34[t]]);
        (value[t], reversed[t]) = found;
    }
    let (mut best, mut chosen, mut smallest, mut nearest) = (-1.0, 0, 2.0, 0);
    for pair in 0..6 {
        if value[pair] > best {
            (best, chosen) = (value[pair], 2 * pair + reversed[pair] as usize);
        }
        if s[0][pair] < smallest {
            (smallest, nearest) = (s[0][pair], 2 * pair + usize::from(r[0][pair] > 0.0));
        }
    }
    [if smallest < NEAR { nearest } else { chosen }]
}

#[inline(always)]
fn larger(x: f64, y: f64) -> f64 {
    if x > y { x } else { y }
}

/// Everything a path needs, in coordinates in which field 3 = (1, 0, 0, 0), 4 = (r34, s34, 0, 0), 2 = (r23, y2, s2, 0),
/// 1 = (r13, y1, -s1 cos psi, s1 sin psi): psi = 0 is the start, where the four are dependent.
pub(super) struct Path<const L: usize> {
    r34: [f64; L],
    s34: [f64; L],
    /// Components of 1 and 2 across 3, and across 4, in the plane of 3 and 4.
    y1: [f64; L],
    y2: [f64; L],
    h1: [f64; L],
    h2: [f64; L],
    /// Components across the plane: their lengths, and the same with (0, 0) replaced by (1, 1), where only the ratio counts.
    s1: [f64; L],
    s2: [f64; L],
    f1: [f64; L],
    f2: [f64; L],
    /// 1 + r12 at the start.
    base: [f64; L],
    /// tan(psi / 2) at the end, and the squared quality: nearest singularity over end.
    end: [f64; L],
    quality: [f64; L],
    /// P4 at the start.
    start: [f64; L],
    first_reversed: [bool; L],
    last_reversed: [bool; L],
    /// P3 of (2, 3, 4) with 4 as given, and of (1, 2, 3) with 1 as moved.
    p3_without_first: [f64; L],
    p3_without_last: [f64; L],
    /// Fields in the roles (3, 4) are exchanged against [`ROLES`].
    exchanged: [bool; L],
}

impl Path<1> {
    /// [`Path::probability`], four nodes of the integral side by side: the same bits.
    #[inline(always)]
    pub(super) fn probability_of_one(&self) -> f64 {
        let mut total = 0.0;
        for nodes in self.rule().chunks(4) {
            let (mut ts, mut weights, mut terms) = ([0.0; 4], [0.0; 4], [0.0; 4]);
            nodes.iter().enumerate().for_each(|(n, node)| (ts[n], weights[n]) = *node);
            for n in 0..4 {
                terms[n] = weights[n] * self.integrand(0, self.end[0] * ts[n]);
            }
            terms[..nodes.len()].iter().for_each(|term| total += term);
        }
        self.with_integral([total * self.end[0]])[0]
    }
}

impl<const L: usize> Path<L> {
    #[inline(always)]
    pub(super) fn set_up(input: &Quadruples<L>, paths: &[usize; L]) -> Path<L> {
        let zero = [0.0; L];
        let (mut r, mut s, mut e, mut a) = ([zero; 6], [zero; 6], [zero; 6], [zero; 6]);
        let (mut exchanged, mut first_reversed, mut last_reversed) = ([false; L], [false; L], [false; L]);
        let (mut p3_without_first, mut p3_without_last) = (zero, zero);
        // A gather, lane by lane: 12, 13, 14, 23, 24, 34.
        for t in 0..L {
            let places = PLACES[paths[t] / 2];
            first_reversed[t] = paths[t] % 2 == 1;
            let [ij, ik, il, jk, jl, kl] = places;
            exchanged[t] = input.s[il][t].min(input.s[jl][t]) < input.s[ik][t].min(input.s[jk][t]);
            let places = if exchanged[t] { [ij, il, ik, jl, jk, kl] } else { places };
            let last = places[5];
            last_reversed[t] = input.s[last][t] < NEAR && input.r[last][t] > 0.0;
            let (first, fourth) =
                (if first_reversed[t] { -1.0 } else { 1.0 }, if last_reversed[t] { -1.0 } else { 1.0 });
            p3_without_first[t] = p3(input.a[places[3]][t], input.a[places[4]][t], input.a[last][t]);
            let signs = [first, first, first * fourth, 1.0, fourth, fourth];
            for (p, (&place, sign)) in places.iter().zip(signs).enumerate() {
                r[p][t] = sign * input.r[place][t];
                s[p][t] = input.s[place][t];
                e[p][t] = input.e[place][t];
                a[p][t] = if sign < 0.0 { PI - input.a[place][t] } else { input.a[place][t] };
            }
            p3_without_last[t] = p3(a[0][t], a[1][t], a[3][t]);
        }
        let [r12, r13, r14, r23, r24, r34] = r;
        let [_, s13, s14, s23, s24, s34] = s;
        let (mut y1, mut y2, mut h1, mut h2) = (zero, zero, zero, zero);
        let (mut s1, mut s2, mut f1, mut f2) = (zero, zero, zero, zero);
        let (mut base, mut end, mut quality, mut start) = (zero, zero, zero, zero);
        for t in 0..L {
            let x3 = sum(r13[t], e[1][t], r23[t], e[3][t]);
            let x4 = sum(r14[t], e[2][t], r24[t], e[4][t]);
            let inverse = if s34[t] > 0.0 { 1.0 / s34[t] } else { 0.0 };
            let across = |k: usize, l: usize| partial(r[l][t], e[l][t], r[k][t], e[k][t], r34[t], e[5][t]) * inverse;
            (y1[t], y2[t], h1[t], h2[t]) = (across(1, 2), across(3, 4), across(2, 1), across(4, 3));
            let y = (x4 - x3 * r34[t]) * inverse;
            let square1 = larger((s13[t] - y1[t]) * (s13[t] + y1[t]), 0.0);
            let square2 = larger((s23[t] - y2[t]) * (s23[t] + y2[t]), 0.0);
            (s1[t], s2[t]) = (square1.sqrt(), square2.sqrt());
            let half = s1[t] * s2[t];
            (f1[t], f2[t]) = if s1[t] + s2[t] > 0.0 { (s1[t], s2[t]) } else { (1.0, 1.0) };
            // |1 + 2|^2 / 2 at the start: parts in the plane of 3 and 4 cancel to (x3, y), the parts across to s1 - s2.
            let together = s1[t] + s2[t];
            let gap = ((r23[t] - r13[t]) * x3 + (y2[t] - y1[t]) * y) / (if together > 0.0 { together } else { 1.0 });
            let lowest = 0.5 * (x3 * x3 + y * y + gap * gap);
            let above = if r12[t] < 0.0 { e[0][t] } else { 2.0 - e[0][t] };
            // By rounding the fields may lie beyond the start or the other end by 1e-16 / s1: they are then taken to be
            // that end, so that P4 at the start and the integral still belong to one configuration.
            base[t] = larger(if lowest < above { lowest } else { above }, above - 2.0 * half);
            // The way is the share passed / (passed + left) of the range.
            let passed = if half > 0.0 { above - base[t] } else { 0.0 };
            let left = larger(larger(2.0 * half - passed, 2e-15 * half), 1e-300);
            end[t] = (passed / left).sqrt();
            let (gap3, gap4) = (s13[t] - s23[t], s14[t] - s24[t]);
            let singular = 0.5 * larger(x3 * x3 + gap3 * gap3, x4 * x4 + gap4 * gap4);
            let distance = larger(base[t] - singular, 0.0);
            quality[t] = distance * left / larger((2.0 * half + distance) * passed, 1e-300);
            // Signs of fields 3 and 4 in the linear relation at the start; 1 and 2 have the same sign there.
            let third = f2[t] * h1[t] + f1[t] * h2[t] > 0.0;
            let fourth = f2[t] * y1[t] + f1[t] * y2[t] > 0.0;
            let low = if base[t] < 2.0 { base[t] } else { 2.0 };
            let first = 2.0 * direction(low.sqrt(), (2.0 - low).sqrt());
            let (a3, a4) = (a[1][t] + a[3][t], a[2][t] + a[4][t]);
            let angle = if third { if fourth { a3 + a4 - 2.0 * PI } else { first + a4 - PI } } else { first + a3 - PI };
            let angle = if third || fourth { angle } else { 0.0 };
            start[t] = larger(angle, 0.0) / (4.0 * PI);
        }
        Path {
            r34,
            s34,
            y1,
            y2,
            h1,
            h2,
            s1,
            s2,
            f1,
            f2,
            base,
            end,
            quality,
            start,
            first_reversed,
            last_reversed,
            p3_without_first,
            p3_without_last,
            exchanged,
        }
    }

    /// P4 of the fields as given.
    #[inline(always)]
    pub(super) fn probability(&self) -> [f64; L] {
        self.with_integral(self.integrate())
    }

    #[inline(always)]
    fn with_integral(&self, integral: [f64; L]) -> [f64; L] {
        std::array::from_fn(|t| {
            let p4 = self.start[t] + integral[t] / (4.0 * PI * PI);
            // From P4 with field 4, then field 1 reversed.
            let p4 = if self.last_reversed[t] { self.p3_without_last[t] - p4 } else { p4 };
            let p4 = if self.first_reversed[t] { self.p3_without_first[t] - p4 } else { p4 };
            larger(p4, 0.0)
        })
    }

    /// Integral of F d psi from 0 to the end (theory 02, eq. 02-path).
    ///
    /// With t = tau sinh x, i tau the nearest singularity, all of them lie at height pi / 2 above and below, however
    /// close to the start they were.
    #[inline(always)]
    fn integrate(&self) -> [f64; L] {
        let mut total = [0.0; L];
        for &(share, weight) in self.rule() {
            for t in 0..L {
                total[t] += weight * self.integrand(t, self.end[t] * share);
            }
        }
        for t in 0..L {
            total[t] *= self.end[t];
        }
        total
    }

    /// The rule that suffices for all lanes.
    #[inline(always)]
    fn rule(&self) -> &'static [(f64, f64)] {
        let smallest = self.quality.iter().fold(f64::INFINITY, |low, &x| if x < low { x } else { low });
        let rules = rules();
        &rules.iter().find(|rule| smallest >= rule.quality).unwrap_or(&rules[NODES.len() - 1]).nodes
    }

    /// F d psi / d t at t = tan(psi / 2).
    #[inline(always)]
    fn integrand(&self, lane: usize, t: f64) -> f64 {
        let (s1, s2) = (self.s1[lane], self.s2[lane]);
        let half = s1 * s2;
        // All times 1 + t^2, or its square: sine, cosine and sqrt((1 - r12) (1 + r12)).
        let square = t * t;
        let (whole, twice, cosine) = (1.0 + square, 2.0 * t, 1.0 - square);
        let above = self.base[lane] * whole + 2.0 * half * square;
        let root = (above * (2.0 * whole - above)).sqrt();
        // Angle between the normals of the facets opposite to 3 and 4.
        let (volume, turned) = (half * twice, s1 * twice);
        let third = s2 * self.h1[lane] * whole + s1 * self.h2[lane] * cosine;
        let fourth = s2 * self.y1[lane] * whole + s1 * self.y2[lane] * cosine;
        let along = third * fourth + turned * turned * self.h2[lane] * self.y2[lane] - self.r34[lane] * volume * volume;
        let angle = direction(self.s34[lane] * volume * root, along);
        let over = whole * root;
        2.0 * volume / (if over > 0.0 { over } else { 1.0 }) * angle
    }

    /// For each pair in the caller's order, 2 pi P(the others > 0 | the pair = 0): the angle between the normals Y of
    /// the two facets of the others (theory 02, eq. 02-dihedral). The normals are computed once and every angle from
    /// them, so that in degenerate positions the errors of the angles stay those of one nearby configuration.
    #[inline(always)]
    pub(super) fn dihedral_angles(&self, paths: &[usize; L]) -> [[f64; L]; 6] {
        // Angles between Y1 and Y2, Y1 Y3, Y1 Y4, Y2 Y3, Y2 Y4, Y3 Y4.
        let mut between = [[0.0; L]; 6];
        for t in 0..L {
            let (r34, s34, s1, s2) = (self.r34[t], self.s34[t], self.s1[t], self.s2[t]);
            let inverse = 1.0 / (1.0 + self.end[t] * self.end[t]);
            let (sine, cosine) = (2.0 * self.end[t] * inverse, 1.0 - 2.0 * self.end[t] * self.end[t] * inverse);
            let (y1, y2, h1, h2) = (self.y1[t], self.y2[t], self.h1[t], self.h2[t]);
            let (f1, f2) = (self.f1[t], self.f2[t]);
            let volume = s1 * s2 * sine;
            // Y1 = (0, 0, 0, 1), Y2 = (0, 0, sine, cosine), Y3 = volume (s34, -r34) and (c3, d3), Y4 = (0, volume, c4, d4).
            let (c3, d3) = (-s1 * sine * h2, -f2 * h1 - f1 * cosine * h2);
            let (c4, d4) = (-s1 * sine * y2, -f2 * y1 - f1 * cosine * y2);
            // A normal that vanishes may be replaced by any vector.
            let d3 = if volume == 0.0 && c3 == 0.0 && d3 == 0.0 { 1.0 } else { d3 };
            let d4 = if volume == 0.0 && c4 == 0.0 && d4 == 0.0 { 1.0 } else { d4 };
            let (a3, b3) = (volume * s34, -volume * r34);
            let flat = volume * volume;
            let (across3, across4) = (c3 * cosine - d3 * sine, c4 * cosine - d4 * sine);
            between[0][t] = 2.0 * direction(self.end[t], 1.0);
            between[1][t] = direction((flat + c3 * c3).sqrt(), d3);
            between[2][t] = direction((flat + c4 * c4).sqrt(), d4);
            between[3][t] = direction((flat + across3 * across3).sqrt(), c3 * sine + d3 * cosine);
            between[4][t] = direction((flat + across4 * across4).sqrt(), c4 * sine + d4 * cosine);
            let (ab, ac, ad) = (a3 * volume, a3 * c4, a3 * d4);
            let (bc, bd, cd) = (b3 * c4 - c3 * volume, b3 * d4 - d3 * volume, c3 * d4 - d3 * c4);
            let wedge = (ab * ab + ac * ac + ad * ad + bc * bc + bd * bd + cd * cd).sqrt();
            between[5][t] = direction(wedge, b3 * volume + c3 * c4 + d3 * d4);
        }
        let mut given = [[0.0; L]; 6];
        for t in 0..L {
            let [i, j, k, l] = ROLES[paths[t] / 2];
            let (k, l) = if self.exchanged[t] { (l, k) } else { (k, l) };
            let (first, last) = (self.first_reversed[t], self.last_reversed[t]);
            let reversed = [first, first, first != last, false, last, last];
            // The pair opposite to the normals' own.
            let places = [(k, l), (j, l), (j, k), (i, l), (i, k), (i, j)];
            for (p, (x, y)) in places.into_iter().enumerate() {
                given[position(x, y)][t] = if reversed[p] { PI - between[p][t] } else { between[p][t] };
            }
        }
        given
    }
}
