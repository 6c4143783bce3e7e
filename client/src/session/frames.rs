//! What a server says, decoded: documents become model values, and what cannot be read is named.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::allocation::AllocUpdate;
use orch_model::{AllocId, Allocation, Job, JobVersionKey, StateIndex, document};
use orch_proto::v1;
use tracing::error;
use uuid::Uuid;

use crate::error::chain;
use crate::outbox::Message;

/// What a session tells the agent.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    /// A server took the client in.
    Opened { cluster_id: String },
    /// Where the servers are.
    Servers(Vec<String>),
    /// Every allocation of this node that the servers know.
    Inventory { index: StateIndex, items: BTreeMap<AllocId, StateIndex> },
    /// Allocations that are new or have changed.
    Delta(Delta),
    /// Updates up to here are committed.
    Acked(u64),
    /// The connection was lost.
    Closed,
}

/// Allocations that are new or have changed.
#[derive(Debug, Default)]
pub(crate) struct Delta {
    pub(crate) index: StateIndex,
    pub(crate) allocs: Vec<Allocation<JobVersionKey>>,
    pub(crate) jobs: Vec<Arc<Job>>,
    pub(crate) removed: Vec<AllocId>,
}

/// What the agent tells the server through the session; dropped if the connection changes meanwhile.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// What of the inventory is needed, and the job versions that need not travel.
    Need { allocs: Vec<AllocId>, jobs: Vec<JobVersionKey> },
    /// What became of allocations.
    Updates(Message),
}

impl Outgoing {
    /// The frame that says it.
    pub(super) fn frame(self) -> v1::client_frame::Frame {
        match self {
            Self::Need { allocs, jobs } => v1::client_frame::Frame::Need(v1::Need {
                alloc_ids: allocs.into_iter().map(alloc_bytes).collect(),
                jobs: jobs.iter().filter_map(encode).collect(),
            }),
            Self::Updates(message) => v1::client_frame::Frame::Updates(v1::Updates {
                sequence: message.sequence,
                updates: message.updates.values().filter_map(encode::<AllocUpdate>).collect(),
            }),
        }
    }
}

/// The document of `value`; one that cannot be encoded is logged and left out.
pub(super) fn encode<T: serde::Serialize>(value: &T) -> Option<Vec<u8>> {
    document::encode(value)
        .inspect_err(|failure| error!(error = chain(failure), "something could not be told to the servers"))
        .ok()
}

pub(super) fn inventory(frame: &v1::Inventory) -> SessionEvent {
    let items = frame.items.iter().filter_map(|item| {
        let id = alloc_id(&item.alloc_id)?;
        Some((id, StateIndex(item.alloc_modify_index)))
    });
    SessionEvent::Inventory { index: StateIndex(frame.index), items: items.collect() }
}

pub(super) fn delta(frame: &v1::Allocs) -> SessionEvent {
    let v1::Allocs { index, allocs, jobs, removed } = frame;
    SessionEvent::Delta(Delta {
        index: StateIndex(*index),
        allocs: allocs.iter().filter_map(|bytes| decode(bytes)).collect(),
        jobs: jobs.iter().filter_map(|bytes| decode(bytes).map(Arc::new)).collect(),
        removed: removed.iter().filter_map(|bytes| alloc_id(bytes)).collect(),
    })
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    document::decode(bytes)
        .inspect_err(|failure| error!(error = chain(failure), "something that a server said cannot be read"))
        .ok()
}

fn alloc_id(bytes: &[u8]) -> Option<AllocId> {
    match Uuid::from_slice(bytes) {
        Ok(id) => Some(AllocId::from_uuid(id)),
        Err(error) => {
            error!(%error, "a server named an allocation by something that is no id");
            None
        }
    }
}

fn alloc_bytes(id: AllocId) -> Vec<u8> {
    id.as_uuid().as_bytes().to_vec()
}
