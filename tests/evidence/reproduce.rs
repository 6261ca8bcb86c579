//! Published tables computed again, with the time it takes.

use std::time::Instant;

use crate::learning_rates::rate;
use crate::lines::Lines;
use committee::dynamics::Fault;
use committee::model::{Activation, Sgd, Teacher};
use committee::numerics::statistics::{clopper_pearson, fisher};
use committee::report::{Report, Table};
use committee::study::{ReproduceSpec, Source, ValidateSpec, reproduce, validate_against};

fn run(source: Source, runs: Option<u64>, only: Option<&str>) -> (Report, f64) {
    let begun = Instant::now();
    let spec = ReproduceSpec { source, runs, only: only.map(str::to_string), ..ReproduceSpec::default() };
    let report = reproduce(&spec, &|_, _, _, _| true).unwrap();
    (report, begun.elapsed().as_secs_f64() / 60.0)
}

/// Every row of a table as a note: these columns, shortened.
fn rows(lines: &Lines, table: &Table, columns: &[(&str, usize)]) {
    table.pretty(columns).lines().for_each(|line| lines.note(line));
}

fn notes(lines: &Lines, report: &Report) {
    report.notes.iter().for_each(|note| lines.note(note));
}

const CELLS: &[(&str, usize)] = &[
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

/// Tables A and B of Huang, Loureiro, Sarao Mannelli 2026: all rules, K = 17, 18, 19, 10 000 runs (300 with orthonormal
/// students), descent stopped early, and noise on fixed points. 25 minutes on two idle cores.
#[test]
#[ignore = "evidence"]
fn huang_2026() {
    let mut lines = Lines::new("huang_2026");
    let (report, minutes) = run(Source::Huang2026, None, None);
    lines.line("all columns on this machine, minutes", format!("{minutes:.1}"), "30", minutes <= 30.0);
    let columns = report.table("columns").unwrap();
    let counts = report.table("counts").unwrap();
    let (classes, hits) = (counts.texts("class"), counts.numbers("hits"));
    let open: f64 = (0..classes.len()).filter(|&i| classes[i] == "unresolved").filter_map(|i| hits[i]).sum();
    let all: f64 = hits.iter().flatten().sum();
    lines.line("unresolved runs", format!("{open} of {all}"), "0.1 %", open <= 1e-3 * all);
    rows(&lines, report.table("cells").unwrap(), CELLS);
    lines.note("chi-square over all classes of a column:");
    let chosen =
        [("column", 0), ("d", 9), ("runs", 9), ("unresolved", 9), ("degrees", 9), ("p_value", 2), ("verdict", 0)];
    rows(&lines, columns, &chosen);
    lines.note("descent stopped after so many steps of 0.2:");
    let chosen =
        [("students", 9), ("d", 9), ("steps", 9), ("class", 0), ("share", 4), ("low", 4), ("high", 4), ("gradient", 2)];
    rows(&lines, report.table("run_length").unwrap(), &chosen);
    lines.note("noise on fixed points, 1000 steps of 0.01:");
    let chosen = [
        ("students", 9),
        ("family", 0),
        ("min_eigenvalue", 4),
        ("noise", 2),
        ("start", 3),
        ("end", 3),
        ("predicted", 3),
        ("near", 3),
        ("steps_needed", 3),
        ("returns", 3),
    ];
    rows(&lines, report.table("perturbation").unwrap(), &chosen);
    notes(&lines, &report);
    lines.close();
}

/// Counts of Safran and Shamir 2018 and families of Safran, Yehudai and Shamir 2021. Ten minutes on two cores.
#[test]
#[ignore = "evidence"]
fn safran() {
    let mut lines = Lines::new("safran");
    let mut total = 0.0;
    for (source, name) in [(Source::SafranShamir2018, "safran-shamir-2018"), (Source::Safran2021, "safran-2021")] {
        let (report, minutes) = run(source, None, None);
        total += minutes;
        let cells = report.table("cells").unwrap();
        let verdicts = cells.texts("verdict");
        let differ: Vec<&String> = verdicts.iter().filter(|verdict| *verdict != "agrees").collect();
        lines.line(
            &format!("{name}: cells that differ, Holm over all cells"),
            format!("{} of {}", differ.len(), verdicts.len()),
            if source == Source::SafranShamir2018 { "at most k = n = 13" } else { "0" },
            differ.len() <= usize::from(source == Source::SafranShamir2018),
        );
        rows(&lines, cells, CELLS);
        rows(
            &lines,
            report.table("columns").unwrap(),
            &[("column", 0), ("chi_square", 3), ("degrees", 9), ("p_value", 2), ("verdict", 0)],
        );
        notes(&lines, &report);
    }
    lines.line("both on this machine, minutes", format!("{total:.1}"), "10", total <= 10.0);
    lines.close();
}

/// The one published count that ours do not meet, K = M = 13: more runs, another seed, and the neighbours. A minute.
#[test]
#[ignore = "evidence"]
fn quick_safran_thirteen() {
    let mut lines = Lines::new("quick_safran_thirteen");
    let mut ours = Vec::new();
    for k in [12, 13, 14] {
        let published = [585, 730, 736][k - 12];
        let problem = committee::study::LandscapeSpec {
            students: k,
            teachers: k,
            dimension: Some(k),
            runs: 4000,
            seed: 2,
            ..committee::study::LandscapeSpec::default()
        };
        let mut catalogue =
            committee::landscape::catalogue::Catalogue::open(None, problem.problem().unwrap(), "orthonormal").unwrap();
        catalogue.fill(problem.runs, &|_, _, _| true).unwrap();
        let census = catalogue.census(problem.runs).unwrap();
        let bad: usize = census.classes.iter().filter(|class| class.point.loss >= 1e-3).map(|class| class.hits).sum();
        let (low, high) = clopper_pearson(bad, 4000, 0.99);
        let p = fisher([bad, published], [4000, 1000]);
        ours.push(bad as f64 / 4000.0);
        lines.line(
            &format!("K = M = d = {k}: runs that miss the global minimum, 4000 flows, 99 % interval"),
            format!("{:.2} % ({:.2} to {:.2})", bad as f64 / 40.0, 100.0 * low, 100.0 * high),
            &format!("published {:.1} %, p = {p:.1e}", published as f64 / 10.0),
            (p >= 0.01) == (k != 13),
        );
    }
    let middle = 0.5 * (ours[0] + ours[2]);
    lines.line(
        "the share at 13 beside the mean of 12 and 14",
        format!("{:.3}, {middle:.3}", ours[1]),
        "within 0.02: no step between 12 and 14",
        (ours[1] - middle).abs() < 0.02,
    );
    lines.close();
}

/// Erf committees of Saad and Solla 1995: plateaus, largest learning rates, and six learning curves against networks trained
/// in d dimensions and the chain; the same comparison with wrong equations. Seven minutes.
#[test]
#[ignore = "evidence"]
fn saad_solla() {
    let mut lines = Lines::new("saad_solla");
    let (report, minutes) = run(Source::SaadSolla1995, None, None);
    lines.note(&format!("{minutes:.1} minutes"));
    let cells = report.table("cells").unwrap();
    let [tables, cases, quantities, verdicts] =
        ["table", "case", "quantity", "verdict"].map(|column| cells.texts(column));
    let (ours, p_values) = (cells.numbers("ours"), cells.numbers("p_value"));
    for i in 0..cells.rows.len() {
        let what = format!("{}, {}, {}", tables[i], cases[i], quantities[i]);
        // From K = 2 on the quoted largest learning rate leaves something out.
        let expected =
            if quantities[i] == "stable in mean square" && cases[i] != "K = 1" { "differs" } else { "agrees" };
        let measured = match (ours[i], p_values[i]) {
            (Some(value), _) => format!("{value:.9}, {}", verdicts[i]),
            (None, p) => format!("p = {:.3}, {}", p.unwrap_or(f64::NAN), verdicts[i]),
        };
        lines.line(&what, measured, expected, verdicts[i] == expected);
    }
    rows(
        &lines,
        report.table("learning").unwrap(),
        &[
            ("students", 9),
            ("learning_rate", 3),
            ("plateau_loss", 6),
            ("closest", 6),
            ("escape_rate", 5),
            ("end_of_plateau", 4),
            ("end_loss", 3),
            ("d", 9),
            ("runs", 9),
            ("simulators", 0),
            ("deviation", 3),
            ("tests", 9),
            ("p_value", 3),
        ],
    );
    notes(&lines, &report);
    // Between our threshold and the quoted one the teacher is unstable.
    for (m, ours, quoted) in [(2, 2.306828, 2.323754), (3, 1.620675, 1.628361), (4, 1.249393, 1.253305)] {
        let teacher = Teacher::orthonormal(m).unwrap().with_activation(Activation::Erf).unwrap();
        let (below, between) = (rate(&teacher, 0.997 * ours), rate(&teacher, 0.5 * (ours + quoted)));
        lines.line(
            &format!("K = M = {m}: rate of the loss at 0.997 of our threshold, and halfway to the quoted one"),
            format!("{below:.1e}, {between:.1e}"),
            "< 0, > 0",
            below < 0.0 && between > 0.0,
        );
    }
    for students in [2, 3] {
        let spec = ValidateSpec {
            students,
            teachers: students,
            activation: Activation::Erf,
            dimensions: vec![1000 * (students - 1)],
            init_dimension: Some(if students == 2 { 20 } else { 10 }),
            init_scale: 0.3,
            run: if students == 2 { 0 } else { 1 },
            time: 120.0,
            runs: 400,
            test_inputs: 0,
            explicit_limit: 0.0,
            rule: Sgd { learning_rate: 1.0, ..Sgd::default() },
            ..ValidateSpec::default()
        };
        let fault = Fault { squares: 0.98, ..Fault::default() };
        let wrong =
            validate_against(&spec, spec.rule, fault, &|_, _| true).unwrap().results["p_value"].as_f64().unwrap();
        lines.line(
            &format!("K = {students}, eta = 1: eta^2 x 0.98, p"),
            format!("{wrong:.1e}"),
            "< 1e-6",
            wrong < 1e-6,
        );
    }
    lines.close();
}
