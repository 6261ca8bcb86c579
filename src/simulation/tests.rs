use super::network::Problem;
use super::*;
use crate::model::Constraint;
use ndarray::{Array2, Array3, array, concatenate};

/// Three students near a teacher of two units with unequal norms, not orthogonal, and readouts of both signs: the error is
/// about as large as the label noise, so both show.
fn near_teacher(dimension: usize, rule: Sgd, times: &[f64], runs: usize) -> Simulation {
    let teacher = Teacher::new(array![[1.44, 0.3], [0.3, 0.5]], Some(array![[1.2, -0.7]])).unwrap();
    let v = teacher.vectors();
    let mut rows = Array2::<f64>::zeros((3, 5));
    rows.slice_mut(ndarray::s![..2, ..2]).assign(v);
    let shift = array![[0.1, -0.05, 0.1, 0.0, 0.0], [0.0, 0.08, -0.05, 0.1, 0.0], [0.15, 0.05, 0.1, -0.1, 0.2]];
    let start = Weights::new(rows + shift, Some(array![[1.1, -0.8, 0.6]]), &teacher).unwrap();
    let times = times.to_vec();
    Simulation { dimension, rule, teacher, start, times, runs, seed: 3, test_inputs: 0 }.checked().unwrap()
}

fn rule(batch: usize) -> Sgd {
    Sgd { learning_rate: 1.5, batch, label_noise: 0.2, weight_decay: 0.5, ..Sgd::default() }
}

fn go(_: usize) -> bool {
    true
}

/// Largest |z| of the differences of means and of variances over all entries at the last time.
fn discrepancy(first: &Recording, second: &Recording) -> f64 {
    let time = first.times.len() - 1;
    let moments = |recording: &Recording, entry: usize| {
        let values = recording.overlaps.slice(ndarray::s![.., time, entry]);
        let n = values.len() as f64;
        let mean = values.sum() / n;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let fourth = values.iter().map(|x| (x - mean).powi(4)).sum::<f64>() / n;
        [(mean, variance / n), (variance, (fourth - variance * variance) / n)]
    };
    let mut worst = 0.0;
    for entry in 0..first.overlaps.dim().2 {
        for ((x, sx), (y, sy)) in moments(first, entry).into_iter().zip(moments(second, entry)) {
            // Overlaps that are held have no spread.
            if (x - y).abs() < 1e-14 && sx + sy < 1e-28 {
                continue;
            }
            let z = (x - y).abs() / (sx + sy).sqrt();
            assert!(z.is_finite(), "entry {entry}: {x} {sx} {y} {sy}");
            worst = f64::max(worst, z);
        }
    }
    worst
}

/// Two-sample Kolmogorov-Smirnov statistic times sqrt(n/2): above 1.95 with probability 0.001.
fn kolmogorov(first: &[f64], second: &[f64]) -> f64 {
    let mut all: Vec<(f64, f64)> = first.iter().map(|&x| (x, 1.0)).chain(second.iter().map(|&x| (x, -1.0))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut height, mut worst) = (0.0, 0.0);
    for (i, &(x, step)) in all.iter().enumerate() {
        height += step;
        // A student that no input moved has one value, up to rounding: an atom counts as a whole.
        if all.get(i + 1).is_none_or(|next| next.0 - x > 1e-12) {
            worst = f64::max(worst, f64::abs(height));
        }
    }
    worst / (2.0 * first.len() as f64).sqrt()
}

fn witness(simulation: &Simulation) -> Recording {
    explicit::simulate(simulation, &go).unwrap()
}

fn reduced(simulation: &Simulation) -> Recording {
    chain::simulate(simulation, &go).unwrap()
}

/// Means and variances of all overlaps after one step, of 60 000 runs each: equal for chain and witness at every relation
/// of d, K and B (d = 5 is the smallest the chain takes). The rate is large, so that what a step adds outside the span
/// weighs as much as what it adds inside.
#[test]
fn one_step_has_the_same_law() {
    for (d, batch) in [(8, 1), (8, 3), (5, 1), (6, 3), (7, 5), (8, 5)] {
        let simulation = near_teacher(d, Sgd { learning_rate: 8.0, ..rule(batch) }, &[1.0 / d as f64], 60_000);
        let z = discrepancy(&witness(&simulation), &reduced(&simulation));
        assert!(z < 4.0, "d = {d}, B = {batch}: {z}");
    }
}

/// ... and laws that are wrong by a little are refused.
#[test]
fn one_step_of_a_wrong_law_is_refused() {
    let right = witness(&near_teacher(8, rule(5), &[0.125], 100_000));
    for (name, wrong) in [
        ("label noise 0.21 for 0.2", Sgd { label_noise: 0.21, ..rule(5) }),
        ("decay + 2 %", Sgd { weight_decay: 0.51, ..rule(5) }),
        ("learning rate + 2 %", Sgd { learning_rate: 1.53, ..rule(5) }),
    ] {
        let z = discrepancy(&right, &reduced(&near_teacher(8, wrong, &[0.125], 100_000)));
        assert!(z > 5.0, "{name}: {z}");
    }
}

/// The inputs' length alone: 51 dimensions for 50, with all rates per step the same, is 2 % more of the noise that is
/// quadratic in the learning rate.
#[test]
fn quadratic_noise_off_by_two_per_cent_is_refused() {
    let noisy = Sgd { label_noise: 0.5, learning_rate: 400.0, weight_decay: 0.0, ..rule(64) };
    let right = near_teacher(50, noisy, &[0.02], 30_000);
    let longer = Sgd { learning_rate: 408.0, ..noisy };
    let wrong = near_teacher(51, longer, &[1.0 / 51.0], 30_000);
    let explicit = witness(&right);
    assert_eq!(explicit.steps, [1]);
    let (good, bad) = (discrepancy(&explicit, &reduced(&right)), discrepancy(&explicit, &reduced(&wrong)));
    assert!(good < 4.0 && bad > 5.0, "{good} {bad}");
}

/// Every other rule, from a start on its constraint, and the records of its readouts.
fn other_rules() -> Vec<(&'static str, Sgd)> {
    let plain = Sgd { weight_decay: 0.0, learning_rate: 6.0, ..rule(1) };
    let readouts = Sgd { readout_rate: 0.7, weight_decay: 0.5, learning_rate: 2.0, ..plain };
    vec![
        ("sphere", Sgd { constraint: Constraint::Sphere, ..plain }),
        ("stiefel", Sgd { constraint: Constraint::Stiefel, ..plain }),
        ("two layers", readouts),
        ("momentum", Sgd { momentum: 0.6, weight_decay: 0.5, learning_rate: 2.0, ..plain }),
        ("momentum of both layers", Sgd { momentum: 0.6, learning_rate: 1.0, ..readouts }),
        ("momentum on the sphere", Sgd { momentum: 0.6, constraint: Constraint::Sphere, learning_rate: 2.0, ..plain }),
        ("momentum, orthonormal", Sgd { momentum: 0.6, constraint: Constraint::Stiefel, learning_rate: 2.0, ..plain }),
    ]
}

fn by_rule(dimension: usize, rule: Sgd, steps: usize, runs: usize) -> Simulation {
    let simulation = near_teacher(dimension, Sgd { label_noise: 0.2, ..Sgd::default() }, &[0.0], runs);
    let start = rule.starting(simulation.start.clone()).unwrap();
    Simulation { rule, start, times: vec![steps as f64 / dimension as f64], ..simulation }.checked().unwrap()
}

/// Three steps of each rule: chain and witness agree, at the smallest d of the chain and above, for small and large batches;
/// the set is kept.
#[test]
fn other_rules_have_the_same_law() {
    for (name, rule) in other_rules() {
        for (d, batch) in [(8, 1), (11, 4)] {
            let simulation = by_rule(d, Sgd { batch, ..rule }, 3, 30_000);
            let (explicit, chain) = (witness(&simulation), reduced(&simulation));
            let z = discrepancy(&explicit, &chain);
            assert!(z < 4.2, "{name}, d = {d}, B = {batch}: {z}");
            for recording in [&explicit, &chain] {
                let state = recording.state(7, 0, simulation.start.readouts(), &simulation.teacher).unwrap();
                let off = |i: usize, j: usize| (state.q()[[i, j]] - f64::from(u8::from(i == j))).abs();
                let held = match rule.constraint {
                    Constraint::Free => 0.0,
                    Constraint::Sphere => (0..3).map(|i| off(i, i)).fold(0.0, f64::max),
                    Constraint::Stiefel => (0..9).map(|n| off(n / 3, n % 3)).fold(0.0, f64::max),
                };
                assert!(held < 1e-14, "{name}: {held:e}");
                assert_eq!(recording.readout_entries().len(), if rule.trains_readouts() { 3 } else { 0 });
                assert_eq!(state.readouts() != simulation.start.readouts(), rule.trains_readouts());
            }
        }
    }
}

/// ... and a rule whose parameter is off by 2 % is refused, each by the other simulator.
#[test]
fn other_rules_off_by_two_per_cent_are_refused() {
    for (name, rule) in other_rules() {
        let wrong = match () {
            () if rule.momentum > 0.0 => Sgd { momentum: 1.02 * rule.momentum, ..rule },
            () if rule.trains_readouts() => Sgd { readout_rate: 1.02 * rule.readout_rate, ..rule },
            () => Sgd { learning_rate: 1.02 * rule.learning_rate, ..rule },
        };
        let of = |rule: Sgd| by_rule(10, Sgd { batch: 20, ..rule }, 6, 60_000);
        let z = discrepancy(&witness(&of(rule)), &reduced(&of(wrong)));
        assert!(z > 5.0, "{name}: {z}");
    }
}

/// The first step of heavy-ball momentum is plain; the second repeats mu of it, in weights and readouts, to the last digits.
#[test]
fn the_second_step_repeats_the_first() {
    let rule = Sgd { momentum: 0.5, readout_rate: 0.7, learning_rate: 1e-9, ..rule(1) };
    let at = |rule: Sgd, steps| {
        let mut witness = Witness::new(&by_rule(9, rule, 0, 1), 0).unwrap();
        assert!(witness.advance(steps));
        witness.weights().to_vec()
    };
    let plain = Sgd { momentum: 0.0, ..rule };
    let (start, first, plain, heavy) = (at(rule, 0), at(rule, 1), at(plain, 2), at(rule, 2));
    for i in 0..start.len() {
        // At this rate the second step's gradient does not see the first one.
        assert!((heavy[i] - plain[i] - 0.5 * (first[i] - start[i])).abs() < 1e-15, "{i}");
    }
}

/// The distribution of Q_11 at t = 1 and t = 1/2, after 12 and 6 steps; a learning rate off by 2 % shows.
#[test]
fn many_steps_have_the_same_law() {
    let simulation = near_teacher(12, rule(1), &[0.5, 1.0], 60_000);
    let (explicit, chain) = (witness(&simulation), reduced(&simulation));
    assert!(discrepancy(&explicit, &chain) < 4.0);
    let column = |recording: &Recording, time| recording.overlaps.slice(ndarray::s![.., time, 0]).to_vec();
    for time in 0..2 {
        assert!(kolmogorov(&column(&explicit, time), &column(&chain, time)) < 1.95);
    }
    let batches = near_teacher(12, rule(3), &[0.25], 60_000);
    assert!(discrepancy(&witness(&batches), &reduced(&batches)) < 4.0);
    let wrong = reduced(&near_teacher(12, Sgd { learning_rate: 1.53, ..rule(1) }, &[0.5, 1.0], 60_000));
    let distance = kolmogorov(&column(&explicit, 1), &column(&wrong, 1));
    assert!(distance > 1.95, "{distance}");
}

/// What a step changes, times d, has a limit for large d; at d = 10^12 the chain is as sound as at 10^6.
#[test]
fn huge_dimensions_have_their_limit() {
    let change = |d: usize| {
        let simulation = near_teacher(d, rule(2), &[0.0, 100.0 / d as f64], 4000);
        let mut recording = reduced(&simulation);
        let scaled = recording.overlaps.map_axis(ndarray::Axis(1), |x| (x[1] - x[0]) * d as f64);
        let (runs, entries) = scaled.dim();
        recording.times.truncate(1);
        recording.overlaps = Array3::from_shape_fn((runs, 1, entries), |(run, _, entry)| scaled[[run, entry]]);
        recording
    };
    let small = change(1_000_000);
    for d in [1_000_000_000, 1_000_000_000_000] {
        let z = discrepancy(&small, &change(d));
        assert!(z < 4.5, "d = {d}: {z}");
    }
}

/// Chain and witness give the same test error within errors, and near the teacher it keeps its relative accuracy.
#[test]
fn test_errors_agree_and_survive_alignment() {
    let teacher = Teacher::orthonormal(2).unwrap();
    for shift in [0.3, 1e-7_f64] {
        let rows = concatenate![ndarray::Axis(1), Array2::<f64>::eye(2), shift * array![[1.0, 0.5], [-0.5, 0.2]]];
        let simulation = Simulation {
            dimension: 30,
            rule: Sgd { learning_rate: 1e-9, ..Sgd::default() },
            start: Weights::new(rows, None, &teacher).unwrap(),
            teacher: teacher.clone(),
            times: vec![0.0, 0.1],
            runs: 1,
            seed: 1,
            test_inputs: 20_000,
        };
        let (first, second) = (witness(&simulation).test, reduced(&simulation).test);
        for time in 0..2 {
            let z = (first[[0, time, 0]] - second[[0, time, 0]]) / first[[0, time, 1]].hypot(second[[0, time, 1]]);
            assert!(z.abs() < 4.0, "shift {shift}: {z}");
            let size = first[[0, time, 0]] / shift.powi(2);
            assert!((0.1..2.0).contains(&size) && first[[0, time, 1]] < 0.03 * first[[0, time, 0]], "{size}");
        }
        assert_ne!(first[[0, 0, 0]], first[[0, 1, 0]]);
    }
    let perfect = Simulation {
        start: Weights::new(Array2::eye(2), None, &teacher).unwrap(),
        ..near_teacher(30, Sgd::default(), &[1.0], 1)
    };
    let perfect = Simulation { teacher, test_inputs: 100, ..perfect };
    for recording in [witness(&perfect), reduced(&perfect)] {
        assert_eq!(recording.overlaps.iter().copied().collect::<Vec<_>>(), [1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(recording.test[[0, 0, 0]], 0.0);
    }
}

/// The same bits for any number of threads; more records and a test error change nothing of the training.
#[test]
fn runs_do_not_depend_on_threads_or_on_what_is_asked() {
    type Way = fn(&Simulation) -> Recording;
    let descent: Way = |simulation| empirical::simulate(simulation, 30, &go).unwrap().recording;
    for (batch, way) in [(1, witness as Way), (3, witness), (1, reduced), (3, reduced), (1, descent)] {
        let simulation = near_teacher(40, rule(batch), &[0.0, 2.0], 5);
        let on = |threads: usize, simulation: &Simulation| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| way(simulation))
        };
        let (one, three) = (on(1, &simulation), on(3, &simulation));
        assert_eq!(one.overlaps, three.overlaps);
        let more = Simulation { times: vec![0.0, 0.5, 0.5, 1.3, 2.0], test_inputs: 50, ..simulation.clone() };
        let more = on(2, &more);
        let (last, same) = (more.overlaps.slice(ndarray::s![.., 4, ..]), one.overlaps.slice(ndarray::s![.., 1, ..]));
        assert_eq!(last, same);
        assert_eq!(more.overlaps.slice(ndarray::s![.., 1, ..]), more.overlaps.slice(ndarray::s![.., 2, ..]));
        assert!(more.test.iter().all(|x| x.is_finite()));
        assert_ne!(one.overlaps.slice(ndarray::s![0, 1, ..]), one.overlaps.slice(ndarray::s![1, 1, ..]));
        let other = Simulation { seed: 4, ..simulation };
        assert_ne!(on(1, &other).overlaps, one.overlaps);
    }
}

#[test]
fn a_recording_gives_states_and_moments() {
    let simulation = near_teacher(20, rule(1), &[0.0, 1.0], 3);
    let recording = reduced(&simulation);
    let state = recording.state(1, 0, simulation.start.readouts(), &simulation.teacher).unwrap();
    let start = simulation.start.overlaps(&simulation.teacher);
    let difference = |x: &Array2<f64>, y: &Array2<f64>| (x - y).iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    assert!(difference(state.q(), start.q()) < 1e-14 && difference(state.r(), start.r()) < 1e-14);
    let moments = recording.moments();
    assert_eq!((moments.mean.dim(), moments.runs.as_slice()), ((2, 12), [3, 3].as_slice()));
    let values: Vec<f64> = (0..3).map(|run| recording.overlaps[[run, 1, recording.q_entry(1, 0)]]).collect();
    let mean = values.iter().sum::<f64>() / 3.0;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2.0;
    assert!((moments.mean[[1, 1]] - mean).abs() < 1e-15 && (moments.variance[[1, 1]] - variance).abs() < 1e-15);
    assert_eq!((recording.q_entry(2, 2), recording.r_entry(0, 0), recording.r_entry(2, 1)), (5, 6, 11));
}

#[test]
fn divergence_is_marked() {
    let wild = Sgd { learning_rate: 2000.0, ..rule(1) };
    let mut simulation = near_teacher(10, wild, &[0.0, 0.1, 500.0], 4);
    for recording in
        [witness(&simulation), reduced(&simulation), empirical::simulate(&simulation, 9, &go).unwrap().recording]
    {
        for run in 0..4 {
            let time = recording.diverged[run].unwrap();
            assert!(time > 0.1 && time < 500.0, "{time}");
            assert!(recording.overlaps.slice(ndarray::s![run, 1, ..]).iter().all(|x| x.is_finite()));
            assert!(recording.overlaps.slice(ndarray::s![run, 2, ..]).iter().all(|x| x.is_nan()));
        }
        let moments = recording.moments();
        assert_eq!(moments.runs, [4, 4, 0]);
        assert!(recording.state(0, 2, simulation.start.readouts(), &simulation.teacher).is_err());
    }
    // A norm of 1e9 is beyond the bound from the start.
    simulation.start = simulation.start.with_rows(1e9 * simulation.start.rows());
    assert_eq!(witness(&simulation).diverged, [Some(0.0); 4]);
    simulation.times = vec![0.1];
    assert_eq!(reduced(&simulation).diverged, [Some(0.1); 4]);
}

#[test]
fn a_simulation_can_be_interrupted() {
    let simulation = near_teacher(1000, rule(1), &[1e9], 3);
    let result = chain::simulate(&simulation, &|_| false);
    assert!(matches!(result, Err(Error::Interrupted { total: 3, .. })));
    let short = near_teacher(1000, rule(1), &[1.0], 3);
    let largest = AtomicUsize::new(0);
    explicit::simulate(&short, &|done| largest.fetch_max(done, Relaxed) < 10).unwrap();
    assert_eq!(largest.into_inner(), 3);
}

#[test]
fn refusals_name_the_value() {
    let refused = |change: fn(&mut Simulation)| {
        let mut simulation = near_teacher(10, rule(1), &[1.0], 1);
        change(&mut simulation);
        let message = explicit::simulate(&simulation, &go).unwrap_err().to_string();
        assert_eq!(chain::simulate(&simulation, &go).unwrap_err().to_string(), message);
        assert_eq!(empirical::simulate(&simulation, 5, &go).unwrap_err().to_string(), message);
        assert_eq!(simulation.checked().unwrap_err().to_string(), message);
        message
    };
    assert!(refused(|s| s.rule.learning_rate = 0.0).contains("learning rate is 0"));
    assert!(refused(|s| s.rule.batch = 0).contains("batch size is 0"));
    assert!(refused(|s| s.times = vec![]).contains("number of times is 0"));
    assert!(refused(|s| s.times = vec![2.0, 1.0]).contains("the time after 2 is 1"));
    assert!(refused(|s| s.times = vec![-1.0]).contains("a time is -1"));
    assert!(refused(|s| s.times = vec![f64::NAN]).contains("NaN"));
    assert!(refused(|s| s.times = vec![f64::INFINITY]).contains("inf"));
    assert!(refused(|s| s.times = vec![1e16]).contains("2^53"));
    assert!(refused(|s| s.runs = 0).contains("number of runs is 0"));
    assert!(refused(|s| s.test_inputs = 1).contains("test inputs is 1"));
    assert!(refused(|s| s.dimension = 4).contains("dimension d is 4, needs at least 5"));
    let off = refused(|s| s.rule = Sgd { constraint: Constraint::Sphere, ..Sgd::default() });
    assert!(off.contains("violation of the constraint by the start is 0.915"), "{off}");
    let heavy = near_teacher(7, Sgd { momentum: 0.5, ..Sgd::default() }, &[1.0], 1);
    assert!(explicit::simulate(&heavy, &go).is_ok());
    let message = chain::simulate(&heavy, &go).unwrap_err().to_string();
    assert!(message.contains("dimension d is 7, needs at least 8 (rank of T + 2 K with momentum"), "{message}");
    let message = empirical::simulate(&heavy, 5, &go).unwrap_err().to_string();
    assert!(message.contains("momentum 0.5, needs plain SGD"), "{message}");
    assert!(refused(|s| s.teacher = Teacher::orthonormal(6).unwrap()).contains("the start has shape 1 x 5"));
    let mut simulation = near_teacher(10, rule(1), &[1.0], 1);
    assert!(empirical::simulate(&simulation, 0, &go).is_err());
    assert!(matches!(empirical::simulate(&simulation, usize::MAX / 4, &go), Err(Error::Memory { .. })));
    simulation.dimension = usize::MAX / 4;
    simulation.times = vec![0.0];
    assert!(matches!(explicit::simulate(&simulation, &go), Err(Error::Memory { .. })));
    // Students in the teacher's plane: fewer coordinates than the chain needs.
    let flat = simulation.start.rows().slice(ndarray::s![.., ..2]).to_owned();
    simulation.start = simulation.start.with_rows(flat);
    simulation.dimension = 4;
    assert!(explicit::simulate(&simulation, &go).is_ok());
    let message = chain::simulate(&simulation, &go).unwrap_err().to_string();
    assert!(message.contains("dimension d is 4, needs at least 5"), "{message}");
}

/// A step is eta/d times the gradient of the sample's error, taken by differences, plus the decay.
#[test]
fn descent_follows_the_gradient_of_its_sample() {
    let rule = Sgd { learning_rate: 2.0, label_noise: 0.3, weight_decay: 0.4, ..Sgd::default() };
    let simulation = near_teacher(6, rule, &[0.0], 1);
    let mut descent = Descent::new(&simulation, 50, 0).unwrap();
    let (start, d) = (descent.weights().to_vec(), 6.0);
    let (inputs, labels) = (descent.sample().0.to_vec(), descent.sample().1.to_vec());
    let loss = |w: &[f64]| {
        let f = |x: &[f64]| {
            let fields = w.chunks_exact(6).map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>());
            fields.zip([1.1, -0.8, 0.6]).map(|(field, a)| a * field.max(0.0)).sum::<f64>()
        };
        inputs.chunks_exact(6).zip(&labels).map(|(x, y)| 0.5 * (f(x) - y).powi(2)).sum::<f64>() / 50.0
    };
    assert!((loss(&start) - descent.training_error()).abs() < 1e-14);
    assert!(descent.advance(1));
    for i in 0..start.len() {
        let mut moved = start.clone();
        moved[i] += 1e-6;
        let up = loss(&moved);
        moved[i] -= 2e-6;
        let gradient = (up - loss(&moved)) / 2e-6;
        let expected = start[i] - 2.0 / d * gradient - 2.0 * 0.4 / d * start[i];
        assert!((descent.weights()[i] - expected).abs() < 1e-8, "{i}");
    }
    let noise = labels.iter().zip(inputs.chunks_exact(6)).map(|(y, x)| y - Problem::new(&simulation).target(x));
    let spread = (noise.map(|x| x * x).sum::<f64>() / 50.0).sqrt();
    assert!((0.2..0.4).contains(&spread), "{spread}");
}

/// With few inputs the sample is fitted and the population is not; with many both errors meet. The training error holds
/// the noise of the labels, sigma^2/2 = 0.02, the test error does not.
#[test]
fn a_small_sample_is_not_the_population() {
    let rule = Sgd { learning_rate: 1.0, label_noise: 0.2, ..Sgd::default() };
    let simulation = Simulation { test_inputs: 4000, ..near_teacher(20, rule, &[0.0, 200.0], 1) };
    let few = empirical::simulate(&simulation, 10, &go).unwrap();
    assert!(few.training[[0, 1]] < 0.25 * (few.recording.test[[0, 1, 0]] + 0.02), "{few:?}");
    assert_eq!((few.inputs, few.inputs_per_dimension), (10, 0.5));
    let simulation = Simulation { times: vec![0.0, 50.0], ..simulation };
    let many = empirical::simulate(&simulation, 4000, &go).unwrap();
    assert!((many.training[[0, 1]] / 0.02 - 1.0).abs() < 0.1 && many.recording.test[[0, 1, 0]] < 1e-3, "{many:?}");
}
