//! A server whose state went its own way leaves, and comes back with the leader's.

use std::time::Duration;

use futures::StreamExt;
use orch_http::Consistency;
use orch_model::{EvalId, NodeId, Timestamp};
use orch_state::commands::EvaluateJob;
use orch_state::{CHECKPOINT_EVERY, Command, Entry, RULES, apply};
use uuid::Uuid;

use crate::cluster::{key, leader_of, register, servers_with, wait_for, wait_for_leader};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_went_its_own_way_leaves_and_comes_back_with_the_leaders_state() {
    let mut members = servers_with(3, |config| config.raft.snapshot_threshold = 4096).await;
    let leader = leader_of(&members).await;
    let strays = (leader + 1) % 3;
    wait_for_leader(&members[strays].plane()).await;
    let written = register(&members[strays].plane(), "a", 1).await.unwrap();
    let plane = members[strays].plane();
    wait_for("nothing is under way", || {
        let plane = plane.clone();
        async move {
            let view = crate::cluster::stale(&plane).await;
            view.eval(written.eval_id.unwrap()).is_some_and(|eval| eval.status.is_terminal())
        }
    })
    .await;

    // An evaluation that is in no log: as a bug in `apply`, or a bit that flipped in memory.
    let only_here = EvalId::from_uuid(Uuid::new_v4());
    let store = members[strays].server.as_ref().unwrap().store();
    let mut state = (*store.snapshot()).clone();
    let command = Command::EvaluateJob(EvaluateJob { job: key("a"), eval_id: only_here });
    let entry = Entry { rules: RULES, stamp: Timestamp(0), command };
    let changes = apply(&mut state, store.applied(), &entry).changes;
    store.publish(state, store.applied(), changes);
    assert!(plane.view(Consistency::Stale).await.unwrap().eval(only_here).is_some());
    let old_id = id_of(&members[leader], &members[strays].config.rpc_advertise).await.unwrap();

    // Entries that change nothing, up to the next checkpoint.
    let asking = members[leader].plane();
    futures::stream::iter(0..CHECKPOINT_EVERY)
        .for_each_concurrent(256, |_| async {
            let unknown = asking.evaluate_node(NodeId::from_uuid(Uuid::new_v4())).await;
            assert!(unknown.is_err());
        })
        .await;

    let failed = members[strays].server.as_ref().unwrap().failed();
    tokio::time::timeout(Duration::from_secs(60), failed).await.expect("the divergence is found");
    drop(plane);
    members[strays].stop().await;
    assert_eq!(id_of(&members[leader], &members[strays].config.rpc_advertise).await, None, "the old member is gone");
    members[strays].restart().await;
    wait_for("the server votes again", || async {
        let raft = members[leader].plane().raft_configuration(Consistency::Stale).await.unwrap();
        raft.servers.len() == 3 && raft.servers.iter().all(|server| server.voter)
    })
    .await;
    let new_id = id_of(&members[leader], &members[strays].config.rpc_advertise).await.unwrap();
    assert_ne!(new_id, old_id);
    let view = members[strays].plane().view(Consistency::Linearizable).await.unwrap();
    assert!(view.eval(only_here).is_none() && view.job(&key("a")).is_some());
    let aside = std::fs::read_dir(&members[strays].config.data_dir).unwrap();
    let aside =
        aside.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("raft.diverged-"));
    assert_eq!(aside.count(), 1, "the old log is kept");
}

/// The raft id of the server at `addr`.
async fn id_of(member: &crate::cluster::Member, addr: &str) -> Option<String> {
    let raft = member.plane().raft_configuration(Consistency::Stale).await.unwrap();
    raft.servers.into_iter().find(|server| server.address == addr).map(|server| server.id)
}
