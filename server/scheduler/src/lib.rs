//! The scheduler: a snapshot of the state and an evaluation in, a plan out.
//!
//! [`schedule()`] is a function of its arguments. No clock, randomness, runtime or lock belongs here: the time and the
//! seed are handed in, and what other workers are about to commit comes as an [`Overlay`]. What it decides is only a
//! proposal: `orch_state` checks each placement again when the plan is committed.
//!
//! Read in this order: [`request`], [`overlay`], [`memo`], [`reconcile`], `feasible`, [`rank`], `ports`, `explain`,
//! `place`, [`schedule`](mod@schedule), [`volume_node`](mod@volume_node).

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod memo;
pub mod overlay;
pub mod request;

mod explain;
mod feasible;
mod place;
mod ports;
pub mod rank;
pub mod reconcile;
pub mod schedule;
pub mod volume_node;

pub use memo::Memo;
pub use overlay::{Lease, Overlay};
pub use request::{Decision, Request};
pub use schedule::{give_up, schedule};
pub use volume_node::{NoNode, VolumeWish, volume_node};
