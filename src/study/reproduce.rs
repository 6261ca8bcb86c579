//! Published tables and curves computed again: the same experiment, both numbers side by side, one verdict per cell.

mod online;
mod perturbation;
mod published;
mod run_length;
mod tables;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::landscape::LandscapeSpec;
use crate::error::{Error, Result};
use crate::landscape::catalogue::{Catalogue, Class};
use crate::model::Constraint;
use crate::report::Report;
use published::{Column, Publication};

const ACTION: &str = "reproduce a publication";

/// Which publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Huang, Loureiro, Sarao Mannelli 2026: shares at M = 17 for four training rules, and the perturbation experiment.
    #[default]
    #[serde(rename = "huang-2026")]
    Huang2026,
    /// Safran and Shamir 2018: runs that miss the global minimum, n = k and k + 1.
    #[serde(rename = "safran-shamir-2018")]
    SafranShamir2018,
    /// Safran, Yehudai and Shamir 2021: families reached at n = k.
    #[serde(rename = "safran-2021")]
    Safran2021,
    /// Saad and Solla 1995: plateau, specialisation and largest learning rate of erf committees under one-pass SGD.
    #[serde(rename = "saad-solla-1995")]
    SaadSolla1995,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 4] =
        [Source::Huang2026, Source::SafranShamir2018, Source::Safran2021, Source::SaadSolla1995];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Source::Huang2026 => "huang-2026",
            Source::SafranShamir2018 => "safran-shamir-2018",
            Source::Safran2021 => "safran-2021",
            Source::SaadSolla1995 => "saad-solla-1995",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Source, String> {
        let names = Source::ALL.map(Source::name).join(", ");
        let known = Source::ALL.into_iter().find(|source| source.name() == text);
        known.ok_or_else(|| format!("'{text}' is not known, needs one of {names}"))
    }
}

/// What to reproduce, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReproduceSpec {
    pub source: Source,
    /// Runs per column; `None`: as many as published, or as the data file says where only curves were published.
    pub runs: Option<u64>,
    /// Only columns whose label holds this text.
    pub only: Option<String>,
    pub seed: Option<u64>,
    /// Folder of databases, one for each column: finished runs are kept there and continued. Learning curves are files
    /// there, kept when a curve is finished.
    pub db: Option<PathBuf>,
}

/// One column at one input dimension, with its counts.
struct Counted<'a> {
    column: &'a Column,
    dimension: usize,
    /// Loss of the class `global`.
    lowest: f64,
    /// Runs by class; runs without a verified end are in no class.
    counts: BTreeMap<String, usize>,
    runs: usize,
    unresolved: usize,
    /// Different end points.
    points: usize,
    /// Longest time of a flow.
    longest: f64,
    /// Smallest eigenvalue of all end points.
    flattest: f64,
}

/// Runs every column and compares. `progress` is called with (label, finished, total, unresolved) and returns false to stop.
///
/// # Errors
/// [`Error::Count`] for 0 runs, [`Error::Spec`] for no column with the label; those of the search; [`Error::Interrupted`] when
/// stopped.
pub fn reproduce(
    spec: &ReproduceSpec,
    progress: &(dyn Fn(&str, usize, usize, usize) -> bool + Sync),
) -> Result<Report> {
    let publication = Publication::read(spec.source)?;
    if spec.runs == Some(0) {
        return Err(Error::Count { action: ACTION, quantity: "runs", value: 0, needs: "at least 1".into() });
    }
    if let Some(published) = &publication.online {
        return online::report(spec, &publication, published, progress);
    }
    let wanted = |column: &&Column| spec.only.as_ref().is_none_or(|text| column.label.contains(text.as_str()));
    let columns: Vec<&Column> = publication.columns.iter().filter(wanted).collect();
    if columns.is_empty() {
        return Err(no_such_label(publication.columns.iter().map(|column| column.label.clone())));
    }
    let mut counted = Vec::new();
    for column in columns {
        for (place, &dimension) in column.dimensions.iter().enumerate() {
            let most = column.own_runs.get(place).copied().unwrap_or(column.runs);
            let runs = spec.runs.unwrap_or(most).min(most);
            counted.push(count(spec, column, dimension, runs, progress)?);
        }
    }
    let mut report = tables::report(spec, &publication, &counted);
    let (seed, whole) = (spec.seed.unwrap_or(1), spec.only.is_none());
    if let (Some(lengths), true) = (&publication.run_length, whole) {
        run_length::add(&mut report, lengths, spec.runs, seed, progress)?;
    }
    if let (Some(perturbation), true) = (&publication.perturbation, whole) {
        perturbation::add(&mut report, perturbation, seed)?;
    }
    Ok(report)
}

fn count<'a>(
    spec: &ReproduceSpec,
    column: &'a Column,
    dimension: usize,
    runs: u64,
    progress: &(dyn Fn(&str, usize, usize, usize) -> bool + Sync),
) -> Result<Counted<'a>> {
    let rule = column.training()?;
    let search = LandscapeSpec {
        students: column.students,
        teachers: column.teachers,
        dimension: Some(dimension),
        runs,
        seed: spec.seed.unwrap_or(1),
        rule,
        ..LandscapeSpec::default()
    };
    let label = format!("{}, d = {dimension}", column.label);
    let db = match &spec.db {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(Error::file("write", folder))?;
            Some(folder.join(file_name(spec.source, &label, "db")))
        }
        None => None,
    };
    let mut catalogue = Catalogue::open(db.as_deref(), search.problem()?, "orthonormal")?;
    catalogue.fill(search.runs, &|done, total, unresolved| progress(&label, done, total, unresolved))?;
    let census = catalogue.census(search.runs)?;
    // Students of norm 1 that outnumber the teachers cannot be the teacher: then the lowest of all ends stands for it.
    let lowest = match rule.constraint() {
        Constraint::Free => 0.0,
        _ => census.classes.iter().map(|class| class.point.loss).fold(f64::INFINITY, f64::min),
    };
    let mut counts = BTreeMap::new();
    for class in &census.classes {
        *counts.entry(column.outcome.class(&class.point, lowest)).or_default() += class.hits;
    }
    let smallest = |class: &Class| class.point.spectrum.min_span();
    Ok(Counted {
        column,
        dimension,
        lowest,
        counts,
        runs: census.runs.len(),
        unresolved: census.unresolved(),
        points: census.classes.len(),
        longest: census.runs.iter().filter_map(|(_, record, _)| record.time).fold(0.0, f64::max),
        flattest: census.classes.iter().map(smallest).fold(f64::INFINITY, f64::min),
    })
}

fn no_such_label(labels: impl Iterator<Item = String>) -> Error {
    let labels: Vec<String> = labels.collect();
    Error::Spec { action: ACTION, problem: format!("no column is called so; there are: {}", labels.join("; ")) }
}

/// A file name for a column: letters, digits, and a dash for everything else.
fn file_name(source: Source, label: &str, ending: &str) -> String {
    let words: Vec<&str> = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    format!("{source}-{}.{ending}", words.join("-").to_lowercase())
}
