//! Discrete descent stopped early: how the shares depend on the number of steps.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use rayon::prelude::*;

use super::published::{BAD, RunLength};
use crate::error::{Error, Result};
use crate::landscape::family::is_anti_aligned;
use crate::model::{InitialLaw, Teacher, Weights};
use crate::numerics::statistics::clopper_pearson;
use crate::population::{Field, risk};
use crate::report::{Report, Table};

/// Most runs at each size: the longest take a fifth of a second each.
const RUNS: u64 = 400;
/// The input dimension beside d = M.
const WIDE: usize = 1000;

/// Adds the table `run_length`: shares of the classes after each number of steps, for the starts of the columns.
pub fn add(
    report: &mut Report,
    lengths: &RunLength,
    runs: Option<u64>,
    seed: u64,
    progress: &(dyn Fn(&str, usize, usize, usize) -> bool + Sync),
) -> Result<()> {
    let mut table = Table::new(
        "run_length",
        &[
            ("students", "", "K"),
            ("d", "", "input dimension"),
            ("steps", "", "steps of gradient descent"),
            ("time", "", "step size times steps"),
            ("class", "", "global below a loss of 1e-3, else anti-aligned units; the state at the stop, not polished"),
            ("hits", "runs", "runs in the class"),
            ("runs", "runs", "runs"),
            ("share", "%", "share of the class"),
            ("low", "%", "lower end of its 95 % Clopper-Pearson interval"),
            ("high", "%", "upper end"),
            ("gradient", "", "median Euclidean norm of the gradient of the runs in the class"),
        ],
    );
    let teacher = Teacher::orthonormal(lengths.teachers)?;
    let runs = runs.unwrap_or(RUNS).min(RUNS);
    for &students in &lengths.students {
        for dimension in [lengths.teachers, WIDE] {
            let law = InitialLaw::new(dimension, 1.0, &teacher)?;
            let stages = stopped(lengths, students, &teacher, &law, seed, runs, progress)?;
            for (&steps, classes) in lengths.steps.iter().zip(stages) {
                for (class, mut gradients) in classes {
                    gradients.sort_by(f64::total_cmp);
                    let (low, high) = clopper_pearson(gradients.len(), runs as usize, 0.95);
                    table.push(vec![
                        students.into(),
                        dimension.into(),
                        (steps as usize).into(),
                        (lengths.step * steps as f64).into(),
                        class.into(),
                        gradients.len().into(),
                        (runs as usize).into(),
                        (100.0 * gradients.len() as f64 / runs as f64).into(),
                        (100.0 * low).into(),
                        (100.0 * high).into(),
                        gradients[gradients.len() / 2].into(),
                    ]);
                }
            }
        }
    }
    report.results.insert(table.name.clone(), table.to_json());
    report.tables.push(table);
    Ok(())
}

/// Gradient norms by class after each number of steps.
type Stages = Vec<BTreeMap<String, Vec<f64>>>;

fn stopped(
    lengths: &RunLength,
    students: usize,
    teacher: &Teacher,
    law: &InitialLaw,
    seed: u64,
    runs: u64,
    progress: &(dyn Fn(&str, usize, usize, usize) -> bool + Sync),
) -> Result<Stages> {
    let label = format!("descent stopped early, K = {students}, d = {}", law.dimension);
    let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let lock = Mutex::new(());
    let numbers: Vec<u64> = (0..runs).collect();
    let outcomes: Vec<Option<Vec<(String, f64)>>> = numbers
        .into_par_iter()
        .with_max_len(1)
        .map(|run| {
            if stop.load(Relaxed) {
                return Ok(None);
            }
            let stages = descend(lengths, law.draw(students, teacher, seed, run)?, teacher)?;
            let finished = done.fetch_add(1, Relaxed) + 1;
            if let Ok(_one_at_a_time) = lock.lock()
                && !progress(&label, finished, runs as usize, 0)
            {
                stop.store(true, Relaxed);
            }
            Ok(Some(stages))
        })
        .collect::<Result<_>>()?;
    if outcomes.iter().any(Option::is_none) {
        let resume = "this table is not kept; the columns are, with --db".into();
        return Err(Error::Interrupted { done: done.into_inner(), total: runs as usize, resume });
    }
    let mut out: Stages = vec![BTreeMap::new(); lengths.steps.len()];
    for stages in outcomes.into_iter().flatten() {
        for (stage, (class, gradient)) in out.iter_mut().zip(stages) {
            stage.entry(class).or_default().push(gradient);
        }
    }
    Ok(out)
}

/// Class and gradient norm of one run after each number of steps.
fn descend(lengths: &RunLength, start: Weights, teacher: &Teacher) -> Result<Vec<(String, f64)>> {
    let mut field = Field::new(&start, teacher, 0);
    let shape = start.rows().dim();
    let mut w: Vec<f64> = start.rows().iter().copied().collect();
    let mut gradient = vec![0.0; w.len()];
    let mut out = Vec::new();
    let mut step = 0;
    for &until in &lengths.steps {
        while step < until {
            field.gradient(&w, &mut gradient);
            w.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= lengths.step * g);
            step += 1;
        }
        field.gradient(&w, &mut gradient);
        let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        let rows = ndarray::Array2::from_shape_vec(shape, w.clone()).unwrap_or_default();
        let weights = Weights::new(rows, None, teacher)?;
        let class = if risk(&weights, teacher, 0) < BAD {
            "global".into()
        } else {
            let overlaps = weights.overlaps(teacher);
            format!("k1 = {}", (0..shape.0).filter(|&i| is_anti_aligned(&overlaps, teacher, i)).count())
        };
        out.push((class, norm));
    }
    Ok(out)
}
