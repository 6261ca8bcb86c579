//! Second moments of the one-sample gradient: the two ways to the fields, and what label noise adds.

use committee::model::{InitialLaw, Teacher, Weights};
use committee::numerics::linalg;
use committee::population::{Fields, error_moments, step_moments};
use std::f64::consts::PI;

fn state(zero: Option<usize>) -> (Weights, Teacher) {
    let teacher = Teacher::correlated(4, 0.3).expect("teacher");
    let start = InitialLaw::new(9, 1.0, &teacher).and_then(|law| law.draw(3, &teacher, 5, 0)).expect("start");
    let mut rows = start.rows().clone();
    if let Some(unit) = zero {
        rows.row_mut(unit).fill(0.0);
    }
    (Weights::new(rows, None, &teacher).expect("weights"), teacher)
}

#[test]
fn overlaps_and_weights_give_the_same_moments() {
    let (weights, teacher) = state(None);
    let from_weights = Fields::from_weights(&weights, &teacher, 0);
    let from_overlaps = Fields::from_overlaps(&weights.overlaps(&teacher), &teacher, 0);
    for i in 0..7 {
        assert!((from_weights.norm(i) - from_overlaps.norm(i)).abs() < 1e-14);
        assert_eq!(from_weights.readout(i), from_overlaps.readout(i));
        for j in 0..7 {
            let (one, two) = (from_weights.link(i, j), from_overlaps.link(i, j));
            assert!((one.r - two.r).abs() < 1e-14 && (one.a - two.a).abs() < 1e-7, "{i} {j}: {one:?} {two:?}");
        }
    }
    let difference = error_moments(&from_weights) - error_moments(&from_overlaps);
    assert!(linalg::max_abs(&difference) < 1e-13, "{difference:e}");
}

#[test]
fn step_moments_are_orthants_of_two_fields() {
    for zero in [None, Some(1)] {
        let (weights, teacher) = state(zero);
        let steps = step_moments(&Fields::from_weights(&weights, &teacher, 0));
        let q = weights.overlaps(&teacher).q().clone();
        for i in 0..3 {
            for j in 0..3 {
                let expected = if zero == Some(i) || zero == Some(j) {
                    0.0
                } else if i == j {
                    0.5
                } else {
                    0.25 + (q[[i, j]] / (q[[i, i]] * q[[j, j]]).sqrt()).asin() / (2.0 * PI)
                };
                assert!((steps[[i, j]] - expected).abs() < 1e-15, "{i} {j}: {} {expected}", steps[[i, j]]);
            }
        }
    }
}
