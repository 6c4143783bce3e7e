use orch_driver::{ExitStatus, TaskHandle, TaskId};
use orch_model::allocation::{ClientStatus, TaskRunState};
use orch_model::job::{JobType, RestartPolicy};
use orch_model::seed::Seed;
use orch_model::{AllocId, Nanos, Timestamp};

use super::machine::{AllocEvent, AllocMachine, Member};
use super::restart::RestartTracker;
use super::task::{Action, Event, KillReason, PrepareError, TaskMachine, Timing};
use crate::state::StoredTask;

const START: Timestamp = Timestamp(1_000);
const TIMEOUT: Nanos = Nanos::from_secs(5);

fn tracker(attempts: i64, kind: JobType) -> RestartTracker {
    let policy = RestartPolicy {
        attempts: Some(attempts),
        interval: Some(Nanos::from_secs(600)),
        delay: Some(Nanos::from_secs(10)),
        mode: "fail".into(),
        ..RestartPolicy::default()
    };
    RestartTracker::new(policy, kind, START, Seed::new(1))
}

fn timing() -> Timing {
    Timing { kill_timeout: TIMEOUT, shutdown_delay: Nanos::ZERO }
}

fn handle(run: u32) -> TaskHandle {
    let id = TaskId { alloc_id: AllocId::default(), task: "a".into(), run };
    TaskHandle { id, driver: "mock_driver".into(), started_at: START, state: Vec::new(), warnings: Vec::new() }
}

fn fresh(attempts: i64, kind: JobType) -> TaskMachine {
    TaskMachine::new(timing(), tracker(attempts, kind), START)
}

fn running(attempts: i64, kind: JobType) -> TaskMachine {
    let mut task = fresh(attempts, kind);
    for event in [Event::Begin, Event::Prepared, Event::Started(handle(0))] {
        task.step(START, event);
    }
    assert_eq!(task.running(), Some(0));
    task
}

fn exit(run: u32, code: i32) -> Event {
    Event::Exited { run, status: ExitStatus { code: Some(code), ..ExitStatus::default() } }
}

fn events(task: &TaskMachine) -> Vec<&'static str> {
    task.state().events.iter().map(|event| event.kind.type_name()).collect()
}

#[test]
fn a_task_is_saved_before_it_counts_as_running_and_then_waited_for() {
    let mut task = fresh(0, JobType::Service);
    assert_eq!(task.step(START, Event::Begin), [Action::Prepare { run: 0 }]);
    assert_eq!(task.step(START, Event::Prepared), [Action::Start { run: 0 }]);
    assert_eq!(task.state().state, TaskRunState::Pending);
    assert_eq!(task.step(START, Event::Started(handle(0))), [Action::Save, Action::Wait { run: 0 }]);
    assert_eq!(task.state().state, TaskRunState::Running);
    assert_eq!(task.stored().handle, Some(handle(0)));
}

#[test]
fn a_failed_run_is_forgotten_and_started_again_after_the_delay() {
    let mut task = running(1, JobType::Service);
    assert_eq!(task.step(START, exit(0, 1)), [Action::Destroy { run: 0 }, Action::Save]);
    assert_eq!((task.state().state, task.state().restarts), (TaskRunState::Pending, 1));
    let deadline = task.deadline().unwrap();
    assert!(deadline >= START.plus(Nanos::from_secs(10)));
    assert_eq!(task.step(START, Event::Timer), []);
    assert_eq!(task.step(deadline, Event::Timer), [Action::Prepare { run: 1 }]);
    task.step(deadline, Event::Prepared);
    task.step(deadline, Event::Started(handle(1)));
    assert_eq!(task.step(deadline, exit(0, 1)), [], "a late word about an earlier run");
    task.step(deadline, exit(1, 1));
    assert!(task.is_dead() && task.state().failed);
    assert_eq!(events(&task).last(), Some(&"Not Restarting"));
}

#[test]
fn a_batch_task_that_ends_well_is_done() {
    let mut task = running(3, JobType::Batch);
    task.step(START, exit(0, 0));
    assert!(task.is_dead() && task.state().succeeded());
}

#[test]
fn killing_waits_for_the_exit_and_for_the_driver_in_either_order() {
    for order in [[exit(0, 0), Event::Stopped { run: 0 }], [Event::Stopped { run: 0 }, exit(0, 0)]] {
        let mut task = running(3, JobType::Service);
        let actions = task.step(START, Event::Kill(KillReason::Requested));
        assert_eq!(actions, [Action::Save, Action::Stop { run: 0, timeout: TIMEOUT }]);
        let [first, second] = order;
        task.step(START, first);
        assert!(!task.is_dead());
        assert_eq!(task.step(START, second), [Action::Destroy { run: 0 }, Action::Save]);
        assert!(task.is_dead() && !task.state().failed);
        assert_eq!(events(&task), ["Received", "Task Setup", "Started", "Killing", "Terminated", "Killed"]);
    }
}

#[test]
fn a_kill_that_comes_while_the_task_starts_takes_effect_once_it_has_started() {
    let mut task = fresh(3, JobType::Service);
    task.step(START, Event::Begin);
    task.step(START, Event::Prepared);
    assert_eq!(task.step(START, Event::Kill(KillReason::Requested)), []);
    let actions = task.step(START, Event::Started(handle(0)));
    assert!(actions.contains(&Action::Stop { run: 0, timeout: TIMEOUT }), "{actions:?}");

    let mut task = fresh(3, JobType::Service);
    task.step(START, Event::Begin);
    task.step(START, Event::Kill(KillReason::Requested));
    assert_eq!(task.step(START, Event::Prepared), [Action::Save]);
    assert!(task.is_dead());
}

#[test]
fn stopping_that_fails_is_tried_again_ever_more_slowly_and_then_given_up() {
    let mut task = running(0, JobType::Service);
    task.step(START, Event::Kill(KillReason::Requested));
    let mut now = START;
    for seconds in [5, 20, 80, 120] {
        task.step(now, Event::StopFailed { run: 0, message: "no".into() });
        let next = task.deadline().unwrap();
        assert_eq!(next.since(now), Nanos::from_secs(seconds));
        now = next;
        assert_eq!(task.step(now, Event::Timer), [Action::Stop { run: 0, timeout: Nanos::ZERO }]);
    }
    task.step(now, Event::StopFailed { run: 0, message: "no".into() });
    assert!(task.is_dead() && task.state().failed);
}

#[test]
fn a_restart_by_hand_is_not_counted_against_the_policy() {
    let mut task = running(0, JobType::Service);
    task.step(START, Event::Restart { reason: "User requested task to restart".into(), dead: false });
    task.step(START, Event::Stopped { run: 0 });
    let actions = task.step(START, exit(0, 0));
    assert_eq!(actions, [Action::Destroy { run: 0 }, Action::Prepare { run: 1 }, Action::Save]);
    assert_eq!(task.state().restarts, 1);
}

#[test]
fn what_is_invalid_fails_at_once_and_what_may_pass_is_tried_again() {
    let mut invalid = fresh(3, JobType::Service);
    invalid.step(START, Event::Begin);
    invalid.step(START, Event::PrepareFailed(PrepareError::Invalid("no".into())));
    assert!(invalid.is_dead() && invalid.state().failed);
    let mut setup = fresh(3, JobType::Service);
    setup.step(START, Event::Begin);
    setup.step(START, Event::PrepareFailed(PrepareError::Setup("disk".into())));
    assert!(setup.deadline().is_some());
}

fn left_running() -> StoredTask {
    running(1, JobType::Service).stored()
}

#[test]
fn a_task_that_is_found_again_goes_on_without_a_new_event() {
    let mut task = TaskMachine::restore(timing(), tracker(1, JobType::Service), left_running(), false);
    assert_eq!(task.step(START, Event::Begin), [Action::Recover(handle(0))]);
    assert_eq!(task.step(START, Event::Recovered), [Action::Save, Action::Wait { run: 0 }]);
    assert_eq!(events(&task), ["Received", "Task Setup", "Started"]);
}

#[test]
fn a_task_that_is_lost_restarts_by_policy_unless_the_machine_was_rebooted() {
    let gone = || Event::RecoverFailed { gone: true, message: "gone".into() };
    let mut task = TaskMachine::restore(timing(), tracker(0, JobType::Service), left_running(), false);
    task.step(START, Event::Begin);
    task.step(START, gone());
    assert!(task.is_dead() && task.state().failed);
    assert_eq!(events(&task), ["Received", "Task Setup", "Started", "Failed Restoring Task", "Not Restarting"]);

    let mut task = TaskMachine::restore(timing(), tracker(0, JobType::Service), left_running(), true);
    task.step(START, Event::Begin);
    assert!(task.step(START, gone()).contains(&Action::Prepare { run: 1 }));
}

#[test]
fn a_driver_that_cannot_say_is_asked_again() {
    let mut task = TaskMachine::restore(timing(), tracker(1, JobType::Service), left_running(), false);
    task.step(START, Event::Begin);
    task.step(START, Event::RecoverFailed { gone: false, message: "busy".into() });
    assert_eq!(task.step(task.deadline().unwrap(), Event::Timer), [Action::Recover(handle(0))]);
}

fn pair(leader: bool) -> AllocMachine {
    let member = |name: &str, leader| Member { name: name.into(), leader, machine: running(0, JobType::Service) };
    AllocMachine::new(AllocId::default(), vec![member("a", leader), member("b", false)])
}

fn end(alloc: &mut AllocMachine, place: usize) {
    alloc.step(START, AllocEvent::Task(place, Event::Stopped { run: 0 }));
    alloc.step(START, AllocEvent::Task(place, exit(0, 0)));
}

#[test]
fn a_failed_task_takes_its_siblings_along_and_the_allocation_fails_when_all_are_gone() {
    let mut alloc = pair(false);
    let actions = alloc.step(START, AllocEvent::Task(0, exit(0, 1)));
    assert!(actions.contains(&(1, Action::Stop { run: 0, timeout: TIMEOUT })), "{actions:?}");
    assert_eq!(alloc.update().client_status, ClientStatus::Running);
    end(&mut alloc, 1);
    assert_eq!(alloc.update().client_status, ClientStatus::Failed);
    assert!(events(&alloc.tasks()[1].machine).contains(&"Sibling Task Failed"));
}

#[test]
fn the_leader_ends_first_and_the_others_after_it() {
    let mut alloc = pair(true);
    let stopped = |actions: Vec<(usize, Action)>| -> Vec<usize> {
        let stops = actions.into_iter().filter(|(_, action)| matches!(action, Action::Stop { .. }));
        stops.map(|(place, _)| place).collect()
    };
    assert_eq!(stopped(alloc.step(START, AllocEvent::Stop(KillReason::Requested))), [0]);
    alloc.step(START, AllocEvent::Task(0, Event::Stopped { run: 0 }));
    assert_eq!(stopped(alloc.step(START, AllocEvent::Task(0, exit(0, 0)))), [1]);
    end(&mut alloc, 1);
    assert_eq!(alloc.update().client_status, ClientStatus::Complete);
    assert!(alloc.is_done());
}

#[test]
fn an_allocation_that_ran_is_running_while_its_task_waits_to_start_again() {
    let machine = running(1, JobType::Service);
    let mut alloc = AllocMachine::new(AllocId::default(), vec![Member { name: "a".into(), leader: false, machine }]);
    alloc.step(START, AllocEvent::Task(0, exit(0, 1)));
    assert_eq!(alloc.update().client_status, ClientStatus::Running);
    assert!(alloc.deadline().is_some());
}
