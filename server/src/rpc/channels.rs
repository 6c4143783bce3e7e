//! Connections to other servers, one per address and purpose.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// The largest message that is read: a snapshot travels in chunks, an all-at-once plan in one entry of 8 MiB.
pub const MAX_MESSAGE: usize = 24 << 20;

/// What a connection is for: heartbeats do not queue behind bulk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Votes and heartbeats.
    Heartbeat,
    /// Log entries.
    Log,
    /// Everything else.
    General,
}

/// Connections to other servers.
///
/// They are made when first used and made again by themselves when lost.
#[derive(Debug, Default)]
pub struct Channels {
    open: Mutex<BTreeMap<(String, Purpose), Channel>>,
}

/// An address that cannot be one.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{addr:?} is not an address of a server: write host:port")]
pub struct InvalidAddress {
    addr: String,
}

impl Channels {
    /// The connection to `addr` (`host:port`) for `purpose`.
    pub fn to(&self, addr: &str, purpose: Purpose) -> Result<Channel, InvalidAddress> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = open.get(&(addr.to_owned(), purpose)) {
            return Ok(channel.clone());
        }
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))
            .map_err(|_| InvalidAddress { addr: addr.to_owned() })?
            .connect_timeout(Duration::from_secs(1))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        let channel = endpoint.connect_lazy();
        open.insert((addr.to_owned(), purpose), channel.clone());
        Ok(channel)
    }

    /// Forgets the connections to `addr`, so that the next use makes new ones.
    pub fn forget(&self, addr: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(other, _), _| other != addr);
    }
}
