//! Histogram of the final losses of all runs, with the loss of each family.

use std::path::{Path, PathBuf};

use plotters::style::RGBAColor;

use super::axis::{Key, Mark, Panel, Scale, key, legend, legend_height, range};
use super::canvas::{Canvas, Drawing, Surface, Type, write};
use super::style::{
    BLUE, GREEN, GREY, HAIR, LABEL, PAGE, SILVER, VERMILLION, category, cut, fixed, grouped, significant, width,
};
use super::{Caption, not_empty, numbers, texts};
use crate::error::{Error, Result};
use crate::report::Table;

const ACTION: &str = "draw the histogram of losses";
/// Bars over the range of losses.
const BINS: usize = 110;
/// Losses that all lie this close are one value.
const ALIKE: f64 = 1e-9;
/// Families with a label.
const LABELLED: usize = 16;
/// Ratio of the highest to the lowest bar from which on counts go on a logarithmic axis.
const LOG_FROM: usize = 30;
/// Space for one upright label.
const SLOT: f64 = 12.0;
const LEFT: f64 = 52.0;
const LEGEND: f64 = 112.0;
const PANEL_WIDTH: f64 = PAGE - LEFT - LEGEND - 16.0;
const PANEL_HEIGHT: f64 = 190.0;
const BELOW: f64 = 30.0;
/// Height of the lines that lead from a label to its loss.
const LEADER: f64 = 16.0;

struct Level {
    label: Option<String>,
    loss: f64,
    verdict: usize,
}

struct Bar {
    left: f64,
    right: f64,
    count: usize,
    verdict: Option<usize>,
}

/// Draws the final losses in column `loss` of `runs` and a line for each family of `levels` (columns `family`, `loss`,
/// `hits`, `verdict`). A run without a loss counts as unresolved, which the legend states. The families with most hits
/// are labelled, each with its share of all runs. Counts are on a logarithmic axis where bars differ much in height.
pub fn losses(dir: &Path, stem: &str, runs: &Table, levels: &Table, caption: &Caption) -> Result<Vec<PathBuf>> {
    write(dir, stem, caption, &Histogram::new(runs, levels)?)
}

struct Histogram {
    bars: Vec<Bar>,
    levels: Vec<Level>,
    verdicts: Vec<(String, RGBAColor)>,
    x: Scale,
    y: Scale,
    log: bool,
    keys: Vec<Key>,
    /// Whether labels lie flat.
    level: bool,
    label_height: f64,
}

impl Histogram {
    fn new(runs: &Table, levels: &Table) -> Result<Self> {
        not_empty(runs, ACTION)?;
        let all = numbers(runs, "loss", ACTION)?;
        let resolved: Vec<f64> = all.iter().copied().flatten().collect();
        if resolved.is_empty() {
            let problem = format!("none of the {} runs in table `{}` has a loss", all.len(), runs.name);
            return Err(Error::Spec { action: ACTION, problem });
        }
        let (levels, verdicts, notes) = families(levels, all.len())?;
        let inside = resolved.iter().copied().chain(levels.iter().map(|level| level.loss));
        let (low, high) = range(inside).unwrap_or((0.0, 1.0));
        // The least loss is in the middle of a bar, so that rounding around it splits no family; losses that all agree
        // are in one bar in the middle of the panel.
        let alike = high - low < ALIKE;
        let span = if alike { low.abs().max(1e-3) } else { high - low };
        let bin = span / (BINS - 1) as f64;
        let start = if alike { low - (BINS / 2) as f64 * bin } else { low } - bin / 2.0;
        let mut counts = vec![0usize; BINS];
        for loss in &resolved {
            counts[(((loss - start) / bin) as usize).min(BINS - 1)] += 1;
        }
        let bars: Vec<Bar> = counts
            .into_iter()
            .enumerate()
            .filter(|&(_, count)| count > 0)
            .map(|(i, count)| {
                let middle = start + (i as f64 + 0.5) * bin;
                let near = levels.iter().filter(|level| (level.loss - middle).abs() <= bin);
                let nearest = near.min_by(|a, b| (a.loss - middle).abs().total_cmp(&(b.loss - middle).abs()));
                Bar { left: middle - bin / 2.0, right: middle + bin / 2.0, count, verdict: nearest.map(|l| l.verdict) }
            })
            .collect();
        let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1);
        let least = bars.iter().map(|bar| bar.count).min().unwrap_or(1);
        let log = most / least.max(1) >= LOG_FROM;
        let y = if log {
            Scale::Log { low: 0.6, high: most as f64 * 1.6 }
        } else {
            Scale::Linear { low: 0.0, high: most as f64 * 1.06 }
        };
        let margin = 2.5 * bin;
        let x = Scale::Linear { low: start - margin, high: start + BINS as f64 * bin + margin };

        let mut keys: Vec<Key> = Vec::new();
        keys.extend(verdicts.iter().map(|(verdict, colour)| key(Mark::Level(*colour), verdict.clone())));
        if bars.iter().any(|bar| bar.verdict.is_none()) {
            let text = if levels.is_empty() { "runs" } else { "runs at no family" };
            keys.push(key(Mark::Bar(SILVER), text));
        }
        if !levels.is_empty() {
            keys.push(key(Mark::Nothing, "bars: runs; dashes: loss of a family"));
        }
        keys.push(key(Mark::Nothing, format!("bar width: {}", significant(bin, 2))));
        keys.push(key(Mark::Nothing, format!("runs: {}", grouped(all.len()))));
        keys.push(key(Mark::Nothing, format!("unresolved: {}", grouped(all.len() - resolved.len()))));
        keys.extend(notes.into_iter().map(|note| key(Mark::Nothing, note)));

        let labels: Vec<(f64, f64)> = levels
            .iter()
            .filter_map(|level| {
                let middle = LEFT + PANEL_WIDTH * x.at(level.loss)?;
                Some((middle, width(level.label.as_ref()?, LABEL, false)))
            })
            .collect();
        // Labels lie flat where each has its place, and stand upright otherwise.
        let level = labels.windows(2).all(|pair| pair[1].0 - pair[0].0 > (pair[0].1 + pair[1].1) / 2.0 + 8.0)
            && labels.iter().all(|&(middle, width)| middle > width / 2.0 && middle + width / 2.0 < PAGE);
        let label_height = match labels.iter().map(|label| label.1).fold(0.0, f64::max) {
            longest if longest > 0.0 && level => LABEL,
            longest => longest,
        };
        Ok(Histogram { bars, levels, verdicts, x, y, log, keys, level, label_height })
    }

    /// Height of labels and leaders above the panel.
    fn above(&self) -> f64 {
        if self.label_height > 0.0 { self.label_height + LEADER + 6.0 } else { 4.0 }
    }

    fn colour(&self, verdict: Option<usize>) -> RGBAColor {
        verdict.and_then(|i| self.verdicts.get(i)).map_or(SILVER, |(_, colour)| *colour)
    }
}

type Families = (Vec<Level>, Vec<(String, RGBAColor)>, Vec<String>);

/// The families with a loss in order of loss, the verdicts that occur, and what the legend has to state.
fn families(table: &Table, runs: usize) -> Result<Families> {
    let names = texts(table, "family", ACTION)?;
    let losses = numbers(table, "loss", ACTION)?;
    let hits = numbers(table, "hits", ACTION)?;
    let texts = texts(table, "verdict", ACTION)?;
    let mut verdicts: Vec<String> =
        texts.iter().zip(&losses).filter(|(_, l)| l.is_some()).map(|(t, _)| t.clone()).collect();
    verdicts.sort_by_key(|verdict| (rank(verdict), verdict.clone()));
    verdicts.dedup();

    let mut order: Vec<usize> = (0..names.len()).filter(|&i| losses[i].is_some()).collect();
    let without = names.len() - order.len();
    order.sort_by(|&a, &b| hits[b].unwrap_or(0.0).total_cmp(&hits[a].unwrap_or(0.0)).then(a.cmp(&b)));
    let unlabelled = order.len().saturating_sub(LABELLED);
    let mut levels: Vec<Level> = order
        .into_iter()
        .enumerate()
        .filter_map(|(place, i)| {
            let name = cut(&names[i], LABEL, false, 110.0);
            let share = hits[i].map_or_else(|| "–".into(), |n| percent(n, runs));
            let label = (place < LABELLED).then(|| format!("{name} · {share}"));
            let verdict = verdicts.iter().position(|verdict| *verdict == texts[i])?;
            Some(Level { label, loss: losses[i]?, verdict })
        })
        .collect();
    levels.sort_by(|a, b| a.loss.total_cmp(&b.loss));

    let mut notes = Vec::new();
    if !levels.is_empty() {
        notes.push("labels: family · share of all runs".into());
    }
    if unlabelled > 0 {
        notes.push(format!("families without label: {unlabelled} (fewer hits)"));
    }
    if without > 0 {
        notes.push(format!("families without loss: {without}"));
    }
    let mut spare = [3, 5, 4, 7].into_iter().cycle();
    let coloured = verdicts.into_iter().map(|verdict| {
        let colour = match rank(&verdict) {
            0 => category(GREEN),
            1 => category(BLUE),
            2 => category(VERMILLION),
            _ if verdict.is_empty() => GREY,
            _ => spare.next().map_or(GREY, category),
        };
        (if verdict.is_empty() { "no verdict".into() } else { verdict }, colour)
    });
    Ok((levels, coloured.collect(), notes))
}

/// Order of verdicts in the legend; each of the first three has its own colour.
fn rank(verdict: &str) -> usize {
    let verdict = verdict.to_lowercase();
    match () {
        () if verdict.contains("global") => 0,
        () if verdict.contains("saddle") => 2,
        () if verdict.contains("minim") => 1,
        () => 3,
    }
}

fn percent(hits: f64, runs: usize) -> String {
    let share = 100.0 * hits / runs as f64;
    match share {
        0.0 => "0 %".into(),
        s if s < 0.1 => "<0.1 %".into(),
        s if s < 10.0 => format!("{} %", fixed(s, 1)),
        s => format!("{} %", fixed(s, 0)),
    }
}

/// Positions as near as possible to `wanted` (ascending) that are `gap` apart and within `low..high`.
fn spread(wanted: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    // Blocks of touching labels, each around the mean of what its members want: (first wanted offset sum, members).
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (i, x) in wanted.iter().enumerate() {
        blocks.push((x - i as f64 * gap, 1));
        while let [.., before, last] = blocks[..] {
            if before.0 / before.1 as f64 <= last.0 / last.1 as f64 {
                break;
            }
            blocks.pop();
            blocks.pop();
            blocks.push((before.0 + last.0, before.1 + last.1));
        }
    }
    let last = wanted.len().saturating_sub(1) as f64;
    let shifts = blocks.iter().flat_map(|&(sum, n)| std::iter::repeat_n(sum / n as f64, n));
    shifts.enumerate().map(|(i, shift)| shift.min(high - last * gap).max(low) + i as f64 * gap).collect()
}

impl Drawing for Histogram {
    fn size(&self) -> (f64, f64) {
        let body = self.above() + PANEL_HEIGHT + BELOW;
        (PAGE, body.max(self.above() + legend_height(&self.keys, LEGEND)))
    }

    fn draw<S: Surface>(&self, canvas: &mut Canvas<S>) -> Result<()> {
        let panel = Panel {
            left: LEFT,
            top: self.above(),
            width: PANEL_WIDTH,
            height: PANEL_HEIGHT,
            x: self.x,
            y: self.y,
            x_name: Some("population loss L"),
            y_name: if self.log { "runs per bar (log)" } else { "runs per bar" },
        };
        panel.draw_axes(canvas)?;
        for level in &self.levels {
            let Some(x) = panel.x_at(level.loss) else { continue };
            // The line ends on the bar that holds its runs.
            let under = self.bars.iter().filter(|bar| (bar.left..=bar.right).contains(&level.loss));
            let tops = under.filter_map(|bar| panel.y_at(bar.count as f64));
            let end = tops.fold(panel.bottom(), f64::min);
            canvas.dashed((x, panel.top), (x, end), 0.9, self.colour(Some(level.verdict)))?;
        }
        for bar in &self.bars {
            let (Some(left), Some(right)) = (panel.x_at(bar.left), panel.x_at(bar.right)) else { continue };
            let Some(top) = panel.y_at(bar.count as f64) else { continue };
            canvas.fill((left, top), (right + 0.25, panel.bottom()), self.colour(bar.verdict))?;
        }
        panel.draw_frame(canvas)?;

        let labelled: Vec<&Level> = self.levels.iter().filter(|level| level.label.is_some()).collect();
        let wanted: Vec<f64> = labelled.iter().map(|level| panel.x_at(level.loss).unwrap_or(panel.left)).collect();
        let places =
            if self.level { wanted.clone() } else { spread(&wanted, SLOT, panel.left + 2.0, panel.right() + 4.0) };
        for ((level, from), to) in labelled.iter().zip(wanted).zip(places) {
            let colour = self.colour(Some(level.verdict));
            let (low, high) = (panel.top - 4.0, panel.top - LEADER + 3.0);
            canvas.path(&[(from, panel.top), (from, low), (to, high), (to, high - 3.0)], HAIR + 0.25, colour)?;
            let label = level.label.as_deref().unwrap_or_default();
            let set = Type::label();
            let set = if self.level { set.centred() } else { set.middle().upwards() };
            canvas.text((to, panel.top - LEADER - 3.0), label, set)?;
        }
        legend(canvas, (panel.right() + 16.0, panel.top), LEGEND, &self.keys)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Value;

    fn tables() -> (Table, Table) {
        let mut runs = Table::new("runs", &[("loss", "", "final loss")]);
        for i in 0..50 {
            runs.push(vec![if i % 10 == 3 {
                Value::Missing("not converged".into())
            } else {
                (0.01 * (i % 3) as f64).into()
            }]);
        }
        runs.push(vec![Value::Real(f64::NAN)]);
        let columns = [("family", "", "name"), ("loss", "", "loss"), ("hits", "", "runs"), ("verdict", "", "kind")];
        let mut levels = Table::new("levels", &columns);
        levels.push(vec!["teacher".into(), 0.0.into(), 20usize.into(), "global minimum".into()]);
        levels.push(vec!["k1=1".into(), 0.01.into(), 15usize.into(), "saddle".into()]);
        levels.push(vec!["k1=9".into(), Value::Missing("not hit".into()), 0usize.into(), "saddle".into()]);
        (runs, levels)
    }

    #[test]
    fn missing_cells_are_counted() {
        let (runs, levels) = tables();
        let figure = Histogram::new(&runs, &levels).unwrap();
        let texts: Vec<&str> = figure.keys.iter().map(|key| key.text.as_str()).collect();
        assert!(texts.contains(&"unresolved: 6"), "{texts:?}");
        assert!(texts.contains(&"families without loss: 1"), "{texts:?}");
        assert_eq!(figure.bars.iter().map(|bar| bar.count).sum::<usize>(), 45);
    }

    #[test]
    fn labels_never_touch() {
        let places = spread(&[10.0, 10.0, 11.0, 40.0, 99.0, 100.0], 12.0, 0.0, 100.0);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 12.0 - 1e-9), "{places:?}");
        assert!(places[0] >= 0.0 && places[5] <= 100.0 + 1e-9, "{places:?}");
    }

    #[test]
    fn empty_runs_are_named() {
        let (mut runs, levels) = tables();
        runs.rows.clear();
        let error = losses(Path::new("."), "x", &runs, &levels, &Caption::default()).unwrap_err();
        assert!(error.to_string().contains("`runs` has no rows"), "{error}");
        runs.push(vec![Value::Missing("none".into())]);
        let error = losses(Path::new("."), "x", &runs, &levels, &Caption::default()).unwrap_err();
        assert!(error.to_string().contains("none of the 1 runs"), "{error}");
        let error = losses(Path::new("."), "x", &tables().0, &runs, &Caption::default()).unwrap_err();
        assert!(error.to_string().contains("no column `family`"), "{error}");
    }

    #[test]
    fn equal_input_gives_equal_bytes() {
        let (runs, levels) = tables();
        let dir = tempfile::tempdir().unwrap();
        let caption = Caption { title: "A & B".into(), provenance: "1.0".into(), ..Caption::default() };
        let read = |stem: &str| {
            let files = losses(dir.path(), stem, &runs, &levels, &caption).unwrap();
            files.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>()
        };
        let (first, second) = (read("a"), read("b"));
        assert_eq!(first, second);
        assert!(String::from_utf8_lossy(&first[0]).contains("<metadata>1.0</metadata>"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 4);
    }
}
