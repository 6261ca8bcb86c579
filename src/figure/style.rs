//! Sizes, fonts, colours and number formats shared by all figures.

use std::sync::OnceLock;

use plotters::style::colors::colormaps::{ColorMap, ViridisRGB};
use plotters::style::{FontStyle, RGBAColor, RGBColor, register_font};

use super::font;
use crate::error::{Error, Result};

/// Width of a full page figure in points: 7 inches with the margins.
pub(super) const PAGE: f64 = 488.0;
/// Type sizes in points at print size.
pub(super) const TITLE: f64 = 11.5;
pub(super) const LABEL: f64 = 9.0;
/// Distance between two lines of small type.
pub(super) const LEADING: f64 = 11.5;
/// Widths of strokes in points.
pub(super) const HAIR: f64 = 0.5;
pub(super) const LINE: f64 = 1.25;

pub(super) const INK: RGBAColor = RGBAColor(30, 30, 30, 1.0);
pub(super) const GREY: RGBAColor = RGBAColor(105, 105, 105, 1.0);
pub(super) const SILVER: RGBAColor = RGBAColor(165, 165, 165, 1.0);
pub(super) const GRID: RGBAColor = RGBAColor(226, 226, 226, 1.0);
pub(super) const PAPER: RGBAColor = RGBAColor(255, 255, 255, 1.0);

/// Categorical colours of Okabe and Ito, told apart with any kind of colour vision; grey stands for their yellow, which
/// is too faint for lines on white.
pub const CATEGORIES: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(0, 0, 0),
    RGBColor(140, 140, 140),
];

pub(super) fn category(index: usize) -> RGBAColor {
    CATEGORIES[index % CATEGORIES.len()].into()
}

pub(super) const BLUE: usize = 0;
pub(super) const VERMILLION: usize = 1;
pub(super) const GREEN: usize = 2;

/// Sequential map (viridis) on 0..1.
pub fn sequential(t: f64) -> RGBColor {
    let t = if t.is_finite() { t.clamp(0.0, 1.0) } else { 0.0 };
    ViridisRGB.get_color(t)
}

/// Diverging map on -1..1: blue, white at 0, orange; lightness falls evenly on both sides.
pub fn diverging(t: f64) -> RGBColor {
    const NEGATIVE: [(f64, [f64; 3]); 4] =
        [(0.0, [248.0; 3]), (0.2, [136.0, 196.0, 230.0]), (0.5, [0.0, 114.0, 178.0]), (1.0, [0.0, 44.0, 92.0])];
    const POSITIVE: [(f64, [f64; 3]); 4] =
        [(0.0, [248.0; 3]), (0.2, [246.0, 190.0, 128.0]), (0.5, [213.0, 94.0, 0.0]), (1.0, [98.0, 34.0, 0.0])];
    let t = if t.is_finite() { t.clamp(-1.0, 1.0) } else { 0.0 };
    let stops = if t < 0.0 { NEGATIVE } else { POSITIVE };
    for pair in stops.windows(2) {
        let ((from, low), (to, high)) = (pair[0], pair[1]);
        if t.abs() <= to {
            let share = (t.abs() - from) / (to - from);
            let mix = |i: usize| (low[i] + share * (high[i] - low[i])).round() as u8;
            return RGBColor(mix(0), mix(1), mix(2));
        }
    }
    RGBColor(248, 248, 248)
}

/// Name of the embedded font; an SVG viewer that lacks DejaVu Sans takes the next of the list.
pub(super) const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
/// Height of a DejaVu line in em: what the font rasteriser calls the size.
pub(super) const LINE_PER_EM: f64 = 1.164;

/// Hands the embedded font to the drawing library, once.
pub(super) fn fonts() -> Result<()> {
    static READY: OnceLock<bool> = OnceLock::new();
    let ready = READY.get_or_init(|| {
        register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok()
            && register_font(FONT, FontStyle::Bold, dejavu::sans::bold()).is_ok()
    });
    if *ready {
        Ok(())
    } else {
        Err(Error::Spec { action: "draw a figure", problem: "the embedded font cannot be read".into() })
    }
}

pub(super) fn weight(bold: bool) -> FontStyle {
    if bold { FontStyle::Bold } else { FontStyle::Normal }
}

/// Width of a text in points.
pub(super) fn width(text: &str, em: f64, bold: bool) -> f64 {
    em * font::width(text, bold)
}

/// The text, cut with an ellipsis where it is wider than `limit` points.
pub(super) fn cut(text: &str, em: f64, bold: bool, limit: f64) -> String {
    if width(text, em, bold) <= limit {
        return text.to_string();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while !kept.is_empty() {
        kept.pop();
        let short: String = kept.iter().collect::<String>().trim_end().to_string() + "…";
        if width(&short, em, bold) <= limit {
            return short;
        }
    }
    "…".into()
}

/// The text in lines of at most `limit` points, broken at spaces; a longer word is cut.
pub(super) fn wrap(text: &str, em: f64, bold: bool, limit: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        if let Some(line) = lines.last_mut() {
            let longer = format!("{line} {word}");
            if width(&longer, em, bold) <= limit {
                *line = longer;
                continue;
            }
        }
        lines.push(cut(word, em, bold, limit));
    }
    lines
}

/// `wrap`, with what does not fit into `most` lines cut off.
pub(super) fn wrap_to(text: &str, em: f64, bold: bool, limit: f64, most: usize) -> Vec<String> {
    let mut lines = wrap(text, em, bold, limit);
    if lines.len() > most {
        let rest = lines.split_off(most.saturating_sub(1)).join(" ");
        lines.push(cut(&rest, em, bold, limit));
    }
    lines
}

/// An integer in raised digits.
pub(super) fn superscript(n: i32) -> String {
    n.to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '0' | '4'..='9' => char::from_u32(0x2070 + (c as u32 - '0' as u32)).unwrap_or(c),
            other => other,
        })
        .collect()
}

/// A number with `decimals` decimals and a true minus sign.
pub(super) fn fixed(x: f64, decimals: usize) -> String {
    let text = format!("{x:.decimals$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| c == '0' || c == '.') => rest.to_string(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// A number to `digits` significant digits; very small and very large ones as a × 10ⁿ.
pub(super) fn significant(x: f64, digits: usize) -> String {
    if x == 0.0 {
        return "0".into();
    }
    let exponent = x.abs().log10().floor() as i32;
    if (-4..6).contains(&exponent) {
        fixed(x, (digits as i32 - 1 - exponent).max(0) as usize)
    } else {
        let text = format!("{x:.*e}", digits.saturating_sub(1));
        let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
        format!("{}×10{}", mantissa.replace('-', "−"), superscript(power.parse().unwrap_or(0)))
    }
}

/// 10ⁿ, or 1 and 10 written out.
pub(super) fn power(n: i32) -> String {
    match n {
        0 => "1".into(),
        1 => "10".into(),
        n => format!("10{}", superscript(n)),
    }
}

/// An integer with a thin space between thousands.
pub(super) fn grouped(n: usize) -> String {
    let digits = n.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}
