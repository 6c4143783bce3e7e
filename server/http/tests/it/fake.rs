//! A control plane in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use orch_api::operator::HeldNode;
use orch_api::{
    AgentMember, BrakeStatus, JobSubmission, JobSummary, Namespace as NamespaceShape, NodePool, PartHealth,
    RaftConfiguration, ScalingEvent, TransferLeadership,
};
use orch_http::control::{
    ChangeDeployment, DeleteHostVolume, DeploymentAction, DeploymentWritten, DeregisterJob, DryRun, HostVolumeWritten,
    Joined, LeadershipTarget, NodeWritten, PutHostVolume, RegisterJob, RevertJob, ScaleJob, SchedulerConfigWritten,
    SetAllocHealth, SetJobStability, StopAlloc, Written,
};
use orch_http::{Body, Consistency, ControlPlane, Error, Request, Response, Scope, Table, View};
use orch_model::allocation::AllocHealth;
use orch_model::deployment::{DeploymentReason, DeploymentStatus, Rollback};
use orch_model::evaluation::{DesiredUpdates, Explanation};
use orch_model::ids::VolumeClaimId;
use orch_model::node::Eligibility;
use orch_model::operator::SchedulerConfig;
use orch_model::volume::{VolumeClaim, VolumeState};
use orch_model::{AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, Job, JobKey};
use orch_model::{HostVolume, HostVolumeId, Namespace, Node, NodeId, StateIndex, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use super::fake_node::ask;

/// All that is stored, and when each scope was last written.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub index: u64,
    /// The versions of each job, newest first.
    pub jobs: BTreeMap<JobKey, Vec<Arc<Job>>>,
    pub submissions: BTreeMap<(JobKey, u64), JobSubmission>,
    pub allocs: BTreeMap<AllocId, Arc<Allocation>>,
    pub evals: BTreeMap<EvalId, Arc<Evaluation>>,
    pub deployments: BTreeMap<DeploymentId, Arc<Deployment>>,
    pub scaling: BTreeMap<JobKey, BTreeMap<String, Vec<ScalingEvent>>>,
    pub nodes: BTreeMap<NodeId, Arc<Node>>,
    pub volumes: BTreeMap<HostVolumeId, Arc<HostVolume>>,
    pub claims: Vec<Arc<VolumeClaim>>,
    pub scheduler: Arc<SchedulerConfig>,
    pub written: BTreeMap<Scope, u64>,
}

impl State {
    fn wrote(&mut self, scopes: Vec<Scope>) -> u64 {
        self.index += 1;
        for scope in scopes {
            self.written.insert(scope, self.index);
        }
        self.index
    }

    pub fn put_job(&mut self, mut job: Job) -> Arc<Job> {
        let key = job.key();
        let namespace = key.namespace.clone();
        let index = self.wrote(vec![
            Scope::Table(Table::Jobs),
            Scope::Namespace(Table::Jobs, namespace),
            Scope::Job(Table::Jobs, key.clone()),
        ]);
        let versions = self.jobs.entry(key).or_default();
        job.create_index = versions.first().map_or(StateIndex(index), |job| job.create_index);
        job.version = versions.first().map_or(0, |job| job.version + 1);
        job.modify_index = StateIndex(index);
        job.job_modify_index = StateIndex(index);
        let job = Arc::new(job);
        versions.insert(0, job.clone());
        job
    }

    pub fn put_alloc(&mut self, mut alloc: Allocation) {
        let index = self.wrote(vec![
            Scope::Table(Table::Allocs),
            Scope::Namespace(Table::Allocs, alloc.job.namespace.clone()),
            Scope::Job(Table::Allocs, alloc.job_key()),
            Scope::Node(Table::Allocs, alloc.node_id),
            Scope::Eval(Table::Allocs, alloc.eval_id),
            Scope::Alloc(alloc.id),
        ]);
        alloc.create_index = StateIndex(index);
        alloc.modify_index = StateIndex(index);
        self.allocs.insert(alloc.id, Arc::new(alloc));
    }

    pub fn put_eval(&mut self, mut eval: Evaluation) {
        let index = self.wrote(vec![
            Scope::Table(Table::Evals),
            Scope::Namespace(Table::Evals, eval.namespace.clone()),
            Scope::Job(Table::Evals, eval.job_key()),
            Scope::Eval(Table::Evals, eval.id),
        ]);
        eval.create_index = StateIndex(index);
        eval.modify_index = StateIndex(index);
        self.evals.insert(eval.id, Arc::new(eval));
    }

    pub fn put_deployment(&mut self, mut deployment: Deployment) {
        let key = deployment.job_key().clone();
        let index = self.wrote(vec![
            Scope::Table(Table::Deployments),
            Scope::Namespace(Table::Deployments, key.namespace.clone()),
            Scope::Job(Table::Deployments, key),
            Scope::Deployment(deployment.id),
        ]);
        if deployment.create_index == StateIndex(0) {
            deployment.create_index = StateIndex(index);
        }
        deployment.modify_index = StateIndex(index);
        self.deployments.insert(deployment.id, Arc::new(deployment));
    }

    pub fn put_volume(&mut self, mut volume: HostVolume) -> HostVolumeWritten {
        let index = StateIndex(self.wrote(vec![
            Scope::Table(Table::HostVolumes),
            Scope::Namespace(Table::HostVolumes, volume.namespace.clone()),
            Scope::HostVolume(volume.id),
        ]));
        volume.modify_index = index;
        let volume = Arc::new(volume);
        self.volumes.insert(volume.id, volume.clone());
        HostVolumeWritten { volume, index }
    }

    pub fn put_node(&mut self, mut node: Node) {
        let index = self.wrote(vec![Scope::Table(Table::Nodes), Scope::Node(Table::Nodes, node.id)]);
        node.create_index = StateIndex(index);
        node.modify_index = StateIndex(index);
        self.nodes.insert(node.id, Arc::new(node));
    }
}

fn here(wanted: Option<&Namespace>, namespace: &Namespace) -> bool {
    wanted.is_none_or(|wanted| wanted == namespace)
}

impl View for State {
    fn index(&self, scope: &Scope) -> StateIndex {
        StateIndex(self.written.get(scope).copied().unwrap_or(1))
    }
    fn known_leader(&self) -> bool {
        true
    }
    fn last_contact(&self) -> Duration {
        Duration::ZERO
    }
    fn job(&self, key: &JobKey) -> Option<Arc<Job>> {
        self.jobs.get(key)?.first().cloned()
    }
    fn job_versions(&self, key: &JobKey) -> Vec<Arc<Job>> {
        self.jobs.get(key).cloned().unwrap_or_default()
    }
    fn jobs(&self, namespace: Option<&Namespace>, prefix: &str) -> Vec<Arc<Job>> {
        let jobs =
            self.jobs.values().filter_map(|versions| versions.first()).filter(|job| here(namespace, &job.namespace));
        jobs.filter(|job| job.id.as_str().starts_with(prefix)).cloned().collect()
    }
    fn submission(&self, key: &JobKey, version: u64) -> Option<JobSubmission> {
        self.submissions.get(&(key.clone(), version)).cloned()
    }
    fn job_summary(&self, key: &JobKey) -> Option<JobSummary> {
        let job = self.job(key)?;
        Some(JobSummary { job_id: job.id.to_string(), namespace: job.namespace.to_string(), ..JobSummary::default() })
    }
    fn alloc(&self, id: AllocId) -> Option<Arc<Allocation>> {
        self.allocs.get(&id).cloned()
    }
    fn allocs(&self, namespace: Option<&Namespace>) -> Vec<Arc<Allocation>> {
        let mut allocs: Vec<_> =
            self.allocs.values().filter(|alloc| here(namespace, &alloc.job.namespace)).cloned().collect();
        allocs.sort_by_key(|alloc| (alloc.create_index, alloc.id));
        allocs
    }
    fn allocs_between(&self, first: AllocId, last: AllocId) -> Vec<Arc<Allocation>> {
        self.allocs.range(first..=last).map(|(_, alloc)| alloc.clone()).collect()
    }
    fn allocs_of_job(&self, key: &JobKey) -> Vec<Arc<Allocation>> {
        self.allocs.values().filter(|alloc| alloc.job_key() == *key).cloned().collect()
    }
    fn allocs_of_node(&self, node: NodeId) -> Vec<Arc<Allocation>> {
        self.allocs.values().filter(|alloc| alloc.node_id == node).cloned().collect()
    }
    fn allocs_of_eval(&self, eval: EvalId) -> Vec<Arc<Allocation>> {
        self.allocs.values().filter(|alloc| alloc.eval_id == eval).cloned().collect()
    }
    fn eval(&self, id: EvalId) -> Option<Arc<Evaluation>> {
        self.evals.get(&id).cloned()
    }
    fn evals(&self, namespace: Option<&Namespace>) -> Vec<Arc<Evaluation>> {
        let mut evals: Vec<_> = self.evals.values().filter(|eval| here(namespace, &eval.namespace)).cloned().collect();
        evals.sort_by_key(|eval| (eval.create_index, eval.id));
        evals
    }
    fn evals_between(&self, first: EvalId, last: EvalId) -> Vec<Arc<Evaluation>> {
        self.evals.range(first..=last).map(|(_, eval)| eval.clone()).collect()
    }
    fn evals_of_job(&self, key: &JobKey) -> Vec<Arc<Evaluation>> {
        self.evals.values().filter(|eval| eval.job_key() == *key).cloned().collect()
    }
    fn deployment(&self, id: DeploymentId) -> Option<Arc<Deployment>> {
        self.deployments.get(&id).cloned()
    }
    fn deployments(&self, namespace: Option<&Namespace>) -> Vec<Arc<Deployment>> {
        let mut found: Vec<_> =
            self.deployments.values().filter(|found| here(namespace, &found.job_key().namespace)).cloned().collect();
        found.sort_by_key(|deployment| (deployment.create_index, deployment.id));
        found
    }
    fn deployments_between(&self, first: DeploymentId, last: DeploymentId) -> Vec<Arc<Deployment>> {
        self.deployments.range(first..=last).map(|(_, deployment)| deployment.clone()).collect()
    }
    fn deployments_of_job(&self, key: &JobKey) -> Vec<Arc<Deployment>> {
        let mut found = View::deployments(self, None);
        found.retain(|deployment| deployment.job_key() == key);
        found
    }
    fn allocs_of_deployment(&self, id: DeploymentId) -> Vec<Arc<Allocation>> {
        self.allocs.values().filter(|alloc| alloc.deployment_id == Some(id)).cloned().collect()
    }
    fn scaling_events(&self, key: &JobKey) -> BTreeMap<String, Vec<ScalingEvent>> {
        self.scaling.get(key).cloned().unwrap_or_default()
    }
    fn host_volume(&self, id: HostVolumeId) -> Option<Arc<HostVolume>> {
        self.volumes.get(&id).cloned()
    }
    fn host_volumes(&self, namespace: Option<&Namespace>) -> Vec<Arc<HostVolume>> {
        self.volumes.values().filter(|volume| here(namespace, &volume.namespace)).cloned().collect()
    }
    fn allocs_of_host_volume(&self, volume: &HostVolume) -> Vec<Arc<Allocation>> {
        self.allocs.values().filter(|alloc| alloc.node_id == volume.node_id).cloned().collect()
    }
    fn volume_claims(&self, namespace: Option<&Namespace>) -> Vec<Arc<VolumeClaim>> {
        self.claims.iter().filter(|claim| here(namespace, &claim.job.namespace)).cloned().collect()
    }
    fn node(&self, id: NodeId) -> Option<Arc<Node>> {
        self.nodes.get(&id).cloned()
    }
    fn nodes_between(&self, first: NodeId, last: NodeId) -> Vec<Arc<Node>> {
        self.nodes.range(first..=last).map(|(_, node)| node.clone()).collect()
    }
    fn namespaces(&self) -> Vec<NamespaceShape> {
        vec![NamespaceShape::builtin()]
    }
    fn node_pools(&self) -> Vec<NodePool> {
        vec![NodePool::named(NodePool::ALL), NodePool::named(NodePool::DEFAULT)]
    }
    fn scheduler_config(&self) -> Arc<SchedulerConfig> {
        self.scheduler.clone()
    }
}

/// A control plane whose writes are applied at once.
pub struct FakeControl {
    pub state: watch::Sender<Arc<State>>,
    /// How often a waiter came back, for whatever reason.
    pub woken: Mutex<usize>,
    /// What was asked beyond what the state shows.
    pub asked: Mutex<Vec<String>>,
    /// Where the agents of nodes are; one that is not here is answered for.
    pub agents: Mutex<BTreeMap<NodeId, SocketAddr>>,
}

impl FakeControl {
    pub fn new(state: State) -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::new(Arc::new(state)),
            woken: Mutex::new(0),
            asked: Mutex::default(),
            agents: Mutex::default(),
        })
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = State::clone(&self.state.borrow());
        let result = change(&mut state);
        self.state.send_replace(Arc::new(state));
        result
    }

    fn ask(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn active(&self, id: DeploymentId, action: &str) -> Result<Arc<Deployment>, Error> {
        let stored = self.state.borrow().deployments.get(&id).cloned();
        let stored = stored.ok_or_else(|| Error::not_found("deployment not found"))?;
        if stored.is_active() { Ok(stored) } else { Err(Error::invalid(format!("can't {action} terminal deployment"))) }
    }

    fn written(&self, key: &JobKey, id: EvalId) -> Result<Written, Error> {
        let state = self.state.borrow().clone();
        let job = state.job(key).ok_or_else(|| Error::not_found("job not found"))?;
        Ok(Written {
            index: StateIndex(state.index),
            eval_id: Some(id),
            eval_create_index: StateIndex(state.index),
            job_modify_index: job.job_modify_index,
        })
    }
}

#[async_trait]
impl ControlPlane for FakeControl {
    async fn view(&self, _: Consistency) -> Result<Arc<dyn View>, Error> {
        Ok(self.state.borrow().clone())
    }
    async fn wait(&self, scopes: &[Scope], after: StateIndex, deadline: Instant) {
        let mut changes = self.state.subscribe();
        let newer = |state: &Arc<State>| scopes.iter().any(|scope| View::index(&**state, scope) > after);
        let came = tokio::time::timeout_at(deadline, changes.wait_for(newer)).await;
        drop(came);
        *self.woken.lock().unwrap() += 1;
    }
    async fn register_job(&self, request: RegisterJob) -> Result<Written, Error> {
        let key = request.job.key();
        let found = self.state.borrow().job(&key).map(|job| job.job_modify_index.0);
        if let Some(enforced) = request.enforce_index
            && enforced.0 != found.unwrap_or(0)
        {
            return Err(Error::job_index(enforced.0, found));
        }
        self.change(|state| {
            state.put_job(Job::clone(&request.job));
            if let Some(submission) = request.submission.clone() {
                state.submissions.insert((key.clone(), 0), submission);
            }
        });
        self.written(&key, request.eval_id)
    }
    async fn deregister_job(&self, request: DeregisterJob) -> Result<Written, Error> {
        self.ask(format!("no_shutdown_delay={}", request.no_shutdown_delay));
        let written = self.written(&request.job, request.eval_id)?;
        if request.purge {
            self.change(|state| state.jobs.remove(&request.job));
        }
        Ok(written)
    }
    async fn evaluate_job(&self, job: JobKey, eval_id: EvalId, force: bool) -> Result<Written, Error> {
        self.ask(format!("force_reschedule={force}"));
        self.written(&job, eval_id)
    }
    async fn plan_job(&self, job: Arc<Job>) -> Result<DryRun, Error> {
        let state = self.state.borrow().clone();
        let failed = Explanation { nodes_evaluated: 3, nodes_filtered: 3, ..Explanation::default() };
        Ok(DryRun {
            index: StateIndex(state.index),
            stored: state.job(&job.key()),
            updates: BTreeMap::from([("web".into(), DesiredUpdates { place: 2, ..DesiredUpdates::default() })]),
            failed: BTreeMap::from([("web".into(), failed)]),
            created_evals: Vec::new(),
        })
    }
    async fn change_deployment(&self, request: ChangeDeployment) -> Result<DeploymentWritten, Error> {
        let ChangeDeployment { deployment, action, eval_id } = request;
        let stored = self.active(deployment, action.as_str())?;
        let (status, reason) = match action {
            DeploymentAction::Pause => (DeploymentStatus::Paused, DeploymentReason::Paused),
            DeploymentAction::Resume => (DeploymentStatus::Running, DeploymentReason::Running),
            DeploymentAction::Fail => (DeploymentStatus::Failed, DeploymentReason::FailedByUser(Rollback::To(0))),
        };
        self.change(|state| state.put_deployment(Deployment { status, reason, ..Deployment::clone(&stored) }));
        let index = StateIndex(self.state.borrow().index);
        Ok(DeploymentWritten {
            index,
            eval_id: Some(eval_id),
            eval_create_index: index,
            deployment_modify_index: index,
            reverted_version: (action == DeploymentAction::Fail).then_some(0),
        })
    }
    async fn set_alloc_health(&self, request: SetAllocHealth) -> Result<DeploymentWritten, Error> {
        let SetAllocHealth { deployment, healthy, unhealthy, eval_id } = request;
        self.active(deployment, "set health of allocations of")?;
        let words = healthy.iter().map(|id| (*id, true)).chain(unhealthy.iter().map(|id| (*id, false)));
        for (id, healthy) in words {
            let stored = self.state.borrow().allocs.get(&id).cloned();
            let stored = stored.ok_or_else(|| Error::not_found(format!("unknown alloc {id}")))?;
            self.change(|state| {
                let health = AllocHealth { healthy, at: Timestamp(7), index: StateIndex(state.index + 1) };
                state.put_alloc(Allocation { health: Some(health), ..Allocation::clone(&stored) });
            });
        }
        let index = StateIndex(self.state.borrow().index);
        Ok(DeploymentWritten {
            index,
            eval_id: Some(eval_id),
            eval_create_index: index,
            ..DeploymentWritten::default()
        })
    }
    async fn revert_job(&self, request: RevertJob) -> Result<Written, Error> {
        let RevertJob { job: key, to_version, enforce_prior, eval_id } = request;
        let versions = self.state.borrow().job_versions(&key);
        let current = versions.first().ok_or_else(|| Error::not_found("job not found"))?;
        if let Some(enforced) = enforce_prior.filter(|enforced| *enforced != current.version) {
            return Err(Error::job_version(enforced, current.version));
        }
        if current.version == to_version {
            return Err(Error::invalid("can't revert to current version"));
        }
        let wanted = versions.iter().find(|job| job.version == to_version);
        let wanted = wanted.ok_or_else(|| Error::not_found(format!("job at version {to_version} not found")))?;
        self.change(|state| state.put_job(Job::clone(wanted)));
        self.written(&key, eval_id)
    }
    async fn set_job_stability(&self, request: SetJobStability) -> Result<StateIndex, Error> {
        let versions = self.state.borrow().job_versions(&request.job);
        if !versions.iter().any(|job| job.version == request.version) {
            return Err(Error::not_found(format!("job at version {} not found", request.version)));
        }
        self.ask(format!("stable={}", request.stable));
        Ok(StateIndex(self.state.borrow().index))
    }
    async fn scale_job(&self, request: ScaleJob) -> Result<Written, Error> {
        let ScaleJob { job: key, group, count, message, error, meta, eval_id, enforce_index } = request;
        let stored = self.state.borrow().job(&key).ok_or_else(|| Error::not_found("job not found"))?;
        if stored.group(&group).is_none() {
            let refused = format!("task group {group:?} specified for scaling does not exist in job");
            return Err(Error::invalid(refused));
        }
        if let Some(enforced) = enforce_index.filter(|enforced| *enforced != stored.job_modify_index) {
            return Err(Error::job_index(enforced.0, Some(stored.job_modify_index.0)));
        }
        self.change(|state| {
            let mut scaled = Job::clone(&stored);
            let previous_count = scaled.task_groups[0].count;
            if let Some(count) = count {
                scaled.task_groups[0].count = i64::from(count);
                state.put_job(scaled);
            }
            let event = ScalingEvent {
                time: 7,
                count: count.map(i64::from),
                previous_count,
                message,
                error,
                meta,
                eval_id: count.map(|_| eval_id.to_string()),
                create_index: state.index,
            };
            state.scaling.entry(key.clone()).or_default().entry(group).or_default().insert(0, event);
        });
        let written = self.written(&key, eval_id)?;
        Ok(if count.is_none() { Written { eval_id: None, ..written } } else { written })
    }
    async fn stop_alloc(&self, request: StopAlloc) -> Result<Written, Error> {
        self.ask(format!("no_shutdown_delay={} reschedule={}", request.no_shutdown_delay, request.reschedule));
        let alloc = self.state.borrow().allocs.get(&request.alloc).cloned();
        let alloc = alloc.ok_or_else(|| Error::not_found("alloc not found"))?;
        self.written(&alloc.job_key(), request.eval_id)
    }
    async fn set_eligibility(&self, node: NodeId, eligibility: Eligibility) -> Result<NodeWritten, Error> {
        let stored = self.state.borrow().nodes.get(&node).cloned();
        let stored = stored.ok_or_else(|| Error::not_found("node not found"))?;
        self.change(|state| state.put_node(Node { eligibility, ..Node::clone(&stored) }));
        let index = StateIndex(self.state.borrow().index);
        Ok(NodeWritten { index, node_modify_index: index, ..NodeWritten::default() })
    }
    async fn purge_node(&self, _: NodeId) -> Result<NodeWritten, Error> {
        Err(Error::not_found("node not found"))
    }
    async fn evaluate_node(&self, _: NodeId) -> Result<NodeWritten, Error> {
        Err(Error::not_found("node not found"))
    }
    async fn put_host_volume(&self, request: PutHostVolume) -> Result<HostVolumeWritten, Error> {
        let PutHostVolume { mut volume, node, exists } = request;
        self.ask(format!("put volume {} on {node:?}, which exists: {exists}", volume.name));
        volume.node_id = node.unwrap_or(volume.node_id);
        volume.state = VolumeState::Ready;
        volume.host_path = format!("/volumes/{}", volume.id);
        Ok(self.change(|state| state.put_volume(volume)))
    }
    async fn delete_host_volume(&self, request: DeleteHostVolume) -> Result<StateIndex, Error> {
        self.ask(format!("delete volume {} of {}, forced: {}", request.id, request.namespace, request.force));
        self.change(|state| match state.volumes.remove(&request.id) {
            Some(_) => Ok(StateIndex(state.wrote(vec![Scope::Table(Table::HostVolumes)]))),
            None => Err(Error::not_found("host volume not found")),
        })
    }
    async fn delete_volume_claim(&self, id: VolumeClaimId) -> Result<StateIndex, Error> {
        self.change(|state| {
            let before = state.claims.len();
            state.claims.retain(|claim| claim.id != id);
            match state.claims.len() < before {
                true => Ok(StateIndex(state.wrote(vec![Scope::Table(Table::VolumeClaims)]))),
                false => Err(Error::not_found("volume claim not found")),
            }
        })
    }
    async fn set_scheduler_config(
        &self,
        config: SchedulerConfig,
        cas: Option<StateIndex>,
    ) -> Result<SchedulerConfigWritten, Error> {
        let updated = cas.is_none_or(|cas| cas == self.state.borrow().scheduler.modify_index);
        if updated {
            self.change(|state| state.scheduler = Arc::new(config));
        }
        Ok(SchedulerConfigWritten { updated, index: StateIndex(self.state.borrow().index) })
    }
    async fn system_gc(&self) -> Result<(), Error> {
        Ok(())
    }
    async fn raft_configuration(&self, _: Consistency) -> Result<RaftConfiguration, Error> {
        Ok(RaftConfiguration::default())
    }
    async fn remove_peer(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }
    async fn transfer_leadership(&self, _: LeadershipTarget) -> Result<TransferLeadership, Error> {
        Ok(TransferLeadership::default())
    }
    async fn members(&self) -> Result<Vec<AgentMember>, Error> {
        Ok(vec![AgentMember { name: "one.global".into(), ..AgentMember::default() }])
    }
    async fn force_leave(&self, _: &str, _: bool) -> Result<(), Error> {
        Ok(())
    }
    async fn join(&self, addresses: Vec<String>) -> Result<Joined, Error> {
        let (good, bad): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.starts_with("127."));
        let errors = bad.iter().map(|address| format!("{address} does not answer")).collect();
        Ok(Joined { joined: good.len(), errors })
    }
    async fn brake_status(&self) -> Result<BrakeStatus, Error> {
        let released = self.asked.lock().unwrap().iter().any(|asked| asked == "release");
        let held =
            HeldNode { id: "a".into(), name: "node-1".into(), since: Timestamp(1_893_456_000_000_000_000).into() };
        let held = if released { Vec::new() } else { vec![held] };
        Ok(BrakeStatus {
            tokens: 0.5,
            capacity: 5.0,
            refill_period: orch_model::Nanos::from_secs(60),
            hold: orch_model::Nanos::from_secs(300),
            held,
        })
    }
    async fn brake_release(&self) -> Result<BrakeStatus, Error> {
        self.ask("release".into());
        self.brake_status().await
    }
    async fn leader(&self) -> Option<String> {
        Some("127.0.0.1:4647".into())
    }
    async fn peers(&self) -> Result<Vec<String>, Error> {
        Ok(vec!["127.0.0.1:4647".into()])
    }
    async fn node_http(&self, node: NodeId, request: Request) -> Result<Response, Error> {
        if !self.state.borrow().nodes.contains_key(&node) {
            return Err(Error::not_found("No path to node"));
        }
        let agent = self.agents.lock().unwrap().get(&node).copied();
        match agent {
            Some(agent) => ask(agent, request).await,
            None => Ok(Response::new(Body::from(format!("node {node} answers {}", request.uri())))),
        }
    }
    async fn health(&self) -> PartHealth {
        PartHealth::well()
    }
    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        BTreeMap::from([("raft".into(), BTreeMap::from([("state".into(), "Leader".into())]))])
    }
}
