//! One file per verb: a spec goes in, a [`crate::report::Report`] comes out. Studies print nothing and draw nothing.

#[cfg(feature = "cli")]
mod export;
mod flow;
#[cfg(feature = "cli")]
mod landscape;
mod sgd;
mod spectrum;
mod stability;
mod templates;
mod training;
mod validate;

#[cfg(feature = "cli")]
pub use export::{ExportSpec, export};
pub use flow::{FlowSpec, flow};
#[cfg(feature = "cli")]
pub use landscape::{LandscapeSpec, OverlapMatrices, landscape, overlap_matrices};
pub use sgd::{SgdSpec, Simulator, sgd};
pub use stability::{Normalisation, StabilitySpec, stability};
pub use templates::{TemplatesSpec, templates};
#[doc(hidden)]
pub use validate::validate_against;
pub use validate::{ValidateSpec, validate, validation_curves};
