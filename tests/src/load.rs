//! A load client that follows the instances of a job, as a load balancer would.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::api::Api;
use crate::http::Connection;

/// How long a request may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a list is waited for before the next server is asked.
const LIST: Duration = Duration::from_secs(3);
/// How long to pause between two rounds over all instances.
const PAUSE: Duration = Duration::from_millis(10);

/// What is known of the instances, and what went wrong.
///
/// An instance is asked from the moment it first answers until its desired status is no longer `run`.
#[derive(Debug, Default)]
pub struct Load {
    known: Mutex<BTreeMap<String, Instance>>,
    report: Mutex<Report>,
    stopped: AtomicBool,
}

#[derive(Debug, Clone)]
struct Instance {
    address: Option<SocketAddr>,
    wanted: bool,
    has_answered: bool,
}

/// What came of the load.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Requests that were answered with success.
    pub answered: usize,
    /// Requests that failed, in the words of the error.
    pub failed: Vec<String>,
    /// The fewest instances that answered in one round, once all of them had answered in one.
    pub fewest: Option<usize>,
    /// Instances that ever answered.
    pub instances: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, failed, fewest, instances } = self;
        write!(
            f,
            "{answered} requests answered by {instances} instances, {} failed, fewest at a time {fewest:?}",
            failed.len()
        )?;
        failed.iter().take(5).try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

impl Load {
    /// Follows the list of allocations of `job` by blocking queries, at whichever server answers, until stopped.
    ///
    /// It reads what the server at hand knows: a balancer cannot wait for a leader.
    pub fn follow(&self, servers: &[Api], job: &str) {
        let mut at = 0;
        let mut index = 0;
        while !self.is_stopped() {
            match self.refresh(&servers[at], job, index) {
                Ok(next) => index = next,
                Err(_) => at = (at + 1) % servers.len(),
            }
        }
    }

    fn refresh(&self, server: &Api, job: &str, index: u64) -> Result<u64> {
        let path = format!("/v1/job/{job}/allocations?stale&wait=1s&index={index}");
        let answer = server.patient(LIST).connect()?.send("GET", &path, b"")?;
        let next = answer.index;
        let stubs = answer.json()?;
        for stub in stubs.as_array().into_iter().flatten() {
            let id = stub["ID"].as_str().unwrap_or_default();
            let wanted = stub["DesiredStatus"] == "run" && stub["ClientStatus"] == "running";
            let known = self.known.lock().expect("no panic under this lock").get(id).cloned();
            let address = match known {
                Some(instance) if instance.address.is_some() => instance.address,
                _ if wanted => server.port(id, "http").ok(),
                _ => None,
            };
            let mut all = self.known.lock().expect("no panic under this lock");
            let instance = all.entry(id.to_owned()).or_insert(Instance { address, wanted, has_answered: false });
            instance.address = address;
            instance.wanted = wanted;
        }
        Ok(next)
    }

    /// Asks every instance, round after round, until stopped; `count` are wanted in all.
    pub fn ask(&self, count: usize) {
        let mut complete = false;
        while !self.is_stopped() {
            let round = self.known.lock().expect("no panic under this lock").clone();
            let mut answering = 0;
            for (id, instance) in round.iter().filter(|(_, instance)| instance.wanted) {
                let Some(address) = instance.address else { continue };
                match request(address) {
                    Ok(()) => {
                        answering += 1;
                        self.answered(id, instance.has_answered);
                    }
                    Err(error) => self.failed(id, instance.has_answered, &format!("{id} at {address}: {error:#}")),
                }
            }
            complete |= answering >= count;
            if complete {
                let mut report = self.report.lock().expect("no panic under this lock");
                report.fewest = Some(report.fewest.unwrap_or(answering).min(answering));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn answered(&self, id: &str, before: bool) {
        let mut report = self.report.lock().expect("no panic under this lock");
        report.answered += 1;
        if !before {
            report.instances += 1;
            drop(report);
            if let Some(instance) = self.known.lock().expect("no panic under this lock").get_mut(id) {
                instance.has_answered = true;
            }
        }
    }

    /// A request failed: that counts unless the instance never answered, or was told to stop meanwhile.
    fn failed(&self, id: &str, before: bool, failure: &str) {
        let wanted = self.known.lock().expect("no panic under this lock").get(id).is_some_and(|now| now.wanted);
        if before && wanted {
            self.report.lock().expect("no panic under this lock").failed.push(failure.to_owned());
        }
    }

    /// What came of it so far.
    pub fn report(&self) -> Report {
        self.report.lock().expect("no panic under this lock").clone()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Stops both loops when dropped, also when something fails: a scope waits for its threads.
    pub fn stops(&self) -> Stops<'_> {
        Stops(self)
    }
}

/// Stops a load when it is dropped.
#[derive(Debug)]
pub struct Stops<'a>(&'a Load);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

fn request(address: SocketAddr) -> Result<()> {
    let answer = Connection::open(address, PATIENCE)?.send("GET", "/", b"")?;
    anyhow::ensure!(answer.status == 200, "status {}", answer.status);
    Ok(())
}
