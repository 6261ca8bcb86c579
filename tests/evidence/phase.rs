//! Families over two parameters: minima under correlated teachers, and diagrams that are killed.

use crate::lines::Lines;
use committee::landscape::branch::{self, Crossing, Kind, Mode};
use committee::landscape::phase::{
    Bound, Found, Line, at_singular_correlation, corner, curve, is_minimum, singular_correlation,
};
use committee::landscape::reduced::{BlockPoint, Parameter, Shape};
use committee::model::TeacherSpec;
use committee::numerics::follow::Options;
use committee::numerics::linalg;
use committee::numerics::singular::Boundary;
use committee::population::{Sector, hessian};
use committee::study::{
    Extra, Grid, LandscapeSpec, LimitsSpec, PhaseSpec, Plane, Span, landscape, learning_rate_limits, phase,
};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Largest M at which the dense Hessian is computed.
const DENSE: usize = 20;
/// Distance in rho from a boundary at which its sign is taken.
const BESIDE: f64 = 1e-4;

/// Smallest eigenvalue of the dense Hessian inside the span, all K M by K M entries.
fn dense(point: &BlockPoint) -> f64 {
    let (weights, teacher) = point.state.expand().unwrap();
    let span = hessian(&weights, &teacher, 0).unwrap().span;
    linalg::eigvalsh(span.view()).unwrap()[0]
}

fn read(line: &Line, p: f64) -> BlockPoint {
    match line.at(p).unwrap() {
        Found::Point(point) => *point,
        Found::Nothing(why) => panic!("{p}: {why}"),
    }
}

/// A boundary that begins at an event in real M at rho = 0 and is followed in rho: M*(rho).
struct Route {
    shape: Shape,
    mode: Mode,
    event: Crossing,
    curve: Boundary,
}

impl Route {
    fn new(line: &Line, event: &Crossing) -> Route {
        let shape = line.start.shape.clone();
        let options = Options { step: 0.005, largest: 0.05, points: 1500, ..branch::options((-0.1999, 0.999)) };
        let curve = branch::boundary(&shape, event, Parameter::Correlation, (-0.1999, 0.999), &options).unwrap();
        Route { shape, mode: event.mode, event: event.clone(), curve }
    }

    /// rho with error at integer M, near a value.
    fn at(&self, m: f64, near: f64) -> Option<(f64, f64)> {
        let shape = self.shape.along(Parameter::Correlation);
        let pairs = self.curve.points.windows(2).filter(|pair| (pair[0].p[0] - m) * (pair[1].p[0] - m) <= 0.0);
        let found = pairs.filter_map(|pair| {
            let start = if (pair[0].p[0] - m).abs() < (pair[1].p[0] - m).abs() { &pair[0] } else { &pair[1] };
            branch::locate(&shape, self.mode, Parameter::Teachers, &start.x, [start.p[1], m]).ok()
        });
        let nearest = found.min_by(|a, b| (a.p[0] - near).abs().total_cmp(&(b.p[0] - near).abs()))?;
        Some((nearest.p[0], nearest.error))
    }
}

/// Ends in rho of the minima with k1 = 1 and 2, M = 6..30, by two routes: the event on the branch followed in rho at fixed
/// M, and the curve that begins at an event in M at rho = 0. Under a minute.
#[test]
#[ignore = "evidence"]
fn correlated_boundaries() {
    let mut lines = Lines::new("correlated_boundaries");
    lines.note(
        "k1, M: range of rho in which the family is a local minimum; what ends it at each end; error of the end;",
    );
    lines.note("largest difference among event, direct system and curve; smallest eigenvalue of the dense Hessian 1e-4 inside and outside the end");
    let mut largest = 0.0f64;
    for k1 in [1, 2] {
        let in_teachers = Line::in_teachers(f64::from(k1), 0.0, 30.0).unwrap();
        let events = &in_teachers.down.as_ref().unwrap().crossings;
        let first = |sector: Sector| events.iter().find(|e| e.kind == Kind::Breaking && e.mode.sector == sector);
        let routes: Vec<Route> = [Sector::Standard(0), Sector::Standard(1)]
            .into_iter()
            .filter_map(|sector| first(sector).map(|event| Route::new(&in_teachers, event)))
            .collect();
        for m in 6..=30usize {
            let line = Line::in_correlation(&read(&in_teachers, m as f64)).unwrap();
            let ranges = line.minima();
            let name = format!("k1 = {k1}, M = {m}");
            lines.line(&format!("{name}: ranges of minima"), ranges.len(), "1", ranges.len() == 1);
            for (bound, side) in ranges[0].iter().zip([-1.0, 1.0]) {
                let end = if side < 0.0 { "from" } else { "to" };
                match bound {
                    Bound::Event(event) => {
                        let (direct, error) = event.direct.unwrap();
                        let route = routes.iter().find(|route| route.mode == event.mode);
                        let (other, other_error) = route.and_then(|route| route.at(m as f64, event.p)).unwrap();
                        let difference = (event.p - other).abs().max((direct - other).abs());
                        largest = largest.max(difference);
                        let mut text = format!(
                            "{other:.10} +- {:.0e}, {}, routes differ by {difference:.1e}",
                            error.max(other_error),
                            event.mode.name()
                        );
                        let mut pass = difference <= 1e-6 && error <= 1e-9;
                        if m <= DENSE {
                            let inside = dense(&read(&line, other - side * BESIDE));
                            let outside = dense(&read(&line, other + side * BESIDE));
                            text += &format!(", dense {inside:.2e} inside, {outside:.2e} outside");
                            pass &= inside > 0.0 && outside < 0.0;
                        }
                        lines.line(&format!("{name}: {end} rho"), text, "routes to 1e-6, signs + and -", pass);
                    }
                    Bound::Open { p, .. } if side < 0.0 => {
                        let edge = singular_correlation(m as f64);
                        let point = at_singular_correlation(&line).unwrap().unwrap();
                        let mut text =
                            format!("{edge:.10}, T singular, smallest eigenvalue there {:.4}", point.smallest().0);
                        let mut pass =
                            is_minimum(point.verdict) && point.residual < 1e-13 && (p / edge - 1.0).abs() < 2e-3;
                        if m <= DENSE {
                            let near = dense(&read(&line, 0.99 * edge));
                            text += &format!(", dense {near:.4} at 0.99 of it");
                            pass &= near > 0.0;
                        }
                        lines.line(&format!("{name}: {end} rho"), text, "a minimum at the edge", pass);
                    }
                    Bound::Open { p, .. } => {
                        let last = read(&line, *p);
                        let (value, sector) = last.smallest();
                        let mut text = format!("{p} (no event), smallest eigenvalue {value:.2e}, {}", sector.name());
                        let mut pass = value > 0.0 && *p >= 0.999;
                        if m <= DENSE {
                            let near = dense(&read(&line, 0.9));
                            text += &format!(", dense {near:.2e} at 0.9");
                            pass &= near > 0.0;
                        }
                        lines.line(&format!("{name}: {end} rho"), text, "a minimum at 0.999", pass);
                    }
                }
            }
        }
        for route in &routes {
            let points = &route.curve.points;
            let (from, to) = (&points[0], &points[points.len() - 1]);
            lines.note(&format!(
                "k1 = {k1}, {}: M*(rho) followed from ({:.4}, {:.4}) to ({:.4}, {:.4}), (rho, M); {}",
                route.mode.name(),
                from.p[1],
                from.p[0],
                to.p[1],
                to.p[0],
                route.curve.end
            ));
            if route.mode.sector == Sector::Standard(1) {
                let values = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999];
                let (samples, _) =
                    curve(&route.shape, &route.event, Parameter::Correlation, (-0.01, 0.9999), &values).unwrap();
                let texts: Vec<String> = samples.iter().map(|s| format!("{}: {:.8}", s.p[1], s.p[0])).collect();
                lines.note(&format!("  M*(rho) at {}", texts.join(", ")));
            }
        }
        if k1 == 2 {
            let shape = in_teachers.start.shape.along(Parameter::Correlation);
            let modes = [0, 1].map(|set| Mode { sector: Sector::Standard(set), across: false });
            let near =
                routes[0].curve.points.iter().min_by(|a, b| (a.p[0] - 8.0).abs().total_cmp(&(b.p[0] - 8.0).abs()));
            let start =
                branch::locate(&shape, modes[0], Parameter::Teachers, &near.unwrap().x, [near.unwrap().p[1], 8.0]);
            let start = start.unwrap();
            let [rho, m] =
                corner(&shape, (modes[0], modes[1]), Parameter::Teachers, (&start.x, start.p[0]), (8.0, 7.0), 1e-10)
                    .unwrap();
            let text = format!("rho = {rho:.8}, M = {m:.8}");
            lines.line(
                "k1 = 2: standard 1 and standard 2 vanish together",
                text,
                "M between 7 and 8",
                m > 7.0 && m < 8.0,
            );
        }
    }
    lines.line("largest difference of the routes", format!("{largest:.1e}"), "1e-6", largest <= 1e-6);
    lines.close();
}

/// Diagrams killed again and again hold the same cells as those that were not: families, hits of runs, learning rates.
/// Seconds.
#[test]
#[ignore = "evidence"]
fn quick_phase_interruption() {
    let mut lines = Lines::new("quick_phase_interruption");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let families: &[&str] = &["--plane", "rho-M", "--flipped", "2", "--teachers", "6..30", "--rho=-0.1,0.6,71"];
    let hits: &[&str] = &["--teachers", "8..11", "--flipped", "1..4", "--runs", "300"];
    let rates: &[&str] = &["--plane", "k1-eta", "--teachers", "12", "--flipped", "1..4", "--rates", "0,0.32,65"];
    let plain: &[&str] = &["cells.csv", "minima.csv", "boundaries.csv"];
    let all: &[&str] = &["cells.csv", "minima.csv", "boundaries.csv", "shares.csv", "ends.csv"];
    for (name, options, kept) in
        [("families over rho and M", families, plain), ("hits of runs", hits, all), ("learning rates", rates, plain)]
    {
        let start = |db: String, out: String| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_committee"));
            command.current_dir(path).arg("phase").args(options).args(["--quiet", "--force"]);
            command.args(["--db", &db, "--out", &out]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        };
        let files = |out: String| -> Vec<Vec<u8>> {
            kept.iter().map(|file| std::fs::read(Path::new(path).join(&out).join(file)).unwrap()).collect()
        };
        assert!(start(format!("whole {name}.db"), format!("whole {name}")).wait().unwrap().success());
        let whole = files(format!("whole {name}"));
        let (mut kills, mut tries) = (0, 0);
        while kills < 6 && tries < 40 {
            let mut child = start(format!("killed {name}.db"), format!("killed {name}"));
            std::thread::sleep(Duration::from_millis(40 + 15 * tries));
            kills += usize::from(child.try_wait().unwrap().is_none());
            child.kill().unwrap();
            child.wait().unwrap();
            tries += 1;
        }
        lines.line(&format!("{name}: kills -9 while running"), kills, "at least 3", kills >= 3);
        assert!(start(format!("killed {name}.db"), format!("killed {name}")).wait().unwrap().success());
        let same = files(format!("killed {name}")) == whole;
        lines.line(&format!("{name}: files equal the uninterrupted ones"), same, "true", same);
    }
    lines.close();
}

/// The limits on the plane k1-eta against `limits` at M = 8, with noise and decay too, and the dense equations on both sides;
/// boundaries at real k1 by two routes. Seconds.
#[test]
#[ignore = "evidence"]
fn quick_phase_rates() {
    let mut lines = Lines::new("quick_phase_rates");
    for (batch, label_noise, weight_decay) in [(1, 0.0, 0.0), (4, 0.2, 0.01)] {
        let limits = LimitsSpec { batch, label_noise, weight_decay, dense_check: batch == 1, ..LimitsSpec::default() };
        let limits = learning_rate_limits(&limits).unwrap();
        let limits = limits.table("limits").unwrap();
        let spec = PhaseSpec {
            plane: Plane::FlippedRate,
            teachers: Span(8, 8),
            flipped: Span(1, 3),
            batch,
            label_noise,
            weight_decay,
            ..PhaseSpec::default()
        };
        let report = phase(&spec, None, &|_, _| true).unwrap();
        let (cells, ranges) = (report.table("cells").unwrap(), report.table("minima").unwrap());
        let boundaries = report.table("boundaries").unwrap();
        let name = format!("M = 8, B = {batch}, sigma = {label_noise}, gamma = {weight_decay}");
        let rows = limits.numbers("learning_rate").len();
        lines.line(&format!("{name}: families"), ranges.rows.len(), &rows.to_string(), ranges.rows.len() == rows);
        for (i, limit) in limits.numbers("learning_rate").into_iter().enumerate() {
            let (k1, limit) = (limits.numbers("k1")[i].unwrap(), limit.unwrap());
            let known = format!("{}, {}", limits.texts("kind")[i], limits.texts("sector")[i]);
            let difference = (ranges.numbers("high")[i].unwrap() - limit).abs();
            let kind = ranges.texts("high_event")[i].clone();
            let on_curve = (0..boundaries.rows.len())
                .filter(|&r| boundaries.numbers("k1")[r] == Some(k1) && boundaries.texts("bounds")[r] == "yes")
                .map(|r| (boundaries.numbers("learning_rate")[r].unwrap() - limit).abs())
                .fold(f64::INFINITY, f64::min);
            let text = format!("{limit:.10}, {kind}; direct {difference:.0e}, curve {on_curve:.0e}");
            let pass = difference <= 1e-10 && on_curve <= 1e-10 && kind == known;
            lines.line(&format!("{name}, k1 = {k1}: limit against `limits`"), text, "1e-10, same kind", pass);
            if let Some(dense) = limits.numbers("dense_difference")[i] {
                let pass = dense.abs() <= 2e-6;
                lines.line(
                    &format!("{name}, k1 = {k1}: against the dense equations"),
                    format!("{dense:.1e}"),
                    "2e-6",
                    pass,
                );
            }
            let own = (0..cells.rows.len()).filter(|&r| cells.numbers("k1")[r] == Some(k1));
            let agrees = own.clone().all(|r| {
                (cells.texts("verdict")[r] == "stable") == (cells.numbers("learning_rate")[r].unwrap() < limit)
            });
            lines.line(
                &format!("{name}, k1 = {k1}: {} cells stable below it only", own.count()),
                agrees,
                "true",
                agrees,
            );
        }
        let errors = boundaries.numbers("error").into_iter().flatten().fold(0.0, f64::max);
        let count = boundaries.rows.len();
        lines.line(
            &format!("{name}: largest error of {count} boundary points"),
            format!("{errors:.0e}"),
            "1e-9",
            errors <= 1e-9,
        );
    }
    lines.close();
}

/// Hits of a diagram against `landscape` with the same seed and law: every point of every column, K = M = 8 and K = M + 1, and
/// correlated teachers. Seconds.
#[test]
#[ignore = "evidence"]
fn quick_phase_shares() {
    let mut lines = Lines::new("quick_phase_shares");
    let base = PhaseSpec { teachers: Span(8, 8), runs: 1000, seed: 5, ..PhaseSpec::default() };
    let rho = Grid { low: 0.05, high: 0.1, points: 2 };
    let flipped = PhaseSpec { flipped: Span(1, 3), ..base.clone() };
    let extra = PhaseSpec {
        plane: Plane::ExtraTeachers,
        teachers: Span(14, 14),
        flipped: Span(4, 4),
        extra: Extra::Whole(Span(0, 1)),
        runs: 300,
        dimension: Some(14),
        ..base.clone()
    };
    // Another law with another number of hits: d = 8, s = 0.5 happens to have those of d = 16, s = 1.
    let other = PhaseSpec { dimension: Some(8), ..flipped.clone() };
    let correlated = PhaseSpec { plane: Plane::CorrelationTeachers, flipped: Span(1, 1), rho, ..base };
    let mut first_hits = Vec::new();
    for (name, spec) in [("k1-M", flipped), ("k1-M, d = 8", other), ("extra-M", extra), ("rho-M", correlated)] {
        let report = phase(&spec, None, &|_, _| true).unwrap();
        let (shares, ends) = (report.table("shares").unwrap(), report.table("ends").unwrap());
        first_hits.push(ends.numbers("hits")[0]);
        for row in 0..shares.rows.len() {
            let number = |column: &str| shares.numbers(column)[row].unwrap();
            let (k, m, rho) = (number("K") as usize, number("M") as usize, number("rho"));
            let search = LandscapeSpec {
                students: k,
                teachers: m,
                dimension: spec.dimension,
                init_scale: spec.init_scale,
                runs: spec.runs,
                seed: spec.seed,
                teacher: TeacherSpec::Correlated(rho),
                ..LandscapeSpec::default()
            };
            let found = landscape(&search, None, &|_, _, _| true).unwrap();
            let minima = found.table("minima").unwrap();
            let own: Vec<usize> = (0..ends.rows.len())
                .filter(|&r| ends.numbers("K")[r] == Some(k as f64) && ends.numbers("rho")[r] == Some(rho))
                .collect();
            // Exact zeros have a rounded loss in the one table and 0 in the other; both are first.
            let hits: Vec<f64> = own.iter().filter_map(|&r| ends.numbers("hits")[r]).collect();
            let known: Vec<f64> = minima.numbers("hits").into_iter().flatten().collect();
            let families: Vec<String> = own.iter().map(|&r| ends.texts("family")[r].clone()).collect();
            let names = minima.texts("family");
            let close = own
                .iter()
                .zip(minima.numbers("loss"))
                .all(|(&r, loss)| (ends.numbers("loss")[r].unwrap() - loss.unwrap()).abs() < 1e-9);
            let same =
                hits == known && families.iter().zip(&names).all(|(a, b)| a == b || b.starts_with("global")) && close;
            let cells = number("cells");
            lines.line(
                &format!("{name}: K = {k}, M = {m}, rho = {rho}: hits of {} points", known.len()),
                format!("{hits:?}, {cells} in cells"),
                "those of `landscape`",
                same,
            );
        }
    }
    let differs = first_hits[0] != first_hits[1];
    lines.line("k1-M: d = 16 and d = 8 have different hits", differs, "true", differs);
    lines.close();
}
