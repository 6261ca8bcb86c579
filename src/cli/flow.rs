//! `committee flow`.

use super::output::{Output, caption};
use super::override_fields;
use crate::dynamics::Integrator;
use crate::error::Result;
use crate::figure;
use crate::model::{Activation, TeacherSpec};
use crate::report::Table;
use crate::study::{self, FlowSpec};

const EXAMPLES: &str = "Examples:
  committee flow --students 2 --teachers 2 --init-scale 0.01 --time 200
  committee flow --students 17 --teachers 17 --dimension 17 --run 42     replays run 42 of `landscape`

Columns: time = time of gradient flow, learning rate x steps; loss = population loss L; gradient_norm =
Euclidean norm over all weights; in the file also q_i_j = w_i.w_j and r_i_m = w_i.v_m.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of students K [default: 8]
    #[arg(long, short = 'k', value_name = "K")]
    students: Option<usize>,
    /// Number of teachers M [default: 8]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<usize>,
    /// Initial weights are N(0, s^2 I/d) [default: 1]
    #[arg(long, value_name = "S")]
    init_scale: Option<f64>,
    /// Input dimension d [default: K + M]
    #[arg(long, short = 'd', value_name = "D")]
    dimension: Option<usize>,
    /// orthonormal, correlated:RHO, graded:LAST, vectors:FILE, or a file with T [default: orthonormal]
    #[arg(long, value_name = "TEACHER")]
    teacher: Option<TeacherSpec>,
    /// Activation [default: relu]
    #[arg(long)]
    activation: Option<Activation>,
    /// Master seed [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Start of run N of `landscape` with the same options [default: 0]
    #[arg(long, value_name = "N")]
    run: Option<u64>,
    /// End of the time axis [default: 1000]
    #[arg(long, value_name = "T")]
    time: Option<f64>,
    /// Recorded times, spaced logarithmically [default: 200]
    #[arg(long, value_name = "N")]
    points: Option<usize>,
    /// Error per step [default: 1e-10]
    #[arg(long, value_name = "TOL")]
    tolerance: Option<f64>,
    /// dop853 (reference) or rkc (stabilised, for long times) [default: dop853]
    #[arg(long, value_parser = integrator)]
    integrator: Option<Integrator>,
}

fn integrator(text: &str) -> std::result::Result<Integrator, String> {
    match text {
        "dop853" => Ok(Integrator::Dop853),
        "rkc" => Ok(Integrator::Rkc),
        _ => Err("needs dop853 or rkc".into()),
    }
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(FlowSpec::default())?;
    override_fields!(
        spec, arguments: students, teachers, init_scale, dimension, teacher, activation, seed, run, time, points, tolerance,
        integrator
    );
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    let report = study::flow(&spec)?;
    // A terminal gets every tenth row; the file has all.
    let Some(full) = report.table("trajectory") else { return Ok(()) };
    let mut shown = Table { name: "shown".into(), columns: full.columns.clone(), rows: Vec::new() };
    let last = full.rows.len() - 1;
    let step = full.rows.len().div_ceil(20);
    shown.rows =
        full.rows.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last).map(|(_, r)| r.clone()).collect();
    output.show_table(&report, &shown, &[("time", 5), ("loss", 10), ("gradient_norm", 4)]);
    let directory = output.directory(&format!("flow-k{}-m{}", spec.students, spec.teachers), &spec)?;
    report.write(&directory)?;
    let subtitle = format!(
        "K = {}, M = {}, d = {}, s = {}, seed {}, run {}",
        spec.students,
        spec.teachers,
        spec.dimension.unwrap_or(spec.students + spec.teachers),
        spec.init_scale,
        spec.seed,
        spec.run
    );
    figure::trajectory(&directory, "trajectory", full, &caption("One run of gradient flow", &subtitle, &report))?;
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}
