//! Figures of results, for papers: every one is written as SVG and as PNG by the same code.
//!
//! Each function takes tables or arrays, a [`Caption`] and a file stem, and returns the files it wrote. Values that are
//! missing are counted in the legend, never drawn and never dropped in silence. Type is 9 points or larger at the size
//! written in the file (7 inches across at most), colours are told apart with any colour vision. The same input gives
//! the same bytes. [`compare`] confirms that new data equal those stored beside a figure.
//!
//! | function | shows |
//! |---|---|
//! | [`curves`] | lines and dots with error bars, in panels |
//! | [`losses`] | final losses of all runs, with the loss of each family |
//! | [`phase_map`] | a plane of two parameters, with boundary curves |
//! | [`overlaps`] | student-teacher and student-student overlaps at points |
//! | [`spectrum`] | Hessian eigenvalues with multiplicities |
//! | [`trajectory`] | loss, student norms and overlaps in time |
//! | [`validation`] | equations of SGD against simulated runs |

mod axis;
mod canvas;
mod compare;
mod curves;
mod font;
mod heatmap;
mod histogram;
mod map;
mod spectrum;
mod style;
mod trajectory;
mod validation;

pub use compare::compare;
pub use curves::{Curve, CurvePanel, CurveStyle, curve_points, curves};
pub use heatmap::{OverlapPanel, overlaps};
pub use histogram::losses;
pub use map::{MapCell, PhaseMap, phase_map};
pub use spectrum::spectrum;
pub use style::{CATEGORIES, diverging, sequential};
pub use trajectory::trajectory;
pub use validation::validation;

use crate::error::{Error, Result};
use crate::report::{Table, Value};

/// The words around a figure.
#[derive(Clone, Debug, Default)]
pub struct Caption {
    /// The claim, in one short line.
    pub title: String,
    /// Sizes, initial law, number of runs; set small and grey.
    pub subtitle: String,
    /// Version, commit and spec hash; kept inside the files, not shown.
    pub provenance: String,
}

/// The cells of a column, or an error that names what is missing.
fn column<'a>(table: &'a Table, name: &str, action: &'static str) -> Result<Vec<&'a Value>> {
    let missing = |problem: String| Error::Spec { action, problem };
    let index = table.index(name).ok_or_else(|| missing(format!("table `{}` has no column `{name}`", table.name)))?;
    let cells: Option<Vec<&Value>> = table.rows.iter().map(|row| row.get(index)).collect();
    cells.ok_or_else(|| missing(format!("a row of table `{}` ends before column `{name}`", table.name)))
}

/// The cells of a column as finite numbers.
fn numbers(table: &Table, name: &str, action: &'static str) -> Result<Vec<Option<f64>>> {
    let cells = column(table, name, action)?;
    Ok(cells.into_iter().map(|cell| cell.as_f64().filter(|x| x.is_finite())).collect())
}

/// The cells of a column as text.
fn texts(table: &Table, name: &str, action: &'static str) -> Result<Vec<String>> {
    Ok(column(table, name, action)?.into_iter().map(Value::exact).collect())
}

/// An error when a table has no rows.
fn not_empty(table: &Table, action: &'static str) -> Result<()> {
    if table.rows.is_empty() {
        return Err(Error::Spec { action, problem: format!("table `{}` has no rows", table.name) });
    }
    Ok(())
}
