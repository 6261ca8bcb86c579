//! Landscapes at K = M = 17 and K = 18, M = 17 against published numbers, and the cubic valley.

use crate::lines::Lines;
use committee::dynamics::{Integrator, evolve};
use committee::landscape::ansatz::{Guess, solve};
use committee::landscape::catalogue::{Catalogue, Census};
use committee::landscape::fixed_point::relax;
use committee::landscape::{Point, Problem, Verdict};
use committee::model::{InitialLaw, Teacher, Training, Weights};
use committee::numerics::{linalg, statistics};
use committee::population::hessian;
use ndarray::Array2;

fn census(students: usize, dimension: usize, runs: u64) -> Census {
    let teacher = Teacher::orthonormal(17).unwrap();
    let law = InitialLaw::new(dimension, 1.0, &teacher).unwrap();
    let problem = Problem { students, teacher, law, seed: 1, rule: Training::GradientFlow };
    let mut catalogue = Catalogue::open(None, problem, "orthonormal").unwrap();
    catalogue.fill(runs, &|_, _, _| true).unwrap();
    catalogue.census(runs).unwrap()
}

fn table(lines: &Lines, census: &Census) {
    for class in &census.classes {
        let p = &class.point;
        lines.note(&format!(
            "{:5} runs, loss {:.12}, {}, {}, {}, eigenvalue {:.8}, transverse {:.6}, residual {:.1e}",
            class.hits,
            p.loss,
            p.verdict.name(),
            p.family.name,
            p.family.isotropy,
            p.spectrum.min_span(),
            p.spectrum.min_transverse(),
            p.residual
        ));
    }
}

/// Hits of k1 = 0..4 on the main branch and of everything else, by the published rule (anti-aligned rows) or by family.
fn counts(census: &Census) -> [usize; 6] {
    let mut counts = [0; 6];
    for class in &census.classes {
        let slot = match class.point.verdict {
            Verdict::GlobalMinimum => 0,
            _ if class.point.family.name.starts_with("k1 = ") => class.point.family.anti_aligned.min(5),
            _ => 5,
        };
        counts[slot] += class.hits;
    }
    counts
}

/// 10 000 runs at K = M = 17, d = 17 and d = 1000. About a minute.
#[test]
#[ignore = "evidence"]
fn landscape_k17() {
    let mut lines = Lines::new("landscape_k17");
    let start = std::time::Instant::now();
    let small = census(17, 17, 10_000);
    lines.note(&format!("10 000 runs at d = 17 in {:.1} s", start.elapsed().as_secs_f64()));
    table(&lines, &small);
    lines.line("unresolved runs, d = 17", small.unresolved(), "<= 10", small.unresolved() <= 10);
    let worst = small.classes.iter().map(|class| class.point.residual).fold(0.0, f64::max);
    lines.line("largest residual of a point", format!("{worst:.1e}"), "<= 1e-13", worst <= 1e-13);
    let published = [
        (1, 0.0127962455, 0.05076672),
        (2, 0.0247664285, 0.03973741),
        (3, 0.0361749155, 0.03167781),
        (4, 0.0470865562, 0.02418492),
        (5, 0.0575133891, 0.01738888),
        (6, 0.0674347372, 0.01110355),
    ];
    for (k1, loss, eigenvalue) in published {
        let found = small.classes.iter().find(|class| class.point.family.name == format!("k1 = {k1}"));
        let (l, e) = found.map_or((f64::NAN, f64::NAN), |c| (c.point.loss, c.point.spectrum.min_span()));
        // The table prints ten decimals, so half a unit of the last is allowed.
        let pass = (l - loss).abs() <= 1e-9 && (e - eigenvalue).abs() <= 1e-7;
        lines.line(&format!("k1 = {k1}: loss, eigenvalue"), format!("{l:.10}, {e:.8}"), "1e-9, 1e-7", pass);
    }
    for (m, loss) in [(7, 0.060243475), (9, 0.070322634)] {
        let found = small.classes.iter().find(|class| class.point.family.name == format!("block {m}"));
        let l = found.map_or(f64::NAN, |class| class.point.loss);
        lines.line(&format!("second branch, block {m}"), format!("{l:.9}"), "1e-8", (l - loss).abs() <= 1e-8);
    }
    // Safran, Yehudai, Shamir 2021, k = 17, 500 runs: 9.8, 27.8, 29.0, 21.2, 7.8 %, rest 4.4 %.
    let files = [49, 139, 145, 106, 39, 22];
    let ours = counts(&small);
    let test = statistics::homogeneity(&ours, &files);
    let share = |counts: [usize; 6]| counts.map(|c| format!("{:.2}", c as f64 / 100.0)).join(", ");
    lines.line(
        "shares in % of k1 = 0..4, rest at d = 17 against the 2021 files (d = 17)",
        format!("{}; p = {:.3}", share(ours), test.p_value),
        "p > 0.01",
        test.p_value > 0.01,
    );
    let wide = census(17, 1000, 10_000);
    table(&lines, &wide);
    lines.line("unresolved runs, d = 1000", wide.unresolved(), "<= 10", wide.unresolved() <= 10);
    // Huang et al. 2026, 10 000 runs: 13.09, 27.52, 29.05, 18.94, 7.55 %, rest 3.85 %.
    let huang = [1309, 2752, 2905, 1894, 755, 385];
    let at_1000 = counts(&wide);
    let verdict = statistics::homogeneity(&at_1000, &huang);
    lines.line(
        "shares in % at d = 1000 against Huang et al. (their d is not stated)",
        format!("{}; p = {:.3}", share(at_1000), verdict.p_value),
        "verdict, whatever it is",
        true,
    );
    let apart = statistics::homogeneity(&ours, &at_1000);
    lines.line(
        "d = 17 and d = 1000 told apart",
        format!("p = {:.1e}", apart.p_value),
        "p < 0.01",
        apart.p_value < 0.01,
    );
    lines.close();
}

/// 1000 runs at K = 18, M = 17, d = 17, the symmetric m = 2 saddle and what it decays to. About ten seconds.
#[test]
#[ignore = "evidence"]
fn quick_landscape_k18() {
    let mut lines = Lines::new("quick_landscape_k18");
    let found = census(18, 17, 1000);
    table(&lines, &found);
    lines.line("unresolved runs", found.unresolved(), "0", found.unresolved() == 0);
    let one = found.classes.iter().filter(|c| c.point.family.anti_aligned == 1).map(|c| c.hits).sum::<usize>();
    lines.line("runs with one anti-aligned unit", one, "0", one == 0);
    let global: usize =
        found.classes.iter().filter(|c| c.point.verdict == Verdict::GlobalMinimum).map(|c| c.hits).sum();
    lines.line("global share in %", global as f64 / 10.0, "73 to 81", (730..=810).contains(&global));
    for (name, loss, eigenvalue, transverse) in [
        ("m = 3", 0.01915718, 3.8e-5, 0.0830),
        ("m = 4", 0.02597818, 0.005866, 0.0881),
        ("m = 5", 0.03235951, 0.007805, 0.0917),
        ("m = 2, asymmetric", 0.01220119, 0.005267, 0.0663),
    ] {
        let class = found.classes.iter().find(|class| (class.point.loss - loss).abs() < 2e-8);
        let (l, e, t) = class.map_or((f64::NAN, f64::NAN, f64::NAN), |c| {
            (c.point.loss, c.point.spectrum.min_span(), c.point.spectrum.min_transverse())
        });
        let pass = (l - loss).abs() < 1e-7 && (e - eigenvalue).abs() < 2e-6 && (t - transverse).abs() < 1e-4;
        lines.line(&format!("minimum {name}"), format!("{l:.8}, {e:.6}, {t:.4}"), "as published", pass);
    }
    symmetric_saddle(&mut lines, &found);
    lines.close();
}

fn symmetric_saddle(lines: &mut Lines, found: &Census) {
    let teacher = Teacher::orthonormal(17).unwrap();
    let weights = solve(&Guess::with_extra(2), 2, &teacher).unwrap();
    let saddle = Point::new(&weights, &teacher, 0).unwrap();
    let eigenvalue = saddle.spectrum.min_span();
    let pass = (saddle.loss - 0.01169891).abs() < 1e-8 && (eigenvalue + 0.020415).abs() < 1e-6;
    lines.line(
        "symmetric m = 2 from its ansatz: loss, span eigenvalue, verdict",
        format!("{:.8}, {eigenvalue:.6}, {}", saddle.loss, saddle.verdict.name()),
        "0.01169891, -0.020415, saddle",
        pass && saddle.verdict == Verdict::Saddle,
    );
    let span = hessian(&saddle.weights, &teacher, 0).unwrap().span;
    let (_, vectors) = linalg::eigh(span.view()).unwrap();
    for sign in [1.0, -1.0] {
        let shape = saddle.weights.rows().dim();
        let step = Array2::from_shape_fn(shape, |(i, c)| sign * 1e-6 * vectors[[i * shape.1 + c, 0]]);
        let start = saddle.weights.with_rows(saddle.weights.rows() + &step);
        let settled = committee::landscape::settle(&start, &teacher, 0).unwrap();
        let end = Point::new(&settled.weights, &teacher, 0).unwrap();
        let listed = found.classes.iter().any(|class| {
            class.point.verdict == end.verdict
                && (class.point.loss - end.loss).abs() < 1e-9
                && (end.loss < 1e-20 || class.point.canonical.distance(&end.canonical) < 1e-8)
        });
        lines.line(
            &format!("flow from the saddle {} 1e-6 of its mode", if sign > 0.0 { "plus" } else { "minus" }),
            format!("loss {:.8}, {}, {}", end.loss, end.family.name, end.verdict.name()),
            "a listed point",
            listed,
        );
        let relaxed = relax(&start, &teacher, 0).map(|(w, _)| Point::new(&w, &teacher, 0).unwrap().loss);
        lines.note(&format!("trust region from the same start: loss {relaxed:?}"));
    }
}

/// K = 2, M = 1: L ~ t^-3 and |grad| ~ t^-2 between t = 1e3 and 1e6. Seconds.
#[test]
#[ignore = "evidence"]
fn quick_cubic_valley() {
    let mut lines = Lines::new("quick_cubic_valley");
    let teacher = Teacher::orthonormal(1).unwrap();
    let start = Weights::new(ndarray::array![[0.6, 0.5], [0.7, -0.4]], None, &teacher).unwrap();
    let times: Vec<f64> = (0..=12).map(|i| 10f64.powf(3.0 + 0.25 * f64::from(i))).collect();
    let trajectory = evolve(&start, &teacher, 0, &times, 1e-10, Integrator::Rkc).unwrap();
    let log = |pick: fn(&committee::model::Frame) -> f64| -> Vec<f64> {
        trajectory.frames.iter().map(|frame| pick(frame).ln()).collect()
    };
    let t = log(|frame| frame.time);
    for (name, values, exponent) in
        [("L", log(|frame| frame.loss), -3.0), ("|grad|", log(|frame| frame.gradient_norm), -2.0)]
    {
        let (slope, _) = statistics::line_fit(&t, &values);
        lines.line(
            &format!("exponent of {name}"),
            format!("{slope:.4}"),
            &format!("{exponent} +- 0.02"),
            (slope - exponent).abs() < 0.02,
        );
    }
    for frame in trajectory.frames.iter().step_by(4) {
        lines.note(&format!("t = {:.0}: L = {:.3e}, |grad| = {:.3e}", frame.time, frame.loss, frame.gradient_norm));
    }
    lines.close();
}
