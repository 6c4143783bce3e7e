//! Servers and clients that belong together, and everything they leave behind.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::agent::{Agent, Role};
use crate::api::Api;
use crate::cli::Cli;
use crate::wait::wait_for;
use crate::{address, processes};

/// How long a cluster may take to have a leader and all nodes; far more than it should, for machines under load.
const FORMED: Duration = Duration::from_secs(60);
/// How the directories of all test processes begin; the process's id follows.
const PREFIX: &str = "orch-e2e-";
/// How many of an agent's log lines a failing test shows.
const LOG_TAIL: usize = 150;

/// Agents, and the directory that all of them keep theirs in.
#[derive(Debug)]
pub struct Cluster {
    /// Servers, in the order of their names `s1`, `s2` ..
    pub servers: Vec<Agent>,
    /// Clients, in the order of their names `c1`, `c2` ..
    pub clients: Vec<Agent>,
    cgroup_parent: String,
    jobs: AtomicU32,
    dir: TempDir,
}

/// What a cluster is to be made of.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    servers: usize,
    clients: usize,
    server_hcl: String,
    client_hcl: String,
}

impl Builder {
    /// How many servers; they form one cluster.
    #[must_use]
    pub fn servers(self, servers: usize) -> Self {
        Self { servers, ..self }
    }

    /// How many clients; each knows all servers.
    #[must_use]
    pub fn clients(self, clients: usize) -> Self {
        Self { clients, ..self }
    }

    /// HCL for the `server` block of every server.
    #[must_use]
    pub fn server_hcl(self, hcl: &str) -> Self {
        Self { server_hcl: hcl.to_owned(), ..self }
    }

    /// HCL for the `client` block of every client.
    #[must_use]
    pub fn client_hcl(self, hcl: &str) -> Self {
        Self { client_hcl: hcl.to_owned(), ..self }
    }

    /// Starts all agents, and waits for a leader and for every node to be ready.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let mut cluster = Cluster::empty();
        let ips: Vec<Ipv4Addr> = (0..self.servers).map(|_| address::claim()).collect();
        for (ip, n) in ips.iter().zip(1_usize..) {
            let role = Role::Server { expect: self.servers, join: ips.clone() };
            let agent = cluster.agent(&format!("s{n}"), *ip, role, &self.server_hcl);
            cluster.servers.push(agent);
        }
        for server in &mut cluster.servers {
            server.spawn();
        }
        for _ in 0..self.clients {
            let client = cluster.next_client(&self.client_hcl);
            cluster.clients.push(client);
        }
        for client in &mut cluster.clients {
            client.spawn();
        }
        for agent in cluster.servers.iter_mut().chain(&mut cluster.clients) {
            agent.wait_up();
        }
        cluster.wait_leader();
        cluster.api().wait_nodes(self.clients, FORMED);
        cluster
    }
}

impl Cluster {
    /// A cluster to be described further.
    #[expect(clippy::new_ret_no_self, reason = "a cluster begins with its description")]
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A directory without agents, for tests that make their own.
    pub fn empty() -> Self {
        sweep();
        let dir = tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir();
        let dir = dir.unwrap_or_else(|error| panic!("making a directory for the test: {error}"));
        let cgroup_parent = dir.path().file_name().map(|name| name.to_string_lossy().into_owned());
        let cgroup_parent = cgroup_parent.expect("a temporary directory has a name");
        Self { servers: Vec::new(), clients: Vec::new(), cgroup_parent, jobs: AtomicU32::new(0), dir }
    }

    /// The directory of everything in this cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The cgroup, at the top of each tree, that all tasks are in.
    pub fn cgroup_parent(&self) -> &str {
        &self.cgroup_parent
    }

    /// Makes an agent in this directory, without starting it.
    pub fn agent(&self, name: &str, ip: Ipv4Addr, role: Role, extra: &str) -> Agent {
        Agent::new(name, ip, self.dir.path(), role, &self.cgroup_parent, extra)
    }

    /// Makes one more client with `extra` in its `client` block, without starting it.
    pub fn next_client(&self, extra: &str) -> Agent {
        let servers = self.servers.iter().map(|server| server.ip).collect();
        self.agent(&format!("c{}", self.clients.len() + 1), address::claim(), Role::Client { servers }, extra)
    }

    /// A development agent, started; it belongs to nothing else in here.
    #[track_caller]
    pub fn dev(&self) -> Agent {
        let mut agent = self.agent("dev", address::claim(), Role::Dev, "");
        agent.start();
        agent.api().wait_nodes(1, FORMED);
        agent
    }

    /// The API of the first server that runs.
    #[track_caller]
    pub fn api(&self) -> Api {
        self.running_server().api()
    }

    /// Commands for the first server that runs.
    #[track_caller]
    pub fn cli(&self) -> Cli {
        self.running_server().cli()
    }

    #[track_caller]
    fn running_server(&self) -> &Agent {
        self.servers.iter().find(|server| server.is_running()).expect("a server runs")
    }

    /// Waits until the servers that run know a leader among themselves; returns its place in `servers`.
    #[track_caller]
    pub fn wait_leader(&self) -> usize {
        wait_for("there is a leader that runs", FORMED, || {
            let leader = self.api().leader().map_err(|error| format!("{error:#}"))?;
            let runs = |agent: &Agent| agent.is_running() && leader.starts_with(&format!("{}:", agent.ip));
            self.servers.iter().position(runs).ok_or(leader)
        })
    }

    /// Waits until there is a leader and every server that runs has the last state, so that none is behind.
    #[track_caller]
    pub fn wait_all_in_touch(&self) {
        for server in self.servers.iter().filter(|server| server.is_running()) {
            wait_for(&format!("{} reads through a leader", server.name), FORMED, || {
                server.api().get("/v1/jobs").map(|_| ()).map_err(|error| format!("{error:#}"))
            });
        }
    }

    /// Runs the job in `hcl` through the command line and does not wait for it.
    #[track_caller]
    pub fn run_job(&self, hcl: &str) {
        let path = self.write_job(hcl);
        self.cli().ok(["job".as_ref(), "run".as_ref(), "-detach".as_ref(), path.as_os_str()]);
    }

    /// Writes a job file.
    pub fn write_job(&self, hcl: &str) -> PathBuf {
        let n = self.jobs.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.path().join(format!("job-{n}.hcl"));
        fs::write(&path, hcl).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
        path
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if failed {
            let agents = self.servers.iter().chain(&self.clients);
            let logs: Vec<(String, String)> = agents.map(|agent| (agent.name.clone(), agent.log())).collect();
            show(&logs);
        }
        self.clients.clear();
        self.servers.clear();
        if let Err(left) = processes::wipe(self.dir.path(), &self.cgroup_parent) {
            assert!(failed, "the cluster left something behind: {left}");
        }
    }
}

/// Shows the last lines of each log.
fn show(logs: &[(String, String)]) {
    let mut out = std::io::stderr().lock();
    for (name, log) in logs {
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
        // Nothing is left to tell if even this cannot be written.
        let _unwritten = writeln!(out, "=== log of {name}\n{}", tail.join("\n"));
    }
}

/// Ends what test processes left that were killed before they could do it.
fn sweep() {
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<i32>().ok());
        if owner.is_some_and(|pid| !processes::alive(pid)) {
            // What does not go now is no reason to fail the test that found it.
            let _left = processes::wipe(&entry.path(), &name);
            let _kept = fs::remove_dir_all(entry.path());
        }
    }
}
