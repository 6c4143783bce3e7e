//! Nodes that leave, failures on them, and the brake as operators see it.

use std::sync::Arc;

use orch_http::{Agent, AgentInfo, Consistency};
use orch_model::Nanos;
use orch_model::job::{ReschedulePolicy, UpdateStrategy};
use orch_model::node::NodeStatus;

use crate::cluster::{key, leader_of, register_job, servers, stale, wait_for, wait_for_leader};
use crate::node::{Says, TestNode};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_is_down_at_once_and_costs_the_brake_nothing() {
    let members = servers(1).await;
    let plane = members[0].plane();
    wait_for_leader(&plane).await;
    wait_for("the brake is full", || async {
        plane.brake_status().await.is_ok_and(|brake| brake.tokens >= brake.capacity)
    })
    .await;
    let mut nodes = Vec::new();
    for number in 1..=8 {
        nodes.push(TestNode::start(number, &members[0].config.rpc_advertise, |_| Says::Running).await);
    }
    let ids: Vec<_> = nodes.iter().map(|node| node.id).collect();
    wait_for("the nodes are ready", || async {
        let view = stale(&plane).await;
        ids.iter().all(|id| view.node(*id).is_some_and(|node| node.status == NodeStatus::Ready))
    })
    .await;
    for node in nodes {
        assert_eq!(node.leave().await.as_deref(), Some("the node has left"));
    }
    let view = plane.view(Consistency::Linearizable).await.unwrap();
    assert!(ids.iter().all(|id| view.node(*id).unwrap().status == NodeStatus::Down));
    let brake = plane.brake_release().await.unwrap();
    assert!(brake.held.is_empty());
    assert!(brake.tokens >= brake.capacity, "{} of {}", brake.tokens, brake.capacity);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brake_answers_through_any_server() {
    let members = servers(3).await;
    let leader = leader_of(&members).await;
    for member in &members {
        let agent = Agent {
            control: Some(member.plane()),
            local: None,
            info: AgentInfo::default(),
            metrics: None,
            parse_job: Arc::new(|_| Err("nothing is parsed here".into())),
        };
        member.server.as_ref().unwrap().set_router(orch_http::router(agent));
    }
    let plane = members[(leader + 1) % 3].plane();
    wait_for_leader(&plane).await;
    wait_for("the brake is told", || async { plane.brake_status().await.is_ok_and(|brake| brake.capacity > 0.0) })
        .await;
    assert!(plane.brake_release().await.unwrap().held.is_empty());
    let unknown = plane.remove_peer("no such & server").await.unwrap_err();
    assert!(unknown.to_string().contains("no such & server"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_that_waits_for_its_time_comes_under_a_new_leader() {
    let mut members = servers(3).await;
    let leader = leader_of(&members).await;
    let other = (leader + 1) % 3;
    let plane = members[other].plane();
    wait_for_leader(&plane).await;
    let node = TestNode::start(1, &members[other].config.rpc_advertise, |alloc| {
        if alloc.previous.is_none() { Says::Failed } else { Says::Running }
    })
    .await;
    let mut job = orch_model::testing::job("web", 1);
    job.task_groups[0].update = Some(UpdateStrategy { max_parallel: Some(0), ..UpdateStrategy::default() });
    job.task_groups[0].reschedule_policy = Some(ReschedulePolicy {
        delay: Some(Nanos::from_secs(4)),
        delay_function: "constant".into(),
        unlimited: Some(true),
        ..ReschedulePolicy::default()
    });
    register_job(&plane, job).await.unwrap();
    wait_for("an evaluation waits for its time", || async {
        stale(&plane)
            .await
            .evals_of_job(&key("web"))
            .iter()
            .any(|eval| !eval.status.is_terminal() && !eval.wait_until.is_none())
    })
    .await;
    members[leader].stop().await;
    wait_for("the replacement runs", || async {
        stale(&plane)
            .await
            .allocs_of_job(&key("web"))
            .iter()
            .any(|alloc| alloc.previous.is_some() && !alloc.is_terminal())
    })
    .await;
    let view = stale(&plane).await;
    let allocs = view.allocs_of_job(&key("web"));
    let failed = allocs.iter().find(|alloc| alloc.previous.is_none()).unwrap();
    let next = allocs.iter().find(|alloc| alloc.previous == Some(failed.id)).unwrap();
    assert_eq!(next.reschedules.len(), 1);
    let waited = next.create_time.since(failed.create_time);
    assert!(waited >= Nanos::from_secs(3), "it was placed after {waited} already");
    drop(node);
}
