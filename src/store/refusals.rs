//! Files that must be refused, or can only be read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::tests::{cells, content, problem, same, scratch};
use super::{NewCell, Problem, Store};
use crate::error::{Error, Result};

/// The message of a refusal, with the directory taken out.
fn message(result: Result<Store>, path: &Path) -> String {
    result.unwrap_err().to_string().replace(&format!("{}", path.parent().unwrap().display()), "DIR")
}

/// Every file of a directory with its bytes.
fn listing(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// Both ways of opening refuse the file with this text after "cannot open the database DIR/cells.db: ", and leave the
/// directory as it was.
#[track_caller]
fn refused_by_both(path: &Path, text: &str) {
    let before = listing(path.parent().unwrap());
    let whole = format!("cannot open the database DIR/cells.db: {text}");
    assert_eq!(message(Store::open(path, &problem()), path), whole);
    assert_eq!(message(Store::open_existing(path), path), whole);
    assert!(listing(path.parent().unwrap()) == before, "a refused file was changed");
}

fn sound(path: &Path, count: u64) {
    Store::open(path, &problem()).unwrap().record_all(&cells(count), &same).unwrap();
}

#[test]
fn other_files_are_refused() {
    for text in ["run,loss\n", &"run,loss\n".repeat(10_000)] {
        let (_directory, path) = scratch();
        fs::write(&path, text).unwrap();
        refused_by_both(&path, "it is not a SQLite file; give another --db file");
    }
}

#[test]
fn databases_of_other_programs_are_refused() {
    let foreign = "it belongs to another program; give another --db file";
    for (sql, text) in [
        ("CREATE TABLE cells (id INTEGER); PRAGMA application_id = 7;", foreign),
        ("CREATE TABLE cells (id INTEGER);", foreign),
        ("PRAGMA application_id = 7;", foreign),
        ("PRAGMA user_version = 1;", foreign),
        ("CREATE TABLE cells (id INTEGER); PRAGMA journal_mode = WAL;", foreign),
    ] {
        let (_directory, path) = scratch();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        refused_by_both(&path, text);
    }
}

#[test]
fn a_foreign_log_is_left_alone() {
    let (directory, path) = scratch();
    let other = directory.path().join("other.db");
    let foreign = Connection::open(&other).unwrap();
    foreign.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1);").unwrap();
    // As if that program had been killed: its database and its log, without anybody holding them.
    fs::copy(&other, &path).unwrap();
    fs::copy(directory.path().join("other.db-wal"), directory.path().join("cells.db-wal")).unwrap();
    refused_by_both(&path, "it belongs to another program; give another --db file");
}

#[test]
fn other_formats_are_refused() {
    for (version, advice) in [
        (99, "use a newer version of this program, or give another --db file"),
        (0, "use the version that wrote it, or give another --db file"),
    ] {
        let (_directory, path) = scratch();
        sound(&path, 20);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        let before = listing(path.parent().unwrap());
        for result in [Store::open(&path, &problem()), Store::open_existing(&path)] {
            assert!(matches!(result, Err(Error::StoreVersion { found, known: 1, .. }) if found == version));
            let text = format!("its format is version {version}, this program knows version 1; {advice}");
            assert_eq!(message(result, &path), format!("cannot open DIR/cells.db: {text}"));
        }
        assert!(listing(path.parent().unwrap()) == before);
    }
}

#[test]
fn damaged_files_are_refused_and_kept() {
    let (_directory, path) = scratch();
    sound(&path, 2000);
    let bytes = fs::read(&path).unwrap();
    let mut refused = 0;
    // Cut at several places, and a hole in each page in turn.
    let cuts = [100, 600, 4096, bytes.len() / 2, bytes.len() - 1].map(|length| bytes[..length].to_vec());
    let holes = (0..bytes.len() / 4096).map(|page| {
        let mut copy = bytes.clone();
        copy[page * 4096 + if page == 0 { 100 } else { 0 }..(page + 1) * 4096].fill(0xa5);
        copy
    });
    for (case, damaged) in cuts.into_iter().chain(holes).enumerate() {
        let (_directory, path) = scratch();
        fs::write(&path, &damaged).unwrap();
        for result in [Store::open(&path, &problem()), Store::open_existing(&path)] {
            assert!(result.is_err(), "case {case} was not noticed");
            let text = message(result, &path);
            assert!(text.starts_with("cannot open the database DIR/cells.db: the file is damaged ("), "{text}");
            assert!(text.ends_with("it was left as it is, restore a copy or give another --db file"), "{text}");
            refused += 1;
        }
        assert!(fs::read(&path).unwrap() == damaged, "a damaged file was changed");
    }
    assert!(refused > 40);
}

#[test]
fn a_damaged_file_keeps_its_log() {
    let (directory, path) = scratch();
    let original = directory.path().join("original.db");
    let mut store = Store::open(&original, &problem()).unwrap();
    store.record_all(&cells(20), &same).unwrap();
    fs::copy(directory.path().join("original.db-wal"), directory.path().join("cells.db-wal")).unwrap();
    let mut bytes = fs::read(&original).unwrap();
    // The page of the table 'problem', which is not in the log.
    bytes[4096..8192].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let log = fs::read(directory.path().join("cells.db-wal")).unwrap();
    for result in [Store::open(&path, &problem()), Store::open_existing(&path)] {
        assert!(message(result, &path).contains("the file is damaged"));
        assert!(fs::read(&path).unwrap() == bytes);
        assert!(fs::read(directory.path().join("cells.db-wal")).unwrap() == log);
    }
}

#[test]
fn another_problem_is_refused() {
    let (_directory, path) = scratch();
    sound(&path, 20);
    let before = listing(path.parent().unwrap());
    let ask = |study: &str, key: &str, summary: &str| {
        message(Store::open(&path, &Problem { study: study.into(), key: key.into(), summary: summary.into() }), &path)
    };
    assert_eq!(
        ask("landscape", r#"{"K":8,"M":3}"#, "K = 8, M = 3"),
        "cannot continue DIR/cells.db: it holds K = 4, M = 3, this run asks for K = 8, M = 3; give another --db file"
    );
    assert_eq!(
        ask("phase", r#"{"K":4,"M":3}"#, "K = 4, M = 3"),
        "cannot continue DIR/cells.db: it holds the study \"landscape\" with K = 4, M = 3, \
         this run asks for the study \"phase\" with K = 4, M = 3; give another --db file"
    );
    assert_eq!(
        ask("landscape", r#"{"K":4,"L":1,"M":5}"#, "K = 4, M = 3"),
        "cannot continue DIR/cells.db: it holds K = 4, M = 3, M = 3, no L, \
         this run asks for K = 4, M = 3, L = 1, M = 5; give another --db file"
    );
    assert_eq!(
        ask("landscape", r#"{"M":3,"K":4}"#, "K = 4, M = 3"),
        "cannot continue DIR/cells.db: it holds K = 4, M = 3 ({\"K\":4,\"M\":3}), \
         this run asks for K = 4, M = 3 ({\"M\":3,\"K\":4}); give another --db file"
    );
    assert!(listing(path.parent().unwrap()) == before);
}

#[test]
fn places_without_a_file_are_refused() {
    let (directory, path) = scratch();
    let open = |path: &Path| message(Store::open(path, &problem()), &directory.path().join("x"));
    let missing = "there is no such file; check the name, or run the study with this --db first";
    let cannot = "cannot open the database";
    assert_eq!(message(Store::open_existing(&path), &path), format!("{cannot} DIR/cells.db: {missing}"));
    assert_eq!(
        open(&directory.path().join("no/cells.db")),
        format!("{cannot} DIR/no/cells.db: there is no directory DIR/no; create it first")
    );
    let text = open(directory.path());
    assert_eq!(text, format!("{cannot} DIR: it is not a regular file; give another --db file"));
    sound(&path, 1);
    assert_eq!(
        open(&path.join("below.db")),
        format!(
            "{cannot} DIR/cells.db/below.db: a part of the path is a file, not a directory; give another --db file"
        )
    );
    assert!(open(Path::new("")).contains("give a file name"));
    let empty = directory.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    assert_eq!(
        message(Store::open_existing(&empty), &empty),
        format!("{cannot} DIR/empty.db: it is empty; check the name, or run the study with this --db first")
    );
    assert_eq!(listing(directory.path()).len(), 2, "a refusal left files");
    Store::open(&empty, &problem()).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn devices_and_directories_of_the_system_are_refused() {
    let open = |path: &str| Store::open(path, &problem()).unwrap_err().to_string();
    assert_eq!(
        open("/dev/full"),
        "cannot open the database /dev/full: it is not a regular file; give another --db file"
    );
    assert_eq!(
        open("/proc/cells.db"),
        "cannot open the database /proc/cells.db: the file or its directory cannot be opened; make sure that the \
         directory exists and is writable"
    );
}

#[cfg(unix)]
#[test]
fn names_that_sqlite_would_interpret_are_files() {
    let directory = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:a?mode=memory", "a b#c%20?d&e=f.db", "größe.db"] {
        let path = directory.path().join(name);
        sound(&path, 10);
        assert!(path.is_file(), "{name}");
        let file = super::open::connected_immutable(&path).unwrap();
        assert_eq!(file.query_row("SELECT count(*) FROM cells", [], |row| row.get::<_, u32>(0)).unwrap(), 10);
    }
}

/// Whether permissions bind this user; they do not bind root.
#[cfg(unix)]
fn permissions_bind(directory: &Path) -> bool {
    !std::process::Command::new("touch")
        .arg(directory.join("probe"))
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_is_read() {
    let (directory, path) = scratch();
    sound(&path, 50);
    let written = content(&Store::open_existing(&path).unwrap());
    for (file_mode, directory_mode) in [(0o444, 0o555), (0o644, 0o555), (0o444, 0o755)] {
        set_mode(&path, file_mode);
        set_mode(directory.path(), directory_mode);
        if directory_mode == 0o555 && !permissions_bind(directory.path()) {
            set_mode(directory.path(), 0o755);
            return;
        }
        let names: Vec<String> = listing(directory.path()).into_keys().collect();
        let text = message(Store::open(&path, &problem()), &path);
        let mut store = Store::open_existing(&path).unwrap();
        assert!(store.read_only());
        assert_eq!(content(&store), written);
        let point = store.points().unwrap().remove(0);
        assert!(!store.set_analysis(point.id, point.representative, "{}").unwrap());
        let cell = NewCell { id: 1000, point: None, payload: "{}".into() };
        let record = store.record(&cell, &same).unwrap_err().to_string();
        drop(store);
        let after: Vec<String> = listing(directory.path()).into_keys().collect();
        set_mode(directory.path(), 0o755);
        assert_eq!(after, names, "reading left files");
        let advice = "it can only be read; make the file and its directory writable, or copy it";
        assert_eq!(text, format!("cannot open the database DIR/cells.db: {advice}"));
        assert!(record.ends_with(advice), "{record}");
    }
}

#[cfg(unix)]
#[test]
fn a_log_that_cannot_be_read_is_not_ignored() {
    let (directory, path) = scratch();
    let mut store = Store::open(&path, &problem()).unwrap();
    store.record_all(&cells(50), &same).unwrap();
    // A copy of the database and its log, as a killed process leaves them, in a directory that cannot be written.
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    fs::copy(&path, copy.join("cells.db")).unwrap();
    fs::copy(directory.path().join("cells.db-wal"), copy.join("cells.db-wal")).unwrap();
    set_mode(&copy, 0o555);
    let bound = permissions_bind(&copy);
    let result = Store::open_existing(copy.join("cells.db"));
    set_mode(&copy, 0o755);
    if bound {
        let text = message(result, &copy.join("cells.db"));
        assert!(text.contains("the log DIR/cells.db-wal beside it cannot be opened here"), "{text}");
    } else {
        assert_eq!(content(&result.unwrap()), content(&store));
    }
}

#[cfg(unix)]
#[test]
fn a_link_leads_to_the_same_file() {
    let (directory, path) = scratch();
    sound(&path, 10);
    let link = directory.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut through = Store::open(&link, &problem()).unwrap();
    through.record_all(&cells(20), &same).unwrap();
    assert_eq!(Store::open_existing(&path).unwrap().finished().unwrap().len(), 20);
    assert!(!directory.path().join("link.db-wal").exists());
}
