//! The witness: networks in d dimensions, trained on drawn inputs by the rule as it is written (theory 07, eq. 07-step).
//!
//! A step costs the drawing of B d normals and up to 4 K B d multiplications and additions. The update by one input and
//! the fields of the next are taken in one pass over the weights, a chunk of coordinates at a time.

use super::hold::Hold;
use super::kernel::{CHUNK, dot, update, update_dot};
use super::network::{HalfSquares, Problem};
use super::{ACTION, LARGEST_NORM, Recording, Simulation, Trainable, follow};
use crate::error::Result;
use crate::numerics::level::Level;
use crate::numerics::memory;
use crate::numerics::normal::Normals;
use crate::numerics::random::{purpose, stream};

/// Trains all runs and records them. `progress` gets the number of finished runs, from any thread, a few times a second
/// and after every run; when it returns false, the runs end and nothing is kept.
///
/// # Errors
/// Those of [`Simulation::checked`]; [`crate::error::Error::Memory`]; [`crate::error::Error::Interrupted`]. A run that
/// diverges is no error: see [`Recording::diverged`].
pub fn simulate(simulation: &Simulation, progress: &(dyn Fn(usize) -> bool + Sync)) -> Result<Recording> {
    simulation.check()?;
    let single = simulation.rule.batch == 1 && simulation.rule.is_plain();
    let copies = simulation.start.students() * if single { 1 } else { 2 } + 2;
    let parallel = rayon::current_num_threads().min(simulation.runs);
    memory::check(
        ACTION,
        format!("{parallel} networks in {} dimensions at once", simulation.dimension),
        (copies * parallel) as f64 * simulation.dimension as f64,
        "use the reduced chain, whose state does not grow with d",
    )?;
    Ok(follow(simulation, progress, |run| Witness::start(simulation, run))?.0)
}

/// One run of d-dimensional students.
#[derive(Clone, Debug)]
pub struct Witness {
    problem: Problem,
    level: Level,
    seed: u64,
    run: u64,
    normals: Normals,
    done: u64,
    /// K x d. The last input is not yet added: `pending` are its coefficients.
    weights: Vec<f64>,
    /// Sum of the batch so far (K x d); empty for B = 1. The velocity of a rule beyond plain SGD.
    sum: Vec<f64>,
    input: Vec<f64>,
    last: Vec<f64>,
    pending: Vec<f64>,
    /// 1 - eta gamma / d of the step to which `pending` belongs.
    decay: f64,
    fields: Vec<f64>,
    /// Velocity of the readouts.
    readouts: Vec<f64>,
    hold: Hold,
}

impl Witness {
    /// Run `run` at its start.
    ///
    /// # Errors
    /// Those of [`Simulation::checked`].
    pub fn new(simulation: &Simulation, run: u64) -> Result<Witness> {
        simulation.check()?;
        Ok(Witness::start(simulation, run))
    }

    fn start(simulation: &Simulation, run: u64) -> Witness {
        let (k, d) = (simulation.start.students(), simulation.dimension);
        Witness {
            problem: Problem::new(simulation),
            level: Level::best(),
            seed: simulation.seed,
            run,
            normals: Normals::new(stream(simulation.seed, &[purpose::WITNESS, run])),
            done: 0,
            weights: embedded(simulation),
            sum: vec![0.0; if simulation.rule.batch > 1 || !simulation.rule.is_plain() { k * d } else { 0 }],
            input: vec![0.0; d],
            last: vec![0.0; d],
            pending: vec![0.0; k],
            decay: 1.0,
            fields: vec![0.0; k],
            readouts: vec![0.0; k],
            hold: Hold::new(simulation.rule.constraint, k),
        }
    }

    /// Makes these steps; false when the run has diverged.
    pub fn advance(&mut self, steps: u64) -> bool {
        (0..steps).all(|_| self.step())
    }

    /// The students, K x d by rows.
    pub fn weights(&mut self) -> &[f64] {
        self.settle();
        &self.weights
    }

    /// Draws the next input and takes its fields, adding what is pending on the way. `fresh`: the input starts a batch.
    fn pass(&mut self, fresh: bool) {
        std::mem::swap(&mut self.input, &mut self.last);
        self.fields.fill(0.0);
        let (level, d, decay) = (self.level, self.problem.dimension, self.decay);
        let batched = !self.sum.is_empty();
        for from in (0..d).step_by(CHUNK) {
            let to = d.min(from + CHUNK);
            let (x, v) = (&mut self.input[from..to], &self.last[from..to]);
            self.normals.fill(x);
            for (i, field) in self.fields.iter_mut().enumerate() {
                let c = self.pending[i];
                let u = &mut self.weights[i * d + from..i * d + to];
                *field += if batched {
                    let sum = &mut self.sum[i * d + from..i * d + to];
                    update(level, sum, 1.0, c, v);
                    if fresh {
                        update(level, u, decay, 1.0, sum);
                        sum.fill(0.0);
                    }
                    dot(level, u, x)
                } else if c == 0.0 && decay == 1.0 {
                    dot(level, u, x)
                } else {
                    update_dot(level, u, decay, c, v, x)
                };
            }
        }
    }

    /// A step of any rule, as it is written: velocity, weights and readouts, constraint, with nothing pending after it.
    fn step_by_rule(&mut self) -> bool {
        let (level, rule, d) = (self.level, self.problem.rule, self.problem.dimension);
        let rate = rule.rate(self.done as f64 / d as f64);
        let (scale, decay) = (rate / (rule.batch as f64 * d as f64), rate * rule.weight_decay / d as f64);
        for (u, velocity) in self.weights.chunks_exact(d).zip(self.sum.chunks_exact_mut(d)) {
            update(level, velocity, rule.momentum, -decay, u);
        }
        self.readouts.iter_mut().for_each(|velocity| *velocity *= rule.momentum);
        for _ in 0..rule.batch {
            self.normals.fill(&mut self.input);
            for (field, u) in self.fields.iter_mut().zip(self.weights.chunks_exact(d)) {
                *field = dot(level, u, &self.input);
            }
            let mut error = self.problem.output(&self.fields) - self.problem.target(&self.input);
            if rule.label_noise > 0.0 {
                error -= rule.label_noise * self.normals.normal();
            }
            if rule.trains_readouts() {
                self.problem.push_readouts(&self.fields, error, scale * rule.readout_rate, &mut self.readouts);
            }
            self.problem.coefficients(&mut self.fields, error, scale);
            for (c, velocity) in self.fields.iter().zip(self.sum.chunks_exact_mut(d)) {
                if *c != 0.0 {
                    update(level, velocity, 1.0, *c, &self.input);
                }
            }
        }
        for (u, velocity) in self.weights.chunks_exact_mut(d).zip(self.sum.chunks_exact(d)) {
            update(level, u, 1.0, 1.0, velocity);
        }
        let bounded = self.problem.move_readouts(&self.readouts, LARGEST_NORM);
        self.done += 1;
        bounded && self.is_held() && self.is_bounded()
    }

    /// Puts the students back on the rule's set; false when that cannot be done.
    fn is_held(&mut self) -> bool {
        if self.hold.is_free() {
            return true;
        }
        let (level, k, d) = (self.level, self.problem.students, self.problem.dimension);
        for i in 0..k {
            for j in 0..=i {
                let product = dot(level, &self.weights[i * d..][..d], &self.weights[j * d..][..d]);
                (self.hold.gram[i * k + j], self.hold.gram[j * k + i]) = (product, product);
            }
        }
        let found = self.hold.find();
        if found {
            self.hold.apply(&mut self.weights, d, &mut self.fields);
        }
        found
    }

    /// Adds what is pending.
    fn settle(&mut self) {
        if !self.problem.rule.is_plain() {
            return;
        }
        let (level, d) = (self.level, self.problem.dimension);
        for (i, c) in self.pending.iter_mut().enumerate() {
            let u = &mut self.weights[i * d..][..d];
            if self.sum.is_empty() {
                update(level, u, self.decay, *c, &self.input);
            } else {
                let sum = &mut self.sum[i * d..][..d];
                update(level, sum, 1.0, *c, &self.input);
                update(level, u, self.decay, 1.0, sum);
                sum.fill(0.0);
            }
            *c = 0.0;
        }
        self.decay = 1.0;
    }

    /// Whether all norms are at most [`LARGEST_NORM`].
    fn is_bounded(&mut self) -> bool {
        let (level, d) = (self.level, self.problem.dimension);
        let norms = |u: &[f64]| dot(level, u, u).sqrt() <= LARGEST_NORM;
        self.weights().chunks_exact(d).all(norms)
    }
}

/// The start in d dimensions, K x d.
pub(super) fn embedded(simulation: &Simulation) -> Vec<f64> {
    let d = simulation.dimension;
    let mut weights = vec![0.0; simulation.start.students() * d];
    for ((i, c), &w) in simulation.start.rows().indexed_iter() {
        weights[i * d + c] = w;
    }
    weights
}

/// Overlaps of d-dimensional students as [`Recording`] orders them; false when they are no state of a bounded network.
pub(super) fn overlaps(problem: &Problem, level: Level, weights: &[f64], out: &mut [f64]) -> bool {
    let (k, m, d) = (problem.students, problem.teachers, problem.dimension);
    let row = |i: usize| &weights[i * d..][..d];
    let mut at = 0;
    let mut bounded = true;
    for i in 0..k {
        for j in i..k {
            out[at] = dot(level, row(i), row(j));
            bounded &= out[at].is_finite() && (j > i || out[at].sqrt() <= LARGEST_NORM);
            at += 1;
        }
    }
    for i in 0..k {
        problem.teacher_overlaps(&row(i)[..problem.rank], &mut out[at + i * m..][..m]);
    }
    problem.record_readouts(out);
    bounded
}

/// Test error of d-dimensional students on n fresh inputs, with its standard error.
pub(super) fn test(problem: &Problem, level: Level, weights: &[f64], normals: &mut Normals, inputs: usize) -> [f64; 2] {
    let d = problem.dimension;
    let (mut x, mut fields) = (vec![0.0; d], vec![0.0; problem.students]);
    let mut squares = HalfSquares::default();
    for _ in 0..inputs {
        normals.fill(&mut x);
        for (field, u) in fields.iter_mut().zip(weights.chunks_exact(d)) {
            *field = dot(level, u, &x);
        }
        squares.add(problem.output(&fields) - problem.target(&x));
    }
    squares.result()
}

impl Trainable for Witness {
    fn step(&mut self) -> bool {
        if !self.problem.rule.is_plain() {
            return self.step_by_rule();
        }
        let (batch, d) = (self.problem.rule.batch, self.problem.dimension as f64);
        let rate = self.problem.rule.rate(self.done as f64 / d);
        let mut watch = false;
        for b in 0..batch {
            self.pass(b == 0);
            // A norm above 1e8 shows in the fields, of that size, within a few steps; then the norms are taken.
            watch |= !self.fields.iter().all(|field| field.abs() < 0.1 * LARGEST_NORM);
            let mut error = self.problem.output(&self.fields) - self.problem.target(&self.input);
            if self.problem.rule.label_noise > 0.0 {
                error -= self.problem.rule.label_noise * self.normals.normal();
            }
            self.pending.copy_from_slice(&self.fields);
            self.problem.coefficients(&mut self.pending, error, rate / (batch as f64 * d));
        }
        self.decay = 1.0 - rate * self.problem.rule.weight_decay / d;
        self.done += 1;
        !watch || self.is_bounded()
    }

    fn observe(&mut self, out: &mut [f64]) -> bool {
        self.settle();
        overlaps(&self.problem, self.level, &self.weights, out)
    }

    fn test(&mut self, inputs: usize, index: usize) -> [f64; 2] {
        self.settle();
        let path = [purpose::TEST, purpose::WITNESS, self.run, index as u64];
        let mut normals = Normals::new(stream(self.seed, &path));
        test(&self.problem, self.level, &self.weights, &mut normals, inputs)
    }

    fn work(&self) -> f64 {
        // A normal costs about as much as four students' share.
        let problem = &self.problem;
        problem.rule.batch as f64 * problem.dimension as f64 * (problem.students as f64 + 4.0)
    }
}
