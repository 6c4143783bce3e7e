//! Committing plans: what fits, what is stale, what comes twice.

use orch_model::allocation::{DesiredStatus, StopReason};
use orch_model::plan::{InPlaceUpdate, Misfit, Stop};

use super::*;

fn stop(id: u128, reason: StopReason) -> Stop {
    Stop { alloc_id: alloc_id(id), reason, client_status: None }
}

#[test]
fn a_plan_is_committed_but_for_what_does_not_fit() {
    let mut log = Log::with_nodes(2);
    log.register(testing::job("web", 6), 1);
    let result = log.place("web", 1, &[(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (7, 3)]);
    assert_eq!(refused(&result), [(4, Misfit::Cpu), (6, Misfit::NodeGone)]);
    assert_eq!(log.state.allocs_of_job(&key("web")).count(), 5);
    assert_eq!(log.state.usage().row(&node_id(1)).unwrap().used.cpu, Mhz(4000));
    let alloc = log.alloc(6);
    assert_eq!((alloc.name().as_str(), alloc.client_status), ("web.web[5]", ClientStatus::Pending));
    assert_eq!(alloc.alloc_modify_index, StateIndex(log.index));
}

#[test]
fn each_reason_that_something_does_not_fit_is_named() {
    let mut log = Log::with_nodes(3);
    let mut few = testing::node(4).description();
    few.max_allocs = 1;
    few.reserved.ports = "22,8000-8999".parse().unwrap();
    log.apply(register_node(4, few));
    log.silence(3, 1, NodeStatus::Down);
    log.register(testing::job("web", 9), 1);
    let sized = |id, memory, disk| {
        let mut placed = placement(id, 0, 1);
        placed.usage = Usage { cpu: Mhz(1), memory: MebiBytes(memory), disk: MebiBytes(disk) };
        placed
    };
    let on_port =
        |id, node, value| Placement { ports: [port(node, value)].into_iter().collect(), ..placement(id, 0, node) };
    let twice = Placement { ports: [port(2, 7000), port(2, 7000)].into_iter().collect(), ..placement(9, 0, 2) };
    let mut plan = log.plan("web", 1);
    plan.placements = vec![
        sized(1, 8193, 1),
        sized(2, 1, 100_001),
        placement(3, 0, 3),
        on_port(4, 2, 80),
        on_port(5, 2, 80),
        on_port(6, 4, 8080),
        placement(7, 0, 4),
        placement(8, 0, 4),
        placement(7, 0, 2),
        twice,
    ];
    let reasons = refused(&log.commit(plan));
    assert_eq!(
        reasons,
        [
            (0, Misfit::Memory),
            (1, Misfit::Disk),
            (2, Misfit::NodeNotReady),
            (4, Misfit::Port(80)),
            (5, Misfit::Port(8080)),
            (7, Misfit::MaxAllocs),
            (8, Misfit::IdTaken),
            (9, Misfit::Port(7000)),
        ]
    );
}

#[test]
fn a_plan_delivered_twice_places_once_and_is_answered_as_the_first_time() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 5), 1);
    let mut plan = log.plan("web", 1);
    plan.placements = (1..=5).map(|id| placement(id, 0, 1)).collect();
    let first = log.commit(plan.clone());
    assert_eq!(refused(&first), [(4, Misfit::Cpu)]);
    assert_eq!(log.commit_all(vec![plan.clone(), plan.clone()]), [first.clone(), first]);
    log.place("web", 2, &[]);
    let mut other = log.plan("web", 3);
    other.stops = vec![stop(1, StopReason::NotNeeded)];
    log.commit(other);
    assert!(is_stale(&log.commit(plan)), "another plan came between");
    assert_eq!(log.state.alloc_count(), 4);
}

#[test]
fn another_attempt_that_drew_the_same_id_is_not_taken_for_the_first() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 2), 1);
    log.place("web", 1, &[(1, 1)]);
    let second = log.place("web", 1, &[(2, 1)]);
    assert_eq!(refused(&second), []);
    assert_eq!(log.state.alloc_count(), 2);
    // The same where the first attempt found nothing to do and left a blocked evaluation.
    log.register(testing::job("api", 1), 2);
    let empty = log.plan("api", 2);
    log.commit(empty);
    assert_eq!(refused(&log.place("api", 2, &[(3, 1)])), []);
    assert!(log.state.alloc(&alloc_id(3)).is_some());
}

#[test]
fn a_plan_made_before_the_job_was_decided_anew_is_stale() {
    let changes: [fn(&mut Log); 5] = [
        |log| drop(log.register(testing::job("web", 3), 2)),
        |log| drop(log.apply(deregister("web", false, 2))),
        |log| drop(log.apply(deregister("web", true, 2))),
        |log| drop(log.place("web", 5, &[(5, 1)])),
        |log| {
            log.apply(deregister("web", true, 2));
            log.register(testing::job("web", 2), 3);
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut log = Log::with_nodes(1);
        log.register(testing::job("web", 2), 1);
        let mut plan = log.plan("web", 1);
        plan.placements = vec![placement(1, 0, 1)];
        let mut done = (**log.eval(eval_id(1))).clone();
        done.status = EvalStatus::Complete;
        plan.when_whole = vec![done];
        change(&mut log);
        assert!(is_stale(&log.commit(plan)), "change {number}");
        assert!(log.state.alloc(&alloc_id(1)).is_none());
        assert_eq!(log.eval(eval_id(1)).status, EvalStatus::Pending);
    }
}

#[test]
fn what_clients_say_does_not_make_plans_stale_but_stopping_an_allocation_does() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 3), 1);
    log.place("web", 1, &[(1, 1)]);
    let before = log.row("web").placed_index;
    log.report(1, ClientStatus::Running);
    log.silence(1, 1, NodeStatus::Disconnected);
    assert_eq!(log.row("web").placed_index, before);
    log.apply(Command::StopAlloc(StopAlloc { alloc_id: alloc_id(1), no_shutdown_delay: false, eval_id: eval_id(2) }));
    assert!(log.row("web").placed_index > before);
}

#[test]
fn evaluations_are_written_only_with_a_whole_plan() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 5), 1);
    let mut done = (**log.eval(eval_id(1))).clone();
    done.status = EvalStatus::Complete;
    let mut plan = log.plan("web", 1);
    plan.when_whole = vec![done, pending_eval(7, "web")];
    plan.placements = (1..=5).map(|id| placement(id, 0, 1)).collect();
    log.commit(plan.clone());
    assert_eq!(log.eval(eval_id(1)).status, EvalStatus::Pending);
    let mut rest = Plan { id: PlanId::from_uuid(Uuid::from_u128(2)), ..plan };
    rest.placed_index = log.row("web").placed_index;
    rest.placements.clear();
    log.commit(rest);
    assert_eq!(log.eval(eval_id(1)).status, EvalStatus::Complete);
    assert_eq!(log.eval(eval_id(7)).status, EvalStatus::Pending);
}

#[test]
fn an_all_at_once_plan_is_committed_whole_or_not_at_all() {
    let mut log = Log::with_nodes(2);
    log.register(testing::job("web", 5), 1);
    let mut plan = log.plan("web", 1);
    plan.all_at_once = true;
    plan.placements = (1..=5).map(|id| placement(id, 0, 1)).collect();
    let result = log.commit(plan);
    assert_eq!(refused(&result), [(4, Misfit::Cpu)]);
    assert_eq!(log.state.alloc_count(), 0);
    assert_eq!(log.state.usage().row(&node_id(1)).unwrap().used, Usage::default());
    let mut plan = log.plan("web", 2);
    plan.all_at_once = true;
    plan.placements = (1..=5).map(|id| placement(id, 0, if id == 5 { 2 } else { 1 })).collect();
    assert_eq!(refused(&log.commit(plan)), []);
    assert_eq!(log.state.alloc_count(), 5);
}

/// A full node whose one allocation holds port 8080.
fn full_node() -> Log {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 1), 1);
    let mut plan = log.plan("web", 1);
    let mut placed = placement(1, 0, 1);
    placed.usage.cpu = Mhz(4000);
    placed.ports.push(port(1, 8080));
    plan.placements = vec![placed];
    assert_eq!(refused(&log.commit(plan)), []);
    log.report(1, ClientStatus::Running);
    log
}

/// The plan that replaces allocation `old` by `new`, which asks for as much.
fn replacing(log: &Log, plan: u128, old: u128, new: u128) -> Plan {
    let mut plan = log.plan("web", plan);
    let mut placed = placement(new, 0, 1);
    placed.usage.cpu = Mhz(4000);
    placed.ports.push(port(1, 8080));
    placed.previous = Some(alloc_id(old));
    plan.placements = vec![placed];
    plan.stops = vec![stop(old, StopReason::Updated)];
    plan
}

#[test]
fn a_successor_on_a_full_node_takes_over_what_its_predecessor_holds() {
    let mut log = full_node();
    let plan = replacing(&log, 2, 1, 2);
    assert_eq!(refused(&log.commit(plan)), []);
    let (old, new) = (log.alloc(1), log.alloc(2));
    assert!(old.handed_over && !old.holds_resources() && new.holds_resources());
    assert_eq!((old.desired, old.next), (DesiredStatus::Stop, Some(new.id)));
    let row = log.state.usage().row(&node_id(1)).unwrap();
    assert_eq!((row.used.cpu, row.allocs, row.ports.count(port(1, 0).address, 8080)), (Mhz(4000), 1, 1));
    let ended = log.apply(report(1, node_id(1), ClientStatus::Complete));
    assert!(ended.changes.freed.is_empty(), "its successor holds everything");
    assert_eq!(log.state.usage().row(&node_id(1)).unwrap().used.cpu, Mhz(4000));
}

#[test]
fn what_was_handed_over_counts_again_when_the_successor_ends_first() {
    let mut log = full_node();
    let plan = replacing(&log, 2, 1, 2);
    log.commit(plan);
    let mut other = log.plan("web", 3);
    other.placements = vec![Placement { usage: Usage::default(), previous: Some(alloc_id(1)), ..placement(3, 0, 1) }];
    log.commit(other);
    log.report(3, ClientStatus::Failed);
    assert!(log.alloc(1).handed_over, "it was handed over to another");
    log.report(2, ClientStatus::Failed);
    assert!(log.alloc(1).holds_resources(), "its client has not said that it has ended");
    assert_eq!(log.state.usage().row(&node_id(1)).unwrap().used.cpu, Mhz(4000));
    assert_eq!(refused(&log.place("web", 4, &[(4, 1)])), [(0, Misfit::Cpu)]);
    log.report(1, ClientStatus::Complete);
    assert_eq!(log.state.usage().row(&node_id(1)).unwrap().used.cpu, Mhz(0));
}

#[test]
fn what_was_handed_over_once_is_not_handed_over_again() {
    let mut log = full_node();
    let plan = replacing(&log, 2, 1, 2);
    log.commit(plan);
    let plan = replacing(&log, 3, 1, 3);
    assert_eq!(refused(&log.commit(plan)), [(0, Misfit::Cpu)]);
    let mut small = log.plan("web", 4);
    let nothing = Placement { usage: Usage::default(), previous: Some(alloc_id(1)), ..placement(4, 0, 1) };
    small.placements = vec![nothing];
    assert_eq!(refused(&log.commit(small)), []);
    assert!(log.alloc(1).handed_over, "it stays with the first successor");
}

#[test]
fn a_live_allocation_hands_nothing_over() {
    let mut log = full_node();
    let mut plan = replacing(&log, 2, 1, 2);
    plan.stops.clear();
    assert_eq!(refused(&log.commit(plan)), [(0, Misfit::Cpu)]);
    assert!(!log.alloc(1).handed_over);
}

#[test]
fn a_port_that_others_hold_too_is_not_had_by_taking_over() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 2), 1);
    let mut plan = log.plan("web", 1);
    let shared = AllocPort { ignore_collision: true, ..port(1, 8080) };
    plan.placements = vec![placement(1, 0, 1), placement(2, 1, 1)];
    plan.placements[0].ports.push(shared);
    plan.placements[1].ports.push(shared);
    assert_eq!(refused(&log.commit(plan)), []);
    let mut plan = replacing(&log, 2, 1, 3);
    plan.placements[0].usage.cpu = Mhz(1);
    assert_eq!(refused(&log.commit(plan)), [(0, Misfit::Port(8080))]);
}

#[test]
fn a_plan_changes_no_other_job() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 1), 1);
    log.register(testing::job("api", 1), 2);
    log.place("api", 1, &[(1, 1)]);
    let mut plan = log.plan("web", 2);
    plan.stops = vec![stop(1, StopReason::NotNeeded)];
    plan.in_place = vec![InPlaceUpdate { alloc_id: alloc_id(1), group: 0, deployment: None }];
    log.commit(plan);
    assert_eq!((log.alloc(1).desired, log.alloc(1).job.id.as_str()), (DesiredStatus::Run, "api"));
}

#[test]
fn an_allocation_goes_on_under_a_new_version_as_it_runs() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 1), 1);
    log.place("web", 1, &[(1, 1)]);
    log.report(1, ClientStatus::Running);
    log.register(testing::job("web", 2), 2);
    let mut plan = log.plan("web", 2);
    plan.in_place = vec![InPlaceUpdate { alloc_id: alloc_id(1), group: 0, deployment: None }];
    let entry = ApplyPlans { plans: vec![plan] };
    let applied = log.apply(Command::ApplyPlans(entry));
    assert_eq!((log.alloc(1).job.version, log.alloc(1).client_status), (1, ClientStatus::Running));
    assert!(applied.changes.nodes_to_tell.contains(&node_id(1)));
}

#[test]
fn work_is_called_lost_only_while_its_node_is_out_of_contact() {
    let mut log = full_node();
    let mut plan = log.plan("web", 2);
    plan.stops = vec![Stop { client_status: Some(ClientStatus::Lost), ..stop(1, StopReason::Lost) }];
    log.silence(1, 1, NodeStatus::Down);
    log.register_node(1);
    log.commit(plan);
    let alloc = log.alloc(1);
    assert_eq!((alloc.desired, alloc.client_status), (DesiredStatus::Stop, ClientStatus::Running));
    assert!(alloc.holds_resources(), "its client came back and still has to end it");
    log.silence(1, 2, NodeStatus::Down);
    let mut plan = log.plan("web", 3);
    plan.stops = vec![Stop { client_status: Some(ClientStatus::Lost), ..stop(1, StopReason::Lost) }];
    let applied = log.apply(Command::ApplyPlans(ApplyPlans { plans: vec![plan] }));
    assert_eq!(log.alloc(1).client_status, ClientStatus::Lost);
    assert!(applied.changes.freed.contains_key(&node_id(1)));
}
