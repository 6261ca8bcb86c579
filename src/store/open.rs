//! Creating, continuing and reading files.
//!
//! A file that is not ours, or damaged, is refused before SQLite could write to it. It is looked at only through
//! SQLite: closing a handle of one's own on a file drops the locks that this process holds on it through SQLite.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::failure::{PATIENCE, READ_ONLY, corrupt, failed, other_problem};
use super::{APPLICATION_ID, FORMAT, Problem, Store};
use crate::error::{Error, Result};

const TABLES: &str = "
CREATE TABLE problem (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    study TEXT NOT NULL,
    key TEXT NOT NULL,
    summary TEXT NOT NULL
) STRICT;
-- One row per class of equal critical points; loss and weights are those of the cell 'representative'.
CREATE TABLE points (
    id INTEGER PRIMARY KEY,
    representative INTEGER NOT NULL UNIQUE,
    loss REAL NOT NULL,
    n_rows INTEGER NOT NULL,
    n_columns INTEGER NOT NULL,
    weights BLOB NOT NULL, -- row-major, little-endian doubles
    analysis TEXT -- JSON, computed from the weights
) STRICT;
CREATE INDEX points_by_loss ON points (loss, representative);
CREATE TABLE cells (
    id INTEGER PRIMARY KEY,
    point INTEGER REFERENCES points,
    payload TEXT NOT NULL -- JSON
) STRICT;
";

impl Store {
    /// Creates a file for a problem, or continues the one that is there.
    ///
    /// Refused without touching the file: another problem ([`Error::OtherProblem`]), another format
    /// ([`Error::StoreVersion`]), and a file that is not ours, damaged, or not writable ([`Error::Store`]).
    pub fn open(path: impl AsRef<Path>, problem: &Problem) -> Result<Store> {
        let path = path.as_ref();
        let (file, length) = located(path)?;
        let to_error = failed("open", path);
        if let Some(length @ 1..) = length {
            refuse_foreign(path, &file, length)?;
        }
        let mut connection =
            connected(&file, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE).map_err(&to_error)?;
        if connection.is_readonly(MAIN_DB).map_err(&to_error)? {
            return Err(refused(path, READ_ONLY));
        }
        if Identity::of(&connection).map_err(&to_error)?.is_empty() {
            create(&mut connection, problem).map_err(failed("create", path))?;
        }
        let held = examined(path, &connection)?;
        if held.study != problem.study || held.key != problem.key {
            return Err(other_problem(path, &held, problem));
        }
        use_wal(&connection).and_then(|()| accepted(&connection)).map_err(&to_error)?;
        Ok(Store { connection, path: path.to_path_buf(), problem: held, read_only: false })
    }

    /// Opens a file that exists, whatever its problem, to read it. A file that cannot be written to, or that lies in a
    /// directory that cannot, is read as it is; [`Store::read_only`] tells.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Store> {
        let path = path.as_ref();
        let (file, length) = located(path)?;
        match length {
            Some(0) => return Err(refused(path, EMPTY)),
            Some(length) => refuse_foreign(path, &file, length)?,
            None => {
                let problem = "there is no such file; check the name, or run the study with this --db first";
                return Err(refused(path, problem));
            }
        }
        let (connection, read_only) = reader(path, &file)?;
        let problem = examined(path, &connection)?;
        if !read_only {
            set_synchronous(&connection).and_then(|()| accepted(&connection)).map_err(failed("open", path))?;
        }
        Ok(Store { connection, path: path.to_path_buf(), problem, read_only })
    }

    /// A store without a file, for a study that keeps nothing.
    pub fn in_memory(problem: &Problem) -> Result<Store> {
        let path = PathBuf::from("(in memory)");
        let connection = Connection::open_in_memory().and_then(|mut connection| {
            create(&mut connection, problem)?;
            Ok(connection)
        });
        let connection = connection.map_err(failed("create", &path))?;
        Ok(Store { connection, path, problem: problem.clone(), read_only: false })
    }
}

const FOREIGN: &str = "it belongs to another program; give another --db file";
const EMPTY: &str = "it is empty; check the name, or run the study with this --db first";

fn refused(path: &Path, problem: impl Into<String>) -> Error {
    Error::Store { action: "open", path: path.to_path_buf(), problem: problem.into() }
}

/// Absolute form of a path, and the length of the file that is there. Absolute, because SQLite gives names such as
/// `:memory:` and `file:x` another meaning.
fn located(path: &Path) -> Result<(PathBuf, Option<u64>)> {
    let file = std::path::absolute(path).map_err(|error| refused(path, format!("{error}; give a file name")))?;
    match std::fs::metadata(&file) {
        Ok(metadata) if metadata.is_file() => Ok((file, Some(metadata.len()))),
        Ok(_) => Err(refused(path, "it is not a regular file; give another --db file")),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let directory = file.parent().unwrap_or(&file);
            if !directory.is_dir() {
                let problem = format!("there is no directory {}; create it first", directory.display());
                return Err(refused(path, problem));
            }
            Ok((file, None))
        }
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            Err(refused(path, "a part of the path is a file, not a directory; give another --db file"))
        }
        Err(error) => Err(refused(path, format!("{error}; check the path and its permissions"))),
    }
}

fn connected(file: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(PATIENCE))?;
    // A log that was left behind goes into the file when the connection is closed, but not if the file is refused.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !is_complete(file))?;
    Ok(connection)
}

/// Ends the caution of [`connected`].
fn accepted(connection: &Connection) -> rusqlite::Result<bool> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
}

/// A connection that takes no locks, creates no files and ignores any log beside the file.
pub(super) fn connected_immutable(file: &Path) -> rusqlite::Result<Connection> {
    let mut uri = String::from("file:");
    if cfg!(windows) {
        uri.push('/');
    }
    for &byte in file.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(byte as char),
            b'\\' | b':' if cfg!(windows) => uri.push(if byte == b'\\' { '/' } else { ':' }),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}

/// What a file's header says, and whether it has tables.
struct Identity {
    application: i64,
    version: i64,
    tables: i64,
}

impl Identity {
    fn of(connection: &Connection) -> rusqlite::Result<Identity> {
        // One snapshot, so that a file that is being created is seen before or after, not in between.
        let snapshot = connection.unchecked_transaction()?;
        Ok(Identity {
            application: snapshot.pragma_query_value(None, "application_id", |row| row.get(0))?,
            version: snapshot.pragma_query_value(None, "user_version", |row| row.get(0))?,
            tables: snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
        })
    }

    /// A file of zero bytes, or a database without any content.
    fn is_empty(&self) -> bool {
        (self.application, self.version, self.tables) == (0, 0, 0)
    }

    /// Refuses what is neither empty nor ours.
    fn check(&self, path: &Path) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        if self.application != APPLICATION_ID {
            return Err(refused(path, FOREIGN));
        }
        if self.version != FORMAT {
            let advice = if self.version > FORMAT {
                "use a newer version of this program, or give another --db file"
            } else {
                "use the version that wrote it, or give another --db file"
            };
            return Err(Error::StoreVersion { path: path.to_path_buf(), found: self.version, known: FORMAT, advice });
        }
        Ok(())
    }
}

/// Refuses files of other programs from their header alone, and files cut off within a page. An ordinary connection
/// could already change them: it plays back a log that was left behind. Ours has its mark in the header from its first
/// transaction on.
fn refuse_foreign(path: &Path, file: &Path, length: u64) -> Result<()> {
    let complete = is_complete(file);
    let look = |connection: Connection| {
        let page: u64 = connection.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?.into();
        Ok((Identity::of(&connection)?, page))
    };
    match connected_immutable(file).and_then(look) {
        Ok((identity, _)) if identity.is_empty() && !complete => Err(refused(path, FOREIGN)),
        Ok((identity, page)) => {
            identity.check(path)?;
            if complete && !length.is_multiple_of(page) {
                return Err(refused(path, corrupt("its end is missing")));
            }
            Ok(())
        }
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => Err(failed("open", path)(error)),
        // A writer at work can make the file look damaged to a reader without locks: the examination decides.
        Err(_) => Ok(()),
    }
}

/// Writes tables and problem into an empty file. Not in WAL mode yet, so that the header has our mark at once.
fn create(connection: &mut Connection, problem: &Problem) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))? > 0 {
        return Ok(());
    }
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO problem (only_row, study, key, summary) VALUES (1, ?1, ?2, ?3)",
        params![problem.study, problem.key, problem.summary],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Checks identity and soundness, and returns the problem.
fn examined(path: &Path, connection: &Connection) -> Result<Problem> {
    let to_error = failed("open", path);
    let identity = Identity::of(connection).map_err(&to_error)?;
    identity.check(path)?;
    if identity.is_empty() {
        return Err(refused(path, EMPTY));
    }
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(&to_error)?;
    if verdict != "ok" {
        return Err(refused(path, corrupt(&verdict.replace('\n', ", "))));
    }
    let problem = connection
        .query_row("SELECT study, key, summary FROM problem", [], |row| {
            Ok(Problem { study: row.get(0)?, key: row.get(1)?, summary: row.get(2)? })
        })
        .optional();
    problem.map_err(&to_error)?.ok_or_else(|| refused(path, corrupt("it names no problem")))
}

/// Switches to a write-ahead log: readers and a writer do not wait for each other, and a commit is one short write.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(PATIENCE);
    // The switch needs the file alone, and SQLite does not always wait for that.
    while let Err(error) =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
    {
        if error.sqlite_error_code() != Some(ErrorCode::DatabaseBusy) || Instant::now() > deadline {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    set_synchronous(connection)
}

/// With a write-ahead log, NORMAL keeps every commit through the death of the process, and the file sound through a
/// power cut. Without one (some file systems have none) only FULL does.
fn set_synchronous(connection: &Connection) -> rusqlite::Result<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", if mode == "wal" { "NORMAL" } else { "FULL" })
}

/// A connection for reading, and whether it can only read.
fn reader(path: &Path, file: &Path) -> Result<(Connection, bool)> {
    // SQLite cannot open a WAL file where it cannot create the log. Without a log beside it the file can be read as it
    // is; with one, that would miss what is in the log.
    let complete = is_complete(file);
    let ordinary = connected(file, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|connection| {
        let read_only = connection.is_readonly(MAIN_DB)?;
        if !(read_only && complete) {
            Identity::of(&connection)?;
        }
        Ok((connection, read_only))
    });
    match ordinary {
        Ok((connection, false)) => Ok((connection, false)),
        Ok((connection, true)) if !complete => Ok((connection, true)),
        Err(error) if !unwritable(&error) => Err(failed("open", path)(error)),
        _ if complete => Ok((connected_immutable(file).map_err(failed("open", path))?, true)),
        _ => {
            let log = beside(path, "-wal");
            let problem = format!(
                "the log {} beside it cannot be opened here; copy both files to a directory that is writable",
                log.display()
            );
            Err(refused(path, problem))
        }
    }
}

fn unwritable(error: &rusqlite::Error) -> bool {
    use ErrorCode::*;
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly | PermissionDenied | SystemIoFailure))
}

/// Whether the file holds everything: there is no log beside it, and so nobody is writing either.
fn is_complete(file: &Path) -> bool {
    !beside(file, "-wal").exists() && !beside(file, "-journal").exists()
}

/// The file that SQLite keeps beside a database. It follows symbolic links to find the place.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(std::fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf()));
    name.push(suffix);
    PathBuf::from(name)
}
