//! The options of a training rule, shared by the verbs that train.

use crate::error::{Error, Result};
use std::str::FromStr;

use crate::model::{Constraint, Schedule, Sgd, Training, TwoLayer};

#[derive(clap::Args)]
pub struct RuleArguments {
    /// Learning rate eta > 0 of one-pass SGD
    #[arg(long, value_name = "ETA", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    /// Fresh inputs in each step, B [default: 1]
    #[arg(long, value_name = "B")]
    batch: Option<usize>,
    /// Standard deviation of the noise on the labels, sigma [default: 0]
    #[arg(long, value_name = "SIGMA", allow_negative_numbers = true)]
    label_noise: Option<f64>,
    /// Weight decay gamma, multiplied by the learning rate [default: 0]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Factor on the learning rate against time: constant, step:EVERY:FACTOR, cosine:HORIZON[:FLOOR] or inverse:SCALE,
    /// with warm-up:TIME+ before it if wanted [default: constant]
    #[arg(long, value_name = "SCHEDULE")]
    schedule: Option<Schedule>,
}

impl RuleArguments {
    /// Overwrites what was given.
    pub fn apply(&self, rule: &mut Sgd) {
        super::override_fields!(rule, self: learning_rate, batch, label_noise, weight_decay, schedule);
    }

    /// For a verb that trains by SGD only when asked: a rule begins with its learning rate.
    pub fn apply_to(&self, rule: &mut Option<Sgd>) -> Result<()> {
        let given = [
            ("--batch", self.batch.is_some()),
            ("--label-noise", self.label_noise.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--schedule", self.schedule.is_some()),
        ];
        if self.learning_rate.is_none() && rule.is_none() {
            return match given.iter().find(|(_, given)| *given) {
                None => Ok(()),
                Some((option, _)) => Err(Error::Spec {
                    action: "follow the flow",
                    problem: format!("{option} belongs to SGD: give a --learning-rate with it"),
                }),
            };
        }
        self.apply(rule.get_or_insert_with(Sgd::default));
        Ok(())
    }
}

/// What one-pass SGD does beyond its plain step.
#[derive(clap::Args)]
pub struct SgdArguments {
    #[command(flatten)]
    plain: RuleArguments,
    /// sgd, two-layer[:RATE] (readouts trained at RATE times the learning rate), sphere (norms held) or stiefel (students
    /// held orthonormal) [default: sgd]
    #[arg(long, value_name = "RULE")]
    rule: Option<SgdRule>,
    /// Heavy-ball momentum mu, from 0 to below 1 [default: 0]
    #[arg(long, value_name = "MU", allow_negative_numbers = true)]
    momentum: Option<f64>,
}

impl SgdArguments {
    /// Overwrites what was given.
    pub fn apply(&self, rule: &mut Sgd) {
        self.plain.apply(rule);
        super::override_fields!(rule, self: momentum);
        if let Some(SgdRule { constraint, readout_rate }) = self.rule {
            (rule.constraint, rule.readout_rate) = (constraint, readout_rate);
        }
    }
}

/// A rule of one-pass SGD by its name.
#[derive(Clone, Copy, Debug)]
struct SgdRule {
    constraint: Constraint,
    readout_rate: f64,
}

impl FromStr for SgdRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<SgdRule> {
        let unknown = || Error::Spec {
            action: "read the rule",
            problem: format!("{text:?} is none of sgd, two-layer[:RATE], sphere, stiefel"),
        };
        let (mut constraint, mut readout_rate) = (Constraint::Free, 0.0);
        match text.trim().split_once(':') {
            None => match text.trim() {
                "sgd" => {}
                "two-layer" => readout_rate = TwoLayer::default().readout_rate,
                "sphere" => constraint = Constraint::Sphere,
                "stiefel" => constraint = Constraint::Stiefel,
                _ => return Err(unknown()),
            },
            Some(("two-layer", rate)) => readout_rate = rate.parse().map_err(|_| unknown())?,
            Some(_) => return Err(unknown()),
        }
        Ok(SgdRule { constraint, readout_rate })
    }
}

/// The deterministic rule on the population loss.
#[derive(clap::Args)]
pub struct TrainingArguments {
    /// gradient-flow, weight-decay:GAMMA, two-layer[:RATE], sphere, stiefel,
    /// descent[:STEP][:sphere|stiefel|gram-schmidt] [default: gradient-flow]
    #[arg(long, value_name = "RULE")]
    rule: Option<Training>,
    /// With two-layer: learning rate of the readouts over that of the weights [default: 1]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    readout_rate: Option<f64>,
}

impl TrainingArguments {
    /// Whether any of the options was given.
    pub fn is_given(&self) -> bool {
        self.rule.is_some() || self.readout_rate.is_some()
    }

    /// Overwrites what was given.
    pub fn apply(&self, rule: &mut Training) -> Result<()> {
        *rule = self.rule.unwrap_or(*rule);
        match (self.readout_rate, rule) {
            (None, _) => Ok(()),
            (Some(rate), Training::TwoLayer(two)) => {
                two.readout_rate = rate;
                Ok(())
            }
            (Some(_), rule) => Err(without_meaning("--readout-rate", rule)),
        }
    }
}

/// Options of descent with a finite step.
#[derive(clap::Args)]
pub struct DescentArguments {
    /// With descent: heavy-ball momentum [default: 0]
    #[arg(long, value_name = "MU", allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// With descent: weight decay gamma [default: 0]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// With descent: stop at this Euclidean norm of the gradient [default: 1e-9]
    #[arg(long, value_name = "NORM")]
    stop_gradient: Option<f64>,
    /// With descent: stop after so many steps [default: 20000]
    #[arg(long, value_name = "N")]
    max_steps: Option<usize>,
}

impl DescentArguments {
    /// Overwrites what was given.
    pub fn apply(&self, rule: &mut Training) -> Result<()> {
        let given = [
            ("--momentum", self.momentum.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--stop-gradient", self.stop_gradient.is_some()),
            ("--max-steps", self.max_steps.is_some()),
        ];
        let Training::Descent(descent) = rule else {
            return match given.iter().find(|(_, given)| *given) {
                None => Ok(()),
                Some((option, _)) => Err(without_meaning(option, rule)),
            };
        };
        super::override_fields!(descent, self: momentum, weight_decay);
        descent.gradient = self.stop_gradient.unwrap_or(descent.gradient);
        descent.steps = self.max_steps.unwrap_or(descent.steps);
        Ok(())
    }
}

fn without_meaning(option: &str, rule: &Training) -> Error {
    Error::Spec { action: "use the rule", problem: format!("{option} has no meaning for the rule {rule}") }
}

/// The rule in words, for captions.
pub fn words(rule: &Sgd) -> String {
    let mut text = format!("η = {}", rule.learning_rate);
    if rule.batch > 1 {
        text.push_str(&format!(", B = {}", rule.batch));
    }
    if rule.label_noise > 0.0 {
        text.push_str(&format!(", σ = {}", rule.label_noise));
    }
    if rule.weight_decay > 0.0 {
        text.push_str(&format!(", γ = {}", rule.weight_decay));
    }
    if rule.schedule != Schedule::default() {
        text.push_str(&format!(", {}", rule.schedule));
    }
    match rule.constraint {
        Constraint::Free => {}
        Constraint::Sphere => text.push_str(", norms held"),
        Constraint::Stiefel => text.push_str(", students orthonormal"),
    }
    if rule.trains_readouts() {
        text.push_str(&format!(", readouts at {} η", rule.readout_rate));
    }
    if rule.momentum > 0.0 {
        text.push_str(&format!(", momentum {}", rule.momentum));
    }
    text
}
