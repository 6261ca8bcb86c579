//! The same law at a cost that does not depend on d: the students in r + K coordinates, as a Markov chain (theory 07).
//!
//! A student is its r coordinates in the teacher's span and a row of a K x K factor of the rest. Of each input only the
//! r + K coordinates in this frame are drawn; what a step adds outside the frame enters by a Gram factor of at most K
//! columns, drawn by Bartlett's law (eq. 07-cross), and an orthogonal change of the frame makes the factor K x K again
//! (eq. 07-frame). Overlaps are never the state: there a rounding of 1e-16 is an error of 1e-8 in a field when students
//! align with the teacher.

use ndarray::s;

use super::hold::Hold;
use super::network::{HalfSquares, Problem};
use super::{ACTION, LARGEST_NORM, Recording, Simulation, Trainable, follow};
use crate::error::{Error, Result};
use crate::numerics::normal::Normals;
use crate::numerics::random::{purpose, stream};

/// Draws all runs and records them, as [`super::explicit::simulate`] does; overlaps and test errors have the same law.
///
/// # Errors
/// Those of [`Simulation::checked`]; [`Error::Count`] when d < rank T + K (2 K with momentum); [`Error::Interrupted`].
pub fn simulate(simulation: &Simulation, progress: &(dyn Fn(usize) -> bool + Sync)) -> Result<Recording> {
    check(simulation)?;
    Ok(follow(simulation, progress, |run| Chain::start(simulation, run))?.0)
}

fn check(simulation: &Simulation) -> Result<()> {
    simulation.check()?;
    let needed = simulation.teacher.rank() + vectors(simulation);
    if simulation.dimension < needed {
        let what = if simulation.rule.momentum > 0.0 { "2 K with momentum" } else { "K" };
        return Err(Error::Count {
            action: ACTION,
            quantity: "dimension d",
            value: simulation.dimension,
            needs: format!("at least {needed} (rank of T + {what}; below it use the explicit simulation)"),
        });
    }
    Ok(())
}

/// Vectors that make up the state: the students, with momentum their velocities too.
fn vectors(simulation: &Simulation) -> usize {
    simulation.start.students() * if simulation.rule.momentum > 0.0 { 2 } else { 1 }
}

/// One run of the chain.
#[derive(Clone, Debug)]
pub struct Chain {
    problem: Problem,
    seed: u64,
    run: u64,
    normals: Normals,
    done: u64,
    /// Coordinates outside the frame: d - r - K (2 K with momentum).
    outside: u64,
    frame: Frame,
    /// Coordinates of an input in the frame, r + K (2 K).
    input: Vec<f64>,
    fields: Vec<f64>,
    /// Coefficients of the batch by students, K x B; replaced by their triangular factor.
    coefficients: Vec<f64>,
    /// Gram factor of what the step adds outside, K x min(K, B, d - r - K).
    cross: Vec<f64>,
    /// Bartlett's factor, min(K, B) x columns of `cross`.
    bartlett: Vec<f64>,
    /// Velocity of the readouts.
    readouts: Vec<f64>,
    hold: Hold,
}

impl Chain {
    /// Run `run` at its start.
    ///
    /// # Errors
    /// Those of [`Simulation::checked`]; [`Error::Count`] when d < rank T + K.
    pub fn new(simulation: &Simulation, run: u64) -> Result<Chain> {
        check(simulation)?;
        Ok(Chain::start(simulation, run))
    }

    fn start(simulation: &Simulation, run: u64) -> Chain {
        let problem = Problem::new(simulation);
        let (k, r, batch) = (problem.students, problem.rank, problem.rule.batch);
        let n = vectors(simulation);
        let outside = (simulation.dimension - r - n) as u64;
        let rows = k.min(batch);
        let columns = usize::try_from(outside).unwrap_or(usize::MAX).min(rows);
        let mut frame = Frame::new(n, r, columns);
        let start = simulation.start.rows();
        for i in 0..k {
            for c in 0..r {
                frame.rows[i * (r + n) + c] = start[[i, c]];
            }
        }
        let mut across: Vec<f64> = start.slice(s![.., r..]).iter().copied().collect();
        let width = start.ncols() - r;
        triangular(&mut across, k, width);
        for i in 0..k {
            for c in 0..width.min(i + 1) {
                frame.rows[i * (r + n) + r + c] = across[i * width + c];
            }
        }
        Chain {
            normals: Normals::new(stream(simulation.seed, &[purpose::CHAIN, run])),
            seed: simulation.seed,
            run,
            done: 0,
            outside,
            frame,
            input: vec![0.0; r + n],
            fields: vec![0.0; k],
            coefficients: vec![0.0; k * batch],
            cross: vec![0.0; k * columns],
            bartlett: vec![0.0; rows * columns],
            readouts: vec![0.0; k],
            hold: Hold::new(problem.rule.constraint, k),
            problem,
        }
    }

    /// Makes these steps; false when the run has diverged.
    pub fn advance(&mut self, steps: u64) -> bool {
        (0..steps).all(|_| self.step())
    }

    /// The students in the current frame, K x (r + K) by rows: coordinates along the teacher, then a lower triangle. With
    /// momentum the frame has r + 2 K directions.
    pub fn weights(&self) -> &[f64] {
        &self.frame.rows[..self.problem.students * self.input.len()]
    }

    /// Draws the factor of what the step adds outside the frame: C X X^T C^T in law, X standard normal, B x (d - r - K).
    ///
    /// C X has the law of F G with F F^T = C C^T and G standard normal with as many rows as F has columns (eq.
    /// 07-cross); of G only its Gram matrix matters.
    fn draw_cross(&mut self) {
        let (k, batch) = (self.problem.students, self.problem.rule.batch);
        let rows = k.min(batch);
        let columns = self.cross.len() / k;
        if columns == 0 {
            return;
        }
        if batch > k {
            triangular(&mut self.coefficients, k, batch);
        }
        if rows == 1 {
            let length = self.normals.chi_squared(self.outside).sqrt();
            for (cross, c) in self.cross.iter_mut().zip(self.coefficients.iter().step_by(batch)) {
                *cross = length * c;
            }
            return;
        }
        for i in 0..rows {
            for j in 0..columns {
                self.bartlett[i * columns + j] = if columns < rows || j < i {
                    self.normals.normal()
                } else if j == i {
                    self.normals.chi_squared(self.outside - i as u64).sqrt()
                } else {
                    0.0
                };
            }
        }
        for i in 0..k {
            let cross = &mut self.cross[i * columns..][..columns];
            cross.fill(0.0);
            let filled = if batch > k { i + 1 } else { rows };
            for (c, row) in self.coefficients[i * batch..][..filled].iter().zip(self.bartlett.chunks_exact(columns)) {
                for (cross, g) in cross.iter_mut().zip(row) {
                    *cross += c * g;
                }
            }
        }
    }
}

impl Trainable for Chain {
    fn step(&mut self) -> bool {
        let (batch, d) = (self.problem.rule.batch, self.problem.dimension as f64);
        let rate = self.problem.rule.rate(self.done as f64 / d);
        let trained = self.problem.rule.trains_readouts();
        if trained {
            self.readouts.iter_mut().for_each(|velocity| *velocity *= self.problem.rule.momentum);
        }
        self.frame.decay(1.0 - rate * self.problem.rule.weight_decay / d);
        for b in 0..batch {
            self.normals.fill(&mut self.input);
            self.frame.fields(&self.input, &mut self.fields);
            let mut error = self.problem.output(&self.fields) - self.problem.target(&self.input);
            if self.problem.rule.label_noise > 0.0 {
                error -= self.problem.rule.label_noise * self.normals.normal();
            }
            if trained {
                let scale = rate * self.problem.rule.readout_rate / (batch as f64 * d);
                self.problem.push_readouts(&self.fields, error, scale, &mut self.readouts);
            }
            self.problem.coefficients(&mut self.fields, error, rate / (batch as f64 * d));
            self.frame.add(&self.fields, &self.input);
            for (i, c) in self.fields.iter().enumerate() {
                self.coefficients[i * batch + b] = *c;
            }
        }
        self.draw_cross();
        self.done += 1;
        if self.problem.rule.is_plain() {
            return self.frame.turn(&self.cross);
        }
        let bounded = self.problem.move_readouts(&self.readouts, LARGEST_NORM);
        bounded && self.frame.turn_by_rule(&self.cross, self.problem.rule.momentum, &mut self.hold)
    }

    fn observe(&mut self, out: &mut [f64]) -> bool {
        let (k, m, width) = (self.problem.students, self.problem.teachers, self.input.len());
        let row = |i: usize| &self.frame.rows[i * width..][..width];
        let mut at = 0;
        for i in 0..k {
            for j in i..k {
                out[at] = row(i).iter().zip(row(j)).map(|(u, v)| u * v).sum();
                at += 1;
            }
        }
        for i in 0..k {
            self.problem.teacher_overlaps(&row(i)[..self.problem.rank], &mut out[at + i * m..][..m]);
        }
        self.problem.record_readouts(out);
        out.iter().all(|x| x.is_finite())
    }

    fn test(&mut self, inputs: usize, index: usize) -> [f64; 2] {
        let path = [purpose::TEST, purpose::CHAIN, self.run, index as u64];
        let mut normals = Normals::new(stream(self.seed, &path));
        let mut squares = HalfSquares::default();
        for _ in 0..inputs {
            normals.fill(&mut self.input);
            self.frame.fields(&self.input, &mut self.fields);
            squares.add(self.problem.output(&self.fields) - self.problem.target(&self.input));
        }
        squares.result()
    }

    fn work(&self) -> f64 {
        let width = self.input.len() as f64;
        (self.problem.students as f64 + 2.0) * width * (self.problem.rule.batch as f64 + width) + 20.0
    }
}

/// The students in r + K orthonormal directions: the teacher's span, then a frame of the students' rest. With momentum 2 K
/// vectors in r + 2 K directions, the velocities after the students (eq. 07-velocity).
#[derive(Clone, Debug)]
struct Frame {
    /// K, or 2 K.
    students: usize,
    /// r.
    rank: usize,
    /// K x (r + K); the last K columns are lower triangular.
    rows: Vec<f64>,
    /// What the step adds in the frame, K x (r + K).
    step: Vec<f64>,
    /// 1 - eta gamma / d of the step.
    decay: f64,
    /// Columns of the factor outside.
    outside: usize,
    /// K x (K + outside).
    work: Vec<f64>,
}

impl Frame {
    fn new(students: usize, rank: usize, outside: usize) -> Frame {
        let size = students * (rank + students);
        let work = vec![0.0; students * (students + outside)];
        Frame { students, rank, rows: vec![0.0; size], step: vec![0.0; size], decay: 1.0, outside, work }
    }

    /// Begins a step.
    fn decay(&mut self, factor: f64) {
        self.decay = factor;
        self.step.fill(0.0);
    }

    /// Fields of an input given in the frame (r + K coordinates).
    #[inline]
    fn fields(&self, input: &[f64], fields: &mut [f64]) {
        let width = self.rank + self.students;
        let rows = self.rows.chunks_exact(width);
        for (i, (field, row)) in fields.iter_mut().zip(rows).enumerate() {
            let filled = self.rank + i + 1;
            let mut sum = 0.0;
            for (w, x) in row[..filled].iter().zip(&input[..filled]) {
                sum += w * x;
            }
            *field = sum;
        }
    }

    /// Adds an input with these coefficients to the step.
    #[inline]
    fn add(&mut self, coefficients: &[f64], input: &[f64]) {
        let width = self.rank + self.students;
        for (&c, step) in coefficients.iter().zip(self.step.chunks_exact_mut(width)) {
            if c != 0.0 {
                for (step, x) in step.iter_mut().zip(input) {
                    *step += c * x;
                }
            }
        }
    }

    /// Ends the step with the factor of what it added outside (K x outside), and turns the frame so that the rest of the
    /// students is lower triangular again; false when a coordinate is beyond [`LARGEST_NORM`] or not finite.
    fn turn(&mut self, cross: &[f64]) -> bool {
        let (k, r) = (self.students, self.rank);
        let (width, columns) = (r + k, k + self.outside);
        for i in 0..k {
            let row = &mut self.rows[i * width..][..width];
            for (w, step) in row.iter_mut().zip(&self.step[i * width..][..width]) {
                *w = self.decay * *w + step;
            }
            let work = &mut self.work[i * columns..][..columns];
            work[..k].copy_from_slice(&row[r..]);
            work[k..].copy_from_slice(&cross[i * self.outside..][..self.outside]);
        }
        triangular(&mut self.work, k, columns);
        let mut bounded = true;
        for i in 0..k {
            let row = &mut self.rows[i * width..][..width];
            row[r..=r + i].copy_from_slice(&self.work[i * columns..][..i + 1]);
            row[r + i + 1..].fill(0.0);
            let mut square = 0.0;
            for w in &row[..=r + i] {
                square += w * w;
            }
            bounded &= square <= LARGEST_NORM * LARGEST_NORM;
        }
        bounded
    }
}

impl Frame {
    /// As [`Frame::turn`] with momentum and constraint: K students in the first rows, with momentum their velocities in the
    /// rows after them; false also when the students cannot be put on the constraint.
    fn turn_by_rule(&mut self, cross: &[f64], momentum: f64, hold: &mut Hold) -> bool {
        let (n, r) = (self.students, self.rank);
        let k = if momentum > 0.0 { n / 2 } else { n };
        let (width, columns) = (r + n, n + self.outside);
        for i in 0..k {
            for c in 0..width {
                let at = i * width + c;
                if momentum > 0.0 {
                    let velocity = &mut self.rows[(k + i) * width + c];
                    *velocity *= momentum;
                    let change = *velocity + (self.decay - 1.0) * self.rows[at] + self.step[at];
                    self.rows[(k + i) * width + c] = change;
                    self.rows[at] += change;
                } else {
                    self.rows[at] = self.decay * self.rows[at] + self.step[at];
                }
            }
        }
        for i in 0..n {
            let work = &mut self.work[i * columns..][..columns];
            work[..n].copy_from_slice(&self.rows[i * width + r..][..n]);
            // What a step adds outside the frame, weight and velocity get alike.
            work[n..].copy_from_slice(&cross[i % k * self.outside..][..self.outside]);
        }
        if !hold.is_free() {
            for i in 0..k {
                for j in 0..=i {
                    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                    let along = product(&self.rows[i * width..][..r], &self.rows[j * width..][..r]);
                    let across = product(&self.work[i * columns..][..columns], &self.work[j * columns..][..columns]);
                    (hold.gram[i * k + j], hold.gram[j * k + i]) = (along + across, along + across);
                }
            }
            if !hold.find() {
                return false;
            }
            let mut column = vec![0.0; k];
            hold.apply(&mut self.work, columns, &mut column);
            hold.apply(&mut self.rows, width, &mut column);
        }
        triangular(&mut self.work, n, columns);
        let mut bounded = true;
        for i in 0..n {
            let row = &mut self.rows[i * width..][..width];
            row[r..=r + i].copy_from_slice(&self.work[i * columns..][..i + 1]);
            row[r + i + 1..].fill(0.0);
            let square: f64 = row[..=r + i].iter().map(|w| w * w).sum();
            bounded &= square <= LARGEST_NORM * LARGEST_NORM;
        }
        bounded
    }
}

/// Replaces A (rows x columns) by A O, lower triangular, O orthogonal (Householder reflections from the right). What lies
/// above the diagonal is left as it falls, not zeroed.
fn triangular(a: &mut [f64], rows: usize, columns: usize) {
    for i in 0..rows.min(columns) {
        let (head, below) = a.split_at_mut((i + 1) * columns);
        let v = &mut head[i * columns + i..];
        let first = v[0];
        let mut tail = 0.0;
        for x in &v[1..] {
            tail += x * x;
        }
        if tail == 0.0 {
            continue;
        }
        let length = (first * first + tail).sqrt();
        // The reflection takes the row to -sign(first) length e_1.
        let pivot = if first < 0.0 { length } else { -length };
        v[0] = first - pivot;
        let factor = 1.0 / (length * (length + first.abs()));
        for row in below.chunks_exact_mut(columns) {
            let row = &mut row[i..];
            let mut product = 0.0;
            for (x, v) in row.iter().zip(v.iter()) {
                product += x * v;
            }
            product *= factor;
            for (x, v) in row.iter_mut().zip(v.iter()) {
                *x -= product * v;
            }
        }
        v[0] = pivot;
    }
}

#[cfg(test)]
mod tests;
