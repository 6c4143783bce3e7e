//! One HTTP/1.1 connection and the task that drives it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::{Address, Error};

/// A connection; dropping it ends it.
#[derive(Debug)]
pub(super) struct Connection {
    address: Address,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects to `address`.
    pub(super) async fn open(address: &Address, within: Duration) -> Result<Self, Error> {
        let unreachable = |source| Error::Unreachable { address: address.clone(), source };
        match address {
            Address::Tcp { host, port } => {
                let stream = timed(within, TcpStream::connect((host.as_str(), *port))).await.map_err(unreachable)?;
                stream.set_nodelay(true).map_err(unreachable)?;
                Self::over(address, stream).await
            }
            Address::Unix(path) => {
                Self::over(address, timed(within, UnixStream::connect(path)).await.map_err(unreachable)?).await
            }
        }
    }

    async fn over<S>(address: &Address, stream: S) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, driver) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|source| Error::Broken { address: address.clone(), source })?;
        let driver = tokio::spawn(async move {
            // The request that is under way gets the same error.
            drop(driver.with_upgrades().await);
        });
        Ok(Self { address: address.clone(), sender, driver })
    }

    /// Where it leads.
    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    /// Whether the agent has closed it.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.sender.ready().await.map_err(|source| Failure { source, unsent: true })?;
        self.sender.try_send_request(request).await.map_err(|mut error| {
            let unsent = error.take_message().is_some();
            Failure { source: error.into_error(), unsent }
        })
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) source: hyper::Error,
    /// Whether nothing of it was sent, so that it can be sent again.
    pub(super) unsent: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn timed<T>(within: Duration, connecting: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::time::timeout(within, connecting).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}
