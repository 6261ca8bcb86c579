//! How groups of units may stand to their teachers: guesses for every way, the solutions near them, and their names.

use super::branches::{Named, along, blocks, finish, first, near};
use super::reduced::Shape;
use crate::error::Result;
use crate::model::{Blocks, Place};
use crate::numerics::linalg;
use crate::population::{BlockEquations, Workspace};

/// How a matched group of students stands to its teachers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Aligned,
    /// Each anti-aligned, the compensation spread over all other teachers.
    Flipped,
    /// Each anti-aligned, the compensation inside the group.
    Block,
    /// A single unit between the teachers of the blocks, for which it compensates.
    Between,
}

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
        let is_shared = kinds.contains(&Kind::Between);
        match (kind, entry.place) {
            (Kind::Between, Place::Own) => -0.26,
            (Kind::Between, _) if toward == Kind::Block => 0.92 / shape.teachers[entry.set].sqrt(),
            (Kind::Between, _) => -1.4 / m,
            (Kind::Block, Place::Own) if is_shared => -1.0 + 1.52 / size,
            (Kind::Block, Place::Inside) if is_shared => 1.2 / size,
            (Kind::Block, Place::Outside) if toward == Kind::Between => 2.0 / size,
            (Kind::Block, Place::Outside) if is_shared => 0.24 / m,
            (Kind::Aligned, Place::Own) if is_shared => 1.0 + 0.56 / m,
            (_, Place::Outside) if toward == Kind::Between => -1.08 / m,
            (Kind::Aligned, Place::Outside) if is_shared && toward == Kind::Block => 0.56 / m,
            (Kind::Aligned, _) if is_shared => -0.05 / m,
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

/// Families of other groups at uncorrelated teachers brought to a correlation, from a guess for each way in which the
/// matched groups may stand: at most `most` ways. Their names are those of the states reached.
///
/// # Errors
/// Those of the shape.
pub fn patterns(shape: &Shape, correlation: f64, most: usize) -> Result<Vec<Named>> {
    let group = [Kind::Aligned, Kind::Flipped, Kind::Block];
    let unit = [Kind::Aligned, Kind::Flipped, Kind::Between];
    let choices: Vec<[Kind; 3]> =
        shape.matched.iter().map(|&set| if shape.teachers[set] > 1.0 { group } else { unit }).collect();
    let relabelled = shape.relabellings()?;
    let singles: Vec<[Option<Vec<f64>>; 2]> = shape.teachers.iter().map(|&n| single(n, shape)).collect();
    let mut out: Vec<Named> = Vec::new();
    let ways = 3usize.saturating_pow(u32::try_from(choices.len()).unwrap_or(u32::MAX));
    for number in 0..ways.min(most) {
        let mut rest = number;
        let mut pattern = Vec::new();
        for kinds in &choices {
            pattern.push(kinds[rest % 3]);
            rest /= 3;
        }
        let Some(guess) = combine(shape, &pattern, &singles)? else { continue };
        let found = if pattern.contains(&Kind::Between) {
            // A soft mode: Newton's method alone goes elsewhere.
            near(shape, &descend(shape, &guess)?)
        } else {
            near(shape, &guess)
        };
        let Ok(entries) = found else { continue };
        let name = describe(&shape.state(&entries)?);
        let Ok((shape, state)) = finish(shape, correlation, &entries) else { continue };
        let entries = state.entries();
        let is_known = |known: &Named| {
            let Ok(known) = known.state.as_ref().map(Blocks::entries) else { return false };
            relabelled.iter().any(|order| order.iter().zip(&known).all(|(&i, x)| (entries[i] - x).abs() < 1e-8))
        };
        if !out.iter().any(is_known) {
            out.push(Named { shape, k1: None, name, state: Ok(state) });
        }
    }
    Ok(out)
}

/// Deviations from the exact solution when only n units are flipped, spread and as a block: (own, inside, outside) of the
/// flipped rows, then (own, inside, outside) of the aligned ones.
fn single(n: f64, shape: &Shape) -> [Option<Vec<f64>>; 2] {
    let m: f64 = shape.teachers.iter().sum();
    if !(m - n >= 1.0) || !shape.free.is_empty() {
        return [None, None];
    }
    let two = Shape::flipped(n, m, 0);
    let spread = along(&[n], first(m, 0), 0.25).pop();
    let block = if n > 1.0 { blocks(&[n], m).pop() } else { None };
    [spread, block].map(|found| {
        let entries = found?.ok()?;
        let partition = two.partition().ok()?;
        let at = |group: usize, set: usize, place: Place| {
            let places = partition.entries();
            places.iter().position(|e| (e.group, e.set, e.place) == (group, set, place)).map_or(0.0, |i| entries[i])
        };
        let row = |g: usize| [at(g, g, Place::Own) - 1.0, at(g, g, Place::Inside), at(g, 1 - g, Place::Outside)];
        Some([row(0), row(1)].concat())
    })
}

/// A guess that adds the deviations of the families with one flipped group each; `None` where one of those is not known.
fn combine(shape: &Shape, pattern: &[Kind], singles: &[[Option<Vec<f64>>; 2]]) -> Result<Option<Vec<f64>>> {
    let is_plain = shape.matched.iter().copied().eq(0..shape.teachers.len()) && shape.free.is_empty();
    let flipped: Vec<usize> = (0..pattern.len()).filter(|&g| pattern[g] != Kind::Aligned).collect();
    if !is_plain || flipped.len() == pattern.len() || pattern.contains(&Kind::Between) {
        return guess(shape, pattern).map(Some);
    }
    let mut rows = Vec::new();
    for &g in &flipped {
        match &singles[g][usize::from(pattern[g] == Kind::Block)] {
            Some(row) => rows.push((g, row)),
            None => return Ok(None),
        }
    }
    let value = |entry: &crate::model::Entry| {
        let exact = f64::from(u8::from(entry.place == Place::Own));
        let deviation = |&(g, row): &(usize, &Vec<f64>)| match (entry.group == g, entry.set == g, entry.place) {
            (true, _, Place::Own) => row[0],
            (true, _, Place::Inside) => row[1],
            (true, _, Place::Outside) => row[2],
            (false, _, Place::Own) => row[3],
            (false, true, _) => row[5],
            (false, false, _) => row[4],
        };
        exact + rows.iter().map(deviation).sum::<f64>()
    };
    Ok(Some(shape.partition()?.entries().iter().map(value).collect()))
}

/// Entries of lower loss by Newton steps with a multiple of the identity added to the Hessian.
fn descend(shape: &Shape, guess: &[f64]) -> Result<Vec<f64>> {
    let equations = BlockEquations::new(&shape.state(guess)?);
    let (mut x, n) = (shape.unknowns(guess)?, guess.len());
    let (mut here, mut there, mut added) = (Workspace::default(), Workspace::default(), 1.0);
    equations.evaluate(&x, true, &mut here);
    for _ in 0..200 {
        let mut step = here.gradient.clone();
        let mut matrix = here.hessian.clone();
        (0..n).for_each(|i| matrix[i * n + i] += added);
        let solved = linalg::eliminate(&mut matrix, &mut step);
        let next: Vec<f64> = x.iter().zip(&step).map(|(x, s)| x - s).collect();
        equations.evaluate(&next, true, &mut there);
        if solved && there.loss < here.loss {
            x = next;
            std::mem::swap(&mut here, &mut there);
            added *= 0.25;
        } else {
            added *= 4.0;
        }
    }
    shape.entries(&x)
}

/// Name of a state by what its rows are: groups that continue each other count as one. Blocks have names at K = M only.
pub fn describe(state: &Blocks) -> String {
    const SAME: f64 = 1e-7;
    let partition = state.partition();
    let (sets, sizes, rows) = (partition.student_sets(), partition.sizes(), state.rows());
    let matched: Vec<usize> = (0..sets.len()).filter(|&g| sets[g] < partition.teacher_groups()).collect();
    let inside = |g: usize| if sizes[sets[g]] > 1.0 { Some(rows[[g, sets[g]]][1]) } else { None };
    let close = |x: f64, y: f64| (x - y).abs() < SAME;
    let joined = |g: usize, h: usize| {
        let (a, b) = (sets[g], sets[h]);
        let between = rows[[g, b]][1];
        a != b
            && close(rows[[g, a]][0], rows[[h, b]][0])
            && close(between, rows[[h, a]][1])
            && [inside(g), inside(h)].into_iter().flatten().all(|x| close(x, between))
    };
    let mut left = matched.clone();
    let (mut parts, mut k1, mut between, total) = (Vec::new(), 0.0, 0.0, partition.teacher_count());
    while let Some(&g) = left.first() {
        let (class, rest): (Vec<usize>, Vec<usize>) = left.iter().partition(|&&h| h == g || joined(g, h));
        left = rest;
        if rows[[g, sets[g]]][0] >= 0.0 {
            continue;
        }
        let size: f64 = class.iter().map(|&h| sizes[sets[h]]).sum();
        let other = class.get(1).map(|&h| rows[[g, sets[h]]][1]);
        let outer: Vec<usize> =
            (0..partition.teacher_groups()).filter(|set| class.iter().all(|&h| sets[h] != *set)).collect();
        let weight: f64 = outer.iter().map(|&set| sizes[set]).sum();
        let outside = outer.iter().map(|&set| sizes[set] * rows[[g, set]][1]).sum::<f64>() / weight.max(1.0);
        let largest = outer.iter().fold(0.0f64, |m, &set| m.max(rows[[g, set]][1].abs()));
        let one_to_one = partition.student_count() == total;
        match inside(g).or(other).filter(|_| one_to_one) {
            None if one_to_one && largest > -rows[[g, sets[g]]][0] => between += 1.0,
            Some(_) if size == total => parts.push("type A".to_string()),
            Some(x) if outside < 0.5 * x && size == total - 1.0 => parts.push("type I".to_string()),
            Some(x) if outside < 0.5 * x => parts.push(format!("block {size}")),
            _ => k1 += size,
        }
    }
    if k1 > 0.0 {
        parts.push(format!("k1 = {k1}"));
    }
    if between > 0.0 {
        parts.push(format!("{between} between"));
    }
    let extra = partition.student_count() - total;
    if extra > 0.0 {
        parts.push(format!("{extra} extra"));
    }
    if parts.is_empty() { "global".into() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::reduced::BlockPoint;

    fn point(named: &Named) -> BlockPoint {
        BlockPoint::new(&named.shape, named.state.clone().unwrap()).unwrap()
    }

    /// A block and a single flipped unit beside each other; two blocks of one size count once.
    #[test]
    fn groups_stand_in_all_ways() {
        let shape = Shape { teachers: vec![6.0, 1.0, 13.0], matched: vec![0, 1, 2], ..Shape::flipped(0.0, 20.0, 0) };
        let named = patterns(&shape, 0.0, 99).unwrap();
        let three = point(named.iter().find(|family| family.name == "block 6, 1 between").unwrap());
        assert!((three.loss - 0.059753419).abs() < 1e-9, "{}", three.loss);
        let equal = Shape { teachers: vec![6.0, 6.0], matched: vec![0, 1], ..shape };
        let named = patterns(&equal, 0.0, 99).unwrap();
        assert_eq!(named.iter().filter(|family| family.name == "block 6").count(), 1);
        let other = patterns(&equal, 0.1, 99).unwrap();
        assert!(other.iter().any(|family| family.name == "global" && point(family).loss < 1e-25));
    }
}
