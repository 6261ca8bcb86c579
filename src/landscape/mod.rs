//! Critical points of the population loss: search, polish, spectrum, verdict, family.

pub mod ansatz;
pub mod branch;
pub mod branches;
#[cfg(feature = "cli")]
pub mod catalogue;
pub mod departure;
pub mod expansion;
pub mod family;
pub mod fixed_point;
pub mod known;
pub mod noisy;
pub mod patterns;
pub mod phase;
pub mod point;
pub mod recognised;
pub mod reduced;
pub mod roots;
pub mod ruled;
pub mod search;
pub mod stability;
pub mod widen;
mod zero;

pub use family::Family;
pub use fixed_point::{Ending, Settled, polish, settle};
pub use point::Point;
pub use ruled::{Details, settle_by_rule};
pub use search::{Problem, RunResult};
pub use stability::{Spectrum, Verdict};
pub use zero::nearest_zero;
