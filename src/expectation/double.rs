//! The pair average in double-double arithmetic, for losses close to zero.
//!
//! Sums, products and square roots are those of `twofloat` (good to 1e-32); its division and trigonometry in version 0.8.4
//! are good to double precision only and are written here.

use std::ops::{Add, Mul, Sub};

use twofloat::TwoFloat;

use super::Pair;
use crate::model::Activation;

/// E[u+ v+] from covariances in double-double arithmetic.
pub fn exact_pair(uu: TwoFloat, vv: TwoFloat, uv: TwoFloat) -> TwoFloat {
    let (root, supplement) = angle(uu, vv, uv);
    divide(root + supplement * uv, twofloat::consts::PI * 2.0)
}

/// E[g(u) g(v)] of two fields from covariances in double-double arithmetic.
pub fn exact_pair_of(activation: Activation, uu: TwoFloat, vv: TwoFloat, uv: TwoFloat) -> TwoFloat {
    match activation.negative_slope() {
        Some(0.0) => exact_pair(uu, vv, uv),
        Some(slope) => {
            let ramp = TwoFloat::from(1.0) - slope;
            exact_pair(uu, vv, uv) * ramp * ramp + uv * slope
        }
        None => exact_erf_pair(uu, vv, uv),
    }
}

/// E[erf(u / sqrt 2) erf(v / sqrt 2)] from covariances in double-double arithmetic (theory 11, eq. 11-erf-pair).
fn exact_erf_pair(uu: TwoFloat, vv: TwoFloat, uv: TwoFloat) -> TwoFloat {
    let one = TwoFloat::from(1.0);
    let (size, root) = (uv.abs(), ((uu + one) * (vv + one) - uv * uv).sqrt());
    let acute = if size < root {
        arctangent(divide(size, root))
    } else {
        twofloat::consts::PI * 0.5 - arctangent(divide(root, size))
    };
    let value = divide(acute * 2.0, twofloat::consts::PI);
    if uv < TwoFloat::from(0.0) { value * -1.0 } else { value }
}

/// |u| |v| sin theta and pi - theta.
fn angle(uu: TwoFloat, vv: TwoFloat, uv: TwoFloat) -> (TwoFloat, TwoFloat) {
    let zero = TwoFloat::from(0.0);
    let determinant = uu * vv - uv * uv;
    let root = if determinant > zero { determinant.sqrt() } else { zero };
    let size = (uu * vv).sqrt();
    // tan of half the acute angle; the small side of the angle keeps its relative accuracy.
    let acute = arctangent(divide(root, size + uv.abs())) * 2.0;
    (root, if uv < zero { acute } else { twofloat::consts::PI - acute })
}

/// Two vectors of which each coordinate stands for several equal ones: (entry of u, entry of v, number).
pub type Counted<'a> = &'a [[f64; 3]];

/// Norms and angle of two non-zero fields, as [`Pair`], in any arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct Angle<N> {
    pub norm_u: N,
    pub norm_v: N,
    pub cosine: N,
    pub sine: N,
    pub supplement: N,
}

/// Arithmetic in which sums over groups of units are written once: double precision, or double-double where thousands
/// of units nearly cancel.
pub trait Number: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + From<f64> + Into<f64> {
    /// pi - theta at right angles is PI / 2.
    const PI: Self;
    fn over(self, divisor: Self) -> Self;
    /// Norms and angle; zero vectors count as orthogonal.
    fn angle(vectors: Counted) -> Angle<Self>;
}

impl Number for f64 {
    const PI: f64 = std::f64::consts::PI;
    fn over(self, divisor: f64) -> f64 {
        self / divisor
    }
    fn angle(vectors: Counted) -> Angle<f64> {
        let Pair { norm_u, norm_v, cosine, sine, supplement } = Pair::from_counted(vectors);
        Angle { norm_u, norm_v, cosine, sine, supplement }
    }
}

impl Number for TwoFloat {
    const PI: TwoFloat = twofloat::consts::PI;
    fn over(self, divisor: TwoFloat) -> TwoFloat {
        divide(self, divisor)
    }
    fn angle(vectors: Counted) -> Angle<TwoFloat> {
        let product = |a: usize, b: usize| {
            vectors.iter().fold(TwoFloat::from(0.0), |sum, p| sum + TwoFloat::new_mul(p[a], p[b]) * p[2])
        };
        let (uu, vv, uv) = (product(0, 0), product(1, 1), product(0, 1));
        let size = (uu * vv).sqrt();
        if size.hi() == 0.0 {
            let (zero, one) = (TwoFloat::from(0.0), TwoFloat::from(1.0));
            let norm_of = |x: TwoFloat| if x.hi() > 0.0 { x.sqrt() } else { zero };
            let (norm_u, norm_v, supplement) = (norm_of(uu), norm_of(vv), twofloat::consts::PI * 0.5);
            return Angle { norm_u, norm_v, cosine: zero, sine: one, supplement };
        }
        let (root, supplement) = angle(uu, vv, uv);
        Angle { norm_u: uu.sqrt(), norm_v: vv.sqrt(), cosine: divide(uv, size), sine: divide(root, size), supplement }
    }
}

/// x / y. The division of twofloat 0.8.4 is good to 5e-17 only; its product and sum are good to 1e-32.
fn divide(x: TwoFloat, y: TwoFloat) -> TwoFloat {
    let first = x.hi() / y.hi();
    let rest = x - y * first;
    let second = rest.hi() / y.hi();
    let third = (rest - y * second).hi() / y.hi();
    TwoFloat::from(first) + second + third
}

/// atan t for 0 <= t <= 1 (twofloat's own is good to 1e-17 only): four half-angle steps, then the series.
fn arctangent(t: TwoFloat) -> TwoFloat {
    let one = TwoFloat::from(1.0);
    let mut t = t;
    for _ in 0..4 {
        t = divide(t, one + (one + t * t).sqrt());
    }
    let square = t * t;
    let mut series = TwoFloat::from(0.0);
    for n in (0..15).rev() {
        let term = one / f64::from(2 * n + 1);
        series = term - square * series;
    }
    series * t * 16.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// atan 1 = pi/4 and 1/7 to 30 digits, where the library's own would be off at the seventeenth.
    #[test]
    fn division_and_arctangent_have_thirty_digits() {
        let quarter = arctangent(TwoFloat::from(1.0)) - twofloat::consts::PI * 0.25;
        assert!(quarter.hi().abs() < 1e-31, "{:e}", quarter.hi());
        let root = TwoFloat::from(0.7).sqrt();
        let one = divide(root, root * root) * root - TwoFloat::from(1.0);
        assert!(one.hi().abs() < 1e-31, "{:e}", one.hi());
    }
}
