//! `committee export`.

use std::path::PathBuf;

use super::landscape;
use super::output::Output;
use crate::error::Result;
use crate::study::{self, ExportSpec};

const EXAMPLES: &str = "Examples:
  committee export --db k17.db --out k17
  committee export --db k17.db --runs 1000 --json > first-thousand.json

Writes report.json, minima.csv, runs.csv, spectrum.csv, arrays.npz and the pictures. The same database gives
the same bytes, however it was filled. Columns are those of `committee landscape --help`.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Database written by `landscape --db`
    #[arg(long, value_name = "FILE", required_unless_present = "spec")]
    db: Option<PathBuf>,
    /// Only runs below this number [default: all]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(ExportSpec { db: arguments.db.clone().unwrap_or_default(), runs: None })?;
    if let Some(db) = &arguments.db {
        spec.db.clone_from(db);
    }
    spec.runs = arguments.runs.or(spec.runs);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    let report = study::export(&spec)?;
    output.show(&report, "minima", landscape::COLUMNS);
    let directory = output.directory("export", &spec)?;
    landscape::write(&report, &directory)?;
    output.note(&format!("Files and figures: {}", directory.display()));
    Ok(())
}
