//! Roots of systems of equations: the trait every set of equations implements, and Newton's method with pseudo-inverse.

use std::borrow::Cow;

use ndarray::{Array1, Array2, s};

use super::linalg;
use crate::error::{Error, Result};

/// n equations in n unknowns with one parameter p.
pub trait System {
    /// Whether the Jacobian is symmetric: true for every gradient, false for SGD at a finite learning rate.
    fn symmetric(&self) -> bool {
        true
    }
    /// Number of unknowns n.
    fn dim(&self) -> usize;
    /// The n residuals at x.
    fn residual(&self, x: &[f64], p: f64) -> Array1<f64>;
    /// Derivatives of the residuals by the unknowns, n x n.
    fn jacobian(&self, x: &[f64], p: f64) -> Array2<f64>;
    /// Derivatives of the residuals by p, n values: central differences with the step 6e-6 max(1, |p|), one-sided where the
    /// residual is finite on one side only.
    fn by_parameter(&self, x: &[f64], p: f64) -> Array1<f64> {
        difference(p, |p| self.residual(x, p))
    }
    /// The residuals, and their derivatives by the unknowns and by p, n x (n + 1): for systems that share work between them.
    fn linearised(&self, x: &[f64], p: f64) -> (Array1<f64>, Array2<f64>) {
        (self.residual(x, p), beside(&self.jacobian(x, p), &self.by_parameter(x, p)))
    }
}

/// A matrix with one more column.
pub(crate) fn beside(matrix: &Array2<f64>, column: &Array1<f64>) -> Array2<f64> {
    let n = matrix.ncols();
    let mut wide = Array2::zeros((matrix.nrows(), n + 1));
    wide.slice_mut(s![.., ..n]).assign(matrix);
    wide.column_mut(n).assign(column);
    wide
}

/// Derivative of f at t by central differences. The step, the cube root of machine epsilon times max(1, |t|), balances
/// rounding against the neglected third derivative. Where f is finite on one side of t only, a one-sided difference.
pub(super) fn difference(t: f64, f: impl Fn(f64) -> Array1<f64>) -> Array1<f64> {
    let h = f64::EPSILON.cbrt() * t.abs().max(1.0);
    let (above, below) = (t + h, t - h);
    let (high, low) = (f(above), f(below));
    match (linalg::max_abs(&high).is_finite(), linalg::max_abs(&low).is_finite()) {
        (true, false) => (high - f(t)) / (above - t),
        (false, true) => (f(t) - low) / (t - below),
        _ => (high - low) / (above - below),
    }
}

/// A root with the evidence for it.
#[derive(Clone, Debug)]
pub struct Root {
    pub x: Vec<f64>,
    /// Largest residual, recomputed at x.
    pub residual: f64,
    pub iterations: usize,
}

/// Newton's method by the pseudo-inverse of the Jacobian: finds saddles as well as minima, and steps nowhere along
/// directions whose eigenvalue (singular value, when the Jacobian is not symmetric) is below `cut` times the largest. Without
/// symmetry the pseudo-inverse goes through J^T J, so `cut` means nothing below 1e-7.
///
/// # Errors
/// [`Error::NotConverged`] with the last residual when `iterations` do not reach `tolerance`; [`Error::NonFinite`].
pub fn newton(system: &impl System, x0: &[f64], p: f64, tolerance: f64, cut: f64, iterations: usize) -> Result<Root> {
    let mut x = x0.to_vec();
    let mut residual = system.residual(&x, p);
    for iteration in 0..=iterations {
        let size = linalg::max_abs(&residual);
        if !size.is_finite() {
            return Err(Error::NonFinite { action: "solve for a fixed point", quantity: "the residual" });
        }
        if size <= tolerance {
            return Ok(Root { x, residual: size, iterations: iteration });
        }
        if iteration == iterations {
            break;
        }
        let jacobian = system.jacobian(&x, p);
        let (matrix, right, cut) = if system.symmetric() {
            (jacobian, residual.clone(), cut)
        } else {
            (jacobian.t().dot(&jacobian), jacobian.t().dot(&residual), cut * cut)
        };
        let (values, vectors) = linalg::eigh(matrix.view())?;
        let floor = cut * linalg::max_abs(&values);
        let mut along = vectors.t().dot(&right);
        for (component, value) in along.iter_mut().zip(&values) {
            *component = if value.abs() > floor { *component / value } else { 0.0 };
        }
        let step = vectors.dot(&along);
        // Halve the step until the residual falls; a full step near the root.
        let mut scale = 1.0;
        loop {
            let trial: Vec<f64> = x.iter().zip(&step).map(|(x, s)| x - scale * s).collect();
            let trial_residual = system.residual(&trial, p);
            let shorter = trial_residual.dot(&trial_residual) < residual.dot(&residual);
            if shorter || scale < 1e-3 {
                (x, residual) = (trial, trial_residual);
                break;
            }
            scale *= 0.5;
        }
    }
    Err(Error::NotConverged {
        action: "solve for a fixed point",
        residual: linalg::max_abs(&residual),
        iterations,
        needs: tolerance,
    })
}

/// The vector divided by its length; `None` when that is zero or not finite.
pub(super) fn unit(v: Array1<f64>) -> Option<Array1<f64>> {
    let length = v.dot(&v).sqrt();
    (length > 0.0 && length.is_finite()).then(|| v / length)
}

/// Whether two values have different signs; zero counts as positive.
pub(super) fn changes(a: f64, b: f64) -> bool {
    (a < 0.0) != (b < 0.0)
}

/// Why a point could not be brought to the curve.
pub(super) enum Failure {
    NonFinite,
    Fault { residual: f64, problem: &'static str, iterations: usize },
}

impl Failure {
    pub(super) fn error(action: &'static str, needs: f64) -> impl Fn(Failure) -> Error {
        move |failure| match failure {
            Failure::NonFinite => Error::NonFinite { action, quantity: "the residual or the Newton step" },
            Failure::Fault { residual, iterations, .. } => Error::NotConverged { action, residual, iterations, needs },
        }
    }
}

/// A point z = (x, p) on the curve.
pub(super) struct Corrected {
    pub z: Array1<f64>,
    /// Largest |F_i|, recomputed at z.
    pub residual: f64,
    pub iterations: usize,
    /// Derivatives by x and p there, where they are known.
    pub wide: Option<Array2<f64>>,
}

/// One side of a bracket: distance along the tangent, point, value.
pub(super) struct Side {
    pub at: f64,
    pub corrected: Corrected,
    pub value: f64,
}

/// Solution of (derivatives; border) y = right; `None` when it is not finite.
fn solve(wide: &Array2<f64>, border: &Array1<f64>, right: &Array1<f64>) -> Option<Array1<f64>> {
    let n = wide.nrows();
    let mut matrix = Array2::zeros((n + 1, n + 1));
    matrix.slice_mut(s![..n, ..]).assign(wide);
    matrix.row_mut(n).assign(border);
    linalg::solve(matrix.view(), right).ok()
}

/// A system with p as one more unknown and one more equation <border, z> = target: regular at a fold.
pub(super) struct Bordered<'a> {
    pub system: &'a dyn System,
    pub tolerance: f64,
    /// Most Newton iterations of a careful correction; another may take three times as many.
    pub iterations: usize,
}

impl Bordered<'_> {
    pub fn residual(&self, z: &Array1<f64>) -> Array1<f64> {
        let (n, z) = (self.system.dim(), z.to_vec());
        self.system.residual(&z[..n], z[n])
    }

    /// The unit vector along p.
    pub fn along_p(&self) -> Array1<f64> {
        let mut border = Array1::zeros(self.system.dim() + 1);
        border[self.system.dim()] = 1.0;
        border
    }

    /// Residuals, and their derivatives by x and p, n x (n + 1).
    pub fn linearised(&self, z: &Array1<f64>) -> (Array1<f64>, Array2<f64>) {
        let (n, z) = (self.system.dim(), z.to_vec());
        self.system.linearised(&z[..n], z[n])
    }

    /// Derivatives by x and p, n x (n + 1).
    pub fn wide<'c>(&self, corrected: &'c Corrected) -> Cow<'c, Array2<f64>> {
        match &corrected.wide {
            Some(wide) => Cow::Borrowed(wide),
            None => Cow::Owned(self.linearised(&corrected.z).1),
        }
    }

    /// Unit tangent with a positive component along the border; `None` at a singular point.
    pub fn tangent(&self, corrected: &Corrected, border: &Array1<f64>) -> Option<Array1<f64>> {
        let mut right = Array1::zeros(border.len());
        right[border.len() - 1] = 1.0;
        solve(&self.wide(corrected), border, &right).and_then(unit)
    }

    /// Newton's method. A `careful` one gives up when a Newton step is not at most half the one before; another adds a last
    /// step after convergence, kept when it is small and lowers the residual.
    pub fn correct(
        &self,
        guess: Array1<f64>,
        border: &Array1<f64>,
        target: f64,
        careful: bool,
    ) -> std::result::Result<Corrected, Failure> {
        let most = if careful { self.iterations } else { 3 * self.iterations };
        let newton = |z: &Array1<f64>, residual: &Array1<f64>, wide: &Array2<f64>| {
            let right: Array1<f64> = residual.iter().copied().chain([border.dot(z) - target]).collect();
            solve(wide, border, &right)
        };
        let (mut z, mut previous, mut iterations) = (guess, f64::INFINITY, 0);
        loop {
            // The derivatives are used wherever this ends: for the next Newton step, or for the tangent.
            let (values, wide) = self.linearised(&z);
            let residual = linalg::max_abs(&values);
            if !residual.is_finite() {
                return Err(Failure::NonFinite);
            }
            let is_on_plane = (border.dot(&z) - target).abs() <= self.tolerance + 1e-14 * z.dot(&z).sqrt();
            if residual <= self.tolerance && is_on_plane {
                let last = if careful { None } else { newton(&z, &values, &wide) };
                if let Some(step) = last.filter(|step| linalg::max_abs(step) < 1e-6 * (1.0 + linalg::max_abs(&z))) {
                    let better = &z - &step;
                    let lower = linalg::max_abs(&self.residual(&better));
                    if lower < residual {
                        return Ok(Corrected { z: better, residual: lower, iterations, wide: None });
                    }
                }
                return Ok(Corrected { z, residual, iterations, wide: Some(wide) });
            }
            let fault = |problem| Failure::Fault { residual, problem, iterations };
            if iterations >= most {
                return Err(fault("the corrector does not converge"));
            }
            let step = newton(&z, &values, &wide).ok_or(Failure::NonFinite)?;
            let length = step.dot(&step).sqrt();
            if careful && length > 0.5 * previous {
                return Err(fault("the corrector does not contract"));
            }
            previous = length;
            z -= &step;
            iterations += 1;
        }
    }

    /// Zero of a function on the curve between two points where it has different signs, by the ITP method (Oliveira and
    /// Takahashi 2020): the better end of the last bracket, and its width. Every trial point is brought back to the curve in
    /// the hyperplane orthogonal to the tangent of `a`; a trial that cannot be brought back, or has no value, ends the search.
    pub fn bracket(
        &self,
        tangent: &Array1<f64>,
        mut a: Side,
        mut b: Side,
        function: &dyn Fn(&Corrected) -> Result<Option<f64>>,
    ) -> Result<(Side, f64)> {
        let origin = tangent.dot(&a.corrected.z);
        let length = tangent.dot(&b.corrected.z) - origin;
        (a.at, b.at) = (0.0, length);
        let rounding = 2.0 * f64::EPSILON * length.max(linalg::max_abs(&b.corrected.z));
        let halvings = (length / (2.0 * rounding)).log2().ceil();
        let mut trials = 0;
        while b.at - a.at > 2.0 * rounding && f64::from(trials) <= halvings + 1.0 {
            let (width, middle) = (b.at - a.at, 0.5 * (a.at + b.at));
            let secant = (b.value * a.at - a.value * b.at) / (b.value - a.value);
            let toward = (middle - secant).signum();
            // Past the secant point by delta, so that both ends move; within `slack` of the middle, so that it ends.
            let (delta, gap) = (0.2 / length * width * width, (middle - secant).abs());
            let truncated = if delta <= gap { secant + toward * delta } else { middle };
            let slack = rounding * (halvings + 1.0 - f64::from(trials)).exp2() - 0.5 * width;
            let at = if (truncated - middle).abs() <= slack { truncated } else { middle - toward * slack.max(0.0) };
            if !(at > a.at && at < b.at) {
                break;
            }
            let guess = &a.corrected.z + &((&b.corrected.z - &a.corrected.z) * ((at - a.at) / width));
            let Ok(corrected) = self.correct(guess, tangent, origin + at, false) else {
                break;
            };
            let Some(value) = function(&corrected)? else { break };
            let trial = Side { at, corrected, value };
            trials += 1;
            if value == 0.0 {
                return Ok((trial, 0.0));
            }
            *(if changes(a.value, value) { &mut b } else { &mut a }) = trial;
        }
        let width = b.at - a.at;
        Ok((if a.value.abs() < b.value.abs() { a } else { b }, width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gradient of x^2 y + y^2 - p y: saddles and minima known in closed form; p = 1 has roots (+-1, 0) and (0, 1/2).
    struct Toy;
    impl System for Toy {
        fn dim(&self) -> usize {
            2
        }
        fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
            ndarray::array![2.0 * x[0] * x[1], x[0] * x[0] + 2.0 * x[1] - p]
        }
        fn jacobian(&self, x: &[f64], _p: f64) -> Array2<f64> {
            ndarray::array![[2.0 * x[1], 2.0 * x[0]], [2.0 * x[0], 2.0]]
        }
    }

    #[test]
    fn finds_saddle_and_minimum() {
        let saddle = newton(&Toy, &[0.9, 0.1], 1.0, 1e-14, 1e-12, 20).unwrap();
        assert!((saddle.x[0] - 1.0).abs() < 1e-13 && saddle.x[1].abs() < 1e-13);
        let minimum = newton(&Toy, &[0.05, 0.6], 1.0, 1e-14, 1e-12, 20).unwrap();
        assert!(minimum.x[0].abs() < 1e-13 && (minimum.x[1] - 0.5).abs() < 1e-13);
        assert!(minimum.residual <= 1e-14);
    }

    /// x^2 = p, x y = 2: an unsymmetric Jacobian.
    struct Skew;
    impl System for Skew {
        fn symmetric(&self) -> bool {
            false
        }
        fn dim(&self) -> usize {
            2
        }
        fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
            ndarray::array![x[0] * x[0] - p, x[0] * x[1] - 2.0]
        }
        fn jacobian(&self, x: &[f64], _p: f64) -> Array2<f64> {
            ndarray::array![[2.0 * x[0], 0.0], [x[1], x[0]]]
        }
    }

    #[test]
    fn unsymmetric_systems_converge() {
        let root = newton(&Skew, &[3.0, 3.0], 4.0, 1e-14, 1e-7, 20).unwrap();
        assert!((root.x[0] - 2.0).abs() < 1e-14 && (root.x[1] - 1.0).abs() < 1e-14);
    }

    #[test]
    fn too_few_iterations_are_an_error() {
        assert!(matches!(newton(&Toy, &[3.0, 3.0], 1.0, 1e-14, 1e-12, 1), Err(Error::NotConverged { .. })));
    }
}
