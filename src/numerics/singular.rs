//! Singular points of solutions: located directly as roots of one larger system, followed in two parameters, and the door
//! from one branch to another.

use ndarray::Array1;

use super::follow::{self, Options, Path, Point, real};
use super::root::{Failure, System, unit};
use crate::error::{Error, Result};

/// First point of another branch through (x0, p0): the solution whose displacement from (x0, p0) along the kernel vector
/// `direction` (n values) is `amplitude`, p free. With the tangent of the `old` branch (n + 1 values) the displacement is
/// measured along the part of `direction` orthogonal to it. The point's tangent leads away from (x0, p0); its `tests` stay
/// empty. A smaller amplitude helps when it fails.
///
/// # Errors
/// [`Error::NotConverged`], [`Error::NonFinite`]; [`Error::Real`] when the solution found is not away from the old branch: its
/// displacement makes an angle with `old` whose cosine exceeds 0.9, or, without `old`, less than half of it is along
/// `direction`.
pub fn switch(
    system: &dyn System,
    x0: &[f64],
    p0: f64,
    direction: &[f64],
    amplitude: f64,
    old: Option<&[f64]>,
    options: &Options,
) -> Result<Point> {
    let path = Path::new(system, options, x0.len())?;
    path.length("length of the direction", direction.len(), path.n)?;
    let mut along: Array1<f64> = direction.iter().copied().chain([0.0]).collect();
    let mut tangent = None;
    if let Some(old) = old {
        path.length("length of the old tangent", old.len(), path.n + 1)?;
        let unit =
            unit(Array1::from(old.to_vec())).ok_or_else(|| real("length of the old tangent", 0.0, "positive"))?;
        along = &along - &unit * along.dot(&unit);
        tangent = Some(unit);
    }
    let along = unit(along).ok_or_else(|| real("length of the direction", 0.0, "positive and finite"))?;
    if amplitude == 0.0 || !amplitude.is_finite() {
        return Err(real("the amplitude", amplitude, "finite and not 0"));
    }
    let origin: Array1<f64> = x0.iter().copied().chain([p0]).collect();
    let guess = &origin + &along * amplitude;
    let target = along.dot(&origin) + amplitude;
    let corrected = path
        .equations
        .correct(guess, &along, target, false)
        .map_err(Failure::error(follow::FOLLOW, options.tolerance))?;
    let Some(displacement) = unit(&corrected.z - &origin) else {
        return Err(Error::NonFinite { action: follow::FOLLOW, quantity: "the new branch's direction" });
    };
    match tangent.map(|old| old.dot(&displacement).abs()) {
        Some(cosine) if !(cosine <= 0.9) => {
            return Err(real("cosine between the displacement and the old branch", cosine, "at most 0.9"));
        }
        None if !(along.dot(&displacement).abs() >= 0.5) => {
            let cosine = along.dot(&displacement).abs();
            return Err(real("cosine between the displacement and the direction", cosine, "at least 0.5"));
        }
        _ => {}
    }
    let tangent = path.equations.tangent(&corrected.z, &displacement).unwrap_or(displacement);
    Ok(path.point(&corrected, &tangent, Vec::new()))
}
