//! Development agents: what they start ends with them.

use std::fs;
use std::time::{Duration, Instant};

use orch_tests::{Agent, Cluster, jobs, processes, wait, wait_for};

use super::SOON;

/// How long the supervisor of a killed development agent waits.
const GRACE: Duration = Duration::from_secs(5);

#[test]
fn a_dev_agent_that_is_stopped_ends_its_tasks_and_removes_its_data() {
    let cluster = Cluster::empty();
    let mut dev = with_a_task(&cluster);
    let status = dev.terminate();
    assert!(status.success(), "the agent ended with {status}\n{}", dev.log());
    let left = processes::of_directory(&dev.dir);
    assert!(left.is_empty(), "these are left: {left:?}");
    assert_eq!(scratch(&dev), Vec::<String>::new(), "its data is left");
    assert_eq!(processes::cgroups(cluster.cgroup_parent()).len(), 0, "its cgroups are left");
}

#[test]
fn the_supervisor_of_a_killed_dev_agent_ends_its_tasks_after_five_seconds() {
    let cluster = Cluster::empty();
    let mut dev = with_a_task(&cluster);
    dev.kill();
    let begun = Instant::now();
    wait_for("nothing of the agent is left", GRACE + Duration::from_secs(10), || {
        let left = processes::of_directory(&dev.dir);
        wait::that(left.is_empty() && scratch(&dev).is_empty(), || format!("{left:?} {:?}", scratch(&dev)))
    });
    assert!(begun.elapsed() >= GRACE.mul_f32(0.8), "the tasks ended after only {:?}", begun.elapsed());
}

#[test]
fn a_dev_agent_with_a_data_directory_keeps_its_tasks_and_state() {
    let cluster = Cluster::empty();
    let mut agent = cluster.agent("both", orch_tests::address::claim(), orch_tests::Role::Both, "");
    agent.start();
    agent.api().wait_nodes(1, SOON);
    agent.api().register(&jobs::sleeper("kept")).unwrap();
    let before = agent.api().wait_running("kept", 1, SOON);
    let task = processes::of_alloc(&before[0].id);
    agent.terminate();
    assert_eq!(processes::of_alloc(&before[0].id), task);

    // The same directory under -dev: a normal agent, which ends nothing.
    let data = format!("-data-dir={}", agent.data_dir().display());
    let mut command = agent.command();
    let log = fs::File::create(agent.dir.join("dev.log")).unwrap();
    let mut dev = command.args(["-dev", &data]).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    wait_for("the job of before runs", SOON, || {
        let allocs = agent.api().allocs("kept").map_err(|error| {
            format!("{error:#}\n{}", fs::read_to_string(agent.dir.join("dev.log")).unwrap_or_default())
        })?;
        wait::that(allocs == before, || format!("{allocs:?}"))
    });
    assert_eq!(processes::of_alloc(&before[0].id), task);
    processes::signal(i32::try_from(dev.id()).unwrap(), nix::sys::signal::Signal::SIGTERM);
    assert!(dev.wait().unwrap().success());
    assert_eq!(processes::of_alloc(&before[0].id), task, "it ended its tasks");
    assert!(agent.data_dir().join("server").is_dir(), "it removed its data");
}

fn with_a_task(cluster: &Cluster) -> Agent {
    let dev = cluster.dev();
    dev.api().register(&jobs::sleeper("sleep")).unwrap();
    let running = dev.api().wait_running("sleep", 1, SOON);
    assert_eq!(processes::of_alloc(&running[0].id).len(), 1);
    assert_ne!(scratch(&dev), Vec::<String>::new(), "a development agent keeps its data elsewhere");
    dev
}

/// What is in the directory in which the agent makes its own.
fn scratch(dev: &Agent) -> Vec<String> {
    let entries = fs::read_dir(dev.dir.join("tmp")).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
