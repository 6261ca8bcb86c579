//! Every claim of the crate that can be checked in seconds. One file per claim.

mod activations;
mod architecture;
mod finite;
mod identities;
mod labels;
mod moments;
mod orthant;
#[cfg(feature = "cli")]
mod program;
mod reference;
mod search;
mod sgd_rules;
mod spectra;
