//! Orthant probabilities of two, three and four Gaussian fields.
//!
//! P2 and P3 are elementary. P4 is one integral with an elementary, analytic integrand, which the module `path` does. The
//! same quantities give the six dihedral angles, hence every derivative.
//!
//! One body works on L quadruples side by side; with L = 8 the compiler turns it into vector instructions.

use std::f64::consts::PI;
use std::sync::OnceLock;

use super::angles::{self, arctangent};
use super::pair::Pair;
use super::path::{Path, choose, choose_one};
use crate::numerics::level::Level;
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

impl Link {
    /// The pair with one of its fields reversed.
    pub fn reversed(&self) -> Link {
        Link { r: -self.r, a: PI - self.a, ..*self }
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
}

/// Evaluates L quadruples: P4 and the dihedral angles.
#[inline(always)]
pub(crate) fn body<const L: usize>(input: &Quadruples<L>) -> Orthants<L> {
    let paths = choose(input, None);
    let path = Path::set_up(input, &paths);
    Orthants { p4: path.probability(), given: path.dihedral_angles(&paths) }
}

/// Largest row sum of |r| for which [`body_weak`] is the faster way.
const WEAK: f64 = 0.12;

/// Whether the four fields are nearly independent: see [`body_weak`].
#[inline(always)]
pub(crate) fn is_weak(correlations: [f64; 6]) -> bool {
    let [ab, ac, ad, bc, bd, cd] = correlations.map(f64::abs);
    (ab + ac + ad).max(ab + bc + bd).max((ac + bc + cd).max(ad + bd + cd)) <= WEAK
}

/// As [`body`] for nearly independent fields, where the ends of every path are nearly parallel pairs and cost many nodes:
/// all correlations grow together from 0 (Plackett 1954, Childs 1967; theory 02, eq. 02-childs). The correlation matrix
/// stays regular up to 1 / (largest row sum) times the correlations given, so a few nodes suffice.
#[inline(always)]
pub(crate) fn body_weak<const L: usize>(input: &Quadruples<L>) -> Orthants<L> {
    let paths = choose(input, None);
    Orthants { p4: probability_weak(input), given: Path::set_up(input, &paths).dihedral_angles(&paths) }
}

#[inline(always)]
fn probability_weak<const L: usize>(input: &Quadruples<L>) -> [f64; L] {
    let mut p4 = [0.0; L];
    for t in 0..L {
        let sum: f64 = input.a.iter().map(|a| PI / 2.0 - a[t]).sum();
        p4[t] = 1.0 / 16.0 - sum / (8.0 * PI);
    }
    for &(x, weight) in weak_rule() {
        for t in 0..L {
            p4[t] += weight * childs(input, t, x) / (4.0 * PI * PI);
        }
    }
    p4
}

fn weak_rule() -> &'static [(f64, f64)] {
    static RULE: OnceLock<Vec<(f64, f64)>> = OnceLock::new();
    RULE.get_or_init(|| legendre(5))
}

/// Sum over pairs of r / sqrt(1 - x^2 r^2) asin(partial correlation of the two others) at correlations x r.
#[inline(always)]
fn childs<const L: usize>(input: &Quadruples<L>, t: usize, x: f64) -> f64 {
    let r: [f64; 6] = std::array::from_fn(|p| x * input.r[p][t]);
    let [ab, ac, ad, bc, bd, cd] = r;
    let three = |u: f64, v: f64, w: f64| 1.0 - (u * u + v * v + w * w) + 2.0 * u * v * w;
    let (abc, abd, acd, bcd) = (three(ab, ac, bc), three(ab, ad, bd), three(ac, ad, cd), three(bc, bd, cd));
    let term = |ij: f64, kl: f64, ik: f64, jl: f64, il: f64, jk: f64, det1: f64, det2: f64| {
        let rest = 1.0 - ij * ij;
        let partial = kl * rest - (ik * il + jk * jl) + ij * (ik * jl + il * jk);
        ij / rest.sqrt() * arctangent(partial / (det1 * det2 - partial * partial).sqrt())
    };
    let sum = term(ab, cd, ac, bd, ad, bc, abc, abd)
        + term(ac, bd, ab, cd, ad, bc, abc, acd)
        + term(ad, bc, ab, cd, ac, bd, abd, acd)
        + term(bc, ad, ab, cd, bd, ac, abc, bcd)
        + term(bd, ac, ab, cd, bc, ad, abd, bcd)
        + term(cd, ab, ac, bd, bc, ad, acd, bcd);
    sum / x
}

/// P4 with an error estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Orthant {
    pub value: f64,
    /// Difference between the best path and one that moves another pair.
    pub error: f64,
}

/// P(four fields > 0) from their pairs in the order of [`PAIRS`]. Absolute error about 1e-15, also at dependent,
/// (anti)parallel and equal fields when the pairs come from vectors.
pub fn p4(links: &[Link; 6]) -> f64 {
    one::<false>(Level::best(), links).p4[0]
}

/// As [`p4`] from the covariance matrix (its upper triangle is read); nearly parallel fields are as good as their
/// correlation.
pub fn p4_of_covariance(covariance: &[[f64; 4]; 4]) -> f64 {
    one::<false>(Level::best(), covariance).p4[0]
}

/// What one quadruple is read from, inside the code of an instruction set.
trait Source {
    fn read(&self) -> Quadruples<1>;
}

impl Source for [Link; 6] {
    #[inline(always)]
    fn read(&self) -> Quadruples<1> {
        single(self)
    }
}

impl Source for [[f64; 4]; 4] {
    #[inline(always)]
    fn read(&self) -> Quadruples<1> {
        let [correlations, sines, supplements] = correlations(self, angles::body).1;
        let mut input = Quadruples::ZERO;
        for p in 0..6 {
            let (r, s) = (correlations[p], sines[p]);
            (input.r[p], input.s[p], input.a[p]) = ([r], [s], [supplements[p]]);
            input.e[p] = [s * s / (1.0 + r.abs())];
        }
        input
    }
}

/// Standard deviations, and for each pair correlation, sine and supplement (two places too many, to fill a register).
#[inline(always)]
pub(super) fn correlations(
    c: &[[f64; 4]; 4],
    angles: impl Fn(&[f64], &mut [f64], &mut [f64]),
) -> ([f64; 4], [[f64; 8]; 3]) {
    let norms: [f64; 4] = std::array::from_fn(|i| c[i][i].max(0.0).sqrt());
    let (mut correlations, mut sines, mut supplements) = ([0.0; 8], [0.0; 8], [0.0; 8]);
    for (correlation, (i, j)) in correlations.iter_mut().zip(PAIRS) {
        let product = norms[i] * norms[j];
        // A zero field counts as perpendicular to all others.
        *correlation = if product == 0.0 { 0.0 } else { (c[i][j] / product).clamp(-1.0, 1.0) };
    }
    angles(&correlations, &mut sines, &mut supplements);
    (norms, [correlations, sines, supplements])
}

/// One quadruple; without `ANGLES` the dihedral angles are left 0. Every instruction set gives the same bits.
fn one<const ANGLES: bool>(level: Level, source: &impl Source) -> Orthants<1> {
    match level {
        Level::Baseline => one_body::<ANGLES>(source),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
        Level::Avx2 => unsafe { one_avx2::<ANGLES>(source) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { one_avx512::<ANGLES>(source) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => one_body::<ANGLES>(source),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn one_avx2<const ANGLES: bool>(source: &impl Source) -> Orthants<1> {
    one_body::<ANGLES>(source)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn one_avx512<const ANGLES: bool>(source: &impl Source) -> Orthants<1> {
    one_body::<ANGLES>(source)
}

#[inline(always)]
fn one_body<const ANGLES: bool>(source: &impl Source) -> Orthants<1> {
    let input = source.read();
    let weak = is_weak(input.r.map(|r| r[0]));
    let mut found = Orthants { p4: [0.0], given: [[0.0]; 6] };
    if !weak || ANGLES {
        let paths = choose_one(&input);
        let path = Path::set_up(&input, &paths);
        if !weak {
            found.p4 = [path.probability_of_one()];
        }
        if ANGLES {
            found.given = path.dihedral_angles(&paths);
        }
    }
    if weak {
        found.p4 = probability_weak(&input);
    }
    found
}

/// As [`p4`] for many quadruples, eight side by side on the best instruction set.
pub fn p4_many(quadruples: &[[Link; 6]]) -> Vec<f64> {
    let mut values = vec![0.0; quadruples.len()];
    match Level::best() {
        Level::Baseline => many_body(quadruples, &mut values),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
        Level::Avx2 => unsafe { many_avx2(quadruples, &mut values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { many_avx512(quadruples, &mut values) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => many_body(quadruples, &mut values),
    }
    values
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn many_avx2(quadruples: &[[Link; 6]], values: &mut [f64]) {
    many_body(quadruples, values);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn many_avx512(quadruples: &[[Link; 6]], values: &mut [f64]) {
    many_body(quadruples, values);
}

#[inline(always)]
fn many_body(quadruples: &[[Link; 6]], values: &mut [f64]) {
    for (block, values) in quadruples.chunks(8).zip(values.chunks_mut(8)) {
        let mut input = Quadruples::<8>::ZERO;
        for (lane, links) in block.iter().enumerate() {
            links.iter().enumerate().for_each(|(p, link)| input.set(lane, p, link));
        }
        let found = if block.iter().all(|links| is_weak(links.map(|link| link.r))) {
            probability_weak(&input)
        } else {
            Path::set_up(&input, &choose(&input, None)).probability()
        };
        values.copy_from_slice(&found[..values.len()]);
    }
}

/// As [`p4`], with the dihedral angles.
pub(crate) fn evaluate(links: &[Link; 6]) -> Orthants<1> {
    one::<true>(Level::best(), links)
}

/// As [`p4`], with the error estimated by a second path.
pub fn p4_with_error(links: &[Link; 6]) -> Orthant {
    let input = single(links);
    let value = p4(links);
    let [best] = choose(&input, None);
    let second = choose(&input, Some(best / 2));
    Orthant { value, error: (value - Path::set_up(&input, &second).probability()[0]).abs() }
}

/// P4 along one of the [`PATHS`]: for tests and for comparisons.
pub fn p4_along(links: &[Link; 6], path: usize) -> f64 {
    Path::set_up(&single(links), &[path % PATHS]).probability()[0]
}

#[inline(always)]
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

    /// One quadruple, by its own choice of the path and with its nodes side by side, has the bits of the general code on every
    /// instruction set: regular fields, nearly independent and nearly parallel ones.
    #[test]
    fn one_quadruple_has_the_bits_of_many() {
        for n in 0..300 {
            let near = [1.0, 0.02, 1e-4][n % 3];
            let entry = |i: usize, j: usize| ((17 * n + 5 * i * i + 3 * j) as f64).sin();
            let mut v: [[f64; 5]; 4] = std::array::from_fn(|i| std::array::from_fn(|j| entry(i, j)));
            v[3] = std::array::from_fn(|j| v[2][j] + near * v[3][j]);
            if n.is_multiple_of(5) {
                (0..4).for_each(|i| v[i][i] += 60.0);
            }
            let dot = |u: &[f64; 5], v: &[f64; 5]| u.iter().zip(v).map(|(x, y)| x * y).sum::<f64>();
            let links = PAIRS.map(|(i, j)| Link::from(&Pair::from_vectors(&v[i], &v[j])));
            let input = single(&links);
            let general = if is_weak(links.map(|link| link.r)) { body_weak(&input) } else { body(&input) };
            for level in Level::available() {
                let found = one::<true>(level, &links);
                assert_eq!(found.p4[0].to_bits(), general.p4[0].to_bits(), "{n} {level:?}");
                assert_eq!(found.given, general.given, "{n} {level:?}");
                assert_eq!(one::<false>(level, &links).p4, found.p4, "{n} {level:?}");
                let covariance = std::array::from_fn(|i| std::array::from_fn(|j| dot(&v[i], &v[j])));
                let expected = p4(&crate::expectation::Quad::from_covariance(&covariance).links);
                assert_eq!(one::<false>(level, &covariance).p4[0].to_bits(), expected.to_bits(), "{n} {level:?}");
            }
        }
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
}
