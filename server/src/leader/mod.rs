//! What only the leader does: started in one place when leadership is won, stopped and awaited when it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use orch_model::{RaftId, Timestamp};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::brake::BrakeDesk;
use crate::config::Config;
use crate::consensus::Consensus;
use crate::sessions::Silence;
use crate::store::Store;

pub mod blocked;
pub mod brake;
pub mod broker;
pub mod deployments;
pub mod detector;
pub mod gc;
pub mod plan_applier;

mod detection;
mod housekeeping;
mod inspection;
mod scheduling;
mod soundness;

/// What the leader's parts need.
#[derive(Debug, Clone)]
pub struct Context {
    /// Agreement with the other servers.
    pub consensus: Arc<dyn Consensus>,
    /// The state.
    pub store: Arc<Store>,
    /// What the server was told.
    pub config: Arc<Config>,
    /// What servers say about their sessions.
    pub digests: Arc<Digests>,
    /// What operators ask about the brake.
    pub brake: Arc<BrakeDesk>,
}

/// What servers say about their sessions, waiting for the detector; dropped while this server does not lead.
#[derive(Debug, Default)]
pub struct Digests {
    waiting: Mutex<Vec<(RaftId, Vec<Silence>, Instant)>>,
}

/// More digests than this mean that nobody takes them.
const DIGESTS_KEPT: usize = 1024;

impl Digests {
    /// Takes a server's word.
    pub fn put(&self, server: RaftId, silent: Vec<Silence>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= DIGESTS_KEPT {
            waiting.clear();
        }
        waiting.push((server, silent, Instant::now()));
    }

    fn take(&self) -> Vec<(RaftId, Vec<Silence>, Instant)> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Starts the leader's parts whenever this server wins leadership, until `shutdown`.
pub async fn run(context: Context, shutdown: CancellationToken) {
    let mut leadership = context.consensus.leadership();
    loop {
        let now = leadership.borrow_and_update().clone();
        if now.is_self {
            lead(&context, now.term, &mut leadership, &shutdown).await;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}

/// Leads for one term.
async fn lead(
    context: &Context,
    term: u64,
    leadership: &mut tokio::sync::watch::Receiver<crate::consensus::Leadership>,
    shutdown: &CancellationToken,
) {
    // Everything that earlier leaders committed must be seen before anything is decided on it.
    if let Err(error) = context.consensus.read_barrier().await {
        warn!(raft.term = term, %error, "won leadership but could not confirm it");
        return;
    }
    info!(raft.term = term, "leading");
    let ended = shutdown.child_token();
    let tasks = TaskTracker::new();
    let (scheduling, plans) = scheduling::start(context);
    tasks.spawn(plans.run(ended.clone()));
    tasks.spawn(scheduling.run(ended.clone()));
    tasks.spawn(deployments::watch(context.clone(), ended.clone()));
    tasks.spawn(detection::detect(context.clone(), ended.clone()));
    tasks.spawn(housekeeping::collect(context.clone(), ended.clone()));
    tasks.spawn(housekeeping::promote(context.clone(), ended.clone()));
    tasks.spawn(soundness::agree(context.clone(), ended.clone()));
    tasks.spawn(soundness::check(context.clone(), ended.clone()));
    tasks.close();
    let lost = leadership.wait_for(|now| !now.is_self || now.term != term);
    tokio::select! {
        () = shutdown.cancelled() => {}
        changed = lost => drop(changed),
    }
    ended.cancel();
    if tokio::time::timeout(Duration::from_secs(20), tasks.wait()).await.is_err() {
        warn!(raft.term = term, "parts of the leader did not stop in time");
    }
    info!(raft.term = term, "not leading any more");
}

/// The wall clock, for what is due at a time that people set; replicated time is stamped by the leader elsewhere.
pub(crate) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
