//! Averages of the identity: covariances.

use super::quadruple::{Quad, QuadAverage};
use super::{Averages, Pair, PairAverage, PairCurvature};

/// The activation g(u) = u.
#[derive(Clone, Copy, Debug, Default)]
pub struct Linear;

impl Averages for Linear {
    /// C_uv.
    fn pair(&self, pair: &Pair) -> PairAverage {
        PairAverage { value: pair.covariance(), d_uu: 0.0, d_vv: 0.0, d_uv: 1.0 }
    }

    fn curvature(&self, _pair: &Pair) -> PairCurvature {
        PairCurvature::default()
    }

    /// C_cd.
    fn quadruple(&self, quad: &Quad) -> QuadAverage {
        let mut derivatives = [0.0; 10];
        derivatives[8] = 1.0;
        QuadAverage { value: quad.norms[2] * quad.norms[3] * quad.links[5].r, derivatives }
    }
}
