//! Leaky ReLU: where the families with flipped units are minima, in slope and real M.

use committee::landscape::branch::{self, options, trace};
use committee::landscape::known;
use committee::landscape::reduced::{Parameter, Shape};
use committee::numerics::follow::Options;

use crate::lines::Lines;

/// One flipped unit at M = 6..30, followed in the slope from 0 to both ends of (-1, 1): a slope of 1/alpha has the landscape
/// of alpha. Then the threshold of k1 = 1..8 in real M as a function of the slope.
#[test]
#[ignore]
fn quick_leaky_thresholds() {
    let mut lines = Lines::new("quick_leaky_thresholds");
    let (mut events, mut least) = (0, f64::INFINITY);
    for m in 6..=30 {
        let (shape, state) = known::flipped(1.0, f64::from(m)).unwrap();
        let mut ends = Vec::new();
        for direction in [-1.0, 1.0] {
            let limits = Options { step: 0.002, largest: 0.02, ..options((-0.999, 0.999)) };
            let traced = trace(&shape.along(Parameter::Slope), &state, direction, &limits).unwrap();
            events += usize::from(traced.threshold().is_some());
            let last = traced.branch.points.last().unwrap();
            assert!(last.p.abs() > 0.9989, "M = {m}: {}", traced.branch.end);
            let scaled = traced.smallest(&last.tests, false).0 / (1.0 - last.p).powi(2);
            least = least.min(scaled);
            ends.push(scaled);
        }
        lines.note(&format!(
            "M = {m:2}: smallest eigenvalue / (1 - alpha)^2 at alpha = -0.999: {:.6}, at 0.999: {:.6}",
            ends[0], ends[1]
        ));
    }
    lines.line("k1 = 1, M = 6..30: changes of stability for slopes in (-0.999, 0.999)", events, "0", events == 0);
    lines.line("smallest eigenvalue / (1 - alpha)^2 at the ends", format!("{least:.6}"), "above 0", least > 0.0);
    for k1 in 1..=8 {
        let (shape, state) = known::flipped(f64::from(k1), 25.0).unwrap();
        let low = f64::from(k1) + 2.5;
        let traced = trace(&shape, &state, -1.0, &options((low, 25.0))).unwrap();
        let event = traced.threshold().unwrap();
        let at = |slope: f64| -> (f64, f64) {
            // Another route than the boundary curve: the family followed to the slope, then down in M.
            let (shape, state) = known::flipped(f64::from(k1), 25.0).unwrap();
            let (shape, state) = moved(&shape, &state, slope);
            let traced = trace(&shape.along(Parameter::Teachers), &state, -1.0, &options((low, 25.0))).unwrap();
            let event = traced.threshold().unwrap();
            (event.p, event.direct.map_or(f64::NAN, |direct| direct.0))
        };
        let mut row = format!("k1 = {k1}: M*");
        let mut worst = 0.0f64;
        for slope in [-0.5, -0.1, 0.0, 0.01, 0.1, 0.5, 0.99] {
            let (p, direct) = at(slope);
            let near = &traced.branch.points[event.before];
            let shape = traced.shape.along(Parameter::Slope).at(slope).along(Parameter::Teachers);
            let curve = branch::locate(&shape, event.mode, Parameter::Slope, &near.x, [near.p, slope]);
            let curve = curve.map_or(f64::NAN, |found| found.p[0]);
            worst = worst.max((p - direct).abs()).max(if curve.is_nan() { 0.0 } else { (p - curve).abs() });
            row.push_str(&format!(" {p:.8} ({slope})"));
        }
        lines.note(&row);
        lines.line(
            &format!("k1 = {k1}: event, direct system, curve differ by"),
            format!("{worst:.0e}"),
            "1e-8",
            worst < 1e-8,
        );
    }
    // Where a threshold passes a whole M, the family at that M stops being a minimum at a slope.
    let mut worst = 0.0f64;
    for k1 in 1..=8 {
        let (shape, state) = known::flipped(f64::from(k1), 25.0).unwrap();
        let (shape, state) = moved(&shape, &state, -0.5);
        for m in k1 + 3..=20 {
            let teachers = shape.along(Parameter::Teachers);
            let Ok((there, state)) = known::moved(&teachers, &state, f64::from(m)) else { continue };
            let limits = Options { step: 0.002, largest: 0.02, ..options((-0.5, 0.999)) };
            let traced = trace(&there.along(Parameter::Slope), &state, 1.0, &limits).unwrap();
            if let Some(event) = traced.threshold() {
                let (direct, error) = event.direct.unwrap();
                worst = worst.max((direct - event.p).abs());
                lines.note(&format!(
                    "k1 = {k1}, M = {m}: a minimum below alpha* = {:.10} (error {error:.0e}), {}",
                    event.p,
                    event.mode.name()
                ));
            }
        }
    }
    lines.line("slopes at which minima end at whole M: two routes", format!("{worst:.0e}"), "1e-8", worst < 1e-8);
    lines.close();
}

fn moved(shape: &Shape, state: &committee::model::Blocks, slope: f64) -> (Shape, committee::model::Blocks) {
    known::moved(&shape.along(Parameter::Slope), state, slope).unwrap()
}
