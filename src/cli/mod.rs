//! The command line: one file per verb, each from arguments or spec file to a study, its files and its figures.

mod completions;
mod export;
mod families;
mod figure;
mod flow;
mod follow;
mod gallery;
mod interrupt;
mod landscape;
mod limits;
mod output;
mod phase;
mod plateau;
mod progress;
mod reproduce;
mod rule;
mod sgd;
mod stability;
mod steady;
mod validate;
mod widen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;
use output::Output;

/// Exact loss landscape and learning dynamics of two-layer ReLU networks that learn from a teacher.
#[derive(Parser)]
#[command(name = "committee", version, max_term_width = 110, arg_required_else_help = true)]
#[command(
    after_help = "Start here:\n  committee landscape                            local minima for K = M = 8, in seconds\n  committee landscape --students 18 --teachers 17 --dimension 17"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    global: Global,
}

/// Options of every verb.
#[derive(clap::Args)]
struct Global {
    /// Print one JSON document on stdout instead of a table
    #[arg(long, global = true)]
    json: bool,
    /// No progress and no notes on stderr
    #[arg(long, global = true)]
    quiet: bool,
    /// More notes on stderr
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Directory for files (default: committee-out/VERB-...; a directory given here must be empty or new)
    #[arg(long, global = true, value_name = "DIR")]
    out: Option<std::path::PathBuf>,
    /// Replace files in the directory given with --out
    #[arg(long, global = true, requires = "out")]
    force: bool,
    /// Worker threads (default: all cores); results do not depend on it
    #[arg(long, global = true, value_name = "N")]
    threads: Option<usize>,
    /// Print the effective spec (TOML) and stop
    #[arg(long, global = true)]
    print_spec: bool,
    /// Read the spec from a TOML file; options given beside it win
    #[arg(long, global = true, value_name = "FILE")]
    spec: Option<std::path::PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Find the local minima: search, verify, classify, count, draw
    Landscape(landscape::Arguments),
    /// List the critical points with many equal units, at any M: loss, spectrum, verdict of each
    Families(families::Arguments),
    /// Follow one trajectory of gradient flow, or of SGD at a learning rate
    Flow(flow::Arguments),
    /// Follow a family in real M, k1, correlation or norm: where it is born, loses stability and ends
    Follow(follow::Arguments),
    /// One-pass SGD at a finite learning rate: equations, and simulated runs
    Sgd(sgd::Arguments),
    /// Compare the equations of SGD with simulations at several d, with a verdict
    Validate(validate::Arguments),
    /// Spectrum and verdict of a stored point or of a trained network
    Stability(stability::Arguments),
    /// Where SGD at a constant learning rate settles near the exact solution
    Steady(steady::Arguments),
    /// Up to which learning rate SGD stays at the bad minima with flipped units
    Limits(limits::Arguments),
    /// The unspecialised plateau: loss, rate of escape, length against dimension
    Plateau(plateau::Arguments),
    /// Add one student to every local minimum with K = M: where gradient flow goes from there
    Widen(widen::Arguments),
    /// Where families are minima, over two parameters
    Phase(phase::Arguments),
    /// Compute published tables and curves again and compare: one verdict per number
    Reproduce(reproduce::Arguments),
    /// Write the results in a database as CSV, JSON and NPZ
    Export(export::Arguments),
    /// Compute, draw or check the figures of a folder
    Figure(figure::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
}

/// Runs the program; the exit code is 0 done, 2 input refused, 1 failed while running, 130 interrupted.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say(&format!("error: {error}"));
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    if let Some(threads) = cli.global.threads {
        if threads == 0 {
            return Err(crate::error::Error::Count {
                action: "start",
                quantity: "threads",
                value: 0,
                needs: "at least 1".into(),
            });
        }
        // Fails only when a pool exists already, which then has the size of an earlier call in this process.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    }
    let output = Output::new(&cli.global);
    match cli.verb {
        Verb::Landscape(arguments) => landscape::run(&arguments, &output),
        Verb::Families(arguments) => families::run(&arguments, &output),
        Verb::Flow(arguments) => flow::run(&arguments, &output),
        Verb::Follow(arguments) => follow::run(&arguments, &output),
        Verb::Sgd(arguments) => sgd::run(&arguments, &output),
        Verb::Validate(arguments) => validate::run(&arguments, &output),
        Verb::Stability(arguments) => stability::run(&arguments, &output),
        Verb::Steady(arguments) => steady::run(&arguments, &output),
        Verb::Limits(arguments) => limits::run(&arguments, &output),
        Verb::Plateau(arguments) => plateau::run(&arguments, &output),
        Verb::Widen(arguments) => widen::run(&arguments, &output),
        Verb::Phase(arguments) => phase::run(&arguments, &output),
        Verb::Reproduce(arguments) => reproduce::run(&arguments, &output),
        Verb::Export(arguments) => export::run(&arguments, &output),
        Verb::Figure(arguments) => figure::run(&arguments, &output),
        Verb::Completions(arguments) => {
            output.refuse_files_and_specs("print completions")?;
            completions::run(&arguments)
        }
    }
}

/// Overwrites a field of a spec where the option was given.
macro_rules! override_fields {
    ($spec:ident, $arguments:ident: $($field:ident),+) => {
        $(if let Some(value) = $arguments.$field.clone() {
            $spec.$field = value.into();
        })+
    };
}
use override_fields;
