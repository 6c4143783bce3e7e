//! How long an agent takes to start, and how much memory an idle one holds.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use orch_tests::report::{self, Times};
use orch_tests::{Agent, Cluster, Role, address, processes, wait};

const STARTS: usize = 10;
/// How long an agent is left alone before its memory is looked at.
const IDLE: Duration = Duration::from_secs(10);

fn main() -> Result<()> {
    let cluster = Cluster::empty();
    report::disk_floor(cluster.dir())?;
    let mut starts = Vec::new();
    for n in 0..STARTS {
        let mut dev = cluster.agent(&format!("dev{n}"), address::claim(), Role::Dev, "");
        starts.push(start(&mut dev)?);
        dev.terminate();
    }
    let starts = Times::new(starts);
    let measured = format!("median {}, longest {}", report::ms(starts.median()), report::ms(starts.longest()));
    report::figure("agent start → API and node ready, -dev", &measured, "≤ 150 ms");

    let dev = cluster.dev();
    std::thread::sleep(IDLE);
    resident("idle RSS of a dev agent", &dev, 40)?;
    drop(dev);
    let cluster = Cluster::new().servers(3).clients(1).start();
    std::thread::sleep(IDLE);
    let leader = cluster.wait_leader();
    resident("idle RSS of a server, the leader of three", &cluster.servers[leader], 30)?;
    resident("idle RSS of a server that follows", &cluster.servers[(leader + 1) % 3], 30)?;
    resident("idle RSS of a client agent", &cluster.clients[0], 25)?;
    Ok(())
}

/// From the start of the process until its API shows a node that is ready.
fn start(agent: &mut Agent) -> Result<Duration> {
    let api = agent.api();
    let begun = Instant::now();
    agent.spawn();
    loop {
        if api.nodes().is_ok_and(|nodes| nodes.iter().any(|(_, _, status)| status == "ready")) {
            return Ok(begun.elapsed());
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), "the agent is not ready\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn resident(what: &str, agent: &Agent, most_mib: u64) -> Result<()> {
    // A first answer shows that the agent is well, and costs what any use of it costs.
    wait::wait_for("the agent answers", IDLE, || {
        agent.api().get("/v1/agent/self").map_err(|error| format!("{error:#}"))
    });
    let kib = processes::resident_kib(agent.pid()).context("the agent has ended")?;
    let measured = format!("{:.1} MiB", f64::from(u32::try_from(kib)?) / 1024.0);
    report::figure(what, &measured, &format!("≤ {most_mib} MiB"));
    Ok(())
}
