//! Versions of a job: stable ones, going back, scaling.

use orch_model::job::{ScalingPolicy, UpdateStrategy};

use super::*;

fn version(number: i64) -> Job {
    let mut job = testing::job("web", 3);
    job.task_groups[0].tasks[0].env.insert("VERSION".into(), number.to_string());
    job
}

/// `web` with versions 0 to `count` - 1.
fn versions(count: i64) -> Log {
    let mut log = Log::default();
    for number in 0..count {
        log.register(version(number), u128::try_from(number).unwrap() + 1);
    }
    log
}

fn stable(log: &mut Log, version: u64, stable: bool) -> Applied {
    log.apply(Command::SetJobStability(SetJobStability { key: key("web"), version, stable }))
}

fn revert(log: &mut Log, to_version: u64, enforce_prior: Option<u64>, eval: u128) -> Applied {
    log.apply(Command::RevertJob(RevertJob { key: key("web"), to_version, enforce_prior, eval_id: eval_id(eval) }))
}

fn kept(log: &Log) -> Vec<u64> {
    log.state.job_versions(&key("web")).map(|job| job.version).collect()
}

#[test]
fn the_newest_stable_version_is_kept_beside_the_newest() {
    let mut log = versions(3);
    stable(&mut log, 0, true);
    stable(&mut log, 1, true);
    for number in 3..12 {
        log.register(version(number), u128::try_from(number).unwrap() + 1);
    }
    assert_eq!(kept(&log), [1, 6, 7, 8, 9, 10, 11]);
    stable(&mut log, 9, true);
    assert_eq!(kept(&log), [6, 7, 8, 9, 10, 11]);
    assert_eq!(rejected(&stable(&mut log, 1, true)), Some(RejectionKind::NotFound));
    stable(&mut log, 11, true);
    assert!(log.row("web").job.stable);
    assert_eq!(log.row("web").job.job_modify_index, StateIndex(14), "what the job says has not changed");
}

#[test]
fn a_job_goes_back_to_what_an_earlier_version_said_as_a_new_version() {
    let mut log = versions(3);
    assert_eq!(rejected(&revert(&mut log, 2, None, 20)), Some(RejectionKind::Invalid));
    assert_eq!(rejected(&revert(&mut log, 7, None, 20)), Some(RejectionKind::NotFound));
    assert_eq!(rejected(&revert(&mut log, 0, Some(1), 20)), Some(RejectionKind::Conflict));
    log.apply(deregister("web", false, 19));
    let applied = revert(&mut log, 0, Some(3), 20);
    let job = Arc::clone(&log.row("web").job);
    assert_eq!((job.version, job.stop), (4, false));
    assert_eq!(job.task_groups[0].tasks[0].env["VERSION"], "0");
    assert_eq!(applied.reply, Reply::Job { eval_id: Some(eval_id(20)), job_modify_index: job.job_modify_index });
    let again = revert(&mut log, 0, Some(3), 20);
    assert_eq!((again.reply, log.row("web").job.version), (applied.reply, 4));
}

fn scale(log: &mut Log, count: Option<u32>, eval: u128) -> Applied {
    log.apply(Command::ScaleJob(ScaleJob {
        key: key("web"),
        group: "web".into(),
        count,
        message: format!("try {eval}"),
        error: false,
        meta: [("load".to_owned(), serde_json::json!({"p99": 3}))].into(),
        eval_id: eval_id(eval),
        enforce_index: None,
    }))
}

#[test]
fn scaling_writes_a_version_and_keeps_the_newest_events() {
    let mut log = versions(1);
    let applied = scale(&mut log, Some(5), 2);
    assert_eq!((log.row("web").job.version, log.row("web").job.task_groups[0].count), (1, 5));
    assert_eq!(applied.changes.evals[0].trigger, Trigger::JobScaling);
    let events = log.state.scaling_events(&key("web")).unwrap();
    assert_eq!((events["web"][0].previous_count, events["web"][0].count), (3, Some(5)));
    assert_eq!(events["web"][0].eval_id, Some(eval_id(2)));
    let note = scale(&mut log, None, 3);
    assert!(
        note.changes.evals.is_empty()
            && note.changes.scopes.contains(&crate::Scope::Job(crate::Table::Jobs, key("web")))
    );
    assert_eq!(log.row("web").job.version, 1);
    for eval in 4..30 {
        scale(&mut log, None, eval);
    }
    let events = &log.state.scaling_events(&key("web")).unwrap()["web"];
    assert_eq!((events.len(), events[0].message.as_str(), events[19].message.as_str()), (20, "try 29", "try 10"));
}

#[test]
fn scaling_keeps_to_its_policy_and_waits_for_deployments() {
    let mut log = Log::with_nodes(1);
    let mut job = version(0);
    job.task_groups[0].update = Some(UpdateStrategy { max_parallel: Some(1), ..UpdateStrategy::default() });
    job.task_groups[0].scaling = Some(ScalingPolicy { min: Some(2), max: Some(6), ..ScalingPolicy::default() });
    log.register(job, 1);
    for (count, message) in [
        (1, "group count was less than scaling policy minimum: 1 < 2"),
        (7, "group count was greater than scaling policy maximum: 7 > 6"),
        (2_000_000, "group count 2000000 is more than 1000000"),
    ] {
        let applied = scale(&mut log, Some(count), 2);
        let Reply::Rejected(rejection) = applied.reply else { panic!("{:?}", applied.reply) };
        assert_eq!(rejection.message, message);
    }
    let mut plan = log.plan("web", 1);
    let groups = [("web".to_owned(), orch_model::deployment::GroupRollout::default())].into();
    plan.deployment = Some(Deployment::new(deployment_id(1), plan.job.clone(), StateIndex(0), 50, groups));
    log.commit(plan);
    assert_eq!(rejected(&scale(&mut log, Some(4), 2)), Some(RejectionKind::Invalid));
    assert_eq!(rejected(&scale(&mut log, None, 3)), None, "a note is always taken");
}

#[test]
fn a_group_that_wants_more_than_any_cluster_has_is_refused_whoever_admitted_it() {
    let mut log = Log::default();
    assert_eq!(rejected(&log.register(testing::job("web", 1_000_001), 1)), Some(RejectionKind::Invalid));
    assert_eq!(rejected(&log.register(testing::job("web", i64::MAX), 2)), Some(RejectionKind::Invalid));
    assert_eq!(rejected(&log.register(testing::job("web", 1_000_000), 3)), None);
}
