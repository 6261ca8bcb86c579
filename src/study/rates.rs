//! The plane of flipped units and learning rate: fixed points of one-pass SGD that are minima at learning rate 0.

use super::limits::minimum;
use super::phase::{End, Record, Sample};
use super::plane::PhaseSpec;
use crate::dynamics::orthonormal_threshold;
use crate::error::Result;
use crate::landscape::noisy::{Followed, Limit, LimitKind, follow_to_fold};
use crate::numerics::linalg;
use crate::numerics::root::System;
use crate::population::Sector;

/// The minimum with k1 flipped units, followed in the learning rate to its fold.
///
/// # Errors
/// When there is no minimum at learning rate 0; those of [`follow_to_fold`].
pub(super) fn follow(spec: &PhaseSpec, k1: f64) -> Result<Followed> {
    let state = minimum(k1, spec.teachers.0 as f64)?;
    let largest = (2.0 * orthonormal_threshold(spec.teachers.0, spec.batch)).max(spec.rates().high);
    follow_to_fold(&state, spec.rule()?, largest)
}

pub(super) fn cell(family: &Followed, rate: f64) -> Record {
    let point = family.on_branch(rate).and_then(|found| {
        let Some(x) = found else { return Ok(None) };
        Ok(Some((family.leading(&x, rate)?, x)))
    });
    match point {
        Ok(Some(((leading, sector), x))) => Record::Settled {
            is_stable: leading[0] < 0.0,
            loss: family.system.risk(&x),
            leading,
            sector: sector.name(),
            residual: linalg::max_abs(&family.system.residual(&x, rate)),
        },
        Ok(None) => match family.events.iter().find(|event| event.kind == LimitKind::Fold) {
            Some(fold) => Record::Nothing { reason: format!("beyond the fold at {:.6}", fold.learning_rate) },
            None => Record::Nothing { reason: format!("the branch {}", family.branch.end) },
        },
        Err(error) => Record::Nothing { reason: error.to_string() },
    }
}

/// The range of learning rates in which the fixed point is stable.
pub(super) fn minima(family: &Followed) -> Vec<[End; 2]> {
    let low = End { p: 0.0, error: None, event: "learning rate 0: a minimum of the loss".into(), is_event: false };
    let high = match &family.limit {
        Some(limit) => {
            let (p, error) = limit.direct.unwrap_or((limit.learning_rate, limit.width));
            End { p, error: Some(error), event: mode(limit), is_event: true }
        }
        None => {
            let p = family.branch.points.last().map_or(0.0, |point| point.p);
            End { p, error: None, event: format!("none: the branch {}", family.branch.end), is_event: false }
        }
    };
    vec![[low, high]]
}

/// Every event up to the fold at a real k1, and k1 itself where the minimum could not be followed. Where there is no minimum
/// at learning rate 0 there is no curve.
pub(super) fn limits(spec: &PhaseSpec, k1: f64) -> (Vec<Sample>, Vec<f64>) {
    if minimum(k1, spec.teachers.0 as f64).is_err() {
        return Default::default();
    }
    let Ok(family) = follow(spec, k1) else { return (Vec::new(), vec![k1]) };
    let sizes = family.system.partition().sizes();
    // Sectors of sets of real size between 1 and 2 have no sign: they bound no other.
    let counts = |limit: &&Limit| match limit.sector {
        Sector::Trivial => true,
        Sector::Standard(t) | Sector::Symmetric(t) | Sector::Exterior(t) => sizes[t] >= 2.0,
        Sector::Product(t, u) => sizes[t] >= 2.0 && sizes[u] >= 2.0,
    };
    let first = family.events.iter().find(counts).map_or(f64::INFINITY, |limit| limit.learning_rate);
    let sample = |limit: &Limit| Sample {
        mode: mode(limit),
        p: limit.learning_rate,
        second: k1,
        error: limit.direct.map_or(limit.width, |(p, error)| error.max((p - limit.learning_rate).abs())),
        bounds: limit.learning_rate <= first,
    };
    (family.events.iter().map(sample).collect(), Vec::new())
}

fn mode(limit: &Limit) -> String {
    format!("{}, {}", limit.kind.name(), limit.sector.name())
}
