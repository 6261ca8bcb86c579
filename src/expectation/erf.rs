//! Averages of g(u) = erf(u / sqrt 2) (Saad and Solla 1995; theory 11, eqs. 11-erf-pair to 11-erf-quadruple).
//!
//! Everything is a function of C + 1, whose eigenvalues are at least 1: nothing is singular at equal, opposite or zero
//! fields. Determinants are taken from sines, so that they keep their accuracy for large parallel fields.

use std::f64::consts::FRAC_2_PI;

use super::quadruple::{Quad, QuadAverage};
use super::{Averages, Pair, PairAverage, PairCurvature};

/// The activation g(u) = erf(u / sqrt 2), g'(u) = sqrt(2 / pi) exp(-u^2 / 2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Erf;

/// 1 + C_uu, 1 + C_vv, C_uv and the root of (1 + C_uu)(1 + C_vv) - C_uv^2.
struct Raised {
    p: f64,
    q: f64,
    c: f64,
    root: f64,
}

impl Raised {
    fn new(pair: &Pair) -> Raised {
        let (uu, vv) = (pair.norm_u * pair.norm_u, pair.norm_v * pair.norm_v);
        let area = pair.norm_u * pair.norm_v * pair.sine;
        Raised { p: 1.0 + uu, q: 1.0 + vv, c: pair.covariance(), root: (1.0 + uu + vv + area * area).sqrt() }
    }

    fn average(&self) -> PairAverage {
        let Raised { p, q, c, root } = *self;
        PairAverage {
            value: FRAC_2_PI * c.atan2(root),
            d_uu: -0.5 * FRAC_2_PI * c / (p * root),
            d_vv: -0.5 * FRAC_2_PI * c / (q * root),
            d_uv: FRAC_2_PI / root,
        }
    }
}

impl Averages for Erf {
    /// (2 / pi) asin(C_uv / sqrt((1 + C_uu)(1 + C_vv))) (theory 11, eq. 11-erf-pair).
    fn pair(&self, pair: &Pair) -> PairAverage {
        Raised::new(pair).average()
    }

    /// Theory 11, eq. 11-erf-curvature.
    fn curvature(&self, pair: &Pair) -> PairCurvature {
        let Raised { p, q, c, root } = Raised::new(pair);
        let (first, cube) = (0.5 * FRAC_2_PI / root, 0.5 * FRAC_2_PI / (root * root * root));
        PairCurvature {
            uu_uu: c / p * (first / p + 0.5 * q * cube),
            uu_vv: 0.5 * c * cube,
            uu_uv: -q * cube,
            vv_vv: c / q * (first / q + 0.5 * p * cube),
            vv_uv: -p * cube,
            uv_uv: 2.0 * c * cube,
        }
    }

    /// E[g'(a) g'(b)] times the pair average of c and d under the law tilted by the two slopes (theory 11, eq.
    /// 11-erf-quadruple). Absolute error about 1e-16 times the largest of 1 and the variances.
    fn quadruple(&self, quad: &Quad) -> QuadAverage {
        let [na, nb, nc, nd] = quad.norms;
        let [ab, ac, ad, bc, bd, cd] = quad.links;
        let area = na * nb * ab.s;
        let determinant = 1.0 + na * na + nb * nb + area * area;
        // Inverse of 1 + C of the fields a, b.
        let (maa, mbb, mab) =
            ((1.0 + nb * nb) / determinant, (1.0 + na * na) / determinant, -na * nb * ab.r / determinant);
        let tilt = |x: f64, y: f64| (maa * x + mab * y, mab * x + mbb * y);
        let (cac, cbc, cad, cbd) = (na * nc * ac.r, nb * nc * bc.r, na * nd * ad.r, nb * nd * bd.r);
        let ((ca, cb), (da, db)) = (tilt(cac, cbc), tilt(cad, cbd));
        let cc = (nc * nc - ca * cac - cb * cbc).max(0.0);
        let dd = (nd * nd - da * cad - db * cbd).max(0.0);
        let along = nc * nd * cd.r - ca * cad - cb * cbd;
        let rest = (cc * dd - along * along).max(0.0);
        let tilted = Raised { p: 1.0 + cc, q: 1.0 + dd, c: along, root: (1.0 + cc + dd + rest).sqrt() };
        let slopes = FRAC_2_PI / determinant.sqrt();
        let PairAverage { value, d_uu: by_cc, d_vv: by_dd, d_uv: by_cd } = tilted.average();
        let derivatives = [
            by_cc * ca * ca + by_dd * da * da + by_cd * ca * da - 0.5 * maa * value,
            2.0 * (by_cc * ca * cb + by_dd * da * db) + by_cd * (ca * db + cb * da) - mab * value,
            -2.0 * by_cc * ca - by_cd * da,
            -2.0 * by_dd * da - by_cd * ca,
            by_cc * cb * cb + by_dd * db * db + by_cd * cb * db - 0.5 * mbb * value,
            -2.0 * by_cc * cb - by_cd * db,
            -2.0 * by_dd * db - by_cd * cb,
            by_cc,
            by_cd,
            by_dd,
        ];
        QuadAverage { value: slopes * value, derivatives: derivatives.map(|x| slopes * x) }
    }
}

impl Erf {
    /// E[g'(a) g'(b) g'(c) g'(d)] = (2 / pi)^2 det(1 + C)^(-1/2) (theory 11, eq. 11-erf-slopes).
    pub fn slopes(&self, c: &[[f64; 4]; 4]) -> f64 {
        // Pivots of Gaussian elimination without exchange: 1 + C is positive definite.
        let mut m = *c;
        let mut determinant = 1.0;
        for i in 0..4 {
            m[i][i] += 1.0;
        }
        for i in 0..4 {
            determinant *= m[i][i];
            for j in i + 1..4 {
                let factor = m[j][i] / m[i][i];
                for k in i..4 {
                    m[j][k] -= factor * m[i][k];
                }
            }
        }
        FRAC_2_PI * FRAC_2_PI / determinant.sqrt()
    }
}

/// E[g'(u) g'(v)] for a field u and many v, from C_uu, their C_vv and C_uv: all slices of equal length. Relative error about
/// 1e-16 times the larger variance.
#[inline(always)]
pub fn slopes(c_uu: f64, c_vv: &[f64], c_uv: &[f64], out: &mut [f64]) {
    for ((out, vv), uv) in out.iter_mut().zip(c_vv).zip(c_uv) {
        let gram = c_uu * vv - uv * uv;
        let gram = if gram > 0.0 { gram } else { 0.0 };
        *out = FRAC_2_PI / (1.0 + c_uu + vv + gram).sqrt();
    }
}
