//! Full-batch descent on a finite sample, drawn once. Its minima are not those of the population loss: at n inputs in d
//! dimensions they depend on n/d.

use super::explicit::{embedded, overlaps, test};
use super::kernel::{dot, update};
use super::network::{HalfSquares, Problem};
use super::{ACTION, LARGEST_NORM, Recording, Simulation, Trainable, follow};
use crate::error::{Error, Result};
use crate::numerics::level::Level;
use crate::numerics::memory;
use crate::numerics::normal::Normals;
use crate::numerics::random::{purpose, stream};
use ndarray::Array2;

/// Records of descent on finite samples.
#[derive(Clone, Debug)]
pub struct EmpiricalRecording {
    /// n.
    pub inputs: usize,
    /// n/d.
    pub inputs_per_dimension: f64,
    /// Overlaps, and test errors on fresh inputs without label noise.
    pub recording: Recording,
    /// Runs x times: mean of (f - y)^2 / 2 over the sample, y its labels, noise included; NaN from where a run diverged.
    pub training: Array2<f64>,
}

/// Descends on a sample of n inputs, another one for each run. Each step is the rule's with the whole sample as its
/// batch, w_i -= (eta f(t)/(n d)) sum_b (e_b - xi_b) a_i g'(w_i.x_b) x_b + (eta f(t) gamma / d) w_i for weights of norm 1:
/// a step eta/d of gradient descent. The noises xi are part of the sample. The rule's own batch size is not used.
///
/// # Errors
/// Those of [`Simulation::checked`]; [`Error::Spec`] for another rule than plain SGD; [`Error::Count`] for n = 0; [`Error::Memory`]; [`Error::Interrupted`].
pub fn simulate(
    simulation: &Simulation,
    inputs: usize,
    progress: &(dyn Fn(usize) -> bool + Sync),
) -> Result<EmpiricalRecording> {
    check(simulation, inputs)?;
    let (recording, training) = follow(simulation, progress, |run| Descent::start(simulation, inputs, run))?;
    let shape = (simulation.runs, simulation.times.len());
    let training = Array2::from_shape_fn(shape, |(run, time)| training[run * shape.1 + time]);
    let inputs_per_dimension = inputs as f64 / simulation.dimension as f64;
    Ok(EmpiricalRecording { inputs, inputs_per_dimension, recording, training })
}

fn check(simulation: &Simulation, inputs: usize) -> Result<()> {
    simulation.check()?;
    simulation.rule.needs_plain("descend on a finite sample")?;
    if inputs == 0 {
        let needs = "at least 1".into();
        return Err(Error::Count { action: ACTION, quantity: "the number of training inputs", value: 0, needs });
    }
    let parallel = rayon::current_num_threads().min(simulation.runs);
    let d = simulation.dimension as f64;
    memory::check(
        ACTION,
        format!("{parallel} samples of {inputs} inputs in {} dimensions", simulation.dimension),
        parallel as f64 * d * (inputs as f64 + 2.0 * simulation.start.students() as f64),
        "use a smaller sample or fewer threads",
    )
}

/// One run of descent.
#[derive(Clone, Debug)]
pub struct Descent {
    problem: Problem,
    level: Level,
    seed: u64,
    run: u64,
    done: u64,
    /// n x d.
    inputs: Vec<f64>,
    /// f*(x) + xi, n.
    labels: Vec<f64>,
    /// K x d.
    weights: Vec<f64>,
    /// K x d.
    gradient: Vec<f64>,
    fields: Vec<f64>,
}

impl Descent {
    /// Run `run` at its start, with its sample.
    ///
    /// # Errors
    /// As [`simulate`].
    pub fn new(simulation: &Simulation, inputs: usize, run: u64) -> Result<Descent> {
        check(simulation, inputs)?;
        Ok(Descent::start(simulation, inputs, run))
    }

    fn start(simulation: &Simulation, inputs: usize, run: u64) -> Descent {
        let problem = Problem::new(simulation);
        let (k, d) = (problem.students, problem.dimension);
        let mut normals = Normals::new(stream(simulation.seed, &[purpose::SAMPLE, run]));
        let mut sample = vec![0.0; inputs * d];
        normals.fill(&mut sample);
        let mut label = |x: &[f64]| problem.target(x) + problem.rule.label_noise * normals.normal();
        let labels = sample.chunks_exact(d).map(&mut label).collect();
        Descent {
            level: Level::best(),
            seed: simulation.seed,
            run,
            done: 0,
            inputs: sample,
            labels,
            weights: embedded(simulation),
            gradient: vec![0.0; k * d],
            fields: vec![0.0; k],
            problem,
        }
    }

    /// Makes these steps; false when the run has diverged.
    pub fn advance(&mut self, steps: u64) -> bool {
        (0..steps).all(|_| self.step())
    }

    /// The students, K x d by rows.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The sample: inputs (n x d by rows) and labels (n).
    pub fn sample(&self) -> (&[f64], &[f64]) {
        (&self.inputs, &self.labels)
    }
}

impl Trainable for Descent {
    fn step(&mut self) -> bool {
        let (level, d) = (self.level, self.problem.dimension);
        let rate = self.problem.rule.rate(self.done as f64 / d as f64) / d as f64;
        self.gradient.fill(0.0);
        for (x, label) in self.inputs.chunks_exact(d).zip(&self.labels) {
            for (field, u) in self.fields.iter_mut().zip(self.weights.chunks_exact(d)) {
                *field = dot(level, u, x);
            }
            let error = self.problem.output(&self.fields) - label;
            self.problem.coefficients(&mut self.fields, error, rate / self.labels.len() as f64);
            for (c, sum) in self.fields.iter().zip(self.gradient.chunks_exact_mut(d)) {
                if *c != 0.0 {
                    update(level, sum, 1.0, *c, x);
                }
            }
        }
        update(level, &mut self.weights, 1.0 - rate * self.problem.rule.weight_decay, 1.0, &self.gradient);
        self.done += 1;
        self.weights.chunks_exact(d).all(|u| dot(level, u, u).sqrt() <= LARGEST_NORM)
    }

    fn observe(&mut self, out: &mut [f64]) -> bool {
        overlaps(&self.problem, self.level, &self.weights, out)
    }

    fn test(&mut self, inputs: usize, index: usize) -> [f64; 2] {
        let path = [purpose::TEST, purpose::SAMPLE, self.run, index as u64];
        let mut normals = Normals::new(stream(self.seed, &path));
        test(&self.problem, self.level, &self.weights, &mut normals, inputs)
    }

    fn training_error(&mut self) -> f64 {
        let d = self.problem.dimension;
        let mut squares = HalfSquares::default();
        for (x, label) in self.inputs.chunks_exact(d).zip(&self.labels) {
            for (field, u) in self.fields.iter_mut().zip(self.weights.chunks_exact(d)) {
                *field = dot(self.level, u, x);
            }
            squares.add(self.problem.output(&self.fields) - label);
        }
        squares.result()[0]
    }

    fn work(&self) -> f64 {
        self.inputs.len() as f64 * self.problem.students as f64
    }
}
