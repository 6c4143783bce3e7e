//! How many distinct jobs of one allocation can be registered in a second, and how soon their evaluations are processed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use orch_tests::report::{self, Times};
use orch_tests::{Api, Cluster, jobs};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const REGISTRATIONS: usize = 10_000;
const EVALUATED: usize = 1_000;

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
    let cluster = Cluster::new().servers(1).clients(1).client_hcl(jobs::ROOMY).start();
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
///
/// All of them are served by one thread: as many threads would take their share of the processors from the servers.
fn register_all(apis: &[Api], clients: usize, count: usize, job: fn(&str) -> Value) -> Result<Times> {
    let next = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut running = JoinSet::new();
        for api in apis.iter().cycle().take(clients) {
            let (address, next) = (api.address(), Arc::clone(&next));
            running.spawn(async move { register_some(address, &next, count, job).await });
        }
        let mut all = Vec::with_capacity(count);
        while let Some(times) = running.join_next().await {
            all.append(&mut times??);
        }
        Ok(Times::new(all))
    })
}

async fn register_some(
    address: SocketAddr,
    next: &AtomicUsize,
    count: usize,
    job: fn(&str) -> Value,
) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(4096);
    let mut times = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= count {
            return Ok(times);
        }
        let body = json!({ "Job": job(&format!("job-{n}")) }).to_string();
        let request = format!(
            "PUT /v1/jobs HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let begun = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        while !is_whole(&answer)? {
            ensure!(stream.read_buf(&mut answer).await? > 0, "the connection was closed");
        }
        times.push(begun.elapsed());
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    }
}

/// Whether an answer has arrived with its whole body, whose length it tells.
fn is_whole(answer: &[u8]) -> Result<bool> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&answer[..end])?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("the answer does not tell its length")?.trim().parse()?;
    Ok(answer.len() >= end + 4 + length)
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
        std::thread::sleep(Duration::from_millis(20));
    }
}
