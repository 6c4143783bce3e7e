//! How the agent reaches a server.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens connections to servers.
#[derive(Debug, Clone, Default)]
pub struct Transport {}

impl Transport {
    /// Connections in clear text.
    pub fn plain() -> Self {
        Self {}
    }

    /// Connects to the server at `address`, `host:port`.
    pub(crate) async fn connect(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
        endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect().await
    }
}
