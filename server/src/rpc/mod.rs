//! gRPC: connections to other servers, and the services that this server answers.

pub mod byte_stream;
pub mod channels;
pub mod clients_service;
pub mod http_over;
pub mod listener;
pub mod peers_service;
pub mod raft_service;

pub use channels::Channels;
