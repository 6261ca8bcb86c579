//! The program as people use it: output, files, refusals, exit codes.

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_committee"))
        .current_dir(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Exit code and the words that the message must contain.
fn refused(directory: &Path, arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(directory, arguments);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: '{word}' is missing in: {message}");
    }
    assert!(output.stdout.is_empty(), "{arguments:?} printed {}", text(&output.stdout));
}

const SMALL: [&str; 8] = ["landscape", "--students", "6", "--teachers", "6", "--runs", "30", "--quiet"];

fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    SMALL.iter().chain(more).copied().collect()
}

#[test]
fn landscape_prints_a_table_and_json_and_writes_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let table = run(path, &small(&[]));
    assert!(table.status.success(), "{}", text(&table.stderr));
    assert!(text(&table.stdout).contains("global minimum"));
    assert!(table.stderr.is_empty(), "--quiet: {}", text(&table.stderr));
    let folder = std::fs::read_dir(path.join("committee-out")).unwrap().next().unwrap().unwrap().path();
    for file in [
        "report.json",
        "minima.csv",
        "runs.csv",
        "spectrum.csv",
        "arrays.npz",
        "spec.toml",
        "losses.svg",
        "losses.png",
        "overlaps.png",
        "spectrum.png",
    ] {
        assert!(folder.join(file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
    }
    let json = run(path, &small(&["--json"]));
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("one JSON document");
    for key in [
        "schema",
        "version",
        "verb",
        "spec",
        "students",
        "teachers",
        "dimension",
        "init_scale",
        "runs",
        "seed",
        "unresolved",
    ] {
        assert!(!report[key].is_null(), "{key}");
    }
    let minimum = &report["minima"][0];
    for key in [
        "loss",
        "verdict",
        "family",
        "anti_aligned",
        "block_sizes",
        "hits",
        "share",
        "share_low",
        "share_high",
        "min_eigenvalue",
        "min_transverse_eigenvalue",
        "residual",
    ] {
        assert!(!minimum[key].is_null(), "{key}");
    }
    assert_eq!((report["dimension"].as_u64(), report["unresolved"].as_u64()), (Some(12), Some(0)));
    // The spec beside the files gives the same bytes again, in one thread too.
    let spec = folder.join("spec.toml");
    let again = run(path, &["landscape", "--spec", spec.to_str().unwrap(), "--json", "--quiet", "--threads", "1"]);
    assert_eq!(again.stdout, json.stdout);
}

#[test]
fn a_database_is_continued_exported_and_analysed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    assert!(run(path, &small(&["--db", "a.db", "--out", "one"])).status.success());
    assert!(
        run(path, &["landscape", "-k", "6", "-m", "6", "--runs", "10", "--db", "b.db", "--quiet"]).status.success()
    );
    assert!(run(path, &small(&["--db", "b.db"])).status.success());
    for db in ["a", "b"] {
        assert!(run(path, &["export", "--db", &format!("{db}.db"), "--out", db, "--quiet"]).status.success());
    }
    for file in ["minima.csv", "runs.csv", "spectrum.csv", "arrays.npz", "losses.svg"] {
        let [a, b] = ["a", "b"].map(|db| std::fs::read(path.join(db).join(file)).unwrap());
        assert!(a == b, "{file} differs");
    }
    let stability = run(path, &["stability", "--db", "a.db", "--point", "1", "--quiet", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&stability.stdout).expect("one JSON document");
    assert_eq!(report["states"][0]["verdict"], "global minimum");
    refused(path, &["stability", "--db", "a.db", "--point", "99"], 2, &["is 99", "1 to"]);
    refused(path, &["landscape", "--db", "a.db"], 2, &["K = 6", "K = 8", "--db"]);
    std::fs::write(path.join("text.db"), "not a database, but long enough to be read as one").unwrap();
    refused(path, &["export", "--db", "text.db"], 2, &["text.db"]);
    refused(path, &["export", "--db", "none.db"], 2, &["none.db"]);
}

/// A trained network in a rotated, scaled, transposed file: recognised as the flipped minimum.
#[test]
fn stability_reads_a_weight_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let teacher = committee::model::Teacher::orthonormal(8).unwrap();
    let guess = committee::landscape::ansatz::Guess::flipped(8);
    let weights = committee::landscape::ansatz::solve(&guess, 1, &teacher).unwrap();
    let d: usize = 30;
    let file = |columns: bool, noise: f64| {
        let entry = |i: usize, c: usize| {
            let w = if c < 8 { weights.rows()[[i, c]] } else { 0.0 };
            (w + noise * ((7 * i + 13 * c) as f64).sin()) * (d as f64).sqrt()
        };
        let (rows, cols) = if columns { (d, 8) } else { (8, d) };
        (0..rows)
            .map(|r| {
                (0..cols)
                    .map(|c| (if columns { entry(c, r) } else { entry(r, c) }).to_string())
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    std::fs::write(path.join("rows.csv"), file(false, 1e-3)).unwrap();
    std::fs::write(path.join("columns.csv"), file(true, 1e-3)).unwrap();
    for arguments in [vec!["--weights", "rows.csv"], vec!["--weights", "columns.csv", "--transpose"]] {
        let mut all = vec!["stability", "--json"];
        all.extend(&arguments);
        let output = run(path, &all);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        let near = &report["states"][1];
        assert_eq!(
            (near["family"].as_str(), near["verdict"].as_str()),
            (Some("k1 = 1"), Some("local minimum")),
            "{report}"
        );
        let distance = report["distance"].as_f64().unwrap();
        assert!((1e-3..0.05).contains(&distance), "{distance}");
        assert!(text(&output.stderr).contains("sqrt-d"), "{}", text(&output.stderr));
    }
    std::fs::write(path.join("ragged.csv"), "1,2\n3\n").unwrap();
    refused(path, &["stability", "--weights", "ragged.csv"], 2, &["ragged.csv", "line 2"]);
    std::fs::write(path.join("nan.csv"), "1,2\n3,nan\n").unwrap();
    refused(path, &["stability", "--weights", "nan.csv"], 2, &["nan.csv", "finite"]);
    refused(path, &["stability"], 2, &["--weights", "--db"]);
}

/// Named families, a search whose table does not depend on threads, and real sizes.
#[test]
fn families_list_points_with_their_spectra() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let document = |arguments: &[&str]| -> serde_json::Value {
        let output = run(path, &[&["families", "--json", "--quiet", "--out", "out", "--force"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    };
    let report = document(&["--teachers", "8"]);
    let names = |report: &serde_json::Value| -> Vec<String> {
        let rows = report["families"].as_array().expect("rows");
        rows.iter().map(|row| row["branch"].as_str().unwrap_or_default().to_string()).collect()
    };
    for name in ["global", "k1 = 1", "block 6", "type I", "type A"] {
        assert!(names(&report).contains(&name.to_string()), "{name}: {:?}", names(&report));
    }
    assert!(report["families"].as_array().unwrap().iter().all(|row| row["full"] == "agrees"), "{report}");
    // Six entries for two groups, K s = 64 eigenvalues inside the span.
    let of = |table: &str| -> Vec<&serde_json::Value> {
        report[table].as_array().unwrap().iter().filter(|row| row["branch"] == "k1 = 2").collect()
    };
    assert_eq!(of("entries").len(), 6);
    let inside = of("spectrum").into_iter().filter(|row| row["place"] == "inside");
    assert_eq!(inside.map(|row| row["multiplicity"].as_f64().unwrap()).sum::<f64>(), 64.0);
    let search = ["--teachers", "8", "--flipped", "1", "--starts", "400"];
    let found = document(&search);
    assert!(names(&found).contains(&"root 1".to_string()) && found["searches"][0]["starts"] == 400, "{found}");
    assert_eq!(document(&[&search[..], &["--threads", "1"]].concat()), found);
    let real = document(&["--teachers", "1e6", "--flipped", "1.5"]);
    assert_eq!(real["families"][0]["full_missing"], "the sizes are not whole");
    let split = document(&["--groups", "1,4:1,2,1"]);
    assert_eq!(split["spec"]["groups"], "1,4:1,2,1");
}

#[test]
fn flow_replays_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let output = run(path, &["flow", "-k", "4", "-m", "4", "--run", "3", "--time", "400", "--json", "--quiet"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let teacher = committee::model::Teacher::orthonormal(4).unwrap();
    let law = committee::model::InitialLaw::new(8, 1.0, &teacher).unwrap();
    let run3 = committee::landscape::Problem {
        students: 4,
        teacher,
        law,
        seed: 1,
        rule: committee::model::Training::GradientFlow,
    }
    .run(3);
    let last = report["final_loss"].as_f64().unwrap();
    assert!((last - run3.loss).abs() < 1e-6, "{last} against {}", run3.loss);
}

/// SGD by its equations, with runs beside them; a divergence is an answer; `validate` judges and writes.
#[test]
fn sgd_and_validate_report() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let document = |arguments: &[&str]| -> serde_json::Value {
        let output = run(path, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    };
    let common = ["--time", "4", "--points", "4", "--learning-rate", "0.5", "--json", "--quiet", "--out"];
    let sgd = document(&[&["sgd", "--runs", "10"], &common[..], &["sgd"]].concat());
    // The limit of large d behind `flow`, from the same start.
    let flow = document(&[&["flow", "-k", "2", "-m", "2", "-d", "1000"], &common[..], &["flow"]].concat());
    let losses = [&sgd, &flow].map(|report| report["final_loss"].as_f64().unwrap());
    assert!((losses[0] - losses[1]).abs() < 1e-8, "{losses:?}");
    assert!(sgd["diverged"].is_null() && sgd["columns"]["trajectory"].to_string().contains("loss_mean"));
    for file in ["sgd/trajectory.csv", "sgd/arrays.npz", "sgd/trajectory.png", "flow/trajectory.csv"] {
        assert!(path.join(file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
    }
    let diverged = document(&["sgd", "--learning-rate", "5", "--json", "--quiet", "--out", "diverged"]);
    assert!(diverged["diverged"]["time"].as_f64().unwrap() > 0.0);
    let arguments =
        ["validate", "-d", "50,200", "--runs", "20", "--time", "2", "--json", "--quiet", "--out", "validate"];
    let report = document(&arguments);
    assert_eq!(report["verdict"], "agrees", "{}", report["line"]);
    assert!((report["exponent"].as_f64().unwrap() + 0.5).abs() < 0.2);
    for file in ["agreement.csv", "overlaps.csv", "witness.csv", "risks.csv", "arrays.npz", "validation.png"] {
        assert!(path.join("validate").join(file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
    }
    // The same bytes from the spec, in one thread.
    let again =
        run(path, &["validate", "--spec", "validate/spec.toml", "--json", "--quiet", "--threads", "1", "--out", "b"]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&again.stdout).unwrap(), report);
}

#[test]
fn steady_and_plateau_write_json_files_and_figures() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let arguments = ["--learning-rates", "0.1,9", "--json", "--quiet", "--out"];
    let output = run(path, &[&["steady"][..], &arguments, &["s"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    let threshold = report["local_threshold"].as_f64().unwrap();
    assert!((threshold - 1.267949192).abs() < 1e-8 && report["far_threshold"] == 1.0, "{threshold}");
    assert!(report["steady"][0]["loss"].as_f64().is_some() && report["steady"][1]["loss"].is_null(), "{report}");
    let arguments = ["--learning-rates", "0,0.1", "--dimensions", "1e4,1e8", "--starts", "2", "--json", "--quiet"];
    let output = run(path, &[&["plateau"][..], &arguments, &["--init-scales", "0.1", "--out", "p"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert!((report["slope_ratio"].as_f64().unwrap() - 1.0).abs() < 0.05, "{report}");
    for file in ["s/steady.png", "s/steady.csv", "p/plateau.svg", "p/lengths.csv", "p/slopes.csv", "p/spec.toml"] {
        assert!(path.join(file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
    }
}

#[test]
fn phase_reads_families_on_a_grid_and_follows_their_boundaries() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let arguments = ["phase", "--teachers", "6..9", "--flipped", "1..2", "--json", "--quiet", "--db", "p.db", "--out"];
    let output = run(path, &[&arguments[..], &["a"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    // k1 = 1 from M = 6 on, k1 = 2 from M = 8 on.
    assert!(report["local_minima"] == 6 && report["saddles"] == 2 && report["no_branch"] == 0, "{report}");
    let again = run(path, &[&arguments[..], &["b"]].concat());
    assert_eq!(output.stdout, again.stdout);
    for file in ["phase.png", "phase.svg", "cells.csv", "minima.csv", "boundaries.csv", "spec.toml"] {
        assert!(path.join("a").join(file).metadata().is_ok_and(|m| m.len() > 0), "{file}");
    }
    // Runs join the same file, and more of them later.
    for (runs, more) in [("3", "c"), ("5", "d")] {
        let output = run(path, &[&arguments[..], &[more, "--runs", runs]].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert!(report["shares"].as_array().is_some_and(|rows| rows.len() == 4), "{report}");
        assert!(path.join(more).join("ends.csv").metadata().is_ok_and(|m| m.len() > 0));
    }
    let other = ["phase", "--teachers", "6..10", "--flipped", "1..2", "--db", "p.db"];
    refused(path, &other, 2, &["p.db", "another --db"]);
}

#[test]
fn refusals_name_the_number_and_what_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("asymmetric.csv"), "1,0.5\n0.4,1\n").unwrap();
    std::fs::write(path.join("negative.csv"), "1,2\n2,1\n").unwrap();
    std::fs::write(path.join("empty.toml"), "students = []\n").unwrap();
    std::fs::write(path.join("unknown.toml"), "studnets = 3\n").unwrap();
    let two = ["landscape", "-k", "2", "-m", "2", "--teacher"];
    let teacher = |file: &'static str| two.iter().copied().chain([file]).collect::<Vec<_>>();
    let cases: Vec<(Vec<&str>, Vec<&str>)> = vec![
        (vec!["landscape", "--students", "0"], vec!["students K is 0", "at least 1"]),
        (vec!["landscape", "--teachers", "0"], vec!["teachers M is 0"]),
        (vec!["landscape", "--runs", "0"], vec!["runs is 0"]),
        (vec!["landscape", "--init-scale=-1"], vec!["-1", "positive"]),
        (vec!["landscape", "--init-scale", "nan"], vec!["NaN", "positive"]),
        (vec!["landscape", "--dimension", "0"], vec!["dimension d is 0", "at least 8"]),
        (vec!["landscape", "-k", "4000", "-m", "4000"], vec!["GiB", "flow"]),
        (vec!["landscape", "--threads", "0"], vec!["threads is 0"]),
        (vec!["landscape", "--teacher", "correlated:1.5"], vec!["eigenvalue is -5"]),
        (teacher("asymmetric.csv"), vec!["symmetric", "(2, 1)"]),
        (teacher("negative.csv"), vec!["eigenvalue is -1"]),
        (teacher("missing.csv"), vec!["missing.csv"]),
        (vec!["landscape", "--teacher", "asymmetric.csv"], vec!["symmetric"]),
        (vec!["landscape", "--spec", "unknown.toml"], vec!["unknown.toml", "studnets"]),
        (vec!["flow", "--time", "0"], vec!["time is 0"]),
        (vec!["flow", "--tolerance", "1e-20"], vec!["tolerance", "1e-14"]),
        (vec!["flow", "--batch", "2"], vec!["--batch", "--learning-rate"]),
        (vec!["flow", "--learning-rate", "1", "--integrator", "rkc"], vec!["rkc", "dop853"]),
        (vec!["flow", "--learning-rate", "-1"], vec!["learning rate is -1", "above 0"]),
        (vec!["sgd", "--learning-rate", "0"], vec!["learning rate is 0", "above 0"]),
        (vec!["sgd", "--learning-rate", "-0.5"], vec!["learning rate is -0.5", "above 0"]),
        (vec!["sgd", "--rule", "sphere", "--weight-decay", "0.1"], vec!["weight decay", "norms of the units are held"]),
        (vec!["sgd", "--rule", "two-layer:x"], vec!["two-layer:x", "none of sgd, two-layer[:RATE], sphere, stiefel"]),
        (vec!["validate", "--momentum", "1"], vec!["momentum is 1", "below 1"]),
        (vec!["sgd", "--batch", "0"], vec!["batch size is 0", "at least 1"]),
        (vec!["sgd", "--dimension", "3"], vec!["dimension d is 3", "at least 4"]),
        (vec!["sgd", "--tolerance", "1e-15"], vec!["tolerance", "1e-13"]),
        (vec!["sgd", "--schedule", "sometimes"], vec!["sometimes", "cosine:HORIZON"]),
        (vec!["sgd", "--runs", "2", "--test-inputs", "1"], vec!["test inputs is 1", "at least 2"]),
        (vec!["sgd", "--label-noise", "-1"], vec!["label noise is -1"]),
        (vec!["validate", "--learning-rate", "0"], vec!["learning rate is 0", "above 0"]),
        (vec!["validate", "--batch", "0"], vec!["batch size is 0", "at least 1"]),
        (vec!["validate", "--dimensions", "100,3"], vec!["dimension d is 3", "at least 4"]),
        (vec!["validate", "--tolerance", "1e-15"], vec!["tolerance", "1e-13"]),
        (vec!["validate", "--schedule", "step:0:1"], vec!["interval of the schedule is 0", "above 0"]),
        (vec!["validate", "--runs", "1"], vec!["runs is 1", "at least 2"]),
        (vec!["validate", "--learning-rate", "5"], vec!["diverge", "learning rate than 5"]),
        (vec!["steady", "--learning-rates", "0.1,0"], vec!["a learning rate is 0", "positive"]),
        (vec!["steady", "--learning-rates", ""], vec!["--learning-rates"]),
        (vec!["steady", "--points", "0"], vec!["points is 0"]),
        (vec!["steady", "--students", "3"], vec!["teachers M is 2", "M = K = 3"]),
        (vec!["steady", "--label-noise", "0"], vec!["label noise is 0", "steady loss is 0"]),
        (vec!["families", "--teachers", "0.5"], vec!["teachers M is 0.5", "at least 1"]),
        (vec!["families", "--teachers", "5", "--flipped", "1,6"], vec!["k1 is 6", "from 0 to M"]),
        (vec!["families", "--teachers", "5", "--flipped", "4.5"], vec!["size of a group is 0.5", "at least 1"]),
        (vec!["families", "--teachers", "5", "--flipped", "some"], vec!["--flipped", "'some' is no number"]),
        (vec!["families", "--teachers", "5", "--students", "4"], vec!["students K is 4", "whole number of units more"]),
        (vec!["families", "--groups", "6;1"], vec!["--groups", "'6;1' is no number"]),
        (vec!["families", "--groups", "6,0.3"], vec!["size of a group is 0.3", "at least 1"]),
        (vec!["families", "--groups", "6,1:1,3"], vec!["matched to group 3 of 2"]),
        (vec!["families", "--groups", "6", "--teachers", "6"], vec!["--groups", "--teachers"]),
        (vec!["families", "--correlation=-0.5"], vec!["eigenvalue is -2.5"]),
        (vec!["plateau", "--learning-rates=-0.1"], vec!["a learning rate is -0.1", "gradient flow"]),
        (vec!["plateau", "--students", ""], vec!["--students"]),
        (vec!["plateau", "--students", "1"], vec!["students K is 1", "at least 2"]),
        (vec!["plateau", "--dimensions", "0"], vec!["dimension d is 0"]),
        (vec!["widen", "--epsilon", "0"], vec!["epsilon is 0", "above 0"]),
        (vec!["widen", "--epsilon", "0.5"], vec!["epsilon is 0.5", "at most 0.1"]),
        (vec!["widen", "--runs", "0"], vec!["runs is 0"]),
        (vec!["widen", "--searches", "0"], vec!["searches is 0"]),
        (vec!["widen", "--teachers", "0"], vec!["teachers M is 0"]),
        (vec!["widen", "--dimension", "3"], vec!["dimension d is 3", "at least 8"]),
        (vec!["widen", "--db", "none.db", "--teachers", "4"], vec!["--db", "--teachers"]),
        (vec!["phase", "--plane", "k1-eta"], vec!["last M is 20", "--teachers M"]),
        (vec!["phase", "--plane", "k1-eta", "--teachers", "9", "--runs", "5"], vec!["--runs", "gradient flow", "k1-M"]),
        (vec!["phase", "--plane", "k1-eta", "--teachers", "9", "--rates=-1,1,3"], vec!["lowest learning rate is -1"]),
        (vec!["phase", "--plane", "k1-eta", "--teachers", "9", "--batch", "0"], vec!["batch size is 0"]),
        (vec!["phase", "--batch", "2"], vec!["batch size", "k1-eta"]),
        (vec!["phase", "--runs", "5", "--dimension", "3"], vec!["dimension d is 3", "at least 5"]),
        (vec!["phase", "--plane", "k1-N"], vec!["k1-N", "rho-M"]),
        (vec!["phase", "--teachers", "20..4"], vec!["last M is 4", "at least the first, 20"]),
        (vec!["phase", "--teachers", "x..4"], vec!["'x'", "A..B"]),
        (vec!["phase", "--teachers", "4..2000"], vec!["teachers M is 2000", "at most 1000"]),
        (vec!["phase", "--flipped", "0..2"], vec!["flipped units k1 is 0", "at least 1"]),
        (vec!["phase", "--flipped", "9", "--teachers", "10"], vec!["teachers M is 10", "k1 + 3 = 12"]),
        (vec!["phase", "--plane", "rho-M"], vec!["last k1 is 6", "--flipped K1"]),
        (
            vec!["phase", "--plane", "extra-M", "--flipped", "2", "--extra", "1..300"],
            vec!["K - M is 300", "at most 100"],
        ),
        (vec!["phase", "--plane", "extra-M", "--flipped", "2", "--extra", "0.5,3,4"], vec!["lowest K - M is 0.5"]),
        (vec!["phase", "--plane", "rho-M", "--flipped", "2", "--rho", "0,1,5"], vec!["highest rho is 1", "0.999"]),
        (vec!["phase", "--plane", "rho-M", "--flipped", "2", "--rho=-1,0,5"], vec!["lowest rho is -1", "above -1"]),
        (vec!["phase", "--plane", "rho-M", "--flipped", "2", "--rho", "0,0.5"], vec!["'0,0.5'", "LO,HI,N"]),
        (vec!["phase", "--plane", "rho-M", "--flipped", "2", "--rho", "0,0.5,0"], vec!["points of rho is 0"]),
        (vec!["plateau", "--spec", "empty.toml"], vec!["number of values of K is 0"]),
    ];
    for (arguments, words) in cases {
        refused(path, &arguments, 2, &words);
    }
    assert!(!path.join("committee-out").exists(), "a refused command left files");
}

#[test]
fn a_full_disk_and_closed_pipes_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    if Path::new("/dev/full").exists() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let status = Command::new(env!("CARGO_BIN_EXE_committee"))
            .current_dir(path)
            .args(small(&["--db", "kept.db"]))
            .stdout(full)
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(1));
        // The runs are in the database all the same.
        assert!(run(path, &["export", "--db", "kept.db", "--quiet"]).status.success());
    }
    std::fs::write(path.join("file"), "a file, not a directory").unwrap();
    let blocked = run(path, &small(&["--out", "file/below"]));
    assert_eq!(blocked.status.code(), Some(1));
    assert!(text(&blocked.stderr).contains("file/below"), "{}", text(&blocked.stderr));
    std::fs::create_dir(path.join("mine")).unwrap();
    std::fs::write(path.join("mine/thesis.tex"), "precious").unwrap();
    let kept = run(path, &small(&["--out", "mine"]));
    assert_eq!(kept.status.code(), Some(2));
    assert!(text(&kept.stderr).contains("--force"), "{}", text(&kept.stderr));
    assert_eq!(std::fs::read_dir(path.join("mine")).unwrap().count(), 1);
    let mut child = Command::new(env!("CARGO_BIN_EXE_committee"))
        .current_dir(path)
        .args(small(&["--json"]))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn help_shows_examples_and_specs_print() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for verb in [
        "landscape",
        "families",
        "follow",
        "flow",
        "sgd",
        "validate",
        "stability",
        "steady",
        "limits",
        "phase",
        "plateau",
        "widen",
        "export",
        "figure",
    ] {
        let help = text(&run(path, &[verb, "--help"]).stdout);
        assert!(help.matches(&format!("  committee {verb}")).count() >= 2, "{verb}: two worked examples");
    }
    let spec = text(&run(path, &["landscape", "-k", "5", "--print-spec"]).stdout);
    assert!(spec.contains("students = 5") && spec.contains("teacher = \"orthonormal\""), "{spec}");
    assert!(text(&run(path, &["completions", "bash"]).stdout).contains("committee"));
}
