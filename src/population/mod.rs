//! Sums of averages at one state: risk, gradient in coefficient form, Hessian. No average is written here.
//!
//! The loss is L = E[(f - f*)^2] / 2 over x ~ N(0, I); label noise is not included.

mod activation_noise;
mod block_noise;
mod blocks;
mod constrained;
mod equations;
mod fields;
mod gradient;
mod hessian;
mod kernel;
mod noise;
mod noise_derivatives;
mod one_sided;
mod readouts;
mod risk;
mod sectors;

pub use block_noise::{Add, BlockFields, Unit, block_error_moments, block_step_moments};
pub use blocks::{block_gradient, block_risk};
pub use constrained::{constrained_gradient, constrained_hessian, constrained_residual};
pub use equations::{BlockEquations, Workspace};
pub use fields::Fields;
pub use gradient::{Coefficients, Field, coefficients};
pub use hessian::{Hessian, hessian};
pub use noise::{error_moments, error_moments_at, error_moments_with, step_moments, step_moments_at};
pub use noise_derivatives::{drift_derivatives, error_moment_derivatives, overlap_index, step_moment_derivatives};
pub use one_sided::{OneSided, ZeroUnit, one_sided};
pub use readouts::{TwoLayerHessian, readout_gradient, two_layer_gradient, two_layer_hessian};
pub use risk::{risk, risk_exact, signed_risk};
pub use sectors::{BlockHessian, Sector, SectorValues};
