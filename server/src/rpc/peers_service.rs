//! Answers other servers about everything but consensus itself.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use orch_model::ids::ClusterId;
use orch_model::{NodeId, RaftId, document};
use orch_proto::v1::peers_server::Peers;
use orch_proto::v1::{
    Bytes, Empty, Envelope, JoinReply, JoinRequest, LeaveRequest, PromiseReply, PromiseRequest, ReadIndexReply,
    SessionDigestRequest, StatusReply, StatusRequest,
};
use orch_state::Command;
use tonic::{Request, Response, Status, Streaming};
use tracing::info;
use uuid::Uuid;

use super::clients_service::{Shared, tunnel};
use super::raft_service::{check_cluster, seal};
use crate::consensus::{Consensus, Error};
use crate::identity::{Forming, Identity};
use crate::leader::Digests;
use crate::membership::Roster;
use crate::raft::{Member, RaftNode};
use crate::sessions::Silence;

/// Answers other servers.
#[derive(Debug)]
pub struct PeersService {
    /// This server's identity.
    pub identity: Arc<Identity>,
    /// The raft node.
    pub node: Arc<RaftNode>,
    /// Who this server is and which blank servers it has seen.
    pub roster: Arc<Roster>,
    /// What servers say about their sessions.
    pub digests: Arc<Digests>,
    /// What tunnels need.
    pub shared: Arc<Shared>,
}

type BytesStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

fn status_of(error: Error) -> Status {
    match error {
        Error::NoLeader => Status::unavailable(error.to_string()),
        Error::Rejected(rejection) => Status::failed_precondition(rejection.message),
        Error::Busy(message) => Status::resource_exhausted(message),
        Error::OutcomeUnknown | Error::Stopped(_) | Error::Internal(_) => Status::internal(error.to_string()),
    }
}

#[tonic::async_trait]
impl Peers for PeersService {
    type TunnelStream = BytesStream;

    async fn status(&self, _request: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        let leadership = self.node.leadership().borrow().clone();
        let member = self.roster.own();
        Ok(Response::new(StatusReply {
            raft_id: self.identity.raft_id().0,
            cluster_id: self.identity.cluster_id().map(|id| id.to_string()).unwrap_or_default(),
            name: member.name.clone(),
            region: member.region.clone(),
            datacenter: member.datacenter.clone(),
            version: member.version.clone(),
            rpc_addr: member.rpc_addr.clone(),
            http_addr: member.http_addr.clone(),
            bootstrap_expect: self.roster.bootstrap_expect(),
            blank_peers: self.roster.blank_peers(),
            leader_addr: leadership.leader_addr.unwrap_or_default(),
            leader_id: leadership.leader.map_or(0, |id| id.0),
        }))
    }

    async fn promise_formation(&self, request: Request<PromiseRequest>) -> Result<Response<PromiseReply>, Status> {
        let request = request.into_inner();
        let cluster_id: ClusterId =
            request.cluster_id.parse().map_err(|_| Status::invalid_argument("the cluster id is not a UUID"))?;
        let forming = Forming::from_wire(request.initialiser, &request.members);
        if !forming.members.iter().any(|(id, _)| *id == self.identity.raft_id().0) {
            let reason = "this server is not in the set".to_owned();
            return Ok(Response::new(PromiseReply { promised: false, reason }));
        }
        let identity = Arc::clone(&self.identity);
        let promised = tokio::task::spawn_blocking(move || identity.promise(cluster_id, forming))
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        let (promised, reason) = match promised {
            Ok(()) => (true, String::new()),
            Err(error) => (false, error.to_string()),
        };
        Ok(Response::new(PromiseReply { promised, reason }))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let request = request.into_inner();
        let member: Member =
            document::decode(&request.member).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let own = self.roster.own();
        if request.region != own.region {
            return Err(Status::failed_precondition(format!(
                "this cluster is of region {:?}, the server that wants to join of {:?}",
                own.region, request.region
            )));
        }
        let cluster_id =
            self.identity.cluster_id().ok_or_else(|| Status::unavailable("this server belongs to no cluster yet"))?;
        info!(raft_id = %RaftId(request.raft_id), name = member.name, addr = member.rpc_addr, "a server asks to join");
        // Two servers cannot share an address: one that was there under another id has lost its log for good, and must
        // not be taken for a voter that holds what was committed.
        let stale = self.node.members().into_iter();
        let stale = stale.filter(|known| known.member.rpc_addr == member.rpc_addr && known.id.0 != request.raft_id);
        for known in stale {
            info!(raft_id = %known.id, addr = member.rpc_addr, "a server came back under another id; the old one goes");
            self.node.remove(known.id).await.map_err(status_of)?;
        }
        self.node.add_learner(RaftId(request.raft_id), member).await.map_err(status_of)?;
        Ok(Response::new(JoinReply { cluster_id: cluster_id.to_string() }))
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        check_cluster(&self.identity, &request.cluster_id)?;
        info!(raft_id = %RaftId(request.raft_id), "a server leaves");
        self.node.remove(RaftId(request.raft_id)).await.map_err(status_of)?;
        Ok(Response::new(Empty {}))
    }

    async fn propose(&self, request: Request<Envelope>) -> Result<Response<Envelope>, Status> {
        let envelope = request.into_inner();
        check_cluster(&self.identity, &envelope.cluster_id)?;
        let command: Command =
            document::decode(&envelope.document).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let outcome = crate::raft::Forwarded::new(self.node.propose_here(command).await);
        seal(&self.identity, &outcome)
    }

    async fn read_index(&self, request: Request<Envelope>) -> Result<Response<ReadIndexReply>, Status> {
        check_cluster(&self.identity, &request.get_ref().cluster_id)?;
        let log_index = self.node.read_index_here().await.map_err(status_of)?;
        Ok(Response::new(ReadIndexReply { log_index }))
    }

    async fn session_digest(&self, request: Request<SessionDigestRequest>) -> Result<Response<Empty>, Status> {
        let request = request.into_inner();
        check_cluster(&self.identity, &request.cluster_id)?;
        let silent = request
            .sessions
            .iter()
            .filter_map(|beat| {
                Some(Silence {
                    node_id: NodeId::from_uuid(Uuid::from_slice(&beat.node_id).ok()?),
                    epoch: beat.epoch,
                    silent: Duration::from_millis(u64::from(beat.silent_ms)),
                    restarting: beat.restarting,
                    dropped: beat.dropped,
                })
            })
            .collect();
        self.digests.put(RaftId(request.from), silent);
        Ok(Response::new(Empty {}))
    }

    async fn tunnel(&self, request: Request<Streaming<Bytes>>) -> Result<Response<BytesStream>, Status> {
        tunnel(&self.shared, request)
    }
}
