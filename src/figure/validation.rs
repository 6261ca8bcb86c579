//! Equations of SGD against simulated runs: overlaps in time, deviation of one run against d, test errors.

use std::path::{Path, PathBuf};

use plotters::style::RGBAColor;

use super::axis::{Key, Mark, Panel, Scale, key, legend, legend_height};
use super::canvas::{Canvas, Drawing, Surface, Type, write};
use super::style::{BLUE, GREY, INK, LINE, PAGE, VERMILLION, category, fixed, grouped};
use super::{Caption, not_empty, numbers, texts};
use crate::error::{Error, Result};
use crate::report::Table;

const ACTION: &str = "draw the comparison";
const LEFT: f64 = 52.0;
const LEGEND: f64 = 118.0;
const TOP_WIDTH: f64 = PAGE - LEFT - LEGEND - 14.0;
const TOP_HEIGHT: f64 = 196.0;
const BELOW: f64 = TOP_HEIGHT + 46.0;
const HEIGHT: f64 = 132.0;
const WIDTH: f64 = 182.0;
/// Left side of the last panel.
const SECOND: f64 = PAGE - WIDTH - 4.0;

/// A point with the ends of its bar.
#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
    bar: Option<(f64, f64)>,
}

struct Series {
    name: String,
    line: Vec<Point>,
    runs: Vec<Point>,
}

struct Validation {
    series: Vec<Series>,
    deviations: Vec<Point>,
    /// Middle of a bin of z and its share of all, over its width.
    bins: Vec<(f64, f64)>,
    bin_width: f64,
    tests: usize,
    exponent: Option<(f64, f64)>,
    keys: Vec<Key>,
}

/// Draws a table of `study::validation_curves`: columns `panel`, `dimension`, `series`, `x`, `y`, `low` and `high`. The
/// exponent of the decay with d and its standard error are written beside the points.
pub fn validation(
    dir: &Path,
    stem: &str,
    data: &Table,
    exponent: Option<(f64, f64)>,
    caption: &Caption,
) -> Result<Vec<PathBuf>> {
    write(dir, stem, caption, &Validation::new(data, exponent)?)
}

impl Validation {
    fn new(data: &Table, exponent: Option<(f64, f64)>) -> Result<Self> {
        not_empty(data, ACTION)?;
        let column = |name: &str| numbers(data, name, ACTION);
        let (panels, names) = (texts(data, "panel", ACTION)?, texts(data, "series", ACTION)?);
        let (x, y, low, high, dimension) =
            (column("x")?, column("y")?, column("low")?, column("high")?, column("dimension")?);
        let points = |panel: &str, name: Option<&str>| -> Vec<Point> {
            (0..panels.len())
                .filter(|&i| panels[i] == panel && name.is_none_or(|name| names[i] == name))
                .filter_map(|i| Some(Point { x: x[i]?, y: y[i]?, bar: low[i].zip(high[i]) }))
                .collect()
        };
        let mut known: Vec<&String> = Vec::new();
        for (panel, name) in panels.iter().zip(&names) {
            if panel == "equations" && !known.contains(&name) {
                known.push(name);
            }
        }
        if known.is_empty() {
            let problem = format!("table `{}` has no rows of panel `equations`", data.name);
            return Err(Error::Spec { action: ACTION, problem });
        }
        let series: Vec<Series> = known
            .iter()
            .map(|name| Series {
                name: subscripted(name),
                line: points("equations", Some(name)),
                runs: points("runs", Some(name)),
            })
            .collect();
        let mut bins: Vec<(f64, f64)> = Vec::new();
        for point in points("z", None) {
            match bins.iter_mut().find(|(x, _)| *x == point.x) {
                Some((_, count)) => *count += point.y,
                None => bins.push((point.x, point.y)),
            }
        }
        let total: f64 = bins.iter().map(|bin| bin.1).sum();
        let bin_width = bins.windows(2).map(|pair| pair[1].0 - pair[0].0).next().unwrap_or(1.0);
        bins.iter_mut().for_each(|bin| bin.1 /= (total * bin_width).max(1e-300));
        let shown = panels.iter().position(|panel| panel == "runs").and_then(|i| dimension[i]).unwrap_or(f64::NAN);
        let mut keys: Vec<Key> = Vec::new();
        let many = series.len() > 8;
        if many {
            keys.push(key(Mark::Line(colour("Q", 0, true)), "Qᵢⱼ"));
            keys.push(key(Mark::Line(colour("R", 0, true)), "Rᵢₘ"));
        } else {
            let all = series.iter().enumerate();
            keys.extend(all.map(|(i, series)| key(Mark::Line(colour(&series.name, i, false)), series.name.clone())));
        }
        keys.push(key(Mark::Line(GREY), "lines: equations"));
        keys.push(key(Mark::Disc(GREY), format!("dots: mean of runs at d={}", grouped(shown as usize))));
        keys.push(key(Mark::Bar(faint(GREY)), "bars: ± 2 standard deviations of one run"));
        Ok(Validation {
            series,
            deviations: points("deviation", None),
            bins,
            bin_width,
            tests: total as usize,
            exponent,
            keys,
        })
    }

    fn overlaps<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let all = || self.series.iter().flat_map(|series| series.line.iter().chain(&series.runs));
        let ends = all().flat_map(|p| p.bar.map_or([p.y, p.y], |bar| [bar.0, bar.1]));
        let (x, y) = (Scale::linear(all().map(|p| p.x), 0.02), Scale::linear(ends, 0.04));
        let panel = Panel {
            left: LEFT,
            top: 4.0,
            width: TOP_WIDTH,
            height: TOP_HEIGHT,
            x,
            y,
            x_name: Some("time t (steps / d)"),
            y_name: "overlap",
        };
        panel.draw_axes(canvas)?;
        let many = self.series.len() > 8;
        for (i, series) in self.series.iter().enumerate() {
            for point in &series.runs {
                bar(canvas, &panel, point, 2.0, faint(colour(&series.name, i, many)))?;
            }
        }
        for (i, series) in self.series.iter().enumerate() {
            let colour = colour(&series.name, i, many);
            let line: Vec<_> = series.line.iter().filter_map(|p| panel.point(p.x, p.y)).collect();
            canvas.path(&line, LINE, colour)?;
            for point in series.runs.iter().filter_map(|p| panel.point(p.x, p.y)) {
                canvas.disc(point, 2.0, colour)?;
            }
        }
        panel.draw_frame(canvas)?;
        legend(canvas, (LEFT + TOP_WIDTH + 14.0, 4.0), LEGEND, &self.keys)
    }

    /// Log-log, with the line of slope -1/2 at the mean height of the points.
    fn decay<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let ends = self.deviations.iter().flat_map(|p| p.bar.map_or([p.y, p.y], |bar| [bar.0, bar.1]));
        let (x, y) = (Scale::log(self.deviations.iter().map(|p| p.x), 0.06), Scale::log(ends, 0.08));
        let panel = Panel {
            left: LEFT,
            top: BELOW,
            width: WIDTH,
            height: HEIGHT,
            x,
            y,
            x_name: Some("input dimension d"),
            y_name: "rms deviation of a run",
        };
        panel.draw_axes(canvas)?;
        let n = self.deviations.len() as f64;
        let height = self.deviations.iter().map(|p| p.y.ln() + 0.5 * p.x.ln()).sum::<f64>() / n;
        let line: Vec<_> =
            self.deviations.iter().filter_map(|p| panel.point(p.x, (height - 0.5 * p.x.ln()).exp())).collect();
        canvas.path(&line, LINE, category(VERMILLION))?;
        for point in &self.deviations {
            bar(canvas, &panel, point, 0.75, INK)?;
            if let Some(at) = panel.point(point.x, point.y) {
                canvas.disc(at, 2.5, category(BLUE))?;
            }
        }
        panel.draw_frame(canvas)?;
        let right = panel.right() - 6.0;
        let text = Type::label().right();
        canvas.text((right, BELOW + 13.0), "line: slope −1/2", text.colour(category(VERMILLION)))?;
        match self.exponent {
            Some((slope, error)) => {
                let fitted = format!("fit: {} ± {}", fixed(slope, 3), fixed(error, 3));
                canvas.text((right, BELOW + 25.0), &fitted, text.colour(category(BLUE)))
            }
            None => Ok(()),
        }
    }

    /// Shares of z with the standard normal density.
    fn test_errors<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let reach = self.bins.iter().map(|bin| bin.0.abs() + 0.5 * self.bin_width).fold(1.0, f64::max);
        let highest = self.bins.iter().map(|bin| bin.1).fold(0.4, f64::max);
        let panel = Panel {
            left: SECOND,
            top: BELOW,
            width: WIDTH,
            height: HEIGHT,
            x: Scale::Linear { low: -reach, high: reach },
            y: Scale::Linear { low: 0.0, high: 1.35 * highest },
            x_name: Some("(test error − L) / standard error"),
            y_name: "share per unit",
        };
        panel.draw_axes(canvas)?;
        for (x, share) in self.bins.iter().filter(|bin| bin.1 > 0.0) {
            let half = 0.5 * self.bin_width;
            if let (Some(from), Some(to)) = (panel.point(x - half, 0.0), panel.point(x + half, *share)) {
                canvas.fill((from.0 + 0.4, from.1), (to.0 - 0.4, to.1), faint(category(BLUE)))?;
            }
        }
        let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let curve = (-80..=80).map(|i| f64::from(i) / 80.0 * reach);
        let curve: Vec<_> = curve.filter_map(|z| panel.point(z, density(z))).collect();
        canvas.path(&curve, LINE, category(VERMILLION))?;
        panel.draw_frame(canvas)?;
        let text = Type::label();
        let tests = format!("{} tests", grouped(self.tests));
        canvas.text((panel.left + 6.0, BELOW + 13.0), &tests, text.colour(category(BLUE)))?;
        canvas.text((panel.right() - 6.0, BELOW + 13.0), "normal law", text.right().colour(category(VERMILLION)))
    }
}

fn bar<S: Surface>(canvas: &mut Canvas<S>, panel: &Panel, point: &Point, half: f64, colour: RGBAColor) -> Result<()> {
    let Some((low, high)) = point.bar else { return Ok(()) };
    match (panel.point(point.x, low), panel.point(point.x, high)) {
        (Some(low), Some(high)) => canvas.fill((low.0 - half, low.1), (high.0 + half, high.1), colour),
        _ => Ok(()),
    }
}

/// One colour for each overlap, or one for Q and one for R.
fn colour(name: &str, index: usize, shared: bool) -> RGBAColor {
    match (shared, name.starts_with('Q')) {
        (false, _) => category(index),
        (true, true) => category(BLUE),
        (true, false) => category(VERMILLION),
    }
}

fn faint(colour: RGBAColor) -> RGBAColor {
    RGBAColor(colour.0, colour.1, colour.2, 0.3)
}

/// `q_1_2` as Q₁₂; with a comma from ten units on.
fn subscripted(name: &str) -> String {
    let mut parts = name.split('_');
    let letter = parts.next().unwrap_or_default().to_uppercase();
    let indices: Vec<&str> = parts.collect();
    let separator = if indices.iter().any(|i| i.len() > 1) { "," } else { "" };
    let digit = |c: char| c.to_digit(10).and_then(|d| char::from_u32(0x2080 + d)).unwrap_or(c);
    letter + &indices.join(separator).chars().map(digit).collect::<String>()
}

impl Drawing for Validation {
    fn size(&self) -> (f64, f64) {
        let below = !self.deviations.is_empty() || !self.bins.is_empty();
        let body = if below { BELOW + HEIGHT + 30.0 } else { TOP_HEIGHT + 34.0 };
        (PAGE, body.max(legend_height(&self.keys, LEGEND) + 4.0))
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        self.overlaps(canvas)?;
        if !self.deviations.is_empty() {
            self.decay(canvas)?;
        }
        if self.tests > 0 {
            self.test_errors(canvas)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Value;

    #[test]
    fn what_is_missing_is_named_and_little_can_be_drawn() {
        let names = ["panel", "dimension", "series", "x", "y", "low", "high"];
        let mut table = Table::new("data", &names.map(|name| (name, "", "")));
        let draw = |table: &Table, dir: &Path| validation(dir, "v", table, None, &Caption::default());
        let directory = tempfile::tempdir().unwrap();
        assert!(draw(&table, directory.path()).unwrap_err().to_string().contains("no rows"));
        let row = |panel: &str, x: f64, y: f64| -> Vec<Value> {
            let none = || Value::Missing("none".into());
            vec![panel.into(), 100usize.into(), "q_1_1".into(), x.into(), y.into(), none(), none()]
        };
        table.push(row("deviation", 100.0, 0.1));
        assert!(draw(&table, directory.path()).unwrap_err().to_string().contains("`equations`"));
        table.push(row("equations", 0.0, 1.0));
        table.push(row("z", 0.25, 0.0));
        assert_eq!(draw(&table, directory.path()).unwrap().len(), 2);
    }

    #[test]
    fn names_get_subscripts() {
        assert_eq!(subscripted("q_1_2"), "Q₁₂");
        assert_eq!(subscripted("r_10_2"), "R₁₀,₂");
    }
}
