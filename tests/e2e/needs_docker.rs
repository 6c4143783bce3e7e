//! Tasks of every kind side by side, with a real Docker engine.

use std::path::Path;
use std::time::Duration;

use orch_tests::api::Alloc;
use orch_tests::engine::{Engine, IMAGE};
use orch_tests::http::Connection;
use orch_tests::{Agent, Api, Cluster, Role, address, processes, wait, wait_for};

use super::{SOON, wait_no_processes};

/// Compiling a component takes its time in a debug build.
const COMPILED: Duration = Duration::from_secs(120);
/// What the page says of the three others.
const PAGE: [&str; 3] = ["store: stored by store of mixed", "cache: +PONG", "front: answered by a component"];

#[test]
fn a_container_two_binaries_and_a_component_run_as_one_job_through_restarts_and_leave_nothing() {
    let engine = Engine::start();
    // Ports of containers and of the agents are then in one network, which no other test sees.
    engine.enter_network();
    engine.docker(&["tag", IMAGE, "busybox:1.36"]);
    let cluster = Cluster::empty();
    let mut agent = cluster.agent("both", address::claim(), Role::Both, "");
    agent
        .configure(&format!("plugin \"docker\" {{\n  config {{\n    endpoint = \"{}\"\n  }}\n}}\n", engine.endpoint()));
    agent.start();
    let api = agent.api().patient(SOON);
    api.wait_nodes(1, SOON);

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/mixed.hcl");
    let text = std::fs::read_to_string(example).unwrap();
    cluster_job(&cluster, &agent, &text);
    let first = runs(&api);
    page(&api, &first);

    // Into each of them that has an inside.
    for (task, command, expected) in [
        ("store", "cat /local/www/index.html; hostname >&2; exit 3", "stored by store of mixed\n"),
        ("cache", "ls /; exit 3", "alloc\n"),
        ("page", "echo $NOMAD_TASK_NAME; exit 3", "page\n"),
    ] {
        let run =
            agent.cli().run(["alloc", "exec", "-i=false", "-t=false", "-task", task, &first.id, "sh", "-c", command]);
        assert_eq!(run.status, Some(3), "{task}: {run:?}");
        assert!(run.stdout.contains(expected), "{task}: {run:?}");
    }

    let before = containers(&engine);
    let tasks = processes::of_alloc(&first.id);
    agent.kill();
    agent.start();
    wait_for("the tasks are found again", SOON, || {
        let now = api.allocs("mixed").map_err(|error| format!("{error:#}"))?;
        wait::that(now.len() == 1 && now[0].runs() && now[0].restarts == 0, || format!("{now:?}\n{}", agent.log()))
    });
    page(&api, &first);
    assert_eq!(containers(&engine), before, "the container was replaced when the agent returned");
    assert_eq!(processes::of_alloc(&first.id), tasks, "tasks were replaced when the agent returned");

    agent.cli().ok(["alloc", "restart", &first.id]);
    wait_for("every task was started again", COMPILED, || {
        let now = api.allocs("mixed").map_err(|error| format!("{error:#}"))?;
        wait::that(now.len() == 1 && now[0].runs() && now[0].restarts == 4, || format!("{now:?}"))
    });
    page(&api, &first);

    let changed = text.replace("stored by {{", "now stored by {{");
    assert_ne!(changed, text);
    cluster_job(&cluster, &agent, &changed);
    let second = runs(&api);
    assert_ne!(second.id, first.id, "another template did not replace the allocation");
    wait_for("the page shows the change", COMPILED, || {
        let body = ask(&api, &second)?;
        wait::that(body.contains("store: now stored by store of mixed"), || body)
    });

    agent.cli().ok(["job", "stop", "-purge", "mixed"]);
    wait_no_processes(&[first, second]);
    wait_for("no container is left", SOON, || {
        let left = containers(&engine);
        wait::that(left.is_empty(), || left)
    });
    agent.cli().ok(["system", "gc"]);
    wait_for("mounts and cgroups are gone", SOON, || {
        let mounts = processes::mounts(&agent.data_dir());
        let groups = processes::cgroups(cluster.cgroup_parent());
        wait::that(mounts.is_empty() && groups.len() <= 12, || format!("{mounts:?} {groups:?}"))
    });
}

fn cluster_job(cluster: &Cluster, agent: &Agent, text: &str) {
    let file = cluster.write_job(text);
    agent.cli().ok(["job".as_ref(), "run".as_ref(), "-detach".as_ref(), file.as_os_str()]);
}

fn runs(api: &Api) -> Alloc {
    api.wait_running("mixed", 1, COMPILED).remove(0)
}

fn containers(engine: &Engine) -> String {
    engine.docker(&["ps", "-a", "-q", "--no-trunc"])
}

fn ask(api: &Api, alloc: &Alloc) -> Result<String, String> {
    let port = api.port(&alloc.id, "page").map_err(|error| format!("{error:#}"))?;
    let answer = Connection::open(port, SOON).and_then(|mut open| open.send("GET", "/", b""));
    answer.map(|answer| answer.text()).map_err(|error| format!("{error:#}"))
}

/// Waits until the page shows what the other tasks said.
#[track_caller]
fn page(api: &Api, alloc: &Alloc) {
    wait_for("the page shows the others", COMPILED, || {
        let body = ask(api, alloc)?;
        wait::that(PAGE.iter().all(|line| body.contains(line)), || body)
    });
}
