//! `committee phase`.

use std::path::{Path, PathBuf};

use super::output::{Output, caption};
use super::progress::Progress;
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::figure::{self, Curve, CurveStyle, MapCell, PhaseMap};
use crate::report::Report;
use crate::study::{self, Grid, PhaseSpec, Plane, Span};

const EXAMPLES: &str = "Examples:
  committee phase
  committee phase --plane rho-M --flipped 2 --teachers 6..30 --rho=-0.1,0.5,25 --db rho.db
  committee phase --plane extra-M --flipped 4 --teachers 8..24

Each family is followed from a place where it is easily found, in real M and then in rho, and read at the cells; `-`
where its branch is not there. Columns: verdict = local minimum, saddle or degenerate; loss = population loss;
min_eigenvalue = smallest Hessian eigenvalue inside span(W, V) with its symmetry sector (sets: 1 flipped, 2 aligned,
3 extra), min_transverse_eigenvalue = across it; residual = largest gradient entry. Files: cells.csv, minima.csv (ranges
in which a family is a minimum, what happens at their ends, with errors), boundaries.csv (the curves through these
ends, at real sizes between the integers).";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Two parameters: k1-M, extra-M or rho-M [default: k1-M]
    #[arg(long, value_name = "PLANE")]
    plane: Option<Plane>,
    /// Numbers of teachers M, first..last [default: 5..20]
    #[arg(long, short = 'm', value_name = "A..B")]
    teachers: Option<Span>,
    /// Numbers of flipped units k1, one value on the planes extra-M and rho-M [default: 1..6]
    #[arg(long, value_name = "A..B")]
    flipped: Option<Span>,
    /// Extra units K - M on the plane extra-M, equal to each other [default: 0..2]
    #[arg(long, value_name = "A..B")]
    extra: Option<Span>,
    /// Correlations of the teacher on the plane rho-M [default: -0.2,0.9,23]
    #[arg(long, value_name = "LO,HI,N")]
    rho: Option<Grid>,
    /// Keep finished cells in this database, and continue what is there
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(PhaseSpec::default())?;
    override_fields!(spec, arguments: plane, teachers, flipped, extra, rho);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    let report = compute(&spec, arguments.db.as_deref(), output)?;
    let columns = [
        (if spec.plane == Plane::ExtraTeachers { "extra" } else { "k1" }, 4),
        ("rho", 4),
        ("M", 4),
        ("verdict", 0),
        ("loss", 8),
        ("min_eigenvalue", 6),
        ("sector", 0),
        ("min_transverse_eigenvalue", 6),
        ("residual", 2),
    ];
    output.show(&report, "cells", &columns);
    let directory = output.directory("phase", &spec)?;
    report.write(&directory)?;
    if let Some(map) = map(&spec, &report) {
        figure::phase_map(
            &directory,
            "phase",
            &map,
            &caption("Where a family is a minimum", &subtitle(&spec), &report),
        )?;
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
        other => other.into(),
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
        _ => "K = M, orthonormal teacher, gradient flow".into(),
    }
}

/// Cells coloured by the smallest eigenvalue, minima marked, and the boundaries of the minima over them.
pub fn map(spec: &PhaseSpec, report: &Report) -> Option<PhaseMap> {
    let (cells, boundaries) = (report.table("cells")?, report.table("boundaries")?);
    // M along the abscissa where the other parameter is a number of units.
    let (x, y, x_name, y_name) = match spec.plane {
        Plane::CorrelationTeachers => ("rho", "M", "correlation ρ of the teachers", "teachers M"),
        Plane::ExtraTeachers => ("M", "extra", "teachers M", "extra units K − M"),
        _ => ("M", "k1", "teachers M", "flipped units k1"),
    };
    let verdicts = cells.texts("verdict");
    let values = cells.numbers("min_eigenvalue");
    let places = cells.numbers(x).into_iter().zip(cells.numbers(y));
    let drawn = places.enumerate().filter_map(|(i, (x, y))| {
        Some(MapCell { x: x?, y: y?, value: values[i], is_marked: verdicts[i] == "local minimum" })
    });
    let bounds = boundaries.texts("bounds");
    let modes = boundaries.texts("mode");
    let mut names = modes.clone();
    names.dedup();
    let style = [CurveStyle::Line, CurveStyle::Dashed];
    let is_line = spec.plane != Plane::ExtraTeachers;
    let curves = names.iter().enumerate().map(|(n, name)| {
        let at = boundaries.numbers(x).into_iter().zip(boundaries.numbers(y)).enumerate();
        let points = at.filter(|(i, _)| modes[*i] == *name && bounds[*i] == "yes");
        Curve {
            name: format!("boundary at real values: {}", mode_text(name)),
            style: if is_line { style[n % 2] } else { CurveStyle::Squares },
            colour: 6,
            points: points.filter_map(|(_, (x, y))| Some([x?, y?, 0.0])).collect(),
        }
    });
    let step = match spec.plane {
        Plane::CorrelationTeachers => (spec.rho.high - spec.rho.low) / (spec.rho.points.max(2) - 1) as f64,
        _ => 1.0,
    };
    Some(PhaseMap {
        x_name: x_name.into(),
        y_name: y_name.into(),
        value_name: "smallest eigenvalue of the Hessian".into(),
        marked: "local minimum".into(),
        missing: match spec.plane {
            Plane::CorrelationTeachers => "no branch, or ρ ≤ −1/(M − 1)".into(),
            _ => "fewer than three aligned units, or no branch".into(),
        },
        cell: (if step > 0.0 { step } else { 1.0 }, 1.0),
        cells: drawn.collect(),
        curves: curves.filter(|curve| !curve.points.is_empty()).collect(),
    })
}
