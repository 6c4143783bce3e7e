//! A cluster is formed once, by exactly those that expect each other.

use std::sync::Arc;

use orch_http::Consistency;
use tempfile::TempDir;

use crate::cluster::{Member, config, own_address, register, servers, wait_for, wait_for_leader};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_server_alone_forms_a_cluster_and_writes() {
    let members = servers(1).await;
    wait_for_leader(&members[0].plane()).await;
    let written = register(&members[0].plane(), "a", 1).await.unwrap();
    let view = members[0].plane().view(Consistency::Linearizable).await.unwrap();
    assert_eq!(view.jobs(None, "").len(), 1);
    assert!(written.index.0 > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_servers_form_one_cluster_and_all_see_a_write() {
    let members = servers(3).await;
    for member in &members {
        wait_for_leader(&member.plane()).await;
    }
    register(&members[1].plane(), "a", 1).await.unwrap();
    for member in &members {
        let view = member.plane().view(Consistency::Linearizable).await.unwrap();
        assert_eq!(view.jobs(None, "").len(), 1, "a linearizable read on any server shows the write");
        assert_eq!(member.plane().peers().await.unwrap().len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blank_server_joins_and_becomes_a_voter() {
    let members = servers(1).await;
    wait_for_leader(&members[0].plane()).await;
    register(&members[0].plane(), "a", 1).await.unwrap();
    let addr = own_address();
    let dir = Arc::new(TempDir::new().unwrap());
    let joiner = Member::start(config("joiner", addr, dir.path(), 0, &[members[0].config.rpc_bind]), dir).await;
    wait_for("the joiner votes", || async {
        let raft = members[0].plane().raft_configuration(Consistency::Stale).await.unwrap();
        raft.servers.len() == 2 && raft.servers.iter().all(|server| server.voter)
    })
    .await;
    let view = joiner.plane().view(Consistency::Linearizable).await.unwrap();
    assert_eq!(view.jobs(None, "").len(), 1);
}
