//! Minima at a finite learning rate: the fixed points of one-pass SGD that grow out of them, followed in the learning rate
//! to where they cease to exist or to be stable (theory 06).

use ndarray::{Array1, Array2};

use crate::dynamics::{BlockParameter, BlockSgd, BlockSpectrum, Equations, steady_state};
use crate::error::{Error, Result};
use crate::model::{Blocks, Overlaps, Sgd};
use crate::numerics::follow::{self, Branch, Event, Options, Point};
use crate::numerics::linalg;
use crate::numerics::root::System;
use crate::numerics::singular::{self, Critical, hopf};
use crate::population::Sector;

/// Largest real part, divided by the learning rate, of an eigenvalue that is taken as zero at a located event.
const LOCATED: f64 = 1e-8;

/// Largest change of Q, in units of its largest entry, between two steps of the dense check: beyond a limit Newton's method
/// may find a fixed point of another kind.
const NEAR: f64 = 0.05;

const ACTION: &str = "follow a minimum in the learning rate";

/// How a fixed point stops to be one that SGD stays at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// It meets an unstable one of the same symmetry; beyond there is neither.
    Fold,
    /// A real eigenvalue passes zero.
    Real,
    /// A complex pair passes the imaginary axis.
    Hopf,
}

impl LimitKind {
    /// Name for tables.
    pub fn name(self) -> &'static str {
        match self {
            LimitKind::Fold => "fold",
            LimitKind::Real => "real eigenvalue",
            LimitKind::Hopf => "Hopf",
        }
    }
}

/// The end of a stable branch.
#[derive(Clone, Debug)]
pub struct Limit {
    pub kind: LimitKind,
    /// Learning rate, or the parameter that was followed.
    pub learning_rate: f64,
    /// Arclength between the last two points with opposite signs.
    pub width: f64,
    /// The same learning rate from F = 0, B phi = 0, |phi| = 1 solved at once (B the block of the sector), with its error;
    /// `None` for a Hopf point or where that did not converge.
    pub direct: Option<(f64, f64)>,
    pub sector: Sector,
    /// Dimension of the sector.
    pub multiplicity: f64,
    /// Frequency per unit of t = steps / d at a Hopf point, else 0.
    pub frequency: f64,
    /// Population loss there.
    pub loss: f64,
    /// Overlaps there.
    pub x: Vec<f64>,
}

/// Loss and leading eigenvalue at a point of a branch.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// Learning rate, or the parameter that was followed.
    pub learning_rate: f64,
    pub loss: f64,
    /// (Real, imaginary) part of the eigenvalue with the largest real part, per unit of t = steps / d.
    pub leading: [f64; 2],
    pub sector: Sector,
}

/// A minimum followed in the learning rate.
#[derive(Clone, Debug)]
pub struct Followed {
    pub system: BlockSgd,
    pub spectrum: BlockSpectrum,
    /// Tests: the largest real part of each sector, divided by the learning rate.
    pub branch: Branch,
    options: Options,
    /// `None`: stable up to the end of the branch.
    pub limit: Option<Limit>,
    /// All events, the limit first, in the order of travel.
    pub events: Vec<Limit>,
}

/// Follows the fixed point of SGD that is this critical point of the loss at learning rate 0 upward, until it is unstable,
/// turns back, or reaches `largest`. Only learning rate / batch matters.
///
/// # Errors
/// [`Error::Spec`] when the state is unstable at learning rate 0; those of the rule, of the start and of the eigenvalues. A
/// branch that ends early says so in `branch.end`.
pub fn follow_minimum(state: &Blocks, rule: Sgd, largest: f64) -> Result<Followed> {
    follow(state, rule, largest, true)
}

/// As [`follow_minimum`], but on through instabilities, up to where the branch turns back or `largest`.
///
/// # Errors
/// As [`follow_minimum`].
pub fn follow_to_fold(state: &Blocks, rule: Sgd, largest: f64) -> Result<Followed> {
    follow(state, rule, largest, false)
}

/// As [`follow_minimum`], but at the rule's learning rate and along its label noise or weight decay, upward from 0.
///
/// # Errors
/// As [`follow_minimum`]; [`Error::Spec`] when the minimum ends before the learning rate.
pub fn follow_disturbed(state: &Blocks, rule: Sgd, along: BlockParameter, largest: f64) -> Result<Followed> {
    let mut undisturbed = rule;
    match along {
        BlockParameter::LabelNoise => undisturbed.label_noise = 0.0,
        BlockParameter::WeightDecay => undisturbed.weight_decay = 0.0,
        BlockParameter::LearningRate | BlockParameter::Size(_) => return follow_minimum(state, rule, largest),
    }
    let at_rate = follow_minimum(state, undisturbed, rule.learning_rate)?;
    if let Some(limit) = &at_rate.limit {
        let problem = format!("it ends at learning rate {}, below {}", limit.learning_rate, rule.learning_rate);
        return Err(Error::Spec { action: ACTION, problem });
    }
    let system = BlockSgd::new(state, undisturbed, along)?;
    follow_system(system, &at_rate.at(rule.learning_rate)?, 0.2 * largest, largest, true)
}

fn follow(state: &Blocks, rule: Sgd, largest: f64, is_stable: bool) -> Result<Followed> {
    let system = BlockSgd::new(state, rule, BlockParameter::LearningRate)?;
    // Near the rate at which the exact solution loses stability.
    let unit = 4.0 * rule.batch as f64 / (system.partition().student_count() + 1.0);
    let x = system.pack(state);
    follow_system(system, &x, unit, largest, is_stable)
}

/// Follows the fixed point x of the system from 0 upward; `unit` is a large value of the parameter.
fn follow_system(system: BlockSgd, x: &[f64], unit: f64, largest: f64, is_stable: bool) -> Result<Followed> {
    let spectrum = BlockSpectrum::new(&system)?;
    let units = system.partition().student_count() + system.partition().teacher_count();
    let options = Options {
        step: 0.01 * unit,
        largest: 0.1 * unit,
        smallest: 1e-8 * unit,
        range: (0.0, largest),
        // Rounding of the sums over all units.
        tolerance: f64::max(1e-11, 1e-15 * units * units * unit),
        points: 4000,
        ..Options::default()
    };
    let tests = |x: &[f64], p: f64| -> Result<Vec<f64>> {
        let first = |values: &[[f64; 2]]| values.first().map_or(f64::NEG_INFINITY, |value| value[0]);
        Ok(spectrum.rates(x, p)?.iter().map(|level| first(&level.values)).collect())
    };
    let first = follow::start(&system, x, 0.0, 1.0, &options)?;
    let at_zero = tests(&first.x, 0.0)?;
    if let Some(value) = at_zero.iter().find(|value| !(**value < 0.0)) {
        return Err(Error::Spec {
            action: ACTION,
            problem: format!("the state is no strict minimum: eigenvalue {value:.3e} of the flow of the overlaps"),
        });
    }
    let goes_on = |point: &Point| {
        (!is_stable || point.tests.iter().all(|value| *value < 0.0)) && point.tangent[point.x.len()] > 0.0
    };
    let branch = follow::follow_from(&system, &first, &options, &tests, &mut |point| goes_on(point))?;
    let events = limits(&system, &spectrum, &branch)?;
    Ok(Followed { system, spectrum, branch, options, limit: events.first().cloned(), events })
}

fn limits(system: &BlockSgd, spectrum: &BlockSpectrum, branch: &Branch) -> Result<Vec<Limit>> {
    // In the order of travel: between two points of the branch by the distance from the first.
    let distance = |event: &follow::Located| {
        let from = &branch.points[event.before];
        let square: f64 = event.point.x.iter().zip(&from.x).map(|(a, b)| (a - b) * (a - b)).sum();
        (square + (event.point.p - from.p).powi(2)).sqrt()
    };
    let order =
        |a: &&follow::Located, b: &&follow::Located| a.before.cmp(&b.before).then(distance(a).total_cmp(&distance(b)));
    // A test that jumps through zero is no event.
    let located = |event: &&follow::Located| match event.kind {
        Event::Fold => true,
        Event::Test(index) => event.point.tests[index].abs() < LOCATED,
    };
    let mut events: Vec<&follow::Located> = branch.events.iter().filter(located).collect();
    events.sort_by(|a, b| order(a, b));
    let mut limits: Vec<Limit> = Vec::new();
    for event in events {
        let limit = limit(system, spectrum, branch, event)?;
        let again = |known: &Limit| {
            known.sector == limit.sector
                && (known.learning_rate - limit.learning_rate).abs() < 1e-7 * limit.learning_rate
        };
        if !limits.iter().any(again) {
            limits.push(limit);
        }
    }
    Ok(limits)
}

fn limit(system: &BlockSgd, spectrum: &BlockSpectrum, branch: &Branch, event: &follow::Located) -> Result<Limit> {
    // At a fold the trivial sector has an eigenvalue zero as well; rounding says which comes first.
    let p = event.point.p;
    let twin = |other: &&follow::Located| {
        other.kind == Event::Fold && other.before == event.before && (other.point.p - p).abs() < 1e-7 * p
    };
    let sectors = spectrum.sectors();
    let sector = match event.kind {
        Event::Fold => Sector::Trivial,
        Event::Test(index) => sectors[index],
    };
    let is_fold = sector == Sector::Trivial && branch.events.iter().any(|other| twin(&other));
    let block = spectrum.block(sector, &event.point.x, p)?;
    let leading = linalg::eigenvalues(block.view())?.first().copied().unwrap_or([0.0; 2]);
    let kind = match (is_fold, leading[1] != 0.0) {
        (true, _) => LimitKind::Fold,
        (false, true) => LimitKind::Hopf,
        (false, false) => LimitKind::Real,
    };
    let rate = system.at(p)?.rule().learning_rate;
    let frequency = if kind == LimitKind::Hopf { rate * hopf(block.view())?.frequency } else { 0.0 };
    let edge = Edge { system, spectrum, sector };
    let direct = match kind {
        LimitKind::Hopf => None,
        _ => match singular::locate(&edge, &event.point.x, [p, 0.0], None) {
            Ok(found) if (found.p[0] - p).abs() < 1e-3 * p => Some((found.p[0], found.error)),
            _ => None,
        },
    };
    Ok(Limit {
        kind,
        learning_rate: p,
        width: event.width,
        direct,
        sector,
        multiplicity: sector.multiplicity(system.partition()),
        frequency,
        loss: system.risk(&event.point.x),
        x: event.point.x.clone(),
    })
}

/// Fixed points at which the block of a sector is singular.
struct Edge<'a> {
    system: &'a BlockSgd,
    spectrum: &'a BlockSpectrum,
    sector: Sector,
}

impl Critical for Edge<'_> {
    fn dim(&self) -> usize {
        self.system.dim()
    }
    fn residual(&self, x: &[f64], p: [f64; 2]) -> Array1<f64> {
        self.system.residual(x, p[0])
    }
    fn jacobian(&self, x: &[f64], p: [f64; 2]) -> Array2<f64> {
        self.system.jacobian(x, p[0])
    }
    fn modes(&self) -> usize {
        self.spectrum.size(self.sector)
    }
    fn operator(&self, x: &[f64], p: [f64; 2]) -> Array2<f64> {
        let n = self.modes();
        self.spectrum.block(self.sector, x, p[0]).unwrap_or_else(|_| Array2::from_elem((n, n), f64::NAN))
    }
    fn symmetric(&self) -> bool {
        false
    }
}

impl Followed {
    /// Loss and leading eigenvalue at a point with these overlaps and this value p of the parameter followed.
    ///
    /// # Errors
    /// Those of the eigenvalues.
    pub fn settled(&self, x: &[f64], p: f64) -> Result<Settled> {
        let (leading, sector) = self.leading(x, p)?;
        let rate = self.system.at(p)?.rule().learning_rate;
        Ok(Settled { learning_rate: p, loss: self.system.risk(x), leading: leading.map(|part| part * rate), sector })
    }

    /// (Real, imaginary) part of the eigenvalue with the largest real part, divided by the learning rate, and its sector.
    ///
    /// # Errors
    /// Those of the eigenvalues.
    pub fn leading(&self, x: &[f64], learning_rate: f64) -> Result<([f64; 2], Sector)> {
        let rates = self.spectrum.rates(x, learning_rate)?;
        let leads = rates.iter().filter_map(|level| Some((*level.values.first()?, level.sector)));
        let first = ([f64::NEG_INFINITY, 0.0], Sector::Trivial);
        Ok(leads.fold(first, |best, lead| if lead.0[0] > best.0[0] { lead } else { best }))
    }

    /// The fixed point at a learning rate below the limit, from the nearest point of the branch below it.
    ///
    /// # Errors
    /// [`Error::NotConverged`], and [`Error::Spec`] when the solution found is another one.
    pub fn at(&self, learning_rate: f64) -> Result<Vec<f64>> {
        let below = self.branch.points.iter().take_while(|point| point.p <= learning_rate).last();
        let start = below.unwrap_or(&self.branch.points[0]);
        let limit = self.limit.as_ref().filter(|limit| {
            let near = (limit.learning_rate - learning_rate).abs();
            near < (learning_rate - start.p).abs()
        });
        let guess = limit.map_or(&start.x, |limit| &limit.x);
        let x = self.system.fixed_point(guess, learning_rate)?;
        let moved = x.iter().zip(guess).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
        if !(moved < linalg::max_abs(guess)) {
            return Err(Error::Spec { action: ACTION, problem: format!("no fixed point nearby at {learning_rate}") });
        }
        Ok(x)
    }

    /// The fixed point on the followed branch at a learning rate, continued from the nearest point below it; `None` beyond
    /// the end of the branch, which is a fold when the branch turned back.
    ///
    /// # Errors
    /// Those of [`follow::follow_from`]; [`Error::Spec`] when the continuation stops on the way.
    pub fn on_branch(&self, learning_rate: f64) -> Result<Option<Vec<f64>>> {
        let points = &self.branch.points;
        let rises = |i: &usize| points[*i].p > points[*i - 1].p;
        let last = (1..points.len()).take_while(rises).last().unwrap_or(0);
        let below = points[..=last].iter().take_while(|point| point.p <= learning_rate).last();
        let Some(start) = below else { return Ok(None) };
        let reach = self
            .events
            .iter()
            .find(|event| event.kind == LimitKind::Fold)
            .map_or(points[last].p, |fold| fold.learning_rate);
        if learning_rate > reach {
            return Ok(None);
        }
        if start.p == learning_rate {
            return Ok(Some(start.x.clone()));
        }
        let options = Options { range: (0.0, learning_rate), ..self.options };
        let found = follow::follow_from(&self.system, start, &options, &|_, _| Ok(Vec::new()), &mut |point| {
            point.tangent[point.x.len()] > 0.0
        })?;
        match found.points.last() {
            Some(end) if matches!(found.end, follow::End::Range { .. }) => Ok(Some(end.x.clone())),
            _ => Err(Error::Spec { action: ACTION, problem: format!("at {learning_rate} the branch {}", found.end) }),
        }
    }

    /// The limit from the dense equations alone, bisected in the learning rate to `tolerance` between `reach` below the
    /// limit and 0.7 times that above it: whether Newton's method on all overlaps finds the fixed point and all eigenvalues of its dense
    /// Jacobian have negative real parts. Sizes must be whole. `None` when the branch has no limit.
    ///
    /// # Errors
    /// [`Error::Spec`] when the bracket's ends do not differ; those of [`BlockSgd::expand`].
    pub fn dense_limit(&self, reach: f64, tolerance: f64) -> Result<Option<f64>> {
        let Some(limit) = &self.limit else { return Ok(None) };
        let (mut low, mut high) = (limit.learning_rate - reach, limit.learning_rate + 0.7 * reach);
        let refuse = |at: f64, what: &str| Error::Spec {
            action: ACTION,
            problem: format!("the dense fixed point at learning rate {at} is {what}"),
        };
        let (start, teacher) = self.system.expand(&self.at(low)?)?;
        // The stable fixed point, if it is there.
        let settle = |guess: &Overlaps, learning_rate: f64| -> Result<Option<Overlaps>> {
            let rule = Sgd { learning_rate, ..*self.system.rule() };
            let equations = Equations::new(guess, &teacher, rule)?;
            let Ok(steady) = steady_state(&equations, guess) else { return Ok(None) };
            let moved = linalg::max_abs(&(steady.overlaps.q() - guess.q())) / linalg::max_abs(guess.q());
            let stable = steady.eigenvalues.first().is_some_and(|value| value[0] < 0.0);
            Ok((stable && moved < NEAR).then_some(steady.overlaps))
        };
        let Some(mut guess) = settle(&start, low)? else { return Err(refuse(low, "not stable")) };
        if settle(&guess, high)?.is_some() {
            return Err(refuse(high, "stable"));
        }
        while high - low > tolerance {
            let middle = 0.5 * (low + high);
            match settle(&guess, middle)? {
                Some(found) => (guess, low) = (found, middle),
                None => high = middle,
            }
        }
        Ok(Some(0.5 * (low + high)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::reduced::{Shape, flipped_guess, solve};

    fn limit(k1: f64, m: f64, batch: usize) -> Followed {
        let shape = Shape::flipped(k1, m, 0);
        let state = solve(&shape, &flipped_guess(&shape)).unwrap();
        follow_minimum(&state, Sgd { batch, ..Sgd::default() }, batch as f64).unwrap()
    }

    /// K = M = 8: one flipped unit ends at a fold, two lose stability to a difference of the two before; the direct
    /// solutions agree, and the batch only scales the learning rate.
    #[test]
    fn limits_of_one_and_two_flipped_units() {
        for (k1, kind, sector, multiplicity, expected) in [
            (1.0, LimitKind::Fold, Sector::Trivial, 1.0, 0.422510984),
            (2.0, LimitKind::Real, Sector::Standard(0), 1.0, 0.416514366),
        ] {
            let followed = limit(k1, 8.0, 1);
            let found = followed.limit.clone().unwrap();
            assert_eq!((found.kind, found.sector, found.multiplicity), (kind, sector, multiplicity));
            assert!((found.learning_rate - expected).abs() < 1e-8, "{k1}: {}", found.learning_rate);
            let (direct, error) = found.direct.unwrap();
            assert!((direct - found.learning_rate).abs() < 1e-9 && error < 1e-9, "{k1}: {direct} {error:e}");
            let below = followed.at(0.99 * expected).unwrap();
            assert!(followed.settled(&below, 0.99 * expected).unwrap().leading[0] < 0.0);
            let four = limit(k1, 8.0, 4).limit.unwrap();
            assert!((four.learning_rate / 4.0 - found.learning_rate).abs() < 1e-9, "{k1}");
            assert!((four.loss / found.loss - 1.0).abs() < 1e-5, "{k1}");
        }
    }

    #[test]
    fn a_saddle_is_refused() {
        let shape = Shape::flipped(3.0, 8.0, 0);
        let state = solve(&shape, &flipped_guess(&shape)).unwrap();
        assert!(matches!(follow_minimum(&state, Sgd::default(), 1.0), Err(Error::Spec { .. })));
    }
}
