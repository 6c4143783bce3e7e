//! Consensus by openraft; nothing outside this module names it.

mod applier;
mod barrier;
mod log_store;
mod network;
mod node;
mod paced;
mod recent;
mod snapshots;
mod state_machine;
mod types;

#[cfg(test)]
mod tests;

pub(crate) use node::Forwarded;
pub use node::{RaftNode, RaftOptions};
pub use types::Member;
pub(crate) use types::{SnapshotFile, TypeConfig};
