//! What answers to which path, one file per kind of thing.

pub(crate) mod agent;
pub(crate) mod allocations;
pub(crate) mod client;
pub(crate) mod deployments;
pub(crate) mod evaluations;
pub(crate) mod files;
pub(crate) mod forward;
pub(crate) mod interactive;
pub(crate) mod job;
pub(crate) mod jobs;
pub(crate) mod metrics;
pub(crate) mod namespaces;
pub(crate) mod nodes;
pub(crate) mod operator;
pub(crate) mod pools;
pub(crate) mod scaling;
pub(crate) mod search;
pub(crate) mod status;
pub(crate) mod versions;
pub(crate) mod volumes;
