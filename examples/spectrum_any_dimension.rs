//! The Hessian spectrum at the global minimum W = V = I, for input dimensions d = k, k + 3 and a million.
//!
//! Every dimension across span(W, V) adds the same k eigenvalues, so two small matrices give the spectrum at any d.
//!
//! `cargo run --release --example spectrum_any_dimension`

use committee::error::Result;
use committee::landscape::Point;
use committee::model::{Teacher, Weights};
use ndarray::Array2;

fn main() -> Result<()> {
    let k = 6;
    let teacher = Teacher::orthonormal(k)?;
    let weights = Weights::new(Array2::eye(k), None, &teacher)?;
    let spectrum = Point::new(&weights, &teacher, 0)?.spectrum;

    for d in [k, k + 3, 1_000_000] {
        println!("d = {d}: {} eigenvalues", k * d);
        println!("{:>20} {:>15}", "eigenvalue", "multiplicity");
        for level in spectrum.in_dimension(d) {
            println!("{:>20.15} {:>15}", level.value, level.multiplicity);
        }
        println!();
    }
    Ok(())
}
