//! The plan applier: packs the plans of many workers into few log entries and answers each.

use std::sync::Arc;
use std::time::Instant;

use orch_model::Plan;
use orch_model::document;
use orch_model::plan::PlanResult;
use orch_state::commands::ApplyPlans;
use orch_state::{Command, Reply};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::consensus::{Consensus, Error};
use crate::metrics;

/// Plans waiting; when full, workers wait.
const QUEUE: usize = 1024;

/// About how large an entry becomes.
const ENTRY_BYTES: usize = 1 << 20;

/// How many entries are under way at a time.
const IN_FLIGHT: usize = 8;

/// The way to the applier.
#[derive(Debug, Clone)]
pub struct PlanQueue {
    queue: mpsc::Sender<Submitted>,
}

#[derive(Debug)]
struct Submitted {
    plan: Plan,
    bytes: usize,
    done: oneshot::Sender<Result<(PlanResult, orch_model::StateIndex), Error>>,
}

/// Packs plans into entries.
#[derive(Debug)]
pub struct PlanApplier {
    queue: mpsc::Receiver<Submitted>,
    consensus: Arc<dyn Consensus>,
}

impl PlanQueue {
    /// The handle and the service behind it.
    pub fn new(consensus: Arc<dyn Consensus>) -> (Self, PlanApplier) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Self { queue: sender }, PlanApplier { queue, consensus })
    }

    /// Has a plan committed; answers what became of it and the index it was committed at.
    pub async fn submit(&self, plan: Plan) -> Result<(PlanResult, orch_model::StateIndex), Error> {
        let stopped = || Error::Stopped("this server does not lead any more".into());
        let began = Instant::now();
        let bytes = document::encode(&plan).map_err(|error| Error::Internal(error.to_string()))?.len();
        let (done, answer) = oneshot::channel();
        self.queue.send(Submitted { plan, bytes, done }).await.map_err(|_| stopped())?;
        let answer = answer.await.map_err(|_| stopped())?;
        match &answer {
            Ok((PlanResult::Committed { refused, .. }, _)) => metrics::plan_submitted(began.elapsed(), refused.len()),
            Ok((PlanResult::Stale { .. }, _)) => metrics::plan_stale(),
            Err(_) => {}
        }
        answer
    }
}

impl PlanApplier {
    /// Runs until `shutdown`; plans that are under way then are still answered.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let in_flight = Arc::new(Semaphore::new(IN_FLIGHT));
        let tasks = TaskTracker::new();
        let mut held: Option<Submitted> = None;
        loop {
            let first = match held.take() {
                Some(first) => first,
                None => tokio::select! {
                    () = shutdown.cancelled() => break,
                    plan = self.queue.recv() => match plan {
                        Some(plan) => plan,
                        None => break,
                    },
                },
            };
            let Ok(permit) = Arc::clone(&in_flight).acquire_owned().await else { break };
            let mut size = first.bytes;
            let mut batch = vec![first];
            while let Ok(next) = self.queue.try_recv() {
                if size + next.bytes > ENTRY_BYTES {
                    held = Some(next);
                    break;
                }
                size += next.bytes;
                batch.push(next);
            }
            metrics::plan_queue(self.queue.len());
            let consensus = Arc::clone(&self.consensus);
            tasks.spawn(async move {
                commit(&*consensus, batch).await;
                drop(permit);
            });
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn commit(consensus: &dyn Consensus, batch: Vec<Submitted>) {
    let (plans, waiting): (Vec<_>, Vec<_>) = batch.into_iter().map(|item| (item.plan, item.done)).unzip();
    let began = Instant::now();
    let outcome = consensus.propose(Command::ApplyPlans(ApplyPlans { plans })).await;
    metrics::plans_applied(began.elapsed(), waiting.len());
    let answers: Vec<Result<_, Error>> = match outcome {
        Ok(committed) => match committed.reply {
            Reply::Plans(results) => results.into_iter().map(|result| Ok((result, committed.index))).collect(),
            other => vec![Err(Error::Internal(format!("plans were answered with {other:?}"))); waiting.len()],
        },
        Err(error) => vec![Err(error); waiting.len()],
    };
    for (done, answer) in waiting.into_iter().zip(answers) {
        // A worker that was stopped does not wait for the answer.
        drop(done.send(answer));
    }
}
