//! Why a node was chosen: the scores it got, as fixed-point numbers.

use serde::{Deserialize, Serialize};

/// A part of a node's score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scorer {
    /// How well the node is filled (or kept empty, under the spread algorithm).
    Binpack,
    /// How many of the same group are there already.
    JobAntiAffinity,
    /// Whether an earlier instance failed there.
    ReschedulePenalty,
    /// How many of the affinities match.
    NodeAffinity,
    /// How it serves the spreads.
    AllocationSpread,
    /// The mean of those that count.
    Normalized,
}

impl Scorer {
    /// The name in the API's score table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Binpack => "binpack",
            Self::JobAntiAffinity => "job-anti-affinity",
            Self::ReschedulePenalty => "node-reschedule-penalty",
            Self::NodeAffinity => "node-affinity",
            Self::AllocationSpread => "allocation-spread",
            Self::Normalized => "normalized-score",
        }
    }
}

/// A score in millionths, so that it compares and encodes the same everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Score(pub i32);

impl Score {
    /// The score nearest to `value`.
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, and scores are near one")]
    pub fn from_f64(value: f64) -> Self {
        Self((value * 1e6).round() as i32)
    }

    /// The score as a plain number.
    pub fn to_f64(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

/// One part of the score that an allocation's node got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoreEntry {
    /// Which part.
    pub scorer: Scorer,
    /// How much.
    pub score: Score,
}
