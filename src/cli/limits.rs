//! `committee limits`.

use super::output::Output;
use super::override_fields;
use crate::error::Result;
use crate::study::{self, LimitsSpec, SgdParameter};

const EXAMPLES: &str = "Examples:
  committee limits
  committee limits -m 12 --flipped 1,2,3 --batch 4
  committee limits -m 8 --dense-check
  committee limits -m 8 --along label-noise --learning-rate 0.3

For K = M and an orthonormal teacher (d = infinity). Columns: k1 = flipped units of the minimum; learning_rate = where the
fixed point of SGD that is this minimum at 0 ceases to exist or to be stable; kind = how (fold, real eigenvalue, Hopf);
sector = symmetry of the perturbation that grows (1: flipped units, 2: the others; trivial: none is broken); loss there;
eigenvalue = the leading one at 0.9 times the limit, per unit of t = steps / d; ratio = learning_rate / local threshold of
the exact solution. With --along label-noise or weight-decay that parameter takes the place of the learning rate, which is held.
limits.csv also holds the differences to two other ways to the same number, branches.csv the way.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Number of teachers M, and of students K = M [default: 8]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<usize>,
    /// Numbers of flipped units k1, separated by commas [default: all that have a local minimum]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    flipped: Option<Vec<usize>>,
    /// What is followed: learning-rate, label-noise or weight-decay [default: learning-rate]
    #[arg(long, value_name = "PARAMETER")]
    along: Option<SgdParameter>,
    /// Learning rate while another parameter is followed [default: half the local threshold of the exact solution]
    #[arg(long, value_name = "ETA", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// Fresh inputs in a step [default: 1]
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// Standard deviation of the noise on the labels [default: 0]
    #[arg(long, value_name = "SIGMA", allow_negative_numbers = true)]
    label_noise: Option<f64>,
    /// Weight decay gamma, multiplied by the learning rate [default: 0]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Largest value of what is followed [default: twice the local threshold of the exact solution; label noise 3; weight
    /// decay 1]
    #[arg(long, value_name = "ETA", allow_negative_numbers = true)]
    max_rate: Option<f64>,
    /// Find each limit once more from the dense equations (seconds at M = 8, minutes at M = 12)
    #[arg(long)]
    dense_check: bool,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(LimitsSpec::default())?;
    override_fields!(spec, arguments: teachers, flipped, along, learning_rate, batch, label_noise, weight_decay, max_rate);
    spec.dense_check |= arguments.dense_check;
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    let report = study::learning_rate_limits(&spec)?;
    let mut columns = vec![
        ("k1", 0),
        ("learning_rate", 9),
        ("label_noise", 9),
        ("weight_decay", 9),
        ("kind", 0),
        ("sector", 0),
        ("multiplicity", 0),
        ("loss_at_zero", 6),
        ("loss", 6),
        ("eigenvalue", 5),
        ("ratio", 5),
    ];
    if spec.dense_check {
        columns.push(("dense_difference", 2));
    }
    output.show(&report, "limits", &columns);
    let directory = output.directory(&format!("limits-m{}", spec.teachers), &spec)?;
    report.write(&directory)?;
    output.note(&format!("Files: {}", directory.display()));
    Ok(())
}
