//! The vocabulary of orch: jobs, nodes, allocations, evaluations and plans, their ids and units.
//!
//! Everyone speaks it, so it is cheap to build and free of opinion: no async, no I/O, no clock, no randomness.
//! What a client sent and what the servers decided are separate types or separate fields, each with one writer.
//!
//! Read in this order: [`ids`], [`units`], [`time`], [`seed`], [`document`], [`job`], [`admission`], [`diff`], [`node`],
//! [`allocation`], [`deployment`], [`evaluation`], [`plan`], [`scaling`], [`operator`], [`volume`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
#![warn(clippy::wildcard_enum_match_arm)]

pub mod document;
pub mod ids;
pub mod seed;
pub mod time;
pub mod units;

pub mod admission;
pub mod diff;
pub mod job;

pub mod node;

pub mod allocation;
pub mod deployment;
pub mod evaluation;
pub mod operator;
pub mod plan;
pub mod scaling;
pub mod volume;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use allocation::Allocation;
pub use deployment::Deployment;
pub use evaluation::Evaluation;
pub use ids::{
    AllocId, ClusterId, DeploymentId, EvalId, HostVolumeId, JobId, JobKey, JobVersionKey, Namespace, NodeId, RaftId,
    StateIndex,
};
pub use job::Job;
pub use node::Node;
pub use plan::Plan;
pub use time::{Nanos, Timestamp};
pub use units::{MebiBytes, Mhz};
pub use volume::HostVolume;
