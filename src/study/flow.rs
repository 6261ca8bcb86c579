//! One trajectory of gradient flow: loss and overlaps against time.

use serde::{Deserialize, Serialize};

use crate::dynamics::{Integrator, evolve};
use crate::error::{Error, Result};
use crate::model::{Activation, InitialLaw, TeacherSpec};
use crate::report::{Report, Table};

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
    /// End of the time axis, in units of gradient flow.
    pub time: f64,
    /// Recorded times after 0, spaced logarithmically from 0.01 to the end.
    pub points: usize,
    /// Error per step.
    pub tolerance: f64,
    pub integrator: Integrator,
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
        }
    }
}

/// First recorded time after 0, relative to the end, at most.
const FIRST: f64 = 0.01;

/// Integrates the trajectory and reports table `trajectory`: time, loss, gradient_norm, q_i_j (i <= j), r_i_m.
///
/// # Errors
/// [`Error::Count`], [`Error::Real`] for numbers out of range; those of the teacher, the start and the integrator.
pub fn flow(spec: &FlowSpec) -> Result<Report> {
    const ACTION: &str = "follow the flow";
    for (quantity, value) in [("students K", spec.students), ("teachers M", spec.teachers), ("points", spec.points)] {
        if value == 0 {
            return Err(Error::Count { action: ACTION, quantity, value, needs: "at least 1".into() });
        }
    }
    let positive = |quantity: &str, value: f64, needs| {
        if value > 0.0 && value.is_finite() {
            return Ok(());
        }
        Err(Error::Real { action: ACTION, quantity: quantity.into(), value, needs })
    };
    positive("time", spec.time, "a positive number")?;
    positive("tolerance", spec.tolerance, "a positive number")?;
    if !(1e-14..=1e-3).contains(&spec.tolerance) {
        return Err(Error::Real {
            action: ACTION,
            quantity: "tolerance".into(),
            value: spec.tolerance,
            needs: "1e-14 (rounding) to 1e-3 (beyond it steps may leave the flow)",
        });
    }
    let teacher = spec.teacher.build(spec.teachers)?;
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
    let trajectory = evolve(&start, &teacher, 0, &times, spec.tolerance, spec.integrator)?;
    let (k, m) = (spec.students, spec.teachers);
    let mut columns: Vec<(String, &'static str, String)> = vec![
        ("time".into(), "learning rate x steps", "time of gradient flow".into()),
        ("loss".into(), "", "population loss L = E[(f - f*)^2]/2".into()),
        ("gradient_norm".into(), "", "Euclidean norm of the gradient over all weights".into()),
    ];
    for i in 0..k {
        for j in i..k {
            columns.push((format!("q_{}_{}", i + 1, j + 1), "", format!("w_{} . w_{}", i + 1, j + 1)));
        }
    }
    for i in 0..k {
        for t in 0..m {
            columns.push((format!("r_{}_{}", i + 1, t + 1), "", format!("w_{} . v_{}", i + 1, t + 1)));
        }
    }
    let named: Vec<(&str, &'static str, &str)> =
        columns.iter().map(|(name, unit, meaning)| (name.as_str(), *unit, meaning.as_str())).collect();
    let mut table = Table::new("trajectory", &named);
    for frame in &trajectory.frames {
        let mut row = vec![frame.time.into(), frame.loss.into(), frame.gradient_norm.into()];
        for i in 0..k {
            row.extend((i..k).map(|j| frame.overlaps.q()[[i, j]].into()));
        }
        row.extend(frame.overlaps.r().iter().map(|&x| x.into()));
        table.push(row);
    }
    let mut report = Report::new("flow", spec, Some(spec.seed));
    if let Some(last) = trajectory.frames.last() {
        report.results.insert("final_time".into(), last.time.into());
        report.results.insert("final_loss".into(), last.loss.into());
        report.results.insert("final_gradient_norm".into(), last.gradient_norm.into());
        if last.gradient_norm > 1e-8 {
            report.notes.push(format!(
                "The gradient is still {:.1e}: a small velocity alone does not make a fixed point; `committee landscape` polishes and checks the spectrum.",
                last.gradient_norm
            ));
        }
    }
    report.results.insert("dimension".into(), dimension.into());
    report.tables.push(table);
    Ok(report)
}
