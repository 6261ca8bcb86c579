//! What all simulations share: outputs from fields, and the error's mean.

use super::Simulation;
use crate::model::{Activation, Sgd};

/// Readouts, teacher and rule as plain numbers.
#[derive(Clone, Debug)]
pub struct Problem {
    pub students: usize,
    pub teachers: usize,
    /// Rank r of T.
    pub rank: usize,
    pub dimension: usize,
    pub rule: Sgd,
    activation: Activation,
    /// a, K.
    a: Vec<f64>,
    /// b, M.
    b: Vec<f64>,
    /// V, M x r.
    v: Vec<f64>,
}

impl Problem {
    pub fn new(simulation: &Simulation) -> Problem {
        let teacher = &simulation.teacher;
        Problem {
            students: simulation.start.students(),
            teachers: teacher.units(),
            rank: teacher.rank(),
            dimension: simulation.dimension,
            rule: simulation.rule,
            activation: teacher.activation(),
            a: simulation.start.readouts().row(0).to_vec(),
            b: teacher.readouts().row(0).to_vec(),
            v: teacher.vectors().iter().copied().collect(),
        }
    }

    /// f*, from the first r coordinates of an input.
    #[inline]
    pub fn target(&self, x: &[f64]) -> f64 {
        let x = &x[..self.rank];
        let mut sum = 0.0;
        for (b, v) in self.b.iter().zip(self.v.chunks_exact(self.rank)) {
            let mut field = 0.0;
            for (v, x) in v.iter().zip(x) {
                field += v * x;
            }
            sum += b * self.activation.value(field);
        }
        sum
    }

    /// f, from the students' fields.
    #[inline]
    pub fn output(&self, fields: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (a, field) in self.a.iter().zip(fields) {
            sum += a * self.activation.value(*field);
        }
        sum
    }

    /// Adds one input's part of the change of the readouts, -scale (e - xi) g(field_i).
    pub fn push_readouts(&self, fields: &[f64], error: f64, scale: f64, change: &mut [f64]) {
        for (change, field) in change.iter_mut().zip(fields) {
            *change -= scale * error * self.activation.value(*field);
        }
    }

    /// Moves the readouts; false when one is beyond this bound or not finite.
    pub fn move_readouts(&mut self, change: &[f64], bound: f64) -> bool {
        self.a.iter_mut().zip(change).for_each(|(a, change)| *a += change);
        self.a.iter().all(|a| a.abs() <= bound)
    }

    /// Writes the readouts behind the overlaps of a record, where they are trained.
    pub fn record_readouts(&self, out: &mut [f64]) {
        if self.rule.trains_readouts() {
            let from = out.len() - self.students;
            out[from..].copy_from_slice(&self.a);
        }
    }

    /// Turns fields into the coefficients of the input in each student's update: -scale (e - xi) a_i g'(field_i).
    #[inline]
    pub fn coefficients(&self, fields: &mut [f64], error: f64, scale: f64) {
        for (a, field) in self.a.iter().zip(fields) {
            let slope = self.activation.derivative(*field);
            *field = if slope == 0.0 { 0.0 } else { -(scale * error) * a * slope };
        }
    }

    /// R_i = w_i V^T, from the first r coordinates of each student.
    pub fn teacher_overlaps(&self, along: &[f64], out: &mut [f64]) {
        for (out, v) in out.iter_mut().zip(self.v.chunks_exact(self.rank)) {
            *out = v.iter().zip(along).map(|(v, w)| v * w).sum();
        }
    }
}

/// Mean of squares over 2 with its standard error, one error at a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct HalfSquares {
    count: f64,
    mean: f64,
    squares: f64,
}

impl HalfSquares {
    pub fn add(&mut self, error: f64) {
        let value = 0.5 * error * error;
        let step = value - self.mean;
        self.count += 1.0;
        self.mean += step / self.count;
        self.squares += step * (value - self.mean);
    }

    /// Mean and standard error.
    pub fn result(&self) -> [f64; 2] {
        [self.mean, (self.squares / (self.count - 1.0) / self.count).sqrt()]
    }
}
