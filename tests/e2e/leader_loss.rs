//! Servers that are killed, one or all.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use orch_tests::api::text;
use orch_tests::{Api, Cluster, jobs, report, wait, wait_for};
use serde_json::Value;

use super::SOON;

/// From the death of the leader until a write succeeds; the goal is 2.5 s, on a machine that does nothing else.
const FAILOVER: Duration = Duration::from_secs(10);

#[test]
fn what_was_acknowledged_survives_the_leader_and_then_the_death_of_all_servers() {
    let mut cluster = Cluster::new().servers(3).clients(1).start();
    cluster.run_job(&jobs::shell("steady", 3, "exec sleep 100000", ""));
    let running = cluster.api().wait_running("steady", 3, SOON);

    let leader = cluster.wait_leader();
    let writer = Writer::default();
    let apis: Vec<Api> = cluster.servers.iter().map(|server| server.api().patient(Duration::from_secs(2))).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| writer.run(&apis));
        // Also when something fails: the scope waits for the writer.
        let _stops = Stops(&writer);
        writer.wait_for_more(20);
        let begun = Instant::now();
        cluster.servers[leader].kill();
        let acknowledged = writer.count();
        wait_for("a write succeeds without the old leader", FAILOVER, || {
            let now = writer.count();
            // One may have been on its way back when the leader died.
            wait::that(now > acknowledged + 1, || format!("{now} acknowledged, {acknowledged} before"))
        });
        report::line(format!("writes went on {} after the leader was killed", report::ms(begun.elapsed())));
        writer.wait_for_more(20);
    });
    nothing_is_lost(&cluster, &writer);
    assert_eq!(cluster.api().wait_running("steady", 3, SOON), running, "the loss of a leader moved a task");

    cluster.servers[leader].start();
    cluster.wait_all_in_touch();
    let before = state_of(&cluster.api());
    for server in &mut cluster.servers {
        server.kill();
    }
    for server in &mut cluster.servers {
        server.spawn();
    }
    for server in &mut cluster.servers {
        server.wait_up();
    }
    cluster.wait_leader();
    cluster.wait_all_in_touch();
    cluster.api().wait_nodes(1, SOON);
    for server in &cluster.servers {
        assert_eq!(state_of(&server.api()), before, "{} tells another state after the restart", server.name);
    }
    nothing_is_lost(&cluster, &writer);
    assert_eq!(cluster.api().wait_running("steady", 3, SOON), running, "restarting the servers moved a task");
}

/// Jobs as they are stored, and allocations without what their client reports anew.
fn state_of(api: &Api) -> (Value, Vec<[String; 5]>) {
    let jobs = api.get("/v1/jobs").unwrap();
    let allocs = api.get("/v1/allocations").unwrap();
    let fields = ["ID", "Name", "NodeID", "DesiredStatus", "ClientStatus"];
    let mut allocs: Vec<[String; 5]> =
        allocs.as_array().unwrap().iter().map(|alloc| fields.map(|field| text(&alloc[field]))).collect();
    allocs.sort();
    (jobs, allocs)
}

#[track_caller]
fn nothing_is_lost(cluster: &Cluster, writer: &Writer) {
    let jobs = cluster.api().get("/v1/jobs").unwrap();
    let known: BTreeSet<String> = jobs.as_array().unwrap().iter().map(|job| text(&job["ID"])).collect();
    let acknowledged = writer.acknowledged.lock().unwrap();
    let lost: Vec<&String> = acknowledged.iter().filter(|id| !known.contains(*id)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged jobs are lost: {lost:?}", lost.len(), acknowledged.len());
}

/// Registers one job after the other, at whichever server answers, and remembers which were acknowledged.
#[derive(Default)]
struct Writer {
    acknowledged: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

impl Writer {
    fn run(&self, apis: &[Api]) {
        let mut at = 0;
        let mut number = 0;
        while !self.stopped.load(Ordering::Relaxed) {
            let id = format!("written-{number}");
            number += 1;
            match apis[at].register(&jobs::unplaceable(&id)) {
                Ok(_) => self.acknowledged.lock().unwrap().push(id),
                Err(_) => at = (at + 1) % apis.len(),
            }
        }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    #[track_caller]
    fn wait_for_more(&self, more: usize) {
        let before = self.count();
        wait_for(&format!("{more} more jobs are registered"), SOON, || {
            wait::that(self.count() >= before + more, || self.count())
        });
    }
}

/// Ends the writer.
struct Stops<'a>(&'a Writer);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}
