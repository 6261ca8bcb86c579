//! The fast pipeline against the reference integrator: do both end in the same point?

use crate::lines::Lines;
use committee::dynamics::Descent;
use committee::landscape::fixed_point::settle_by;
use committee::landscape::{Problem, Settled};
use committee::model::symmetry::distance;
use committee::model::{InitialLaw, Teacher, Training};
use rayon::prelude::*;

fn same(a: &Settled, b: &Settled, loss: (f64, f64), teacher: &Teacher) -> bool {
    (loss.0 < 1e-20 && loss.1 < 1e-20)
        || distance(&a.weights.overlaps(teacher), &b.weights.overlaps(teacher), teacher, 0) < 1e-8
}

/// One start: run, fast pipeline and coarse reference agree with the fine reference, losses of the three.
type Row = (u64, bool, bool, [f64; 3]);

fn compare(students: usize, runs: u64, bar: f64, lines: &mut Lines) {
    let teacher = Teacher::orthonormal(17).unwrap();
    let law = InitialLaw::new(17, 1.0, &teacher).unwrap();
    let problem = Problem { students, teacher, law, seed: 1, rule: Training::GradientFlow };
    let teacher = &problem.teacher;
    let mut rows: Vec<Row> = (0..runs)
        .into_par_iter()
        .map(|run| {
            let start = problem.start(run).unwrap();
            let loss = |s: &Settled| committee::population::risk_exact(&s.weights, teacher, 0);
            let fast = problem.run(run).outcome.unwrap();
            let [coarse, fine] = [1e-8, 1e-10].map(|tolerance| {
                settle_by(Descent::reference(&start, teacher, 0, tolerance), &start, teacher, 0).unwrap()
            });
            let losses = [loss(&fast), loss(&coarse), loss(&fine)];
            let fast_same = same(&fast, &fine, (losses[0], losses[2]), teacher);
            let coarse_same = same(&coarse, &fine, (losses[1], losses[2]), teacher);
            (run, fast_same, coarse_same, losses)
        })
        .collect();
    rows.sort_by_key(|row| row.0);
    let share = |pick: fn(&Row) -> bool| rows.iter().filter(|row| pick(row)).count() as f64 / runs as f64 * 100.0;
    let fast = share(|row| row.1);
    lines.line(
        &format!("K = {students}, M = 17, {runs} starts: fast pipeline and reference 1e-10 agree, %"),
        format!("{fast:.2}"),
        &format!(">= {bar}"),
        fast >= bar,
    );
    lines.note(&format!("yardstick: reference 1e-8 and 1e-10 agree, %: {:.2}", share(|row| row.2)));
    for (run, fast_same, coarse_same, losses) in rows.iter().filter(|row| !row.1 || !row.2) {
        lines.note(&format!(
            "run {run}: loss fast {:.9}, reference 1e-8 {:.9}, reference 1e-10 {:.9}; fast agrees: {fast_same}, 1e-8 agrees: {coarse_same}",
            losses[0], losses[1], losses[2]
        ));
    }
}

/// 1000 shared starts at K = M = 17, 500 at K = 18, d = 17. About ten minutes.
#[test]
#[ignore = "evidence"]
fn basins() {
    let mut lines = Lines::new("basins");
    compare(17, 1000, 99.8, &mut lines);
    compare(18, 500, 99.5, &mut lines);
    lines.close();
}
