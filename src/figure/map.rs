//! A plane of two parameters: cells coloured by a value of either sign, marks, and curves over them.

use std::path::{Path, PathBuf};

use plotters::style::RGBAColor;

use super::Caption;
use super::axis::{Key, Mark, Panel, Scale, colour_bar, key, legend, legend_height, range};
use super::canvas::{Canvas, Drawing, Surface, write};
use super::curves::{Curve, CurveStyle, draw_curve};
use super::style::{GRID, INK, PAGE, PAPER, category, diverging};
use crate::error::{Error, Result};

const LEFT: f64 = 48.0;
const BAR: f64 = 62.0;
const WIDTH: f64 = PAGE - LEFT - BAR - 12.0;
const BELOW: f64 = 38.0;
/// Largest height of the field, and of a cell.
const HEIGHT: f64 = 260.0;
const CELL: f64 = 24.0;

/// A cell around (x, y).
#[derive(Clone, Copy, Debug)]
pub struct MapCell {
    pub x: f64,
    pub y: f64,
    pub value: Option<f64>,
    pub is_marked: bool,
}

/// A map with its axes.
#[derive(Clone, Debug)]
pub struct PhaseMap {
    pub x_name: String,
    pub y_name: String,
    pub value_name: String,
    /// What a mark means, and a cell without a value.
    pub marked: String,
    pub missing: String,
    /// Width and height of a cell.
    pub cell: (f64, f64),
    pub cells: Vec<MapCell>,
    pub curves: Vec<Curve>,
}

/// Draws a map: blue below 0, orange above, white at 0.
pub fn phase_map(dir: &Path, stem: &str, map: &PhaseMap, caption: &Caption) -> Result<Vec<PathBuf>> {
    if map.cells.is_empty() {
        return Err(Error::Spec { action: "draw a map", problem: "there is no cell to draw".into() });
    }
    write(dir, stem, caption, map)
}

impl PhaseMap {
    fn scales(&self) -> (Scale, Scale) {
        let scale = |values: Vec<f64>, cell: f64| {
            let (low, high) = range(values).unwrap_or((0.0, 1.0));
            Scale::Linear { low: low - 0.5 * cell, high: high + 0.5 * cell }
        };
        let (x, y) = self.cells.iter().map(|cell| (cell.x, cell.y)).unzip();
        (scale(x, self.cell.0), scale(y, self.cell.1))
    }

    fn height(&self) -> f64 {
        let Scale::Linear { low, high } = self.scales().1 else { return HEIGHT };
        ((high - low) / self.cell.1 * CELL).clamp(60.0, HEIGHT)
    }

    /// The value with the strongest colour.
    fn limit(&self) -> f64 {
        let limit = self.cells.iter().filter_map(|cell| cell.value).fold(0.0, |m, value| f64::max(m, value.abs()));
        if limit > 0.0 { limit } else { 1.0 }
    }

    fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        if self.cells.iter().any(|cell| cell.is_marked) {
            keys.push(key(Mark::Disc(INK), self.marked.clone()));
        }
        if self.cells.iter().any(|cell| cell.value.is_none()) {
            keys.push(key(Mark::Bar(GRID), self.missing.clone()));
        }
        keys.extend(self.curves.iter().map(|curve| {
            let colour = category(curve.colour);
            let mark = match curve.style {
                CurveStyle::Line | CurveStyle::Bars => Mark::Line(colour),
                CurveStyle::Dashed => Mark::Dashed(colour),
                CurveStyle::Discs => Mark::Disc(colour),
                CurveStyle::Squares => Mark::Square(colour),
            };
            key(mark, curve.name.clone())
        }));
        keys
    }
}

impl Drawing for PhaseMap {
    fn size(&self) -> (f64, f64) {
        (PAGE, 6.0 + self.height() + BELOW + legend_height(&self.keys(), WIDTH))
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let (x, y) = self.scales();
        let (top, height, limit) = (6.0, self.height(), self.limit());
        let (x_name, y_name) = (Some(self.x_name.as_str()), self.y_name.as_str());
        let panel = Panel { left: LEFT, top, width: WIDTH, height, x, y, x_name, y_name };
        panel.draw_axes(canvas)?;
        for cell in &self.cells {
            let corner = |sign: f64| panel.point(cell.x + sign * self.cell.0 / 2.0, cell.y - sign * self.cell.1 / 2.0);
            let (Some(from), Some(to)) = (corner(-1.0), corner(1.0)) else { continue };
            let colour: RGBAColor = cell.value.map_or(GRID, |value| diverging(value / limit).into());
            canvas.fill(from, (to.0.min(panel.right()), to.1.min(panel.bottom())), colour)?;
        }
        for cell in self.cells.iter().filter(|cell| cell.is_marked) {
            let Some(at) = panel.point(cell.x, cell.y) else { continue };
            canvas.disc(at, 2.6, PAPER)?;
            canvas.disc(at, 1.8, INK)?;
        }
        for curve in &self.curves {
            // Only what lies inside the field.
            let inside = |p: &&[f64; 3]| [x.at(p[0]), y.at(p[1])].iter().flatten().all(|t| (0.0..=1.0).contains(t));
            let points = curve.points.iter().filter(inside).copied().collect();
            draw_curve(canvas, &panel, &Curve { points, ..curve.clone() })?;
        }
        panel.draw_frame(canvas)?;
        let at = (panel.right() + 14.0, top);
        colour_bar(canvas, at, height, (-limit, limit), &self.value_name, |v| diverging(v / limit))?;
        legend(canvas, (LEFT, panel.bottom() + BELOW), WIDTH, &self.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_reach_to_the_largest_value_and_an_empty_map_is_refused() {
        let cell = |x: f64, value| MapCell { x, y: 1.0, value, is_marked: false };
        let mut map = PhaseMap {
            x_name: String::new(),
            y_name: String::new(),
            value_name: String::new(),
            marked: String::new(),
            missing: String::new(),
            cell: (1.0, 1.0),
            cells: vec![cell(1.0, Some(-3.0)), cell(2.0, Some(0.5)), cell(3.0, None)],
            curves: Vec::new(),
        };
        assert_eq!((map.limit(), map.keys().len()), (3.0, 1));
        assert!(matches!(map.scales().0, Scale::Linear { low: 0.5, high: 3.5 }));
        map.cells.clear();
        assert!(phase_map(Path::new("."), "x", &map, &Caption::default()).is_err());
    }
}
