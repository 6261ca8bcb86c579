//! Families over two parameters: where they are minima, and the curves on which they stop being so.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::plane::{PhaseSpec, Plane};
use crate::error::{Error, Result};
use crate::landscape::branch::Crossing;
use crate::landscape::phase::{self, Bound, Found, Line};
use crate::landscape::reduced::{Parameter, Shape};
use crate::report::{Report, Table, Value};
use crate::store::{self, NewCell, Store};

/// Real values from one integer to the next at which a curve is given.
const BETWEEN: usize = 10;
/// Raised when a change of the method changes what a cell holds.
const METHOD: u32 = 1;

/// What the ledger keeps of a cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Record {
    Point {
        verdict: String,
        loss: f64,
        inside: (f64, String),
        across: (f64, String),
        unstable: f64,
        residual: f64,
    },
    Nothing {
        reason: String,
    },
    /// The ranges of minima of a line.
    Minima(Vec<[End; 2]>),
    /// The curves, and the values of the second parameter at which a point of them was not found.
    Curve(Vec<Sample>, Vec<f64>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct End {
    p: f64,
    error: Option<f64>,
    event: String,
    is_event: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sample {
    mode: String,
    p: f64,
    second: f64,
    error: f64,
    bounds: bool,
}

/// Computes what is missing of the diagram (`db` keeps finished cells) and reports. `progress` is called with (finished,
/// total) and returns false to stop.
///
/// # Errors
/// [`Error::Count`], [`Error::Real`], [`Error::Spec`] for a spec outside its ranges; those of the store;
/// [`Error::Interrupted`] when stopped.
pub fn phase(spec: &PhaseSpec, db: Option<&Path>, progress: &dyn Fn(usize, usize) -> bool) -> Result<Report> {
    spec.check()?;
    let key = serde_json::json!({ "spec": spec, "method": METHOD }).to_string();
    let summary = format!("phase diagram {}", serde_json::to_string(spec).unwrap_or_default());
    let identity = store::Problem { study: "phase".into(), key, summary };
    let mut store = match db {
        Some(path) => Store::open(path, &identity)?,
        None => Store::in_memory(&identity)?,
    };
    fill(spec, &mut store, db, progress)?;
    let mut records = BTreeMap::new();
    for cell in store.cells()? {
        let unreadable = |error: serde_json::Error| Error::Store {
            action: "read",
            path: db.unwrap_or(Path::new("memory")).to_path_buf(),
            problem: format!("cell {}: {error}", cell.id),
        };
        records.insert(cell.id as usize, serde_json::from_str::<Record>(&cell.payload).map_err(unreadable)?);
    }
    Ok(report(spec, &records))
}

/// The cells of line n have the numbers from n (cells + 1) on; after them comes the record of its minima. The last cell of
/// all is that of the curves.
fn fill(spec: &PhaseSpec, store: &mut Store, db: Option<&Path>, progress: &dyn Fn(usize, usize) -> bool) -> Result<()> {
    let (lines, along) = (spec.lines(), spec.along());
    let width = along.len() + 1;
    let total = lines.len() * width + 1;
    let finished = store.finished()?;
    let is_missing = |id: usize| finished.binary_search(&(id as u64)).is_err();
    let mut done = finished.len();
    let mut goes_on = progress(done, total);
    let mut keep = |store: &mut Store, id: usize, record: &Record| -> Result<bool> {
        let payload = serde_json::to_string(record).unwrap_or_default();
        store.record(&NewCell { id: id as u64, point: None, payload }, &|_, _| false)?;
        done += 1;
        Ok(progress(done, total))
    };
    for (n, &line) in lines.iter().enumerate() {
        let missing: Vec<usize> = (0..width).filter(|i| is_missing(n * width + i)).collect();
        if !goes_on || missing.is_empty() {
            continue;
        }
        let followed = spec.follow(line);
        let found: Vec<(usize, Record)> = missing
            .into_par_iter()
            .map(|i| {
                let record = match &followed {
                    Err(error) => Record::Nothing { reason: error.to_string() },
                    Ok(family) if i < along.len() => cell(spec, family, line, along[i]),
                    Ok(family) => Record::Minima(minima(spec, family)),
                };
                (i, record)
            })
            .collect();
        for (i, record) in found {
            goes_on &= keep(store, n * width + i, &record)?;
        }
    }
    if goes_on && is_missing(total - 1) {
        let (samples, missed) = curves(spec)?;
        let record = Record::Curve(samples, missed);
        goes_on &= keep(store, total - 1, &record)?;
    }
    if goes_on || done == total {
        return Ok(());
    }
    let resume = match db {
        Some(path) => format!("they are kept in {}: the same command goes on", path.display()),
        None => "they are lost; give --db FILE to keep them".into(),
    };
    Err(Error::Interrupted { done, total, resume })
}

fn cell(spec: &PhaseSpec, family: &Line, line: usize, p: f64) -> Record {
    let nothing = |reason: String| Record::Nothing { reason };
    if spec.plane == Plane::CorrelationTeachers {
        let least = phase::singular_correlation(line as f64);
        if p <= least {
            return nothing(format!("T is no Gram matrix at or below -1/(M - 1) = {least:.6}"));
        }
    } else if p < family.start.shape.teachers[0] + 3.0 {
        return nothing("fewer than three aligned units".into());
    }
    let point = match family.at(p) {
        Ok(Found::Point(point)) => point,
        Ok(Found::Nothing(reason)) => return nothing(reason),
        Err(error) => return nothing(error.to_string()),
    };
    let named = |(value, sector): (f64, crate::population::Sector)| (value, sector.name());
    Record::Point {
        verdict: point.verdict.name().into(),
        loss: point.loss,
        inside: named(point.smallest()),
        across: named(point.smallest_across()),
        unstable: point.unstable(),
        residual: point.residual,
    }
}

fn minima(spec: &PhaseSpec, family: &Line) -> Vec<[End; 2]> {
    let end = |bound: &Bound| match bound {
        Bound::Event(event) => End {
            p: event.direct.map_or(event.p, |direct| direct.0),
            error: event.direct.map(|direct| direct.1),
            event: format!("{}, {}", event.kind.name(), event.mode.name()),
            is_event: true,
        },
        Bound::Open { p, why } => match edge(spec, family, *p) {
            Some((p, event)) => End { p, error: None, event, is_event: false },
            None => End { p: *p, error: None, event: format!("none: the branch {why}"), is_event: false },
        },
    };
    family.minima().iter().map(|range| [end(&range[0]), end(&range[1])]).collect()
}

/// The edge of the plane rho-M: the correlation at which T is singular, where the state is solved again.
fn edge(spec: &PhaseSpec, family: &Line, p: f64) -> Option<(f64, String)> {
    if spec.plane != Plane::CorrelationTeachers {
        return None;
    }
    let least = phase::singular_correlation(family.start.state.partition().teacher_count());
    let last = family.down.as_ref().and_then(|trace| trace.branch.points.last())?;
    if p != last.p || (p / least - 1.0).abs() > 0.01 {
        return None;
    }
    match phase::at_singular_correlation(family) {
        Ok(Some(point)) if phase::is_minimum(point.verdict) => Some((least, "edge: T is singular".into())),
        Ok(Some(point)) => Some((least, format!("edge: T is singular, {} there", point.verdict.name()))),
        _ => None,
    }
}

/// The curves through the events that end ranges of minima, at the integers and, where both parameters may be real,
/// between them.
fn curves(spec: &PhaseSpec) -> Result<(Vec<Sample>, Vec<f64>)> {
    let (second, range) = match spec.plane {
        Plane::FlippedTeachers => (Parameter::Size(0), (spec.flipped.0 as f64, spec.flipped.1 as f64)),
        Plane::CorrelationTeachers => (Parameter::Teachers, (spec.teachers.0 as f64, spec.teachers.1 as f64)),
        _ => return Ok(Default::default()),
    };
    if range.1 - range.0 < 1.0 {
        return Ok(Default::default());
    }
    let steps = ((range.1 - range.0) as usize) * BETWEEN;
    // At k1 = 1 the flipped group has one entry less.
    let values: Vec<f64> = (0..=steps)
        .map(|i| range.0 + i as f64 / BETWEEN as f64)
        .filter(|&v| spec.plane != Plane::FlippedTeachers || v > 1.0)
        .collect();
    let range = (if spec.plane == Plane::FlippedTeachers { range.0.max(1.05) } else { range.0 }, range.1);
    let (mut out, mut lost): (Vec<Sample>, Vec<f64>) = Default::default();
    for line in spec.lines() {
        if spec.plane == Plane::FlippedTeachers && line == 1 {
            continue;
        }
        let family = spec.follow(line)?;
        for (shape, event) in events(&family) {
            let known =
                |s: &Sample| s.second == line as f64 && s.mode == event.mode.name() && (s.p - event.p).abs() < 1e-6;
            if out.iter().any(known) {
                continue;
            }
            let (samples, missed) = phase::curve(&shape, &event, second, range, &values)?;
            lost.extend(missed);
            out.extend(samples.into_iter().map(|s| Sample {
                mode: event.mode.name(),
                p: s.p[0],
                second: s.p[1],
                error: s.error,
                bounds: s.bounds,
            }));
        }
    }
    Ok((out, lost))
}

/// The events that end the ranges of minima of a line.
fn events(family: &Line) -> Vec<(Shape, Crossing)> {
    let bounds = family.minima().into_iter().flatten();
    let shape = &family.start.shape;
    bounds
        .filter_map(|bound| match bound {
            Bound::Event(event) => Some((shape.clone(), *event)),
            Bound::Open { .. } => None,
        })
        .collect()
}

fn report(spec: &PhaseSpec, records: &BTreeMap<usize, Record>) -> Report {
    let axes = match spec.plane {
        Plane::ExtraTeachers => ["extra", "M"],
        Plane::CorrelationTeachers => ["rho", "M"],
        _ => ["k1", "M"],
    };
    let mut cells = Table::new(
        "cells",
        &[
            (axes[0], "", "first parameter of the plane"),
            (axes[1], "", "number of teachers"),
            ("verdict", "", "local minimum, saddle, degenerate, global minimum; missing: no branch"),
            ("loss", "", "population loss at the family's point"),
            ("min_eigenvalue", "", "smallest eigenvalue of the Hessian inside span(W, V)"),
            ("sector", "", "its symmetry sector; sets are numbered flipped, aligned, extra"),
            ("min_transverse_eigenvalue", "", "smallest eigenvalue across the span"),
            ("transverse_sector", "", "its symmetry sector"),
            ("unstable", "", "negative eigenvalues inside the span"),
            ("residual", "", "largest gradient entry at the point, recomputed in double-double arithmetic"),
        ],
    );
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
            (axes[1], "", "number of teachers, real"),
            ("error", "", "error of M; of rho on the plane rho-M"),
            ("mode", "", "sector of the eigenvalue that vanishes"),
            ("bounds", "", "yes: no other eigenvalue is negative, minima end here"),
        ],
    );
    let (lines, along) = (spec.lines(), spec.along());
    let width = along.len() + 1;
    let mut ends: Vec<(usize, End)> = Vec::new();
    let (mut samples, mut missed): (Vec<Sample>, Vec<f64>) = Default::default();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for (&id, record) in records {
        let line = lines.get(id / width).copied().unwrap_or(0);
        match record {
            Record::Curve(curve, lost) => {
                samples.extend(curve.iter().cloned());
                missed.extend(lost);
            }
            Record::Minima(found) => {
                for [low, high] in found {
                    let error = |end: &End| end.error.map_or_else(|| Value::Missing("no event".into()), Value::real);
                    ranges.push(vec![
                        line.into(),
                        low.p.into(),
                        error(low),
                        low.event.clone().into(),
                        high.p.into(),
                        error(high),
                        high.event.clone().into(),
                    ]);
                    ends.extend([low, high].into_iter().filter(|end| end.is_event).map(|end| (line, end.clone())));
                }
            }
            Record::Nothing { .. } if id % width == along.len() => {}
            Record::Point { .. } | Record::Nothing { .. } => {
                let [x, y] = spec.place(line, along[id % width]);
                let mut row = vec![number(x), number(y)];
                row.extend(values(record));
                cells.push(row);
                if let Record::Nothing { reason } = record {
                    *reasons.entry(reason.clone()).or_default() += 1;
                }
            }
        }
    }
    // A line's own events stand beside the curves: two routes to the same numbers.
    let mut largest = None;
    let mut modes: Vec<String> = Vec::new();
    for (line, end) in &ends {
        let mode = end.event.rsplit_once(", ").map_or("", |(_, mode)| mode).to_string();
        let on_curve = samples.iter().filter(|s| s.second == *line as f64 && s.mode == mode);
        let nearest = on_curve.map(|s| (s.p - end.p).abs()).min_by(f64::total_cmp);
        match nearest {
            Some(difference) => largest = Some(f64::max(difference, largest.unwrap_or(0.0))),
            None => samples.push(Sample {
                mode,
                p: end.p,
                second: *line as f64,
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
    let mut report = Report::new("phase", spec, None);
    let count = |verdict: &str| cells.texts("verdict").iter().filter(|text| *text == verdict).count();
    report.results.insert("local_minima".into(), count("local minimum").into());
    report.results.insert("saddles".into(), count("saddle").into());
    report.results.insert("no_branch".into(), count("").into());
    report.results.insert("largest_difference".into(), largest.into());
    for table in [&cells, &ranges, &boundaries] {
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
    report.tables = vec![cells, ranges, boundaries];
    report
}

/// A coordinate: an integer where it is whole.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 { Value::Integer(x as i64) } else { Value::real(x) }
}

fn values(record: &Record) -> Vec<Value> {
    match record {
        Record::Point { verdict, loss, inside, across, unstable, residual } => vec![
            verdict.clone().into(),
            (*loss).into(),
            inside.0.into(),
            inside.1.clone().into(),
            across.0.into(),
            across.1.clone().into(),
            (*unstable).into(),
            (*residual).into(),
        ],
        Record::Nothing { reason } => vec![Value::Missing(reason.clone()); 8],
        Record::Minima(_) | Record::Curve(..) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plane::{Grid, Span};
    use super::*;
    use std::cell::Cell;

    fn small() -> PhaseSpec {
        PhaseSpec { teachers: Span(6, 12), flipped: Span(1, 4), ..PhaseSpec::default() }
    }

    /// Minima where they are known: k1 = 1 from M = 6, 2 from 8, 3 from 10, 4 from 11.
    #[test]
    fn the_plane_of_flipped_units_has_the_known_minima() {
        let report = phase(&small(), None, &|_, _| true).unwrap();
        let cells = report.table("cells").unwrap();
        let rows = cells.numbers("k1").into_iter().zip(cells.numbers("M")).zip(cells.texts("verdict"));
        for ((k1, m), verdict) in rows {
            let (k1, m) = (k1.unwrap(), m.unwrap());
            let from = [6.0, 8.0, 10.0, 11.0][k1 as usize - 1];
            let known = match m {
                _ if m < k1 + 3.0 => "",
                _ if m < from => "saddle",
                _ => "local minimum",
            };
            assert_eq!(verdict, known, "{k1} {m}");
        }
        assert!(report.results["largest_difference"].as_f64().unwrap() < 1e-9);
        let boundaries = report.table("boundaries").unwrap();
        assert!(boundaries.texts("bounds").iter().all(|b| b == "yes") && boundaries.rows.len() == 31);
    }

    /// A diagram that was stopped again and again is the same as one that was not; stopping says where the cells are.
    #[test]
    fn interruptions_leave_no_trace() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("phase.db");
        let spec = PhaseSpec {
            plane: Plane::CorrelationTeachers,
            teachers: Span(7, 9),
            flipped: Span(2, 2),
            rho: Grid { low: -0.2, high: 0.3, points: 6 },
            ..PhaseSpec::default()
        };
        let whole = phase(&spec, None, &|_, _| true).unwrap().to_json();
        let mut stops = 0;
        let report = loop {
            let calls = Cell::new(0);
            let stop = |_: usize, _: usize| {
                calls.set(calls.get() + 1);
                calls.get() < 4
            };
            match phase(&spec, Some(&path), &stop) {
                Err(Error::Interrupted { done, total: 22, resume }) => {
                    assert!(done < 22 && resume.contains("phase.db"), "{done} {resume}");
                    stops += 1;
                }
                other => break other.unwrap(),
            }
            assert!(stops < 10);
        };
        assert!(stops >= 3, "{stops}");
        assert_eq!(report.to_json(), whole);
        assert!(matches!(phase(&small(), Some(&path), &|_, _| true), Err(Error::OtherProblem { .. })));
    }
}
