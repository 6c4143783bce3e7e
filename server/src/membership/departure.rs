//! Taking this server out of the lead, and out of the cluster.

use std::sync::Arc;
use std::time::Duration;

use orch_proto::v1::LeaveRequest;
use orch_proto::v1::peers_client::PeersClient;
use tracing::debug;

use crate::config::Config;
use crate::consensus::Consensus;
use crate::identity::Identity;
use crate::raft::RaftNode;
use crate::rpc::channels::{Channels, Purpose};

/// How long the leader may take to let a server go.
const ANSWER: Duration = Duration::from_secs(5);

/// How long the new leader may take to be known.
const HANDED: Duration = Duration::from_secs(2);

/// Takes this server out of the lead, and out of the cluster.
#[derive(Debug, Clone)]
pub struct Departure {
    /// What the server was told.
    pub config: Arc<Config>,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The raft node.
    pub node: Arc<RaftNode>,
    /// Connections.
    pub channels: Arc<Channels>,
}

impl Departure {
    /// Hands leadership to another voter, so that nobody has to miss this one first.
    pub async fn hand_over(&self) {
        let mut leadership = self.node.leadership();
        if !leadership.borrow().is_self {
            return;
        }
        let newest = self.node.members().into_iter().filter(|status| status.voter && !status.leader);
        let Some(next) = newest.max_by_key(|status| status.matched) else { return };
        if let Err(error) = self.node.transfer_leadership(next.id).await {
            debug!(%error, "leadership could not be handed over");
            return;
        }
        let handed = leadership.wait_for(|now| !now.is_self);
        drop(tokio::time::timeout(HANDED, handed).await);
    }

    /// Has the leader take this server out of the cluster for good; says why it could not.
    pub async fn leave(&self) -> Result<(), String> {
        self.hand_over().await;
        let leader = self.node.leadership().borrow().leader_addr.clone();
        let leader = leader.ok_or("no leader is known")?;
        if leader == self.config.rpc_advertise {
            return Err("there is no other server to lead".into());
        }
        let request = LeaveRequest {
            cluster_id: self.identity.cluster_id().map(|id| id.to_string()).unwrap_or_default(),
            raft_id: self.identity.raft_id().0,
        };
        let channel = self.channels.to(&leader, Purpose::General).map_err(|error| error.to_string())?;
        match tokio::time::timeout(ANSWER, PeersClient::new(channel).leave(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(status.message().to_owned()),
            Err(_) => Err("the leader did not answer in time".into()),
        }
    }
}
