//! The loss as a function of both layers (W, a), for homogeneous activations g(c u) = c g(u), c > 0.
//!
//! Then E[e g(w_i.x)] = w_i.E[e g'(w_i.x) x], and everything follows from the derivatives by W (theory 10, eq.
//! 10-readout-gradient and 10-two-layer-hessian).

use ndarray::Array2;

use super::Fields;
use super::gradient::Field;
use super::hessian::hessian;
use crate::error::Result;
use crate::expectation::{Averages, Erf, Leaky, Linear, Relu};
use crate::model::{Activation, Teacher, Weights};
use crate::numerics::memory;

/// A readout of exactly 0 stands at this value: row i of the coefficients is a_i times something regular, and the quotient
/// by a_i is wanted.
const SMALL: f64 = 1e-150;

/// Second derivatives by (W, a). Zero units are left out.
#[derive(Clone, Debug)]
pub struct TwoLayerHessian {
    /// Inside the D coordinates of the state: first the K' D weights (unit, coordinate), then the K' readouts.
    pub span: Array2<f64>,
    /// Across them, per further dimension, K' x K': readouts do not enter.
    pub transverse: Array2<f64>,
    /// The K' students with non-zero norm.
    pub units: Vec<usize>,
}

/// Writes the gradient by W (K x D row-major) and by a (K values) at weights w and readouts a.
pub fn two_layer_gradient(field: &mut Field, w: &[f64], a: &[f64], by_w: &mut [f64], by_a: &mut [f64]) {
    let k = a.len();
    let regular: Vec<f64> = a.iter().map(|&a| if a == 0.0 { SMALL } else { a }).collect();
    field.set_readouts(&regular);
    field.gradient(w, by_w);
    let d = w.len() / k;
    for i in 0..k {
        let (row, gradient) = (&w[i * d..][..d], &by_w[i * d..][..d]);
        by_a[i] = row.iter().zip(gradient).map(|(w, g)| w * g).sum::<f64>() / regular[i];
    }
}

/// E[e g(lambda_i)], the gradient of the loss by the readouts: a sum of pair averages, for every activation and at readouts
/// of 0 too.
pub fn readout_gradient(fields: &Fields) -> Vec<f64> {
    match fields.activation() {
        Activation::Relu => readout_gradient_by(fields, &Relu),
        Activation::LeakyRelu { slope } => readout_gradient_by(fields, &Leaky { slope }),
        Activation::Linear => readout_gradient_by(fields, &Linear),
        Activation::Erf => readout_gradient_by(fields, &Erf),
    }
}

fn readout_gradient_by(fields: &Fields, averages: &impl Averages) -> Vec<f64> {
    let term = |i: usize, u: usize| fields.readout(u) * averages.pair(&fields.pair(i, u)).value;
    (0..fields.students()).map(|i| (0..fields.units()).map(|u| term(i, u)).sum()).collect()
}

/// Hessian by (W, a) of one task's loss at a state.
///
/// # Errors
/// [`crate::error::Error::Memory`] when it would not fit.
pub fn two_layer_hessian(weights: &Weights, teacher: &Teacher, task: usize) -> Result<TwoLayerHessian> {
    let (k, d) = weights.rows().dim();
    memory::check_dense("compute the Hessian", "the Hessian by both layers", k * (d + 1), 4, "take fewer units")?;
    let a = weights.readouts().row(task).to_vec();
    let by_weights = hessian(weights, teacher, task)?;
    let units = by_weights.units;
    let n = units.len() * d;
    // With readouts 1, block (i, j) applied to w_j is E[g'_i x g_j]: g'' (w.x) w.x vanishes for a homogeneous g.
    let ones = hessian(&weights.with_readouts(weights.rows().clone(), task, &vec![1.0; k]), teacher, task)?.span;
    let (mut by_w, mut by_a) = (vec![0.0; k * d], vec![0.0; k]);
    let flat: Vec<f64> = weights.rows().iter().copied().collect();
    two_layer_gradient(&mut Field::new(weights, teacher, task), &flat, &a, &mut by_w, &mut by_a);
    let mut span = Array2::zeros((n + units.len(), n + units.len()));
    span.slice_mut(ndarray::s![..n, ..n]).assign(&by_weights.span);
    for (s, &i) in units.iter().enumerate() {
        let factor = if a[i] == 0.0 { SMALL } else { a[i] };
        for (t, &j) in units.iter().enumerate() {
            let mut both = 0.0;
            for mu in 0..d {
                let average: f64 = (0..d).map(|nu| ones[[s * d + mu, t * d + nu]] * flat[j * d + nu]).sum();
                both += flat[i * d + mu] * average;
                let own = if s == t { by_w[i * d + mu] / factor } else { 0.0 };
                span[[s * d + mu, n + t]] = a[i] * average + own;
                span[[n + t, s * d + mu]] = a[i] * average + own;
            }
            span[[n + s, n + t]] = both;
        }
    }
    Ok(TwoLayerHessian { span, transverse: by_weights.transverse, units })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::risk_exact;
    use ndarray::array;

    /// The gradient by the readouts as a sum of pair averages: that of the homogeneous activations by another route, that of
    /// erf by differences of the loss, which is quadratic in them.
    #[test]
    fn readout_gradient_by_two_routes() {
        let rows = array![[0.8, 0.1, 0.3], [-0.4, 0.9, 0.2], [0.3, -0.5, 0.6], [0.0, 0.0, 0.0]];
        let readouts = [1.2, -0.7, 0.0, 0.4];
        for activation in [Activation::Relu, Activation::LeakyRelu { slope: 0.3 }, Activation::Linear, Activation::Erf]
        {
            let teacher = Teacher::correlated(2, 0.3).unwrap().with_activation(activation).unwrap();
            let start = Weights::new(rows.clone(), None, &teacher).unwrap();
            let fields = |a: &[f64]| Fields::from_weights(&start.with_readouts(rows.clone(), 0, a), &teacher, 0);
            let found = readout_gradient(&fields(&readouts));
            let (mut by_w, mut by_a) = (vec![0.0; 12], vec![0.0; 4]);
            if activation != Activation::Erf {
                let flat: Vec<f64> = rows.iter().copied().collect();
                two_layer_gradient(&mut Field::new(&start, &teacher, 0), &flat, &readouts, &mut by_w, &mut by_a);
            }
            for i in 0..4 {
                let moved = |h: f64| {
                    let mut a = readouts;
                    a[i] += h;
                    fields(&a).risk()
                };
                let slope = 0.5 * (moved(1.0) - moved(-1.0));
                assert!((found[i] - slope).abs() < 1e-14, "{activation}, {i}: {} {slope}", found[i]);
                if activation != Activation::Erf {
                    assert!((found[i] - by_a[i]).abs() < 1e-14, "{activation}, {i}: {} {}", found[i], by_a[i]);
                }
            }
        }
    }

    /// Gradient and Hessian by both layers against differences of the loss in double-double arithmetic, at readouts of both
    /// signs and at a readout of 0.
    #[test]
    fn derivatives_match_differences() {
        let teacher = Teacher::correlated(2, 0.3).unwrap();
        let rows = array![[0.8, 0.1, 0.3], [-0.4, 0.9, 0.2], [0.3, -0.5, 0.6]];
        let readouts = [1.2, -0.7, 0.0];
        let start = Weights::new(rows.clone(), None, &teacher).unwrap();
        let state = |x: &[f64]| start.with_readouts(Array2::from_shape_fn((3, 3), |(i, c)| x[3 * i + c]), 0, &x[9..]);
        let x: Vec<f64> = rows.iter().copied().chain(readouts).collect();
        let value = |x: &[f64]| risk_exact(&state(x), &teacher, 0);
        let weights = state(&x);
        let (mut by_w, mut by_a) = (vec![0.0; 9], vec![0.0; 3]);
        two_layer_gradient(&mut Field::new(&weights, &teacher, 0), &x[..9], &readouts, &mut by_w, &mut by_a);
        let gradient: Vec<f64> = by_w.into_iter().chain(by_a).collect();
        let hessian = two_layer_hessian(&weights, &teacher, 0).unwrap();
        let h = 1e-3;
        let moved = |steps: &[(usize, f64)]| {
            let mut y = x.clone();
            steps.iter().for_each(|&(i, s)| y[i] += s);
            value(&y)
        };
        for i in 0..12 {
            let first = |h: f64| (moved(&[(i, h)]) - moved(&[(i, -h)])) / (2.0 * h);
            let found = (4.0 * first(0.5 * h) - first(h)) / 3.0;
            assert!((found - gradient[i]).abs() < 1e-10, "entry {i}: {found} against {}", gradient[i]);
            for j in 0..12 {
                let mixed = |h: f64| {
                    (moved(&[(i, h), (j, h)]) + moved(&[(i, -h), (j, -h)])
                        - moved(&[(i, h), (j, -h)])
                        - moved(&[(i, -h), (j, h)]))
                        / (4.0 * h * h)
                };
                let found = (4.0 * mixed(0.5 * h) - mixed(h)) / 3.0;
                let expected = hessian.span[[i, j]];
                assert!((found - expected).abs() < 1e-9, "entry {i}, {j}: {found} against {expected}");
            }
        }
    }
}
