//! One trajectory of gradient flow: the loss and the overlaps of each student with the teachers, against time.
//!
//! `cargo run --release --example trajectory`

use committee::dynamics::{Integrator, evolve};
use committee::error::Result;
use committee::model::{InitialLaw, Teacher};

fn main() -> Result<()> {
    let teacher = Teacher::orthonormal(3)?;
    let law = InitialLaw::new(100, 1.0, &teacher)?;
    let start = law.draw(3, &teacher, 1, 0)?;

    // Times of the flow dW/dt = - grad L, recorded at 0, 1, 2, 4, ...; error per step 1e-10.
    let times: Vec<f64> = std::iter::once(0.0).chain((0..10).map(|n| f64::from(1 << n))).collect();
    let trajectory = evolve(&start, &teacher, 0, &times, 1e-10, Integrator::Rkc)?;

    println!("{:>6} {:>12} {:>12}  R = W V^T, student by student", "time", "loss", "|grad|");
    for frame in &trajectory.frames {
        print!("{:>6} {:>12.4e} {:>12.4e} ", frame.time, frame.loss, frame.gradient_norm);
        for student in frame.overlaps.r().outer_iter() {
            let row: Vec<String> = student.iter().map(|r| format!("{r:6.3}")).collect();
            print!("  [{}]", row.join(" "));
        }
        println!();
    }

    // The reference integrator arrives at the same state.
    let reference = evolve(&start, &teacher, 0, &times, 1e-12, Integrator::Dop853)?;
    let (Some(found), Some(expected)) = (trajectory.frames.last(), reference.frames.last()) else { return Ok(()) };
    let difference = (found.overlaps.r() - expected.overlaps.r()).iter().fold(0.0f64, |m, x| m.max(x.abs()));
    println!("\nlargest difference of R from the reference integrator at the end: {difference:.1e}");
    Ok(())
}
