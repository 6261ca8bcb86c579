//! Training rules other than gradient flow: both layers, norms held, orthonormal students, descent with a finite step.

use crate::lines::Lines;
use committee::dynamics::{Descent as Flow, Integrator, descend, evolve_by};
use committee::landscape::catalogue::{Catalogue, Census};
use committee::landscape::{Problem, polish};
use committee::model::{
    Constraint, Descent, InitialLaw, Normalisation, Overlaps, Teacher, Training, TwoLayer, Weights,
};
use committee::numerics::linalg;
use committee::population::{Field, constrained_gradient, hessian};
use ndarray::Array2;

fn problem(students: usize, teachers: usize, dimension: usize, rule: Training) -> Problem {
    scaled(students, teachers, dimension, 1.0, rule)
}

fn scaled(students: usize, teachers: usize, dimension: usize, scale: f64, rule: Training) -> Problem {
    let teacher = Teacher::orthonormal(teachers).unwrap();
    let law = InitialLaw::new(dimension, scale, &teacher).unwrap();
    Problem { students, teacher, law, seed: 1, rule }
}

fn census(problem: Problem, runs: u64) -> Census {
    let mut catalogue = Catalogue::open(None, problem, "orthonormal").unwrap();
    catalogue.fill(runs, &|_, _, _| true).unwrap();
    catalogue.census(runs).unwrap()
}

fn negative(matrix: &Array2<f64>) -> usize {
    linalg::eigvalsh(matrix.view()).unwrap().iter().filter(|&&x| x < -1e-10).count()
}

/// Both layers trained, K = M = 8, 12, 17: the landscape is that of one layer, with one zero mode for each unit.
#[test]
#[ignore = "evidence"]
fn quick_two_layer() {
    let mut lines = Lines::new("quick_two_layer");
    // Where a_i^2/eta_a - |w_i|^2/eta_w is negative a readout may change its sign: the last case.
    for (k, runs, rate, scale) in [
        (8, 500, 1.0, 1.0),
        (8, 500, 5.0, 1.0),
        (12, 500, 1.0, 1.0),
        (12, 500, 5.0, 1.0),
        (17, 1000, 1.0, 1.0),
        (17, 1000, 5.0, 1.0),
        (8, 500, 5.0, 3.0),
    ] {
        let rule = Training::TwoLayer(TwoLayer { readout_rate: rate });
        let both = census(scaled(k, k, k, scale, rule), runs);
        let one = census(problem(k, k, k, Training::GradientFlow), runs);
        let (mut loss, mut index, mut zeros, mut least, mut odd) = (0.0f64, 0, 0, f64::INFINITY, 0);
        let (mut shared, mut apart) = (0, 0.0f64);
        for class in &both.classes {
            let layers = class.two_layer.as_ref().unwrap();
            least = least.min(layers.least_readout);
            zeros += usize::from(layers.index.neutral != k - layers.dead);
            if layers.negative + layers.silent + layers.dead > 0 {
                odd += 1;
                lines.note(&format!(
                    "a unit without a positive readout: {} of {runs} runs, loss {:.9}, {}, {} negative, {} silent, {} dead, {} negative eigenvalues, {} zero modes",
                    class.hits, class.point.loss, class.point.family.name, layers.negative, layers.silent, layers.dead,
                    layers.index.unstable, layers.index.neutral
                ));
                continue;
            }
            // The one-layer point from the equivalent rows, by one-layer code alone.
            let teacher = Teacher::orthonormal(k).unwrap();
            let rows = Weights::new(class.point.weights.rows().clone(), None, &teacher).unwrap();
            let (rows, _) = polish(&rows, &teacher, 0).unwrap().expect("a minimum");
            loss = loss.max((committee::population::risk_exact(&rows, &teacher, 0) - class.point.loss).abs());
            let found = negative(&hessian(&rows, &teacher, 0).unwrap().span);
            index += usize::from(found != layers.index.unstable);
            // The same point among the ends of independent runs of one layer.
            let same = one.classes.iter().find(|other| (other.point.loss - class.point.loss).abs() < 1e-9);
            if let Some(same) = same {
                shared += 1;
                apart = apart.max((same.point.loss - class.point.loss).abs());
                index += usize::from(same.point.spectrum.span_index.unstable != layers.index.unstable);
            }
        }
        let head = format!("K = M = d = {k}, rate {rate}, scale {scale}, {runs} runs");
        let count = both.classes.len();
        lines.line(&format!("{head}: unresolved"), both.unresolved(), "0", both.unresolved() == 0);
        lines.line(
            &format!("{head}: largest loss difference to one layer"),
            format!("{loss:.1e}; {shared} points also end runs of one layer, {apart:.1e}"),
            "1e-12",
            loss.max(apart) < 1e-12,
        );
        lines.line(
            &format!("{head}: points with another index than one layer"),
            format!("{index} of {count}"),
            "0",
            index == 0,
        );
        lines.line(
            &format!("{head}: points whose zero modes are not K - dead"),
            format!("{zeros} of {count}"),
            "0",
            zeros == 0,
        );
        lines.line(&format!("{head}: points with a unit a_i <= 0 or dead"), odd, "shown", true);
        lines.note(&format!("smallest readout at a point: {least:.3e}"));
    }
    // a_i^2/eta_a - |w_i|^2/eta_w, on both integrators without help, and as the search flows.
    let p = problem(8, 8, 16, Training::GradientFlow);
    let start = p.start(4).unwrap();
    let rate = 2.0;
    let rule = Training::TwoLayer(TwoLayer { readout_rate: rate });
    let invariants = |overlaps: &Overlaps| -> Vec<f64> {
        (0..8).map(|i| overlaps.readouts()[[0, i]].powi(2) / rate - overlaps.q()[[i, i]]).collect()
    };
    let change = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    for (name, integrator, tolerance, bar) in
        [("dop853, 1e-13", Integrator::Dop853, 1e-13, 1e-10), ("rkc, 1e-10", Integrator::Rkc, 1e-10, 1e-4)]
    {
        let times = [0.0, 1.0, 10.0, 100.0, 400.0];
        let path = evolve_by(rule, &start, &p.teacher, 0, &times, tolerance, integrator).unwrap();
        let first = invariants(&path.frames[0].overlaps);
        let worst = path.frames.iter().map(|f| change(&invariants(&f.overlaps), &first)).fold(0.0, f64::max);
        lines.line(
            &format!("conserved quantities to t = 400, {name}: largest change"),
            format!("{worst:.1e}"),
            &format!("{bar:e}"),
            worst < bar,
        );
    }
    let mut flow = Flow::by(rule, &start, &p.teacher, 0).unwrap();
    flow.until(1e-6, 100_000).unwrap();
    let worst =
        change(&invariants(&flow.weights(&start).overlaps(&p.teacher)), &invariants(&start.overlaps(&p.teacher)));
    lines.line("the same in the search, put back after each step", format!("{worst:.1e}"), "1e-13", worst < 1e-13);
    lines.close();
}

/// Norms held: the Hessian without the constraint says something else than the one on it.
#[test]
#[ignore = "evidence"]
fn quick_constrained() {
    let mut lines = Lines::new("quick_constrained");
    // With K = M the multipliers are small; students that are too few have large ones.
    for (rule, constraint, k, m) in [
        (Training::Sphere, Constraint::Sphere, 17, 17),
        (Training::Stiefel, Constraint::Stiefel, 17, 17),
        (Training::Sphere, Constraint::Sphere, 5, 8),
        (Training::Stiefel, Constraint::Stiefel, 5, 8),
    ] {
        let p = problem(k, m, m, rule);
        let teacher = p.teacher.clone();
        let found = census(p, 300);
        let mut different = 0;
        for class in &found.classes {
            let point = &class.point;
            let plain = hessian(&point.weights, &teacher, 0).unwrap();
            let (inside, across) = (negative(&plain.span), negative(&plain.transverse));
            different += usize::from(
                inside + across != point.spectrum.span_index.unstable + point.spectrum.transverse_index.unstable,
            );
            lines.note(&format!(
                "{rule}: {} runs, {} ({}), loss {:.9}, on the constraint {} negative eigenvalues (least {:.6}), without it {inside} inside and {across} across (least {:.6}), residual {:.1e}",
                class.hits, point.family.name, point.verdict.name(), point.loss, point.spectrum.span_index.unstable,
                point.spectrum.min_span(), linalg::eigvalsh(plain.span.view()).unwrap()[0], point.residual
            ));
            let violation = constraint.violation(point.weights.rows().view());
            assert!(violation < 1e-13, "{violation:e}");
        }
        lines.line(
            &format!("{rule}, K = {k}, M = {m}, 300 runs: unresolved"),
            found.unresolved(),
            "0",
            found.unresolved() == 0,
        );
        let residual = found.classes.iter().map(|class| class.point.residual).fold(0.0, f64::max);
        lines.line(&format!("{rule}: largest residual"), format!("{residual:.1e}"), "1e-13", residual <= 1e-13);
        lines.line(
            &format!("{rule}: points whose index is another without the constraint"),
            format!("{different} of {}", found.classes.len()),
            if k < m && rule == Training::Sphere { ">= 1: the control" } else { "reported" },
            k >= m || rule != Training::Sphere || different > 0,
        );
    }
    lines.close();
}

/// Orthonormal students, K = M = d = 17: what the flow does, what the quartic predicts, and why Gram-Schmidt does not converge.
#[test]
#[ignore = "evidence"]
fn stiefel() {
    let mut lines = Lines::new("stiefel");
    let p = problem(17, 17, 17, Training::Stiefel);
    let found = census(p.clone(), 2000);
    for class in &found.classes {
        let point = &class.point;
        lines.note(&format!(
            "{:4} runs, loss {:.10}, {}, {}, {}, eigenvalue {:.7}, across {:.6}",
            class.hits,
            point.loss,
            point.verdict.name(),
            point.family.name,
            point.family.isotropy,
            point.spectrum.min_span(),
            point.spectrum.min_transverse()
        ));
    }
    lines.line("2000 flows: unresolved", found.unresolved(), "0", found.unresolved() == 0);
    let changed = found.runs.iter().filter(|run| run.1.details.components.is_some_and(|(a, b)| a != b)).count();
    lines.line("flows that change component of O(17)", changed, "0", changed == 0);
    let mut times: Vec<f64> = found.runs.iter().filter_map(|run| run.1.time).collect();
    times.sort_by(f64::total_cmp);
    lines.note(&format!(
        "time of the flow to gradient 1e-4: median {:.0}, largest {:.0} (100 times as many steps of 0.01)",
        times[1000], times[1999]
    ));
    // The slow stage: once R 1 = 1 the velocity is the tangent part of asin(R)/(2 pi) - R/(2 pi) = R^3/(12 pi) + ...
    let mut ratios = Vec::new();
    for run in 0..10 {
        let start = p.start(run).unwrap();
        let path = evolve_by(Training::Stiefel, &start, &p.teacher, 0, &[30.0], 1e-9, Integrator::Rkc).unwrap();
        let r = path.frames[0].overlaps.r();
        let quartic =
            Constraint::Stiefel.tangent(r.view(), r.mapv(|x| x.powi(3) / (12.0 * std::f64::consts::PI)).view());
        let size = quartic.iter().map(|x| x * x).sum::<f64>().sqrt();
        let off = r.sum_axis(ndarray::Axis(1)).iter().map(|x| (x - 1.0).abs()).fold(0.0, f64::max);
        ratios.push(path.frames[0].gradient_norm / size);
        lines.note(&format!(
            "run {run} at t = 30: largest |R 1 - 1| {off:.1e}, velocity over that of the quartic {:.3}",
            ratios[run as usize]
        ));
    }
    let (low, high) =
        (ratios.iter().copied().fold(f64::INFINITY, f64::min), ratios.iter().copied().fold(0.0, f64::max));
    lines.line(
        "velocity over that of the quartic at t = 30",
        format!("{low:.3} to {high:.3}"),
        "1 to 2 (higher orders add)",
        low >= 1.0 && high < 2.0,
    );
    // Descent: polar factor against Gram-Schmidt, to a tangent gradient of 1e-9.
    // At step 0.2 the first polar step may leave the start's component: I - step Lambda must be positive, and Lambda is about
    // K/3 at a random start.
    for then in [Normalisation::Stiefel, Normalisation::GramSchmidt] {
        let most = 20_000;
        let rule = Descent { step: 0.1, then, steps: most, ..Descent::default() };
        let (mut open, mut worst, mut least, mut triangular, mut moves) = (0, 0.0f64, f64::INFINITY, 0.0f64, 0.0f64);
        let runs = 200;
        for run in 0..runs {
            let (end, stopped) = descend(&p.start(run).unwrap(), &p.teacher, 0, &rule).unwrap();
            if stopped.converged {
                continue;
            }
            open += 1;
            (worst, least) = (worst.max(stopped.gradient_norm), least.min(stopped.gradient_norm));
            // A fixed point of a Gram-Schmidt step: G W^T is lower triangular, not symmetric.
            let gradient = Field::new(&end, &p.teacher, 0).gradient_at(end.rows().view());
            let product = gradient.dot(&end.rows().t());
            let upper = product.indexed_iter().filter(|((i, j), _)| i < j).map(|(_, x)| x.abs()).fold(0.0, f64::max);
            triangular = triangular.max(upper);
            let (next, _) = descend(&end, &p.teacher, 0, &Descent { steps: 1000, ..rule }).unwrap();
            moves = moves.max(linalg::max_abs(&(next.rows() - end.rows())));
        }
        lines.line(
            &format!("descent step 0.1, {then:?}, {most} steps, {runs} runs: not converged"),
            format!("{open}"),
            if then == Normalisation::Stiefel { "<= 5 %" } else { "reported" },
            then != Normalisation::Stiefel || open <= runs / 20,
        );
        if open > 0 {
            lines.note(&format!("of these: tangent gradient {least:.1e} to {worst:.1e}, largest |(G W^T)_ij| above the diagonal {triangular:.1e}, largest move in 1000 further steps {moves:.1e}"));
        }
    }
    // The flow goes on from where Gram-Schmidt stalls, so those are no critical points.
    let rule = Descent { step: 0.1, then: Normalisation::GramSchmidt, steps: 20_000, ..Descent::default() };
    let stalled = (0..200).find_map(|run| {
        let (end, stopped) = descend(&p.start(run).unwrap(), &p.teacher, 0, &rule).unwrap();
        (!stopped.converged).then_some((end, stopped))
    });
    if let Some((end, stopped)) = stalled {
        let mut field = Field::new(&end, &p.teacher, 0);
        let tangent = constrained_gradient(&mut field, end.rows(), Constraint::Stiefel, 0.0);
        let mut flow = Flow::by(Training::Stiefel, &end, &p.teacher, 0).unwrap();
        flow.until(1e-8, 100_000).unwrap();
        let loss = committee::population::risk_exact(&flow.weights(&end), &p.teacher, 0);
        lines.line(
            "a stalled state: tangent gradient, loss, loss after the flow",
            format!("{:.3e}, {:.9}, {loss:.9}", tangent.iter().map(|x| x * x).sum::<f64>().sqrt(), stopped.loss),
            "the flow falls",
            loss < stopped.loss - 1e-6,
        );
    }
    lines.close();
}
