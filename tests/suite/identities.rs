//! Identities that hold for every state: equivariance, homogeneity, signs, derivatives, limits.

use committee::model::{InitialLaw, Teacher, Weights};
use committee::numerics::random;
use committee::population::{Field, coefficients, hessian, one_sided, risk, risk_exact};
use ndarray::{Array2, array};
use proptest::prelude::*;
use rand::seq::SliceRandom;

/// A random problem: K, M, d, correlation, seed. Sizes on both sides of a vector width.
fn problem() -> impl Strategy<Value = (Teacher, Weights)> {
    (1usize..12, 1usize..12, 0usize..14, -0.08f64..0.9, 0u64..1000).prop_map(|(k, m, extra, rho, seed)| {
        let teacher = Teacher::correlated(m, if m == 1 { 0.0 } else { rho }).expect("a Gram matrix");
        let law = InitialLaw::new(teacher.rank() + extra, 1.0, &teacher).expect("a law");
        let weights = law.draw(k, &teacher, seed, 0).expect("a start");
        (teacher, weights)
    })
}

fn gradient(weights: &Weights, teacher: &Teacher) -> Array2<f64> {
    Field::new(weights, teacher, 0).gradient_at(weights.rows().view())
}

fn largest(a: &Array2<f64>) -> f64 {
    a.iter().fold(0.0, |m, x| m.max(x.abs()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: Some(Box::new(
        proptest::test_runner::FileFailurePersistence::Direct("tests/suite/regressions.txt"))), ..Default::default() })]

    /// Gradient against central differences of the double-double loss, relative to the loss's own scale.
    #[test]
    fn gradient_is_the_derivative_of_the_loss((teacher, weights) in problem()) {
        let g = gradient(&weights, &teacher);
        let h = 1e-5;
        for (i, c) in [(0, 0), (weights.students() - 1, weights.coordinates() - 1)] {
            let moved = |s: f64| {
                let mut rows = weights.rows().clone();
                rows[[i, c]] += s * h;
                risk_exact(&weights.with_rows(rows), &teacher, 0)
            };
            let difference = (moved(1.0) - moved(-1.0)) / (2.0 * h);
            prop_assert!((difference - g[[i, c]]).abs() < 1e-7, "{difference} against {}", g[[i, c]]);
        }
    }

    /// Hessian times a direction against central differences of the gradient.
    #[test]
    fn hessian_is_the_derivative_of_the_gradient((teacher, weights) in problem()) {
        let full = hessian(&weights, &teacher, 0).expect("fits");
        let (k, d) = weights.rows().dim();
        let direction = Array2::from_shape_fn((k, d), |(i, c)| ((3 * i + 5 * c) as f64).sin());
        let h = 1e-6;
        let difference = (gradient(&weights.with_rows(weights.rows() + &(h * &direction)), &teacher)
            - gradient(&weights.with_rows(weights.rows() - &(h * &direction)), &teacher)) / (2.0 * h);
        let flat = ndarray::Array1::from_iter(direction.iter().copied());
        let product = full.span.dot(&flat);
        let worst = difference.iter().zip(&product).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Units at a small angle bend on the scale of the angle.
        prop_assert!(worst < 1e-5, "{worst:e}");
        let asymmetry = largest(&(&full.span - &full.span.t()));
        prop_assert!(asymmetry < 1e-14, "{asymmetry:e}");
    }

    /// Renaming students renames rows of the gradient; the loss does not change.
    #[test]
    fn renaming_students((teacher, weights) in problem(), seed in 0u64..1000) {
        let mut order: Vec<usize> = (0..weights.students()).collect();
        order.shuffle(&mut random::stream(seed, &[]));
        let permuted = |a: &Array2<f64>| Array2::from_shape_fn(a.dim(), |(i, c)| a[[order[i], c]]);
        let renamed = weights.with_rows(permuted(weights.rows()));
        let error = largest(&(gradient(&renamed, &teacher) - permuted(&gradient(&weights, &teacher))));
        prop_assert!(error < 1e-14, "{error:e}");
        prop_assert!((risk(&renamed, &teacher, 0) - risk(&weights, &teacher, 0)).abs() < 1e-13);
    }

    /// L >= 0; the two losses agree; L at s W + (homogeneity of degree 2 of the three parts) has the right derivative:
    /// W . grad L = 2 L_ss + L_st, with L = L_ss + L_st + L_tt and L_tt the loss of the zero student.
    #[test]
    fn losses_agree_and_are_homogeneous((teacher, weights) in problem()) {
        let exact = risk_exact(&weights, &teacher, 0);
        prop_assert!(exact >= 0.0);
        prop_assert!((risk(&weights, &teacher, 0) - exact).abs() < 1e-13 * exact.max(1.0));
        let zero = risk_exact(&weights.with_rows(Array2::zeros(weights.rows().dim())), &teacher, 0);
        let double = risk_exact(&weights.with_rows(2.0 * weights.rows()), &teacher, 0);
        // L(s) = s^2 A + s B + C.
        let a = (double - 2.0 * exact + zero) / 2.0;
        let b = exact - zero - a;
        let slope = (weights.rows() * &gradient(&weights, &teacher)).sum();
        prop_assert!((slope - (2.0 * a + b)).abs() < 1e-11 * zero.max(1.0), "{slope} against {}", 2.0 * a + b);
    }

    /// grad = A W + B V with symmetric A, at every instruction set to the last bit.
    #[test]
    fn coefficient_form((teacher, weights) in problem()) {
        use committee::numerics::level::Level;
        let c = coefficients(&weights, &teacher, 0);
        prop_assert!(largest(&(&c.a - &c.a.t())) < 1e-15);
        let mut sum = c.a.dot(weights.rows());
        let r = teacher.rank();
        let along = sum.slice(ndarray::s![.., ..r]).to_owned() + c.b.dot(teacher.vectors());
        sum.slice_mut(ndarray::s![.., ..r]).assign(&along);
        let g = gradient(&weights, &teacher);
        prop_assert!(largest(&(&sum - &g)) < 1e-13);
        for level in Level::available() {
            let at_level = Field::with_level(&weights, &teacher, 0, level).gradient_at(weights.rows().view());
            prop_assert!(at_level.iter().zip(&g).all(|(x, y)| x.to_bits() == y.to_bits()), "{:?}", level);
        }
    }
}

#[test]
fn losses_in_closed_form() {
    use std::f64::consts::PI;
    for k in [1, 2, 5, 17] {
        let teacher = Teacher::orthonormal(k).unwrap();
        let across = Array2::from_shape_fn((k, 2 * k), |(i, c)| f64::from(u8::from(c == k + i)));
        let l = risk_exact(&Weights::new(across, None, &teacher).unwrap(), &teacher, 0);
        let expected = k as f64 * (PI - 1.0) / (2.0 * PI);
        assert!((l - expected).abs() < 1e-14 * expected, "Q = T = I, R = 0, K = {k}: {l}");
        let zero = Weights::new(Array2::zeros((3, k)), None, &teacher).unwrap();
        let m = k as f64;
        let expected = (m * PI + m * (m - 1.0)) / (4.0 * PI);
        assert!((risk_exact(&zero, &teacher, 0) - expected).abs() < 1e-14 * expected, "zero student, M = {k}");
        let same = Weights::new(Array2::eye(k), None, &teacher).unwrap();
        assert!(risk_exact(&same, &teacher, 0) < 1e-31);
        assert!(largest(&gradient(&same, &teacher)) < 1e-15);
    }
}

/// Monte Carlo with the networks themselves: the right loss within 5 standard errors, a loss wrong by 2 % outside.
#[test]
fn loss_is_that_of_the_networks() {
    use rand::Rng;
    use rand_distr::StandardNormal;
    let gram = array![[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 2.0]];
    let teacher = Teacher::new(gram, Some(array![[1.0, -0.5, 0.7]])).unwrap();
    let rows = array![[0.4, -0.3, 0.9, 0.2], [-1.0, 0.2, 0.1, 0.5]];
    let weights = Weights::new(rows, Some(array![[0.8, -1.3]]), &teacher).unwrap();
    let mut rng = random::stream(9, &[]);
    let n = 2_000_000;
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..n {
        let x: [f64; 4] = std::array::from_fn(|_| rng.sample(StandardNormal));
        let field = |row: ndarray::ArrayView1<f64>| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>().max(0.0);
        let student: f64 = weights.rows().outer_iter().zip([0.8, -1.3]).map(|(row, a)| a * field(row)).sum();
        let target: f64 = teacher.vectors().outer_iter().zip([1.0, -0.5, 0.7]).map(|(row, b)| b * field(row)).sum();
        let value = 0.5 * (student - target).powi(2);
        sum += value;
        squares += value * value;
    }
    let mean = sum / f64::from(n);
    let error = ((squares / f64::from(n) - mean * mean) / f64::from(n)).sqrt();
    let loss = risk_exact(&weights, &teacher, 0);
    assert!((mean - loss).abs() < 5.0 * error, "{mean} +- {error} against {loss}");
    assert!((mean - 1.02 * loss).abs() > 5.0 * error, "the test cannot tell 2 %");
}

/// A zero unit: the one-sided derivative is the limit of difference quotients, and its direction is the steepest of many.
#[test]
fn one_sided_slope_at_a_zero_unit() {
    let teacher = Teacher::orthonormal(3).unwrap();
    let rows = array![[1.0, 0.1, 0.0], [0.0, 0.0, 0.0]];
    let weights = Weights::new(rows.clone(), None, &teacher).unwrap();
    let side = &one_sided(&weights, &teacher, 0).unwrap()[0];
    let slope = |u: &[f64]| {
        let h = 1e-7;
        let mut moved = rows.clone();
        (0..3).for_each(|c| moved[[1, c]] = h * u[c]);
        (risk_exact(&weights.with_rows(moved), &teacher, 0) - risk_exact(&weights, &teacher, 0)) / h
    };
    assert_eq!(side.unit, 1);
    assert!((slope(&side.direction) - side.slope).abs() < 1e-6, "{} against {}", slope(&side.direction), side.slope);
    assert!(side.slope < 0.0);
    for i in 0..200 {
        let (a, b) = (f64::from(i) * 0.7, f64::from(i) * 1.3);
        let u = [a.sin() * b.cos(), a.sin() * b.sin(), a.cos()];
        assert!(slope(&u) > side.slope - 1e-6, "steeper direction {u:?}");
    }
}
