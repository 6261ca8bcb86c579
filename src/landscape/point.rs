//! A critical point with everything known about it.

use super::family::Family;
use super::ruled::equivalent;
use super::stability::{Spectrum, Verdict, analyse_by_rule, parallel_surplus, reduce_to_span};
use crate::error::Result;
use crate::model::symmetry::Canonical;
use crate::model::{Overlaps, Teacher, Training, Weights};
use crate::population::{constrained_residual, risk_exact};

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
        Point::by_rule(Training::GradientFlow, weights, teacher, task, dimension)
    }

    /// As [`Point::in_dimension`] for a critical point of a training rule: residual, spectrum and verdict are those on its
    /// constraint and with its weight decay; for `two-layer` those of the equivalent one-layer point ([`equivalent`]).
    ///
    /// # Errors
    /// As [`Point::new`].
    pub fn by_rule(
        rule: Training,
        weights: &Weights,
        teacher: &Teacher,
        task: usize,
        dimension: Option<usize>,
    ) -> Result<Point> {
        let weights = fewest(rule, weights, teacher, task)?;
        let loss = risk_exact(&weights, teacher, task);
        let (spectrum, verdict) = analyse_by_rule(rule, &weights, teacher, task, loss, dimension)?;
        Ok(Point::assemble(rule, weights, teacher, task, loss, spectrum, verdict))
    }

    /// The same with a spectrum that is already known.
    ///
    /// # Errors
    /// Those of reducing the state.
    pub fn with_spectrum(
        rule: Training,
        weights: &Weights,
        teacher: &Teacher,
        task: usize,
        spectrum: Spectrum,
        verdict: Verdict,
    ) -> Result<Point> {
        let weights = fewest(rule, weights, teacher, task)?;
        let loss = risk_exact(&weights, teacher, task);
        Ok(Point::assemble(rule, weights, teacher, task, loss, spectrum, verdict))
    }

    fn assemble(
        rule: Training,
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
        let residual = constrained_residual(&weights, teacher, task, rule.constraint(), rule.weight_decay());
        Point { weights, overlaps, canonical, loss, residual, spectrum, verdict, family }
    }
}

/// The state in the fewest coordinates, on the rule's constraint.
fn fewest(rule: Training, weights: &Weights, teacher: &Teacher, task: usize) -> Result<Weights> {
    if let Training::TwoLayer(_) = rule {
        return reduce_to_span(&equivalent(weights, task), teacher);
    }
    let weights = reduce_to_span(weights, teacher)?;
    let mut rows = weights.rows().clone();
    rule.constraint().retract(&mut rows)?;
    Ok(weights.with_rows(rows))
}
