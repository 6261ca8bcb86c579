//! Averages over jointly Gaussian fields, in closed form. Nothing else in the crate writes an average.
//!
//! Two fields u.x and v.x with x ~ N(0, I) enter through norms and angle. The angle is kept as the pair
//! (sin theta, pi - theta), which stays accurate where the correlation does not: see [`Pair`]. Derivations: theory note
//! 02 (`theory/02-expectations.md`).

pub mod angles;
mod double;
pub mod orthant;
mod pair;
mod path;
pub mod quadruple;
mod relu;

pub use double::{Angle, Counted, Number, exact_pair};
pub use pair::Pair;
pub use quadruple::{Quad, QuadAverage};
pub use relu::{PairAverage, Relu, TripleAverage, quartic_part};

/// Averages of an activation g that the population loss and its gradient need.
pub trait Averages {
    /// E[g(u) g(v)] with its derivatives by the three covariances.
    fn pair(&self, pair: &Pair) -> PairAverage;
    /// E[g'(u) v g(w)] with its derivatives by the covariances, for the pair (u, w) and C_uv, C_vw.
    fn triple(&self, uw: &Pair, c_uv: f64, c_vw: f64) -> TripleAverage;
    /// E[g'(a) g'(b) g(c) g(d)] with its derivatives by the ten covariances.
    fn quadruple(&self, quad: &Quad) -> QuadAverage;
}
