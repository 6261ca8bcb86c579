use committee::dynamics::Descent;
use committee::landscape::*;
use committee::model::*;
use std::time::Instant;
fn main() {
    let k: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let d: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let runs: u64 = std::env::args().nth(3).unwrap().parse().unwrap();
    let teacher = Teacher::orthonormal(17).unwrap();
    let law = InitialLaw::new(d, 1.0, &teacher).unwrap();
    let stops = [3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4];
    let mut ev = vec![0usize; stops.len()];
    let mut ts = vec![0f64; stops.len()];
    let (mut tf, mut tp) = (0.0, 0.0);
    for run in 0..runs {
        let s = law.draw(k, &teacher, 1, run).unwrap();
        let t = Instant::now();
        let mut de = Descent::new(&s, &teacher, 0);
        for (i, stop) in stops.iter().enumerate() {
            de.until(*stop, 1000000).unwrap();
            ev[i] += de.evaluations();
            ts[i] += de.time();
        }
        tf += t.elapsed().as_secs_f64();
        let t = Instant::now();
        let e = s.with_rows(de.rows());
        if nearest_zero(&e, &teacher, 0).is_none() {
            let e = e.with_rows(e.rows().slice(ndarray::s![.., ..17]).to_owned());
            std::hint::black_box(polish(&e, &teacher, 0).unwrap());
        }
        tp += t.elapsed().as_secs_f64();
    }
    for i in 0..stops.len() {
        println!("{:e}: evals {} time {:.1}", stops[i], ev[i] / runs as usize, ts[i] / runs as f64);
    }
    println!(
        "flow {:.3} ms polish {:.3} ms per eval {:.2} us",
        tf / runs as f64 * 1e3,
        tp / runs as f64 * 1e3,
        tf * 1e6 / ev[stops.len() - 1] as f64
    );
}
