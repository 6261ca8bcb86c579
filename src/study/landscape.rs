//! The main job: from K and M to a verified table of local minima with hit shares.

use std::path::Path;

use ndarray::{Array1, Array2, Axis, stack};
use serde::{Deserialize, Serialize};

use super::spectrum::{push_spectrum, spectrum_columns};
use crate::error::{Error, Result};
use crate::landscape::catalogue::{Catalogue, Census};
use crate::landscape::ruled::TwoLayerPoint;
use crate::landscape::{Point, Problem};
use crate::model::{Activation, InitialLaw, Teacher, TeacherSpec, Training};
use crate::numerics::{memory, statistics};
use crate::report::{Report, Table, Value};

/// What to search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LandscapeSpec {
    /// K.
    pub students: usize,
    /// M.
    pub teachers: usize,
    /// Input dimension d; `None`: K + M.
    pub dimension: Option<usize>,
    /// Initial weights N(0, s^2 I / d).
    pub init_scale: f64,
    /// Number of random starts.
    pub runs: u64,
    pub seed: u64,
    pub teacher: TeacherSpec,
    pub activation: Activation,
    #[serde(skip_serializing_if = "Training::is_gradient_flow")]
    pub rule: Training,
}

impl Default for LandscapeSpec {
    fn default() -> Self {
        LandscapeSpec {
            students: 8,
            teachers: 8,
            dimension: None,
            init_scale: 1.0,
            runs: 1000,
            seed: 1,
            teacher: TeacherSpec::default(),
            activation: Activation::default(),
            rule: Training::default(),
        }
    }
}

impl LandscapeSpec {
    /// Checks the numbers and builds the problem.
    ///
    /// # Errors
    /// [`Error::Count`] for K, M, runs = 0; [`Error::Memory`] for a Hessian that does not fit; those of the teacher and of
    /// the initial law.
    pub fn problem(&self) -> Result<Problem> {
        const ACTION: &str = "search the landscape";
        for (quantity, value) in
            [("students K", self.students), ("teachers M", self.teachers), ("runs", self.runs as usize)]
        {
            if value == 0 {
                return Err(Error::Count { action: ACTION, quantity, value, needs: "at least 1".into() });
            }
        }
        // Points are polished inside the teacher's span; a run that needs more coordinates is checked again there.
        let n = self.students.saturating_mul(self.teachers);
        memory::check_dense(
            ACTION,
            &format!("the search in {} threads: four copies each of a Hessian", rayon::current_num_threads()),
            n,
            4 * rayon::current_num_threads(),
            "take --threads 1 or fewer units; `committee flow` needs no Hessian and still works",
        )?;
        let teacher = self.teacher.build(self.teachers)?.with_activation(self.activation)?;
        let dimension = self.dimension.unwrap_or(self.students + self.teachers);
        let law = InitialLaw::new(dimension, self.init_scale, &teacher)?;
        if let Training::Sgd(_) = self.rule {
            let problem = "SGD at a finite learning rate does not rest at critical points of the loss".into();
            return Err(Error::Spec { action: ACTION, problem });
        }
        let rule = self.rule.checked(self.students, dimension)?;
        rule.meets(self.activation)?;
        Ok(Problem { students: self.students, teacher, law, seed: self.seed, rule })
    }
}

/// Runs (or continues, when `db` names a file) the search and reports. `progress` is called with (finished, total,
/// unresolved) and returns false to stop.
///
/// # Errors
/// Those of [`LandscapeSpec::problem`] and of the catalogue; [`Error::Interrupted`] when stopped.
pub fn landscape(
    spec: &LandscapeSpec,
    db: Option<&Path>,
    progress: &dyn Fn(usize, usize, usize) -> bool,
) -> Result<Report> {
    let mut catalogue = Catalogue::open(db, spec.problem()?, &spec.teacher.to_string())?;
    catalogue.fill(spec.runs, progress)?;
    let census = catalogue.census(spec.runs)?;
    Ok(report("landscape", spec, &census, catalogue.problem()))
}

/// The report of a census: the same for a fresh search and for an export.
pub(super) fn report(verb: &'static str, spec: &LandscapeSpec, census: &Census, problem: &Problem) -> Report {
    let mut report = Report::new(verb, spec, Some(problem.seed));
    let minima = minima_table(census);
    let mut rows: Vec<(usize, serde_json::Value)> = Vec::new();
    if let serde_json::Value::Array(objects) = minima.to_json() {
        for (class, mut object) in census.classes.iter().zip(objects) {
            object["block_sizes"] = class.point.family.block_sizes().into();
            rows.push((class.hits, object));
        }
    }
    rows.sort_by_key(|(hits, _)| std::cmp::Reverse(*hits));
    let unresolved: Vec<serde_json::Value> = census
        .runs
        .iter()
        .filter(|(_, _, class)| class.is_none())
        .map(|(run, record, _)| serde_json::json!({ "run": run, "reason": record.reason }))
        .collect();
    let results = [
        ("students", problem.students.into()),
        ("teachers", problem.teacher.units().into()),
        ("dimension", problem.law.dimension.into()),
        ("init_scale", problem.law.scale.into()),
        ("runs", census.runs.len().into()),
        ("seed", problem.seed.into()),
        ("unresolved", unresolved.len().into()),
        ("unresolved_runs", unresolved.into()),
        ("minima", rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>().into()),
    ];
    report.results.extend(results.into_iter().map(|(name, value)| (name.to_string(), value)));
    report.tables = vec![minima, runs_table(census, problem.rule), spectrum_table(census)];
    let trained: Vec<_> = census.classes.iter().filter_map(|class| class.two_layer.as_ref()).collect();
    if !trained.is_empty() {
        let named = trained.iter().enumerate().map(|(i, point)| ((i + 1).to_string(), *point));
        report.tables.push(two_layer_table(named));
    }
    if !problem.rule.is_gradient_flow() {
        report.results.insert("rule".into(), problem.rule.to_string().into());
    }
    arrays(&mut report, census, &problem.teacher);
    report.notes.push(format!(
        "Shares with 95 % Clopper-Pearson intervals are those of {} from w ~ N(0, s^2 I/d), d = {}, s = {}: they depend on both.",
        if problem.rule.is_gradient_flow() { "gradient flow".to_string() } else { format!("the rule {}", problem.rule) },
        problem.law.dimension, problem.law.scale
    ));
    if census.unresolved() > 0 {
        report.notes.push(format!(
            "{} of {} runs are unresolved; see runs.csv.",
            census.unresolved(),
            census.runs.len()
        ));
    }
    report
}

fn minima_table(census: &Census) -> Table {
    let mut table = Table::new(
        "minima",
        &[
            ("point", "", "number of the point, by loss then canonical form"),
            ("loss", "", "population loss L = E[(f - f*)^2]/2 at the point"),
            (
                "verdict",
                "",
                "global minimum (L = 0), local minimum, saddle, or degenerate (zero modes without a symmetry)",
            ),
            ("family", "", "k1 = anti-aligned units; block m = type-A block of m units; extra, split, dead units"),
            ("isotropy", "", "group of relabellings that leave the point unchanged, one factor per block"),
            ("anti_aligned", "", "students whose most negative teacher overlap beats their largest positive one"),
            ("block_sizes", "", "sizes of the blocks of equivalent units, flipped blocks first"),
            ("hits", "runs", "runs that ended at this point up to relabelling"),
            ("share", "", "hits / runs"),
            ("share_low", "", "lower end of the 95 % Clopper-Pearson interval of the share"),
            ("share_high", "", "upper end"),
            ("min_eigenvalue", "", "smallest eigenvalue of the Hessian inside span(W, V)"),
            ("min_transverse_eigenvalue", "", "smallest eigenvalue across the span, once per further dimension"),
            ("unstable", "", "negative eigenvalues inside the span"),
            ("neutral", "", "zero eigenvalues inside the span"),
            ("neutral_expected", "", "zero eigenvalues inside the span that symmetry predicts"),
            ("gap_below", "", "largest |eigenvalue| called zero"),
            ("gap_above", "", "smallest |eigenvalue| not called zero"),
            ("span_dimension", "", "dimension of span(W, V)"),
            ("residual", "", "largest gradient entry at the point, recomputed"),
            ("representative", "", "lowest run that ended here; the stored weights are this run's"),
        ],
    );
    let runs = census.runs.len();
    for (number, class) in census.classes.iter().enumerate() {
        let Point { family, spectrum, .. } = &class.point;
        let (low, high) = statistics::clopper_pearson(class.hits, runs, 0.95);
        let sizes: Vec<String> = family.block_sizes().iter().map(usize::to_string).collect();
        let gap = |side: fn((f64, f64)) -> f64| match spectrum.gap {
            Some(gap) => Value::real(side(gap)),
            None => Value::Missing("no zero modes".into()),
        };
        table.push(vec![
            (number + 1).into(),
            class.point.loss.into(),
            class.point.verdict.name().into(),
            family.name.clone().into(),
            family.isotropy.clone().into(),
            family.anti_aligned.into(),
            sizes.join("+").into(),
            class.hits.into(),
            (class.hits as f64 / runs as f64).into(),
            low.into(),
            high.into(),
            spectrum.min_span().into(),
            spectrum.min_transverse().into(),
            spectrum.span_index.unstable.into(),
            spectrum.span_index.neutral.into(),
            spectrum.expected_neutral.0.into(),
            gap(|gap| gap.0),
            gap(|gap| gap.1),
            spectrum.span_dimension.into(),
            class.point.residual.into(),
            class.representative.into(),
        ]);
    }
    table
}

fn runs_table(census: &Census, rule: Training) -> Table {
    let mut table = Table::new(
        "runs",
        &[
            [
                ("run", "", "number of the run; its start is a function of seed and run"),
                ("point", "", "number of the point it ended in (table minima); missing: unresolved"),
                ("loss", "", "population loss at the run's own polished end"),
                ("residual", "", "largest gradient entry there"),
                ("ending", "", "newton, exact-zero (constructed) or pseudo-inverse (a saddle or degenerate point)"),
                ("gradient_norm", "", "Euclidean gradient norm at which the flow was left"),
                ("time", "t", "time of gradient flow there"),
                ("evaluations", "", "gradients the flow used"),
                ("moved", "", "Euclidean distance from there to the point"),
            ]
            .as_slice(),
            rule_columns(rule),
        ]
        .concat(),
    );
    for (run, record, class) in &census.runs {
        let reason = || Value::Missing(record.reason.clone().unwrap_or_else(|| "unresolved".into()));
        let real = |x: Option<f64>| x.map_or_else(reason, Value::real);
        let mut row = vec![
            (*run).into(),
            class.map_or_else(reason, |class| (class + 1).into()),
            real(record.loss),
            real(record.residual),
            record.ending.clone().map_or_else(reason, Value::Text),
            real(record.gradient_norm),
            real(record.time),
            record.evaluations.map_or_else(reason, Value::from),
            real(record.moved),
        ];
        let details = &record.details;
        match rule {
            Training::Descent(_) => {
                let stopped = details.stopped.as_ref();
                row.push(real(stopped.map(|s| s.loss)));
                row.push(real(stopped.map(|s| s.gradient_norm)));
                row.push(stopped.map_or_else(reason, |s| s.steps.into()));
                row.push(stopped.map_or_else(reason, |s| if s.converged { "yes" } else { "no" }.into()));
            }
            Training::Stiefel => {
                let none = || Value::Missing("students and teachers do not fill the space".into());
                for pick in [|c: (i8, i8)| c.0, |c: (i8, i8)| c.1] {
                    row.push(details.components.map_or_else(none, |c| Value::Integer(pick(c).into())));
                }
            }
            Training::TwoLayer(_) => row.push(real(details.least_readout)),
            _ => {}
        }
        table.push(row);
    }
    table
}

/// Further columns of the table of runs.
fn rule_columns(rule: Training) -> &'static [(&'static str, &'static str, &'static str)] {
    match rule {
        Training::Descent(_) => &[
            ("stop_loss", "", "population loss where descent stopped, as a training run would report it"),
            ("stop_gradient_norm", "", "Euclidean norm of the tangent gradient there"),
            ("stop_steps", "", "steps of descent"),
            ("stop_converged", "", "whether the gradient reached the rule's bound"),
        ],
        Training::Stiefel => {
            &[("component_start", "", "sign of det(W V^T) at the start"), ("component_end", "", "the same at the end")]
        }
        Training::TwoLayer(_) => &[("least_readout", "", "smallest trained readout, with its sign")],
        _ => &[],
    }
}

/// What training both layers makes of points.
pub(super) fn two_layer_table<'a>(points: impl Iterator<Item = (String, &'a TwoLayerPoint)>) -> Table {
    let mut table = Table::new(
        "two_layer",
        &[
            ("point", "", "the point, given by the trained weights of its lowest run"),
            ("least_readout", "", "smallest readout a_i, with its sign"),
            ("negative", "", "units with a_i < 0"),
            ("silent", "", "units with a_i = 0, which add nothing at any w_i"),
            ("dead", "", "units of norm zero"),
            ("unstable", "", "negative eigenvalues of the Hessian by (W, a) inside span(W, V)"),
            ("neutral", "", "its zero eigenvalues"),
            (
                "neutral_expected",
                "",
                "one rescaling for each unit with norm, and the zero modes of the one-layer point",
            ),
            ("min_transverse_eigenvalue", "", "smallest eigenvalue across the span, once per further dimension"),
            ("residual", "", "largest gradient entry by both layers"),
        ],
    );
    for (name, point) in points {
        table.push(vec![
            name.into(),
            point.least_readout.into(),
            point.negative.into(),
            point.silent.into(),
            point.dead.into(),
            point.index.unstable.into(),
            point.index.neutral.into(),
            point.expected_neutral.into(),
            point.transverse.first().copied().unwrap_or(f64::INFINITY).into(),
            point.residual.into(),
        ]);
    }
    table
}

fn spectrum_table(census: &Census) -> Table {
    let mut table = spectrum_columns();
    for (number, class) in census.classes.iter().enumerate() {
        push_spectrum(&mut table, &format!("{}: {}", number + 1, class.point.family.name), &class.point);
    }
    table
}

/// Q and R of a point with students and teachers in block order, and the weights that belong to them.
#[derive(Clone, Debug)]
pub struct OverlapMatrices {
    pub q: Array2<f64>,
    pub r: Array2<f64>,
    pub w: Array2<f64>,
}

/// Overlaps of a point in block order. Teachers are reordered only where T does not change by it.
pub fn overlap_matrices(point: &Point, teacher: &Teacher) -> OverlapMatrices {
    let (k, m) = point.overlaps.r().dim();
    let (students, mut teachers) = point.family.display_order(k, m);
    let t = teacher.gram();
    if !(0..m).all(|i| (0..m).all(|j| t[[teachers[i], teachers[j]]] == t[[i, j]])) {
        teachers = (0..m).collect();
    }
    let q = Array2::from_shape_fn((k, k), |(i, j)| point.overlaps.q()[[students[i], students[j]]]);
    let r = Array2::from_shape_fn((k, m), |(i, j)| point.overlaps.r()[[students[i], teachers[j]]]);
    // The reordered weights: teacher part from R (V is square or tall with full column rank), the rest row by row.
    let v = teacher.vectors();
    let rank = teacher.rank();
    let rows = point.weights.rows();
    let w = Array2::from_shape_fn((k, rows.ncols()), |(i, c)| rows[[students[i], c]]);
    let mut w = w;
    if teacher.is_orthonormal() {
        w.slice_mut(ndarray::s![.., ..rank]).assign(&r);
    } else if teachers.iter().enumerate().any(|(i, &t)| i != t) {
        let gram = v.t().dot(v);
        let right = r.dot(v);
        for i in 0..k {
            if let Some(factor) = crate::numerics::linalg::Cholesky::new(gram.view()) {
                let mut row = right.row(i).to_vec();
                factor.solve(&mut row);
                w.row_mut(i).iter_mut().zip(row).for_each(|(slot, x)| *slot = x);
            }
        }
    }
    OverlapMatrices { q, r, w }
}

/// NPZ arrays: `q`, `r` (points x K x ...), `loss`, `hits`, `teacher_gram`, `teacher_vectors` (V in the coordinates of the
/// w_N, so r = w_N[:, :rank] V^T); per point `w_N`, `eigenvalues_N`,
/// `multiplicities_N`, `transverse_eigenvalues_N`, `transverse_multiplicities_N` (N from 1).
fn arrays(report: &mut Report, census: &Census, teacher: &Teacher) {
    let matrices: Vec<OverlapMatrices> =
        census.classes.iter().map(|class| overlap_matrices(&class.point, teacher)).collect();
    let mut put = |name: String, array: ndarray::ArrayD<f64>| report.arrays.insert(name, array);
    put("teacher_gram".into(), teacher.gram().clone().into_dyn());
    put("teacher_vectors".into(), teacher.vectors().clone().into_dyn());
    put("loss".into(), Array1::from_iter(census.classes.iter().map(|class| class.point.loss)).into_dyn());
    put("hits".into(), Array1::from_iter(census.classes.iter().map(|class| class.hits as f64)).into_dyn());
    for (name, pick) in [("q", (|m| &m.q) as fn(&OverlapMatrices) -> &Array2<f64>), ("r", |m| &m.r)] {
        let views: Vec<_> = matrices.iter().map(|m| pick(m).view()).collect();
        if let Ok(array) = stack(Axis(0), &views) {
            put(name.into(), array.into_dyn());
        }
    }
    for (number, (class, matrices)) in census.classes.iter().zip(&matrices).enumerate() {
        let number = number + 1;
        put(format!("w_{number}"), matrices.w.clone().into_dyn());
        let spectrum = &class.point.spectrum;
        for (prefix, levels) in [("", &spectrum.span), ("transverse_", &spectrum.transverse)] {
            let values = Array1::from_iter(levels.iter().map(|level| level.value));
            let counts = Array1::from_iter(levels.iter().map(|level| level.multiplicity as f64));
            put(format!("{prefix}eigenvalues_{number}"), values.into_dyn());
            put(format!("{prefix}multiplicities_{number}"), counts.into_dyn());
        }
    }
}
