//! A container that is watched: its end, and its output.

use std::sync::Arc;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::{InspectContainerOptions, WaitContainerOptions};
use futures::StreamExt;
use orch_driver::ExitStatus;
use orch_model::Timestamp;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{self, Engine};
use crate::images::InUse;
use crate::logs;
use crate::plan::Note;

/// How long the rest of the output may take after the end.
const LAST_OUTPUT_WITHIN: Duration = Duration::from_secs(10);
/// How long to wait before asking an engine again that did not answer.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What a shell adds to the number of the signal that ended a program.
const SIGNALLED: i64 = 128;

/// A container that is watched until it is dropped.
#[derive(Debug)]
pub(crate) struct Task {
    /// The container's id.
    pub(crate) container: String,
    pub(crate) started_at: Timestamp,
    pub(crate) note: Note,
    image: String,
    status: watch::Receiver<Option<ExitStatus>>,
    _keeper: AbortOnDropHandle<()>,
    _image: InUse,
}

impl Task {
    /// Watches `container` and collects its output.
    pub(crate) fn watch(
        engine: &Arc<Engine>,
        container: String,
        image: String,
        in_use: InUse,
        note: Note,
        started_at: Timestamp,
    ) -> Self {
        let (ends, status) = watch::channel(None);
        let keeper = tokio::spawn(keep(Arc::clone(engine), container.clone(), note.clone(), ends));
        let keeper = AbortOnDropHandle::new(keeper);
        Self { container, started_at, note, image, status, _keeper: keeper, _image: in_use }
    }

    /// The id of its image.
    pub(crate) fn image(&self) -> &str {
        &self.image
    }

    /// How it ended, if it has.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status.borrow().clone()
    }

    /// Waits for its end, also while the engine is away.
    pub(crate) async fn ended(&self) -> ExitStatus {
        let mut status = self.status.clone();
        let ended = status.wait_for(Option::is_some).await.map(|status| status.clone());
        // Who watches ends only with the driver.
        ended.ok().flatten().unwrap_or_else(|| gone("the driver was closed"))
    }
}

async fn keep(engine: Arc<Engine>, container: String, note: Note, ends: watch::Sender<Option<ExitStatus>>) {
    let (told, ended) = watch::channel(false);
    let output = (!note.logs.disabled).then(|| {
        AbortOnDropHandle::new(tokio::spawn(logs::collect(Arc::clone(&engine), container.clone(), note, ended)))
    });
    let status = exit_of(&engine, &container).await;
    told.send_replace(true);
    if let Some(output) = output {
        // The next run writes to the same files: it must find them complete, or at least left alone.
        let _late = timeout(LAST_OUTPUT_WITHIN, output).await;
    }
    ends.send_replace(Some(status));
}

/// Waits until the engine says that the container has ended, or that it is gone.
async fn exit_of(engine: &Engine, container: &str) -> ExitStatus {
    let mut pause = PAUSE;
    loop {
        match exit_seen(engine, container).await {
            Ok(Some(status)) => return status,
            Ok(None) => pause = PAUSE,
            Err(_unreachable) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
        sleep(pause).await;
    }
}

/// One try; `None` where it ran on although the engine stopped waiting.
async fn exit_seen(engine: &Engine, container: &str) -> Result<Option<ExitStatus>, bollard::errors::Error> {
    let docker = engine.client()?;
    let options = WaitContainerOptions { condition: "not-running".to_owned() };
    // What it tells is less than what looking at the container does, which also says if it is gone.
    let _told = docker.wait_container(container, Some(options)).next().await;
    match docker.inspect_container(container, None::<InspectContainerOptions>).await {
        Ok(found) => Ok(exit_status(&found)),
        Err(error) if engine::is_missing(&error) => Ok(Some(gone("its container was removed by someone else"))),
        Err(error) => Err(error),
    }
}

fn gone(why: &str) -> ExitStatus {
    ExitStatus { message: format!("exit status is not known: {why}"), ..ExitStatus::default() }
}

/// How a container ended; `None` while it runs.
pub(crate) fn exit_status(container: &ContainerInspectResponse) -> Option<ExitStatus> {
    let state = container.state.as_ref()?;
    if !has_ended(state) {
        return None;
    }
    let code = state.exit_code.unwrap_or_default();
    let oom_killed = state.oom_killed.unwrap_or(false);
    let error = state.error.as_deref().filter(|error| !error.is_empty());
    let message = match error {
        Some(error) => error.to_owned(),
        None if oom_killed => "OOM Killed".to_owned(),
        None if code != 0 => format!("Docker container exited with non-zero exit code: {code}"),
        None => String::new(),
    };
    // The engine has only a code: one above 128 is how it tells a signal.
    let signal = i32::try_from(code - SIGNALLED).ok().filter(|signal| orch_host::signals::name(*signal).is_some());
    Some(ExitStatus { code: i32::try_from(code).ok(), signal, oom_killed, message })
}

fn has_ended(state: &ContainerState) -> bool {
    match state.status {
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => true,
        Some(
            ContainerStateStatusEnum::EMPTY
            | ContainerStateStatusEnum::CREATED
            | ContainerStateStatusEnum::RUNNING
            | ContainerStateStatusEnum::PAUSED
            | ContainerStateStatusEnum::RESTARTING
            | ContainerStateStatusEnum::REMOVING
            | ContainerStateStatusEnum::STOPPING,
        ) => false,
        None => !state.running.unwrap_or(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: ContainerStateStatusEnum, exit_code: i64, oom_killed: bool) -> Option<ExitStatus> {
        let state = ContainerState {
            status: Some(state),
            exit_code: Some(exit_code),
            oom_killed: Some(oom_killed),
            ..ContainerState::default()
        };
        exit_status(&ContainerInspectResponse { state: Some(state), ..ContainerInspectResponse::default() })
    }

    #[test]
    fn an_end_is_told_by_code_signal_and_memory() {
        assert_eq!(status(ContainerStateStatusEnum::RUNNING, 0, false), None);
        let exited = |code, oom| status(ContainerStateStatusEnum::EXITED, code, oom).unwrap();
        assert!(exited(0, false).success());
        let failed = exited(7, false);
        assert_eq!((failed.code, failed.signal), (Some(7), None));
        assert_eq!(failed.message, "Docker container exited with non-zero exit code: 7");
        let killed = exited(137, true);
        assert_eq!((killed.code, killed.signal, killed.oom_killed), (Some(137), Some(9), true));
        assert_eq!(killed.message, "OOM Killed");
        assert_eq!(exited(255, false).signal, None, "there is no such signal");
    }
}
