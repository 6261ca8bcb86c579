//! `committee plateau`.

use super::output::{Output, caption};
use super::override_fields;
use crate::error::Result;
use crate::figure::{self, Curve, CurvePanel, CurveStyle};
use crate::model::{Activation, TeacherSpec};
use crate::report::{Report, Table};
use crate::study::{self, PlateauSpec};

const EXAMPLES: &str = "Examples:
  committee plateau
  committee plateau --activation erf --learning-rate 1
  committee plateau --students 2,3,4 --dimensions 1e2,1e4,1e6,1e8 --learning-rate 0.1 --chain-runs 8 --chain-to 1000

First table, for each learning rate: students, teachers = K, M; learning_rate = eta, 0 for gradient flow; loss, q, c, r
= population loss, squared norm of a student, overlap of two students, overlap of a student with a teacher (mean over
teachers) on the plateau; rate = rate of escape per unit of t = steps / d; scaled_rate = rate / eta; real = whether the
leading eigenvalue is real; weight_q, weight_r = shares of the direction of escape in student-student and student-teacher
overlaps. Second table, for each dimension d of the random start: init_scale = s; dimension = d; length = time at which
the loss falls below half (--level) of the plateau's loss, by the equations, mean over starts, error = its standard error;
escaped = starts that left; chain_length, chain_error, chain_escaped = the same in runs simulated at d. Third table:
predicted = 1 / (2 rate); slope = slope of length against ln d from d = 1e4 on; ratio = slope / predicted; chain_slope,
chain_ratio = the same for the simulated runs, from all their d; chain_ratio_error = standard error. The noise of SGD
breaks the symmetry too: with small s, simulated runs leave earlier than the equations say, with the same slope.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Numbers of students K, separated by commas [default: 2]
    #[arg(long, short = 'k', value_name = "LIST", value_delimiter = ',')]
    students: Option<Vec<usize>>,
    /// Number of teachers M [default: K]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<usize>,
    /// orthonormal, correlated:RHO, graded:LAST, vectors:FILE, or a file with T [default: orthonormal]
    #[arg(long, value_name = "TEACHER")]
    teacher: Option<TeacherSpec>,
    /// relu, leaky-relu:SLOPE or erf [default: relu]
    #[arg(long, value_name = "ACTIVATION")]
    activation: Option<Activation>,
    /// Fresh inputs in a step [default: 1]
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// Standard deviation of the noise on the labels [default: 0]
    #[arg(long, value_name = "SIGMA")]
    label_noise: Option<f64>,
    /// Learning rates of the first table, 0 for gradient flow [default: 0 and N values below 2 B / K (ReLU) or
    /// below the thresholds of leaky ReLU or erf with K = M]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    learning_rates: Option<Vec<f64>>,
    /// Number of learning rates where no list is given [default: 20]
    #[arg(long, value_name = "N")]
    points: Option<usize>,
    /// Learning rate at which lengths are measured, 0 for gradient flow [default: 0.2]
    #[arg(long, value_name = "ETA")]
    learning_rate: Option<f64>,
    /// Input dimensions d of the random starts [default: 1e2,1e4,1e6,1e8,1e10,1e12]
    #[arg(long, short = 'd', value_name = "LIST", value_delimiter = ',')]
    dimensions: Option<Vec<f64>>,
    /// Initial weights are N(0, s^2 I/d), for these s [default: 0.1,0.01]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    init_scales: Option<Vec<f64>>,
    /// Random starts for each d and s [default: 16]
    #[arg(long, value_name = "N")]
    starts: Option<usize>,
    /// The plateau ends below this share of its loss [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    level: Option<f64>,
    /// Simulated runs for each d up to D and each s [default: 0]
    #[arg(long, value_name = "N")]
    chain_runs: Option<usize>,
    /// Largest d that is simulated [default: 1e4]
    #[arg(long, value_name = "D")]
    chain_to: Option<f64>,
    /// Master seed [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(PlateauSpec::default())?;
    if let Some(teachers) = arguments.teachers {
        spec.teachers = Some(teachers);
    }
    override_fields!(
        spec, arguments: students, teacher, activation, batch, label_noise, learning_rates, points, learning_rate,
        dimensions, init_scales, starts, level, chain_runs, chain_to, seed
    );
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    let report = study::plateau(&spec)?;
    let first = [
        ("students", 3),
        ("teachers", 3),
        ("learning_rate", 4),
        ("loss", 7),
        ("q", 5),
        ("c", 5),
        ("r", 5),
        ("rate", 5),
        ("scaled_rate", 5),
        ("real", 3),
        ("weight_q", 3),
        ("weight_r", 3),
    ];
    output.show(&report, "plateaus", &first);
    if !output.json && !spec.dimensions.is_empty() {
        let mut lengths = vec![("students", 3), ("init_scale", 3), ("dimension", 3), ("length", 5), ("error", 2)];
        lengths.push(("escaped", 3));
        let mut slopes = vec![("students", 3), ("init_scale", 3), ("rate", 5), ("predicted", 5), ("slope", 5)];
        slopes.push(("ratio", 4));
        if spec.chain_runs > 0 {
            lengths.extend([("chain_length", 5), ("chain_error", 2), ("chain_escaped", 3)]);
            slopes.extend([("chain_slope", 5), ("chain_ratio", 4), ("chain_ratio_error", 2)]);
        }
        for (name, columns) in [("lengths", lengths), ("slopes", slopes)] {
            if let Some(table) = report.table(name) {
                super::output::print("\n");
                super::output::print(&table.pretty(&columns));
            }
        }
    }
    let directory = output.directory(&format!("plateau-k{}", spec.students[0]), &spec)?;
    report.write(&directory)?;
    let subtitle = subtitle(&spec);
    let mut panels = panels(&report);
    panels.reverse();
    figure::curves(&directory, "plateau", &panels, &caption("The plateau and its escape", &subtitle, &report))?;
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}

/// What the lengths were measured with.
pub fn subtitle(spec: &PlateauSpec) -> String {
    let learning = if spec.learning_rate > 0.0 {
        format!("SGD at η = {}, B = {}", spec.learning_rate, spec.batch)
    } else {
        "gradient flow".into()
    };
    format!("{learning}, {} random starts for each d, the same draws at every d; bars are standard errors", spec.starts)
}

/// Rates of escape against the learning rate, lengths against d with the predicted slopes, loss against time: in the
/// order of their cost, the reverse of the order in which they are drawn.
pub fn panels(report: &Report) -> Vec<CurvePanel> {
    let empty = Table::new("none", &[]);
    let table = |name: &str| report.table(name).unwrap_or(&empty);
    let mut panels = vec![rates(table("plateaus"))];
    if !table("lengths").rows.is_empty() {
        panels.push(lengths(table("lengths"), table("slopes")));
        panels.push(traces(table("traces")));
    }
    panels
}

fn panel(title: &str, x_name: &str, y_name: &str, log_x: bool, log_y: bool) -> CurvePanel {
    let [title, x_name, y_name] = [title, x_name, y_name].map(String::from);
    CurvePanel { title, x_name, y_name, log_x, log_y, marks: Vec::new(), curves: Vec::new() }
}

/// The values of a column in the order in which they first appear.
fn distinct(values: Vec<Option<f64>>) -> Vec<f64> {
    let mut seen: Vec<f64> = Vec::new();
    for value in values.into_iter().flatten() {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

fn rates(table: &Table) -> CurvePanel {
    let mut panel = panel("", "learning rate η", "escape rate / η", false, false);
    let [students, eta, rate] = ["students", "learning_rate", "scaled_rate"].map(|c| table.numbers(c));
    for (n, k) in distinct(students.clone()).into_iter().enumerate() {
        let points = (0..eta.len()).filter(|&i| students[i] == Some(k));
        let points = points.filter_map(|i| Some([eta[i]?, rate[i]?, 0.0])).collect();
        panel.curves.push(Curve { name: format!("K = M = {k}"), style: CurveStyle::Line, colour: n, points });
    }
    panel.title = "The rate of escape falls with the learning rate".into();
    panel
}

fn lengths(table: &Table, slopes: &Table) -> CurvePanel {
    let mut panel = panel("", "input dimension d", "plateau length (steps/d)", true, false);
    let [students, scale, d, length, error, chain, chain_error] =
        ["students", "init_scale", "dimension", "length", "error", "chain_length", "chain_error"]
            .map(|c| table.numbers(c));
    let first = scale.first().copied().flatten();
    for (n, k) in distinct(students.clone()).into_iter().enumerate() {
        let rows: Vec<usize> = (0..d.len()).filter(|&i| students[i] == Some(k) && scale[i] == first).collect();
        let points = |y: &[Option<f64>], e: &[Option<f64>]| {
            rows.iter().filter_map(|&i| Some([d[i]?, y[i]?, e[i].unwrap_or(0.0)])).collect::<Vec<_>>()
        };
        let (ends, simulated) = (points(&length, &error), points(&chain, &chain_error));
        let place = (0..slopes.rows.len())
            .find(|&i| slopes.numbers("students")[i] == Some(k) && slopes.numbers("init_scale")[i] == first);
        if let (Some(slope), Some(last)) = (place.and_then(|i| slopes.numbers("predicted")[i]), ends.last()) {
            let line = ends.iter().map(|p| [p[0], last[1] + slope * (p[0] / last[0]).ln(), 0.0]).collect();
            let name = format!("K = {k}, predicted");
            panel.curves.push(Curve { name, style: CurveStyle::Line, colour: n, points: line });
        }
        panel.curves.push(Curve {
            name: format!("K = {k}, equations"),
            style: CurveStyle::Discs,
            colour: n,
            points: ends,
        });
        if !simulated.is_empty() {
            let name = format!("K = {k}, simulated at d");
            panel.curves.push(Curve { name, style: CurveStyle::Squares, colour: n, points: simulated });
        }
    }
    panel.title = "Its length grows as ln(d) / (2 rate)".into();
    panel
}

fn traces(table: &Table) -> CurvePanel {
    let mut panel = panel("", "time t (steps/d)", "loss L", false, true);
    let [students, scale, d, time, loss, level] =
        ["students", "init_scale", "dimension", "time", "loss", "plateau"].map(|c| table.numbers(c));
    let sources = table.texts("source");
    let (k, s) = (students.first().copied().flatten(), scale.first().copied().flatten());
    let mine: Vec<usize> = (0..time.len()).filter(|&i| students[i] == k && scale[i] == s).collect();
    let end = mine.iter().filter_map(|&i| time[i]).fold(0.0, f64::max);
    for (n, dimension) in distinct(d.clone()).into_iter().enumerate() {
        for (source, style) in [("equations", CurveStyle::Line), ("chain", CurveStyle::Discs)] {
            let rows = mine.iter().filter(|&&i| d[i] == Some(dimension) && sources[i] == source);
            let all: Vec<[f64; 3]> = rows.filter_map(|&i| Some([time[i]?, loss[i]?, 0.0])).collect();
            let mut points: Vec<[f64; 3]> = Vec::new();
            for point in all {
                let gap = if source == "chain" { end / 60.0 } else { 0.0 };
                if points.last().is_none_or(|last| point[0] >= last[0] + gap) {
                    points.push(point);
                }
            }
            if !points.is_empty() {
                let name = format!("d = {}{}", short(dimension), if source == "chain" { ", simulated" } else { "" });
                panel.curves.push(Curve { name, style, colour: n, points });
            }
        }
    }
    if let Some(level) = mine.first().and_then(|&i| level[i]) {
        let points = vec![[0.0, level, 0.0], [end, level, 0.0]];
        panel.curves.push(Curve { name: "plateau".into(), style: CurveStyle::Dashed, colour: 6, points });
    }
    panel.title = format!("Loss of one start, K = M = {}, s = {}", k.unwrap_or(0.0), s.unwrap_or(0.0));
    panel
}

/// A power of ten as one, another number as it is.
fn short(d: f64) -> String {
    let power = d.log10().round() as usize;
    if d != 10f64.powi(power as i32) {
        return d.to_string();
    }
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits = power.to_string();
    format!("10{}", digits.bytes().map(|digit| RAISED[usize::from(digit - b'0') % 10]).collect::<String>())
}
