// usage: probe4 ref|cmp K runs file
use committee::dynamics::Descent;
use committee::landscape::fixed_point::settle_by;
use committee::landscape::*;
use committee::model::*;
use rayon::prelude::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let k: usize = a[2].parse().unwrap();
    let runs: u64 = a[3].parse().unwrap();
    let teacher = Teacher::orthonormal(17).unwrap();
    let law = InitialLaw::new(17, 1.0, &teacher).unwrap();
    let p = Problem { students: k, teacher, law, seed: 1 };
    if a[1] == "ref" {
        let l: Vec<f64> = (0..runs)
            .into_par_iter()
            .map(|r| {
                let s = p.start(r).unwrap();
                let e = settle_by(Descent::reference(&s, &p.teacher, 0, 1e-9), &s, &p.teacher, 0).unwrap();
                committee::population::risk(&e.weights, &p.teacher, 0)
            })
            .collect();
        std::fs::write(&a[4], l.iter().map(|x| format!("{x:.9}")).collect::<Vec<_>>().join("\n")).unwrap();
    } else {
        let l: Vec<f64> = std::fs::read_to_string(&a[4]).unwrap().lines().map(|x| x.parse().unwrap()).collect();
        let runs = (l.len() as u64).min(runs);
        let res: Vec<(bool, usize)> = (0..runs)
            .into_par_iter()
            .map(|r| {
                let s = p.start(r).unwrap();
                let e = settle(&s, &p.teacher, 0).unwrap();
                let x = committee::population::risk(&e.weights, &p.teacher, 0);
                ((x - l[r as usize]).abs() < 1e-7, e.evaluations)
            })
            .collect();
        let wrong: Vec<usize> = (0..runs as usize).filter(|&i| !res[i].0).collect();
        println!(
            "wrong {} of {runs}; evals {:.0}; {:?}",
            wrong.len(),
            res.iter().map(|r| r.1).sum::<usize>() as f64 / runs as f64,
            wrong
        );
    }
}
