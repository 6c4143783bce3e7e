//! Task events: what happened to a task, as codes; the texts are made where people read them.

use serde::{Deserialize, Serialize};

use crate::time::{Nanos, Timestamp};

/// Something that happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskEvent {
    /// When, by the client's clock.
    pub time: Timestamp,
    /// What.
    pub kind: EventKind,
}

/// What happened to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The client took it on.
    Received,
    /// Its directory is being made.
    BuildingTaskDir,
    /// A step of setting it up, in words.
    TaskSetup(Box<str>),
    /// What it names as artifacts is being fetched.
    DownloadingArtifacts,
    /// An artifact could not be fetched.
    FailedArtifactDownload(Box<str>),
    /// Something about its templates: what they wait for, or why they failed.
    Template(Box<str>),
    /// It started.
    Started,
    /// The driver has something to say.
    Driver(Box<str>),
    /// The driver could not start it.
    DriverFailure(Box<str>),
    /// Setting it up failed.
    SetupFailure(Box<str>),
    /// What it asks for is not valid here.
    FailedValidation(Box<str>),
    /// It ended.
    Terminated(Box<Termination>),
    /// It will be started again after `delay`.
    Restarting {
        /// Why.
        reason: Box<str>,
        /// After how long.
        delay: Nanos,
    },
    /// It will not be started again.
    NotRestarting(Box<str>),
    /// It was told to start again.
    RestartSignaled(Box<str>),
    /// It is being sent a signal.
    Signaling {
        /// The signal's name.
        signal: Box<str>,
        /// Why.
        reason: Box<str>,
    },
    /// It is being stopped; after `timeout` it will be killed.
    Killing {
        /// How long it has.
        timeout: Nanos,
    },
    /// Before it is stopped, those that still use it have so long to learn of that.
    WaitingForShutdownDelay {
        /// How long.
        delay: Nanos,
    },
    /// That time is not waited for.
    SkippingShutdownDelay {
        /// How long it would have been.
        delay: Nanos,
    },
    /// It was stopped; the text says what went wrong, if anything did.
    Killed(Box<str>),
    /// Another task of the group failed.
    SiblingFailed {
        /// Its name.
        task: Box<str>,
    },
    /// The task that leads the group ended.
    LeaderDead,
    /// The main tasks of the group ended.
    MainDead,
    /// It could not be found again after the agent restarted.
    FailedRestoring(Box<str>),
    /// Its client was out of contact and is back.
    Reconnected,
    /// Its allocation is not healthy, for this reason.
    AllocUnhealthy(Box<str>),
    /// Its allocation uses more of the disk than it asked for.
    DiskExceeded(Box<str>),
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Termination {
    /// The exit code; `None` if nobody knows.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was killed for using too much memory.
    pub oom_killed: bool,
    /// What else is known.
    pub message: Box<str>,
}

impl Termination {
    /// Whether it ended well.
    pub fn success(&self) -> bool {
        self.exit_code == Some(0) && self.signal.is_none() && !self.oom_killed
    }
}

impl EventKind {
    /// The event's type, as the API names it.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Received => "Received",
            Self::BuildingTaskDir | Self::TaskSetup(_) => "Task Setup",
            Self::DownloadingArtifacts => "Downloading Artifacts",
            Self::FailedArtifactDownload(_) => "Failed Artifact Download",
            Self::Template(_) => "Template",
            Self::Started => "Started",
            Self::Driver(_) => "Driver",
            Self::DriverFailure(_) => "Driver Failure",
            Self::SetupFailure(_) => "Setup Failure",
            Self::FailedValidation(_) => "Failed Validation",
            Self::Terminated(_) => "Terminated",
            Self::Restarting { .. } => "Restarting",
            Self::NotRestarting(_) => "Not Restarting",
            Self::RestartSignaled(_) => "Restart Signaled",
            Self::Signaling { .. } => "Signaling",
            Self::Killing { .. } => "Killing",
            Self::WaitingForShutdownDelay { .. } => "Waiting for shutdown delay",
            Self::SkippingShutdownDelay { .. } => "Skipping shutdown delay",
            Self::Killed(_) => "Killed",
            Self::SiblingFailed { .. } => "Sibling Task Failed",
            Self::LeaderDead => "Leader Task Dead",
            Self::MainDead => "Main Tasks Dead",
            Self::FailedRestoring(_) => "Failed Restoring Task",
            Self::Reconnected => "Reconnected",
            Self::AllocUnhealthy(_) => "Alloc Unhealthy",
            Self::DiskExceeded(_) => "Disk Resources Exceeded",
        }
    }

    /// The event in a sentence.
    pub fn message(&self) -> String {
        let or = |text: &str, fallback: &str| if text.is_empty() { fallback.to_owned() } else { text.to_owned() };
        match self {
            Self::Received => "Task received by client".into(),
            Self::BuildingTaskDir => "Building Task Directory".into(),
            Self::TaskSetup(text)
            | Self::Driver(text)
            | Self::Template(text)
            | Self::AllocUnhealthy(text)
            | Self::DiskExceeded(text) => text.to_string(),
            Self::DownloadingArtifacts => "Client is downloading artifacts".into(),
            Self::FailedArtifactDownload(text) => or(text, "Failed to download artifacts"),
            Self::Started => "Task started by client".into(),
            Self::DriverFailure(text) => or(text, "Failed to start task"),
            Self::SetupFailure(text) => or(text, "Task setup failed"),
            Self::FailedValidation(text) => or(text, "Validation of task failed"),
            Self::Terminated(end) => end.message(),
            Self::Restarting { reason, delay } if reason.is_empty() => format!("Task restarting in {delay}"),
            Self::Restarting { reason, delay } => format!("{reason} - Task restarting in {delay}"),
            Self::NotRestarting(text) => or(text, "Task exceeded restart policy"),
            Self::RestartSignaled(text) => or(text, "Task signaled to restart"),
            Self::Signaling { signal, reason } => format!("Task being sent signal {signal}: {reason}"),
            Self::Killing { timeout } => format!("Sent interrupt. Waiting {timeout} before force killing"),
            Self::WaitingForShutdownDelay { delay } => {
                format!("Waiting for shutdown_delay of {delay} before killing the task.")
            }
            Self::SkippingShutdownDelay { delay } => {
                format!("Skipping shutdown_delay of {delay} before killing the task.")
            }
            Self::Killed(text) => or(text, "Task successfully killed"),
            Self::SiblingFailed { task } => format!("Task's sibling {task:?} failed"),
            Self::LeaderDead => "Leader Task in Group dead".into(),
            Self::MainDead => "Main tasks in the group died".into(),
            Self::FailedRestoring(text) => or(text, "Failed to restore task; it will not run again by itself"),
            Self::Reconnected => "Client reconnected".into(),
        }
    }
}

impl Termination {
    /// The end in a sentence: `Exit Code: 1, Signal: 9, Exit Message: "…"`.
    pub fn message(&self) -> String {
        let mut text = match self.exit_code {
            Some(code) => format!("Exit Code: {code}"),
            None => "Exit Code: unknown".to_owned(),
        };
        if let Some(signal) = self.signal {
            text.push_str(&format!(", Signal: {signal}"));
        }
        if !self.message.is_empty() {
            text.push_str(&format!(", Exit Message: {:?}", self.message));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_as_sentences() {
        let end = Termination { exit_code: Some(137), signal: Some(9), oom_killed: true, message: "OOM Killed".into() };
        let event = EventKind::Terminated(Box::new(end));
        assert_eq!(event.message(), "Exit Code: 137, Signal: 9, Exit Message: \"OOM Killed\"");
        let restart = EventKind::Restarting { reason: "Restart within policy".into(), delay: Nanos::from_secs(15) };
        assert_eq!(restart.message(), "Restart within policy - Task restarting in 15s");
    }

    #[test]
    fn an_event_is_small() {
        assert!(size_of::<TaskEvent>() <= 48, "{}", size_of::<TaskEvent>());
    }
}
