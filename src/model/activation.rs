//! Which activation g the networks use.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::numerics::special::erf;

/// The activation of both networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Activation {
    /// g(u) = max(u, 0).
    #[default]
    Relu,
    /// g(u) = u for u > 0, slope times u below.
    LeakyRelu { slope: f64 },
    /// g(u) = u.
    Linear,
    /// g(u) = erf(u / sqrt 2).
    Erf,
}

impl Activation {
    /// The same function under its simplest name: slope 0 is ReLU, slope 1 linear.
    ///
    /// # Errors
    /// [`Error::Real`] for a slope that is not finite.
    pub fn checked(self) -> Result<Activation> {
        match self {
            Activation::LeakyRelu { slope } if !slope.is_finite() => Err(Error::Real {
                action: ACTION,
                quantity: "the slope of leaky ReLU".into(),
                value: slope,
                needs: "a finite number",
            }),
            Activation::LeakyRelu { slope: 0.0 } => Ok(Activation::Relu),
            Activation::LeakyRelu { slope: 1.0 } => Ok(Activation::Linear),
            other => Ok(other),
        }
    }

    /// Slope at negative u of a piecewise linear activation with slope 1 at positive u; `None` for erf.
    pub fn negative_slope(self) -> Option<f64> {
        match self {
            Activation::Relu => Some(0.0),
            Activation::LeakyRelu { slope } => Some(slope),
            Activation::Linear => Some(1.0),
            Activation::Erf => None,
        }
    }

    /// Whether g is differentiable at 0, and so the loss at a zero unit.
    pub fn is_smooth(self) -> bool {
        matches!(self, Activation::Linear | Activation::Erf)
    }

    /// g(u).
    #[inline]
    pub fn value(self, u: f64) -> f64 {
        match self {
            Activation::Relu => u.max(0.0),
            Activation::LeakyRelu { slope } => {
                if u > 0.0 {
                    u
                } else {
                    slope * u
                }
            }
            Activation::Linear => u,
            Activation::Erf => erf(u * FRAC_1_SQRT_2),
        }
    }

    /// g'(u); at a kink the slope of the negative side.
    #[inline]
    pub fn derivative(self, u: f64) -> f64 {
        match self {
            Activation::Relu => f64::from(u8::from(u > 0.0)),
            Activation::LeakyRelu { slope } => {
                if u > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Activation::Linear => 1.0,
            Activation::Erf => FRAC_2_PI.sqrt() * (-0.5 * u * u).exp(),
        }
    }
}

const ACTION: &str = "use the activation";

impl std::fmt::Display for Activation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Activation::Relu => out.write_str("relu"),
            Activation::LeakyRelu { slope } => write!(out, "leaky-relu:{slope}"),
            Activation::Linear => out.write_str("linear"),
            Activation::Erf => out.write_str("erf"),
        }
    }
}

impl From<Activation> for String {
    fn from(activation: Activation) -> String {
        activation.to_string()
    }
}

impl TryFrom<String> for Activation {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl std::str::FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || Error::Spec {
            action: ACTION,
            problem: format!("'{text}' is not known, needs relu, leaky-relu:SLOPE, linear or erf"),
        };
        match text {
            "relu" => Ok(Activation::Relu),
            "linear" => Ok(Activation::Linear),
            "erf" => Ok(Activation::Erf),
            _ => {
                let slope =
                    text.strip_prefix("leaky-relu:").and_then(|slope| slope.parse().ok()).ok_or_else(unknown)?;
                Activation::LeakyRelu { slope }.checked()?;
                Ok(Activation::LeakyRelu { slope })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_nonsense_is_refused() {
        for text in ["relu", "leaky-relu:0.1", "leaky-relu:-0.5", "leaky-relu:0", "linear", "erf"] {
            assert_eq!(text.parse::<Activation>().unwrap().to_string(), text);
        }
        for text in ["tanh", "leaky-relu", "leaky-relu:", "leaky-relu:x", "leaky-relu:inf", "leaky-relu:NaN"] {
            assert!(text.parse::<Activation>().is_err(), "{text}");
        }
        let checked = |slope| Activation::LeakyRelu { slope }.checked().unwrap();
        assert_eq!(
            (checked(0.0), checked(-0.0), checked(1.0)),
            (Activation::Relu, Activation::Relu, Activation::Linear)
        );
        assert_eq!(checked(0.5), Activation::LeakyRelu { slope: 0.5 });
    }

    #[test]
    fn derivatives_are_those_of_the_values() {
        for activation in [Activation::Relu, Activation::LeakyRelu { slope: -0.3 }, Activation::Linear, Activation::Erf]
        {
            for u in [-2.1, -0.4, 0.3, 1.7] {
                let h = 1e-5;
                let slope = (activation.value(u + h) - activation.value(u - h)) / (2.0 * h);
                assert!((slope - activation.derivative(u)).abs() < 1e-9, "{activation} at {u}");
            }
        }
        // erf(1 / sqrt 2): the probability of one standard deviation.
        assert!((Activation::Erf.value(1.0) - 0.682_689_492_137_085_9).abs() < 1e-15);
    }
}
