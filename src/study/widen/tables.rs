//! The tables of `widen`.

use super::{MODES, Mode, Origin, Outcome, Site, WidenSpec};
use crate::landscape::catalogue::Census;
use crate::landscape::{Point, Problem, Verdict};
use crate::numerics::statistics;
use crate::report::{Report, Table, Value};

/// The report: numbers at the top, tables `origins`, `slopes`, `transitions`, `matrix`, `runs`.
pub(super) fn report(
    spec: &WidenSpec,
    problem: &Problem,
    census: &Census,
    origins: &[Origin],
    outcomes: &[Outcome],
    ends: &[Point],
) -> Report {
    let mut report = Report::new("widen", spec, Some(spec.seed));
    let rises = outcomes.iter().filter(|outcome| outcome.rose).count();
    let unresolved = outcomes.iter().filter(|outcome| outcome.end.is_err()).count() - rises;
    let pushed = outcomes.iter().filter(|outcome| outcome.saddles > 0).count();
    let left_out = census
        .classes
        .iter()
        .filter(|class| !matches!(class.point.verdict, Verdict::LocalMinimum | Verdict::GlobalMinimum))
        .count();
    let results = [
        ("teachers", problem.teacher.units().into()),
        ("dimension", problem.law.dimension.into()),
        ("searches", census.runs.len().into()),
        ("searches_unresolved", census.unresolved().into()),
        ("origins_left_out", left_out.into()),
        ("starts", outcomes.len().into()),
        ("unresolved", unresolved.into()),
        ("loss_rises", rises.into()),
        ("pushed_off_saddles", pushed.into()),
    ];
    report.results.extend(results.into_iter().map(|(name, value): (_, serde_json::Value)| (name.to_string(), value)));
    report.tables = vec![
        origins_table(origins),
        slopes_table(origins),
        transitions(origins, outcomes, ends),
        matrix(origins, outcomes, ends),
        runs(origins, outcomes),
    ];
    let m = problem.teacher.units();
    report.notes.push(format!(
        "From the local minima of K = M = {m} (d = {}, {} random starts) to K = {}: shares of {} starts for each family and mode, with 95 % Clopper-Pearson intervals.",
        problem.law.dimension,
        census.runs.len(),
        m + 1,
        spec.runs
    ));
    if origins.is_empty() {
        report.notes.push("The search found no local minimum, so there is nothing to start from.".into());
    }
    if left_out > 0 {
        report.notes.push(format!("{left_out} saddles or degenerate points of the search were left out."));
    }
    if unresolved > 0 {
        report.notes.push(format!("{unresolved} of {} starts are unresolved; see runs.csv.", outcomes.len()));
    }
    if pushed > 0 {
        report.notes.push(format!("{pushed} starts rested at a saddle on the way and were pushed off it."));
    }
    if rises > 0 {
        report.notes.push(format!(
            "FAILED: {rises} of {} starts ended above their origin, which gradient flow cannot; see runs.csv.",
            outcomes.len()
        ));
    }
    report
}

fn origins_table(origins: &[Origin]) -> Table {
    let mut table = Table::new(
        "origins",
        &[
            ("family", "", "family of the minima with K = M"),
            ("k1", "", "anti-aligned units"),
            ("loss", "", "lowest population loss among them"),
            (
                "minima",
                "",
                "distinct minima of the family; starts are shared out evenly, the other columns are the lowest's",
            ),
            ("flipped_units", "", "anti-aligned units that can be split with falling loss"),
            ("aligned_units", "", "other units that can be split with falling loss"),
            ("flipped_eigenvalue", "", "least eigenvalue of H_ii - (a_i^2/2) I over the anti-aligned units i"),
            (
                "flipped_directions",
                "",
                "negative eigenvalues of an anti-aligned unit, at most over units, one for all across",
            ),
            ("aligned_eigenvalue", "", "least eigenvalue over the other units"),
            ("aligned_directions", "", "negative eigenvalues of one of the other units, at most over units"),
            ("slope", "", "steepest one-sided slope of the loss for a new unit"),
            ("slope_flipped", "", "cosine of that direction with the sum of the anti-aligned units' teachers"),
            ("slope_minima", "", "local minima of the slope over directions, found from 300 random ones"),
            ("descents", "", "share of random directions in d dimensions with negative slope (2000 samples)"),
        ],
    );
    for origin in origins {
        let site = &origin.sites[0];
        let (flipped, flipped_least, flipped_most) = splits(site, true);
        let (aligned, aligned_least, aligned_most) = splits(site, false);
        let none = |x: f64| if x.is_finite() { Value::Real(x) } else { Value::Missing("no such unit".into()) };
        table.push(vec![
            origin.name().into(),
            site.point.family.anti_aligned.into(),
            site.point.loss.into(),
            origin.sites.len().into(),
            flipped.into(),
            aligned.into(),
            none(flipped_least),
            flipped_most.into(),
            none(aligned_least),
            aligned_most.into(),
            site.steepest.slope.into(),
            along_flipped(site, &site.steepest.direction)
                .map_or_else(|| Value::Missing("no anti-aligned unit".into()), Value::real),
            site.slopes.len().into(),
            site.descents.into(),
        ]);
    }
    table
}

/// The local minima of the slope: a short new unit turns to one of them before it grows.
fn slopes_table(origins: &[Origin]) -> Table {
    let mut table = Table::new(
        "slopes",
        &[
            ("family", "", "family of the minima with K = M (its lowest minimum)"),
            ("slope", "", "local minimum over unit directions of the one-sided slope for a new unit"),
            ("starts", "", "of 300 uniformly random directions in d dimensions those that descend to it"),
            ("flipped_sum", "", "cosine of that direction with the sum of the anti-aligned units' teachers"),
            ("flipped_unit", "", "largest cosine with an anti-aligned unit"),
            ("aligned_unit", "", "largest cosine with another unit"),
            ("teacher", "", "largest cosine with a teacher"),
        ],
    );
    for origin in origins {
        let site = &origin.sites[0];
        for (slope, direction, starts) in &site.slopes {
            let none = |x: f64| if x.is_finite() { Value::Real(x) } else { Value::Missing("no such unit".into()) };
            let units = |flipped: bool| none(site.widening.largest_cosine(direction, |i| site.flipped[i] == flipped));
            let teachers = (0..site.point.overlaps.r().ncols()).map(|m| site.widening.cosine(direction, &[m]));
            table.push(vec![
                origin.name().into(),
                (*slope).into(),
                (*starts).into(),
                along_flipped(site, direction)
                    .map_or_else(|| Value::Missing("no anti-aligned unit".into()), Value::real),
                units(true),
                units(false),
                none(teachers.fold(f64::NEG_INFINITY, f64::max)),
            ]);
        }
    }
    table
}

/// Units of one kind that can be split, their least eigenvalue (infinite without units), most negative ones of a unit.
fn splits(site: &Site, flipped: bool) -> (usize, f64, usize) {
    let kind = || site.splits.iter().filter(|split| site.flipped[split.unit] == flipped);
    let least = kind().filter_map(|split| split.eigenvalues.first()).fold(f64::INFINITY, |least, &x| least.min(x));
    let most = kind().map(|split| split.descents.len()).max().unwrap_or(0);
    (kind().filter(|split| !split.descents.is_empty()).count(), least, most)
}

/// Cosine of a direction with the sum of the teachers that the anti-aligned units oppose.
fn along_flipped(site: &Site, direction: &[f64]) -> Option<f64> {
    let r = site.point.overlaps.r();
    let pairs = site.point.family.blocks.iter().filter(|block| block.flipped).flat_map(|block| &block.pairs);
    let mut teachers: Vec<usize> = pairs.map(|pair| pair.1).collect();
    if teachers.is_empty() {
        let units = (0..r.nrows()).filter(|&i| site.flipped[i]);
        teachers = units.filter_map(|i| (0..r.ncols()).min_by(|&x, &y| r[[i, x]].total_cmp(&r[[i, y]]))).collect();
    }
    if teachers.is_empty() {
        return None;
    }
    Some(site.widening.cosine(direction, &teachers))
}

/// Ends of one group of starts: for each the number, in ascending order of the end, and the failures last.
fn counts(outcomes: &[&Outcome]) -> Vec<(Option<usize>, usize)> {
    let mut counts: Vec<(Option<usize>, usize)> = Vec::new();
    for outcome in outcomes {
        match counts.iter_mut().find(|(class, _)| *class == outcome.class) {
            Some((_, count)) => *count += 1,
            None => counts.push((outcome.class, 1)),
        }
    }
    counts.sort_by_key(|&(class, _)| class.unwrap_or(usize::MAX));
    counts
}

fn of(outcomes: &[Outcome], origin: usize, mode: Option<Mode>) -> Vec<&Outcome> {
    outcomes.iter().filter(|o| o.origin == origin && mode.is_none_or(|mode| o.mode == mode)).collect()
}

/// Name of an end: all exact zeros are one connected set, whatever its representative looks like.
fn end_name(point: &Point) -> &str {
    if point.verdict == Verdict::GlobalMinimum { "global" } else { &point.family.name }
}

fn transitions(origins: &[Origin], outcomes: &[Outcome], ends: &[Point]) -> Table {
    let mut table = Table::new(
        "transitions",
        &[
            ("origin", "", "family of the minima with K = M"),
            ("k1", "", "its anti-aligned units"),
            ("mode", "", "how the student was added"),
            ("end", "", "number of the end, by loss; missing: unresolved or failed"),
            ("end_family", "", "family of the end with K = M + 1"),
            ("end_isotropy", "", "relabellings that leave the end unchanged"),
            ("end_k1", "", "its anti-aligned units"),
            ("end_loss", "", "its population loss"),
            ("end_verdict", "", "its verdict"),
            ("end_eigenvalue", "", "its smallest Hessian eigenvalue inside span(W, V)"),
            ("end_transverse", "", "its smallest eigenvalue across the span"),
            ("runs", "runs", "starts that ended there"),
            ("share", "", "runs / all starts of this origin and mode"),
            ("share_low", "", "lower end of the 95 % Clopper-Pearson interval"),
            ("share_high", "", "upper end"),
        ],
    );
    for (number, origin) in origins.iter().enumerate() {
        for mode in MODES {
            let group = of(outcomes, number, Some(mode));
            let head = || -> Vec<Value> {
                vec![origin.name().into(), origin.sites[0].point.family.anti_aligned.into(), mode.name().into()]
            };
            let missing = |n: usize, reason: &str| (0..n).map(|_| Value::Missing(reason.into())).collect::<Vec<_>>();
            if group.is_empty() {
                let mut row = head();
                row.push(Value::Missing("no start".into()));
                row.push("no descent".into());
                row.extend(missing(6, "no start"));
                row.push(0usize.into());
                row.extend(missing(3, "no start"));
                table.push(row);
            }
            for (class, count) in counts(&group) {
                let mut row = head();
                match class.map(|class| (class, &ends[class])) {
                    Some((class, point)) => row.extend([
                        (class + 1).into(),
                        end_name(point).into(),
                        point.family.isotropy.clone().into(),
                        point.family.anti_aligned.into(),
                        point.loss.into(),
                        point.verdict.name().into(),
                        point.spectrum.min_span().into(),
                        point.spectrum.min_transverse().into(),
                    ]),
                    None => {
                        row.push(Value::Missing("unresolved or failed".into()));
                        row.push("unresolved".into());
                        row.extend(missing(6, "unresolved or failed"));
                    }
                }
                let (low, high) = statistics::clopper_pearson(count, group.len(), 0.95);
                row.extend([count.into(), (count as f64 / group.len() as f64).into(), low.into(), high.into()]);
                table.push(row);
            }
        }
    }
    table
}

/// Rows: origins; columns: anti-aligned units at the end; cells: shares of all starts, whatever the mode.
fn matrix(origins: &[Origin], outcomes: &[Outcome], ends: &[Point]) -> Table {
    let is_global = |class: usize| ends[class].verdict == Verdict::GlobalMinimum;
    let mut reached: Vec<usize> =
        (0..ends.len()).filter(|&class| !is_global(class)).map(|class| ends[class].family.anti_aligned).collect();
    reached.sort_unstable();
    reached.dedup();
    let names: Vec<(String, String)> = reached
        .iter()
        .map(|k1| (format!("to_{k1}"), format!("share that ended in a point with {k1} anti-aligned students")))
        .collect();
    let mut columns = vec![
        ("origin", "", "family of the minima with K = M"),
        ("k1", "", "its anti-aligned units"),
        ("runs", "runs", "starts, all modes together"),
        ("global", "", "share that ended in an exact zero"),
    ];
    columns.extend(names.iter().map(|(name, meaning)| (name.as_str(), "", meaning.as_str())));
    columns.push(("unresolved", "", "share without an end"));
    let mut table = Table::new("matrix", &columns);
    for (number, origin) in origins.iter().enumerate() {
        let group = of(outcomes, number, None);
        let share = |pick: &dyn Fn(Option<usize>) -> bool| -> Value {
            (group.iter().filter(|outcome| pick(outcome.class)).count() as f64 / group.len() as f64).into()
        };
        let mut row: Vec<Value> =
            vec![origin.name().into(), origin.sites[0].point.family.anti_aligned.into(), group.len().into()];
        row.push(share(&|class| class.is_some_and(is_global)));
        for &k1 in &reached {
            row.push(share(&|class| class.is_some_and(|c| !is_global(c) && ends[c].family.anti_aligned == k1)));
        }
        row.push(share(&|class| class.is_none()));
        table.push(row);
    }
    table
}

fn runs(origins: &[Origin], outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(
        "runs",
        &[
            ("origin", "", "family of the minimum"),
            ("mode", "", "how the student was added"),
            ("run", "", "number of the start; it is a function of seed, origin, mode and run"),
            ("minimum", "", "which minimum of the family, by loss"),
            ("unit", "", "unit that was split; missing: a unit was added"),
            ("saddles", "", "saddles it rested at on the way and was pushed off"),
            ("end", "", "number of the end (table transitions); missing: unresolved or failed, with the reason"),
            ("loss", "", "population loss at the end"),
            ("time", "t", "time of gradient flow there"),
            ("evaluations", "", "gradients the flow used"),
        ],
    );
    for outcome in outcomes {
        let end = outcome.end.as_ref();
        let missing = |reason: &String| Value::Missing(reason.clone());
        table.push(vec![
            origins[outcome.origin].name().into(),
            outcome.mode.name().into(),
            outcome.run.into(),
            (outcome.site + 1).into(),
            outcome.unit.map_or_else(|| Value::Missing("a unit was added".into()), |unit| (unit + 1).into()),
            outcome.saddles.into(),
            outcome.class.map_or_else(|| end.map_or_else(missing, |_| 0usize.into()), |class| (class + 1).into()),
            end.map_or_else(missing, |end| end.loss.into()),
            end.map_or_else(missing, |end| end.time.into()),
            end.map_or_else(missing, |end| end.evaluations.into()),
        ]);
    }
    table
}
