//! One more student at every local minimum with K = M: which minima with K = M + 1 are reached, and how often.

use crate::lines::Lines;
use committee::report::{Report, Table};
use committee::study::{WidenSpec, widen};

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
    print(
        lines,
        table("transitions"),
        &[
            ("origin", 0),
            ("mode", 0),
            ("end_family", 0),
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

/// M = 8, 12, 17 at d = 2 M + 1, and M = 17 at d = 17. Minutes.
#[test]
#[ignore = "evidence"]
fn widen_transitions() {
    let mut lines = Lines::new("widen_transitions");
    for (teachers, searches) in [(8, 1000), (12, 2000), (17, 4000)] {
        transitions(&mut lines, teachers, 2 * teachers + 1, searches, 200);
    }
    transitions(&mut lines, 17, 17, 4000, 200);
    lines.close();
}
