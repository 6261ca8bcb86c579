//! Sine and supplement of many angles at once, vectorised with run-time dispatch.
//!
//! One branch-free body is compiled for SSE2, AVX2 and AVX-512; each level does the same operations in the same order (no
//! fused multiply-add), so the results are bit-identical. On a default x86-64 build this is what makes it fast.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

use crate::numerics::level::Level;

/// For each correlation in [-1, 1]: sin theta and pi - theta with theta = arccos. All slices have equal length.
///
/// Absolute error of the angle: 2e-16 / sin theta from the correlation's own rounding, 3e-16 from the arctangent.
pub fn from_correlations(level: Level, correlation: &[f64], sine: &mut [f64], supplement: &mut [f64]) {
    match level {
        Level::Baseline => body(correlation, sine, supplement),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level above the baseline is only made by `Level::available` after detection of its features.
        Level::Avx2 => unsafe { body_avx2(correlation, sine, supplement) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { body_avx512(correlation, sine, supplement) },
        #[cfg(not(target_arch = "x86_64"))]
        _ => body(correlation, sine, supplement),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn body_avx2(correlation: &[f64], sine: &mut [f64], supplement: &mut [f64]) {
    body(correlation, sine, supplement);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
unsafe fn body_avx512(correlation: &[f64], sine: &mut [f64], supplement: &mut [f64]) {
    body(correlation, sine, supplement);
}

/// acos|rho| = 2 atan t with t = sqrt((1 - |rho|)/(1 + |rho|)) in [0, 1]; above tan(pi/8) reduced once more by
/// atan t = pi/4 + atan((t - 1)/(t + 1)), which merges into the one division.
#[inline(always)]
pub(crate) fn body(correlation: &[f64], sine: &mut [f64], supplement: &mut [f64]) {
    let n = correlation.len().min(sine.len()).min(supplement.len());
    let (correlation, sine, supplement) = (&correlation[..n], &mut sine[..n], &mut supplement[..n]);
    for i in 0..n {
        let rho = correlation[i];
        let x = rho.abs();
        let x = if x > 1.0 { 1.0 } else { x };
        let s = ((1.0 - x) * (1.0 + x)).sqrt();
        let d = 1.0 + x;
        let large = s > 0.414_213_562_373_095_03 * d;
        let y = (if large { s - d } else { s }) / (if large { s + d } else { d });
        let offset = if large { FRAC_PI_4 } else { 0.0 };
        let acute = 2.0 * (offset + arctangent(y));
        sine[i] = s;
        supplement[i] = if rho >= 0.0 { PI - acute } else { acute };
    }
}

/// Angle of the point (x, y) with y >= 0 from the positive x axis, in [0, pi]: atan2(y, x), 0 at the origin. Relative
/// accuracy 3e-16 also where it is small.
#[inline(always)]
pub(crate) fn direction(y: f64, x: f64) -> f64 {
    let p = x.abs();
    let (large, small) = if y > p { (y, p) } else { (p, y) };
    let reduce = small > 0.414_213_562_373_095_03 * large;
    let numerator = if reduce { small - large } else { small };
    let denominator = if reduce { small + large } else { large };
    let acute = arctangent(numerator / (if denominator > 0.0 { denominator } else { 1.0 }));
    let acute = acute + if reduce { FRAC_PI_4 } else { 0.0 };
    let acute = if y > p { FRAC_PI_2 - acute } else { acute };
    if x < 0.0 { PI - acute } else { acute }
}

/// atan y for |y| <= tan(pi/8), odd minimax polynomial (coefficients fitted by `tests/reference/arctangent.py`).
#[inline(always)]
pub(crate) fn arctangent(y: f64) -> f64 {
    let z = y * y;
    let z2 = z * z;
    let z4 = z2 * z2;
    let c = &COEFFICIENTS;
    let low = (c[0] + c[1] * z) + (c[2] + c[3] * z) * z2;
    let middle = (c[4] + c[5] * z) + (c[6] + c[7] * z) * z2;
    let high = (c[8] + c[9] * z) + (c[10] + c[11] * z) * z2;
    y - y * z * (low + (middle + high * z4) * z4)
}

#[rustfmt::skip]
const COEFFICIENTS: [f64; 12] = [
    0.3333333333333333,
    -0.19999999999999804,
    0.14285714285659779,
    -0.11111111105150588,
    0.09090908753259112,
    -0.07692296368042296,
    0.0666642476020052,
    -0.05878927554473807,
    0.05230443640686948,
    -0.045515447340221615,
    0.03456931506332609,
    -0.016284375050043393,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn correlations() -> Vec<f64> {
        let mut x: Vec<f64> = (0..=4001).map(|i| -1.0 + 2.0 * i as f64 / 4001.0).collect();
        x.extend([1.0, -1.0, 0.0, -0.0, 1e-300, 1.0 - 1e-16, -1.0 + 1e-16, 0.923_879_532_511_286_7]);
        x
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let x = correlations();
        // Lengths that are no multiple of a vector width too.
        for n in [1, 3, 5, 6, 7, 8, 9, 13, x.len()] {
            let run = |level| {
                let (mut s, mut a) = (vec![0.0; n], vec![0.0; n]);
                from_correlations(level, &x[..n], &mut s, &mut a);
                s.iter().chain(&a).map(|v: &f64| v.to_bits()).collect::<Vec<_>>()
            };
            for level in Level::available() {
                assert_eq!(run(level), run(Level::Baseline), "{level:?}, n = {n}");
            }
        }
    }

    #[test]
    fn agrees_with_the_standard_library() {
        let x = correlations();
        let (mut s, mut a) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        from_correlations(Level::best(), &x, &mut s, &mut a);
        for i in 0..x.len() {
            let sine = ((1.0 - x[i]) * (1.0 + x[i])).sqrt();
            let expected = sine.atan2(-x[i]);
            assert!((a[i] - expected).abs() <= 9e-16 * expected.max(1.0), "{}: {} {expected}", x[i], a[i]);
            assert_eq!(s[i], sine, "{}", x[i]);
        }
    }
}
