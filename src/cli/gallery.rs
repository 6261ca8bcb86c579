//! Figures made of curves whose points come from several studies: stability of families, shares of runs, slopes of leaky
//! ReLU.

use serde::{Deserialize, Serialize};

use super::landscape;
use super::output::Output;
use crate::error::Result;
use crate::figure::{Curve, CurvePanel, CurveStyle};
use crate::model::{Activation, Training};
use crate::report::Report;
use crate::study::{self, FollowSpec, LandscapeSpec, ThresholdsSpec};

/// A branch and its name in the legend.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    pub panel: String,
    pub name: String,
    pub follow: FollowSpec,
}

/// Shares that others published, by the number of anti-aligned units from 0 on; missing ones are left out.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    pub name: String,
    /// Runs behind them: 95 % error bars are 1.96 sqrt(p (1 - p) / runs).
    pub runs: f64,
    pub shares: Vec<Option<f64>>,
}

/// Runs of one size at several input dimensions, and published shares beside them.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    pub students: usize,
    pub teachers: usize,
    pub dimensions: Vec<usize>,
    /// Training rule as on the command line; left out: gradient flow.
    #[serde(default)]
    pub rule: Option<String>,
    pub runs: u64,
    pub seed: u64,
    pub published: Vec<Published>,
}

/// Searches with leaky ReLU, K = M = each of `sizes`, d = K + M, and with other activations beside them.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Misses {
    pub sizes: Vec<usize>,
    pub slopes: Vec<f64>,
    pub others: Vec<Activation>,
    pub runs: u64,
    pub seed: u64,
    /// Slopes of the first size that --quick takes.
    pub quick_slopes: usize,
}

/// Smallest eigenvalues inside the span over the parameter, a panel for each name, with the thresholds marked and a dashed
/// line at 0.
pub fn stability(members: &[Member], x_name: &str) -> Result<(Vec<CurvePanel>, Report)> {
    let mut panels: Vec<CurvePanel> = Vec::new();
    let mut last = None;
    for member in members {
        let report = study::follow(&member.follow)?;
        let (Some(branch), Some(events)) = (report.table("branch"), report.table("events")) else { continue };
        let rows = branch.numbers("p").into_iter().zip(branch.numbers("smallest")).zip(branch.texts("direction"));
        let (mut down, mut up): (Vec<[f64; 3]>, Vec<[f64; 3]>) = (Vec::new(), Vec::new());
        for ((x, y), direction) in rows {
            if let (Some(x), Some(y)) = (x, y) {
                if direction == "down" { &mut down } else { &mut up }.push([x, y, 0.0]);
            }
        }
        let points = down.into_iter().rev().chain(up).collect();
        let place = panels.iter().position(|panel| panel.title == member.panel).unwrap_or_else(|| {
            panels.push(CurvePanel {
                title: member.panel.clone(),
                x_name: x_name.into(),
                y_name: "smallest eigenvalue".into(),
                log_x: false,
                log_y: false,
                marks: Vec::new(),
                curves: Vec::new(),
            });
            panels.len() - 1
        });
        let panel = &mut panels[place];
        for (p, stability) in events.numbers("direct").into_iter().zip(events.texts("stability")) {
            if let (Some(p), false) = (p, stability.is_empty()) {
                panel.marks.push((p, format!("{p:.2}")));
            }
        }
        let colour = panel.curves.len();
        panel.curves.push(Curve { name: member.name.clone(), style: CurveStyle::Line, colour, points });
        last = Some(report);
    }
    for panel in &mut panels {
        let xs = || panel.curves.iter().flat_map(|curve| &curve.points).map(|point| point[0]);
        let (low, high) = xs().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
        let zero = vec![[low, 0.0, 0.0], [high, 0.0, 0.0]];
        panel.curves.push(Curve { name: "stable above".into(), style: CurveStyle::Dashed, colour: 7, points: zero });
        panel.marks.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let report = last.unwrap_or_else(|| Report::new("follow", &"no members", None));
    Ok((panels, report))
}

/// Shares of runs by the number of anti-aligned units of their end; a panel for each size. `quick` leaves out all but the
/// first size.
pub fn shares(sizes: &[Size], quick: bool, output: &Output) -> Result<(Vec<CurvePanel>, Option<Report>)> {
    let mut panels = Vec::new();
    let mut last = None;
    for size in &sizes[..if quick { 1.min(sizes.len()) } else { sizes.len() }] {
        let mut curves = Vec::new();
        let most = size.published.iter().map(|list| list.shares.len()).max().unwrap_or(0).max(7);
        // Side by side, so that error bars do not hide each other.
        let count = (size.dimensions.len() + size.published.len()) as f64;
        let shift = |index: usize| 0.09 * (index as f64 - 0.5 * (count - 1.0));
        let rule: Training = size.rule.as_deref().map_or(Ok(Training::default()), str::parse)?;
        for &dimension in &size.dimensions {
            let spec = LandscapeSpec {
                rule,
                students: size.students,
                teachers: size.teachers,
                dimension: Some(dimension),
                runs: size.runs,
                seed: size.seed,
                ..LandscapeSpec::default()
            };
            let report = landscape::search(&spec, None, output)?;
            let Some(minima) = report.table("minima") else { continue };
            let mut hits = vec![0.0; most];
            for (anti, n) in minima.numbers("anti_aligned").into_iter().zip(minima.numbers("hits")) {
                if let (Some(anti), Some(n)) = (anti, n) {
                    hits[(anti as usize).min(most - 1)] += n;
                }
            }
            let place = shift(curves.len());
            let points = (0..most).map(|k| point(k, place, hits[k] / size.runs as f64, size.runs as f64)).collect();
            let words = if rule.is_gradient_flow() { "gradient flow".to_string() } else { rule.to_string() };
            let name = format!("{words}, d = {dimension}");
            curves.push(Curve { name, style: CurveStyle::Discs, colour: curves.len(), points });
            last = Some(report);
        }
        for list in &size.published {
            let place = shift(curves.len());
            let shares = list.shares.iter().enumerate().filter_map(|(k, share)| share.map(|share| (k, share)));
            let points = shares.map(|(k, share)| point(k, place, share, list.runs)).collect();
            curves.push(Curve { name: list.name.clone(), style: CurveStyle::Squares, colour: curves.len(), points });
        }
        panels.push(CurvePanel {
            title: match &size.rule {
                Some(rule) => format!("{rule}: K = {}, M = {}", size.students, size.teachers),
                None => format!("K = {}, M = {}", size.students, size.teachers),
            },
            x_name: format!("anti-aligned units k1 at the end ({} and more together)", most - 1),
            y_name: "share of runs".into(),
            log_x: false,
            log_y: false,
            marks: Vec::new(),
            curves,
        });
    }
    Ok((panels, last))
}

/// Thresholds of the flipped families over the slope, and shares of runs that miss the global minimum. `quick` leaves out all
/// but the first slopes of the first size.
pub fn slopes(families: &ThresholdsSpec, misses: &Misses, quick: bool, output: &Output) -> Result<Vec<CurvePanel>> {
    let table = study::thresholds(families)?;
    let rows = || table.numbers("k1").into_iter().zip(table.numbers("slope")).zip(table.numbers("M"));
    let bounds = table.texts("bounds");
    let threshold = |&k1: &usize| Curve {
        name: format!("k1 = {k1}"),
        style: CurveStyle::Line,
        colour: k1 - 1,
        points: rows()
            .zip(&bounds)
            .filter(|(((of, _), _), bounds)| *of == Some(k1 as f64) && *bounds == "yes")
            .filter_map(|(((_, slope), m), _)| Some([slope?, m?, 0.0]))
            .collect(),
    };
    let (taken, sizes) =
        if quick { (misses.quick_slopes.min(misses.slopes.len()), 1) } else { (misses.slopes.len(), usize::MAX) };
    let mut shares = Vec::new();
    for (colour, &size) in misses.sizes.iter().take(sizes).enumerate() {
        let mut points = Vec::new();
        for &slope in &misses.slopes[..taken] {
            let share = missed(misses, size, Activation::LeakyRelu { slope }, output)? / misses.runs as f64;
            let error = 1.96 * (share * (1.0 - share) / misses.runs as f64).sqrt();
            points.push([slope, share, error]);
        }
        shares.push(Curve { name: format!("K = M = {size}"), style: CurveStyle::Discs, colour, points });
    }
    for (n, &other) in misses.others.iter().enumerate().filter(|_| !quick) {
        let mut hits = 0.0;
        for &size in &misses.sizes {
            hits += missed(misses, size, other, output)?;
        }
        let all = misses.sizes.len() as f64 * misses.runs as f64;
        shares.push(Curve {
            name: format!("{other}, these sizes: {hits} of {all} runs"),
            style: CurveStyle::Dashed,
            colour: 6 + n,
            points: misses.slopes.iter().map(|&slope| [slope, hits / all, 0.0]).collect(),
        });
    }
    let panel = |title: &str, y_name: &str, curves| CurvePanel {
        title: title.into(),
        x_name: "slope α of the activation below 0".into(),
        y_name: y_name.into(),
        log_x: false,
        log_y: false,
        marks: vec![(0.0, "ReLU".into()), (1.0, "linear".into())],
        curves,
    };
    Ok(vec![
        panel(
            "k1 flipped units are a minimum above M* teachers",
            "threshold M*",
            families.flipped.iter().map(threshold).collect(),
        ),
        panel("Runs that miss the global minimum", "share of runs", shares),
    ])
}

/// Number of runs that do not end in a global minimum, unresolved ones included.
fn missed(misses: &Misses, size: usize, activation: Activation, output: &Output) -> Result<f64> {
    let (runs, seed) = (misses.runs, misses.seed);
    let spec = LandscapeSpec { students: size, teachers: size, activation, runs, seed, ..LandscapeSpec::default() };
    let report = landscape::search(&spec, None, output)?;
    let Some(minima) = report.table("minima") else { return Ok(f64::NAN) };
    let ends = minima.texts("verdict").into_iter().zip(minima.numbers("hits"));
    let global: f64 = ends.filter(|(verdict, _)| verdict == "global minimum").filter_map(|(_, hits)| hits).sum();
    Ok(runs as f64 - global)
}

fn point(k: usize, shift: f64, share: f64, runs: f64) -> [f64; 3] {
    [k as f64 + shift, share, 1.96 * (share * (1.0 - share) / runs).sqrt()]
}
