//! How a task of an allocation is, as its client says.

use serde::{Deserialize, Serialize};

use super::TaskEvent;
use crate::time::Timestamp;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskRunState {
    /// Waiting to start, or to start again.
    #[default]
    Pending,
    /// Running.
    Running,
    /// Ended for good.
    Dead,
}

impl TaskRunState {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }
}

/// How a task is, as its client says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TaskState {
    /// Where it is in its life.
    pub state: TaskRunState,
    /// Whether it ended badly.
    pub failed: bool,
    /// How often it was started again.
    pub restarts: u32,
    /// When it was last started again.
    pub last_restart: Timestamp,
    /// When it last started.
    pub started_at: Timestamp,
    /// When it ended for good.
    pub finished_at: Timestamp,
    /// What happened to it lately, oldest first, at most [`TaskState::MAX_EVENTS`].
    pub events: Vec<TaskEvent>,
}

impl TaskState {
    /// How many events are kept.
    pub const MAX_EVENTS: usize = 10;

    /// Notes an event, forgetting the oldest beyond [`TaskState::MAX_EVENTS`].
    pub fn note(&mut self, event: TaskEvent) {
        if self.events.len() >= Self::MAX_EVENTS {
            self.events.remove(0);
        }
        self.events.push(event);
    }

    /// Whether it ended for good, and well.
    pub fn succeeded(&self) -> bool {
        self.state == TaskRunState::Dead && !self.failed
    }
}
