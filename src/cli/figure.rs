//! `committee figure`: from `spec.toml` to `data.csv`, `figure.svg`, `figure.png`, or a check of the data.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::gallery::{self, Member, Misses, Size};
use super::output::{Output, caption, read_spec};
use super::{interrupt, landscape, phase, plateau, steady, validate};
use crate::error::{Error, Result};
use crate::figure::{self, Caption, Curve, CurvePanel, CurveStyle, OverlapPanel};
use crate::model::Teacher;
use crate::report::{self, Report, Table, Value};
use crate::study::{
    self, Grid, LandscapeSpec, PhaseSpec, Plane, PlateauSpec, Span, SteadySpec, TemplatesSpec, ThresholdsSpec,
    ValidateSpec,
};

/// Numbers in `data.csv` are confirmed to this, absolute or relative.
const TOLERANCE: f64 = 1e-9;

const EXAMPLES: &str = "Examples:
  committee figure figures/01-plateaus
  committee figure --all --check --quick

A folder holds spec.toml; data.csv, figure.svg and figure.png are written beside it. --check recomputes the data
and compares them instead of writing; --quick recomputes a part (the first runs of a search, the first dimensions
of a comparison).";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Folder with a spec.toml
    #[arg(value_name = "DIR", required_unless_present = "all")]
    directory: Option<PathBuf>,
    /// Every folder in figures/
    #[arg(long, conflicts_with = "directory")]
    all: bool,
    /// Recompute and compare with data.csv, write nothing
    #[arg(long)]
    check: bool,
    /// With --check: recompute a part only
    #[arg(long, requires = "check")]
    quick: bool,
}

/// A figure's spec: its kind decides which study gives the data.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
enum FigureSpec {
    /// Histogram of final losses with family lines.
    Plateaus { title: String, quick_runs: u64, landscape: LandscapeSpec },
    /// Overlap matrices of the flipped families.
    Families { title: String, families: TemplatesSpec },
    /// Equations of SGD against simulated runs; --quick takes the first dimensions.
    Validate { title: String, shown: usize, quick_dimensions: usize, validate: Box<ValidateSpec> },
    /// Loss at constant learning rates; those of `quick_series` are checked with --quick.
    Steady { title: String, quick_series: usize, series: Vec<SteadySpec> },
    /// Rates of escape and lengths of plateaus; --quick checks the rates of the first K.
    Plateau { title: String, plateau: PlateauSpec },
    /// Smallest eigenvalues of families over a parameter.
    Stability { title: String, subtitle: String, x_name: String, members: Vec<Member> },
    /// Shares of runs beside published ones; --quick takes the first size.
    Shares { title: String, subtitle: String, sizes: Vec<Size> },
    /// Families over two parameters.
    Phase { title: String, phase: PhaseSpec },
    /// Correlations between which families are minima; a panel for each k1.
    Correlation { title: String, flipped: Vec<usize>, teachers: Span, panels: Vec<String> },
    /// Leaky ReLU over the slope: thresholds of families, and runs that miss the global minimum.
    Slopes { title: String, subtitle: String, thresholds: ThresholdsSpec, misses: Misses },
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    output.refuse_files_and_specs("draw figures")?;
    interrupt::install();
    let folders = match &arguments.directory {
        Some(directory) => vec![directory.clone()],
        None => all_folders(Path::new("figures"))?,
    };
    for folder in folders {
        let spec: FigureSpec = read_spec(&folder.join("spec.toml"))?;
        match spec {
            FigureSpec::Plateaus { title, quick_runs, landscape } => {
                plateaus(&folder, &title, quick_runs, landscape, arguments, output)?;
            }
            FigureSpec::Families { title, families } => templates(&folder, &title, &families, arguments)?,
            FigureSpec::Validate { title, shown, quick_dimensions, validate } => {
                let spec = *validate;
                comparison(&folder, &title, (shown, quick_dimensions), spec, arguments, output)?;
            }
            FigureSpec::Steady { title, quick_series, series } => {
                steady_losses(&folder, &title, quick_series, &series, arguments)?;
            }
            FigureSpec::Plateau { title, plateau } => escapes(&folder, &title, plateau, arguments)?,
            FigureSpec::Stability { title, subtitle, x_name, members } => {
                let (panels, report) = gallery::stability(&members, &x_name)?;
                curves(&folder, &panels, &caption(&title, &subtitle, &report), arguments)?;
            }
            FigureSpec::Shares { title, subtitle, sizes } => {
                let (panels, report) = gallery::shares(&sizes, arguments.quick, output)?;
                if let Some(report) = report {
                    curves(&folder, &panels, &caption(&title, &subtitle, &report), arguments)?;
                }
            }
            FigureSpec::Phase { title, phase } => diagram(&folder, &title, &phase, arguments, output)?,
            FigureSpec::Correlation { title, flipped, teachers, panels } => {
                let specs = flipped.iter().map(|&k1| PhaseSpec {
                    plane: Plane::CorrelationTeachers,
                    teachers,
                    flipped: Span(k1, k1),
                    rho: Grid { low: 0.0, high: 0.0, points: 1 },
                    ..PhaseSpec::default()
                });
                correlation(&folder, &title, (&specs.collect::<Vec<_>>(), &panels), arguments, output)?;
            }
            FigureSpec::Slopes { title, subtitle, thresholds, misses } => {
                let panels = gallery::slopes(&thresholds, &misses, arguments.quick, output)?;
                let report = Report::new("figure", &(thresholds, &misses), Some(misses.seed));
                curves(&folder, &panels, &caption(&title, &subtitle, &report), arguments)?;
            }
        }
        output.note(&format!("{} {}", folder.display(), if arguments.check { "confirmed" } else { "written" }));
    }
    Ok(())
}

fn all_folders(root: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root).map_err(Error::file("list", root))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok())
        .map(|entry| entry.path())
        .filter(|p| p.join("spec.toml").exists())
        .collect();
    folders.sort();
    Ok(folders)
}

fn write_csv(path: &Path, table: &Table) -> Result<()> {
    report::replace(path, |out| table.write_csv(out))
}

fn plateaus(
    folder: &Path,
    title: &str,
    quick_runs: u64,
    mut spec: LandscapeSpec,
    arguments: &Arguments,
    output: &Output,
) -> Result<()> {
    if arguments.quick {
        spec.runs = quick_runs.min(spec.runs);
    }
    let report = landscape::search(&spec, None, output)?;
    let (Some(runs), Some(minima)) = (report.table("runs"), report.table("minima")) else { return Ok(()) };
    let families = minima.texts("family");
    let mut data = Table::new(
        "data",
        &[
            ("run", "", "number of the run"),
            ("loss", "", "population loss at the point it ended in"),
            ("family", "", "family of that point"),
        ],
    );
    let (points, losses) = (runs.numbers("point"), minima.numbers("loss"));
    for (run, point) in points.iter().enumerate() {
        let index = point.map(|number| number as usize - 1);
        let missing = || Value::Missing("unresolved".into());
        data.push(vec![
            run.into(),
            index.and_then(|i| losses[i]).map_or_else(missing, Value::real),
            index.map_or_else(missing, |i| families[i].clone().into()),
        ]);
    }
    if arguments.check {
        return figure::compare(&folder.join("data.csv"), &data, TOLERANCE, arguments.quick);
    }
    write_csv(&folder.join("data.csv"), &data)?;
    let subtitle = format!(
        "K = {}, M = {}, d = {}, w ~ N(0, s²I/d) with s = {}, {} runs of gradient flow, seed {}",
        spec.students,
        spec.teachers,
        spec.dimension.unwrap_or(spec.students + spec.teachers),
        spec.init_scale,
        spec.runs,
        spec.seed
    );
    figure::losses(folder, "figure", runs, minima, &caption(title, &subtitle, &report))?;
    Ok(())
}

fn comparison(
    folder: &Path,
    title: &str,
    (shown, quick_dimensions): (usize, usize),
    mut spec: ValidateSpec,
    arguments: &Arguments,
    output: &Output,
) -> Result<()> {
    if arguments.quick {
        // The start belongs to all dimensions.
        spec.init_dimension = Some(spec.start_dimension());
        spec.dimensions.truncate(quick_dimensions.max(1));
    }
    let report = validate::compare(&spec, output)?;
    let data = study::validation_curves(&report, shown);
    if arguments.check {
        return figure::compare(&folder.join("data.csv"), &data, TOLERANCE, arguments.quick);
    }
    write_csv(&folder.join("data.csv"), &data)?;
    let caption = caption(title, &validate::subtitle(&spec), &report);
    figure::validation(folder, "figure", &data, validate::exponent(&report), &caption)?;
    Ok(())
}

/// Panels of curves with their points as data.
fn curves(folder: &Path, panels: &[CurvePanel], caption: &Caption, arguments: &Arguments) -> Result<()> {
    let data = figure::curve_points(panels);
    if arguments.check {
        return figure::compare(&folder.join("data.csv"), &data, TOLERANCE, arguments.quick);
    }
    write_csv(&folder.join("data.csv"), &data)?;
    figure::curves(folder, "figure", panels, caption)?;
    Ok(())
}

fn templates(folder: &Path, title: &str, spec: &TemplatesSpec, arguments: &Arguments) -> Result<()> {
    let points = study::templates(spec)?;
    let teacher = Teacher::orthonormal(spec.units)?;
    let mut data = Table::new(
        "data",
        &[
            ("family", "", "number of flipped units k1"),
            ("loss", "", "population loss"),
            ("matrix", "", "r: student-teacher overlap; q: student-student overlap"),
            ("row", "", "student"),
            ("column", "", "teacher or student"),
            ("value", "", "overlap"),
        ],
    );
    let mut panels = Vec::new();
    for (point, k1) in points.iter().zip(&spec.flipped) {
        let matrices = study::overlap_matrices(point, &teacher);
        for (name, matrix) in [("r", &matrices.r), ("q", &matrices.q)] {
            for ((i, j), &value) in matrix.indexed_iter() {
                data.push(vec![
                    (*k1).into(),
                    point.loss.into(),
                    name.into(),
                    (i + 1).into(),
                    (j + 1).into(),
                    value.into(),
                ]);
            }
        }
        panels.push(OverlapPanel {
            name: format!("k1 = {k1}"),
            loss: point.loss,
            q: matrices.q.clone(),
            r: matrices.r.clone(),
        });
    }
    if arguments.check {
        return figure::compare(&folder.join("data.csv"), &data, TOLERANCE, false);
    }
    write_csv(&folder.join("data.csv"), &data)?;
    let report = Report::new("figure", spec, None);
    let subtitle = format!("K = M = {}, orthonormal teacher, solved from the block ansatz", spec.units);
    figure::overlaps(folder, "figure", &panels, &caption(title, &subtitle, &report))?;
    Ok(())
}

fn steady_losses(folder: &Path, title: &str, quick: usize, series: &[SteadySpec], arguments: &Arguments) -> Result<()> {
    let taken = if arguments.quick { &series[..quick.min(series.len())] } else { series };
    let mut reports = Vec::new();
    for spec in taken {
        reports.push((spec.clone(), study::steady(spec)?));
    }
    let mut data = Table::new("data", &[("series", "", "number of the series"), ("batch", "", "batch size B")]);
    for (n, (spec, report)) in reports.iter().enumerate() {
        let Some(table) = report.table("steady") else { continue };
        if n == 0 {
            data.columns.extend(table.columns.iter().cloned());
        }
        for row in &table.rows {
            data.push([vec![(n + 1).into(), spec.batch.into()], row.clone()].concat());
        }
    }
    if arguments.check {
        return figure::compare(&folder.join("data.csv"), &data, TOLERANCE, arguments.quick);
    }
    write_csv(&folder.join("data.csv"), &data)?;
    let report = Report::new("figure", &series.to_vec(), series.first().map(|spec| spec.seed));
    let runs = series.iter().map(|spec| spec.runs).max().unwrap_or(0);
    let noise = series.first().map_or(0.0, |spec| spec.label_noise);
    let d = series.iter().filter(|spec| spec.runs > 0).map(|spec| spec.dimension).max().unwrap_or(0);
    let subtitle = format!(
        "Label noise σ = {noise}, orthonormal teacher. Dots: means of {runs} runs at d = {d}, standard errors below their size where no bar is seen. Vertical lines: η/B above which large students diverge (far, 2/K) and at which the exact solution loses stability without label noise (local)."
    );
    figure::curves(folder, "figure", &steady::panels(&reports), &caption(title, &subtitle, &report))?;
    Ok(())
}

fn escapes(folder: &Path, title: &str, mut spec: PlateauSpec, arguments: &Arguments) -> Result<()> {
    if arguments.quick {
        spec.dimensions.clear();
        spec.students.truncate(1);
    }
    let report = study::plateau(&spec)?;
    let mut panels = plateau::panels(&report);
    let data = figure::curve_points(&panels);
    if arguments.check {
        return figure::compare(&folder.join("data.csv"), &data, TOLERANCE, arguments.quick);
    }
    write_csv(&folder.join("data.csv"), &data)?;
    panels.reverse();
    figure::curves(folder, "figure", &panels, &caption(title, &plateau::subtitle(&spec), &report))?;
    Ok(())
}

fn diagram(folder: &Path, title: &str, spec: &PhaseSpec, arguments: &Arguments, output: &Output) -> Result<()> {
    let report = phase::compute(spec, None, output)?;
    let (Some(cells), Some(boundaries)) = (report.table("cells"), report.table("boundaries")) else { return Ok(()) };
    let mut data = Table::new(
        "data",
        &[
            ("part", "", "cell of the grid, or point of a boundary"),
            (&cells.columns[0].name, "", "first parameter"),
            (&cells.columns[1].name, "", "second parameter"),
            (&cells.columns[4].name, "", "eigenvalue of a cell; 0 on a boundary"),
            ("error", "", "of a boundary, in M; in rho or eta on the planes rho-M, k1-eta"),
            ("kind", "", "verdict of a cell; sector of the mode that vanishes on a boundary"),
        ],
    );
    let none = || Value::Missing("a cell".into());
    for row in &cells.rows {
        data.push(vec!["cell".into(), row[0].clone(), row[1].clone(), row[4].clone(), none(), row[2].clone()]);
    }
    for row in boundaries.rows.iter().filter(|row| row[5] == Value::from("yes")) {
        data.push(vec!["boundary".into(), row[1].clone(), row[2].clone(), 0.0.into(), row[3].clone(), row[4].clone()]);
    }
    if arguments.check {
        return figure::compare(&folder.join("data.csv"), &data, TOLERANCE, false);
    }
    write_csv(&folder.join("data.csv"), &data)?;
    if let Some(map) = phase::map(spec, &report) {
        figure::phase_map(folder, "figure", &map, &caption(title, &phase::subtitle(spec), &report))?;
    }
    Ok(())
}

/// Ranges at integer M for every k1, then the curves between them.
fn correlation(
    folder: &Path,
    title: &str,
    (specs, titles): (&[PhaseSpec], &[String]),
    arguments: &Arguments,
    output: &Output,
) -> Result<()> {
    let mut data = Table::new(
        "data",
        &[
            ("k1", "", "flipped units"),
            ("M", "", "teachers; K = M"),
            ("low", "", "correlation from which on the family is a minimum; missing on curves"),
            ("low_event", "", "what happens there"),
            ("high", "", "correlation up to which it is a minimum"),
            ("high_error", "", "its error"),
            ("high_event", "", "what happens there"),
        ],
    );
    let mut panels = Vec::new();
    let mut between = Vec::new();
    for (n, spec) in specs.iter().enumerate() {
        let report = phase::compute(spec, None, output)?;
        let (Some(ranges), Some(curves)) = (report.table("minima"), report.table("boundaries")) else { continue };
        let k1 = spec.flipped.0;
        for row in &ranges.rows {
            let part = [0, 1, 3, 4, 5, 6].map(|i| row[i].clone());
            data.push(std::iter::once(k1.into()).chain(part).collect());
        }
        let bounds = curves.texts("bounds");
        for (row, _) in curves.rows.iter().zip(&bounds).filter(|(_, bounds)| *bounds == "yes") {
            let missing = || Value::Missing("a point of a curve".into());
            let event = format!("curve, {}", row[4].exact());
            between.push(vec![
                k1.into(),
                row[2].clone(),
                missing(),
                missing(),
                row[1].clone(),
                row[3].clone(),
                event.into(),
            ]);
        }
        panels.push(panel(spec, titles.get(n).cloned().unwrap_or_else(|| format!("k1 = {k1}")), (ranges, curves)));
    }
    between.into_iter().for_each(|row| data.push(row));
    if arguments.check {
        return figure::compare(&folder.join("data.csv"), &data, TOLERANCE, false);
    }
    write_csv(&folder.join("data.csv"), &data)?;
    let report = Report::new("figure", &specs.to_vec(), None);
    let subtitle = "K = M, teacher T = (1 − ρ) I + ρ J, gradient flow. No error bar is as large as a line is wide. Lines between integers: the same equations at real M.";
    figure::curves(folder, "figure", &panels, &caption(title, subtitle, &report))?;
    Ok(())
}

fn panel(spec: &PhaseSpec, title: String, (ranges, curves): (&Table, &Table)) -> CurvePanel {
    let column = |table: &Table, name: &str| -> Vec<f64> {
        table.numbers(name).into_iter().map(|x| x.unwrap_or(f64::NAN)).collect()
    };
    let (m, low, high) = (column(ranges, "line"), column(ranges, "low"), column(ranges, "high"));
    let curve = |name: &str, style, colour, points| Curve { name: name.into(), style, colour, points };
    let bars = (0..m.len()).map(|i| [m[i], 0.5 * (low[i] + high[i]), 0.5 * (high[i] - low[i])]).collect();
    let mut drawn = vec![curve("integer M: local minimum", CurveStyle::Bars, 4, bars)];
    let (rho, at, modes) = (column(curves, "rho"), column(curves, "M"), curves.texts("mode"));
    for (mode, colour) in [("standard 1", 1), ("standard 2", 0)] {
        let bounds = |i: usize| modes[i] == mode && curves.rows[i][5] == Value::from("yes");
        let on: Vec<[f64; 3]> = (0..rho.len()).filter(|&i| bounds(i)).map(|i| [at[i], rho[i], 0.0]).collect();
        if !on.is_empty() {
            let whole = on.iter().filter(|p| p[0].fract() == 0.0).copied().collect();
            drawn.push(curve(&phase::mode_text(mode), CurveStyle::Line, colour, on));
            drawn.push(curve("the same at integer M", CurveStyle::Discs, colour, whole));
        }
    }
    let (first, last) = (spec.teachers.0 as f64, spec.teachers.1 as f64);
    let edge = (0..=100).map(|i| first + (last - first) * f64::from(i) / 100.0).map(|m| [m, -1.0 / (m - 1.0), 0.0]);
    drawn.push(curve("ρ = −1/(M − 1): T singular", CurveStyle::Dashed, 7, edge.collect()));
    CurvePanel {
        title,
        x_name: "teachers M".into(),
        y_name: "correlation ρ".into(),
        log_x: false,
        log_y: false,
        marks: Vec::new(),
        curves: drawn,
    }
}
