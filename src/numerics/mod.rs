//! What is true without neural networks, and the only doors to linear algebra, integrators, optimisers and statistics.

pub mod follow;
pub mod integrate;
pub mod level;
pub mod linalg;
pub mod memory;
pub mod normal;
pub mod optimise;
pub mod parallel;
pub mod quadrature;
pub mod random;
pub mod rkc;
pub mod root;

pub mod singular;
pub mod special;
pub mod statistics;
pub mod tolerance;
