//! The problem as data, without averages: teacher, student state in its coordinates, symmetry, training, trajectory.

mod activation;
mod blocks;
mod constraint;
pub mod file;
mod overlaps;
mod rule;
mod start;
pub mod symmetry;
mod teacher;
mod training;
mod trajectory;
mod weights;

pub use activation::Activation;
pub use blocks::{BlockTeacher, Blocks, Entry, Partition, Place};
pub use constraint::{Constraint, towards_polar};
pub use overlaps::Overlaps;
pub use rule::{Descent, Normalisation, Training, TwoLayer, WeightDecay};
pub use start::{InitialLaw, reduced_dimension};
pub use teacher::{Teacher, TeacherSpec};
pub use training::{Decay, Schedule, Sgd};
pub use trajectory::{Frame, Trajectory};
pub use weights::Weights;
