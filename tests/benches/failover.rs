//! From the death of the leader of three servers until the next write succeeds.

use std::time::{Duration, Instant};

use anyhow::Result;
use orch_tests::report::{self, Times};
use orch_tests::{Api, Cluster, jobs};

const RUNS: usize = 10;

fn main() -> Result<()> {
    let mut cluster = Cluster::new().servers(3).start();
    report::disk_floor(cluster.dir())?;
    let mut times = Vec::new();
    for run in 0..RUNS {
        let leader = cluster.wait_leader();
        cluster.wait_all_in_touch();
        let others: Vec<Api> = cluster
            .servers
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != leader)
            .map(|(_, server)| server.api().patient(Duration::from_secs(5)))
            .collect();
        others[0].register(&jobs::unplaceable(&format!("before-{run}")))?;
        cluster.servers[leader].kill();
        times.push(next_write(&others, run)?);
        cluster.servers[leader].start();
    }
    let times = Times::new(times);
    report::figure(
        "leader killed → next write succeeds, 3 servers",
        &format!("median {}, longest {}", report::ms(times.median()), report::ms(times.longest())),
        "median ≤ 1.5 s, all ≤ 2.5 s",
    );
    Ok(())
}

fn next_write(servers: &[Api], run: usize) -> Result<Duration> {
    let begun = Instant::now();
    for (server, attempt) in servers.iter().cycle().zip(0..) {
        match server.register(&jobs::unplaceable(&format!("after-{run}-{attempt}"))) {
            Ok(_) => break,
            Err(error) => anyhow::ensure!(begun.elapsed() < Duration::from_secs(30), "no write succeeds: {error:#}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(begun.elapsed())
}
