//! One more student at every local minimum with K = M: which minima with K = M + 1 are reached, and how often.

use crate::lines::Lines;
use committee::landscape::ansatz::{Guess, solve};
use committee::landscape::widen::{Widening, tilted};
use committee::landscape::{Point, settle};
use committee::model::Teacher;
use committee::numerics::random;
use committee::report::{Report, Table, Value};
use committee::study::{WidenSpec, widen};
use rayon::prelude::*;

/// Prints a table with its header.
fn print(lines: &Lines, table: &Table, columns: &[(&str, usize)]) {
    for line in table.pretty(columns).lines() {
        lines.note(line);
    }
}

fn transitions(lines: &mut Lines, teachers: usize, dimension: usize, searches: u64, runs: u64) -> Report {
    let spec = WidenSpec { teachers, dimension: Some(dimension), searches, runs, ..WidenSpec::default() };
    let report = widen(&spec, &|_, _, _| true).unwrap();
    let name = format!("K = M = {teachers}, d = {dimension}");
    lines.note(&format!("{name}: {searches} searches, {runs} starts for each family and mode"));
    let table = |name: &str| report.table(name).unwrap();
    let origins = table("origins");
    let columns: Vec<(&str, usize)> = origins.columns.iter().map(|column| (column.name.as_str(), 5)).collect();
    print(lines, origins, &columns);
    let slopes = table("slopes");
    let columns: Vec<(&str, usize)> = slopes.columns.iter().map(|column| (column.name.as_str(), 5)).collect();
    print(lines, slopes, &columns);
    print(
        lines,
        table("transitions"),
        &[
            ("origin", 0),
            ("mode", 0),
            ("end_family", 0),
            ("end_isotropy", 0),
            ("end_k1", 9),
            ("end_loss", 8),
            ("end_verdict", 0),
            ("end_eigenvalue", 6),
            ("end_transverse", 6),
            ("runs", 9),
            ("share", 4),
            ("share_low", 4),
            ("share_high", 4),
        ],
    );
    let matrix = table("matrix");
    let columns: Vec<(&str, usize)> = matrix.columns.iter().map(|column| (column.name.as_str(), 4)).collect();
    print(lines, matrix, &columns);
    let rises = report.results["loss_rises"].as_u64().unwrap();
    lines.line(&format!("{name}: ends above their origin"), rises, "0", rises == 0);
    let (unresolved, starts) =
        (report.results["unresolved"].as_u64().unwrap(), report.results["starts"].as_u64().unwrap());
    lines.line(&format!("{name}: unresolved starts of {starts}"), unresolved, "<= 0.5 %", 200 * unresolved <= starts);
    report
}

/// Share of starts of one origin and mode that ended with this loss, to 1e-7.
fn share(report: &Report, origin: &str, mode: &str, loss: f64) -> f64 {
    let table = report.table("transitions").unwrap();
    let at = |row: &[Value], column: &str| row[table.index(column).unwrap()].clone();
    let matches = |row: &&Vec<Value>| {
        at(row, "origin").exact() == origin
            && at(row, "mode").exact() == mode
            && at(row, "end_loss").as_f64().is_some_and(|x| (x - loss).abs() < 1e-7)
    };
    table.rows.iter().filter(matches).map(|row| at(row, "share").as_f64().unwrap()).sum()
}

/// A short new unit turns to a local minimum of its slope before it grows: does that minimum decide the end? Up to
/// k1 = 5 it does; at k1 = 6 the upper minimum leads to several ends (measured: the bar was left to the lower five).
fn slopes(lines: &mut Lines) {
    let teacher = Teacher::orthonormal(17).unwrap();
    for k1 in 1..=6 {
        let weights = solve(&Guess::flipped(17), k1, &teacher).unwrap();
        let widening = Widening::new(&weights, &teacher, 0, 17).unwrap();
        let mut rng = random::stream(5, &[k1 as u64]);
        let mut new = widening.new_unit();
        let mut minima: Vec<(f64, Vec<f64>)> = Vec::new();
        for _ in 0..300 {
            let (slope, u) = new.steepest_from(widening.random_direction(&mut rng)).unwrap();
            if !minima.iter().any(|(known, _)| (known - slope).abs() < 1e-6) {
                minima.push((slope, u));
            }
        }
        minima.sort_by(|x, y| x.0.total_cmp(&y.0));
        for (slope, u) in minima {
            let starts: Vec<_> = (0..20)
                .map(|_| widening.add(&tilted(&u, &widening.random_direction(&mut rng), 0.01).unwrap(), 1e-3).unwrap())
                .collect();
            let ends: Vec<Point> = starts
                .par_iter()
                .map(|start| Point::new(&settle(start, &teacher, 0).unwrap().weights, &teacher, 0).unwrap())
                .collect();
            let mut losses: Vec<(f64, usize)> = Vec::new();
            for end in &ends {
                match losses.iter_mut().find(|(loss, _)| (loss - end.loss).abs() < 1e-9) {
                    Some((_, count)) => *count += 1,
                    None => losses.push((end.loss, 1)),
                }
            }
            let named = |loss: f64| ends.iter().find(|end| end.loss == loss).map_or("", |end| &end.family.name);
            let texts: Vec<String> =
                losses.iter().map(|&(loss, count)| format!("{count} at {loss:.8} ({})", named(loss))).collect();
            let line = format!("M = 17, k1 = {k1}, slope {slope:.6}: ends of 20 starts");
            if k1 <= 5 {
                lines.line(&line, texts.join(", "), "one", losses.len() == 1);
            } else {
                lines.note(&format!("{line}: {}", texts.join(", ")));
            }
        }
    }
}

/// M = 8, 12, 17 at d = 2 M + 1, and M = 17 at d = 17. Minutes.
#[test]
#[ignore = "evidence"]
fn widen_transitions() {
    let mut lines = Lines::new("widen_transitions");
    for (teachers, searches) in [(8, 1000), (12, 2000), (17, 2000)] {
        transitions(&mut lines, teachers, 2 * teachers + 1, searches, 200);
    }
    let report = transitions(&mut lines, 17, 17, 2000, 200);
    for (origin, mode, end, loss, low) in [
        ("k1 = 1", "add steepest", "global", 0.0, 0.95),
        ("k1 = 1", "split flipped", "one teacher with two flipped units", 0.0122011937, 0.95),
        ("k1 = 3", "add steepest", "m = 3", 0.0191571826, 0.95),
        ("k1 = 4", "add steepest", "m = 4", 0.0259781841, 0.95),
        ("k1 = 5", "add steepest", "m = 5", 0.0323595086, 0.95),
    ] {
        let share = share(&report, origin, mode, loss);
        lines.line(
            &format!("M = 17, d = 17: {origin}, {mode}, share to {end} ({loss:.8})"),
            format!("{share:.3}"),
            &format!(">= {low}"),
            share >= low,
        );
    }
    slopes(&mut lines);
    lines.close();
}
