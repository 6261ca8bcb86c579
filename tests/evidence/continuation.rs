//! Families in real M: where they lose stability, with an extra student, and at large M.

use crate::lines::Lines;
use committee::landscape::branch::{Trace, options, trace};
use committee::landscape::known;
use committee::landscape::reduced::Shape;
use committee::model::Blocks;
use committee::numerics::linalg;
use committee::population::hessian;

/// Smallest eigenvalue of the dense Hessian inside the span at a whole M, the branch followed there.
fn dense(shape: &Shape, state: &Blocks, m: f64) -> f64 {
    let (_, there) = known::moved(shape, state, m).unwrap();
    let (weights, teacher) = there.expand().unwrap();
    linalg::eigvalsh(hessian(&weights, &teacher, 0).unwrap().span.view()).unwrap()[0]
}

/// One threshold: the event, the direct system, and the dense Hessian at both neighbouring integers.
fn threshold(lines: &mut Lines, name: &str, start: (Shape, Blocks), to: f64) -> f64 {
    let (shape, state) = start;
    let from = shape.value();
    let range = (from.min(to), from.max(to));
    let traced: Trace = trace(&shape, &state, to - from, &options(range)).unwrap();
    let Some(event) = traced.threshold() else {
        lines.line(name, "no change of stability", "one", false);
        return f64::NAN;
    };
    let (direct, error) = event.direct.unwrap_or((f64::NAN, f64::NAN));
    let difference = (event.p - direct).abs();
    let (below, above) = (event.p.floor(), event.p.ceil());
    let [low, high] = [below, above].map(|m| dense(&shape, &state, m));
    // The side towards the start is the one that was stable or not at the start.
    let [before, after] = [event.before, event.before + 1].map(|i| traced.is_stable(&traced.branch.points[i].tests));
    let stable_above = if to < from { before } else { after };
    let right = before != after && (high > 0.0) == stable_above && (low > 0.0) != stable_above;
    lines.line(
        name,
        format!(
            "M* = {:.10}, routes differ by {difference:.0e} (error {error:.0e}), {} ({}); dense Hessian {low:+.6} at {below}, {high:+.6} at {above}",
            event.p,
            event.mode.name(),
            event.breaks(&shape)
        ),
        "1e-9, signs",
        difference < 1e-9 && right,
    );
    event.p
}

/// Thresholds of all families. Seconds.
#[test]
#[ignore = "evidence"]
fn quick_thresholds() {
    let mut lines = Lines::new("quick_thresholds");
    for k1 in 1..=8 {
        let k = f64::from(k1);
        let p = threshold(&mut lines, &format!("k1 = {k1}"), known::flipped(k, 3.0 * k + 12.0).unwrap(), k + 2.5);
        let known = match k1 {
            1 => (p - 5.585_505_247_425_88).abs() < 1e-9,
            2 => (p - 7.561_190_497_945_4).abs() < 1e-9,
            4 => (10.0..12.0).contains(&p),
            5 => (12.0..17.0).contains(&p),
            7 => (12.0..17.0).contains(&p),
            8 => (17.0..18.0).contains(&p),
            _ => p.is_finite(),
        };
        lines.line(
            &format!("k1 = {k1}, place"),
            format!("{p:.6}"),
            "5.5855, 7.5612 (mpmath); k1 <= 4 at 12, <= 7 at 17",
            known,
        );
    }
    let a = threshold(&mut lines, "type A", known::block(12.0, 12.0, true).unwrap(), 4.0);
    lines.line("type A, place", format!("{a:.6}"), "between 5 and 6", (5.0..6.0).contains(&a));
    let i = threshold(&mut lines, "type I", known::block(11.0, 12.0, true).unwrap(), 4.0);
    lines.line("type I, place", format!("{i:.6}"), "between 6 and 7", (6.0..7.0).contains(&i));
    for size in 6..=9 {
        let s = f64::from(size);
        threshold(
            &mut lines,
            &format!("block {size} (a minimum below)"),
            known::block(s, s + 6.0, false).unwrap(),
            40.0,
        );
    }
    lines.close();
}

/// Families at K = M + 1 and what their points at M = 17 (facts of Safran and Shamir's runs) are. Seconds.
#[test]
#[ignore = "evidence"]
fn quick_extra_student() {
    let mut lines = Lines::new("quick_extra_student");
    for n in 3..=7 {
        let s = f64::from(n);
        let p =
            threshold(&mut lines, &format!("{n} anti-aligned, 1 extra"), known::with_extra(s, 24.0).unwrap(), s + 3.5);
        if n == 3 {
            lines.line(
                "3 anti-aligned: marginal at M = 17",
                format!("{p:.6}"),
                "between 16 and 17",
                (16.0..17.0).contains(&p),
            );
        }
    }
    for n in 1..=2 {
        let s = f64::from(n);
        threshold(&mut lines, &format!("{n} anti-aligned, 1 extra opposed"), known::opposed(s, 17.0).unwrap(), s + 2.5);
    }
    // Eight: the family turns back, and comes again with the compensation inside the group.
    let (shape, state) = known::with_extra(8.0, 24.0).unwrap();
    let traced = trace(&shape, &state, -1.0, &options((11.0, 24.0))).unwrap();
    let (fold, direct) = traced.threshold().map_or((f64::NAN, f64::NAN), |event| {
        let is_fold = event.kind == committee::landscape::branch::Kind::Fold;
        (if is_fold { event.p } else { f64::NAN }, event.direct.map_or(f64::NAN, |direct| direct.0))
    });
    lines.line(
        "8 anti-aligned, 1 extra: a minimum down to a fold",
        format!("M = {fold:.10}, routes differ by {:.0e}", (fold - direct).abs()),
        "1e-9",
        (fold - direct).abs() < 1e-9,
    );
    let (shape, state) = known::with_extra(2.0, 17.0).unwrap();
    for to in [2.5, 100.0] {
        let range = (2.5f64.min(17.0), 100.0);
        let traced = trace(&shape, &state, to - 17.0, &options(range)).unwrap();
        let stable = traced.branch.points.iter().filter(|point| traced.is_stable(&point.tests)).count();
        let events: Vec<String> = traced
            .crossings
            .iter()
            .map(|event| format!("{} at M = {:.6} ({})", event.kind.name(), event.p, event.mode.name()))
            .collect();
        lines.line(
            &format!("2 anti-aligned, 1 extra, from M = 17 to {to}: points that are minima"),
            format!("{stable} of {}; {}", traced.branch.points.len(), events.join("; ")),
            "0",
            stable == 0,
        );
    }
    lines.close();
}

/// Coefficients of the expansion in M^(-1/2). Seconds.
#[test]
#[ignore = "evidence"]
fn quick_large_m() {
    use committee::landscape::expansion::{Expansion, expand};
    use std::f64::consts::PI;
    let mut lines = Lines::new("quick_large_m");
    type Family = fn(f64) -> committee::error::Result<(Shape, Blocks)>;
    let families: [(&str, Family); 4] = [
        ("type II", |m| known::flipped(1.0, m)),
        ("k1 = 2", |m| known::flipped(2.0, m)),
        ("type A", |m| known::block(m, m, true)),
        ("type I", |m| known::block(m - 1.0, m, true)),
    ];
    for (name, family) in families {
        let fitted = expand(&family).unwrap();
        for Expansion { quantity, power, coefficients } in &fitted {
            let text: Vec<String> = coefficients.iter().map(|(c, error)| format!("{c:.8} ± {error:.0e}")).collect();
            lines.note(&format!("{name}: {quantity} = M^({power}) x [{}]", text.join(", ")));
        }
        let worst = fitted.iter().map(|e| e.coefficients[0].1).fold(0.0, f64::max);
        lines.line(
            &format!("{name}: error of the leading coefficients"),
            format!("{worst:.0e}"),
            "< 1e-6",
            worst < 1e-6,
        );
        let leading = &fitted[0].coefficients[0];
        let limit = match name {
            "type II" => 0.5 - 2.0 / (PI * PI),
            "k1 = 2" => 2.0 * (0.5 - 2.0 / (PI * PI)),
            _ => 0.5 - 1.0 / PI,
        };
        lines.line(
            &format!("{name}: leading loss minus its limit"),
            format!("{:.1e}", leading.0 - limit),
            "1e-6",
            (leading.0 - limit).abs() < 1e-6,
        );
    }
    lines.close();
}
