//! The types that openraft is instantiated with.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use orch_model::StateIndex;
use orch_state::entry::EntryError;
use orch_state::{Entry, Reply};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

openraft::declare_raft_types!(
    /// openraft, instantiated for orch.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Answer,
        NodeId = u64,
        Node = Member,
);

/// A server as the membership in the log names it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where others reach its RPC port.
    pub rpc_addr: String,
    /// Where its HTTP API is reached.
    pub http_addr: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Its region.
    pub region: String,
    /// The version it runs.
    pub version: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.rpc_addr)
    }
}

/// An entry on its way through the log: its bytes, made once by the leader, and what they say.
#[derive(Clone)]
pub(crate) struct Proposal {
    encoded: Bytes,
    entry: OnceLock<Arc<Entry>>,
}

impl Proposal {
    /// The proposal of `entry`, whose encoding is `encoded`.
    pub(crate) fn new(entry: Arc<Entry>, encoded: Vec<u8>) -> Self {
        Self { encoded: encoded.into(), entry: OnceLock::from(entry) }
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.encoded.len()
    }

    /// What the bytes say.
    pub(crate) fn entry(&self) -> Result<Arc<Entry>, EntryError> {
        if let Some(entry) = self.entry.get() {
            return Ok(Arc::clone(entry));
        }
        let entry = Arc::new(Entry::decode(&self.encoded)?);
        Ok(Arc::clone(self.entry.get_or_init(|| entry)))
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({} bytes)", self.encoded.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.encoded.len())
    }
}

impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Serialize for Proposal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.encoded)
    }
}

impl<'de> Deserialize<'de> for Proposal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { encoded: Bytes::deserialize(deserializer)?, entry: OnceLock::new() })
    }
}

/// The answer to a proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The index that the entry made.
    pub index: StateIndex,
    /// What the state said; `None` if applying the entry failed on this server, which is a defect.
    pub reply: Option<Reply>,
}

/// A snapshot file that is complete.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile {
    /// Where it is.
    pub path: std::path::PathBuf,
}
