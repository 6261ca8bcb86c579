//! Planes of two parameters and the families on their lines.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::landscape::phase::{self, Found, Line};

const ACTION: &str = "draw a phase diagram";

/// Which two parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plane {
    /// Flipped units k1 against M.
    #[serde(rename = "k1-M")]
    FlippedTeachers,
    /// Further units K - M against M, for one k1.
    #[serde(rename = "extra-M")]
    ExtraTeachers,
    /// Correlation rho of the teacher against M, for one k1.
    #[serde(rename = "rho-M")]
    CorrelationTeachers,
    /// Flipped units k1 against the learning rate.
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
            other => Err(format!("'{other}' is not known, needs k1-M, extra-M or rho-M")),
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
    fn value(&self, i: usize) -> f64 {
        let share = i as f64 / (self.points - 1).max(1) as f64;
        self.low + share * (self.high - self.low)
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

/// Which diagram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhaseSpec {
    pub plane: Plane,
    /// M.
    pub teachers: Span,
    /// k1; one value on the planes extra-M and rho-M.
    pub flipped: Span,
    /// K - M on the plane extra-M: 0 to 2, equal to each other.
    pub extra: Span,
    /// rho on the plane rho-M.
    pub rho: Grid,
}

impl Default for PhaseSpec {
    fn default() -> Self {
        PhaseSpec {
            plane: Plane::FlippedTeachers,
            teachers: Span(5, 20),
            flipped: Span(1, 6),
            extra: Span(0, 2),
            rho: Grid { low: -0.2, high: 0.9, points: 23 },
        }
    }
}

impl PhaseSpec {
    pub(super) fn check(&self) -> Result<()> {
        let count =
            |quantity, value, needs: &str| Err(Error::Count { action: ACTION, quantity, value, needs: needs.into() });
        if self.plane == Plane::FlippedRate {
            let problem =
                "the plane k1-eta is what `committee limits` computes: the learning rate at which each minimum ends"
                    .into();
            return Err(Error::Spec { action: ACTION, problem });
        }
        for (quantity, span) in [
            ("the last M", self.teachers),
            ("the last k1", self.flipped),
            ("the last number of extra units", self.extra),
        ] {
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
        if self.plane != Plane::FlippedTeachers && self.flipped.0 != self.flipped.1 {
            return count("the last k1", self.flipped.1, "one value of k1 on this plane: --flipped K1");
        }
        if self.plane == Plane::ExtraTeachers && self.extra.1 > 2 {
            return count("extra units K - M", self.extra.1, "at most 2");
        }
        if self.plane == Plane::CorrelationTeachers {
            let Grid { low, high, points } = self.rho;
            if points == 0 {
                return count("points of rho", 0, "at least 1");
            }
            let real = |quantity: &str, value, needs| {
                Err(Error::Real { action: ACTION, quantity: quantity.into(), value, needs })
            };
            if !(low > -1.0 && low.is_finite()) {
                return real("the lowest rho", low, "a number above -1");
            }
            if !(high >= low && high <= phase::MOST_CORRELATED) {
                return real("the highest rho", high, "a number from the lowest rho to 0.999");
            }
        }
        Ok(())
    }

    /// The values of the parameter that has one family on each line of cells.
    pub(super) fn lines(&self) -> Vec<usize> {
        match self.plane {
            Plane::ExtraTeachers => self.extra.values().collect(),
            Plane::CorrelationTeachers => self.teachers.values().collect(),
            _ => self.flipped.values().collect(),
        }
    }

    /// The values of the other one, along the lines.
    pub(super) fn along(&self) -> Vec<f64> {
        match self.plane {
            Plane::CorrelationTeachers => (0..self.rho.points).map(|i| self.rho.value(i)).collect(),
            _ => self.teachers.values().map(|m| m as f64).collect(),
        }
    }

    /// The family of a line, followed.
    pub(super) fn follow(&self, line: usize) -> Result<Line> {
        let (k1, most) = (self.flipped.0 as f64, self.teachers.1 as f64);
        match self.plane {
            Plane::ExtraTeachers => Line::in_teachers(k1, line, most),
            Plane::CorrelationTeachers => match Line::in_teachers(k1, 0, most)?.at(line as f64)? {
                Found::Point(point) => Line::in_correlation(&point),
                Found::Nothing(problem) => Err(Error::Spec { action: ACTION, problem }),
            },
            _ => Line::in_teachers(line as f64, 0, most),
        }
    }

    /// (x, y) of a place on a line: x is the first parameter in the plane's name.
    pub(super) fn place(&self, line: usize, along: f64) -> [f64; 2] {
        match self.plane {
            Plane::CorrelationTeachers => [along, line as f64],
            _ => [line as f64, along],
        }
    }
}
