//! `committee landscape`.

use std::path::{Path, PathBuf};

use super::output::{Output, caption, content_tag};
use super::progress::Progress;
use super::rule::{DescentArguments, TrainingArguments};
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::figure::{self, OverlapPanel};
use crate::model::{Activation, TeacherSpec};
use crate::report::Report;
use crate::study::{self, LandscapeSpec};

const EXAMPLES: &str = "Examples:
  committee landscape --students 17 --teachers 17 --dimension 17 --runs 10000 --db k17.db
  committee landscape --students 6 --teachers 5 --teacher correlated:0.3 --json > minima.json
  committee landscape --students 17 --teachers 17 --rule sphere        rows held at norm 1

Columns: loss = population loss L; verdict = global minimum, local minimum, saddle or degenerate;
family = k1 anti-aligned units, or a type-A block of m units, with extra, split and dead units; isotropy =
relabellings that leave the point unchanged (for K > M all exact zeros form one connected set: one row, described
at its lowest run); hits, share = runs that ended there, with a 95 %
Clopper-Pearson interval; min_eigenvalue = smallest Hessian eigenvalue inside span(W, V), and
min_transverse_eigenvalue across it; residual = largest gradient entry. Shares depend on d and on the
initial scale.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of students K [default: 8]
    #[arg(long, short = 'k', value_name = "K")]
    students: Option<usize>,
    /// Number of teachers M [default: 8]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<usize>,
    /// Random starts [default: 1000]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Initial weights are N(0, s^2 I/d) [default: 1]
    #[arg(long, value_name = "S")]
    init_scale: Option<f64>,
    /// Input dimension d [default: K + M]
    #[arg(long, short = 'd', value_name = "D")]
    dimension: Option<usize>,
    /// orthonormal, correlated:RHO, graded:LAST, vectors:FILE, or a file with the Gram matrix T [default: orthonormal]
    #[arg(long, value_name = "TEACHER")]
    teacher: Option<TeacherSpec>,
    /// Activation: relu, leaky-relu:SLOPE, linear or erf [default: relu]
    #[arg(long, value_name = "ACTIVATION")]
    activation: Option<Activation>,
    /// Master seed [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Keep runs and points in this database, and continue what is there
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    #[command(flatten)]
    rule: TrainingArguments,
    #[command(flatten)]
    descent: DescentArguments,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(LandscapeSpec::default())?;
    override_fields!(spec, arguments: students, teachers, runs, init_scale, dimension, teacher, activation, seed);
    arguments.rule.apply(&mut spec.rule)?;
    arguments.descent.apply(&mut spec.rule)?;
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    let report = search(&spec, arguments.db.as_deref(), output)?;
    output.show(&report, "minima", COLUMNS);
    let mut name = format!("landscape-k{}-m{}", spec.students, spec.teachers);
    if let TeacherSpec::Gram(path) | TeacherSpec::Vectors(path) = &spec.teacher {
        // The spec names the file; its content belongs to the name of the results too.
        name.push_str(&content_tag(path));
    }
    let directory = output.directory(&name, &spec)?;
    write(&report, &directory)?;
    output.note(&format!("Files and figures: {}", directory.display()));
    Ok(())
}

/// The columns shown in a terminal.
pub const COLUMNS: &[(&str, usize)] = &[
    ("point", 9),
    ("loss", 10),
    ("verdict", 0),
    ("family", 0),
    ("isotropy", 0),
    ("hits", 9),
    ("share", 4),
    ("share_low", 4),
    ("share_high", 4),
    ("min_eigenvalue", 7),
    ("min_transverse_eigenvalue", 7),
    ("residual", 2),
];

/// The search with a progress bar that Ctrl-C stops.
pub fn search(spec: &LandscapeSpec, db: Option<&Path>, output: &Output) -> Result<Report> {
    let progress = Progress::new(spec.runs, output.quiet);
    study::landscape(spec, db, &|done, _, unresolved| {
        progress.show(done, unresolved);
        !interrupt::requested()
    })
}

/// Files and pictures of a landscape report.
pub fn write(report: &Report, directory: &Path) -> Result<()> {
    report.write(directory)?;
    let (Some(runs), Some(minima), Some(spectrum)) =
        (report.table("runs"), report.table("minima"), report.table("spectrum"))
    else {
        return Ok(());
    };
    let number = |name: &str| report.results.get(name).map(ToString::to_string).unwrap_or_default();
    let rule = report.results.get("rule").and_then(|rule| rule.as_str()).unwrap_or("gradient flow");
    let subtitle = format!(
        "K = {}, M = {}, d = {}, w ~ N(0, s²I/d) with s = {}, {} runs of {rule}, seed {}",
        number("students"),
        number("teachers"),
        number("dimension"),
        number("init_scale"),
        number("runs"),
        number("seed"),
    );
    if minima.rows.is_empty() {
        return Ok(());
    }
    figure::losses(
        directory,
        "losses",
        runs,
        minima,
        &caption(
            if rule == "gradient flow" { "Where gradient flow ends" } else { "Where training ends" },
            &subtitle,
            report,
        ),
    )?;
    let panels = panels(report);
    let most = panels.len().min(12);
    let (q, r) = panels.first().map_or((0, 0), |panel| (panel.q.nrows(), panel.r.ncols()));
    if most > 0 && q <= 256 && r <= 256 {
        let title = if most < panels.len() {
            format!("Overlaps at the {most} lowest of {} critical points", panels.len())
        } else {
            "Overlaps at the critical points".to_string()
        };
        figure::overlaps(directory, "overlaps", &panels[..most], &caption(&title, &subtitle, report))?;
    }
    figure::spectrum(
        directory,
        "spectrum",
        spectrum,
        &caption("Hessian spectra of the critical points", &subtitle, report),
    )?;
    Ok(())
}

/// One panel per minimum, from the report's arrays.
fn panels(report: &Report) -> Vec<OverlapPanel> {
    let Some(minima) = report.table("minima") else { return Vec::new() };
    let three =
        |name: &str| report.arrays.get(name).and_then(|array| array.clone().into_dimensionality::<ndarray::Ix3>().ok());
    let (Some(q), Some(r)) = (three("q"), three("r")) else { return Vec::new() };
    let (names, losses) = (minima.texts("family"), minima.numbers("loss"));
    names
        .into_iter()
        .zip(losses)
        .enumerate()
        .map(|(i, (name, loss))| OverlapPanel {
            name,
            loss: loss.unwrap_or(f64::NAN),
            q: q.index_axis(ndarray::Axis(0), i).to_owned(),
            r: r.index_axis(ndarray::Axis(0), i).to_owned(),
        })
        .collect()
}
