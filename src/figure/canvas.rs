//! A page measured in points, drawn alike to SVG and PNG.

use std::io::Write;
use std::path::{Path, PathBuf};

use plotters::prelude::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontTransform, RGBAColor, ShapeStyle, TextStyle};

use super::Caption;
use super::font;
use super::style::{FONT, GREY, INK, LABEL, LEADING, LINE_PER_EM, PAPER, TITLE, fonts, weight, wrap};
use crate::error::{Error, Result};
use crate::report::replace;

/// Device units in a point: 288 per inch in the PNG, quarter points in the SVG.
const UNITS: f64 = 4.0;
/// Space around the page.
const MARGIN: f64 = 8.0;

/// What a drawing library's backend does in its own way.
pub(super) trait Surface: DrawingBackend {
    /// Writes a text of `em` device units, its anchor on the baseline at `at`.
    fn write(&mut self, text: &str, at: (i32, i32), em: f64, set: Type) -> std::result::Result<(), String>;

    /// Draws a line through points, with round joins; a single point gives a disc.
    fn stroke(&mut self, points: &[(i32, i32)], width: f64, colour: RGBAColor) -> std::result::Result<(), String>;
}

impl Surface for SVGBackend<'_> {
    fn write(&mut self, text: &str, at: (i32, i32), em: f64, set: Type) -> std::result::Result<(), String> {
        // This backend divides the size by 1.24 and puts the baseline 0.76 em below the top anchor.
        let top = down(at, -0.76 * em, set.upwards);
        let style = type_style(em * 1.24, set, set.anchor);
        self.draw_text(text, &style, top).map_err(|error| error.to_string())
    }

    fn stroke(&mut self, points: &[(i32, i32)], width: f64, colour: RGBAColor) -> std::result::Result<(), String> {
        let style = ShapeStyle { color: colour, filled: true, stroke_width: width.round().max(1.0) as u32 };
        let done = match points {
            [] => Ok(()),
            [point] => self.draw_circle(*point, (width / 2.0).round() as u32, &style, true),
            [from, to] => self.draw_line(*from, *to, &style),
            more => self.draw_path(more.iter().copied(), &style),
        };
        done.map_err(|error| error.to_string())
    }
}

impl Surface for BitMapBackend<'_> {
    fn write(&mut self, text: &str, at: (i32, i32), em: f64, set: Type) -> std::result::Result<(), String> {
        // This backend takes the height of a line as the size and puts the baseline half of it below the top anchor.
        let size = em * LINE_PER_EM;
        let top = down(at, -size / 2.0, set.upwards);
        let style = type_style(size, set, HPos::Left);
        let share = match set.anchor {
            HPos::Left => 0.0,
            HPos::Center => 0.5,
            HPos::Right => 1.0,
        };
        let mut along = -share * em * font::width(text, set.bold);
        for c in text.chars() {
            let glyph = font::glyph(c, set.bold);
            // The backend draws a glyph from its left edge, rounded down.
            let left = (along.round() + (glyph.bearing * em).floor()) as i32;
            let place = if set.upwards { (top.0, top.1 - left) } else { (top.0 + left, top.1) };
            let drawn = self.draw_text(c.encode_utf8(&mut [0; 4]), &style, place);
            drawn.map_err(|error| error.to_string())?;
            along += glyph.advance * em;
        }
        Ok(())
    }

    /// Every pixel is inked once, by how much of it lies within half a width of the line.
    fn stroke(&mut self, points: &[(i32, i32)], width: f64, colour: RGBAColor) -> std::result::Result<(), String> {
        let half = width / 2.0;
        let reach = (half + 1.0).ceil() as i32;
        let (page_width, page_height) = self.get_size();
        let bounds = |values: &mut dyn Iterator<Item = i32>, most: u32| {
            let (low, high) = values.fold((i32::MAX, i32::MIN), |(low, high), x| (low.min(x), high.max(x)));
            (low.saturating_sub(reach).max(0), high.saturating_add(reach).min(most as i32 - 1))
        };
        let (left, right) = bounds(&mut points.iter().map(|p| p.0), page_width);
        let (top, bottom) = bounds(&mut points.iter().map(|p| p.1), page_height);
        if left > right || top > bottom {
            return Ok(());
        }
        let across = (right - left + 1) as usize;
        let mut inked = vec![0f32; across * (bottom - top + 1) as usize];
        let starts = &points[..points.len().saturating_sub(1).max(1)];
        for (i, &start) in starts.iter().enumerate() {
            let end = points.get(i + 1).copied().unwrap_or(start);
            let from = (f64::from(start.0), f64::from(start.1));
            let along = (f64::from(end.0) - from.0, f64::from(end.1) - from.1);
            let squared = along.0 * along.0 + along.1 * along.1;
            let steep = along.1.abs() > along.0.abs();
            // Walk along the longer side; the line is at most 45 degrees off, so a band of fixed height holds it.
            let slope = match (squared > 0.0, steep) {
                (false, _) => 0.0,
                (true, true) => along.0 / along.1,
                (true, false) => along.1 / along.0,
            };
            let (low, high) =
                if steep { (start.1.min(end.1), start.1.max(end.1)) } else { (start.0.min(end.0), start.0.max(end.0)) };
            let (origin, base) = if steep { (from.1, from.0) } else { from };
            let band = ((half + 1.0) * std::f64::consts::SQRT_2).ceil() as i32;
            for major in low - reach..=high + reach {
                let middle = (base + slope * (f64::from(major.clamp(low, high)) - origin)).round() as i32;
                for minor in middle - band..=middle + band {
                    let (x, y) = if steep { (minor, major) } else { (major, minor) };
                    if !(left..=right).contains(&x) || !(top..=bottom).contains(&y) {
                        continue;
                    }
                    let (dx, dy) = (f64::from(x) - from.0, f64::from(y) - from.1);
                    let on =
                        if squared > 0.0 { ((dx * along.0 + dy * along.1) / squared).clamp(0.0, 1.0) } else { 0.0 };
                    let (off_x, off_y) = (dx - on * along.0, dy - on * along.1);
                    let share = (half + 0.5 - (off_x * off_x + off_y * off_y).sqrt()).clamp(0.0, 1.0) as f32;
                    let pixel = &mut inked[(y - top) as usize * across + (x - left) as usize];
                    *pixel = pixel.max(share);
                }
            }
        }
        for (i, &share) in inked.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let place = (left + (i % across) as i32, top + (i / across) as i32);
            let ink = colour.mix(f64::from(share)).to_backend_color();
            self.draw_pixel(place, ink).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// How a text is set: size in points, colour, weight, where its anchor lies and whether it reads upwards.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub em: f64,
    pub colour: RGBAColor,
    pub bold: bool,
    pub anchor: HPos,
    /// The anchor is at half the height of the digits instead of on the baseline.
    pub middle: bool,
    pub upwards: bool,
}

impl Type {
    /// Small dark type, anchored left on the baseline.
    pub fn label() -> Self {
        Type { em: LABEL, colour: INK, bold: false, anchor: HPos::Left, middle: false, upwards: false }
    }
    pub fn colour(self, colour: RGBAColor) -> Self {
        Type { colour, ..self }
    }
    pub fn bold(self) -> Self {
        Type { bold: true, ..self }
    }
    pub fn centred(self) -> Self {
        Type { anchor: HPos::Center, ..self }
    }
    pub fn right(self) -> Self {
        Type { anchor: HPos::Right, ..self }
    }
    pub fn middle(self) -> Self {
        Type { middle: true, ..self }
    }
    pub fn upwards(self) -> Self {
        Type { upwards: true, ..self }
    }
}

/// The place `distance` below another, as seen by the reader of the text.
fn down(at: (i32, i32), distance: f64, upwards: bool) -> (i32, i32) {
    let distance = distance.round() as i32;
    if upwards { (at.0 + distance, at.1) } else { (at.0, at.1 + distance) }
}

fn type_style(size: f64, set: Type, anchor: HPos) -> TextStyle<'static> {
    let turn = if set.upwards { FontTransform::Rotate270 } else { FontTransform::None };
    let font = FontDesc::new(FontFamily::Name(FONT), size, weight(set.bold)).transform(turn);
    TextStyle { font, color: set.colour.to_backend_color(), pos: Pos::new(anchor, VPos::Top) }
}

/// A page to draw on; positions and lengths are points from the top left corner.
pub(super) struct Canvas<'a, S: Surface> {
    surface: S,
    path: &'a Path,
    /// Top of the body, below the caption.
    top: f64,
}

fn unit(x: f64) -> i32 {
    (x * UNITS).round() as i32
}

impl<S: Surface> Canvas<'_, S> {
    fn failed(&self) -> impl Fn(String) -> Error + use<S> {
        let path = self.path.to_path_buf();
        move |problem| Error::File { action: "draw", path: path.clone(), source: std::io::Error::other(problem) }
    }

    fn place(&self, (x, y): (f64, f64)) -> Option<(i32, i32)> {
        (x.is_finite() && y.is_finite()).then(|| (unit(x + MARGIN), unit(y + self.top)))
    }

    /// A line through points; it breaks nowhere, so only finite points may be given.
    pub fn path(&mut self, points: &[(f64, f64)], width: f64, colour: RGBAColor) -> Result<()> {
        let places: Vec<_> = points.iter().filter_map(|&point| self.place(point)).collect();
        if places.len() < 2 {
            return Ok(());
        }
        self.surface.stroke(&places, width * UNITS, colour).map_err(self.failed())
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, colour: RGBAColor) -> Result<()> {
        self.path(&[from, to], width, colour)
    }

    pub fn dashed(&mut self, from: (f64, f64), to: (f64, f64), width: f64, colour: RGBAColor) -> Result<()> {
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let (dash, period) = (3.0, 5.0);
        let at = |s: f64| (from.0 + (to.0 - from.0) * s / length, from.1 + (to.1 - from.1) * s / length);
        let mut start = 0.0;
        while start < length {
            self.line(at(start), at((start + dash).min(length)), width, colour)?;
            start += period;
        }
        Ok(())
    }

    pub fn disc(&mut self, at: (f64, f64), radius: f64, colour: RGBAColor) -> Result<()> {
        match self.place(at) {
            Some(place) => self.surface.stroke(&[place], 2.0 * radius * UNITS, colour).map_err(self.failed()),
            None => Ok(()),
        }
    }

    /// A filled rectangle.
    pub fn fill(&mut self, from: (f64, f64), to: (f64, f64), colour: RGBAColor) -> Result<()> {
        let (Some(from), Some(to)) = (self.place(from), self.place(to)) else { return Ok(()) };
        let (left, right) = (from.0.min(to.0), from.0.max(to.0));
        let (top, bottom) = (from.1.min(to.1), from.1.max(to.1));
        let style = ShapeStyle { color: colour, filled: true, stroke_width: 1 };
        let drawn = self.surface.draw_rect((left, top), (right, bottom), &style, true);
        drawn.map_err(|error| error.to_string()).map_err(self.failed())
    }

    /// The outline of a rectangle.
    pub fn frame(&mut self, from: (f64, f64), to: (f64, f64), width: f64, colour: RGBAColor) -> Result<()> {
        self.path(&[from, (to.0, from.1), to, (from.0, to.1), from, (to.0, from.1)], width, colour)
    }

    pub fn text(&mut self, at: (f64, f64), text: &str, set: Type) -> Result<()> {
        let drop = if set.middle { 0.365 * set.em } else { 0.0 };
        let at = if set.upwards { (at.0 + drop, at.1) } else { (at.0, at.1 + drop) };
        let Some(place) = self.place(at) else { return Ok(()) };
        self.surface.write(text, place, set.em * UNITS, set).map_err(self.failed())
    }

    /// Lines of text one below the other; `at` is the anchor of the first.
    pub fn lines(&mut self, at: (f64, f64), lines: &[String], set: Type) -> Result<()> {
        for (i, line) in lines.iter().enumerate() {
            self.text((at.0, at.1 + i as f64 * LEADING), line, set)?;
        }
        Ok(())
    }
}

/// A figure's body below its caption.
pub(super) trait Drawing {
    /// Width and height of the body in points.
    fn size(&self) -> (f64, f64);
    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()>;
}

/// Title, subtitle and the space they take.
struct Head {
    title: Vec<String>,
    subtitle: Vec<String>,
    height: f64,
}

impl Head {
    fn new(caption: &Caption, width: f64) -> Self {
        let title = wrap(&caption.title, TITLE, true, width);
        let subtitle = wrap(&caption.subtitle, LABEL, false, width);
        let height = 1.3 * TITLE * title.len() as f64 + LEADING * subtitle.len() as f64 + 8.0;
        Head { title, subtitle, height }
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let mut y = TITLE - self.height;
        for line in &self.title {
            canvas.text((0.0, y), line, Type { em: TITLE, bold: true, ..Type::label() })?;
            y += 1.3 * TITLE;
        }
        canvas.lines((0.0, y), &self.subtitle, Type::label().colour(GREY))
    }
}

/// Draws the figure into `<stem>.svg` and `<stem>.png` in a directory that exists.
pub(super) fn write(dir: &Path, stem: &str, caption: &Caption, figure: &impl Drawing) -> Result<Vec<PathBuf>> {
    fonts()?;
    let (width, height) = figure.size();
    let head = Head::new(caption, width);
    let page = (width + 2.0 * MARGIN, height + head.height + 2.0 * MARGIN);
    let size = (unit(page.0) as u32, unit(page.1) as u32);

    let vector = dir.join(format!("{stem}.svg"));
    let mut svg = String::new();
    render(SVGBackend::with_string(&mut svg, size), &vector, &head, page, figure)?;
    let svg = with_metadata(&svg, size, caption);
    replace(&vector, |out| out.write_all(svg.as_bytes()))?;

    let bitmap = dir.join(format!("{stem}.png"));
    let draft = dir.join(format!(".{stem}.draft.png"));
    let drawn = render(BitMapBackend::new(&draft, size), &bitmap, &head, page, figure)
        .and_then(|()| std::fs::read(&draft).map_err(Error::file("draw", &bitmap)));
    let _ = std::fs::remove_file(&draft);
    let png = with_chunks(&drawn?, caption);
    replace(&bitmap, |out| out.write_all(&png))?;
    Ok(vec![vector, bitmap])
}

fn render<S: Surface>(surface: S, path: &Path, head: &Head, page: (f64, f64), figure: &impl Drawing) -> Result<()> {
    let top = MARGIN + head.height;
    let mut canvas = Canvas { surface, path, top };
    canvas.fill((-MARGIN, -top), (page.0 - MARGIN, page.1 - top), PAPER)?;
    head.draw(&mut canvas)?;
    figure.draw(&mut canvas)?;
    let shown = canvas.surface.present().map_err(|error| error.to_string());
    shown.map_err(canvas.failed())
}

/// Gives the SVG its size in points, round joins, its title and its provenance.
fn with_metadata(svg: &str, size: (u32, u32), caption: &Caption) -> String {
    let body = svg.split_once('\n').map_or("", |(_, body)| body).replace("\n</text>", "</text>");
    let points = |units: u32| f64::from(units) / UNITS;
    format!(
        "<svg width=\"{}pt\" height=\"{}pt\" viewBox=\"0 0 {} {}\" xmlns=\"http://www.w3.org/2000/svg\" \
         stroke-linejoin=\"round\" stroke-linecap=\"butt\">\n<title>{}</title>\n<desc>{}</desc>\n\
         <metadata>{}</metadata>\n{body}",
        points(size.0),
        points(size.1),
        size.0,
        size.1,
        escaped(&caption.title),
        escaped(&caption.subtitle),
        escaped(&caption.provenance),
    )
}

fn escaped(text: &str) -> String {
    let legal = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    legal.collect::<String>().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Adds the resolution and the provenance to a PNG, after its header.
fn with_chunks(png: &[u8], caption: &Caption) -> Vec<u8> {
    const HEADER: usize = 33;
    if png.len() < HEADER {
        return png.to_vec();
    }
    let per_metre = (UNITS * 72.0 / 0.0254).round() as u32;
    let mut density = Vec::new();
    density.extend(per_metre.to_be_bytes());
    density.extend(per_metre.to_be_bytes());
    density.push(1);
    let mut bytes = png[..HEADER].to_vec();
    bytes.extend(chunk(b"pHYs", &density));
    for (keyword, text) in [("Title", &caption.title), ("Description", &caption.provenance)] {
        let mut data = keyword.as_bytes().to_vec();
        data.extend([0; 5]);
        data.extend(text.replace('\0', "").into_bytes());
        bytes.extend(chunk(b"iTXt", &data));
    }
    bytes.extend(&png[HEADER..]);
    bytes
}

/// A PNG chunk: length, kind, data, CRC-32 of kind and data.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = u32::MAX;
    for byte in kind.iter().chain(data) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
        }
    }
    let mut bytes = (data.len() as u32).to_be_bytes().to_vec();
    bytes.extend(kind);
    bytes.extend(data);
    bytes.extend((!crc).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_closing_chunk_is_the_published_one() {
        assert_eq!(chunk(b"IEND", &[]), [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82]);
    }

    #[test]
    fn markup_in_a_caption_is_escaped() {
        assert_eq!(escaped("a < b & c\u{7}"), "a &lt; b &amp; c");
    }
}
