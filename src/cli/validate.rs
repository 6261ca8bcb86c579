//! `committee validate`.

use super::output::{Output, caption};
use super::progress::Progress;
use super::rule::{SgdArguments, words};
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::figure;
use crate::model::{Activation, TeacherSpec};
use crate::report::Report;
use crate::study::{self, ValidateSpec};

const EXAMPLES: &str = "Examples:
  committee validate
  committee validate -k 4 -m 3 --teacher graded:0.5 --learning-rate 0.3 --batch 4 --label-noise 0.2 --dimensions 400,4000
  committee validate --rule sphere --dimensions 1000,40000 --runs 200 --time 4

Every d starts from the same overlaps. The chain draws from the exact law of SGD at a cost free of d; networks in d
dimensions are trained as well where B K d steps runs is at most --explicit-limit, and compared with the chain.
Columns: deviation = root mean square of one run minus the equations of d = infinity, with its standard error in
deviation_error; bias = root mean square of the mean over runs minus the equations, residual = minus the mean that is
predicted at this d, noise = what both are by chance; largest_z = largest (mean - predicted mean) / standard error;
p_means, p_test_error = smallest p-value over tested times, of each overlap and of all together, and over times for the
test error on fresh inputs minus the population loss, adjusted by Holm over all tests of the report; verdict = agrees
when both are at least 0.01. With --rule sphere or stiefel and with --momentum the mean at finite d is not derived:
residual is then bias, and means are tested at d of at least 25 times the runs, 1/(1 - mu)^2 times above momentum
0.8. The last line judges all tests together, the two simulators against each other (means and variances) included. In
the files: overlaps.csv (every overlap at every time), witness.csv (explicit against chain), risks.csv (every test
error), arrays.npz (all runs, predictions and covariances).";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of students K [default: 2]
    #[arg(long, short = 'k', value_name = "K")]
    students: Option<usize>,
    /// Number of teachers M [default: 2]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<usize>,
    /// Input dimensions d [default: 100,1000,10000]
    #[arg(long, short = 'd', value_name = "D,D,...", value_delimiter = ',')]
    dimensions: Option<Vec<usize>>,
    /// Dimension in which the start is drawn [default: the smallest of --dimensions]
    #[arg(long, value_name = "D")]
    init_dimension: Option<usize>,
    /// Initial weights are N(0, s^2 I/d), d = --init-dimension [default: 1]
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
    /// Training rule; the learning rate is 0.5 by default
    #[command(flatten)]
    rule: SgdArguments,
    /// End of the time axis, in steps / d [default: 10]
    #[arg(long, value_name = "T")]
    time: Option<f64>,
    /// Recorded times, evenly spaced [default: 20]
    #[arg(long, value_name = "N")]
    points: Option<usize>,
    /// How many of them are tested [default: 5]
    #[arg(long, value_name = "N")]
    checks: Option<usize>,
    /// Error per step of the integration [default: 1e-10]
    #[arg(long, value_name = "TOL")]
    tolerance: Option<f64>,
    /// Simulated runs at each d, of each simulator [default: 100]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Fresh inputs for the test error at each tested time of each run [default: 200]
    #[arg(long, value_name = "N")]
    test_inputs: Option<usize>,
    /// Largest B K d steps runs for which networks in d dimensions are trained [default: 1e10]
    #[arg(long, value_name = "N")]
    explicit_limit: Option<f64>,
    /// Inputs drawn for the covariance of one step [default: 16384]
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(ValidateSpec::default())?;
    override_fields!(
        spec, arguments: students, teachers, dimensions, init_dimension, init_scale, teacher, activation, seed, run, time,
        points, checks, tolerance, runs, test_inputs, explicit_limit, samples
    );
    arguments.rule.apply(&mut spec.rule);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    let report = compare(&spec, output)?;
    output.show(&report, "agreement", COLUMNS);
    output.below(report.results.get("line").and_then(|line| line.as_str()).unwrap_or_default());
    let directory = output.directory(&format!("validate-k{}-m{}", spec.students, spec.teachers), &spec)?;
    report.write(&directory)?;
    let shown = spec.dimensions.iter().copied().min_by_key(|d| d.abs_diff(1000)).unwrap_or_default();
    let (title, subtitle) = ("Equations of SGD against simulated runs", subtitle(&spec));
    let curves = study::validation_curves(&report, shown);
    figure::validation(&directory, "validation", &curves, exponent(&report), &caption(title, &subtitle, &report))?;
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}

/// The columns shown in a terminal.
const COLUMNS: &[(&str, usize)] = &[
    ("dimension", 9),
    ("simulator", 0),
    ("runs", 9),
    ("diverged", 9),
    ("deviation", 5),
    ("deviation_error", 2),
    ("bias", 3),
    ("residual", 3),
    ("noise", 3),
    ("largest_z", 3),
    ("p_means", 3),
    ("p_test_error", 3),
    ("verdict", 0),
];

/// The comparison with a progress bar that Ctrl-C stops.
pub fn compare(spec: &ValidateSpec, output: &Output) -> Result<Report> {
    let progress = Progress::new(spec.simulations() as u64, output.quiet);
    study::validate(spec, &|done, _| {
        progress.show(done, 0);
        !interrupt::requested()
    })
}

/// The exponent of the deviation's decay with d, and its standard error.
pub fn exponent(report: &Report) -> Option<(f64, f64)> {
    let number = |name: &str| report.results.get(name)?.as_f64();
    Some((number("exponent")?, number("exponent_error")?))
}

/// The setting in one line.
pub fn subtitle(spec: &ValidateSpec) -> String {
    format!(
        "K = {}, M = {}, teacher {}, {}, {} runs at each d, same initial overlaps (drawn at d = {}), seed {}",
        spec.students,
        spec.teachers,
        spec.teacher,
        words(&spec.rule),
        spec.runs,
        spec.start_dimension(),
        spec.seed
    )
}
