//! Loss, student norms and student-teacher overlaps in time.

use std::path::{Path, PathBuf};

use plotters::style::RGBAColor;

use super::axis::{Key, Mark, Panel, Scale, key, legend, legend_height};
use super::canvas::{Canvas, Drawing, Surface, write};
use super::style::{INK, LINE, PAGE, category};
use super::{Caption, not_empty, numbers};
use crate::error::{Error, Result};
use crate::report::Table;

const ACTION: &str = "draw the trajectory";
/// Students with a colour of their own.
const COLOURED: usize = 8;
/// Ratio of the last to the first positive time from which on time is logarithmic.
const LOG_FROM: f64 = 1e3;
const LEFT: f64 = 52.0;
const LEGEND: f64 = 104.0;
const WIDTH: f64 = PAGE - LEFT - LEGEND - 14.0;
const HEIGHT: f64 = 126.0;
const GAP: f64 = 10.0;

/// A line: its points and the student it belongs to.
struct Line {
    student: usize,
    values: Vec<Option<f64>>,
}

struct Trajectory {
    times: Vec<Option<f64>>,
    loss: Vec<Option<f64>>,
    norms: Vec<Line>,
    overlaps: Vec<Line>,
    students: usize,
    x: Scale,
    x_name: String,
    log_loss: bool,
    keys: Vec<Key>,
}

/// Draws columns `time`, `loss`, and of the overlaps `q_i_i` and `r_i_m` (counted from 1) of a time series. Time is
/// logarithmic when it spans more than three decades, from the first positive time on. Up to eight students have a
/// colour each; more share one, translucent.
pub fn trajectory(dir: &Path, stem: &str, series: &Table, caption: &Caption) -> Result<Vec<PathBuf>> {
    write(dir, stem, caption, &Trajectory::new(series)?)
}

/// The indices in a column name such as `q_3_3`.
fn indices(name: &str, letter: &str) -> Option<(usize, usize)> {
    let (i, j) = name.strip_prefix(letter)?.strip_prefix('_')?.split_once('_')?;
    Some((i.parse().ok()?, j.parse().ok()?))
}

impl Trajectory {
    fn new(series: &Table) -> Result<Self> {
        not_empty(series, ACTION)?;
        let missing = |problem: String| Error::Spec { action: ACTION, problem };
        let times = numbers(series, "time", ACTION)?;
        let loss = numbers(series, "loss", ACTION)?;
        let (mut norms, mut overlaps) = (Vec::new(), Vec::new());
        for column in &series.columns {
            if let Some((student, _)) = indices(&column.name, "q").filter(|(i, j)| i == j) {
                let squares = numbers(series, &column.name, ACTION)?;
                // A square below zero by rounding is a norm of zero.
                let values = squares.into_iter().map(|q| q.map(|q| q.max(0.0).sqrt())).collect();
                norms.push(Line { student, values });
            }
            if let Some((student, _)) = indices(&column.name, "r") {
                overlaps.push(Line { student, values: numbers(series, &column.name, ACTION)? });
            }
        }
        for (lines, column) in [(&norms, "q_1_1"), (&overlaps, "r_1_1")] {
            if lines.is_empty() {
                return Err(missing(format!("table `{}` has no column such as `{column}`", series.name)));
            }
        }
        let known: Vec<f64> = times.iter().copied().flatten().collect();
        if known.is_empty() {
            return Err(missing(format!("column `time` of table `{}` has no number", series.name)));
        }
        let last = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = known.iter().copied().filter(|&t| t > 0.0).fold(f64::INFINITY, f64::min);
        let log = last / first > LOG_FROM;
        let x = if log { Scale::log(known.iter().copied(), 0.0) } else { Scale::linear(known.iter().copied(), 0.0) };
        let unit = series.index("time").map_or("", |i| series.columns[i].unit);
        let x_name = if unit.is_empty() { "time t".to_string() } else { format!("time t ({unit})") };
        let log_loss = loss.iter().flatten().any(|&l| l > 0.0);

        let mut of: Vec<usize> = norms.iter().chain(&overlaps).map(|line| line.student).collect();
        of.sort_unstable();
        of.dedup();
        let students = of.len();
        let mut keys = Vec::new();
        if students <= COLOURED {
            keys.extend(of.iter().map(|&i| key(Mark::Line(colour(i, students)), format!("student {i}"))));
        } else {
            keys.push(key(Mark::Line(colour(1, students)), format!("{students} students, all in this colour")));
        }
        let cells = times.iter().chain(&loss).filter(|x| x.is_none()).count();
        let entries = norms.iter().chain(&overlaps).flat_map(|line| &line.values).filter(|x| x.is_none()).count();
        if cells + entries > 0 {
            keys.push(key(Mark::Nothing, format!("missing values: {}", cells + entries)));
        }
        let unseen = times.iter().flatten().filter(|&&t| log && t <= 0.0).count();
        if unseen > 0 {
            keys.push(key(Mark::Nothing, format!("samples at t ≤ 0, not shown: {unseen}")));
        }
        let unseen = loss.iter().flatten().filter(|&&l| log_loss && l <= 0.0).count();
        if unseen > 0 {
            keys.push(key(Mark::Nothing, format!("losses ≤ 0, not shown: {unseen}")));
        }
        Ok(Trajectory { times, loss, norms, overlaps, students, x, x_name, log_loss, keys })
    }

    /// Draws a line, broken where a value or a time is missing.
    fn line<S: Surface>(
        &self,
        canvas: &mut Canvas<S>,
        panel: &Panel,
        values: &[Option<f64>],
        colour: RGBAColor,
    ) -> Result<()> {
        let width = match () {
            () if colour == INK => LINE,
            () if self.students > COLOURED => 0.6,
            () if self.overlaps.len() > 24 => 0.85,
            () => LINE,
        };
        let points: Vec<Option<(f64, f64)>> = self
            .times
            .iter()
            .zip(values)
            .map(|(t, v)| panel.point((*t)?, (*v)?).filter(|p| p.0 >= panel.left - 0.01))
            .collect();
        for piece in points.split(Option::is_none) {
            let piece: Vec<(f64, f64)> = piece.iter().copied().flatten().collect();
            if let [point] = piece[..] {
                canvas.disc(point, width, colour)?;
            }
            canvas.path(&simplified(&thinned(&piece), 0.03), width, colour)?;
        }
        Ok(())
    }
}

fn colour(student: usize, students: usize) -> RGBAColor {
    if students <= COLOURED {
        category(student.saturating_sub(1))
    } else {
        let shared = category(0);
        RGBAColor(shared.0, shared.1, shared.2, 0.4)
    }
}

/// First, least, greatest and last point of every quarter point of the page's width.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let column = |p: &(f64, f64)| (p.0 * 4.0).round();
    let mut kept = Vec::new();
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        if group.len() <= 4 {
            kept.extend_from_slice(group);
            continue;
        }
        let low = (0..group.len()).min_by(|&a, &b| group[a].1.total_cmp(&group[b].1)).unwrap_or(0);
        let high = (0..group.len()).max_by(|&a, &b| group[a].1.total_cmp(&group[b].1)).unwrap_or(0);
        let mut picked = [0, low, high, group.len() - 1];
        picked.sort_unstable();
        kept.extend(picked.iter().map(|&i| group[i]));
    }
    kept.dedup();
    kept
}

/// The line without points that are within `tolerance` of it (Douglas and Peucker), without recursion.
fn simplified(points: &[(f64, f64)], tolerance: f64) -> Vec<(f64, f64)> {
    let mut keep = vec![false; points.len()];
    let mut pieces = vec![(0, points.len().saturating_sub(1))];
    while let Some((first, last)) = pieces.pop() {
        if points.is_empty() {
            break;
        }
        (keep[first], keep[last]) = (true, true);
        let (a, b) = (points[first], points[last]);
        let (dx, dy) = (b.0 - a.0, b.1 - a.1);
        let length = dx.hypot(dy);
        let off = |p: (f64, f64)| {
            if length > 0.0 {
                ((p.0 - a.0) * dy - (p.1 - a.1) * dx).abs() / length
            } else {
                (p.0 - a.0).hypot(p.1 - a.1)
            }
        };
        let farthest = (first + 1..last).max_by(|&i, &j| off(points[i]).total_cmp(&off(points[j])));
        if let Some(middle) = farthest.filter(|&i| off(points[i]) > tolerance) {
            pieces.push((first, middle));
            pieces.push((middle, last));
        }
    }
    points.iter().zip(keep).filter_map(|(point, keep)| keep.then_some(*point)).collect()
}

impl Drawing for Trajectory {
    fn size(&self) -> (f64, f64) {
        let body = 4.0 + 3.0 * HEIGHT + 2.0 * GAP + 30.0;
        (PAGE, body.max(legend_height(&self.keys, LEGEND) + 4.0))
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let values = |lines: &[Line]| lines.iter().flat_map(|line| line.values.clone()).flatten().collect::<Vec<f64>>();
        let losses = self.loss.iter().copied().flatten();
        let scales = [
            if self.log_loss { Scale::log(losses, 0.05) } else { Scale::linear(losses, 0.05) },
            Scale::linear(values(&self.norms), 0.05),
            Scale::linear(values(&self.overlaps), 0.05),
        ];
        let loss_name = if self.log_loss { "loss L (log)" } else { "loss L" };
        let names = [loss_name, "student norm √Qᵢᵢ", "overlap Rᵢₘ"];
        for (n, (y, y_name)) in scales.into_iter().zip(names).enumerate() {
            let top = 4.0 + n as f64 * (HEIGHT + GAP);
            let x_name = (n == 2).then_some(self.x_name.as_str());
            let panel = Panel { left: LEFT, top, width: WIDTH, height: HEIGHT, x: self.x, y, x_name, y_name };
            panel.draw_axes(canvas)?;
            let lines: &[Line] = match n {
                0 => &[],
                1 => &self.norms,
                _ => &self.overlaps,
            };
            if n == 0 {
                self.line(canvas, &panel, &self.loss, INK)?;
            }
            for line in lines {
                self.line(canvas, &panel, &line.values, colour(line.student, self.students))?;
            }
            panel.draw_frame(canvas)?;
        }
        legend(canvas, (LEFT + WIDTH + 14.0, 4.0), LEGEND, &self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Value;

    fn series(columns: &[&str]) -> Table {
        let columns: Vec<(&str, &'static str, &str)> = columns.iter().map(|&name| (name, "", "")).collect();
        Table::new("series", &columns)
    }

    #[test]
    fn what_is_missing_is_named() {
        let draw = |table: &Table| trajectory(Path::new("."), "x", table, &Caption::default()).unwrap_err().to_string();
        let mut table = series(&["time", "loss", "q_1_1"]);
        assert!(draw(&table).contains("has no rows"));
        table.push(vec![0.0.into(), 1.0.into(), 1.0.into()]);
        assert!(draw(&table).contains("`r_1_1`"));
        assert!(draw(&series(&["time"])).contains("has no rows"));
    }

    #[test]
    fn gaps_are_counted_and_one_sample_can_be_drawn() {
        let mut table = series(&["time", "loss", "q_1_1", "r_1_1"]);
        table.push(vec![0.0.into(), 0.0.into(), (-1e-18).into(), Value::Missing("lost".into())]);
        let figure = Trajectory::new(&table).unwrap();
        assert!(figure.keys.iter().any(|key| key.text == "missing values: 1"));
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(trajectory(directory.path(), "one", &table, &Caption::default()).unwrap().len(), 2);
    }

    #[test]
    fn simplifying_keeps_corners() {
        let points: Vec<(f64, f64)> = (0..=20).map(|i| (f64::from(i), f64::from((i - 10i32).abs()))).collect();
        assert_eq!(simplified(&points, 0.1), [(0.0, 10.0), (10.0, 0.0), (20.0, 10.0)]);
        assert!(simplified(&[], 0.1).is_empty());
    }
}
