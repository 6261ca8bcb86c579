//! The one error type of the crate.
//!
//! Every message follows one grammar: *cannot do what: quantity is value, needs condition*. The numbers are fields,
//! so a caller can act on them; [`Error::exit_code`] is what the program returns: 2 for input that was refused before
//! any work, 1 for a failure while running, 130 after Ctrl-C.

use std::path::PathBuf;

/// `Result` with the crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong, with the numbers a person needs to mend it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An integer argument is outside its range.
    #[error("cannot {action}: {quantity} is {value}, needs {needs}")]
    Count { action: &'static str, quantity: &'static str, value: usize, needs: String },

    /// A real argument is outside its range or not finite.
    #[error("cannot {action}: {quantity} is {value}, needs {needs}")]
    Real { action: &'static str, quantity: String, value: f64, needs: &'static str },

    /// An array has the wrong shape.
    #[error("cannot {action}: {what} has shape {rows} x {columns}, needs {needs}")]
    Shape { action: &'static str, what: &'static str, rows: usize, columns: usize, needs: String },

    /// A Gram matrix is not symmetric.
    #[error(
        "cannot use {what}: entries ({row}, {column}) and ({column}, {row}) differ by {difference:e}, needs a symmetric matrix"
    )]
    NotSymmetric { what: &'static str, row: usize, column: usize, difference: f64 },

    /// A Gram matrix has a negative eigenvalue.
    #[error(
        "cannot use {what}: smallest eigenvalue is {eigenvalue:e}, needs at least {floor:e} (a Gram matrix is positive semidefinite)"
    )]
    NotPositive { what: &'static str, eigenvalue: f64, floor: f64 },

    /// A dense matrix would not fit in memory.
    #[error("cannot {action}: {what} needs {needed_gib:.1} GiB, {available_gib:.1} GiB are available; {advice}")]
    Memory { action: &'static str, what: String, needed_gib: f64, available_gib: f64, advice: String },

    /// Text that does not parse, or a value in a file that is not a finite number.
    #[error("cannot read {path}: line {line}: {problem}", path = path.display())]
    Parse { path: PathBuf, line: usize, problem: String },

    /// A spec or a combination of options that has no meaning.
    #[error("cannot {action}: {problem}")]
    Spec { action: &'static str, problem: String },

    /// The operating system refused a file operation.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },

    /// A directory given with `--out` already holds files.
    #[error("cannot write to {path}: the directory is not empty; give another --out, or --force to replace what is there", path = path.display())]
    Occupied { path: PathBuf },

    /// The database holds another problem.
    #[error("cannot continue {path}: it holds {held}, this run asks for {asked}; give another --db file", path = path.display())]
    OtherProblem { path: PathBuf, held: String, asked: String },

    /// The database was written by a version this one does not know.
    #[error("cannot open {path}: its format is version {found}, this program knows version {known}; {advice}", path = path.display())]
    StoreVersion { path: PathBuf, found: i64, known: i64, advice: &'static str },

    /// The database is not ours, corrupt, read-only, or its disk is full.
    #[error("cannot {action} the database {path}: {problem}", path = path.display())]
    Store { action: &'static str, path: PathBuf, problem: String },

    /// A computation met a value that is not finite.
    #[error("cannot {action}: {quantity} is not finite")]
    NonFinite { action: &'static str, quantity: &'static str },

    /// An iteration ended before its residual was small enough.
    #[error("cannot {action}: residual is {residual:e} after {iterations} iterations, needs {needs:e}")]
    NotConverged { action: &'static str, residual: f64, iterations: usize, needs: f64 },

    /// A figure's data differ from what is stored beside it.
    #[error("cannot confirm {path}: {problem}", path = path.display())]
    FigureDiffers { path: PathBuf, problem: String },

    /// Ctrl-C: what was finished is kept.
    #[error("interrupted after {done} of {total} runs; {resume}")]
    Interrupted { done: usize, total: usize, resume: String },
}

impl Error {
    /// Exit code of the program: 2 input refused, 1 failed while running, 130 interrupted.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Store { action: "open", .. } | Error::File { action: "read" | "list", .. } => 2,
            Error::File { .. }
            | Error::Store { .. }
            | Error::NonFinite { .. }
            | Error::NotConverged { .. }
            | Error::FigureDiffers { .. } => 1,
            Error::Interrupted { .. } => 130,
            _ => 2,
        }
    }

    /// Attaches the path and the attempted action to an I/O error.
    pub fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }
}
