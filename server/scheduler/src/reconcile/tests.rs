//! The table of cases that no command can bring about yet, and those in which several run under one name.

use std::sync::Arc;

use orch_model::allocation::{
    AllocHealth, ClientStatus, DesiredStatus, Score, ScoreEntry, Scorer, StopReason, TaskState,
};
use orch_model::deployment::{Deployment, DeploymentStatus, GroupRollout};
use orch_model::ids::{DeploymentId, EvalId};
use orch_model::job::{DisconnectStrategy, Task, UpdateStrategy};
use orch_model::node::NodeStatus;
use orch_model::{Allocation, Job, NodeId, StateIndex, Timestamp};
use uuid::Uuid;

use super::{Reconciled, Situation, reconcile};

/// A running allocation on a node of its own.
fn alloc(job: &Arc<Job>, number: u32, index: u32) -> Allocation {
    Allocation {
        index,
        node_id: NodeId::from_uuid(Uuid::from_u128(u128::from(number))),
        client_status: ClientStatus::Running,
        create_index: StateIndex(u64::from(number)),
        ..orch_model::testing::alloc(u128::from(number), job)
    }
}

/// What there is, with the nodes of these numbers down.
fn seen<'a>(
    job: &'a Job,
    allocs: &'a [&'a Arc<Allocation>],
    deployment: Option<&'a Deployment>,
    down: &[u32],
) -> Reconciled<'a> {
    let node_status = |id: &NodeId| {
        let is_down = down.iter().any(|number| id.as_uuid().as_u128() == u128::from(*number));
        Some(if is_down { NodeStatus::Down } else { NodeStatus::Ready })
    };
    let (node_status, waits_until) = (&node_status as _, &(|_: &EvalId| None) as _);
    let (eval_id, now) = (EvalId::default(), Timestamp(9));
    reconcile(&Situation { job: Some(job), allocs, deployment, node_status, waits_until, eval_id, now })
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
    let found = seen(job, &allocs, None, down);
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
        let found = seen(&job, &allocs, None, &[]);
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
    let found = seen(&one, &allocs, None, &[1]);
    let stops: Vec<_> = found.stops.iter().map(|stop| (stop.reason, stop.client_status)).collect();
    assert_eq!(stops, [(StopReason::NotNeeded, Some(ClientStatus::Lost))]);
    assert_eq!(found.groups[0].updates.ignore, 1);
}

/// A job of ten, four at a time, and its next version with another task.
fn versions() -> (Arc<Job>, Arc<Job>) {
    let mut old = orch_model::testing::job("web", 10);
    old.task_groups[0].update = Some(UpdateStrategy { max_parallel: Some(4), ..UpdateStrategy::default() });
    let mut new = old.clone();
    new.version = 1;
    new.task_groups[0].tasks.push(Task { name: "second".into(), driver: "mock_driver".into(), ..Task::default() });
    (Arc::new(old), Arc::new(new))
}

fn deployment_of(job: &Job, status: DeploymentStatus) -> Deployment {
    let group = GroupRollout { desired_total: 10, ..GroupRollout::default() };
    let groups = [("web".to_owned(), group)].into();
    let id = DeploymentId::from_uuid(Uuid::from_u128(7));
    Deployment { status, ..Deployment::new(id, job.version_key(), StateIndex(1), 50, groups) }
}

/// The first `new` of ten under the deployment, of which `healthy` are well; the others old.
fn half_way(old: &Arc<Job>, new: &Arc<Job>, replaced: u32, healthy: u32) -> Vec<Arc<Allocation>> {
    running(old, 10, |alloc| {
        if alloc.index < replaced {
            alloc.job = Arc::clone(new);
            alloc.deployment_id = Some(deployment_of(new, DeploymentStatus::Running).id);
            let well = AllocHealth { healthy: true, at: Timestamp(1), index: StateIndex(1) };
            alloc.health = (alloc.index < healthy).then_some(well);
        }
    })
}

#[test]
fn lost_ones_take_from_the_next_step_and_migrating_ones_do_not() {
    let (old, new) = versions();
    let deployment = deployment_of(&new, DeploymentStatus::Running);
    // Which migrate, whose nodes are down, how many of the three new ones are healthy, and what may be replaced then.
    for (migrating, down, healthy, steps) in [
        (&[][..], &[][..], 3, 4),
        (&[8, 9], &[], 3, 4),
        (&[8, 9], &[8], 3, 3),
        (&[], &[8, 9], 3, 2),
        (&[8, 9], &[8], 1, 1),
    ] {
        let mut allocs = half_way(&old, &new, 3, healthy);
        for alloc in &mut allocs {
            Arc::make_mut(alloc).transition.migrate = migrating.contains(&alloc.index);
        }
        let allocs: Vec<_> = allocs.iter().collect();
        let found = seen(&new, &allocs, Some(&deployment), down);
        let updates = found.groups[0].updates;
        let moves = u32::try_from(migrating.iter().filter(|index| !down.contains(&(**index + 1))).count()).unwrap();
        assert_eq!(updates.destructive, steps, "scenario 39: {migrating:?} {down:?} {healthy}");
        assert_eq!((updates.migrate, updates.place), (moves, u32::try_from(down.len()).unwrap()));
    }
}

#[test]
fn a_deployment_succeeds_when_all_are_healthy_and_nothing_is_left_to_do() {
    let (old, new) = versions();
    for (status, replaced, healthy, succeeds) in [
        (DeploymentStatus::Running, 10, 10, true),
        (DeploymentStatus::Running, 10, 9, false),
        (DeploymentStatus::Running, 9, 9, false),
        (DeploymentStatus::Paused, 10, 10, false),
        (DeploymentStatus::Failed, 10, 10, false),
    ] {
        let deployment = deployment_of(&new, status);
        let allocs = half_way(&old, &new, replaced, healthy);
        let allocs: Vec<_> = allocs.iter().collect();
        let found = seen(&new, &allocs, Some(&deployment), &[]);
        let ends: Vec<_> = found.deployment_updates.iter().map(|update| update.status).collect();
        let expected: &[_] = if succeeds { &[DeploymentStatus::Successful] } else { &[] };
        assert_eq!(ends, expected, "{status} {replaced} {healthy}");
    }
}

#[test]
fn what_serves_least_is_replaced_first() {
    let (old, new) = versions();
    let mut allocs = running(&old, 10, |_| {});
    Arc::make_mut(&mut allocs[9]).client_status = ClientStatus::Failed;
    Arc::make_mut(&mut allocs[5]).client_status = ClientStatus::Pending;
    let unwell = AllocHealth { healthy: false, at: Timestamp(1), index: StateIndex(1) };
    let unproven = Arc::make_mut(&mut allocs[7]);
    (unproven.deployment_id, unproven.health) = (Some(DeploymentId::default()), Some(unwell));
    let allocs: Vec<_> = allocs.iter().collect();
    let found = seen(&new, &allocs, None, &[]);
    let replaced: Vec<_> = found.groups[0].placements.iter().map(|wanted| wanted.index).collect();
    assert_eq!(replaced, [9, 5, 7, 0]);
    assert_eq!(found.rollouts["web"].desired_total, 10);
}

#[test]
fn a_deployment_of_a_version_that_is_gone_is_cancelled() {
    let (old, new) = versions();
    let stale = deployment_of(&old, DeploymentStatus::Running);
    let found = seen(&new, &[], Some(&stale), &[]);
    assert_eq!(found.deployment_updates[0].reason.to_string(), "Cancelled due to newer version of job");
    let mut stopped = (*new).clone();
    stopped.stop = true;
    let found = seen(&stopped, &[], Some(&stale), &[]);
    assert_eq!(found.deployment_updates[0].reason.to_string(), "Cancelled because job is stopped");
}
