//! What a study returns: its spec, typed results, tables and arrays, and where they came from.
//!
//! A [`Report`] is written as one JSON document (full precision, never NaN), its [`Table`]s as CSV and its arrays as one
//! NPZ file. Figures read reports and nothing else. No wall-clock time enters a report: equal specs give equal bytes.

mod table;
mod write;

pub use write::replace;

pub use table::{Column, Table, Value};

use std::collections::BTreeMap;

use ndarray::ArrayD;
use serde::Serialize;

/// Version of the JSON layout.
pub const SCHEMA: u32 = 1;

/// Where a result came from.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    pub version: &'static str,
    pub git: &'static str,
    pub features: Vec<&'static str>,
    /// SHA-256 of the canonical spec, first 16 hexadecimal digits.
    pub spec_hash: String,
    pub seed: Option<u64>,
}

impl Provenance {
    /// Provenance of this build for a spec (any serialisable value; hashed in its JSON form).
    pub fn new(spec: &impl Serialize, seed: Option<u64>) -> Self {
        let mut features = Vec::new();
        if cfg!(feature = "cli") {
            features.push("cli");
        }
        if cfg!(feature = "openblas") {
            features.push("openblas");
        }
        Provenance {
            version: env!("CARGO_PKG_VERSION"),
            git: env!("COMMITTEE_GIT"),
            features,
            spec_hash: hash(spec),
            seed,
        }
    }
}

/// First 16 hexadecimal digits of the SHA-256 of a value's JSON form.
pub fn hash(value: &impl Serialize) -> String {
    use sha2::{Digest, Sha256};
    let text = serde_json::to_string(value).unwrap_or_default();
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// One study's outcome.
#[derive(Clone, Debug)]
pub struct Report {
    pub verb: &'static str,
    pub spec: serde_json::Value,
    pub provenance: Provenance,
    /// Named results at the top level of the JSON document.
    pub results: serde_json::Map<String, serde_json::Value>,
    pub tables: Vec<Table>,
    /// Arrays for the NPZ file, by name.
    pub arrays: BTreeMap<String, ArrayD<f64>>,
    /// Sentences a reader of the table should see (printed to stderr by the program).
    pub notes: Vec<String>,
}

impl Report {
    /// An empty report for a verb and its spec.
    pub fn new(verb: &'static str, spec: &impl Serialize, seed: Option<u64>) -> Self {
        Report {
            verb,
            spec: serde_json::to_value(spec).unwrap_or(serde_json::Value::Null),
            provenance: Provenance::new(spec, seed),
            results: serde_json::Map::new(),
            tables: Vec::new(),
            arrays: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// The table with this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}
