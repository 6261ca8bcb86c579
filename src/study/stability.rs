//! What a given network is: spectrum and verdict of a stored point or of a weight file, and the critical point near it.

use std::path::PathBuf;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::spectrum::{push_spectrum, spectrum_columns};
use crate::error::{Error, Result};
use crate::landscape::fixed_point::relax;
use crate::landscape::{Point, Verdict, settle_by_rule};
use crate::model::{Activation, Overlaps, Teacher, TeacherSpec, Training, Weights, file};
use crate::report::{Report, Table, Value};

/// How long the weight vectors in a file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// f(x) = sum_k g(w_k.x), x ~ N(0, I): norms of order 1.
    Unit,
    /// f(x) = sum_k g(w_k.x / sqrt d): norms of order sqrt d; the file is divided by sqrt d.
    SqrtD,
    /// sqrt-d when the median row norm is closer to sqrt d than to 1 on a logarithmic scale.
    #[default]
    Auto,
}

/// Which network, in which teacher.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StabilitySpec {
    /// File with W: one student a row, one input a column (text or .npy).
    pub weights: Option<PathBuf>,
    /// The file has one student a column.
    #[serde(default)]
    pub transpose: bool,
    #[serde(default)]
    pub normalisation: Normalisation,
    /// File with V in the same coordinates and normalisation; `None`: the teacher below along the first coordinates.
    pub teacher_vectors: Option<PathBuf>,
    #[serde(default)]
    pub teacher: TeacherSpec,
    /// M, when no teacher file is given; `None`: as many as students, at most the input dimension.
    pub teachers: Option<usize>,
    /// Database and number of the point (table minima of `export`) to analyse instead of a file.
    pub db: Option<PathBuf>,
    pub point: Option<usize>,
    #[serde(default)]
    pub activation: Activation,
    /// Rule whose Hessian is asked for; `None`: the database's own, or gradient flow for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Training>,
}

/// A network read from files: weights in reduced coordinates, teacher, what was assumed.
struct Network {
    weights: Weights,
    teacher: Teacher,
    dimension: usize,
    assumed: Vec<String>,
}

/// Analyses a stored point or a network from a file. For a file the report has two rows: the network as given and the
/// critical point that descent from it reaches, with the distance between them.
///
/// # Errors
/// [`Error::Spec`] when neither or both of weights and db are given; those of reading, of the teacher and of the spectrum.
pub fn stability(spec: &StabilitySpec) -> Result<Report> {
    let (points, dimension, assumed): (Vec<(String, Point)>, usize, Vec<String>);
    let mut report = Report::new("stability", spec, None);
    match (&spec.weights, &spec.db) {
        (Some(_), None) => {
            let network = read_network(spec)?;
            let teacher = network.teacher;
            (dimension, assumed) = (network.dimension, network.assumed);
            let rule = spec.rule.unwrap_or_default().checked(network.weights.students(), dimension)?;
            let given = Point::by_rule(rule, &network.weights, &teacher, 0, Some(dimension))?;
            report.results.insert("gradient_as_given".into(), given.residual.into());
            let mut found = vec![("as given".into(), given)];
            let near = match rule {
                Training::GradientFlow => relax(&network.weights, &teacher, 0).map(|found| found.0),
                _ => settle_by_rule(rule, &network.weights, &teacher, 0).map(|settled| settled.weights),
            };
            match near {
                Ok(weights) => {
                    let near = Point::by_rule(rule, &weights, &teacher, 0, Some(dimension))?;
                    let distance = distance(&network.weights, &weights);
                    report.results.insert("distance".into(), distance.into());
                    report.notes.push(format!(
                        "Nearest critical point downhill: {} ({}), loss {:.9}, at Euclidean distance {distance:.3e} (norms of order 1).",
                        near.family.name,
                        near.verdict.name(),
                        near.loss
                    ));
                    found.push(("nearest".into(), near));
                }
                Err(error) => report.notes.push(format!("No minimum was reached downhill: {error}.")),
            }
            points = found;
        }
        #[cfg(feature = "cli")]
        (None, Some(db)) => {
            let mut catalogue = crate::landscape::catalogue::Catalogue::open_existing(db)?;
            let census = catalogue.census(u64::MAX)?;
            let number = spec.point.unwrap_or(1);
            let Some(class) = number.checked_sub(1).and_then(|index| census.classes.get(index)) else {
                return Err(Error::Count {
                    action: "analyse the stability",
                    quantity: "the point's number",
                    value: number,
                    needs: format!("1 to {} (see `committee export`, table minima)", census.classes.len()),
                });
            };
            assumed = vec![format!("Stored problem: {}.", catalogue.summary())];
            dimension = catalogue.problem().law.dimension;
            let point = match spec.rule {
                None => class.point.clone(),
                Some(rule) => {
                    let rule = rule.checked(class.point.weights.students(), dimension)?;
                    let teacher = &catalogue.problem().teacher;
                    Point::by_rule(rule, &class.point.weights, teacher, 0, Some(dimension))?
                }
            };
            points = vec![(format!("point {number}"), point)];
        }
        _ => {
            return Err(Error::Spec {
                action: "analyse the stability",
                problem: "give either --weights FILE or --db FILE with --point N".into(),
            });
        }
    }
    report.notes.splice(0..0, assumed);
    let mut table = Table::new(
        "stability",
        &[
            ("state", "", "the network as given, the critical point near it, or a stored point"),
            ("loss", "", "population loss L = E[(f - f*)^2]/2"),
            ("gradient", "", "largest gradient entry"),
            ("verdict", "", "what the spectrum says; only meaningful where the gradient vanishes"),
            ("family", "", "k1 = anti-aligned units; block m = type-A block of m units; extra, split, dead units"),
            ("isotropy", "", "group of relabellings that leave the point unchanged"),
            ("min_eigenvalue", "", "smallest eigenvalue of the Hessian inside span(W, V)"),
            ("min_transverse_eigenvalue", "", "smallest eigenvalue across the span"),
            ("unstable", "", "negative eigenvalues in d dimensions"),
            ("neutral", "", "zero eigenvalues in d dimensions"),
            ("span_dimension", "", "dimension of span(W, V)"),
        ],
    );
    let mut spectrum = spectrum_columns();
    for (name, point) in &points {
        let extra = dimension.saturating_sub(point.spectrum.span_dimension);
        let count = |pick: fn(&crate::landscape::stability::Index) -> usize| {
            pick(&point.spectrum.span_index) + extra * pick(&point.spectrum.transverse_index)
        };
        let critical = point.residual < 1e-10;
        table.push(vec![
            name.as_str().into(),
            point.loss.into(),
            point.residual.into(),
            if critical || point.verdict == Verdict::GlobalMinimum {
                point.verdict.name().into()
            } else {
                Value::Missing("the gradient does not vanish".into())
            },
            point.family.name.clone().into(),
            point.family.isotropy.clone().into(),
            point.spectrum.min_span().into(),
            point.spectrum.min_transverse().into(),
            count(|index| index.unstable).into(),
            count(|index| index.neutral).into(),
            point.spectrum.span_dimension.into(),
        ]);
        push_spectrum(&mut spectrum, name, point);
    }
    report.results.insert("dimension".into(), dimension.into());
    report.results.insert("states".into(), table.to_json());
    report.tables = vec![table, spectrum];
    for (name, point) in &points {
        let name = name.replace(' ', "_");
        report.arrays.insert(format!("q_{name}"), point.overlaps.q().clone().into_dyn());
        report.arrays.insert(format!("r_{name}"), point.overlaps.r().clone().into_dyn());
    }
    Ok(report)
}

fn read_network(spec: &StabilitySpec) -> Result<Network> {
    let Some(path) = &spec.weights else {
        return Err(Error::Spec { action: "analyse the stability", problem: "no weight file is given".into() });
    };
    let oriented = |path: &PathBuf| {
        let matrix = file::read_matrix(path)?;
        Ok::<_, Error>(if spec.transpose { matrix.reversed_axes().as_standard_layout().into_owned() } else { matrix })
    };
    let mut w = oriented(path)?;
    let (k, d) = w.dim();
    let mut assumed = vec![format!(
        "Read {} as {k} students ({}) in d = {d} inputs ({}){}.",
        path.display(),
        if spec.transpose { "columns" } else { "rows" },
        if spec.transpose { "rows" } else { "columns" },
        if k > d { "; more students than inputs: is it --transpose?" } else { "" },
    )];
    let mut norms: Vec<f64> = w.outer_iter().map(|row| row.dot(&row).sqrt()).collect();
    norms.sort_by(f64::total_cmp);
    let median = norms[k / 2];
    let root = (d as f64).sqrt();
    let divide = match spec.normalisation {
        Normalisation::Unit => false,
        Normalisation::SqrtD => true,
        Normalisation::Auto => median > root.sqrt() && d > 4,
    };
    assumed.push(format!(
        "Normalisation {}: f(x) = sum_k g(w_k.x{}); the median row norm is {median:.3}{}.",
        if divide { "sqrt-d" } else { "unit" },
        if divide { "/sqrt d" } else { "" },
        if spec.normalisation == Normalisation::Auto {
            " (chosen from it; --normalisation says otherwise)"
        } else {
            ""
        },
    ));
    let scale = if divide { 1.0 / root } else { 1.0 };
    w *= scale;
    // `vectors:FILE` means vectors in the coordinates of the weight file, as --teacher-vectors does.
    let vectors = match &spec.teacher {
        TeacherSpec::Vectors(path) => Some(path),
        _ => spec.teacher_vectors.as_ref(),
    };
    let (teacher, r) = match vectors {
        Some(path) => {
            let mut v = oriented(path)?;
            if v.ncols() != d {
                return Err(Error::Shape {
                    action: "read the teacher's vectors",
                    what: "the teacher matrix V",
                    rows: v.nrows(),
                    columns: v.ncols(),
                    needs: format!("{d} inputs like the students"),
                });
            }
            v *= scale;
            assumed.push(format!("Teacher: {} units from {}.", v.nrows(), path.display()));
            (Teacher::from_vectors(v.view())?.with_activation(spec.activation)?, w.dot(&v.t()))
        }
        None => {
            let m = spec.teachers.unwrap_or(k.min(d));
            let teacher = spec.teacher.build(m)?.with_activation(spec.activation)?;
            if teacher.rank() > d {
                return Err(Error::Count {
                    action: "place the teacher",
                    quantity: "input dimension d of the file",
                    value: d,
                    needs: format!("at least {} (rank of T); or give --teacher-vectors", teacher.rank()),
                });
            }
            assumed.push(format!(
                "Teacher: {m} units ({}) along the first {} inputs; --teacher-vectors FILE gives another.",
                spec.teacher,
                teacher.rank()
            ));
            let v = teacher.vectors();
            let along = Array2::from_shape_fn((k, teacher.rank()), |(i, c)| w[[i, c]]);
            let r = along.dot(&v.t());
            (teacher, r)
        }
    };
    let overlaps = Overlaps::new(w.dot(&w.t()), r, Array2::ones((1, k)), &teacher)?;
    let weights = overlaps.lift(&teacher)?;
    Ok(Network { weights, teacher, dimension: d, assumed })
}

/// Euclidean distance; missing coordinates are zero.
fn distance(a: &Weights, b: &Weights) -> f64 {
    let columns = a.coordinates().max(b.coordinates());
    let entry = |w: &Weights, i: usize, c: usize| if c < w.coordinates() { w.rows()[[i, c]] } else { 0.0 };
    let mut sum = 0.0;
    for i in 0..a.students() {
        for c in 0..columns {
            sum += (entry(a, i, c) - entry(b, i, c)).powi(2);
        }
    }
    sum.sqrt()
}
