//! Runs from random starts in the columns of a diagram, and the critical points in which they end.

use serde::{Deserialize, Serialize};

use super::phase::{Item, Plan, Record};
use crate::dynamics::{BlockParameter, BlockSgd};
use crate::landscape::stability::is_zero;
use crate::landscape::{Point, Problem, Verdict};
use crate::model::{Blocks, Overlaps, Sgd};
use crate::numerics::statistics::clopper_pearson;
use crate::report::{Table, Value};

/// Losses of equal points differ by less.
const LOSS_WINDOW: f64 = 1e-9;
/// Sums over all overlaps of equal points differ by less: points are polished to 1e-13 / smallest eigenvalue.
const SAME: f64 = 1e-6;

/// The end of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Run {
    Point { loss: f64, verdict: String, family: String, invariants: [f64; 4] },
    Unresolved { reason: String },
}

/// Follows one run and says what its end is.
pub(super) fn run(problem: &Problem, run: u64) -> Run {
    let result = problem.run(run);
    let settled = match result.outcome {
        Ok(settled) => settled,
        Err(reason) => return Run::Unresolved { reason },
    };
    if is_zero(result.loss, &problem.teacher) {
        let verdict = Verdict::GlobalMinimum.name().into();
        return Run::Point { loss: 0.0, verdict, family: "global".into(), invariants: [0.0; 4] };
    }
    match Point::in_dimension(&settled.weights, &problem.teacher, 0, Some(problem.law.dimension)) {
        Ok(point) => Run::Point {
            loss: point.loss,
            verdict: point.verdict.name().into(),
            invariants: invariants(&point.overlaps),
            family: point.family.name,
        },
        Err(error) => Run::Unresolved { reason: error.to_string() },
    }
}

/// Numbers that no relabelling changes: the trace of Q, the sums of its squares (i <= j), of R_im^2 and of R_im^3.
fn invariants(overlaps: &Overlaps) -> [f64; 4] {
    let (q, r) = (overlaps.q(), overlaps.r());
    let upper: f64 = q.indexed_iter().filter(|((i, j), _)| i <= j).map(|(_, x)| x * x).sum();
    [q.diag().sum(), upper, r.iter().map(|x| x * x).sum(), r.iter().map(|x| x.powi(3)).sum()]
}

/// The same of a state on groups; `None` when a size is not whole.
pub(super) fn invariants_of_groups(state: &Blocks) -> Option<[f64; 4]> {
    if state.partition().sizes().iter().any(|n| n.fract() != 0.0) {
        return None;
    }
    let system = BlockSgd::new(state, Sgd::default(), BlockParameter::LearningRate).ok()?;
    let students = state.partition().student_sets().len();
    let mut sums = [0.0; 4];
    for (class, x) in system.classes().iter().zip(system.pack(state)) {
        if class.second < students {
            sums[0] += if class.first == class.second && class.same { class.count * x } else { 0.0 };
            sums[1] += class.count * x * x;
        } else {
            sums[2] += class.count * x * x;
            sums[3] += class.count * x.powi(3);
        }
    }
    Some(sums)
}

fn is_same(loss: [f64; 2], a: &[f64; 4], b: &[f64; 4]) -> bool {
    (loss[0] - loss[1]).abs() <= LOSS_WINDOW && a.iter().zip(b).all(|(x, y)| (x - y).abs() <= SAME)
}

/// A critical point in which runs of a column ended.
struct Class {
    loss: f64,
    verdict: String,
    family: String,
    invariants: [f64; 4],
    hits: usize,
    /// The cell with this point: its line.
    line: Option<usize>,
}

/// The ends of all runs, by column.
pub(super) struct Shares {
    columns: Vec<(Vec<Class>, usize)>,
    runs: usize,
}

impl Shares {
    pub fn new<'a>(plan: &Plan, runs: impl Iterator<Item = (Item, &'a Record)>) -> Shares {
        let mut columns: Vec<(Vec<Class>, usize)> = plan.columns.iter().map(|_| (Vec::new(), 0)).collect();
        for (item, record) in runs {
            let (Item::Run(column, _), Record::Run(run)) = (item, record) else { continue };
            let (classes, unresolved) = &mut columns[column];
            let Run::Point { loss, verdict, family, invariants } = run else {
                *unresolved += 1;
                continue;
            };
            match classes.iter_mut().find(|class| is_same([class.loss, *loss], &class.invariants, invariants)) {
                Some(class) => class.hits += 1,
                None => classes.push(Class {
                    loss: *loss,
                    verdict: verdict.clone(),
                    family: family.clone(),
                    invariants: *invariants,
                    hits: 1,
                    line: None,
                }),
            }
        }
        for (classes, _) in &mut columns {
            classes.sort_by(|a, b| a.loss.total_cmp(&b.loss));
        }
        Shares { columns, runs: plan.runs }
    }

    /// Hits, share and its interval of a cell's point; the class keeps the cell's line.
    pub fn of_cell(&mut self, column: Option<usize>, line: usize, record: &Record) -> Vec<Value> {
        let Some(column) = column else { return vec![Value::Missing("no network has these numbers".into()); 4] };
        let Record::Point { loss, invariants: Some(own), .. } = record else {
            return vec![Value::Missing("no branch".into()); 4];
        };
        let class =
            self.columns[column].0.iter_mut().find(|class| is_same([class.loss, *loss], &class.invariants, own));
        let hits = class.map_or(0, |class| {
            class.line = Some(line);
            class.hits
        });
        share(hits, self.runs)
    }

    /// Table `shares`, a row for each column, and table `ends`, a row for each point of each column.
    pub fn tables(&self, plan: &Plan) -> [Table; 2] {
        let network = [
            ("K", "", "students"),
            ("M", "", "teachers"),
            ("rho", "", "correlation of the teachers"),
            ("d", "", "input dimension of the starts"),
            ("init_scale", "", "initial weights are N(0, s^2 I/d) with this s"),
            ("runs", "", "random starts of gradient flow"),
        ];
        let low = "lower end of the 95 % Clopper-Pearson interval of the share";
        let mut columns = network.to_vec();
        columns.extend([
            ("global", "runs", "runs that ended at loss 0"),
            ("global_share", "", "global / runs"),
            ("global_low", "", low),
            ("global_high", "", "upper end"),
            ("cells", "runs", "runs that ended at the point of a cell of this column"),
            ("cells_share", "", "cells / runs"),
            ("cells_low", "", low),
            ("cells_high", "", "upper end"),
            ("other_minima", "runs", "runs that ended in another local minimum"),
            ("other_share", "", "other_minima / runs"),
            ("other_low", "", low),
            ("other_high", "", "upper end"),
            ("other_points", "runs", "runs that ended in a saddle or a degenerate point of no cell"),
            ("unresolved", "runs", "runs without a verified end"),
        ]);
        let mut shares = Table::new("shares", &columns);
        let mut columns = network.to_vec();
        columns.extend([
            ("loss", "", "population loss at the point"),
            ("verdict", "", "global minimum, local minimum, saddle or degenerate"),
            ("family", "", "k1 = anti-aligned units; block m; extra, split, dead units"),
            ("line", "", "line of the cell with this point (k1, extra units, or M); missing: of no cell"),
            ("hits", "runs", "runs that ended there"),
            ("share", "", "hits / runs"),
            ("share_low", "", low),
            ("share_high", "", "upper end"),
        ]);
        let mut ends = Table::new("ends", &columns);
        for ((classes, unresolved), (rho, problem)) in self.columns.iter().zip(&plan.columns) {
            let law = &problem.law;
            let network: Vec<Value> = vec![
                problem.students.into(),
                problem.teacher.units().into(),
                (*rho).into(),
                law.dimension.into(),
                law.scale.into(),
                self.runs.into(),
            ];
            let is_minimum = |class: &&Class| class.verdict == Verdict::LocalMinimum.name();
            let is_global = |class: &&Class| class.verdict == Verdict::GlobalMinimum.name();
            let count = |fits: &dyn Fn(&&Class) -> bool| classes.iter().filter(fits).map(|class| class.hits).sum();
            let mut row = network.clone();
            row.extend(share(count(&is_global), self.runs));
            row.extend(share(count(&|class| class.line.is_some()), self.runs));
            row.extend(share(count(&|class| class.line.is_none() && is_minimum(class)), self.runs));
            let others = count(&|class| class.line.is_none() && !is_minimum(class) && !is_global(class));
            row.extend([others.into(), (*unresolved).into()]);
            shares.push(row);
            for class in classes {
                let mut row = network.clone();
                row.extend([class.loss.into(), class.verdict.clone().into(), class.family.clone().into()]);
                let line = class.line.map(|line| super::diagram::number(plan.lines[line]));
                row.push(line.unwrap_or_else(|| Value::Missing("of no cell".into())));
                row.extend(share(class.hits, self.runs));
                ends.push(row);
            }
        }
        [shares, ends]
    }
}

fn share(hits: usize, runs: usize) -> Vec<Value> {
    let (low, high) = clopper_pearson(hits, runs, 0.95);
    vec![hits.into(), (hits as f64 / runs as f64).into(), low.into(), high.into()]
}
