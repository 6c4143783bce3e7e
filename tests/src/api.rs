//! One agent's `/v1`, seen as JSON.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::http::{Answer, Connection};
use crate::wait::{wait_for, wait_within};

/// The port of the API on each agent's own address.
pub const HTTP_PORT: u16 = 4646;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The API of one agent; each call has a connection of its own.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    address: SocketAddr,
    patience: Duration,
}

/// An allocation, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alloc {
    /// Its id.
    pub id: String,
    /// Its name, `job.group[index]`.
    pub name: String,
    /// The node it is on.
    pub node_id: String,
    /// What is wanted of it: `run`, `stop` or `evict`.
    pub desired: String,
    /// What its client last said.
    pub client: String,
    /// How often its tasks were restarted, all together.
    pub restarts: u64,
}

impl fmt::Display for Alloc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, node_id, desired, client, restarts } = self;
        write!(f, "{id} {name} on {node_id}: desired {desired}, {client}, {restarts} restarts")
    }
}

impl Alloc {
    /// Whether it is wanted and runs.
    pub fn runs(&self) -> bool {
        self.desired == "run" && self.client == "running"
    }

    fn of(stub: &Value) -> Self {
        let states = stub["TaskStates"].as_object().into_iter().flatten();
        Self {
            id: text(&stub["ID"]),
            name: text(&stub["Name"]),
            node_id: text(&stub["NodeID"]),
            desired: text(&stub["DesiredStatus"]),
            client: text(&stub["ClientStatus"]),
            restarts: states.map(|(_, state)| state["Restarts"].as_u64().unwrap_or(0)).sum(),
        }
    }
}

impl Api {
    /// The API at `ip`.
    pub fn new(ip: Ipv4Addr) -> Self {
        Self { address: SocketAddr::from((ip, HTTP_PORT)), patience: PATIENCE }
    }

    /// The same with another limit on how long an answer may take.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A connection for many requests.
    pub fn connect(&self) -> Result<Connection> {
        Connection::open(self.address, self.patience)
    }

    /// Sends a request.
    pub fn send(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.connect()?.send(method, path, &body)
    }

    /// Reads `path`, which starts with `/v1`.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.send("GET", path, &Value::Null)?.json().with_context(|| format!("GET {path}"))
    }

    /// Reads `path` as text, whatever its status.
    pub fn get_text(&self, path: &str) -> Result<String> {
        Ok(self.send("GET", path, &Value::Null)?.text())
    }

    /// Writes `body` to `path`.
    pub fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.send("PUT", path, body)?.json().with_context(|| format!("PUT {path}"))
    }

    /// Registers a job; returns the id of its evaluation once that is acknowledged.
    pub fn register(&self, job: &Value) -> Result<String> {
        Ok(text(&self.put("/v1/jobs", &serde_json::json!({ "Job": job }))?["EvalID"]))
    }

    /// All allocations of a job, in the order of their names.
    pub fn allocs(&self, job: &str) -> Result<Vec<Alloc>> {
        let stubs = self.get(&format!("/v1/job/{job}/allocations?all=true"))?;
        let mut allocs: Vec<Alloc> = stubs.as_array().into_iter().flatten().map(Alloc::of).collect();
        allocs.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(allocs)
    }

    /// Waits until exactly `count` allocations of `job` are wanted and all of them run.
    #[track_caller]
    pub fn wait_running(&self, job: &str, count: usize, within: Duration) -> Vec<Alloc> {
        let state = || {
            let allocs = self.allocs(job).map_err(|error| format!("{error:#}"))?;
            let wanted: Vec<Alloc> = allocs.iter().filter(|alloc| alloc.desired == "run").cloned().collect();
            if wanted.len() == count && wanted.iter().all(Alloc::runs) { Ok(wanted) } else { Err(list(&allocs)) }
        };
        let seen = wait_within(within, state);
        seen.unwrap_or_else(|seen| {
            panic!("job {job} does not have {count} running allocations\n{seen}\n{}", self.dump(job))
        })
    }

    /// The task's states and the evaluations of a job, for failures.
    fn dump(&self, job: &str) -> String {
        let read = |path: String| self.get_text(&path).unwrap_or_else(|error| format!("{error:#}"));
        let allocs = read(format!("/v1/job/{job}/allocations"));
        let evals = read(format!("/v1/job/{job}/evaluations"));
        format!("allocations: {allocs}\nevaluations: {evals}")
    }

    /// The port that allocation `id` was given for `label`, with its address.
    pub fn port(&self, id: &str, label: &str) -> Result<SocketAddr> {
        let alloc = self.get(&format!("/v1/allocation/{id}"))?;
        let ports = alloc["AllocatedResources"]["Shared"]["Ports"].as_array().context("the allocation has no ports")?;
        let port = ports.iter().find(|port| port["Label"] == label).with_context(|| format!("no port {label}"))?;
        let address = format!("{}:{}", text(&port["HostIP"]), port["Value"]);
        address.parse().with_context(|| format!("{address} is no address"))
    }

    /// What a task of allocation `id` has written to standard output.
    pub fn stdout(&self, id: &str, task: &str) -> Result<String> {
        let answer =
            self.send("GET", &format!("/v1/client/fs/logs/{id}?task={task}&type=stdout&plain=true"), &Value::Null)?;
        anyhow::ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        Ok(answer.text())
    }

    /// All nodes as (name, id, status).
    pub fn nodes(&self) -> Result<Vec<(String, String, String)>> {
        let nodes = self.get("/v1/nodes")?;
        let row = |node: &Value| (text(&node["Name"]), text(&node["ID"]), text(&node["Status"]));
        Ok(nodes.as_array().into_iter().flatten().map(row).collect())
    }

    /// Waits until exactly `count` nodes are ready.
    #[track_caller]
    pub fn wait_nodes(&self, count: usize, within: Duration) {
        wait_for(&format!("{count} nodes are ready"), within, || {
            let nodes = self.nodes().map_err(|error| format!("{error:#}"))?;
            let ready = nodes.iter().filter(|(_, _, status)| status == "ready").count();
            if ready == count { Ok(()) } else { Err(format!("{nodes:?}")) }
        });
    }

    /// The leader's RPC address, `ip:port`.
    pub fn leader(&self) -> Result<String> {
        let leader = text(&self.get("/v1/status/leader")?);
        anyhow::ensure!(!leader.is_empty(), "there is no leader");
        Ok(leader)
    }

    /// Waits until evaluation `id` has ended, and returns it.
    #[track_caller]
    pub fn wait_eval(&self, id: &str, within: Duration) -> Value {
        wait_for(&format!("evaluation {id} has ended"), within, || {
            let eval = self.get(&format!("/v1/evaluation/{id}")).map_err(|error| format!("{error:#}"))?;
            if eval["Status"] == "pending" { Err(eval.to_string()) } else { Ok(eval) }
        })
    }
}

/// A JSON string's text; nothing else has one.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// One line for each.
pub fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
