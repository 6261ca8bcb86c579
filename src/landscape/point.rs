//! A critical point with everything known about it.

use super::family::Family;
use super::fixed_point::largest_gradient;
use super::stability::{Spectrum, Verdict, analyse, parallel_surplus, reduce_to_span};
use crate::error::Result;
use crate::model::symmetry::Canonical;
use crate::model::{Overlaps, Teacher, Weights};
use crate::population::risk_exact;

/// A critical point: state, loss, residual, spectrum, verdict, family.
#[derive(Clone, Debug)]
pub struct Point {
    /// Weights in the fewest coordinates.
    pub weights: Weights,
    pub overlaps: Overlaps,
    pub canonical: Canonical,
    /// Population loss, from double-double arithmetic.
    pub loss: f64,
    /// Largest gradient entry, recomputed.
    pub residual: f64,
    pub spectrum: Spectrum,
    pub verdict: Verdict,
    pub family: Family,
}

impl Point {
    /// Analyses a state; `residual` says how close it is to critical. The verdict holds for every input dimension above the
    /// span's.
    ///
    /// # Errors
    /// Those of the Hessian and its eigenvalues.
    pub fn new(weights: &Weights, teacher: &Teacher, task: usize) -> Result<Point> {
        Point::in_dimension(weights, teacher, task, None)
    }

    /// As [`Point::new`], with the verdict for input dimension d (`None`: any d above the span's).
    ///
    /// # Errors
    /// As [`Point::new`].
    pub fn in_dimension(weights: &Weights, teacher: &Teacher, task: usize, dimension: Option<usize>) -> Result<Point> {
        let weights = reduce_to_span(weights, teacher)?;
        let loss = risk_exact(&weights, teacher, task);
        let (spectrum, verdict) = analyse(&weights, teacher, task, loss, dimension)?;
        Ok(Point::assemble(weights, teacher, task, loss, spectrum, verdict))
    }

    /// The same with a spectrum that is already known.
    ///
    /// # Errors
    /// Those of reducing the state.
    pub fn with_spectrum(
        weights: &Weights,
        teacher: &Teacher,
        task: usize,
        spectrum: Spectrum,
        verdict: Verdict,
    ) -> Result<Point> {
        let weights = reduce_to_span(weights, teacher)?;
        let loss = risk_exact(&weights, teacher, task);
        Ok(Point::assemble(weights, teacher, task, loss, spectrum, verdict))
    }

    fn assemble(
        weights: Weights,
        teacher: &Teacher,
        task: usize,
        loss: f64,
        spectrum: Spectrum,
        verdict: Verdict,
    ) -> Point {
        let overlaps = weights.overlaps(teacher);
        let canonical = Canonical::new(&overlaps, teacher, task);
        // Parallel students of a smooth activation do not add up to one.
        let split = if teacher.activation().is_smooth() { 0 } else { parallel_surplus(&weights) };
        let is_zero = verdict == Verdict::GlobalMinimum;
        let family = Family::new(&overlaps, &canonical, teacher, split, is_zero);
        let residual = largest_gradient(&weights, teacher, task);
        Point { weights, overlaps, canonical, loss, residual, spectrum, verdict, family }
    }
}
