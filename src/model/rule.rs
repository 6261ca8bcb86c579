//! The deterministic training rules on the population loss.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Activation, Constraint, Sgd};
use crate::error::{Error, Result};

const ACTION: &str = "train";

/// A training rule with its parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Training {
    /// dW/dt = - grad L(W): the small-learning-rate limit of one-pass SGD and of gradient descent, in the time
    /// learning rate x steps / d (weights of norm sqrt(d)) or learning rate x steps (weights of norm 1).
    #[default]
    GradientFlow,
    /// Gradient flow of L + (gamma/2) |W|^2.
    WeightDecay(WeightDecay),
    /// Gradient flow of W and of the readouts a, which start at 1 (theory 10, eq. 10-two-layer).
    TwoLayer(TwoLayer),
    /// Riemannian gradient flow with |w_k| = 1 (theory 10, eq. 10-flow).
    Sphere,
    /// Riemannian gradient flow with W W^T = I.
    Stiefel,
    /// Gradient descent with a finite step.
    Descent(Descent),
    /// One-pass SGD on fresh inputs.
    Sgd(Sgd),
}

/// gamma > 0 of L + (gamma/2) |W|^2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightDecay {
    pub gamma: f64,
}

/// Training of both layers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TwoLayer {
    /// Learning rate of the readouts over that of the weights, eta_a / eta_w > 0.
    pub readout_rate: f64,
}

impl Default for TwoLayer {
    /// Equal rates.
    fn default() -> TwoLayer {
        TwoLayer { readout_rate: 1.0 }
    }
}

/// Full-batch gradient descent on the population loss: U <- mu U - eta (grad L(W) + gamma W), W <- W + U, and W is put back
/// on the constraint after each step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Descent {
    /// eta > 0, for weights of norm 1.
    pub step: f64,
    /// mu in [0, 1): heavy ball.
    pub momentum: f64,
    /// gamma >= 0.
    pub weight_decay: f64,
    /// What each step is followed by.
    pub then: Normalisation,
    /// Converged when the Euclidean norm of the (tangent) gradient is at most this.
    pub gradient: f64,
    /// Most steps.
    pub steps: usize,
}

impl Default for Descent {
    /// Step 0.1, no momentum, no decay, no constraint, to a gradient of 1e-9 or 20 000 steps.
    fn default() -> Descent {
        Descent {
            step: 0.1,
            momentum: 0.0,
            weight_decay: 0.0,
            then: Normalisation::None,
            gradient: 1e-9,
            steps: 20_000,
        }
    }
}

/// What a discrete step is followed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    #[default]
    None,
    /// Rows divided by their norms: normalised gradient descent.
    Sphere,
    /// Rows replaced by the nearest orthonormal ones (polar factor).
    Stiefel,
    /// Rows orthonormalised one after the other (Gram-Schmidt, QR): not a descent on the loss (theory 10, eq. 10-gram-schmidt).
    GramSchmidt,
}

impl Normalisation {
    /// The set on which the weights stay.
    pub fn constraint(self) -> Constraint {
        match self {
            Normalisation::None => Constraint::Free,
            Normalisation::Sphere => Constraint::Sphere,
            Normalisation::Stiefel | Normalisation::GramSchmidt => Constraint::Stiefel,
        }
    }
}

impl Training {
    /// The set on which this rule keeps the weights.
    pub fn constraint(self) -> Constraint {
        match self {
            Training::Sphere => Constraint::Sphere,
            Training::Stiefel => Constraint::Stiefel,
            Training::Descent(descent) => descent.then.constraint(),
            Training::Sgd(sgd) => sgd.constraint,
            _ => Constraint::Free,
        }
    }

    /// Whether this is plain gradient flow, the rule that specs leave out.
    pub fn is_gradient_flow(&self) -> bool {
        *self == Training::GradientFlow
    }

    /// gamma of the function L + (gamma/2) |W|^2 that the rule lowers.
    pub fn weight_decay(self) -> f64 {
        match self {
            Training::WeightDecay(decay) => decay.gamma,
            Training::Descent(descent) => descent.weight_decay,
            Training::Sgd(sgd) => sgd.weight_decay,
            _ => 0.0,
        }
    }

    /// Refuses a rule that has no meaning for the activation: readouts are trained through g(c u) = c g(u), c > 0 (theory
    /// 10, eq. 10-readout-gradient), which erf does not have.
    ///
    /// # Errors
    /// [`Error::Spec`].
    pub fn meets(self, activation: Activation) -> Result<()> {
        match (self, activation) {
            (Training::TwoLayer(_), Activation::Erf) => Err(Error::Spec {
                action: ACTION,
                problem: "the rule two-layer needs an activation with g(c u) = c g(u), which erf has not; take relu, leaky-relu:SLOPE or linear"
                    .into(),
            }),
            _ => Ok(()),
        }
    }

    /// The same rule, if its numbers make sense for K students in d dimensions.
    ///
    /// # Errors
    /// [`Error::Real`], [`Error::Count`] with the value; [`Error::Spec`] for weight decay where the norms are held.
    pub fn checked(self, students: usize, dimension: usize) -> Result<Training> {
        let positive = |quantity: &str, value: f64| {
            let error =
                Error::Real { action: ACTION, quantity: quantity.into(), value, needs: "a finite number above 0" };
            if value > 0.0 && value.is_finite() { Ok(()) } else { Err(error) }
        };
        match self {
            Training::WeightDecay(decay) => positive("the weight decay", decay.gamma)?,
            Training::TwoLayer(two) => positive("the readout rate", two.readout_rate)?,
            Training::Descent(descent) => {
                positive("the step", descent.step)?;
                positive("the gradient at which descent stops", descent.gradient)?;
                let within = |quantity: &str, value: f64, good: bool, needs| {
                    let error = Error::Real { action: ACTION, quantity: quantity.into(), value, needs };
                    if good { Ok(()) } else { Err(error) }
                };
                let (mu, gamma) = (descent.momentum, descent.weight_decay);
                within("the momentum", mu, (0.0..1.0).contains(&mu), "a number from 0 to below 1")?;
                within("the weight decay", gamma, gamma >= 0.0 && gamma.is_finite(), "a finite number, 0 or above")?;
                if descent.steps == 0 {
                    let needs = "at least 1".to_string();
                    return Err(Error::Count { action: ACTION, quantity: "the number of steps", value: 0, needs });
                }
                if descent.then != Normalisation::None && gamma > 0.0 {
                    return Err(Error::Spec {
                        action: ACTION,
                        problem: "weight decay changes nothing where the norms of the units are held".into(),
                    });
                }
            }
            Training::Sgd(sgd) => drop(sgd.checked()?),
            Training::GradientFlow | Training::Sphere | Training::Stiefel => {}
        }
        self.constraint().fits(students, dimension)?;
        Ok(self)
    }
}

impl fmt::Display for Training {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Training::GradientFlow => write!(f, "gradient-flow"),
            Training::WeightDecay(decay) => write!(f, "weight-decay:{}", decay.gamma),
            Training::TwoLayer(two) => write!(f, "two-layer:{}", two.readout_rate),
            Training::Sphere => write!(f, "sphere"),
            Training::Stiefel => write!(f, "stiefel"),
            Training::Descent(descent) => {
                write!(f, "descent:{}", descent.step)?;
                match descent.then {
                    Normalisation::None => Ok(()),
                    Normalisation::Sphere => write!(f, ":sphere"),
                    Normalisation::Stiefel => write!(f, ":stiefel"),
                    Normalisation::GramSchmidt => write!(f, ":gram-schmidt"),
                }?;
                if descent.momentum > 0.0 {
                    write!(f, ", momentum {}", descent.momentum)?;
                }
                if descent.weight_decay > 0.0 {
                    write!(f, ", weight decay {}", descent.weight_decay)?;
                }
                Ok(())
            }
            Training::Sgd(sgd) => write!(f, "sgd:{}", sgd.learning_rate),
        }
    }
}

/// `gradient-flow`, `weight-decay:GAMMA`, `two-layer[:RATE]`, `sphere`, `stiefel`,
/// `descent[:STEP][:sphere|stiefel|gram-schmidt]`.
impl FromStr for Training {
    type Err = Error;

    fn from_str(text: &str) -> Result<Training> {
        let unknown = || Error::Spec {
            action: "read the rule",
            problem: format!(
                "{text:?} is none of gradient-flow, weight-decay:GAMMA, two-layer[:RATE], sphere, stiefel, descent[:STEP][:sphere|stiefel|gram-schmidt]"
            ),
        };
        let number = |part: &str| part.parse::<f64>().map_err(|_| unknown());
        let parts: Vec<&str> = text.trim().split(':').collect();
        let then = |part: &str| match part {
            "sphere" => Ok(Normalisation::Sphere),
            "stiefel" => Ok(Normalisation::Stiefel),
            "gram-schmidt" => Ok(Normalisation::GramSchmidt),
            _ => Err(unknown()),
        };
        Ok(match parts[..] {
            ["gradient-flow"] => Training::GradientFlow,
            ["weight-decay", gamma] => Training::WeightDecay(WeightDecay { gamma: number(gamma)? }),
            ["two-layer"] => Training::TwoLayer(TwoLayer::default()),
            ["two-layer", rate] => Training::TwoLayer(TwoLayer { readout_rate: number(rate)? }),
            ["sphere"] => Training::Sphere,
            ["stiefel"] => Training::Stiefel,
            ["descent"] => Training::Descent(Descent::default()),
            ["descent", part] => Training::Descent(match number(part) {
                Ok(step) => Descent { step, ..Descent::default() },
                Err(_) => Descent { then: then(part)?, ..Descent::default() },
            }),
            ["descent", step, part] => {
                Training::Descent(Descent { step: number(step)?, then: then(part)?, ..Descent::default() })
            }
            _ => return Err(unknown()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_back() {
        for text in [
            "gradient-flow",
            "weight-decay:0.01",
            "two-layer:2",
            "sphere",
            "stiefel",
            "descent:0.2",
            "descent:0.2:sphere",
            "descent:0.1:gram-schmidt",
        ] {
            assert_eq!(text.parse::<Training>().unwrap().to_string(), text);
        }
        assert_eq!("descent:stiefel".parse::<Training>().unwrap().constraint(), Constraint::Stiefel);
    }

    #[test]
    fn nonsense_is_refused_with_the_value() {
        let two = Training::TwoLayer(TwoLayer::default());
        assert!(two.meets(Activation::Erf).unwrap_err().to_string().contains("erf has not"));
        assert!(two.meets(Activation::Linear).is_ok() && Training::Sphere.meets(Activation::Erf).is_ok());
        for text in ["", "flow", "descent:x", "descent:0.1:x", "two-layer:a", "sphere:1"] {
            assert!(text.parse::<Training>().is_err(), "{text:?}");
        }
        let refused = |text: &str| text.parse::<Training>().unwrap().checked(5, 4).unwrap_err().to_string();
        assert!(refused("stiefel").contains("students K is 5, needs at most d = 4"));
        assert!(refused("two-layer:-1").contains("readout rate is -1"));
        assert!(refused("weight-decay:0").contains("weight decay is 0"));
        assert!(refused("descent:0").contains("step is 0"));
        let decaying = Descent { weight_decay: 0.1, then: Normalisation::Sphere, ..Descent::default() };
        assert!(Training::Descent(decaying).checked(2, 4).unwrap_err().to_string().contains("norms"));
        let heavy = Descent { momentum: 1.0, ..Descent::default() };
        assert!(Training::Descent(heavy).checked(2, 4).unwrap_err().to_string().contains("momentum is 1"));
    }
}
