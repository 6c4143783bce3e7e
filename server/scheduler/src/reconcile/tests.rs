//! The table of cases that no command can bring about yet, and those in which several run under one name.

use std::sync::Arc;

use orch_model::allocation::{
    ClientStatus, DesiredStatus, Score, ScoreEntry, Scorer, StopReason, TaskState, Transition,
};
use orch_model::ids::EvalId;
use orch_model::job::{DisconnectStrategy, Task};
use orch_model::node::NodeStatus;
use orch_model::units::Usage;
use orch_model::{AllocId, Allocation, Job, NodeId, StateIndex, Timestamp};
use smallvec::SmallVec;
use uuid::Uuid;

use super::{Reconciled, Situation, reconcile};

fn alloc(job: &Arc<Job>, number: u32, index: u32) -> Allocation {
    Allocation {
        id: AllocId::from_uuid(Uuid::from_u128(u128::from(number))),
        job: Arc::clone(job),
        group: 0,
        index,
        node_id: NodeId::from_uuid(Uuid::from_u128(u128::from(number))),
        eval_id: EvalId::default(),
        usage: Usage::default(),
        ports: SmallVec::new(),
        desired: DesiredStatus::Run,
        stop_reason: None,
        handed_over: false,
        transition: Transition::default(),
        client_status: ClientStatus::Running,
        tasks: Arc::default(),
        previous: None,
        next: None,
        deployment_id: None,
        followup_eval: None,
        scores: Arc::default(),
        create_index: StateIndex(u64::from(number)),
        modify_index: StateIndex::default(),
        alloc_modify_index: StateIndex::default(),
        create_time: Timestamp::NONE,
        modify_time: Timestamp::NONE,
    }
}

fn job(count: i64) -> Arc<Job> {
    Arc::new(orch_model::testing::job("web", count))
}

/// `count` running allocations of the current version, changed by `change`.
fn running(job: &Arc<Job>, count: u32, change: impl Fn(&mut Allocation)) -> Vec<Arc<Allocation>> {
    (0..count)
        .map(|index| {
            let mut alloc = alloc(job, index + 1, index);
            change(&mut alloc);
            Arc::new(alloc)
        })
        .collect()
}

/// Ignored, placed, migrated, stopped; then the indexes that are placed and those that are stopped.
fn summary(job: &Job, allocs: &[Arc<Allocation>], down: &[u32]) -> ([u32; 4], Vec<u32>, Vec<u32>) {
    let allocs: Vec<_> = allocs.iter().collect();
    let status = |id: &NodeId| {
        let is_down = down.iter().any(|number| id.as_uuid().as_u128() == u128::from(*number));
        Some(if is_down { NodeStatus::Down } else { NodeStatus::Ready })
    };
    let found: Reconciled<'_> =
        reconcile(&Situation { job: Some(job), allocs: &allocs, node_status: &status, now: Timestamp(1) });
    let group = &found.groups[0];
    let updates = group.updates;
    let mut placed: Vec<_> = group.placements.iter().map(|wanted| wanted.index).collect();
    let stopped = found.stops.iter().filter_map(|stop| allocs.iter().find(|alloc| alloc.id == stop.alloc_id));
    let mut stopped: Vec<_> = stopped.map(|alloc| alloc.index).collect();
    placed.sort_unstable();
    stopped.sort_unstable();
    ([updates.ignore, updates.place, updates.migrate, updates.stop], placed, stopped)
}

#[test]
fn what_migrates_is_replaced_and_goes_first_when_fewer_are_wanted() {
    let migrate = |first: u32| move |alloc: &mut Allocation| alloc.transition.migrate = alloc.index >= first;
    let fifteen = job(15);
    let (counts, placed, stopped) = summary(&fifteen, &running(&fifteen, 10, migrate(8)), &[]);
    assert_eq!((counts, placed, stopped), ([8, 5, 2, 0], (8..15).collect(), vec![]), "scenario 47");
    let eight = job(8);
    let (counts, placed, stopped) = summary(&eight, &running(&eight, 10, migrate(7)), &[]);
    assert_eq!((counts, placed, stopped), ([7, 0, 1, 2], vec![7], vec![8, 9]), "scenario 48");
}

#[test]
fn lost_ones_are_replaced_up_to_the_count() {
    let fifteen = job(15);
    let (counts, placed, stopped) = summary(&fifteen, &running(&fifteen, 10, |_| {}), &[4, 5]);
    assert_eq!((counts, placed), ([8, 7, 0, 2], vec![3, 4, 10, 11, 12, 13, 14]), "scenario 45");
    assert_eq!(stopped, [3, 4]);
    let five = job(5);
    let (counts, placed, stopped) = summary(&five, &running(&five, 10, |_| {}), &[4, 5]);
    assert_eq!((counts, placed, stopped), ([5, 0, 0, 5], vec![], vec![3, 4, 7, 8, 9]), "scenario 46");
}

#[test]
fn failed_ones_go_before_running_ones_when_fewer_are_wanted() {
    let three = job(3);
    let failed = |alloc: &mut Allocation| {
        if alloc.index == 1 {
            alloc.client_status = ClientStatus::Failed;
        }
    };
    let (counts, placed, stopped) = summary(&three, &running(&three, 5, failed), &[]);
    assert_eq!((counts, placed, stopped), ([3, 0, 0, 2], vec![], vec![1, 4]));
}

#[test]
fn of_an_original_that_returned_and_its_replacement_the_rule_keeps_one() {
    let score = |value| -> Arc<[ScoreEntry]> {
        Arc::from([ScoreEntry { scorer: Scorer::Normalized, score: Score::from_f64(value) }])
    };
    let started =
        |at| -> Arc<[TaskState]> { Arc::from([TaskState { started_at: Timestamp(at), ..TaskState::default() }]) };
    for (rule, replacement_runs, replacement_score, replacement_start, keeps_original) in [
        ("best_score", true, 0.7, 2, false),
        ("best_score", true, 0.5, 2, true),
        ("best_score", false, 0.7, 0, true),
        ("", true, 0.7, 2, false),
        ("keep_original", true, 0.9, 1, true),
        ("keep_replacement", false, 0.1, 0, false),
        ("longest_running", true, 0.9, 5, true),
        ("longest_running", true, 0.1, 1, false),
    ] {
        let mut job = orch_model::testing::job("web", 1);
        job.task_groups[0].disconnect =
            Some(DisconnectStrategy { reconcile: rule.into(), ..DisconnectStrategy::default() });
        let job = Arc::new(job);
        let mut original = alloc(&job, 1, 0);
        original.scores = score(0.6);
        original.tasks = started(3);
        let mut replacement = alloc(&job, 2, 0);
        replacement.previous = Some(original.id);
        replacement.scores = score(replacement_score);
        replacement.tasks = started(replacement_start);
        if !replacement_runs {
            replacement.client_status = ClientStatus::Pending;
        }
        let loser = if keeps_original { replacement.id } else { original.id };
        let allocs = [Arc::new(original), Arc::new(replacement)];
        let allocs: Vec<_> = allocs.iter().collect();
        let status = |_: &NodeId| Some(NodeStatus::Ready);
        let found = reconcile(&Situation { job: Some(&job), allocs: &allocs, node_status: &status, now: Timestamp(9) });
        let stops: Vec<_> = found.stops.iter().map(|stop| (stop.alloc_id, stop.reason)).collect();
        assert_eq!(stops, [(loser, StopReason::Reconnected)], "{rule} {replacement_runs} {replacement_score}");
        assert!(found.groups[0].placements.is_empty());
    }
}

#[test]
fn an_original_of_an_older_version_gives_way_to_its_replacement() {
    let old = job(1);
    let mut new = (*old).clone();
    new.version = 1;
    new.task_groups[0].tasks.push(Task { name: "second".into(), driver: "mock_driver".into(), ..Task::default() });
    let new = Arc::new(new);
    let original = alloc(&old, 1, 0);
    let replacement = Allocation { previous: Some(original.id), ..alloc(&new, 2, 0) };
    let (counts, placed, stopped) = summary(&new, &[Arc::new(original), Arc::new(replacement)], &[]);
    assert_eq!((counts, placed, stopped), ([1, 0, 0, 1], vec![], vec![0]));
}

#[test]
fn what_was_told_to_stop_on_a_node_that_died_is_lost() {
    let one = job(1);
    let mut told = alloc(&one, 1, 0);
    told.desired = DesiredStatus::Stop;
    told.stop_reason = Some(StopReason::NotNeeded);
    let allocs = [Arc::new(told), Arc::new(alloc(&one, 2, 0))];
    let allocs: Vec<_> = allocs.iter().collect();
    let status = |id: &NodeId| Some(if id.as_uuid().as_u128() == 1 { NodeStatus::Down } else { NodeStatus::Ready });
    let found = reconcile(&Situation { job: Some(&one), allocs: &allocs, node_status: &status, now: Timestamp(9) });
    let stops: Vec<_> = found.stops.iter().map(|stop| (stop.reason, stop.client_status)).collect();
    assert_eq!(stops, [(StopReason::NotNeeded, Some(ClientStatus::Lost))]);
    assert_eq!(found.groups[0].updates.ignore, 1);
}
