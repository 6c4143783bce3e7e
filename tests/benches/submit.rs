//! From the registration of a job until its one raw_exec task is reported running.

use std::time::{Duration, Instant};

use anyhow::Result;
use orch_tests::report::{self, Times};
use orch_tests::{Agent, Api, Cluster, Role, address, jobs};

const JOBS: usize = 20;

fn main() -> Result<()> {
    let cluster = Cluster::empty();
    let dev = cluster.dev();
    let times = submit_all(&dev)?;
    show("submit → running, one raw_exec task, -dev", &times, "median ≤ 25 ms");
    drop(dev);

    let floor = report::disk_floor(cluster.dir())?;
    let mut durable = cluster.agent("durable", address::claim(), Role::Both, "");
    durable.start();
    durable.api().wait_nodes(1, Duration::from_secs(60));
    let times = submit_all(&durable)?;
    let target = Duration::from_millis(15) + floor.median() * 5;
    show("submit → running, one raw_exec task, durable", &times, &format!("median ≤ {}", report::ms(target)));
    Ok(())
}

fn show(what: &str, times: &Times, target: &str) {
    report::figure(
        what,
        &format!("median {}, longest {}", report::ms(times.median()), report::ms(times.longest())),
        target,
    );
}

fn submit_all(agent: &Agent) -> Result<Times> {
    let api = agent.api();
    // The first one pays for the supervisor.
    submit(&api, "warm-up")?;
    let times: Result<Vec<Duration>> = (0..JOBS).map(|n| submit(&api, &format!("job-{n}"))).collect();
    Ok(Times::new(times?))
}

fn submit(api: &Api, id: &str) -> Result<Duration> {
    let begun = Instant::now();
    api.register(&jobs::sleeper(id))?;
    let mut connection = api.connect()?;
    let mut index = 0;
    loop {
        let path = format!("/v1/job/{id}/allocations?index={index}&wait=5s");
        let answer = connection.send("GET", &path, b"")?;
        let allocs = answer.json()?;
        if allocs.as_array().is_some_and(|allocs| allocs.iter().any(|alloc| alloc["ClientStatus"] == "running")) {
            let took = begun.elapsed();
            api.send("DELETE", &format!("/v1/job/{id}?purge=true"), &serde_json::Value::Null)?.json()?;
            return Ok(took);
        }
        index = answer.index;
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), "{id} does not run: {allocs}");
    }
}
