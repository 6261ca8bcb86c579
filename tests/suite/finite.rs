//! The mean and variance of SGD at finite d, against the exact chain.

use committee::dynamics::{Equations, evolve_sgd, iterate_map, mean_path};
use committee::model::{InitialLaw, Sgd, Teacher};
use committee::simulation::{Simulation, chain};

/// With a learning rate that falls as 1 / (1 + t) the mean is as well predicted: the map's own time step counts at this order.
#[test]
fn schedules_move_the_mean_too() {
    let teacher = Teacher::orthonormal(2).unwrap();
    let start = InitialLaw::new(10, 1.0, &teacher).unwrap().draw(2, &teacher, 1, 0).unwrap();
    let overlaps = start.overlaps(&teacher);
    for schedule in ["inverse:1", "warm-up:1+step:1.5:0.3"] {
        let rule = Sgd { learning_rate: 0.7, schedule: schedule.parse().unwrap(), ..Sgd::default() };
        let (d, times, runs) = (40, vec![1.0, 3.0], 40_000);
        let finite = Equations::new(&overlaps, &teacher, rule).unwrap().at_dimension(d as f64).unwrap();
        let path = mean_path(&overlaps, &finite, &times, 1 << 15, 1).unwrap();
        let (start, teacher) = (start.clone(), teacher.clone());
        let simulation = Simulation { dimension: d, rule, teacher, start, times, runs, seed: 1, test_inputs: 0 };
        let moments = chain::simulate(&simulation, &|_| true).unwrap().moments();
        for (n, state) in path.iter().enumerate() {
            for i in 0..finite.dim() {
                let z = (state.mean[i] - moments.mean[[n, i]]) / (moments.variance[[n, i]] / runs as f64).sqrt();
                assert!(z.abs() < 5.0, "{schedule}, entry {i} at t = {}: {z}", state.time);
            }
        }
    }
}

/// At d = 80 the means of 80 000 runs are as predicted to O(1/d): no overlap is 5 standard errors off. The equations of
/// d = infinity, and the iterated mean of one step alone, are off by more than 15 and 4. Variances agree
/// to 15 %: the leading order is off by O(1/d), here up to 7 %, and the drawn inputs add 5 %.
#[test]
fn the_mean_is_right_to_the_first_order() {
    let teacher = Teacher::orthonormal(2).unwrap();
    let start = InitialLaw::new(10, 1.0, &teacher).unwrap().draw(2, &teacher, 1, 0).unwrap();
    let overlaps = start.overlaps(&teacher);
    let rule = Sgd { learning_rate: 0.5, ..Sgd::default() };
    let (d, times, runs) = (80, vec![1.0, 3.0], 80_000);
    let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
    let plain = evolve_sgd(&overlaps, &equations, &times, 1e-10).unwrap();
    let finite = equations.clone().at_dimension(d as f64).unwrap();
    let map = iterate_map(&overlaps, &finite, &times).unwrap();
    let path = mean_path(&overlaps, &finite, &times, 1 << 15, 1).unwrap();
    let simulation =
        Simulation { dimension: d, rule, teacher: teacher.clone(), start, times, runs, seed: 1, test_inputs: 0 };
    let moments = chain::simulate(&simulation, &|_| true).unwrap().moments();
    let mut worst = [0.0f64; 3];
    for (n, state) in path.iter().enumerate() {
        let limit = equations.pack(&plain.trajectory.frames[n].overlaps);
        for i in 0..limit.len() {
            let (mean, variance) = (moments.mean[[n, i]], moments.variance[[n, i]]);
            let error = (variance / runs as f64).sqrt();
            for (worst, predicted) in worst.iter_mut().zip([limit[i], map[n][i], state.mean[i]]) {
                *worst = worst.max((predicted - mean).abs() / error);
            }
            let ratio = state.covariance[[i, i]] / variance;
            assert!((0.85..1.12).contains(&ratio), "variance of entry {i} at t = {}: {ratio}", state.time);
        }
    }
    assert!(worst[0] > 15.0 && worst[1] > 4.0 && worst[2] < 5.0, "{worst:?}");
}
