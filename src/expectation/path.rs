//! P4 along one path: one correlation is moved from the value where the four fields become linearly dependent, and P4
//! elementary, to its own (theory 02, section 6).
//!
//! In the variable t = tan(psi / 2) all singularities of the integrand lie on the imaginary axis, so the quality of a path
//! is one ratio, from which the number of Gauss nodes follows (theory 02, eq. 02-ellipse).

use std::f64::consts::{LN_2, PI};
use std::sync::OnceLock;

use super::angles::direction;
use super::orthant::{Quadruples, p3, position};
use crate::numerics::quadrature::legendre;

/// Fields (1, 2, 3, 4) of a path: 1 and 2 are moved against each other, 1 is reversed first if `reversed`. For each
/// path the positions of 12, 13, 14, 23, 24, 34.
const ROLES: [[usize; 4]; 6] = [[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2], [1, 2, 0, 3], [1, 3, 0, 2], [2, 3, 0, 1]];

/// Sines below this make their pair the one that is moved, reversed so that it is nearly antiparallel: then every
/// cancellation is multiplied by the small sine (theory 02, section 6).
const NEAR: f64 = 0.02;

/// Relative error of the rule aimed at is exp(-2 AIM).
const AIM: f64 = 15.5;

/// Numbers of nodes that are tried.
const NODES: [usize; 18] = [4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 32, 48, 64, 96, 128];

/// Nodes with weights on [0, 1].
pub(super) type Rule = Vec<(f64, f64)>;

/// Gauss rules, each with the longest interval for which it suffices.
fn rules() -> &'static [(f64, Rule)] {
    static RULES: OnceLock<Vec<(f64, Rule)>> = OnceLock::new();
    // Singularities at distance pi / 2 from an interval of length X leave a Bernstein ellipse of parameter rho with
    // ln rho = asinh(pi / X); n nodes have error rho^(-2 n) (theory 02, eq. 02-ellipse).
    RULES.get_or_init(|| NODES.iter().map(|&n| (PI / (AIM / n as f64).sinh(), legendre(n))).collect())
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

/// Quality of a path at one end of its range, and whether 1 is reversed: the nearest singularity over the length of the way.
#[inline(always)]
fn quality([r12, r13, r14, r23, r24, r34]: [f64; 6], [s13, s14, s23, s24, s34]: [f64; 5]) -> (f64, f64) {
    // Positions on the axis of r12: centre c and half-width of its range, and the nearest singularities below and above,
    // cos(theta13 +- theta23) or cos(theta14 +- theta24).
    let inverse = 1.0 / s34;
    let (y1, y2) = ((r14 - r13 * r34) * inverse, (r24 - r23 * r34) * inverse);
    let square = (s13 * s13 - y1 * y1) * (s23 * s23 - y2 * y2);
    let half = (if square > 0.0 { square } else { 0.0 }).sqrt();
    let c = r13 * r23 + y1 * y2;
    let (product3, sines3) = (r13 * r23, s13 * s23);
    let (product4, sines4) = (r14 * r24, s14 * s24);
    let below = larger(product3 - sines3, product4 - sines4);
    let above = -larger(-product3 - sines3, -product4 - sines4);
    let (to_low, to_high) = (r12 - (c - half), (c + half) - r12);
    let low = (c - half - below) * to_high / larger((c + half - below) * to_low, 1e-300);
    let high = (above - c - half) * to_low / larger((above - c + half) * to_high, 1e-300);
    if low >= high { (low, 0.0) } else { (high, 1.0) }
}

/// The path with the largest Bernstein ellipse; with a nearly (anti)parallel pair the one that moves it. One pair may be
/// left out.
#[inline(always)]
pub(super) fn choose<const L: usize>(input: &Quadruples<L>, left_out: Option<usize>) -> [usize; L] {
    let (mut best, mut chosen) = ([-1.0f64; L], [0.0f64; L]);
    let (mut smallest, mut nearest) = ([2.0f64; L], [0.0f64; L]);
    for (pair, places) in places_of_roles().iter().enumerate() {
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

/// Positions of 12, 13, 14, 23, 24, 34 for each of [`ROLES`].
#[inline(always)]
fn places_of_roles() -> [[usize; 6]; 6] {
    ROLES.map(|[i, j, k, l]| {
        [position(i, j), position(i, k), position(i, l), position(j, k), position(j, l), position(k, l)]
    })
}

/// [`choose`] for one quadruple, its six pairs side by side.
#[inline(always)]
pub(super) fn choose_one(input: &Quadruples<1>) -> [usize; 1] {
    let places = places_of_roles();
    let (mut r, mut s) = ([[0.0f64; 8]; 6], [[1.0f64; 8]; 6]);
    for (lane, places) in places.iter().enumerate() {
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

/// A number a little above ln x, for x >= 1: the chord of log2 between powers of 2, plus its largest error.
#[inline(always)]
fn logarithm_above(x: f64) -> f64 {
    let bits = x.to_bits();
    let mantissa = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3ff0_0000_0000_0000);
    // The exponent as a float: 2^52 + exponent has it in its low bits.
    let exponent = f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - 4_503_599_627_370_496.0;
    (exponent - 1023.0 + mantissa - 1.0 + 0.086_1) * LN_2
}

/// sinh and cosh of x in [0, 40], absolute error 4e-16 cosh x.
#[inline(always)]
fn hyperbolic(x: f64) -> (f64, f64) {
    // e^x = 2^n e^r, |r| <= ln 2 / 2; the rounding to n leaves it in the low bits of a large float.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let shifted = x * std::f64::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = x - n * 0.693_147_180_369_123_8 - n * 1.908_214_929_270_587_7e-10;
    let mut sum = 1.0 / 479_001_600.0;
    for factorial in [39_916_800.0, 3_628_800.0, 362_880.0, 40_320.0, 5_040.0, 720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0] {
        sum = sum * r + 1.0 / factorial;
    }
    let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(0x3ff0_0000_0000_0000));
    let (up, down) = (sum * power, 1.0 / (sum * power));
    (0.5 * (up - down), 0.5 * (up + down))
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
    /// [`Path::probability`], eight nodes of the integral side by side: the same bits.
    #[inline(always)]
    pub(super) fn probability_of_one(&self) -> f64 {
        let ([length], [scale], rule) = self.substitution();
        let mut total = 0.0;
        for nodes in rule.chunks(8) {
            let (mut x, mut weights, mut terms) = ([0.0; 8], [0.0; 8], [0.0; 8]);
            nodes.iter().enumerate().for_each(|(n, node)| (x[n], weights[n]) = *node);
            for n in 0..8 {
                let (sinh, cosh) = hyperbolic(x[n] * length);
                terms[n] = weights[n] * cosh * self.integrand(0, scale * sinh);
            }
            terms[..nodes.len()].iter().for_each(|term| total += term);
        }
        self.with_integral([total * (scale * length)])[0]
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
            let [i, j, k, l] = ROLES[paths[t] / 2];
            first_reversed[t] = paths[t] % 2 == 1;
            let cross = |k: usize| input.s[position(i, k)][t].min(input.s[position(j, k)][t]);
            exchanged[t] = cross(l) < cross(k);
            let (k, l) = if exchanged[t] { (l, k) } else { (k, l) };
            let places =
                [position(i, j), position(i, k), position(i, l), position(j, k), position(j, l), position(k, l)];
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
            let share = (above - base[t]) / larger(2.0 * half, 1e-300);
            let share = if share < 1.0 - 1e-15 { share } else { 1.0 - 1e-15 };
            let share = if half > 0.0 { share } else { 0.0 };
            end[t] = (share / (1.0 - share)).sqrt();
            let (gap3, gap4) = (s13[t] - s23[t], s14[t] - s24[t]);
            let singular = 0.5 * larger(x3 * x3 + gap3 * gap3, x4 * x4 + gap4 * gap4);
            let distance = larger(base[t] - singular, 0.0);
            quality[t] = distance * (1.0 - share) / larger((2.0 * half + distance) * share, 1e-300);
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
    /// close to the start they were. The length X only has to be about asinh(end / tau): tau follows from it.
    #[inline(always)]
    fn integrate(&self) -> [f64; L] {
        let (length, scale, rule) = self.substitution();
        let mut total = [0.0; L];
        for &(x, weight) in rule {
            for t in 0..L {
                let (sinh, cosh) = hyperbolic(x * length[t]);
                total[t] += weight * cosh * self.integrand(t, scale[t] * sinh);
            }
        }
        for t in 0..L {
            total[t] *= scale[t] * length[t];
        }
        total
    }

    /// X and tau of each lane, and a rule for the longest X.
    #[inline(always)]
    fn substitution(&self) -> ([f64; L], [f64; L], &'static Rule) {
        let (mut length, mut scale) = ([0.0; L], [0.0; L]);
        let mut longest = 0.0;
        for t in 0..L {
            let ratio = 1.0 / larger(self.quality[t], 1e-18).sqrt();
            length[t] = logarithm_above(ratio + (ratio * ratio + 1.0).sqrt());
            let (sinh, _) = hyperbolic(length[t]);
            scale[t] = self.end[t] / sinh;
        }
        for &x in &length {
            longest = larger(longest, x);
        }
        let rules = rules();
        (length, scale, &rules.iter().find(|(reach, _)| *reach >= longest).unwrap_or(&rules[NODES.len() - 1]).1)
    }

    /// F d psi / d t at t = tan(psi / 2).
    #[inline(always)]
    fn integrand(&self, lane: usize, t: f64) -> f64 {
        let (s1, s2) = (self.s1[lane], self.s2[lane]);
        let half = s1 * s2;
        let inverse = 1.0 / (1.0 + t * t);
        let share = t * t * inverse;
        let (sine, cosine) = (2.0 * t * inverse, 1.0 - 2.0 * share);
        let above = self.base[lane] + 2.0 * half * share;
        let root = (above * (2.0 - above)).sqrt();
        // Angle between the normals of the facets opposite to 3 and 4.
        let (volume, turned) = (half * sine, s1 * sine);
        let third = s2 * self.h1[lane] + s1 * cosine * self.h2[lane];
        let fourth = s2 * self.y1[lane] + s1 * cosine * self.y2[lane];
        let along = third * fourth + turned * turned * self.h2[lane] * self.y2[lane] - self.r34[lane] * volume * volume;
        let angle = direction(self.s34[lane] * volume * root, along);
        2.0 * volume * inverse / (if root > 0.0 { root } else { 1.0 }) * angle
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
