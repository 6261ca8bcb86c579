//! Order of writing, several writers, death in mid-write, and a full disk.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::*;

pub(super) fn problem() -> Problem {
    Problem { study: "landscape".into(), key: r#"{"K":4,"M":3}"#.into(), summary: "K = 4, M = 3".into() }
}

/// Equality by class mark: every test point carries it in its first weight.
pub(super) fn same(new: &NewPoint, old: &StoredPoint) -> bool {
    new.weights[0].to_bits() == old.weights[0].to_bits()
}

/// Cells over 12 classes, some of them with equal loss, and every seventh cell without a point.
pub(super) fn cells(count: u64) -> Vec<NewCell> {
    (0..count)
        .map(|id| {
            let mut rng = ChaCha8Rng::seed_from_u64(id);
            let class = rng.random_range(0..12u64);
            let loss = (class / 3) as f64 * 0.1 + rng.random_range(-1e-10..1e-10);
            let mut weights: Vec<f64> = (0..6).map(|_| rng.random()).collect();
            weights[0] = class as f64 / 7.0;
            let point = (id % 7 != 3).then_some(NewPoint { loss, shape: (2, 3), weights, window: 1e-9 });
            NewCell { id, point, payload: format!(r#"{{"steps":{}}}"#, rng.random_range(0..1000)) }
        })
        .collect()
}

type Content = (BTreeMap<u64, (Option<u64>, String)>, BTreeMap<u64, (u64, (usize, usize), Vec<u64>)>);

/// Everything a file says, without row numbers.
pub(super) fn content(store: &Store) -> Content {
    let (cells, points) = store.contents().unwrap();
    let representative: BTreeMap<_, _> = points.iter().map(|point| (point.id, point.representative)).collect();
    let cells = cells.into_iter().map(|cell| (cell.id, (cell.point.map(|id| representative[&id]), cell.payload)));
    let points = points.into_iter().map(|point| {
        let bits = point.weights.iter().map(|weight| weight.to_bits()).collect();
        (point.representative, (point.loss.to_bits(), point.shape, bits))
    });
    (cells.collect(), points.collect())
}

/// What [`content`] must be, from the definition and without a store.
fn expected(cells: &[NewCell]) -> Content {
    let mut lowest: BTreeMap<u64, &NewCell> = BTreeMap::new();
    for cell in cells {
        if let Some(point) = &cell.point {
            let first = lowest.entry(point.weights[0].to_bits()).or_insert(cell);
            if cell.id < first.id {
                *first = cell;
            }
        }
    }
    let ledger = cells.iter().map(|cell| {
        let class = cell.point.as_ref().map(|point| lowest[&point.weights[0].to_bits()].id);
        (cell.id, (class, cell.payload.clone()))
    });
    let points = lowest.values().map(|cell| {
        let point = cell.point.as_ref().unwrap();
        (cell.id, (point.loss.to_bits(), point.shape, point.weights.iter().map(|w| w.to_bits()).collect()))
    });
    (ledger.collect(), points.collect())
}

pub(super) fn scratch() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cells.db");
    (directory, path)
}

#[test]
fn a_store_can_move_to_a_writer_thread() {
    fn movable<T: Send>() {}
    movable::<Store>();
}

#[test]
fn content_does_not_depend_on_order() {
    let mut cells = cells(300);
    let expected = expected(&cells);
    assert_eq!(expected.1.len(), 12);
    for seed in 0..20 {
        cells.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let mut store = Store::in_memory(&problem()).unwrap();
        let (single, batches) = cells.split_at(150);
        for cell in single {
            store.record(cell, &same).unwrap();
        }
        for batch in batches.chunks(40) {
            store.record_all(batch, &same).unwrap();
        }
        assert_eq!(content(&store), expected, "order {seed}");
    }
}

#[test]
fn content_does_not_depend_on_writers() {
    let all = cells(300);
    let expected = expected(&all);
    for seed in 0..5 {
        let (_directory, path) = scratch();
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (path, start, mut cells) = (&path, &start, all.clone());
                scope.spawn(move || {
                    cells.shuffle(&mut ChaCha8Rng::seed_from_u64(2 * seed + thread));
                    // Both have most cells, so that the same cell is written twice at about the same time.
                    cells.retain(|cell| cell.id % 5 != thread);
                    start.wait();
                    let mut store = Store::open(path, &problem()).unwrap();
                    for cell in &cells {
                        store.record(cell, &same).unwrap();
                    }
                });
            }
        });
        assert_eq!(content(&Store::open_existing(&path).unwrap()), expected, "order {seed}");
    }
}

#[test]
fn recording_twice_changes_nothing() {
    let mut store = Store::in_memory(&problem()).unwrap();
    let mut cells = cells(40);
    store.record_all(&cells, &same).unwrap();
    let before = content(&store);
    for cell in &mut cells {
        cell.payload = "{}".into();
    }
    store.record_all(&cells, &same).unwrap();
    assert_eq!(content(&store), before);
    assert_eq!(store.finished().unwrap(), (0..40).collect::<Vec<_>>());
}

#[test]
fn the_window_limits_what_is_compared() {
    let mut store = Store::in_memory(&problem()).unwrap();
    let cell = |id, loss| {
        let point = NewPoint { loss, shape: (1, 1), weights: vec![1.0], window: 0.25 };
        NewCell { id, point: Some(point), payload: "{}".into() }
    };
    store.record(&cell(1, 1.0), &same).unwrap();
    store.record(&cell(2, 1.25), &|_, _| true).unwrap();
    let far = |_: &NewPoint, _: &StoredPoint| panic!("a point outside the window was compared");
    store.record(&cell(3, 1.25f64.next_up()), &far).unwrap();
    // Nearest in loss first: of 1 and 1.25 (next up), the latter.
    store.record(&cell(4, 1.2), &|_, _| true).unwrap();
    assert_eq!(store.points().unwrap().iter().map(|point| point.representative).collect::<Vec<_>>(), [1, 3]);
    let classes: Vec<_> = store.cells().unwrap().into_iter().map(|cell| cell.point.unwrap().0).collect();
    assert_eq!(classes, [1, 1, 2, 2]);
}

#[test]
fn numbers_come_back_bit_for_bit() {
    let (_directory, path) = scratch();
    let weights = vec![-0.0, f64::MIN_POSITIVE / 8.0, 0.1 + 0.2, f64::MAX, -1.0 / 3.0, 1e-300];
    let point = NewPoint { loss: 0.1 + 0.2, shape: (3, 2), weights: weights.clone(), window: 0.0 };
    let cell = NewCell { id: 9, point: Some(point), payload: r#"{"text":"ü\u0000"}"#.into() };
    Store::open(&path, &problem()).unwrap().record(&cell, &same).unwrap();
    let store = Store::open_existing(&path).unwrap();
    let point = store.points().unwrap().remove(0);
    let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&point.weights), bits(&weights));
    assert_eq!((point.loss.to_bits(), point.shape, point.representative), ((0.1 + 0.2f64).to_bits(), (3, 2), 9));
    assert_eq!(store.cells().unwrap()[0].payload, cell.payload);
    assert_eq!(store.problem(), &problem());
}

#[test]
fn what_cannot_be_stored_is_refused() {
    let mut store = Store::in_memory(&problem()).unwrap();
    let point = NewPoint { loss: 1.0, shape: (1, 2), weights: vec![1.0, 2.0], window: 0.0 };
    let mut refuse = |id, change: &dyn Fn(&mut NewPoint)| {
        let mut point = point.clone();
        change(&mut point);
        let good = NewCell { id: 0, point: None, payload: "{}".into() };
        let bad = NewCell { id, point: Some(point), payload: "{}".into() };
        store.record_all(&[good, bad], &same).unwrap_err().to_string()
    };
    assert_eq!(
        refuse(u64::MAX, &|_| ()),
        "cannot record a cell: its number is 18446744073709551615, needs less than 2^63"
    );
    assert_eq!(refuse(1, &|point| point.loss = f64::NAN), "cannot record a critical point: its loss is not finite");
    assert_eq!(
        refuse(1, &|point| point.weights[1] = f64::INFINITY),
        "cannot record a critical point: one of its weights is not finite"
    );
    assert_eq!(
        refuse(1, &|point| point.window = -1.0),
        "cannot record a critical point: the loss window is -1, needs a finite number, at least 0"
    );
    assert_eq!(
        refuse(1, &|point| point.shape = (2, 2)),
        "cannot record a critical point: the weight matrix has shape 2 x 2, \
         needs as many entries as weights were given (2)"
    );
    assert!(store.finished().unwrap().is_empty());
}

#[test]
fn an_analysis_lasts_as_long_as_its_representative() {
    let mut store = Store::in_memory(&problem()).unwrap();
    let cell = |id| {
        let point = NewPoint { loss: 1.0, shape: (1, 1), weights: vec![1.0], window: 0.0 };
        NewCell { id, point: Some(point), payload: "{}".into() }
    };
    store.record(&cell(5), &same).unwrap();
    let point = store.points().unwrap().remove(0);
    assert!(store.set_analysis(point.id, 5, r#"{"index":0}"#).unwrap());
    store.record(&cell(6), &same).unwrap();
    assert_eq!(store.points().unwrap()[0].analysis.as_deref(), Some(r#"{"index":0}"#));
    store.record(&cell(4), &same).unwrap();
    assert_eq!(store.points().unwrap()[0].analysis, None);
    assert!(!store.set_analysis(point.id, 5, "{}").unwrap());
    assert!(!store.set_analysis(point.id, u64::MAX, "{}").unwrap());
    assert_eq!(store.points().unwrap()[0].analysis, None);
}

#[test]
fn a_full_disk_keeps_what_was_recorded() {
    let (_directory, path) = scratch();
    let cells = cells(3000);
    let mut store = Store::open(&path, &problem()).unwrap();
    store.limit_pages(16);
    let failed = cells.iter().find_map(|cell| Some((cell.id, store.record(cell, &same).err()?)));
    let (id, error) = failed.expect("the cap was never met");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot write to the database {}: the disk is full; what was recorded before is kept, free some space and \
             run the same command again",
            path.display()
        )
    );
    assert!(id > 100);
    let before = content(&store);
    // A batch that does not fit leaves nothing of itself.
    assert!(store.record_all(&cells[id as usize..], &same).is_err());
    assert_eq!(content(&store), before);
    assert_eq!(before, expected(&cells[..id as usize]));
    drop(store);
    let mut store = Store::open(&path, &problem()).unwrap();
    assert_eq!(content(&store), before);
    store.record_all(&cells, &same).unwrap();
    assert_eq!(content(&store), expected(&cells));
}

const CHILD: &str = "COMMITTEE_STORE_TEST_CHILD";

/// Runs in a process of its own, started by the tests below; does nothing otherwise.
#[test]
fn child() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (task, path) = task.split_once(':').unwrap();
    let mut store = Store::open(path, &problem()).unwrap();
    let abort = |_: &NewPoint, _: &StoredPoint| std::process::abort();
    for cell in cells(3000) {
        match task {
            "abort" if cell.id == 50 => store.record_all(&cells(100)[50..], &abort).unwrap(),
            "half" if cell.id == 300 => return,
            _ => store.record(&cell, &same).unwrap(),
        }
        println!("\nrecorded {}", cell.id);
    }
}

fn child_process(task: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store::tests::child", "--nocapture"]).env(CHILD, format!("{task}:{}", path.display()));
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

#[test]
fn death_inside_a_transaction_leaves_what_was_recorded() {
    let (_directory, path) = scratch();
    assert!(!child_process("abort", &path).output().unwrap().status.success());
    assert!(path.with_file_name("cells.db-wal").exists(), "the child closed the file in order");
    let store = Store::open_existing(&path).unwrap();
    assert_eq!(content(&store), expected(&cells(50)));
}

#[test]
fn death_at_any_moment_loses_no_recorded_cell() {
    for lines in [0, 1, 7, 200] {
        let (_directory, path) = scratch();
        let mut child = child_process("all", &path).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(std::io::Result::ok)
            .filter_map(|line| line.strip_prefix("recorded ")?.parse::<u64>().ok());
        let mut last = said.by_ref().take(lines).last();
        child.kill().unwrap();
        child.wait().unwrap();
        last = said.last().or(last);
        let Some(last) = last else {
            // Killed before the first cell, perhaps before there was a file: a new start must work.
            let mut store = Store::open(&path, &problem()).unwrap();
            store.record(&cells(1)[0], &same).unwrap();
            continue;
        };
        let store = Store::open(&path, &problem()).unwrap();
        let finished = store.finished().unwrap();
        assert!(finished.len() as u64 == last + 1 || finished.len() as u64 == last + 2, "{finished:?} after {last}");
        assert_eq!(content(&store), expected(&cells(finished.len() as u64)));
    }
}

#[test]
fn processes_share_a_new_file() {
    for _ in 0..5 {
        let (_directory, path) = scratch();
        let children: Vec<_> = (0..3).map(|_| child_process("half", &path).spawn().unwrap()).collect();
        for child in children {
            assert!(child.wait_with_output().unwrap().status.success());
        }
        assert_eq!(content(&Store::open_existing(&path).unwrap()), expected(&cells(300)));
    }
}
