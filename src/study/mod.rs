//! One file per verb: a spec goes in, a [`crate::report::Report`] comes out. Studies print nothing and draw nothing.

#[cfg(feature = "cli")]
mod diagram;
#[cfg(feature = "cli")]
mod export;
mod families;
mod flow;
mod follow;
mod groups;
#[cfg(feature = "cli")]
mod landscape;
mod limits;
#[cfg(feature = "cli")]
mod phase;
#[cfg(feature = "cli")]
mod plane;
mod plateau;
#[cfg(feature = "cli")]
mod rates;
#[cfg(feature = "cli")]
mod reproduce;
mod sgd;
#[cfg(feature = "cli")]
mod shares;
mod spectrum;
mod stability;
mod steady;
mod templates;
#[cfg(feature = "cli")]
mod thresholds;
mod training;
mod validate;
#[cfg(feature = "cli")]
mod widen;

#[cfg(feature = "cli")]
pub use export::{ExportSpec, export};
pub use families::{FamiliesSpec, families};
pub use flow::{FlowSpec, flow};
pub use follow::{Along, FollowSpec, Start, follow, started};
#[cfg(feature = "cli")]
pub use landscape::{LandscapeSpec, OverlapMatrices, landscape, overlap_matrices};
pub use limits::{LimitsSpec, SgdParameter, learning_rate_limits};
#[cfg(feature = "cli")]
pub use phase::phase;
#[cfg(feature = "cli")]
pub use plane::{Extra, Grid, PhaseSpec, Plane, Span};
pub use plateau::{PlateauSpec, plateau};
#[cfg(feature = "cli")]
pub use reproduce::{ReproduceSpec, Source, reproduce};
pub use sgd::{SgdSpec, Simulator, sgd};
pub use stability::{Normalisation, StabilitySpec, stability};
pub use steady::{SteadySpec, steady};
pub use templates::{TemplatesSpec, templates};
#[cfg(feature = "cli")]
pub use thresholds::{ThresholdsSpec, thresholds};
#[doc(hidden)]
pub use validate::validate_against;
pub use validate::{ValidateSpec, validate, validation_curves};
#[cfg(feature = "cli")]
pub use widen::{WidenSpec, widen};

/// Mean and, from two values on, its standard error.
fn mean_and_error(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (n * (n - 1.0))).sqrt()))
}
