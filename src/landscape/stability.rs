//! Spectrum and verdict of a critical point, for any input dimension.

use ndarray::{Array2, s};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Activation, Constraint, Teacher, Training, Weights};
use crate::numerics::{linalg, tolerance};
use crate::population::{constrained_hessian, one_sided};

/// A loss below this, relative to the teacher's sum |v|^2, is an exact zero (what rounding of the weights leaves).
const ZERO_LOSS: f64 = 1e-24;

/// Whether a loss is zero up to the rounding of the weights.
pub fn is_zero(loss: f64, teacher: &Teacher) -> bool {
    loss <= ZERO_LOSS * teacher.gram().diag().sum()
}

/// What a critical point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// L = 0: nothing can be lower.
    GlobalMinimum,
    /// No negative eigenvalue, and no zero mode that symmetry does not explain.
    LocalMinimum,
    /// At least one negative eigenvalue, or a descent direction at a zero unit.
    Saddle,
    /// Zero modes that symmetry does not explain: second order does not decide.
    Degenerate,
}

impl Verdict {
    /// Text for tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::GlobalMinimum => "global minimum",
            Verdict::LocalMinimum => "local minimum",
            Verdict::Saddle => "saddle",
            Verdict::Degenerate => "degenerate",
        }
    }
}

/// An eigenvalue with its multiplicity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub value: f64,
    pub multiplicity: usize,
}

/// Numbers of negative, zero and positive eigenvalues.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    pub unstable: usize,
    pub neutral: usize,
    pub stable: usize,
}

impl Index {
    /// Counts eigenvalues, those up to `cut` in size as zero.
    fn new(values: &[f64], cut: f64) -> Index {
        Index {
            unstable: values.iter().filter(|&&x| x < -cut).count(),
            neutral: values.iter().filter(|x| x.abs() <= cut).count(),
            stable: values.iter().filter(|&&x| x > cut).count(),
        }
    }

    /// Counts eigenvalues of one symmetric matrix; zero is told by the gap rule.
    pub(super) fn of(values: &[f64]) -> Index {
        let scale = linalg::max_abs(values);
        Index::new(values, zero_gap(values.iter().copied(), scale, values.len()).0)
    }
}

/// Eigenvalues of the Hessian inside span(W, V) and, per further dimension, across it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// s = dim span(W, V).
    pub span_dimension: usize,
    /// Ascending; multiplicities sum to K s, or to the dimension of the tangent space on a constraint.
    pub span: Vec<Level>,
    /// Ascending, sum of multiplicities K; each counts (d - s) times in d dimensions.
    pub transverse: Vec<Level>,
    pub span_index: Index,
    pub transverse_index: Index,
    /// Largest |eigenvalue| called zero and smallest |eigenvalue| not called zero: the gap between them separates the
    /// zero modes. `None` when there are no zero modes.
    pub gap: Option<(f64, f64)>,
    /// Zero modes that symmetry predicts inside the span and across it.
    pub expected_neutral: (usize, usize),
}

impl Spectrum {
    /// Smallest eigenvalue inside the span (infinite when there is none).
    pub fn min_span(&self) -> f64 {
        self.span.first().map_or(f64::INFINITY, |level| level.value)
    }

    /// Smallest eigenvalue across the span.
    pub fn min_transverse(&self) -> f64 {
        self.transverse.first().map_or(f64::INFINITY, |level| level.value)
    }

    /// The full spectrum in d dimensions, ascending (d >= s).
    pub fn in_dimension(&self, d: usize) -> Vec<Level> {
        let extra = d.saturating_sub(self.span_dimension);
        let mut levels = self.span.clone();
        if extra > 0 {
            levels
                .extend(self.transverse.iter().map(|l| Level { value: l.value, multiplicity: l.multiplicity * extra }));
        }
        levels.sort_by(|x, y| x.value.total_cmp(&y.value));
        levels
    }
}

/// The state in the fewest coordinates: the teacher's r and the directions across it that carry weight, told from rounding
/// by the largest gap in the singular values.
pub fn reduce_to_span(weights: &Weights, teacher: &Teacher) -> Result<Weights> {
    let (r, d) = (teacher.rank(), weights.coordinates());
    if d == r {
        return Ok(weights.clone());
    }
    let rows = weights.rows();
    let across = rows.slice(s![.., r..]);
    let (values, vectors) = linalg::eigh(across.t().dot(&across).view())?;
    let size = linalg::max_abs(rows);
    let singular: Vec<f64> = values.iter().rev().map(|x| x.max(0.0).sqrt()).collect();
    let below = singular.iter().position(|&x| x < tolerance::TRANSVERSE * size).unwrap_or(singular.len());
    let mut reduced = Array2::zeros((rows.nrows(), r + below));
    reduced.slice_mut(s![.., ..r]).assign(&rows.slice(s![.., ..r]));
    for c in 0..below {
        let direction = vectors.column(vectors.ncols() - 1 - c);
        reduced.slice_mut(s![.., r + c]).assign(&across.dot(&direction));
    }
    Ok(weights.with_rows(reduced))
}

/// Spectrum and verdict of a critical point given in its fewest coordinates ([`reduce_to_span`]), with its exact loss, in
/// input dimension d (`None`: any d above the span's). When d is the span's dimension nothing lies across it, and the
/// transverse eigenvalues do not count for the verdict.
///
/// # Errors
/// [`crate::error::Error::Memory`], [`crate::error::Error::NonFinite`].
pub fn analyse(
    weights: &Weights,
    teacher: &Teacher,
    task: usize,
    loss: f64,
    dimension: Option<usize>,
) -> Result<(Spectrum, Verdict)> {
    analyse_by_rule(Training::GradientFlow, weights, teacher, task, loss, dimension)
}

/// As [`analyse`] with the Hessian of a rule on its constraint ([`constrained_hessian`]).
///
/// # Errors
/// As [`analyse`].
pub fn analyse_by_rule(
    rule: Training,
    weights: &Weights,
    teacher: &Teacher,
    task: usize,
    loss: f64,
    dimension: Option<usize>,
) -> Result<(Spectrum, Verdict)> {
    let (constraint, decay) = (rule.constraint(), rule.weight_decay());
    let (hessian, _) = constrained_hessian(weights, teacher, task, constraint, decay)?;
    let span = linalg::eigvalsh(hessian.span.view())?.to_vec();
    let transverse = linalg::eigvalsh(hessian.transverse.view())?.to_vec();
    let scale: f64 = span.iter().chain(&transverse).fold(0.0, |m, x| x.abs().max(m));
    let is_zero_loss = is_zero(loss, teacher);
    let (cut, gap) = zero_gap(span.iter().chain(&transverse).copied(), scale, hessian.span.nrows());
    let (span_index, transverse_index) = (Index::new(&span, cut), Index::new(&transverse, cut));
    let expected_neutral = if constraint == Constraint::Free && decay == 0.0 {
        expected_zero_modes(weights, teacher, is_zero_loss)
    } else {
        // Held or decaying norms leave rotations only.
        let p = weights.coordinates() - teacher.rank();
        (p * p.saturating_sub(1) / 2, p)
    };
    let slope = one_sided(weights, teacher, task)?.iter().map(|side| side.slope).fold(f64::INFINITY, f64::min);
    let across = dimension.is_none_or(|d| d > weights.coordinates());
    let verdict = if is_zero_loss {
        Verdict::GlobalMinimum
    } else if span_index.unstable > 0 || (across && transverse_index.unstable > 0) || slope < -1e-10 {
        Verdict::Saddle
    } else if span_index.neutral == expected_neutral.0 && (!across || transverse_index.neutral == expected_neutral.1) {
        Verdict::LocalMinimum
    } else {
        Verdict::Degenerate
    };
    let spectrum = Spectrum {
        span_dimension: weights.coordinates(),
        span: levels(&span, scale),
        transverse: levels(&transverse, scale),
        span_index,
        transverse_index,
        gap,
        expected_neutral,
    };
    Ok((spectrum, verdict))
}

/// Largest |eigenvalue| to be called zero, and the gap above it: the widest ratio between neighbouring |eigenvalues|
/// whose lower end is below 1e-9 of the largest (rounding of n x n eigenvalues counts as the lowest).
fn zero_gap(values: impl Iterator<Item = f64>, scale: f64, n: usize) -> (f64, Option<(f64, f64)>) {
    let mut sizes: Vec<f64> = values.map(f64::abs).collect();
    sizes.sort_by(f64::total_cmp);
    let floor = f64::EPSILON * scale * (n as f64).sqrt();
    let mut best = (1.0, 0.0, None);
    for pair in sizes.windows(2) {
        if pair[0] > tolerance::ZERO_MODE * scale {
            break;
        }
        let ratio = pair[1].max(floor) / pair[0].max(floor);
        if ratio > best.0 {
            best = (ratio, pair[0], Some((pair[0], pair[1])));
        }
    }
    match sizes.first() {
        Some(&smallest) if smallest <= tolerance::ZERO_MODE * scale => (best.1.max(smallest), best.2),
        _ => (0.0, None),
    }
}

/// Zero modes that symmetry predicts (theory 05, eq. 05-zero-modes), inside the span and across it: rotations of the p
/// directions across the teacher among themselves and into further dimensions; shifting weight between parallel students;
/// at an exact zero also turning parallel students against each other (the cubic valley). Linear networks: all changes that
/// keep sum a w; erf: moving students that cancel each other (theory 11, eq. 11-zero-modes).
fn expected_zero_modes(weights: &Weights, teacher: &Teacher, is_zero_loss: bool) -> (usize, usize) {
    let s = weights.coordinates();
    let p = s - teacher.rank();
    match teacher.activation() {
        Activation::Linear => {
            let free = weights.students() - usize::from(weights.readouts().row(0).iter().any(|&a| a != 0.0));
            return (free * s, free);
        }
        Activation::Erf => {
            let paired = cancelling(weights);
            let pairs = paired.iter().filter(|&&x| x).count() / 2;
            let rest = rank_across(weights, teacher, &paired);
            return (pairs * s + rest * rest.saturating_sub(1) / 2 + rest * (p - rest), pairs + rest);
        }
        _ => {}
    }
    let parallel = parallel_surplus(weights);
    let valley = if is_zero_loss { parallel } else { 0 };
    (p * p.saturating_sub(1) / 2 + parallel + valley * (s - 1), p + valley)
}

/// Students that fall into disjoint pairs with opposite outputs for an odd activation, zero students not counted.
fn cancelling(weights: &Weights) -> Vec<bool> {
    let (rows, a) = (weights.rows(), weights.readouts().row(0));
    let size = linalg::max_abs(rows);
    let mut used = vec![false; rows.nrows()];
    for i in 0..rows.nrows() {
        for j in 0..i {
            let sign = if a[i] == a[j] { 1.0 } else { -1.0 };
            let close =
                rows.row(i).iter().zip(rows.row(j)).all(|(x, y)| (x + sign * y).abs() < tolerance::SAME_POINT * size);
            let alive = linalg::max_abs(rows.row(i)) > tolerance::SAME_POINT * size;
            if !used[i] && !used[j] && a[i].abs() == a[j].abs() && close && alive {
                (used[i], used[j]) = (true, true);
            }
        }
    }
    used
}

/// Rank of what the students not left out have across the teacher's span.
fn rank_across(weights: &Weights, teacher: &Teacher, left_out: &[bool]) -> usize {
    let rows = weights.rows();
    let across = Array2::from_shape_fn((rows.nrows(), rows.ncols() - teacher.rank()), |(i, c)| {
        if left_out[i] { 0.0 } else { rows[[i, teacher.rank() + c]] }
    });
    let least = (tolerance::TRANSVERSE * linalg::max_abs(rows)).powi(2);
    let values = linalg::eigvalsh(across.t().dot(&across).view());
    values.map_or(across.ncols(), |values| values.iter().filter(|&&x| x > least).count())
}

/// Number of students minus number of distinct directions, counting non-zero students whose readouts have one sign.
pub(super) fn parallel_surplus(weights: &Weights) -> usize {
    let mut directions: Vec<Vec<f64>> = Vec::new();
    let mut surplus = 0;
    for (row, a) in weights.rows().outer_iter().zip(weights.readouts().row(0)) {
        let norm = row.dot(&row).sqrt();
        if norm == 0.0 {
            continue;
        }
        let unit: Vec<f64> = row.iter().map(|x| x / norm).chain([a.signum()]).collect();
        if directions.iter().any(|known| known.iter().zip(&unit).all(|(x, y)| (x - y).abs() < tolerance::SAME_POINT)) {
            surplus += 1;
        } else {
            directions.push(unit);
        }
    }
    surplus
}

/// Merges ascending eigenvalues that agree to 1e-9 of the largest into their mean with a multiplicity.
fn levels(values: &[f64], scale: f64) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    let mut last = f64::NEG_INFINITY;
    for &value in values {
        match levels.last_mut() {
            Some(level) if value - last <= tolerance::MULTIPLICITY * scale => {
                let n = level.multiplicity as f64;
                level.value = (level.value * n + value) / (n + 1.0);
                level.multiplicity += 1;
            }
            _ => levels.push(Level { value, multiplicity: 1 }),
        }
        last = value;
    }
    levels
}
