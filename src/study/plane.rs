//! Planes of two parameters and the families on their lines.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::LandscapeSpec;
use super::training::at_least_one;
use crate::dynamics::orthonormal_threshold;
use crate::error::{Error, Result};
use crate::landscape::phase::{self, Found, Line};
use crate::model::{Sgd, TeacherSpec};

const ACTION: &str = "draw a phase diagram";
const MOST_EXTRA: usize = 100;

/// Which two parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plane {
    /// Flipped units k1 against M.
    #[serde(rename = "k1-M")]
    FlippedTeachers,
    /// Further units K - M, equal to each other, against M, for one k1.
    #[serde(rename = "extra-M")]
    ExtraTeachers,
    /// Correlation rho of the teacher against M, for one k1.
    #[serde(rename = "rho-M")]
    CorrelationTeachers,
    /// Flipped units k1 against the learning rate of one-pass SGD, for one M.
    #[serde(rename = "k1-eta")]
    FlippedRate,
}

impl FromStr for Plane {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Plane, String> {
        match text {
            "k1-M" => Ok(Plane::FlippedTeachers),
            "extra-M" => Ok(Plane::ExtraTeachers),
            "rho-M" => Ok(Plane::CorrelationTeachers),
            "k1-eta" => Ok(Plane::FlippedRate),
            other => Err(format!("'{other}' is not known, needs k1-M, extra-M, rho-M or k1-eta")),
        }
    }
}

/// Whole numbers from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span(pub usize, pub usize);

impl Span {
    fn values(self) -> std::ops::RangeInclusive<usize> {
        self.0..=self.1
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Span, String> {
        let number = |word: &str| {
            word.trim()
                .parse::<usize>()
                .map_err(|_| format!("'{word}' in '{text}' is no number, needs A..B or one number"))
        };
        match text.split_once("..") {
            Some((first, last)) => Ok(Span(number(first)?, number(last.trim_start_matches('='))?)),
            None => Ok(Span(number(text)?, number(text)?)),
        }
    }
}

/// Equally spaced real values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    pub low: f64,
    pub high: f64,
    pub points: usize,
}

impl Grid {
    pub(super) fn values(self) -> Vec<f64> {
        let share = |i: usize| i as f64 / (self.points - 1).max(1) as f64;
        (0..self.points).map(|i| self.low + share(i) * (self.high - self.low)).collect()
    }

    /// Distance of neighbouring values; 1 where there is none.
    pub fn step(self) -> f64 {
        if self.high > self.low { (self.high - self.low) / (self.points.max(2) - 1) as f64 } else { 1.0 }
    }
}

impl FromStr for Grid {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Grid, String> {
        let words: Vec<&str> = text.split(',').map(str::trim).collect();
        let parsed = match words.as_slice() {
            [low, high, points] => low
                .parse()
                .ok()
                .zip(high.parse().ok())
                .zip(points.parse().ok())
                .map(|((low, high), points)| (low, high, points)),
            _ => None,
        };
        let (low, high, points) = parsed.ok_or_else(|| format!("'{text}' is not LO,HI,N"))?;
        Ok(Grid { low, high, points })
    }
}

/// Sizes of the group of extra units, whole or real.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Extra {
    Whole(Span),
    Real(Grid),
}

impl Extra {
    fn values(self) -> Vec<f64> {
        match self {
            Extra::Whole(span) => span.values().map(|n| n as f64).collect(),
            Extra::Real(grid) => grid.values(),
        }
    }
}

impl FromStr for Extra {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Extra, String> {
        if text.contains(',') { text.parse().map(Extra::Real) } else { text.parse().map(Extra::Whole) }
    }
}

/// Which diagram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhaseSpec {
    pub plane: Plane,
    /// M; one value on the plane k1-eta.
    pub teachers: Span,
    /// k1; one value on the planes extra-M and rho-M.
    pub flipped: Span,
    /// On the plane k1-eta: fresh inputs in a step, standard deviation of the noise on the labels, weight decay.
    pub batch: usize,
    pub label_noise: f64,
    pub weight_decay: f64,
    /// Random starts of gradient flow in each column (K, M, rho); 0: none.
    pub runs: u64,
    /// Input dimension d of the starts; `None`: K + M.
    pub dimension: Option<usize>,
    /// Initial weights N(0, s^2 I / d).
    pub init_scale: f64,
    pub seed: u64,
    /// K - M on the plane extra-M: 0, or the size of a group of equal units.
    pub extra: Extra,
    /// rho on the plane rho-M.
    pub rho: Grid,
    /// eta on the plane k1-eta; `None`: 0 to 1.1 times the local threshold of the exact solution.
    pub rates: Option<Grid>,
}

impl Default for PhaseSpec {
    fn default() -> Self {
        PhaseSpec {
            plane: Plane::FlippedTeachers,
            teachers: Span(5, 20),
            flipped: Span(1, 6),
            batch: 1,
            label_noise: 0.0,
            weight_decay: 0.0,
            runs: 0,
            dimension: None,
            init_scale: 1.0,
            seed: 1,
            extra: Extra::Whole(Span(0, 2)),
            rho: Grid { low: -0.2, high: 0.9, points: 23 },
            rates: None,
        }
    }
}

impl PhaseSpec {
    pub(super) fn check(&self) -> Result<()> {
        let count =
            |quantity, value, needs: &str| Err(Error::Count { action: ACTION, quantity, value, needs: needs.into() });
        let real =
            |quantity: &str, value, needs| Err(Error::Real { action: ACTION, quantity: quantity.into(), value, needs });
        let refuse = |problem: &str| Err(Error::Spec { action: ACTION, problem: problem.into() });
        for (quantity, span) in [("the last M", self.teachers), ("the last k1", self.flipped)] {
            if span.1 < span.0 {
                return count(quantity, span.1, &format!("at least the first, {}", span.0));
            }
        }
        if self.flipped.0 == 0 {
            return count("flipped units k1", 0, "at least 1 (without flipped units the point is the exact solution)");
        }
        if self.flipped.1 > 100 {
            return count("flipped units k1", self.flipped.1, "at most 100");
        }
        if self.teachers.1 > 1000 {
            return count("teachers M", self.teachers.1, "at most 1000");
        }
        let most = match self.plane {
            Plane::CorrelationTeachers => self.teachers.0,
            _ => self.teachers.1,
        };
        if most < self.flipped.0 + 3 {
            return count("teachers M", most, &format!("at least k1 + 3 = {}", self.flipped.0 + 3));
        }
        let has_one_family = matches!(self.plane, Plane::ExtraTeachers | Plane::CorrelationTeachers);
        if has_one_family && self.flipped.0 != self.flipped.1 {
            return count("the last k1", self.flipped.1, "one value of k1 on this plane: --flipped K1");
        }
        match self.plane {
            Plane::FlippedTeachers => {}
            Plane::ExtraTeachers => match self.extra {
                Extra::Whole(span) if span.1 < span.0 => {
                    return count("the last number of extra units", span.1, &format!("at least the first, {}", span.0));
                }
                Extra::Whole(span) if span.1 > MOST_EXTRA => {
                    return count("extra units K - M", span.1, "at most 100");
                }
                Extra::Whole(_) => {}
                Extra::Real(Grid { low, high, points }) => {
                    at_least_one(ACTION, &[("points of K - M", points)])?;
                    if !(low >= 1.0) {
                        return real("the lowest K - M", low, "a number of at least 1 (none: --extra 0)");
                    }
                    if !(high >= low && high <= MOST_EXTRA as f64) {
                        return real("the highest K - M", high, "a number from the lowest K - M to 100");
                    }
                }
            },
            Plane::CorrelationTeachers => {
                let Grid { low, high, points } = self.rho;
                at_least_one(ACTION, &[("points of rho", points)])?;
                if !(low > -1.0 && low.is_finite()) {
                    return real("the lowest rho", low, "a number above -1");
                }
                if !(high >= low && high <= phase::MOST_CORRELATED) {
                    return real("the highest rho", high, "a number from the lowest rho to 0.999");
                }
            }
            Plane::FlippedRate => {
                if self.teachers.0 != self.teachers.1 {
                    return count("the last M", self.teachers.1, "one value of M on this plane: --teachers M");
                }
                at_least_one(ACTION, &[("the batch size", self.batch)])?;
                self.rule()?;
                let Grid { low, high, points } = self.rates();
                at_least_one(ACTION, &[("points of the learning rate", points)])?;
                if !(low >= 0.0 && low.is_finite()) {
                    return real("the lowest learning rate", low, "a number of at least 0");
                }
                if !(high >= low && high > 0.0 && high.is_finite()) {
                    return real("the highest learning rate", high, "a positive number, not below the lowest");
                }
                if self.runs > 0 {
                    return refuse(
                        "runs from random starts follow gradient flow, learning rate 0, and have no share at the others; \
                         leave --runs out, or take the plane k1-M",
                    );
                }
            }
        }
        let is_flow = (self.batch, self.label_noise, self.weight_decay) == (1, 0.0, 0.0) && self.rates.is_none();
        if self.plane != Plane::FlippedRate && !is_flow {
            return refuse(
                "the learning rate, batch size, label noise and weight decay belong to the plane k1-eta, the other planes \
                 to gradient flow; leave them out",
            );
        }
        Ok(())
    }

    /// The rule of training on the plane k1-eta.
    pub(super) fn rule(&self) -> Result<Sgd> {
        let (batch, label_noise, weight_decay) = (self.batch, self.label_noise, self.weight_decay);
        Sgd { batch, label_noise, weight_decay, ..Sgd::default() }.checked()
    }

    /// The learning rates of the plane k1-eta.
    pub fn rates(&self) -> Grid {
        let high = 1.1 * orthonormal_threshold(self.teachers.0, self.batch.max(1));
        self.rates.unwrap_or(Grid { low: 0.0, high, points: 23 })
    }

    /// The searches of the columns, in which all cells with the same K, M and rho share their runs: (rho, search). Columns
    /// without a network (K not whole, T no Gram matrix) have none.
    pub(super) fn columns(&self) -> Vec<(f64, LandscapeSpec)> {
        if self.runs == 0 {
            return Vec::new();
        }
        let search = |extra: usize, teachers: usize, rho: f64| LandscapeSpec {
            students: teachers + extra,
            teachers,
            dimension: self.dimension,
            init_scale: self.init_scale,
            runs: self.runs,
            seed: self.seed,
            teacher: if rho == 0.0 { TeacherSpec::Orthonormal } else { TeacherSpec::Correlated(rho) },
            ..LandscapeSpec::default()
        };
        let teachers = || self.teachers.values();
        let all: Vec<(usize, usize, f64)> = match self.plane {
            Plane::ExtraTeachers => {
                let whole = self.extra.values().into_iter().filter(|n| n.fract() == 0.0);
                whole.flat_map(|n| teachers().map(move |m| (n as usize, m, 0.0))).collect()
            }
            Plane::CorrelationTeachers => {
                let is_gram = |m: usize, rho: f64| rho > phase::singular_correlation(m as f64);
                let rho = self.rho.values();
                let row = |m: usize| rho.iter().filter(move |&&rho| is_gram(m, rho)).map(move |&rho| (0, m, rho));
                teachers().flat_map(row).collect()
            }
            _ => teachers().map(|m| (0, m, 0.0)).collect(),
        };
        all.into_iter().map(|(extra, m, rho)| (rho, search(extra, m, rho))).collect()
    }

    /// The values of the parameter that has one family on each line of cells.
    pub(super) fn lines(&self) -> Vec<f64> {
        let whole = |span: Span| span.values().map(|n| n as f64).collect();
        match self.plane {
            Plane::ExtraTeachers => self.extra.values(),
            Plane::CorrelationTeachers => whole(self.teachers),
            _ => whole(self.flipped),
        }
    }

    /// The values of the other one, along the lines.
    pub(super) fn along(&self) -> Vec<f64> {
        match self.plane {
            Plane::CorrelationTeachers => self.rho.values(),
            Plane::FlippedRate => self.rates().values(),
            _ => self.teachers.values().map(|m| m as f64).collect(),
        }
    }

    /// The family of a line under gradient flow, followed.
    pub(super) fn follow(&self, line: f64) -> Result<Line> {
        let (k1, most) = (self.flipped.0 as f64, self.teachers.1 as f64);
        match self.plane {
            Plane::ExtraTeachers => Line::in_teachers(k1, line, most),
            Plane::CorrelationTeachers => match Line::in_teachers(k1, 0.0, most)?.at(line)? {
                Found::Point(point) => Line::in_correlation(&point),
                Found::Nothing(problem) => Err(Error::Spec { action: ACTION, problem }),
            },
            _ => Line::in_teachers(line, 0.0, most),
        }
    }

    /// (x, y) of a place on a line: x is the first parameter in the plane's name.
    pub(super) fn place(&self, line: f64, along: f64) -> [f64; 2] {
        match self.plane {
            Plane::CorrelationTeachers => [along, line],
            _ => [line, along],
        }
    }
}
