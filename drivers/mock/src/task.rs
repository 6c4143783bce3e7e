use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orch_driver::{ExitStatus, TaskHandle, TaskId};
use orch_model::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::command::Command;
use crate::config::{Config, Exit};
use crate::signal::KILL;

/// One task, running or ended. Nothing drives it: whether it has ended is a comparison of times.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) started_at: Timestamp,
    pub(crate) signal_error: Option<String>,
    /// What commands do that are run inside it.
    pub(crate) command: Option<Box<Command>>,
    exit: Exit,
    kill_after: Duration,
    end: Mutex<Option<End>>,
    /// Rung when the end moves nearer.
    moved: Notify,
}

/// When and how a task ends, as far as is known.
#[derive(Debug, Clone, Copy)]
struct End {
    at: Instant,
    by: Cause,
}

#[derive(Debug, Clone, Copy)]
enum Cause {
    /// It was done.
    Itself,
    /// This signal came.
    Signal(i32),
}

impl Task {
    /// A task that starts now.
    pub(crate) fn new(started_at: Timestamp, config: Config) -> Self {
        let Config { start: _, run_for, exit, kill_after, signal_error, stdout: _, stderr: _, command } = config;
        let end = run_for.and_then(|run_for| Instant::now().checked_add(run_for));
        let end = end.map(|at| End { at, by: Cause::Itself });
        Self { started_at, signal_error, command, exit, kill_after, end: Mutex::new(end), moved: Notify::new() }
    }

    /// The note by which it is found again.
    pub(crate) fn handle(&self, id: &TaskId, driver: &str) -> TaskHandle {
        TaskHandle {
            id: id.clone(),
            driver: driver.to_owned(),
            started_at: self.started_at,
            state: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> ExitStatus {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // From here on no ring is missed.
            moved.as_mut().enable();
            let end = *self.lock();
            match end {
                Some(End { at, by }) if at <= Instant::now() => return self.status(by),
                Some(End { at, .. }) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(at) => {}
                        () = moved => {}
                    }
                }
                None => moved.await,
            }
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().is_some_and(|end| end.at <= Instant::now())
    }

    /// Lets `signal` end it after its `kill_after`, or SIGKILL after `timeout` if that is earlier.
    pub(crate) fn stop(&self, signal: i32, timeout: Duration) {
        if signal == KILL || timeout < self.kill_after {
            self.end_in(if signal == KILL { Duration::ZERO } else { timeout }, KILL);
        } else {
            self.end_in(self.kill_after, signal);
        }
    }

    /// Ends it now.
    pub(crate) fn kill(&self) {
        self.end_in(Duration::ZERO, KILL);
    }

    /// An end that is known already and comes earlier stays.
    fn end_in(&self, after: Duration, signal: i32) {
        let Some(at) = Instant::now().checked_add(after) else { return };
        let mut end = self.lock();
        if end.is_none_or(|known| at < known.at) {
            *end = Some(End { at, by: Cause::Signal(signal) });
            drop(end);
            self.moved.notify_waiters();
        }
    }

    fn status(&self, by: Cause) -> ExitStatus {
        let exit = &self.exit;
        match by {
            Cause::Itself => ExitStatus {
                code: Some(exit.code),
                signal: exit.signal,
                oom_killed: false,
                message: exit.message.clone(),
            },
            Cause::Signal(signal) => {
                ExitStatus { code: Some(128 + signal), signal: Some(signal), ..ExitStatus::default() }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<End>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
