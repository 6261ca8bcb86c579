//! Widths and side bearings of glyphs, read from the embedded fonts.
//!
//! The bitmap backend places glyphs at whole pixels and without their left side bearings; these metrics set them right,
//! and measure text for both backends alike.

use std::sync::OnceLock;

/// Horizontal metrics of a glyph in em.
#[derive(Clone, Copy)]
pub(super) struct Glyph {
    pub advance: f64,
    /// From the origin to the left edge of the outline.
    pub bearing: f64,
}

/// Metrics of a character; those of an average letter if the font lacks it.
pub(super) fn glyph(c: char, bold: bool) -> Glyph {
    static REGULAR: OnceLock<Option<Face>> = OnceLock::new();
    static BOLD: OnceLock<Option<Face>> = OnceLock::new();
    let face = if bold {
        BOLD.get_or_init(|| Face::new(dejavu::sans::bold()))
    } else {
        REGULAR.get_or_init(|| Face::new(dejavu::sans::regular()))
    };
    face.as_ref().and_then(|face| face.glyph(c)).unwrap_or(Glyph { advance: 0.6, bearing: 0.0 })
}

/// Width of a text in em.
pub(super) fn width(text: &str, bold: bool) -> f64 {
    text.chars().map(|c| glyph(c, bold).advance).sum()
}

/// A TrueType font with a segmented-coverage character map.
struct Face {
    data: &'static [u8],
    units: f64,
    metrics: usize,
    wide: usize,
    map: usize,
    groups: usize,
}

fn u16_at(data: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?)))
}

fn u32_at(data: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?)).ok()
}

impl Face {
    fn new(data: &'static [u8]) -> Option<Self> {
        let tables = u16_at(data, 4)?;
        let table = |tag: &[u8; 4]| {
            let entry = (0..tables).map(|i| 12 + 16 * i).find(|&at| data.get(at..at + 4) == Some(tag))?;
            u32_at(data, entry + 8)
        };
        let units = u16_at(data, table(b"head")? + 18)? as f64;
        let wide = u16_at(data, table(b"hhea")? + 34)?;
        let cmap = table(b"cmap")?;
        let maps = (0..u16_at(data, cmap + 2)?).filter_map(|i| Some(cmap + u32_at(data, cmap + 4 + 8 * i + 4)?));
        let map = maps.into_iter().find(|&map| u16_at(data, map) == Some(12))?;
        let groups = u32_at(data, map + 12)?;
        Some(Face { data, units, metrics: table(b"hmtx")?, wide, map, groups })
    }

    fn glyph(&self, c: char) -> Option<Glyph> {
        let code = c as usize;
        let index = (0..self.groups).map(|i| self.map + 16 + 12 * i).find_map(|at| {
            let (first, last) = (u32_at(self.data, at)?, u32_at(self.data, at + 4)?);
            ((first..=last).contains(&code)).then_some(u32_at(self.data, at + 8)? + code - first)
        })?;
        // Glyphs past the last full entry share its width and list only their bearings.
        let full = index.min(self.wide.checked_sub(1)?);
        let bearing = self.metrics + 4 * full + 2 + 2 * (index - full);
        let advance = u16_at(self.data, self.metrics + 4 * full)? as f64 / self.units;
        let bearing = u16_at(self.data, bearing)? as u16 as i16;
        Some(Glyph { advance, bearing: f64::from(bearing) / self.units })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_those_of_the_font() {
        // DejaVu Sans has 2048 units per em; its digits are 1303 wide, bold ones 1425.
        for c in '0'..='9' {
            assert_eq!(glyph(c, false).advance, 1303.0 / 2048.0);
            assert_eq!(glyph(c, true).advance, 1425.0 / 2048.0);
        }
        assert!(glyph('j', false).bearing < 0.0 && glyph('l', false).bearing > 0.09);
    }

    #[test]
    fn every_sign_in_use_is_in_the_font() {
        for c in "⁰¹²³⁴⁵⁶⁷⁸⁹⁻−×√ᵢₘλ≤…–\u{2009}".chars() {
            let face = Face::new(dejavu::sans::regular()).unwrap();
            assert!(face.glyph(c).is_some(), "{c}");
        }
    }
}
