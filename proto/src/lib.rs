//! The gRPC messages between servers, and between clients and servers, generated from `proto/`.
//!
//! Envelopes only: session frames, Raft RPCs, stream chunks. The entities inside ride as model documents
//! (`orch_model::document`); no logic and no second `Job` belong here.

/// Version 1 of the wire protocol.
#[allow(
    missing_debug_implementations,
    unreachable_pub,
    clippy::allow_attributes_without_reason,
    clippy::large_futures,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("orch.v1");
}
