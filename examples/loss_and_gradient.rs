//! Loss and gradient of one student state, in closed form.
//!
//! The gradient is grad_i L = sum_j A_ij w_j + sum_m B_im v_m with coefficients that depend on overlaps only. A is also
//! the Hessian in every direction across span(W, V).
//!
//! `cargo run --release --example loss_and_gradient`

use committee::error::Result;
use committee::model::{Teacher, Weights};
use committee::population::{coefficients, risk, risk_exact};
use ndarray::array;

fn main() -> Result<()> {
    // Two orthonormal teachers, three students in four dimensions; the first coordinates are those of the teacher.
    let teacher = Teacher::orthonormal(2)?;
    let rows = array![[0.9, 0.1, 0.0, 0.2], [-0.2, 0.7, 0.1, 0.0], [0.3, 0.3, -0.2, 0.1]];
    let weights = Weights::new(rows.clone(), None, &teacher)?;

    println!("L = E[(f - f*)^2] / 2 = {:.15}", risk(&weights, &teacher, 0));
    println!("in double-double arithmetic {:.15}\n", risk_exact(&weights, &teacher, 0));

    let coefficients = coefficients(&weights, &teacher, 0);
    println!("A =\n{:.6}\nB =\n{:.6}\n", coefficients.a, coefficients.b);

    // The gradient from the coefficients: the teacher's vectors have no entries across their span.
    let mut gradient = coefficients.a.dot(&rows);
    let mut along = gradient.slice_mut(ndarray::s![.., ..teacher.rank()]);
    along += &coefficients.b.dot(teacher.vectors());
    println!("gradient =\n{gradient:.6}\n");

    // The same entry by a central difference of the loss.
    let h = 1e-5;
    let shifted = |step: f64| {
        let mut rows = rows.clone();
        rows[[2, 1]] += step;
        risk(&weights.with_rows(rows), &teacher, 0)
    };
    let difference = (shifted(h) - shifted(-h)) / (2.0 * h);
    println!("entry (3, 2): {:.10}, by a difference of the loss {difference:.10}", gradient[[2, 1]]);
    Ok(())
}
