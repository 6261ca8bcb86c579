//! One trajectory of gradient flow: loss and overlaps against time.

use serde::{Deserialize, Serialize};

use super::training::{divergence, divergence_note, entries, packed, positive};
use crate::dynamics::{Equations, Integrator, Outcome, evolve_by, evolve_sgd};
use crate::error::{Error, Result};
use crate::model::{Activation, InitialLaw, Sgd, Teacher, TeacherSpec, Training, Trajectory, Weights};
use crate::report::{Report, Table, Value};

/// Which trajectory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowSpec {
    pub students: usize,
    pub teachers: usize,
    /// Input dimension d; `None`: K + M.
    pub dimension: Option<usize>,
    pub init_scale: f64,
    pub seed: u64,
    /// Run number: the start of run N of `landscape` with the same seed.
    pub run: u64,
    pub teacher: TeacherSpec,
    pub activation: Activation,
    /// End of the time axis, in units of gradient flow, or in steps / d.
    pub time: f64,
    /// Recorded times after 0, spaced logarithmically from 0.01 to the end.
    pub points: usize,
    /// Error per step.
    pub tolerance: f64,
    pub integrator: Integrator,
    /// One-pass SGD at d = infinity instead of gradient flow; time is then steps / d.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sgd: Option<Sgd>,
    #[serde(skip_serializing_if = "Training::is_gradient_flow")]
    pub rule: Training,
}

impl Default for FlowSpec {
    fn default() -> Self {
        FlowSpec {
            students: 8,
            teachers: 8,
            dimension: None,
            init_scale: 1.0,
            seed: 1,
            run: 0,
            teacher: TeacherSpec::default(),
            activation: Activation::default(),
            time: 1000.0,
            points: 200,
            tolerance: 1e-10,
            integrator: Integrator::Dop853,
            sgd: None,
            rule: Training::default(),
        }
    }
}

const ACTION: &str = "follow the flow";

/// First recorded time after 0, relative to the end, at most.
const FIRST: f64 = 0.01;

/// Integrates the trajectory and reports table `trajectory`: time, loss, gradient_norm, q_i_j (i <= j), r_i_m.
///
/// # Errors
/// [`Error::Count`], [`Error::Real`] for numbers out of range; those of the teacher, the start and the integrator.
pub fn flow(spec: &FlowSpec) -> Result<Report> {
    for (quantity, value) in [("students K", spec.students), ("teachers M", spec.teachers), ("points", spec.points)] {
        if value == 0 {
            return Err(Error::Count { action: ACTION, quantity, value, needs: "at least 1".into() });
        }
    }
    positive(ACTION, "time", spec.time)?;
    positive(ACTION, "tolerance", spec.tolerance)?;
    if !(1e-14..=1e-3).contains(&spec.tolerance) {
        return Err(Error::Real {
            action: ACTION,
            quantity: "tolerance".into(),
            value: spec.tolerance,
            needs: "1e-14 (rounding) to 1e-3 (beyond it steps may leave the flow)",
        });
    }
    let teacher = spec.teacher.build(spec.teachers)?.with_activation(spec.activation)?;
    let dimension = spec.dimension.unwrap_or(spec.students + spec.teachers);
    let law = InitialLaw::new(dimension, spec.init_scale, &teacher)?;
    let start = law.draw(spec.students, &teacher, spec.seed, spec.run)?;
    let first = FIRST.min(spec.time / 10.0);
    let times: Vec<f64> = std::iter::once(0.0)
        .chain((0..spec.points).map(|i| {
            let exponent = (i + 1) as f64 / spec.points as f64;
            if i + 1 == spec.points { spec.time } else { first * (spec.time / first).powf(exponent) }
        }))
        .collect();
    let (trajectory, outcome) = integrated(spec, &start, &teacher, &times)?;
    let time = match spec.sgd {
        None => ("learning rate x steps", "time of gradient flow"),
        Some(_) => ("steps / d", "steps of SGD over the input dimension"),
    };
    let mut columns: Vec<(String, &'static str, String)> = vec![
        ("time".into(), time.0, time.1.into()),
        ("loss".into(), "", "population loss L = E[(f - f*)^2]/2".into()),
        ("gradient_norm".into(), "", "Euclidean norm of the gradient over all weights".into()),
    ];
    let readouts = matches!(spec.rule, Training::TwoLayer(_)) || spec.sgd.is_some_and(|rule| rule.trains_readouts());
    if readouts {
        columns.extend((1..=spec.students).map(|i| (format!("a_{i}"), "", format!("readout of student {i}"))));
    }
    columns.extend(entries(spec.students, spec.teachers).into_iter().map(|(name, meaning)| (name, "", meaning)));
    let named: Vec<(&str, &'static str, &str)> =
        columns.iter().map(|(name, unit, meaning)| (name.as_str(), *unit, meaning.as_str())).collect();
    let mut table = Table::new("trajectory", &named);
    for frame in &trajectory.frames {
        let mut row = vec![frame.time.into(), frame.loss.into(), frame.gradient_norm.into()];
        if readouts {
            row.extend(frame.overlaps.readouts().row(0).iter().map(|&a| Value::from(a)));
        }
        row.extend(packed(&frame.overlaps).into_iter().map(Value::from));
        table.push(row);
    }
    let mut report = Report::new("flow", spec, Some(spec.seed));
    if let Some(last) = trajectory.frames.last() {
        report.results.insert("final_time".into(), last.time.into());
        report.results.insert("final_loss".into(), last.loss.into());
        report.results.insert("final_gradient_norm".into(), last.gradient_norm.into());
        if last.gradient_norm > 1e-8 && spec.sgd.is_none() {
            report.notes.push(format!(
                "The gradient is still {:.1e}: a small velocity alone does not make a fixed point; `committee landscape` polishes and checks the spectrum.",
                last.gradient_norm
            ));
        }
    }
    report.results.insert("dimension".into(), dimension.into());
    if spec.sgd.is_some() {
        report.results.insert("diverged".into(), divergence(outcome));
        report.notes.extend(divergence_note(outcome));
    }
    report.tables.push(table);
    Ok(report)
}

/// Gradient flow, or SGD at d = infinity.
fn integrated(spec: &FlowSpec, start: &Weights, teacher: &Teacher, times: &[f64]) -> Result<(Trajectory, Outcome)> {
    let Some(rule) = spec.sgd else {
        let rule = spec.rule.checked(spec.students, spec.dimension.unwrap_or(spec.students + spec.teachers))?;
        let trajectory = evolve_by(rule, start, teacher, 0, times, spec.tolerance, spec.integrator)?;
        return Ok((trajectory, Outcome::Finished));
    };
    if !spec.rule.is_gradient_flow() {
        let problem = format!("the rule {} has no learning rate; leave out --learning-rate", spec.rule);
        return Err(Error::Spec { action: ACTION, problem });
    }
    if spec.integrator != Integrator::Dop853 {
        let problem = "the equations of SGD are integrated by dop853; leave out --integrator rkc".into();
        return Err(Error::Spec { action: ACTION, problem });
    }
    let overlaps = rule.checked()?.starting(start.clone())?.overlaps(teacher);
    let evolution = evolve_sgd(&overlaps, &Equations::new(&overlaps, teacher, rule)?, times, spec.tolerance)?;
    Ok((evolution.trajectory, evolution.outcome))
}
