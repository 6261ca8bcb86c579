//! Singular points of solutions: located directly as roots of one larger system, followed in two parameters as the
//! boundary of a region, a test function for Hopf points, and the door from one branch to another.

use ndarray::{Array1, Array2, ArrayView2, s};

use super::follow::{self, End, Event, Options, Path, Point, real};
use super::linalg;
use super::root::{Failure, System, difference, unit};
use crate::error::{Error, Result};

/// Solutions of F(x, p) = 0 with an operator A(x, p) that becomes singular on them: the Jacobian itself (folds), a symmetry
/// block of a larger Jacobian (pitchforks of a symmetric branch), or any other matrix.
pub trait Critical {
    /// Number of unknowns n.
    fn dim(&self) -> usize;
    /// The n residuals F at x.
    fn residual(&self, x: &[f64], p: [f64; 2]) -> Array1<f64>;
    /// Derivatives of the residuals by the unknowns, n x n.
    fn jacobian(&self, x: &[f64], p: [f64; 2]) -> Array2<f64>;
    /// Number m of rows of the operator.
    fn modes(&self) -> usize;
    /// The operator A, m x m.
    fn operator(&self, x: &[f64], p: [f64; 2]) -> Array2<f64>;
    /// Whether the operator is symmetric; says only how a first null vector is found.
    fn symmetric(&self) -> bool {
        true
    }
    /// Derivatives of A phi by the unknowns, m x n: central differences, 2 n operators.
    fn by_unknown(&self, x: &[f64], p: [f64; 2], phi: &Array1<f64>) -> Array2<f64> {
        let mut derivatives = Array2::zeros((self.modes(), self.dim()));
        for (i, mut column) in derivatives.columns_mut().into_iter().enumerate() {
            let moved = |t: f64| {
                let mut x = x.to_vec();
                x[i] = t;
                self.operator(&x, p).dot(phi)
            };
            column.assign(&difference(x[i], moved));
        }
        derivatives
    }
}

/// A singular point: F(x, p) = 0, A(x, p) phi = 0, |phi| = 1.
#[derive(Clone, Debug)]
pub struct Singular {
    pub x: Vec<f64>,
    pub p: [f64; 2],
    pub phi: Vec<f64>,
    /// Largest residual of the n + m + 1 equations, recomputed.
    pub residual: f64,
    /// Error of `p[0]` to first order: the residual, or machine epsilon when that is larger, times the 1-norm of the row of the
    /// inverse Jacobian that belongs to `p[0]`. Infinite where the boundary turns back in `p[1]`.
    pub error: f64,
}

/// A curve of singular points.
#[derive(Clone, Debug)]
pub struct Boundary {
    /// In the order of the curve, which may turn back in `p[1]`.
    pub points: Vec<Singular>,
    /// Where `p[1]` turns back: cusps and extrema.
    pub folds: Vec<Singular>,
    /// Where and why the curve ends, in the direction that begins toward larger `p[1]`.
    pub end: End,
    /// The same for the other direction; `None` for a closed curve.
    pub begin: Option<End>,
}

const LOCATE: &str = "locate a singular point";
/// Largest residual of a singular point, unless an option says otherwise.
const TOLERANCE: f64 = 1e-12;
const ITERATIONS: usize = 40;

/// The equations of a singular point in z = (x, phi, `p[0]`) with the parameter `p[1]`.
struct Curve<'a>(&'a dyn Critical);

impl Curve<'_> {
    fn split<'z>(&self, z: &'z [f64], p1: f64) -> (&'z [f64], Array1<f64>, [f64; 2]) {
        let (n, m) = (self.0.dim(), self.0.modes());
        (&z[..n], Array1::from(z[n..n + m].to_vec()), [z[n + m], p1])
    }

    fn singular(&self, z: &[f64], p1: f64) -> Singular {
        let (x, phi, p) = self.split(z, p1);
        let residual = linalg::max_abs(&self.residual(z, p1));
        let mut right = Array1::zeros(z.len());
        right[z.len() - 1] = 1.0;
        let row = linalg::solve(self.jacobian(z, p1).t(), &right);
        let norm = row.map_or(f64::INFINITY, |row| row.iter().map(|y| y.abs()).sum());
        Singular { x: x.to_vec(), p, phi: phi.to_vec(), residual, error: norm * residual.max(f64::EPSILON) }
    }
}

impl System for Curve<'_> {
    fn symmetric(&self) -> bool {
        false
    }

    fn dim(&self) -> usize {
        self.0.dim() + self.0.modes() + 1
    }

    fn residual(&self, z: &[f64], p1: f64) -> Array1<f64> {
        let (x, phi, p) = self.split(z, p1);
        let equations = self.0.residual(x, p).into_iter().chain(self.0.operator(x, p).dot(&phi));
        equations.chain([phi.dot(&phi) - 1.0]).collect()
    }

    fn jacobian(&self, z: &[f64], p1: f64) -> Array2<f64> {
        let (x, phi, p) = self.split(z, p1);
        let (n, m) = (self.0.dim(), self.0.modes());
        let mut jacobian = Array2::zeros((n + m + 1, n + m + 1));
        jacobian.slice_mut(s![..n, ..n]).assign(&self.0.jacobian(x, p));
        jacobian.slice_mut(s![n..n + m, ..n]).assign(&self.0.by_unknown(x, p, &phi));
        jacobian.slice_mut(s![n..n + m, n..n + m]).assign(&self.0.operator(x, p));
        jacobian.slice_mut(s![n + m, n..n + m]).assign(&(&phi * 2.0));
        let by_p0 = difference(p[0], |p0| self.0.residual(x, [p0, p1]));
        jacobian.slice_mut(s![..n, n + m]).assign(&by_p0);
        let by_p0 = difference(p[0], |p0| self.0.operator(x, [p0, p1]).dot(&phi));
        jacobian.slice_mut(s![n..n + m, n + m]).assign(&by_p0);
        jacobian
    }
}

/// The singular point near (x, p) with `p[1]` fixed, by Newton's method on (x, phi, `p[0]`) with steps halved until the
/// residual falls. Without `phi` (m values) it starts from the operator's eigenvector whose eigenvalue (singular value, when
/// the operator is not symmetric) is nearest 0.
///
/// # Errors
/// [`Error::NotConverged`] when the residual does not reach 1e-12, [`Error::NonFinite`], [`Error::Count`] when a length is
/// wrong.
pub fn locate(critical: &dyn Critical, x: &[f64], p: [f64; 2], phi: Option<&[f64]>) -> Result<Singular> {
    let (n, m) = (critical.dim(), critical.modes());
    count("number of unknowns", x.len(), n)?;
    let phi = match phi {
        Some(phi) => {
            count("length of the null vector", phi.len(), m)?;
            Array1::from(phi.to_vec())
        }
        None => null_vector(critical, x, p)?,
    };
    let Some(phi) = unit(phi) else {
        return Err(Error::NonFinite { action: LOCATE, quantity: "the null vector's direction" });
    };
    let curve = Curve(critical);
    let mut z: Vec<f64> = x.iter().copied().chain(phi).chain([p[0]]).collect();
    let mut residual = curve.residual(&z, p[1]);
    for _ in 0..ITERATIONS {
        let size = linalg::max_abs(&residual);
        if !size.is_finite() {
            return Err(Error::NonFinite { action: LOCATE, quantity: "the residual" });
        }
        let step = linalg::solve(curve.jacobian(&z, p[1]).view(), &residual);
        let is_root = size <= TOLERANCE;
        let step = match step {
            Ok(step) => step,
            Err(_) if is_root => return Ok(curve.singular(&z, p[1])),
            Err(error) => return Err(error),
        };
        let mut scale = 1.0;
        let (trial, values) = loop {
            let trial: Vec<f64> = z.iter().zip(&step).map(|(z, s)| z - scale * s).collect();
            let values = curve.residual(&trial, p[1]);
            if values.dot(&values) < residual.dot(&residual) || is_root || scale < 1e-3 {
                break (trial, values);
            }
            scale *= 0.5;
        };
        if is_root {
            // One step more, kept when it is better.
            let is_better = linalg::max_abs(&values) < size;
            return Ok(curve.singular(if is_better { &trial } else { &z }, p[1]));
        }
        (z, residual) = (trial, values);
    }
    let residual = linalg::max_abs(&residual);
    Err(Error::NotConverged { action: LOCATE, residual, iterations: ITERATIONS, needs: TOLERANCE })
}

/// The curve of singular points through `start`, `p[1]` in `range` (which replaces that of the options), both ways. Arclength
/// is measured in (x, phi, `p[0]`, `p[1]`).
///
/// # Errors
/// Those of [`follow::follow_both`]. A curve that cannot be continued is no error: see [`End`].
pub fn boundary(critical: &dyn Critical, start: &Singular, range: (f64, f64), options: &Options) -> Result<Boundary> {
    count("number of unknowns", start.x.len(), critical.dim())?;
    count("length of the null vector", start.phi.len(), critical.modes())?;
    let curve = Curve(critical);
    let z: Vec<f64> = start.x.iter().chain(&start.phi).copied().chain([start.p[0]]).collect();
    let options = Options { range, ..*options };
    let branch = follow::follow_both(&curve, &z, start.p[1], &options, &|_, _| Ok(Vec::new()))?;
    let singular = |point: &Point| curve.singular(&point.x, point.p);
    let folds = branch.events.iter().filter(|event| event.kind == Event::Fold);
    Ok(Boundary {
        points: branch.points.iter().map(singular).collect(),
        folds: folds.map(|event| singular(&event.point)).collect(),
        end: branch.end,
        begin: branch.begin,
    })
}

fn count(quantity: &'static str, value: usize, needs: usize) -> Result<()> {
    if value == needs {
        return Ok(());
    }
    Err(Error::Count { action: LOCATE, quantity, value, needs: needs.to_string() })
}

/// Unit vector on which the operator is smallest.
fn null_vector(critical: &dyn Critical, x: &[f64], p: [f64; 2]) -> Result<Array1<f64>> {
    let operator = critical.operator(x, p);
    let matrix = if critical.symmetric() { operator } else { operator.t().dot(&operator) };
    let (values, vectors) = linalg::eigh(matrix.view())?;
    let nearest = (0..values.len()).min_by(|&i, &j| values[i].abs().total_cmp(&values[j].abs()));
    Ok(nearest.map_or_else(|| Array1::zeros(0), |i| vectors.column(i).to_owned()))
}

/// Test function for Hopf points of a general matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hopf {
    /// The smallest |l_i + l_j| over all pairs of eigenvalues, with the sign of the product of all l_i + l_j. Continuous in the
    /// matrix; it changes sign where one complex pair crosses the imaginary axis, near which it is twice the pair's real part
    /// up to sign, and also at a neutral saddle, where two real eigenvalues are opposite. 1 for fewer than two eigenvalues.
    pub value: f64,
    /// Imaginary part (positive) of the complex pair that has the smallest sum; 0 when that is no conjugate pair: then a change
    /// of sign nearby is no Hopf point.
    pub frequency: f64,
}

/// The Hopf test of a Jacobian, n x n.
///
/// # Errors
/// As [`linalg::eigenvalues`].
pub fn hopf(jacobian: ArrayView2<f64>) -> Result<Hopf> {
    let values = linalg::eigenvalues(jacobian)?;
    let (mut smallest, mut sign, mut frequency) = (f64::INFINITY, 1.0, 0.0);
    for (i, a) in values.iter().enumerate() {
        for b in &values[i + 1..] {
            let sum = [a[0] + b[0], a[1] + b[1]];
            // Sums that are not real come in conjugate pairs: their product is positive.
            if sum[1] == 0.0 && sum[0] < 0.0 {
                sign = -sign;
            }
            let size = sum[0].hypot(sum[1]);
            if size < smallest {
                smallest = size;
                frequency = if a[0] == b[0] && sum[1] == 0.0 { a[1].abs() } else { 0.0 };
            }
        }
    }
    let value = if smallest.is_finite() { sign * smallest } else { 1.0 };
    Ok(Hopf { value, frequency })
}

/// First point of another branch through (x0, p0): the solution whose displacement from (x0, p0) along the kernel vector
/// `direction` (n values) is `amplitude`, p free. With the tangent of the `old` branch (n + 1 values) the displacement is
/// measured along the part of `direction` orthogonal to it. The point's tangent leads away from (x0, p0); its `tests` stay
/// empty. A smaller amplitude helps when it fails.
///
/// # Errors
/// [`Error::NotConverged`], [`Error::NonFinite`]; [`Error::Real`] when the solution found lies on another branch: with `old`,
/// when its displacement is along `old` (cosine above 0.9999: where unknowns scale unlike p, branches that cross leave each
/// other at small angles) or, less its part along `old`, not along `direction` (cosine below 0.9); without `old`, when the
/// cosine between displacement and `direction` is below 0.5.
pub fn switch(
    system: &dyn System,
    x0: &[f64],
    p0: f64,
    direction: &[f64],
    amplitude: f64,
    old: Option<&[f64]>,
    options: &Options,
) -> Result<Point> {
    let path = Path::new(system, options, x0.len())?;
    path.length("length of the direction", direction.len(), path.n)?;
    if amplitude == 0.0 || !amplitude.is_finite() {
        return Err(real("the amplitude", amplitude, "finite and not 0"));
    }
    let zero = |quantity| move || real(quantity, 0.0, "positive and finite");
    let kernel: Array1<f64> = direction.iter().copied().chain([0.0]).collect();
    let kernel = unit(kernel).ok_or_else(zero("length of the direction"))?;
    let old = match old {
        Some(old) => {
            path.length("length of the old tangent", old.len(), path.n + 1)?;
            Some(unit(Array1::from(old.to_vec())).ok_or_else(zero("length of the old tangent"))?)
        }
        None => None,
    };
    let aside = |v: Array1<f64>| match &old {
        Some(old) => &v - &(old * old.dot(&v)),
        None => v,
    };
    let along = unit(aside(kernel.clone())).ok_or_else(zero("length of the direction beside the old tangent"))?;
    let origin: Array1<f64> = x0.iter().copied().chain([p0]).collect();
    // The start lies in the plane of the kernel vector and the old tangent (or p), moved along the latter until the residual
    // is least: at a multiple branch point Newton's method from (x0 + amplitude direction, p0) has a singular matrix.
    let mut guess = &origin + &(&kernel * (amplitude / along.dot(&kernel)));
    let shift = old.clone().unwrap_or_else(|| path.equations.along_p());
    for _ in 0..3 {
        let (residual, wide) = path.equations.linearised(&guess);
        let slope = wide.dot(&shift);
        let by = slope.dot(&residual) / slope.dot(&slope);
        if by.abs() <= amplitude.abs() {
            guess = &guess - &(&shift * by);
        }
    }
    let target = along.dot(&origin) + amplitude;
    let corrected = path.equations.correct(guess, &along, target, false);
    let corrected = corrected.map_err(Failure::error(follow::FOLLOW, options.tolerance))?;
    let Some(displacement) = unit(&corrected.z - &origin) else {
        return Err(Error::NonFinite { action: follow::FOLLOW, quantity: "the new branch's direction" });
    };
    let back = old.as_ref().map_or(0.0, |old| old.dot(&displacement).abs());
    if !(back <= 0.9999) {
        return Err(real("cosine between the displacement and the old branch", back, "at most 0.9999"));
    }
    let least = if old.is_some() { 0.9 } else { 0.5 };
    let cosine = unit(aside(displacement.clone())).map_or(0.0, |aside| along.dot(&aside).abs());
    if !(cosine >= least) {
        return Err(real(
            "cosine between the displacement and the direction",
            cosine,
            "at least 0.9 (0.5 without tangent)",
        ));
    }
    let tangent = path.equations.tangent(&corrected, &displacement).unwrap_or(displacement);
    Ok(path.point(&corrected, &tangent, Vec::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::follow::{follow, follow_both};
    use ndarray::array;

    /// u'' + p e^(u / (1 + q u)) = 0, u(0) = u(1) = 0, on 31 interior points, multiplied by the square of their distance.
    struct Bratu;
    const N: usize = 31;

    impl Critical for Bratu {
        fn dim(&self) -> usize {
            N
        }
        fn residual(&self, u: &[f64], [p, q]: [f64; 2]) -> Array1<f64> {
            let at = |i: usize| if (1..=N).contains(&i) { u[i - 1] } else { 0.0 };
            let source = |u: f64| p * (u / (1.0 + q * u)).exp() / 1024.0;
            (1..=N).map(|i| at(i - 1) - 2.0 * at(i) + at(i + 1) + source(at(i))).collect()
        }
        fn jacobian(&self, u: &[f64], [p, q]: [f64; 2]) -> Array2<f64> {
            Array2::from_shape_fn((N, N), |(i, j)| match i.abs_diff(j) {
                0 => p * (u[i] / (1.0 + q * u[i])).exp() / (1.0 + q * u[i]).powi(2) / 1024.0 - 2.0,
                1 => 1.0,
                _ => 0.0,
            })
        }
        fn modes(&self) -> usize {
            N
        }
        fn operator(&self, u: &[f64], p: [f64; 2]) -> Array2<f64> {
            Critical::jacobian(self, u, p)
        }
    }

    impl System for Bratu {
        fn dim(&self) -> usize {
            N
        }
        fn residual(&self, u: &[f64], p: f64) -> Array1<f64> {
            Critical::residual(self, u, [p, 0.0])
        }
        fn jacobian(&self, u: &[f64], p: f64) -> Array2<f64> {
            Critical::jacobian(self, u, [p, 0.0])
        }
    }

    fn bratu_fold() -> Singular {
        let parabola: Vec<f64> = (1..=N).map(|i| 4.8 * (i as f64 / 32.0) * (1.0 - i as f64 / 32.0)).collect();
        locate(&Bratu, &parabola, [3.3, 0.0], None).unwrap()
    }

    /// The fold as an event of the branch and as a root of the larger system; 3.513830719 is that of the differential equation,
    /// from which 31 points differ by less than 1e-2.
    #[test]
    fn bratu_fold_by_two_routes() {
        let options = Options { largest: 0.5, events: 1, ..Options::default() };
        let smallest =
            |u: &[f64], p: f64| Ok(linalg::eigvalsh(Critical::jacobian(&Bratu, u, [p, 0.0]).view())?.to_vec());
        let branch = follow(&Bratu, &[0.0; N], 0.0, 1.0, &options, &|_, _| Ok(Vec::new())).unwrap();
        let direct = bratu_fold();
        let event = &branch.events[0];
        assert_eq!(event.kind, Event::Fold);
        assert!((event.point.p - direct.p[0]).abs() < 1e-11, "{} {}", event.point.p, direct.p[0]);
        assert!((direct.p[0] - 3.513830719).abs() < 1e-2, "{}", direct.p[0]);
        assert!(direct.residual <= 1e-12 && direct.error < 1e-10, "{:e} {:e}", direct.residual, direct.error);
        assert!(event.point.x.iter().zip(&direct.x).all(|(u, v)| (u - v).abs() < 1e-7));
        // The largest eigenvalue changes sign there, too.
        let branch = follow(&Bratu, &[0.0; N], 0.0, 1.0, &Options { events: 2, ..options }, &smallest).unwrap();
        let test = branch.events.iter().find(|event| event.kind == Event::Test(N - 1)).unwrap();
        assert!((test.point.p - direct.p[0]).abs() < 1e-11, "{}", test.point.p);
    }

    /// The folds of the perturbed problem meet in a cusp at q = 0.2458 (differential equation, known from combustion theory).
    #[test]
    fn bratu_folds_meet_in_a_cusp() {
        let options = Options { step: 0.1, largest: 2.0, points: 300, events: 1, ..Options::default() };
        let curve = boundary(&Bratu, &bratu_fold(), (0.0, 0.3), &options).unwrap();
        assert!(matches!(curve.end, End::Events { .. }), "{}", curve.end);
        assert!((curve.folds[0].p[1] - 0.2458).abs() < 2e-3, "{:?}", curve.folds[0].p);
        assert!(curve.points.iter().all(|point| point.residual <= 1e-12));
    }

    /// x^3 - p1 x - p0 = 0: its folds are 27 p0^2 = 4 p1^3.
    struct Cusp;
    impl Critical for Cusp {
        fn dim(&self) -> usize {
            1
        }
        fn residual(&self, x: &[f64], p: [f64; 2]) -> Array1<f64> {
            array![x[0].powi(3) - p[1] * x[0] - p[0]]
        }
        fn jacobian(&self, x: &[f64], p: [f64; 2]) -> Array2<f64> {
            array![[3.0 * x[0] * x[0] - p[1]]]
        }
        fn modes(&self) -> usize {
            1
        }
        fn operator(&self, x: &[f64], p: [f64; 2]) -> Array2<f64> {
            self.jacobian(x, p)
        }
    }

    #[test]
    fn cusp_has_its_boundary() {
        let start = locate(&Cusp, &[1.2], [-1.5, 3.0], None).unwrap();
        assert!((start.x[0] - 1.0).abs() < 1e-12 && (start.p[0] + 2.0).abs() < 1e-12, "{start:?}");
        let curve = boundary(&Cusp, &start, (-1.0, 3.5), &Options::default()).unwrap();
        assert_eq!((curve.end, curve.begin), (End::Range { p: 3.5 }, Some(End::Range { p: 3.5 })));
        for point in &curve.points {
            let [p0, p1] = point.p;
            let exact = -point.x[0].signum() * (4.0 * p1.max(0.0).powi(3) / 27.0).sqrt();
            assert!((p0 - exact).abs() < 1e-9, "{point:?}");
            assert!((p0 - exact).abs() <= 1e-15 + 10.0 * point.error, "{point:?}");
        }
        assert!(curve.points.iter().filter(|point| point.x[0] < -0.9).all(|point| point.error < 1e-11));
        assert_eq!(curve.folds.len(), 1);
        assert!(curve.folds[0].p.iter().all(|p| p.abs() < 1e-12), "{:?}", curve.folds[0]);
    }

    /// x = p1 with an unsymmetric operator singular at p0 = 2 + x, and one that is never singular.
    struct Skew(f64);
    impl Critical for Skew {
        fn dim(&self) -> usize {
            1
        }
        fn residual(&self, x: &[f64], p: [f64; 2]) -> Array1<f64> {
            array![x[0] - p[1]]
        }
        fn jacobian(&self, _: &[f64], _: [f64; 2]) -> Array2<f64> {
            array![[1.0]]
        }
        fn modes(&self) -> usize {
            2
        }
        fn operator(&self, x: &[f64], p: [f64; 2]) -> Array2<f64> {
            array![[1.0, 2.0], [self.0 * (p[0] - x[0]), 4.0]]
        }
        fn symmetric(&self) -> bool {
            false
        }
    }

    #[test]
    fn unsymmetric_operators_and_failures() {
        let found = locate(&Skew(1.0), &[0.0], [1.0, 0.5], None).unwrap();
        assert!((found.p[0] - 2.5).abs() < 1e-14 && (found.phi[0] + 2.0 * found.phi[1]).abs() < 1e-14, "{found:?}");
        let (start, step) = ([found.phi[0], found.phi[1]], 1e-3);
        let again = locate(&Skew(1.0), &[0.5], [2.5 + step, 0.5], Some(&start)).unwrap();
        assert!((again.p[0] - 2.5).abs() < 1e-14 && again.error < 1e-13, "{again:?}");
        let never = locate(&Skew(0.0), &[0.0], [1.0, 0.5], None);
        assert!(matches!(never, Err(Error::NotConverged { .. } | Error::NonFinite { .. })), "{never:?}");
        assert!(matches!(locate(&Skew(1.0), &[0.0, 0.0], [1.0, 0.5], None), Err(Error::Count { .. })));
        assert!(matches!(locate(&Skew(1.0), &[0.0], [1.0, 0.5], Some(&[1.0])), Err(Error::Count { .. })));
    }

    /// Equilibrium (p, 0, 0) of a Hopf normal form: eigenvalues p - 0.3 +- i, and -2.
    struct Normal;
    impl System for Normal {
        fn symmetric(&self) -> bool {
            false
        }
        fn dim(&self) -> usize {
            3
        }
        fn residual(&self, x: &[f64], p: f64) -> Array1<f64> {
            let (u, v, r) = (x[0] - p, x[1], (x[0] - p).powi(2) + x[1] * x[1]);
            array![(p - 0.3) * u - v - u * r, u + (p - 0.3) * v - v * r, -2.0 * x[2] + u * v]
        }
        fn jacobian(&self, x: &[f64], p: f64) -> Array2<f64> {
            let (u, v) = (x[0] - p, x[1]);
            let (uu, vv, uv) = (3.0 * u * u + v * v, u * u + 3.0 * v * v, 2.0 * u * v);
            array![[p - 0.3 - uu, -1.0 - uv, 0.0], [1.0 - uv, p - 0.3 - vv, 0.0], [v, u, -2.0]]
        }
    }

    #[test]
    fn hopf_point_is_found() {
        let test = |x: &[f64], p: f64| Ok(vec![hopf(Normal.jacobian(x, p).view())?.value]);
        let options = Options { range: (-1.0, 1.0), ..Options::default() };
        let branch = follow_both(&Normal, &[0.0; 3], 0.0, &options, &test).unwrap();
        assert_eq!((branch.events.len(), branch.events[0].kind), (1, Event::Test(0)), "{:?}", branch.events);
        let at = &branch.events[0].point;
        assert!((at.p - 0.3).abs() < 1e-14 && (at.x[0] - 0.3).abs() < 1e-12, "{at:?}");
        let pair = hopf(Normal.jacobian(&at.x, at.p).view()).unwrap();
        assert!((pair.frequency - 1.0).abs() < 1e-12 && pair.value.abs() < 1e-13, "{pair:?}");
        assert_eq!((branch.end, branch.begin), (End::Range { p: 1.0 }, Some(End::Range { p: -1.0 })));
    }

    /// A pair that meets on the real axis changes no sign; opposite real eigenvalues do, without a frequency.
    #[test]
    fn hopf_test_is_continuous_and_names_neutral_saddles() {
        let of = |square: f64| hopf(array![[-0.5, square], [1.0, -0.5]].view()).unwrap();
        assert!((of(-1e-12).value - of(1e-12).value).abs() < 1e-5 && of(-4.0).value == of(0.01).value);
        assert!((of(-4.0).value + 1.0).abs() < 1e-14 && (of(-4.0).frequency - 2.0).abs() < 1e-14);
        let saddle = |a: f64| hopf(array![[1.0, 3.0], [0.0, a - 1.0]].view()).unwrap();
        assert!(saddle(-0.1).value < 0.0 && saddle(0.1).value > 0.0 && saddle(0.1).frequency == 0.0);
        assert_eq!(hopf(array![[3.0]].view()).unwrap().value, 1.0);
    }
}
