//! Learning curves of one-pass SGD: plateaus, largest learning rates, and equations beside simulated runs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::published::{Largest, Learning, Online, Plateau, Publication};
use super::{ReproduceSpec, file_name, no_such_label};
use crate::dynamics::{self, Equations, evolve_sgd, local_threshold};
use crate::error::{Error, Result};
use crate::expectation::Erf;
use crate::model::{Activation, InitialLaw, Sgd, Teacher};
use crate::numerics::statistics::Sample;
use crate::report::{Report, Table, Value, replace};
use crate::study::{ValidateSpec, validate};

/// Relative difference below which two closed forms are one.
const SAME: f64 = 1e-9;
/// Standard deviation of the initial weights times sqrt(d).
const INIT_SCALE: f64 = 0.3;
/// Intervals of a curve, and how many of its times are tested.
const POINTS: usize = 300;
const CHECKS: usize = 10;
/// Fresh inputs for each test error.
const TEST_INPUTS: usize = 200;
/// The plateau is over when the loss is below this share of the plateau's.
const LEFT: f64 = 0.5;
/// It is not reached before the loss is below this multiple of it.
const NEAR: f64 = 2.0;
const TOLERANCE: f64 = 1e-10;

/// Version of the files of curves: raised when equations, simulators or what is kept change.
const FORMAT: i64 = 1;

/// A learning curve with its simulation; kept in a file.
#[derive(Serialize, Deserialize)]
struct Curve {
    format: i64,
    spec: ValidateSpec,
    p_value: Option<f64>,
    tests: usize,
    verdict: String,
    /// Whether networks in d dimensions were trained, beside the chain.
    explicit: bool,
    /// Largest root mean square deviation of one run from the equations.
    deviation: f64,
    points: Vec<CurvePoint>,
}

/// One overlap, or the loss, at one time.
#[derive(Serialize, Deserialize)]
struct CurvePoint {
    entry: String,
    time: f64,
    equations: f64,
    /// Mean over networks trained in d dimensions and its standard error, at tested times.
    runs: Option<[f64; 2]>,
}

/// Tables `cells` (a row for each published number or curve), `learning` (plateau and specialisation of each curve) and
/// `curves` (loss and overlaps against time).
pub fn report(
    spec: &ReproduceSpec,
    publication: &Publication,
    published: &Online,
    progress: &(dyn Fn(&str, usize, usize, usize) -> bool + Sync),
) -> Result<Report> {
    let wanted = |learning: &&Learning| spec.only.as_ref().is_none_or(|text| label(learning).contains(text.as_str()));
    let mut learning: Vec<&Learning> = published.learning.iter().filter(wanted).collect();
    // A whole label is not the beginning of another one.
    if let Some(one) = learning.iter().copied().find(|learning| spec.only.as_ref() == Some(&label(learning))) {
        learning = vec![one];
    }
    if learning.is_empty() {
        return Err(no_such_label(published.learning.iter().map(label)));
    }
    let mut report = Report::new("reproduce", spec, Some(spec.seed.unwrap_or(1)));
    let mut cells = Cells::new();
    for plateau in &published.plateaus {
        cells.plateau(plateau, published.activation)?;
    }
    for largest in &published.largest {
        cells.largest(largest, published.activation)?;
    }
    let (mut summary, mut curves) = (learning_table(), curve_table());
    for learning in learning {
        let teacher = Teacher::orthonormal(learning.students)?.with_activation(published.activation)?;
        let curve = curve(spec, learning, published.activation, &teacher, progress)?;
        cells.learning(learning, &curve);
        summary.push(summary_row(learning, &curve, &teacher)?);
        for point in &curve.points {
            let [mean, error] = match point.runs {
                Some(found) => found.map(Value::from),
                None => ["no runs are looked at here"; 2].map(|why| Value::Missing(why.into())),
            };
            curves.push(vec![
                learning.students.into(),
                learning.learning_rate.into(),
                point.entry.clone().into(),
                point.time.into(),
                point.equations.into(),
                mean,
                error,
            ]);
        }
    }
    report.results.insert("title".into(), publication.title.clone().into());
    report.results.insert("verdicts".into(), serde_json::json!(cells.tally));
    report.results.insert("differs".into(), cells.sentences.clone().into());
    for table in [&cells.table, &summary] {
        report.results.insert(table.name.clone(), table.to_json());
    }
    report.tables = vec![cells.table, summary, curves];
    report.notes.extend(cells.sentences);
    if let Some(unstated) = &publication.unstated {
        report.notes.push(format!("Not stated in the publication: {unstated}."));
    }
    Ok(report)
}

fn label(learning: &Learning) -> String {
    format!("K = {}, eta = {}", learning.students, learning.learning_rate)
}

fn validation(spec: &ReproduceSpec, learning: &Learning, activation: Activation) -> ValidateSpec {
    ValidateSpec {
        students: learning.students,
        teachers: learning.students,
        activation,
        dimensions: vec![learning.dimension],
        init_dimension: Some(learning.init_dimension),
        init_scale: INIT_SCALE,
        seed: spec.seed.unwrap_or(1),
        run: learning.run,
        time: learning.time,
        points: POINTS,
        checks: CHECKS,
        tolerance: TOLERANCE,
        runs: spec.runs.map_or(learning.runs, |runs| runs as usize),
        test_inputs: TEST_INPUTS,
        // Both simulators whatever it takes.
        explicit_limit: 1e300,
        samples: 1 << 13,
        rule: Sgd { learning_rate: learning.learning_rate, ..Sgd::default() },
        ..ValidateSpec::default()
    }
}

/// The curve, from the folder of finished ones where it is there.
fn curve(
    spec: &ReproduceSpec,
    learning: &Learning,
    activation: Activation,
    teacher: &Teacher,
    progress: &(dyn Fn(&str, usize, usize, usize) -> bool + Sync),
) -> Result<Curve> {
    let label = label(learning);
    let asked = validation(spec, learning, activation);
    let Some(folder) = &spec.db else { return simulate(asked, &label, teacher, progress) };
    std::fs::create_dir_all(folder).map_err(Error::file("write", folder))?;
    let path = folder.join(file_name(spec.source, &label, "json"));
    if path.exists() {
        return kept(&path, &asked);
    }
    let curve = simulate(asked, &label, teacher, progress)?;
    let text = serde_json::to_vec(&curve).map_err(|error| unreadable(&path, &error))?;
    replace(&path, |out| std::io::Write::write_all(out, &text))?;
    Ok(curve)
}

fn unreadable(path: &Path, error: &serde_json::Error) -> Error {
    Error::Parse { path: path.into(), line: error.line(), problem: error.to_string() }
}

fn kept(path: &Path, asked: &ValidateSpec) -> Result<Curve> {
    let text = std::fs::read(path).map_err(Error::file("read", path))?;
    let curve: Curve = serde_json::from_slice(&text).map_err(|error| unreadable(path, &error))?;
    if curve.format != FORMAT {
        let advice = "move the file away to simulate the curve again";
        return Err(Error::StoreVersion { path: path.into(), found: curve.format, known: FORMAT, advice });
    }
    if curve.spec != *asked {
        let words = |spec: &ValidateSpec| {
            let ValidateSpec { runs, dimensions, run, seed, time, .. } = spec;
            let (rate, from) = (spec.rule.learning_rate, spec.start_dimension());
            format!(
                "{runs} runs at d = {dimensions:?}, eta = {rate}, to time {time}, start {run} of seed {seed} at d = {from}"
            )
        };
        return Err(Error::OtherProblem { path: path.into(), held: words(&curve.spec), asked: words(asked) });
    }
    Ok(curve)
}

fn simulate(
    spec: ValidateSpec,
    label: &str,
    teacher: &Teacher,
    progress: &(dyn Fn(&str, usize, usize, usize) -> bool + Sync),
) -> Result<Curve> {
    let compared = validate(&spec, &|done, total| progress(label, done, total, 0))?;
    let result = |name: &str| compared.results.get(name).cloned().unwrap_or_default();
    let deviations = compared.table("agreement").map(|table| table.numbers("deviation")).unwrap_or_default();
    let mut points = losses(&spec, teacher, &compared)?;
    points.extend(overlaps(&compared));
    Ok(Curve {
        format: FORMAT,
        p_value: result("p_value").as_f64(),
        tests: result("tests").as_u64().unwrap_or(0) as usize,
        verdict: result("verdict").as_str().unwrap_or_default().to_string(),
        explicit: deviations.len() > 1,
        deviation: deviations.into_iter().flatten().fold(0.0, f64::max),
        points,
        spec,
    })
}

/// Population loss of the equations, and of the runs at the tested times.
fn losses(spec: &ValidateSpec, teacher: &Teacher, compared: &Report) -> Result<Vec<CurvePoint>> {
    let law = InitialLaw::new(spec.start_dimension(), spec.init_scale, teacher)?;
    let start = law.draw(spec.students, teacher, spec.seed, spec.run)?.overlaps(teacher);
    let equations = Equations::new(&start, teacher, spec.rule)?;
    let times: Vec<f64> = (0..=POINTS).map(|n| spec.time * n as f64 / POINTS as f64).collect();
    let frames = evolve_sgd(&start, &equations, &times, TOLERANCE)?.trajectory.frames;
    let point = |time, equations, runs| CurvePoint { entry: "loss".into(), time, equations, runs };
    let mut points: Vec<CurvePoint> = frames.iter().map(|frame| point(frame.time, frame.loss, None)).collect();
    let Some(risks) = compared.table("risks") else { return Ok(points) };
    let dimension = spec.dimensions.iter().fold(f64::INFINITY, |least, &d| least.min(d as f64));
    let (simulators, times, found) = (risks.texts("simulator"), risks.numbers("time"), risks.numbers("loss"));
    for point in &mut points {
        let here = (0..found.len()).filter(|&i| simulators[i] == "explicit");
        // Tested times are whole steps.
        let here = here.filter(|&i| times[i].is_some_and(|time| (time - point.time).abs() < 0.51 / dimension));
        let sample = Sample::new(here.filter_map(|i| found[i].filter(|loss| loss.is_finite())));
        point.runs = (sample.size > 1).then(|| [sample.mean, sample.standard_error()]);
    }
    Ok(points)
}

/// Every overlap of the equations, and of the runs at the tested times.
fn overlaps(compared: &Report) -> Vec<CurvePoint> {
    let Some(table) = compared.table("overlaps") else { return Vec::new() };
    let (simulators, entries) = (table.texts("simulator"), table.texts("entry"));
    let [times, equations, means, errors] =
        ["time", "equations", "mean", "standard_error"].map(|name| table.numbers(name));
    let rows = |name: &'static str| {
        let simulators = &simulators;
        (0..entries.len()).filter(move |&i| simulators[i] == name)
    };
    let number = |column: &[Option<f64>], i: usize| column[i].unwrap_or(f64::NAN);
    let at = |i: usize, runs| CurvePoint {
        entry: entries[i].clone(),
        time: number(&times, i),
        equations: number(&equations, i),
        runs,
    };
    // The chain is recorded at all times, the networks at the tested ones.
    let mut points: Vec<CurvePoint> = rows("chain").map(|i| at(i, None)).collect();
    for i in rows("explicit") {
        let there = points.iter_mut().find(|point| point.entry == entries[i] && Some(point.time) == times[i]);
        if let Some(point) = there {
            let found = [number(&means, i), number(&errors, i)];
            point.runs = found.iter().all(|x| x.is_finite()).then_some(found);
        }
    }
    points
}

/// The table of verdicts as it grows.
struct Cells {
    table: Table,
    sentences: Vec<String>,
    tally: std::collections::BTreeMap<&'static str, usize>,
}

impl Cells {
    fn new() -> Cells {
        let table = Table::new(
            "cells",
            &[
                ("table", "", "plateau, largest learning rate or learning"),
                ("case", "", "K = M students, learning rate eta"),
                ("quantity", "", "what is compared"),
                ("published", "", "published value; missing where only a curve was published"),
                ("ours", "", "our value"),
                ("difference", "%", "ours minus published over published"),
                (
                    "p_value",
                    "",
                    "smallest p-value of equations against runs, Holm-adjusted over the tests of the curve",
                ),
                ("verdict", "", "agrees or differs"),
                ("sentence", "", "the difference in words"),
            ],
        );
        Cells { table, sentences: Vec::new(), tally: std::collections::BTreeMap::new() }
    }

    fn push(&mut self, [table, case, quantity]: [&str; 3], numbers: [Value; 4], agrees: bool, sentence: String) {
        let verdict = if agrees { "agrees" } else { "differs" };
        *self.tally.entry(verdict).or_default() += 1;
        let mut row: Vec<Value> = [table, case, quantity].map(Value::from).into();
        row.extend(numbers);
        row.push(verdict.into());
        row.push(if agrees { Value::Missing("agrees".into()) } else { sentence.clone().into() });
        self.table.push(row);
        if !agrees {
            self.sentences.push(sentence);
        }
    }

    fn number(&mut self, [table, case, quantity]: [&str; 3], published: f64, ours: f64, remark: &str) {
        let difference = ours / published - 1.0;
        let side = if difference < 0.0 { "below" } else { "above" };
        let sentence = format!(
            "{case}, {table}, {quantity}: {ours:.9}, {:.2} % {side} the published {published:.9}{remark}.",
            100.0 * difference.abs()
        );
        let numbers =
            [published.into(), ours.into(), (100.0 * difference).into(), Value::Missing("closed forms".into())];
        self.push([table, case, quantity], numbers, difference.abs() < SAME, sentence);
    }

    fn plateau(&mut self, plateau: &Plateau, activation: Activation) -> Result<()> {
        let teacher = Teacher::orthonormal(plateau.students)?.with_activation(activation)?;
        let found = dynamics::plateau(plateau.students, &teacher, None)?;
        let case = format!("K = {}, eta -> 0", plateau.students);
        let (q, r) = (found.overlaps.q(), found.overlaps.r());
        for (quantity, published, ours) in [
            ("squared norm Q_ii", plateau.overlap, q[[0, 0]]),
            ("overlap of two students Q_ik", plateau.overlap, q[[0, 1]]),
            ("overlap with a teacher R_in", plateau.teacher_overlap, r[[0, 0]]),
            ("loss", plateau.loss, found.loss),
        ] {
            self.number(["plateau", &case, quantity], published, ours, "");
        }
        Ok(())
    }

    /// The stability of the exact solution, with and without the overlaps that the deviations of different students have.
    fn largest(&mut self, largest: &Largest, activation: Activation) -> Result<()> {
        let teacher = Teacher::orthonormal(largest.students)?.with_activation(activation)?;
        let case = format!("K = {}", largest.students);
        let ours = local_threshold(&teacher, 1)?;
        let norms = norms_alone(largest.students);
        let remark = if (norms / largest.learning_rate - 1.0).abs() < SAME {
            ", which is the value without overlaps between the deviations of different students"
        } else {
            ""
        };
        let table = "largest learning rate";
        self.number([table, &case, "stable in mean square"], largest.learning_rate, ours, remark);
        self.number([table, &case, "the same for norms alone"], largest.learning_rate, norms, "");
        Ok(())
    }

    fn learning(&mut self, learning: &Learning, curve: &Curve) {
        let missing = |why: &str| Value::Missing(why.into());
        let case = label(learning);
        let Curve { tests, spec, .. } = curve;
        let p_value = curve.p_value.unwrap_or(f64::NAN);
        let sentence = format!(
            "{case}: equations and runs at d = {} differ (smallest of {tests} p-values {p_value:.1e}, {} runs).",
            learning.dimension, spec.runs
        );
        let figure = || missing("published as a figure");
        let numbers = [figure(), missing("a curve: table curves"), figure(), Value::real(p_value)];
        let quantity = "equations against runs";
        self.push(["learning", &case, quantity], numbers, curve.verdict == "agrees", sentence);
    }
}

/// Largest learning rate of erf with orthonormal teachers when S in dS/dt = -eta (A S + S A) + eta^2 Phi(S) is kept
/// diagonal (theory 11, eq. 11-norms-alone).
fn norms_alone(students: usize) -> f64 {
    let fields = |units: [usize; 4]| Erf.slopes(&units.map(|i| units.map(|j| f64::from(u8::from(i == j)))));
    let square = std::f64::consts::FRAC_2_PI / 3f64.sqrt();
    2.0 * square / (fields([0; 4]) + (students as f64 - 1.0) * fields([0, 0, 1, 1]))
}

fn learning_table() -> Table {
    Table::new(
        "learning",
        &[
            ("students", "", "K = M"),
            ("learning_rate", "", "eta"),
            ("plateau_loss", "", "loss of the unspecialised fixed point at this learning rate"),
            (
                "closest",
                "",
                "loss of the curve where its logarithm falls slowest, below twice the plateau's loss and before the plateau ends",
            ),
            ("escape_rate", "per unit of t = steps / d", "leading eigenvalue of the plateau"),
            ("end_of_plateau", "steps / d", "time at which the loss is half the plateau's"),
            ("end_loss", "", "loss at the end of the curve"),
            ("d", "", "input dimension of the runs"),
            ("runs", "runs", "runs of each simulator"),
            ("simulators", "", "explicit: networks in d dimensions; chain: exact law of their overlaps"),
            ("deviation", "", "root mean square deviation of one run from the equations of d = infinity"),
            ("tests", "", "tests behind the p-value: means of overlaps, variances, test errors"),
            ("p_value", "", "the smallest, Holm-adjusted"),
            ("verdict", "", "agrees or differs"),
        ],
    )
}

fn summary_row(learning: &Learning, curve: &Curve, teacher: &Teacher) -> Result<Vec<Value>> {
    let plateau = dynamics::plateau(learning.students, teacher, Some(curve.spec.rule));
    let losses: Vec<&CurvePoint> = curve.points.iter().filter(|point| point.entry == "loss").collect();
    let missing = |error: &Error| Value::Missing(error.to_string());
    let [loss, rate, closest, end] = match &plateau {
        Err(error) => [(); 4].map(|()| missing(error)),
        Ok(found) => {
            let end = losses.iter().position(|point| point.equations < LEFT * found.loss);
            let fall = |n: &usize| (losses[*n].equations / losses[*n + 1].equations).ln();
            let near = losses.iter().position(|point| point.equations < NEAR * found.loss).unwrap_or(0);
            let there = near..end.unwrap_or(losses.len()).saturating_sub(1);
            let slowest = there.min_by(|a, b| fall(a).total_cmp(&fall(b)));
            let late = || Value::Missing("not within the curve".into());
            [
                found.loss.into(),
                found.eigenvalues.first().map_or_else(late, |value| value[0].into()),
                slowest.map_or_else(late, |n| losses[n].equations.into()),
                end.map_or_else(late, |n| losses[n].time.into()),
            ]
        }
    };
    Ok(vec![
        learning.students.into(),
        learning.learning_rate.into(),
        loss,
        closest,
        rate,
        end,
        losses.last().map_or(Value::Missing("no curve".into()), |point| point.equations.into()),
        learning.dimension.into(),
        curve.spec.runs.into(),
        if curve.explicit { "chain and explicit" } else { "chain" }.into(),
        curve.deviation.into(),
        curve.tests.into(),
        Value::real(curve.p_value.unwrap_or(f64::NAN)),
        curve.verdict.as_str().into(),
    ])
}

fn curve_table() -> Table {
    Table::new(
        "curves",
        &[
            ("students", "", "K = M"),
            ("learning_rate", "", "eta"),
            ("entry", "", "loss, q_i_j = w_i . w_j, r_i_m = w_i . v_m"),
            ("time", "steps / d", "steps of SGD over the input dimension"),
            ("equations", "", "equations of d = infinity"),
            ("runs_mean", "", "mean over networks trained in d dimensions, at tested times"),
            ("standard_error", "", "of that mean"),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{Source, reproduce};

    fn spec(runs: u64, db: &Path) -> ReproduceSpec {
        let only = Some("K = 2, eta = 1.5".to_string());
        let source = Source::SaadSolla1995;
        ReproduceSpec { source, runs: Some(runs), only, db: Some(db.into()), ..ReproduceSpec::default() }
    }

    /// The quoted largest learning rates are those of norms alone, and ours from K = 2 on are lower; a finished curve is read
    /// back to the last digit, and is not taken for another experiment.
    #[test]
    fn learning_curves_are_compared_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let db = folder.path().join("curves");
        let report = reproduce(&spec(3, &db), &|_, _, _, _| true).unwrap();
        let cells = report.table("cells").unwrap();
        let differs = |i: &usize| cells.texts("verdict")[*i] == "differs";
        let cases: Vec<String> =
            (0..cells.rows.len()).filter(differs).map(|i| cells.texts("case")[i].clone()).collect();
        assert_eq!(cases, ["K = 2", "K = 3", "K = 4"], "{:?}", report.notes);
        assert!(report.notes[0].contains("0.73 % below the published 2.3237544"), "{}", report.notes[0]);
        assert_eq!(cells.rows.len(), 3 * 4 + 4 * 2 + 1);
        let summary = report.table("learning").unwrap();
        let number = |name: &str| summary.numbers(name)[0].unwrap();
        assert!((number("closest") / number("plateau_loss") - 1.0).abs() < 0.02);
        assert!((15.0..60.0).contains(&number("end_of_plateau")) && number("end_loss") < 1e-6);
        // Ten tested times of loss and of each overlap.
        let curves = report.table("curves").unwrap();
        assert_eq!(curves.numbers("runs_mean").iter().flatten().count(), 10 * (1 + 3 + 4));
        let again = reproduce(&spec(3, &db), &|_, _, _, _| panic!("nothing is simulated again")).unwrap();
        for (table, kept) in report.tables.iter().zip(&again.tables) {
            assert_eq!(table.to_json(), kept.to_json());
        }
        let other = reproduce(&spec(4, &db), &|_, _, _, _| true).unwrap_err().to_string();
        assert!(other.contains("it holds 3 runs") && other.contains("asks for 4 runs"), "{other}");
        std::fs::write(db.join("saad-solla-1995-k-2-eta-1-5.json"), "{").unwrap();
        assert!(matches!(reproduce(&spec(3, &db), &|_, _, _, _| true), Err(Error::Parse { .. })));
    }
}
