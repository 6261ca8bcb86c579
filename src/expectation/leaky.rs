//! Leaky ReLU averages by expansion in ReLU averages (theory 11, eq. 11-split and 11-signs).

use super::orthant::PAIRS;
use super::quadruple::{self, Quad, QuadAverage};
use super::{Averages, Pair, PairAverage, PairCurvature, Relu, TripleAverage};

/// The activation with slope 1 at positive and `slope` at negative fields.
#[derive(Clone, Copy, Debug)]
pub struct Leaky {
    pub slope: f64,
}

impl Leaky {
    /// Factor (1 - slope)^2 of the ReLU part of averages of two activations.
    pub fn ramp(slope: f64) -> f64 {
        (1.0 - slope) * (1.0 - slope)
    }
}

impl Averages for Leaky {
    /// slope C_uv + (1 - slope)^2 times that of ReLU.
    fn pair(&self, pair: &Pair) -> PairAverage {
        let (ramp, relu) = (Leaky::ramp(self.slope), Relu.pair(pair));
        PairAverage {
            value: ramp * relu.value + self.slope * pair.covariance(),
            d_uu: ramp * relu.d_uu,
            d_vv: ramp * relu.d_vv,
            d_uv: ramp * relu.d_uv + self.slope,
        }
    }

    fn curvature(&self, pair: &Pair) -> PairCurvature {
        let (ramp, relu) = (Leaky::ramp(self.slope), Relu.curvature(pair));
        PairCurvature {
            uu_uu: ramp * relu.uu_uu,
            uu_vv: ramp * relu.uu_vv,
            uu_uv: ramp * relu.uu_uv,
            vv_vv: ramp * relu.vv_vv,
            vv_uv: ramp * relu.vv_uv,
            uv_uv: ramp * relu.uv_uv,
        }
    }

    /// slope C_vw + (1 - slope)^2 times that of ReLU.
    fn triple(&self, uw: &Pair, c_uv: f64, c_vw: f64) -> TripleAverage {
        let (ramp, relu) = (Leaky::ramp(self.slope), Relu.triple(uw, c_uv, c_vw));
        TripleAverage {
            value: ramp * relu.value + self.slope * c_vw,
            d_uu: ramp * relu.d_uu,
            d_ww: ramp * relu.d_ww,
            d_uv: ramp * relu.d_uv,
            d_uw: ramp * relu.d_uw,
            d_vw: ramp * relu.d_vw + self.slope,
        }
    }

    /// Each field is split by its sign, g'(u) = H(u) + slope H(-u), g(u) = u+ - slope (-u)+; a pattern of signs and its
    /// opposite have the same average. Errors and limits are those of ReLU; 0 with a zero field.
    fn quadruple(&self, quad: &Quad) -> QuadAverage {
        let factors = [self.slope, self.slope, -self.slope, -self.slope];
        let mut sum = QuadAverage { value: 0.0, derivatives: [0.0; 10] };
        for pattern in 0..8u32 {
            let negative: [bool; 4] = std::array::from_fn(|i| pattern >> i & 1 == 1);
            let weight = |reversed: bool| -> f64 {
                (0..4).map(|i| if negative[i] != reversed { factors[i] } else { 1.0 }).product()
            };
            let weight = weight(false) + weight(true);
            if weight == 0.0 {
                continue;
            }
            let links = std::array::from_fn(|p| {
                let (i, j) = PAIRS[p];
                if negative[i] == negative[j] { quad.links[p] } else { quad.links[p].reversed() }
            });
            let term = quadruple::average(&Quad { norms: quad.norms, links });
            sum.value += weight * term.value;
            let mut at = 0;
            for i in 0..4 {
                for j in i..4 {
                    let sign = if negative[i] == negative[j] { weight } else { -weight };
                    sum.derivatives[at] += sign * term.derivatives[at];
                    at += 1;
                }
            }
        }
        sum
    }
}
