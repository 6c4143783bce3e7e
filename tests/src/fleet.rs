//! The fleet simulator as a process, and what a churned fleet must look like at rest.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::agent::RPC_PORT;
use crate::api::Api;
use crate::cluster::Cluster;
use crate::processes;
use crate::wait::wait_within;

/// Server settings under which what has ended goes soon, so that memory can be flat.
pub const SHORT_MEMORY: &str = "  eval_gc_threshold = \"5s\"\n  batch_eval_gc_threshold = \"5s\"\n  deployment_gc_threshold = \"5s\"\n  job_gc_interval = \"5s\"\n";

/// A fleet of simulated nodes.
#[derive(Debug)]
pub struct Fleet {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Fleet {
    /// Starts `nodes` nodes of `cluster`'s servers and waits until all are connected. `binary` is the simulator.
    pub fn start(binary: &Path, cluster: &Cluster, nodes: usize) -> Result<Self> {
        let servers: Vec<String> = cluster.servers.iter().map(|server| format!("{}:{RPC_PORT}", server.ip)).collect();
        let mut child = Command::new(binary)
            .arg(format!("-servers={}", servers.join(",")))
            .arg(format!("-nodes={nodes}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let commands = child.stdin.take().context("the fleet has no input")?;
        let answers = BufReader::new(child.stdout.take().context("the fleet has no output")?);
        let mut fleet = Self { child, commands, answers };
        wait_within(Duration::from_secs(60), || {
            let connected = fleet.command("count")?["connected"].as_u64().unwrap_or(0);
            ensure!(usize::try_from(connected)? == nodes, "{connected} of {nodes} nodes are connected");
            Ok(())
        })?;
        Ok(fleet)
    }

    /// Gives a command and returns what the fleet holds then.
    pub fn command(&mut self, command: &str) -> Result<Value> {
        writeln!(self.commands, "{command}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("the fleet answered {line:?}"))?;
        ensure!(answer["error"].is_null(), "{answer}");
        Ok(answer)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What is done to a fleet.
#[derive(Debug, Clone, Copy)]
pub struct Churn {
    /// How many jobs.
    pub jobs: usize,
    /// How many allocations each.
    pub count: usize,
    /// How long.
    pub time: Duration,
    /// How many fail, and how many nodes fall silent, in one round.
    pub failing: usize,
    /// How many nodes fall silent in one round.
    pub losing: usize,
}

impl Churn {
    /// Registers the jobs, changes, fails and loses for the time given, and waits until all is at rest again; returns
    /// the resident memory of the server in KiB, once a second.
    pub fn run(&self, cluster: &Cluster, fleet: &mut Fleet) -> Result<Vec<u64>> {
        let api = cluster.api().patient(Duration::from_secs(60));
        for job in 0..self.jobs {
            api.register(&self.job(job, 0))?;
        }
        self.wait_at_rest(&api, fleet)?;
        let begun = Instant::now();
        let server = cluster.servers.first().context("there is a server")?.pid();
        let mut memory = Vec::new();
        let mut round = 1;
        while begun.elapsed() < self.time {
            api.register(&self.job(round % self.jobs, round))?;
            fleet.command(&format!("fail {}", self.failing))?;
            match round % 20 {
                3 => drop(fleet.command(&format!("lose {}", self.losing))?),
                18 => drop(fleet.command("return")?),
                _ => {}
            }
            round += 1;
            memory.extend(processes::resident_kib(server));
            std::thread::sleep(Duration::from_secs(1));
        }
        fleet.command("return")?;
        self.wait_at_rest(&api, fleet)?;
        Ok(memory)
    }

    /// Waits until every job has exactly what it wants, at the servers and on the nodes, and nothing is under way.
    fn wait_at_rest(&self, api: &Api, fleet: &mut Fleet) -> Result<()> {
        wait_within(Duration::from_secs(180), || {
            std::thread::sleep(Duration::from_millis(200));
            let held = fleet.command("count")?;
            ensure!(held["connected"] == held["nodes"], "not all nodes are connected: {held}");
            for job in 0..self.jobs {
                let id = format!("churn-{job}");
                let running = held["jobs"][&id].as_u64().unwrap_or(0);
                ensure!(usize::try_from(running)? == self.count, "{running} allocations of {id} run on the nodes");
                let mut names: BTreeMap<String, usize> = BTreeMap::new();
                for alloc in api.allocs(&id)?.iter().filter(|alloc| alloc.desired == "run") {
                    ensure!(alloc.client == "running" || alloc.client == "failed", "{alloc}");
                    if alloc.client == "running" {
                        *names.entry(alloc.name.clone()).or_default() += 1;
                    }
                }
                ensure!(names.len() == self.count, "{} of the names of {id} run", names.len());
                ensure!(names.values().all(|count| *count == 1), "a name of {id} runs twice");
                let deployment = api.get(&format!("/v1/job/{id}/deployment"))?;
                ensure!(deployment["Status"] != "running", "{deployment}");
            }
            let pending = api.get("/v1/evaluations?status=pending")?;
            ensure!(pending.as_array().is_some_and(Vec::is_empty), "evaluations are pending: {pending}");
            Ok(())
        })
    }

    fn job(&self, number: usize, version: usize) -> Value {
        let id = format!("churn-{number}");
        let parallel = self.count.div_ceil(4);
        json!({
            "ID": id, "Name": id, "Type": "service", "Datacenters": ["*"],
            "TaskGroups": [{
                "Name": "main", "Count": self.count,
                "EphemeralDisk": { "SizeMB": 10 },
                "Update": { "MaxParallel": parallel, "MinHealthyTime": 0, "HealthyDeadline": 30_000_000_000_u64, "ProgressDeadline": 60_000_000_000_u64 },
                "ReschedulePolicy": { "Unlimited": true, "Delay": 5_000_000_000_u64, "DelayFunction": "constant" },
                "Tasks": [{
                    "Name": "main", "Driver": "mock_driver",
                    "Config": { "run_for": "10h" },
                    "Env": { "VERSION": version.to_string() },
                    "Resources": { "CPU": 100, "MemoryMB": 100 },
                    "LogConfig": { "MaxFiles": 1, "MaxFileSizeMB": 1 },
                }],
            }],
        })
    }
}
