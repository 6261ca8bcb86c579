//! The options of a training rule, shared by the verbs that train.

use crate::error::{Error, Result};
use crate::model::{Schedule, Sgd};

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
    text
}
