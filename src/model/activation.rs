//! Which activation g the networks use.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The activation of both networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// g(u) = max(u, 0).
    #[default]
    Relu,
}

impl std::fmt::Display for Activation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Activation::Relu => "relu",
        })
    }
}

impl std::str::FromStr for Activation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "relu" => Ok(Activation::Relu),
            other => Err(Error::Spec {
                action: "use the activation",
                problem: format!("'{other}' is not known, needs 'relu'"),
            }),
        }
    }
}
