//! Training by drawn inputs: the witness of the theory. No average of the other rooms enters here.
//!
//! [`explicit`] trains d-dimensional networks. [`chain`] draws from the same law of the overlaps at a cost per step that
//! does not depend on d (theory 07). [`empirical`] descends on a finite sample, whose minima are not the population's.

pub mod chain;
pub mod empirical;
pub mod explicit;
mod hold;
mod kernel;
mod network;
mod recording;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use rayon::prelude::*;

pub use chain::Chain;
pub use empirical::{Descent, EmpiricalRecording};
pub use explicit::Witness;
pub use recording::{Moments, Recording};

use crate::error::{Error, Result};
use crate::model::{Sgd, Teacher, Weights};

const ACTION: &str = "simulate training";

/// Largest violation of the rule's constraint by a start: what rounding leaves.
const VIOLATION: f64 = 1e-9;

/// A run in which a student's norm exceeds this has diverged.
pub const LARGEST_NORM: f64 = 1e8;

/// What is simulated: independent runs of one rule from one start. Only the first task (row 0 of the readouts) is trained.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Input dimension d, at least the coordinates of the start; the chain needs d >= rank T + K.
    pub dimension: usize,
    pub rule: Sgd,
    pub teacher: Teacher,
    /// Initial students in reduced coordinates (K x D). In d dimensions the other d - D coordinates are 0: inputs are
    /// invariant under rotations, so this is any start with these overlaps.
    pub start: Weights,
    /// Times t = steps / d at which the state is recorded, not falling; a time t means the state after round(t d) steps.
    pub times: Vec<f64>,
    /// Number of independent runs.
    pub runs: usize,
    /// Run n draws from the stream (seed, purpose, n).
    pub seed: u64,
    /// Fresh inputs of the test error at each time; 0: no test error. They do not change the training.
    pub test_inputs: usize,
}

impl Simulation {
    /// The same simulation, if it can be done.
    ///
    /// # Errors
    /// [`Error::Real`], [`Error::Count`], [`Error::Shape`], [`Error::Spec`] with the value: the errors of
    /// [`Sgd::checked`]; d below the coordinates of the start; a start for another teacher or off the rule's constraint; no runs; no times, times that
    /// fall, are negative or have more than 2^53 steps; one test input (two are needed for a standard error).
    pub fn checked(self) -> Result<Simulation> {
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        let count = |quantity, value, needs: String| Err(Error::Count { action: ACTION, quantity, value, needs });
        let real = |quantity: String, value, needs| Err(Error::Real { action: ACTION, quantity, value, needs });
        self.rule.checked()?;
        let (tasks, coordinates) = (self.teacher.readouts().nrows(), self.start.coordinates());
        if self.start.readouts().nrows() != tasks || coordinates < self.teacher.rank() {
            return Err(Error::Shape {
                action: ACTION,
                what: "the start",
                rows: self.start.readouts().nrows(),
                columns: coordinates,
                needs: format!("tasks x D with {tasks} tasks and D >= {} (rank of T)", self.teacher.rank()),
            });
        }
        if self.dimension < coordinates {
            let needs = format!("at least {coordinates} (the coordinates of the start)");
            return count("dimension d", self.dimension, needs);
        }
        let violation = self.rule.constraint.violation(self.start.rows().view());
        if !(violation <= VIOLATION) {
            return real(
                "the violation of the constraint by the start".into(),
                violation,
                "at most 1e-9: put the start on the constraint first",
            );
        }
        if self.runs == 0 {
            return count("the number of runs", 0, "at least 1".into());
        }
        if self.test_inputs == 1 {
            return count("the number of test inputs", 1, "0, or at least 2 for a standard error".into());
        }
        if self.times.is_empty() {
            return count("the number of times", 0, "at least 1".into());
        }
        let mut last = 0.0;
        for &time in &self.times {
            if !(time >= 0.0 && time * self.dimension as f64 <= (1u64 << 53) as f64) {
                return real("a time".into(), time, "a number, 0 or above, of at most 2^53 steps");
            }
            if time < last {
                return real(format!("the time after {last}"), time, "times in rising order");
            }
            last = time;
        }
        Ok(())
    }

    /// Steps before each record.
    pub fn steps(&self) -> Vec<u64> {
        self.times.iter().map(|time| (time * self.dimension as f64).round() as u64).collect()
    }
}

/// One run that can be advanced and looked at.
trait Trainable {
    /// Makes one step; false when the run has diverged.
    fn step(&mut self) -> bool;
    /// Q (upper triangle by rows), then R (by rows), then trained readouts; false when not finite or beyond [`LARGEST_NORM`].
    fn observe(&mut self, out: &mut [f64]) -> bool;
    /// Test error and its standard error from n fresh inputs of their own stream.
    fn test(&mut self, inputs: usize, index: usize) -> [f64; 2];
    /// Error on the training sample, where there is one.
    fn training_error(&mut self) -> f64 {
        f64::NAN
    }
    /// Arithmetic operations of a step, roughly: decides how often the run asks whether to go on.
    fn work(&self) -> f64;
}

/// Follows all runs on the threads of the current rayon pool. Every run has its own stream, so the result does not depend
/// on their number or order.
fn follow<T: Trainable>(
    simulation: &Simulation,
    progress: &(dyn Fn(usize) -> bool + Sync),
    start: impl Fn(u64) -> T + Sync,
) -> Result<(Recording, Vec<f64>)> {
    let steps = simulation.steps();
    let (stopped, finished) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ask = || {
        if !stopped.load(Relaxed) && !progress(finished.load(Relaxed)) {
            stopped.store(true, Relaxed);
        }
        stopped.load(Relaxed)
    };
    let mut recording = Recording::empty(simulation, steps.clone());
    let mut training = vec![f64::NAN; simulation.runs * steps.len()];
    let entries = recording.overlaps.dim().2;
    let overlaps = recording.overlaps.as_slice_mut().expect("a fresh array is contiguous");
    let test = recording.test.as_slice_mut().expect("a fresh array is contiguous");
    let places = overlaps
        .par_chunks_mut(steps.len() * entries)
        .zip(test.par_chunks_mut(steps.len() * 2))
        .zip(training.par_chunks_mut(steps.len()))
        .zip(&mut recording.diverged);
    places.enumerate().with_max_len(1).for_each(|(run, (((overlaps, test), training), diverged))| {
        if stopped.load(Relaxed) {
            return;
        }
        let mut state = start(run as u64);
        // A few times a second.
        let patience = (3e8 / state.work()).ceil() as u64;
        let (mut done, mut next) = (0, patience);
        'times: for (index, &until) in steps.iter().enumerate() {
            while done < until {
                if !state.step() {
                    *diverged = Some((done + 1) as f64 / simulation.dimension as f64);
                    break 'times;
                }
                done += 1;
                if done == next {
                    next += patience;
                    if ask() {
                        return;
                    }
                }
            }
            let frame = &mut overlaps[index * entries..][..entries];
            if !state.observe(frame) {
                frame.fill(f64::NAN);
                *diverged = Some(done as f64 / simulation.dimension as f64);
                break;
            }
            training[index] = state.training_error();
            if simulation.test_inputs > 0 {
                test[2 * index..][..2].copy_from_slice(&state.test(simulation.test_inputs, index));
            }
        }
        finished.fetch_add(1, Relaxed);
        ask();
    });
    let (done, total) = (finished.into_inner(), simulation.runs);
    if done < total {
        let resume = "nothing is kept: start again with the same seed".into();
        return Err(Error::Interrupted { done, total, resume });
    }
    Ok((recording, training))
}

#[cfg(test)]
mod tests;
