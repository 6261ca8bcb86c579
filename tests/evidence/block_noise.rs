//! SGD on block-symmetric states: second moments at any size, and the learning rates at which minima end.

use std::time::Instant;

use crate::lines::Lines;
use committee::dynamics::{BlockParameter, BlockSgd, Equations, local_threshold, orthonormal_threshold};
use committee::landscape::noisy::{LimitKind, follow_minimum};
use committee::landscape::reduced::{Shape, flipped_guess, solve};
use committee::model::{BlockTeacher, Blocks, Partition, Sgd, Teacher};
use committee::numerics::linalg;
use committee::population::{BlockFields, Fields, block_error_moments, error_moments};
use committee::simulation::{Simulation, chain};

/// A state with entries of a size that keeps the norms near 1.
fn state(number: usize, teachers: &[f64], matched: &[usize], free: &[f64], rho: f64) -> Blocks {
    let partition = Partition::new(teachers, matched, free).unwrap();
    let total: f64 = teachers.iter().sum();
    let entries: Vec<f64> = partition
        .entries()
        .iter()
        .enumerate()
        .map(|(i, entry)| {
            let own = entry.place == committee::model::Place::Own;
            let wave = (1.7 * i as f64 + number as f64).sin();
            if own { 0.8 * wave.signum() + 0.2 * wave } else { wave / total }
        })
        .collect();
    let readouts = (0..matched.len() + free.len()).map(|g| [1.0, 0.6, 1.3][(g + number) % 3]).collect();
    Blocks::new(partition, BlockTeacher::correlated(teachers.len(), rho), &entries, Some(readouts)).unwrap()
}

/// Largest difference to the dense moments, relative to the largest of them; sizes are whole.
fn difference(blocks: &Blocks) -> f64 {
    let (weights, teacher) = blocks.expand().unwrap();
    let dense = error_moments(&Fields::from_weights(&weights, &teacher, 0));
    let fields = BlockFields::from_blocks(blocks);
    let small = block_error_moments(&fields);
    let (sets, sizes) = (blocks.partition().student_sets(), blocks.partition().sizes());
    let groups: Vec<(usize, usize)> =
        (0..sets.len()).flat_map(|g| (0..sizes[sets[g]] as usize).map(move |i| (g, i))).collect();
    let mut worst = 0.0f64;
    for (i, &(g, x)) in groups.iter().enumerate() {
        for (k, &(h, y)) in groups.iter().enumerate() {
            let same = sets[g] == sets[h] && x == y;
            worst = worst.max((small[[g, h]][usize::from(!same)] - dense[[i, k]]).abs());
        }
    }
    worst / linalg::max_abs(&dense)
}

fn seconds(mut work: impl FnMut(), times: u32) -> f64 {
    let start = Instant::now();
    (0..times).for_each(|_| work());
    start.elapsed().as_secs_f64() / f64::from(times)
}

/// All E[e^2 H_i H_k] of block-symmetric states against the dense sum over sets; time at 17 and at a million teachers.
/// Seconds.
#[test]
#[ignore = "evidence"]
fn quick_block_noise() {
    let mut lines = Lines::new("quick_block_noise");
    for (name, teachers, matched, free, rho) in [
        ("16 + 1", &[16.0, 1.0][..], &[0, 1][..], &[][..], 0.0),
        ("12 + 5 and one free", &[12.0, 5.0], &[0, 1], &[1.0], 0.0),
        ("5 + 4 + 3 and two free, correlated", &[5.0, 4.0, 3.0], &[0, 1, 2], &[2.0], 0.1),
        ("7 + 5, two students for each of 5, correlated", &[7.0, 5.0], &[0, 1, 1], &[1.0], -0.05),
    ] {
        let worst = (0..5).map(|number| difference(&state(number, teachers, matched, free, rho))).fold(0.0, f64::max);
        lines.line(
            &format!("{name}: worst of 5 states, relative to the largest moment"),
            format!("{worst:.1e}"),
            "< 1e-12",
            worst < 1e-12,
        );
    }
    let shape = |m: f64| {
        let shape = Shape::flipped(1.0, m, 0);
        solve(&shape, &flipped_guess(&shape)).unwrap()
    };
    let time = |blocks: &Blocks| {
        seconds(|| assert!(block_error_moments(&BlockFields::from_blocks(blocks))[[0, 0]][0].is_finite()), 200)
    };
    let dense = {
        let (weights, teacher) = shape(17.0).expand().unwrap();
        let fields = Fields::from_weights(&weights, &teacher, 0);
        seconds(|| assert!(error_moments(&fields)[[0, 0]].is_finite()), 5)
    };
    let (small, large) = (time(&shape(17.0)), time(&shape(1e6)));
    let ratio = large / small;
    // The number of averages is the same; a P4 costs more or less with its geometry.
    lines.line("time at M = 1e6 / time at M = 17, k1 = 1", format!("{ratio:.2}"), "< 10", ratio < 10.0);
    lines.note(&format!(
        "{:.3} ms a state at M = 17, {:.3} ms at M = 1e6; dense at M = 17: {:.1} ms",
        1e3 * small,
        1e3 * large,
        1e3 * dense
    ));
    // What rounding leaves of a sum over (2 M)^2 pairs: the fourth difference in M.
    for m in [1e2, 1e3, 1e4, 1e5] {
        let at = |m: f64| block_error_moments(&BlockFields::from_blocks(&shape(m)))[[1, 1]][0];
        let h = 1e-3 * m;
        let [a, b, c, d, e] = [-2.0, -1.0, 0.0, 1.0, 2.0].map(|k| at(m + k * h));
        let rough = ((a - 4.0 * b + 6.0 * c - 4.0 * d + e) / 70f64.sqrt()).abs();
        lines.note(&format!("M = {m:.0e}: E[e^2 H_i] = {c:.4e}, rounding about {rough:.1e}"));
    }
    lines.close();
}

/// K = M = 8: where the minima with one and two flipped units end, by the branch and its spectrum in sectors, by the
/// singular point's own equations, and by bisection of the dense spectrum; simulated runs on both sides. Two minutes.
#[test]
#[ignore = "evidence"]
fn learning_rate_limits() {
    let mut lines = Lines::new("learning_rate_limits");
    let m = 8;
    let local = local_threshold(&Teacher::orthonormal(m).unwrap(), 1).unwrap();
    for (k1, kind) in [(1.0, LimitKind::Fold), (2.0, LimitKind::Real)] {
        let shape = Shape::flipped(k1, m as f64, 0);
        let minimum = solve(&shape, &flipped_guess(&shape)).unwrap();
        let followed = follow_minimum(&minimum, Sgd::default(), 2.0 * local).unwrap();
        let limit = followed.limit.clone().unwrap();
        let rate = limit.learning_rate;
        lines.line(
            &format!("k1 = {k1}: limit on the branch"),
            format!("{rate:.10}, {}, {}, loss {:.6}", limit.kind.name(), limit.sector.name(), limit.loss),
            &format!("{}, below the local threshold {local:.6}", kind.name()),
            limit.kind == kind && rate < local,
        );
        let (direct, error) = limit.direct.unwrap();
        lines.line(
            &format!("k1 = {k1}: minus that of F = 0, B phi = 0"),
            format!("{:.1e} (error {error:.0e})", rate - direct),
            "< 1e-10",
            (rate - direct).abs() < 1e-10,
        );
        let dense = followed.dense_limit(5e-4 * local, 1e-6).unwrap().unwrap();
        lines.line(
            &format!("k1 = {k1}: minus that of the dense equations, bisected to 1e-6"),
            format!("{:.1e}", rate - dense),
            "< 1e-6",
            (rate - dense).abs() < 1e-6,
        );
        // All sectors with their multiplicities against the dense spectrum, on the way.
        let eta = 0.9 * rate;
        let x = followed.at(eta).unwrap();
        let (overlaps, teacher) = followed.system.expand(&x).unwrap();
        let rule = Sgd { learning_rate: eta, ..Sgd::default() };
        let equations = Equations::new(&overlaps, &teacher, rule).unwrap();
        let jacobian = equations.jacobian(0.0, &equations.pack(&overlaps));
        let mut full: Vec<f64> = linalg::eigenvalues(jacobian.view()).unwrap().iter().map(|z| z[0]).collect();
        let rates = followed.spectrum.rates(&x, eta).unwrap();
        let mut sectors: Vec<f64> = rates
            .iter()
            .flat_map(|level| {
                let copies = level.multiplicity as usize;
                level.values.iter().flat_map(move |z| std::iter::repeat_n(z[0] * eta, copies))
            })
            .collect();
        full.sort_by(f64::total_cmp);
        sectors.sort_by(f64::total_cmp);
        let worst = full.iter().zip(&sectors).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        lines.line(
            &format!(
                "k1 = {k1}: {} eigenvalues by sector against {} dense ones, 0.9 x limit",
                sectors.len(),
                full.len()
            ),
            format!("{worst:.1e}"),
            "< 1e-10",
            worst < 1e-10 && full.len() == sectors.len(),
        );
        // Runs from the fixed point: w_1 . v_1 stays near its value below the limit and leaves above it.
        let place = m * (m + 1) / 2;
        let runs = |eta: f64, start: &[f64], dimension: usize, time: f64| {
            let (overlaps, teacher) = followed.system.expand(start).unwrap();
            let simulation = Simulation {
                dimension,
                rule: Sgd { learning_rate: eta, ..Sgd::default() },
                start: overlaps.lift(&teacher).unwrap(),
                teacher,
                times: vec![0.0, time],
                runs: 16,
                seed: 1,
                test_inputs: 0,
            };
            let recording = chain::simulate(&simulation, &|_| true).unwrap();
            let stayed = |run: usize| {
                let before = recording.overlaps[[run, 0, place]];
                recording.diverged[run].is_none() && (recording.overlaps[[run, 1, place]] - before).abs() < 0.3
            };
            (0..16).filter(|&run| stayed(run)).count()
        };
        let below = followed.at(0.8 * rate).unwrap();
        let (dimension, time) = (4000, 400.0);
        let kept = runs(0.8 * rate, &below, dimension, time);
        lines.line(
            &format!("k1 = {k1}: runs at d = {dimension} that stay until t = {time} at 0.8 x limit"),
            format!("{kept} of 16"),
            "16",
            kept == 16,
        );
        let left = 16 - runs(1.1 * rate, &limit.x, dimension, time);
        lines.line(
            &format!("k1 = {k1}: runs that have left the limit's state at 1.1 x limit"),
            format!("{left} of 16"),
            "16",
            left == 16,
        );
    }
    // The block equations and the dense ones, at the fixed points of two learning rates.
    let shape = Shape::flipped(1.0, m as f64, 0);
    let minimum = solve(&shape, &flipped_guess(&shape)).unwrap();
    let system = BlockSgd::new(&minimum, Sgd::default(), BlockParameter::LearningRate).unwrap();
    let start = system.pack(&minimum);
    let loss = |eta: f64| system.risk(&system.fixed_point(&start, eta).unwrap());
    let slope = (4.0 * (loss(5e-5) - loss(0.0)) - (loss(1e-4) - loss(0.0))) / 1e-4;
    lines.line(
        "k1 = 1: slope of the excess loss at 0",
        format!("{slope:.8}"),
        "0.0409929 to 1e-7",
        (slope - 0.0409929).abs() < 1e-7,
    );
    for m in [8, 12, 17, 40, 100] {
        let local = orthonormal_threshold(m, 1);
        for k1 in [1.0, 2.0, 3.0] {
            let shape = Shape::flipped(k1, m as f64, 0);
            let Ok(state) = solve(&shape, &flipped_guess(&shape)) else { continue };
            let Ok(found) = follow_minimum(&state, Sgd::default(), 1.0) else { continue };
            if let Some(limit) = found.limit {
                lines.note(&format!(
                    "M = {m}, k1 = {k1}: {:.8}, {}, {}, loss {:.5}, local threshold {local:.6}",
                    limit.learning_rate,
                    limit.kind.name(),
                    limit.sector.name(),
                    limit.loss
                ));
            }
        }
    }
    lines.close();
}
