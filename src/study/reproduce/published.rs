//! Published tables as data: one TOML file for each publication.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ACTION, Source};
use crate::error::{Error, Result};
use crate::landscape::Point;
use crate::model::{Activation, Training};

/// Loss above the lowest from which on a run has missed the global minimum (Safran and Shamir 2018).
pub const BAD: f64 = 1e-3;

/// The tables of one publication.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publication {
    pub title: String,
    /// What the publication leaves open.
    pub unstated: Option<String>,
    #[serde(default)]
    pub columns: Vec<Column>,
    pub online: Option<Online>,
    pub run_length: Option<RunLength>,
    pub perturbation: Option<Perturbation>,
}

/// One published column: an experiment and the shares of its runs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    pub table: String,
    pub label: String,
    pub students: usize,
    pub teachers: usize,
    /// Input dimensions at which it is run.
    pub dimensions: Vec<usize>,
    /// Training rule, as on the command line.
    pub rule: String,
    /// With descent: the norm of the gradient at which the flow of the same function takes over.
    pub hand_over: Option<f64>,
    pub outcome: Outcome,
    /// Published number of runs.
    pub runs: u64,
    /// Most runs of our own at each input dimension, where that is not the published number.
    #[serde(default)]
    pub own_runs: Vec<u64>,
    /// Whether the published runs converged.
    #[serde(default = "yes")]
    pub converged: bool,
    /// Published share of each class; what is left to 1 is the class `other`.
    #[serde(default)]
    pub shares: BTreeMap<String, f64>,
    /// The same share at another place of the publication.
    #[serde(default)]
    pub rivals: BTreeMap<String, Rival>,
}

fn yes() -> bool {
    true
}

/// A second published value of a share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rival {
    pub share: f64,
    pub place: String,
}

/// One-pass SGD of K = M students at finite learning rates.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Online {
    pub activation: Activation,
    pub plateaus: Vec<Plateau>,
    pub largest: Vec<Largest>,
    pub learning: Vec<Learning>,
}

/// The unspecialised plateau at a small learning rate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plateau {
    pub students: usize,
    /// Q_ik, the same for all i, k.
    pub overlap: f64,
    /// R_in, the same for all i, n.
    pub teacher_overlap: f64,
    pub loss: f64,
}

/// The largest learning rate at which the teacher is reached.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Largest {
    pub students: usize,
    pub learning_rate: f64,
}

/// A learning curve, and how it is simulated.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learning {
    pub students: usize,
    pub learning_rate: f64,
    /// End of the curve, steps / d.
    pub time: f64,
    pub dimension: usize,
    pub runs: usize,
    /// Dimension and number of the random start.
    pub init_dimension: usize,
    #[serde(default)]
    pub run: u64,
}

/// Discrete descent, classified after several numbers of steps.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLength {
    pub teachers: usize,
    pub students: Vec<usize>,
    pub step: f64,
    pub steps: Vec<u64>,
}

/// Noise on a fixed point, then discrete descent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Perturbation {
    pub teachers: usize,
    pub steps: u32,
    pub step: f64,
}

impl Column {
    /// The training rule.
    ///
    /// # Errors
    /// [`Error::Spec`] for one that does not exist.
    pub fn training(&self) -> Result<Training> {
        let mut rule: Training = self.rule.parse()?;
        if let (Training::Descent(descent), Some(gradient)) = (&mut rule, self.hand_over) {
            descent.gradient = gradient;
        }
        Ok(rule)
    }
}

/// How a run's end is put in a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// `global`, or `bad` from a loss of 1e-3 above the lowest on.
    Loss,
    /// `global` below it, else `k1 = n` by the number of anti-aligned units.
    AntiAligned,
    /// `global` below it, else the family.
    Family,
}

impl Outcome {
    /// Class of a point where `lowest` is the lowest loss there is: 0 wherever the students can be the teacher.
    pub fn class(self, point: &Point, lowest: f64) -> String {
        match self {
            _ if point.loss < lowest + BAD => "global".into(),
            Outcome::Loss => "bad".into(),
            Outcome::AntiAligned => format!("k1 = {}", point.family.anti_aligned),
            Outcome::Family => point.family.name.clone(),
        }
    }
}

impl Publication {
    /// The tables of a publication.
    ///
    /// # Errors
    /// [`Error::Spec`] when they do not parse.
    pub fn read(source: Source) -> Result<Publication> {
        let text = match source {
            Source::Huang2026 => include_str!("published/huang-2026.toml"),
            Source::SafranShamir2018 => include_str!("published/safran-shamir-2018.toml"),
            Source::Safran2021 => include_str!("published/safran-2021.toml"),
            Source::SaadSolla1995 => include_str!("published/saad-solla-1995.toml"),
        };
        toml::from_str(text).map_err(|error| Error::Spec {
            action: ACTION,
            problem: format!("the table of {source} does not parse: {error}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_tables_parse_and_are_shares_of_whole_runs() {
        for source in Source::ALL {
            let publication = Publication::read(source).unwrap();
            assert!(!publication.title.is_empty());
            for column in publication.columns {
                let total: f64 = column.shares.values().sum();
                assert!(column.training().is_ok(), "{}", column.label);
                assert!(column.own_runs.is_empty() || column.own_runs.len() == column.dimensions.len());
                assert!(total <= 1.0 + 1e-12 && column.converged != column.shares.is_empty(), "{}", column.label);
                for share in column.shares.values() {
                    let count = share * column.runs as f64;
                    assert!((count - count.round()).abs() < 1e-9, "{}: {share}", column.label);
                }
            }
        }
    }
}
