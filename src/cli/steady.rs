//! `committee steady`.

use super::output::{Output, caption};
use super::override_fields;
use crate::error::Result;
use crate::figure::{self, Curve, CurvePanel, CurveStyle};
use crate::model::TeacherSpec;
use crate::report::Report;
use crate::study::{self, SteadySpec};

const EXAMPLES: &str = "Examples:
  committee steady
  committee steady -k 4 -m 4 --batch 4 --learning-rates 0.4,0.8,1.6 --runs 8 --dimension 1000

Columns: learning_rate = eta; loss = population loss of the fixed point near the exact solution (d = infinity), `-`
where there is none, with the reason on stderr; eigenvalue = largest real part among its eigenvalues, per unit of
t = steps / d (negative: stable); first_order = eta x slope of the excess loss at the exact solution; simulated_loss =
mean over runs and over the second half of each run, simulated_error = its standard error over runs; diverged = share
of runs that diverged. Label noise is not counted in any loss. K = M is required: the exact solution has one student
for each teacher.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of students K, equal to M [default: 2]
    #[arg(long, short = 'k', value_name = "K")]
    students: Option<usize>,
    /// Number of teachers M, equal to K [default: 2]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<usize>,
    /// orthonormal, correlated:RHO, graded:LAST, vectors:FILE, or a file with T [default: orthonormal]
    #[arg(long, value_name = "TEACHER")]
    teacher: Option<TeacherSpec>,
    /// Fresh inputs in a step [default: 1]
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// Standard deviation of the noise on the labels; without it the steady loss is 0 [default: 0.1]
    #[arg(long, value_name = "SIGMA")]
    label_noise: Option<f64>,
    /// Learning rates, separated by commas [default: N values up to 1.1 times the local threshold]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    learning_rates: Option<Vec<f64>>,
    /// Number of learning rates where no list is given [default: 24]
    #[arg(long, value_name = "N")]
    points: Option<usize>,
    /// Simulated runs at each learning rate [default: 0]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Input dimension d of the simulated runs [default: 1000]
    #[arg(long, short = 'd', value_name = "D")]
    dimension: Option<usize>,
    /// Length of a simulated run, learning rate x steps / d [default: 200]
    #[arg(long, value_name = "T")]
    time: Option<f64>,
    /// Master seed [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(SteadySpec::default())?;
    override_fields!(
        spec, arguments: students, teachers, teacher, batch, label_noise, learning_rates, points, runs, dimension, time,
        seed
    );
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    let report = study::steady(&spec)?;
    let mut columns = vec![("learning_rate", 5), ("loss", 8), ("eigenvalue", 6), ("first_order", 8)];
    if spec.runs > 0 {
        columns.extend([("simulated_loss", 8), ("simulated_error", 2), ("diverged", 3)]);
    }
    output.show(&report, "steady", &columns);
    let directory = output.directory(&format!("steady-k{}-m{}", spec.students, spec.teachers), &spec)?;
    report.write(&directory)?;
    let panels = panels(&[(spec.clone(), report.clone())]);
    let subtitle = format!(
        "K = M = {}, label noise σ = {}, d = {} where simulated",
        spec.students, spec.label_noise, spec.dimension
    );
    figure::curves(&directory, "steady", &panels, &caption("Loss at a constant learning rate", &subtitle, &report))?;
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}

/// A panel for each number of students, with learning rate / batch as abscissa: specs without runs give lines, the
/// others dots.
pub fn panels(reports: &[(SteadySpec, Report)]) -> Vec<CurvePanel> {
    let mut panels: Vec<CurvePanel> = Vec::new();
    for (spec, report) in reports {
        let Some(table) = report.table("steady") else { continue };
        let batch = spec.batch as f64;
        let title = format!("K = M = {}", spec.students);
        let column = |name: &str| table.numbers(name);
        let eta: Vec<Option<f64>> = column("learning_rate").into_iter().map(|x| x.map(|x| x / batch)).collect();
        let points = |y: &str, error: Option<&str>| {
            let errors = error.map(column);
            let value = |i: usize| errors.as_ref().and_then(|e| e[i]).unwrap_or(0.0);
            let y = column(y);
            (0..eta.len()).filter_map(|i| Some([eta[i]?, y[i]?, value(i)])).collect::<Vec<_>>()
        };
        let place = panels.iter().position(|panel| panel.title == title).unwrap_or_else(|| {
            let threshold = |name: &str| report.results.get(name).and_then(|x| x.as_f64()).unwrap_or(f64::NAN) / batch;
            panels.push(CurvePanel {
                title,
                x_name: "learning rate η / batch size B".into(),
                y_name: "steady loss L".into(),
                log_x: false,
                log_y: true,
                marks: vec![(threshold("far_threshold"), "far".into()), (threshold("local_threshold"), "local".into())],
                curves: Vec::new(),
            });
            panels.len() - 1
        });
        let panel = &mut panels[place];
        let curve = |name: String, style, colour, points| Curve { name, style, colour, points };
        if !panel.curves.iter().any(|c| c.style == CurveStyle::Line) {
            panel.curves.push(curve("fixed point, d = ∞".into(), CurveStyle::Line, 0, points("loss", None)));
            panel.curves.push(curve("first order in η".into(), CurveStyle::Dashed, 6, points("first_order", None)));
        }
        if spec.runs > 0 {
            let name = format!("simulated, B = {}", spec.batch);
            let dots = panel.curves.iter().filter(|c| c.style != CurveStyle::Line).count();
            let (style, colour) =
                if dots.is_multiple_of(2) { (CurveStyle::Squares, 2) } else { (CurveStyle::Discs, 1) };
            panel.curves.push(curve(name, style, colour, points("simulated_loss", Some("simulated_error"))));
        }
    }
    panels
}
