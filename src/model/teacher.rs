//! The teacher network f*(x) = sum_m b_m g(v_m.x).

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::{Activation, file};
use crate::error::{Error, Result};
use crate::numerics::{linalg, tolerance};

/// A teacher: Gram matrix T (M x M, any rank), readouts b (tasks x M), and its vectors in r = rank T coordinates.
///
/// The first vector lies along the first coordinate, each further one in the span of the coordinates so far plus at most
/// one new one, so T = I gives V = I exactly.
#[derive(Clone, Debug, PartialEq)]
pub struct Teacher {
    gram: Array2<f64>,
    readouts: Array2<f64>,
    vectors: Array2<f64>,
    activation: Activation,
}

impl Teacher {
    /// From a Gram matrix and readouts (tasks x M; `None`: one task, all 1).
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::NonFinite`], [`Error::NotSymmetric`], [`Error::NotPositive`] with the eigenvalue, and
    /// [`Error::Real`] for a teacher unit of norm zero.
    pub fn new(gram: Array2<f64>, readouts: Option<Array2<f64>>) -> Result<Teacher> {
        const ACTION: &str = "use the teacher";
        let m = gram.nrows();
        if m == 0 || gram.ncols() != m {
            return Err(Error::Shape {
                action: ACTION,
                what: "the Gram matrix T",
                rows: m,
                columns: gram.ncols(),
                needs: "M x M with M >= 1".into(),
            });
        }
        let readouts = readouts.unwrap_or_else(|| Array2::ones((1, m)));
        if readouts.ncols() != m || readouts.nrows() == 0 {
            return Err(Error::Shape {
                action: ACTION,
                what: "the readouts b",
                rows: readouts.nrows(),
                columns: readouts.ncols(),
                needs: format!("tasks x M with M = {m}"),
            });
        }
        if gram.iter().chain(&readouts).any(|x| !x.is_finite()) {
            return Err(Error::NonFinite { action: ACTION, quantity: "an entry of T or b" });
        }
        let gram = check_gram("the teacher's Gram matrix T", gram, tolerance::GRAM)?;
        if let Some(unit) = (0..m).find(|&i| gram[[i, i]] <= 0.0) {
            return Err(Error::Real {
                action: ACTION,
                quantity: format!("the squared norm of teacher unit {}", unit + 1),
                value: gram[[unit, unit]],
                needs: "a positive value (leave the unit out)",
            });
        }
        let vectors = factor(&gram);
        Ok(Teacher { gram, readouts, vectors, activation: Activation::default() })
    }

    /// T = I: M orthonormal units.
    pub fn orthonormal(m: usize) -> Result<Teacher> {
        Teacher::new(Array2::eye(m), None)
    }

    /// T = (1 - rho) I + rho J: unit norms, equal correlations; needs -1/(M - 1) <= rho <= 1.
    pub fn correlated(m: usize, rho: f64) -> Result<Teacher> {
        Teacher::new(Array2::from_shape_fn((m, m), |(i, j)| if i == j { 1.0 } else { rho }), None)
    }

    /// Orthogonal units with norms falling linearly from 1 to `last`.
    pub fn graded(m: usize, last: f64) -> Result<Teacher> {
        if !(last > 0.0 && last.is_finite()) {
            return Err(Error::Real {
                action: "use the teacher",
                quantity: "the norm of the last unit".into(),
                value: last,
                needs: "a positive number",
            });
        }
        let norm = |i: usize| if m == 1 { 1.0 } else { 1.0 + (last - 1.0) * i as f64 / (m - 1) as f64 };
        Teacher::new(Array2::from_shape_fn((m, m), |(i, j)| if i == j { norm(i).powi(2) } else { 0.0 }), None)
    }

    /// From M row vectors in any dimension.
    pub fn from_vectors(vectors: ArrayView2<f64>) -> Result<Teacher> {
        Teacher::new(vectors.dot(&vectors.t()), None)
    }

    /// The same teacher with this activation, which its students share; ReLU without it.
    ///
    /// # Errors
    /// Those of [`Activation::checked`].
    pub fn with_activation(self, activation: Activation) -> Result<Teacher> {
        Ok(Teacher { activation: activation.checked()?, ..self })
    }

    /// g of the teacher and of its students: slope 0 of leaky ReLU is given as ReLU, slope 1 as linear.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// Refuses activations other than ReLU.
    ///
    /// # Errors
    /// [`Error::Spec`] naming the activation.
    pub fn needs_relu(&self, action: &'static str) -> Result<()> {
        match self.activation {
            Activation::Relu => Ok(()),
            other => Err(Error::Spec { action, problem: format!("the activation is {other}, needs relu") }),
        }
    }

    /// Number of teacher units M.
    pub fn units(&self) -> usize {
        self.gram.nrows()
    }

    /// Rank r of T: dimension of the span of the teacher's vectors.
    pub fn rank(&self) -> usize {
        self.vectors.ncols()
    }

    /// T, M x M.
    pub fn gram(&self) -> &Array2<f64> {
        &self.gram
    }

    /// b, tasks x M.
    pub fn readouts(&self) -> &Array2<f64> {
        &self.readouts
    }

    /// V, M x r: the vectors in reduced coordinates, V V^T = T.
    pub fn vectors(&self) -> &Array2<f64> {
        &self.vectors
    }

    /// Whether V is the identity (T = I), where R = W and several sums become free.
    pub fn is_orthonormal(&self) -> bool {
        self.rank() == self.units() && self.vectors.indexed_iter().all(|((i, j), &x)| x == f64::from(u8::from(i == j)))
    }
}

/// A symmetrised copy of a Gram matrix that is symmetric and positive semidefinite to this relative tolerance.
pub(super) fn check_gram(what: &'static str, mut gram: Array2<f64>, tolerance: f64) -> Result<Array2<f64>> {
    let n = gram.nrows();
    let scale = linalg::max_abs(&gram);
    for i in 0..n {
        for j in 0..i {
            let difference = (gram[[i, j]] - gram[[j, i]]).abs();
            if difference > tolerance * scale {
                return Err(Error::NotSymmetric { what, row: i + 1, column: j + 1, difference });
            }
            let mean = 0.5 * (gram[[i, j]] + gram[[j, i]]);
            (gram[[i, j]], gram[[j, i]]) = (mean, mean);
        }
    }
    let values = linalg::eigvalsh(gram.view())?;
    let largest = linalg::max_abs(&values);
    let floor = -tolerance * largest;
    match values.first() {
        Some(&eigenvalue) if eigenvalue < floor => Err(Error::NotPositive { what, eigenvalue, floor }),
        _ => Ok(gram),
    }
}

/// Rows V with V V^T = T by Cholesky steps in the given order; a row that brings no new direction adds no coordinate.
fn factor(gram: &Array2<f64>) -> Array2<f64> {
    let m = gram.nrows();
    let mut v = Array2::<f64>::zeros((m, m));
    // basis[c]: the row that introduced coordinate c; its entry there is the pivot.
    let mut basis: Vec<usize> = Vec::new();
    for i in 0..m {
        for (c, &row) in basis.iter().enumerate() {
            let known: f64 = (0..c).map(|k| v[[i, k]] * v[[row, k]]).sum();
            v[[i, c]] = (gram[[i, row]] - known) / v[[row, c]];
        }
        let rest = gram[[i, i]] - (0..basis.len()).map(|k| v[[i, k]] * v[[i, k]]).sum::<f64>();
        if rest > tolerance::GRAM * gram[[i, i]] {
            v[[i, basis.len()]] = rest.sqrt();
            basis.push(i);
        }
    }
    v.slice(ndarray::s![.., ..basis.len()]).to_owned()
}

/// How a teacher is named in a spec: `orthonormal`, `correlated:RHO`, `graded:LAST`, `vectors:FILE`, or a file that holds T.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TeacherSpec {
    #[default]
    Orthonormal,
    /// Equal correlations rho.
    Correlated(f64),
    /// Orthogonal, norms from 1 down to this.
    Graded(f64),
    /// File with the Gram matrix T.
    Gram(PathBuf),
    /// File with the vectors as rows.
    Vectors(PathBuf),
}

impl TeacherSpec {
    /// The teacher with M units.
    ///
    /// # Errors
    /// Those of [`Teacher::new`] and of reading; a file whose size is not M.
    pub fn build(&self, m: usize) -> Result<Teacher> {
        let sized = |teacher: Teacher, path: &Path| {
            if teacher.units() == m {
                return Ok(teacher);
            }
            Err(Error::Spec {
                action: "use the teacher",
                problem: format!("{} holds {} units, needs --teachers {m}", path.display(), teacher.units()),
            })
        };
        match self {
            TeacherSpec::Orthonormal => Teacher::orthonormal(m),
            TeacherSpec::Correlated(rho) => Teacher::correlated(m, *rho),
            TeacherSpec::Graded(last) => Teacher::graded(m, *last),
            TeacherSpec::Gram(path) => sized(Teacher::new(file::read_matrix(path)?, None)?, path),
            TeacherSpec::Vectors(path) => sized(Teacher::from_vectors(file::read_matrix(path)?.view())?, path),
        }
    }
}

impl std::fmt::Display for TeacherSpec {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TeacherSpec::Orthonormal => out.write_str("orthonormal"),
            TeacherSpec::Correlated(rho) => write!(out, "correlated:{rho}"),
            TeacherSpec::Graded(last) => write!(out, "graded:{last}"),
            TeacherSpec::Gram(path) => write!(out, "{}", path.display()),
            TeacherSpec::Vectors(path) => write!(out, "vectors:{}", path.display()),
        }
    }
}

impl From<TeacherSpec> for String {
    fn from(spec: TeacherSpec) -> String {
        spec.to_string()
    }
}

impl TryFrom<String> for TeacherSpec {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl std::str::FromStr for TeacherSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = |word: &str| {
            word.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(|| Error::Spec {
                action: "use the teacher",
                problem: format!("'{word}' in '{text}' is not a finite number"),
            })
        };
        match text.split_once(':') {
            None if text == "orthonormal" => Ok(TeacherSpec::Orthonormal),
            Some(("correlated", rho)) => Ok(TeacherSpec::Correlated(number(rho)?)),
            Some(("graded", last)) => Ok(TeacherSpec::Graded(number(last)?)),
            Some(("vectors", path)) => Ok(TeacherSpec::Vectors(path.into())),
            Some(("gram", path)) => Ok(TeacherSpec::Gram(path.into())),
            _ if text.contains(['/', '.']) => Ok(TeacherSpec::Gram(text.into())),
            _ => Err(Error::Spec {
                action: "use the teacher",
                problem: format!(
                    "'{text}' is not known, needs orthonormal, correlated:RHO, graded:LAST, vectors:FILE or a file with T"
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn vectors_reproduce_any_gram_matrix() {
        let rows = array![[1.0, 2.0, 0.0], [2.0, 4.0, 0.0], [0.0, 1.0, 1.0], [1.0, 3.0, 1.0], [0.5, 0.0, 1.0]];
        let teacher = Teacher::from_vectors(rows.view()).unwrap();
        assert_eq!(teacher.rank(), 3);
        let back = teacher.vectors().dot(&teacher.vectors().t());
        assert!((&back - teacher.gram()).iter().all(|x| x.abs() < 1e-14));
        assert!(Teacher::orthonormal(5).unwrap().is_orthonormal());
        assert!(!Teacher::graded(3, 0.5).unwrap().is_orthonormal());
        assert_eq!(Teacher::correlated(4, -1.0 / 3.0).unwrap().rank(), 3);
        assert_eq!(Teacher::correlated(4, 1.0).unwrap().rank(), 1);
    }

    #[test]
    fn refusals_name_the_numbers() {
        match Teacher::correlated(4, 1.5) {
            Err(Error::NotPositive { eigenvalue, .. }) => assert!((eigenvalue + 0.5).abs() < 1e-12),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            Teacher::new(array![[1.0, 0.2], [0.1, 1.0]], None),
            Err(Error::NotSymmetric { row: 2, column: 1, .. })
        ));
        assert!(matches!(Teacher::new(array![[1.0, 0.0], [0.0, 0.0]], None), Err(Error::Real { .. })));
        assert!(matches!(Teacher::new(Array2::zeros((0, 0)), None), Err(Error::Shape { .. })));
        assert!(matches!(Teacher::new(Array2::eye(2), Some(Array2::ones((1, 3)))), Err(Error::Shape { .. })));
        assert!(matches!(Teacher::new(array![[f64::NAN]], None), Err(Error::NonFinite { .. })));
    }

    #[test]
    fn specs_round_trip() {
        for text in ["orthonormal", "correlated:0.25", "graded:0.5", "t.csv", "vectors:v.npy"] {
            assert_eq!(text.parse::<TeacherSpec>().unwrap().to_string(), text);
        }
        for text in ["orthogonal", "correlated:x", "graded:", "correlated:inf"] {
            assert!(text.parse::<TeacherSpec>().is_err(), "{text}");
        }
    }
}
