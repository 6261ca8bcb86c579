//! The tables of a diagram over two parameters.

use std::collections::BTreeMap;

use super::phase::{End, Item, Plan, Record, Sample};
use super::plane::{PhaseSpec, Plane};
use super::shares::Shares;
use crate::dynamics::orthonormal_threshold;
use crate::report::{Report, Table, Value};

/// Tables `cells`, `minima` and `boundaries`; with runs also `shares` and `ends`.
pub(super) fn report(spec: &PhaseSpec, plan: &Plan, records: &BTreeMap<usize, Record>) -> Report {
    let is_rate = spec.plane == Plane::FlippedRate;
    let axes = match spec.plane {
        Plane::ExtraTeachers => ["extra", "M"],
        Plane::CorrelationTeachers => ["rho", "M"],
        Plane::FlippedTeachers => ["k1", "M"],
        Plane::FlippedRate => ["k1", "learning_rate"],
    };
    let mut columns = vec![
        (axes[0], "", "first parameter of the plane"),
        (axes[1], "", if is_rate { "learning rate eta" } else { "number of teachers" }),
    ];
    if is_rate {
        columns.extend([
            ("verdict", "", "stable, unstable; missing: no fixed point"),
            ("loss", "", "population loss at the fixed point"),
            ("eigenvalue", "per unit of eta steps / d", "leading eigenvalue / eta, real part; stable below 0"),
            ("imaginary", "per unit of eta steps / d", "its imaginary part / eta"),
            ("sector", "", "its symmetry sector; set 1: flipped units, set 2: the others"),
            ("ratio", "", "eta / local threshold of the exact solution"),
            ("residual", "", "largest rate of change of an overlap / eta, recomputed"),
        ]);
    } else {
        columns.extend([
            ("verdict", "", "local minimum, saddle, degenerate, global minimum; missing: no branch"),
            ("loss", "", "population loss at the family's point"),
            ("min_eigenvalue", "", "smallest eigenvalue of the Hessian inside span(W, V)"),
            ("sector", "", "its symmetry sector; sets are numbered flipped, aligned, extra"),
            ("min_transverse_eigenvalue", "", "smallest eigenvalue across the span"),
            ("transverse_sector", "", "its symmetry sector"),
            ("unstable", "", "negative eigenvalues inside the span"),
            ("residual", "", "largest gradient entry at the point, recomputed in double-double arithmetic"),
        ]);
    }
    if !plan.columns.is_empty() {
        columns.extend([
            ("hits", "runs", "runs from random starts with these K, M and rho that ended at this point"),
            ("share", "", "hits / runs"),
            ("share_low", "", "lower end of the 95 % Clopper-Pearson interval of the share"),
            ("share_high", "", "upper end"),
        ]);
    }
    let mut cells = Table::new("cells", &columns);
    let mut ranges = Table::new(
        "minima",
        &[
            ("line", "", "the line's value: k1, extra units, or M on the plane rho-M"),
            ("low", "", "lower end of a range of the other parameter in which the family is a minimum"),
            ("low_error", "", "its error; missing: no event"),
            ("low_event", "", "what happens there"),
            ("high", "", "upper end"),
            ("high_error", "", "its error"),
            ("high_event", "", "what happens there"),
        ],
    );
    let mut boundaries = Table::new(
        "boundaries",
        &[
            ("curve", "", "number of the curve's sector, by first appearance"),
            (axes[0], "", "first parameter of the plane"),
            (axes[1], "", if is_rate { "learning rate eta" } else { "number of teachers, real" }),
            ("error", "", "error of M; of rho or eta on the planes rho-M, k1-eta"),
            ("mode", "", "sector of the eigenvalue that vanishes; on the plane k1-eta also how"),
            ("bounds", "", "yes: no other eigenvalue is negative, minima end here"),
        ],
    );
    let numbered = || records.iter().map(|(&id, record)| (plan.item(id), record));
    let mut shares = Shares::new(plan, numbered());
    let local = orthonormal_threshold(spec.teachers.0, spec.batch.max(1));
    let mut ends: Vec<(f64, End)> = Vec::new();
    let (mut samples, mut missed): (Vec<Sample>, Vec<f64>) = Default::default();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for (item, record) in numbered() {
        match (item, record) {
            (_, Record::Curve(curve, lost)) => {
                samples.extend(curve.iter().cloned());
                missed.extend(lost);
            }
            (Item::Minima(line), Record::Minima(found)) => {
                for [low, high] in found {
                    let error = |end: &End| end.error.map_or_else(|| Value::Missing("no event".into()), Value::real);
                    ranges.push(vec![
                        number(plan.lines[line]),
                        low.p.into(),
                        error(low),
                        low.event.clone().into(),
                        high.p.into(),
                        error(high),
                        high.event.clone().into(),
                    ]);
                    let events = [low, high].into_iter().filter(|end| end.is_event);
                    ends.extend(events.map(|end| (plan.lines[line], end.clone())));
                }
            }
            (Item::Cell(line, i), _) => {
                let [x, y] = spec.place(plan.lines[line], plan.along[i]);
                let mut row = vec![number(x), number(y)];
                row.extend(values(record, plan.along[i] / local, columns_of_cell(is_rate)));
                if !plan.columns.is_empty() {
                    row.extend(shares.of_cell(column(spec, plan, [x, y]), line, record));
                }
                cells.push(row);
                if let Record::Nothing { reason } = record {
                    *reasons.entry(reason.clone()).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    // A line's own events stand beside the curves: two routes to the same numbers.
    let mut largest = None;
    let mut modes: Vec<String> = Vec::new();
    for (line, end) in &ends {
        let mode = match end.event.rsplit_once(", ") {
            Some((_, mode)) if !is_rate => mode.to_string(),
            _ => end.event.clone(),
        };
        let on_curve = samples.iter().filter(|s| s.second == *line && s.mode == mode);
        let nearest = on_curve.map(|s| (s.p - end.p).abs()).min_by(f64::total_cmp);
        match nearest {
            Some(difference) => largest = Some(f64::max(difference, largest.unwrap_or(0.0))),
            None => samples.push(Sample {
                mode,
                p: end.p,
                second: *line,
                error: end.error.unwrap_or(f64::NAN),
                bounds: true,
            }),
        }
    }
    samples.sort_by(|a, b| a.mode.cmp(&b.mode).then(a.second.total_cmp(&b.second)).then(a.p.total_cmp(&b.p)));
    for sample in &samples {
        if !modes.contains(&sample.mode) {
            modes.push(sample.mode.clone());
        }
        let [x, y] = match spec.plane {
            Plane::CorrelationTeachers => [sample.p, sample.second],
            _ => [sample.second, sample.p],
        };
        boundaries.push(vec![
            modes.iter().position(|mode| *mode == sample.mode).map_or(0, |i| i + 1).into(),
            x.into(),
            y.into(),
            sample.error.into(),
            sample.mode.clone().into(),
            if sample.bounds { "yes" } else { "no" }.into(),
        ]);
    }
    let seed = (!plan.columns.is_empty()).then_some(spec.seed);
    let mut report = Report::new("phase", spec, seed);
    let count = |verdict: &str| cells.texts("verdict").iter().filter(|text| *text == verdict).count();
    if is_rate {
        report.results.insert("stable".into(), count("stable").into());
        report.results.insert("unstable".into(), count("unstable").into());
        report.results.insert("local_threshold".into(), local.into());
        report.notes.push(format!(
            "The exact solution loses stability at learning rate {local:.6} (no label noise, no decay)."
        ));
    } else {
        report.results.insert("local_minima".into(), count("local minimum").into());
        report.results.insert("saddles".into(), count("saddle").into());
    }
    report.results.insert("no_branch".into(), count("").into());
    report.results.insert("largest_difference".into(), largest.into());
    let mut tables = vec![cells, ranges, boundaries];
    if let Some((_, problem)) = plan.columns.first() {
        tables.extend(shares.tables(plan));
        let d = spec.dimension.map_or("K + M".into(), |_| problem.law.dimension.to_string());
        report.notes.push(format!(
            "Shares with 95 % Clopper-Pearson intervals are those of {} runs of gradient flow in each column from \
             w ~ N(0, s^2 I/d), d = {d}, s = {}: they depend on both.",
            plan.runs, problem.law.scale
        ));
    }
    for table in &tables {
        report.results.insert(table.name.clone(), table.to_json());
    }
    if let Some(difference) = largest {
        report.notes.push(format!("Events on the lines and boundary curves agree to {difference:.1e}."));
    }
    if !missed.is_empty() {
        report.notes.push(format!("Points of boundary curves that were not found, at second parameter {missed:?}."));
    }
    for (reason, times) in reasons {
        report.notes.push(format!("Cells without a branch: {times} ({reason})."));
    }
    report.tables = tables;
    report
}

/// A coordinate: an integer where it is whole.
pub(super) fn number(x: f64) -> Value {
    if x.fract() == 0.0 { Value::Integer(x as i64) } else { Value::real(x) }
}

/// The column of a cell.
fn column(spec: &PhaseSpec, plan: &Plan, [x, y]: [f64; 2]) -> Option<usize> {
    let (extra, rho) = match spec.plane {
        Plane::ExtraTeachers => (x, 0.0),
        Plane::CorrelationTeachers => (0.0, x),
        _ => (0.0, 0.0),
    };
    plan.columns.iter().position(|(other, problem)| {
        let m = problem.teacher.units() as f64;
        m == y && problem.students as f64 == m + extra && *other == rho
    })
}

/// Number of columns that [`values`] fills.
fn columns_of_cell(is_rate: bool) -> usize {
    if is_rate { 7 } else { 8 }
}

fn values(record: &Record, ratio: f64, width: usize) -> Vec<Value> {
    match record {
        Record::Point { verdict, loss, inside, across, unstable, residual, .. } => vec![
            verdict.clone().into(),
            (*loss).into(),
            inside.0.into(),
            inside.1.clone().into(),
            across.0.into(),
            across.1.clone().into(),
            (*unstable).into(),
            (*residual).into(),
        ],
        Record::Settled { is_stable, loss, leading, sector, residual } => vec![
            if *is_stable { "stable" } else { "unstable" }.into(),
            (*loss).into(),
            leading[0].into(),
            leading[1].into(),
            sector.clone().into(),
            ratio.into(),
            (*residual).into(),
        ],
        Record::Nothing { reason } => vec![Value::Missing(reason.clone()); width],
        Record::Minima(_) | Record::Curve(..) | Record::Run(_) => Vec::new(),
    }
}
