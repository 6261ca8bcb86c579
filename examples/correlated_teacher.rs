//! A small search with correlated teachers: 200 runs on all cores, equal end points counted together.
//!
//! `cargo run --release --example correlated_teacher`
//!
//! (With the feature `cli`, `landscape::catalogue` does the same with a database, so that a search can be continued.)

use std::sync::Mutex;

use committee::error::Result;
use committee::landscape::{Point, Problem};
use committee::model::{InitialLaw, Teacher, Training};
use committee::numerics::tolerance;

fn main() -> Result<()> {
    // Unit norms, v_m . v_n = 0.1.
    let teacher = Teacher::correlated(9, 0.1)?;
    let law = InitialLaw::new(18, 1.0, &teacher)?;
    let problem = Problem { students: 9, teacher, law, seed: 1, rule: Training::GradientFlow };

    // Results come in any order, from any thread; return false to stop.
    let results = Mutex::new(Vec::new());
    problem.run_all(&(0..200).collect::<Vec<u64>>(), |result| results.lock().map(|mut all| all.push(result)).is_ok());
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|result| result.run);

    // Two points are the same when their canonical forms agree: relabelling does not count.
    let mut points: Vec<(Point, usize)> = Vec::new();
    for result in results {
        match result.outcome {
            Err(reason) => println!("run {} is unresolved: {reason}", result.run),
            Ok(end) => {
                let point = Point::new(&end.weights, &problem.teacher, 0)?;
                let is_same = |known: &Point| known.canonical.distance(&point.canonical) < tolerance::SAME_POINT;
                match points.iter_mut().find(|(known, _)| is_same(known)) {
                    Some((_, hits)) => *hits += 1,
                    None => points.push((point, 1)),
                }
            }
        }
    }

    points.sort_by(|x, y| x.0.loss.total_cmp(&y.0.loss));
    println!("{:>14} {:>5}  {:<15} {:>15}  family", "loss", "hits", "verdict", "min eigenvalue");
    for (point, hits) in &points {
        let Point { loss, verdict, spectrum, family, .. } = point;
        println!("{loss:>14.9} {hits:>5}  {:<15} {:>15.9}  {}", verdict.name(), spectrum.min_span(), family.name);
    }
    Ok(())
}
