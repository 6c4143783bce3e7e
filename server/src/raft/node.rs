//! The raft node: openraft started over this server's log, state and network, behind [`Consensus`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};
use openraft::raft::ReadPolicy;
use openraft::{ChangeMembers, Config, ServerState, SnapshotPolicy};
use orch_model::{RaftId, Timestamp, document};
use orch_proto::v1::peers_client::PeersClient;
use orch_state::{Command, Entry, RULES, Reply};
use orch_wal::{Log, LogDisk, Options};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{debug, info, warn};

use super::barrier::Barriers;
use super::log_store::LogStore;
use super::network::Network;
use super::snapshots::Snapshots;
use super::state_machine::StateMachine;
use super::types::{Answer, Member, Proposal, TypeConfig};
use crate::consensus::{Committed, Consensus, Error, Leadership, MemberStatus};
use crate::identity::Identity;
use crate::metrics;
use crate::rpc::channels::{Channels, MAX_MESSAGE, Purpose};
use crate::store::Store;

/// How long a proposal or a read waits for a leader.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before asking again who leads.
const RETRY: Duration = Duration::from_millis(50);
/// The largest entry: an all-at-once plan.
const MAX_ENTRY: usize = 8 << 20;
/// How many bytes of log are kept behind a snapshot for followers that are slow.
const TRAILING_BYTES: u64 = 64 << 20;

type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// How the node is run.
#[derive(Debug, Clone)]
pub struct RaftOptions {
    /// All timings are multiplied by it; 1 is for a local network.
    pub multiplier: u64,
    /// A snapshot is made after so many entries.
    pub snapshot_threshold: u64,
}

impl Default for RaftOptions {
    fn default() -> Self {
        Self { multiplier: 1, snapshot_threshold: 8192 }
    }
}

/// This server's part in consensus.
#[derive(Debug)]
pub struct RaftNode {
    raft: Raft,
    /// The log, until the node stops.
    log: Mutex<Option<Log>>,
    store: Arc<Store>,
    identity: Arc<Identity>,
    channels: Arc<Channels>,
    barriers: Barriers,
    leadership: watch::Sender<Leadership>,
    /// How many proposals this server has logged whose outcome is not known yet.
    in_line: AtomicUsize,
}

/// A proposal that waits for its outcome, for as long as this lives.
struct InLine<'a>(&'a AtomicUsize);

impl<'a> InLine<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An entry for `command`, with this server's clock.
fn stamped(command: Command) -> Arc<Entry> {
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let stamp = Timestamp(i64::try_from(stamp.as_nanos()).unwrap_or(i64::MAX));
    Arc::new(Entry { rules: RULES, stamp, command })
}

impl RaftNode {
    /// Opens log and snapshots in `dir` and starts the node; it takes part once it is in a membership.
    pub async fn start(
        disk: Arc<dyn LogDisk>,
        dir: &Path,
        options: &RaftOptions,
        identity: Arc<Identity>,
        channels: Arc<Channels>,
        on_fatal: orch_wal::OnFatal,
    ) -> Result<Arc<Self>, Error> {
        let snapshots_dir = dir.join("snapshots");
        let (machine, store, log) = tokio::task::spawn_blocking(move || {
            // The newest entries are remembered as they are, so the log need not keep their bytes.
            let wal_options = Options { on_fatal: Some(on_fatal), tail_bytes: 256 << 10, ..Options::default() };
            let (log, recovery) = Log::open(disk, wal_options).map_err(|error| chain(&error))?;
            if let Some(torn) = &recovery.torn {
                warn!(path = %torn.path.display(), offset = torn.offset, detail = torn.detail,
                    "the end of the log was torn by a crash and has been cut");
            }
            let snapshots = Snapshots::open(snapshots_dir).map_err(|error| chain(&error))?;
            let (machine, store) = StateMachine::open(snapshots).map_err(|error| chain(&error))?;
            Ok::<_, String>((machine, store, log))
        })
        .await
        .map_err(|error| Error::Internal(error.to_string()))?
        .map_err(Error::Stopped)?;
        let network = Network::new(Arc::clone(&channels), Arc::clone(&identity));
        let raft =
            Raft::new(identity.raft_id().0, Arc::new(config(options)?), network, LogStore::new(log.clone()), machine)
                .await
                .map_err(|error| Error::Stopped(error.to_string()))?;
        let voters: Vec<u64> = raft.voter_ids().collect();
        if voters == [identity.raft_id().0] {
            // Nobody else can lead, so there is nobody to wait for.
            raft.trigger().elect(false).await.map_err(|error| Error::Stopped(error.to_string()))?;
        }
        let leadership = watch::Sender::new(Leadership::default());
        Ok(Arc::new(Self {
            raft,
            log: Mutex::new(Some(log)),
            store,
            identity,
            channels,
            barriers: Barriers::default(),
            leadership,
            in_line: AtomicUsize::new(0),
        }))
    }

    /// The state that this node maintains.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// openraft itself, for the service that answers its requests.
    pub(crate) const fn raft(&self) -> &Raft {
        &self.raft
    }

    /// Forms a cluster of these servers. Only for servers that promised to be formed into this set.
    pub async fn initialise(&self, members: BTreeMap<u64, Member>) -> Result<(), Error> {
        match self.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(openraft::errors::InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(Error::Internal(error.to_string())),
        }
    }

    /// Whether this node has a log or a membership.
    pub async fn is_initialised(&self) -> Result<bool, Error> {
        self.raft.is_initialized().await.map_err(|error| Error::Stopped(error.to_string()))
    }

    /// Follows openraft's metrics until `shutdown`: tells who leads, and purges log that nobody needs.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut metrics = self.raft.metrics();
        loop {
            self.observe();
            tokio::select! {
                () = shutdown.cancelled() => return,
                changed = metrics.changed() => if changed.is_err() { return },
            }
        }
    }

    fn observe(&self) {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let leader = metrics.current_leader;
        let leader_addr = leader
            .and_then(|id| metrics.membership_config.membership().get_node(&id).map(|node| node.rpc_addr.clone()));
        let is_self = metrics.state == ServerState::Leader && leader == Some(metrics.id);
        let now = Leadership { term: metrics.current_term, leader: leader.map(RaftId), leader_addr, is_self };
        self.leadership.send_if_modified(|known| {
            if *known == now {
                return false;
            }
            if known.leader != now.leader {
                info!(raft.term = now.term, leader = ?now.leader, "leadership changed");
            }
            *known = now;
            true
        });
    }

    /// Has this server, which leads, log `command`.
    pub(crate) async fn propose_here(&self, command: Command) -> Result<Answer, HereError> {
        self.log_here(stamped(command)).await
    }

    async fn log_here(&self, entry: Arc<Entry>) -> Result<Answer, HereError> {
        let _in_line = InLine::new(&self.in_line);
        let encoded = entry.encode().map_err(|error| HereError::Failed(Error::Internal(chain(&error))))?;
        if encoded.len() > MAX_ENTRY {
            return Err(HereError::Failed(Error::Busy(format!(
                "a change of {} bytes is too large for one entry of {MAX_ENTRY} bytes: split it",
                encoded.len()
            ))));
        }
        let proposal = Proposal::new(entry, encoded);
        match self.raft.client_write(proposal).await {
            Ok(response) => Ok(response.data),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => Err(HereError::NotLeader),
            Err(RaftError::APIError(error)) => {
                debug!(error = %error, "a proposal was lost with its leader");
                Err(HereError::Lost)
            }
            Err(RaftError::Fatal(error)) => Err(HereError::Failed(Error::Stopped(error.to_string()))),
        }
    }

    /// The log index that a read must have applied, confirmed by a quorum; only on the leader.
    pub(crate) async fn read_index_here(&self) -> Result<u64, Error> {
        self.barriers
            .pass(|| async {
                match self.raft.get_read_log_id(ReadPolicy::ReadIndex).await {
                    Ok((read, _)) => Ok(read.index()),
                    Err(RaftError::APIError(
                        LinearizableReadError::ForwardToLeader(_) | LinearizableReadError::QuorumNotEnough(_),
                    )) => Err(Error::NoLeader),
                    Err(error) => Err(Error::Stopped(error.to_string())),
                }
            })
            .await
    }

    /// Proposes to whoever leads until that has an outcome or `deadline` passes.
    async fn propose_until(&self, deadline: Instant, command: Command) -> Result<Committed, Error> {
        let mut sent = false;
        let mut entry = stamped(command);
        loop {
            let now = self.current();
            let result = match (&now.leader_addr, now.is_self) {
                (_, true) => self.log_here(Arc::clone(&entry)).await,
                (Some(addr), false) => self.propose_there(addr, &entry.command).await,
                (None, false) => Err(HereError::NotLeader),
            };
            match result {
                Ok(answer) => return self.seen(answer, deadline).await,
                Err(HereError::Failed(error)) => return Err(error),
                Err(HereError::Lost) => sent = true,
                Err(HereError::NotLeader) => {}
            }
            if Instant::now() >= deadline {
                return Err(if sent { Error::OutcomeUnknown } else { Error::NoLeader });
            }
            tokio::time::sleep(RETRY).await;
            entry = stamped(entry.command.clone());
        }
    }

    async fn propose_there(&self, addr: &str, command: &Command) -> Result<Answer, HereError> {
        let failed = |message: String| HereError::Failed(Error::Internal(message));
        let envelope = self.identity.envelope(command).map_err(|error| failed(chain(&error)))?;
        let channel = self.channels.to(addr, Purpose::General).map_err(|error| failed(error.to_string()))?;
        let mut client =
            PeersClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
        let answer = tokio::time::timeout(PATIENCE, client.propose(envelope)).await.map_err(|_| HereError::Lost)?;
        match answer {
            Ok(envelope) => {
                let outcome: Forwarded =
                    document::decode(&envelope.into_inner().document).map_err(|error| failed(chain(&error)))?;
                outcome.into_result()
            }
            Err(status) if status.code() == Code::Unavailable => Err(HereError::Lost),
            Err(status) => Err(failed(status.message().to_owned())),
        }
    }

    async fn read_index_there(&self, addr: &str) -> Result<u64, Error> {
        let envelope = self.identity.envelope(&()).map_err(|error| Error::Internal(chain(&error)))?;
        let channel = self.channels.to(addr, Purpose::Heartbeat).map_err(|error| Error::Internal(error.to_string()))?;
        let mut client = PeersClient::new(channel);
        let answer = tokio::time::timeout(Duration::from_secs(2), client.read_index(envelope)).await;
        match answer {
            Ok(Ok(reply)) => Ok(reply.into_inner().log_index),
            Ok(Err(_)) | Err(_) => Err(Error::NoLeader),
        }
    }

    fn current(&self) -> Leadership {
        self.leadership.borrow().clone()
    }

    /// Stops the node after what is under way, and closes the log.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            warn!(%error, "the raft node did not stop cleanly");
        }
        let Some(log) = self.log.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        log.sync(Box::new(move |result| drop(sender.send(result))));
        if !matches!(receiver.await, Ok(Ok(()))) {
            warn!("the log could not be brought to disk at the end");
        }
    }

    fn log(&self) -> Option<Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Figures for `agent info`.
    pub fn stats(&self) -> BTreeMap<String, String> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        BTreeMap::from([
            ("term".into(), metrics.current_term.to_string()),
            ("state".into(), format!("{:?}", metrics.state)),
            ("last_log_index".into(), metrics.last_log_index.unwrap_or_default().to_string()),
            ("applied_index".into(), self.store.applied().to_string()),
            ("snapshot_index".into(), metrics.snapshot.map_or(0, |id| id.index).to_string()),
            ("log_bytes".into(), self.log().map_or(0, |log| log.bytes()).to_string()),
            ("commands_pending".into(), self.apply_lag().to_string()),
        ])
    }

    /// How many entries of this server's log are not applied yet.
    pub fn apply_lag(&self) -> u64 {
        let last = self.raft.metrics().borrow_watched().last_log_index;
        last.unwrap_or_default().saturating_sub(self.store.applied())
    }

    /// Removes log that snapshots cover, but for what slow followers may still need.
    pub async fn purge_covered(&self) {
        let covered = self.raft.metrics().borrow_watched().snapshot.map_or(0, |id| id.index);
        let Some(log) = self.log() else { return };
        let keep_from = log.oldest_within(TRAILING_BYTES);
        let upto = covered.min(keep_from.saturating_sub(1));
        if upto > log.purged_to().unwrap_or(0)
            && let Err(error) = self.raft.trigger().purge_log(upto).await
        {
            warn!(%error, "old log could not be purged");
        }
    }
}

/// Why a proposal on this very server came to nothing.
#[derive(Debug)]
pub(crate) enum HereError {
    /// It does not lead: nothing was logged.
    NotLeader,
    /// It may or may not have been logged.
    Lost,
    /// Trying again is of no use.
    Failed(Error),
}

/// The leader's answer to a forwarded proposal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Forwarded {
    /// It was logged and applied.
    Done(Answer),
    /// That server does not lead.
    NotLeader,
    /// It may or may not have been logged.
    Lost,
    /// Trying again is of no use.
    Failed(String),
}

impl Forwarded {
    /// The outcome of a proposal, for the wire.
    pub(crate) fn new(result: Result<Answer, HereError>) -> Self {
        match result {
            Ok(answer) => Self::Done(answer),
            Err(HereError::NotLeader) => Self::NotLeader,
            Err(HereError::Lost) => Self::Lost,
            Err(HereError::Failed(error)) => Self::Failed(error.to_string()),
        }
    }

    fn into_result(self) -> Result<Answer, HereError> {
        match self {
            Self::Done(answer) => Ok(answer),
            Self::NotLeader => Err(HereError::NotLeader),
            Self::Lost => Err(HereError::Lost),
            Self::Failed(message) => Err(HereError::Failed(Error::Internal(message))),
        }
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn config(options: &RaftOptions) -> Result<Config, Error> {
    let times = options.multiplier.clamp(1, 10);
    let config = Config {
        cluster_name: "orch".into(),
        heartbeat_interval: 100 * times,
        election_timeout_min: 300 * times,
        election_timeout_max: 650 * times,
        enable_pre_vote: Some(true),
        // A leader that restarts must win again: what it had committed is only known once a new term has committed.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_threshold.max(16)),
        // Purging is ours: by bytes, not by a count of entries.
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: 256,
        install_snapshot_timeout: 60_000,
        ..Config::default()
    };
    config.validate().map_err(|error| Error::Internal(error.to_string()))
}

#[async_trait]
impl Consensus for RaftNode {
    async fn propose(&self, command: Command) -> Result<Committed, Error> {
        let (name, began) = (command.name(), Instant::now());
        let outcome = self.propose_until(began + PATIENCE, command).await;
        metrics::proposed(name, began.elapsed(), outcome.is_err());
        outcome
    }

    fn in_line(&self) -> usize {
        self.in_line.load(Ordering::Relaxed)
    }

    async fn read_barrier(&self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.current();
            let index = match (&now.leader_addr, now.is_self) {
                (_, true) => self.read_index_here().await,
                (Some(addr), false) => self.barriers.pass(|| self.read_index_there(addr)).await,
                (None, false) => Err(Error::NoLeader),
            };
            match index {
                Ok(index) if self.store.wait_applied(index, deadline).await => return Ok(()),
                Ok(_) | Err(Error::NoLeader) if Instant::now() >= deadline => return Err(Error::NoLeader),
                Ok(_) | Err(Error::NoLeader) => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error),
            }
        }
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn members(&self) -> Vec<MemberStatus> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        metrics
            .membership_config
            .nodes()
            .map(|(id, member)| MemberStatus {
                id: RaftId(*id),
                member: member.clone(),
                voter: voters.contains(id),
                leader: metrics.current_leader == Some(*id),
                matched: metrics
                    .replication
                    .as_ref()
                    .and_then(|progress| progress.get(id))
                    .and_then(|matched| matched.as_ref().map(|log_id| log_id.index)),
                last_heard: metrics
                    .heartbeat
                    .as_ref()
                    .and_then(|heard| heard.get(id))
                    .and_then(|at| Instant::now().checked_sub(at.as_ref()?.elapsed())),
            })
            .collect()
    }

    async fn add_learner(&self, id: RaftId, member: Member) -> Result<(), Error> {
        let known = self.members().into_iter().find(|status| status.id == id);
        let result = match known {
            Some(status) if status.member == member => return Ok(()),
            Some(_) => {
                let change = ChangeMembers::SetNodes(BTreeMap::from([(id.0, member)]));
                self.raft.change_membership(change, true).await
            }
            None => self.raft.add_learner(id.0, member, false).await,
        };
        result.map(|_| ()).map_err(membership_error)
    }

    async fn promote(&self, ids: Vec<RaftId>) -> Result<(), Error> {
        let ids: BTreeSet<u64> = ids.into_iter().map(|id| id.0).collect();
        let change = ChangeMembers::AddVoterIds(ids);
        self.raft.change_membership(change, true).await.map(|_| ()).map_err(membership_error)
    }

    async fn remove(&self, id: RaftId) -> Result<(), Error> {
        let ids = BTreeSet::from([id.0]);
        let voter = self.members().iter().any(|status| status.id == id && status.voter);
        if voter {
            let change = ChangeMembers::RemoveVoters(ids.clone());
            self.raft.change_membership(change, true).await.map_err(membership_error)?;
        }
        let change = ChangeMembers::RemoveNodes(ids);
        self.raft.change_membership(change, true).await.map(|_| ()).map_err(membership_error)
    }

    async fn transfer_leadership(&self, to: RaftId) -> Result<(), Error> {
        self.raft.trigger().transfer_leader(to.0).await.map_err(|error| Error::Stopped(error.to_string()))
    }
}

impl RaftNode {
    /// Waits until this server's state shows a write, and takes its answer apart.
    async fn seen(&self, answer: Answer, deadline: Instant) -> Result<Committed, Error> {
        let base = self.store.snapshot().meta().index_base;
        let log_index = answer.index.0.saturating_sub(base);
        if !self.store.wait_applied(log_index, deadline).await {
            debug!(raft.index = log_index, "a write was done, but this server does not show it yet");
        }
        match answer.reply {
            Some(Reply::Rejected(rejection)) => Err(Error::Rejected(rejection)),
            Some(reply) => Ok(Committed { index: answer.index, reply }),
            None => Err(Error::Internal("applying the change failed; the servers' logs name the entry".into())),
        }
    }
}

fn membership_error(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Error {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => Error::NoLeader,
        RaftError::APIError(error) => Error::Busy(error.to_string()),
        RaftError::Fatal(error) => Error::Stopped(error.to_string()),
    }
}
