//! `committee families`.

use super::output::Output;
use super::progress::Progress;
use super::rule::TrainingArguments;
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::model::Activation;
use crate::study::{self, FamiliesSpec};

const EXAMPLES: &str = "Examples:
  committee families --teachers 17
  committee families --teachers 1e6 --flipped 1,2,3
  committee families --teachers 17 --flipped 3 --starts 10000
  committee families --groups 6,1,13
  committee families --groups 1,16:1,2,1 --starts 2000
  committee families --teachers 17 --flipped 0,1,2 --rule sphere

Groups: SIZES[:MATCHED][+FREE]. SIZES are the sizes of the groups of teachers. MATCHED names, for each group of
students, the group of teachers to which it stands one to one, counted from 1 (default: one group of students for each
group of teachers, in order). FREE are the sizes of further groups of students, equal inside each. `6,1,13` is K = M = 20,
`6,1,13+1` has one unit more, `1,16:1,2,1` has two students at the first teacher: K = 18, M = 17.

Columns: k1 = flipped units; groups; branch = global, k1 = N (N flipped units, continued from a single one), block N
(N units flipped among themselves), type I (block of M - 1), type A (block of M), N between (single units that compensate
for a block), or root N where no name is known; loss;
min_eigenvalue inside span(W, V) and the sector it belongs to, min_transverse_eigenvalue across it; unstable = number of
negative eigenvalues inside the span; verdict; residual = largest gradient entry; hits = random starts that ended there;
full = what the Hessian in all coordinates says where it is small enough. With --rule weight-decay, sphere or stiefel (whole M,
K M at most 400): Newton's method on the rule's constraint from each family of gradient flow; eigenvalues are those on the
constraint, isotropy and moved say what was found and how far away. Both layers (two-layer) have the families of one.
Sectors: trivial keeps all groups, standard N singles out one index of set N, symmetric N and exterior N a pattern over
pairs of set N, product N x O one index of each. Sets are the groups of teachers, then the free groups.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of teachers M, any real number of at least 1 [default: 8]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<f64>,
    /// Number of students K; K - M extra units have groups of their own [default: M]
    #[arg(long, short = 'k', value_name = "K")]
    students: Option<f64>,
    /// Numbers of flipped units: `all` (0 to M, at most 20), or a list [default: all]
    #[arg(long, value_name = "LIST")]
    flipped: Option<String>,
    /// Other groups, SIZES[:MATCHED][+FREE]; see below
    #[arg(long, value_name = "GROUPS", conflicts_with_all = ["teachers", "students", "flipped"])]
    groups: Option<String>,
    /// Correlation between the teachers: T = (1 - RHO) I + RHO J [default: 0]
    #[arg(long, value_name = "RHO", allow_hyphen_values = true)]
    correlation: Option<f64>,
    /// Activation: relu, or leaky-relu:SLOPE with a slope between -1 and 1 [default: relu]
    #[arg(long, value_name = "ACTIVATION")]
    activation: Option<Activation>,
    #[command(flatten)]
    rule: TrainingArguments,
    /// Random starts of a search for all solutions of the equations of each family; 0: known branches only [default: 0]
    #[arg(long, value_name = "N")]
    starts: Option<u64>,
    /// Master seed of the random starts [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(FamiliesSpec::default())?;
    override_fields!(spec, arguments: flipped, correlation, activation, starts, seed);
    if arguments.teachers.is_some() || arguments.students.is_some() || arguments.flipped.is_some() {
        spec.groups = None;
    }
    spec.teachers = arguments.teachers.unwrap_or(spec.teachers);
    spec.students = arguments.students.or(spec.students);
    spec.groups = arguments.groups.clone().or(spec.groups);
    arguments.rule.apply(&mut spec.rule)?;
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    let report = search(&spec, output)?;
    let mut columns = vec![("groups", 0), ("branch", 0), ("loss", 10), ("min_eigenvalue", 7), ("sector", 0)];
    columns.extend([("min_transverse_eigenvalue", 7), ("unstable", 6), ("verdict", 0), ("residual", 2)]);
    if spec.starts > 0 {
        columns.push(("hits", 9));
    }
    columns.extend([("full", 0), ("isotropy", 0), ("moved", 3)]);
    output.show(&report, "families", &columns);
    let name = match &spec.groups {
        Some(_) => "families-groups".to_string(),
        None => format!("families-m{}", spec.teachers),
    };
    let directory = output.directory(&name, &spec)?;
    report.write(&directory)?;
    output.note(&format!("Files: {}", directory.display()));
    Ok(())
}

/// The study with a progress bar that Ctrl-C stops.
fn search(spec: &FamiliesSpec, output: &Output) -> Result<crate::report::Report> {
    let progress = Progress::new(spec.starts * spec.shapes()?.len() as u64, output.quiet);
    study::families(spec, &|done| {
        progress.show(done as usize, 0);
        !interrupt::requested()
    })
}
