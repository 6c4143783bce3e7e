//! HTTP/1.1 over a connection: sending one request, or answering requests with a router.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use orch_http::{Request, Response};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::byte_stream::Connection;

/// Sends `request` over `connection` and answers with the response, whose body streams.
pub async fn send(connection: Box<dyn Connection>, request: Request) -> Result<Response, hyper::Error> {
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = driver.await {
            debug!(%error, "a tunnelled connection ended");
        }
    }));
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| orch_http::Body::new(Driven { body, _driver: driver })))
}

/// Answers requests that come in over `connection` with `router`, until the other side ends it.
pub async fn serve(connection: Box<dyn Connection>, router: Router) {
    let service = TowerToHyperService::new(router);
    let serving = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(connection), service)
        .with_upgrades();
    if let Err(error) = serving.await {
        debug!(%error, "a tunnelled connection ended");
    }
}

/// A body together with the task that drives its connection.
struct Driven {
    body: hyper::body::Incoming,
    _driver: AbortOnDropHandle<()>,
}

impl Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
