//! Noise on a fixed point, then discrete descent: the measured return beside what the Hessian predicts.

use rand::Rng;
use rayon::prelude::*;

use super::published::Perturbation;
use crate::error::Result;
use crate::landscape::reduced::Shape;
use crate::landscape::{Point, known, settle};
use crate::model::{Blocks, Teacher, Weights};
use crate::numerics::{random, tolerance};
use crate::population::Field;
use crate::report::{Report, Table, Value};

/// Standard deviations of the noise on each weight.
const NOISE: [f64; 5] = [1e-5, 1e-4, 1e-3, 1e-2, 3e-2];
/// Draws for each.
const DRAWS: u64 = 20;
/// Distance below which the publication calls it a return.
const RETURN: f64 = 1e-3;

/// Adds the table `perturbation`: d = M, the families k1 = 1..4 with K = M and those beside an extra student with K = M + 1.
pub fn add(report: &mut Report, experiment: &Perturbation, seed: u64) -> Result<()> {
    let mut table = Table::new(
        "perturbation",
        &[
            ("students", "", "K"),
            ("family", "", "family of the fixed point"),
            ("verdict", "", "what its Hessian says"),
            ("min_eigenvalue", "", "smallest Hessian eigenvalue"),
            ("noise", "", "standard deviation sigma of the noise on each weight"),
            ("start", "", "mean Euclidean distance from the fixed point at the start"),
            ("end", "", "mean distance after the steps"),
            (
                "predicted",
                "",
                "sigma (sum over eigenvalues of (1 - step eigenvalue)^(2 steps))^(1/2): linear, root mean square",
            ),
            ("near", "%", "draws that end within 1e-3"),
            ("steps_needed", "", "steps to 1e-3 at the slowest rate; missing where an eigenvalue is not positive"),
            ("returns", "%", "draws that gradient flow then leads back to the fixed point, up to relabelling"),
        ],
    );
    let m = experiment.teachers as f64;
    let mut states: Vec<(Shape, Blocks)> = Vec::new();
    for k1 in 1..=4 {
        states.push(known::flipped(f64::from(k1), m)?);
    }
    for n in 2..=5 {
        states.push(known::with_extra(f64::from(n), m)?);
    }
    states.push(known::opposed(1.0, m)?);
    for (number, (_, state)) in states.into_iter().enumerate() {
        let (weights, teacher) = state.expand()?;
        let point = Point::new(&weights, &teacher, 0)?;
        for (level, noise) in NOISE.into_iter().enumerate() {
            let path = |draw: u64| [random::purpose::START, number as u64, level as u64, draw];
            let draws = (0..DRAWS).into_par_iter();
            let outcomes: Vec<Outcome> = draws
                .map(|draw| perturbed(experiment, &point, &teacher, noise, seed, &path(draw)))
                .collect::<Result<_>>()?;
            table.push(row(experiment, &point, noise, &outcomes));
        }
    }
    report.results.insert(table.name.clone(), table.to_json());
    report.tables.push(table);
    Ok(())
}

/// Distances before and after, and whether the flow returns.
struct Outcome {
    start: f64,
    end: f64,
    returns: bool,
}

fn perturbed(
    experiment: &Perturbation,
    point: &Point,
    teacher: &Teacher,
    noise: f64,
    seed: u64,
    path: &[u64],
) -> Result<Outcome> {
    let mut rng = random::stream(seed, path);
    let origin: Vec<f64> = point.weights.rows().iter().copied().collect();
    let mut w: Vec<f64> = origin.iter().map(|x| x + noise * rng.sample::<f64, _>(rand_distr::StandardNormal)).collect();
    let distance = |w: &[f64]| w.iter().zip(&origin).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    let start = distance(&w);
    let mut field = Field::new(&point.weights, teacher, 0);
    let mut gradient = vec![0.0; w.len()];
    for _ in 0..experiment.steps {
        field.gradient(&w, &mut gradient);
        w.iter_mut().zip(&gradient).for_each(|(w, g)| *w -= experiment.step * g);
    }
    let end = distance(&w);
    let rows = ndarray::Array2::from_shape_vec(point.weights.rows().dim(), w).unwrap_or_default();
    let returns = settle(&Weights::new(rows, None, teacher)?, teacher, 0).is_ok_and(|settled| {
        let canonical = crate::model::symmetry::Canonical::new(&settled.weights.overlaps(teacher), teacher, 0);
        canonical.distance(&point.canonical) < tolerance::SAME_POINT
    });
    Ok(Outcome { start, end, returns })
}

fn row(experiment: &Perturbation, point: &Point, noise: f64, outcomes: &[Outcome]) -> Vec<Value> {
    let mean = |pick: fn(&Outcome) -> f64| outcomes.iter().map(pick).sum::<f64>() / outcomes.len() as f64;
    let share = |pick: &dyn Fn(&Outcome) -> bool| {
        100.0 * outcomes.iter().filter(|outcome| pick(outcome)).count() as f64 / outcomes.len() as f64
    };
    let factor = |value: f64| (1.0 - experiment.step * value).powi(2 * experiment.steps as i32);
    let total: f64 = point.spectrum.span.iter().map(|level| level.multiplicity as f64 * factor(level.value)).sum();
    let slowest = point.spectrum.min_span();
    let start = mean(|outcome| outcome.start);
    let needed = if slowest > 0.0 {
        ((start / RETURN).ln().max(0.0) / -(1.0 - experiment.step * slowest).ln()).into()
    } else {
        Value::Missing("not a strict minimum".into())
    };
    vec![
        point.weights.students().into(),
        point.family.name.clone().into(),
        point.verdict.name().into(),
        slowest.into(),
        noise.into(),
        start.into(),
        mean(|outcome| outcome.end).into(),
        (noise * total.sqrt()).into(),
        share(&|outcome| outcome.end < RETURN).into(),
        needed,
        share(&|outcome| outcome.returns).into(),
    ]
}
