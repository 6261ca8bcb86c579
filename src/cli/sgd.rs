//! `committee sgd`.

use super::output::{Output, caption};
use super::progress::Progress;
use super::rule::{SgdArguments, words};
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::figure;
use crate::model::{Activation, TeacherSpec};
use crate::study::{self, SgdSpec, Simulator};

const EXAMPLES: &str = "Examples:
  committee sgd --learning-rate 0.5 --time 50
  committee sgd --rule two-layer:2 --learning-rate 0.3 --momentum 0.5 --runs 20 --time 20
  committee sgd -k 4 -m 3 --teacher graded:0.5 --learning-rate 0.3 --batch 4 --label-noise 0.2 --runs 20 --time 20

The equations are those of d = infinity, from a start drawn in d dimensions; --runs simulates SGD in d dimensions
beside them. A divergence is an answer: the report says when, and the exit code is 0. With --rule sphere or stiefel
the start is put on the constraint.
Columns: time = steps / d; loss = population loss L, label noise not included; gradient_norm = Euclidean norm of
its gradient over all weights; loss_mean, loss_deviation = mean and standard deviation over runs; in the file also
q_i_j = w_i.w_j, r_i_m = w_i.v_m and, with two-layer, readouts a_i by the equations, runs = runs that had not diverged,
X_mean and X_deviation of each of these X over runs, and test_error_mean, test_error_deviation with --test-inputs.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of students K [default: 2]
    #[arg(long, short = 'k', value_name = "K")]
    students: Option<usize>,
    /// Number of teachers M [default: 2]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<usize>,
    /// Input dimension d of start and runs [default: 1000]
    #[arg(long, short = 'd', value_name = "D")]
    dimension: Option<usize>,
    /// Initial weights are N(0, s^2 I/d) [default: 1]
    #[arg(long, value_name = "S")]
    init_scale: Option<f64>,
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
    /// Training rule; the learning rate is 0.1 by default
    #[command(flatten)]
    rule: SgdArguments,
    /// End of the time axis, in steps / d [default: 100]
    #[arg(long, value_name = "T")]
    time: Option<f64>,
    /// Recorded times, evenly spaced [default: 100]
    #[arg(long, value_name = "N")]
    points: Option<usize>,
    /// Error per step of the integration [default: 1e-10]
    #[arg(long, value_name = "TOL")]
    tolerance: Option<f64>,
    /// Simulated runs [default: 0]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// chain (the exact law, at a cost free of d) or explicit (networks in d dimensions) [default: chain]
    #[arg(long)]
    simulator: Option<Simulator>,
    /// Fresh inputs for a test error at each time of each run [default: 0]
    #[arg(long, value_name = "N")]
    test_inputs: Option<usize>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(SgdSpec::default())?;
    override_fields!(
        spec, arguments: students, teachers, dimension, init_scale, teacher, activation, seed, run, time, points, tolerance,
        runs, simulator, test_inputs
    );
    arguments.rule.apply(&mut spec.rule);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    let progress = Progress::new(spec.runs as u64, output.quiet || spec.runs == 0);
    let report = study::sgd(&spec, &|done, _| {
        progress.show(done, 0);
        !interrupt::requested()
    })?;
    drop(progress);
    let Some(full) = report.table("trajectory") else { return Ok(()) };
    let columns =
        [("time", 5), ("loss", 10), ("gradient_norm", 4), ("runs", 9), ("loss_mean", 6), ("loss_deviation", 3)];
    output.show_table(&report, &full.thinned(20), &columns);
    let directory = output.directory(&format!("sgd-k{}-m{}", spec.students, spec.teachers), &spec)?;
    report.write(&directory)?;
    let subtitle = format!(
        "K = {}, M = {}, d = {}, s = {}, {}, seed {}, run {}",
        spec.students,
        spec.teachers,
        spec.dimension,
        spec.init_scale,
        words(&spec.rule),
        spec.seed,
        spec.run
    );
    figure::trajectory(&directory, "trajectory", full, &caption("One-pass SGD by its equations", &subtitle, &report))?;
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}
