//! One-pass SGD: its parameters and schedule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Constraint, Weights};
use crate::error::{Error, Result};

const ACTION: &str = "train";

/// One-pass stochastic gradient descent: each step draws B fresh inputs x_b ~ N(0, I_d) and noises xi_b ~ N(0, sigma^2),
///
/// w_i -= (eta f(t) / B) sum_b (e_b - xi_b) a_i g'(lambda_ib) x_b / sqrt(d) + (eta f(t) gamma / d) w_i
///
/// for weights of norm sqrt(d), lambda_ib = w_i.x_b / sqrt(d), e = student - teacher, gamma the weight decay and f the
/// factor of the schedule at time t = steps / d (theory 06, eq. 06-step). That is plain SGD; the last three fields change the
/// rule (theory 06, eq. 06-sphere, 06-readouts and 06-momentum) and are left out of specs where they change nothing.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sgd {
    /// eta > 0.
    pub learning_rate: f64,
    /// B >= 1.
    pub batch: usize,
    /// Standard deviation sigma >= 0 of the noise on the labels. The loss never includes it.
    pub label_noise: f64,
    /// gamma >= 0, multiplied by the learning rate.
    pub weight_decay: f64,
    /// Factor on the learning rate against time.
    pub schedule: Schedule,
    /// The set the weights are put back on after each step.
    #[serde(skip_serializing_if = "is_default")]
    pub constraint: Constraint,
    /// Learning rate of the readouts over that of the weights, eta_a / eta: a_i -= (eta_a f(t) / (B d)) sum_b (e_b - xi_b)
    /// g(lambda_ib). 0: the readouts are fixed.
    #[serde(skip_serializing_if = "is_default")]
    pub readout_rate: f64,
    /// Heavy-ball momentum mu in [0, 1): the velocity U <- mu U + (change of the rule without momentum) is added to weights
    /// and trained readouts.
    #[serde(skip_serializing_if = "is_default")]
    pub momentum: f64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for Sgd {
    /// eta = 0.1, one sample a step, no noise, no decay, constant rate; no constraint, fixed readouts, no momentum.
    fn default() -> Sgd {
        Sgd {
            learning_rate: 0.1,
            batch: 1,
            label_noise: 0.0,
            weight_decay: 0.0,
            schedule: Schedule::default(),
            constraint: Constraint::Free,
            readout_rate: 0.0,
            momentum: 0.0,
        }
    }
}

impl Sgd {
    /// Learning rate at time t.
    pub fn rate(&self, time: f64) -> f64 {
        self.learning_rate * self.schedule.factor(time)
    }

    /// Learning rate at time t of the rule without momentum that has the same limit of large d, eta f(t) / (1 - mu) (theory
    /// 06, eq. 06-momentum).
    pub fn effective_rate(&self, time: f64) -> f64 {
        self.rate(time) / (1.0 - self.momentum)
    }

    /// Whether the weights alone are trained, without constraint and without momentum.
    pub fn is_plain(&self) -> bool {
        self.constraint == Constraint::Free && !self.trains_readouts() && self.momentum == 0.0
    }

    /// Whether the readouts are part of the state.
    pub fn trains_readouts(&self) -> bool {
        self.readout_rate > 0.0
    }

    /// Refuses every rule but plain SGD.
    ///
    /// # Errors
    /// [`Error::Spec`] naming what else the rule does.
    pub fn needs_plain(&self, action: &'static str) -> Result<()> {
        if self.is_plain() {
            return Ok(());
        }
        let problem = format!("the rule is SGD with{}, needs plain SGD", self.additions());
        Err(Error::Spec { action, problem })
    }

    /// What the rule does beyond plain SGD, each after a comma and a space but the first; empty for plain SGD.
    fn additions(&self) -> String {
        let mut parts = Vec::new();
        match self.constraint {
            Constraint::Free => {}
            Constraint::Sphere => parts.push("norms held".to_string()),
            Constraint::Stiefel => parts.push("students held orthonormal".to_string()),
        }
        if self.trains_readouts() {
            parts.push(format!("readouts trained at {} times the learning rate", self.readout_rate));
        }
        if self.momentum > 0.0 {
            parts.push(format!("momentum {}", self.momentum));
        }
        if parts.is_empty() { String::new() } else { format!(" {}", parts.join(", ")) }
    }

    /// The start of the rule: these weights, put on its constraint.
    ///
    /// # Errors
    /// [`Error::Count`] for more orthonormal students than coordinates; those of [`Constraint::retract`].
    pub fn starting(&self, weights: Weights) -> Result<Weights> {
        if self.constraint == Constraint::Free {
            return Ok(weights);
        }
        self.constraint.fits(weights.students(), weights.coordinates())?;
        let mut rows = weights.rows().clone();
        self.constraint.retract(&mut rows)?;
        Ok(weights.with_rows(rows))
    }

    /// The same rule, if its numbers make sense.
    ///
    /// # Errors
    /// [`Error::Real`] and [`Error::Count`] with the value: eta <= 0, B = 0, negative noise, decay or readout rate, momentum
    /// outside [0, 1), anything not finite. [`Error::Spec`] for weight decay or trained readouts with a constraint.
    pub fn checked(self) -> Result<Sgd> {
        let real =
            |quantity: &str, value: f64, needs| Error::Real { action: ACTION, quantity: quantity.into(), value, needs };
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(real("the learning rate", self.learning_rate, "a finite number above 0"));
        }
        if self.batch == 0 {
            return Err(Error::Count {
                action: ACTION,
                quantity: "the batch size",
                value: 0,
                needs: "at least 1".into(),
            });
        }
        let amounts = [
            ("the label noise", self.label_noise),
            ("the weight decay", self.weight_decay),
            ("the readout rate", self.readout_rate),
        ];
        for (quantity, value) in amounts {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(real(quantity, value, "a finite number, 0 or above"));
            }
        }
        if !(0.0..1.0).contains(&self.momentum) {
            return Err(real("the momentum", self.momentum, "a number from 0 to below 1"));
        }
        if self.constraint != Constraint::Free {
            let without = |problem: &str| Err(Error::Spec { action: ACTION, problem: problem.into() });
            if self.weight_decay > 0.0 {
                return without("weight decay changes nothing where the norms of the units are held");
            }
            if self.trains_readouts() {
                return without(
                    "readouts cannot be trained where the norms of the units are held; take one of the two",
                );
            }
        }
        self.schedule.checked()?;
        Ok(self)
    }
}

/// Factor on the learning rate against time t: a linear warm-up from 0, then a decay.
///
/// Written and parsed as `constant`, `step:20:0.5`, `cosine:100` or `cosine:100:0.01`, `inverse:50`, each with
/// `warm-up:5+` before it if wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schedule {
    /// Length of the warm-up: the factor is multiplied by min(1, t / warm_up). 0: none.
    pub warm_up: f64,
    pub decay: Decay,
}

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Decay {
    #[default]
    Constant,
    /// Multiplied by `factor` at each multiple of `every`.
    Step { every: f64, factor: f64 },
    /// From 1 at t = 0 to `floor` at t = `horizon` along half a cosine; `floor` from then on.
    Cosine { horizon: f64, floor: f64 },
    /// 1 / (1 + t / scale).
    Inverse { scale: f64 },
}

impl Schedule {
    /// The factor at time t >= 0.
    pub fn factor(&self, time: f64) -> f64 {
        let warm = if time < self.warm_up { time / self.warm_up } else { 1.0 };
        warm * match self.decay {
            Decay::Constant => 1.0,
            Decay::Step { every, factor } => factor.powf((time / every).floor()),
            Decay::Cosine { horizon, floor } => {
                let phase = std::f64::consts::PI * (time / horizon).min(1.0);
                floor + (1.0 - floor) * 0.5 * (1.0 + phase.cos())
            }
            Decay::Inverse { scale } => 1.0 / (1.0 + time / scale),
        }
    }

    /// Times at most `until` at which the factor or its slope jumps: an integrator must not step across them.
    pub fn breaks(&self, until: f64) -> Vec<f64> {
        let mut breaks = Vec::new();
        if self.warm_up > 0.0 {
            breaks.push(self.warm_up);
        }
        match self.decay {
            Decay::Step { every, .. } => breaks.extend((1..).map(|n| f64::from(n) * every).take_while(|&t| t < until)),
            Decay::Cosine { horizon, .. } => breaks.push(horizon),
            Decay::Constant | Decay::Inverse { .. } => {}
        }
        breaks.retain(|&t| t > 0.0 && t < until);
        breaks.sort_by(f64::total_cmp);
        breaks.dedup();
        breaks
    }

    fn checked(self) -> Result<()> {
        let needs = |quantity: &str, value: f64, good: bool, needs| {
            if good && value.is_finite() {
                return Ok(());
            }
            Err(Error::Real { action: ACTION, quantity: format!("{quantity} of the schedule"), value, needs })
        };
        needs("the warm-up", self.warm_up, self.warm_up >= 0.0, "a finite time, 0 or above")?;
        match self.decay {
            Decay::Constant => Ok(()),
            Decay::Step { every, factor } => {
                needs("the interval", every, every > 0.0, "a finite time above 0")?;
                needs("the factor", factor, factor > 0.0, "a finite number above 0")
            }
            Decay::Cosine { horizon, floor } => {
                needs("the horizon", horizon, horizon > 0.0, "a finite time above 0")?;
                needs("the floor", floor, (0.0..=1.0).contains(&floor), "a number from 0 to 1")
            }
            Decay::Inverse { scale } => needs("the scale", scale, scale > 0.0, "a finite time above 0"),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        if self.warm_up > 0.0 {
            write!(f, "warm-up:{}+", self.warm_up)?;
        }
        match self.decay {
            Decay::Constant => write!(f, "constant"),
            Decay::Step { every, factor } => write!(f, "step:{every}:{factor}"),
            Decay::Cosine { horizon, floor } => write!(f, "cosine:{horizon}:{floor}"),
            Decay::Inverse { scale } => write!(f, "inverse:{scale}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Schedule> {
        let unknown = || Error::Spec {
            action: "read the schedule",
            problem: format!(
                "{text:?} is none of constant, step:EVERY:FACTOR, cosine:HORIZON[:FLOOR], inverse:SCALE, with warm-up:TIME+ before it if wanted"
            ),
        };
        let number = |part: &str| part.trim().parse::<f64>().map_err(|_| unknown());
        let (warm_up, rest) = match text.trim().strip_prefix("warm-up:") {
            Some(rest) => {
                let (time, rest) = rest.split_once('+').unwrap_or((rest, "constant"));
                (number(time)?, rest)
            }
            None => (0.0, text.trim()),
        };
        let parts: Vec<&str> = rest.split(':').collect();
        let decay = match parts[..] {
            ["constant"] => Decay::Constant,
            ["step", every, factor] => Decay::Step { every: number(every)?, factor: number(factor)? },
            ["cosine", horizon] => Decay::Cosine { horizon: number(horizon)?, floor: 0.0 },
            ["cosine", horizon, floor] => Decay::Cosine { horizon: number(horizon)?, floor: number(floor)? },
            ["inverse", scale] => Decay::Inverse { scale: number(scale)? },
            _ => return Err(unknown()),
        };
        let schedule = Schedule { warm_up, decay };
        schedule.checked()?;
        Ok(schedule)
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;

    fn try_from(text: String) -> Result<Schedule> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_read_back_and_take_their_values() {
        for text in ["constant", "step:20:0.5", "cosine:100:0.01", "inverse:50", "warm-up:5+inverse:50"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        let factor = |text: &str, time: f64| text.parse::<Schedule>().unwrap().factor(time);
        assert_eq!(factor("step:20:0.5", 39.9), 0.5);
        assert_eq!(factor("step:20:0.5", 40.0), 0.25);
        assert!((factor("cosine:100:0.2", 50.0) - 0.6).abs() < 1e-15);
        assert_eq!(factor("cosine:100:0.2", 1e9), 0.2);
        assert_eq!(factor("inverse:50", 150.0), 0.25);
        assert_eq!(factor("warm-up:4+constant", 1.0), 0.25);
        assert_eq!("warm-up:4+step:3:0.1".parse::<Schedule>().unwrap().breaks(7.0), vec![3.0, 4.0, 6.0]);
    }

    /// What plain SGD does not use is not printed, so that older specs and their hashes stay what they were.
    #[test]
    fn specs_of_plain_sgd_print_as_before() {
        let text = serde_json::to_string(&Sgd::default()).unwrap();
        assert!(text.ends_with(r#""weight_decay":0.0,"schedule":"constant"}"#), "{text}");
        let rule = Sgd { constraint: Constraint::Stiefel, momentum: 0.5, ..Sgd::default() };
        let text = serde_json::to_string(&rule).unwrap();
        assert!(text.ends_with(r#","constraint":"stiefel","momentum":0.5}"#), "{text}");
        assert_eq!(serde_json::from_str::<Sgd>(&text).unwrap(), rule);
    }

    #[test]
    fn starts_are_put_on_the_constraint() {
        let teacher = crate::model::Teacher::orthonormal(2).unwrap();
        let rows = ndarray::array![[0.3, 0.1, 0.5], [0.2, -0.4, 0.1]];
        let start = Weights::new(rows.clone(), None, &teacher).unwrap();
        for constraint in [Constraint::Sphere, Constraint::Stiefel] {
            let held = Sgd { constraint, ..Sgd::default() }.starting(start.clone()).unwrap();
            assert!(constraint.violation(held.rows().view()) < 1e-15);
        }
        assert_eq!(Sgd::default().starting(start.clone()).unwrap(), start);
        let many = Weights::new(ndarray::concatenate![ndarray::Axis(0), rows, rows], None, &teacher).unwrap();
        let rule = Sgd { constraint: Constraint::Stiefel, ..Sgd::default() };
        assert!(rule.starting(many).unwrap_err().to_string().contains("students K is 4, needs at most d = 3"));
    }

    #[test]
    fn nonsense_is_refused_with_the_value() {
        for text in ["", "linear", "step:0:0.5", "step:1", "cosine:-1", "inverse:nan", "warm-up:x+constant"] {
            assert!(text.parse::<Schedule>().is_err(), "{text:?}");
        }
        let refused = |change: fn(&mut Sgd)| {
            let mut rule = Sgd::default();
            change(&mut rule);
            rule.checked().unwrap_err().to_string()
        };
        assert!(refused(|r| r.learning_rate = -0.5).contains("learning rate is -0.5"));
        assert!(refused(|r| r.learning_rate = f64::NAN).contains("NaN"));
        assert!(refused(|r| r.batch = 0).contains("batch size is 0"));
        assert!(refused(|r| r.label_noise = -1.0).contains("label noise is -1"));
        assert!(refused(|r| r.weight_decay = f64::INFINITY).contains("weight decay is inf"));
        assert!(refused(|r| r.readout_rate = -2.0).contains("readout rate is -2"));
        assert!(refused(|r| r.momentum = 1.0).contains("momentum is 1, needs a number from 0 to below 1"));
        let held = Sgd { constraint: Constraint::Sphere, ..Sgd::default() };
        for rule in [Sgd { weight_decay: 0.1, ..held }, Sgd { readout_rate: 1.0, ..held }] {
            assert!(rule.checked().unwrap_err().to_string().contains("where the norms of the units are held"));
        }
        assert!(Sgd { momentum: 0.5, ..held }.checked().is_ok());
        let refused = Sgd { momentum: 0.5, ..held }.needs_plain("test").unwrap_err().to_string();
        assert!(refused.contains("norms held, momentum 0.5, needs plain SGD"), "{refused}");
    }
}
