//! Gathers what clients say about their allocations into few log entries.

use std::sync::Arc;
use std::time::Instant;

use orch_model::NodeId;
use orch_model::allocation::AllocUpdate;
use orch_state::Command;
use orch_state::commands::UpdateAllocs;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::consensus::{Consensus, Error};
use crate::metrics;

/// Reports waiting; when full, sessions wait, and their clients keep what is not acknowledged.
const QUEUE: usize = 4096;

/// The most updates in one entry, so that it stays below 1 MiB.
const MAX_UPDATES: usize = 1024;

/// The way to the gatherer: what arrives while one entry is under way rides in the next.
#[derive(Debug, Clone)]
pub struct AllocUpdates {
    queue: mpsc::Sender<Report>,
}

#[derive(Debug)]
struct Report {
    node_id: NodeId,
    updates: Vec<AllocUpdate>,
    done: oneshot::Sender<Result<(), Error>>,
}

/// Proposes what was gathered.
#[derive(Debug)]
pub struct Gatherer {
    queue: mpsc::Receiver<Report>,
    consensus: Arc<dyn Consensus>,
}

impl AllocUpdates {
    /// The handle and the service behind it.
    pub fn new(consensus: Arc<dyn Consensus>) -> (Self, Gatherer) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Self { queue: sender }, Gatherer { queue, consensus })
    }

    /// Has a node's updates logged; repeating it is safe.
    pub async fn submit(&self, node_id: NodeId, updates: Vec<AllocUpdate>) -> Result<(), Error> {
        if updates.is_empty() {
            return Ok(());
        }
        let stopped = || Error::Stopped("this server is stopping".into());
        let (done, answer) = oneshot::channel();
        self.queue.send(Report { node_id, updates, done }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Gatherer {
    /// Runs until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let first = tokio::select! {
                () = shutdown.cancelled() => return,
                report = self.queue.recv() => match report {
                    Some(report) => report,
                    None => return,
                },
            };
            let mut count = first.updates.len();
            let mut reports = vec![first];
            while count < MAX_UPDATES
                && let Ok(report) = self.queue.try_recv()
            {
                count += report.updates.len();
                reports.push(report);
            }
            metrics::update_queue(self.queue.len());
            let began = Instant::now();
            self.commit(reports).await;
            metrics::updates_stored(began.elapsed(), count);
        }
    }

    async fn commit(&self, mut reports: Vec<Report>) {
        let updates: Vec<_> = reports
            .iter_mut()
            .flat_map(|report| std::mem::take(&mut report.updates).into_iter().map(|update| (report.node_id, update)))
            .collect();
        let mut result = Ok(());
        for part in updates.chunks(MAX_UPDATES) {
            let seed = Uuid::new_v4().as_u64_pair().0;
            let command = Command::UpdateAllocs(UpdateAllocs { updates: part.to_vec(), seed });
            if let Err(error) = self.consensus.propose(command).await {
                result = Err(error);
                break;
            }
        }
        for report in reports {
            // A session that ended meanwhile does not wait for the answer.
            drop(report.done.send(result.clone()));
        }
    }
}
