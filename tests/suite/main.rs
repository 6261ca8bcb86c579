//! Every claim of the crate that can be checked in seconds. One file per claim.

mod reference;
