//! Leaky ReLU: the number of teachers from which on flipped units are a minimum, over the slope.

use serde::{Deserialize, Serialize};

use super::plane::Grid;
use crate::error::{Error, Result};
use crate::landscape::phase::{self, Bound, Line};
use crate::landscape::reduced::Parameter;
use crate::report::{Table, Value};

const ACTION: &str = "find thresholds over the slope";

/// Which families, at which slopes; K = M, orthonormal teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdsSpec {
    /// Numbers of flipped units k1, at least 1 each.
    pub flipped: Vec<usize>,
    /// Slopes alpha, -1 < low <= 0 <= high < 1: each curve starts at 0, as ReLU.
    pub slopes: Grid,
}

/// M*(k1), real, at each slope: k1, slope, M, error of M, and whether no other eigenvalue is negative there, so that the
/// minimum ends at it. One row for each k1 and slope, in the order of the spec.
///
/// # Errors
/// [`Error::Real`] for slopes out of range; [`Error::Spec`] for a family without a threshold, or when a point of its curve is
/// not found; those of the solvers.
pub fn thresholds(spec: &ThresholdsSpec) -> Result<Table> {
    let Grid { low, high, .. } = spec.slopes;
    for (value, inside) in [(low, low > -1.0 && low <= 0.0), (high, (0.0..1.0).contains(&high))] {
        if !inside {
            let needs = "-1 < low <= 0 <= high < 1";
            return Err(Error::Real { action: ACTION, quantity: "the slope".into(), value, needs });
        }
    }
    let mut table = Table::new(
        "thresholds",
        &[
            ("k1", "", "flipped units"),
            ("slope", "", "slope of the activation below 0"),
            ("M", "", "teachers above which the family is a minimum"),
            ("error", "", "of M"),
            ("bounds", "", "no eigenvalue inside the span is negative at it: minima end there"),
        ],
    );
    let slopes = spec.slopes.values();
    for &k1 in &spec.flipped {
        let refuse = |problem: String| Error::Spec { action: ACTION, problem };
        if k1 == 0 {
            return Err(refuse("k1 = 0 is the global minimum at every M".into()));
        }
        let family = Line::in_teachers(k1 as f64, 0.0, 0.0)?;
        let ranges = family.minima();
        let Some([Bound::Event(event), _]) = ranges.last() else {
            return Err(refuse(format!("k1 = {k1} has no threshold at slope 0")));
        };
        let (samples, missed) = phase::curve(&family.start.shape, event, Parameter::Slope, (low, high), &slopes)?;
        if samples.len() != slopes.len() {
            let (found, asked) = (samples.len(), slopes.len());
            return Err(refuse(format!("k1 = {k1}: {found} of {asked} points found, not those at {missed:?}")));
        }
        for sample in samples {
            let bounds: Value = if sample.bounds { "yes" } else { "no" }.into();
            table.push(vec![k1.into(), sample.p[1].into(), sample.p[0].into(), sample.error.into(), bounds]);
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(flipped: Vec<usize>, low: f64, high: f64, points: usize) -> ThresholdsSpec {
        ThresholdsSpec { flipped, slopes: Grid { low, high, points } }
    }

    /// The thresholds that were found by following the families at these slopes in M.
    #[test]
    fn curves_pass_through_the_thresholds_of_single_slopes() {
        let table = thresholds(&spec(vec![1, 4], -0.5, 0.5, 3)).unwrap();
        let known = [3.84040274, 5.58550525, 5.76100037, 9.50764843, 10.97839027, 11.14068376];
        for (found, known) in table.numbers("M").into_iter().zip(known) {
            assert!((found.unwrap() - known).abs() < 1e-8, "{found:?} {known}");
        }
        assert_eq!(table.numbers("slope")[3..], [-0.5, 0.0, 0.5].map(Some));
        assert!(table.texts("bounds").iter().all(|bounds| bounds == "yes") && table.rows.len() == 6);
    }

    #[test]
    fn slopes_and_families_out_of_range_are_refused() {
        for (low, high) in [(-1.0, 0.5), (0.1, 0.5), (-0.5, 1.0), (-0.5, -0.1), (f64::NAN, 0.5)] {
            assert!(matches!(thresholds(&spec(vec![1], low, high, 2)), Err(Error::Real { .. })), "{low} {high}");
        }
        assert!(matches!(thresholds(&spec(vec![0], 0.0, 0.5, 2)), Err(Error::Spec { .. })));
    }
}
