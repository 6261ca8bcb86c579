//! `committee reproduce`.

use std::path::PathBuf;
use std::sync::Mutex;

use super::output::Output;
use super::progress::Progress;
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::study::{self, ReproduceSpec, Source};

const EXAMPLES: &str = "Examples:
  committee reproduce safran-2021
  committee reproduce huang-2026 --runs 1000 --only 'K = 18' --db huang

Sources: huang-2026 (arXiv 2604.09412: shares at M = 17 for four training rules, stopped descent, noise on fixed points),
safran-shamir-2018 (arXiv 1712.08968: runs that miss the global minimum), safran-2021 (arXiv 2006.01005: families at n = k).

Each published share is computed again with the published initial law, rule and size. Columns: column = rule and size; d =
input dimension of our runs (where the publication does not state it, several); class = where a run ends; published, ours =
shares in per cent, with the 95 % Clopper-Pearson interval of ours; p_value = Fisher's exact test that both are one share,
Holm-adjusted over all cells. Verdict: agrees; differs (adjusted p below 0.01; a sentence says by how much); inconsistent source
(differs, and so does another place of the same source); not converged (published so, and ours do not converge either).
Files: cells.csv, columns.csv (chi-square over all classes of a column), counts.csv; for huang-2026 also run_length.csv (shares
of descent stopped after so many steps) and perturbation.csv (return from noise beside the prediction of the Hessian).";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// huang-2026, safran-shamir-2018 or safran-2021
    #[arg(value_name = "SOURCE")]
    source: Option<Source>,
    /// Runs per column [default: as many as published]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Only the columns whose label holds this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Master seed [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Keep finished runs in this folder, one database for each column, and continue what is there
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(ReproduceSpec::default())?;
    override_fields!(spec, arguments: source, runs, only, seed, db);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    // A bar for each column.
    let bars: Mutex<Option<(String, Progress)>> = Mutex::new(None);
    let report = study::reproduce(&spec, &|label, done, total, unresolved| {
        if let Ok(mut bars) = bars.lock() {
            if bars.as_ref().is_none_or(|(known, _)| known != label) {
                output.note(label);
                *bars = Some((label.to_string(), Progress::new(total as u64, output.quiet)));
            }
            if let Some((_, bar)) = bars.as_ref() {
                bar.show(done, unresolved);
            }
        }
        !interrupt::requested()
    })?;
    drop(bars);
    output.show(&report, "cells", COLUMNS);
    let directory = output.directory(&format!("reproduce-{}", spec.source), &spec)?;
    report.write(&directory)?;
    output.note(&format!("Files: {}", directory.display()));
    Ok(())
}

/// The columns shown in a terminal.
const COLUMNS: &[(&str, usize)] = &[
    ("table", 0),
    ("column", 0),
    ("d", 9),
    ("class", 0),
    ("published", 4),
    ("ours", 4),
    ("low", 4),
    ("high", 4),
    ("runs", 9),
    ("p_value", 2),
    ("verdict", 0),
];
