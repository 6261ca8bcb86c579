//! Messages for what SQLite refuses: what is wrong with the file, and what to change.

use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::types::Type;

use super::Problem;
use crate::error::Error;

/// Seconds to wait for another writer.
pub(super) const PATIENCE: u64 = 60;

pub(super) const READ_ONLY: &str = "it can only be read; make the file and its directory writable, or copy it";

/// Turns SQLite's error into ours.
pub(super) fn failed(action: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> Error {
    let path = path.to_path_buf();
    move |error| Error::Store { action, path: path.clone(), problem: explained(&error) }
}

/// An error for a row whose content makes no sense.
pub(super) fn damaged(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, what.into())
}

fn explained(error: &rusqlite::Error) -> String {
    use ErrorCode::*;
    match error.sqlite_error_code() {
        Some(DiskFull) => {
            "the disk is full; what was recorded before is kept, free some space and run the same command again".into()
        }
        Some(NotADatabase) => "it is not a SQLite file; give another --db file".into(),
        Some(DatabaseCorrupt) => corrupt(&error.to_string()),
        Some(ReadOnly) => READ_ONLY.into(),
        Some(PermissionDenied | CannotOpen) => {
            "the file or its directory cannot be opened; make sure that the directory exists and is writable".into()
        }
        Some(DatabaseBusy | DatabaseLocked) => format!(
            "another program kept it locked for {PATIENCE} s; what was recorded before is kept, wait for that program \
             to end and run the same command again"
        ),
        Some(SystemIoFailure | FileLockingProtocolFailed | NoLargeFileSupport) => format!(
            "the file system failed ({error}); what was recorded before is kept, use a local disk with free space"
        ),
        None if !matches!(error, rusqlite::Error::SqliteFailure(..)) => corrupt(&error.to_string()),
        _ => format!("SQLite says: {error}; give another --db file, or report this"),
    }
}

/// What to say about a damaged file.
pub(super) fn corrupt(detail: &str) -> String {
    format!("the file is damaged ({detail}); it was left as it is, restore a copy or give another --db file")
}

/// The error for a file that holds another problem.
pub(super) fn other_problem(path: &Path, held: &Problem, asked: &Problem) -> Error {
    let (held, asked) = (told_apart(held, asked), told_apart(asked, held));
    Error::OtherProblem { path: path.to_path_buf(), held, asked }
}

/// A description of `problem` that differs from that of `other`.
fn told_apart(problem: &Problem, other: &Problem) -> String {
    if problem.study != other.study {
        return format!("the study \"{}\" with {}", problem.study, problem.summary);
    }
    if problem.summary != other.summary {
        return problem.summary.clone();
    }
    // Equal for people, but not the same: name the entries of the key that differ.
    type Object = serde_json::Map<String, serde_json::Value>;
    let (Ok(own), Ok(others)) =
        (serde_json::from_str::<Object>(&problem.key), serde_json::from_str::<Object>(&other.key))
    else {
        return format!("{} ({})", problem.summary, problem.key);
    };
    let mut text = problem.summary.clone();
    for (name, value) in own.iter().filter(|(name, value)| others.get(*name) != Some(value)) {
        text.push_str(&format!(", {name} = {value}"));
    }
    for name in others.keys().filter(|name| !own.contains_key(*name)) {
        text.push_str(&format!(", no {name}"));
    }
    if text == problem.summary {
        // Same entries, written differently.
        text.push_str(&format!(" ({})", problem.key));
    }
    text
}
