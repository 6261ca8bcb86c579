//! The numbers of a picture of the comparison.

use crate::report::{Report, Table, Value};

/// Width of a bin of z, and the number of bins; what lies outside counts in the outermost.
const BIN: f64 = 0.5;
const BINS: usize = 16;

/// What `figure::validation` draws of a report of [`super::validate`], from the runs of the chain: rows of panel `equations`
/// and `runs` (overlaps at dimension `shown`, runs with the mean -/+ 2 standard deviations of one run), then for each d in
/// the order of the spec a row of panel `deviation` (-/+ 2 standard errors) and the counts of panel `z` (test errors).
/// Shorter lists of dimensions that begin alike give tables that begin alike.
pub fn validation_curves(report: &Report, shown: usize) -> Table {
    let mut table = Table::new(
        "data",
        &[
            ("panel", "", "equations, runs, deviation or z"),
            ("dimension", "", "input dimension d"),
            ("series", "", "overlap"),
            ("x", "", "time in steps / d; d; middle of the bin of z"),
            ("y", "", "overlap; rms deviation; number of test errors in the bin"),
            ("low", "", "lower end of the bar, two deviations below y"),
            ("high", "", "upper end"),
        ],
    );
    let none = || Value::Missing("no bar".into());
    if let Some(overlaps) = report.table("overlaps") {
        let column = |name: &str| overlaps.numbers(name);
        let (dimension, time) = (column("dimension"), column("time"));
        let (equations, mean, deviation) = (column("equations"), column("mean"), column("deviation"));
        let (simulator, entry) = (overlaps.texts("simulator"), overlaps.texts("entry"));
        let rows: Vec<usize> = (0..overlaps.rows.len())
            .filter(|&i| dimension[i] == Some(shown as f64) && simulator[i] == "chain")
            .collect();
        for &i in &rows {
            let (Some(x), Some(y)) = (time[i], equations[i]) else { continue };
            let row = ["equations".into(), shown.into(), entry[i].clone().into(), x.into(), y.into(), none(), none()];
            table.push(row.into());
        }
        for &i in &rows {
            let (Some(x), Some(y), Some(s)) = (time[i], mean[i], deviation[i]) else { continue };
            let (low, high) = ((y - 2.0 * s).into(), (y + 2.0 * s).into());
            let row = ["runs".into(), shown.into(), entry[i].clone().into(), x.into(), y.into(), low, high];
            table.push(row.into());
        }
    }
    let Some(agreement) = report.table("agreement") else { return table };
    let (dimensions, simulators) = (agreement.numbers("dimension"), agreement.texts("simulator"));
    let (deviations, errors) = (agreement.numbers("deviation"), agreement.numbers("deviation_error"));
    for (i, d) in dimensions.iter().enumerate().filter(|(i, _)| simulators[*i] == "chain") {
        let (Some(d), Some(y), Some(s)) = (*d, deviations[i], errors[i]) else { continue };
        let name = |panel: &str| -> [Value; 3] { [panel.into(), (d as usize).into(), "".into()] };
        let mut row: Vec<Value> = name("deviation").into();
        row.extend([d, y, y - 2.0 * s, y + 2.0 * s].map(Value::from));
        table.push(row);
        for (bin, count) in counts(report, d).into_iter().enumerate() {
            let mut row: Vec<Value> = name("z").into();
            let x = (bin as f64 + 0.5 - BINS as f64 / 2.0) * BIN;
            row.extend([x.into(), count.into(), none(), none()]);
            table.push(row);
        }
    }
    table
}

/// Test errors of the chain at this d in each bin of z.
fn counts(report: &Report, d: f64) -> Vec<usize> {
    let mut counts = vec![0; BINS];
    let Some(risks) = report.table("risks") else { return counts };
    let (dimension, simulator, z) = (risks.numbers("dimension"), risks.texts("simulator"), risks.numbers("z"));
    for i in (0..risks.rows.len()).filter(|&i| dimension[i] == Some(d) && simulator[i] == "chain") {
        let Some(z) = z[i] else { continue };
        let bin = (z / BIN + BINS as f64 / 2.0).floor().clamp(0.0, BINS as f64 - 1.0);
        counts[bin as usize] += 1;
    }
    counts
}
