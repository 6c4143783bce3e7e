//! HTTP/1.1 over a connection: sending one request, or answering requests with a router.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use orch_http::{Request, Response};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::byte_stream::Connection;

/// Sends `request` over `connection` and answers with the response, whose body streams.
///
/// Where the response switches protocols, the connection is what [`hyper::upgrade::on`] gives for it.
pub async fn send(connection: Box<dyn Connection>, request: Request) -> Result<Response, hyper::Error> {
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(connection)).await?;
    let driver = AbortOnDropHandle::new(tokio::spawn(async move {
        if let Err(error) = driver.with_upgrades().await {
            debug!(%error, "a tunnelled connection ended");
        }
    }));
    let response = sender.send_request(request).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        // It has nothing more to drive than to let the connection go.
        drop(driver.await);
        return Ok(response.map(orch_http::Body::new));
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::routing::get;
    use futures::Stream;
    use http::header;
    use orch_proto::v1::clients_client::ClientsClient;
    use orch_proto::v1::clients_server::{Clients, ClientsServer};
    use orch_proto::v1::{Bytes as Piece, ClientFrame, ServerFrame};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::oneshot;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Status, Streaming};

    use super::*;
    use crate::rpc::byte_stream;

    /// Answers tunnels with a router, and nothing else.
    struct Tunnels(Router);

    type Out<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

    #[tonic::async_trait]
    impl Clients for Tunnels {
        type SessionStream = Out<ServerFrame>;
        type TunnelStream = Out<Piece>;
        type AnswerStream = Out<Piece>;

        async fn session(
            &self,
            _: tonic::Request<Streaming<ClientFrame>>,
        ) -> Result<tonic::Response<Self::SessionStream>, Status> {
            Err(Status::unimplemented(""))
        }

        async fn tunnel(
            &self,
            request: tonic::Request<Streaming<Piece>>,
        ) -> Result<tonic::Response<Self::TunnelStream>, Status> {
            let (sender, outbound) = byte_stream::channel();
            let connection = byte_stream::connection(request.into_inner(), sender);
            tokio::spawn(serve(connection, self.0.clone()));
            Ok(tonic::Response::new(Box::pin(tokio_stream::StreamExt::map(outbound, Ok))))
        }

        async fn answer(
            &self,
            _: tonic::Request<Streaming<Piece>>,
        ) -> Result<tonic::Response<Self::AnswerStream>, Status> {
            Err(Status::unimplemented(""))
        }
    }

    /// Switches protocols, says `first` and no more, and tells how much it heard until the other side ended.
    fn listener(first: &'static str, heard: oneshot::Sender<usize>) -> Router {
        let heard = std::sync::Arc::new(Mutex::new(Some(heard)));
        Router::new().route(
            "/",
            get(async move |mut request: Request| {
                let heard = heard.lock().unwrap().take().unwrap();
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::spawn(async move {
                    let mut bytes = TokioIo::new(upgrade.await.unwrap());
                    bytes.write_all(first.as_bytes()).await.unwrap();
                    bytes.shutdown().await.unwrap();
                    let mut all = Vec::new();
                    bytes.read_to_end(&mut all).await.unwrap();
                    heard.send(all.len()).unwrap();
                });
                (StatusCode::SWITCHING_PROTOCOLS, [(header::CONNECTION, "upgrade"), (header::UPGRADE, "bytes")])
            }),
        )
    }

    #[tokio::test]
    async fn a_connection_that_switched_protocols_ends_in_each_direction_by_itself() {
        let (heard, hears) = oneshot::channel();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = socket.local_addr().unwrap();
        let service = ClientsServer::new(Tunnels(listener("that is all", heard)));
        let serving = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(socket)));

        let mut client = ClientsClient::connect(format!("http://{addr}")).await.unwrap();
        let (sender, outbound) = byte_stream::channel();
        let inbound = client.tunnel(outbound).await.unwrap().into_inner();
        let request = http::Request::get("/")
            .header(header::HOST, "x")
            .header(header::CONNECTION, "upgrade")
            .header(header::UPGRADE, "bytes")
            .body(orch_http::Body::empty())
            .unwrap();
        let mut response = send(byte_stream::connection(inbound, sender), request).await.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        let mut bytes = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        let mut said = String::new();
        bytes.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "that is all");
        for _ in 0..50 {
            bytes.write_all(&[1; 10_000]).await.unwrap();
        }
        bytes.shutdown().await.unwrap();
        assert_eq!(hears.await.unwrap(), 500_000);
    }
}
