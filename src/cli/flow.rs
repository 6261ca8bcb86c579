//! `committee flow`.

use super::output::{Output, caption};
use super::override_fields;
use super::rule::{RuleArguments, TrainingArguments, words};
use crate::dynamics::Integrator;
use crate::error::Result;
use crate::figure;
use crate::model::{Activation, TeacherSpec};
use crate::study::{self, FlowSpec};

const EXAMPLES: &str = "Examples:
  committee flow --students 2 --teachers 2 --init-scale 0.01 --time 200
  committee flow --students 17 --teachers 17 --dimension 17 --run 42     replays run 42 of `landscape`
  committee flow --students 2 --teachers 2 --dimension 1000 --learning-rate 0.5 --time 100

With --learning-rate the equations are those of one-pass SGD at d = infinity, from a start drawn in d dimensions.
Columns: time = time of gradient flow, learning rate x steps (with --learning-rate: steps / d); loss = population loss L; gradient_norm =
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
    /// Activation: relu, leaky-relu:SLOPE, linear or erf [default: relu]
    #[arg(long, value_name = "ACTIVATION")]
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
    /// With a learning rate: one-pass SGD in the limit of large d instead of gradient flow
    #[command(flatten)]
    rule: RuleArguments,
    #[command(flatten)]
    training: TrainingArguments,
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
    arguments.rule.apply_to(&mut spec.sgd)?;
    arguments.training.apply(&mut spec.rule)?;
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    let report = study::flow(&spec)?;
    // A terminal gets some of the rows; the file has all.
    let Some(full) = report.table("trajectory") else { return Ok(()) };
    output.show_table(&report, &full.thinned(20), &[("time", 5), ("loss", 10), ("gradient_norm", 4)]);
    let directory = output.directory(&format!("flow-k{}-m{}", spec.students, spec.teachers), &spec)?;
    report.write(&directory)?;
    let mut subtitle = format!(
        "K = {}, M = {}, d = {}, s = {}, seed {}, run {}",
        spec.students,
        spec.teachers,
        spec.dimension.unwrap_or(spec.students + spec.teachers),
        spec.init_scale,
        spec.seed,
        spec.run
    );
    let mut title = "One run of gradient flow";
    if !spec.rule.is_gradient_flow() {
        title = "One run of a training rule";
        subtitle.push_str(&format!(", {}", spec.rule));
    }
    if let Some(rule) = &spec.sgd {
        title = "One-pass SGD in the limit of large d";
        subtitle.push_str(&format!(", {}", words(rule)));
    }
    figure::trajectory(&directory, "trajectory", full, &caption(title, &subtitle, &report))?;
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}
