//! A job that cannot be placed, and the node that it waits for.

use orch_tests::{Cluster, jobs, wait, wait_for};

use super::SOON;

#[test]
fn an_unplaceable_job_names_the_constraint_and_runs_once_a_fitting_node_joins() {
    let mut cluster = Cluster::new().servers(1).clients(2).start();
    let special = "    constraint {\n      attribute = \"${meta.kind}\"\n      value     = \"special\"\n    }\n";
    let path = cluster.write_job(&jobs::shell("picky", 1, "exec sleep 100000", special));
    let output = cluster.cli().run(["job".as_ref(), "run".as_ref(), path.as_os_str()]);
    assert_eq!(output.status, Some(2), "{output:?}");
    assert!(output.stdout.contains("${meta.kind} = special"), "{}", output.stdout);
    assert!(output.stdout.contains("2 nodes excluded by filter"), "{}", output.stdout);
    let status = cluster.cli().ok(["job", "status", "picky"]);
    assert!(status.contains("${meta.kind} = special"), "{status}");

    let mut fitting = cluster.next_client("  meta {\n    kind = \"special\"\n  }\n");
    fitting.start();
    let running = cluster.api().wait_running("picky", 1, SOON);
    assert_eq!(running[0].node_id, fitting.node_id(&cluster.api()));
    cluster.clients.push(fitting);
}

#[test]
fn a_job_that_waits_for_memory_runs_once_another_gives_it_back() {
    let cluster = Cluster::new().servers(1).clients(1).start();
    let big = |id: &str| jobs::shell(id, 1, "exec sleep 100000", "").replace("memory = 16", "memory = 6000");
    cluster.run_job(&big("first"));
    cluster.api().wait_running("first", 1, SOON);
    let path = cluster.write_job(&big("second"));
    let output = cluster.cli().run(["job".as_ref(), "run".as_ref(), path.as_os_str()]);
    assert_eq!(output.status, Some(2), "{output:?}");
    assert!(output.stdout.contains("Dimension \"memory\" exhausted on 1 node"), "{}", output.stdout);
    wait_for("one evaluation is blocked", SOON, || {
        let evals = cluster.api().get("/v1/job/second/evaluations").unwrap();
        let blocked = evals.as_array().unwrap().iter().filter(|eval| eval["Status"] == "blocked").count();
        wait::that(blocked == 1, || evals.to_string())
    });
    cluster.cli().ok(["job", "stop", "-detach", "first"]);
    cluster.api().wait_running("second", 1, SOON);
}
