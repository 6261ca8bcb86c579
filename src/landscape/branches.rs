//! The families of critical points known by name, from guesses that fit large M and by continuation in real sizes.
//!
//! At K = M: the branch with k1 flipped units that continues the single flipped one; the branch of a block of m units that
//! are flipped among themselves beside almost exact ones, with its ends "type I" (m = M - 1) and "type A" (m = M); the
//! exact solution. At K = M + 1: flipped units with one extra unit along the sum of their teachers.

use super::patterns::{Kind, guess};
use super::reduced::{Parameter, Shape, approach, flipped_guess, polish, rounding};
use crate::error::{Error, Result};
use crate::model::{Blocks, Place};
use crate::numerics::follow::{Event, Options, follow};

/// A named family at one set of sizes.
#[derive(Clone, Debug)]
pub struct Named {
    pub shape: Shape,
    /// Number of flipped units, for the families with two groups of matched units.
    pub k1: Option<f64>,
    pub name: String,
    /// The state, or why there is none.
    pub state: std::result::Result<Blocks, String>,
}

/// Farthest an entry of a solution lies from its guess of large M.
const FAR: f64 = 0.2;
/// Farthest an entry, times the square root of how often it occurs, lies from where the last two points of a walk lead to.
/// Branches whose entries differ by 1/M are still apart by this measure.
const JUMP: f64 = 0.05;
/// The first size at which the branch of flipped units is solved from its guess, and the number of teachers it needs.
const START: (f64, f64) = (1.5, 17.0);

/// The solution near a guess.
///
/// # Errors
/// [`Error::NotConverged`]; [`Error::Spec`] when Newton's method ends elsewhere.
pub fn near(shape: &Shape, guess: &[f64]) -> Result<Vec<f64>> {
    let entries = approach(shape, guess)?;
    let distance = largest_difference(&entries, guess);
    if distance > FAR {
        let problem = format!("Newton's method went to another solution, {distance:.2} away from the guess");
        return Err(Error::Spec { action: "solve a family", problem });
    }
    Ok(entries)
}

pub(super) fn largest_difference(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).fold(0.0, |m, (x, y)| m.max((x - y).abs()))
}

/// A family followed in its parameter, point by point: Newton's method from where the last two points lead to.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Where it began: sizes are taken from here, so that rounding does not add up.
    origin: Shape,
    shape: Shape,
    entries: Vec<f64>,
    /// The point before.
    before: Option<(Shape, Vec<f64>)>,
    step: f64,
}

impl Walk {
    /// From a solution, in steps of at most `step` times max(1, |p| / 8).
    pub fn new(shape: &Shape, entries: Vec<f64>, step: f64) -> Walk {
        Walk { origin: shape.clone(), shape: shape.clone(), entries, before: None, step }
    }

    /// Entries at a parameter value.
    ///
    /// # Errors
    /// Where and why the family ends: at a fold when the continuation finds one.
    pub fn to(&mut self, target: f64) -> std::result::Result<Vec<f64>, String> {
        let largest = |p: f64| self.step * (p.abs() / 8.0).max(1.0);
        let mut step = largest(self.shape.value());
        while self.shape.value() != target {
            let p = self.shape.value();
            let next = if (target - p).abs() <= step { target } else { p + step * (target - p).signum() };
            let shape = self.origin.at(next);
            match self.predict(&shape).and_then(|guess| {
                let entries = approach(&shape, &guess)?;
                Ok((largest_difference(&shape.unknowns(&entries)?, &shape.unknowns(&guess)?), entries))
            }) {
                Ok((distance, entries)) if distance < JUMP => {
                    let old = std::mem::replace(&mut self.shape, shape);
                    self.before = Some((old, std::mem::replace(&mut self.entries, entries)));
                    step = (1.5 * step).min(largest(next));
                }
                _ => {
                    step *= 0.5;
                    if step < 1e-4 * largest(p) {
                        return Err(self.end(target));
                    }
                }
            }
        }
        Ok(self.entries.clone())
    }

    /// Entries at another parameter value by the secant through the last two points.
    fn predict(&self, shape: &Shape) -> Result<Vec<f64>> {
        let here = transfer(&self.shape, &self.entries, shape)?;
        let Some((old, entries)) = &self.before else { return Ok(here) };
        let known = old.partition()?.entries().len();
        if known != self.entries.len() || known != here.len() {
            return Ok(here);
        }
        let ratio = (shape.value() - self.shape.value()) / (self.shape.value() - old.value());
        Ok(here.iter().zip(entries).map(|(x, y)| x + ratio * (x - y)).collect())
    }

    /// Why the walk ends here.
    fn end(&self, target: f64) -> String {
        let p = self.shape.value();
        let options = Options {
            range: if target > p { (p - 1.0, target) } else { (target, p + 1.0) },
            events: 1,
            tolerance: rounding(&self.shape).unwrap_or(1e-12).max(1e-12),
            ..Options::default()
        };
        let unknowns = self.shape.unknowns(&self.entries);
        let branch = unknowns.and_then(|x| follow(&self.shape, &x, p, target - p, &options, &|_, _| Ok(Vec::new())));
        match branch {
            Ok(branch) => match branch.events.iter().find(|event| event.kind == Event::Fold) {
                Some(fold) => format!("ends in a fold at {:.6}", fold.point.p),
                None => format!("is lost after {p:.4}: {}", branch.end),
            },
            Err(error) => format!("is lost after {p:.4}: {error}"),
        }
    }
}

/// Entries of one shape for another one with the same groups: a number that exists at one of the sizes only is 0.
fn transfer(from: &Shape, entries: &[f64], to: &Shape) -> Result<Vec<f64>> {
    let known = from.partition()?.entries();
    let value = |entry: &crate::model::Entry| {
        let same = |k: &crate::model::Entry| (k.group, k.set, k.place) == (entry.group, entry.set, entry.place);
        known.iter().position(same).map_or(0.0, |i| entries[i])
    };
    Ok(to.partition()?.entries().iter().map(value).collect())
}

/// Brings entries of almost these sizes at uncorrelated teachers to the shape's correlation, and polishes them.
pub(super) fn finish(shape: &Shape, correlation: f64, entries: &[f64]) -> std::result::Result<(Shape, Blocks), String> {
    let correlated = Shape { correlation, ..shape.clone() };
    let entries = if correlation == 0.0 {
        entries.to_vec()
    } else {
        let mut walk = Walk::new(&shape.along(Parameter::Correlation), entries.to_vec(), 0.02);
        walk.to(correlation).map_err(|end| format!("{end} (correlation)"))?
    };
    let state = polish(&correlated, &entries).map_err(|error| error.to_string())?;
    Ok((correlated, state))
}

/// The exact solution, every student on its teacher: K = M.
///
/// # Errors
/// Those of the shape.
pub fn global(shape: &Shape) -> Result<Blocks> {
    let entries = shape.partition()?.entries();
    let state = shape.state(&vec![1.0; entries.len()])?;
    let groups = shape.matched.len();
    let teacher: Vec<f64> = entries
        .iter()
        .map(|e| state.rows()[[groups + shape.matched[e.group], e.set]][usize::from(e.place != Place::Own)])
        .collect();
    state.with_entries(&teacher)
}

/// All named families with k1 flipped units out of a list, at K = M + extra.
pub fn flipped(teachers: f64, extra: usize, correlation: f64, list: &[f64]) -> Vec<Named> {
    let mut out = Vec::new();
    let mut push = |shape: &Shape, k1: f64, name: String, entries: std::result::Result<Vec<f64>, String>| {
        let finished = entries.and_then(|entries| finish(shape, correlation, &entries));
        let (shape, state) = match finished {
            Ok((shape, state)) => (shape, Ok(state)),
            Err(reason) => (Shape { correlation, ..shape.clone() }, Err(reason)),
        };
        out.push(Named { shape, k1: Some(k1), name, state });
    };
    let inner: Vec<f64> = list.iter().copied().filter(|&k1| k1 >= 1.0 && teachers - k1 >= 1.0).collect();
    let main = along(&inner, first(teachers, extra), 0.25);
    let block = if extra == 0 { blocks(&inner, teachers) } else { Vec::new() };
    for &k1 in list {
        let shape = Shape::flipped(k1, teachers, extra);
        if let Some(at) = inner.iter().position(|&x| x == k1) {
            let shape = shape.along(Parameter::Size(0));
            let suffix = if extra > 0 { format!(", {extra} extra") } else { String::new() };
            let (plain, last) = (format!("k1 = {k1}{suffix}"), teachers - k1 == 1.0);
            let Some(entries) = block.get(at).filter(|_| k1 > 1.0) else {
                push(&shape, k1, plain, main[at].clone());
                continue;
            };
            let unknowns = |entries: &Vec<f64>| shape.unknowns(entries).unwrap_or_default();
            let is_same = matches!((entries, &main[at]), (Ok(x), Ok(y)) if x.len() == y.len()
                && largest_difference(&unknowns(x), &unknowns(y)) < JUMP);
            let name = if last { "type I".into() } else { format!("block {k1}") };
            if !(is_same && last) {
                push(&shape, k1, plain.clone(), main[at].clone());
            }
            let same = || Err(format!("of blocks followed down from M - 1 units is that of {plain} here"));
            push(&shape, k1, name, if is_same && !last { same() } else { entries.clone() });
        } else if k1 == 0.0 && extra == 0 {
            let entries = global(&shape).map(|state| state.entries()).map_err(|error| error.to_string());
            push(&shape, k1, "global".into(), entries);
        } else if k1 == teachers && extra == 0 {
            push(&shape, k1, "type A".into(), type_a(&shape));
        }
    }
    out
}

/// Entries at each of the sizes, in their order, from a first point outwards.
pub(super) fn along(
    list: &[f64],
    first: std::result::Result<(Shape, Vec<f64>), String>,
    step: f64,
) -> Vec<std::result::Result<Vec<f64>, String>> {
    let (shape, entries) = match first {
        Ok(first) => first,
        Err(reason) => return vec![Err(reason); list.len()],
    };
    let mut out = vec![Err(String::new()); list.len()];
    let mut order: Vec<usize> = (0..list.len()).collect();
    order.sort_by(|&a, &b| list[a].total_cmp(&list[b]));
    let (below, above): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|&i| list[i] < shape.value());
    for side in [above, below.into_iter().rev().collect()] {
        let mut walk = Walk::new(&shape, entries.clone(), step);
        let mut lost: Option<String> = None;
        for i in side {
            out[i] = match &lost {
                Some(end) => Err(end.clone()),
                None => walk.to(list[i]),
            };
            lost = lost.or_else(|| out[i].clone().err());
        }
    }
    out
}

/// A first point of the branch of flipped units, with the size of the flipped group as parameter.
pub(super) fn first(teachers: f64, extra: usize) -> std::result::Result<(Shape, Vec<f64>), String> {
    if teachers < 2.0 {
        return Err("needs at least two teachers".into());
    }
    let text = |error: Error| error.to_string();
    match extra {
        0 => {
            let (size, needed) = START;
            let start = Shape::flipped(size.min(teachers - 1.0), teachers.max(needed), 0);
            let entries = near(&start, &flipped_guess(&start)).map_err(text)?;
            let entries = Walk::new(&start, entries, 0.5).to(teachers)?;
            Ok((start.at(teachers).along(Parameter::Size(0)), entries))
        }
        1 => {
            let shape = Shape::flipped(4.0f64.min(teachers - 1.0), teachers, 1).along(Parameter::Size(0));
            let entries = guess(&shape, &[Kind::Flipped, Kind::Aligned]).and_then(|guess| near(&shape, &guess));
            Ok((shape, entries.map_err(text)?))
        }
        _ => Err("has no guess with more than one extra unit: search with random starts".into()),
    }
}

/// Entries of blocks of these sizes: from a block of 7 outwards, and where that ends, from one of M - 1 downwards.
pub(super) fn blocks(list: &[f64], teachers: f64) -> Vec<std::result::Result<Vec<f64>, String>> {
    let first = |size: f64| {
        let shape = Shape::flipped(size.min(teachers - 1.0).max(1.0), teachers, 0).along(Parameter::Size(0));
        let entries = guess(&shape, &[Kind::Block, Kind::Aligned]).and_then(|guess| near(&shape, &guess));
        entries.map(|entries| (shape, entries)).map_err(|error| error.to_string())
    };
    let (below, above): (Vec<usize>, Vec<usize>) = (0..list.len()).partition(|&i| 2.0 * list[i] <= teachers);
    let pick = |places: &[usize]| places.iter().map(|&i| list[i]).collect::<Vec<f64>>();
    let mut out = vec![Err(String::new()); list.len()];
    let small = along(&pick(&below), first(7.0), 0.25);
    let rest: Vec<usize> =
        below.iter().zip(&small).filter(|(_, found)| found.is_err()).map(|(&i, _)| i).chain(above).collect();
    for (&i, found) in below.iter().zip(small) {
        out[i] = found;
    }
    for (&i, found) in rest.iter().zip(along(&pick(&rest), first(teachers - 1.0), 0.25)) {
        out[i] = match (&out[i], found) {
            (_, Ok(found)) => Ok(found),
            (Err(one), Err(other)) if !one.is_empty() => Err(format!("{one}; from above it {other}")),
            (_, found) => found,
        };
    }
    out
}

fn type_a(shape: &Shape) -> std::result::Result<Vec<f64>, String> {
    let large = Shape::flipped(shape.value().max(8.0), shape.value().max(8.0), 0);
    let text = |error: Error| error.to_string();
    let entries = guess(&large, &[Kind::Block]).and_then(|guess| near(&large, &guess)).map_err(text)?;
    Walk::new(&large, entries, 0.25).to(shape.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::Verdict;
    use crate::landscape::patterns::describe;
    use crate::landscape::reduced::BlockPoint;

    fn point(named: &Named) -> BlockPoint {
        BlockPoint::new(&named.shape, named.state.clone().unwrap()).unwrap()
    }

    /// The branches at M = 17 keep their names where Newton's method from a guess would change them.
    #[test]
    fn branches_are_followed_through_sizes() {
        let list: Vec<f64> = (0..=17).map(f64::from).collect();
        let named = flipped(17.0, 0, 0.0, &list);
        for (name, loss, verdict) in [
            ("global", 0.0, Verdict::GlobalMinimum),
            ("k1 = 6", 0.0674347372, Verdict::LocalMinimum),
            ("k1 = 7", 0.0767984932, Verdict::LocalMinimum),
            ("k1 = 8", 0.0855130965, Verdict::Saddle),
            ("block 9", 0.0703226340, Verdict::LocalMinimum),
            ("type I", 0.0934620358, Verdict::LocalMinimum),
            ("type A", 0.0960718771, Verdict::LocalMinimum),
        ] {
            let found = point(named.iter().find(|family| family.name == name).unwrap());
            assert!((found.loss - loss).abs() < 1e-9 && found.verdict == verdict, "{name}: {}", found.loss);
            if name != "global" {
                assert_eq!(describe(&found.state), name);
            }
        }
        let saddle = point(&flipped(4.0, 0, 0.0, &[1.0])[0]);
        assert_eq!(saddle.verdict, Verdict::Saddle);
    }
}
