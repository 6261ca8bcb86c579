//! Overlap matrices R (student-teacher) and Q (student-student) at several points.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use plotters::style::RGBAColor;

use super::Caption;
use super::axis::{Key, Mark, colour_bar, key, legend, legend_height};
use super::canvas::{Canvas, Drawing, Surface, Type, write};
use super::style::{
    GREY, HAIR, INK, LABEL, LEADING, PAGE, PAPER, SILVER, diverging, fixed, significant, width, wrap_to,
};
use crate::error::{Error, Result};

const ACTION: &str = "draw the overlaps";
/// Columns in a row of panels.
const ACROSS: usize = 6;
/// More cells on a side than this are finer than print.
const CELLS: usize = 256;
/// Points in one figure.
const POINTS: usize = 48;
const LEFT: f64 = 34.0;
const BAR: f64 = 60.0;
const GAP: f64 = 9.0;
/// Largest cell and largest matrix.
const CELL: f64 = 30.0;
const MATRIX: f64 = 138.0;
/// A cell this large has its value written in it.
const WRITTEN: f64 = 26.0;
/// Tick labels and axis name below a matrix.
const BELOW: f64 = 30.0;

/// One point: its family's name, its loss, Q (K x K) and R (K x M).
#[derive(Clone, Debug)]
pub struct OverlapPanel {
    pub name: String,
    pub loss: f64,
    pub q: Array2<f64>,
    pub r: Array2<f64>,
}

/// Draws R above Q for each point, all on one colour scale centred at 0.
pub fn overlaps(dir: &Path, stem: &str, points: &[OverlapPanel], caption: &Caption) -> Result<Vec<PathBuf>> {
    write(dir, stem, caption, &Heatmaps::new(points)?)
}

struct Heatmaps<'a> {
    points: &'a [OverlapPanel],
    across: usize,
    cell: f64,
    /// Widths and heights that hold the largest matrix, in points.
    field: f64,
    r_height: f64,
    q_height: f64,
    title_lines: usize,
    limit: f64,
    keys: Vec<Key>,
}

impl<'a> Heatmaps<'a> {
    fn new(points: &'a [OverlapPanel]) -> Result<Self> {
        if points.is_empty() {
            return Err(Error::Spec { action: ACTION, problem: "there is no point to draw".into() });
        }
        if points.len() > POINTS {
            let needs = format!("at most {POINTS}");
            return Err(Error::Count { action: ACTION, quantity: "number of points", value: points.len(), needs });
        }
        for point in points {
            let needs = |needs: String, what: &'static str, shape: (usize, usize)| {
                Err(Error::Shape { action: ACTION, what, rows: shape.0, columns: shape.1, needs })
            };
            let (k, m) = point.r.dim();
            if k == 0 || m == 0 || k.max(m) > CELLS {
                return needs(format!("1 to {CELLS} rows and columns"), "R", (k, m));
            }
            if point.q.dim() != (k, k) {
                return needs(format!("{k} x {k}, the rows of R"), "Q", point.q.dim());
            }
        }
        let rows = points.len().div_ceil(ACROSS);
        let across = points.len().div_ceil(rows);
        let k = points.iter().map(|point| point.r.nrows()).max().unwrap_or(1) as f64;
        let side = points.iter().map(|point| point.r.nrows().max(point.r.ncols())).max().unwrap_or(1) as f64;
        let share = (PAGE - LEFT - BAR - GAP * (across - 1) as f64) / across as f64;
        let cell = (share.min(MATRIX) / side).min(CELL);
        let field = share.min((cell * side).max(62.0));

        let entries = || points.iter().flat_map(|point| point.q.iter().chain(point.r.iter()).copied());
        let limit = entries().filter(|x| x.is_finite()).map(f64::abs).fold(0.0, f64::max);
        let limit = if limit > 0.0 { limit } else { 1.0 };
        let missing = entries().filter(|x| !x.is_finite()).count();
        let mut keys = Vec::new();
        if missing > 0 {
            keys.push(key(Mark::Bar(SILVER), format!("entries without a value: {missing}")));
        }
        let title_lines =
            points.iter().map(|point| wrap_to(&point.name, LABEL, true, field, 2).len()).max().unwrap_or(0);
        let r_height = cell * k;
        Ok(Heatmaps { points, across, cell, field, r_height, q_height: r_height, title_lines, limit, keys })
    }

    fn titles(&self) -> f64 {
        (self.title_lines + 1) as f64 * LEADING
    }

    fn row_height(&self) -> f64 {
        self.titles() + self.r_height + self.q_height + 2.0 * BELOW + 6.0
    }

    fn matrices_width(&self) -> f64 {
        LEFT + self.across as f64 * (self.field + GAP) - GAP
    }

    fn colour(&self, value: f64) -> RGBAColor {
        if value.is_finite() { diverging(value / self.limit).into() } else { SILVER }
    }

    /// One matrix with its ticks; the y labels only where asked.
    fn matrix<S: Surface>(
        &self,
        canvas: &mut Canvas<S>,
        (left, top): (f64, f64),
        matrix: &Array2<f64>,
        (x_name, y_name): (&str, Option<&str>),
    ) -> Result<()> {
        let (rows, columns) = matrix.dim();
        let cell = self.cell;
        let (right, bottom) = (left + columns as f64 * cell, top + rows as f64 * cell);
        for (i, row) in matrix.rows().into_iter().enumerate() {
            let y = top + i as f64 * cell;
            let mut first = 0;
            while first < columns {
                // Equal neighbours are one rectangle; each reaches to the far edges, so that no gap shows.
                let colour = self.colour(row[first]);
                let last = (first..columns).take_while(|&j| self.colour(row[j]) == colour).count() + first;
                let x = left + first as f64 * cell;
                let end = left + last as f64 * cell;
                canvas.fill((x, y), (f64::min(end + 0.25, right), f64::min(y + cell + 0.25, bottom)), colour)?;
                first = last;
            }
            if cell >= WRITTEN {
                for (j, &value) in row.iter().enumerate().filter(|(_, value)| value.is_finite()) {
                    let text = fixed(value, 2);
                    let ink = if (value / self.limit).abs() > 0.38 { PAPER } else { INK };
                    if width(&text, LABEL, false) < cell - 1.0 {
                        let centre = (left + (j as f64 + 0.5) * cell, y + 0.5 * cell);
                        canvas.text(centre, &text, Type::label().centred().middle().colour(ink))?;
                    }
                }
            }
        }
        canvas.frame((left, top), (right, bottom), HAIR, SILVER)?;
        let digits = |n: usize| width(&n.to_string(), LABEL, false);
        let room = LEADING.max(digits(rows.max(columns)) + 5.0);
        for j in ticks(columns, cell, room) {
            let x = left + (j as f64 - 0.5) * cell;
            canvas.line((x, bottom), (x, bottom + 2.0), HAIR, INK)?;
            if digits(j) / 2.0 > right - x + GAP / 3.0 {
                continue;
            }
            canvas.text((x, bottom + 11.0), &j.to_string(), Type::label().centred())?;
        }
        canvas.text(((left + right) / 2.0, bottom + 22.5), x_name, Type::label().centred())?;
        let Some(y_name) = y_name else { return Ok(()) };
        for i in ticks(rows, cell, room) {
            let y = top + (i as f64 - 0.5) * cell;
            canvas.line((left - 2.0, y), (left, y), HAIR, INK)?;
            canvas.text((left - 4.0, y), &i.to_string(), Type::label().right().middle())?;
        }
        let beside = (left - 4.0 - digits(rows) - 8.0, (top + bottom) / 2.0);
        canvas.text(beside, y_name, Type::label().centred().middle().upwards())
    }
}

/// A loss to as many digits as fit, five at most.
fn loss_text(loss: f64, room: f64) -> String {
    if !loss.is_finite() {
        return "–".into();
    }
    let most = if loss.abs() < 1e-4 { 2 } else { 5 };
    let texts = (1..=most).rev().map(|digits| significant(loss, digits));
    let room = room - width("L = ", LABEL, false);
    texts.into_iter().find(|text| width(text, LABEL, false) <= room).unwrap_or_else(|| "…".into())
}

/// Indices 1..=n to label, about `room` points apart: 1, then multiples of a round step.
fn ticks(n: usize, cell: f64, room: f64) -> Vec<usize> {
    let least = (room / cell).ceil() as usize;
    let step = [1, 2, 5, 10, 20, 50, 100, 200].into_iter().find(|&step| step >= least).unwrap_or(n.max(1));
    if step <= 2 {
        return (1..=n).step_by(step).collect();
    }
    // The label 1 is narrow, so the next may be a little nearer.
    let first = if (step - 1) as f64 * cell >= 0.8 * room { step } else { 2 * step };
    std::iter::once(1).chain((first..=n).step_by(step)).collect()
}

impl Drawing for Heatmaps<'_> {
    fn size(&self) -> (f64, f64) {
        let rows = self.points.len().div_ceil(self.across) as f64;
        let foot = if self.keys.is_empty() { 0.0 } else { legend_height(&self.keys, PAGE) + 4.0 };
        ((self.matrices_width() + BAR).max(PAGE / 2.0), rows * self.row_height() + foot)
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        for (n, point) in self.points.iter().enumerate() {
            let left = LEFT + (n % self.across) as f64 * (self.field + GAP);
            let top = (n / self.across) as f64 * self.row_height();
            let first = n % self.across == 0;
            let name = wrap_to(&point.name, LABEL, true, self.field + GAP - 3.0, 2);
            let down = (self.title_lines - name.len()) as f64 * LEADING;
            canvas.lines((left, top + down + LABEL), &name, Type::label().bold())?;
            let loss = format!("L = {}", loss_text(point.loss, self.field + 1.0));
            let below = top + self.title_lines as f64 * LEADING + LABEL;
            canvas.text((left, below), &loss, Type::label().colour(GREY))?;
            let r_top = top + self.titles() + 3.0;
            let named = |name| first.then_some(name);
            self.matrix(canvas, (left, r_top), &point.r, ("teacher m", named("R: student i")))?;
            let q_top = r_top + self.r_height + BELOW;
            self.matrix(canvas, (left, q_top), &point.q, ("student j", named("Q: student i")))?;
        }
        let top = self.titles() + 3.0;
        let height = (self.r_height + BELOW + self.q_height).min(320.0);
        let at = (self.matrices_width() + 12.0, top);
        colour_bar(canvas, at, height, (-self.limit, self.limit), "overlap", |x| diverging(x / self.limit))?;
        let bottom = self.points.len().div_ceil(self.across) as f64 * self.row_height();
        legend(canvas, (LEFT, bottom), PAGE, &self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_keep_their_distance() {
        assert_eq!(ticks(4, 20.0, 12.0), [1, 2, 3, 4]);
        assert_eq!(ticks(17, 3.6, 16.5), [1, 5, 10, 15]);
        assert_eq!(ticks(17, 2.0, 16.5), [1, 10]);
        assert_eq!(ticks(100, 0.6, 22.0), [1, 50, 100]);
    }

    #[test]
    fn wrong_shapes_are_refused_and_missing_entries_counted() {
        let mut point = OverlapPanel { name: "a".into(), loss: 0.1, q: Array2::eye(3), r: Array2::zeros((3, 2)) };
        assert!(Heatmaps::new(&[]).is_err_and(|error| error.to_string().contains("no point")));
        point.q[[0, 1]] = f64::NAN;
        let points = [point.clone()];
        assert_eq!(Heatmaps::new(&points).unwrap().keys[0].text, "entries without a value: 1");
        point.q = Array2::eye(2);
        assert!(overlaps(Path::new("."), "x", &[point], &Caption::default()).is_err());
    }
}
