//! Leaky ReLU: the slope at which one flipped unit stops being a minimum.

use committee::landscape::branch::{options, trace};
use committee::landscape::known;
use committee::landscape::reduced::{BlockPoint, Parameter};
use committee::numerics::follow::Options;

use crate::lines::Lines;

/// k1 = 1 followed in the slope alpha from 0, for M = 6..30: event on the branch against the direct system, and the sign of the
/// smallest eigenvalue on both sides.
#[test]
#[ignore]
fn quick_leaky_thresholds() {
    let mut lines = Lines::new("quick_leaky_thresholds");
    let mut worst = 0.0f64;
    for m in 6..=30 {
        let (shape, state) = known::flipped(1.0, f64::from(m)).unwrap();
        let limits = Options { step: 0.002, largest: 0.02, ..options((0.0, 0.98)) };
        let traced = trace(&shape.along(Parameter::Slope), &state, 1.0, &limits).unwrap();
        let event = traced.threshold().unwrap_or_else(|| panic!("M = {m}: {}", traced.branch.end));
        let (direct, error) = event.direct.unwrap();
        worst = worst.max((direct - event.p).abs());
        let side = |i: usize| {
            let point = &traced.branch.points[i];
            let state = traced.state(&point.x, point.p).unwrap();
            BlockPoint::new(&traced.shape.at(point.p), state).unwrap().smallest().0
        };
        let (before, after) = (side(event.before), side(event.before + 1));
        lines.note(&format!(
            "M = {m:2}: alpha* = {:.10} (direct {direct:.10} +- {error:.0e}), {} in {}, eigenvalue {before:.1e} before, {after:.1e} after",
            event.p,
            event.kind.name(),
            event.mode.name()
        ));
    }
    lines.line(
        "slope at which k1 = 1 stops being a minimum, M = 6..30: two routes",
        format!("{worst:.0e}"),
        "1e-8",
        worst < 1e-8,
    );
    lines.close();
}
