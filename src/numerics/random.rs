//! Random streams: one master seed, one stream per path of integers, independent of thread count and order.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// What a stream is used for: the first integer of its path.
pub mod purpose {
    /// Initial weights of run n: path `[START, n]`.
    pub const START: u64 = 1;
    /// Perturbation of a point: path `[PERTURB, n]`.
    pub const PERTURB: u64 = 2;
    /// Training inputs and noise of run n of the explicit simulation: path `[WITNESS, n]`.
    pub const WITNESS: u64 = 11;
    /// The same of the reduced chain: path `[CHAIN, n]`.
    pub const CHAIN: u64 = 12;
    /// The finite sample of run n: path `[SAMPLE, n]`.
    pub const SAMPLE: u64 = 13;
    /// Fresh inputs for a test error: path `[TEST, purpose of the training stream, n, index of the time]`.
    pub const TEST: u64 = 14;
    /// The seed of the simulations in d dimensions of a comparison over d: path `[VALIDATE, d]`.
    pub const VALIDATE: u64 = 16;
    /// Random start n of a search for all roots of a family: path `[ROOTS, n]`.
    pub const ROOTS: u64 = 17;
    /// Inputs for the covariance of one step in the linear-noise equations: path `[DIFFUSION]`.
    pub const DIFFUSION: u64 = 15;
    /// A start with one more unit: path `[WIDEN, origin, mode, run]`.
    pub const WIDEN: u64 = 19;
}

/// The ChaCha8 stream with this path under a master seed. Equal paths give equal numbers; different paths are
/// independent (the key is the SHA-256 of seed and path).
pub fn stream(master: u64, path: &[u64]) -> ChaCha8Rng {
    let mut hasher = Sha256::new();
    hasher.update(b"committee");
    hasher.update(master.to_le_bytes());
    for step in path {
        hasher.update(step.to_le_bytes());
    }
    ChaCha8Rng::from_seed(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;

    #[test]
    fn paths_decide_the_stream() {
        let first = stream(1, &[1, 2]).next_u64();
        assert_eq!(first, stream(1, &[1, 2]).next_u64());
        for other in [stream(2, &[1, 2]), stream(1, &[2, 1]), stream(1, &[1]), stream(1, &[1, 2, 0])] {
            let mut other = other;
            assert_ne!(first, other.next_u64());
        }
    }
}
