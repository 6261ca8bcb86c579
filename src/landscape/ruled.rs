//! From a start to a verified critical point under any deterministic training rule (theory 10).

use ndarray::{Array1, Array2, Axis, s};
use serde::{Deserialize, Serialize};

use super::fixed_point::{
    Ending, LONGEST_STEP, STOPS, Settled, matrix, moved, norm, polish, reduce, settle, within_span,
};
use super::stability::{Index, is_zero};
use super::zero::nearest_zero;
use crate::dynamics::{Descent, Stopped, balance, descend};
use crate::error::{Error, Result};
use crate::model::{Constraint, Normalisation, Teacher, Training, TwoLayer, WeightDecay, Weights};
use crate::numerics::linalg::{self, Cholesky, Lu, max_abs};
use crate::numerics::tolerance;
use crate::population::{
    Field, constrained_gradient, constrained_hessian, one_sided, risk, risk_exact, two_layer_gradient,
    two_layer_hessian,
};

/// What only some rules have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Where descent with a finite step stopped, before the point was made exact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
    /// Sign of det(W V^T) at the start and at the end, for orthonormal students that fill the space: the two components of
    /// the orthogonal group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<(i8, i8)>,
    /// Smallest readout, with its sign, when readouts are trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_readout: Option<f64>,
}

/// Trains by the rule from a start and finishes at the critical point it leads to. Descent with a finite step stops where
/// the rule says, and the flow of the same function goes on from there.
///
/// # Errors
/// [`Error::NotConverged`] with the last gradient when the budget ends first, [`Error::NonFinite`]; [`Error::Spec`] for SGD,
/// which has no critical points of the loss.
pub fn settle_by_rule(rule: Training, start: &Weights, teacher: &Teacher, task: usize) -> Result<Settled> {
    match rule {
        Training::GradientFlow => settle(start, teacher, task),
        Training::TwoLayer(two) => settle_two_layer(two, start, teacher, task),
        Training::Descent(steps) => {
            let (end, stopped) = descend(start, teacher, task, &steps)?;
            let flow = match (steps.then, steps.weight_decay) {
                (Normalisation::None, 0.0) => Training::GradientFlow,
                (Normalisation::None, gamma) => Training::WeightDecay(WeightDecay { gamma }),
                (Normalisation::Sphere, _) => Training::Sphere,
                (Normalisation::Stiefel | Normalisation::GramSchmidt, _) => Training::Stiefel,
            };
            let mut settled = settle_by_rule(flow, &end, teacher, task)?;
            settled.details.stopped = Some(stopped);
            if let Some(components) = &mut settled.details.components {
                components.0 = component(&start_on(rule.constraint(), start)?, teacher).unwrap_or(components.0);
            }
            Ok(settled)
        }
        Training::Sgd(_) => Err(Error::Spec {
            action: "settle a run",
            problem: "SGD at a finite learning rate does not rest at critical points of the loss".into(),
        }),
        _ => settle_constrained(rule, start, teacher, task),
    }
}

fn start_on(constraint: Constraint, start: &Weights) -> Result<Weights> {
    let mut rows = start.rows().clone();
    constraint.retract(&mut rows)?;
    Ok(start.with_rows(rows))
}

/// Gradients after which a flow is left to [`degenerate`]: a flow that has not settled by then creeps along a direction of
/// almost no curvature (median 600 to 1500 at K = 17 to 19, M = 17).
const PATIENCE: usize = 200_000;

/// Flow on the constraint, or of the loss with weight decay, finished by Newton on it.
fn settle_constrained(rule: Training, start: &Weights, teacher: &Teacher, task: usize) -> Result<Settled> {
    let mut descent = Descent::by(rule, start, teacher, task)?;
    let first = component(&descent.weights(start), teacher);
    for stop in STOPS {
        let reached = descent.until(stop, PATIENCE)?;
        let end = descent.weights(start);
        let reduced = reduce_by_rule(rule, &end, teacher, task)?;
        let found = match polish_by_rule(rule, &reduced, teacher, task)? {
            Some((weights, residual)) => Some((weights, residual, Ending::Newton)),
            None if !reached || stop == STOPS[STOPS.len() - 1] => degenerate(rule, &reduced, teacher, task)?,
            None => None,
        };
        if let Some((weights, residual, ending)) = found {
            let last = component(&weights, teacher);
            return Ok(Settled {
                residual,
                ending,
                gradient_norm: descent.gradient_norm(),
                time: descent.time(),
                evaluations: descent.evaluations(),
                moved: moved(&end, &weights),
                details: Details {
                    components: first.zip(last).filter(|_| rule == Training::Stiefel),
                    ..Details::default()
                },
                weights,
            });
        }
        if !reached {
            break;
        }
    }
    Err(not_converged(&descent))
}

fn not_converged(descent: &Descent) -> Error {
    Error::NotConverged {
        action: "settle a run",
        residual: descent.gradient_norm(),
        iterations: descent.evaluations(),
        needs: STOPS[STOPS.len() - 1],
    }
}

/// Sign of det(W V^T) when students and teachers fill the same space.
fn component(weights: &Weights, teacher: &Teacher) -> Option<i8> {
    let (k, d) = weights.rows().dim();
    if k != d || d != teacher.units() || teacher.rank() != d {
        return None;
    }
    let overlaps = weights.rows().dot(&teacher.vectors().t());
    Lu::new(overlaps.view()).ok().map(|factors| if factors.sign() > 0.0 { 1 } else { -1 })
}

/// Turns the directions across the teacher to principal axes and drops those with little weight, when all of them decay.
fn reduce_by_rule(rule: Training, weights: &Weights, teacher: &Teacher, task: usize) -> Result<Weights> {
    let r = teacher.rank();
    let rows = weights.rows();
    if weights.coordinates() == r {
        return Ok(weights.clone());
    }
    let across = rows.slice(s![.., r..]);
    let (values, vectors) = linalg::eigh(across.t().dot(&across).view())?;
    let cut = (LONGEST_STEP * norm(rows)).powi(2);
    let little: f64 = values.iter().take_while(|&&value| value < cut).sum();
    let kept = values.iter().filter(|&&value| value >= cut).count();
    let mut turned = rows.clone();
    turned.slice_mut(s![.., r..]).assign(&across.dot(&vectors.slice(s![.., ..;-1])));
    let all = weights.with_rows(turned.clone());
    if little > cut {
        return Ok(all);
    }
    let mut rows = turned.slice(s![.., ..r + kept]).to_owned();
    if rule.constraint() == Constraint::Stiefel && rows.ncols() < rows.nrows() {
        return Ok(all);
    }
    rule.constraint().retract(&mut rows)?;
    let fewer = weights.with_rows(rows);
    let (constraint, decay) = (rule.constraint(), rule.weight_decay());
    let mut field = Field::new(&fewer, teacher, task);
    let gradient = field.gradient_at(fewer.rows().view());
    let multipliers = constraint.multipliers(fewer.rows().view(), gradient.view());
    let mut block = crate::population::coefficients(&fewer, teacher, task).a - multipliers;
    block.diag_mut().iter_mut().for_each(|x| *x += decay);
    // Turning an occupied direction into a further one costs nothing: those are no obstacle.
    let occupied = fewer.rows().slice(s![.., r..]);
    block += &occupied.dot(&occupied.t());
    Ok(if Cholesky::new(block.view()).is_some() { fewer } else { all })
}

/// Newton's method to a minimum of the rule's function on its constraint, as [`polish`] does without constraint; rotations
/// of the directions across the teacher, which change nothing, are held.
///
/// # Errors
/// [`Error::Memory`] when the Hessian does not fit.
pub fn polish_by_rule(
    rule: Training,
    weights: &Weights,
    teacher: &Teacher,
    task: usize,
) -> Result<Option<(Weights, f64)>> {
    let (constraint, decay) = (rule.constraint(), rule.weight_decay());
    let value = |w: &Weights| risk(w, teacher, task) + 0.5 * decay * norm(w.rows()).powi(2);
    let size = norm(weights.rows());
    let mut w = weights.clone();
    let mut field = Field::new(weights, teacher, task);
    let mut gradient = constrained_gradient(&mut field, w.rows(), constraint, decay);
    let mut residual = max_abs(&gradient);
    let mut predicted = 0.0;
    let mut solver: Option<Tangent> = None;
    for iteration in 0..60 {
        if residual <= 0.1 * tolerance::RESIDUAL {
            break;
        }
        if solver.is_none() {
            solver = Tangent::new(&w, teacher, task, constraint, decay)?;
        }
        let Some(tangent) = &solver else { return Ok(None) };
        let step = tangent.solve(&gradient);
        if !(norm(&step) <= LONGEST_STEP * size) {
            return Ok(None);
        }
        if iteration == 0 {
            predicted = 0.5 * (&gradient * &step).sum();
        }
        let mut rows = w.rows() - &step;
        constraint.retract(&mut rows)?;
        let trial_gradient = constrained_gradient(&mut field, &rows, constraint, decay);
        let trial_residual = max_abs(&trial_gradient);
        if trial_residual >= residual && residual <= tolerance::RESIDUAL {
            break;
        }
        if !(trial_residual < 0.2 * residual) {
            solver = None;
            if !(trial_residual < 10.0 * residual) {
                return Ok(None);
            }
        }
        (w, gradient, residual) = (w.with_rows(rows), trial_gradient, trial_residual);
    }
    if !(residual <= tolerance::RESIDUAL) {
        return Ok(None);
    }
    let fall = value(weights) - value(&w);
    let noise = 1e-14;
    let quadratic = (fall - predicted).abs() <= 0.5 * predicted + noise;
    Ok((quadratic && moved(weights, &w) <= LONGEST_STEP * size).then_some((w, residual)))
}

/// Newton's method by the pseudo-inverse, where the Hessian is not positive definite or hardly so: a point that is verified
/// by its residual and by the distance to the flow's end, and judged by its spectrum.
fn degenerate(
    rule: Training,
    weights: &Weights,
    teacher: &Teacher,
    task: usize,
) -> Result<Option<(Weights, f64, Ending)>> {
    let found = newton(rule, weights, teacher, task)?;
    let near = found.filter(|(w, _)| moved(weights, w) <= LONGEST_STEP * norm(weights.rows()));
    Ok(near.map(|(w, residual)| (w, residual, Ending::PseudoInverse)))
}

/// The critical point under a rule to which Newton's method leads from these weights, put on the rule's constraint first,
/// whatever its index, and its Euclidean distance from them. Symmetries of the start are kept. `None` when it does not arrive.
///
/// # Errors
/// Those of the constraint and of the Hessian.
pub fn critical_by_rule(
    rule: Training,
    start: &Weights,
    teacher: &Teacher,
    task: usize,
) -> Result<Option<(Weights, f64)>> {
    let on = start_on(rule.constraint(), start)?;
    let found = newton(rule, &on, teacher, task)?.map(|(weights, _)| weights);
    Ok(found.map(|weights| (weights.clone(), moved(start, &weights))))
}

/// Newton's method by the pseudo-inverse, with steps halved until the gradient falls: the point and its residual.
fn newton(rule: Training, weights: &Weights, teacher: &Teacher, task: usize) -> Result<Option<(Weights, f64)>> {
    let (constraint, decay) = (rule.constraint(), rule.weight_decay());
    let mut w = weights.clone();
    let mut field = Field::new(weights, teacher, task);
    for _ in 0..40 {
        let gradient = constrained_gradient(&mut field, w.rows(), constraint, decay);
        let residual = max_abs(&gradient);
        if residual <= tolerance::RESIDUAL {
            return Ok(Some((w, residual)));
        }
        let (hessian, basis) = constrained_hessian(&w, teacher, task, constraint, decay)?;
        if hessian.units.len() < w.students() {
            return Ok(None);
        }
        let (values, vectors) = linalg::eigh(hessian.span.view())?;
        let floor = tolerance::ZERO_MODE * max_abs(&values);
        let flat = Array1::from_iter(gradient);
        let tangent = basis.as_ref().map_or(flat.clone(), |basis| basis.t().dot(&flat));
        let mut along = vectors.t().dot(&tangent);
        along.zip_mut_with(&values, |x, value| *x = if value.abs() > floor { *x / value } else { 0.0 });
        let step = vectors.dot(&along);
        let step = matrix(&basis.map_or(step.clone(), |basis| basis.dot(&step)).to_vec(), w.rows().dim());
        // Halved until the gradient falls.
        let mut scale = 1.0;
        loop {
            let mut rows = w.rows() - &(&step * scale);
            constraint.retract(&mut rows)?;
            let trial = max_abs(&constrained_gradient(&mut field, &rows, constraint, decay));
            if trial < residual || scale < 1e-3 {
                w = w.with_rows(rows);
                break;
            }
            scale *= 0.5;
        }
    }
    Ok(None)
}

/// The Hessian on the tangent space, factorised; rotations across the teacher are given curvature 1.
struct Tangent {
    basis: Option<Array2<f64>>,
    factor: Cholesky,
    shape: (usize, usize),
}

impl Tangent {
    /// `None` when the Hessian is not positive definite.
    fn new(
        weights: &Weights,
        teacher: &Teacher,
        task: usize,
        constraint: Constraint,
        decay: f64,
    ) -> Result<Option<Tangent>> {
        let (hessian, basis) = constrained_hessian(weights, teacher, task, constraint, decay)?;
        if hessian.units.len() < weights.students() {
            return Ok(None);
        }
        let mut matrix = hessian.span;
        let (k, d) = weights.rows().dim();
        for p in teacher.rank()..d {
            for q in p + 1..d {
                let mut turn = Array1::zeros(k * d);
                for i in 0..k {
                    turn[i * d + p] = weights.rows()[[i, q]];
                    turn[i * d + q] = -weights.rows()[[i, p]];
                }
                let turn = basis.as_ref().map_or(turn.clone(), |basis| basis.t().dot(&turn));
                let squared = turn.dot(&turn);
                if squared > 0.0 {
                    let column = turn.insert_axis(Axis(1));
                    matrix.scaled_add(1.0 / squared, &column.dot(&column.t()));
                }
            }
        }
        Ok(Cholesky::new(matrix.view()).map(|factor| Tangent { basis, factor, shape: (k, d) }))
    }

    fn solve(&self, gradient: &Array2<f64>) -> Array2<f64> {
        let flat = Array1::from_iter(gradient.iter().copied());
        let mut along = self.basis.as_ref().map_or(flat.clone(), |basis| basis.t().dot(&flat)).to_vec();
        self.factor.solve(&mut along);
        let along = Array1::from_vec(along);
        let step = self.basis.as_ref().map_or(along.clone(), |basis| basis.dot(&along));
        matrix(&step.to_vec(), self.shape)
    }
}

/// The same function with readouts of size 1: rows |a_i| w_i, readouts sign(a_i) (theory 10, eq. 10-equivalent).
pub fn equivalent(weights: &Weights, task: usize) -> Weights {
    let a = weights.readouts().row(task);
    let mut rows = weights.rows().clone();
    for (mut row, a) in rows.outer_iter_mut().zip(a) {
        row *= a.abs();
    }
    let signs: Vec<f64> = a.iter().map(|&a| if a < 0.0 { -1.0 } else { 1.0 }).collect();
    weights.with_readouts(rows, task, &signs)
}

/// A unit whose |a_i| |w_i| is below this has left the network: the flow drives it to 0, where the loss has no second
/// derivative by the equivalent row.
const SILENT: f64 = 1e-3;

/// The critical point of one layer near these weights with readouts of size 1: an exact zero, or Newton's. Silent units are
/// set to zero first and must have no descending slope there.
fn one_layer(weights: &Weights, teacher: &Teacher, task: usize) -> Result<Option<(Weights, Ending)>> {
    let finish = |state: &Weights| -> Result<Option<(Weights, Ending)>> {
        Ok(match nearest_zero(state, teacher, task) {
            Some((zero, _)) => Some((within_span(&zero, teacher), Ending::ExactZero)),
            None => polish(&reduce(state, teacher, task), teacher, task)?.map(|(point, _)| (point, Ending::Newton)),
        })
    };
    let k = weights.students();
    let live: Vec<usize> =
        (0..k).filter(|&i| weights.rows().row(i).dot(&weights.rows().row(i)) > SILENT * SILENT).collect();
    if live.len() == k {
        return finish(weights);
    }
    if live.is_empty() {
        return Ok(None);
    }
    let readouts = weights.readouts().select(Axis(1), &live);
    let fewer = Weights::new(weights.rows().select(Axis(0), &live), Some(readouts), teacher)?;
    let Some((point, ending)) = finish(&fewer)? else { return Ok(None) };
    let mut rows = Array2::zeros((k, point.coordinates()));
    live.iter().zip(point.rows().outer_iter()).for_each(|(&i, row)| rows.row_mut(i).assign(&row));
    let whole = weights.with_rows(rows);
    let rests = one_sided(&whole, teacher, task)?.iter().all(|side| side.slope >= -1e-10);
    Ok(rests.then_some((whole, ending)))
}

/// Flow of both layers, finished by Newton for the equivalent one-layer point, which is then scaled back along the
/// quantities that the flow conserves.
fn settle_two_layer(two: TwoLayer, start: &Weights, teacher: &Teacher, task: usize) -> Result<Settled> {
    let mut descent = Descent::by(Training::TwoLayer(two), start, teacher, task)?;
    for stop in STOPS {
        let reached = descent.until(stop, PATIENCE)?;
        let end = descent.weights(start);
        if let Some((point, ending)) = one_layer(&equivalent(&end, task), teacher, task)? {
            let weights = scaled_back(&point, &end, two, task);
            let residual = two_layer_residual(&weights, teacher, task);
            // Rows and readouts of unequal size scale the one-layer residual. Above this a silent unit is still moving.
            if !(residual <= 10.0 * tolerance::RESIDUAL) {
                continue;
            }
            return Ok(Settled {
                residual,
                ending,
                gradient_norm: descent.gradient_norm(),
                time: descent.time(),
                evaluations: descent.evaluations(),
                moved: moved(&end, &weights),
                details: Details {
                    least_readout: weights.readouts().row(task).iter().copied().reduce(f64::min),
                    ..Details::default()
                },
                weights,
            });
        }
        if !reached {
            break;
        }
    }
    Err(not_converged(&descent))
}

/// Weights and readouts with the products of a one-layer point and the conserved quantities of a state.
fn scaled_back(point: &Weights, state: &Weights, two: TwoLayer, task: usize) -> Weights {
    let mut rows = point.rows().clone();
    let mut readouts = state.readouts().row(task).to_vec();
    for (i, a) in readouts.iter_mut().enumerate() {
        let (w, old) = (state.rows().row(i), rows.row(i).to_owned());
        let conserved = *a * *a - two.readout_rate * w.dot(&w);
        let product = old.dot(&old).sqrt();
        let (length, readout) = balance(product, conserved, two.readout_rate);
        let direction = if product > 0.0 { old / product } else { w.slice(s![..rows.ncols()]).to_owned() };
        let norm = direction.dot(&direction).sqrt();
        rows.row_mut(i).assign(&(direction * if norm > 0.0 { length / norm } else { 0.0 }));
        *a = readout.copysign(point.readouts()[[task, i]]);
    }
    point.with_readouts(rows, task, &readouts)
}

/// Largest entry of the gradient by both layers.
fn two_layer_residual(weights: &Weights, teacher: &Teacher, task: usize) -> f64 {
    let flat: Vec<f64> = weights.rows().iter().copied().collect();
    let a = weights.readouts().row(task).to_vec();
    let (mut by_w, mut by_a) = (vec![0.0; flat.len()], vec![0.0; a.len()]);
    two_layer_gradient(&mut Field::new(weights, teacher, task), &flat, &a, &mut by_w, &mut by_a);
    max_abs(&by_w).max(max_abs(&by_a))
}

/// A critical point of both layers.
#[derive(Clone, Debug)]
pub struct TwoLayerPoint {
    /// Eigenvalues of the Hessian by (W, a) inside span(W, V), ascending.
    pub eigenvalues: Vec<f64>,
    pub index: Index,
    /// Zero modes expected: one rescaling for each unit with norm, and those of the one-layer point.
    pub expected_neutral: usize,
    /// Eigenvalues across the span, once per further dimension, ascending.
    pub transverse: Vec<f64>,
    /// Largest gradient entry by both layers.
    pub residual: f64,
    pub least_readout: f64,
    /// Units with a_i < 0.
    pub negative: usize,
    /// Units with a_i = 0, which add nothing at any w_i.
    pub silent: usize,
    /// Units of norm zero.
    pub dead: usize,
}

impl TwoLayerPoint {
    /// Analyses trained weights with their readouts; `one_layer_neutral` zero modes belong to the equivalent point.
    ///
    /// # Errors
    /// Those of the Hessian and its eigenvalues.
    pub fn new(weights: &Weights, teacher: &Teacher, task: usize, one_layer_neutral: usize) -> Result<TwoLayerPoint> {
        let hessian = two_layer_hessian(weights, teacher, task)?;
        let eigenvalues = linalg::eigvalsh(hessian.span.view())?.to_vec();
        let a = weights.readouts().row(task);
        let live = hessian.units.len();
        let silent = a.iter().filter(|&&a| a == 0.0).count();
        let off = hessian.units.iter().filter(|&&i| a[i] == 0.0).count();
        let at_zero = is_zero(risk_exact(weights, teacher, task), teacher);
        Ok(TwoLayerPoint {
            index: Index::of(&eigenvalues),
            eigenvalues,
            // A silent unit adds nothing at any w_i: D zero modes where the error is zero. Elsewhere E[e g' x] couples w_i and
            // a_i: one eigenvalue of each sign, D - 1 zero modes.
            expected_neutral: live - off + one_layer_neutral + off * (weights.coordinates() - usize::from(!at_zero)),
            transverse: linalg::eigvalsh(hessian.transverse.view())?.to_vec(),
            residual: two_layer_residual(weights, teacher, task),
            least_readout: a.iter().copied().fold(f64::INFINITY, f64::min),
            negative: a.iter().filter(|&&a| a < 0.0).count(),
            silent,
            dead: weights.students() - live,
        })
    }
}
