//! The families of critical points known by name, from guesses that fit large M and by continuation in real sizes.
//!
//! At K = M: the branch with k1 flipped units that continues the single flipped one; the branch of a block of m units that
//! are flipped among themselves beside almost exact ones, with its ends "type I" (m = M - 1) and "type A" (m = M); the
//! exact solution. At K = M + 1: flipped units with one extra unit along the sum of their teachers.

use super::reduced::{Parameter, Shape, approach, flipped_guess, polish, rounding};
use crate::error::{Error, Result};
use crate::model::{Blocks, Place};
use crate::numerics::follow::{Event, Options, follow};

/// How a matched group of students stands to its teachers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Aligned,
    /// Each anti-aligned, the compensation spread over all other teachers.
    Flipped,
    /// Each anti-aligned, the compensation inside the group.
    Block,
}

/// A named family at one set of sizes.
#[derive(Clone, Debug)]
pub struct Named {
    pub shape: Shape,
    pub name: String,
    /// The state, or why there is none.
    pub state: std::result::Result<Blocks, String>,
}

/// Farthest an entry of a solution lies from its guess of large M.
const FAR: f64 = 0.2;
/// Farthest an entry lies from where the last two points of a walk lead to.
const JUMP: f64 = 0.01;
/// The first size at which the branch of flipped units is solved from its guess, and the number of teachers it needs.
const START: (f64, f64) = (1.5, 17.0);

/// Entries near the family whose matched student groups stand so; free groups point along the teachers of the flipped ones.
///
/// # Errors
/// Those of the shape.
pub fn guess(shape: &Shape, kinds: &[Kind]) -> Result<Vec<f64>> {
    let m: f64 = shape.teachers.iter().sum();
    let partition = shape.partition()?;
    let kind_of = |set: usize| {
        let group = shape.matched.iter().position(|&s| s == set);
        group.and_then(|group| kinds.get(group)).copied().unwrap_or(Kind::Aligned)
    };
    let is_flipped = |set: &usize| kind_of(*set) != Kind::Aligned;
    let n: f64 = (0..shape.teachers.len()).filter(is_flipped).map(|set| shape.teachers[set]).sum();
    let with_extra = !shape.free.is_empty();
    let value = |entry: &crate::model::Entry| {
        let toward = kind_of(entry.set);
        let Some(kind) = kinds.get(entry.group) else {
            return if is_flipped(&entry.set) { 0.9 / n.max(1.0).sqrt() } else { -0.05 };
        };
        let size = shape.teachers[entry.set];
        if with_extra {
            return match (kind, entry.place) {
                (Kind::Aligned, Place::Own) => 1.0,
                (Kind::Aligned, Place::Outside) if is_flipped(&entry.set) => 0.06,
                (Kind::Aligned, _) => -0.002,
                (_, Place::Own) => -0.6,
                (_, Place::Inside) => 0.6 / n.max(1.0),
                (_, Place::Outside) => 0.02,
            };
        }
        match (kind, entry.place) {
            (Kind::Aligned, Place::Own) => 1.0,
            (Kind::Aligned, Place::Outside) if toward == Kind::Flipped => 1.85 / m,
            (Kind::Aligned, _) => -1.0 / m / m.max(10.0),
            (Kind::Flipped, Place::Own) => -1.0 + 3.4 / m,
            (Kind::Flipped, Place::Inside) => 1.6 / m,
            (Kind::Flipped, Place::Outside) => 4.0 / std::f64::consts::PI / m,
            (Kind::Block, Place::Own) => -1.0 + 2.0 / size,
            (Kind::Block, Place::Inside) => 2.0 / size,
            (Kind::Block, Place::Outside) => 0.0,
        }
    };
    Ok(partition.entries().iter().map(value).collect())
}

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

fn largest_difference(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).fold(0.0, |m, (x, y)| m.max((x - y).abs()))
}

/// A family followed in its parameter, point by point: Newton's method from where the last two points lead to.
#[derive(Clone, Debug)]
pub struct Walk {
    shape: Shape,
    entries: Vec<f64>,
    /// The point before.
    before: Option<(Shape, Vec<f64>)>,
    step: f64,
}

impl Walk {
    /// From a solution, in steps of at most `step` times max(1, |p| / 8).
    pub fn new(shape: &Shape, entries: Vec<f64>, step: f64) -> Walk {
        Walk { shape: shape.clone(), entries, before: None, step }
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
            let shape = self.shape.at(next);
            match self.predict(&shape).and_then(|guess| {
                let entries = approach(&shape, &guess)?;
                Ok((largest_difference(&entries, &guess), entries))
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
            range: (p.min(target), p.max(target)),
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

/// Brings entries at uncorrelated teachers to the shape's correlation, and polishes them.
fn finish(shape: &Shape, correlation: f64, entries: &[f64]) -> std::result::Result<(Shape, Blocks), String> {
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
    let mut push = |shape: &Shape, name: String, entries: std::result::Result<Vec<f64>, String>| {
        let finished = entries.and_then(|entries| finish(shape, correlation, &entries));
        let (shape, state) = match finished {
            Ok((shape, state)) => (shape, Ok(state)),
            Err(reason) => (Shape { correlation, ..shape.clone() }, Err(reason)),
        };
        out.push(Named { shape, name, state });
    };
    let inner: Vec<f64> = list.iter().copied().filter(|&k1| k1 >= 1.0 && teachers - k1 >= 1.0).collect();
    let main = along(&inner, first(teachers, extra), 0.25);
    let block = if extra == 0 { along(&inner, first_block(teachers), 0.25) } else { Vec::new() };
    for &k1 in list {
        let shape = Shape::flipped(k1, teachers, extra);
        if let Some(at) = inner.iter().position(|&x| x == k1) {
            let shape = shape.along(Parameter::Size(0));
            let suffix = if extra > 0 { format!(", {extra} extra") } else { String::new() };
            push(&shape, format!("k1 = {k1}{suffix}"), main[at].clone());
            if let Some(entries) = block.get(at).filter(|_| k1 > 1.0) {
                let is_same = matches!((entries, &main[at]), (Ok(x), Ok(y)) if largest_difference(x, y) < 1e-8);
                if !is_same {
                    let name = if teachers - k1 == 1.0 { "type I".into() } else { format!("block {k1}") };
                    push(&shape, name, entries.clone());
                }
            }
        } else if k1 == 0.0 && extra == 0 {
            let entries = global(&shape).map(|state| state.entries()).map_err(|error| error.to_string());
            push(&shape, "global".into(), entries);
        } else if k1 == teachers && extra == 0 {
            push(&shape, "type A".into(), type_a(&shape));
        }
    }
    out
}

/// Entries at each of the sizes, in their order, from a first point outwards.
fn along(
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
fn first(teachers: f64, extra: usize) -> std::result::Result<(Shape, Vec<f64>), String> {
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

/// A first point of the branch of blocks.
fn first_block(teachers: f64) -> std::result::Result<(Shape, Vec<f64>), String> {
    let shape = Shape::flipped(7.0f64.min(teachers - 1.0).max(1.0), teachers, 0).along(Parameter::Size(0));
    let entries = guess(&shape, &[Kind::Block, Kind::Aligned]).and_then(|guess| near(&shape, &guess));
    entries.map(|entries| (shape, entries)).map_err(|error| error.to_string())
}

fn type_a(shape: &Shape) -> std::result::Result<Vec<f64>, String> {
    let large = Shape::flipped(shape.value().max(8.0), shape.value().max(8.0), 0);
    let text = |error: Error| error.to_string();
    let entries = guess(&large, &[Kind::Block]).and_then(|guess| near(&large, &guess)).map_err(text)?;
    Walk::new(&large, entries, 0.25).to(shape.value())
}

/// Families of other groups, from a guess for each way in which the matched groups may stand: at most `most` ways.
pub fn patterns(shape: &Shape, correlation: f64, most: usize) -> Vec<Named> {
    let kinds = [Kind::Aligned, Kind::Flipped, Kind::Block];
    let choices: Vec<usize> = shape.matched.iter().map(|&set| if shape.teachers[set] > 1.0 { 3 } else { 2 }).collect();
    let mut out: Vec<Named> = Vec::new();
    for number in 0..choices.iter().product::<usize>().min(most) {
        let mut rest = number;
        let pattern: Vec<Kind> = choices
            .iter()
            .map(|&n| {
                let kind = kinds[rest % n];
                rest /= n;
                kind
            })
            .collect();
        let name = name(shape, &pattern);
        let is_exact = name == "global" && (0..shape.teachers.len()).all(|set| shape.matched.contains(&set));
        let entries = if is_exact && shape.matched.len() == shape.teachers.len() {
            global(shape).map(|state| state.entries())
        } else {
            guess(shape, &pattern).and_then(|guess| near(shape, &guess))
        };
        let Ok(entries) = entries else { continue };
        let Ok((shape, state)) = finish(shape, correlation, &entries) else { continue };
        let is_known = |known: &Named| {
            known.state.as_ref().is_ok_and(|known| largest_difference(&known.entries(), &state.entries()) < 1e-8)
        };
        if !out.iter().any(is_known) {
            out.push(Named { shape, name, state: Ok(state) });
        }
    }
    out
}

fn name(shape: &Shape, kinds: &[Kind]) -> String {
    let sizes = |kind: Kind| {
        kinds.iter().zip(&shape.matched).filter(move |(k, _)| **k == kind).map(|(_, &set)| shape.teachers[set])
    };
    let mut parts: Vec<String> = sizes(Kind::Block).map(|n| format!("block {n}")).collect();
    let k1: f64 = sizes(Kind::Flipped).sum();
    if k1 > 0.0 {
        parts.push(format!("k1 = {k1}"));
    }
    if !shape.free.is_empty() {
        parts.push(format!("{} extra", shape.free.iter().sum::<f64>()));
    }
    if parts.is_empty() { "global".into() } else { parts.join(", ") }
}
