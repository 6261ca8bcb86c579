//! Gradient flow dW/dt = - grad L(W) on reduced weights (theory 03), and the other continuous rules (theory 10).

use serde::{Deserialize, Serialize};

use super::rules::Velocity;
use crate::error::Result;
use crate::model::{Constraint, Frame, Teacher, Training, Trajectory, Weights};
use crate::numerics::{
    integrate,
    rkc::{self, Rkc},
};
use crate::population::risk_exact;

/// Largest absolute rms error of one step in mass production: while the rms velocity is above FAST, and below it. Against
/// the reference at tolerance 1e-9, 0.2 % of 1500 runs at K = M = 17 end elsewhere, for 720 gradients a run; 1e-4
/// throughout gives 0.33 % and 670, 3e-5 throughout 0.13 % and 820.
const STEP_ERROR_FAST: f64 = 3e-5;
const STEP_ERROR: f64 = 7e-5;
const FAST: f64 = 0.01;

/// In the tail the step error is tied to the gradient: rms error below this many times the rms velocity.
const STEP_ERROR_PER_VELOCITY: f64 = 3.0;

/// Norm of the gradient below which steps may have all the stages there are: what is left is a crawl along directions of
/// almost no curvature, at times above 1e5.
const CRAWL: f64 = 1e-5;

/// Time between looks at the gradient with the reference integrator.
const SEGMENT: f64 = 10.0;

/// One run of gradient flow, or of another continuous rule, which can be continued to ever smaller gradients.
pub struct Descent {
    engine: Engine,
    field: Velocity,
}

enum Engine {
    Stabilised(Rkc),
    Reference { w: Vec<f64>, velocity: Vec<f64>, time: f64, evaluations: usize, tolerance: f64 },
}

impl Descent {
    /// Gradient flow from these weights, with the stabilised integrator used in mass production.
    pub fn new(start: &Weights, teacher: &Teacher, task: usize) -> Descent {
        Descent::stabilised(Velocity::gradient_flow(start, teacher, task))
    }

    /// As [`Descent::new`] by another continuous rule, from the nearest point of its constraint.
    ///
    /// # Errors
    /// [`crate::error::Error::Spec`] for a rule that is no flow; those of putting the weights on the rule's constraint.
    pub fn by(rule: Training, start: &Weights, teacher: &Teacher, task: usize) -> Result<Descent> {
        Ok(Descent::stabilised(Velocity::new(start, teacher, task, rule)?))
    }

    /// Gradient flow with the reference integrator (Dormand-Prince 8(5,3)) at this tolerance.
    pub fn reference(start: &Weights, teacher: &Teacher, task: usize, tolerance: f64) -> Descent {
        let (mut field, w) = Velocity::gradient_flow(start, teacher, task);
        let mut velocity = vec![0.0; w.len()];
        field.at(&w, &mut velocity);
        let engine = Engine::Reference { w, velocity, time: 0.0, evaluations: 1, tolerance };
        Descent { engine, field }
    }

    fn stabilised((mut field, y): (Velocity, Vec<f64>)) -> Descent {
        let flow = Rkc::new(&y, &mut |w, v| field.at(w, v));
        Descent { engine: Engine::Stabilised(flow), field }
    }

    /// Flows until the Euclidean norm of the velocity (the gradient) is at most `gradient`; gives up (returns false) when the flow has
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
                    flow.most_stages = if norm < CRAWL { rkc::MAX_STAGES } else { rkc::STAGES };
                    flow.advance(tolerance, f64::INFINITY, &mut |w, v| field.at(w, v))?;
                    if field.retract(&mut flow.y)? {
                        field.at(&flow.y, &mut flow.velocity);
                        flow.evaluations += 1;
                    }
                }
                Engine::Reference { w, velocity, time, evaluations, tolerance } => {
                    *evaluations += integrate::dop853(w, SEGMENT, *tolerance, &mut |w, v| field.at(w, v))?;
                    *time += SEGMENT;
                    field.at(w, velocity);
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

    /// Current weights, K x D, with their readouts; other tasks keep those of `start`.
    pub fn weights(&self, start: &Weights) -> Weights {
        self.field.weights(start, self.state().0)
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
    evolve_by(Training::GradientFlow, start, teacher, task, times, tolerance, integrator)
}

/// As [`evolve`] by any continuous rule; `gradient_norm` is the norm of the velocity. Weights are put back on the rule's
/// constraint at each of the times, and after each step of the stabilised integrator.
///
/// # Errors
/// [`crate::error::Error::NonFinite`]; those of [`Descent::by`].
pub fn evolve_by(
    rule: Training,
    start: &Weights,
    teacher: &Teacher,
    task: usize,
    times: &[f64],
    tolerance: f64,
    integrator: Integrator,
) -> Result<Trajectory> {
    let (mut field, mut w) = Velocity::new(start, teacher, task, rule)?;
    let held = rule.constraint() != Constraint::Free;
    let mut stabilised = Rkc::new(&w, &mut |w, v| field.at(w, v));
    let mut velocity = vec![0.0; w.len()];
    let mut trajectory = Trajectory::default();
    let mut now = 0.0;
    for &time in times {
        if time > now {
            match integrator {
                Integrator::Rkc => {
                    while stabilised.time < time {
                        stabilised.advance(tolerance, time, &mut |w, v| field.at(w, v))?;
                        if held && field.retract(&mut stabilised.y)? {
                            field.at(&stabilised.y, &mut stabilised.velocity);
                        }
                    }
                    w.copy_from_slice(&stabilised.y);
                }
                Integrator::Dop853 => {
                    integrate::dop853(&mut w, time - now, tolerance, &mut |w, v| field.at(w, v))?;
                    if held {
                        field.retract(&mut w)?;
                    }
                }
            }
            now = time;
        }
        let state = field.weights(start, &w);
        field.at(&w, &mut velocity);
        trajectory.frames.push(Frame {
            time,
            loss: risk_exact(&state, teacher, task),
            gradient_norm: norm(&velocity),
            overlaps: state.overlaps(teacher),
        });
    }
    Ok(trajectory)
}
