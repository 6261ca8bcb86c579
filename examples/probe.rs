use committee::dynamics::Descent;
use committee::model::*;
use std::time::Instant;
fn main() {
    let k: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let m: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let d: usize = std::env::args().nth(3).unwrap().parse().unwrap();
    let runs: u64 = std::env::args().nth(4).unwrap().parse().unwrap();
    let teacher = Teacher::orthonormal(m).unwrap();
    let law = InitialLaw::new(d, 1.0, &teacher).unwrap();
    let mut e = vec![];
    let mut times = vec![];
    let t = Instant::now();
    let mut total = 0;
    let mut lowest = vec![];
    for run in 0..runs {
        let s = law.draw(k, &teacher, 1, run).unwrap();
        let mut de = Descent::new(&s, &teacher, 0);
        let ok = de.until(1e-4, 200000).unwrap();
        if !ok {
            println!("run {run} no");
        }
        e.push(de.evaluations());
        times.push(de.time());
        total += de.evaluations();
        let w = s.with_rows(de.rows());
        lowest.push(committee::population::risk(&w, &teacher, 0));
    }
    let el = t.elapsed().as_secs_f64();
    e.sort();
    times.sort_by(|a, b| a.total_cmp(b));
    println!(
        "per run {:.3} ms; evals median {} p99 {} max {}; time median {:.1} max {:.1}; us/eval {:.2}",
        el / runs as f64 * 1e3,
        e[e.len() / 2],
        e[e.len() * 99 / 100],
        e[e.len() - 1],
        times[times.len() / 2],
        times[times.len() - 1],
        el * 1e6 / total as f64
    );
    let mut h = std::collections::BTreeMap::new();
    for l in lowest {
        *h.entry((l * 1e4).round() as i64).or_insert(0) += 1;
    }
    println!("{h:?}");
}
