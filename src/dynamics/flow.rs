//! Gradient flow dW/dt = - grad L(W) on reduced weights (theory 03).

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Frame, Teacher, Trajectory, Weights};
use crate::numerics::{integrate, rkc::Rkc};
use crate::population::{Field, risk_exact};

/// Largest absolute rms error of one step in mass production: while the rms velocity is above FAST, and below it. Against
/// the reference at tolerance 1e-9, 0.2 % of 1500 runs at K = M = 17 end elsewhere, for 720 gradients a run; 1e-4
/// throughout gives 0.33 % and 670, 3e-5 throughout 0.13 % and 820.
const STEP_ERROR_FAST: f64 = 3e-5;
const STEP_ERROR: f64 = 7e-5;
const FAST: f64 = 0.01;

/// In the tail the step error is tied to the gradient: rms error below this many times the rms velocity.
const STEP_ERROR_PER_VELOCITY: f64 = 3.0;

/// Time between looks at the gradient with the reference integrator.
const SEGMENT: f64 = 10.0;

/// One run of gradient flow, which can be continued to ever smaller gradients.
pub struct Descent {
    engine: Engine,
    field: Field,
    shape: (usize, usize),
}

enum Engine {
    Stabilised(Rkc),
    Reference { w: Vec<f64>, velocity: Vec<f64>, time: f64, evaluations: usize, tolerance: f64 },
}

impl Descent {
    /// Starts at these weights, with the stabilised integrator used in mass production.
    pub fn new(start: &Weights, teacher: &Teacher, task: usize) -> Descent {
        let mut field = Field::new(start, teacher, task);
        let flow = Rkc::new(&flat(start), &mut |w, v| field.velocity(w, v));
        Descent { engine: Engine::Stabilised(flow), field, shape: start.rows().dim() }
    }

    /// Starts at these weights, with the reference integrator (Dormand-Prince 8(5,3)) at this tolerance.
    pub fn reference(start: &Weights, teacher: &Teacher, task: usize, tolerance: f64) -> Descent {
        let mut field = Field::new(start, teacher, task);
        let w = flat(start);
        let mut velocity = vec![0.0; w.len()];
        field.velocity(&w, &mut velocity);
        let engine = Engine::Reference { w, velocity, time: 0.0, evaluations: 1, tolerance };
        Descent { engine, field, shape: start.rows().dim() }
    }

    /// Flows until the Euclidean norm of the gradient is at most `gradient`; gives up (returns false) when the flow has
    /// used `evaluations` gradients in total. A small velocity is not yet a fixed point: see `landscape::fixed_point`.
    ///
    /// # Errors
    /// [`crate::error::Error::NonFinite`].
    pub fn until(&mut self, gradient: f64, evaluations: usize) -> Result<bool> {
        let field = &mut self.field;
        loop {
            let (velocity, used) = match &self.engine {
                Engine::Stabilised(flow) => (&flow.velocity, flow.evaluations),
                Engine::Reference { velocity, evaluations, .. } => (velocity, *evaluations),
            };
            let norm = norm(velocity);
            if norm <= gradient {
                return Ok(true);
            }
            if used >= evaluations {
                return Ok(false);
            }
            match &mut self.engine {
                Engine::Stabilised(flow) => {
                    let rms = norm / (flow.y.len() as f64).sqrt();
                    let bound = if rms > FAST { STEP_ERROR_FAST } else { STEP_ERROR };
                    let tolerance = bound.min(STEP_ERROR_PER_VELOCITY * rms);
                    flow.advance(tolerance, f64::INFINITY, &mut |w, v| field.velocity(w, v))?;
                }
                Engine::Reference { w, velocity, time, evaluations, tolerance } => {
                    *evaluations += integrate::dop853(w, SEGMENT, *tolerance, &mut |w, v| field.velocity(w, v))?;
                    *time += SEGMENT;
                    field.velocity(w, velocity);
                }
            }
        }
    }

    fn state(&self) -> (&[f64], &[f64]) {
        match &self.engine {
            Engine::Stabilised(flow) => (&flow.y, &flow.velocity),
            Engine::Reference { w, velocity, .. } => (w, velocity),
        }
    }

    /// Current weights, K x D.
    pub fn rows(&self) -> Array2<f64> {
        let (w, _) = self.state();
        Array2::from_shape_fn(self.shape, |(i, c)| w[i * self.shape.1 + c])
    }

    /// Current Euclidean norm of the gradient.
    pub fn gradient_norm(&self) -> f64 {
        norm(self.state().1)
    }

    /// Current time of the flow.
    pub fn time(&self) -> f64 {
        match &self.engine {
            Engine::Stabilised(flow) => flow.time,
            Engine::Reference { time, .. } => *time,
        }
    }

    /// Gradients used so far.
    pub fn evaluations(&self) -> usize {
        match &self.engine {
            Engine::Stabilised(flow) => flow.evaluations,
            Engine::Reference { evaluations, .. } => *evaluations,
        }
    }
}

fn flat(weights: &Weights) -> Vec<f64> {
    weights.rows().iter().copied().collect()
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Which integrator a recorded trajectory uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Integrator {
    /// Runge-Kutta-Chebyshev, stabilised: for the long tails of these flows.
    #[default]
    Rkc,
    /// Dormand-Prince 8(5,3) of `ode_solvers`: the reference.
    Dop853,
}

/// Integrates gradient flow through the given ascending times (the first frame is at the first time, which must be 0 or
/// later) with this error tolerance per step, recording overlaps, loss and gradient norm.
///
/// # Errors
/// [`crate::error::Error::NonFinite`].
pub fn evolve(
    start: &Weights,
    teacher: &Teacher,
    task: usize,
    times: &[f64],
    tolerance: f64,
    integrator: Integrator,
) -> Result<Trajectory> {
    let mut field = Field::new(start, teacher, task);
    let shape = start.rows().dim();
    let mut w = flat(start);
    let mut stabilised = Rkc::new(&w, &mut |w, v| field.velocity(w, v));
    let mut trajectory = Trajectory::default();
    let mut now = 0.0;
    for &time in times {
        if time > now {
            let mut velocity = |w: &[f64], v: &mut [f64]| field.velocity(w, v);
            match integrator {
                Integrator::Rkc => {
                    while stabilised.time < time {
                        stabilised.advance(tolerance, time, &mut velocity)?;
                    }
                    w.copy_from_slice(&stabilised.y);
                }
                Integrator::Dop853 => {
                    integrate::dop853(&mut w, time - now, tolerance, &mut velocity)?;
                }
            }
            now = time;
        }
        let state = start.with_rows(Array2::from_shape_fn(shape, |(i, c)| w[i * shape.1 + c]));
        let mut gradient = vec![0.0; w.len()];
        field.gradient(&w, &mut gradient);
        trajectory.frames.push(Frame {
            time,
            loss: risk_exact(&state, teacher, task),
            gradient_norm: norm(&gradient),
            overlaps: state.overlaps(teacher),
        });
    }
    Ok(trajectory)
}
