//! openraft's way to other servers: its requests as documents in gRPC envelopes.

#![expect(clippy::result_large_err, reason = "the size of its errors is openraft's choice")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use orch_model::document;
use orch_proto::v1::raft_client::RaftClient;
use orch_proto::v1::{Envelope, SnapshotChunk};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::AsyncReadExt;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::types::{Member, SnapshotFile, TypeConfig};
use crate::identity::Identity;
use crate::rpc::channels::{Channels, MAX_MESSAGE, Purpose};

/// How much of a snapshot travels in one message.
const CHUNK: usize = 1 << 20;

type RpcError = RPCError<TypeConfig>;

/// Makes connections for openraft.
#[derive(Debug, Clone)]
pub(super) struct Network {
    channels: Arc<Channels>,
    identity: Arc<Identity>,
}

impl Network {
    /// A network in the name of this server.
    pub(super) const fn new(channels: Arc<Channels>, identity: Arc<Identity>) -> Self {
        Self { channels, identity }
    }

    fn peer(&self, member: &Member, purpose: Purpose) -> Peer {
        Peer {
            addr: member.rpc_addr.clone(),
            purpose,
            channels: Arc::clone(&self.channels),
            identity: Arc::clone(&self.identity),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, _target: u64, node: &Member) -> Peer {
        self.peer(node, Purpose::Log)
    }

    async fn new_heartbeat_client(&mut self, _target: u64, node: &Member) -> Peer {
        self.peer(node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, _target: u64, node: &Member) -> Peer {
        self.peer(node, Purpose::General)
    }
}

/// Another server, as openraft speaks to it.
#[derive(Debug)]
pub(super) struct Peer {
    addr: String,
    purpose: Purpose,
    channels: Arc<Channels>,
    identity: Arc<Identity>,
}

impl Peer {
    fn client(&self) -> Result<RaftClient<Channel>, RpcError> {
        let channel = self.channels.to(&self.addr, self.purpose).map_err(|error| Unreachable::new(&error))?;
        Ok(RaftClient::new(channel).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
    }

    fn envelope<T: Serialize>(&self, value: &T) -> Result<Envelope, RpcError> {
        self.identity.envelope(value).map_err(|error| NetworkError::new(&error).into())
    }
}

fn document_of<T: DeserializeOwned>(response: Response<Envelope>) -> Result<T, RpcError> {
    document::decode(&response.into_inner().document).map_err(|error| NetworkError::new(&error).into())
}

fn failed(status: &Status) -> RpcError {
    Unreachable::new(status).into()
}

/// Awaits an RPC no longer than openraft allows.
async fn within<T>(
    option: &RPCOption,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<Response<T>, RpcError> {
    match tokio::time::timeout(option.hard_ttl(), call).await {
        Ok(answer) => answer.map_err(|status| failed(&status)),
        Err(elapsed) => Err(Unreachable::new(&elapsed).into()),
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        let envelope = self.envelope(&request)?;
        document_of(within(&option, self.client()?.append(envelope)).await?)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            let identity = Arc::clone(&self.identity);
            let requests = input.filter_map(move |request| {
                // What cannot be encoded ends the stream on the far side, which openraft takes as a failure.
                futures::future::ready(identity.envelope(&request).ok())
            });
            let mut client = self.client()?;
            let answers = within(&option, client.stream_append(requests)).await?.into_inner();
            let results = answers.map(|answer| match answer {
                Ok(envelope) => document::decode(&envelope.document).map_err(|error| NetworkError::new(&error).into()),
                Err(status) => Err(failed(&status)),
            });
            Ok(Box::pin(results) as BoxStream<'s, _>)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let envelope = self.envelope(&request)?;
        document_of(within(&option, self.client()?.vote(envelope)).await?)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let envelope = self.envelope(&request)?;
        document_of(within(&option, self.client()?.pre_vote(envelope)).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let header = self.envelope(&(vote, &snapshot.meta))?;
        let file = tokio::fs::File::open(&snapshot.snapshot.path).await.map_err(|error| Unreachable::new(&error))?;
        let mut client = self.client()?;
        let send = client.install_snapshot(chunks(header, file));
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            answer = tokio::time::timeout(option.hard_ttl().max(Duration::from_secs(60)), send) => {
                let answer = answer.map_err(|elapsed| Unreachable::new(&elapsed))?;
                let response = answer.map_err(|status| failed(&status))?;
                Ok(document_of(response)?)
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let envelope = self.envelope(&request)?;
        document_of(within(&option, self.client()?.transfer_leader(envelope)).await?)
    }
}

/// A snapshot file as messages: the header first, then the bytes, each piece with its checksum.
///
/// A read that fails ends the stream early, and the receiver finds the file cut.
fn chunks(header: Envelope, file: tokio::fs::File) -> impl Stream<Item = SnapshotChunk> + Send + 'static {
    let first = SnapshotChunk { header: Some(header), data: Vec::new(), crc32: 0 };
    let rest = futures::stream::unfold(file, |mut file| async move {
        let mut data = vec![0; CHUNK];
        let mut filled = 0;
        while filled < CHUNK {
            match file.read(&mut data[filled..]).await {
                Ok(0) | Err(_) => break,
                Ok(n) => filled += n,
            }
        }
        if filled == 0 {
            return None;
        }
        data.truncate(filled);
        let crc32 = crc32fast::hash(&data);
        Some((SnapshotChunk { header: None, data, crc32 }, file))
    });
    futures::stream::once(futures::future::ready(first)).chain(rest)
}
