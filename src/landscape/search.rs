//! Many random starts, each followed to its critical point: deterministic per (seed, run), parallel over runs.

use rayon::prelude::*;

use super::fixed_point::Settled;
use super::ruled::settle_by_rule;
use crate::error::Result;
use crate::model::{InitialLaw, Teacher, Training, Weights};
use crate::population::{risk, risk_exact};

/// What is searched: K students, a teacher, an initial law, a seed and a training rule.
#[derive(Clone, Debug)]
pub struct Problem {
    pub students: usize,
    pub teacher: Teacher,
    pub law: InitialLaw,
    pub seed: u64,
    pub rule: Training,
}

/// Outcome of one run: a critical point, or the reason why there is none.
#[derive(Clone, Debug)]
pub struct RunResult {
    pub run: u64,
    pub outcome: std::result::Result<Settled, String>,
    /// Loss at the point.
    pub loss: f64,
}

impl Problem {
    /// Initial weights of one run.
    ///
    /// # Errors
    /// Those of [`InitialLaw::draw`].
    pub fn start(&self, run: u64) -> Result<Weights> {
        self.law.draw(self.students, &self.teacher, self.seed, run)
    }

    /// Follows one run to its end.
    pub fn run(&self, run: u64) -> RunResult {
        let outcome = self.start(run).and_then(|start| settle_by_rule(self.rule, &start, &self.teacher, 0));
        let loss = outcome.as_ref().map_or(f64::NAN, |settled| {
            // Double-double arithmetic costs as much as 100 gradients and is needed near zero only.
            let loss = risk(&settled.weights, &self.teacher, 0);
            if loss > 1e-6 { loss } else { risk_exact(&settled.weights, &self.teacher, 0) }
        });
        RunResult { run, outcome: outcome.map_err(|error| error.to_string()), loss }
    }

    /// Follows these runs on all threads of the current rayon pool and hands each result to `done` as it comes (in any
    /// order, from any thread). `done` returns false to stop after the runs in flight.
    pub fn run_all(&self, runs: &[u64], done: impl Fn(RunResult) -> bool + Sync) {
        let stopped = std::sync::atomic::AtomicBool::new(false);
        runs.par_iter().with_max_len(1).for_each(|&run| {
            use std::sync::atomic::Ordering::Relaxed;
            if !stopped.load(Relaxed) && !done(self.run(run)) {
                stopped.store(true, Relaxed);
            }
        });
    }
}
