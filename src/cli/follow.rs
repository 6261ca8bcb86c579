//! `committee follow`.

use super::output::{Output, caption};
use super::override_fields;
use crate::error::{Error, Result};
use crate::figure::{self, Curve, CurvePanel, CurveStyle};
use crate::report::Report;
use crate::study::{self, Along, FollowSpec, Start};

const EXAMPLES: &str = "Examples:
  committee follow --flipped 1                       one flipped unit, M from 17 down: a minimum from M = 5.5855 on
  committee follow --flipped 2 --teachers 12 --along rho --until-unstable
  committee follow --start block --flipped 7 --along flipped --leave
  committee follow --db k18.db --family 'k1 = 4, 1 extra'

Columns: kind = fold (the branch turns back), branch point (branches of the same symmetry meet) or symmetry breaking;
p = value of the parameter, located on the branch; direct = the same from the equations of a singular point, solved at
once, with its error; sector = symmetry of the mode whose eigenvalue vanishes, sets numbered from 1, `across` for modes
across span(V); multiplicity = dimension of its representation; symmetry = what is left of it; stability = `changes`
where the family turns from minimum to saddle. File branch.csv holds every point: loss, eigenvalues, entries of W
(a = own teacher, b = other teachers of the own group, c = teachers of another group).";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Start from a point of a landscape search: its database
    #[arg(long, value_name = "FILE")]
    db: Option<std::path::PathBuf>,
    /// With --db: family of the point, for example 'k1 = 2' [default: the local minimum with the lowest loss]
    #[arg(long, value_name = "NAME", requires = "db")]
    family: Option<String>,
    /// Family to start from: flipped, block, block-grows (type I); at K = M + 1 extra, opposed [default: flipped]
    #[arg(long, value_parser = kebab::<Start>, value_name = "FAMILY")]
    start: Option<Start>,
    /// Number of teachers M at the start, real [default: 17]
    #[arg(long, short = 'm', value_name = "M")]
    teachers: Option<f64>,
    /// Number k1 of flipped units, or size of the block, real [default: 1]
    #[arg(long, short = 'f', value_name = "K1")]
    flipped: Option<f64>,
    /// Correlation of the teachers at the start [default: 0]
    #[arg(long, value_name = "RHO", allow_negative_numbers = true)]
    rho: Option<f64>,
    /// Parameter to follow: teachers (M), flipped (k1), rho, norm (of the first group) [default: teachers]
    #[arg(long, value_parser = kebab::<Along>, value_name = "PARAMETER")]
    along: Option<Along>,
    /// Range of the parameter, LOW,HIGH
    #[arg(long, value_parser = range, value_name = "LOW,HIGH", allow_hyphen_values = true)]
    range: Option<(f64, f64)>,
    /// Stop each way at the first change of stability
    #[arg(long)]
    until_unstable: bool,
    /// Also follow the branches that leave where stability changes, and those that leave span(V)
    #[arg(long)]
    leave: bool,
    /// Most steps each way [default: 4000]
    #[arg(long, value_name = "N")]
    points: Option<usize>,
}

/// Parses a word as serde does in a spec.
fn kebab<T: serde::de::DeserializeOwned>(word: &str) -> std::result::Result<T, String> {
    serde_json::from_value(serde_json::Value::from(word)).map_err(|error| error.to_string())
}

fn range(text: &str) -> std::result::Result<(f64, f64), String> {
    let numbers: Option<Vec<f64>> = text.split(',').map(|word| word.trim().parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[low, high]) => Ok((low, high)),
        _ => Err("needs two numbers, LOW,HIGH".into()),
    }
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(FollowSpec::default())?;
    override_fields!(spec, arguments: start, teachers, flipped, rho, along, points);
    spec.db = arguments.db.clone().or(spec.db);
    spec.family = arguments.family.clone().or(spec.family);
    spec.range = arguments.range.or(spec.range);
    spec.until_unstable |= arguments.until_unstable;
    spec.leave |= arguments.leave;
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    let report = study::follow(&spec)?;
    output.show(
        &report,
        "events",
        &[
            ("direction", 4),
            ("kind", 8),
            ("p", 12),
            ("direct", 12),
            ("error", 1),
            ("sector", 8),
            ("multiplicity", 4),
            ("symmetry", 8),
            ("stability", 8),
            ("loss", 8),
        ],
    );
    if let (true, Some(table)) = (spec.leave, report.table("departures")) {
        let columns = ["from", "parts", "side", "distance", "reached", "smallest", "end"].map(|name| (name, 6));
        output.show_table(&report, table, &columns);
    }
    let name = format!("follow-{}-m{}-k{}", word(&spec.start)?, spec.teachers, spec.flipped);
    let directory = output.directory(&name, &spec)?;
    report.write(&directory)?;
    let family = match spec.start {
        Start::Flipped => "flipped units",
        Start::Block | Start::BlockGrows => "units in a block of type A",
        Start::Extra => "anti-aligned units and an extra one",
        Start::Opposed => "anti-aligned units and an extra one opposed, too",
    };
    let subtitle = match (&spec.db, &spec.family) {
        (Some(_), Some(name)) => format!("start: the stored point {name}"),
        (Some(_), None) => "start: the lowest stored local minimum".to_string(),
        _ => format!("{} {family}; M = {}, ρ = {} at the start", spec.flipped, spec.teachers, spec.rho),
    };
    let about = caption("A family followed", &subtitle, &report);
    figure::curves(&directory, "follow", &panels(&spec, &report)?, &about)?;
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}

fn word(value: &impl serde::Serialize) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        _ => Err(Error::Spec { action: "name the files", problem: "a name is not a word".into() }),
    }
}

/// Smallest eigenvalues and loss against the parameter, with the thresholds marked.
fn panels(spec: &FollowSpec, report: &Report) -> Result<Vec<CurvePanel>> {
    let x_name = match spec.along {
        Along::Teachers => "number of teachers M",
        Along::Flipped => "number of flipped units k1",
        Along::Rho => "correlation ρ of the teachers",
        Along::Norm => "norm of the teachers of the first group",
    };
    let (Some(branch), Some(events)) = (report.table("branch"), report.table("events")) else { return Ok(Vec::new()) };
    let points = |column: &str| -> Vec<[f64; 3]> {
        let rows = branch.numbers("p").into_iter().zip(branch.numbers(column)).zip(branch.texts("direction"));
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for ((x, y), direction) in rows {
            if let (Some(x), Some(y)) = (x, y) {
                if direction == "down" { &mut down } else { &mut up }.push([x, y, 0.0]);
            }
        }
        down.into_iter().rev().chain(up).collect()
    };
    let marks: Vec<(f64, String)> = events
        .numbers("p")
        .into_iter()
        .zip(events.texts("stability"))
        .filter(|(_, stability)| !stability.is_empty())
        .filter_map(|(p, _)| p.map(|p| (p, format!("{p:.4}"))))
        .collect();
    let curve = |name: &str, colour: usize, column: &str| Curve {
        name: name.into(),
        style: CurveStyle::Line,
        colour,
        points: points(column),
    };
    let panel = |title: &str, y_name: &str, curves: Vec<Curve>| CurvePanel {
        title: title.into(),
        x_name: x_name.into(),
        y_name: y_name.into(),
        log_x: false,
        log_y: false,
        marks: marks.clone(),
        curves,
    };
    Ok(vec![
        panel(
            "Stability",
            "smallest eigenvalue",
            vec![curve("inside the span", 0, "smallest"), curve("across the span", 1, "across")],
        ),
        panel("Loss", "loss L", vec![curve("population loss", 0, "loss")]),
    ])
}
