//! The statuses of an allocation and the moves between them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the servers want of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DesiredStatus {
    /// It should run.
    #[default]
    Run,
    /// It should stop.
    Stop,
    /// It should stop to make room for more important work.
    Evict,
}

impl DesiredStatus {
    /// Whether it should not run.
    pub const fn is_stop(self) -> bool {
        match self {
            Self::Run => false,
            Self::Stop | Self::Evict => true,
        }
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Stop => "stop",
            Self::Evict => "evict",
        }
    }
}

impl fmt::Display for DesiredStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an allocation is on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientStatus {
    /// The client has not started it yet.
    #[default]
    Pending,
    /// At least one task runs.
    Running,
    /// All tasks ended well.
    Complete,
    /// A task ended badly for good.
    Failed,
    /// Its node is gone.
    Lost,
    /// Its node is out of contact and may return.
    Unknown,
}

impl ClientStatus {
    /// Every status.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Running, Self::Complete, Self::Failed, Self::Lost, Self::Unknown];

    /// Whether nothing of it runs any more, as far as anyone knows.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Complete | Self::Failed | Self::Lost => true,
            Self::Pending | Self::Running | Self::Unknown => false,
        }
    }

    /// Whether an allocation may go from this status to `next`.
    ///
    /// A client's final word (`complete`, `failed`) stays; it also wins over what the servers supposed (`lost`,
    /// `unknown`). An allocation that was written off never counts as running again.
    pub const fn can_become(self, next: Self) -> bool {
        match self {
            Self::Pending => true,
            Self::Running => !matches!(next, Self::Pending),
            Self::Unknown => true,
            Self::Lost => matches!(next, Self::Lost | Self::Complete | Self::Failed),
            Self::Complete => matches!(next, Self::Complete),
            Self::Failed => matches!(next, Self::Failed),
        }
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }

    /// The status in a sentence, as `ClientDescription` shows it.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Pending => "No tasks have started",
            Self::Running => "Tasks are running",
            Self::Complete => "All tasks have completed",
            Self::Failed => "Failed tasks",
            Self::Lost | Self::Unknown => "",
        }
    }
}

impl fmt::Display for ClientStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the servers want an allocation stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The job was stopped, or wants fewer.
    NotNeeded,
    /// A newer version of the job takes its place.
    Updated,
    /// It moves to another node.
    Migrating,
    /// Its node is down.
    Lost,
    /// It failed and another took its place.
    Rescheduled,
    /// Someone stopped it by hand.
    StoppedByUser,
    /// Its node no longer takes it.
    NodeTainted,
    /// Its node came back, but its replacement was kept.
    Reconnected,
}

impl StopReason {
    /// The reason in a sentence, as `DesiredDescription` shows it.
    pub const fn description(self) -> &'static str {
        match self {
            Self::NotNeeded => "alloc not needed due to job update",
            Self::Updated => "alloc is being updated due to job update",
            Self::Migrating => "alloc is being migrated",
            Self::Lost => "alloc is lost since its node is down",
            Self::Rescheduled => "alloc was rescheduled because it failed",
            Self::StoppedByUser => "alloc was stopped by user request",
            Self::NodeTainted => "alloc not needed as node is tainted",
            Self::Reconnected => "alloc not needed due to disconnected client reconnect",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_word_stays_and_work_written_off_never_runs_again() {
        for from in ClientStatus::ALL {
            for next in ClientStatus::ALL {
                let allowed = from.can_become(next);
                match from {
                    ClientStatus::Complete | ClientStatus::Failed => {
                        assert_eq!(allowed, from == next, "{from} -> {next}")
                    }
                    ClientStatus::Lost => assert_eq!(allowed, next.is_terminal(), "{from} -> {next}"),
                    ClientStatus::Running => assert_eq!(allowed, next != ClientStatus::Pending, "{from} -> {next}"),
                    ClientStatus::Pending | ClientStatus::Unknown => assert!(allowed, "{from} -> {next}"),
                }
            }
        }
    }
}
