//! Forming a cluster once, and joining one.
//!
//! Blank servers ask each other who is there. When as many as are expected all report the same set, the lowest id asks
//! each for a promise, and forms the cluster once all have promised: two overlapping sets cannot both be promised. A
//! server that finds a cluster asks its leader to be taken in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orch_model::document;
use orch_model::ids::ClusterId;
use orch_proto::v1::peers_client::PeersClient;
use orch_proto::v1::{BlankPeer, JoinRequest, PromiseRequest, StatusReply, StatusRequest};
use orch_state::Command;
use orch_state::commands::FormCluster;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{debug, info, warn};
use uuid::Uuid;

mod departure;

pub use departure::Departure;

use crate::config::Config;
use crate::consensus::Consensus;
use crate::divergence;
use crate::identity::{Forming, Identity};
use crate::raft::{Member, RaftNode};
use crate::rpc::channels::{Channels, Purpose};

/// The version of what servers say to each other and replicate; raised when a new command or rule needs all members.
pub const CLUSTER_VERSION: u16 = 1;

/// How long one question to another server may take.
const ASK: Duration = Duration::from_secs(2);

/// Who this server is and which blank servers it has seen.
#[derive(Debug)]
pub struct Roster {
    own: Member,
    raft_id: u64,
    bootstrap_expect: u32,
    blank: Mutex<BTreeMap<u64, String>>,
    /// Servers to ask for a cluster beside those of the configuration.
    also_ask: Mutex<BTreeSet<String>>,
}

impl Roster {
    /// The roster of a server that has seen nobody but itself.
    pub fn new(own: Member, raft_id: u64, bootstrap_expect: u32) -> Self {
        let blank = Mutex::new(BTreeMap::from([(raft_id, own.rpc_addr.clone())]));
        Self { own, raft_id, bootstrap_expect, blank, also_ask: Mutex::default() }
    }

    /// Has another server asked for a cluster, beside those of the configuration.
    pub fn ask_also(&self, addr: String) {
        self.also_ask.lock().unwrap_or_else(PoisonError::into_inner).insert(addr);
    }

    fn asked_also(&self) -> BTreeSet<String> {
        self.also_ask.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This server, as others should know it.
    pub const fn own(&self) -> &Member {
        &self.own
    }

    /// How many blank servers it expects.
    pub const fn bootstrap_expect(&self) -> u32 {
        self.bootstrap_expect
    }

    /// The blank servers it sees, itself among them, in order of raft id.
    pub fn blank_peers(&self) -> Vec<BlankPeer> {
        let blank = self.blank.lock().unwrap_or_else(PoisonError::into_inner);
        blank.iter().map(|(id, addr)| BlankPeer { raft_id: *id, rpc_addr: addr.clone() }).collect()
    }

    fn saw(&self, replies: &[StatusReply]) {
        let mut blank = BTreeMap::from([(self.raft_id, self.own.rpc_addr.clone())]);
        blank.extend(
            replies
                .iter()
                .filter(|reply| reply.cluster_id.is_empty())
                .map(|reply| (reply.raft_id, reply.rpc_addr.clone())),
        );
        *self.blank.lock().unwrap_or_else(PoisonError::into_inner) = blank;
    }
}

/// Brings this server into a cluster.
#[derive(Debug)]
pub struct Membership {
    /// What the server was told.
    pub config: Arc<Config>,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The raft node.
    pub node: Arc<RaftNode>,
    /// Connections.
    pub channels: Arc<Channels>,
    /// Whom it has seen.
    pub roster: Arc<Roster>,
    /// Whether it left the cluster to install its state anew.
    pub is_reinstalling: bool,
}

impl Membership {
    /// Runs until this server is in a cluster, and keeps its address there true; ends with `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut warned = false;
        loop {
            match self.step(&mut warned).await {
                Step::In => return self.forget_divergence().await,
                Step::Again(pause) => tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                },
            }
        }
    }

    /// A server whose state was installed anew is a member like any other from now on.
    async fn forget_divergence(&self) {
        if !self.is_reinstalling {
            return;
        }
        let dir = self.config.data_dir.clone();
        match tokio::task::spawn_blocking(move || divergence::forget(&dir)).await {
            Ok(Ok(())) => info!("this server is in the cluster again and gets its state from the leader"),
            Ok(Err(error)) => warn!(%error, "cannot note that this server is in the cluster again"),
            Err(error) => warn!(%error, "noting that this server is in the cluster again was interrupted"),
        }
    }

    async fn step(&self, warned: &mut bool) -> Step {
        let quick = Step::Again(Duration::from_millis(100));
        if let Some((cluster_id, forming)) = self.identity.forming() {
            return self.complete(cluster_id, &forming).await;
        }
        if self.identity.cluster_id().is_some() {
            return self.announce().await;
        }
        if self.config.bootstrap_expect == 1 {
            let cluster_id = ClusterId::from_uuid(Uuid::new_v4());
            let forming = self.forming_of(&[(self.identity.raft_id().0, self.roster.own().rpc_addr.clone())]);
            return if self.promise(cluster_id, forming).await { Step::Again(Duration::ZERO) } else { quick };
        }
        let replies = self.ask_all().await;
        self.roster.saw(&replies);
        if let Some(reply) = replies.iter().find(|reply| !reply.cluster_id.is_empty()) {
            return self.join(reply).await;
        }
        self.consider_forming(&replies, warned).await
    }

    fn forming_of(&self, members: &[(u64, String)]) -> Forming {
        let initialiser = members.iter().map(|(id, _)| *id).min().unwrap_or_default();
        Forming { initialiser, members: members.to_vec() }
    }

    async fn promise(&self, cluster_id: ClusterId, forming: Forming) -> bool {
        let identity = Arc::clone(&self.identity);
        match tokio::task::spawn_blocking(move || identity.promise(cluster_id, forming)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                warn!(%error, "cannot promise to form a cluster");
                false
            }
            Err(_) => false,
        }
    }

    /// Forms a cluster with the blank servers, if all that are expected see the same.
    async fn consider_forming(&self, replies: &[StatusReply], warned: &mut bool) -> Step {
        let pause = Step::Again(self.config.retry_interval);
        let expect = self.config.bootstrap_expect as usize;
        if expect == 0 {
            return pause;
        }
        let seen = self.roster.blank_peers();
        if seen.len() > expect && !*warned {
            *warned = true;
            let addrs: Vec<_> = seen.iter().map(|peer| peer.rpc_addr.as_str()).collect();
            warn!(
                expect,
                ?addrs,
                "more blank servers than bootstrap_expect see each other: no cluster is formed \
                until exactly that many do"
            );
        }
        let own_id = self.identity.raft_id().0;
        if !should_form(own_id, expect, &seen, replies) {
            return pause;
        }
        let members: Vec<_> = seen.iter().map(|peer| (peer.raft_id, peer.rpc_addr.clone())).collect();
        info!(?members, "all expected servers see each other: forming a cluster");
        let cluster_id = ClusterId::from_uuid(Uuid::new_v4());
        if self.promise(cluster_id, self.forming_of(&members)).await { Step::Again(Duration::ZERO) } else { pause }
    }

    /// Goes on with a cluster that this server promised to be formed into.
    async fn complete(&self, cluster_id: ClusterId, forming: &Forming) -> Step {
        let pause = Step::Again(Duration::from_millis(100));
        if !matches!(self.node.is_initialised().await, Ok(true)) {
            if forming.initialiser != self.identity.raft_id().0 {
                return pause;
            }
            let Some(members) = self.gather_promises(cluster_id, forming).await else { return pause };
            if let Err(error) = self.node.initialise(members).await {
                warn!(%error, "the cluster could not be formed");
                return pause;
            }
        }
        let leads = self.node.leadership().borrow().is_self;
        let formed = self.node.store().snapshot().meta().cluster_id.is_some();
        if leads && !formed {
            let command = Command::FormCluster(FormCluster { cluster_id, version: CLUSTER_VERSION });
            if let Err(error) = self.node.propose(command).await {
                debug!(%error, "the cluster's first entry is not committed yet");
            }
        }
        if !formed {
            return Step::Again(Duration::from_millis(10));
        }
        self.belong(cluster_id).await
    }

    async fn belong(&self, cluster_id: ClusterId) -> Step {
        let identity = Arc::clone(&self.identity);
        match tokio::task::spawn_blocking(move || identity.belong(cluster_id)).await {
            Ok(Ok(())) => {
                info!(%cluster_id, "this server belongs to the cluster");
                Step::In
            }
            Ok(Err(error)) => {
                warn!(%error, "cannot note that this server belongs to the cluster");
                Step::Again(Duration::from_secs(1))
            }
            Err(_) => Step::Again(Duration::from_secs(1)),
        }
    }

    /// Asks every server of the set for its promise; answers who they are once all have given it.
    async fn gather_promises(&self, cluster_id: ClusterId, forming: &Forming) -> Option<BTreeMap<u64, Member>> {
        let own_id = self.identity.raft_id().0;
        let peers: Vec<_> =
            forming.members.iter().map(|(id, addr)| BlankPeer { raft_id: *id, rpc_addr: addr.clone() }).collect();
        let mut members = BTreeMap::from([(own_id, self.roster.own().clone())]);
        for peer in peers.iter().filter(|peer| peer.raft_id != own_id) {
            let request = PromiseRequest {
                cluster_id: cluster_id.to_string(),
                initialiser: forming.initialiser,
                members: peers.clone(),
            };
            let mut client = self.client(&peer.rpc_addr)?;
            let reply = tokio::time::timeout(ASK, client.promise_formation(request)).await.ok()?.ok()?.into_inner();
            if !reply.promised {
                warn!(addr = peer.rpc_addr, reason = reply.reason, "a server refused to be formed into this cluster");
                return None;
            }
            let status = self.ask(&peer.rpc_addr).await?;
            members.insert(peer.raft_id, member_of(&status));
        }
        Some(members)
    }

    /// Asks the cluster's leader to take this server in.
    async fn join(&self, reply: &StatusReply) -> Step {
        let pause = Step::Again(self.config.retry_interval);
        if reply.leader_addr.is_empty() {
            return pause;
        }
        match self.request_join(&reply.leader_addr).await {
            Ok(cluster_id) => self.belong(cluster_id).await,
            Err(reason) => {
                warn!(addr = reply.leader_addr, reason, "the cluster did not take this server in");
                pause
            }
        }
    }

    async fn request_join(&self, leader: &str) -> Result<ClusterId, String> {
        let own = self.roster.own();
        let request = JoinRequest {
            raft_id: self.identity.raft_id().0,
            member: document::encode(own).map_err(|error| error.to_string())?,
            region: own.region.clone(),
            version: own.version.clone(),
        };
        let mut client = self.client(leader).ok_or("its address is not valid")?;
        let answer = tokio::time::timeout(Duration::from_secs(10), client.join(request)).await;
        let reply = answer.map_err(|_| "it did not answer in time".to_owned())?;
        let reply = reply.map_err(|status| status.message().to_owned())?.into_inner();
        reply.cluster_id.parse().map_err(|_| "it answered without a cluster id".to_owned())
    }

    /// Tells the leader where this server is now, if that changed since it was last here.
    async fn announce(&self) -> Step {
        let pause = Step::Again(self.config.retry_interval);
        let known = self.node.members().into_iter().find(|status| status.id == self.identity.raft_id());
        if known.is_some_and(|status| status.member == *self.roster.own()) {
            return Step::In;
        }
        let leader = self.node.leadership().borrow().leader_addr.clone();
        let leader = match leader {
            Some(addr) => Some(addr),
            None => self.ask_all().await.into_iter().map(|reply| reply.leader_addr).find(|addr| !addr.is_empty()),
        };
        let Some(leader) = leader else { return pause };
        match self.request_join(&leader).await {
            Ok(_) => Step::In,
            Err(reason) => {
                debug!(addr = leader, reason, "the leader did not take over this server's address");
                pause
            }
        }
    }

    async fn ask_all(&self) -> Vec<StatusReply> {
        let own_id = self.identity.raft_id().0;
        let mut addrs = self.roster.asked_also();
        addrs.extend(self.config.retry_join.iter().cloned());
        let questions = addrs.iter().map(|addr| self.ask(addr));
        let answers = futures::future::join_all(questions).await;
        let mut replies: BTreeMap<u64, StatusReply> = BTreeMap::new();
        for reply in answers.into_iter().flatten().filter(|reply| reply.raft_id != own_id) {
            replies.insert(reply.raft_id, reply);
        }
        replies.into_values().collect()
    }

    async fn ask(&self, addr: &str) -> Option<StatusReply> {
        ask(&self.channels, addr).await.inspect_err(|reason| debug!(addr, reason, "a server does not answer")).ok()
    }

    fn client(&self, addr: &str) -> Option<PeersClient<Channel>> {
        self.channels.to(addr, Purpose::General).map(PeersClient::new).ok()
    }
}

/// Asks a server who it is; says why it did not answer.
pub async fn ask(channels: &Channels, addr: &str) -> Result<StatusReply, String> {
    let channel = channels.to(addr, Purpose::General).map_err(|error| error.to_string())?;
    let answer = tokio::time::timeout(ASK, PeersClient::new(channel).status(StatusRequest {})).await;
    let reply = answer.map_err(|_| "it did not answer in time".to_owned())?;
    reply.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
}

/// Whether the server `own_id` is to form a cluster of those it has `seen`, by what the others say.
///
/// Exactly as many as are expected must see each other, all must be blank and expect as many, and it must be the lowest.
fn should_form(own_id: u64, expect: usize, seen: &[BlankPeer], replies: &[StatusReply]) -> bool {
    let lowest = seen.iter().map(|peer| peer.raft_id).min() == Some(own_id);
    let others: Vec<_> = replies.iter().filter(|reply| reply.raft_id != own_id).collect();
    let agreed = |reply: &&StatusReply| {
        reply.cluster_id.is_empty() && reply.blank_peers == seen && reply.bootstrap_expect as usize == expect
    };
    lowest && seen.len() == expect && others.len() + 1 == expect && others.iter().all(agreed)
}

/// What is to be done next.
enum Step {
    /// This server is in a cluster.
    In,
    /// Look again after a pause.
    Again(Duration),
}

fn member_of(status: &StatusReply) -> Member {
    Member {
        name: status.name.clone(),
        rpc_addr: status.rpc_addr.clone(),
        http_addr: status.http_addr.clone(),
        datacenter: status.datacenter.clone(),
        region: status.region.clone(),
        version: status.version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(ids: &[u64]) -> Vec<BlankPeer> {
        ids.iter().map(|id| BlankPeer { raft_id: *id, rpc_addr: format!("10.0.0.{id}:4647") }).collect()
    }

    fn reply(id: u64, sees: &[u64], expect: u32) -> StatusReply {
        StatusReply { raft_id: id, blank_peers: peers(sees), bootstrap_expect: expect, ..StatusReply::default() }
    }

    #[test]
    fn the_lowest_of_those_who_see_each_other_forms_the_cluster() {
        let replies = [reply(2, &[1, 2, 3], 3), reply(3, &[1, 2, 3], 3)];
        assert!(should_form(1, 3, &peers(&[1, 2, 3]), &replies));
        let replies = [reply(1, &[1, 2, 3], 3), reply(3, &[1, 2, 3], 3)];
        assert!(!should_form(2, 3, &peers(&[1, 2, 3]), &replies));
    }

    #[test]
    fn overlapping_groups_do_not_form() {
        // 1 knows 2 and 3; 4 knows 2 and 3; these two see everyone.
        let middle = [reply(2, &[1, 2, 3, 4], 3), reply(3, &[1, 2, 3, 4], 3)];
        assert!(!should_form(1, 3, &peers(&[1, 2, 3]), &middle));
        assert!(!should_form(2, 3, &peers(&[1, 2, 3, 4]), &middle));
    }

    #[test]
    fn nobody_forms_with_a_server_that_belongs_elsewhere_or_expects_otherwise() {
        let elsewhere = StatusReply { cluster_id: "x".into(), ..reply(3, &[1, 2, 3], 3) };
        assert!(!should_form(1, 3, &peers(&[1, 2, 3]), &[reply(2, &[1, 2, 3], 3), elsewhere]));
        let five = reply(3, &[1, 2, 3], 5);
        assert!(!should_form(1, 3, &peers(&[1, 2, 3]), &[reply(2, &[1, 2, 3], 3), five]));
        assert!(!should_form(1, 3, &peers(&[1, 2, 3]), &[reply(2, &[1, 2, 3], 3)]));
    }
}
