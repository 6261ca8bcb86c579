//! Averages over jointly Gaussian fields, in closed form. Nothing else in the crate writes an average.
//!
//! Two fields u.x and v.x with x ~ N(0, I) enter through norms and angle. The angle is kept as the pair
//! (sin theta, pi - theta), which stays accurate where the correlation does not: see [`Pair`]. Derivations: theory note
//! 02 (`theory/02-expectations.md`).

pub mod angles;
mod double;
pub mod erf;
mod leaky;
mod linear;
pub mod orthant;
mod pair;
mod path;
mod quadrature;
pub mod quadruple;
mod relu;

pub use double::{Angle, Counted, Number, exact_pair, exact_pair_of};
pub use erf::Erf;
pub use leaky::Leaky;
pub use linear::Linear;
pub use pair::Pair;
pub use quadrature::Quadrature;
pub use quadruple::{Quad, QuadAverage};
pub use relu::{PairAverage, Relu, TripleAverage, quartic_part};

/// Second derivatives of the pair average by C_uu, C_vv, C_uv.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PairCurvature {
    pub uu_uu: f64,
    pub uu_vv: f64,
    pub uu_uv: f64,
    pub vv_vv: f64,
    pub vv_uv: f64,
    pub uv_uv: f64,
}

/// Averages of an activation g that the population loss, its derivatives and the equations of SGD need.
pub trait Averages {
    /// E[g(u) g(v)] with its derivatives by the three covariances.
    fn pair(&self, pair: &Pair) -> PairAverage;
    /// Second derivatives of the pair average. Those by C_uv are the derivatives of E[g'(u) g'(v)], which is the first one.
    fn curvature(&self, pair: &Pair) -> PairCurvature;
    /// E[g'(u) v g(w)] with its derivatives by the covariances, for the pair (u, w) and C_uv, C_vw; by partial integration
    /// on v a sum of derivatives of the pair average (theory 11, eq. 11-triple).
    fn triple(&self, uw: &Pair, c_uv: f64, c_vw: f64) -> TripleAverage {
        let (first, second) = (self.pair(uw), self.curvature(uw));
        TripleAverage {
            value: 2.0 * c_uv * first.d_uu + c_vw * first.d_uv,
            d_uu: 2.0 * c_uv * second.uu_uu + c_vw * second.uu_uv,
            d_ww: 2.0 * c_uv * second.uu_vv + c_vw * second.vv_uv,
            d_uv: 2.0 * first.d_uu,
            d_uw: 2.0 * c_uv * second.uu_uv + c_vw * second.uv_uv,
            d_vw: first.d_uv,
        }
    }
    /// E[g'(a) g'(b) g(c) g(d)] with its derivatives by the ten covariances.
    fn quadruple(&self, quad: &Quad) -> QuadAverage;
}
