//! Settings that operators change at run time and that the servers replicate.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::StateIndex;

/// How the scheduler ranks nodes that are all feasible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// Fill nodes up, so that others stay free.
    #[default]
    Binpack,
    /// Keep nodes equally empty.
    Spread,
}

impl Algorithm {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binpack => "binpack",
            Self::Spread => "spread",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a scheduler algorithm: use \"binpack\" or \"spread\"")]
pub struct UnknownAlgorithm {
    text: String,
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, UnknownAlgorithm> {
        match text {
            "binpack" => Ok(Self::Binpack),
            "spread" => Ok(Self::Spread),
            _ => Err(UnknownAlgorithm { text: text.to_owned() }),
        }
    }
}

/// How the scheduler behaves, for the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulerConfig {
    /// How feasible nodes are ranked.
    pub algorithm: Algorithm,
    /// Whether tasks may use memory beyond what they reserve, up to their `memory_max`.
    pub memory_oversubscription: bool,
    /// Whether registering jobs is refused.
    pub reject_job_registration: bool,
    /// Whether evaluations wait.
    pub pause_eval_broker: bool,
    /// When it was first set.
    pub create_index: StateIndex,
    /// When it last changed.
    pub modify_index: StateIndex,
}
