//! The flipped families at K = M, solved from their ansatz: templates of R and Q.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::landscape::ansatz::{Guess, solve};
use crate::landscape::{Point, fixed_point, nearest_zero};
use crate::model::Teacher;

/// Which families.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplatesSpec {
    /// K = M.
    pub units: usize,
    /// Numbers of flipped units.
    pub flipped: Vec<usize>,
}

/// The point of each family, in order.
///
/// # Errors
/// Those of the solver; a family that does not exist at this M.
pub fn templates(spec: &TemplatesSpec) -> Result<Vec<Point>> {
    let teacher = Teacher::orthonormal(spec.units)?;
    spec.flipped
        .iter()
        .map(|&k1| {
            let weights = solve(&Guess::flipped(spec.units), k1, &teacher)?;
            let weights = match nearest_zero(&weights, &teacher, 0) {
                Some((zero, _)) => zero,
                None => fixed_point::polish(&weights, &teacher, 0)?.map_or(weights, |(polished, _)| polished),
            };
            Point::new(&weights, &teacher, 0)
        })
        .collect()
}
