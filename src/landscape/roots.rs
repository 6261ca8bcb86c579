//! All roots of the equations of a family that random starts and deflation find.
//!
//! Newton's method from random starts, then from further starts on deflated equations: the gradient times
//! prod_k (1 + 1 / |x - x_k|^2) over the known roots x_k, which has the same other roots and keeps away from the known
//! ones (Farrell, Birkisson, Funke 2015). No search proves that there are no more roots: absence means "none found in so
//! many starts".

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::reduced::{BlockPoint, Shape, polish, rounding};
use crate::error::{Error, Result};
use crate::model::{Entry, Place};
use crate::numerics::random::{purpose, stream};
use crate::numerics::{linalg, tolerance};
use crate::population::{BlockEquations, Workspace};

/// How long to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Random starts of plain Newton.
    pub starts: u64,
    /// The deflated phase ends after so many starts in a row without a new root; 0 leaves it out.
    pub quiet: u64,
    pub seed: u64,
}

impl Default for Search {
    fn default() -> Search {
        Search { starts: 10_000, quiet: 1000, seed: 1 }
    }
}

/// A root; those that differ by renaming units are one.
#[derive(Clone, Debug)]
pub struct Found {
    pub point: BlockPoint,
    /// Plain starts that ended here; 0 when only deflation found it.
    pub hits: u64,
    /// `false` when the Jacobian is singular here: a valley of equal loss, all of whose ends count as one root.
    pub isolated: bool,
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// By loss, ascending.
    pub roots: Vec<Found>,
    /// Plain starts made.
    pub starts: u64,
    /// Plain starts that ended at a root.
    pub converged: u64,
    /// Plain starts that ended where a unit is zero: the gradient has no derivative there.
    pub zero_units: u64,
    /// Deflated starts made, and how many of the roots only they found.
    pub deflated: u64,
    pub deflated_roots: usize,
}

impl Roots {
    /// Hits of the root that plain starts found least often, of those they found; `None` without roots.
    pub fn rarest(&self) -> Option<u64> {
        self.roots.iter().map(|root| root.hits).filter(|&hits| hits > 0).min()
    }
}

/// Starts that know the same roots: the result depends on it, not on the number of threads.
const BATCH: u64 = 256;
const DEFLATED_BATCH: u64 = 64;
/// Most Newton steps of a start.
const STEPS: usize = 60;
/// A unit shorter than this is zero.
const ZERO: f64 = 1e-6;
/// Largest difference of entries between an end of Newton's method and its root.
const NEAR: f64 = 1e-6;
/// Largest difference of losses between ends in one valley.
const SAME_LOSS: f64 = 1e-9;
/// Smallest eigenvalue of the Jacobian, relative to the largest, of an isolated root.
const SINGULAR: f64 = 1e-8;

/// Searches the roots of the equations of a shape at its own sizes. `go_on` is told how many starts are done and returns
/// whether to go on.
///
/// # Errors
/// Those of the shape; [`Error::Interrupted`] when `go_on` says stop.
pub fn search(shape: &Shape, search: &Search, go_on: &dyn Fn(u64) -> bool) -> Result<Roots> {
    let finder = Finder::new(shape, search.seed)?;
    let mut out = Roots::default();
    let mut known = Known::default();
    let interrupted = |done: u64| Error::Interrupted {
        done: done as usize,
        total: search.starts as usize,
        resume: "a search for roots keeps nothing".into(),
    };
    while out.starts < search.starts {
        let batch = out.starts..(out.starts + BATCH).min(search.starts);
        let ends: Vec<End> = batch.clone().into_par_iter().map(|n| finder.run(n, &known, false)).collect();
        out.starts = batch.end;
        for end in ends {
            match end {
                End::ZeroUnit => out.zero_units += 1,
                End::Nothing => {}
                end => {
                    if let Some((index, _)) = known.enter(end, true) {
                        out.converged += 1;
                        known.roots[index].hits += 1;
                    }
                }
            }
        }
        if !go_on(out.starts) {
            return Err(interrupted(out.starts));
        }
    }
    let (plain, mut quiet) = (known.roots.len(), 0);
    while quiet < search.quiet {
        let first = search.starts + out.deflated;
        let batch = first..first + DEFLATED_BATCH.min(search.quiet - quiet);
        let ends: Vec<End> = batch.clone().into_par_iter().map(|n| finder.run(n, &known, true)).collect();
        for end in ends {
            out.deflated += 1;
            quiet += 1;
            if known.enter(end, false).is_some_and(|(_, is_new)| is_new) {
                quiet = 0;
            }
        }
        if !go_on(out.starts) {
            return Err(interrupted(out.starts));
        }
    }
    out.deflated_roots = known.roots.len() - plain;
    out.roots = known.roots;
    out.roots.sort_by(|x, y| x.point.loss.total_cmp(&y.point.loss));
    Ok(out)
}

/// Roots found so far, with their entries and unknowns.
#[derive(Default)]
struct Known {
    roots: Vec<Found>,
    /// All relabellings of each root.
    entries: Vec<Vec<Vec<f64>>>,
    unknowns: Vec<Vec<f64>>,
}

impl Known {
    /// The root with these entries to within `reach`.
    fn near(&self, entries: &[f64], reach: f64) -> Option<usize> {
        let same = |known: &Vec<f64>| known.iter().zip(entries).all(|(x, y)| (x - y).abs() < reach);
        self.entries.iter().position(|images| images.iter().any(same))
    }

    fn valley(&self, loss: f64) -> Option<usize> {
        self.roots.iter().position(|root| !root.isolated && (root.point.loss - loss).abs() < SAME_LOSS)
    }

    /// Index of the end's root, and whether it is new; ends of deflated starts at known roots are nothing.
    fn enter(&mut self, end: End, plain: bool) -> Option<(usize, bool)> {
        match end {
            End::Known(index) => plain.then_some((index, false)),
            End::New(new) => {
                let New { found, entries, unknowns } = *new;
                let same = if found.isolated {
                    self.near(&entries[0], tolerance::SAME_POINT)
                } else {
                    self.valley(found.point.loss)
                };
                Some(same.map_or_else(
                    || {
                        self.roots.push(found);
                        self.entries.push(entries);
                        self.unknowns.extend(unknowns);
                        (self.roots.len() - 1, true)
                    },
                    |index| (index, false),
                ))
            }
            _ => None,
        }
    }
}

enum End {
    /// Not at a root.
    Nothing,
    ZeroUnit,
    Known(usize),
    /// A root that was not known when the batch began: with its entries and unknowns, relabelled in all ways.
    New(Box<New>),
}

struct New {
    found: Found,
    entries: Vec<Vec<f64>>,
    unknowns: Vec<Vec<f64>>,
}

struct Finder<'a> {
    shape: &'a Shape,
    equations: BlockEquations,
    entries: Vec<Entry>,
    sizes: Vec<f64>,
    relabellings: Vec<Vec<usize>>,
    /// Largest gradient entry of an end.
    reach: f64,
    seed: u64,
}

impl Finder<'_> {
    fn new(shape: &Shape, seed: u64) -> Result<Finder<'_>> {
        let partition = shape.partition()?;
        let entries = partition.entries();
        let equations = BlockEquations::new(&shape.state(&vec![1.0; entries.len()])?);
        let (reach, relabellings) = (rounding(shape)?, shape.relabellings()?);
        Ok(Finder { shape, equations, entries, sizes: partition.sizes().to_vec(), relabellings, reach, seed })
    }

    /// Own entries uniform in (-1.3, 1.3), the others normal times 1/n, 1/(2 sqrt n) or 0.3 on a set of n coordinates.
    fn start(&self, n: u64) -> Vec<f64> {
        let mut rng = stream(self.seed, &[purpose::ROOTS, n]);
        let kind = rng.random_range(0..3);
        let value = |entry: &Entry| match entry.place {
            Place::Own => rng.random_range(-1.3..1.3),
            _ => {
                let size = self.sizes[entry.set];
                let normal: f64 = StandardNormal.sample(&mut rng);
                normal * [1.0 / size, 0.5 / size.sqrt(), 0.3][kind]
            }
        };
        self.entries.iter().map(value).zip(self.equations.scales()).map(|(x, scale)| x * scale).collect()
    }

    fn run(&self, n: u64, known: &Known, deflated: bool) -> End {
        let mut work = Workspace::default();
        let x = self.newton(self.start(n), if deflated { &known.unknowns } else { &[] }, &mut work);
        if work.smallest_norm(self.equations.students()) < ZERO {
            return End::ZeroUnit;
        }
        let Some(x) = x else { return End::Nothing };
        let entries: Vec<f64> = x.iter().zip(self.equations.scales()).map(|(x, scale)| x / scale).collect();
        if let Some(index) = known.near(&entries, NEAR) {
            return End::Known(index);
        }
        if let Some(index) = known.valley(work.loss) {
            self.equations.evaluate(&x, true, &mut work);
            let n = x.len();
            let jacobian = ndarray::Array2::from_shape_fn((n, n), |(i, j)| work.hessian[i * n + j]);
            if is_singular(&jacobian) {
                return End::Known(index);
            }
        }
        self.settle(&entries).unwrap_or(End::Nothing)
    }

    /// The exact root near these entries.
    fn settle(&self, entries: &[f64]) -> Option<End> {
        let state = polish(self.shape, entries).ok()?;
        let entries = state.entries();
        let mut work = Workspace::default();
        let unknowns = self.shape.unknowns(&entries).ok()?;
        self.equations.evaluate(&unknowns, true, &mut work);
        if work.smallest_norm(self.equations.students()) < ZERO {
            return Some(End::ZeroUnit);
        }
        let n = unknowns.len();
        let isolated = !is_singular(&ndarray::Array2::from_shape_fn((n, n), |(i, j)| work.hessian[i * n + j]));
        let point = BlockPoint::new(self.shape, state).ok()?;
        if !(point.residual <= tolerance::RESIDUAL) {
            return None;
        }
        let images = |values: &[f64]| -> Vec<Vec<f64>> {
            let mut images: Vec<Vec<f64>> = Vec::new();
            for image in self.relabellings.iter().map(|order| order.iter().map(|&i| values[i]).collect::<Vec<f64>>()) {
                if !images.contains(&image) {
                    images.push(image);
                }
            }
            images
        };
        let found = Found { point, hits: 0, isolated };
        Some(End::New(Box::new(New { found, entries: images(&entries), unknowns: images(&unknowns) })))
    }

    /// Damped Newton steps on the deflated gradient; the last evaluation of `work` is at the end.
    fn newton(&self, mut x: Vec<f64>, known: &[Vec<f64>], work: &mut Workspace) -> Option<Vec<f64>> {
        let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        self.equations.evaluate(&x, true, work);
        let mut merit = length(&work.gradient) * deflation(&x, known, None);
        let (mut step, mut trial) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for _ in 0..STEPS {
            if !merit.is_finite() {
                return None;
            }
            if linalg::max_abs(&work.gradient) <= self.reach {
                return Some(x);
            }
            step.clear();
            step.extend(work.gradient.iter().map(|g| -g));
            if !linalg::eliminate(&mut work.hessian, &mut step) {
                return None;
            }
            if !known.is_empty() {
                let along = deflation(&x, known, Some(&step));
                step.iter_mut().for_each(|s| *s /= 1.0 - along);
            }
            let most = length(&x).max(1.0);
            let mut scale = (most / length(&step)).min(1.0);
            loop {
                trial.clear();
                trial.extend(x.iter().zip(&step).map(|(x, s)| x + scale * s));
                self.equations.evaluate(&trial, false, work);
                let next = length(&work.gradient) * deflation(&trial, known, None);
                if next < merit || scale < 1e-3 {
                    merit = next;
                    break;
                }
                scale *= 0.5;
            }
            std::mem::swap(&mut x, &mut trial);
            self.equations.evaluate(&x, true, work);
        }
        None
    }
}

/// prod (1 + 1/|x - x_k|^2), or with a step d its logarithmic derivative along d.
fn deflation(x: &[f64], known: &[Vec<f64>], step: Option<&[f64]>) -> f64 {
    let mut value = if step.is_some() { 0.0 } else { 1.0 };
    for root in known {
        let square: f64 = x.iter().zip(root).map(|(x, y)| (x - y) * (x - y)).sum();
        match step {
            None => value *= 1.0 + 1.0 / square,
            Some(step) => {
                let along: f64 = x.iter().zip(root).zip(step).map(|((x, y), d)| (x - y) * d).sum();
                value -= 2.0 * along / (square * (1.0 + square));
            }
        }
    }
    value
}

fn is_singular(jacobian: &ndarray::Array2<f64>) -> bool {
    let Ok(values) = linalg::eigvalsh(jacobian.view()) else { return true };
    let smallest = values.iter().fold(f64::INFINITY, |m, x| m.min(x.abs()));
    smallest < SINGULAR * linalg::max_abs(&values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::Verdict;

    fn entries(roots: &Roots) -> Vec<Vec<f64>> {
        roots.roots.iter().map(|root| root.point.state.entries()).collect()
    }

    /// The same roots, hits and bits with one thread and with three; the known minima are among them.
    #[test]
    fn roots_do_not_depend_on_threads() {
        let shape = Shape::flipped(1.0, 8.0, 0);
        let options = Search { starts: 600, quiet: 100, seed: 3 };
        let in_pool = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| search(&shape, &options, &|_| true).unwrap())
        };
        let (one, three) = (in_pool(1), in_pool(3));
        assert_eq!(entries(&one), entries(&three));
        let hits = |roots: &Roots| roots.roots.iter().map(|root| root.hits).collect::<Vec<_>>();
        assert_eq!((hits(&one), one.deflated, one.zero_units), (hits(&three), three.deflated, three.zero_units));
        let minimum = |loss: f64| one.roots.iter().any(|root| (root.point.loss - loss).abs() < 1e-11);
        assert!(minimum(0.0) && minimum(0.021508037172), "{:?}", entries(&one));
        assert_eq!(one.converged, hits(&one).iter().sum::<u64>());
        assert!(one.roots.windows(2).all(|pair| pair[0].point.loss <= pair[1].point.loss));
    }

    /// Three plain starts find some of the roots that thousands find; deflation finds the rest.
    #[test]
    fn deflation_finds_what_plain_starts_missed() {
        let shape = Shape::flipped(0.0, 4.0, 0);
        let all = search(&shape, &Search { starts: 3000, quiet: 0, seed: 1 }, &|_| true).unwrap();
        let few = Search { starts: 1, quiet: 0, seed: 1 };
        assert!(all.roots.len() > 1);
        assert_eq!(search(&shape, &few, &|_| true).unwrap().roots.len(), 1);
        let deflated = search(&shape, &Search { quiet: 300, ..few }, &|_| true).unwrap();
        assert!(deflated.roots.len() >= all.roots.len() && deflated.deflated_roots >= all.roots.len() - 1);
        for root in entries(&all) {
            let found = |other: &Vec<f64>| other.iter().zip(&root).all(|(x, y)| (x - y).abs() < 1e-8);
            assert!(entries(&deflated).iter().any(found), "{root:?}");
        }
    }

    /// Two students on one teacher: the exact solutions form a valley, which counts as one root.
    #[test]
    fn valleys_are_merged() {
        let shape = Shape { matched: vec![0, 0], ..Shape::flipped(0.0, 3.0, 0) };
        let roots = search(&shape, &Search { starts: 500, quiet: 50, seed: 1 }, &|_| true).unwrap();
        let zero: Vec<&Found> = roots.roots.iter().filter(|root| root.point.loss < 1e-12).collect();
        assert_eq!(zero.len(), 1, "{:?}", entries(&roots));
        assert!(!zero[0].isolated && zero[0].hits > 1 && zero[0].point.verdict == Verdict::GlobalMinimum);
    }

    #[test]
    fn a_search_can_be_stopped() {
        let shape = Shape::flipped(1.0, 8.0, 0);
        let stopped = search(&shape, &Search::default(), &|done| done < 300);
        assert!(matches!(stopped, Err(Error::Interrupted { done: 512, total: 10_000, .. })));
    }
}
