//! Orthant probabilities of two, three and four Gaussian fields.
//!
//! P2 and P3 are elementary. P4 is one integral with an elementary, analytic integrand: one correlation is moved from the
//! value where the four fields become linearly dependent, and P4 elementary, to its own (theory 02, section 6). In the
//! variable t = tan(psi / 2) all singularities of the integrand lie on the imaginary axis, so the quality of a path is
//! one ratio, from which the number of Gauss nodes follows (theory 02, eq. 02-ellipse). The same quantities give the six
//! dihedral angles, hence every derivative.
//!
//! One body works on L quadruples side by side; with L = 8 the compiler turns it into vector instructions.

use std::f64::consts::PI;
use std::sync::OnceLock;

use super::angles::direction;
use super::pair::Pair;
use crate::numerics::quadrature::legendre;

/// The pairs of four fields, in the order used throughout: ab, ac, ad, bc, bd, cd.
pub const PAIRS: [(usize, usize); 6] = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];

/// Position of the pair {i, j} in [`PAIRS`].
pub const fn position(i: usize, j: usize) -> usize {
    let (i, j) = if i < j { (i, j) } else { (j, i) };
    match (i, j) {
        (0, j) => j - 1,
        (1, j) => j + 1,
        _ => 5,
    }
}

/// Number of paths to P4: six pairs to move, each from either end.
pub const PATHS: usize = 12;

/// P(u > 0, v > 0) = (pi - theta) / (2 pi) (theory 02, eq. 02-orthant).
pub fn p2(supplement: f64) -> f64 {
    supplement / (2.0 * PI)
}

/// P of three fields from their supplements pi - theta: (sum - pi) / (4 pi) (theory 02, eq. 02-orthant-three). Never
/// negative.
pub fn p3(first: f64, second: f64, third: f64) -> f64 {
    ((first + second + third - PI) / (4.0 * PI)).max(0.0)
}

/// One pair of unit fields in the form the four-field averages need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Correlation.
    pub r: f64,
    /// sin theta.
    pub s: f64,
    /// 1 - |r|, accurate also where r rounds to +-1.
    pub e: f64,
    /// pi - theta.
    pub a: f64,
}

impl From<&Pair> for Link {
    fn from(pair: &Pair) -> Link {
        Link { r: pair.cosine, s: pair.sine, e: pair.sine * pair.sine / (1.0 + pair.cosine.abs()), a: pair.supplement }
    }
}

/// L quadruples of unit fields: the six pairs of each, in the order of [`PAIRS`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quadruples<const L: usize> {
    pub r: [[f64; L]; 6],
    pub s: [[f64; L]; 6],
    pub e: [[f64; L]; 6],
    pub a: [[f64; L]; 6],
}

impl<const L: usize> Quadruples<L> {
    pub(crate) const ZERO: Self =
        Quadruples { r: [[0.0; L]; 6], s: [[1.0; L]; 6], e: [[1.0; L]; 6], a: [[PI / 2.0; L]; 6] };

    #[inline(always)]
    pub(crate) fn set(&mut self, lane: usize, pair: usize, link: &Link) {
        self.r[pair][lane] = link.r;
        self.s[pair][lane] = link.s;
        self.e[pair][lane] = link.e;
        self.a[pair][lane] = link.a;
    }
}

/// P4 and the dihedral angles of L quadruples.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orthants<const L: usize> {
    pub p4: [f64; L],
    /// For each pair (j, l): 2 pi times P(the two others > 0 | j = l = 0).
    pub given: [[f64; L]; 6],
    /// Number of Gauss nodes used.
    pub nodes: usize,
}

/// Fields (1, 2, 3, 4) of a path: 1 and 2 are moved against each other, 1 is reversed first if `reversed`. For each
/// path the positions of 12, 13, 14, 23, 24, 34.
const ROLES: [[usize; 4]; 6] = [[0, 1, 2, 3], [0, 2, 1, 3], [0, 3, 1, 2], [1, 2, 0, 3], [1, 3, 0, 2], [2, 3, 0, 1]];

/// Sines below this make their pair the one that is moved, reversed so that it is nearly antiparallel: then every
/// cancellation is multiplied by the small sine (theory 02, section 6).
const NEAR: f64 = 0.02;

/// Relative error of the rule aimed at is exp(-2 AIM).
const AIM: f64 = 16.5;

/// Rules by number of nodes, with the smallest quality for which each suffices.
struct Rules {
    rules: Vec<(f64, Vec<(f64, f64)>)>,
    /// Rule of the substituted integral, for the qualities below all others.
    last: Vec<(f64, f64)>,
}

const NODES: [usize; 15] = [4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64];

fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| Rules {
        rules: NODES.iter().map(|&n| (quality_for(n), legendre(n))).collect(),
        last: legendre(96),
    })
}

/// Parameter rho of the Bernstein ellipse of [0, 1] through the singularity at i q: |z + sqrt(z^2 - 1)|, z = -1 + 2 i q
/// (theory 02, eq. 02-ellipse).
fn ellipse(q: f64) -> f64 {
    let (re, im) = (-4.0 * q * q, -4.0 * q);
    let size = re.hypot(im);
    let (x, y) = (-(0.5 * (size + re)).sqrt(), (0.5 * (size - re)).sqrt());
    (-1.0 + x).hypot(2.0 * q + y)
}

/// Smallest squared quality for which n nodes reach the aim.
fn quality_for(n: usize) -> f64 {
    let (mut low, mut high) = (1e-6f64, 1e6f64);
    for _ in 0..80 {
        let middle = (low * high).sqrt();
        if ellipse(middle).ln() * n as f64 > AIM {
            high = middle;
        } else {
            low = middle;
        }
    }
    high * high
}

/// r_a + r_b without cancellation when the two are nearly opposite.
#[inline(always)]
fn sum(ra: f64, ea: f64, rb: f64, eb: f64) -> f64 {
    let difference = if ra > rb { eb - ea } else { ea - eb };
    if ra * rb < 0.0 { difference } else { ra + rb }
}

/// Evaluates L quadruples. `paths` fixes the path of each lane; otherwise the best is taken.
#[inline(always)]
pub(crate) fn body<const L: usize>(input: &Quadruples<L>, paths: Option<[usize; L]>) -> Orthants<L> {
    let paths = match paths {
        Some(paths) => paths,
        None => choose(input),
    };
    let path = Path::set_up(input, &paths);
    let (integral, nodes) = path.integrate();
    let mut p4 = [0.0; L];
    for t in 0..L {
        p4[t] = path.start[t] + integral[t] / (4.0 * PI * PI);
        // P4 of the fields as given, from P4 with field 4, then field 1 reversed.
        p4[t] = if path.last_reversed[t] { path.p3_without_last[t] - p4[t] } else { p4[t] };
        p4[t] = if path.first_reversed[t] { path.p3_without_first[t] - p4[t] } else { p4[t] };
        p4[t] = if p4[t] > 0.0 { p4[t] } else { 0.0 };
    }
    Orthants { p4, given: path.dihedral_angles(&paths), nodes }
}

/// The path with the largest Bernstein ellipse; with a nearly (anti)parallel pair the one that moves it.
#[inline(always)]
fn choose<const L: usize>(input: &Quadruples<L>) -> [usize; L] {
    let (mut best, mut chosen) = ([-1.0f64; L], [0.0f64; L]);
    let (mut smallest, mut nearest) = ([2.0f64; L], [0.0f64; L]);
    for (pair, &[i, j, k, l]) in ROLES.iter().enumerate() {
        let at = |x: usize, y: usize| position(x, y);
        let [r12, r13, r14, r23, r24, r34] =
            [at(i, j), at(i, k), at(i, l), at(j, k), at(j, l), at(k, l)].map(|p| &input.r[p]);
        let [s13, s14, s23, s24, s34] = [at(i, k), at(i, l), at(j, k), at(j, l), at(k, l)].map(|p| &input.s[p]);
        let s12 = &input.s[at(i, j)];
        for t in 0..L {
            // Positions on the axis of r12: centre c and half-width of its range, and the nearest singularities below
            // and above, cos(theta13 +- theta23) or cos(theta14 +- theta24).
            let inverse = 1.0 / s34[t];
            let (y1, y2) = ((r14[t] - r13[t] * r34[t]) * inverse, (r24[t] - r23[t] * r34[t]) * inverse);
            let square = (s13[t] * s13[t] - y1 * y1) * (s23[t] * s23[t] - y2 * y2);
            let half = (if square > 0.0 { square } else { 0.0 }).sqrt();
            let c = r13[t] * r23[t] + y1 * y2;
            let (product3, sines3) = (r13[t] * r23[t], s13[t] * s23[t]);
            let (product4, sines4) = (r14[t] * r24[t], s14[t] * s24[t]);
            let below = larger(product3 - sines3, product4 - sines4);
            let above = -larger(-product3 - sines3, -product4 - sines4);
            let (to_low, to_high) = (r12[t] - (c - half), (c + half) - r12[t]);
            let low = (c - half - below) * to_high / larger((c + half - below) * to_low, 1e-300);
            let high = (above - c - half) * to_low / larger((above - c + half) * to_high, 1e-300);
            let (value, index) = if low >= high { (low, pair as f64 * 2.0) } else { (high, pair as f64 * 2.0 + 1.0) };
            (best[t], chosen[t]) = if value > best[t] { (value, index) } else { (best[t], chosen[t]) };
            // Reversed (odd) when nearly parallel.
            let index = if r12[t] > 0.0 { pair as f64 * 2.0 + 1.0 } else { pair as f64 * 2.0 };
            (smallest[t], nearest[t]) = if s12[t] < smallest[t] { (s12[t], index) } else { (smallest[t], nearest[t]) };
        }
    }
    std::array::from_fn(|t| (if smallest[t] < NEAR { nearest[t] } else { chosen[t] }) as usize)
}

#[inline(always)]
fn larger(x: f64, y: f64) -> f64 {
    if x > y { x } else { y }
}

/// Everything a path needs, in coordinates in which field 3 = (1, 0, 0, 0), 4 = (r34, s34, 0, 0), 2 = (r23, y2, s2, 0),
/// 1 = (r13, y1, -s1 cos psi, s1 sin psi): psi = 0 is the start, where the four are dependent.
struct Path<const L: usize> {
    r13: [f64; L],
    r14: [f64; L],
    r23: [f64; L],
    r24: [f64; L],
    r34: [f64; L],
    s34: [f64; L],
    y1: [f64; L],
    y2: [f64; L],
    s1: [f64; L],
    s2: [f64; L],
    /// (r13 + r23)(r14 + r24).
    sums: [f64; L],
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

impl<const L: usize> Path<L> {
    #[inline(always)]
    fn set_up(input: &Quadruples<L>, paths: &[usize; L]) -> Path<L> {
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
        let (mut y1, mut y2, mut s1, mut s2, mut sums) = (zero, zero, zero, zero, zero);
        let (mut base, mut end, mut quality, mut start) = (zero, zero, zero, zero);
        for t in 0..L {
            let x3 = sum(r13[t], e[1][t], r23[t], e[3][t]);
            let x4 = sum(r14[t], e[2][t], r24[t], e[4][t]);
            let inverse = if s34[t] > 0.0 { 1.0 / s34[t] } else { 0.0 };
            y1[t] = (r14[t] - r13[t] * r34[t]) * inverse;
            y2[t] = (r24[t] - r23[t] * r34[t]) * inverse;
            let y = (x4 - x3 * r34[t]) * inverse;
            let square1 = larger((s13[t] - y1[t]) * (s13[t] + y1[t]), 0.0);
            let square2 = larger((s23[t] - y2[t]) * (s23[t] + y2[t]), 0.0);
            (s1[t], s2[t]) = (square1.sqrt(), square2.sqrt());
            let half = s1[t] * s2[t];
            // |1 + 2|^2 / 2 at the start: parts in the plane of 3 and 4 cancel to (x3, y), the parts across to s1 - s2.
            let together = s1[t] + s2[t];
            let gap = ((r23[t] - r13[t]) * x3 + (y2[t] - y1[t]) * y) / (if together > 0.0 { together } else { 1.0 });
            let lowest = 0.5 * (x3 * x3 + y * y + gap * gap);
            let above = if r12[t] < 0.0 { e[0][t] } else { 2.0 - e[0][t] };
            // By rounding the fields may lie beyond the start or the other end by 1e-16 / s1: they are then taken to be
            // that end, so that P4 at the start and the integral still belong to one configuration.
            base[t] = larger(if lowest < above { lowest } else { above }, above - 2.0 * half);
            let share = (above - base[t]) / larger(2.0 * half, 1e-300);
            let share = larger(if share < 1.0 - 1e-15 { share } else { 1.0 - 1e-15 }, 0.0);
            let share = if half > 0.0 { share } else { 0.0 };
            end[t] = (share / (1.0 - share)).sqrt();
            let (gap3, gap4) = (s13[t] - s23[t], s14[t] - s24[t]);
            let singular = 0.5 * larger(x3 * x3 + gap3 * gap3, x4 * x4 + gap4 * gap4);
            let distance = larger(base[t] - singular, 0.0);
            quality[t] = distance * (1.0 - share) / larger((2.0 * half + distance) * share, 1e-300);
            sums[t] = x3 * x4;
            // Signs of fields 3 and 4 in the linear relation at the start; 1 and 2 have the same sign there.
            let (g3, g4) = (s2[t] * r13[t] + s1[t] * r23[t], s2[t] * r14[t] + s1[t] * r24[t]);
            let (third, fourth) = (g3 - r34[t] * g4 > 0.0, g4 - r34[t] * g3 > 0.0);
            let low = if base[t] < 2.0 { base[t] } else { 2.0 };
            let first = 2.0 * direction(low.sqrt(), (2.0 - low).sqrt());
            let (a3, a4) = (a[1][t] + a[3][t], a[2][t] + a[4][t]);
            let angle = if third { if fourth { a3 + a4 - 2.0 * PI } else { first + a4 - PI } } else { first + a3 - PI };
            let angle = if third || fourth { angle } else { 0.0 };
            start[t] = larger(angle, 0.0) / (4.0 * PI);
        }
        Path {
            r13,
            r14,
            r23,
            r24,
            r34,
            s34,
            y1,
            y2,
            s1,
            s2,
            sums,
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

    /// Integral of F d psi from 0 to the end, and the number of nodes (theory 02, eq. 02-path).
    #[inline(always)]
    fn integrate(&self) -> ([f64; L], usize) {
        let rules = rules();
        let mut worst = f64::INFINITY;
        let mut hard = false;
        for &q in &self.quality {
            if q < rules.rules[NODES.len() - 1].0 {
                hard = true;
            } else {
                worst = if q < worst { q } else { worst };
            }
        }
        let rule = rules.rules.iter().find(|(least, _)| *least <= worst).map_or(&rules.last, |(_, rule)| rule);
        let mut total = [0.0; L];
        for &(x, weight) in rule {
            for t in 0..L {
                total[t] += weight * self.integrand(t, x * self.end[t]);
            }
        }
        for t in 0..L {
            total[t] *= self.end[t];
        }
        if hard {
            for t in 0..L {
                if self.quality[t] < rules.rules[NODES.len() - 1].0 {
                    total[t] = self.stretched(t, &rules.last);
                }
            }
        }
        (total, rule.len())
    }

    /// F d psi / d t at t = tan(psi / 2).
    #[inline(always)]
    fn integrand(&self, lane: usize, t: f64) -> f64 {
        let (s34, r34) = (self.s34[lane], self.r34[lane]);
        let half = self.s1[lane] * self.s2[lane];
        let inverse = 1.0 / (1.0 + t * t);
        let above = self.base[lane] + 2.0 * half * (t * t * inverse);
        let below = 2.0 - above;
        let root = (above * below).sqrt();
        let sine = 2.0 * t * inverse;
        let h = self.r13[lane] * self.r24[lane] + self.r14[lane] * self.r23[lane];
        let cosine = self.sums[lane] - above * (below * r34 + h);
        let angle = direction(s34 * half * sine * root, cosine);
        let slope = half * sine * 2.0 * inverse;
        slope / (if root > 0.0 { root } else { 1.0 }) * angle
    }

    /// The integral with t = tau sinh x, for singularities at +-i tau close to the start: in x they stay at distance
    /// pi / 2 from the interval.
    #[inline(never)]
    fn stretched(&self, lane: usize, rule: &[(f64, f64)]) -> f64 {
        let end = self.end[lane];
        if !(end > 0.0) {
            return 0.0;
        }
        let tau = end * self.quality[lane].sqrt().max(1e-9);
        let length = (end / tau).asinh();
        let total: f64 = rule
            .iter()
            .map(|&(x, weight)| {
                let x = x * length;
                weight * self.integrand(lane, tau * x.sinh()) * tau * x.cosh()
            })
            .sum();
        total * length
    }

    /// For each pair in the caller's order, 2 pi P(the others > 0 | the pair = 0): the angle between the normals Y of
    /// the two facets of the others (theory 02, eq. 02-dihedral). The normals are computed once and every angle from
    /// them, so that in degenerate positions the errors of the angles stay those of one nearby configuration.
    #[inline(always)]
    fn dihedral_angles(&self, paths: &[usize; L]) -> [[f64; L]; 6] {
        // Angles between Y1 and Y2, Y1 Y3, Y1 Y4, Y2 Y3, Y2 Y4, Y3 Y4.
        let mut between = [[0.0; L]; 6];
        for t in 0..L {
            let (r34, s34, s1, s2) = (self.r34[t], self.s34[t], self.s1[t], self.s2[t]);
            let inverse = 1.0 / (1.0 + self.end[t] * self.end[t]);
            let (sine, cosine) = (2.0 * self.end[t] * inverse, 1.0 - 2.0 * self.end[t] * self.end[t] * inverse);
            let (h1, h2) = (self.r13[t] * s34 - self.y1[t] * r34, self.r23[t] * s34 - self.y2[t] * r34);
            let volume = s1 * s2 * sine;
            // Y1 = (0, 0, 0, 1), Y2 = (0, 0, sine, cosine), Y3 = volume (s34, -r34) and (c3, d3), Y4 = (0, volume, c4, d4).
            let (c3, d3) = (-s1 * sine * h2, -s2 * h1 - s1 * cosine * h2);
            let (c4, d4) = (-s1 * sine * self.y2[t], -s2 * self.y1[t] - s1 * cosine * self.y2[t]);
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

/// P4 with an error estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orthant {
    pub value: f64,
    /// Difference between the best path and one that moves another pair.
    pub error: f64,
}

/// P(four fields > 0) from their pairs in the order of [`PAIRS`]. Absolute error about 1e-14, also at dependent,
/// (anti)parallel and equal fields when the pairs come from vectors.
pub fn p4(links: &[Link; 6]) -> f64 {
    body::<1>(&single(links), None).p4[0]
}

/// As [`p4`], with the error estimated by a second path.
pub fn p4_with_error(links: &[Link; 6]) -> Orthant {
    let input = single(links);
    let [best] = choose(&input);
    let value = body(&input, Some([best])).p4[0];
    let second = (0..PATHS).filter(|path| path / 2 != best / 2).map(|path| {
        let path = [path];
        (Path::set_up(&input, &path).quality[0], path)
    });
    let path = second.max_by(|x, y| x.0.total_cmp(&y.0)).map_or([best], |(_, path)| path);
    Orthant { value, error: (value - body(&input, Some(path)).p4[0]).abs() }
}

/// P4 along one of the [`PATHS`]: for tests and for comparisons.
pub fn p4_along(links: &[Link; 6], path: usize) -> f64 {
    body::<1>(&single(links), Some([path % PATHS])).p4[0]
}

pub(crate) fn single(links: &[Link; 6]) -> Quadruples<1> {
    let mut input = Quadruples::<1>::ZERO;
    for (p, link) in links.iter().enumerate() {
        input.set(0, p, link);
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::random;
    use rand::Rng;
    use rand_distr::StandardNormal;

    fn links(vectors: &[Vec<f64>; 4]) -> [Link; 6] {
        PAIRS.map(|(i, j)| Link::from(&Pair::from_vectors(&vectors[i], &vectors[j])))
    }

    fn equal(r: f64) -> [Link; 6] {
        [Link::from(&Pair::from_covariance(1.0, 1.0, r)); 6]
    }

    #[test]
    fn known_values() {
        assert!((p4(&equal(0.5)) - 0.2).abs() < 1e-15, "{}", p4(&equal(0.5)) - 0.2);
        assert!((p4(&equal(0.0)) - 0.0625).abs() < 1e-15);
        let c = [0.3, 0.2, -0.1, 0.4, 0.25, 0.15];
        let norms = [1.0f64, 1.5, 0.8, 1.2];
        let links = std::array::from_fn(|p| {
            let (i, j) = PAIRS[p];
            Link::from(&Pair::from_covariance(norms[i], norms[j], c[p]))
        });
        assert!((p4(&links) - 0.106841146624947).abs() < 1e-14);
        let c = [-0.4, 0.3, 0.5, 0.1, -0.2, 0.6];
        let links = c.map(|c| Link::from(&Pair::from_covariance(1.0, 1.0, c)));
        assert!((p4(&links) - 0.0954223135907883).abs() < 1e-14);
    }

    #[test]
    fn explore() {
        let mut rng = random::stream(1, &[77]);
        let mut worst = [0.0f64; 6];
        let mut nodes = [0.0f64; 6];
        let n = 600000;
        for case in 0..n {
            let kind = case % 6;
            let d = [4, 4, 3, 4, 6, 4][kind];
            let mut v: [Vec<f64>; 4] = std::array::from_fn(|_| (0..d).map(|_| rng.sample(StandardNormal)).collect());
            if kind == 1 {
                let h = 10f64.powf(rng.random_range(-8.0..-1.0));
                v[3] = (0..d).map(|i| v[0][i] * 0.3 - v[1][i] + 0.7 * v[2][i] + h * v[3][i]).collect();
            }
            if kind == 3 {
                let h = 10f64.powf(rng.random_range(-8.0..-1.0));
                v[2] = (0..d).map(|i| v[0][i] + h * v[2][i]).collect();
            }
            if kind == 5 {
                let h = 10f64.powf(rng.random_range(-8.0..-1.0));
                let g = 10f64.powf(rng.random_range(-8.0..-1.0));
                v[1] = (0..d).map(|i| v[0][i] + h * v[1][i]).collect();
                v[2] = (0..d).map(|i| v[0][i] + g * v[2][i]).collect();
            }
            let links = links(&v);
            let out = body::<1>(&single(&links), None);
            nodes[kind] += out.nodes as f64;
            let e = p4_with_error(&links).error;
            if e > worst[kind] {
                worst[kind] = e;
                if kind != 5 && e > 1e-15 {
                    let input = single(&links);
                    let [best] = choose(&input);
                    let all: Vec<String> =
                        (0..12).map(|p| format!("{p}:{:.1e}", p4_along(&links, p) - p4_along(&links, best))).collect();
                    eprintln!(
                        "{kind} {e:e} nodes {} best {best} {all:?} s {:?}",
                        out.nodes,
                        links.map(|l| (l.s * 1000.0).round() / 1000.0)
                    );
                }
            }
        }
        eprintln!("{worst:?} {:?}", nodes.map(|x| x * 6.0 / n as f64));
    }
}
