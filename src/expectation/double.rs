//! The pair average in double-double arithmetic, for losses close to zero.
//!
//! Sums, products and square roots are those of `twofloat` (good to 1e-32); its division and trigonometry in version 0.8.4
//! are good to double precision only and are written here.

use twofloat::TwoFloat;

/// E[u+ v+] from covariances in double-double arithmetic.
pub fn exact_pair(uu: TwoFloat, vv: TwoFloat, uv: TwoFloat) -> TwoFloat {
    let zero = TwoFloat::from(0.0);
    let determinant = uu * vv - uv * uv;
    let root = if determinant > zero { determinant.sqrt() } else { zero };
    let size = (uu * vv).sqrt();
    // tan of half the acute angle; the small side of the angle keeps its relative accuracy.
    let acute = arctangent(divide(root, size + uv.abs())) * 2.0;
    let supplement = if uv < zero { acute } else { twofloat::consts::PI - acute };
    divide(root + supplement * uv, twofloat::consts::PI * 2.0)
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
