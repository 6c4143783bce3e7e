//! Durable storage for servers and clients: a log of numbered records, a small cell, a journal of keys.
//!
//! - [`Log`] holds records under consecutive indexes (a server's Raft log), with a vote and a metadata cell beside it.
//!   One writer thread groups commits; damage that a crash cannot explain is an error which names file and offset.
//! - [`Journal`] holds the latest value of each key (a client's local state). A damaged record costs that record, never
//!   the start.
//! - [`SlotFile`] holds one small value that survives a write cut short.
//!
//! Everything reaches the disk through [`LogDisk`], so that tests run the same code on a disk that loses power
//! (`testing::FaultDisk`, with feature `testing`).
//!
//! What must never be here: the meaning of records, Raft, an async runtime, clocks.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod disk;
mod error;
mod format;
mod journal;
mod log;
mod recovery;
mod segment;
mod slot_file;
mod state;
mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod writer;

pub use disk::{DiskFile, LogDisk, RealDisk};
pub use error::Error;
pub use journal::{Damage, Journal, JournalOptions};
pub use log::{Done, Log, OnFatal, Options, Records};
pub use recovery::{Recovery, TornTail};
pub use slot_file::{MAX_SLOT_BYTES, SlotFile};
