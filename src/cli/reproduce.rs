//! `committee reproduce`.

use std::path::PathBuf;
use std::sync::Mutex;

use super::output::{Output, caption};
use super::progress::Progress;
use super::{interrupt, override_fields};
use crate::error::Result;
use crate::figure::{self, Curve, CurvePanel, CurveStyle};
use crate::report::{Report, Table};
use crate::study::{self, ReproduceSpec, Source};

const EXAMPLES: &str = "Examples:
  committee reproduce safran-2021
  committee reproduce huang-2026 --runs 1000 --only 'K = 18' --db huang

Sources: huang-2026 (arXiv 2604.09412: shares at M = 17 for four training rules, stopped descent, noise on fixed points),
safran-shamir-2018 (arXiv 1712.08968: runs that miss the global minimum), safran-2021 (arXiv 2006.01005: families at n = k),
saad-solla-1995 (Phys. Rev. E 52, 4225: erf units under one-pass SGD: plateau, largest learning rate, learning curves).

Each published share is computed again with the published initial law, rule and size. Columns: column = rule and size; d =
input dimension of our runs (where the publication does not state it, several); class = where a run ends; published, ours =
shares in per cent, with the 95 % Clopper-Pearson interval of ours; p_value = Fisher's exact test that both are one share,
Holm-adjusted over all cells. Verdict: agrees; differs (adjusted p below 0.01; a sentence says by how much); inconsistent source
(differs, and so does another place of the same source); not converged (published so, and ours do not converge either).
Files: cells.csv, columns.csv (chi-square over all classes of a column), counts.csv; for huang-2026 also run_length.csv (shares
of descent stopped after so many steps) and perturbation.csv (return from noise beside the prediction of the Hessian);
shares.png and .svg: our shares beside the published ones.

saad-solla-1995 compares closed forms with our fixed points (agrees: within 1e-9), and each learning curve of the equations with
networks trained in d dimensions and with the chain (differs: a Holm-adjusted p-value below 0.01). --runs sets the runs of each
curve, at least 2. Files: cells.csv, learning.csv (plateau, rate of escape, time of specialisation), curves.csv, curves.png and
.svg. Five minutes on two cores.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// huang-2026, safran-shamir-2018, safran-2021 or saad-solla-1995
    #[arg(value_name = "SOURCE")]
    source: Option<Source>,
    /// Runs per column [default: as many as published]
    #[arg(long, value_name = "N")]
    runs: Option<u64>,
    /// Only the columns whose label holds this text
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// Master seed [default: 1]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Keep finished runs in this folder, one database for each column, and continue what is there
    #[arg(long, value_name = "DIR")]
    db: Option<PathBuf>,
}

pub fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let mut spec = output.base_spec(ReproduceSpec::default())?;
    override_fields!(spec, arguments: source, runs, only, seed, db);
    if output.printed_spec(&spec) {
        return Ok(());
    }
    output.check_directory()?;
    interrupt::install();
    // A bar for each column.
    let bars: Mutex<Option<(String, Progress)>> = Mutex::new(None);
    let report = study::reproduce(&spec, &|label, done, total, unresolved| {
        if let Ok(mut bars) = bars.lock() {
            if bars.as_ref().is_none_or(|(known, _)| known != label) {
                output.note(label);
                *bars = Some((label.to_string(), Progress::new(total as u64, output.quiet)));
            }
            if let Some((_, bar)) = bars.as_ref() {
                bar.show(done, unresolved);
            }
        }
        !interrupt::requested()
    })?;
    drop(bars);
    let online = report.table("curves").is_some();
    output.show(&report, "cells", if online { ONLINE_COLUMNS } else { COLUMNS });
    let directory = output.directory(&format!("reproduce-{}", spec.source), &spec)?;
    report.write(&directory)?;
    let title = report.results.get("title").and_then(|title| title.as_str()).unwrap_or_default();
    let (stem, panels, subtitle) = match report.table("curves") {
        Some(curves) => (
            "curves",
            learning_panels(curves),
            "one-pass SGD of erf networks, K = M, orthonormal teachers; lines: equations; discs: mean over networks \
             trained in d dimensions",
        ),
        None => (
            "shares",
            panels(&report),
            "w ~ N(0, I/d); shares of runs, bars of 1.96 standard errors (exact intervals: cells.csv); squares: published",
        ),
    };
    figure::curves(&directory, stem, &panels, &caption(title, subtitle, &report))?;
    output.note(&format!("Files: {}", directory.display()));
    Ok(())
}

/// Shares over the class, a panel for each column with several published classes; where there are more than three such
/// columns over the size, a panel for each class. Columns with one class: over the size, a panel for each table and rule.
fn panels(report: &Report) -> Vec<CurvePanel> {
    let Some(cells) = report.table("cells") else { return Vec::new() };
    let texts = |name: &str| cells.texts(name);
    let (tables, columns, rules, classes) = (texts("table"), texts("column"), texts("rule"), texts("class"));
    let several = |i: usize| (0..columns.len()).any(|j| columns[j] == columns[i] && classes[j] != classes[i]);
    let mut broad: Vec<&String> = (0..columns.len()).filter(|&i| several(i)).map(|i| &columns[i]).collect();
    broad.dedup();
    let by_class = broad.len() <= 3;
    let mut groups: Vec<(String, bool, Vec<usize>)> = Vec::new();
    for i in 0..columns.len() {
        let over_classes = by_class && several(i);
        let title = match () {
            () if over_classes => format!("{} (table {})", columns[i], tables[i]),
            () if !by_class => classes[i].clone(),
            () if rules.iter().all(|rule| rule == &rules[i]) => format!("{}, {}", tables[i], classes[i]),
            () => format!("{}: {} minimum", columns[i].split(", K").next().unwrap_or_default(), classes[i]),
        };
        match groups.iter_mut().find(|group| group.0 == title) {
            Some(group) => group.2.push(i),
            None => groups.push((title, over_classes, vec![i])),
        }
    }
    groups.into_iter().map(|(title, over_classes, rows)| panel(cells, title, over_classes, &rows)).collect()
}

/// For each K the loss at every learning rate over eta t, and the overlaps with the teachers at one of the rates.
fn learning_panels(curves: &Table) -> Vec<CurvePanel> {
    let [students, rates, times, equations, means, errors] =
        ["students", "learning_rate", "time", "equations", "runs_mean", "standard_error"]
            .map(|name| curves.numbers(name));
    let entries = curves.texts("entry");
    let distinct = |column: &[Option<f64>], rows: &[usize]| {
        let mut values: Vec<f64> = rows.iter().filter_map(|&i| column[i]).collect();
        values.dedup();
        values
    };
    let all: Vec<usize> = (0..entries.len()).collect();
    let mut panels = Vec::new();
    for k in distinct(&students, &all) {
        let of_k: Vec<usize> = all.iter().copied().filter(|&i| students[i] == Some(k)).collect();
        let of_rate = distinct(&rates, &of_k);
        let rows = |rate: f64, entry: &str| -> Vec<usize> {
            of_k.iter().copied().filter(|&i| rates[i] == Some(rate) && entries[i] == entry).collect()
        };
        let line = |rows: &[usize], name: String, colour: usize| {
            let point = |&i: &usize| Some([times[i]? * rates[i]?, equations[i]?, 0.0]);
            Curve { name, style: CurveStyle::Line, colour, points: rows.iter().filter_map(point).collect() }
        };
        let discs = |rows: &[usize], name: String, colour: usize| {
            let point = |&i: &usize| Some([times[i]? * rates[i]?, means[i]?, 1.96 * errors[i]?]);
            Curve { name, style: CurveStyle::Discs, colour, points: rows.iter().filter_map(point).collect() }
        };
        let named = |title: String, y_name: &str, log_y: bool, curves: Vec<Curve>| CurvePanel {
            title,
            x_name: "learning rate x steps / d".into(),
            y_name: y_name.into(),
            log_x: false,
            log_y,
            marks: Vec::new(),
            curves,
        };
        let mut losses = Vec::new();
        for (colour, &rate) in of_rate.iter().enumerate() {
            let rows = rows(rate, "loss");
            losses.push(line(&rows, format!("eta = {rate}"), colour));
            losses.push(discs(&rows, String::new(), colour));
        }
        panels.push(named(format!("K = M = {k}: loss"), "population loss", true, losses));
        // The middle one; each student in its own colour.
        let rate = of_rate[of_rate.len() / 2];
        let mut overlaps = Vec::new();
        for i in 1..=k as usize {
            for m in 1..=k as usize {
                let rows = rows(rate, &format!("r_{i}_{m}"));
                let name = if m == 1 { format!("student {i}") } else { String::new() };
                overlaps.push(line(&rows, name, i - 1));
                overlaps.push(discs(&rows, String::new(), i - 1));
            }
        }
        panels.push(named(
            format!("K = M = {k}, eta = {rate}: overlaps"),
            "overlap with each teacher",
            false,
            overlaps,
        ));
    }
    panels
}

fn panel(cells: &Table, title: String, over_classes: bool, rows: &[usize]) -> CurvePanel {
    let number = |name: &str, i: usize| cells.numbers(name)[i];
    let students = |i: usize| number("students", i).unwrap_or(f64::NAN);
    let teachers = |i: usize| number("teachers", i).unwrap_or(f64::NAN);
    let one_teacher = rows.iter().all(|&i| teachers(i) == teachers(rows[0]));
    let classes = cells.texts("class");
    let x = |i: usize| match (over_classes, one_teacher) {
        // `global` is k1 = 0.
        (true, _) => classes[i].rsplit(' ').next().and_then(|last| last.parse().ok()).unwrap_or(0.0),
        (false, true) => students(i),
        (false, false) => teachers(i),
    };
    let x_name = match (over_classes, one_teacher) {
        (true, _) => "anti-aligned units k1 at the end (0: global)",
        (false, true) => "students K",
        (false, false) => "teachers M",
    };
    let mut dimensions: Vec<Option<usize>> = Vec::new();
    let label = |i: usize| number("d", i).filter(|&d| d != teachers(i)).map(|d| d as usize);
    rows.iter().for_each(|&i| {
        if !dimensions.contains(&label(i)) {
            dimensions.push(label(i));
        }
    });
    let mut curves = Vec::new();
    // Side by side, so that error bars do not hide each other.
    let shift = |curve: usize| 0.08 * (curve as f64 - 0.5 * dimensions.len() as f64);
    let runs = number("runs", rows[0]).unwrap_or(0.0);
    for dimension in &dimensions {
        let points = rows.iter().filter(|&&i| label(i) == *dimension).filter_map(|&i| {
            let (share, count) = (number("ours", i)?, number("runs", i)?);
            Some([x(i) + shift(curves.len()), share, bar(share, count)])
        });
        let points = points.collect();
        let name = dimension.map_or("ours, d = M".to_string(), |d| format!("ours, d = {d}"));
        curves.push(Curve { name, style: CurveStyle::Discs, colour: usize::from(dimension.is_some()), points });
    }
    let mut published: Vec<[f64; 3]> = Vec::new();
    for &i in rows.iter().filter(|&&i| label(i) == dimensions[0]) {
        if let (Some(share), Some(count)) = (number("published", i), number("published_runs", i)) {
            published.push([x(i) + shift(curves.len()), share, bar(share, count)]);
        }
    }
    if !published.is_empty() {
        curves.push(Curve { name: "published".into(), style: CurveStyle::Squares, colour: 3, points: published });
    }
    CurvePanel {
        title: format!("{title}, {runs} runs"),
        x_name: x_name.into(),
        y_name: "share of runs (%)".into(),
        log_x: false,
        log_y: false,
        marks: Vec::new(),
        curves,
    }
}

/// 1.96 standard errors of a share in per cent.
fn bar(share: f64, runs: f64) -> f64 {
    1.96 * (share * (100.0 - share) / runs).sqrt()
}

/// The columns shown in a terminal for learning curves.
const ONLINE_COLUMNS: &[(&str, usize)] = &[
    ("table", 0),
    ("case", 0),
    ("quantity", 0),
    ("published", 7),
    ("ours", 7),
    ("difference", 3),
    ("p_value", 2),
    ("verdict", 0),
];

/// The columns shown in a terminal.
const COLUMNS: &[(&str, usize)] = &[
    ("table", 0),
    ("column", 0),
    ("d", 9),
    ("class", 0),
    ("published", 4),
    ("ours", 4),
    ("low", 4),
    ("high", 4),
    ("runs", 9),
    ("p_value", 2),
    ("verdict", 0),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Value;

    /// Every share of the table is a dot at its own height, over its own number of teachers.
    #[test]
    fn dots_are_the_shares_of_the_table() {
        let spec = ReproduceSpec { source: Source::Safran2021, runs: Some(2), ..ReproduceSpec::default() };
        let report = study::reproduce(&spec, &|_, _, _, _| true).unwrap();
        let cells = report.table("cells").unwrap();
        let panels = panels(&report);
        let titles: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
        assert_eq!(titles[..2], ["global, 2 runs", "k1 = 1, 2 runs"], "{titles:?}");
        let mut drawn = 0;
        for (i, class) in cells.texts("class").iter().enumerate() {
            let panel = panels.iter().find(|panel| panel.title.starts_with(&format!("{class},"))).unwrap();
            for (curve, column) in panel.curves.iter().zip(["ours", "published"]) {
                let [m, share] = ["teachers", column].map(|name| cells.numbers(name)[i].unwrap());
                let found = curve.points.iter().filter(|p| p[0].round() == m && p[1] == share).count();
                assert_eq!(found, 1, "{class}, M = {m}, {column}");
                drawn += 1;
            }
        }
        assert_eq!(drawn, panels.iter().flat_map(|panel| &panel.curves).map(|curve| curve.points.len()).sum::<usize>());
        assert!((bar(50.0, 100.0) - 9.8).abs() < 1e-12);
    }

    /// Lines hold the equations and discs the runs, over eta t; the overlaps are those of the middle rate.
    #[test]
    fn learning_curves_are_drawn_over_the_scaled_time() {
        let names = ["students", "learning_rate", "entry", "time", "equations", "runs_mean", "standard_error"];
        let mut curves = Table::new("curves", &names.map(|name| (name, "", "")));
        for (rate, shift) in [(0.5, 1.0), (2.0, 10.0)] {
            for entry in ["loss", "q_1_1", "r_1_1"] {
                for time in [0.0, 3.0] {
                    let y: f64 = shift + time + if entry == "loss" { 0.0 } else { 100.0 };
                    let row = [1.0, rate, time, y, y + 0.25, 0.5].map(Value::from);
                    let [k, rate, time, y, mean, error] = row;
                    curves.push(vec![k, rate, entry.into(), time, y, mean, error]);
                }
            }
        }
        let panels = learning_panels(&curves);
        assert_eq!(panels.len(), 2);
        let points = |panel: usize, curve: usize| panels[panel].curves[curve].points.clone();
        assert_eq!(points(0, 0), [[0.0, 1.0, 0.0], [1.5, 4.0, 0.0]]);
        assert_eq!(points(0, 3), [[0.0, 10.25, 0.98], [6.0, 13.25, 0.98]]);
        assert_eq!((panels[0].curves.len(), panels[1].curves.len()), (4, 2));
        assert_eq!(points(1, 0), [[0.0, 110.0, 0.0], [6.0, 113.0, 0.0]]);
        assert!(panels[1].title.contains("eta = 2") && panels[0].curves[1].name.is_empty());
    }
}
