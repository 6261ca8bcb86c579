//! Links the system OpenBLAS for the feature `openblas` and records the git revision for provenance.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The log changes with every commit; HEAD itself only names the branch.
    println!("cargo:rerun-if-changed=.git/logs/HEAD");
    if std::env::var_os("CARGO_FEATURE_OPENBLAS").is_some() {
        // ndarray-linalg 0.17.0 does not compile with its own `openblas-system` feature.
        println!("cargo:rustc-link-lib=openblas");
    }
    let revision = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_string(), |text| text.trim().to_string());
    println!("cargo:rustc-env=COMMITTEE_GIT={revision}");
}
