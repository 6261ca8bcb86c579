//! One file per verb: a spec goes in, a [`crate::report::Report`] comes out. Studies print nothing and draw nothing.

#[cfg(feature = "cli")]
mod export;
mod flow;
#[cfg(feature = "cli")]
mod landscape;
mod spectrum;
mod stability;
mod templates;

#[cfg(feature = "cli")]
pub use export::{ExportSpec, export};
pub use flow::{FlowSpec, flow};
#[cfg(feature = "cli")]
pub use landscape::{LandscapeSpec, OverlapMatrices, landscape, overlap_matrices};
pub use stability::{Normalisation, StabilitySpec, stability};
pub use templates::{TemplatesSpec, templates};
