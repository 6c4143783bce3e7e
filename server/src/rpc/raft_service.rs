//! Answers openraft's requests from other servers.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use openraft::alias::{SnapshotMetaOf, VoteOf};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use orch_model::document;
use orch_proto::v1::raft_server::Raft;
use orch_proto::v1::{Envelope, SnapshotChunk};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::warn;

use crate::identity::Identity;
use crate::raft::{RaftNode, SnapshotFile, TypeConfig};

/// Answers openraft's requests.
#[derive(Debug)]
pub struct RaftService {
    node: Arc<RaftNode>,
    identity: Arc<Identity>,
    snapshots_dir: std::path::PathBuf,
    shutdown: CancellationToken,
}

impl RaftService {
    /// The service of `node`; snapshots that come in are written to `snapshots_dir`, and streams end with `shutdown`.
    pub const fn new(
        node: Arc<RaftNode>,
        identity: Arc<Identity>,
        snapshots_dir: std::path::PathBuf,
        shutdown: CancellationToken,
    ) -> Self {
        Self { node, identity, snapshots_dir, shutdown }
    }

    fn open<T: DeserializeOwned>(&self, envelope: &Envelope) -> Result<T, Status> {
        check_cluster(&self.identity, &envelope.cluster_id)?;
        document::decode(&envelope.document).map_err(|error| Status::invalid_argument(error.to_string()))
    }

    fn seal<T: Serialize>(&self, value: &T) -> Result<Response<Envelope>, Status> {
        seal(&self.identity, value)
    }
}

/// `value` as an answer in this server's name.
pub(super) fn seal<T: Serialize>(identity: &Identity, value: &T) -> Result<Response<Envelope>, Status> {
    identity.envelope(value).map(Response::new).map_err(|error| Status::internal(error.to_string()))
}

/// Refuses whoever speaks in the name of another cluster.
pub(super) fn check_cluster(identity: &Identity, cluster_id: &str) -> Result<(), Status> {
    let own = identity.cluster_id().map(|id| id.to_string()).unwrap_or_default();
    if own.is_empty() || own != cluster_id {
        let own = if own.is_empty() { "no cluster yet" } else { &own };
        return Err(Status::failed_precondition(format!(
            "this server belongs to {own}, not to cluster {cluster_id:?}"
        )));
    }
    Ok(())
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

type EnvelopeStream = std::pin::Pin<Box<dyn Stream<Item = Result<Envelope, Status>> + Send>>;

#[tonic::async_trait]
impl Raft for RaftService {
    type StreamAppendStream = EnvelopeStream;

    async fn vote(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        let request: VoteRequest<TypeConfig> = self.open(request.get_ref())?;
        self.seal(&self.node.raft().vote(request).await.map_err(internal)?)
    }

    async fn pre_vote(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        let request: VoteRequest<TypeConfig> = self.open(request.get_ref())?;
        self.seal(&self.node.raft().pre_vote(request).await.map_err(internal)?)
    }

    async fn append(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        let request: AppendEntriesRequest<TypeConfig> = self.open(request.get_ref())?;
        self.seal(&self.node.raft().append_entries(request).await.map_err(internal)?)
    }

    async fn stream_append(&self, request: Request<Streaming<Envelope>>) -> Result<Response<EnvelopeStream>, Status> {
        let identity = Arc::clone(&self.identity);
        let requests = request.into_inner().filter_map(move |envelope| {
            // A request that cannot be read ends the stream below, which the leader takes as a failure.
            let request = envelope
                .and_then(|envelope| {
                    check_cluster(&identity, &envelope.cluster_id)?;
                    document::decode::<AppendEntriesRequest<TypeConfig>>(&envelope.document)
                        .map_err(|error| Status::invalid_argument(error.to_string()))
                })
                .inspect_err(|status| {
                    if status.code() != tonic::Code::Cancelled && status.code() != tonic::Code::Unknown {
                        warn!(error = status.message(), "a request from the leader could not be read");
                    }
                });
            futures::future::ready(Some(request))
        });
        // Both directions end: an open request stream would keep the connection, and with it the port, from closing.
        let requests = requests.take_until(self.shutdown.clone().cancelled_owned());
        let requests = requests.take_while(|request| futures::future::ready(request.is_ok()));
        let requests = requests.filter_map(|request| futures::future::ready(request.ok()));
        let identity = Arc::clone(&self.identity);
        let answers = self.node.raft().stream_append(requests).map(move |answer| {
            let answer = answer.map_err(internal)?;
            identity.envelope(&answer).map_err(internal)
        });
        let answers = answers.take_until(self.shutdown.clone().cancelled_owned());
        Ok(Response::new(Box::pin(answers)))
    }

    async fn install_snapshot(&self, request: Request<Streaming<SnapshotChunk>>) -> Result<Response<Envelope>, Status> {
        let mut chunks = request.into_inner();
        let header = chunks
            .message()
            .await?
            .and_then(|chunk| chunk.header)
            .ok_or_else(|| Status::invalid_argument("a snapshot must begin with its header"))?;
        let (vote, meta): (VoteOf<TypeConfig>, SnapshotMetaOf<TypeConfig>) = self.open(&header)?;
        let path = self.snapshots_dir.join(format!("incoming-{:016x}.part", header.from));
        receive(&path, &mut chunks).await?;
        let snapshot = openraft::Snapshot { meta, snapshot: SnapshotFile { path } };
        let answer = self.node.raft().install_full_snapshot(vote, snapshot).await.map_err(internal)?;
        self.seal(&answer)
    }

    async fn transfer_leader(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        let request: TransferLeaderRequest<TypeConfig> = self.open(request.get_ref())?;
        self.seal(&self.node.raft().handle_transfer_leader(request).await.map_err(internal)?)
    }
}

/// Writes the pieces of a snapshot to a file, checking each.
async fn receive(path: &std::path::Path, chunks: &mut Streaming<SnapshotChunk>) -> Result<(), Status> {
    let failed = |error: std::io::Error| Status::internal(format!("cannot write {}: {error}", path.display()));
    let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
    while let Some(chunk) = chunks.message().await? {
        if crc32fast::hash(&chunk.data) != chunk.crc32 {
            return Err(Status::data_loss("a piece of the snapshot does not match its checksum"));
        }
        file.write_all(&chunk.data).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)
}
