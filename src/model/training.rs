//! One-pass SGD: its parameters and schedule.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const ACTION: &str = "train";

/// One-pass stochastic gradient descent: each step draws B fresh inputs x_b ~ N(0, I_d) and noises xi_b ~ N(0, sigma^2),
///
/// w_i -= (eta f(t) / B) sum_b (e_b - xi_b) a_i g'(lambda_ib) x_b / sqrt(d) + (eta f(t) gamma / d) w_i
///
/// for weights of norm sqrt(d), lambda_ib = w_i.x_b / sqrt(d), e = student - teacher, gamma the weight decay and f the
/// factor of the schedule at time t = steps / d (theory 06, eq. 06-step).
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
}

impl Default for Sgd {
    /// eta = 0.1, one sample a step, no noise, no decay, constant rate.
    fn default() -> Sgd {
        Sgd { learning_rate: 0.1, batch: 1, label_noise: 0.0, weight_decay: 0.0, schedule: Schedule::default() }
    }
}

impl Sgd {
    /// Learning rate at time t.
    pub fn rate(&self, time: f64) -> f64 {
        self.learning_rate * self.schedule.factor(time)
    }

    /// The same rule, if its numbers make sense.
    ///
    /// # Errors
    /// [`Error::Real`] and [`Error::Count`] with the value: eta <= 0, B = 0, negative noise or decay, anything not finite.
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
        for (quantity, value) in [("the label noise", self.label_noise), ("the weight decay", self.weight_decay)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(real(quantity, value, "a finite number, 0 or above"));
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
    }
}
