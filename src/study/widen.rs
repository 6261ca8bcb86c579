//! Where each local minimum of K = M students goes when one student is added: the minima of K = M + 1 that gradient flow
//! reaches from it.

mod tables;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::landscape::LandscapeSpec;
use crate::error::{Error, Result};
use crate::landscape::catalogue::{Catalogue, Census};
use crate::landscape::family::is_anti_aligned;
use crate::landscape::stability::is_zero;
use crate::landscape::widen::{Split, Widening, off_saddle, tilted};
use crate::landscape::{Ending, Point, Settled, Verdict, settle};
use crate::model::symmetry::Canonical;
use crate::model::{Teacher, TeacherSpec, Weights};
use crate::numerics::{random, tolerance};
use crate::population::{OneSided, risk, risk_exact};
use crate::report::Report;

const ACTION: &str = "widen the minima";

/// What an interruption leaves.
const NOT_KEPT: &str = "they were not kept; a search made with `committee landscape --db FILE` need not be repeated";

/// Random directions tried for one along which the loss falls.
const TRIES: usize = 10_000;

/// Random directions by which the share of descents is measured.
const SAMPLES: usize = 2000;

/// Random part of the steepest direction and of a push, so that the flow does not stay in a subspace of equal units.
const TILT: f64 = 0.01;

/// The smaller part of a split unit is at least this share of it.
const SMALLEST_SHARE: f64 = 0.1;

/// Random directions from which the local minima of the slope are found, and how much two of them differ at least.
const SLOPE_STARTS: usize = 300;
const SLOPE_WINDOW: f64 = 1e-6;

/// Saddles that one start may leave.
const SADDLES: usize = 5;

/// An end may lie above its origin by rounding only.
const RISE: f64 = 1e-12;

/// Losses of equal points agree to rounding; only points this close in loss are compared.
const LOSS_WINDOW: f64 = 1e-9;

/// Which minima, and how many starts from each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WidenSpec {
    /// M; the minima have K = M students, the starts M + 1. Taken from the database when one is given.
    pub teachers: usize,
    /// Input dimension d; `None`: 2 M + 1. Taken from the database when one is given.
    pub dimension: Option<usize>,
    /// Starts for each family of minima and each way of adding the student.
    pub runs: u64,
    /// Random starts with K = M that supply the minima; all finished ones of the database when one is given.
    pub searches: u64,
    /// Length of the displacement.
    pub epsilon: f64,
    pub seed: u64,
    /// Taken from the database when one is given.
    pub teacher: TeacherSpec,
    /// Database of a search with K = M that supplies the minima instead.
    pub db: Option<PathBuf>,
}

impl Default for WidenSpec {
    fn default() -> Self {
        WidenSpec {
            teachers: 8,
            dimension: None,
            runs: 100,
            searches: 1000,
            epsilon: 1e-3,
            seed: 1,
            teacher: TeacherSpec::default(),
            db: None,
        }
    }
}

/// How the student is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AddRandom,
    AddSteepest,
    SplitFlipped,
    SplitAligned,
}

const MODES: [Mode; 4] = [Mode::AddRandom, Mode::AddSteepest, Mode::SplitFlipped, Mode::SplitAligned];

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::AddRandom => "add random",
            Mode::AddSteepest => "add steepest",
            Mode::SplitFlipped => "split flipped",
            Mode::SplitAligned => "split aligned",
        }
    }
}

/// One minimum with K = M and its ways down.
struct Site<'a> {
    point: Point,
    widening: Widening<'a>,
    steepest: OneSided,
    /// Share of random directions along which the loss falls.
    descents: f64,
    /// Local minima of the slope over directions, ascending, with one direction and the number of random starts of each.
    slopes: Vec<(f64, Vec<f64>, usize)>,
    splits: Vec<Split>,
    /// Which units are anti-aligned.
    flipped: Vec<bool>,
}

/// The minima of one family.
struct Origin<'a> {
    /// By loss; run n starts at number n modulo their count.
    sites: Vec<Site<'a>>,
}

impl Origin<'_> {
    fn name(&self) -> &str {
        &self.sites[0].point.family.name
    }
}

/// One start and where it led.
struct Outcome {
    origin: usize,
    mode: Mode,
    run: u64,
    site: usize,
    /// The unit that was split.
    unit: Option<usize>,
    end: std::result::Result<End, String>,
    /// Saddles it rested at on the way.
    saddles: usize,
    rose: bool,
    /// Number of the end in [`Ends`].
    class: Option<usize>,
}

struct End {
    weights: Weights,
    loss: f64,
    canonical: Canonical,
    evaluations: usize,
    time: f64,
}

/// Checks the spec, finds the minima, and follows the starts. `progress` is called with (finished, total, unresolved), once
/// for the search and once for the starts, and returns false to stop. The report has a failed start for each end above its
/// origin (`loss_rises` counts them).
///
/// # Errors
/// [`Error::Count`] and [`Error::Real`] for numbers out of range or a database with K other than M; those of the search;
/// [`Error::Interrupted`] when stopped.
pub fn widen(spec: &WidenSpec, progress: &(dyn Fn(usize, usize, usize) -> bool + Sync)) -> Result<Report> {
    for (quantity, value) in [("runs", spec.runs as usize), ("searches", spec.searches as usize)] {
        if value == 0 {
            return Err(Error::Count { action: ACTION, quantity, value, needs: "at least 1".into() });
        }
    }
    if !(spec.epsilon > 0.0 && spec.epsilon <= 0.1) {
        return Err(Error::Real {
            action: ACTION,
            quantity: "length epsilon".into(),
            value: spec.epsilon,
            needs: "a number above 0 and at most 0.1",
        });
    }
    let (catalogue, census) = minima(spec, progress)?;
    let problem = catalogue.problem();
    let origins = origins(&census, &problem.teacher, problem.law.dimension, spec.seed)?;
    let mut outcomes = follow(spec, &origins, &problem.teacher, progress)?;
    let ends = collect(&mut outcomes, &problem.teacher, problem.law.dimension)?;
    Ok(tables::report(spec, problem, &census, &origins, &outcomes, &ends))
}

/// The census with K = M: of the database, or of a search in memory.
fn minima(spec: &WidenSpec, progress: &(dyn Fn(usize, usize, usize) -> bool + Sync)) -> Result<(Catalogue, Census)> {
    if let Some(path) = &spec.db {
        let mut catalogue = Catalogue::open_existing(path)?;
        let (k, m) = (catalogue.problem().students, catalogue.problem().teacher.units());
        if k != m {
            return Err(Error::Count {
                action: ACTION,
                quantity: "students K in the database",
                value: k,
                needs: format!("K = M = {m}"),
            });
        }
        let census = catalogue.census(u64::MAX)?;
        if census.runs.is_empty() {
            return Err(Error::Count {
                action: ACTION,
                quantity: "finished runs in the database",
                value: 0,
                needs: "at least 1 (run `committee landscape --db FILE` first)".into(),
            });
        }
        return Ok((catalogue, census));
    }
    let search = LandscapeSpec {
        // Memory is checked for the wider network.
        students: spec.teachers.saturating_add(1),
        teachers: spec.teachers,
        dimension: Some(spec.dimension.unwrap_or(spec.teachers.saturating_mul(2).saturating_add(1))),
        runs: spec.searches,
        seed: spec.seed,
        teacher: spec.teacher.clone(),
        ..LandscapeSpec::default()
    };
    let mut problem = search.problem()?;
    problem.students = spec.teachers;
    let mut catalogue = Catalogue::open(None, problem, &spec.teacher.to_string())?;
    catalogue.fill(spec.searches, &|done, total, unresolved| progress(done, total, unresolved)).map_err(|error| {
        match error {
            Error::Interrupted { done, total, .. } => Error::Interrupted { done, total, resume: NOT_KEPT.into() },
            other => other,
        }
    })?;
    let census = catalogue.census(spec.searches)?;
    Ok((catalogue, census))
}

/// The local minima of the census by family, families in the order of their lowest loss.
fn origins<'a>(census: &Census, teacher: &'a Teacher, dimension: usize, seed: u64) -> Result<Vec<Origin<'a>>> {
    let points: Vec<&Point> =
        census.classes.iter().map(|class| &class.point).filter(|p| p.verdict == Verdict::LocalMinimum).collect();
    let sites: Vec<Result<Site>> = points
        .par_iter()
        .enumerate()
        .map(|(number, point)| {
            let widening = Widening::new(&point.weights, teacher, 0, dimension)?;
            let steepest = widening.steepest()?;
            let mut rng = random::stream(seed, &[random::purpose::WIDEN, u64::MAX, number as u64]);
            let mut new = widening.new_unit();
            let falls = (0..SAMPLES).filter(|_| new.slope(&widening.random_direction(&mut rng)).0 < 0.0).count();
            let mut slopes: Vec<(f64, Vec<f64>, usize)> = Vec::new();
            for _ in 0..SLOPE_STARTS {
                let Some((slope, u)) = new.steepest_from(widening.random_direction(&mut rng)) else { continue };
                match slopes.iter_mut().find(|(known, _, _)| (known - slope).abs() < SLOPE_WINDOW) {
                    Some((_, _, count)) => *count += 1,
                    None => slopes.push((slope, u, 1)),
                }
            }
            slopes.sort_by(|x, y| x.0.total_cmp(&y.0));
            let splits = widening.splits()?;
            let students = 0..point.weights.students();
            let flipped = students.map(|i| is_anti_aligned(&point.overlaps, teacher, i)).collect();
            let descents = falls as f64 / SAMPLES as f64;
            Ok(Site { point: (*point).clone(), widening, steepest, descents, slopes, splits, flipped })
        })
        .collect();
    let mut origins: Vec<Origin> = Vec::new();
    for site in sites {
        let site = site?;
        match origins.iter_mut().find(|origin| origin.name() == site.point.family.name) {
            Some(origin) => origin.sites.push(site),
            None => origins.push(Origin { sites: vec![site] }),
        }
    }
    Ok(origins)
}

/// All starts, on all threads of the current rayon pool; the result is in order of origin, mode and run.
fn follow(
    spec: &WidenSpec,
    origins: &[Origin],
    teacher: &Teacher,
    progress: &(dyn Fn(usize, usize, usize) -> bool + Sync),
) -> Result<Vec<Outcome>> {
    let jobs: Vec<(usize, usize, u64)> = (0..origins.len())
        .flat_map(|origin| (0..MODES.len()).map(move |mode| (origin, mode)))
        .filter(|&(origin, mode)| origins[origin].sites.iter().any(|site| site.offers(MODES[mode])))
        .flat_map(|(origin, mode)| (0..spec.runs).map(move |run| (origin, mode, run)))
        .collect();
    let total = jobs.len();
    let (done, unresolved) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let stopped = AtomicBool::new(!progress(0, total, 0));
    let outcomes: Vec<Option<Outcome>> = jobs
        .par_iter()
        .with_max_len(1)
        .map(|&(origin, mode, run)| {
            if stopped.load(Relaxed) {
                return None;
            }
            let outcome = origins[origin].run(spec, teacher, (origin, mode), run);
            let failed = unresolved.fetch_add(usize::from(outcome.end.is_err()), Relaxed);
            let failed = failed + usize::from(outcome.end.is_err());
            if !progress(done.fetch_add(1, Relaxed) + 1, total, failed) {
                stopped.store(true, Relaxed);
            }
            Some(outcome)
        })
        .collect();
    let finished: Vec<Outcome> = outcomes.into_iter().flatten().collect();
    if finished.len() < total {
        return Err(Error::Interrupted { done: finished.len(), total, resume: NOT_KEPT.into() });
    }
    Ok(finished)
}

impl Site<'_> {
    /// The units that a mode can split.
    fn units(&self, mode: Mode) -> Vec<&Split> {
        let wanted = mode == Mode::SplitFlipped;
        self.splits.iter().filter(|s| self.flipped[s.unit] == wanted && !s.descents.is_empty()).collect()
    }

    fn offers(&self, mode: Mode) -> bool {
        match mode {
            Mode::AddRandom => true,
            Mode::AddSteepest => self.steepest.slope < 0.0,
            Mode::SplitFlipped | Mode::SplitAligned => !self.units(mode).is_empty(),
        }
    }

    /// A start of one mode, with the unit that was split, or why there is none.
    fn start(&self, mode: Mode, epsilon: f64, rng: &mut ChaCha8Rng) -> (Option<usize>, Option<Weights>, &'static str) {
        let w = &self.widening;
        match mode {
            Mode::AddRandom => {
                let start = (0..TRIES).find_map(|_| w.add(&w.random_direction(rng), epsilon));
                (None, start, "no random direction of falling loss in 10 000")
            }
            Mode::AddSteepest => {
                let by = w.random_direction(rng);
                let mut direction = self.steepest.direction.clone();
                direction.resize(by.len(), 0.0);
                let start = tilted(&direction, &by, TILT).and_then(|u| w.add(&u, epsilon));
                (None, start, "the loss does not fall beside the steepest direction")
            }
            Mode::SplitFlipped | Mode::SplitAligned => {
                let units = self.units(mode);
                if units.is_empty() {
                    return (None, None, "no unit of this minimum can be split with falling loss");
                }
                let split = units[rng.random_range(0..units.len())];
                let share = rng.random_range(SMALLEST_SHARE..1.0 - SMALLEST_SHARE);
                let push = split.push(&w.random_direction(rng));
                let push = push.and_then(|push| tilted(&push, &w.random_direction(rng), TILT));
                let start = push.and_then(|push| w.split(split, &push, share, epsilon));
                (Some(split.unit), start, "the loss does not fall along the push")
            }
        }
    }
}

impl Origin<'_> {
    /// One start and its end; a function of (seed, origin, mode, run) alone.
    fn run(&self, spec: &WidenSpec, teacher: &Teacher, (origin, mode): (usize, usize), run: u64) -> Outcome {
        let mut rng = random::stream(spec.seed, &[random::purpose::WIDEN, origin as u64, mode as u64, run]);
        let number = (run % self.sites.len() as u64) as usize;
        let site = &self.sites[number];
        let mode = MODES[mode];
        let (unit, start, reason) = site.start(mode, spec.epsilon, &mut rng);
        let settled = start.ok_or_else(|| reason.to_string());
        let mut saddles = 0;
        let settled = settled.and_then(|start| {
            descend(&start, teacher, spec.epsilon, &mut rng, &mut saddles).map_err(|error| error.to_string())
        });
        let mut rose = false;
        let end = settled.and_then(|settled| {
            let loss = risk(&settled.weights, teacher, 0);
            let loss = if loss > 1e-6 { loss } else { risk_exact(&settled.weights, teacher, 0) };
            rose = !(loss <= site.point.loss + RISE);
            if rose {
                return Err(format!("the loss rose from {:e} to {loss:e}", site.point.loss));
            }
            let canonical = Canonical::new(&settled.weights.overlaps(teacher), teacher, 0);
            let (evaluations, time) = (settled.evaluations, settled.time);
            Ok(End { weights: settled.weights, loss, canonical, evaluations, time })
        });
        Outcome { origin, mode, run, site: number, unit, end, saddles, rose, class: None }
    }
}

/// Gradient flow to a minimum. What breaks a symmetry may decay below rounding on the way, and the flow then rests at a
/// saddle: it is pushed off by epsilon along the unstable direction, to either side by chance.
fn descend(
    start: &Weights,
    teacher: &Teacher,
    epsilon: f64,
    rng: &mut ChaCha8Rng,
    saddles: &mut usize,
) -> Result<Settled> {
    let mut settled = settle(start, teacher, 0)?;
    while settled.ending == Ending::PseudoInverse && *saddles < SADDLES {
        let Some(off) = off_saddle(&settled.weights, teacher, 0, epsilon, rng.random())? else { break };
        *saddles += 1;
        settled = settle(&off, teacher, 0)?;
    }
    Ok(settled)
}

/// Distinct ends by loss; numbers them in the outcomes. All exact zeros are one.
fn collect(outcomes: &mut [Outcome], teacher: &Teacher, dimension: usize) -> Result<Vec<Point>> {
    let mut found: Vec<(f64, Canonical, Weights)> = Vec::new();
    for outcome in outcomes.iter_mut() {
        let Ok(end) = &outcome.end else { continue };
        let is_same = |(loss, canonical, _): &(f64, Canonical, Weights)| {
            (is_zero(*loss, teacher) && is_zero(end.loss, teacher))
                || ((loss - end.loss).abs() < LOSS_WINDOW && canonical.distance(&end.canonical) < tolerance::SAME_POINT)
        };
        outcome.class = Some(found.iter().position(is_same).unwrap_or_else(|| {
            found.push((end.loss, end.canonical.clone(), end.weights.clone()));
            found.len() - 1
        }));
    }
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by(|&x, &y| found[x].0.total_cmp(&found[y].0));
    for outcome in outcomes.iter_mut() {
        outcome.class = outcome.class.and_then(|class| order.iter().position(|&o| o == class));
    }
    let points: Vec<Result<Point>> =
        order.par_iter().map(|&o| Point::in_dimension(&found[o].2, teacher, 0, Some(dimension))).collect();
    points.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> WidenSpec {
        WidenSpec { runs: 6, searches: 60, ..WidenSpec::default() }
    }

    /// The same report on one and on three threads; every start of M = 8 ends in a point not above its origin.
    #[test]
    fn reports_do_not_depend_on_the_threads() {
        let report = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| widen(&small(), &|_, _, _| true).unwrap())
        };
        let (one, three) = (report(1), report(3));
        assert_eq!(one.to_json().to_string(), three.to_json().to_string());
        assert_eq!(one.results["loss_rises"], 0);
        let shares: f64 = one.table("matrix").unwrap().rows[0][3..].iter().filter_map(|cell| cell.as_f64()).sum();
        assert!((shares - 1.0).abs() < 1e-12, "{shares}");
        let transitions = one.table("transitions").unwrap();
        assert!(transitions.numbers("end_loss").iter().flatten().all(|loss| *loss < 0.0216), "{transitions:?}");
        let runs: f64 = transitions.numbers("runs").iter().flatten().sum();
        assert_eq!(runs as usize, one.table("runs").unwrap().rows.len());
    }

    #[test]
    fn stopping_says_how_far_it_came() {
        let stopped = widen(&small(), &|_, total, _| total == 60);
        assert!(matches!(stopped, Err(Error::Interrupted { .. })), "{stopped:?}");
    }
}
