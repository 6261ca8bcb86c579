//! Samples per second of explicit SGD, one run on each thread, as one line of JSON for `benches/peers/sgd_compare.py`:
//! `cargo bench --bench sgd -- --units 8 --dimension 10000 --steps 8192 --runs 2`.

use std::time::Instant;

use committee::model::{InitialLaw, Sgd, Teacher};
use committee::simulation::{Simulation, explicit};

fn option(name: &str, default: usize) -> usize {
    let words: Vec<String> = std::env::args().collect();
    let value = words.iter().position(|word| word == name).and_then(|at| words.get(at + 1)?.parse().ok());
    value.unwrap_or(default)
}

fn main() -> committee::error::Result<()> {
    let (units, dimension) = (option("--units", 8), option("--dimension", 10_000));
    let (steps, runs) = (option("--steps", 8192), option("--runs", 2));
    let teacher = Teacher::orthonormal(units)?;
    let simulation = Simulation {
        dimension,
        rule: Sgd { label_noise: 0.1, ..Sgd::default() },
        start: InitialLaw::new(dimension, 1.0, &teacher)?.draw(units, &teacher, 1, 0)?,
        teacher,
        times: vec![steps as f64 / dimension as f64],
        runs,
        seed: 1,
        test_inputs: 0,
    };
    let mut seconds = f64::INFINITY;
    for _ in 0..option("--repeats", 3) {
        let begin = Instant::now();
        let recording = explicit::simulate(&simulation, &|_| true)?;
        seconds = seconds.min(begin.elapsed().as_secs_f64());
        assert!(recording.diverged.iter().all(Option::is_none));
    }
    let samples = steps * runs;
    println!("{{\"peer\": \"committee\", \"samples_per_second\": {}}}", samples as f64 / seconds);
    Ok(())
}
