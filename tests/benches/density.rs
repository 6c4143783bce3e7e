//! What raw_exec tasks cost the node they run on: processor time to start them, private memory, time to stop them.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use orch_tests::report;
use orch_tests::{Api, Cluster, jobs, processes, wait};
use serde_json::Value;

const STARTED: Duration = Duration::from_secs(120);
const STOPPED: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    for count in [100, 300, 1000] {
        tasks(count)?;
    }
    Ok(())
}

fn tasks(count: usize) -> Result<()> {
    let cluster = Cluster::new().servers(1).clients(1).client_hcl(jobs::ROOMY).start();
    let client = &cluster.clients[0];
    let api = cluster.api().patient(Duration::from_secs(60));
    // The supervisor comes with the first task.
    api.register(&jobs::sleepers("first", 1))?;
    wait_running(&api, "first", 1)?;
    let supervisor = client.supervisor().context("the client has no supervisor")?;
    let before = Cost::of(client.pid(), supervisor)?;
    let groups_before = processes::cgroups(cluster.cgroup_parent()).len();

    let begun = Instant::now();
    api.register(&jobs::sleepers("many", count))?;
    wait_running(&api, "many", count)?;
    let started = begun.elapsed();
    let after = Cost::of(client.pid(), supervisor)?;
    let directory = client.data_dir();
    let tasks = processes::of_directory(&directory);
    let tasks = tasks.iter().filter(|process| process.command.starts_with("/bin/sleep"));
    let own: Duration = tasks.map(|process| run_time(process.pid)).sum();
    let cost = after.cpu - before.cpu + own;
    let each = u32::try_from(count)?;
    report::figure(
        &format!("CPU to start one of {count} raw_exec tasks"),
        &format!("{}, all running in {}", report::ms(cost / each), report::ms(started)),
        "≤ 3 ms, flat",
    );
    report::line(format!(
        "  agent {}, supervisor with its forks {}, the program itself {}",
        report::ms((after.agent_cpu - before.agent_cpu) / each),
        report::ms((after.cpu - before.cpu - (after.agent_cpu - before.agent_cpu)) / each),
        report::ms(own / each)
    ));
    let share = |kib: u64| f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) / f64::from(each);
    report::figure(
        &format!("private memory per task, {count} tasks"),
        &format!(
            "agent {:.1} KiB, supervisor {:.1} KiB",
            share(after.agent_kib.saturating_sub(before.agent_kib)),
            share(after.supervisor_kib.saturating_sub(before.supervisor_kib)),
        ),
        "≤ 64 KiB together",
    );
    report::figure(
        "private memory of the supervisor with one task",
        &format!("{} KiB", before.supervisor_kib),
        "≤ 5120 KiB",
    );

    let begun = Instant::now();
    api.send("DELETE", "/v1/job/many", &Value::Null)?;
    wait::wait_within(STOPPED, || {
        let left = api.allocs("many")?.iter().filter(|alloc| alloc.client != "complete").count();
        ensure!(left == 0, "{left} allocations have not ended");
        Ok(())
    })?;
    report::figure(&format!("{count} tasks stopped"), &report::ms(begun.elapsed()), "≤ 5 s");
    let left = processes::of_directory(&directory).iter().filter(|process| process.command.contains("100000")).count();
    ensure!(left == 1, "{left} tasks run, one should");
    // Those of one task in each hierarchy, and what they stand in.
    let groups = wait::wait_within(STOPPED, || {
        let groups = processes::cgroups(cluster.cgroup_parent()).len();
        ensure!(groups <= groups_before, "{groups} cgroups are left, {groups_before} were there before");
        Ok(groups)
    })?;
    report::line(format!("  left: 1 task (the first job's), {groups} cgroups in all hierarchies"));
    Ok(())
}

/// What agent and supervisor have used so far.
#[derive(Debug, Clone, Copy)]
struct Cost {
    cpu: Duration,
    agent_cpu: Duration,
    agent_kib: u64,
    supervisor_kib: u64,
}

impl Cost {
    fn of(agent: i32, supervisor: i32) -> Result<Self> {
        let agent_cpu = cpu(agent)?;
        let supervisor_kib = private(supervisor)?;
        Ok(Self { cpu: agent_cpu + cpu(supervisor)?, agent_cpu, agent_kib: private(agent)?, supervisor_kib })
    }
}

/// Processor time of a process and of the children it has waited for.
fn cpu(pid: i32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("stat has a command")?;
    // After the command: state is field 3, so utime, stime, cutime and cstime (14 to 17) are 11 to 14 from there.
    let ticks: u64 = rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 10))
}

fn private(pid: i32) -> Result<u64> {
    processes::private_kib(pid).with_context(|| format!("process {pid} does not tell its memory"))
}

/// How long the main thread of a process ran.
fn run_time(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    Duration::from_nanos(stat.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0))
}

fn wait_running(api: &Api, job: &str, count: usize) -> Result<()> {
    wait::wait_within(STARTED, || {
        let summary = api.get(&format!("/v1/job/{job}/summary"))?;
        let running = summary["Summary"]["main"]["Running"].as_u64().unwrap_or(0);
        ensure!(usize::try_from(running)? == count, "{running} of {count} run");
        Ok(())
    })
}
