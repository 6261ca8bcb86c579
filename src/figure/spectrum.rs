//! Hessian eigenvalues of several points, with multiplicities, on an axis logarithmic on both sides of zero.

use std::path::{Path, PathBuf};

use plotters::style::RGBAColor;

use super::axis::{Key, Mark, Scale, key, legend, legend_height};
use super::canvas::{Canvas, Drawing, Surface, Type, write};
use super::style::{
    BLUE, GREEN, GRID, HAIR, INK, LABEL, LEADING, LINE, PAGE, VERMILLION, category, power, width, wrap_to,
};
use super::{Caption, not_empty, numbers, texts};
use crate::error::{Error, Result};
use crate::report::Table;

const ACTION: &str = "draw the spectrum";
/// Points in one figure.
const POINTS: usize = 12;
/// Eigenvalues below this share of the largest are drawn at 0.
const ZERO: f64 = 1e-12;
const NAMES: f64 = 86.0;
const LEGEND: f64 = 108.0;
const COUNTS: f64 = 40.0;
const FIELD: f64 = PAGE - NAMES - COUNTS - LEGEND - 14.0;
/// Half the width of the band that stands for zero.
const BAND: f64 = 9.0;
const GAP: f64 = 7.0;

struct Eigenvalue {
    value: f64,
    multiplicity: f64,
    transverse: bool,
}

struct Spectrum {
    points: Vec<(String, Vec<Eigenvalue>)>,
    axis: Axis,
    counts: Scale,
    strip: f64,
    keys: Vec<Key>,
}

/// Draws the rows of a table with columns `point`, `block` ("span" or "transverse"), `eigenvalue` and `multiplicity`:
/// a strip for each point, in the order given, at most 12. The height of a stem is its multiplicity.
pub fn spectrum(dir: &Path, stem: &str, eigenvalues: &Table, caption: &Caption) -> Result<Vec<PathBuf>> {
    write(dir, stem, caption, &Spectrum::new(eigenvalues)?)
}

/// Decades of |eigenvalue| right of zero and, mirrored, left of it.
struct Axis {
    lowest: i32,
    right: i32,
    left: i32,
    smallest: f64,
}

impl Axis {
    fn new(values: &[f64]) -> Self {
        let largest = values.iter().map(|x| x.abs()).fold(0.0, f64::max);
        let smallest = largest * ZERO;
        let decades = |x: f64| x.abs().log10();
        let outside: Vec<f64> = values.iter().copied().filter(|x| x.abs() > smallest).collect();
        let least = outside.iter().map(|x| decades(*x)).fold(f64::INFINITY, f64::min);
        let lowest = if least.is_finite() { least.floor() as i32 } else { -1 };
        let reach = |side: Vec<f64>| {
            let most = side.into_iter().map(decades).fold(f64::NEG_INFINITY, f64::max);
            if most.is_finite() { (most.ceil() as i32).max(lowest + 1) } else { lowest }
        };
        let left = reach(outside.iter().copied().filter(|&x| x < 0.0).collect());
        let right = reach(outside.iter().copied().filter(|&x| x > 0.0).collect());
        let right = if left == lowest { right.max(lowest + 1) } else { right };
        Axis { lowest, right, left, smallest }
    }

    fn decade(&self) -> f64 {
        (FIELD - 2.0 * BAND - 6.0) / f64::from(self.right - self.lowest + self.left - self.lowest)
    }

    fn zero(&self) -> f64 {
        NAMES + 3.0 + BAND + self.decade() * f64::from(self.left - self.lowest)
    }

    fn at(&self, x: f64) -> f64 {
        if x.abs() <= self.smallest {
            return self.zero();
        }
        self.zero() + x.signum() * (BAND + self.decade() * (x.abs().log10() - f64::from(self.lowest)))
    }

    /// Zero and powers of ten; those with room have a label.
    fn ticks(&self) -> Vec<(f64, Option<String>)> {
        let step = (34.0 / self.decade()).ceil().max(1.0) as i32;
        let mut ticks = vec![(0.0, Some("0".to_string()))];
        for (sign, last, minus) in [(1.0, self.right, ""), (-1.0, self.left, "−")] {
            for n in (self.lowest..=last).filter(|_| last > self.lowest) {
                let value = sign * 10f64.powi(n);
                let label = format!("{minus}{}", power(n));
                let free = (self.at(value) - self.zero()).abs() > width(&label, LABEL, false) / 2.0 + 6.0;
                ticks.push((value, (free && n.rem_euclid(step) == 0).then_some(label)));
            }
        }
        ticks
    }
}

impl Spectrum {
    fn new(table: &Table) -> Result<Self> {
        not_empty(table, ACTION)?;
        let names = texts(table, "point", ACTION)?;
        let blocks = texts(table, "block", ACTION)?;
        let values = numbers(table, "eigenvalue", ACTION)?;
        let multiplicities = numbers(table, "multiplicity", ACTION)?;
        let mut points: Vec<(String, Vec<Eigenvalue>)> = Vec::new();
        let (mut incomplete, mut beyond) = (0, Vec::new());
        for (i, name) in names.into_iter().enumerate() {
            let place = points.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                points.push((name.clone(), Vec::new()));
                points.len() - 1
            });
            if place >= POINTS {
                beyond.push(name);
                continue;
            }
            match (values[i], multiplicities[i]) {
                (Some(value), Some(multiplicity)) if multiplicity >= 1.0 => {
                    points[place].1.push(Eigenvalue { value, multiplicity, transverse: blocks[i] == "transverse" });
                }
                _ => incomplete += 1,
            }
        }
        let total = points.len();
        points.truncate(POINTS);
        let all: Vec<&Eigenvalue> = points.iter().flat_map(|(_, of_point)| of_point).collect();
        if all.is_empty() {
            let problem = format!("no row of table `{}` has an eigenvalue and a multiplicity", table.name);
            return Err(Error::Spec { action: ACTION, problem });
        }
        let axis = Axis::new(&all.iter().map(|e| e.value).collect::<Vec<_>>());
        let most = all.iter().map(|e| e.multiplicity).fold(1.0, f64::max);
        let counts = Scale::Log { low: 0.55, high: f64::max(most * 2.2, 14.0) };

        let mut keys = Vec::new();
        let negative = |e: &Eigenvalue| e.value < -axis.smallest;
        for (transverse, name) in [(false, "span"), (true, "transverse")] {
            let block: Vec<_> = all.iter().filter(|e| e.transverse == transverse).collect();
            if block.iter().any(|e| !negative(e)) {
                keys.push(key(mark(transverse, false), name));
            }
            if block.iter().any(|e| negative(e)) {
                keys.push(key(mark(transverse, true), format!("{name}, negative")));
            }
        }
        keys.push(key(Mark::Nothing, "height: multiplicity"));
        if all.iter().any(|e| e.value.abs() <= axis.smallest) {
            keys.push(key(Mark::Nothing, "at 0: below 10⁻¹² of the largest"));
        }
        if total > POINTS {
            keys.push(key(Mark::Nothing, format!("first {POINTS} of {total} points")));
        }
        if incomplete > 0 {
            keys.push(key(Mark::Nothing, format!("incomplete rows: {incomplete}")));
        }
        let strip = (470.0 / points.len() as f64 - GAP).clamp(32.0, 64.0);
        drop(all);
        Ok(Spectrum { points, axis, counts, strip, keys })
    }

    fn strips(&self) -> f64 {
        self.points.len() as f64 * (self.strip + GAP) - GAP
    }

    fn stem<S: Surface>(&self, canvas: &mut Canvas<S>, e: &Eigenvalue, bottom: f64) -> Result<()> {
        let x = self.axis.at(e.value);
        let y = bottom - self.strip * self.counts.at(e.multiplicity).unwrap_or(0.0);
        let colour = shade(e.transverse, e.value < -self.axis.smallest);
        canvas.line((x, bottom), (x, y), LINE, colour)?;
        if e.transverse {
            canvas.fill((x - 2.5, y - 2.5), (x + 2.5, y + 2.5), colour)
        } else {
            canvas.disc((x, y), 2.75, colour)
        }
    }
}

fn shade(transverse: bool, negative: bool) -> RGBAColor {
    category(match (negative, transverse) {
        (true, _) => VERMILLION,
        (false, false) => BLUE,
        (false, true) => GREEN,
    })
}

fn mark(transverse: bool, negative: bool) -> Mark {
    let colour = shade(transverse, negative);
    if transverse { Mark::Square(colour) } else { Mark::Disc(colour) }
}

impl Drawing for Spectrum {
    fn size(&self) -> (f64, f64) {
        (PAGE, (self.strips() + 32.0).max(legend_height(&self.keys, LEGEND)) + 4.0)
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let (left, right) = (NAMES, NAMES + FIELD);
        let mut widest = 0.0;
        for (n, (name, eigenvalues)) in self.points.iter().enumerate() {
            let top = 4.0 + n as f64 * (self.strip + GAP);
            let bottom = top + self.strip;
            let zero = self.axis.zero();
            canvas.fill((zero - BAND, top), (zero + BAND, bottom), RGBAColor(240, 240, 240, 1.0))?;
            for (value, _) in self.axis.ticks() {
                let x = self.axis.at(value);
                canvas.line((x, top), (x, bottom), HAIR, GRID)?;
            }
            let mut above = f64::INFINITY;
            for (count, label) in self.counts.ticks((self.strip / 11.0) as usize) {
                let Some(t) = self.counts.at(count).filter(|t| (0.0..=1.0).contains(t)) else { continue };
                let y = bottom - t * self.strip;
                canvas.line((left, y), (right, y), HAIR, GRID)?;
                if y < above - 10.0 {
                    canvas.line((right, y), (right + 2.0, y), HAIR, INK)?;
                    canvas.text((right + 4.0, y), &label, Type::label().middle())?;
                    widest = f64::max(widest, width(&label, LABEL, false));
                    above = y;
                }
            }
            canvas.dashed((zero, top), (zero, bottom), 0.9, INK)?;
            // Small multiplicities last, so that a tall stem at the same place hides none.
            let mut order: Vec<&Eigenvalue> = eigenvalues.iter().collect();
            order.sort_by(|a, b| b.multiplicity.total_cmp(&a.multiplicity));
            for eigenvalue in order {
                self.stem(canvas, eigenvalue, bottom)?;
            }
            canvas.frame((left, top), (right, bottom), HAIR, INK)?;
            let name = wrap_to(name, LABEL, false, NAMES - 6.0, 2);
            let middle = (top + bottom) / 2.0 - (name.len().saturating_sub(1)) as f64 * LEADING / 2.0;
            canvas.lines((left - 6.0, middle), &name, Type::label().right().middle())?;
        }
        let bottom = 4.0 + self.strips();
        for (value, label) in self.axis.ticks() {
            let x = self.axis.at(value);
            let Some(label) = label else { continue };
            canvas.line((x, bottom), (x, bottom + 3.0), HAIR, INK)?;
            canvas.text((x, bottom + 12.5), &label, Type::label().centred())?;
        }
        let name = "eigenvalue λ of the Hessian (logarithmic in |λ|)";
        canvas.text(((left + right) / 2.0, bottom + 26.0), name, Type::label().centred())?;
        let beside = (right + 4.0 + widest + 8.0, 4.0 + self.strips() / 2.0);
        if self.strips() >= width("multiplicity", LABEL, false) {
            canvas.text(beside, "multiplicity", Type::label().centred().middle().upwards())?;
        }
        legend(canvas, (right + COUNTS + 14.0, 4.0), LEGEND, &self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Value;

    fn table() -> Table {
        let columns = [("point", "", ""), ("block", "", ""), ("eigenvalue", "", ""), ("multiplicity", "", "")];
        Table::new("eigenvalues", &columns)
    }

    #[test]
    fn zero_lies_between_the_signs() {
        let axis = Axis::new(&[-0.02, 0.0, 1e-17, 1e-4, 0.3]);
        let places: Vec<f64> = [-1e-2, -1e-4, 1e-17, 1e-4, 0.3].iter().map(|&x| axis.at(x)).collect();
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
        assert!(places[0] >= NAMES && places[4] <= NAMES + FIELD);
        assert_eq!(axis.at(0.0), places[2]);
        for only in [vec![0.0], vec![-1.0], vec![1.0]] {
            let axis = Axis::new(&only);
            assert!(only.iter().all(|&x| (NAMES..=NAMES + FIELD).contains(&axis.at(x))), "{only:?}");
        }
    }

    #[test]
    fn empty_and_incomplete_rows_are_named() {
        let mut rows = table();
        let draw = |rows: &Table| spectrum(Path::new("."), "x", rows, &Caption::default());
        assert!(draw(&rows).is_err_and(|error| error.to_string().contains("has no rows")));
        rows.push(vec!["a".into(), "span".into(), Value::Missing("?".into()), 1usize.into()]);
        assert!(draw(&rows).is_err_and(|error| error.to_string().contains("no row of table")));
        for n in 0..14usize {
            rows.push(vec![format!("p{n}").into(), "span".into(), 0.1.into(), 1usize.into()]);
        }
        let figure = Spectrum::new(&rows).unwrap();
        let texts: Vec<&str> = figure.keys.iter().map(|key| key.text.as_str()).collect();
        assert!(texts.contains(&"incomplete rows: 1") && texts.contains(&"first 12 of 15 points"), "{texts:?}");
    }
}
