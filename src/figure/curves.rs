//! Panels of lines and dots with error bars, one below the other, each with its legend beside it.

use std::path::{Path, PathBuf};

use plotters::style::RGBAColor;

use super::Caption;
use super::axis::{Key, Mark, Panel, Scale, key, legend, legend_height};
use super::canvas::{Canvas, Drawing, Surface, Type, write};
use super::style::{GREY, HAIR, LABEL, LINE, PAGE, category, width};
use crate::error::{Error, Result};
use crate::report::Table;

const LEFT: f64 = 56.0;
const LEGEND: f64 = 132.0;
const WIDTH: f64 = PAGE - LEFT - LEGEND - 14.0;
const HEIGHT: f64 = 140.0;
/// Space above a panel for its title and its marks, and below it for its axis.
const ABOVE: f64 = 15.0;
const MARKS: f64 = 12.0;
const BELOW: f64 = 36.0;

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurveStyle {
    Line,
    Dashed,
    Discs,
    Squares,
    /// The error bars alone, broad and pale.
    Bars,
}

/// A named set of points.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Empty: not in the legend.
    pub name: String,
    pub style: CurveStyle,
    /// Index into [`super::CATEGORIES`].
    pub colour: usize,
    /// Abscissa, value and half the length of its error bar.
    pub points: Vec<[f64; 3]>,
}

/// A panel with its axes.
#[derive(Clone, Debug)]
pub struct CurvePanel {
    pub title: String,
    pub x_name: String,
    pub y_name: String,
    pub log_x: bool,
    pub log_y: bool,
    /// Vertical lines with a label above.
    pub marks: Vec<(f64, String)>,
    pub curves: Vec<Curve>,
}

/// Draws panels from top to bottom. Points without a place on a logarithmic axis are counted in the legend.
pub fn curves(dir: &Path, stem: &str, panels: &[CurvePanel], caption: &Caption) -> Result<Vec<PathBuf>> {
    if panels.is_empty() || panels.iter().any(|panel| panel.curves.iter().all(|curve| curve.points.is_empty())) {
        return Err(Error::Spec { action: "draw curves", problem: "a panel has no points".into() });
    }
    write(dir, stem, caption, &Curves { panels })
}

/// The points of all panels as a table: panel, curve, x, y, error.
pub fn curve_points(panels: &[CurvePanel]) -> Table {
    let mut table = Table::new(
        "data",
        &[
            ("panel", "", "title of the panel"),
            ("curve", "", "name of the curve"),
            ("x", "", "abscissa"),
            ("y", "", "value"),
            ("error", "", "half the length of the error bar"),
        ],
    );
    for panel in panels {
        for curve in &panel.curves {
            for [x, y, error] in &curve.points {
                table.push(vec![
                    panel.title.clone().into(),
                    curve.name.clone().into(),
                    (*x).into(),
                    (*y).into(),
                    (*error).into(),
                ]);
            }
        }
    }
    table
}

struct Curves<'a> {
    panels: &'a [CurvePanel],
}

impl CurvePanel {
    fn keys(&self) -> Vec<Key> {
        let mark = |curve: &Curve| {
            let colour = category(curve.colour);
            match curve.style {
                CurveStyle::Line => Mark::Line(colour),
                CurveStyle::Bars => Mark::Bar(pale(colour)),
                CurveStyle::Dashed => Mark::Dashed(colour),
                CurveStyle::Discs => Mark::Disc(colour),
                CurveStyle::Squares => Mark::Square(colour),
            }
        };
        let named = self.curves.iter().filter(|curve| !curve.name.is_empty());
        let mut keys: Vec<Key> = named.map(|curve| key(mark(curve), curve.name.clone())).collect();
        let lost = self.curves.iter().flat_map(|c| &c.points);
        let lost = lost.filter(|p| (self.log_x && p[0] <= 0.0) || (self.log_y && p[1] <= 0.0)).count();
        if lost > 0 {
            keys.push(key(Mark::Nothing, format!("values ≤ 0, not shown: {lost}")));
        }
        keys
    }

    fn above(&self) -> f64 {
        ABOVE + if self.marks.is_empty() { 0.0 } else { MARKS }
    }

    /// Whether the abscissa is a number of things: dots at whole numbers, or beside them so that none hides another.
    fn counts(&self) -> bool {
        let dots = |curve: &Curve| matches!(curve.style, CurveStyle::Discs | CurveStyle::Squares);
        let near = |p: &[f64; 3]| (p[0] - p[0].round()).abs() < 0.25;
        self.curves.iter().all(|curve| dots(curve) && curve.points.iter().all(near))
    }

    fn height(&self) -> f64 {
        self.above() + (HEIGHT + BELOW).max(legend_height(&self.keys(), LEGEND) + 6.0)
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>, top: f64) -> Result<()> {
        let all = || self.curves.iter().flat_map(|curve| &curve.points);
        let xs = all().map(|p| p[0]).chain(self.marks.iter().map(|mark| mark.0));
        let ys = all().flat_map(|p| [p[1] - p[2], p[1] + p[2]]);
        let x = match if self.log_x { Scale::log(xs, 0.03) } else { Scale::linear(xs, 0.03) } {
            Scale::Linear { low, high } if self.counts() => Scale::Whole { low, high },
            scale => scale,
        };
        let y = if self.log_y { Scale::log(ys, 0.06) } else { Scale::linear(ys, 0.06) };
        let panel = Panel {
            left: LEFT,
            top: top + self.above(),
            width: WIDTH,
            height: HEIGHT,
            x,
            y,
            x_name: Some(&self.x_name),
            y_name: &self.y_name,
        };
        panel.draw_axes(canvas)?;
        canvas.text((LEFT, top + LABEL), &self.title, Type::label().bold())?;
        let mut end = f64::NEG_INFINITY;
        for (value, label) in &self.marks {
            let Some(at) = panel.x_at(*value) else { continue };
            canvas.dashed((at, panel.top), (at, panel.bottom()), 0.9, GREY)?;
            let half = width(label, LABEL, false) / 2.0;
            if at - half > end {
                canvas.text((at, panel.top - 4.0), label, Type::label().centred().colour(GREY))?;
                end = at + half + 4.0;
            }
        }
        for curve in &self.curves {
            draw_curve(canvas, &panel, curve)?;
        }
        panel.draw_frame(canvas)?;
        legend(canvas, (panel.right() + 14.0, panel.top), LEGEND, &self.keys())
    }
}

/// One curve in a panel.
pub(super) fn draw_curve<S: Surface>(canvas: &mut Canvas<S>, panel: &Panel, curve: &Curve) -> Result<()> {
    let colour = category(curve.colour);
    let points: Vec<(f64, f64)> = curve.points.iter().filter_map(|p| panel.point(p[0], p[1])).collect();
    match curve.style {
        CurveStyle::Line => canvas.path(&points, LINE, colour)?,
        CurveStyle::Dashed => {
            for piece in dashes(&points) {
                canvas.path(&piece, LINE, colour)?;
            }
        }
        CurveStyle::Bars => {
            for [x, y, error] in &curve.points {
                if let (Some(from), Some(to)) = (panel.point(*x, y - error), panel.point(*x, y + error)) {
                    canvas.line(from, to, 3.0 * LINE, pale(colour))?;
                }
            }
        }
        CurveStyle::Discs | CurveStyle::Squares => {
            for [x, y, error] in &curve.points {
                let Some(at) = panel.point(*x, *y) else { continue };
                let bottom = panel.y_at(y - error).unwrap_or(panel.bottom());
                if let Some(top) = panel.y_at(y + error).filter(|_| *error > 0.0) {
                    canvas.line((at.0, top), (at.0, bottom), 2.0 * HAIR, colour)?;
                }
                if curve.style == CurveStyle::Discs {
                    canvas.disc(at, 2.5, colour)?;
                } else {
                    canvas.fill((at.0 - 2.2, at.1 - 2.2), (at.0 + 2.2, at.1 + 2.2), colour)?;
                }
            }
        }
    }
    Ok(())
}

/// Halfway to white.
fn pale(colour: RGBAColor) -> RGBAColor {
    let half = |c: u8| 127 + c / 2 + (c & 1);
    RGBAColor(half(colour.0), half(colour.1), half(colour.2), 1.0)
}

/// A line cut into dashes.
fn dashes(points: &[(f64, f64)]) -> Vec<Vec<(f64, f64)>> {
    let (dash, period) = (4.0f64, 7.0f64);
    let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut along = 0.0f64;
    for pair in points.windows(2) {
        let length = (pair[1].0 - pair[0].0).hypot(pair[1].1 - pair[0].1);
        let at = |s: f64| {
            let share = if length > 0.0 { s / length } else { 0.0 };
            (pair[0].0 + (pair[1].0 - pair[0].0) * share, pair[0].1 + (pair[1].1 - pair[0].1) * share)
        };
        let mut first = (along / period).floor() as i64;
        while (first as f64) * period < along + length {
            let (from, to) = (first as f64 * period - along, first as f64 * period + dash - along);
            if to > 0.0 {
                let piece = [at(from.max(0.0)), at(to.min(length))];
                match pieces.last_mut().filter(|_| from < 0.0) {
                    Some(open) => open.push(piece[1]),
                    None => pieces.push(piece.to_vec()),
                }
            }
            first += 1;
        }
        along += length;
    }
    pieces
}

impl Drawing for Curves<'_> {
    fn size(&self) -> (f64, f64) {
        (PAGE, self.panels.iter().map(CurvePanel::height).sum())
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let mut top = 0.0;
        for panel in self.panels {
            panel.draw(canvas, top)?;
            top += panel.height();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_four_sevenths_of_a_line() {
        let points: Vec<(f64, f64)> = (0..=30).map(|i| (f64::from(i) * 2.4, 0.0)).collect();
        let pieces = dashes(&points);
        let inked: f64 = pieces.iter().map(|p| p[p.len() - 1].0 - p[0].0).sum();
        assert!(pieces.len() == 11 && (inked - 42.0).abs() < 1e-9, "{inked} {pieces:?}");
    }

    #[test]
    fn an_empty_panel_is_refused() {
        let panel = CurvePanel {
            title: String::new(),
            x_name: String::new(),
            y_name: String::new(),
            log_x: false,
            log_y: true,
            marks: Vec::new(),
            curves: Vec::new(),
        };
        assert!(curves(Path::new("."), "x", &[panel], &Caption::default()).is_err());
    }
}
