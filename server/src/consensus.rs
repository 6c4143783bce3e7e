//! Consensus, as everything else in the server needs it.

use std::time::Instant;

use async_trait::async_trait;
use orch_model::{RaftId, StateIndex};
use orch_state::{Command, Rejection, Reply};
use tokio::sync::watch;

use crate::raft::Member;

/// Agreement among the servers on the order of commands. Nothing outside `raft` names the library behind it.
#[async_trait]
pub trait Consensus: Send + Sync + std::fmt::Debug {
    /// Has a command logged and applied, by the leader, wherever that is; answers once this server's state shows it.
    ///
    /// Repeating it is safe where ids that the command mints are in it.
    async fn propose(&self, command: Command) -> Result<Committed, Error>;

    /// How many proposals this server, as the leader, has logged whose outcome is not known yet.
    fn in_line(&self) -> usize;

    /// Waits until this server's state shows every write that was acknowledged before the call.
    async fn read_barrier(&self) -> Result<(), Error>;

    /// Who leads.
    fn leadership(&self) -> watch::Receiver<Leadership>;

    /// The servers, voters and learners.
    fn members(&self) -> Vec<MemberStatus>;

    /// Takes a server in as a learner, or takes over its new address. Only on the leader.
    async fn add_learner(&self, id: RaftId, member: Member) -> Result<(), Error>;

    /// Makes learners voters. Only on the leader.
    async fn promote(&self, ids: Vec<RaftId>) -> Result<(), Error>;

    /// Takes a server out. Only on the leader.
    async fn remove(&self, id: RaftId) -> Result<(), Error>;

    /// Hands leadership to another voter. Only on the leader.
    async fn transfer_leadership(&self, to: RaftId) -> Result<(), Error>;
}

/// A command that was logged and applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The index that it made.
    pub index: StateIndex,
    /// What the state answered.
    pub reply: Reply,
}

/// Who leads, as this server knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// The leader; `None` while there is none that this server knows.
    pub leader: Option<RaftId>,
    /// Where the leader's RPC port is.
    pub leader_addr: Option<String>,
    /// Whether it is this server, and a quorum has confirmed it.
    pub is_self: bool,
}

/// A server in the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its raft id.
    pub id: RaftId,
    /// Who it is.
    pub member: Member,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it leads.
    pub leader: bool,
    /// The last log index that it is known to hold; known on the leader only.
    pub matched: Option<u64>,
    /// When it last answered; known on the leader only.
    pub last_heard: Option<Instant>,
}

/// Why consensus could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no leader, or it cannot be reached.
    #[error("No cluster leader")]
    NoLeader,
    /// It was sent, but whether it was done is not known; it may be repeated.
    #[error("the outcome is unknown: the leader was lost while the write was under way; look before repeating it")]
    OutcomeUnknown,
    /// The state refused it.
    #[error(transparent)]
    Rejected(Rejection),
    /// Too much is under way.
    #[error("the server is busy: {0}")]
    Busy(String),
    /// This server is stopping, or its storage failed.
    #[error("{0}")]
    Stopped(String),
    /// A defect on our side.
    #[error("{0}")]
    Internal(String),
}
