//! Times of families followed in real M: `cargo bench --bench families`. The same branches with AUTO-07p:
//! `benches/peers/auto_compare.py`.

use committee::landscape::branch::{options, trace, walk};
use committee::landscape::known;
use committee::landscape::reduced::{BlockPoint, Shape, flipped_guess, solve};
use committee::model::Blocks;
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn starts() -> Vec<(Shape, Blocks)> {
    [1.0, 2.0].iter().map(|&k1| known::flipped(k1, 17.0).expect("family")).collect()
}

fn families(criterion: &mut Criterion) {
    let starts = starts();
    // Both families from M = 17 down to 4 and up to 200, as in the comparison with AUTO-07p.
    let ways: [(f64, (f64, f64)); 2] = [(-1.0, (4.0, 17.0)), (1.0, (17.0, 200.0))];
    criterion.bench_function("k1 = 1, 2 from M = 17 to 4 and 200, events of all sectors", |bench| {
        bench.iter(|| {
            for (shape, state) in &starts {
                for (direction, range) in ways {
                    black_box(trace(shape, state, direction, &options(range)).expect("branch"));
                }
            }
        });
    });
    criterion.bench_function("k1 = 1, 2 from M = 17 to 4 and 200, points only", |bench| {
        bench.iter(|| {
            for (shape, state) in &starts {
                for (direction, range) in ways {
                    black_box(walk(shape, state, direction, &options(range)).expect("branch"));
                }
            }
        });
    });
    for m in [17.0, 1e6] {
        let shape = Shape::flipped(2.0, m, 0);
        criterion.bench_function(&format!("k1 = 2 at M = {m}: solved, with spectrum"), |bench| {
            bench
                .iter(|| BlockPoint::new(&shape, solve(&shape, &flipped_guess(&shape)).expect("root")).expect("point"));
        });
    }
}

criterion_group!(benches, families);
criterion_main!(benches);
