//! Velocities of the training rules and their integration: gradient flow of the population loss on weights, one-pass SGD
//! at any learning rate on overlaps.

mod block_sgd;
mod block_spectrum;
mod finite;
mod flow;
mod held;
mod rules;
mod sgd;
mod steady;

pub use block_sgd::{BlockParameter, BlockSgd, PairClass};
pub use block_spectrum::{BlockSpectrum, SectorRates};
pub use finite::{MeanState, mean_path};
pub use flow::{Descent, Integrator, evolve, evolve_by};
pub use rules::{Stopped, balance, descend};
#[doc(hidden)]
pub use sgd::Fault;
pub use sgd::{Equations, Evolution, Outcome, evolve_sgd, iterate_map};
pub use steady::{
    Steady, excess_loss_slope, far_threshold, local_threshold, orthonormal_threshold, plateau, steady_state,
};
