//! How many distinct jobs of one allocation can be registered in a second, and how soon their evaluations are processed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use orch_tests::report::{self, Times};
use orch_tests::{Api, Cluster, jobs};
use serde_json::{Value, json};

const REGISTRATIONS: usize = 10_000;
const EVALUATED: usize = 1_000;
/// A node with room for all of them; what runs there is faked by its driver.
const ROOMY: &str = "  cpu_total_compute = 10000000\n  memory_total_mb = 10000000\n  disk_total_mb = 100000000\n  disk_free_mb = 100000000\n";

fn main() -> Result<()> {
    for servers in [1, 3] {
        for clients in [64, 256] {
            registrations(servers, clients)?;
        }
    }
    evaluations()
}

fn registrations(servers: usize, clients: usize) -> Result<()> {
    let cluster = Cluster::new().servers(servers).start();
    let floor = report::disk_floor(cluster.dir())?;
    let apis: Vec<Api> = cluster.servers.iter().map(|server| server.api().patient(Duration::from_secs(60))).collect();
    let begun = Instant::now();
    let times = register_all(&apis, clients, REGISTRATIONS, jobs::unplaceable)?;
    let took = begun.elapsed();
    wait_evaluated(&apis[0])?;
    let evaluated = begun.elapsed();
    let rate = f64::from(u32::try_from(REGISTRATIONS)?) / took.as_secs_f64();
    let p99 = Duration::from_millis(20).max(floor.percentile(99) * 2);
    let per_second = if servers == 1 { 8000 } else { 4000 };
    report::figure(
        &format!("registrations, {servers} server(s), {clients} HTTP clients"),
        &format!("{rate:.0} /s, p99 {}", report::ms(times.percentile(99))),
        &format!("≥ {per_second} /s, p99 ≤ {}", report::ms(p99)),
    );
    report::line(format!(
        "  their {REGISTRATIONS} evaluations were processed {} after the first",
        report::ms(evaluated)
    ));
    Ok(())
}

fn evaluations() -> Result<()> {
    let cluster = Cluster::new().servers(1).clients(1).client_hcl(ROOMY).start();
    let apis = [cluster.api().patient(Duration::from_secs(60))];
    let begun = Instant::now();
    register_all(&apis, 64, EVALUATED, faked)?;
    let registered = begun.elapsed();
    wait_evaluated(&apis[0])?;
    report::figure(
        &format!("evaluations of {EVALUATED} registrations all processed"),
        &format!("{}, registered in {}", report::ms(begun.elapsed()), report::ms(registered)),
        "≤ 1 s",
    );
    Ok(())
}

/// A job whose task runs in its driver only.
fn faked(id: &str) -> Value {
    let mut job = jobs::sleeper(id);
    job["TaskGroups"][0]["Tasks"][0]["Driver"] = json!("mock_driver");
    job["TaskGroups"][0]["Tasks"][0]["Config"] = json!({ "run_for": "1h" });
    job
}

/// Registers `count` jobs over `clients` connections, one request at a time on each.
fn register_all(apis: &[Api], clients: usize, count: usize, job: fn(&str) -> Value) -> Result<Times> {
    let next = AtomicUsize::new(0);
    let all: Result<Vec<Vec<Duration>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = apis
            .iter()
            .cycle()
            .take(clients)
            .map(|api| scope.spawn(|| register_some(api, &next, count, job)))
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a client does not panic")).collect()
    });
    Ok(Times::new(all?.concat()))
}

fn register_some(api: &Api, next: &AtomicUsize, count: usize, job: fn(&str) -> Value) -> Result<Vec<Duration>> {
    let mut connection = api.connect()?;
    let mut times = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= count {
            return Ok(times);
        }
        let body = json!({ "Job": job(&format!("job-{n}")) }).to_string().into_bytes();
        let begun = Instant::now();
        connection.send("PUT", "/v1/jobs", &body)?.json().context("registering a job")?;
        times.push(begun.elapsed());
    }
}

/// Waits until no evaluation is pending.
fn wait_evaluated(api: &Api) -> Result<()> {
    let begun = Instant::now();
    loop {
        let pending = api.get("/v1/evaluations?status=pending&per_page=1")?;
        if pending.as_array().is_some_and(Vec::is_empty) {
            return Ok(());
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(120), "evaluations are still pending: {pending}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
