//! Critical points with many equal units, at any real M: loss, spectrum by symmetry, verdict.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

mod by_rule;

use super::groups::{self, Groups};
use crate::error::{Error, Result};
use crate::landscape::branches::{self, Named};
use crate::landscape::reduced::{BlockPoint, Parameter, Shape};
use crate::landscape::roots::{self, Roots, Search};
use crate::landscape::stability::{analyse, reduce_to_span};
use crate::landscape::{Verdict, fixed_point};
use crate::landscape::{known as known_family, patterns};
use crate::model::{Activation, Blocks, Place, Training};
use crate::numerics::tolerance;
use crate::population::{Sector, SectorValues, risk_exact};
use crate::report::{Report, Table, Value};

/// Which families.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FamiliesSpec {
    /// M, real.
    pub teachers: f64,
    /// K; `None`: M. K - M extra units have groups of their own.
    pub students: Option<f64>,
    /// `all`, or numbers of flipped units separated by commas.
    pub flipped: String,
    /// Other groups instead: `SIZES[:MATCHED][+FREE]`.
    pub groups: Option<String>,
    /// rho of T = (1 - rho) I + rho J.
    pub correlation: f64,
    /// ReLU; others are refused.
    pub activation: Activation,
    /// Training rule on whose constraint the points lie.
    #[serde(skip_serializing_if = "Training::is_gradient_flow")]
    pub rule: Training,
    /// Random starts for each family; 0: known branches only.
    pub starts: u64,
    pub seed: u64,
}

impl Default for FamiliesSpec {
    fn default() -> Self {
        FamiliesSpec {
            teachers: 8.0,
            students: None,
            flipped: "all".into(),
            groups: None,
            correlation: 0.0,
            activation: Activation::default(),
            rule: Training::default(),
            starts: 0,
            seed: 1,
        }
    }
}

impl FamiliesSpec {
    /// The groups of each family, each once.
    ///
    /// # Errors
    /// [`crate::error::Error`] for numbers out of range and text that does not parse.
    pub fn shapes(&self) -> Result<Vec<Shape>> {
        let slope = self.slope()?;
        let list = match groups::parse(self)? {
            Groups::Given(shape) => vec![shape],
            Groups::Flipped { list, teachers, extra } => {
                list.iter().map(|&k1| Shape::flipped(k1, teachers, extra)).collect()
            }
        };
        let mut out: Vec<Shape> = Vec::new();
        for shape in list {
            // Refuses sizes below 1 and correlations without a teacher.
            let shape = Shape { correlation: self.correlation, slope, ..shape };
            let entries = shape.partition()?.entries().len();
            shape.state(&vec![0.5; entries])?;
            if !out.contains(&shape) {
                out.push(shape);
            }
        }
        Ok(out)
    }
}

impl FamiliesSpec {
    /// Slope of the activation below 0.
    fn slope(&self) -> Result<f64> {
        match self.activation.checked()?.negative_slope() {
            Some(slope) if slope.abs() < 1.0 => Ok(slope),
            _ => Err(Error::Spec {
                action: "find the families",
                problem: format!(
                    "the activation is {}, needs relu or leaky-relu with a slope between -1 and 1 (1 / slope has the same landscape; `landscape --activation` takes all)",
                    self.activation
                ),
            }),
        }
    }

    /// Families of ReLU followed to the slope.
    fn sloped(&self, named: Vec<Named>) -> Result<Vec<Named>> {
        let slope = self.slope()?;
        if slope == 0.0 {
            return Ok(named);
        }
        let follow = |family: Named| {
            let parameter = family.shape.parameter;
            let followed = family.state.and_then(|state| {
                let reason = |error: Error| format!("is not followed to the slope {slope}: {error}");
                known_family::moved(&family.shape.along(Parameter::Slope), &state, slope).map_err(reason)
            });
            match followed {
                Ok((shape, state)) => Named { shape: shape.along(parameter), state: Ok(state), ..family },
                Err(reason) => Named {
                    shape: Shape { slope, ..family.shape.clone() },
                    state: Err(reason),
                    k1: family.k1,
                    name: family.name,
                },
            }
        };
        Ok(named.into_par_iter().map(follow).collect())
    }
}

/// Most entries K M of a dense check.
const DENSE: f64 = 400.0;
/// Ways in which groups may stand to their teachers that are tried.
const PATTERNS: usize = 243;
/// Most teachers for which all branches are computed to name roots.
const ALIASES: f64 = 30.0;
/// Largest difference of entries between a root and the branch it belongs to.
const SAME: f64 = 1e-7;

/// One row.
struct Row {
    k1: Option<f64>,
    branch: String,
    point: BlockPoint,
    hits: Option<u64>,
    isolated: bool,
}

/// Tables `families` (one row for each point), `entries` and `spectrum`; with random starts also `searches`.
/// `go_on` is told the number of random starts done and returns whether to go on.
///
/// # Errors
/// Those of [`FamiliesSpec::shapes`]; [`crate::error::Error::Interrupted`].
pub fn families(spec: &FamiliesSpec, go_on: &dyn Fn(u64) -> bool) -> Result<Report> {
    let shapes = spec.shapes()?;
    by_rule::checked(spec)?;
    let mut report = Report::new("families", spec, Some(spec.seed));
    if by_rule::applies(spec.rule) {
        return by_rule::families(spec, report);
    }
    if let Training::TwoLayer(_) = spec.rule {
        report.notes.push(
            "Both layers trained: the same points with rows a_i w_i and one more zero mode for each unit.".into(),
        );
    }
    let aliases = match groups::parse(spec)? {
        Groups::Flipped { teachers, extra, .. }
            if spec.starts > 0 && teachers.fract() == 0.0 && teachers <= ALIASES =>
        {
            let all: Vec<f64> = (0..=teachers as usize).map(|k1| k1 as f64).collect();
            points(spec.sloped(branches::flipped(teachers, extra, spec.correlation, &all))?)
        }
        _ => Vec::new(),
    };
    let named = named_families(spec)?;
    let aliases: Vec<(String, f64)> =
        aliases.into_iter().filter_map(|(family, point)| Some((family.name, point.ok()?.loss))).collect();
    let mut rows = known(named, spec, &mut report)?;
    if spec.starts > 0 {
        let mut searches = searches_table();
        for (number, shape) in shapes.iter().enumerate() {
            let options = Search { starts: spec.starts, seed: spec.seed, ..Search::default() };
            let before = number as u64 * spec.starts;
            let found = roots::search(shape, &options, &|done| go_on(before + done))?;
            searches.push(vec![
                groups::name(shape).into(),
                found.starts.into(),
                found.converged.into(),
                found.zero_units.into(),
                found.deflated.into(),
                found.roots.len().into(),
                found.deflated_roots.into(),
                found.rarest().map_or_else(|| Value::Missing("no roots".into()), Value::from),
            ]);
            merge(&mut rows, shape, found, &aliases, &mut report)?;
        }
        report.results.insert("searches".into(), searches.to_json());
        report.tables.push(searches);
    }
    rows.sort_by(|x, y| {
        let k1 = |row: &Row| row.k1.unwrap_or(0.0);
        k1(x).total_cmp(&k1(y)).then(x.point.loss.total_cmp(&y.point.loss))
    });
    fill(&mut report, &rows, spec);
    Ok(report)
}

/// The families that have names, at the spec's slope.
fn named_families(spec: &FamiliesSpec) -> Result<Vec<Named>> {
    let named = match groups::parse(spec)? {
        Groups::Given(shape) => patterns::patterns(&shape, spec.correlation, PATTERNS)?,
        Groups::Flipped { list, teachers, extra } => branches::flipped(teachers, extra, spec.correlation, &list),
    };
    spec.sloped(named)
}

/// The points of the named families.
fn points(named: Vec<Named>) -> Vec<(Named, std::result::Result<BlockPoint, String>)> {
    let point = |family: Named| {
        let point = family
            .state
            .clone()
            .and_then(|state| BlockPoint::new(&family.shape, state).map_err(|error| error.to_string()));
        (family, point)
    };
    named.into_par_iter().map(point).collect()
}

/// The named families as rows; a note for each that does not exist, or that is another one with units exchanged.
fn known(named: Vec<Named>, spec: &FamiliesSpec, report: &mut Report) -> Result<Vec<Row>> {
    let mut out: Vec<Row> = Vec::new();
    let mut absent: Vec<(String, Vec<String>)> = Vec::new();
    let last = spec.sloped(branches::flipped(spec.teachers, 0, spec.correlation, &[spec.teachers]))?;
    let last = points(last).pop().and_then(|(_, point)| Some(point.ok()?.loss)).filter(|_| spec.groups.is_none());
    for (family, point) in points(named) {
        let same = match &point {
            Ok(point) if family.name != "global" && point.verdict == Verdict::GlobalMinimum => Some("global"),
            Ok(point) if family.name != "type A" && last.is_some_and(|loss| same_loss(loss, point.loss)) => {
                Some("type A")
            }
            _ => None,
        };
        let reason = match (same, point) {
            (Some(other), _) => format!("it is {other} with units exchanged"),
            (None, Err(reason)) => format!("the branch {reason}"),
            (None, Ok(point)) => {
                out.push(Row { k1: family.k1, branch: family.name, point, hits: None, isolated: true });
                continue;
            }
        };
        match absent.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(family.name),
            None => absent.push((reason, vec![family.name])),
        }
    }
    for (reason, names) in absent {
        report.notes.push(format!("Not listed: {}; {reason}.", names.join(", ")));
    }
    Ok(out)
}

/// Whether two losses are those of one critical point up to the names of its units.
fn same_loss(x: f64, y: f64) -> bool {
    (x - y).abs() < 1e-11 * x.abs().max(y.abs())
}

/// Gives the found roots the names of the branches among them, or of the branch with the same loss when only its units have
/// other names; adds the others as `root 1`, `root 2`, ...
fn merge(
    rows: &mut Vec<Row>,
    shape: &Shape,
    found: Roots,
    aliases: &[(String, f64)],
    report: &mut Report,
) -> Result<()> {
    let relabelled = shape.relabellings()?;
    let groups = groups::name(shape);
    let here = |row: &Row| row.point.shape.teachers == shape.teachers;
    let k1 = rows.iter().find(|row| here(row)).and_then(|row| row.k1).or_else(|| {
        let flipped = Shape::flipped(shape.teachers[0], shape.value(), shape.free.len());
        (flipped.teachers == shape.teachers && flipped.matched == shape.matched).then(|| shape.teachers[0])
    });
    for row in rows.iter_mut().filter(|row| here(row)) {
        row.hits = Some(0);
    }
    let (mut number, total, rarest) = (0, found.roots.len(), found.rarest().unwrap_or(0));
    for root in found.roots {
        let entries = root.point.state.entries();
        let same = |row: &&mut Row| {
            let known = row.point.state.entries();
            let is_image = |order: &Vec<usize>| order.iter().zip(&known).all(|(&i, x)| (entries[i] - x).abs() < SAME);
            row.point.shape.teachers == shape.teachers && relabelled.iter().any(is_image)
        };
        if !root.isolated {
            report.notes.push(format!("Groups {groups}: a valley of equal loss {:.3e}, listed once.", root.point.loss));
        }
        if let Some(row) = rows.iter_mut().find(same) {
            row.hits = Some(root.hits);
            row.isolated = root.isolated;
            continue;
        }
        let alias = aliases.iter().rev().find(|(_, loss)| same_loss(*loss, root.point.loss));
        let branch = match alias {
            _ if root.point.verdict == Verdict::GlobalMinimum => "global".to_string(),
            Some((name, _)) => name.clone(),
            None => {
                number += 1;
                format!("root {number}")
            }
        };
        rows.push(Row { k1, branch, point: root.point, hits: Some(root.hits), isolated: root.isolated });
    }
    report.notes.push(format!(
        "Groups {groups}: {total} solutions in {} random starts and {} deflated ones, the rarest hit {rarest} times; none other found in them.",
        found.starts, found.deflated
    ));
    Ok(())
}

fn searches_table() -> Table {
    Table::new(
        "searches",
        &[
            ("groups", "", "sizes of the groups of teachers, groups of students if they differ"),
            ("starts", "", "random starts"),
            ("converged", "", "random starts that ended at a solution"),
            ("zero_units", "", "random starts that ended where a unit has norm zero"),
            ("deflated", "", "further starts on the deflated equations"),
            ("roots", "", "solutions found"),
            ("deflated_roots", "", "solutions that only deflated starts found"),
            ("rarest", "", "fewest random starts at one of the solutions that they found"),
        ],
    )
}

fn fill(report: &mut Report, rows: &[Row], spec: &FamiliesSpec) {
    let mut families = Table::new(
        "families",
        &[
            ("k1", "", "number of flipped units"),
            ("groups", "", "sizes of the groups of teachers, groups of students if they differ"),
            ("branch", "", "name of the family"),
            ("loss", "", "population loss L"),
            ("min_eigenvalue", "", "smallest Hessian eigenvalue inside span(W, V)"),
            ("sector", "", "symmetry sector of min_eigenvalue"),
            ("min_transverse_eigenvalue", "", "smallest Hessian eigenvalue across the span"),
            ("unstable", "", "number of negative eigenvalues inside the span; real at real sizes"),
            ("verdict", "", "what kind of critical point, in any input dimension above the span's"),
            ("residual", "", "largest gradient entry, in double-double arithmetic"),
            ("hits", "", "random starts that ended here"),
            ("isolated", "", "no: a valley of equal loss among states with these groups"),
            ("full", "", "what the Hessian in all coordinates says"),
        ],
    );
    let mut entries = Table::new(
        "entries",
        &[
            ("family", "", "row of families, from 1"),
            ("branch", "", "name of the family"),
            ("students", "", "group of students, from 1"),
            ("entry", "", "own: the own teacher; inside: the others of the own group; outside N: group N"),
            ("value", "", "entry of W in the coordinates in which V = T^(1/2)"),
            ("overlap", "", "entry of R = W V^T"),
        ],
    );
    let mut spectrum = Table::new(
        "spectrum",
        &[
            ("family", "", "row of families, from 1"),
            ("branch", "", "name of the family"),
            ("place", "", "inside span(W, V), or across it (for each further dimension)"),
            ("sector", "", "symmetry sector"),
            ("breaks", "", "what the sector's modes break"),
            ("eigenvalue", "", "Hessian eigenvalue"),
            ("multiplicity", "", "number of equal eigenvalues; real at real sizes"),
        ],
    );
    let full: Vec<Value> = rows.par_iter().map(|row| dense_check(&row.point)).collect();
    for (number, (row, full)) in rows.iter().zip(full).enumerate() {
        let point = &row.point;
        let (eigenvalue, sector) = point.smallest();
        families.push(vec![
            row.k1.map_or_else(|| Value::Missing("other groups".into()), Value::real),
            groups::name(&point.shape).into(),
            row.branch.clone().into(),
            point.loss.into(),
            eigenvalue.into(),
            sector.name().into(),
            point.smallest_across().0.into(),
            match unstable(point) {
                n if n.fract() == 0.0 => Value::Integer(n as i64),
                n => n.into(),
            },
            point.verdict.name().into(),
            point.residual.into(),
            row.hits.map_or_else(|| Value::Missing("no random starts".into()), Value::from),
            match (spec.starts, row.isolated) {
                (0, _) => Value::Missing("no random starts".into()),
                (_, isolated) => if isolated { "yes" } else { "no" }.into(),
            },
            full,
        ]);
        let head = || vec![Value::from(number + 1), row.branch.clone().into()];
        for [group, entry, value, overlap] in entry_rows(&point.state) {
            entries.push(head().into_iter().chain([group, entry, value, overlap]).collect());
        }
        for (place, levels) in [("inside", &point.span), ("across", &point.transverse)] {
            for (value, level) in levels.iter().flat_map(|level| level.values.iter().map(move |v| (*v, level))) {
                let SectorValues { sector, multiplicity, .. } = level;
                let cells = [place.into(), sector.name().into(), breaks(*sector).into(), value.into()];
                spectrum.push(head().into_iter().chain(cells).chain([(*multiplicity).into()]).collect());
            }
        }
    }
    for table in [families, entries, spectrum] {
        report.results.insert(table.name.clone(), table.to_json());
        report.tables.push(table);
    }
}

/// Negative eigenvalues inside the span that are not rounding.
fn unstable(point: &BlockPoint) -> f64 {
    let scale = point.span.iter().flat_map(|level| &level.values).fold(0.0f64, |m, x| m.max(x.abs()));
    let count =
        |level: &SectorValues| level.values.iter().filter(|&&x| x < -tolerance::ZERO_MODE * scale).count() as f64;
    point.span.iter().map(|level| level.multiplicity * count(level)).sum()
}

/// Group of students, name, value and overlap with the teacher of each entry.
fn entry_rows(state: &Blocks) -> Vec<[Value; 4]> {
    let partition = state.partition();
    let students = partition.student_sets().len();
    let rows = partition.entries().into_iter().zip(state.entries()).map(|(entry, value)| {
        let name = match entry.place {
            Place::Own => "own".to_string(),
            Place::Inside => "inside".to_string(),
            Place::Outside => format!("outside {}", entry.set + 1),
        };
        let pairs = state.pair_vectors(entry.group, students + entry.set, entry.place == Place::Own);
        let overlap: f64 = pairs.iter().map(|p| p[0] * p[1] * p[2]).sum();
        [(entry.group + 1).into(), name.into(), value.into(), overlap.into()]
    });
    rows.collect()
}

/// What the modes of a sector do to the groups.
fn breaks(sector: Sector) -> String {
    match sector {
        Sector::Trivial => "nothing".into(),
        Sector::Standard(t) => format!("one of set {} differs from the others", t + 1),
        Sector::Symmetric(t) => format!("pairs of set {} differ, symmetrically", t + 1),
        Sector::Exterior(t) => format!("pairs of set {} differ, antisymmetrically", t + 1),
        Sector::Product(t, u) => format!("one of set {} and one of set {} differ", t + 1, u + 1),
    }
}

/// `agrees`, or what differs, when the state is written out with all its units.
fn dense_check(point: &BlockPoint) -> Value {
    let partition = point.state.partition();
    if partition.sizes().iter().any(|n| n.fract() != 0.0) {
        return Value::Missing("the sizes are not whole".into());
    }
    if partition.student_count() * partition.teacher_count() > DENSE {
        return Value::Missing("too large for the dense check".into());
    }
    match differences(point) {
        Ok(found) if found.is_empty() => "agrees".into(),
        Ok(found) => found.join("; ").into(),
        Err(error) => Value::Missing(error.to_string()),
    }
}

fn differences(point: &BlockPoint) -> Result<Vec<String>> {
    let (weights, teacher) = point.state.expand()?;
    let weights = reduce_to_span(&weights, &teacher)?;
    let loss = risk_exact(&weights, &teacher, 0);
    let (spectrum, verdict) = analyse(&weights, &teacher, 0, loss, None)?;
    let mut found = Vec::new();
    if verdict != point.verdict {
        found.push(verdict.name().to_string());
    }
    if verdict != Verdict::GlobalMinimum && (loss / point.loss - 1.0).abs() > 1e-10 {
        found.push(format!("loss {loss}"));
    }
    let negative = spectrum.span_index.unstable;
    if negative as f64 != unstable(point) {
        found.push(format!("{negative} negative eigenvalues"));
    }
    let residual = fixed_point::largest_gradient(&weights, &teacher, 0);
    if !(residual <= 10.0 * tolerance::RESIDUAL) {
        found.push(format!("residual {residual:.1e}"));
    }
    Ok(found)
}
