//! What was done about the count of a job's groups, and why.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{EvalId, StateIndex};
use crate::time::Timestamp;

/// A change of a group's count, or a note of whoever scales it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ScalingEvent {
    /// When.
    pub time: Timestamp,
    /// The group's count before.
    pub previous_count: i64,
    /// The group's count from then on; `None` for a note.
    pub count: Option<i64>,
    /// Why, in a sentence.
    pub message: String,
    /// Whether it tells of an error.
    pub error: bool,
    /// Particulars, for whoever scales.
    pub meta: BTreeMap<String, Value>,
    /// The evaluation that followed.
    pub eval_id: Option<EvalId>,
    /// When.
    pub create_index: StateIndex,
}

impl ScalingEvent {
    /// How many events are kept per group.
    pub const MAX_EVENTS: usize = 20;
}

/// What was done about the count of each group of a job, newest first.
pub type ScalingEvents = BTreeMap<String, Vec<ScalingEvent>>;
