//! What a task's machine hears and what it asks for.

use orch_driver::{ExitStatus, TaskHandle};
use orch_model::Nanos;
use orch_model::allocation::EventKind;

/// What a task is told, or what came of an action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// What an earlier run of the agent left of it is to be found, whatever its gate.
    Restore,
    /// It may start, now and again.
    Open,
    /// Its directory, environment and configuration are ready.
    Prepared,
    /// They are not.
    PrepareFailed(PrepareError),
    /// Making them ready was given up, because the task is to end or the agent does.
    PrepareAbandoned,
    /// The driver started it.
    Started(TaskHandle),
    /// The driver did not.
    StartFailed { message: String, recoverable: bool },
    /// The driver found it again.
    Recovered,
    /// The driver did not; `gone` if it is sure that nothing is left.
    RecoverFailed { gone: bool, message: String },
    /// A run of it ended.
    Exited { run: u32, status: ExitStatus },
    /// Stopping is done, and nothing of it runs.
    Stopped { run: u32 },
    /// Stopping failed.
    StopFailed { run: u32, message: String },
    /// The time told by [`TaskMachine::deadline`] has come.
    Timer,
    /// It is to end for good.
    Kill(KillReason),
    /// It is to start again, if it runs.
    Restart { reason: String },
    /// What it was started with is outdated, so it is to start again, unless it would find the new anyway.
    Reload { reason: String },
    /// It is to start again with all the others, also if it has ended; its gate is closed until then.
    RestartAll { reason: String },
    /// It is about to be sent a signal.
    Signaling { signal: String, reason: String },
    /// Something happened that people may want to know.
    Note(EventKind),
}

/// Why a task could not be prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PrepareError {
    /// What the job says cannot work here.
    Invalid(String),
    /// Something on this machine failed; it may work later.
    Setup(String),
    /// What it names as artifacts could not be fetched; it may work later.
    Artifacts(String),
    /// A template can never be rendered.
    Template(String),
}

impl PrepareError {
    /// What went wrong, in a sentence.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Invalid(text) | Self::Setup(text) | Self::Artifacts(text) | Self::Template(text) => text,
        }
    }
}

/// Why a task is to end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KillReason {
    /// The servers want it so.
    Requested,
    /// Another task of the group failed.
    SiblingFailed { task: String },
    /// The task that leads the group ended.
    LeaderDead,
    /// The main tasks of the group ended.
    MainDead,
    /// The node is shutting down its tasks.
    Shutdown,
    /// What it cannot do without is broken, as this event tells; it has failed.
    Broken(Box<EventKind>),
}

/// What is to be done for a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Make directory, environment and configuration, then say `Prepared`.
    Prepare { run: u32 },
    /// Have the driver start what was prepared.
    Start { run: u32 },
    /// Have the driver find it again, then say `Recovered`.
    Recover(TaskHandle),
    /// Wait for the end of a run.
    Wait { run: u32 },
    /// Have the driver end a run.
    Stop { run: u32, timeout: Nanos },
    /// Have the driver forget a run that ended.
    Destroy { run: u32 },
    /// Remember how it is, before anybody is told.
    Save,
}

/// What a task's job says about its end, as far as a newer version may change it meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Timing {
    /// Between the signal and being killed.
    pub(crate) kill_timeout: Nanos,
    /// Before the signal.
    pub(crate) shutdown_delay: Nanos,
    /// Whether that delay is not waited for.
    pub(crate) no_delay: bool,
}

impl Timing {
    /// What is waited for.
    pub(super) fn delay(&self) -> Nanos {
        if self.no_delay { Nanos::ZERO } else { self.shutdown_delay }
    }
}
