//! Times of the building blocks: `cargo bench`. Compare with the peers by `benches/peers/compare.py`.

use committee::expectation::angles;
use committee::model::{InitialLaw, Sgd, Teacher};
use committee::numerics::level::Level;
use committee::numerics::linalg;
use committee::population::{Field, hessian, risk, risk_exact};
use committee::simulation::{Chain, Simulation, Witness};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn blocks(criterion: &mut Criterion) {
    for level in Level::available() {
        let correlation: Vec<f64> = (0..1000).map(|i| -0.999 + 0.001998 * f64::from(i)).collect();
        let (mut sine, mut supplement) = (vec![0.0; 1000], vec![0.0; 1000]);
        criterion.bench_function(&format!("1000 angles, {level:?}"), |bench| {
            bench.iter(|| angles::from_correlations(level, black_box(&correlation), &mut sine, &mut supplement));
        });
        for (units, dimension) in [(17, 17), (17, 1000), (8, 16)] {
            let teacher = Teacher::orthonormal(units).expect("teacher");
            let law = InitialLaw::new(dimension, 1.0, &teacher).expect("law");
            let start = law.draw(units, &teacher, 1, 0).expect("start");
            let mut field = Field::with_level(&start, &teacher, 0, level);
            let w = start.rows().as_slice().expect("contiguous").to_vec();
            let mut gradient = vec![0.0; w.len()];
            criterion.bench_function(
                &format!("gradient K = M = {units}, D = {}, {level:?}", start.coordinates()),
                |bench| {
                    bench.iter(|| field.gradient(black_box(&w), &mut gradient));
                },
            );
        }
    }
    let teacher = Teacher::orthonormal(20).expect("teacher");
    let start = InitialLaw::new(20, 1.0, &teacher).and_then(|law| law.draw(20, &teacher, 1, 0)).expect("start");
    criterion.bench_function("Hessian K = M = d = 20", |bench| {
        bench.iter(|| hessian(black_box(&start), &teacher, 0));
    });
    let span = hessian(&start, &teacher, 0).expect("Hessian").span;
    criterion.bench_function("Hessian's eigenvalues, n = 400", |bench| {
        bench.iter(|| linalg::eigvalsh(black_box(span.view())));
    });
    criterion.bench_function("risk K = M = 20", |bench| bench.iter(|| risk(black_box(&start), &teacher, 0)));
    criterion
        .bench_function("exact risk K = M = 20", |bench| bench.iter(|| risk_exact(black_box(&start), &teacher, 0)));
}

fn one_pass(units: usize, dimension: usize) -> Simulation {
    let teacher = Teacher::orthonormal(units).expect("teacher");
    let law = InitialLaw::new(dimension, 1.0, &teacher).expect("law");
    Simulation {
        dimension,
        rule: Sgd { label_noise: 0.1, ..Sgd::default() },
        start: law.draw(units, &teacher, 1, 0).expect("start"),
        teacher,
        times: vec![0.0],
        runs: 1,
        seed: 1,
        test_inputs: 0,
    }
}

/// Steps of one sample: the explicit simulation and the chain, whose time must not depend on d.
fn sgd(criterion: &mut Criterion) {
    let mut witness = Witness::new(&one_pass(8, 10_000), 0).expect("run");
    criterion.bench_function("explicit SGD K = M = 8, d = 10000", |bench| bench.iter(|| witness.advance(1)));
    for (units, dimension) in [(2, 1000), (2, 1_000_000_000), (8, 1000), (8, 1_000_000_000)] {
        let mut chain = Chain::new(&one_pass(units, dimension), 0).expect("run");
        criterion.bench_function(&format!("chain K = M = {units}, d = {dimension}"), |bench| {
            bench.iter(|| chain.advance(1));
        });
    }
}

criterion_group!(benches, blocks, sgd);
criterion_main!(benches);
