//! A family followed in a parameter: its branch, what happens on it, and the branches that leave.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::landscape::branch::{Crossing, Trace, options, trace};
use crate::landscape::departure::{Departure, Division, depart};
use crate::landscape::known;
use crate::landscape::reduced::{Parameter, Shape};
use crate::model::{Blocks, Place};
use crate::numerics::follow::Options;
use crate::report::{Report, Table, Value};

/// The family to start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// k1 flipped units, compensated by all others.
    #[default]
    Flipped,
    /// A block of k1 units of type A beside almost exact ones; k1 = M is type A.
    Block,
    /// As `block`, but the block grows with M and the M - k1 other units do not; k1 = M - 1 is type I.
    BlockGrows,
    /// K = M + 1: k1 anti-aligned units and one along the sum of their teachers.
    Extra,
    /// K = M + 1: k1 anti-aligned units and one against the sum of their teachers.
    Opposed,
}

/// The parameter to follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Along {
    /// M, real; the last group grows.
    #[default]
    Teachers,
    /// Size k1 of the first group at fixed M, real.
    Flipped,
    /// Correlation rho of the teachers, T = (1 - rho) I + rho J.
    Rho,
    /// Norm of the teachers of the first group; the others have norm 1.
    Norm,
}

/// Which branch, and how far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FollowSpec {
    /// Database of a landscape search to start from, instead of a named family; M, k1 and rho below are then not used.
    pub db: Option<std::path::PathBuf>,
    /// Family of the stored point, as `export` names it; `None`: the local minimum with the lowest loss.
    pub family: Option<String>,
    pub start: Start,
    /// M at the start; real.
    pub teachers: f64,
    /// k1; real.
    pub flipped: f64,
    /// rho at the start.
    pub rho: f64,
    pub along: Along,
    /// The branch is followed inside this range of the parameter; `None`: M from where the last group has 2.5 units to the
    /// start plus 10, k1 from 1.05 to M - 2, rho and norm over all they can be.
    pub range: Option<(f64, f64)>,
    /// Stop each way at the first change of stability.
    pub until_unstable: bool,
    /// Also follow the branches that leave where stability changes, and those that leave span(V).
    pub leave: bool,
    /// Most steps each way.
    pub points: usize,
}

impl Default for FollowSpec {
    fn default() -> Self {
        FollowSpec {
            db: None,
            family: None,
            start: Start::Flipped,
            teachers: 17.0,
            flipped: 1.0,
            rho: 0.0,
            along: Along::Teachers,
            range: None,
            until_unstable: false,
            leave: false,
            points: 4000,
        }
    }
}

const ACTION: &str = "follow a family";

/// Loss per teacher of an exact solution: Newton's method ends in the cubic valley around it, not on it.
const EXACT: f64 = 1e-15;

/// The family of a spec at its start.
///
/// # Errors
/// [`Error::Real`] for numbers out of range; those of the solver.
pub fn started(spec: &FollowSpec) -> Result<(Shape, Blocks)> {
    if let Some(db) = &spec.db {
        return stored(db, spec.family.as_deref());
    }
    let real = |quantity: &str, value: f64, needs| {
        Err(Error::Real { action: ACTION, quantity: quantity.into(), value, needs })
    };
    if !(spec.teachers >= 2.0 && spec.teachers.is_finite()) {
        return real("the number of teachers M", spec.teachers, "a number of at least 2");
    }
    let rest = spec.teachers - spec.flipped;
    if !(spec.flipped >= 1.0 && rest >= 0.0 && (rest == 0.0 || rest >= 1.0)) {
        return real("the number of flipped units k1", spec.flipped, "a number from 1 to M - 1, or M");
    }
    let (shape, state) = match spec.start {
        Start::Flipped => known::flipped(spec.flipped, spec.teachers)?,
        Start::Block => known::block(spec.flipped, spec.teachers, false)?,
        Start::BlockGrows => known::block(spec.flipped, spec.teachers, true)?,
        Start::Extra => known::with_extra(spec.flipped, spec.teachers)?,
        Start::Opposed => known::opposed(spec.flipped, spec.teachers)?,
    };
    let (students, loss) = (state.partition().student_count(), crate::population::block_risk(&state));
    if students > spec.teachers && loss < EXACT * spec.teachers {
        let problem = format!(
            "with M = {} and k1 = {} Newton's method ends at loss {loss:.1e}: at K > M the exact solutions fill a manifold, no branch",
            spec.teachers, spec.flipped
        );
        return Err(Error::Spec { action: ACTION, problem });
    }
    if spec.rho == 0.0 {
        return Ok((shape, state));
    }
    known::moved(&shape.along(Parameter::Correlation), &state, spec.rho)
}

/// The family of a stored point.
#[cfg(feature = "cli")]
fn stored(db: &std::path::Path, family: Option<&str>) -> Result<(Shape, Blocks)> {
    let mut catalogue = crate::landscape::catalogue::Catalogue::open_existing(db)?;
    let census = catalogue.census(u64::MAX)?;
    use crate::landscape::Verdict;
    let minima = || census.classes.iter().map(|class| &class.point).filter(|p| p.verdict == Verdict::LocalMinimum);
    let Some(point) = minima().find(|point| family.is_none_or(|family| point.family.name == family)) else {
        let names: Vec<String> = minima().map(|point| point.family.name.clone()).collect();
        let problem = format!(
            "no local minimum of the family '{}' in {}, which holds: {}",
            family.unwrap_or("any"),
            db.display(),
            names.join("; ")
        );
        return Err(Error::Spec { action: ACTION, problem });
    };
    crate::landscape::recognised::recognised(point, &catalogue.problem().teacher)
}

#[cfg(not(feature = "cli"))]
fn stored(db: &std::path::Path, _family: Option<&str>) -> Result<(Shape, Blocks)> {
    let problem = format!("reading {} needs the feature cli", db.display());
    Err(Error::Spec { action: ACTION, problem })
}

/// Tables `branch` (a row for each point), `events`, and with `leave` also `departures`; results `threshold`, the event at
/// which stability changes first.
///
/// # Errors
/// [`Error::Real`], [`Error::Spec`] for a start or a range without meaning; those of the solver at the start. A branch that
/// ends early is no error: the notes say where and why.
pub fn follow(spec: &FollowSpec) -> Result<Report> {
    let (shape, state) = started(spec)?;
    let parameter = match spec.along {
        Along::Teachers => Parameter::Teachers,
        Along::Flipped => Parameter::Size(0),
        Along::Rho => Parameter::Correlation,
        Along::Norm => Parameter::Norm,
    };
    let shape = shape.along(parameter);
    let range = match spec.range {
        Some((low, high)) if low < high && low.is_finite() && high.is_finite() => (low, high),
        Some((low, _)) => {
            return Err(Error::Real {
                action: ACTION,
                quantity: "the lower end of the range".into(),
                value: low,
                needs: "a number below the upper end",
            });
        }
        None => whole_range(&shape, spec.along),
    };
    let mut limits = options(range);
    limits.points = spec.points;
    if matches!(spec.along, Along::Rho | Along::Norm) {
        (limits.step, limits.largest) = (0.002, 0.02);
    }
    let both = [-1.0, 1.0].map(|direction| trace(&shape, &state, direction, &limits));
    let mut report = Report::new("follow", spec, None);
    let mut tables = Tables::new(&shape);
    let mut threshold: Option<Crossing> = None;
    for (direction, traced) in ["down", "up"].into_iter().zip(both) {
        let traced = traced?;
        let first = traced.threshold().cloned();
        let last = if spec.until_unstable { first.as_ref().map(|event| event.before + 1) } else { None };
        tables.branch(direction, &traced, last)?;
        for event in traced.crossings.iter().filter(|event| last.is_none_or(|last| event.before < last)) {
            tables.event(direction, &traced, event)?;
        }
        if last.is_none() {
            report.notes.push(format!("Branch {direction}: {}.", traced.branch.end));
        }
        // The first change of stability, and what happens across the span, which is rare.
        let left = |event: &&Crossing| event.mode.across || first.as_ref().is_some_and(|first| first.p == event.p);
        let shown = |event: &&Crossing| last.is_none_or(|last| event.before < last);
        for event in traced.crossings.iter().filter(|_| spec.leave).filter(left).filter(shown) {
            // Weights that leave the span on the other side are mirror images.
            for &side in if event.mode.across { &[1.0][..] } else { &[1.0, -1.0] } {
                let limits = Options { points: 60, ..limits };
                tables.departure(direction, event, side, depart(&shape, event, 1.0, side, &limits))?;
            }
        }
        threshold = threshold.or(first);
    }
    let found = threshold.map(|event| event.direct.map_or(event.p, |direct| direct.0));
    report.results.insert("threshold".into(), found.into());
    let tables = [tables.branch, tables.events, tables.departures];
    for table in tables.into_iter().filter(|table| spec.leave || table.name != "departures") {
        report.results.insert(table.name.clone(), table.to_json());
        report.tables.push(table);
    }
    Ok(report)
}

fn whole_range(shape: &Shape, along: Along) -> (f64, f64) {
    let m: f64 = shape.teachers.iter().sum();
    let last = shape.teachers[shape.teachers.len() - 1];
    match along {
        Along::Teachers => (m - last + 2.5f64.min(last), m + 10.0),
        Along::Flipped => (1.05f64.min(shape.teachers[0]), (m - 2.0).max(shape.teachers[0])),
        Along::Rho => (-1.0 / (m - 1.0) + 1e-4, 0.999),
        Along::Norm => (0.02, 10.0),
    }
}

struct Tables {
    branch: Table,
    events: Table,
    departures: Table,
}

impl Tables {
    fn new(shape: &Shape) -> Tables {
        let names = entry_names(shape);
        let mut columns: Vec<(&str, &'static str, &str)> = vec![
            ("direction", "", "down or up from the start"),
            ("p", "", "value of the parameter"),
            ("loss", "", "population loss"),
            ("smallest", "", "smallest eigenvalue inside the span"),
            ("sector", "", "its symmetry sector"),
            ("across", "", "smallest eigenvalue across the span"),
        ];
        columns.extend(names.iter().map(|name| (name.as_str(), "", "entry of W")));
        Tables {
            branch: Table::new("branch", &columns),
            events: Table::new(
                "events",
                &[
                    ("direction", "", "down or up from the start"),
                    ("kind", "", "fold, branch point (same symmetry) or symmetry breaking"),
                    ("p", "", "parameter, located on the branch"),
                    ("direct", "", "parameter from F = 0, B phi = 0, |phi| = 1 solved at once"),
                    ("error", "", "its error, first order"),
                    ("sector", "", "sector of the mode whose eigenvalue vanishes"),
                    ("multiplicity", "", "dimension of its representation"),
                    ("symmetry", "", "what is left of the symmetry on the simplest branch that leaves"),
                    ("stability", "", "whether the family changes between minimum and saddle here"),
                    ("loss", "", "population loss"),
                ],
            ),
            departures: Table::new(
                "departures",
                &[
                    ("from", "", "direction and parameter of the event"),
                    (
                        "parts",
                        "",
                        "sets that are divided: set (sizes of its first parts); across the span: weights leave span(V)",
                    ),
                    ("side", "", "sign along the mode; across the span both are mirror images"),
                    ("distance", "", "largest difference between entries that were equal"),
                    ("reached", "", "parameter at the end of the branch that leaves"),
                    ("smallest", "", "smallest eigenvalue inside the span of weights and teachers at the end"),
                    ("end", "", "why it ends, or why it was not followed"),
                ],
            ),
        }
    }

    fn branch(&mut self, direction: &str, traced: &Trace, last: Option<usize>) -> Result<()> {
        for point in &traced.branch.points[..last.map_or(traced.branch.points.len(), |last| last + 1)] {
            let (smallest, sector) = traced.smallest(&point.tests, false);
            let (across, _) = traced.smallest(&point.tests, true);
            let state = traced.state(&point.x, point.p)?;
            let mut row: Vec<Value> = vec![
                direction.into(),
                point.p.into(),
                crate::population::block_risk(&state).into(),
                smallest.into(),
                sector.name().into(),
                across.into(),
            ];
            row.extend(state.entries().into_iter().map(Value::from));
            self.branch.push(row);
        }
        Ok(())
    }

    fn event(&mut self, direction: &str, traced: &Trace, event: &Crossing) -> Result<()> {
        let shape = &traced.shape;
        let partition = shape.at(event.p).partition()?;
        let [before, after] = [event.before, event.before + 1].map(|i| &traced.branch.points[i].tests);
        let (direct, error) = match event.direct {
            Some((p, error)) => (p.into(), error.into()),
            None => {
                let reason = || Value::Missing("the direct system did not converge".into());
                (reason(), reason())
            }
        };
        let changes = traced.is_stable(before) != traced.is_stable(after);
        self.events.push(vec![
            direction.into(),
            event.kind.name().into(),
            event.p.into(),
            direct,
            error,
            event.mode.name().into(),
            event.mode.sector.multiplicity(&partition).into(),
            event.breaks(shape).into(),
            if changes { "changes" } else { "" }.into(),
            crate::population::block_risk(&traced.state(&event.x, event.p)?).into(),
        ]);
        Ok(())
    }

    fn departure(&mut self, direction: &str, event: &Crossing, side: f64, found: Result<Departure>) -> Result<()> {
        let from = format!("{direction}, {:.6}", event.p);
        let missing = |reason: &str| Value::Missing(reason.into());
        let row = match found {
            Ok(departure) => {
                let points = &departure.trace.branch.points;
                let last = &points[points.len() - 1];
                let division = |(set, sizes): &Division| {
                    let sizes: Vec<String> = sizes.iter().map(f64::to_string).collect();
                    format!("n{} ({})", set + 1, sizes.join(", "))
                };
                let mut parts: Vec<String> = departure.divisions.iter().map(division).collect();
                if departure.across {
                    parts.push("across the span".into());
                }
                vec![
                    from.into(),
                    parts.join(", ").into(),
                    side.into(),
                    departure.distance.into(),
                    (last.p + departure.offset).into(),
                    departure.trace.smallest(&last.tests, false).0.into(),
                    match departure.offset {
                        0.0 => departure.trace.branch.end.to_string(),
                        offset => {
                            format!("{} of its last part; {offset} more in the family", departure.trace.branch.end)
                        }
                    }
                    .into(),
                ]
            }
            Err(error) => {
                let reason = error.to_string();
                let mut row = vec![from.into(), missing(&reason), side.into()];
                row.extend((0..3).map(|_| missing(&reason)));
                row.push(reason.into());
                row
            }
        };
        self.departures.push(row);
        Ok(())
    }
}

/// Names of the numbers of a state: a and b on the own set, c on others, with student group and set; for the flipped
/// families a1, b1, c12, c21, a2, b2.
pub fn entry_names(shape: &Shape) -> Vec<String> {
    let Ok(partition) = shape.partition() else { return Vec::new() };
    let name = |entry: &crate::model::Entry| match entry.place {
        Place::Own => format!("a{}", entry.group + 1),
        Place::Inside => format!("b{}", entry.group + 1),
        Place::Outside => format!("c{}{}", entry.group + 1, entry.set + 1),
    };
    partition.entries().iter().map(name).collect()
}
