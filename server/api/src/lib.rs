//! The HTTP API's requests and answers, each written once, and a typed client.
//!
//! Shapes differ from the model only where the dialect's JSON does: an allocation carries its job and resources by task,
//! a list row is shorter than its object. They are made from references to model values; there is no second `Job`.
//! Never in here: a server, a router, or rules about jobs.
//!
//! Read in this order: [`json`], [`job`], [`scaling`], [`allocation`], [`evaluation`], [`deployment`], [`node`], [`fs`],
//! [`exec`], [`stats`], [`metrics`], [`agent`], [`operator`], [`namespace`], [`search`], [`volume`], [`client`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod json;

pub mod agent;
pub mod allocation;
pub mod deployment;
pub mod evaluation;
pub mod exec;
pub mod fs;
pub mod job;
pub mod metrics;
pub mod namespace;
pub mod node;
pub mod operator;
pub mod scaling;
pub mod search;
pub mod stats;
pub mod volume;

pub mod client;

mod allocation_view;
mod node_view;

pub use agent::{AgentHealth, AgentMember, AgentMembers, AgentSelf, PartHealth};
pub use allocation::{AllocListStub, AllocMetric, Allocation};
pub use allocation_view::AllocListParts;
pub use client::{Client, Config, QueryMeta, QueryOptions};
pub use deployment::Deployment;
pub use evaluation::Evaluation;
pub use exec::{ExecHandshake, ExecInput, ExecOutput, ExecPiece, ExecResult, JobAction, TtySize};
pub use fs::{FileInfo, StreamFrame};
pub use job::{JobListStub, JobSubmission, JobSummary};
pub use json::{Blob, Time};
pub use metrics::MetricsSummary;
pub use namespace::{Namespace, NodePool};
pub use node::{Node, NodeListStub};
pub use node_view::NodeListParts;
pub use operator::{BrakeStatus, RaftConfiguration, RaftServer, SchedulerConfiguration, TransferLeadership};
pub use scaling::{JobScaleStatus, ScalingEvent};
pub use stats::{AllocResourceUsage, HostStats, NodeMetadata};
pub use volume::{HostVolume, HostVolumeStub};
