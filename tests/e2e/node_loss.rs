//! A client that stays away longer than its servers wait, and then returns.

use std::time::{Duration, Instant};

use orch_tests::api::list;
use orch_tests::{Cluster, jobs, processes, report, wait, wait_for};

use super::SOON;

/// From the loss of a node until its work runs elsewhere.
const REPLACED_WITHIN: Duration = Duration::from_secs(12);
/// What starting a task may take on a machine under load.
const START: Duration = Duration::from_secs(3);

#[test]
fn a_client_that_stays_away_is_replaced_and_runs_nothing_twice_when_it_returns() {
    let mut cluster = Cluster::new().servers(1).clients(3).start();
    let apart = "    constraint {\n      operator = \"distinct_hosts\"\n      value    = \"true\"\n    }\n";
    cluster.run_job(&jobs::shell("stay", 2, "exec sleep 100000", apart));
    let api = cluster.api();
    let before = api.wait_running("stay", 2, SOON);
    let lost = before[0].clone();
    let kept = before[1].clone();
    let kept_processes = processes::of_alloc(&kept.id);
    let away = cluster.clients.iter().position(|client| client.node_id(&api) == lost.node_id).unwrap();

    let begun = Instant::now();
    cluster.clients[away].kill();
    wait_for("the lost allocation is replaced", REPLACED_WITHIN + START, || {
        let allocs = api.allocs("stay").unwrap();
        let wanted: Vec<_> = allocs.iter().filter(|alloc| alloc.desired == "run").collect();
        let replaced = wanted.len() == 2 && wanted.iter().all(|alloc| alloc.runs() && alloc.node_id != lost.node_id);
        wait::that(replaced, || list(&allocs))
    });
    report::line(format!("a lost node's work ran elsewhere after {}", report::ms(begun.elapsed())));
    assert_eq!(api.nodes().unwrap().iter().filter(|(_, _, status)| status == "down").count(), 1);
    assert!(!processes::of_alloc(&lost.id).is_empty(), "a task ended because its agent did");

    cluster.clients[away].start();
    wait_for("the returned client ends what was replaced", SOON, || {
        let told = api.allocs("stay").unwrap();
        let old = told.iter().find(|alloc| alloc.id == lost.id).unwrap();
        assert_ne!(old.client, "running", "the superseded allocation is reported running: {old}");
        let left = processes::of_alloc(&lost.id);
        wait::that(left.is_empty() && old.client != "unknown", || format!("{left:?}\n{}", list(&told)))
    });
    api.wait_nodes(3, SOON);
    let now = api.wait_running("stay", 2, SOON);
    for alloc in &now {
        let twins = processes::of_name(&alloc.name, cluster.dir());
        assert_eq!(twins.len(), 1, "{} runs {twins:?}", alloc.name);
    }
    assert_eq!(processes::of_alloc(&kept.id), kept_processes, "another client on this host was disturbed");
}

#[test]
fn a_client_that_lost_its_data_leaves_the_tasks_of_its_neighbours_alone() {
    let mut cluster = Cluster::new().servers(1).clients(2).start();
    let apart = "    constraint {\n      operator = \"distinct_hosts\"\n      value    = \"true\"\n    }\n";
    cluster.run_job(&jobs::shell("pair", 2, "exec sleep 100000", apart));
    let api = cluster.api();
    let before = api.wait_running("pair", 2, SOON);
    let old_node = cluster.clients[0].node_id(&api);
    let neighbour = before.iter().find(|alloc| alloc.node_id != old_node).unwrap().clone();
    let processes_there = processes::of_alloc(&neighbour.id);

    // Its sockets and cgroups still stand beside the neighbour's; only its directory is gone.
    cluster.clients[0].kill();
    processes::unmount(&cluster.clients[0].data_dir()).unwrap();
    std::fs::remove_dir_all(cluster.clients[0].data_dir()).unwrap();
    cluster.clients[0].start();
    wait_for("the client is a new node", SOON, || {
        let nodes = api.nodes().unwrap();
        let name = &cluster.clients[0].name;
        let new = nodes.iter().any(|(n, id, status)| n == name && *id != old_node && status == "ready");
        wait::that(new, || format!("{nodes:?}"))
    });
    // The new node takes over once the servers miss the old one.
    wait_for("the work of the lost node runs on the new one", SOON, || {
        let wanted: Vec<_> = api.allocs("pair").unwrap().into_iter().filter(|alloc| alloc.desired == "run").collect();
        let moved = wanted.len() == 2 && wanted.iter().all(|alloc| alloc.runs() && alloc.node_id != old_node);
        wait::that(moved, || list(&wanted))
    });
    assert_eq!(processes::of_alloc(&neighbour.id), processes_there);
}
