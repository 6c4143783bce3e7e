//! Nodes: sessions, silence, eligibility, purging.

use orch_model::node::Eligibility;

use super::*;

/// One node with one allocation of `web`.
fn running() -> Log {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 1), 1);
    log.place("web", 1, &[(1, 1)]);
    log.report(1, ClientStatus::Running);
    log.complete(eval_id(1));
    log
}

#[test]
fn each_session_raises_the_epoch_and_reports_about_older_ones_are_void() {
    let mut log = running();
    assert_eq!(log.state.node(&node_id(1)).unwrap().session.epoch, 1);
    assert_eq!(log.register_node(1), 2);
    assert_eq!(log.silence(1, 1, NodeStatus::Down), []);
    assert_eq!(log.state.node(&node_id(1)).unwrap().status, NodeStatus::Ready);
    let description = Arc::new(testing::node(1).size(1, 1).description());
    let old = DescribeNode { node_id: node_id(1), epoch: 1, description };
    assert_eq!(rejected(&log.apply(Command::DescribeNode(old))), Some(RejectionKind::Conflict));
}

#[test]
fn a_second_client_cannot_take_a_node_id_over() {
    let mut log = Log::with_nodes(1);
    let mut foreign = testing::node(1).description();
    foreign.secret_id = orch_model::ids::Secret::new("another".into());
    let before = log.state.node(&node_id(1)).cloned();
    assert_eq!(rejected(&log.apply(register_node(1, foreign.clone()))), Some(RejectionKind::Forbidden));
    let describe = DescribeNode { node_id: node_id(1), epoch: 1, description: Arc::new(foreign) };
    assert_eq!(rejected(&log.apply(Command::DescribeNode(describe))), Some(RejectionKind::Forbidden));
    assert_eq!(log.state.node(&node_id(1)).cloned(), before);
}

#[test]
fn a_node_that_falls_silent_has_its_jobs_looked_at_in_the_same_entry_once() {
    let mut log = running();
    let evals = log.silence(1, 1, NodeStatus::Down);
    assert_eq!(evals.len(), 1);
    let eval = log.eval(evals[0]);
    assert_eq!((eval.trigger, eval.job_id.as_str()), (Trigger::NodeUpdate, "web"));
    assert_eq!(log.alloc(1).client_status, ClientStatus::Running, "the plan that replaces it says it is lost");
    assert!(!log.state.usage().row(&node_id(1)).unwrap().ready);
    assert_eq!(log.silence(1, 1, NodeStatus::Down), [], "it is down already");
    assert_eq!(log.silence(1, 1, NodeStatus::Disconnected), []);
    assert_eq!(log.silence(9, 1, NodeStatus::Down), [], "there is no such node");
}

#[test]
fn work_on_a_disconnected_node_is_unknown_until_its_client_speaks_again() {
    let mut log = running();
    assert_eq!(log.silence(1, 1, NodeStatus::Disconnected).len(), 1);
    assert_eq!(log.alloc(1).client_status, ClientStatus::Unknown);
    assert!(log.state.usage().row(&node_id(1)).unwrap().used.cpu > Mhz(0), "it may still run there");
    let back = log.apply(register_node(1, testing::node(1).description()));
    assert_eq!(back.changes.evals.len(), 1);
    let evals = log.report(1, ClientStatus::Running);
    assert_eq!(log.eval(evals[0]).trigger, Trigger::Reconnect);
}

#[test]
fn a_node_that_returns_frees_its_capacity_and_has_its_jobs_looked_at() {
    let mut log = running();
    log.silence(1, 1, NodeStatus::Down);
    let back = log.apply(register_node(1, testing::node(1).description()));
    assert!(back.changes.freed.contains_key(&node_id(1)));
    assert_eq!(back.changes.evals.len(), 1);
    let again = log.apply(register_node(1, testing::node(1).description()));
    assert!(again.changes.freed.is_empty() && again.changes.evals.is_empty(), "nothing changed but the session");
}

#[test]
fn capacity_comes_free_when_a_node_grows_or_becomes_eligible_but_not_when_it_shrinks() {
    let mut log = Log::with_nodes(1);
    let describe = |cpu| {
        let description = Arc::new(testing::node(1).size(cpu, 8192).description());
        Command::DescribeNode(DescribeNode { node_id: node_id(1), epoch: 1, description })
    };
    assert!(log.apply(describe(3000)).changes.freed.is_empty());
    assert!(log.apply(describe(3001)).changes.freed.contains_key(&node_id(1)));
    let eligible = |eligibility| Command::SetEligibility(SetEligibility { node_id: node_id(1), eligibility });
    assert!(log.apply(eligible(Eligibility::Ineligible)).changes.freed.is_empty());
    assert!(!log.state.usage().row(&node_id(1)).unwrap().ready);
    assert!(log.apply(describe(4000)).changes.freed.is_empty(), "nobody may use it");
    assert!(log.apply(eligible(Eligibility::Eligible)).changes.freed.contains_key(&node_id(1)));
    assert!(log.apply(eligible(Eligibility::Eligible)).changes.nodes.is_empty(), "nothing to change");
    let unknown = SetEligibility { node_id: node_id(9), eligibility: Eligibility::Eligible };
    assert_eq!(rejected(&log.apply(Command::SetEligibility(unknown))), Some(RejectionKind::NotFound));
}

#[test]
fn evaluating_a_node_looks_at_each_of_its_jobs_once() {
    let mut log = Log::with_nodes(1);
    for (job, eval) in [("web", 1), ("api", 2)] {
        log.register(testing::job(job, 2), eval);
    }
    log.place("web", 1, &[(1, 1), (2, 1)]);
    log.place("api", 2, &[(3, 1)]);
    log.report(3, ClientStatus::Complete);
    let evaluate = |node| Command::EvaluateNode(EvaluateNode { node_id: node_id(node), seed: 5 });
    let evals = evals_of(log.apply(evaluate(1)));
    assert_eq!(evals.iter().map(|id| log.eval(*id).job_id.as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!(log.eval(evals[0]).node_id, Some(node_id(1)));
    assert_eq!(rejected(&log.apply(evaluate(9))), Some(RejectionKind::NotFound));
}

#[test]
fn purging_a_node_writes_its_work_off_and_looks_at_its_jobs() {
    let mut log = running();
    let purge = || Command::PurgeNode(PurgeNode { node_id: node_id(1), seed: 3 });
    let evals = evals_of(log.apply(purge()));
    assert_eq!(log.eval(evals[0]).job_id.as_str(), "web");
    assert_eq!(log.alloc(1).client_status, ClientStatus::Lost);
    assert!(log.state.node(&node_id(1)).is_none() && log.state.usage().row(&node_id(1)).is_none());
    assert_eq!(rejected(&log.apply(purge())), Some(RejectionKind::NotFound));
    assert_eq!(log.register_node(1), 2, "verdicts about its sessions before the purge stay void");
    log.report(1, ClientStatus::Running);
    assert_eq!(log.alloc(1).client_status, ClientStatus::Lost, "what was written off never counts as running again");
}

#[test]
fn a_node_that_shrinks_takes_nothing_more_but_keeps_what_it_has() {
    let mut log = running();
    let description = Arc::new(testing::node(1).size(1500, 8192).description());
    log.apply(Command::DescribeNode(DescribeNode { node_id: node_id(1), epoch: 1, description }));
    assert_eq!(refused(&log.place("web", 2, &[(2, 1)])), [(0, orch_model::plan::Misfit::Cpu)]);
    assert_eq!(log.alloc(1).client_status, ClientStatus::Running);
}

#[test]
fn what_a_client_says_of_its_work_is_noted_with_the_node_and_is_no_change_of_it() {
    let mut log = running();
    let before = Arc::clone(log.state.node(&node_id(1)).unwrap());
    log.report(1, ClientStatus::Failed);
    let node = log.state.node(&node_id(1)).unwrap();
    assert_eq!((node.last_alloc_update, node.modify_index), (log.state.last_index(), before.modify_index));
    assert!(before.last_alloc_update < node.last_alloc_update);
    log.report(1, ClientStatus::Failed);
    assert!(log.state.node(&node_id(1)).unwrap().last_alloc_update < log.state.last_index(), "that was no news");
}

#[test]
fn nothing_is_left_of_a_node_that_was_purged_once_its_work_is_forgotten() {
    let mut log = running();
    log.apply(Command::PurgeNode(PurgeNode { node_id: node_id(1), seed: 3 }));
    assert_eq!(log.state.allocs_of_node(&node_id(1)).count(), 1);
    log.apply(deregister("web", true, 5));
    log.apply(Command::Reap(Reap { allocs: vec![alloc_id(1)], ..Reap::default() }));
    assert!(log.state.allocs_by_node.is_empty());
    let scope = crate::Scope::Node(crate::Table::Allocs, node_id(1));
    let before = log.state.scope_index(&scope);
    log.register_node(1);
    assert!(before < log.state.scope_index(&scope), "an index never goes back");
}
