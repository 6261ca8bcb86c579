//! What runs leave behind: overlaps and test errors at the times asked for.

use ndarray::{Array2, Array3, s};

use super::Simulation;
use crate::error::Result;
use crate::model::{Overlaps, Teacher};

/// Records of all runs.
#[derive(Clone, Debug)]
pub struct Recording {
    pub dimension: usize,
    /// K.
    pub students: usize,
    /// M.
    pub teachers: usize,
    /// Times asked for.
    pub times: Vec<f64>,
    /// Steps after which the state was recorded: round(t d).
    pub steps: Vec<u64>,
    /// Runs x times x (K(K+1)/2 + K M): Q_11, Q_12, ..., Q_1K, Q_22, ..., Q_KK, then R by rows; then the K readouts where
    /// they are trained. NaN from the time on at which a run diverged, and nowhere else.
    pub overlaps: Array3<f64>,
    /// Runs x times x 2: mean of (f - f*)^2 / 2 over fresh inputs, and its standard error; NaN where none was asked for.
    pub test: Array3<f64>,
    /// The time at which a run diverged: a norm above 1e8, or a value that is not finite.
    pub diverged: Vec<Option<f64>>,
}

/// Mean and variance over runs.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Times x entries.
    pub mean: Array2<f64>,
    /// Times x entries, divided by runs - 1; NaN for a single run.
    pub variance: Array2<f64>,
    /// Runs that count at each time: those not diverged by then.
    pub runs: Vec<usize>,
}

impl Recording {
    pub(super) fn empty(simulation: &Simulation, steps: Vec<u64>) -> Recording {
        let (k, m) = (simulation.start.students(), simulation.teacher.units());
        let (runs, times) = (simulation.runs, simulation.times.clone());
        let trained = if simulation.rule.trains_readouts() { k } else { 0 };
        Recording {
            dimension: simulation.dimension,
            students: k,
            teachers: m,
            overlaps: Array3::from_elem((runs, times.len(), k * (k + 1) / 2 + k * m + trained), f64::NAN),
            test: Array3::from_elem((runs, times.len(), 2), f64::NAN),
            diverged: vec![None; runs],
            times,
            steps,
        }
    }

    /// Place of Q_ij (from 0) among the entries.
    pub fn q_entry(&self, i: usize, j: usize) -> usize {
        let (i, j) = (i.min(j), i.max(j));
        i * self.students - i * (i + 1) / 2 + j
    }

    /// Place of R_im (from 0) among the entries.
    pub fn r_entry(&self, i: usize, m: usize) -> usize {
        self.students * (self.students + 1) / 2 + i * self.teachers + m
    }

    /// Places of the readouts among the entries; empty where they are not trained.
    pub fn readout_entries(&self) -> std::ops::Range<usize> {
        self.r_entry(self.students, 0)..self.overlaps.dim().2
    }

    /// The state of one run at one time, with these readouts (tasks x K) where none are recorded.
    ///
    /// # Errors
    /// Those of [`Overlaps::new`], [`crate::error::Error::NonFinite`] after the run diverged.
    pub fn state(&self, run: usize, time: usize, readouts: &Array2<f64>, teacher: &Teacher) -> Result<Overlaps> {
        let row = self.overlaps.slice(s![run, time, ..]);
        let q = Array2::from_shape_fn((self.students, self.students), |(i, j)| row[self.q_entry(i, j)]);
        let r = Array2::from_shape_fn((self.students, self.teachers), |(i, m)| row[self.r_entry(i, m)]);
        let mut a = readouts.clone();
        let recorded = row.slice(s![self.readout_entries()]);
        a.row_mut(0).iter_mut().zip(recorded).for_each(|(a, recorded)| *a = *recorded);
        Overlaps::new(q, r, a, teacher)
    }

    /// Mean and variance of every entry over the runs that had not diverged.
    pub fn moments(&self) -> Moments {
        moments(&self.overlaps)
    }

    /// Mean and variance over runs of the test error (entry 0) and of its standard error (entry 1).
    pub fn test_moments(&self) -> Moments {
        moments(&self.test)
    }
}

fn moments(values: &Array3<f64>) -> Moments {
    let (runs, times, entries) = values.dim();
    let mut mean = Array2::from_elem((times, entries), f64::NAN);
    let mut variance = mean.clone();
    let mut counts = vec![0; times];
    for time in 0..times {
        let kept: Vec<usize> = (0..runs).filter(|&run| entries > 0 && values[[run, time, 0]].is_finite()).collect();
        let n = kept.len() as f64;
        counts[time] = kept.len();
        for entry in 0..entries {
            let centre = kept.iter().map(|&run| values[[run, time, entry]]).sum::<f64>() / n;
            let squares: f64 = kept.iter().map(|&run| (values[[run, time, entry]] - centre).powi(2)).sum();
            mean[[time, entry]] = centre;
            variance[[time, entry]] = squares / (n - 1.0);
        }
    }
    Moments { mean, variance, runs: counts }
}
