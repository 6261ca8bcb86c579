//! `committee widen`.

use std::path::PathBuf;
use std::sync::Mutex;

use super::output::{Output, content_tag};
use super::progress::Progress;
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::model::TeacherSpec;
use crate::study::{self, WidenSpec};

const EXAMPLES: &str = "Examples:
  committee widen
  committee widen --teachers 17 --dimension 17 --runs 400
  committee widen --db k17.db --seed 2 --json > widen.json

Every local minimum with K = M students gets one student more, in four ways: a short new unit in a random direction along
which the loss falls (add random), or beside the steepest one (add steepest); an anti-aligned unit (split flipped) or
another one (split aligned) split in two parts that are pushed apart where this lowers the loss. Gradient flow then leads to
a minimum with K = M + 1. Columns: origin, k1 = family and anti-aligned units of the minimum; end_family, end_k1, end_loss =
the same of the end; end_eigenvalue, end_transverse = its smallest Hessian eigenvalue inside span(W, V) and across it; runs,
share = starts that ended there, with a 95 % Clopper-Pearson interval. Below: shares over all four ways, by the number of
anti-aligned students at the end. A flow that rests at a saddle is pushed off it, and counted in runs.csv. An end
above its origin would contradict gradient flow: it is counted as a failure.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of teachers M; the minima have K = M students [default: 8]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<usize>,
    /// Input dimension d [default: 2 M + 1]
    #[arg(long, short = 'd', value_name = "D")]
    dimension: Option<usize>,
    /// Starts for each family of minima and each way of adding the student [default: 100]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Random starts with K = M that supply the minima [default: 1000]
    #[arg(long, value_name = "N")]
    searches: Option<u64>,
    /// Length of the displacement [default: 0.001]
    #[arg(long, value_name = "EPSILON")]
    epsilon: Option<f64>,
    /// orthonormal, correlated:RHO, graded:LAST, vectors:FILE, or a file with the Gram matrix T [default: orthonormal]
    #[arg(long, value_name = "TEACHER")]
    teacher: Option<TeacherSpec>,
    /// Master seed [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Take the minima from this database of a search with K = M
    #[arg(long, value_name = "FILE", conflicts_with_all = ["teachers", "dimension", "searches", "teacher"])]
    db: Option<PathBuf>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(WidenSpec::default())?;
    override_fields!(spec, arguments: teachers, dimension, runs, searches, epsilon, teacher, seed, db);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    // One bar for the search, one for the starts.
    let bars: Mutex<Option<(usize, Progress)>> = Mutex::new(None);
    let report = study::widen(&spec, &|done, total, unresolved| {
        if let Ok(mut bars) = bars.lock() {
            if done == 0 || bars.as_ref().is_none_or(|(known, _)| *known != total) {
                *bars = Some((total, Progress::new(total as u64, output.quiet)));
            }
            if let Some((_, bar)) = bars.as_ref() {
                bar.show(done, unresolved);
            }
        }
        !interrupt::requested()
    })?;
    drop(bars);
    output.show(&report, "transitions", COLUMNS);
    if let Some(matrix) = report.table("matrix") {
        let columns: Vec<(&str, usize)> = matrix.columns.iter().map(|column| (column.name.as_str(), 3)).collect();
        output.below("");
        output.below(matrix.pretty(&columns).trim_end());
    }
    let mut name = match &spec.db {
        Some(path) => format!("widen{}", content_tag(path)),
        None => format!("widen-m{}", spec.teachers),
    };
    if let TeacherSpec::Gram(path) | TeacherSpec::Vectors(path) = &spec.teacher {
        // The spec names the file; its content belongs to the name of the results too.
        name.push_str(&content_tag(path));
    }
    let directory = output.directory(&name, &spec)?;
    report.write(&directory)?;
    output.note(&format!("Files: {}", directory.display()));
    Ok(())
}

/// The columns shown in a terminal.
const COLUMNS: &[(&str, usize)] = &[
    ("origin", 0),
    ("mode", 0),
    ("end_family", 0),
    ("end_isotropy", 0),
    ("end_k1", 9),
    ("end_loss", 8),
    ("end_verdict", 0),
    ("end_eigenvalue", 5),
    ("end_transverse", 5),
    ("runs", 9),
    ("share", 4),
    ("share_low", 4),
    ("share_high", 4),
];
