//! Velocities of the training rules and their integration: at present gradient flow of the population loss.

mod flow;

pub use flow::{Descent, Integrator, evolve};
