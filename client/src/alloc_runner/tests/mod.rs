//! The machines of tasks and allocations, and the runner around them on paused time.

use orch_driver::{ExitStatus, TaskHandle, TaskId};
use orch_model::job::{JobType, LifecycleKind, RestartPolicy};
use orch_model::seed::Seed;
use orch_model::{AllocId, Nanos, Timestamp};

use super::restart::RestartTracker;
use super::task::{Event, TaskMachine, Timing};

mod alloc;
mod runner;
mod task;

const START: Timestamp = Timestamp(1_000);
const TIMEOUT: Nanos = Nanos::from_secs(5);

fn policy(attempts: i64) -> RestartPolicy {
    RestartPolicy {
        attempts: Some(attempts),
        interval: Some(Nanos::from_secs(600)),
        delay: Some(Nanos::from_secs(10)),
        mode: "fail".into(),
        ..RestartPolicy::default()
    }
}

fn tracker(attempts: i64, job: JobType, kind: LifecycleKind) -> RestartTracker {
    RestartTracker::new(policy(attempts), job, kind, START, Seed::new(1))
}

fn timing() -> Timing {
    Timing { kill_timeout: TIMEOUT, shutdown_delay: Nanos::ZERO, no_delay: false }
}

fn handle(run: u32) -> TaskHandle {
    let id = TaskId { alloc_id: AllocId::default(), task: "a".into(), run };
    TaskHandle { id, driver: "mock_driver".into(), started_at: START, state: Vec::new(), warnings: Vec::new() }
}

fn exit(run: u32, code: i32) -> Event {
    Event::Exited { run, status: ExitStatus { code: Some(code), ..ExitStatus::default() } }
}

fn events(task: &TaskMachine) -> Vec<&'static str> {
    task.state().events.iter().map(|event| event.kind.type_name()).collect()
}
