//! Evidence: what takes longer than a test may. Each test measures lines and prints `line | measured | bar | pass`.
//!
//! `cargo test --release --test evidence -- --ignored --nocapture NAME`; names that begin with `quick_` take under a
//! minute. The last output of each stands in this folder as `NAME.txt`.

mod activations;
mod basins;
mod block_noise;
mod continuation;
mod families;
mod interruption;
mod landscapes;
mod leaky;
mod learning_rates;
mod lines;
mod phase;
mod reproduce;
mod rules;
mod sgd_rules;
mod validate;
mod widen;
