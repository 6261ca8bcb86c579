//! Times of four-field averages and of the moments built from them: `cargo bench --bench averages`. Compare with the peers
//! by `benches/peers/orthant.py`.

use committee::expectation::{Averages, Quad, Relu, orthant};
use committee::model::{InitialLaw, Teacher, Weights};
use committee::population::{Fields, error_moments};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::Value;
use std::hint::black_box;

/// Covariances and P4 of the reference cases of class `regular` whose name begins like this.
fn cases(prefix: &str) -> Vec<([[f64; 4]; 4], f64)> {
    let table: Value = serde_json::from_str(include_str!("../tests/reference/orthant.json")).expect("JSON");
    let cases = table["cases"].as_array().expect("cases").iter();
    let wanted = cases.filter(|case| {
        case["class"] == "regular" && case["name"].as_str().is_some_and(|name| name.starts_with(prefix))
    });
    wanted
        .map(|case| {
            let g: Vec<f64> = case["gram"].as_array().expect("gram").iter().filter_map(Value::as_f64).collect();
            let rows = [
                [g[0], g[1], g[2], g[3]],
                [g[1], g[4], g[5], g[6]],
                [g[2], g[5], g[7], g[8]],
                [g[3], g[6], g[8], g[9]],
            ];
            (rows, case["p4"].as_str().and_then(|p4| p4.parse().ok()).expect("a number"))
        })
        .collect()
}

fn averages(criterion: &mut Criterion) {
    for name in ["random", "strong"] {
        let (matrices, values): (Vec<_>, Vec<_>) = cases(name).into_iter().unzip();
        let quads: Vec<Quad> = matrices.iter().map(Quad::from_covariance).collect();
        let count = quads.len();
        let error = |(quad, value): (&Quad, &f64)| (orthant::p4(&quad.links) - value).abs();
        let mut errors: Vec<f64> = quads.iter().zip(&values).map(error).collect();
        errors.sort_by(f64::total_cmp);
        println!("errors of P4, {name}: median {:e}, largest {:e}", errors[count / 2], errors[count - 1]);
        criterion.bench_function(&format!("P4 from pairs, {count} {name} matrices in turn"), |bench| {
            bench.iter(|| quads.iter().for_each(|quad| _ = black_box(orthant::p4(black_box(&quad.links)))));
        });
        criterion.bench_function(&format!("P4 from covariances, {count} {name} matrices in turn"), |bench| {
            bench.iter(|| matrices.iter().for_each(|c| _ = black_box(orthant::p4_of_covariance(black_box(c)))));
        });
        let many: Vec<_> = quads.iter().cycle().take(960).map(|quad| quad.links).collect();
        criterion.bench_function(&format!("P4 many at once, 960 of {count} {name} matrices"), |bench| {
            bench.iter(|| orthant::p4_many(black_box(&many)));
        });
        criterion.bench_function(
            &format!("I4 and derivatives from covariances, {count} {name} matrices in turn"),
            |bench| {
                let average = |c| Relu.quadruple(&Quad::from_covariance(black_box(c)));
                bench.iter(|| matrices.iter().for_each(|c| _ = black_box(average(c))));
            },
        );
    }
}

fn moments(criterion: &mut Criterion) {
    for (units, threads) in [(17, 1), (40, 2)] {
        let teacher = Teacher::orthonormal(units).expect("teacher");
        let law = InitialLaw::new(2 * units, 1.0, &teacher).expect("law");
        let start = law.draw(units, &teacher, 1, 0).expect("start");
        // Near the global minimum: student i is teacher i moved by 0.01 in all, as training leaves it.
        let mut rows = start.rows() * 0.01;
        for i in 0..units {
            rows[[i, i]] += 1.0;
        }
        let near = Weights::new(rows, None, &teacher).expect("weights");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        for (name, state) in [("random start", &start), ("near the minimum", &near)] {
            let fields = Fields::from_weights(state, &teacher, 0);
            let title =
                format!("error moments K = M = {units}, D = {}, {name}, threads = {threads}", state.coordinates());
            criterion.bench_function(&title, |bench| {
                bench.iter(|| pool.install(|| error_moments(black_box(&fields))));
            });
        }
    }
}

criterion_group!(benches, averages, moments);
criterion_main!(benches);
