//! Families over two parameters: where they are minima, and the curves on which they stop being so.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::plane::{PhaseSpec, Plane};
use super::shares::{self, Run, invariants_of_groups};
use super::{diagram, rates};
use crate::error::{Error, Result};
use crate::landscape::Problem;
use crate::landscape::branch::Crossing;
use crate::landscape::noisy::Followed;
use crate::landscape::phase::{self, Bound, Found, Line};
use crate::landscape::reduced::{Parameter, Shape};
use crate::numerics::parallel;
use crate::report::Report;
use crate::store::{self, NewCell, Store};

/// Real values from one integer to the next at which a curve is given.
const BETWEEN: usize = 10;
/// Raised when a change of the method changes what a cell holds.
const METHOD: u32 = 2;

/// What the ledger keeps of a cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Record {
    /// A critical point of the loss.
    Point {
        verdict: String,
        loss: f64,
        inside: (f64, String),
        across: (f64, String),
        unstable: f64,
        residual: f64,
        /// By which ends of runs are known as this point; none without a network.
        invariants: Option<[f64; 4]>,
    },
    /// A fixed point of SGD; eigenvalues divided by the learning rate.
    Settled {
        is_stable: bool,
        loss: f64,
        leading: [f64; 2],
        sector: String,
        residual: f64,
    },
    Nothing {
        reason: String,
    },
    /// The ranges of minima of a line.
    Minima(Vec<[End; 2]>),
    /// The curves, and the values of the second parameter at which a point of them was not found.
    Curve(Vec<Sample>, Vec<f64>),
    /// A run from a random start.
    Run(Run),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct End {
    pub p: f64,
    pub error: Option<f64>,
    pub event: String,
    pub is_event: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sample {
    pub mode: String,
    pub p: f64,
    pub second: f64,
    pub error: f64,
    pub bounds: bool,
}

/// Computes what is missing of the diagram (`db` keeps finished cells) and reports. `progress` is called with (finished,
/// total) and returns false to stop.
///
/// # Errors
/// [`Error::Count`], [`Error::Real`], [`Error::Spec`] for a spec outside its ranges; those of the store;
/// [`Error::Interrupted`] when stopped.
pub fn phase(spec: &PhaseSpec, db: Option<&Path>, progress: &dyn Fn(usize, usize) -> bool) -> Result<Report> {
    spec.check()?;
    let plan = Plan::new(spec)?;
    // More runs go on in the same file.
    let identified = PhaseSpec { runs: 0, ..spec.clone() };
    let key = serde_json::json!({ "spec": identified, "method": METHOD }).to_string();
    let summary = format!("phase diagram {}", serde_json::to_string(&identified).unwrap_or_default());
    let identity = store::Problem { study: "phase".into(), key, summary };
    let mut store = match db {
        Some(path) => Store::open(path, &identity)?,
        None => Store::in_memory(&identity)?,
    };
    fill(spec, &plan, &mut store, db, progress)?;
    let mut records = BTreeMap::new();
    for cell in store.cells()?.into_iter().filter(|cell| cell.id < plan.total() as u64) {
        let unreadable = |error: serde_json::Error| Error::Store {
            action: "read",
            path: db.unwrap_or(Path::new("memory")).to_path_buf(),
            problem: format!("cell {}: {error}", cell.id),
        };
        records.insert(cell.id as usize, serde_json::from_str::<Record>(&cell.payload).map_err(unreadable)?);
    }
    Ok(diagram::report(spec, &plan, &records))
}

/// What there is to compute, and the numbers of its records: the cells of line n from n (cells + 1) on and after them the
/// minima of the line; then the curves; then run r of column c at r x columns + c, so that further runs come last.
pub(super) struct Plan {
    pub lines: Vec<f64>,
    pub along: Vec<f64>,
    /// Values of k1 of the curve on the plane k1-eta. Elsewhere the curves are one record.
    between: Vec<f64>,
    /// Correlation and search of each column.
    pub columns: Vec<(f64, Problem)>,
    pub runs: usize,
}

/// What a record is.
pub(super) enum Item {
    /// Line and cell.
    Cell(usize, usize),
    Minima(usize),
    Curve(usize),
    /// Column and run.
    Run(usize, u64),
}

impl Plan {
    fn new(spec: &PhaseSpec) -> Result<Plan> {
        let columns = spec.columns().into_iter().map(|(rho, search)| Ok((rho, search.problem()?)));
        Ok(Plan {
            lines: spec.lines(),
            along: spec.along(),
            between: if spec.plane == Plane::FlippedRate { between(spec) } else { vec![0.0] },
            columns: columns.collect::<Result<_>>()?,
            runs: spec.runs as usize,
        })
    }

    fn total(&self) -> usize {
        self.lines.len() * (self.along.len() + 1) + self.between.len() + self.columns.len() * self.runs
    }

    pub fn item(&self, id: usize) -> Item {
        let (width, cells) = (self.along.len() + 1, self.lines.len() * (self.along.len() + 1));
        let runs = cells + self.between.len();
        match id {
            _ if id < cells && id % width < self.along.len() => Item::Cell(id / width, id % width),
            _ if id < cells => Item::Minima(id / width),
            _ if id < runs => Item::Curve(id - cells),
            _ => Item::Run((id - runs) % self.columns.len(), ((id - runs) / self.columns.len()) as u64),
        }
    }
}

/// The family of a line, followed.
enum Family {
    Flow(Box<Line>),
    Rate(Box<Followed>),
}

fn fill(
    spec: &PhaseSpec,
    plan: &Plan,
    store: &mut Store,
    db: Option<&Path>,
    progress: &dyn Fn(usize, usize) -> bool,
) -> Result<()> {
    let total = plan.total();
    let finished: Vec<u64> = store.finished()?.into_iter().filter(|&id| id < total as u64).collect();
    let mut done = finished.len();
    let mut goes_on = progress(done, total);
    let missing = (0..total).filter(|&id| finished.binary_search(&(id as u64)).is_err());
    let (mut lines, mut rest): (BTreeMap<usize, Vec<usize>>, Vec<usize>) = Default::default();
    for id in missing {
        match plan.item(id) {
            Item::Cell(line, _) | Item::Minima(line) => lines.entry(line).or_default().push(id),
            Item::Curve(_) | Item::Run(..) => rest.push(id),
        }
    }
    let mut keep = |id: usize, record: Result<Record>| -> Result<bool> {
        let payload = serde_json::to_string(&record?).unwrap_or_default();
        store.record(&NewCell { id: id as u64, point: None, payload }, &|_, _| false)?;
        done += 1;
        Ok(progress(done, total))
    };
    for (line, ids) in lines {
        if !goes_on {
            break;
        }
        let value = plan.lines[line];
        let family = match spec.plane {
            Plane::FlippedRate => rates::follow(spec, value).map(|followed| Family::Rate(Box::new(followed))),
            _ => spec.follow(value).map(|line| Family::Flow(Box::new(line))),
        };
        goes_on = each(
            &ids,
            |id| {
                Ok(match (&family, plan.item(id)) {
                    (Err(error), _) => Record::Nothing { reason: error.to_string() },
                    (Ok(Family::Flow(family)), Item::Cell(_, i)) => cell(spec, family, value, plan.along[i]),
                    (Ok(Family::Flow(family)), _) => Record::Minima(minima(spec, family)),
                    (Ok(Family::Rate(family)), Item::Cell(_, i)) => rates::cell(family, plan.along[i]),
                    (Ok(Family::Rate(family)), _) => Record::Minima(rates::minima(family)),
                })
            },
            &mut keep,
        )?;
    }
    if goes_on {
        let work = |id: usize| match plan.item(id) {
            Item::Run(column, run) => Ok(Record::Run(shares::run(&plan.columns[column].1, run))),
            Item::Curve(i) if spec.plane == Plane::FlippedRate => {
                let (samples, missed) = rates::limits(spec, plan.between[i]);
                Ok(Record::Curve(samples, missed))
            }
            _ => curves(spec).map(|(samples, missed)| Record::Curve(samples, missed)),
        };
        each(&rest, work, &mut keep)?;
    }
    if done == total {
        return Ok(());
    }
    let resume = match db {
        Some(path) => format!("they are kept in {}: the same command goes on", path.display()),
        None => "they are lost; give --db FILE to keep them".into(),
    };
    Err(Error::Interrupted { done, total, resume })
}

/// Computes these records on all threads and keeps each as it ends; whether to go on.
fn each(
    ids: &[usize],
    work: impl Fn(usize) -> Result<Record> + Sync,
    keep: &mut dyn FnMut(usize, Result<Record>) -> Result<bool>,
) -> Result<bool> {
    let mut outcome = Ok(true);
    parallel::each(
        ids,
        |&id| (id, work(id)),
        |(id, record)| {
            if outcome.is_ok() {
                // Once stopped, what was in flight is kept all the same.
                outcome = keep(id, record).map(|goes_on| goes_on && matches!(outcome, Ok(true)));
            }
            matches!(outcome, Ok(true))
        },
    );
    outcome
}

fn cell(spec: &PhaseSpec, family: &Line, line: f64, p: f64) -> Record {
    let nothing = |reason: String| Record::Nothing { reason };
    if spec.plane == Plane::CorrelationTeachers {
        let least = phase::singular_correlation(line);
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
        invariants: invariants_of_groups(&point.state),
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

/// Integers of the curves' second parameter and real values between them.
fn between(spec: &PhaseSpec) -> Vec<f64> {
    let range = if spec.plane == Plane::CorrelationTeachers { spec.teachers } else { spec.flipped };
    let steps = (range.1 - range.0) * BETWEEN;
    let values = (0..=steps).map(|i| range.0 as f64 + i as f64 / BETWEEN as f64);
    // At k1 = 1 the flipped group has one entry less, which ends curves that are followed in k1.
    values.filter(|&v| spec.plane != Plane::FlippedTeachers || v > 1.0).collect()
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
    let values = between(spec);
    let range = (if spec.plane == Plane::FlippedTeachers { range.0.max(1.05) } else { range.0 }, range.1);
    let (mut out, mut lost): (Vec<Sample>, Vec<f64>) = Default::default();
    for line in spec.lines() {
        if spec.plane == Plane::FlippedTeachers && line == 1.0 {
            continue;
        }
        let family = spec.follow(line)?;
        for (shape, event) in events(&family) {
            let known = |s: &Sample| s.second == line && s.mode == event.mode.name() && (s.p - event.p).abs() < 1e-6;
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

    /// The limits on the plane k1-eta are those of `limits`, and cells change their verdict there.
    #[test]
    fn the_plane_of_learning_rates_has_the_known_limits() {
        let rates = Some(Grid { low: 0.4, high: 0.42, points: 3 });
        let spec = PhaseSpec {
            plane: Plane::FlippedRate,
            teachers: Span(8, 8),
            flipped: Span(1, 3),
            rates,
            ..PhaseSpec::default()
        };
        let report = phase(&spec, None, &|_, _| true).unwrap();
        let verdicts = report.table("cells").unwrap().texts("verdict");
        assert_eq!(verdicts, ["stable", "stable", "stable", "stable", "stable", "", "", "", ""]);
        let limits = super::super::learning_rate_limits(&super::super::LimitsSpec::default()).unwrap();
        let limits = limits.table("limits").unwrap();
        let ranges = report.table("minima").unwrap().numbers("high");
        let boundaries = report.table("boundaries").unwrap();
        for (k1, (limit, high)) in limits.numbers("learning_rate").into_iter().zip(ranges).enumerate() {
            let rows = boundaries.numbers("k1").into_iter().zip(boundaries.numbers("learning_rate"));
            let on_curve = rows
                .zip(boundaries.texts("bounds"))
                .find(|((at, _), bounds)| *at == Some(k1 as f64 + 1.0) && bounds == "yes");
            assert_eq!(on_curve.unwrap().0.1, limit, "{k1}");
            assert!((high.unwrap() - limit.unwrap()).abs() < 1e-10);
        }
        // Beyond its limit two flipped units are unstable up to a fold.
        let close = PhaseSpec { rates: Some(Grid { low: 0.417, high: 0.418, points: 2 }), flipped: Span(2, 2), ..spec };
        let report = phase(&close, None, &|_, _| true).unwrap();
        let cells = report.table("cells").unwrap();
        assert_eq!(cells.texts("verdict"), ["unstable", "unstable"]);
        assert!(cells.numbers("residual").iter().all(|x| x.unwrap() < 1e-10));
    }

    /// Runs of a column are those of the search with the same numbers; a diagram without them takes them up later.
    #[test]
    fn hits_are_those_of_the_search() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hits.db");
        let spec = PhaseSpec { teachers: Span(6, 7), flipped: Span(1, 1), seed: 3, ..PhaseSpec::default() };
        phase(&spec, Some(&path), &|_, _| true).unwrap();
        let with_runs = PhaseSpec { runs: 60, ..spec };
        let report = phase(&with_runs, Some(&path), &|_, _| true).unwrap();
        assert_eq!(phase(&with_runs, None, &|_, _| true).unwrap().to_json(), report.to_json());
        let hits = report.table("cells").unwrap().numbers("hits");
        let global = report.table("shares").unwrap().numbers("global");
        for (i, m) in [6, 7].into_iter().enumerate() {
            let search =
                super::super::LandscapeSpec { students: m, teachers: m, runs: 60, seed: 3, ..Default::default() };
            let report = super::super::landscape(&search, None, &|_, _, _| true).unwrap();
            let minima = report.table("minima").unwrap();
            let families = minima.texts("family");
            let of = |name: &str| {
                families.iter().position(|f| f == name).map_or(0.0, |i| minima.numbers("hits")[i].unwrap())
            };
            assert_eq!((hits[i].unwrap(), global[i].unwrap()), (of("k1 = 1"), of("global")), "{m}");
        }
        assert!(hits[1].unwrap() > 0.0);
    }
}
