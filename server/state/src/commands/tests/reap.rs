//! Forgetting what has ended, and nothing else.

use orch_model::Nanos;
use orch_model::job::ReschedulePolicy;

use super::*;

#[test]
fn only_what_has_ended_is_forgotten_whatever_the_list_says() {
    let mut log = Log::with_nodes(2);
    log.register(testing::job("web", 2), 1);
    log.place("web", 1, &[(1, 1), (2, 1)]);
    let everything = || {
        Command::Reap(Reap {
            evals: vec![eval_id(1), eval_id(9)],
            allocs: vec![alloc_id(1), alloc_id(2), alloc_id(9)],
            jobs: vec![key("web"), key("none")],
            nodes: vec![node_id(1), node_id(2), node_id(9)],
            deployments: Vec::new(),
        })
    };
    log.apply(everything());
    assert_eq!((log.state.alloc_count(), log.state.evals().count(), log.state.node_count()), (2, 1, 2));
    assert!(log.state.job(&key("web")).is_some());

    log.complete(eval_id(1));
    log.report(1, ClientStatus::Complete);
    log.silence(2, 1, NodeStatus::Down);
    let applied = log.apply(everything());
    assert!(log.state.alloc(&alloc_id(1)).is_none() && log.state.eval(&eval_id(1)).is_none());
    assert!(log.state.alloc(&alloc_id(2)).is_some() && log.state.job(&key("web")).is_some());
    assert!(log.state.node(&node_id(1)).is_some() && log.state.node(&node_id(2)).is_none());
    assert!(applied.changes.nodes_to_tell.contains(&node_id(1)), "the client may forget it, too");
}

#[test]
fn a_dead_job_goes_with_its_evaluations() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 1), 1);
    log.complete(eval_id(1));
    log.apply(deregister("web", false, 2));
    log.complete(eval_id(2));
    let applied = log.apply(Command::Reap(Reap { jobs: vec![key("web")], ..Reap::default() }));
    assert!(log.state.job(&key("web")).is_none() && log.state.evals().count() == 0);
    assert!(applied.changes.jobs_gone.contains(&key("web")));
}

#[test]
fn a_node_that_is_down_stays_while_its_work_may_still_be_counted() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 1), 1);
    log.place("web", 1, &[(1, 1)]);
    log.silence(1, 1, NodeStatus::Down);
    let reap = || Command::Reap(Reap { nodes: vec![node_id(1)], ..Reap::default() });
    log.apply(reap());
    assert!(log.state.node(&node_id(1)).is_some());
    log.report(1, ClientStatus::Complete);
    log.apply(reap());
    assert!(log.state.node(&node_id(1)).is_none());
}

#[test]
fn a_failed_allocation_is_kept_while_it_stands_for_an_instance() {
    let policy = |attempts| ReschedulePolicy {
        attempts: Some(attempts),
        interval: Some(Nanos::from_secs(60)),
        unlimited: Some(attempts == 0),
        ..ReschedulePolicy::default()
    };
    for (attempts, waited, stays) in [(0, 3600, true), (1, 10, true), (1, 3600, false)] {
        let mut log = Log::with_nodes(1);
        let mut job = testing::job("web", 1);
        job.task_groups[0].reschedule_policy = Some(policy(attempts));
        log.register(job, 1);
        log.place("web", 1, &[(1, 1)]);
        log.report(1, ClientStatus::Failed);
        log.now += waited;
        let reap = || Command::Reap(Reap { allocs: vec![alloc_id(1)], ..Reap::default() });
        log.apply(reap());
        assert_eq!(log.state.alloc(&alloc_id(1)).is_some(), stays, "{attempts} attempts, {waited} s later");
        log.apply(deregister("web", false, 2));
        log.apply(reap());
        assert!(log.state.alloc(&alloc_id(1)).is_none(), "nobody wants the job any more");
    }
}

#[test]
fn what_a_batch_job_completed_is_kept_while_its_version_is_wanted() {
    let mut log = Log::with_nodes(1);
    let batch = |count| orch_model::Job { r#type: "batch".into(), ..testing::job("sum", count) };
    log.register(batch(1), 1);
    log.place("sum", 1, &[(1, 1)]);
    log.report(1, ClientStatus::Complete);
    let reap = || Command::Reap(Reap { allocs: vec![alloc_id(1)], ..Reap::default() });
    log.apply(reap());
    assert!(log.state.alloc(&alloc_id(1)).is_some(), "it would run again");
    log.register(batch(2), 2);
    log.apply(reap());
    assert!(log.state.alloc(&alloc_id(1)).is_none());
}
