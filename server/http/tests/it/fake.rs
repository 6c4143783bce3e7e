//! A control plane and a local node in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use orch_api::{
    AgentMember, AllocResourceUsage, Blob, FileInfo, HostStats, JobSubmission, JobSummary, Namespace as NamespaceShape,
    NodeMetadata, NodePool, PartHealth, RaftConfiguration, StreamFrame, TransferLeadership,
};
use orch_http::control::{
    DeregisterJob, DryRun, LeadershipTarget, NodeWritten, RegisterJob, SchedulerConfigWritten, StopAlloc, Written,
};
use orch_http::local::{ByteStream, FrameStream, LogRequest, Position, RestartTarget};
use orch_http::{Body, Consistency, ControlPlane, Error, Kind, LocalNode, Request, Response, Scope, Table, View};
use orch_model::evaluation::{DesiredUpdates, Explanation};
use orch_model::node::Eligibility;
use orch_model::operator::SchedulerConfig;
use orch_model::{AllocId, Allocation, EvalId, Evaluation, Job, JobKey, Namespace, Node, NodeId, StateIndex};
use tokio::sync::watch;
use tokio::time::Instant;

/// All that is stored, and when each scope was last written.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub index: u64,
    pub jobs: BTreeMap<JobKey, Arc<Job>>,
    pub submissions: BTreeMap<(JobKey, u64), JobSubmission>,
    pub allocs: BTreeMap<AllocId, Arc<Allocation>>,
    pub evals: BTreeMap<EvalId, Arc<Evaluation>>,
    pub nodes: BTreeMap<NodeId, Arc<Node>>,
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
        let existing = self.jobs.get(&key);
        job.create_index = existing.map_or(StateIndex(index), |job| job.create_index);
        job.modify_index = StateIndex(index);
        job.job_modify_index = StateIndex(index);
        let job = Arc::new(job);
        self.jobs.insert(key, job.clone());
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
        self.jobs.get(key).cloned()
    }
    fn job_versions(&self, key: &JobKey) -> Vec<Arc<Job>> {
        self.jobs.get(key).cloned().into_iter().collect()
    }
    fn jobs(&self, namespace: Option<&Namespace>, prefix: &str) -> Vec<Arc<Job>> {
        let jobs = self.jobs.values().filter(|job| here(namespace, &job.namespace));
        jobs.filter(|job| job.id.as_str().starts_with(prefix)).cloned().collect()
    }
    fn submission(&self, key: &JobKey, version: u64) -> Option<JobSubmission> {
        self.submissions.get(&(key.clone(), version)).cloned()
    }
    fn job_summary(&self, key: &JobKey) -> Option<JobSummary> {
        let job = self.jobs.get(key)?;
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
}

impl FakeControl {
    pub fn new(state: State) -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::new(Arc::new(state)), woken: Mutex::new(0) })
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = State::clone(&self.state.borrow());
        let result = change(&mut state);
        self.state.send_replace(Arc::new(state));
        result
    }

    fn written(&self, key: &JobKey, id: EvalId) -> Result<Written, Error> {
        let state = self.state.borrow().clone();
        let job = state.jobs.get(key).ok_or_else(|| Error::not_found("job not found"))?;
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
        let found = self.state.borrow().jobs.get(&key).map(|job| job.job_modify_index.0);
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
        let written = self.written(&request.job, request.eval_id)?;
        if request.purge {
            self.change(|state| state.jobs.remove(&request.job));
        }
        Ok(written)
    }
    async fn evaluate_job(&self, job: JobKey, eval_id: EvalId, _: bool) -> Result<Written, Error> {
        self.written(&job, eval_id)
    }
    async fn plan_job(&self, job: Arc<Job>) -> Result<DryRun, Error> {
        let state = self.state.borrow().clone();
        let failed = Explanation { nodes_evaluated: 3, nodes_filtered: 3, ..Explanation::default() };
        Ok(DryRun {
            index: StateIndex(state.index),
            stored: state.jobs.get(&job.key()).cloned(),
            updates: BTreeMap::from([("web".into(), DesiredUpdates { place: 2, ..DesiredUpdates::default() })]),
            failed: BTreeMap::from([("web".into(), failed)]),
            created_evals: Vec::new(),
        })
    }
    async fn stop_alloc(&self, request: StopAlloc) -> Result<Written, Error> {
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
        Ok(Response::new(Body::from(format!("node {node} answers {}", request.uri()))))
    }
    async fn health(&self) -> PartHealth {
        PartHealth::well()
    }
    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        BTreeMap::from([("raft".into(), BTreeMap::from([("state".into(), "Leader".into())]))])
    }
}

/// A client with one allocation, whose one file is `alloc/logs/app.stdout.0`.
pub struct FakeNode {
    pub id: NodeId,
    pub alloc: AllocId,
    pub healthy: bool,
}

const FILE: &[u8] = b"hello\n";

impl FakeNode {
    fn check(&self, alloc: AllocId, path: &str) -> Result<(), Error> {
        if alloc != self.alloc {
            return Err(Error::not_found(format!("Unknown allocation \"{alloc}\"")));
        }
        match path.trim_start_matches('/') {
            "" | "alloc/logs/app.stdout.0" => Ok(()),
            path if path.starts_with("..") => Err(Error::invalid("Path escapes the alloc directory")),
            path if path.starts_with("app/secrets") => {
                Err(Error::new(Kind::Forbidden, "Reading secret file prohibited"))
            }
            path => Err(Error::not_found(format!("{path}: no such file or directory"))),
        }
    }

    fn frame() -> StreamFrame {
        StreamFrame {
            offset: 6,
            data: Blob(Bytes::from_static(FILE)),
            file: "alloc/logs/app.stdout.0".into(),
            file_event: String::new(),
        }
    }
}

#[async_trait]
impl LocalNode for FakeNode {
    fn node_id(&self) -> NodeId {
        self.id
    }
    fn has_alloc(&self, alloc: AllocId) -> bool {
        alloc == self.alloc
    }
    async fn list(&self, alloc: AllocId, path: &str) -> Result<Vec<FileInfo>, Error> {
        self.check(alloc, path)?;
        Ok(vec![FileInfo { name: "alloc".into(), is_dir: true, ..FileInfo::default() }])
    }
    async fn stat(&self, alloc: AllocId, path: &str) -> Result<FileInfo, Error> {
        self.check(alloc, path)?;
        Ok(FileInfo { name: "app.stdout.0".into(), size: 6, ..FileInfo::default() })
    }
    async fn read(&self, alloc: AllocId, path: &str, offset: u64, _: Option<u64>) -> Result<ByteStream, Error> {
        self.check(alloc, path)?;
        let rest = FILE.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        Ok(stream::iter([Ok(Bytes::from_static(rest))]).boxed())
    }
    async fn stream(&self, alloc: AllocId, path: &str, _: Position, _: bool) -> Result<FrameStream, Error> {
        self.check(alloc, path)?;
        Ok(stream::iter([Ok(Self::frame())]).boxed())
    }
    async fn logs(&self, alloc: AllocId, request: LogRequest) -> Result<FrameStream, Error> {
        self.check(alloc, "")?;
        let first = stream::iter([Ok(Self::frame())]);
        if !request.follow {
            return Ok(first.boxed());
        }
        let later = stream::once(async {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            Ok(Self::frame())
        });
        Ok(first.chain(later).boxed())
    }
    async fn alloc_stats(&self, _: AllocId, _: Option<&str>) -> Result<AllocResourceUsage, Error> {
        Ok(AllocResourceUsage::default())
    }
    async fn restart(&self, _: AllocId, which: RestartTarget) -> Result<(), Error> {
        match which {
            RestartTarget::Task(name) if name != "app" => Err(Error::not_found("unknown task")),
            RestartTarget::Task(_) | RestartTarget::Running | RestartTarget::All => Ok(()),
        }
    }
    async fn signal(&self, _: AllocId, _: Option<&str>, _: &str) -> Result<(), Error> {
        Ok(())
    }
    async fn gc_alloc(&self, _: AllocId) -> Result<(), Error> {
        Ok(())
    }
    async fn gc(&self) -> Result<(), Error> {
        Ok(())
    }
    async fn host_stats(&self) -> Result<HostStats, Error> {
        Ok(HostStats { uptime: 7, ..HostStats::default() })
    }
    fn metadata(&self) -> NodeMetadata {
        NodeMetadata::default()
    }
    fn servers(&self) -> Vec<String> {
        vec!["127.0.0.1:4647".into()]
    }
    async fn tunnel(&self, request: Request) -> Result<Response, Error> {
        Ok(Response::new(Body::from(format!("a server answers {}", request.uri()))))
    }
    async fn health(&self) -> PartHealth {
        if self.healthy { PartHealth::well() } else { PartHealth::unwell("no known servers") }
    }
    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        BTreeMap::new()
    }
}
