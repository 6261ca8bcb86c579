//! `committee phase`.

use std::path::{Path, PathBuf};

use super::output::{Output, caption};
use super::progress::Progress;
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::figure::{self, Curve, CurveStyle, MapCell, PhaseMap};
use crate::report::Report;
use crate::study::{self, Extra, Grid, PhaseSpec, Plane, Span};

const EXAMPLES: &str = "Examples:
  committee phase --plane rho-M --flipped 2 --teachers 6..30 --rho=-0.1,0.5,25 --db rho.db
  committee phase --teachers 6..12 --flipped 1..4 --runs 200 --db hits.db
  committee phase --plane k1-eta --teachers 12 --flipped 1..4 --batch 4
  committee phase --plane extra-M --flipped 4 --teachers 8..24 --extra 1,3,9

On the planes k1-M, extra-M and rho-M each family is followed from a place where it is easily found, in real M and then in
rho, and read at the cells; `-` where its branch is not there. Columns: verdict = local minimum, saddle or degenerate;
loss = population loss; min_eigenvalue = smallest Hessian eigenvalue inside span(W, V) with its symmetry sector (sets:
1 flipped, 2 aligned, 3 extra); min_transverse_eigenvalue = across it; residual = largest gradient entry. Extra units are
equal to each other and may have a real number n: the loss does not depend on it, and what is stable at one n > 1 is at
every one; at n = 1 the units cannot turn apart (theory 09).

On the plane k1-eta each minimum of the loss with K = M is followed in the learning rate of one-pass SGD (d = infinity)
through instabilities up to its fold; cells beyond it, and k1 without a minimum at 0, are `-`. Columns: verdict = stable or
unstable; loss there; eigenvalue = the leading one divided by the learning rate, per unit of eta steps / d; sector = its
symmetry; ratio = learning_rate / local threshold of the exact solution; residual = largest rate of change of an overlap.

With --runs, all cells with the same K, M and rho share the runs of `committee landscape` with the same numbers: hits,
share = runs that ended at the cell's point, with a 95 % Clopper-Pearson interval (share_low, share_high). They depend on
d and on the initial scale. The table shares has a row for each K, M and rho (global, cells, other_minima: runs that ended
at loss 0, at the point of a cell, at another local minimum), ends.csv a row for each point. More runs may be asked for
later with the same --db.

Files: cells.csv; minima.csv (ranges in which a family is a minimum, or stable, what happens at their ends, with errors);
boundaries.csv (the curves through these ends, at real sizes between the integers; bounds = no: another eigenvalue passed
zero before); shares.csv and ends.csv.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Two parameters: k1-M, extra-M, rho-M or k1-eta [default: k1-M]
    #[arg(long, value_name = "PLANE")]
    plane: Option<Plane>,
    /// Numbers of teachers M, first..last; one value on the plane k1-eta [default: 5..20]
    #[arg(long, short = 'm', value_name = "A..B")]
    teachers: Option<Span>,
    /// Numbers of flipped units k1, one value on the planes extra-M and rho-M [default: 1..6]
    #[arg(long, value_name = "A..B")]
    flipped: Option<Span>,
    /// Extra units K - M on the plane extra-M, equal to each other; LO,HI,N for real numbers of at least 1 [default: 0..2]
    #[arg(long, value_name = "A..B")]
    extra: Option<Extra>,
    /// Correlations of the teacher on the plane rho-M [default: -0.2,0.9,23]
    #[arg(long, value_name = "LO,HI,N")]
    rho: Option<Grid>,
    /// Learning rates on the plane k1-eta [default: 23 from 0 to 1.1 times the local threshold of the exact solution]
    #[arg(long, value_name = "LO,HI,N")]
    rates: Option<Grid>,
    /// Fresh inputs in a step, on the plane k1-eta [default: 1]
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// Standard deviation of the noise on the labels, on the plane k1-eta [default: 0]
    #[arg(long, value_name = "SIGMA", allow_negative_numbers = true)]
    label_noise: Option<f64>,
    /// Weight decay gamma, multiplied by the learning rate, on the plane k1-eta [default: 0]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Random starts of gradient flow for each K, M and rho; not on the plane k1-eta [default: 0]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Input dimension d of the random starts [default: K + M]
    #[arg(long, short = 'd', value_name = "D")]
    dimension: Option<usize>,
    /// Initial weights are N(0, s^2 I/d) [default: 1]
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    init_scale: Option<f64>,
    /// Master seed of the random starts [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Keep finished cells and runs in this database, and continue what is there
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(PhaseSpec::default())?;
    override_fields!(spec, arguments: plane, teachers, flipped, extra, rho, rates, batch, label_noise, weight_decay);
    override_fields!(spec, arguments: runs, dimension, init_scale, seed);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    let report = compute(&spec, arguments.db.as_deref(), output)?;
    let mut columns = vec![(if spec.plane == Plane::ExtraTeachers { "extra" } else { "k1" }, 4), ("rho", 4), ("M", 4)];
    columns.extend([("learning_rate", 6), ("verdict", 0), ("loss", 8), ("min_eigenvalue", 6), ("eigenvalue", 6)]);
    columns.extend([("sector", 0), ("min_transverse_eigenvalue", 6), ("ratio", 5), ("residual", 2)]);
    columns.extend([("hits", 0), ("share", 4), ("share_low", 3), ("share_high", 3)]);
    output.show(&report, "cells", &columns);
    if let Some(shares) = report.table("shares") {
        let columns = ["K", "M", "rho", "d", "init_scale", "runs", "global_share", "global_low", "global_high"];
        let others = ["cells_share", "other_share", "other_low", "other_high", "other_points", "unresolved"];
        let columns: Vec<(&str, usize)> = columns.iter().chain(&others).map(|&name| (name, 4)).collect();
        output.below("");
        output.below(shares.pretty(&columns).trim_end());
    }
    let directory = output.directory("phase", &spec)?;
    report.write(&directory)?;
    if let Some(map) = map(&spec, &report) {
        figure::phase_map(&directory, "phase", &map, &caption(title(&spec), &subtitle(&spec), &report))?;
    }
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}

/// The diagram with a progress bar that Ctrl-C stops.
pub fn compute(spec: &PhaseSpec, db: Option<&Path>, output: &Output) -> Result<Report> {
    let progress = std::cell::OnceCell::new();
    study::phase(spec, db, &|done, total| {
        progress.get_or_init(|| Progress::new(total as u64, output.quiet)).show(done, 0);
        !interrupt::requested()
    })
}

/// What happens where the mode of a sector grows.
pub fn mode_text(sector: &str) -> String {
    match sector {
        "standard 1" => "flipped units become unequal (standard 1)".into(),
        "standard 2" => "aligned units become unequal (standard 2)".into(),
        "fold, trivial" => "fold: it ceases to exist".into(),
        other => match other.strip_prefix("real eigenvalue, ") {
            Some(sector) => mode_text(sector),
            None => other.into(),
        },
    }
}

fn title(spec: &PhaseSpec) -> &'static str {
    match spec.plane {
        Plane::FlippedRate => "Up to which learning rate SGD stays at a minimum",
        _ => "Where a family is a minimum",
    }
}

pub fn subtitle(spec: &PhaseSpec) -> String {
    match spec.plane {
        Plane::CorrelationTeachers => {
            format!("k1 = {} flipped units, K = M, teacher T = (1 − ρ) I + ρ J, gradient flow", spec.flipped.0)
        }
        Plane::ExtraTeachers => {
            format!("k1 = {} flipped units, equal extra units, orthonormal teacher, gradient flow", spec.flipped.0)
        }
        Plane::FlippedRate => format!(
            "K = M = {}, orthonormal teacher, one-pass SGD at d = ∞, batch {}, label noise {}, weight decay {}",
            spec.teachers.0, spec.batch, spec.label_noise, spec.weight_decay
        ),
        Plane::FlippedTeachers => "K = M, orthonormal teacher, gradient flow".into(),
    }
}

/// Cells coloured by the smallest eigenvalue, minima marked, and the boundaries of the minima over them.
pub fn map(spec: &PhaseSpec, report: &Report) -> Option<PhaseMap> {
    let (cells, boundaries) = (report.table("cells")?, report.table("boundaries")?);
    // M along the abscissa where the other parameter is a number of units.
    let (x, y, x_name, y_name) = match spec.plane {
        Plane::CorrelationTeachers => ("rho", "M", "correlation ρ of the teachers", "teachers M"),
        Plane::ExtraTeachers => ("M", "extra", "teachers M", "extra units K − M"),
        Plane::FlippedRate => ("learning_rate", "k1", "learning rate η", "flipped units k1"),
        _ => ("M", "k1", "teachers M", "flipped units k1"),
    };
    let verdicts = cells.texts("verdict");
    let is_rate = spec.plane == Plane::FlippedRate;
    let mut values = cells.numbers(if is_rate { "eigenvalue" } else { "min_eigenvalue" });
    if is_rate {
        // Positive where stable, as on the other planes.
        values.iter_mut().flatten().for_each(|value| *value = -*value);
    }
    let marked = if is_rate { "stable" } else { "local minimum" };
    let places = cells.numbers(x).into_iter().zip(cells.numbers(y));
    let drawn = places
        .enumerate()
        .filter_map(|(i, (x, y))| Some(MapCell { x: x?, y: y?, value: values[i], is_marked: verdicts[i] == marked }));
    let bounds = boundaries.texts("bounds");
    let modes = boundaries.texts("mode");
    let mut names = modes.clone();
    names.dedup();
    let style = [CurveStyle::Line, CurveStyle::Dashed, CurveStyle::Squares];
    let is_line = spec.plane != Plane::ExtraTeachers;
    let mut curves: Vec<Curve> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let at = boundaries.numbers(x).into_iter().zip(boundaries.numbers(y)).enumerate();
            let points = at.filter(|(i, _)| modes[*i] == *name && bounds[*i] == "yes");
            Curve {
                name: format!("boundary at real values: {}", mode_text(name)),
                style: if is_line { style[n % 3] } else { CurveStyle::Squares },
                colour: 6,
                points: points.filter_map(|(_, (x, y))| Some([x?, y?, 0.0])).collect(),
            }
        })
        .collect();
    if is_rate {
        let threshold = report.results["local_threshold"].as_f64()?;
        let (low, high) = (spec.flipped.0 as f64 - 0.5, spec.flipped.1 as f64 + 0.5);
        curves.push(Curve {
            name: "the exact solution loses stability (no noise)".into(),
            style: CurveStyle::Line,
            colour: 7,
            points: vec![[threshold, low, 0.0], [threshold, high, 0.0]],
        });
    }
    let cell = match spec.plane {
        Plane::CorrelationTeachers => (spec.rho.step(), 1.0),
        Plane::FlippedRate => (spec.rates().step(), 1.0),
        Plane::ExtraTeachers => match spec.extra {
            Extra::Real(grid) => (1.0, grid.step()),
            Extra::Whole(_) => (1.0, 1.0),
        },
        Plane::FlippedTeachers => (1.0, 1.0),
    };
    Some(PhaseMap {
        x_name: x_name.into(),
        y_name: y_name.into(),
        value_name: if is_rate { "slowest rate of return / η" } else { "smallest eigenvalue of the Hessian" }.into(),
        marked: marked.into(),
        missing: match spec.plane {
            Plane::CorrelationTeachers => "no branch, or ρ ≤ −1/(M − 1)".into(),
            Plane::FlippedRate => "no fixed point, or no minimum at η = 0".into(),
            _ => "fewer than three aligned units, or no branch".into(),
        },
        cell,
        cells: drawn.collect(),
        curves: curves.into_iter().filter(|curve| !curve.points.is_empty()).collect(),
    })
}
