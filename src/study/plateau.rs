//! The unspecialised plateau: its loss and rate of escape against the learning rate, its length against the dimension.

use ndarray::Array2;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dynamics::{self, Equations, Steady, far_threshold, local_threshold};
use crate::error::{Error, Result};
use crate::model::{Activation, InitialLaw, Overlaps, Sgd, Teacher, TeacherSpec, Weights};
use crate::numerics::integrate;
use crate::numerics::statistics::line_fit;
use crate::population::Fields;
use crate::report::{Report, Table, Value};
use crate::simulation::{Chain, Simulation};

/// Which plateaus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlateauSpec {
    /// Numbers of students K.
    pub students: Vec<usize>,
    /// `None`: M = K.
    pub teachers: Option<usize>,
    pub teacher: TeacherSpec,
    pub activation: Activation,
    pub batch: usize,
    pub label_noise: f64,
    /// Learning rates of table `plateaus`, 0 for gradient flow. Empty: 0 and `points` values below 2 B / K; leaky
    /// ReLU and erf: below the local threshold of the teacher with K = M (and the far one).
    pub learning_rates: Vec<f64>,
    pub points: usize,
    /// Learning rate at which lengths are measured; 0: gradient flow.
    pub learning_rate: f64,
    /// Input dimensions d of table `lengths`. Empty: no lengths.
    pub dimensions: Vec<f64>,
    pub init_scales: Vec<f64>,
    /// Random starts for each dimension and scale.
    pub starts: usize,
    /// The plateau ends when the loss falls below this share of the plateau's loss.
    pub level: f64,
    /// Simulated runs at dimensions up to `chain_to`; 0: none.
    pub chain_runs: usize,
    pub chain_to: f64,
    pub seed: u64,
}

impl Default for PlateauSpec {
    fn default() -> Self {
        PlateauSpec {
            students: vec![2],
            teachers: None,
            teacher: TeacherSpec::default(),
            activation: Activation::default(),
            batch: 1,
            label_noise: 0.0,
            learning_rates: Vec::new(),
            points: 20,
            learning_rate: 0.2,
            dimensions: vec![1e2, 1e4, 1e6, 1e8, 1e10, 1e12],
            init_scales: vec![0.1, 0.01],
            starts: 16,
            level: 0.5,
            chain_runs: 0,
            chain_to: 1e4,
            seed: 1,
        }
    }
}

const ACTION: &str = "study the plateau";
/// Last of the default learning rates in units of the threshold.
const NEAR: f64 = 0.98;
/// Time between two looks at the loss, in units of 1 / rate of escape.
const LOOK: f64 = 0.1;
/// Parts of the last interval in which the end of the plateau is sought.
const PARTS: usize = 16;
/// Tolerance of the integration.
const TOLERANCE: f64 = 1e-9;
/// Smallest dimension from which the slope is fitted: below, the deviations at the start are not small.
const FIT_FROM: f64 = 1e4;

/// Tables `plateaus` (learning rates), `lengths` (dimensions), `slopes` (length against ln d) and `traces` (loss against
/// time of the first start).
///
/// # Errors
/// [`Error::Count`], [`Error::Real`] for numbers out of range; those of teacher, start, integrator and simulation.
pub fn plateau(spec: &PlateauSpec) -> Result<Report> {
    check(spec)?;
    let mut report = Report::new("plateau", spec, Some(spec.seed));
    let mut plateaus = plateaus_table();
    let (mut lengths, mut slopes, mut traces) = (lengths_table(), slopes_table(), traces_table());
    for &students in &spec.students {
        let teacher = spec.teacher.build(spec.teachers.unwrap_or(students))?.with_activation(spec.activation)?;
        for learning_rate in learning_rates(spec, students, &teacher)? {
            plateaus.push(plateau_row(spec, students, &teacher, learning_rate));
        }
        if spec.dimensions.is_empty() {
            continue;
        }
        let found = dynamics::plateau(students, &teacher, rule(spec, spec.learning_rate))?;
        measure(spec, students, &teacher, &found, &mut lengths, &mut slopes, &mut traces)?;
    }
    let ratios = slopes.numbers("ratio");
    if let Some(Some(ratio)) = ratios.first() {
        let [measured, predicted] = ["slope", "predicted"].map(|column| slopes.numbers(column)[0]);
        report.results.insert("slope_ratio".into(), (*ratio).into());
        report.results.insert("measured_slope".into(), measured.into());
        report.results.insert("predicted_slope".into(), predicted.into());
    }
    report.results.insert("slope_ratios".into(), ratios.into());
    for table in [&plateaus, &lengths, &slopes] {
        report.results.insert(table.name.clone(), table.to_json());
    }
    report.tables.extend([plateaus, lengths, slopes, traces]);
    Ok(report)
}

fn check(spec: &PlateauSpec) -> Result<()> {
    let count =
        |quantity, value, needs: &str| Err(Error::Count { action: ACTION, quantity, value, needs: needs.into() });
    for (quantity, empty) in [
        ("the number of values of K", spec.students.is_empty()),
        ("the number of init scales", spec.init_scales.is_empty()),
    ] {
        if empty {
            return count(quantity, 0, "at least 1");
        }
    }
    if let Some(&value) = spec.students.iter().find(|&&k| k < 2) {
        return count("students K", value, "at least 2 (a single student has no one to specialise against)");
    }
    if spec.teachers == Some(0) {
        return count("teachers M", 0, "at least 1");
    }
    if spec.learning_rates.is_empty() && spec.points == 0 {
        return count("points", 0, "at least 1, or a list of learning rates");
    }
    if spec.activation.checked()? == Activation::Linear {
        let problem = "linear students never specialise: there is no plateau to leave".into();
        return Err(Error::Spec { action: ACTION, problem });
    }
    if spec.starts < 2 {
        return count("the number of starts", spec.starts, "at least 2 for a standard error");
    }
    if spec.chain_runs == 1 {
        return count("the number of simulated runs", 1, "0, or at least 2 for a standard error");
    }
    let real = |quantity: &str, value: f64, needs| {
        Err(Error::Real { action: ACTION, quantity: quantity.into(), value, needs })
    };
    for &value in spec.learning_rates.iter().chain([&spec.learning_rate]) {
        if !(value >= 0.0 && value.is_finite()) {
            return real("a learning rate", value, "a positive number, or 0 for gradient flow");
        }
    }
    if let Some(&d) = spec.dimensions.iter().find(|&&d| !(1.0..=1e15).contains(&d)) {
        return real("the dimension d", d, "a number from K + M to 1e15");
    }
    if !(spec.level > 0.0 && spec.level < 1.0) {
        return real("the level", spec.level, "a number between 0 and 1");
    }
    if let Some(rule) = rule(spec, 1.0) {
        rule.checked()?;
    }
    Ok(())
}

fn rule(spec: &PlateauSpec, learning_rate: f64) -> Option<Sgd> {
    let rule = Sgd { learning_rate, batch: spec.batch, label_noise: spec.label_noise, ..Sgd::default() };
    (learning_rate > 0.0).then_some(rule)
}

fn learning_rates(spec: &PlateauSpec, students: usize, teacher: &Teacher) -> Result<Vec<f64>> {
    if !spec.learning_rates.is_empty() {
        return Ok(spec.learning_rates.clone());
    }
    let far = far_threshold(&vec![1.0; students], spec.batch);
    let last = match spec.activation {
        Activation::Relu => far,
        // The far threshold of leaky ReLU: as ReLU's, with E[g'^2] = (1 + a^2)/2 and E[g'^4] = (1 + a^4)/2.
        Activation::LeakyRelu { slope } => {
            let far = far * (1.0 + slope * slope) / (1.0 + slope.powi(4));
            far.min(local_threshold(teacher, spec.batch)?)
        }
        _ => local_threshold(teacher, spec.batch)?,
    };
    Ok((0..=spec.points).map(|i| NEAR * last * i as f64 / spec.points as f64).collect())
}

fn plateaus_table() -> Table {
    Table::new(
        "plateaus",
        &[
            ("students", "", "number of students K"),
            ("teachers", "", "number of teachers M"),
            ("learning_rate", "", "learning rate eta; 0: gradient flow"),
            ("loss", "", "population loss of the plateau"),
            ("q", "", "squared norm of a student"),
            ("c", "", "overlap of two students"),
            ("r", "", "overlap of a student with a teacher, mean over teachers"),
            ("rate", "per unit of t = steps / d", "rate of escape: largest real part among the eigenvalues"),
            ("scaled_rate", "per unit of learning rate x t", "rate / learning rate"),
            ("real", "", "whether the leading eigenvalue is real"),
            ("weight_q", "", "share of the direction of escape in the student-student overlaps (sum of squares)"),
            ("weight_r", "", "share in the student-teacher overlaps"),
        ],
    )
}

fn plateau_row(spec: &PlateauSpec, students: usize, teacher: &Teacher, learning_rate: f64) -> Vec<Value> {
    let head = vec![students.into(), teacher.units().into(), learning_rate.into()];
    let cells = match dynamics::plateau(students, teacher, rule(spec, learning_rate)) {
        Err(error) => vec![Value::Missing(error.to_string()); 9],
        Ok(found) => {
            let (q, r) = (found.overlaps.q(), found.overlaps.r());
            let [rate, imaginary] = found.eigenvalues.first().copied().unwrap_or([f64::NAN; 2]);
            let flow = learning_rate == 0.0;
            let weights = match &found.direction {
                Some(direction) => {
                    let along: f64 = direction.iter().skip(students * (students + 1) / 2).map(|x| x * x).sum();
                    [1.0 - along, along].map(|share| ((share * 1e12).round() * 1e-12).abs().into())
                }
                None => [(); 2].map(|()| Value::Missing("the leading eigenvalue is complex".into())),
            };
            let mut cells = vec![
                found.loss.into(),
                q[[0, 0]].into(),
                q[[0, 1]].into(),
                (r.sum() / r.len() as f64).into(),
                if flow { Value::Missing("gradient flow: see scaled_rate".into()) } else { rate.into() },
                (if flow { rate } else { rate / learning_rate }).into(),
                (if imaginary.abs() <= 1e-9 * rate.abs() { "yes" } else { "no" }).into(),
            ];
            cells.extend(weights);
            cells
        }
    };
    head.into_iter().chain(cells).collect()
}

fn lengths_table() -> Table {
    Table::new(
        "lengths",
        &[
            ("students", "", "number of students K"),
            ("init_scale", "", "scale s of the random start"),
            ("dimension", "", "input dimension d of the start"),
            (
                "length",
                "steps / d (gradient flow: learning rate x steps / d)",
                "end of the plateau by the equations, mean over starts",
            ),
            ("error", "", "standard error of length over starts"),
            ("escaped", "", "starts that left the plateau"),
            ("chain_length", "steps / d", "end of the plateau in simulated runs at this d"),
            ("chain_error", "", "standard error of chain_length over runs"),
            ("chain_escaped", "", "simulated runs that left the plateau"),
        ],
    )
}

fn slopes_table() -> Table {
    Table::new(
        "slopes",
        &[
            ("students", "", "number of students K"),
            ("init_scale", "", "scale s of the random start"),
            ("rate", "", "rate of escape from the eigenvalue"),
            ("predicted", "", "1 / (2 rate)"),
            ("slope", "", "length against ln d, least squares from d = 1e4"),
            ("ratio", "", "slope / predicted"),
            ("chain_slope", "", "the same for the simulated runs, from all their d"),
            ("chain_ratio", "", "chain_slope / predicted"),
            ("chain_ratio_error", "", "standard error of chain_ratio, from those of the lengths"),
        ],
    )
}

fn traces_table() -> Table {
    Table::new(
        "traces",
        &[
            ("students", "", "number of students K"),
            ("init_scale", "", "scale s of the random start"),
            ("dimension", "", "input dimension d"),
            ("source", "", "equations (d = infinity) or chain (simulated at d)"),
            ("time", "steps / d (gradient flow: learning rate x steps / d)", "time"),
            ("loss", "", "population loss"),
            ("plateau", "", "loss of the plateau"),
        ],
    )
}

/// The end of the plateau, if it came, and the loss against time until some time after it.
struct Escape {
    time: Option<f64>,
    trace: Vec<[f64; 2]>,
}

/// What decides when a plateau ends.
#[derive(Clone, Copy)]
struct Course {
    /// Time between two looks.
    look: f64,
    level: f64,
    limit: f64,
    /// Time to go on after the end of the plateau.
    tail: f64,
}

impl Course {
    /// Looks at the loss until the plateau has ended; `advance` goes on by a time and gives the loss.
    fn follow(&self, mut advance: impl FnMut(f64) -> Result<f64>) -> Result<Escape> {
        let mut escape = Escape { time: None, trace: vec![[0.0, advance(0.0)?]] };
        let (mut looks, mut end) = (0usize, self.limit);
        while (looks as f64) * self.look < end {
            // Close looks while the loss falls through the level.
            let before = escape.trace.last().map_or(f64::INFINITY, |last| last[1]);
            let parts = if escape.time.is_none() && before < 1.6 * self.level { PARTS } else { 1 };
            for part in 1..=parts {
                let [then, high] = escape.trace.last().copied().unwrap_or([0.0, f64::NAN]);
                let now = (looks as f64 + part as f64 / parts as f64) * self.look;
                let loss = advance(now - then)?;
                if escape.time.is_none() && loss < self.level {
                    let share = if high > self.level { (high / self.level).ln() / (high / loss).ln() } else { 1.0 };
                    let time = then + share * (now - then);
                    escape.time = Some(time);
                    end = time + self.tail;
                }
                escape.trace.push([now, loss]);
            }
            looks += 1;
            if !escape.trace.last().is_some_and(|last| last[1].is_finite()) {
                break;
            }
        }
        Ok(escape)
    }
}

fn by_equations(start: &Overlaps, equations: &Equations, course: Course) -> Result<Escape> {
    let mut x = equations.pack(start);
    course.follow(|time| {
        if time > 0.0 {
            integrate::dop853(&mut x, time, TOLERANCE, &mut |x, v| equations.velocity(0.0, x, v))?;
        }
        Ok(equations.risk(&x))
    })
}

fn by_chain(simulation: &Simulation, run: u64, course: Course) -> Result<Escape> {
    let mut chain = Chain::new(simulation, run)?;
    let (k, teacher) = (simulation.start.students(), &simulation.teacher);
    course.follow(|time| {
        if !chain.advance((time * simulation.dimension as f64).round() as u64) {
            return Ok(f64::NAN);
        }
        let rows = chain.weights();
        let shaped = Array2::from_shape_fn((k, rows.len() / k), |(i, c)| rows[i * (rows.len() / k) + c]);
        Ok(Fields::from_weights(&Weights::new(shaped, None, teacher)?, teacher, 0).risk())
    })
}

/// Mean and standard error of the ends that came, and their number.
fn summary(escapes: &[Escape]) -> [Value; 3] {
    let ends: Vec<f64> = escapes.iter().filter_map(|escape| escape.time).collect();
    let missing = |reason: &str| Value::Missing(reason.into());
    if ends.is_empty() {
        return [missing("none escaped"), missing("none escaped"), 0usize.into()];
    }
    let (mean, error) = super::mean_and_error(&ends);
    [mean.into(), error.map_or_else(|| missing("one escape only"), Value::real), ends.len().into()]
}

fn measure(
    spec: &PlateauSpec,
    students: usize,
    teacher: &Teacher,
    found: &Steady,
    lengths: &mut Table,
    slopes: &mut Table,
    traces: &mut Table,
) -> Result<()> {
    let rate = found.eigenvalues.first().map_or(0.0, |e| e[0]);
    if !(rate > 0.0) {
        return Err(Error::Spec { action: ACTION, problem: format!("the plateau of K = {students} is stable") });
    }
    let law_at = |d: f64, scale: f64| InitialLaw::new(d as usize, scale, teacher);
    for &scale in &spec.init_scales {
        let first = lengths.rows.len();
        for &d in &spec.dimensions {
            let law = law_at(d, scale)?;
            // Early growth and several escapes one after the other: far more than a single one needs.
            let limit = (100.0 + 5.0 * d.ln()) / rate;
            let course = Course { look: LOOK / rate, level: spec.level * found.loss, limit, tail: 3.0 / rate };
            let draw = |run: u64| law.draw(students, teacher, spec.seed, run);
            let escapes: Vec<Escape> = (0..spec.starts as u64)
                .into_par_iter()
                .map(|run| {
                    let start = draw(run)?.overlaps(teacher);
                    let equations = match rule(spec, spec.learning_rate) {
                        Some(rule) => Equations::new(&start, teacher, rule)?,
                        None => Equations::gradient_flow(&start, teacher)?,
                    };
                    by_equations(&start, &equations, course)
                })
                .collect::<Result<_>>()?;
            let chains: Vec<Escape> = match rule(spec, spec.learning_rate) {
                Some(rule) if d <= spec.chain_to => (0..spec.chain_runs as u64)
                    .into_par_iter()
                    .map(|run| {
                        let simulation = Simulation {
                            dimension: law.dimension,
                            rule,
                            teacher: teacher.clone(),
                            start: draw(run)?,
                            times: vec![0.0],
                            runs: spec.chain_runs,
                            seed: spec.seed,
                            test_inputs: 0,
                        };
                        by_chain(&simulation, run, course)
                    })
                    .collect::<Result<_>>()?,
                _ => Vec::new(),
            };
            for (source, escapes) in [("equations", &escapes), ("chain", &chains)] {
                for [time, loss] in escapes.first().into_iter().flat_map(|escape| &escape.trace) {
                    let mut row =
                        vec![students.into(), scale.into(), law.dimension.into(), source.into(), (*time).into()];
                    row.extend([Value::real(*loss), found.loss.into()]);
                    traces.push(row);
                }
            }
            let mut row = vec![students.into(), scale.into(), law.dimension.into()];
            row.extend(summary(&escapes));
            row.extend(if chains.is_empty() {
                [(); 3].map(|()| Value::Missing("not simulated".into()))
            } else {
                summary(&chains)
            });
            lengths.push(row);
        }
        let fitted = |column: &str, errors: &str, from: f64| {
            let [ds, ends, errors] = ["dimension", column, errors].map(|name| lengths.numbers(name).split_off(first));
            let points: Vec<[f64; 3]> = (0..ds.len())
                .filter_map(|i| Some([ds[i].filter(|&d| d >= from)?.ln(), ends[i]?, errors[i].unwrap_or(f64::NAN)]))
                .collect();
            let [x, y, e] = [0, 1, 2].map(|c| points.iter().map(|p| p[c]).collect::<Vec<f64>>());
            if x.len() < 2 {
                return [f64::NAN; 2];
            }
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let squares: f64 = x.iter().map(|x| (x - mean).powi(2)).sum();
            let noise: f64 = x.iter().zip(&e).map(|(x, e)| ((x - mean) * e).powi(2)).sum();
            [line_fit(&x, &y).0, noise.sqrt() / squares]
        };
        let predicted = 0.5 / rate;
        let [slope, _] = fitted("length", "error", FIT_FROM);
        let [chain, error] = fitted("chain_length", "chain_error", 0.0);
        let cell = |value: f64| match value.is_finite() {
            true => Value::Real(value),
            false => Value::Missing("fewer than two dimensions".into()),
        };
        let mut row = vec![students.into(), scale.into(), rate.into(), predicted.into()];
        row.extend([slope, slope / predicted, chain, chain / predicted, error / predicted].map(cell));
        slopes.push(row);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For erf the rates end below the local threshold, and the first plateau is the closed one.
    #[test]
    fn plateaus_of_erf_end_at_its_own_threshold() {
        let spec =
            PlateauSpec { activation: Activation::Erf, dimensions: Vec::new(), points: 4, ..PlateauSpec::default() };
        let report = plateau(&spec).unwrap();
        let table = report.table("plateaus").unwrap();
        assert!((table.numbers("q")[0].unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert!((table.numbers("learning_rate")[4].unwrap() - 0.98 * 2.306828).abs() < 1e-6);
        assert!(table.numbers("loss").iter().all(Option::is_some), "{:?}", table.rows);
        let linear = PlateauSpec { activation: Activation::LeakyRelu { slope: 1.0 }, ..PlateauSpec::default() };
        assert!(matches!(plateau(&linear), Err(Error::Spec { .. })));
        let activation = Activation::LeakyRelu { slope: 0.1 };
        let leaky = PlateauSpec { activation, students: vec![3], dimensions: Vec::new(), points: 4, ..linear };
        let report = plateau(&leaky).unwrap();
        let last = report.table("plateaus").unwrap().numbers("learning_rate")[4].unwrap();
        assert!((last - 0.98 * 2.0 / 3.0 * 1.01 / 1.0001).abs() < 1e-12, "{last}");
    }

    /// A deviation of 1 / sqrt(d) grows at the rate of the eigenvalue: length = ln(d) / (2 rate) + constant.
    #[test]
    fn length_grows_with_ln_d_at_the_rate_of_the_eigenvalue() {
        let spec = PlateauSpec {
            learning_rates: vec![0.0],
            dimensions: vec![1e4, 1e6, 1e8, 1e10],
            init_scales: vec![0.1],
            starts: 3,
            ..PlateauSpec::default()
        };
        let report = plateau(&spec).unwrap();
        let ratio = report.results["slope_ratio"].as_f64().unwrap();
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
    }
}
