//! A search that is killed again and again, or shared by two processes, exports the same bytes.

use crate::lines::Lines;
use rand::Rng;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn committee(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_committee"));
    command.current_dir(directory).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

const SEARCH: [&str; 12] = [
    "landscape",
    "--students",
    "17",
    "--teachers",
    "17",
    "--dimension",
    "17",
    "--runs",
    "1500",
    "--quiet",
    "--out",
    "out",
];

fn search(directory: &Path, db: &str) -> Command {
    let mut command = committee(directory, &SEARCH);
    command.args(["--force", "--db", db]);
    command
}

fn export(directory: &Path, db: &str) -> Vec<(String, Vec<u8>)> {
    let out = format!("{db}-export");
    let status = committee(directory, &["export", "--db", db, "--out", &out, "--quiet"]).status().unwrap();
    assert!(status.success());
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(directory.join(&out))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("spec.toml") && !path.ends_with("report.json"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .filter(|(name, _)| name.ends_with(".csv") || name.ends_with(".npz"))
        .collect();
    files.sort();
    files
}

/// Kills at 20 random moments, then finishes; and two processes at once. About half a minute.
#[test]
#[ignore = "evidence"]
fn quick_interruption() {
    let mut lines = Lines::new("quick_interruption");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert!(search(path, "whole.db").status().unwrap().success());
    let whole = export(path, "whole.db");
    let mut rng = committee::numerics::random::stream(11, &[]);
    let mut kills = 0;
    while kills < 20 {
        let mut child = search(path, "killed.db").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(rng.random_range(20..200)));
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(search(path, "killed.db").status().unwrap().success());
    let killed = export(path, "killed.db");
    lines.line("export after 20 x kill -9 equals the uninterrupted one", killed == whole, "true", killed == whole);
    let mut pair: Vec<_> = (0..2)
        .map(|i| {
            let mut command = committee(path, &SEARCH[..10]);
            command.args(["--db", "shared.db", "--out", &format!("out{i}")]).spawn().unwrap()
        })
        .collect();
    let both = pair.iter_mut().all(|child| child.wait().unwrap().success());
    let shared = export(path, "shared.db");
    lines.line("two processes at once succeed", both, "true", both);
    lines.line("their export equals the uninterrupted one", shared == whole, "true", shared == whole);
    lines.note(&format!(
        "compared files: {}",
        whole.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    ));
    lines.close();
}
