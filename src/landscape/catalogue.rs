//! Runs and critical points of one problem in one SQLite file (or in memory), and what they amount to.
//!
//! The content is a function of the set of finished runs only: the representative of a class is its lowest run. So a
//! search may be killed, continued, or shared by two processes, and its export does not change by a byte.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use ndarray::{Array2, Axis, concatenate, s};
use serde::{Deserialize, Serialize};

use super::point::Point;
use super::ruled::{Details, TwoLayerPoint, equivalent};
use super::search::{Problem, RunResult};
use super::stability::{Spectrum, Verdict, is_zero};
use crate::error::{Error, Result};
use crate::model::symmetry::Canonical;
use crate::model::{Activation, Training, Weights};
use crate::numerics::{parallel, tolerance};
use crate::store::{self, NewCell, NewPoint, Store, StoredPoint};

/// Losses of equal points agree to rounding; only points this close in loss are compared.
const LOSS_WINDOW: f64 = 1e-9;

/// What the ledger keeps of one run beside its point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Why there is no point; `None` for a verified run.
    pub reason: Option<String>,
    pub loss: Option<f64>,
    /// Largest gradient entry at the run's own polished end.
    pub residual: Option<f64>,
    pub ending: Option<String>,
    /// Gradient norm at which the flow was left, time and gradients it used, distance moved by the finish.
    pub gradient_norm: Option<f64>,
    pub time: Option<f64>,
    pub evaluations: Option<usize>,
    pub moved: Option<f64>,
    #[serde(default, flatten)]
    pub details: Details,
}

/// A class of equal end points.
#[derive(Clone, Debug)]
pub struct Class {
    pub point: Point,
    /// Lowest run that ended here; the point's weights are this run's.
    pub representative: u64,
    pub hits: usize,
    /// The representative's trained layers, under `two-layer`.
    pub two_layer: Option<TwoLayerPoint>,
}

/// Everything a set of runs amounts to.
#[derive(Clone, Debug)]
pub struct Census {
    /// Ordered by loss, then canonical form.
    pub classes: Vec<Class>,
    /// One per run asked for, in order: the record and its class.
    pub runs: Vec<(u64, RunRecord, Option<usize>)>,
}

impl Census {
    /// Number of runs without a verified point.
    pub fn unresolved(&self) -> usize {
        self.runs.iter().filter(|(_, _, class)| class.is_none()).count()
    }
}

/// A problem with its store.
pub struct Catalogue {
    problem: Problem,
    store: Store,
    path: Option<std::path::PathBuf>,
}

/// What identifies a problem in a file: everything that a run's outcome depends on.
#[derive(Serialize, Deserialize)]
struct Key {
    students: usize,
    teachers: usize,
    dimension: usize,
    init_scale: f64,
    seed: u64,
    activation: Activation,
    teacher_gram: Vec<Vec<f64>>,
    /// Raised when the search pipeline changes so that runs may end elsewhere.
    method: u32,
    #[serde(default, skip_serializing_if = "Training::is_gradient_flow")]
    rule: Training,
}

/// 2: longer steps below a gradient of 1e-5.
const METHOD: u32 = 2;

impl Catalogue {
    /// Opens or creates the file; `None` keeps everything in memory.
    ///
    /// # Errors
    /// Those of [`Store::open`]; [`Error::Spec`] for leaky ReLU of slope -1.
    pub fn open(path: Option<&Path>, problem: Problem, teacher_name: &str) -> Result<Catalogue> {
        if let Activation::LeakyRelu { slope: -1.0 } = problem.teacher.activation() {
            return Err(Error::Spec {
                action: "search the landscape",
                problem:
                    "with slope -1 the activation is |u|: w and -w are the same student, and points are not told apart"
                        .into(),
            });
        }
        let key = Key {
            students: problem.students,
            teachers: problem.teacher.units(),
            dimension: problem.law.dimension,
            init_scale: problem.law.scale,
            seed: problem.seed,
            activation: problem.teacher.activation(),
            teacher_gram: problem.teacher.gram().outer_iter().map(|row| row.to_vec()).collect(),
            method: METHOD,
            rule: problem.rule,
        };
        let mut summary = format!(
            "K = {}, M = {}, d = {}, init scale {}, seed {}, teacher {teacher_name}",
            key.students, key.teachers, key.dimension, key.init_scale, key.seed
        );
        if key.activation != Activation::Relu {
            summary.push_str(&format!(", activation {}", key.activation));
        }
        if !key.rule.is_gradient_flow() {
            summary.push_str(&format!(", rule {}", key.rule));
        }
        // So that a file of an older search is not refused with two equal texts.
        summary.push_str(&format!(", search method {METHOD}"));
        let identity =
            store::Problem { study: "landscape".into(), key: serde_json::to_string(&key).unwrap_or_default(), summary };
        let store = match path {
            Some(path) => Store::open(path, &identity)?,
            None => Store::in_memory(&identity)?,
        };
        Ok(Catalogue { problem, store, path: path.map(Path::to_path_buf) })
    }

    /// Opens an existing file with the problem it holds, for reading.
    ///
    /// # Errors
    /// Those of [`Store::open_existing`], and of a problem that this version cannot rebuild.
    pub fn open_existing(path: &Path) -> Result<Catalogue> {
        let store = Store::open_existing(path)?;
        let unreadable = |problem: String| Error::Store { action: "read", path: path.to_path_buf(), problem };
        if store.problem().study != "landscape" {
            return Err(unreadable(format!("it holds the study '{}', needs 'landscape'", store.problem().study)));
        }
        let key: Key = serde_json::from_str(&store.problem().key).map_err(|error| unreadable(error.to_string()))?;
        let m = key.teacher_gram.len();
        let gram =
            Array2::from_shape_vec((m, m), key.teacher_gram.concat()).map_err(|error| unreadable(error.to_string()))?;
        let teacher = crate::model::Teacher::new(gram, None)?.with_activation(key.activation)?;
        let law = crate::model::InitialLaw::new(key.dimension, key.init_scale, &teacher)?;
        let problem = Problem { students: key.students, teacher, law, seed: key.seed, rule: key.rule };
        Ok(Catalogue { problem, store, path: Some(path.to_path_buf()) })
    }

    /// The problem.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// One line for people: K, M, d, initial law, seed, teacher.
    pub fn summary(&self) -> &str {
        &self.store.problem().summary
    }

    /// Number of finished runs.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub fn finished(&self) -> Result<usize> {
        Ok(self.store.finished()?.len())
    }

    /// Runs what is missing of runs 0..n on the current rayon pool, recording each as it ends. `progress` is called with
    /// (finished, total, unresolved so far) and returns false to stop after the runs in flight.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when stopped, [`Error::Store`] when a run cannot be recorded; finished runs are kept.
    pub fn fill(&mut self, n: u64, progress: &dyn Fn(usize, usize, usize) -> bool) -> Result<()> {
        let finished = self.store.finished()?;
        let missing: Vec<u64> = (0..n).filter(|run| finished.binary_search(run).is_err()).collect();
        let total = n as usize;
        let mut done = total - missing.len();
        let mut unresolved = 0;
        let starts = progress(done, total, unresolved);
        let known: RefCell<HashMap<(u64, u64), Canonical>> = RefCell::new(HashMap::new());
        let problem = &self.problem;
        let store = &mut self.store;
        let mut failure = None;
        let work = |&run: &u64| {
            let result = problem.run(run);
            let canonical = result.outcome.as_ref().ok().map(|settled| canonical_form(problem, &settled.weights));
            (result, canonical)
        };
        let receive = |(result, canonical): (RunResult, Option<Canonical>)| {
            if failure.is_some() {
                return false;
            }
            let is_same = |_: &NewPoint, stored: &StoredPoint| {
                canonical.as_ref().is_some_and(|form| is_same_point(problem, &known, result.loss, form, stored))
            };
            unresolved += usize::from(result.outcome.is_err());
            failure = store.record(&new_cell(&result, problem.rule), &is_same).err();
            done += usize::from(failure.is_none());
            failure.is_none() && progress(done, total, unresolved)
        };
        parallel::each(if starts { &missing } else { &[] }, work, receive);
        match failure {
            Some(error) => Err(error),
            None if done < total => Err(Error::Interrupted {
                done,
                total,
                resume: match &self.path {
                    Some(path) => format!("they are kept in {}: the same command goes on", path.display()),
                    None => "they were not kept: with --db FILE the command can be continued".into(),
                },
            }),
            None => Ok(()),
        }
    }

    /// Classes and runs of 0..n as far as they are finished; each class's point analysed once and the analysis kept.
    ///
    /// # Errors
    /// [`Error::Store`], and those of the spectrum.
    pub fn census(&mut self, n: u64) -> Result<Census> {
        let (cells, points) = self.store.contents()?;
        let mut hits: HashMap<store::PointId, usize> = HashMap::new();
        for cell in cells.iter().filter(|cell| cell.id < n) {
            if let Some(point) = cell.point {
                *hits.entry(point).or_default() += 1;
            }
        }
        let mut classes: Vec<(store::PointId, Class)> = Vec::new();
        for stored in points {
            let Some(&count) = hits.get(&stored.id) else { continue };
            let point = self.analysed(&stored)?;
            let two_layer = match self.problem.rule {
                Training::TwoLayer(_) => {
                    let trained = weights(&self.problem, &stored)?;
                    let neutral = point.spectrum.span_index.neutral;
                    Some(TwoLayerPoint::new(&trained, &self.problem.teacher, 0, neutral)?)
                }
                _ => None,
            };
            classes.push((stored.id, Class { point, representative: stored.representative, hits: count, two_layer }));
        }
        classes.sort_by(|(_, x), (_, y)| {
            let entries = |class: &Class| class.point.canonical.r.iter().copied().collect::<Vec<f64>>();
            let key = |class: &Class| (class.point.loss / LOSS_WINDOW).round();
            key(x).total_cmp(&key(y)).then_with(|| {
                let (x, y) = (entries(x), entries(y));
                x.iter().zip(&y).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
            })
        });
        let position: HashMap<store::PointId, usize> =
            classes.iter().enumerate().map(|(position, (id, _))| (*id, position)).collect();
        let runs = cells
            .into_iter()
            .filter(|cell| cell.id < n)
            .map(|cell| {
                let record = serde_json::from_str(&cell.payload).unwrap_or_else(|error| RunRecord {
                    reason: Some(format!("unreadable record: {error}")),
                    loss: None,
                    residual: None,
                    ending: None,
                    gradient_norm: None,
                    time: None,
                    evaluations: None,
                    moved: None,
                    details: Details::default(),
                });
                (cell.id, record, cell.point.and_then(|id| position.get(&id).copied()))
            })
            .collect();
        Ok(Census { classes: classes.into_iter().map(|(_, class)| class).collect(), runs })
    }

    fn analysed(&mut self, stored: &StoredPoint) -> Result<Point> {
        let weights = weights(&self.problem, stored)?;
        let known = stored.analysis.as_deref().and_then(|text| serde_json::from_str::<(Spectrum, Verdict)>(text).ok());
        if let Some((spectrum, verdict)) = known {
            return Point::with_spectrum(self.problem.rule, &weights, &self.problem.teacher, 0, spectrum, verdict);
        }
        let dimension = Some(self.problem.law.dimension);
        let point = Point::by_rule(self.problem.rule, &weights, &self.problem.teacher, 0, dimension)?;
        if let Ok(json) = serde_json::to_string(&(&point.spectrum, point.verdict)) {
            self.store.set_analysis(stored.id, stored.representative, &json)?;
        }
        Ok(point)
    }
}

fn weights(problem: &Problem, stored: &StoredPoint) -> Result<Weights> {
    let rows = Array2::from_shape_vec(stored.shape, stored.weights.clone()).map_err(|_| Error::Shape {
        action: "read a stored point",
        what: "the weight matrix W",
        rows: stored.shape.0,
        columns: stored.shape.1,
        needs: format!("{} numbers, found {}", stored.shape.0 * stored.shape.1, stored.weights.len()),
    })?;
    match problem.rule {
        // The readouts are the last column.
        Training::TwoLayer(_) => {
            let last = rows.ncols().saturating_sub(1);
            let readouts = rows.slice(s![.., last..]).t().to_owned();
            Weights::new(rows.slice(s![.., ..last]).to_owned(), Some(readouts), &problem.teacher)
        }
        _ => Weights::new(rows, None, &problem.teacher),
    }
}

/// Canonical form of a point of the problem's rule; trained readouts are absorbed into the rows.
fn canonical_form(problem: &Problem, weights: &Weights) -> Canonical {
    let form = |weights: &Weights| Canonical::new(&weights.overlaps(&problem.teacher), &problem.teacher, 0);
    match problem.rule {
        Training::TwoLayer(_) => form(&equivalent(weights, 0)),
        _ => form(weights),
    }
}

/// Canonical distance below 1e-8, or both exact zeros; canonical forms of stored points are kept between calls.
fn is_same_point(
    problem: &Problem,
    known: &RefCell<HashMap<(u64, u64), Canonical>>,
    loss: f64,
    canonical: &Canonical,
    stored: &StoredPoint,
) -> bool {
    let Ok(other) = weights(problem, stored) else { return false };
    if is_zero(loss, &problem.teacher) && is_zero(stored.loss, &problem.teacher) {
        return true;
    }
    let mut known = known.borrow_mut();
    let form =
        known.entry((stored.representative, stored.loss.to_bits())).or_insert_with(|| canonical_form(problem, &other));
    canonical.distance(form) < tolerance::SAME_POINT
}

fn new_cell(result: &RunResult, rule: Training) -> NewCell {
    let settled = result.outcome.as_ref().ok();
    let record = RunRecord {
        reason: result.outcome.as_ref().err().cloned(),
        loss: settled.map(|_| result.loss),
        residual: settled.map(|s| s.residual),
        ending: settled.map(|s| s.ending.name().to_string()),
        gradient_norm: settled.map(|s| s.gradient_norm),
        time: settled.map(|s| s.time),
        evaluations: settled.map(|s| s.evaluations),
        moved: settled.map(|s| s.moved),
        details: settled.map(|s| s.details.clone()).unwrap_or_default(),
    };
    NewCell {
        id: result.run,
        point: settled.map(|s| {
            let mut rows = s.weights.rows().clone();
            if let Training::TwoLayer(_) = rule {
                let readouts = s.weights.readouts().slice(s![..1, ..]).t().to_owned();
                rows = concatenate![Axis(1), rows, readouts];
            }
            NewPoint {
                loss: result.loss,
                shape: rows.dim(),
                weights: rows.iter().copied().collect(),
                window: LOSS_WINDOW,
            }
        }),
        payload: serde_json::to_string(&record).unwrap_or_default(),
    }
}
