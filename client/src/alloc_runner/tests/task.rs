use orch_model::Nanos;
use orch_model::allocation::TaskRunState;
use orch_model::job::{JobType, LifecycleKind};

use super::{START, TIMEOUT, events, exit, handle, policy, timing, tracker};
use crate::alloc_runner::task::{Action, Event, KillReason, PrepareError, TaskMachine, Timing};

fn fresh(attempts: i64, kind: JobType) -> TaskMachine {
    TaskMachine::new(timing(), tracker(attempts, kind, LifecycleKind::Main), START)
}

fn running(attempts: i64, kind: JobType) -> TaskMachine {
    let mut task = fresh(attempts, kind);
    for event in [Event::Open, Event::Prepared, Event::Started(handle(0))] {
        task.step(START, event);
    }
    assert_eq!(task.running(), Some(0));
    task
}

#[test]
fn a_task_is_saved_before_it_counts_as_running_and_then_waited_for() {
    let mut task = fresh(0, JobType::Service);
    assert_eq!(task.step(START, Event::Open), [Action::Prepare { run: 0 }]);
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
    task.step(START, Event::Open);
    task.step(START, Event::Prepared);
    assert_eq!(task.step(START, Event::Kill(KillReason::Requested)), []);
    let actions = task.step(START, Event::Started(handle(0)));
    assert!(actions.contains(&Action::Stop { run: 0, timeout: TIMEOUT }), "{actions:?}");

    let mut task = fresh(3, JobType::Service);
    task.step(START, Event::Open);
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
    task.step(START, Event::Restart { reason: "User requested task to restart".into() });
    task.step(START, Event::Stopped { run: 0 });
    let actions = task.step(START, exit(0, 0));
    assert_eq!(actions, [Action::Destroy { run: 0 }, Action::Prepare { run: 1 }, Action::Save]);
    assert_eq!(task.state().restarts, 1);
}

#[test]
fn what_is_invalid_fails_at_once_and_what_may_pass_is_tried_again() {
    let mut invalid = fresh(3, JobType::Service);
    invalid.step(START, Event::Open);
    invalid.step(START, Event::PrepareFailed(PrepareError::Invalid("no".into())));
    assert!(invalid.is_dead() && invalid.state().failed);
    let mut setup = fresh(3, JobType::Service);
    setup.step(START, Event::Open);
    setup.step(START, Event::PrepareFailed(PrepareError::Setup("disk".into())));
    assert!(setup.deadline().is_some());
}

/// A task that ran when the agent went.
fn restored(attempts: i64, rebooted: bool) -> TaskMachine {
    let stored = running(1, JobType::Service).stored();
    let mut task =
        TaskMachine::restore(timing(), tracker(attempts, JobType::Service, LifecycleKind::Main), stored, rebooted);
    assert!(task.is_uncertain());
    assert_eq!(task.step(START, Event::Restore), [Action::Recover(handle(0))]);
    task
}

#[test]
fn a_task_that_is_found_again_goes_on_without_a_new_event() {
    let mut task = restored(1, false);
    assert_eq!(task.step(START, Event::Recovered), [Action::Save, Action::Wait { run: 0 }]);
    assert!(!task.is_uncertain());
    assert_eq!(events(&task), ["Received", "Task Setup", "Started"]);
}

#[test]
fn a_task_that_is_lost_restarts_by_policy_unless_the_machine_was_rebooted() {
    let gone = || Event::RecoverFailed { gone: true, message: "gone".into() };
    let mut task = restored(0, false);
    task.step(START, gone());
    assert!(task.is_dead() && task.state().failed);
    assert_eq!(events(&task), ["Received", "Task Setup", "Started", "Failed Restoring Task", "Not Restarting"]);

    let mut task = restored(0, true);
    task.step(START, gone());
    assert_eq!(task.step(START, Event::Open), [Action::Prepare { run: 1 }]);
}

#[test]
fn a_driver_that_cannot_say_is_asked_again() {
    let mut task = restored(1, false);
    task.step(START, Event::RecoverFailed { gone: false, message: "busy".into() });
    assert_eq!(task.step(task.deadline().unwrap(), Event::Timer), [Action::Recover(handle(0))]);
}

#[test]
fn a_task_waits_for_its_gate_whenever_it_starts() {
    let mut task = restored(1, false);
    task.step(START, Event::Recovered);
    task.step(START, exit(0, 1));
    let deadline = task.deadline().unwrap();
    assert_eq!(task.step(deadline, Event::Timer), [], "it is not open");
    assert_eq!(task.deadline(), None);
    assert_eq!(task.step(deadline, Event::Open), [Action::Prepare { run: 1 }]);
    assert_eq!(task.step(deadline, Event::Open), [], "once is enough");
}

#[test]
fn a_kill_says_so_at_once_and_sends_the_signal_after_the_delay() {
    let mut task = running(3, JobType::Service);
    let delay = Nanos::from_secs(20);
    task.set_terms(Timing { shutdown_delay: delay, ..timing() }, policy(3));
    assert_eq!(task.step(START, Event::Kill(KillReason::Requested)), [Action::Save]);
    assert_eq!(task.running(), Some(0), "it goes on serving");
    assert_eq!(task.deadline(), Some(START.plus(delay)));
    assert_eq!(task.step(START.plus(Nanos::from_secs(19)), Event::Timer), []);
    // Whoever stops it changes their mind about waiting.
    task.set_terms(Timing { shutdown_delay: delay, no_delay: true, ..timing() }, policy(3));
    let later = START.plus(Nanos::from_secs(19));
    assert_eq!(task.step(later, Event::Timer), [Action::Save, Action::Stop { run: 0, timeout: TIMEOUT }]);
    let waited = ["Killing", "Waiting for shutdown delay", "Skipping shutdown delay"];
    assert_eq!(events(&task), [["Received", "Task Setup", "Started"], waited].concat());
}

#[test]
fn a_task_that_ends_by_itself_while_it_waits_to_be_killed_was_killed() {
    let mut task = running(3, JobType::Service);
    task.set_terms(Timing { shutdown_delay: Nanos::from_secs(20), ..timing() }, policy(3));
    task.step(START, Event::Kill(KillReason::Requested));
    task.step(START, exit(0, 1));
    assert!(task.is_dead() && !task.state().failed);
}

#[test]
fn a_shutdown_of_the_node_waits_for_nothing() {
    let mut task = running(3, JobType::Service);
    task.set_terms(Timing { shutdown_delay: Nanos::from_secs(20), ..timing() }, policy(3));
    let actions = task.step(START, Event::Kill(KillReason::Shutdown));
    assert_eq!(actions, [Action::Save, Action::Stop { run: 0, timeout: TIMEOUT }]);
}

#[test]
fn a_restart_of_all_closes_the_gate_and_revives_the_dead() {
    let all = || Event::RestartAll { reason: "User requested task to restart".into() };
    let mut dead = running(0, JobType::Batch);
    dead.step(START, exit(0, 0));
    assert_eq!(dead.step(START, all()), [Action::Save]);
    assert!(!dead.is_dead());
    assert_eq!(dead.step(START, Event::Open), [Action::Prepare { run: 1 }]);

    let mut runs = running(0, JobType::Service);
    runs.step(START, all());
    runs.step(START, Event::Stopped { run: 0 });
    assert_eq!(runs.step(START, exit(0, 0)), [Action::Destroy { run: 0 }, Action::Save]);
    assert_eq!(runs.step(START, Event::Open), [Action::Prepare { run: 1 }]);
    assert_eq!(events(&runs)[3..], ["Restart Signaled", "Terminated", "Restarting"]);

    let mut preparing = fresh(0, JobType::Service);
    preparing.step(START, Event::Open);
    preparing.step(START, all());
    assert_eq!(preparing.step(START, Event::Prepared), [], "it has to wait again");
    assert_eq!(preparing.step(START, Event::Open), [Action::Prepare { run: 0 }]);
}
