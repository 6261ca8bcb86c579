//! A recorded run: overlaps, loss and gradient against time.

use super::Overlaps;

/// State at one time.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Time of the training rule's clock.
    pub time: f64,
    /// Population loss (label noise not included).
    pub loss: f64,
    /// Euclidean norm of the gradient over all weights.
    pub gradient_norm: f64,
    pub overlaps: Overlaps,
}

/// Frames in the order of time.
#[derive(Clone, Debug, Default)]
pub struct Trajectory {
    pub frames: Vec<Frame>,
}
