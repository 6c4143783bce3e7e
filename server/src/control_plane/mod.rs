//! The control plane as the HTTP router sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orch_api::{
    AgentMember, BrakeStatus, JobSubmission, PartHealth, RaftConfiguration, RaftServer, TransferLeadership,
};
use orch_http::control::{
    ChangeDeployment, DeleteHostVolume, DeploymentAction, DeploymentWritten, DeregisterJob, DryRun, HostVolumeWritten,
    Joined, LeadershipTarget, NodeWritten, Preserve, PutHostVolume, RegisterJob, RevertJob, ScaleJob,
    SchedulerConfigWritten, SetAllocHealth, SetJobStability, StopAlloc, Written,
};
use orch_http::{Consistency, ControlPlane, Kind, Request, Response, View};
use orch_model::allocation::ClientStatus;
use orch_model::evaluation::Trigger;
use orch_model::ids::VolumeClaimId;
use orch_model::node::Eligibility;
use orch_model::operator::SchedulerConfig;
use orch_model::{AllocId, Allocation, EvalId, Job, JobKey, NodeId, RaftId, StateIndex};
use orch_proto::v1::peers_client::PeersClient;
use orch_state::{Command, Rejection, RejectionKind, Reply, Scope, Submission, commands};
use uuid::Uuid;

use crate::config::Config;
use crate::consensus::{Committed, Consensus, Error, MemberStatus};
use crate::identity::Identity;
use crate::leader::brake::{BrakeDesk, BrakeWish};
use crate::leader::gc::{self, Collector};
use crate::membership::Roster;
use crate::raft::RaftNode;
use crate::rpc::channels::{Channels, Purpose};
use crate::rpc::{byte_stream, http_over};
use crate::sessions::Sessions;

mod dry_run;
mod operators;
mod view;
mod volumes;

/// How often `system gc` goes through the state at most: each pass lets more go, until one finds nothing.
const GC_PASSES: usize = 10;

/// The servers of a region, as this one sees them.
#[derive(Debug)]
pub struct Plane {
    /// What the server was told.
    pub config: Arc<Config>,
    /// Who it is.
    pub identity: Arc<Identity>,
    /// The raft node.
    pub node: Arc<RaftNode>,
    /// Sessions held here.
    pub sessions: Arc<Sessions>,
    /// Connections to other servers.
    pub channels: Arc<Channels>,
    /// Whom it has seen.
    pub roster: Arc<Roster>,
    /// The way to the detector's brake, where this server leads.
    pub brake: Arc<BrakeDesk>,
}

type Answer<T> = Result<T, orch_http::Error>;

/// An error of consensus as the router tells it.
fn told(error: Error) -> orch_http::Error {
    match error {
        Error::NoLeader => orch_http::Error::no_leader(),
        Error::Rejected(rejection) => refused(&rejection),
        Error::Busy(message) => orch_http::Error::new(Kind::TooMany, message),
        Error::OutcomeUnknown | Error::Stopped(_) => orch_http::Error::new(Kind::Unavailable, error.to_string()),
        Error::Internal(message) => orch_http::Error::internal(message),
    }
}

fn refused(rejection: &Rejection) -> orch_http::Error {
    let kind = match rejection.kind {
        RejectionKind::NotFound => Kind::NotFound,
        RejectionKind::Invalid => Kind::Invalid,
        RejectionKind::Conflict => Kind::Conflict,
        RejectionKind::Forbidden => Kind::Forbidden,
        RejectionKind::TooMany => Kind::TooMany,
    };
    orch_http::Error::new(kind, rejection.message.clone())
}

fn unexpected(reply: &Reply) -> orch_http::Error {
    orch_http::Error::internal(format!("the state answered with {reply:?}, which nobody asked for"))
}

fn seed() -> u64 {
    Uuid::new_v4().as_u64_pair().0
}

fn submission(from: JobSubmission) -> Submission {
    let JobSubmission {
        source,
        format,
        variable_flags,
        variables,
        namespace: _,
        job_id: _,
        version: _,
        job_modify_index: _,
    } = from;
    Submission { source, format, variable_flags, variables }
}

/// Takes counts and resources over from the stored version, where the caller asks for it.
fn preserve(job: &mut Job, stored: Option<&Job>, what: Preserve) {
    let Some(stored) = stored else { return };
    for group in &mut job.task_groups {
        let Some(old) = stored.group(&group.name) else { continue };
        if what.counts {
            group.count = old.count;
        }
        if what.resources {
            for task in &mut group.tasks {
                if let Some(old) = old.task(&task.name) {
                    task.resources.clone_from(&old.resources);
                }
            }
        }
    }
}

impl Plane {
    async fn propose(&self, command: Command) -> Answer<Committed> {
        self.node.propose(command).await.map_err(told)
    }

    async fn job_written(&self, command: Command) -> Answer<Written> {
        let committed = self.propose(command).await?;
        match committed.reply {
            Reply::Job { eval_id, job_modify_index } => {
                Ok(Written { index: committed.index, eval_id, eval_create_index: committed.index, job_modify_index })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn deployment_written(&self, command: Command) -> Answer<DeploymentWritten> {
        let committed = self.propose(command).await?;
        match committed.reply {
            Reply::Deployment { eval_id, modify_index, reverted_to } => Ok(DeploymentWritten {
                index: committed.index,
                eval_id,
                eval_create_index: eval_id.map_or(StateIndex(0), |_| committed.index),
                deployment_modify_index: modify_index,
                reverted_version: reverted_to,
            }),
            other => Err(unexpected(&other)),
        }
    }

    /// Has those of `allocs` that failed placed again, whatever their policies say of when.
    async fn reschedule(&self, allocs: Vec<AllocId>, trigger: Trigger) -> Answer<(StateIndex, Vec<EvalId>)> {
        let command = commands::RescheduleAllocs { allocs, evals_seed: seed(), trigger };
        let committed = self.propose(Command::RescheduleAllocs(command)).await?;
        match committed.reply {
            Reply::Evals { eval_ids } => Ok((committed.index, eval_ids)),
            other => Err(unexpected(&other)),
        }
    }

    async fn node_written(&self, command: Command) -> Answer<NodeWritten> {
        let committed = self.propose(command).await?;
        match committed.reply {
            Reply::Evals { eval_ids } => Ok(NodeWritten {
                index: committed.index,
                eval_create_index: if eval_ids.is_empty() { StateIndex(0) } else { committed.index },
                eval_ids,
                node_modify_index: committed.index,
            }),
            other => Err(unexpected(&other)),
        }
    }

    fn find_member(&self, found: impl Fn(&MemberStatus) -> bool) -> Option<MemberStatus> {
        self.node.members().into_iter().find(found)
    }

    /// Passes a request to another server's API.
    async fn forward(&self, addr: &str, request: Request) -> Answer<Response> {
        let lost = |reason: String| orch_http::Error::new(Kind::Unavailable, format!("the server at {addr} {reason}"));
        let channel = self.channels.to(addr, Purpose::General).map_err(|error| lost(error.to_string()))?;
        let (sender, outbound) = byte_stream::channel();
        let inbound = PeersClient::new(channel)
            .tunnel(outbound)
            .await
            .map_err(|status| lost(format!("does not answer: {}", status.message())))?
            .into_inner();
        let connection = byte_stream::connection(inbound, sender);
        http_over::send(connection, request).await.map_err(|error| lost(format!("broke off: {error}")))
    }

    fn member(&self, status: &MemberStatus) -> AgentMember {
        let (addr, port) = status.member.rpc_addr.rsplit_once(':').unwrap_or((&status.member.rpc_addr, "0"));
        let mut tags = BTreeMap::from([
            ("role".to_owned(), "nomad".to_owned()),
            ("region".to_owned(), status.member.region.clone()),
            ("dc".to_owned(), status.member.datacenter.clone()),
            ("build".to_owned(), status.member.version.clone()),
            ("revision".to_owned(), String::new()),
            ("vsn".to_owned(), "1".to_owned()),
            ("raft_vsn".to_owned(), "3".to_owned()),
            ("id".to_owned(), status.id.to_string()),
            ("rpc_addr".to_owned(), addr.to_owned()),
            ("port".to_owned(), port.to_owned()),
        ]);
        if self.config.bootstrap_expect == 1 {
            tags.insert("bootstrap".to_owned(), "1".to_owned());
        } else {
            tags.insert("expect".to_owned(), self.config.bootstrap_expect.to_string());
        }
        // What raft says of itself is as old as its last write; whoever answers is there.
        let is_self = status.id == self.identity.raft_id();
        let silent = !is_self && status.last_heard.is_some_and(|at| at.elapsed() > Duration::from_secs(5));
        AgentMember {
            name: format!("{}.{}", status.member.name, status.member.region),
            addr: addr.to_owned(),
            port: port.parse().unwrap_or(0),
            tags,
            status: if silent { "failed" } else { "alive" }.to_owned(),
            protocol_min: 1,
            protocol_max: 1,
            protocol_cur: 1,
            delegate_min: 1,
            delegate_max: 1,
            delegate_cur: 1,
        }
    }
}

/// Whether an allocation failed and nothing was placed for it yet.
fn is_unreplaced(alloc: &Allocation) -> bool {
    alloc.client_status == ClientStatus::Failed && !alloc.desired.is_stop() && alloc.next.is_none()
}

fn raft_server(status: &MemberStatus) -> RaftServer {
    RaftServer {
        id: status.id.to_string(),
        node: format!("{}.{}", status.member.name, status.member.region),
        address: status.member.rpc_addr.clone(),
        leader: status.leader,
        voter: status.voter,
        raft_protocol: "3".into(),
    }
}

#[async_trait]
impl ControlPlane for Plane {
    async fn view(&self, consistency: Consistency) -> Answer<Arc<dyn View>> {
        if consistency == Consistency::Linearizable {
            self.node.read_barrier().await.map_err(told)?;
        }
        let leadership = self.node.leadership().borrow().clone();
        Ok(Arc::new(view::Snapshot {
            state: self.node.store().snapshot(),
            known_leader: leadership.leader.is_some(),
            last_contact: Duration::ZERO,
        }))
    }

    async fn wait(&self, scopes: &[orch_http::Scope], after: StateIndex, deadline: tokio::time::Instant) {
        let scopes: Vec<Scope> = scopes.iter().map(view::scope).collect();
        self.node.store().wait(&scopes, after, deadline.into_std()).await;
    }

    async fn register_job(&self, request: RegisterJob) -> Answer<Written> {
        let mut job = (*request.job).clone();
        let stored = self.node.store().snapshot().job(&job.key()).cloned();
        preserve(&mut job, stored.as_deref(), request.preserve);
        let command = commands::RegisterJob {
            job,
            eval_id: request.eval_id,
            eval_priority: request.eval_priority,
            enforce_index: request.enforce_index,
            submission: request.submission.map(submission),
        };
        let written = self.job_written(Command::RegisterJob(Box::new(command))).await;
        written.map_err(|error| match (error.kind(), request.enforce_index) {
            (Kind::Conflict, Some(enforced)) => {
                orch_http::Error::job_index(enforced.0, stored.map(|job| job.job_modify_index.0))
            }
            (_, Some(_) | None) => error,
        })
    }

    async fn deregister_job(&self, request: DeregisterJob) -> Answer<Written> {
        let command = commands::DeregisterJob {
            job: request.job,
            purge: request.purge,
            eval_id: request.eval_id,
            eval_priority: request.eval_priority,
            no_shutdown_delay: request.no_shutdown_delay,
        };
        self.job_written(Command::DeregisterJob(command)).await
    }

    async fn evaluate_job(&self, job: JobKey, eval_id: EvalId, force_reschedule: bool) -> Answer<Written> {
        if force_reschedule {
            let state = self.node.store().snapshot();
            let failed: Vec<_> =
                state.allocs_of_job(&job).filter(|alloc| is_unreplaced(alloc)).map(|alloc| alloc.id).collect();
            drop(state);
            if !failed.is_empty() {
                self.reschedule(failed, Trigger::JobRegister).await?;
            }
        }
        self.job_written(Command::EvaluateJob(commands::EvaluateJob { job, eval_id })).await
    }

    async fn plan_job(&self, job: Arc<Job>) -> Answer<DryRun> {
        self.node.read_barrier().await.map_err(told)?;
        let state = self.node.store().snapshot();
        tokio::task::spawn_blocking(move || dry_run::run(&state, &job, seed()))
            .await
            .map_err(|error| orch_http::Error::internal(error.to_string()))?
            .map_err(|rejection| refused(&rejection))
    }

    async fn change_deployment(&self, request: ChangeDeployment) -> Answer<DeploymentWritten> {
        let change = match request.action {
            DeploymentAction::Pause => commands::DeploymentChange::Pause,
            DeploymentAction::Resume => commands::DeploymentChange::Resume,
            DeploymentAction::Fail => commands::DeploymentChange::Fail(commands::DeploymentFailure::ByUser),
        };
        let command = commands::ChangeDeployment { id: request.deployment, change, eval_id: request.eval_id };
        self.deployment_written(Command::ChangeDeployment(command)).await
    }

    async fn set_alloc_health(&self, request: SetAllocHealth) -> Answer<DeploymentWritten> {
        let SetAllocHealth { deployment, healthy, unhealthy, eval_id } = request;
        let command = commands::SetAllocHealth { deployment, healthy, unhealthy, eval_id };
        self.deployment_written(Command::SetAllocHealth(command)).await
    }

    async fn revert_job(&self, request: RevertJob) -> Answer<Written> {
        let RevertJob { job: key, to_version, enforce_prior, eval_id } = request;
        let command = commands::RevertJob { key: key.clone(), to_version, enforce_prior, eval_id };
        let written = self.job_written(Command::RevertJob(command)).await;
        written.map_err(|error| match (error.kind(), enforce_prior, self.node.store().snapshot().job(&key)) {
            (Kind::Conflict, Some(enforced), Some(job)) => orch_http::Error::job_version(enforced, job.version),
            (_, Some(_) | None, _) => error,
        })
    }

    async fn set_job_stability(&self, request: SetJobStability) -> Answer<StateIndex> {
        let SetJobStability { job: key, version, stable } = request;
        let command = commands::SetJobStability { key, version, stable };
        self.propose(Command::SetJobStability(command)).await.map(|committed| committed.index)
    }

    async fn scale_job(&self, request: ScaleJob) -> Answer<Written> {
        let ScaleJob { job: key, group, count, message, error, meta, eval_id, enforce_index } = request;
        let command =
            commands::ScaleJob { key: key.clone(), group, count, message, error, meta, eval_id, enforce_index };
        let written = self.job_written(Command::ScaleJob(command)).await;
        written.map_err(|error| match (error.kind(), enforce_index) {
            (Kind::Conflict, Some(enforced)) => {
                let found = self.node.store().snapshot().job(&key).map(|job| job.job_modify_index.0);
                orch_http::Error::job_index(enforced.0, found)
            }
            (_, Some(_) | None) => error,
        })
    }

    async fn stop_alloc(&self, request: StopAlloc) -> Answer<Written> {
        let failed = request.reschedule
            && self.node.store().snapshot().alloc(&request.alloc).is_some_and(|alloc| is_unreplaced(alloc));
        if failed {
            // It has stopped by itself: what is wanted of it is its replacement, as its policy would have it.
            let (index, eval_ids) = self.reschedule(vec![request.alloc], Trigger::AllocStop).await?;
            let eval_id = eval_ids.first().copied();
            return Ok(Written { index, eval_id, eval_create_index: index, job_modify_index: StateIndex(0) });
        }
        let command = commands::StopAlloc {
            alloc_id: request.alloc,
            no_shutdown_delay: request.no_shutdown_delay,
            eval_id: request.eval_id,
        };
        let committed = self.propose(Command::StopAlloc(command)).await?;
        Ok(Written {
            index: committed.index,
            eval_id: Some(request.eval_id),
            eval_create_index: committed.index,
            job_modify_index: StateIndex(0),
        })
    }

    async fn set_eligibility(&self, node_id: NodeId, eligibility: Eligibility) -> Answer<NodeWritten> {
        self.node_written(Command::SetEligibility(commands::SetEligibility { node_id, eligibility })).await
    }

    async fn purge_node(&self, node_id: NodeId) -> Answer<NodeWritten> {
        self.node_written(Command::PurgeNode(commands::PurgeNode { node_id, seed: seed() })).await
    }

    async fn evaluate_node(&self, node_id: NodeId) -> Answer<NodeWritten> {
        self.node_written(Command::EvaluateNode(commands::EvaluateNode { node_id, seed: seed() })).await
    }

    async fn put_host_volume(&self, request: PutHostVolume) -> Answer<HostVolumeWritten> {
        self.make_volume(request).await
    }

    async fn delete_host_volume(&self, request: DeleteHostVolume) -> Answer<StateIndex> {
        self.remove_volume(request).await
    }

    async fn delete_volume_claim(&self, id: VolumeClaimId) -> Answer<StateIndex> {
        let command = commands::DeleteVolumeClaim { id };
        self.propose(Command::DeleteVolumeClaim(command)).await.map(|committed| committed.index)
    }

    async fn set_scheduler_config(
        &self,
        config: SchedulerConfig,
        cas: Option<StateIndex>,
    ) -> Answer<SchedulerConfigWritten> {
        let command = commands::SetSchedulerConfig { config, check_index: cas };
        match self.node.propose(Command::SetSchedulerConfig(command)).await {
            Ok(committed) => Ok(SchedulerConfigWritten { updated: true, index: committed.index }),
            Err(Error::Rejected(rejection)) if rejection.kind == RejectionKind::Conflict => {
                Ok(SchedulerConfigWritten { updated: false, index: self.node.store().snapshot().last_index() })
            }
            Err(error) => Err(told(error)),
        }
    }

    async fn system_gc(&self) -> Answer<()> {
        self.node.read_barrier().await.map_err(told)?;
        for _ in 0..GC_PASSES {
            let mut collected = 0;
            let mut collector = Collector::begin(true);
            while !collector.is_idle() {
                let reap = collector.step(&self.node.store().snapshot(), &self.config.gc);
                if !gc::is_empty(&reap) {
                    collected += gc::names(&reap);
                    self.propose(Command::Reap(reap)).await?;
                }
            }
            if collected == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn raft_configuration(&self, consistency: Consistency) -> Answer<RaftConfiguration> {
        if consistency == Consistency::Linearizable {
            self.node.read_barrier().await.map_err(told)?;
        }
        Ok(RaftConfiguration {
            servers: self.node.members().iter().map(raft_server).collect(),
            index: self.node.store().snapshot().last_index().0,
        })
    }

    async fn remove_peer(&self, id: &str) -> Answer<()> {
        if !self.leads() {
            let path = format!("/v1/operator/raft/peer?id={}", operators::encoded(id));
            return self.ask_leader("DELETE", &path).await.map(drop);
        }
        let found = self
            .find_member(|status| status.id.to_string() == id)
            .ok_or_else(|| orch_http::Error::invalid(format!("there is no server with the id {id:?} in Raft")))?;
        self.node.remove(found.id).await.map_err(told)
    }

    async fn transfer_leadership(&self, to: LeadershipTarget) -> Answer<TransferLeadership> {
        if !self.leads() {
            let query = match &to {
                LeadershipTarget::Any => String::new(),
                LeadershipTarget::Id(id) => format!("?id={}", operators::encoded(id)),
                LeadershipTarget::Address(addr) => format!("?address={}", operators::encoded(addr)),
            };
            let path = format!("/v1/operator/raft/transfer-leadership{query}");
            let bytes = self.ask_leader("PUT", &path).await?;
            return serde_json::from_slice(&bytes).map_err(|error| orch_http::Error::internal(error.to_string()));
        }
        let from = self.find_member(|status| status.leader).ok_or_else(orch_http::Error::no_leader)?;
        let target = match &to {
            LeadershipTarget::Any => self.find_member(|status| status.voter && !status.leader),
            LeadershipTarget::Id(id) => self.find_member(|status| status.voter && status.id.to_string() == *id),
            LeadershipTarget::Address(addr) => {
                self.find_member(|status| status.voter && status.member.rpc_addr == *addr)
            }
        };
        let target = target.ok_or_else(|| orch_http::Error::invalid(format!("there is no voter {to:?} to lead")))?;
        let noop = target.id == from.id;
        if !noop {
            self.node.transfer_leadership(target.id).await.map_err(told)?;
        }
        Ok(TransferLeadership { from: raft_server(&from), to: raft_server(&target), noop, err: None })
    }

    async fn members(&self) -> Answer<Vec<AgentMember>> {
        Ok(self.node.members().iter().map(|status| self.member(status)).collect())
    }

    async fn force_leave(&self, name: &str, _prune: bool) -> Answer<()> {
        if !self.leads() {
            let path = format!("/v1/agent/force-leave?node={}", operators::encoded(name));
            return self.ask_leader("PUT", &path).await.map(drop);
        }
        let found = self
            .find_member(|status| {
                status.member.name == name || format!("{}.{}", status.member.name, status.member.region) == name
            })
            .ok_or_else(|| orch_http::Error::not_found(format!("there is no server named {name:?}")))?;
        self.node.remove(found.id).await.map_err(told)
    }

    async fn join(&self, addresses: Vec<String>) -> Answer<Joined> {
        Ok(self.join_servers(addresses).await)
    }

    async fn brake_status(&self) -> Answer<BrakeStatus> {
        self.ask_brake(BrakeWish::Status).await
    }

    async fn brake_release(&self) -> Answer<BrakeStatus> {
        self.ask_brake(BrakeWish::Release).await
    }

    async fn leader(&self) -> Option<String> {
        self.node.leadership().borrow().leader_addr.clone()
    }

    async fn peers(&self) -> Answer<Vec<String>> {
        Ok(self.node.members().into_iter().map(|status| status.member.rpc_addr).collect())
    }

    async fn node_http(&self, node: NodeId, request: Request) -> Answer<Response> {
        let no_path = || orch_http::Error::not_found("No path to node");
        if let Some(session) = self.sessions.of(&node) {
            let connection = self.sessions.connect(&session).await.ok_or_else(no_path)?;
            return http_over::send(connection, request)
                .await
                .map_err(|error| orch_http::Error::new(Kind::Unavailable, format!("the node broke off: {error}")));
        }
        let state = self.node.store().snapshot();
        let holder = state.node(&node).map(|node| node.session.server).ok_or_else(no_path)?;
        let server = self
            .find_member(|status| status.id == holder)
            .filter(|status| status.id != RaftId(0) && status.member.rpc_addr != self.config.rpc_advertise)
            .ok_or_else(no_path)?;
        self.forward(&server.member.rpc_addr, request).await
    }

    async fn health(&self) -> PartHealth {
        if self.node.leadership().borrow().leader.is_some() {
            PartHealth { ok: true, message: "ok".into() }
        } else {
            PartHealth { ok: false, message: "No cluster leader".into() }
        }
    }

    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let leadership = self.node.leadership().borrow().clone();
        let nomad = BTreeMap::from([
            ("server".to_owned(), "true".to_owned()),
            ("leader".to_owned(), leadership.is_self.to_string()),
            ("leader_addr".to_owned(), leadership.leader_addr.unwrap_or_default()),
            ("bootstrap".to_owned(), (self.config.bootstrap_expect == 1).to_string()),
            ("sessions".to_owned(), self.sessions.connected().to_string()),
            ("blocking_queries".to_owned(), self.node.store().waiting().to_string()),
        ]);
        BTreeMap::from([("nomad".to_owned(), nomad), ("raft".to_owned(), self.node.stats())])
    }
}
