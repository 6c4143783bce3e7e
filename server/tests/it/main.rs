//! Three real servers in one process: forming, leader loss, restart, snapshots, deployments, divergence.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;
mod deployments;
mod divergence;
mod forming;
mod node;
mod nodes;
mod replication;
