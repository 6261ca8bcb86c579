//! Ours beside the published numbers, with tests and verdicts.

use super::published::{Column, Publication};
use super::{Counted, ReproduceSpec};
use crate::numerics::statistics::{clopper_pearson, fisher, holm, homogeneity};
use crate::report::{Report, Table, Value};

/// Level of the whole family of tests (Holm 1979).
const LEVEL: f64 = 0.01;
/// Share of converged runs above which a column counts as converged.
const CONVERGED: f64 = 0.99;

/// One published number beside ours.
struct Cell<'a> {
    counted: &'a Counted<'a>,
    class: String,
    published: f64,
    hits: usize,
    p_value: f64,
}

/// Tables `cells` (a row for each published number and input dimension), `columns` (chi-square over all classes), `counts`
/// (all classes of ours); results `verdicts`, `differs` (sentences).
pub fn report(spec: &ReproduceSpec, publication: &Publication, counted: &[Counted]) -> Report {
    let mut report = Report::new("reproduce", spec, Some(spec.seed.unwrap_or(1)));
    let cells: Vec<Cell> = counted.iter().flat_map(cells_of).collect();
    let adjusted = holm(&cells.iter().map(|cell| cell.p_value).collect::<Vec<_>>());
    let mut table = cell_table();
    let mut sentences = Vec::new();
    let mut tally: std::collections::BTreeMap<&'static str, usize> = std::collections::BTreeMap::new();
    for (cell, &p) in cells.iter().zip(&adjusted) {
        let verdict = verdict(cell, p);
        let sentence = sentence(cell, p, verdict);
        *tally.entry(verdict).or_default() += 1;
        push(&mut table, cell, p, verdict, &sentence);
        if verdict != "agrees" {
            sentences.push(sentence);
        }
    }
    for counted in counted.iter().filter(|counted| !counted.column.converged) {
        let (verdict, sentence) = unconverged(counted);
        *tally.entry(verdict).or_default() += 1;
        push_unconverged(&mut table, counted, verdict, &sentence);
        sentences.push(sentence);
    }
    let columns = column_table(counted);
    report.results.insert("title".into(), publication.title.clone().into());
    report.results.insert("verdicts".into(), serde_json::json!(tally));
    report.results.insert("differs".into(), sentences.clone().into());
    for table in [&table, &columns] {
        report.results.insert(table.name.clone(), table.to_json());
    }
    report.tables = vec![table, columns, count_table(counted)];
    report.notes.extend(sentences);
    if let Some(unstated) = &publication.unstated {
        report.notes.push(format!("Not stated in the publication: {unstated}."));
    }
    report.notes.push(format!(
        "Shares are those of w ~ N(0, I/d) at the d of each row. Each cell: Fisher's exact test of the two shares, Holm over {} cells, level {LEVEL}.",
        cells.len()
    ));
    report
}

/// The classes of a column in the order of a table: global, k1 = 1, 2, ..., what else there is, other.
fn classes(column: &Column) -> Vec<String> {
    let mut names: Vec<String> = column.shares.keys().cloned().collect();
    names.sort_by_key(|name| (name != "global", name.len(), name.clone()));
    names
}

fn hits(counted: &Counted, class: &str) -> usize {
    counted.counts.get(class).copied().unwrap_or(0)
}

fn cells_of<'a>(counted: &'a Counted<'a>) -> Vec<Cell<'a>> {
    let column = counted.column;
    let cell = |class: String| {
        let published = column.shares[&class];
        let hits = hits(counted, &class);
        let p_value = two_shares(hits, counted.runs, published, column.runs);
        Cell { counted, class, published, hits, p_value }
    };
    classes(column).into_iter().map(cell).collect()
}

/// p-value of Fisher's exact test that two shares are one.
fn two_shares(hits: usize, runs: usize, share: f64, published_runs: u64) -> f64 {
    fisher([hits, (share * published_runs as f64).round() as usize], [runs, published_runs as usize])
}

fn verdict(cell: &Cell, p: f64) -> &'static str {
    let column = cell.counted.column;
    match column.rivals.get(&cell.class) {
        _ if p >= LEVEL => "agrees",
        Some(rival) => {
            let hits = (cell.published * column.runs as f64).round() as usize;
            let between = two_shares(hits, column.runs as usize, rival.share, column.runs);
            if between < LEVEL { "inconsistent source" } else { "differs" }
        }
        None => "differs",
    }
}

fn sentence(cell: &Cell, p: f64, verdict: &str) -> String {
    let Counted { column, dimension, runs, .. } = cell.counted;
    let ours = 100.0 * cell.hits as f64 / *runs as f64;
    let (low, high) = clopper_pearson(cell.hits, *runs, 0.95);
    let published = 100.0 * cell.published;
    let difference = ours - published;
    let side = if difference < 0.0 { "below" } else { "above" };
    let mut text = format!(
        "{}, d = {dimension}, {}: {ours:.2} % ({:.2} to {:.2}), {:.2} points {side} the published {published:.2} % (Holm p = {p:.1e})",
        column.label,
        cell.class,
        100.0 * low,
        100.0 * high,
        difference.abs(),
    );
    if let (Some(rival), "inconsistent source") = (column.rivals.get(&cell.class), verdict) {
        let near = two_shares(cell.hits, *runs, rival.share, column.runs) >= LEVEL;
        let word = if near { "agrees with ours" } else { "does not agree either" };
        text.push_str(&format!("; {} of the same source says {:.2} %, which {word}", rival.place, 100.0 * rival.share));
    }
    text + "."
}

fn unconverged(counted: &Counted) -> (&'static str, String) {
    let Counted { column, dimension, runs, unresolved, lowest, points, longest, flattest, .. } = counted;
    let converged = runs - unresolved;
    let share = converged as f64 / *runs as f64;
    let verdict = if share >= CONVERGED { "differs" } else { "not converged" };
    let global = hits(counted, "global");
    let sentence = format!(
        "{}, d = {dimension}: published as not converged; {converged} of our {runs} runs end at {points} verified points, {global} of them within 1e-3 of the lowest loss {lowest:.6}; the longest flow takes a time of {longest:.1e}, the smallest eigenvalue is {flattest:.1e}.",
        column.label
    );
    (verdict, sentence)
}

fn cell_table() -> Table {
    Table::new(
        "cells",
        &[
            ("table", "", "table of the publication"),
            ("column", "", "rule and size"),
            ("students", "", "K"),
            ("teachers", "", "M"),
            ("rule", "", "training rule"),
            ("d", "", "input dimension of our runs"),
            ("class", "", "where runs end; global: within 1e-3 of the lowest loss"),
            ("lowest", "", "lowest loss: 0 where the students can be the teacher"),
            ("published", "%", "published share of runs"),
            ("published_runs", "runs", "runs behind it"),
            ("ours", "%", "our share"),
            ("low", "%", "lower end of its 95 % Clopper-Pearson interval"),
            ("high", "%", "upper end"),
            ("runs", "runs", "our runs"),
            ("p_value", "", "Fisher's exact test that both shares are one, Holm-adjusted over all cells"),
            ("verdict", "", "agrees, differs, inconsistent source, not converged"),
            ("sentence", "", "the difference in words"),
        ],
    )
}

fn push(table: &mut Table, cell: &Cell, p: f64, verdict: &'static str, sentence: &str) {
    let Counted { column, runs, .. } = cell.counted;
    let (low, high) = clopper_pearson(cell.hits, *runs, 0.95);
    let mut row = experiment(cell.counted, &cell.class);
    row.extend([
        (100.0 * cell.published).into(),
        (column.runs as usize).into(),
        (100.0 * cell.hits as f64 / *runs as f64).into(),
        (100.0 * low).into(),
        (100.0 * high).into(),
        (*runs).into(),
        p.into(),
        verdict.into(),
        if verdict == "agrees" { Value::Missing("agrees".into()) } else { sentence.into() },
    ]);
    table.push(row);
}

/// The first columns of a row of `cells`.
fn experiment(counted: &Counted, class: &str) -> Vec<Value> {
    let Counted { column, dimension, lowest, .. } = counted;
    vec![
        column.table.clone().into(),
        column.label.clone().into(),
        column.students.into(),
        column.teachers.into(),
        column.rule.clone().into(),
        (*dimension).into(),
        class.into(),
        (*lowest).into(),
    ]
}

fn push_unconverged(table: &mut Table, counted: &Counted, verdict: &'static str, sentence: &str) {
    let Counted { column, runs, .. } = counted;
    let global = hits(counted, "global");
    let (low, high) = clopper_pearson(global, *runs, 0.95);
    let missing = || Value::Missing("published as not converged".into());
    let mut row = experiment(counted, "global");
    row.extend([
        missing(),
        (column.runs as usize).into(),
        (100.0 * global as f64 / *runs as f64).into(),
        (100.0 * low).into(),
        (100.0 * high).into(),
        (*runs).into(),
        missing(),
        verdict.into(),
        sentence.into(),
    ]);
    table.push(row);
}

/// Chi-square over all classes of a column at once, Holm over the columns.
fn column_table(counted: &[Counted]) -> Table {
    let mut table = Table::new(
        "columns",
        &[
            ("table", "", "table of the publication"),
            ("column", "", "rule and size"),
            ("d", "", "input dimension of our runs"),
            ("runs", "runs", "our runs"),
            ("unresolved", "runs", "runs without a verified end; in no class"),
            ("chi_square", "", "statistic over all classes, rare ones merged; two classes have the exact test"),
            ("degrees", "", "its degrees of freedom"),
            ("p_value", "", "Holm-adjusted over the columns"),
            ("verdict", "", "agrees or differs"),
        ],
    );
    let compared: Vec<&Counted> = counted.iter().filter(|counted| !counted.column.shares.is_empty()).collect();
    let tests: Vec<_> = compared
        .iter()
        .map(|counted| {
            let published_runs = counted.column.runs as f64;
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let mut order: Vec<(String, usize)> = counted
                .column
                .shares
                .iter()
                .map(|(class, share)| (class.clone(), (share * published_runs).round() as usize))
                .collect();
            order.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            for (class, count) in order {
                ours.push(hits(counted, &class));
                theirs.push(count);
            }
            ours.push(counted.runs - ours.iter().sum::<usize>());
            theirs.push(counted.column.runs as usize - theirs.iter().sum::<usize>());
            if let ([hits, _], [others, _]) = (&ours[..], &theirs[..]) {
                let p = fisher([*hits, *others], [counted.runs, counted.column.runs as usize]);
                return (Value::Missing("two classes: Fisher's exact test".into()), 1, p);
            }
            let test = homogeneity(&ours, &theirs);
            (test.statistic.into(), test.degrees, test.p_value)
        })
        .collect();
    let adjusted = holm(&tests.iter().map(|test| test.2).collect::<Vec<_>>());
    for ((counted, (statistic, degrees, _)), p) in compared.into_iter().zip(tests).zip(adjusted) {
        table.push(vec![
            counted.column.table.clone().into(),
            counted.column.label.clone().into(),
            counted.dimension.into(),
            counted.runs.into(),
            counted.unresolved.into(),
            statistic,
            degrees.into(),
            p.into(),
            if p >= LEVEL { "agrees" } else { "differs" }.into(),
        ]);
    }
    table
}

fn count_table(counted: &[Counted]) -> Table {
    let mut table = Table::new(
        "counts",
        &[
            ("table", "", "table of the publication"),
            ("column", "", "rule and size"),
            ("d", "", "input dimension"),
            ("class", "", "where our runs end"),
            ("hits", "runs", "our runs that end there"),
            ("runs", "runs", "our runs"),
        ],
    );
    for counted in counted {
        let mut push = |class: &str, hits: usize| {
            table.push(vec![
                counted.column.table.clone().into(),
                counted.column.label.clone().into(),
                counted.dimension.into(),
                class.into(),
                hits.into(),
                counted.runs.into(),
            ]);
        };
        for (class, &hits) in &counted.counts {
            push(class, hits);
        }
        push("unresolved", counted.unresolved);
    }
    table
}
