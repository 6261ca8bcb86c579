//! ReLU averages of two and three fields (theory 02, eq. 02-pair and 02-triple).

use std::f64::consts::PI;

use super::quadruple::{self, Quad, QuadAverage};
use super::{Averages, Pair, PairCurvature};

const TAU: f64 = 2.0 * PI;

/// The activation g(u) = max(u, 0), g'(u) = H(u).
#[derive(Clone, Copy, Debug, Default)]
pub struct Relu;

/// E[g(u) g(v)] and its derivatives by C_uu, C_vv, C_uv.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairAverage {
    pub value: f64,
    pub d_uu: f64,
    pub d_vv: f64,
    /// For ReLU this is the orthant probability P(u > 0, v > 0).
    pub d_uv: f64,
}

/// E[g'(u) v g(w)] and its derivatives by the covariances it depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TripleAverage {
    pub value: f64,
    pub d_uu: f64,
    pub d_ww: f64,
    pub d_uv: f64,
    pub d_uw: f64,
    pub d_vw: f64,
}

impl Averages for Relu {
    /// |u| |v| (sin theta + (pi - theta) cos theta) / (2 pi) (Cho and Saul 2009; theory 02, eq. 02-pair).
    ///
    /// theta = 0 gives |u| |v| / 2, theta = pi gives 0, a zero field gives 0. The derivatives by C_uu and C_vv need
    /// non-zero fields: at a zero field they are reported as 0 (the average is only directionally differentiable).
    fn pair(&self, pair: &Pair) -> PairAverage {
        let Pair { norm_u, norm_v, cosine, sine, supplement } = *pair;
        let product = norm_u * norm_v;
        if product == 0.0 {
            return PairAverage { value: 0.0, d_uu: 0.0, d_vv: 0.0, d_uv: supplement / TAU };
        }
        // Near theta = pi the two terms cancel to s^3/3: sum the series in the small angle there.
        let shape = if supplement < 0.05 { opening(supplement) } else { sine + supplement * cosine };
        PairAverage {
            value: product * shape / TAU,
            d_uu: norm_v / norm_u * sine / (2.0 * TAU),
            d_vv: norm_u / norm_v * sine / (2.0 * TAU),
            d_uv: supplement / TAU,
        }
    }

    /// Infinite at (anti)parallel and at zero fields, where they are reported as 0 (theory 11, eq. 11-relu-curvature).
    fn curvature(&self, pair: &Pair) -> PairCurvature {
        let (uu, vv) = (pair.norm_u * pair.norm_u, pair.norm_v * pair.norm_v);
        let (uv, area) = (pair.covariance(), pair.norm_u * pair.norm_v * pair.sine);
        if area == 0.0 {
            return PairCurvature::default();
        }
        PairCurvature {
            uu_uu: (vv / (2.0 * area) - area / uu) / (2.0 * TAU * uu),
            uu_vv: 1.0 / (4.0 * TAU * area),
            uu_uv: -uv / (2.0 * TAU * uu * area),
            vv_vv: (uu / (2.0 * area) - area / vv) / (2.0 * TAU * vv),
            vv_uv: -uv / (2.0 * TAU * vv * area),
            uv_uv: 1.0 / (TAU * area),
        }
    }

    /// C_uv |w| sin theta / (2 pi |u|) + C_vw (pi - theta) / (2 pi), theta the angle of (u, w) (theory 02, eq. 02-triple).
    ///
    /// w = u gives C_uv / 2, w = -u gives 0, w = 0 gives 0. Derivatives by C_uu, C_ww, C_uw are infinite at parallel
    /// fields unless their numerators vanish there, which then counts as 0. A zero u has no step: everything is 0.
    fn triple(&self, uw: &Pair, c_uv: f64, c_vw: f64) -> TripleAverage {
        let Pair { norm_u, norm_v: norm_w, cosine, sine, supplement } = *uw;
        if norm_u == 0.0 {
            return TripleAverage { value: 0.0, d_uu: 0.0, d_ww: 0.0, d_uv: 0.0, d_uw: 0.0, d_vw: 0.0 };
        }
        let d_uv = norm_w * sine / (TAU * norm_u);
        let d_vw = supplement / TAU;
        let (c_uu, c_uw) = (norm_u * norm_u, norm_u * norm_w * cosine);
        let root = norm_u * norm_w * sine;
        let ratio = |numerator: f64| if numerator == 0.0 { 0.0 } else { numerator / root };
        // Derivatives of sqrt(C_uu C_ww - C_uw^2) and of theta, collected (theory 02, eq. 02-triple-derivative).
        let d_uw = ratio(c_vw * c_uu - c_uv * c_uw) / (TAU * c_uu);
        let d_ww = ratio(c_uv - c_vw * if norm_w > 0.0 { c_uw / (norm_w * norm_w) } else { 0.0 }) / (2.0 * TAU);
        let d_uu = (ratio(c_uv * norm_w * norm_w - c_vw * c_uw) / 2.0 - c_uv * root / c_uu) / (TAU * c_uu);
        TripleAverage { value: c_uv * d_uv + c_vw * d_vw, d_uu, d_ww, d_uv, d_uw, d_vw }
    }

    /// E[H(a) H(b) c+ d+] (theory 02, eq. 02-quadruple), absolute error about 1e-14 |c| |d|, also at equal, opposite and
    /// dependent fields; 0 with a zero field. Derivatives by covariances of (anti)parallel fields may be infinite and are
    /// then reported as 0.
    fn quadruple(&self, quad: &Quad) -> QuadAverage {
        quadruple::average(quad)
    }
}

/// (sqrt(1 - rho^2) + rho asin rho - 1 - rho^2/2) / (2 pi) = rho^4/(48 pi) + ...: what is left of the pair average after
/// its constant, linear and quadratic parts.
pub fn quartic_part(rho: f64) -> f64 {
    if rho.abs() < 0.1 {
        let x = rho * rho;
        // Series of sqrt(1 - x) + rho asin rho: coefficients (2n-3)!!/((2n)!! (2n-1)).
        return x * x * (1.0 / 24.0 + x * (1.0 / 80.0 + x * (5.0 / 896.0 + x * (7.0 / 2304.0 + x * (21.0 / 11264.0)))))
            / TAU;
    }
    (((1.0 - rho) * (1.0 + rho)).sqrt() + rho * rho.asin() - 1.0 - 0.5 * rho * rho) / TAU
}

/// sin s - s cos s for small s: s^3/3 - s^5/30 + s^7/840 - s^9/45360 + s^11/3991680.
fn opening(s: f64) -> f64 {
    let x = s * s;
    s * x * (1.0 / 3.0 - x * (1.0 / 30.0 - x * (1.0 / 840.0 - x * (1.0 / 45_360.0 - x / 3_991_680.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covariance(u: &[f64], v: &[f64]) -> f64 {
        u.iter().zip(v).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn limits() {
        let pair = |u: &[f64], v: &[f64]| Relu.pair(&Pair::from_vectors(u, v)).value;
        assert_eq!(pair(&[3.0, 4.0], &[3.0, 4.0]), 12.5);
        assert_eq!(pair(&[3.0, 4.0], &[-3.0, -4.0]), 0.0);
        assert!((pair(&[1.0, 0.0], &[0.0, 1.0]) - 1.0 / TAU).abs() < 1e-16);
        assert_eq!(pair(&[0.0, 0.0], &[0.0, 1.0]), 0.0);
        let triple = |u: &[f64], v: &[f64], w: &[f64]| {
            Relu.triple(&Pair::from_vectors(u, w), covariance(u, v), covariance(v, w)).value
        };
        let (u, v) = ([0.3, -0.4, 1.2], [1.0, 2.0, 0.5]);
        assert!((triple(&u, &v, &u) - covariance(&u, &v) / 2.0).abs() < 1e-16);
        assert_eq!(triple(&u, &v, &[-0.3, 0.4, -1.2]), 0.0);
        assert_eq!(triple(&u, &v, &[0.0; 3]), 0.0);
        assert_eq!(triple(&[0.0; 3], &v, &u), 0.0);
    }

    /// Derivatives by covariances against central differences of the values.
    #[test]
    fn derivatives_match_differences() {
        let c = [1.3, 0.8, 1.7, 0.4, -0.5, 0.3]; // uu, vv, ww, uv, uw, vw
        let pair = |c: [f64; 6]| Relu.pair(&Pair::from_covariance(c[0], c[2], c[4]));
        let triple = |c: [f64; 6]| Relu.triple(&Pair::from_covariance(c[0], c[2], c[4]), c[3], c[5]);
        let (p, t) = (pair(c), triple(c));
        let h = 1e-5;
        let shifted = |k: usize, s: f64| {
            let mut c = c;
            c[k] += s * h;
            c
        };
        let slope_pair = |k| (pair(shifted(k, 1.0)).value - pair(shifted(k, -1.0)).value) / (2.0 * h);
        let slope_triple = |k| (triple(shifted(k, 1.0)).value - triple(shifted(k, -1.0)).value) / (2.0 * h);
        for (name, analytic, numeric) in [
            ("pair uu", p.d_uu, slope_pair(0)),
            ("pair vv", p.d_vv, slope_pair(2)),
            ("pair uv", p.d_uv, slope_pair(4)),
            ("triple uu", t.d_uu, slope_triple(0)),
            ("triple ww", t.d_ww, slope_triple(2)),
            ("triple uv", t.d_uv, slope_triple(3)),
            ("triple uw", t.d_uw, slope_triple(4)),
            ("triple vw", t.d_vw, slope_triple(5)),
        ] {
            assert!((analytic - numeric).abs() < 1e-9, "{name}: {analytic} against {numeric}");
        }
    }
}
