//! How the student is trained.

use serde::{Deserialize, Serialize};

/// A training rule with its parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Training {
    /// dW/dt = - grad L(W): the small-learning-rate limit of one-pass SGD and of gradient descent, in the time
    /// learning rate x steps / d (weights of norm sqrt(d)) or learning rate x steps (weights of norm 1).
    #[default]
    GradientFlow,
}
