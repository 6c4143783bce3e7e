//! Three real servers in one process: forming, leader loss, restart, snapshots.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;
mod forming;
mod replication;
