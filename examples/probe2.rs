use committee::landscape::*;
use committee::model::*;
use std::time::Instant;
fn main() {
    let k: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let m: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let d: usize = std::env::args().nth(3).unwrap().parse().unwrap();
    let runs: u64 = std::env::args().nth(4).unwrap().parse().unwrap();
    let teacher = Teacher::orthonormal(m).unwrap();
    let law = InitialLaw::new(d, 1.0, &teacher).unwrap();
    let p = Problem { students: k, teacher, law, seed: 1 };
    let t = Instant::now();
    let mut h = std::collections::BTreeMap::new();
    let (mut ev, mut worst, mut late) = (0, 0.0f64, vec![]);
    for run in 0..runs {
        let r = p.run(run);
        match r.outcome {
            Ok(s) => {
                ev += s.evaluations;
                worst = worst.max(s.residual);
                if s.gradient_norm < 5e-5 {
                    late.push((run, s.gradient_norm, s.evaluations, r.loss));
                }
                *h.entry(((r.loss * 1e9).round() as i64, s.ending.name())).or_insert(0) += 1;
            }
            Err(e) => println!("run {run}: {e}"),
        }
    }
    let el = t.elapsed().as_secs_f64();
    println!("per run {:.3} ms, evals/run {}, worst residual {worst:e}", el / runs as f64 * 1e3, ev / runs as usize);
    println!("late {:?}", late);
    println!("{h:?}");
}
