//! Scales, ticks, framed panels, legends and colour bars.

use plotters::style::{RGBAColor, RGBColor};

use super::canvas::{Canvas, Surface, Type};
use super::style::{GRID, HAIR, INK, LABEL, LEADING, LINE, SILVER, fixed, power, significant, width, wrap};
use crate::error::Result;

/// How values go along an axis.
#[derive(Clone, Copy)]
pub(super) enum Scale {
    Linear {
        low: f64,
        high: f64,
    },
    /// Linear, with ticks at whole numbers only.
    Whole {
        low: f64,
        high: f64,
    },
    Log {
        low: f64,
        high: f64,
    },
}

impl Scale {
    /// A linear scale over values with a margin of `share` of their range on both sides; never empty.
    pub fn linear(values: impl IntoIterator<Item = f64>, share: f64) -> Self {
        let (low, high) = range(values).unwrap_or((0.0, 1.0));
        let span = if high > low { high - low } else { low.abs().max(1e-12) };
        let margin = if high > low { share * span } else { 0.5 * span };
        Scale::Linear { low: low - margin, high: high + margin }
    }

    /// A logarithmic scale over the positive ones of the values, widened by `share` of its decades.
    pub fn log(values: impl IntoIterator<Item = f64>, share: f64) -> Self {
        let (low, high) = range(values.into_iter().filter(|&x| x > 0.0)).unwrap_or((0.1, 1.0));
        let decades = (high / low).log10();
        let margin = if decades > 0.0 { 10f64.powf(share * decades) } else { 2.0 };
        Scale::Log { low: (low / margin).max(f64::MIN_POSITIVE), high: (high * margin).min(f64::MAX) }
    }

    /// Position in 0..1; `None` where the value has none.
    pub fn at(&self, x: f64) -> Option<f64> {
        let position = match *self {
            Scale::Linear { low, high } | Scale::Whole { low, high } => (x - low) / (high - low),
            Scale::Log { .. } if x <= 0.0 => return None,
            Scale::Log { low, high } => (x / low).log10() / (high / low).log10(),
        };
        position.is_finite().then_some(position)
    }

    /// At most about `most` round values with their labels.
    pub fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let most = most.max(2);
        match *self {
            Scale::Linear { low, high } => linear_ticks(low, high, most),
            Scale::Whole { low, high } => linear_ticks(low, high, most.min((high - low).ceil().max(1.0) as usize)),
            Scale::Log { low, high } => {
                let (first, last) = (low.log10().ceil() as i32, high.log10().floor() as i32);
                let decades = (last - first + 1).max(0) as usize;
                if decades >= 3 || (decades == 2 && most < 5) {
                    let step = decades.div_ceil(most).max(1);
                    return (first..=last).step_by(step).map(|n| (10f64.powi(n), power(n))).collect();
                }
                let mut ticks = Vec::new();
                for n in first - 1..=last {
                    for digit in [1.0, 2.0, 5.0] {
                        let value = digit * 10f64.powi(n);
                        if (low..=high).contains(&value) {
                            ticks.push((value, significant(value, 1)));
                        }
                    }
                }
                if ticks.len() >= 3 { ticks } else { linear_ticks(low, high, most) }
            }
        }
    }
}

/// Least and greatest of the finite values.
pub(super) fn range(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|x| x.is_finite()).fold(None, |range, x| match range {
        None => Some((x, x)),
        Some((low, high)) => Some((f64::min(low, x), f64::max(high, x))),
    })
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks(low: f64, high: f64, most: usize) -> Vec<(f64, String)> {
    let rough = (high - low) / most as f64;
    if !(rough.is_finite() && rough > 0.0) {
        return Vec::new();
    }
    let base = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * base).find(|&s| s >= rough).unwrap_or(rough);
    let decimals = (-step.log10()).ceil().max(0.0) as usize;
    let greatest = low.abs().max(high.abs());
    let digits = |x: f64| (x.abs().log10().floor() - step.log10().floor()).clamp(0.0, 14.0) as usize + 1;
    let first = (low / step).ceil();
    (0..=2 * most)
        .map(|i| (first + i as f64) * step)
        .take_while(|&x| x <= high * (1.0 + 1e-12) + 1e-300)
        .map(|x| {
            let x = if x.abs() < step * 1e-9 { 0.0 } else { x };
            let label = if !(1e-3..1e5).contains(&greatest) { significant(x, digits(x)) } else { fixed(x, decimals) };
            (x, label)
        })
        .collect()
}

/// A framed field with two axes.
pub(super) struct Panel<'a> {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub x: Scale,
    pub y: Scale,
    /// Names of the axes; no x name: no x labels either (the panel below shares them).
    pub x_name: Option<&'a str>,
    pub y_name: &'a str,
}

impl Panel<'_> {
    pub fn right(&self) -> f64 {
        self.left + self.width
    }
    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }
    pub fn x_at(&self, x: f64) -> Option<f64> {
        self.x.at(x).map(|t| self.left + t * self.width)
    }
    pub fn y_at(&self, y: f64) -> Option<f64> {
        self.y.at(y).map(|t| self.bottom() - t * self.height)
    }
    pub fn point(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        Some((self.x_at(x)?, self.y_at(y)?))
    }

    /// Grid lines, tick labels and axis names; drawn before the data.
    pub fn draw_axes<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let inside = |t: f64| (-1e-9..=1.0 + 1e-9).contains(&t);
        let mut end = f64::NEG_INFINITY;
        for (value, label) in self.x.ticks((self.width / 45.0) as usize) {
            let Some(x) = self.x.at(value).filter(|&t| inside(t)).map(|t| self.left + t * self.width) else { continue };
            canvas.line((x, self.top), (x, self.bottom()), HAIR, GRID)?;
            let half = width(&label, LABEL, false) / 2.0;
            if self.x_name.is_some() && x - half > end {
                canvas.line((x, self.bottom()), (x, self.bottom() + 3.0), HAIR, INK)?;
                canvas.text((x, self.bottom() + 12.5), &label, Type::label().centred())?;
                end = x + half + 4.0;
            }
        }
        let mut widest = 0.0;
        let mut end = f64::INFINITY;
        for (value, label) in self.y.ticks((self.height / 18.0) as usize) {
            let Some(y) = self.y.at(value).filter(|&t| inside(t)).map(|t| self.bottom() - t * self.height) else {
                continue;
            };
            canvas.line((self.left, y), (self.right(), y), HAIR, GRID)?;
            if y < end {
                canvas.line((self.left - 3.0, y), (self.left, y), HAIR, INK)?;
                canvas.text((self.left - 5.0, y), &label, Type::label().right().middle())?;
                widest = f64::max(widest, width(&label, LABEL, false));
                end = y - 11.0;
            }
        }
        if let Some(name) = self.x_name {
            canvas.text((self.left + self.width / 2.0, self.bottom() + 26.0), name, Type::label().centred())?;
        }
        let middle = (self.left - widest - 13.0, self.top + self.height / 2.0);
        canvas.text(middle, self.y_name, Type::label().centred().middle().upwards())
    }

    /// The frame; drawn after the data.
    pub fn draw_frame<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        canvas.frame((self.left, self.top), (self.right(), self.bottom()), HAIR, INK)
    }
}

/// The mark before a legend's text.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    Bar(RGBAColor),
    Line(RGBAColor),
    Dashed(RGBAColor),
    /// A bar below a dashed line.
    Level(RGBAColor),
    Disc(RGBAColor),
    Square(RGBAColor),
    Nothing,
}

/// One line of a legend.
pub(super) struct Key {
    pub mark: Mark,
    pub text: String,
}

pub(super) fn key(mark: Mark, text: impl Into<String>) -> Key {
    Key { mark, text: text.into() }
}

const MARK: f64 = 18.0;

/// Height a legend takes.
pub(super) fn legend_height(keys: &[Key], limit: f64) -> f64 {
    let lines: usize = keys.iter().map(|key| wrap(&key.text, LABEL, false, limit - indent(key)).len().max(1)).sum();
    lines as f64 * LEADING + keys.len() as f64 * 3.0
}

fn indent(key: &Key) -> f64 {
    if matches!(key.mark, Mark::Nothing) { 0.0 } else { MARK }
}

/// Draws a legend beside the data, its top left corner at `at`.
pub(super) fn legend<S: Surface>(canvas: &mut Canvas<S>, at: (f64, f64), limit: f64, keys: &[Key]) -> Result<()> {
    let mut y = at.1 + LABEL;
    for key in keys {
        let middle = y - 0.365 * LABEL;
        let (from, to) = ((at.0, middle), (at.0 + 13.0, middle));
        let centre = (at.0 + 6.5, middle);
        match key.mark {
            Mark::Bar(colour) => canvas.fill((at.0 + 1.0, middle - 4.0), (at.0 + 12.0, middle + 4.0), colour)?,
            Mark::Line(colour) => canvas.line(from, to, LINE, colour)?,
            Mark::Dashed(colour) => canvas.dashed(from, to, LINE, colour)?,
            Mark::Level(colour) => {
                canvas.dashed((centre.0, middle - 7.0), (centre.0, middle), 0.9, colour)?;
                canvas.fill((centre.0 - 1.75, middle - 0.5), (centre.0 + 1.75, middle + 4.0), colour)?;
            }
            Mark::Disc(colour) => canvas.disc(centre, 3.0, colour)?,
            Mark::Square(colour) => {
                canvas.fill((centre.0 - 2.75, middle - 2.75), (centre.0 + 2.75, middle + 2.75), colour)?;
            }
            Mark::Nothing => {}
        }
        let lines = wrap(&key.text, LABEL, false, limit - indent(key));
        canvas.lines((at.0 + indent(key), y), &lines, Type::label())?;
        y += lines.len().max(1) as f64 * LEADING + 3.0;
    }
    Ok(())
}

/// A vertical colour bar over `low..high`, its top left corner at `at`.
pub(super) fn colour_bar<S: Surface>(
    canvas: &mut Canvas<S>,
    at: (f64, f64),
    height: f64,
    (low, high): (f64, f64),
    name: &str,
    colour: impl Fn(f64) -> RGBColor,
) -> Result<()> {
    const WIDTH: f64 = 11.0;
    const STEPS: usize = 101;
    for i in 0..STEPS {
        let share = |i: usize| height * (1.0 - i as f64 / STEPS as f64);
        let value = low + (high - low) * i as f64 / (STEPS - 1) as f64;
        // Each step reaches to the top, so that no gap shows between two.
        canvas.fill((at.0, at.1 + share(i)), (at.0 + WIDTH, at.1), colour(value).into())?;
    }
    canvas.frame(at, (at.0 + WIDTH, at.1 + height), HAIR, SILVER)?;
    let scale = Scale::Linear { low, high };
    let mut widest = 0.0;
    for (value, label) in scale.ticks((height / 22.0) as usize) {
        let y = at.1 + height * (1.0 - (value - low) / (high - low));
        canvas.line((at.0 + WIDTH, y), (at.0 + WIDTH + 3.0, y), HAIR, INK)?;
        canvas.text((at.0 + WIDTH + 5.0, y), &label, Type::label().middle())?;
        widest = f64::max(widest, width(&label, LABEL, false));
    }
    let beside = (at.0 + WIDTH + widest + 13.0, at.1 + height / 2.0);
    canvas.text(beside, name, Type::label().centred().middle().upwards())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: Scale, most: usize) -> Vec<String> {
        scale.ticks(most).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(Scale::Linear { low: -0.01, high: 0.071 }, 5), ["0.00", "0.02", "0.04", "0.06"]);
        assert_eq!(labels(Scale::Log { low: 1e-4, high: 1.0 }, 6), ["10⁻⁴", "10⁻³", "10⁻²", "10⁻¹", "1"]);
        assert_eq!(labels(Scale::Linear { low: -2e-7, high: 4.1e-7 }, 4), ["−2×10⁻⁷", "0", "2×10⁻⁷", "4×10⁻⁷"]);
        assert_eq!(labels(Scale::Linear { low: 0.07210001, high: 0.0721001 }, 2), ["0.07210005", "0.07210010"]);
        assert_eq!(labels(Scale::Linear { low: 1.0, high: 1.0 }, 5), Vec::<String>::new());
        assert_eq!(labels(Scale::Whole { low: 16.9, high: 19.1 }, 7), ["17", "18", "19"]);
    }

    #[test]
    fn a_scale_over_one_value_has_width() {
        for scale in [Scale::linear([0.0], 0.1), Scale::linear([3.0], 0.1), Scale::log([2.0], 0.1)] {
            let (Scale::Linear { low, high } | Scale::Whole { low, high } | Scale::Log { low, high }) = scale;
            assert!(high > low);
        }
    }

    #[test]
    fn extreme_values_do_no_harm() {
        for values in [[-1e308, 1e308], [1e-320, 1e308], [f64::NAN, f64::INFINITY], [-3.0, -3.0]] {
            for scale in [Scale::linear(values, 0.1), Scale::log(values, 0.1)] {
                assert!(scale.ticks(6).len() < 40);
                assert!(values.iter().all(|&x| scale.at(x).is_none_or(f64::is_finite)));
            }
        }
    }
}
