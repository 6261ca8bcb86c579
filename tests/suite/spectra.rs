//! Exact spectra: the orthonormal global minimum, type II, and the block structure at random states.

use committee::landscape::ansatz::{Guess, solve};
use committee::landscape::stability::{Level, analyse};
use committee::landscape::{Point, Verdict};
use committee::model::{InitialLaw, Teacher, Weights};
use committee::numerics::linalg;
use committee::population::hessian;
use ndarray::{Array2, s};

/// Facts of the global minimum W = V = I_k: (eigenvalue, multiplicity inside, multiplicity per further dimension).
fn exact(k: usize) -> Vec<(f64, usize, usize)> {
    let c = 1.0 / (2.0 * std::f64::consts::PI);
    let x = k as f64;
    let roots = |p: f64, q: f64| {
        let root = (p * p / 4.0 - q).sqrt();
        // The smaller root without cancellation.
        (q / (p / 2.0 + root), p / 2.0 + root)
    };
    let standard = roots((x + 2.0) / 4.0, (x + 1.0) / 16.0 + c / 2.0 - c * c);
    let trivial = roots(0.5 + x / 4.0 + x * c, (0.5 + (x - 1.0) * c) * (x / 4.0 + c) - (x - 1.0) / 16.0);
    vec![
        (0.25 - c, k * (k - 1) / 2, 0),
        (0.25 + c, k * (k - 3) / 2, 0),
        (standard.0, k - 1, 0),
        (standard.1, k - 1, 0),
        (trivial.0, 1, 0),
        (trivial.1, 1, 0),
        (0.25, 0, k - 1),
        ((x + 1.0) / 4.0, 0, 1),
    ]
}

#[test]
fn global_minimum_at_any_dimension() {
    for k in [5, 7, 10, 33] {
        let teacher = Teacher::orthonormal(k).unwrap();
        let weights = Weights::new(Array2::eye(k), None, &teacher).unwrap();
        let (spectrum, verdict) = analyse(&weights, &teacher, 0, 0.0, None).unwrap();
        assert_eq!(verdict, Verdict::GlobalMinimum);
        for d in [k, k + 3, 1_000_000] {
            let found = spectrum.in_dimension(d);
            let mut expected: Vec<(f64, usize)> = exact(k)
                .into_iter()
                .map(|(v, inside, across)| (v, inside + across * (d - k)))
                .filter(|l| l.1 > 0)
                .collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert_eq!(found.len(), expected.len(), "k = {k}, d = {d}");
            for (Level { value, multiplicity }, (v, m)) in found.iter().zip(&expected) {
                assert!((value - v).abs() < 1e-12 * v.max(1.0), "k = {k}, d = {d}: {value} against {v}");
                assert_eq!(multiplicity, m, "k = {k}, d = {d}: multiplicity of {v}");
            }
        }
    }
}

/// Trace of the Hessian in closed form agrees with the formulas' own: multiplicities sum to K d.
#[test]
fn multiplicities_sum_to_the_number_of_weights() {
    for k in [5, 7, 10, 33] {
        let inside: usize = exact(k).iter().map(|l| l.1).sum();
        let across: usize = exact(k).iter().map(|l| l.2).sum();
        assert_eq!((inside, across), (k * k, k));
    }
}

#[test]
fn type_two_at_seventeen() {
    let teacher = Teacher::orthonormal(17).unwrap();
    let point = Point::new(&solve(&Guess::flipped(17), 1, &teacher).unwrap(), &teacher, 0).unwrap();
    assert!((point.loss - 0.012796245493).abs() < 1e-12, "{}", point.loss);
    assert!(point.residual < 1e-13);
    assert_eq!((point.verdict, point.family.name.as_str()), (Verdict::LocalMinimum, "k1 = 1"));
    let multiplicities: Vec<usize> = point.spectrum.span.iter().map(|level| level.multiplicity).collect();
    assert_eq!(multiplicities, [15, 105, 1, 15, 1, 15, 15, 104, 1, 1, 15, 1]);
    let published = [
        0.0507667, 0.0736714, 0.0880619, 0.0886253, 0.2132562, 0.2421704, 0.3788044, 0.3913749, 2.5150432, 4.4402195,
        4.4687207, 4.9164743,
    ];
    for (level, value) in point.spectrum.span.iter().zip(published) {
        assert!((level.value - value).abs() < 6e-8, "{} against {value}", level.value);
    }
    assert!((point.spectrum.min_transverse() - 0.230248).abs() < 1e-6);
}

/// The type II family is a saddle at k = 5 and a minimum from k = 6; k1 = 2 becomes one between 7 and 8.
#[test]
fn families_change_from_saddle_to_minimum() {
    for (k, k1, loss, eigenvalue, unstable) in [
        (5, 1, 0.026970469526, -0.0077015, 3),
        (6, 1, 0.025080581002, 0.00470035, 0),
        (7, 1, 0.023202714914, 0.01405901, 0),
        (8, 1, 0.021508037172, 0.02134659, 0),
        (20, 1, 0.011275581948, 0.05509258, 0),
        (7, 2, 0.042085572, -0.00458829, 4),
        (8, 2, 0.039793234, 0.00334341, 0),
        (9, 2, 0.037488963, 0.01016562, 0),
    ] {
        let teacher = Teacher::orthonormal(k).unwrap();
        let point = Point::new(&solve(&Guess::flipped(k), k1, &teacher).unwrap(), &teacher, 0).unwrap();
        assert!((point.loss - loss).abs() < 6e-10, "k = {k}, k1 = {k1}: {}", point.loss);
        assert!((point.spectrum.min_span() - eigenvalue).abs() < 1e-7, "k = {k}: {}", point.spectrum.min_span());
        assert_eq!(point.spectrum.span_index.unstable, unstable, "k = {k}, k1 = {k1}");
        let expected = if unstable > 0 { Verdict::Saddle } else { Verdict::LocalMinimum };
        assert_eq!(point.verdict, expected, "k = {k}, k1 = {k1}");
    }
}

/// At a random state that is no critical point: the Hessian in d = 40 coordinates has the span spectrum once and the
/// transverse spectrum d - D times.
#[test]
fn span_and_transverse_blocks_make_the_dense_spectrum() {
    for (k, m, rho) in [(4, 3, 0.0), (3, 5, 0.4), (6, 2, -0.7)] {
        let teacher = Teacher::correlated(m, rho).unwrap();
        let d = 40;
        let start = InitialLaw::new(d, 1.0, &teacher).unwrap().draw(k, &teacher, 3, 1).unwrap();
        let mut wide = Array2::zeros((k, d));
        wide.slice_mut(s![.., ..start.coordinates()]).assign(start.rows());
        let dense = hessian(&start.with_rows(wide), &teacher, 0).unwrap();
        let blocks = hessian(&start, &teacher, 0).unwrap();
        let mut expected = linalg::eigvalsh(blocks.span.view()).unwrap().to_vec();
        for value in linalg::eigvalsh(blocks.transverse.view()).unwrap() {
            expected.extend(std::iter::repeat_n(value, d - start.coordinates()));
        }
        expected.sort_by(f64::total_cmp);
        let found = linalg::eigvalsh(dense.span.view()).unwrap();
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-11, "K = {k}, M = {m}: {worst:e}");
    }
}

/// Two roots of the same two-block equations at K = M = 17, seven flipped units: told apart by name, both minima.
#[test]
fn the_two_branches_have_two_names() {
    let teacher = Teacher::orthonormal(17).unwrap();
    let block = Guess { flipped: [-0.69, 0.26, -0.006], aligned: [1.036, 0.0007, 0.0098], extra: None };
    for (guess, name, loss) in [(block, "block 7", 0.060243475), (Guess::flipped(17), "k1 = 7", f64::NAN)] {
        let point = Point::new(&solve(&guess, 7, &teacher).unwrap(), &teacher, 0).unwrap();
        assert_eq!(point.family.name, name, "loss {}", point.loss);
        assert_eq!(point.family.block_sizes(), [7, 10]);
        assert_eq!((point.verdict, point.family.anti_aligned), (Verdict::LocalMinimum, 7), "{name}");
        assert!(loss.is_nan() || (point.loss - loss).abs() < 1e-9, "{name}: {}", point.loss);
    }
}

/// K = M + 1: an extra unit beside flipped ones; the symmetric m = 2 point is a saddle.
#[test]
fn points_with_an_extra_unit() {
    let teacher = Teacher::orthonormal(17).unwrap();
    for (m, loss, eigenvalue, verdict) in [
        (2, 0.01169891, -0.020415, Verdict::Saddle),
        (3, 0.01915718, 3.8e-5, Verdict::LocalMinimum),
        (4, 0.02597818, 0.005866, Verdict::LocalMinimum),
    ] {
        let point = Point::new(&solve(&Guess::with_extra(m), m, &teacher).unwrap(), &teacher, 0).unwrap();
        assert!((point.loss - loss).abs() < 1e-8, "m = {m}: {}", point.loss);
        assert!((point.spectrum.min_span() - eigenvalue).abs() < 1e-6, "m = {m}: {}", point.spectrum.min_span());
        assert_eq!(point.verdict, verdict, "m = {m}");
        assert_eq!(point.family.name, format!("k1 = {m}, 1 extra"));
    }
}

/// A split unit at an exact zero: zero modes are those that symmetry and the cubic valley predict, inside and across.
#[test]
fn zero_modes_of_a_split_unit_are_expected() {
    let teacher = Teacher::orthonormal(3).unwrap();
    let rows = ndarray::array![[0.25, 0.0, 0.0], [0.75, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let point = Point::new(&Weights::new(rows, None, &teacher).unwrap(), &teacher, 0).unwrap();
    assert_eq!(point.verdict, Verdict::GlobalMinimum);
    assert_eq!((point.spectrum.span_index.neutral, point.spectrum.transverse_index.neutral), (3, 1));
    assert_eq!(point.spectrum.expected_neutral, (3, 1));
    assert_eq!((point.family.split, point.family.name.as_str()), (1, "global, 1 split"));
    let (below, above) = point.spectrum.gap.expect("zero modes");
    assert!(below < 1e-14 && above > 0.01, "{below:e} {above:e}");
}
