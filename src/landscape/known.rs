//! States of the known families, found without a search: from leading orders in 1/M, and by continuation where these are
//! not near enough.

use super::branch::{self, options};
use super::patterns::{self, Kind};
use super::reduced::{Shape, flipped_guess, solve};
use crate::error::{Error, Result};
use crate::model::{Blocks, Entry, Place};

/// k1 flipped students at K = M, k1 >= 0: solved where M is large enough for the leading order and followed down from there.
///
/// # Errors
/// [`Error::Spec`] where the branch ends before M, with the place and the reason.
pub fn flipped(k1: f64, teachers: f64) -> Result<(Shape, Blocks)> {
    let shape = Shape::flipped(k1, teachers, 0);
    let easy = 3.0 * k1 + 12.0;
    if teachers >= easy || k1 == 0.0 || teachers - k1 < 1.0 {
        let state = solve(&shape, &flipped_guess(&shape))?;
        return Ok((shape, state));
    }
    let far = Shape::flipped(k1, easy, 0);
    let state = solve(&far, &flipped_guess(&far))?;
    moved(&far, &state, teachers)
}

/// `size` units in a block of type A and M - size almost exact ones, at K = M. `last` says whether the block is the last
/// group, which grows with M, or the first.
///
/// # Errors
/// Those of [`solve`].
pub fn block(size: f64, teachers: f64, last: bool) -> Result<(Shape, Blocks)> {
    let rest = teachers - size;
    let sizes = match (rest > 0.0, last) {
        (false, _) => vec![size],
        (true, true) => vec![rest, size],
        (true, false) => vec![size, rest],
    };
    let shape = Shape { matched: (0..sizes.len()).collect(), teachers: sizes, ..Shape::flipped(0.0, teachers, 0) };
    let mut kinds = vec![Kind::Aligned; shape.matched.len()];
    kinds[usize::from(last && rest > 0.0)] = Kind::Block;
    let entries = patterns::guess(&shape, &kinds)?;
    let state = solve(&shape, &entries)?;
    Ok((shape, state))
}

/// K = M + 1: n anti-aligned students and one extra unit along the sum of their teachers.
///
/// # Errors
/// Those of [`solve`].
pub fn with_extra(n: f64, teachers: f64) -> Result<(Shape, Blocks)> {
    let shape = Shape::flipped(n, teachers, 1);
    let entries = patterns::guess(&shape, &[Kind::Flipped, Kind::Aligned][..shape.matched.len()])?;
    let state = solve(&shape, &entries)?;
    Ok((shape, state))
}

/// K = M + 1: n anti-aligned students and one extra unit against the sum of their teachers, too. For n = 1 both oppose the
/// same teacher: the two halves of the flipped unit that splitting leaves.
///
/// # Errors
/// Those of [`solve`].
pub fn opposed(n: f64, teachers: f64) -> Result<(Shape, Blocks)> {
    let shape = Shape::flipped(n, teachers, 1);
    let extra = shape.matched.len();
    let guess = |entry: &Entry| match (entry.group, entry.place) {
        (group, _) if group == extra => [-0.18 / n.sqrt(), 0.92 / teachers][entry.set.min(1)],
        (0, Place::Own) => -0.63,
        (0, Place::Inside) => 1.8 / teachers,
        (0, Place::Outside) => 0.63 / teachers,
        (_, Place::Own) => 1.0,
        (_, Place::Inside) => -0.1 / teachers,
        (_, Place::Outside) => 1.9 / teachers,
    };
    let entries: Vec<f64> = shape.partition()?.entries().iter().map(guess).collect();
    let state = solve(&shape, &entries)?;
    Ok((shape, state))
}

/// The state of the same branch at another value of the shape's parameter.
///
/// # Errors
/// [`Error::Spec`] where the branch does not reach the value.
pub fn moved(shape: &Shape, state: &Blocks, value: f64) -> Result<(Shape, Blocks)> {
    let from = shape.value();
    if from == value {
        return Ok((shape.clone(), state.clone()));
    }
    let range = (from.min(value), from.max(value));
    let trace = branch::walk(shape, state, value - from, &options(range))?;
    let last = trace.points.last().map_or(from, |point| point.p);
    if (last - value).abs() > 1e-9 {
        return Err(Error::Spec {
            action: "find a family",
            problem: format!("its branch ends before {value}: {}", trace.end),
        });
    }
    let to = shape.at(value);
    let entries = to.entries(&trace.points[trace.points.len() - 1].x)?;
    let state = solve(&to, &entries)?;
    Ok((to, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::branch::trace;
    use crate::landscape::reduced::BlockPoint;
    use crate::population::Sector;

    /// Losses and smallest eigenvalues of the published points.
    #[test]
    fn known_families_are_found() {
        let check = |(shape, state): (Shape, Blocks), loss: f64, value: f64| {
            let point = BlockPoint::new(&shape, state).unwrap();
            assert!((point.loss - loss).abs() < 1e-8 && point.residual < 1e-14, "{:.10}", point.loss);
            assert!((point.smallest().0 - value).abs() < 1e-6, "{loss}: {:?}", point.smallest());
        };
        check(flipped(6.0, 17.0).unwrap(), 0.0674347372, 0.01110355);
        check(flipped(2.0, 8.0).unwrap(), 0.039793234, 0.00334341);
        check(block(7.0, 17.0, false).unwrap(), 0.060243475, 0.00372502);
        check(block(6.0, 12.0, false).unwrap(), 0.054341413, 0.00214631);
        check(block(6.0, 6.0, true).unwrap(), 0.0556685813, 0.00150365);
        check(block(16.0, 17.0, true).unwrap(), 0.0934620358, 0.02976055);
        check(with_extra(4.0, 17.0).unwrap(), 0.02597818, 0.005866);
        check(with_extra(2.0, 17.0).unwrap(), 0.01169891, -0.020415);
        check(opposed(1.0, 17.0).unwrap(), 0.01220119, 0.005267);
        check(opposed(2.0, 17.0).unwrap(), 0.02306677, 0.014101);
    }

    /// Types A and I become minima between M = 5 and 6 and between 6 and 7 (Arjevani and Field), in an exterior sector; three
    /// anti-aligned units beside an extra one between M = 16 and 17.
    #[test]
    fn thresholds_of_types_a_and_i_and_of_three_beside_an_extra_unit() {
        let threshold = |(shape, state): (Shape, Blocks), low: f64| {
            let m = shape.value();
            let trace = trace(&shape, &state, -1.0, &options((low, m))).unwrap();
            trace.threshold().map(|event| (event.p, event.mode.sector, event.direct.unwrap().0)).unwrap()
        };
        for (start, low, (from, to), sector) in [
            (block(12.0, 12.0, true), 4.0, (5.0, 6.0), Sector::Exterior(0)),
            (block(11.0, 12.0, true), 5.0, (6.0, 7.0), Sector::Exterior(1)),
            (with_extra(3.0, 20.0), 15.0, (16.0, 17.0), Sector::Standard(0)),
        ] {
            let (p, found, direct) = threshold(start.unwrap(), low);
            assert!(from < p && p < to && found == sector, "{p} {found:?}");
            assert!((p - direct).abs() < 1e-9, "{p} {direct}");
        }
    }

    /// A branch that does not reach the value asked for is an error that says so.
    #[test]
    fn a_fold_on_the_way_is_an_error() {
        let (shape, state) = flipped(2.0, 10.0).unwrap();
        assert!(matches!(moved(&shape, &state, 3.2), Err(Error::Spec { .. })));
    }
}
