//! What clients say about allocations, and stopping one by hand.

use orch_model::allocation::{DesiredStatus, StopReason};

use super::*;

/// One node with allocations 1 and 2 of `job`.
fn placed(job: Job) -> Log {
    let mut log = Log::with_nodes(1);
    let id = job.id.to_string();
    log.register(job, 1);
    log.place(&id, 1, &[(1, 1), (2, 1)]);
    log.report(1, ClientStatus::Running);
    log
}

fn batch() -> Job {
    Job { r#type: "batch".into(), ..testing::job("sum", 2) }
}

#[test]
fn an_allocation_that_fails_has_its_job_looked_at_in_the_same_entry() {
    let mut log = placed(testing::job("web", 2));
    let applied = log.apply(report(1, node_id(1), ClientStatus::Failed));
    assert!(applied.changes.freed.contains_key(&node_id(1)));
    let evals = evals_of(applied);
    assert_eq!(log.eval(evals[0]).trigger, Trigger::AllocFailure);
    assert_eq!(log.eval(evals[0]).create_index, log.alloc(1).modify_index);
    assert_eq!(log.report(1, ClientStatus::Failed), [], "the same word again changes nothing");
}

#[test]
fn what_follows_an_end_depends_on_the_kind_of_job_and_on_whether_it_was_wanted() {
    let mut log = placed(testing::job("web", 2));
    let evals = log.report(1, ClientStatus::Complete);
    assert_eq!(log.eval(evals[0]).trigger, Trigger::AllocStop, "a service should not end by itself");
    log.apply(Command::StopAlloc(StopAlloc { alloc_id: alloc_id(2), no_shutdown_delay: false, eval_id: eval_id(5) }));
    assert_eq!(log.report(2, ClientStatus::Complete), [], "it was told to stop");
    let mut log = placed(batch());
    assert_eq!(log.report(1, ClientStatus::Complete), [], "batch work is done");
    let evals = log.report(2, ClientStatus::Failed);
    assert_eq!(log.eval(evals[0]).trigger, Trigger::AllocFailure);
}

#[test]
fn batch_work_of_an_older_version_that_is_done_makes_way_for_the_newer() {
    let mut log = placed(batch());
    let mut newer = batch();
    newer.task_groups[0].tasks[0].env.insert("VERSION".into(), "2".into());
    log.register(newer, 7);
    let evals = log.report(1, ClientStatus::Complete);
    assert_eq!(log.eval(evals[0]).trigger, Trigger::AllocStop);
}

#[test]
fn several_ends_of_one_job_in_one_entry_make_one_evaluation() {
    let mut log = placed(testing::job("web", 2));
    let mut updates = Vec::new();
    for id in [1, 2] {
        let Command::UpdateAllocs(one) = report(id, node_id(1), ClientStatus::Failed) else { panic!("not an update") };
        updates.extend(one.updates);
    }
    let evals = evals_of(log.apply(Command::UpdateAllocs(UpdateAllocs { updates, seed: 1 })));
    assert_eq!(evals.len(), 1);
}

#[test]
fn a_report_that_comes_late_changes_neither_status_nor_tasks() {
    let mut log = placed(testing::job("web", 2));
    log.report(1, ClientStatus::Failed);
    let ended = Arc::clone(log.alloc(1));
    let late = log.apply(report(1, node_id(1), ClientStatus::Running));
    assert_eq!(*log.alloc(1), ended);
    assert!(late.changes.scopes.is_empty());
    log.report(2, ClientStatus::Running);
    log.report(2, ClientStatus::Pending);
    assert_eq!(log.alloc(2).client_status, ClientStatus::Running);
}

#[test]
fn nobody_speaks_for_allocations_of_another_node() {
    let mut log = placed(testing::job("web", 2));
    log.register_node(2);
    let applied = log.apply(report(1, node_id(2), ClientStatus::Failed));
    assert_eq!(log.alloc(1).client_status, ClientStatus::Running);
    assert_eq!(evals_of(applied), []);
    let unknown = log.apply(report(77, node_id(1), ClientStatus::Failed));
    assert_eq!(evals_of(unknown), []);
}

#[test]
fn stopping_an_allocation_tells_its_node_and_is_done_once() {
    let mut log = placed(testing::job("web", 2));
    let stop = |alloc, eval| {
        Command::StopAlloc(StopAlloc { alloc_id: alloc_id(alloc), no_shutdown_delay: true, eval_id: eval_id(eval) })
    };
    assert_eq!(rejected(&log.apply(stop(9, 5))), Some(RejectionKind::NotFound));
    let stopped = log.apply(stop(1, 6));
    let alloc = log.alloc(1);
    assert_eq!((alloc.desired, alloc.stop_reason), (DesiredStatus::Stop, Some(StopReason::StoppedByUser)));
    assert!(alloc.transition.no_shutdown_delay && alloc.holds_resources());
    assert!(stopped.changes.nodes_to_tell.contains(&node_id(1)));
    assert_eq!(log.eval(eval_id(6)).trigger, Trigger::AllocStop);
    let written = log.alloc(1).modify_index;
    assert_eq!(evals_of(log.apply(stop(1, 6))), [eval_id(6)]);
    assert_eq!(evals_of(log.apply(stop(1, 7))), [eval_id(7)]);
    assert_eq!(log.alloc(1).modify_index, written, "it was stopped already");
}
