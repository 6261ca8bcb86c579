//! Critical points of the population loss: search, polish, spectrum, verdict, family.

pub mod ansatz;
pub mod branch;
#[cfg(feature = "cli")]
pub mod catalogue;
pub mod family;
pub mod fixed_point;
pub mod phase;
pub mod point;
pub mod reduced;
pub mod search;
pub mod stability;
mod zero;

pub use family::Family;
pub use fixed_point::{Ending, Settled, polish, settle};
pub use point::Point;
pub use search::{Problem, RunResult};
pub use stability::{Spectrum, Verdict};
pub use zero::nearest_zero;
