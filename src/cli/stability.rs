//! `committee stability`.

use std::path::PathBuf;

use super::output::{Output, caption, content_tag};
use super::rule::TrainingArguments;
use crate::error::Result;
use crate::figure;
use crate::model::{Activation, TeacherSpec};
use crate::study::{self, Normalisation, StabilitySpec};

const EXAMPLES: &str = "Examples:
  committee stability --weights trained.csv --teachers 8
  committee stability --db k17.db --point 3

Columns: state = the network as given and the critical point downhill from it, or a stored point; loss =
population loss L; gradient = largest entry; verdict (only where the gradient vanishes); family, isotropy
as in `landscape`; min_eigenvalue inside span(W, V), min_transverse_eigenvalue across it; unstable, neutral =
numbers of negative and zero eigenvalues in d dimensions.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// File with W: one student a row, one input a column (text or .npy)
    #[arg(long, value_name = "FILE", conflicts_with = "db")]
    weights: Option<PathBuf>,
    /// The file has one student a column
    #[arg(long)]
    transpose: bool,
    /// unit: f(x) = sum g(w.x); sqrt-d: f(x) = sum g(w.x/sqrt d); auto: from the norms [default: auto]
    #[arg(long, value_parser = normalisation, value_name = "NORM")]
    normalisation: Option<Normalisation>,
    /// File with the teacher's vectors in the same coordinates
    #[arg(long, value_name = "FILE", conflicts_with_all = ["db", "teacher", "teachers"])]
    teacher_vectors: Option<PathBuf>,
    /// Teacher along the first inputs, when no file is given [default: orthonormal]
    #[arg(long, value_name = "TEACHER", conflicts_with = "db")]
    teacher: Option<TeacherSpec>,
    /// M, when no teacher file is given [default: as many as students]
    #[arg(long, short = 'm', value_name = "M", conflicts_with = "db")]
    teachers: Option<usize>,
    /// Activation: relu, leaky-relu:SLOPE, linear or erf [default: relu, or that of the database]
    #[arg(long, value_name = "ACTIVATION", conflicts_with = "db")]
    activation: Option<Activation>,
    /// Database written by `landscape --db`
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
    /// Number of the point in table minima [default: 1]
    #[arg(long, value_name = "N", conflicts_with = "weights")]
    point: Option<usize>,
    #[command(flatten)]
    rule: TrainingArguments,
}

fn normalisation(text: &str) -> std::result::Result<Normalisation, String> {
    match text {
        "unit" => Ok(Normalisation::Unit),
        "sqrt-d" => Ok(Normalisation::SqrtD),
        "auto" => Ok(Normalisation::Auto),
        _ => Err("needs unit, sqrt-d or auto".into()),
    }
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(StabilitySpec {
        weights: None,
        transpose: false,
        normalisation: Normalisation::Auto,
        teacher_vectors: None,
        teacher: TeacherSpec::default(),
        teachers: None,
        db: None,
        point: None,
        activation: Default::default(),
        rule: None,
    })?;
    let a = arguments;
    spec.transpose |= a.transpose;
    spec.normalisation = a.normalisation.unwrap_or(spec.normalisation);
    spec.teacher = a.teacher.clone().unwrap_or(spec.teacher);
    for (field, given) in
        [(&mut spec.weights, &a.weights), (&mut spec.teacher_vectors, &a.teacher_vectors), (&mut spec.db, &a.db)]
    {
        if given.is_some() {
            field.clone_from(given);
        }
    }
    if a.rule.is_given() {
        a.rule.apply(spec.rule.get_or_insert_default())?;
    }
    spec.teachers = a.teachers.or(spec.teachers);
    spec.activation = a.activation.unwrap_or(spec.activation);
    spec.point = a.point.or(spec.point);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    let report = study::stability(&spec)?;
    let columns = [
        ("state", 0),
        ("loss", 10),
        ("gradient", 3),
        ("verdict", 0),
        ("family", 0),
        ("isotropy", 0),
        ("min_eigenvalue", 7),
        ("min_transverse_eigenvalue", 7),
        ("unstable", 9),
        ("neutral", 9),
    ];
    output.show(&report, "stability", &columns);
    let content = spec.weights.as_deref().or(spec.db.as_deref()).map(content_tag).unwrap_or_default();
    let directory = output.directory(&format!("stability{content}"), &spec)?;
    report.write(&directory)?;
    if let Some(table) = report.table("spectrum").filter(|table| !table.rows.is_empty()) {
        let subtitle = report.notes.first().cloned().unwrap_or_default();
        figure::spectrum(&directory, "spectrum", table, &caption("Hessian spectrum", &subtitle, &report))?;
    }
    output.note(&format!("Files and figure: {}", directory.display()));
    Ok(())
}
