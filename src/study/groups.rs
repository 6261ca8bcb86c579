//! The groups of a family as text: `SIZES[:MATCHED][+FREE]`, and lists of numbers of flipped units.

use super::families::FamiliesSpec;
use crate::error::{Error, Result};
use crate::landscape::reduced::{Parameter, Shape};

const ACTION: &str = "list the families";
/// Most flipped units that `all` names.
const ALL: f64 = 20.0;

/// What a spec asks for.
pub enum Groups {
    Given(Shape),
    Flipped { list: Vec<f64>, teachers: f64, extra: usize },
}

/// # Errors
/// [`Error::Spec`] for text that does not parse, [`Error::Real`] and [`Error::Count`] for numbers out of range.
pub fn parse(spec: &FamiliesSpec) -> Result<Groups> {
    if let Some(text) = &spec.groups {
        return Ok(Groups::Given(shape(text)?));
    }
    let teachers = spec.teachers;
    let refuse = |quantity: &str, value: f64, needs: &'static str| {
        Err(Error::Real { action: ACTION, quantity: quantity.into(), value, needs })
    };
    if !(teachers >= 1.0 && teachers.is_finite()) {
        return refuse("teachers M", teachers, "a number of at least 1");
    }
    let extra = spec.students.map_or(0.0, |k| k - teachers);
    if !(extra >= 0.0 && extra.fract() == 0.0 && extra <= 8.0) {
        return refuse("students K", extra + teachers, "M, or a whole number of units more, up to 8");
    }
    let list = if spec.flipped.trim() == "all" {
        let most = teachers.min(ALL).floor() as usize;
        (0..=most).map(|k1| k1 as f64).filter(|k1| teachers - k1 >= 1.0 || teachers == *k1).collect()
    } else {
        let mut list = numbers("--flipped", &spec.flipped)?;
        list.sort_by(f64::total_cmp);
        list.dedup();
        list
    };
    for &k1 in &list {
        if !(0.0..=teachers).contains(&k1) {
            return refuse("the number of flipped units k1", k1, "a number from 0 to M");
        }
    }
    Ok(Groups::Flipped { list, teachers, extra: extra as usize })
}

/// Numbers separated by commas; at least one.
fn numbers(option: &str, text: &str) -> Result<Vec<f64>> {
    let number = |part: &str| {
        part.trim()
            .parse::<f64>()
            .map_err(|_| Error::Spec { action: ACTION, problem: format!("{option} {text}: '{part}' is no number") })
    };
    text.split(',').map(number).collect()
}

fn shape(text: &str) -> Result<Shape> {
    let (matched_part, free) = match text.split_once('+') {
        Some((rest, free)) => (rest, numbers("--groups", free)?),
        None => (text, Vec::new()),
    };
    let (sizes, matched) = match matched_part.split_once(':') {
        Some((sizes, matched)) => (sizes, Some(numbers("--groups", matched)?)),
        None => (matched_part, None),
    };
    let teachers = numbers("--groups", sizes)?;
    let matched = match matched {
        None => (0..teachers.len()).collect(),
        Some(list) => list
            .iter()
            .map(|&n| {
                if n.fract() == 0.0 && n >= 1.0 && n <= teachers.len() as f64 {
                    return Ok(n as usize - 1);
                }
                let groups = teachers.len();
                let problem = format!("--groups {text}: a group of students is matched to group {n} of {groups}");
                Err(Error::Spec { action: ACTION, problem })
            })
            .collect::<Result<_>>()?,
    };
    Ok(Shape {
        teachers,
        matched,
        free,
        across: false,
        correlation: 0.0,
        norm: 1.0,
        slope: 0.0,
        parameter: Parameter::Teachers,
    })
}

/// The groups of a shape as text that [`parse`] reads.
pub fn name(shape: &Shape) -> String {
    // Ten decimals: M - k1 has more for real sizes.
    let text = |x: &f64| ((x * 1e10).round() / 1e10).to_string();
    let list = |values: &[f64]| values.iter().map(text).collect::<Vec<_>>().join(",");
    let mut text = list(&shape.teachers);
    if shape.matched.iter().copied().ne(0..shape.teachers.len()) {
        let matched: Vec<f64> = shape.matched.iter().map(|set| *set as f64 + 1.0).collect();
        text = format!("{text}:{}", list(&matched));
    }
    if !shape.free.is_empty() {
        text = format!("{text}+{}", list(&shape.free));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_they_are_written() {
        for text in ["6,1,13", "6,1,13+1", "1,16:1,2,1", "4.5,13:1,2,2+1,2"] {
            assert_eq!(name(&shape(text).unwrap()), text);
        }
        for text in ["", "6,", "6;1", "6:2", "6:0.5", "6+", "6+1+1", "1:1:1"] {
            assert!(matches!(shape(text), Err(Error::Spec { .. })), "{text}");
        }
    }
}
