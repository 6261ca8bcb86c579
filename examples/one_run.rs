//! One run: from random weights along gradient flow to a verified critical point, and what kind of point it is.
//!
//! `cargo run --release --example one_run [RUN]`

use committee::error::Result;
use committee::landscape::{Point, settle};
use committee::model::{InitialLaw, Teacher};

fn main() -> Result<()> {
    let run = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(3);
    let (students, dimension) = (10, 20);
    let teacher = Teacher::orthonormal(10)?;

    // w ~ N(0, I/d) in d dimensions, drawn in the few coordinates that matter. The same seed and run give the same start.
    let law = InitialLaw::new(dimension, 1.0, &teacher)?;
    let start = law.draw(students, &teacher, 1, run)?;

    // Gradient flow until Newton's method may finish, without leaving the basin.
    let end = settle(&start, &teacher, 0)?;
    println!("run {run}: flow to |grad| = {:.1e} in {} gradients", end.gradient_norm, end.evaluations);
    println!("finished by {}, largest gradient entry {:.1e}", end.ending.name(), end.residual);

    // The Hessian decides what it is, in any input dimension.
    let point = Point::new(&end.weights, &teacher, 0)?;
    println!("\nloss      {:.12}", point.loss);
    println!("verdict   {}", point.verdict.name());
    println!("family    {}, isotropy {}", point.family.name, point.family.isotropy);
    println!("smallest eigenvalue inside span(W, V)  {:.9}", point.spectrum.min_span());
    println!("smallest eigenvalue across it          {:.9}", point.spectrum.min_transverse());
    Ok(())
}
