//! Three servers, three clients, and tasks that outlive whatever started them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::Signal;
use orch_tests::api::Alloc;
use orch_tests::http::Connection;
use orch_tests::{Agent, Cluster, jobs, processes, wait, wait_for};

use super::{SOON, wait_no_processes};

const SERVERS: usize = 20;
/// One counting task on each client.
const ON_EACH_CLIENT: &str =
    "    constraint {\n      operator = \"distinct_hosts\"\n      value    = \"true\"\n    }\n";

#[test]
fn twenty_web_servers_outlive_tasks_agents_and_supervisors_that_are_killed() {
    let mut cluster = Cluster::new().servers(3).clients(3).start();
    cluster.run_job(&jobs::web("web", SERVERS));
    cluster.run_job(&jobs::shell("count", 3, jobs::COUNTING, ON_EACH_CLIENT));
    let web = cluster.api().wait_running("web", SERVERS, SOON);
    let counting = cluster.api().wait_running("count", 3, SOON);
    let ports = all_answer(&cluster, &web);

    a_killed_task_is_started_again(&cluster, &web[0]);
    a_killed_agent_finds_its_tasks_again(&mut cluster, &counting);
    a_terminated_agent_finds_its_tasks_again(&mut cluster, &counting);
    the_loss_of_a_supervisor_ends_no_task(&cluster, &counting);
    every_server_shows_logs_and_files(&cluster, &counting);
    all_answer(&cluster, &web);
    stopping_and_purging_gives_everything_back(&cluster, &web, &counting, &ports);
}

/// Every allocation answers on a port of its own.
#[track_caller]
fn all_answer(cluster: &Cluster, allocs: &[Alloc]) -> BTreeSet<SocketAddr> {
    let ports: BTreeSet<SocketAddr> =
        allocs.iter().map(|alloc| cluster.api().port(&alloc.id, "http").unwrap()).collect();
    assert_eq!(ports.len(), allocs.len(), "two allocations share a port: {ports:?}");
    let homes: BTreeSet<_> = ports.iter().map(SocketAddr::ip).collect();
    assert!(cluster.clients.iter().all(|client| homes.contains(&client.ip.into())), "a client has none: {homes:?}");
    for port in &ports {
        wait_for(&format!("a web server answers on {port}"), SOON, || answers(*port));
    }
    ports
}

fn answers(port: SocketAddr) -> Result<(), String> {
    let answer = Connection::open(port, Duration::from_secs(5)).and_then(|mut open| open.send("GET", "/", b""));
    let answer = answer.map_err(|error| format!("{error:#}"))?;
    wait::that(answer.status == 200, || format!("{} {}", answer.status, answer.text()))
}

fn a_killed_task_is_started_again(cluster: &Cluster, alloc: &Alloc) {
    let old = only_process(alloc);
    processes::signal(old, Signal::SIGKILL);
    wait_for("the task runs again", SOON, || {
        let now = cluster.api().allocs("web").unwrap().into_iter().find(|now| now.id == alloc.id).unwrap();
        wait::that(now.restarts == 1 && now.runs(), || now.to_string())
    });
    assert_ne!(only_process(alloc), old);
    let port = cluster.api().port(&alloc.id, "http").unwrap();
    wait_for("the restarted web server answers", SOON, || answers(port));
    let told = cluster.api().get(&format!("/v1/allocation/{}", alloc.id)).unwrap();
    let events = told["TaskStates"]["server"]["Events"].as_array().unwrap();
    let terminated = events.iter().find(|event| event["Type"] == "Terminated").expect("an event tells of the end");
    assert_eq!(terminated["Signal"], 9, "{terminated}");
    assert!(events.iter().any(|event| event["Type"] == "Restarting"), "{events:?}");
}

fn a_killed_agent_finds_its_tasks_again(cluster: &mut Cluster, counting: &[Alloc]) {
    let api = cluster.api();
    let client = &mut cluster.clients[0];
    let before = Before::of(client, counting, &api);
    client.kill();
    before.the_task_goes_on_counting();
    client.start();
    before.all_is_as_it_was(client, &api);
}

fn a_terminated_agent_finds_its_tasks_again(cluster: &mut Cluster, counting: &[Alloc]) {
    let api = cluster.api();
    let client = &mut cluster.clients[2];
    let before = Before::of(client, counting, &api);
    let status = client.terminate();
    assert!(status.success(), "the agent ended with {status}\n{}", client.log());
    before.the_task_goes_on_counting();
    client.start();
    before.all_is_as_it_was(client, &api);
}

fn the_loss_of_a_supervisor_ends_no_task(cluster: &Cluster, counting: &[Alloc]) {
    let api = cluster.api();
    let client = &cluster.clients[1];
    let before = Before::of(client, counting, &api);
    let old = client.supervisor().expect("a client with tasks has a supervisor");
    processes::signal(old, Signal::SIGKILL);
    before.the_task_goes_on_counting();

    let here = format!(
        "    constraint {{\n      attribute = \"${{node.unique.name}}\"\n      value     = \"{}\"\n    }}\n",
        client.name
    );
    cluster.run_job(&jobs::shell("later", 1, "exec sleep 100000", &here));
    let later = api.wait_running("later", 1, SOON);
    wait_for("there is a new supervisor", SOON, || {
        let new = client.supervisor();
        wait::that(new.is_some_and(|new| new != old), || format!("{new:?}, the old one was {old}"))
    });
    before.all_is_as_it_was(client, &api);

    // A task that was adopted is restarted like any other.
    processes::signal(only_process(&before.counting), Signal::SIGKILL);
    wait_for("the adopted task runs again", SOON, || {
        let now = api.allocs("count").unwrap().into_iter().find(|now| now.id == before.counting.id).unwrap();
        wait::that(now.restarts == 1 && now.runs(), || now.to_string())
    });
    cluster.cli().ok(["job", "stop", "-detach", "-purge", "later"]);
    wait_no_processes(&later);
}

fn every_server_shows_logs_and_files(cluster: &Cluster, counting: &[Alloc]) {
    for agent in cluster.servers.iter().chain(&cluster.clients) {
        for alloc in counting {
            let text = agent.cli().ok(["alloc", "logs", &alloc.id]);
            assert!(text.starts_with("line 0\nline 1\n"), "{} shows {text:.100}", agent.name);
            let files = agent.cli().ok(["alloc", "fs", &alloc.id, "alloc/logs"]);
            assert!(files.contains("main.stdout.0"), "{} shows {files}", agent.name);
        }
    }
}

fn stopping_and_purging_gives_everything_back(
    cluster: &Cluster,
    web: &[Alloc],
    counting: &[Alloc],
    ports: &BTreeSet<SocketAddr>,
) {
    cluster.cli().ok(["job", "stop", "-detach", "web"]);
    wait_no_processes(web);
    cluster.cli().ok(["job", "stop", "-detach", "-purge", "web"]);
    cluster.cli().ok(["job", "stop", "-detach", "-purge", "count"]);
    wait_no_processes(counting);
    for port in ports {
        let refused = std::net::TcpListener::bind(port);
        assert!(refused.is_ok(), "{port} is not free: {refused:?}");
    }
    cluster.cli().ok(["system", "gc"]);
    wait_for("no job, allocation, directory or cgroup is left", SOON, || {
        let jobs = cluster.api().get("/v1/jobs").unwrap();
        let allocs = cluster.api().get("/v1/allocations").unwrap();
        let directories: Vec<_> = cluster
            .clients
            .iter()
            .flat_map(|client| fs::read_dir(client.data_dir().join("alloc")).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .collect();
        let groups: Vec<_> = processes::cgroups(cluster.cgroup_parent())
            .into_iter()
            .filter(|group| group.file_name().is_some_and(|name| is_of(&name.to_string_lossy(), web, counting)))
            .collect();
        let nothing = jobs.as_array().is_some_and(Vec::is_empty)
            && allocs.as_array().is_some_and(Vec::is_empty)
            && directories.is_empty()
            && groups.is_empty();
        wait::that(nothing, || format!("{jobs}\n{allocs}\n{directories:?}\n{groups:?}"))
    });
}

fn is_of(group: &str, web: &[Alloc], counting: &[Alloc]) -> bool {
    web.iter().chain(counting).any(|alloc| group.contains(&alloc.id))
}

/// What ran on a client before something happened to it.
struct Before {
    /// Every allocation on the client, with its processes.
    processes: BTreeMap<Alloc, Vec<i32>>,
    /// The one that counts.
    counting: Alloc,
    /// Where its output goes.
    log: std::path::PathBuf,
}

impl Before {
    #[track_caller]
    fn of(client: &Agent, counting: &[Alloc], api: &orch_tests::Api) -> Self {
        let node = client.node_id(api);
        let all = ["web", "count"].into_iter().flat_map(|job| api.allocs(job).unwrap());
        let here = all.filter(|alloc| alloc.node_id == node && alloc.runs());
        let processes: BTreeMap<Alloc, Vec<i32>> = here.map(|alloc| (alloc.clone(), pids(&alloc))).collect();
        assert!(processes.len() > 1, "{} runs {processes:?}", client.name);
        let counting = counting.iter().find(|alloc| alloc.node_id == node).expect("one counts here").clone();
        let log = client.data_dir().join("alloc").join(&counting.id).join("alloc/logs/main.stdout.0");
        Self { processes, counting, log }
    }

    fn lines(&self) -> usize {
        fs::read_to_string(&self.log).unwrap_or_else(|error| panic!("{}: {error}", self.log.display())).lines().count()
    }

    #[track_caller]
    fn the_task_goes_on_counting(&self) {
        let now = self.lines();
        wait_for("what the task writes arrives in its log", SOON, || {
            let lines = self.lines();
            wait::that(lines > now + 50, || format!("{lines} lines after {now}"))
        });
    }

    /// The same processes, none of them restarted, and no line of the log missing or doubled.
    #[track_caller]
    fn all_is_as_it_was(&self, client: &Agent, api: &orch_tests::Api) {
        api.wait_nodes(3, SOON);
        self.the_task_goes_on_counting();
        wait_for("the client shows the log again", SOON, || {
            client.api().stdout(&self.counting.id, "main").map_err(|error| format!("{error:#}"))
        });
        for (alloc, old) in &self.processes {
            assert_eq!(&pids(alloc), old, "the processes of {alloc} are others than before");
            let job = alloc.name.split('.').next().unwrap();
            let now = api.allocs(job).unwrap().into_iter().find(|now| now.id == alloc.id).unwrap();
            assert_eq!(&now, alloc);
        }
        let text = fs::read_to_string(&self.log).unwrap();
        for (n, line) in text.lines().enumerate().take(self.lines() - 1) {
            assert_eq!(line, format!("line {n}"), "a line is missing or doubled in {}", self.log.display());
        }
    }
}

/// The long-lived processes of an allocation: those that a shell starts for a moment come and go.
fn pids(alloc: &Alloc) -> Vec<i32> {
    let all = processes::of_alloc(&alloc.id);
    all.into_iter().filter(|process| !process.command.starts_with("sleep 0.")).map(|process| process.pid).collect()
}

/// The one process of an allocation, once there is one: a program that is just being executed has no environment yet.
#[track_caller]
fn only_process(alloc: &Alloc) -> i32 {
    wait_for(&format!("{alloc} has one process"), SOON, || match pids(alloc)[..] {
        [pid] => Ok(pid),
        ref pids => Err(format!("{pids:?}")),
    })
}
