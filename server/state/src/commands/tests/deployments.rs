//! Deployments: counting, deadlines, ends, going back.

use orch_model::Nanos;
use orch_model::deployment::{DeploymentReason, DeploymentStatus, GroupRollout, Rollback};
use orch_model::job::{JobStatus, UpdateStrategy};
use orch_model::plan::{DeploymentUpdate, FollowUp, InPlaceUpdate, Stop};

use super::*;

fn rolling(count: i64, version: u32) -> Job {
    let mut job = testing::job("web", count);
    job.task_groups[0].update = Some(UpdateStrategy { max_parallel: Some(1), ..UpdateStrategy::default() });
    job.task_groups[0].tasks[0].env.insert("VERSION".into(), version.to_string());
    job
}

fn rollout(count: u32) -> GroupRollout {
    GroupRollout {
        auto_revert: true,
        progress_deadline: Nanos::from_secs(600),
        desired_total: count,
        ..GroupRollout::default()
    }
}

fn deploying(log: &Log, id: u128, groups: &[(&str, GroupRollout)]) -> Plan {
    let mut plan = log.plan("web", id);
    let groups = groups.iter().map(|(name, group)| ((*name).to_owned(), group.clone())).collect();
    plan.deployment = Some(Deployment::new(deployment_id(id), plan.job.clone(), StateIndex(0), 50, groups));
    plan
}

/// `web` with as many allocations as nodes, numbered from 1, all part of deployment 1.
fn deployed(count: u32) -> Log {
    let mut log = Log::with_nodes(count);
    log.register(rolling(i64::from(count), 0), 1);
    let mut plan = deploying(&log, 1, &[("web", rollout(count)), ("none", rollout(1))]);
    plan.placements = (1..=count)
        .map(|number| Placement {
            deployment: Some(deployment_id(1)),
            ..placement(u128::from(number), number - 1, number)
        })
        .collect();
    assert_eq!(refused(&log.commit(plan)), []);
    log.complete(eval_id(1));
    log
}

fn change(log: &mut Log, id: u128, change: DeploymentChange, eval: u128) -> Applied {
    log.apply(Command::ChangeDeployment(ChangeDeployment { id: deployment_id(id), change, eval_id: eval_id(eval) }))
}

fn counts(log: &Log) -> (u32, u32, u32) {
    let group = &log.deployment(1).groups["web"];
    (group.placed, group.healthy, group.unhealthy)
}

/// Deployment 1 succeeded, so that version 0 is stable; version 1 is in deployment 2, its allocation is number 11.
fn second_version(log: &mut Log) {
    log.reports(1, ClientStatus::Running, true);
    change(log, 1, DeploymentChange::Succeed, 20);
    log.register(rolling(1, 1), 21);
    let mut plan = deploying(log, 2, &[("web", rollout(1))]);
    plan.stops =
        vec![Stop { alloc_id: alloc_id(1), reason: orch_model::allocation::StopReason::Updated, client_status: None }];
    plan.placements = vec![Placement { deployment: Some(deployment_id(2)), ..placement(11, 0, 1) }];
    assert_eq!(refused(&log.commit(plan)), []);
}

#[test]
fn a_deployment_counts_its_allocations_and_a_stopped_one_is_healthy_no_longer() {
    let mut log = deployed(3);
    let deployment = log.deployment(1);
    assert_eq!(deployment.groups.keys().collect::<Vec<_>>(), ["web"], "the job has no other group");
    assert_eq!((deployment.status, deployment.job_spec_index), (DeploymentStatus::Running, StateIndex(4)));
    assert_eq!(counts(&log), (3, 0, 0));
    log.reports(1, ClientStatus::Running, true);
    let applied = log.reports(2, ClientStatus::Failed, false);
    assert_eq!(counts(&log), (3, 1, 1));
    assert!(applied.changes.deployment_allocs.contains(&deployment_id(1)));
    assert_eq!(applied.changes.deployments, [Arc::clone(log.deployment(1))]);
    assert!(log.alloc(1).is_healthy());
    let again = log.reports(1, ClientStatus::Running, true);
    assert!(again.changes.deployments.is_empty(), "that was no news");
    log.apply(Command::StopAlloc(StopAlloc { alloc_id: alloc_id(1), no_shutdown_delay: false, eval_id: eval_id(7) }));
    assert_eq!(counts(&log), (3, 0, 1));
}

#[test]
fn each_allocation_that_becomes_healthy_puts_the_deadline_off() {
    let mut log = Log::with_nodes(2);
    log.register(rolling(2, 0), 1);
    let plan = deploying(&log, 1, &[("web", rollout(2))]);
    log.commit(plan);
    assert_eq!(log.deployment(1).progress_by(), None, "nothing was placed yet");
    let mut plan = log.plan("web", 2);
    plan.placements = vec![Placement { deployment: Some(deployment_id(1)), ..placement(1, 0, 1) }];
    log.commit(plan);
    let due = |log: &Log| log.deployment(1).progress_by().unwrap().since(log.state.now());
    assert_eq!(due(&log), Nanos::from_secs(600));
    log.now += 100;
    log.report(1, ClientStatus::Running);
    assert_eq!(due(&log), Nanos::from_secs(499));
    log.reports(1, ClientStatus::Running, true);
    assert_eq!(due(&log), Nanos::from_secs(600));
    change(&mut log, 1, DeploymentChange::Pause, 8);
    log.now += 1000;
    change(&mut log, 1, DeploymentChange::Resume, 9);
    assert_eq!(due(&log), Nanos::from_secs(600), "it starts anew when it goes on");
}

#[test]
fn a_deployment_that_succeeds_makes_its_version_stable_and_counts_no_further() {
    let mut log = deployed(1);
    assert_eq!(rejected(&change(&mut log, 1, DeploymentChange::Succeed, 5)), Some(RejectionKind::Conflict));
    log.reports(1, ClientStatus::Running, true);
    let before = log.row("web").placed_index;
    let mut plan = log.plan("web", 3);
    let reason = DeploymentReason::Successful;
    plan.deployment_updates =
        vec![DeploymentUpdate { id: deployment_id(1), status: DeploymentStatus::Successful, reason }];
    let applied = log.apply(Command::ApplyPlans(ApplyPlans { plans: vec![plan] }));
    assert_eq!(log.deployment(1).status, DeploymentStatus::Successful);
    assert!(applied.changes.scopes.contains(&crate::Scope::Deployment(deployment_id(1))));
    assert!(log.row("web").job.stable && log.state.job_versions(&key("web")).all(|job| job.stable));
    assert!(log.row("web").placed_index > before && log.state.active_deployment(&key("web")).is_none());
    log.reports(1, ClientStatus::Failed, false);
    assert_eq!(counts(&log), (1, 1, 0));
    let late = change(&mut log, 1, DeploymentChange::Fail(DeploymentFailure::ByUser), 6);
    let Reply::Rejected(rejection) = &late.reply else { panic!("{:?}", late.reply) };
    assert_eq!(rejection.message, "can't fail terminal deployment");
}

#[test]
fn no_plan_makes_a_deployment_succeed_that_is_not_where_it_should_be() {
    let mut log = deployed(2);
    log.reports(1, ClientStatus::Running, true);
    let mut plan = log.plan("web", 3);
    let reason = DeploymentReason::Successful;
    plan.deployment_updates =
        vec![DeploymentUpdate { id: deployment_id(1), status: DeploymentStatus::Successful, reason }];
    log.commit(plan);
    assert_eq!(log.deployment(1).status, DeploymentStatus::Running);
}

#[test]
fn a_job_runs_while_a_deployment_of_it_is_active() {
    let mut log = Log::with_nodes(1);
    log.register(rolling(1, 0), 1);
    let mut plan = deploying(&log, 1, &[("web", rollout(1))]);
    let mut done = (**log.eval(eval_id(1))).clone();
    done.status = EvalStatus::Complete;
    plan.when_whole = vec![done];
    log.commit(plan);
    assert_eq!(log.row("web").job.status, JobStatus::Running);
    change(&mut log, 1, DeploymentChange::Fail(DeploymentFailure::ByUser), 2);
    log.complete(eval_id(2));
    assert_eq!(log.row("web").job.status, JobStatus::Dead);
}

#[test]
fn a_newer_version_or_a_stop_cancels_the_active_deployment_in_the_same_entry() {
    let stop = |log: &mut Log| log.apply(deregister("web", false, 9));
    let purge = |log: &mut Log| log.apply(deregister("web", true, 9));
    let newer = |log: &mut Log| log.register(rolling(1, 1), 9);
    type Change = fn(&mut Log) -> Applied;
    for (cancel, reason) in [
        (newer as Change, DeploymentReason::NewerJob),
        (stop as Change, DeploymentReason::StoppedJob),
        (purge as Change, DeploymentReason::StoppedJob),
    ] {
        let mut log = deployed(1);
        log.register(rolling(1, 0), 8);
        assert!(log.deployment(1).is_active(), "nothing changed");
        let applied = cancel(&mut log);
        let deployment = log.deployment(1);
        assert_eq!((deployment.status, deployment.reason), (DeploymentStatus::Cancelled, reason));
        assert_eq!(applied.changes.deployments, [Arc::clone(deployment)]);
    }
}

#[test]
fn a_second_deployment_or_one_of_another_version_is_not_created() {
    let mut log = deployed(1);
    let mut second = deploying(&log, 2, &[("web", rollout(1))]);
    second.placements = vec![Placement { deployment: Some(deployment_id(2)), ..placement(2, 1, 1) }];
    log.commit(second);
    assert!(log.state.deployment(&deployment_id(2)).is_none());
    assert_eq!(log.alloc(2).deployment_id, None, "it is part of nothing");
    log.register(rolling(1, 1), 5);
    let mut old = deploying(&log, 3, &[("web", rollout(1))]);
    old.deployment.as_mut().unwrap().job.version = 0;
    log.commit(old);
    assert!(log.state.active_deployment(&key("web")).is_none());
}

#[test]
fn a_plan_made_before_a_deployment_was_paused_is_stale() {
    let mut log = deployed(1);
    let plan = Plan { placements: vec![placement(2, 0, 1)], ..log.plan("web", 2) };
    let paused = change(&mut log, 1, DeploymentChange::Pause, 5);
    let Reply::Deployment { eval_id, .. } = paused.reply else { panic!("{:?}", paused.reply) };
    assert_eq!((eval_id, log.deployment(1).description().as_str()), (None, "Deployment is paused"));
    assert!(is_stale(&log.commit(plan)));
    let resumed = change(&mut log, 1, DeploymentChange::Resume, 6);
    assert_eq!(resumed.changes.evals[0].trigger, Trigger::DeploymentWatcher);
    assert_eq!(resumed.changes.evals[0].deployment_id, Some(deployment_id(1)));
    assert_eq!(log.deployment(1).status, DeploymentStatus::Running);
}

#[test]
fn a_failed_deployment_takes_its_job_back_to_the_newest_stable_version() {
    let mut log = deployed(1);
    second_version(&mut log);
    let failed = change(&mut log, 2, DeploymentChange::Fail(DeploymentFailure::UnhealthyAllocs), 30);
    let Reply::Deployment { eval_id: eval, reverted_to, .. } = failed.reply else { panic!("{:?}", failed.reply) };
    assert_eq!((eval, reverted_to), (Some(eval_id(30)), Some(0)));
    let job = &log.row("web").job;
    assert_eq!((job.version, job.task_groups[0].tasks[0].env["VERSION"].as_str(), job.stable), (2, "0", false));
    assert_eq!(log.eval(eval_id(30)).job_modify_index, job.job_modify_index);
    assert_eq!(log.deployment(2).description(), "Failed due to unhealthy allocations - rolling back to job version 0");
    let again = change(&mut log, 2, DeploymentChange::Fail(DeploymentFailure::UnhealthyAllocs), 30);
    assert_eq!(again.reply, failed.reply);
    assert_eq!(log.row("web").job.version, 2);
}

#[test]
fn a_failed_deployment_goes_nowhere_without_a_stable_version_that_says_something_else() {
    let mut log = deployed(1);
    change(&mut log, 1, DeploymentChange::Fail(DeploymentFailure::ProgressDeadline), 5);
    assert_eq!(log.deployment(1).reason, DeploymentReason::ProgressDeadline(Rollback::NoStable));
    assert_eq!(log.row("web").job.version, 0);

    let mut log = deployed(1);
    second_version(&mut log);
    change(&mut log, 2, DeploymentChange::Fail(DeploymentFailure::ByUser), 30);
    let mut plan = deploying(&log, 3, &[("web", rollout(1))]);
    plan.placements = vec![Placement { deployment: Some(deployment_id(3)), ..placement(12, 0, 1) }];
    log.commit(plan);
    change(&mut log, 3, DeploymentChange::Fail(DeploymentFailure::ByUser), 31);
    assert_eq!(log.deployment(3).reason, DeploymentReason::FailedByUser(Rollback::SameSpec(0)));
    assert_eq!(log.row("web").job.version, 2);
}

#[test]
fn health_can_be_said_by_hand_of_allocations_of_the_deployment_alone() {
    let mut log = deployed(2);
    log.place("web", 9, &[(9, 2)]);
    let set = |log: &mut Log, healthy: &[u128], unhealthy: &[u128], eval: u128| {
        let ids = |numbers: &[u128]| numbers.iter().copied().map(alloc_id).collect();
        log.apply(Command::SetAllocHealth(SetAllocHealth {
            deployment: deployment_id(1),
            healthy: ids(healthy),
            unhealthy: ids(unhealthy),
            eval_id: eval_id(eval),
        }))
    };
    assert_eq!(rejected(&set(&mut log, &[1, 9], &[], 5)), Some(RejectionKind::Invalid));
    assert_eq!(rejected(&set(&mut log, &[1], &[1], 5)), Some(RejectionKind::Invalid));
    assert_eq!(counts(&log), (2, 0, 0));
    let applied = set(&mut log, &[1], &[2], 5);
    assert_eq!(counts(&log), (2, 1, 1));
    assert_eq!(applied.changes.evals[0].deployment_id, Some(deployment_id(1)));
    set(&mut log, &[2], &[], 6);
    assert_eq!(counts(&log), (2, 2, 0));
}

#[test]
fn an_update_in_place_moves_an_allocation_to_the_new_deployment_and_forgets_its_health() {
    let mut log = deployed(1);
    log.reports(1, ClientStatus::Running, true);
    change(&mut log, 1, DeploymentChange::Succeed, 5);
    let mut job = rolling(1, 0);
    job.priority = 60;
    log.register(job, 6);
    let mut plan = deploying(&log, 2, &[("web", rollout(1))]);
    plan.in_place = vec![InPlaceUpdate { alloc_id: alloc_id(1), group: 0, deployment: Some(deployment_id(2)) }];
    log.commit(plan);
    assert_eq!((log.alloc(1).deployment_id, log.alloc(1).health), (Some(deployment_id(2)), None));
    assert_eq!(log.deployment(2).groups["web"].placed, 1);
    assert_eq!(counts(&log), (1, 1, 0), "what ended keeps its counts");
    assert_eq!(log.state.allocs_of_deployment(&deployment_id(2)).count(), 1);
}

#[test]
fn canaries_are_counted_until_they_are_promoted_which_needs_all_of_them_healthy() {
    let mut log = Log::with_nodes(2);
    log.register(rolling(2, 0), 1);
    let group = GroupRollout { desired_canaries: 1, ..rollout(2) };
    let mut plan = deploying(&log, 1, &[("web", group)]);
    plan.placements = vec![Placement { deployment: Some(deployment_id(1)), ..placement(1, 0, 1) }];
    log.commit(plan);
    assert_eq!(log.deployment(1).reason, DeploymentReason::NeedsPromotion);
    let promote = |log: &mut Log, eval| change(log, 1, DeploymentChange::Promote { groups: Vec::new() }, eval);
    assert_eq!(rejected(&promote(&mut log, 5)), Some(RejectionKind::Invalid));
    log.reports(1, ClientStatus::Running, true);
    promote(&mut log, 6);
    let mut plan = log.plan("web", 2);
    plan.placements = vec![Placement { deployment: Some(deployment_id(1)), ..placement(2, 1, 2) }];
    log.commit(plan);
    let deployment = log.deployment(1);
    assert_eq!(deployment.groups["web"].placed_canaries, [alloc_id(1)]);
    assert_eq!((deployment.reason, deployment.groups["web"].promoted), (DeploymentReason::Running, true));
    assert_eq!(rejected(&promote(&mut log, 7)), Some(RejectionKind::Invalid), "there is nothing left to promote");
}

#[test]
fn failed_allocations_are_marked_to_be_placed_again_and_their_jobs_looked_at_once() {
    let mut log = deployed(3);
    log.report(1, ClientStatus::Failed);
    log.report(2, ClientStatus::Failed);
    let allocs = vec![alloc_id(1), alloc_id(2), alloc_id(3), alloc_id(99)];
    let again = RescheduleAllocs { allocs, evals_seed: 5, trigger: Trigger::DeploymentWatcher };
    let evals = evals_of(log.apply(Command::RescheduleAllocs(again)));
    assert_eq!(evals.len(), 1);
    assert_eq!(log.eval(evals[0]).trigger, Trigger::DeploymentWatcher);
    let marked = [1, 2, 3].map(|number| log.alloc(number).transition.reschedule);
    assert_eq!(marked, [true, true, false]);
}

#[test]
fn who_looks_at_a_failed_allocation_later_is_noted_only_if_the_plan_is_whole() {
    for cpu in [100, 9000] {
        let mut log = deployed(2);
        log.report(1, ClientStatus::Failed);
        let mut later = pending_eval(40, "web");
        later.wait_until = Timestamp(90_000_000_000);
        let mut plan = log.plan("web", 5);
        plan.follow_ups = vec![FollowUp { alloc_id: alloc_id(1), eval_id: later.id }];
        plan.when_whole = vec![later];
        let mut asked = placement(5, 0, 2);
        asked.usage.cpu = Mhz(cpu);
        plan.placements = vec![asked];
        let whole = refused(&log.commit(plan)).is_empty();
        assert_eq!(log.alloc(1).followup_eval, whole.then_some(eval_id(40)));
        assert_eq!(log.state.eval(&eval_id(40)).is_some(), whole);
    }
}

#[test]
fn only_a_deployment_that_ended_and_runs_nothing_is_forgotten_and_its_allocations_not_before() {
    let mut log = deployed(1);
    let reap = || {
        let (allocs, deployments) = (vec![alloc_id(1)], vec![deployment_id(1)]);
        Command::Reap(Reap { allocs, deployments, ..Reap::default() })
    };
    log.report(1, ClientStatus::Complete);
    log.apply(reap());
    assert!(log.state.deployment(&deployment_id(1)).is_some() && log.state.alloc(&alloc_id(1)).is_some());
    log.apply(deregister("web", false, 5));
    let applied = log.apply(reap());
    assert!(log.state.deployment(&deployment_id(1)).is_none() && log.state.alloc(&alloc_id(1)).is_none());
    assert!(applied.changes.scopes.contains(&crate::Scope::Deployment(deployment_id(1))));
    assert_eq!(log.state.latest_deployment(&key("web")), None);
}

#[test]
fn a_deployment_wants_no_more_than_its_job_and_only_what_is_rolled_out() {
    let mut log = Log::default();
    let mut job = rolling(2, 0);
    let mut other = job.task_groups[0].clone();
    (other.name, other.update) = ("other".into(), None);
    job.task_groups.push(other);
    log.register(job, 1);
    let plan = deploying(&log, 1, &[("web", rollout(9)), ("other", rollout(1))]);
    log.commit(plan);
    let wanted = log.deployment(1).groups.iter().map(|(name, group)| (name.as_str(), group.desired_total));
    assert_eq!(wanted.collect::<Vec<_>>(), [("web", 2)]);
}
