//! HTTP over the session's connection, in both directions.

use std::sync::{Arc, OnceLock};

use axum::Router;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use orch_http::{Error, Kind, Request, Response};
use orch_proto::v1::Bytes;
use orch_proto::v1::clients_client::ClientsClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tracing::debug;

use super::grpc_io::{GrpcIo, PIECES};

/// The metadata entry that names the stream a server asked for.
const STREAM_ID: &str = "orch-stream-id";

/// Opens the stream that a server asked for, and answers its requests there until it is done.
pub(super) async fn answer(channel: Channel, id: String, router: Arc<OnceLock<Router>>) {
    let Some(router) = router.get().cloned() else {
        debug!(stream_id = id, "a server asked for the node's API before it was ready");
        return;
    };
    let Ok(value) = MetadataValue::try_from(&id) else { return };
    let (outgoing, receiver) = mpsc::channel::<Bytes>(PIECES);
    let mut request = tonic::Request::new(ReceiverStream::new(receiver));
    request.metadata_mut().insert(STREAM_ID, value);
    let incoming = match ClientsClient::new(channel).answer(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            debug!(stream_id = id, error = %status, "a stream that a server asked for could not be opened");
            return;
        }
    };
    let io = TokioIo::new(GrpcIo::new(incoming, outgoing));
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(io, TowerToHyperService::new(router))
        .with_upgrades();
    if let Err(error) = connection.await {
        debug!(stream_id = id, %error, "a stream that a server asked for ended early");
    }
}

/// Passes a request to the server at the other end of `channel`. The connection ends with the answer's body.
pub(crate) async fn tunnel(channel: Channel, request: Request, tasks: &TaskTracker) -> Result<Response, Error> {
    let unavailable = |error: &dyn std::fmt::Display| {
        Error::new(Kind::Unavailable, format!("the server that this client is connected to does not answer: {error}"))
    };
    let (outgoing, receiver) = mpsc::channel::<Bytes>(PIECES);
    let opened = ClientsClient::new(channel).tunnel(ReceiverStream::new(receiver)).await;
    let incoming = opened.map_err(|status| unavailable(&status.message()))?.into_inner();
    let io = TokioIo::new(GrpcIo::new(incoming, outgoing));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(io).await.map_err(|error| unavailable(&error))?;
    tasks.spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, "a tunnelled request ended early");
        }
    });
    let answer = sender.send_request(request).await.map_err(|error| unavailable(&error))?;
    Ok(answer.map(orch_http::Body::new))
}
