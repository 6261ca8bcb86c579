//! One SQLite file per problem: a ledger of finished cells and the critical points they found.
//!
//! A cell is one unit of work with a number, for example one random start of a landscape search; resuming a study means
//! computing the cells that are not in [`Store::finished`]. A cell that ended at a critical point names it; cells whose
//! points are the same up to the symmetries of the problem share one row, and the row keeps the weights of its
//! representative, the cell with the lowest number. What a file holds is therefore a function of the set of cells in
//! it, whoever wrote them and in whatever order, as long as "the same point" is an equivalence relation on the points
//! that were met and equal points have losses within the window. Only [`PointId`] depends on the order: results name a
//! point by its representative.
//!
//! Each [`Store::record`] is one transaction on a write-ahead log: a process killed at any moment leaves a file that
//! opens and holds every cell whose `record` had returned, and several processes can write to one file.

mod failure;
mod open;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::error::{Error, Result};
use failure::{damaged, failed};

/// Version of the tables, kept in the file's `user_version`.
pub const FORMAT: i64 = 1;

/// Marks a SQLite file as ours: "COMM" in the header's `application_id`.
pub const APPLICATION_ID: i64 = 0x434f_4d4d;

/// Which problem a file belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the study, for example `landscape`.
    pub study: String,
    /// Canonical JSON that identifies the problem: everything that changes what a cell computes, and nothing else.
    pub key: String,
    /// The problem for people, used in messages.
    pub summary: String,
}

/// Row of a critical point. It depends on the order of writing and has no meaning outside its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PointId(i64);

/// A finished cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Number of the cell within its study.
    pub id: u64,
    /// The critical point it ended at; `None` when it ended at none (the payload says why).
    pub point: Option<PointId>,
    /// JSON written by the study.
    pub payload: String,
}

/// A cell to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct NewCell {
    /// Number of the cell within its study, below 2^63.
    pub id: u64,
    /// The critical point it ended at, if any.
    pub point: Option<NewPoint>,
    /// JSON for the study's own use.
    pub payload: String,
}

/// A critical point as one cell found it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPoint {
    /// Loss at the point.
    pub loss: f64,
    /// Rows and columns of the weight matrix.
    pub shape: (usize, usize),
    /// Weights, row-major.
    pub weights: Vec<f64>,
    /// Only stored points whose loss differs by at most this much are compared.
    pub window: f64,
}

/// A critical point of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPoint {
    /// Row in this file.
    pub id: PointId,
    /// Lowest number among the cells that ended here; loss and weights are those of this cell.
    pub representative: u64,
    /// Loss at the point.
    pub loss: f64,
    /// Rows and columns of the weight matrix.
    pub shape: (usize, usize),
    /// Weights, row-major, bit for bit as they were recorded.
    pub weights: Vec<f64>,
    /// JSON kept by [`Store::set_analysis`]; gone when the representative changes.
    pub analysis: Option<String>,
}

/// Says whether a new point and a stored one are the same critical point.
pub type Same<'a> = dyn Fn(&NewPoint, &StoredPoint) -> bool + 'a;

/// An open file.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    /// As the caller gave it, for messages.
    path: PathBuf,
    problem: Problem,
    read_only: bool,
}

const POINT_COLUMNS: &str = "id, representative, loss, n_rows, n_columns, weights, analysis";

impl Store {
    /// The problem this file belongs to, as it was first written.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Whether the file can only be read (see [`Store::open_existing`]).
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// Numbers of the finished cells, ascending.
    pub fn finished(&self) -> Result<Vec<u64>> {
        self.read("SELECT id FROM cells ORDER BY id", |row| unsigned(row, 0))
    }

    /// All finished cells by ascending number.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        self.read("SELECT id, point, payload FROM cells ORDER BY id", |row| {
            Ok(Cell { id: unsigned(row, 0)?, point: row.get::<_, Option<i64>>(1)?.map(PointId), payload: row.get(2)? })
        })
    }

    /// All critical points by ascending representative.
    pub fn points(&self) -> Result<Vec<StoredPoint>> {
        self.read(&format!("SELECT {POINT_COLUMNS} FROM points ORDER BY representative"), stored)
    }

    /// [`cells`](Store::cells) and [`points`](Store::points) of one moment: each cell's point is in the second list,
    /// even while another process is writing.
    pub fn contents(&self) -> Result<(Vec<Cell>, Vec<StoredPoint>)> {
        // Ends (by rollback, nothing was written) when it goes out of scope.
        let _snapshot = self.connection.unchecked_transaction().map_err(failed("read", &self.path))?;
        Ok((self.cells()?, self.points()?))
    }

    /// Records one finished cell in a transaction of its own; see [`record_all`](Store::record_all).
    pub fn record(&mut self, cell: &NewCell, same: &Same) -> Result<()> {
        self.record_all(std::slice::from_ref(cell), same)
    }

    /// Records several finished cells in one transaction: all of them, or none on an error.
    ///
    /// A cell whose number is in the file already is left as it is, so recording is idempotent. A cell with a point
    /// joins the class of the stored point nearest in loss for which `same` holds, and becomes its representative when
    /// its number is lower; without such a point it starts a new class. `same` runs while other writers wait.
    pub fn record_all(&mut self, cells: &[NewCell], same: &Same) -> Result<()> {
        for cell in cells {
            check(cell)?;
        }
        if cells.is_empty() {
            return Ok(());
        }
        let to_error = failed("write to", &self.path);
        // IMMEDIATE: two writers that find the same new class must not both see it missing.
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&to_error)?;
        for cell in cells {
            insert(&transaction, cell, same).map_err(&to_error)?;
        }
        transaction.commit().map_err(&to_error)
    }

    /// Keeps the analysis of a point. Returns whether it was kept: not when the point has got another representative
    /// since it was read, and not when the file can only be read.
    pub fn set_analysis(&mut self, point: PointId, representative: u64, json: &str) -> Result<bool> {
        let (false, Ok(representative)) = (self.read_only, i64::try_from(representative)) else {
            return Ok(false);
        };
        let changed = self.connection.execute(
            "UPDATE points SET analysis = ?3 WHERE id = ?1 AND representative = ?2",
            params![point.0, representative, json],
        );
        changed.map(|rows| rows == 1).map_err(failed("write to", &self.path))
    }

    fn read<T>(&self, sql: &str, row: impl FnMut(&Row) -> rusqlite::Result<T>) -> Result<Vec<T>> {
        let rows = || self.connection.prepare_cached(sql)?.query_map([], row)?.collect();
        let rows: rusqlite::Result<Vec<T>> = rows();
        rows.map_err(failed("read", &self.path))
    }

    /// Caps the file's size, to meet a full disk in tests.
    #[cfg(test)]
    fn limit_pages(&self, pages: u32) {
        let set = |row: &Row| row.get::<_, u32>(0);
        self.connection.pragma_update_and_check(None, "max_page_count", pages, set).unwrap();
    }
}

/// Refuses what must not enter a file, before a transaction begins.
fn check(cell: &NewCell) -> Result<()> {
    if i64::try_from(cell.id).is_err() {
        let needs = "less than 2^63".to_string();
        return Err(Error::Count { action: "record a cell", quantity: "its number", value: cell.id as usize, needs });
    }
    let Some(point) = &cell.point else {
        return Ok(());
    };
    let action = "record a critical point";
    let (rows, columns) = point.shape;
    if rows.checked_mul(columns) != Some(point.weights.len()) {
        let needs = format!("as many entries as weights were given ({})", point.weights.len());
        return Err(Error::Shape { action, what: "the weight matrix", rows, columns, needs });
    }
    if !point.loss.is_finite() {
        return Err(Error::NonFinite { action, quantity: "its loss" });
    }
    if !point.weights.iter().all(|weight| weight.is_finite()) {
        return Err(Error::NonFinite { action, quantity: "one of its weights" });
    }
    if !(point.window.is_finite() && point.window >= 0.0) {
        let (quantity, needs) = ("the loss window".to_string(), "a finite number, at least 0");
        return Err(Error::Real { action, quantity, value: point.window, needs });
    }
    Ok(())
}

/// Adds a cell inside a transaction, unless it is there.
fn insert(transaction: &Connection, cell: &NewCell, same: &Same) -> rusqlite::Result<()> {
    let id = cell.id as i64;
    if transaction.prepare_cached("SELECT 1 FROM cells WHERE id = ?1")?.exists([id])? {
        return Ok(());
    }
    let point = match &cell.point {
        None => None,
        Some(point) => Some(match class_of(transaction, point, same)? {
            Some((row, representative)) => {
                if id < representative {
                    let sql = "UPDATE points SET representative = ?2, loss = ?3, n_rows = ?4, n_columns = ?5, \
                               weights = ?6, analysis = NULL WHERE id = ?1";
                    put(transaction, sql, Some(row), id, point)?;
                }
                row
            }
            None => {
                let sql = "INSERT INTO points (id, representative, loss, n_rows, n_columns, weights) \
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
                put(transaction, sql, None, id, point)?;
                transaction.last_insert_rowid()
            }
        }),
    };
    let sql = "INSERT INTO cells (id, point, payload) VALUES (?1, ?2, ?3)";
    transaction.prepare_cached(sql)?.execute(params![id, point, cell.payload])?;
    Ok(())
}

fn put(transaction: &Connection, sql: &str, row: Option<i64>, id: i64, point: &NewPoint) -> rusqlite::Result<()> {
    let weights: Vec<u8> = point.weights.iter().flat_map(|weight| weight.to_le_bytes()).collect();
    let (rows, columns) = (point.shape.0 as i64, point.shape.1 as i64);
    // SQLite does not keep the sign of a zero; adding 0 removes it here, so that stores in memory agree.
    transaction.prepare_cached(sql)?.execute(params![row, id, point.loss + 0.0, rows, columns, weights])?;
    Ok(())
}

/// Row and representative of the stored point that is the same as this one.
fn class_of(transaction: &Connection, point: &NewPoint, same: &Same) -> rusqlite::Result<Option<(i64, i64)>> {
    // The index is asked for slightly more than the window, so that rounding in its two ends drops no point; the window
    // itself is applied to the difference, which is the same from both sides.
    let reach = point.window * (1.0 + 1e-9);
    let mut near: Vec<(f64, i64, i64)> = Vec::new();
    let mut query =
        transaction.prepare_cached("SELECT loss, representative, id FROM points WHERE loss BETWEEN ?1 AND ?2")?;
    let mut rows = query.query([point.loss - reach, point.loss + reach])?;
    while let Some(row) = rows.next()? {
        let distance = (row.get::<_, f64>(0)? - point.loss).abs();
        if distance <= point.window {
            near.push((distance, row.get(1)?, row.get(2)?));
        }
    }
    near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut load = transaction.prepare_cached(&format!("SELECT {POINT_COLUMNS} FROM points WHERE id = ?1"))?;
    for (_, representative, id) in near {
        if load.query_row([id], stored).optional()?.is_some_and(|stored| same(point, &stored)) {
            return Ok(Some((id, representative)));
        }
    }
    Ok(None)
}

/// A point from a row with the columns of `POINT_COLUMNS`.
fn stored(row: &Row) -> rusqlite::Result<StoredPoint> {
    let (n_rows, n_columns) = (unsigned(row, 3)? as usize, unsigned(row, 4)? as usize);
    let (words, rest) = row.get_ref(5)?.as_blob()?.as_chunks::<8>();
    if !rest.is_empty() || n_rows.checked_mul(n_columns) != Some(words.len()) {
        return Err(damaged(5, "weights do not have the shape beside them"));
    }
    Ok(StoredPoint {
        id: PointId(row.get(0)?),
        representative: unsigned(row, 1)?,
        loss: row.get(2)?,
        shape: (n_rows, n_columns),
        weights: words.iter().map(|&word| f64::from_le_bytes(word)).collect(),
        analysis: row.get(6)?,
    })
}

/// A number that is never negative in a sound file.
fn unsigned(row: &Row, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| damaged(column, "negative number"))
}
