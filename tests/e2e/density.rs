//! A thousand tasks on one node.

use std::time::Duration;

use orch_tests::{Cluster, jobs, processes, report, wait, wait_for};
use serde_json::{Value, json};

use super::{SOON, wait_no_processes};

const TASKS: usize = 1000;
/// A debug build on a machine under load takes its time for so many.
const LONG: Duration = Duration::from_secs(240);

#[test]
fn a_thousand_tasks_run_on_one_node_are_listed_and_logged_and_leave_nothing() {
    let cluster = Cluster::new().servers(1).clients(1).client_hcl(jobs::ROOMY).start();
    let api = cluster.api().patient(SOON);
    // The supervisor comes with the first task.
    api.register(&jobs::sleepers("first", 1)).unwrap();
    api.wait_running("first", 1, SOON);
    let client = &cluster.clients[0];
    let supervisor = client.supervisor().unwrap();
    let private = || [client.pid(), supervisor].map(|pid| processes::private_kib(pid).unwrap());
    let groups = || processes::cgroups(cluster.cgroup_parent()).len();
    let (memory_before, groups_before) = (private(), groups());

    let mut many = jobs::sleepers("many", TASKS);
    let script = "echo I am $NOMAD_ALLOC_INDEX; exec sleep 100000";
    many["TaskGroups"][0]["Tasks"][0]["Config"] = json!({ "command": "/bin/sh", "args": ["-c", script] });
    api.register(&many).unwrap();
    let allocs = api.wait_running("many", TASKS, LONG);
    let [agent, own] =
        private().into_iter().zip(memory_before).map(|(now, before)| now - before).collect::<Vec<_>>()[..]
    else {
        unreachable!("two processes were measured")
    };
    let each = u64::try_from(TASKS).unwrap();
    report::line(format!("private memory per task: agent {} KiB, supervisor {} KiB", agent / each, own / each));

    let running =
        || processes::of_directory(&client.data_dir()).into_iter().filter(|one| one.command.contains("100000"));
    assert_eq!(running().count(), TASKS + 1, "not every task is one process");
    assert!(groups() >= groups_before + TASKS, "the tasks have no cgroups");
    for alloc in allocs.iter().step_by(97) {
        let index = alloc.name.split(['[', ']']).nth(1).unwrap();
        wait_for("the task has said who it is", SOON, || {
            let log = api.stdout(&alloc.id, "main").map_err(|error| format!("{error:#}"))?;
            wait::that(log == format!("I am {index}\n"), || log)
        });
    }

    api.send("DELETE", "/v1/job/many", &Value::Null).unwrap();
    wait_for("all have ended", LONG, || {
        let allocs = api.allocs("many").map_err(|error| format!("{error:#}"))?;
        let left = allocs.iter().filter(|alloc| alloc.client != "complete").count();
        wait::that(left == 0, || format!("{left} allocations have not ended"))
    });
    wait_no_processes(&allocs[..10]);
    assert_eq!(running().count(), 1, "tasks of the stopped job run");
    wait_for("the cgroups are gone", SOON, || {
        wait::that(groups() <= groups_before, || format!("{} are left", groups()))
    });
    let mounts = processes::mounts(&client.data_dir());
    assert!(mounts.len() <= 1, "mounts of ended tasks are left: {mounts:?}");
}
