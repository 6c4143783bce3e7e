//! The replicated state: its tables, the commands that change it, and the one fit function.
//!
//! Everything here is a function of its arguments: `apply(state, entry)` gives the same result on every server, now or
//! when the log is replayed. No clock, randomness, file, lock or runtime belongs here. A command that the state cannot
//! honour is answered, not an error; effects are data ([`Changes`]) that only a leader acts on.
//!
//! Read in this order: [`entry`], [`state`], [`row`], [`usage`], [`fits`](mod@fits), [`commands`], [`digest`],
//! [`apply`](mod@apply), [`scope`],
//! [`snapshot`], [`invariants`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod apply;
pub mod commands;
pub mod digest;
pub mod entry;
pub mod fits;
pub mod invariants;
pub mod row;
pub mod scope;
pub mod snapshot;
pub mod state;
pub mod usage;

mod tx;

pub use apply::{Applied, apply};
pub use commands::{Command, Rejection, RejectionKind, Reply};
pub use digest::CHECKPOINT_EVERY;
pub use entry::{Entry, RULES};
pub use fits::fits;
pub use row::{GroupSummary, JobRow, Submission};
pub use scope::{Scope, Table};
pub use state::{Meta, State};
pub use tx::Changes;
pub use usage::{NodeRow, PortsInUse, UsageView};
