//! A snapshot of the state as the HTTP router reads it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orch_api::job::TaskGroupSummary;
use orch_api::{JobSubmission, JobSummary, Namespace as NamespaceShape, NodePool, ScalingEvent};
use orch_http::View;
use orch_model::operator::SchedulerConfig;
use orch_model::volume::VolumeClaim;
use orch_model::{
    AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, HostVolume, HostVolumeId, Job, JobKey,
};
use orch_model::{Namespace, Node, NodeId, StateIndex};
use orch_state::{GroupSummary, Scope, State, Table};

/// A snapshot of the state, and how this server stood to the leader when it was taken.
#[derive(Debug)]
pub(super) struct Snapshot {
    /// The state.
    pub state: Arc<State>,
    /// Whether there was a leader.
    pub known_leader: bool,
    /// How long ago the leader was heard.
    pub last_contact: Duration,
}

/// The router's scope in the state's terms.
pub(super) fn scope(scope: &orch_http::Scope) -> Scope {
    match scope {
        orch_http::Scope::Table(of) => Scope::Table(table(*of)),
        orch_http::Scope::Namespace(of, namespace) => Scope::Namespace(table(*of), namespace.clone()),
        orch_http::Scope::Job(of, key) => Scope::Job(table(*of), key.clone()),
        orch_http::Scope::Node(of, node) => Scope::Node(table(*of), *node),
        // What an evaluation placed changes with the table; that it was looked at by id saves nothing.
        orch_http::Scope::Eval(orch_http::Table::Allocs, _) => Scope::Table(Table::Allocs),
        orch_http::Scope::Eval(_, eval) => Scope::Eval(*eval),
        orch_http::Scope::Alloc(alloc) => Scope::Alloc(*alloc),
        orch_http::Scope::HostVolume(volume) => Scope::HostVolume(*volume),
        orch_http::Scope::Deployment(deployment) => Scope::Deployment(*deployment),
    }
}

const fn table(of: orch_http::Table) -> Table {
    match of {
        orch_http::Table::Jobs => Table::Jobs,
        orch_http::Table::Allocs => Table::Allocs,
        orch_http::Table::Evals => Table::Evals,
        orch_http::Table::Deployments => Table::Deployments,
        orch_http::Table::HostVolumes => Table::HostVolumes,
        orch_http::Table::VolumeClaims => Table::VolumeClaims,
        orch_http::Table::Nodes => Table::Nodes,
        orch_http::Table::SchedulerConfig => Table::SchedulerConfig,
    }
}

fn in_namespace<'a>(wanted: Option<&'a Namespace>) -> impl Fn(&Namespace) -> bool + 'a {
    move |namespace| wanted.is_none_or(|wanted| wanted == namespace)
}

fn group_summary(counts: &GroupSummary) -> TaskGroupSummary {
    let GroupSummary { queued, complete, failed, running, starting, lost, unknown } = *counts;
    TaskGroupSummary {
        queued: queued.into(),
        complete: complete.into(),
        failed: failed.into(),
        running: running.into(),
        starting: starting.into(),
        lost: lost.into(),
        unknown: unknown.into(),
    }
}

/// Deployments by creation and id.
fn in_order<'a>(deployments: impl Iterator<Item = &'a Arc<Deployment>>) -> Vec<Arc<Deployment>> {
    let mut deployments: Vec<_> = deployments.cloned().collect();
    deployments.sort_by_key(|deployment| (deployment.create_index, deployment.id));
    deployments
}

fn scaling_event(event: &orch_model::scaling::ScalingEvent) -> ScalingEvent {
    let orch_model::scaling::ScalingEvent { time, previous_count, count, message, error, meta, eval_id, create_index } =
        event;
    ScalingEvent {
        time: u64::try_from(time.0).unwrap_or_default(),
        count: *count,
        previous_count: *previous_count,
        message: message.clone(),
        error: *error,
        meta: meta.clone(),
        eval_id: eval_id.map(|id| id.to_string()),
        create_index: create_index.0,
    }
}

impl View for Snapshot {
    fn index(&self, of: &orch_http::Scope) -> StateIndex {
        self.state.scope_index(&scope(of))
    }

    fn known_leader(&self) -> bool {
        self.known_leader
    }

    fn last_contact(&self) -> Duration {
        self.last_contact
    }

    fn job(&self, key: &JobKey) -> Option<Arc<Job>> {
        self.state.job(key).cloned()
    }

    fn job_versions(&self, key: &JobKey) -> Vec<Arc<Job>> {
        let mut versions: Vec<_> = self.state.job_versions(key).cloned().collect();
        // The newest version is shown with its status as it is now.
        if let (Some(last), Some(current)) = (versions.last_mut(), self.state.job(key)) {
            *last = Arc::clone(current);
        }
        versions.reverse();
        versions
    }

    fn jobs(&self, namespace: Option<&Namespace>, prefix: &str) -> Vec<Arc<Job>> {
        let wanted = in_namespace(namespace);
        self.state
            .jobs()
            .map(|row| &row.job)
            .filter(|job| wanted(&job.namespace) && job.id.as_str().starts_with(prefix))
            .cloned()
            .collect()
    }

    fn submission(&self, key: &JobKey, version: u64) -> Option<JobSubmission> {
        let job = self.state.job_versions(key).find(|job| job.version == version)?;
        let submission = self.state.submission(&job.version_key())?;
        Some(JobSubmission {
            source: submission.source.clone(),
            format: submission.format.clone(),
            variable_flags: submission.variable_flags.clone(),
            variables: submission.variables.clone(),
            namespace: key.namespace.to_string(),
            job_id: key.job_id.to_string(),
            version,
            job_modify_index: job.job_modify_index.0,
        })
    }

    fn job_summary(&self, key: &JobKey) -> Option<JobSummary> {
        let row = self.state.job_row(key)?;
        Some(JobSummary {
            job_id: key.job_id.to_string(),
            namespace: key.namespace.to_string(),
            summary: row.summary.iter().map(|(group, counts)| (group.clone(), group_summary(counts))).collect(),
            children: None,
            create_index: row.job.create_index.0,
            modify_index: row.summary_index.0,
        })
    }

    fn alloc(&self, id: AllocId) -> Option<Arc<Allocation>> {
        self.state.alloc(&id).cloned()
    }

    fn allocs(&self, namespace: Option<&Namespace>) -> Vec<Arc<Allocation>> {
        let wanted = in_namespace(namespace);
        let mut allocs: Vec<_> = self.state.allocs().filter(|alloc| wanted(&alloc.job.namespace)).cloned().collect();
        allocs.sort_by_key(|alloc| (alloc.create_index, alloc.id));
        allocs
    }

    fn allocs_between(&self, first: AllocId, last: AllocId) -> Vec<Arc<Allocation>> {
        self.state.allocs_between(first, last).cloned().collect()
    }

    fn allocs_of_job(&self, key: &JobKey) -> Vec<Arc<Allocation>> {
        self.state.allocs_of_job(key).cloned().collect()
    }

    fn allocs_of_node(&self, node: NodeId) -> Vec<Arc<Allocation>> {
        self.state.allocs_of_node(&node).cloned().collect()
    }

    fn allocs_of_eval(&self, eval: EvalId) -> Vec<Arc<Allocation>> {
        let Some(found) = self.state.eval(&eval) else { return Vec::new() };
        self.state.allocs_of_job(&found.job_key()).filter(|alloc| alloc.eval_id == eval).cloned().collect()
    }

    fn eval(&self, id: EvalId) -> Option<Arc<Evaluation>> {
        self.state.eval(&id).cloned()
    }

    fn evals(&self, namespace: Option<&Namespace>) -> Vec<Arc<Evaluation>> {
        let wanted = in_namespace(namespace);
        let mut evals: Vec<_> = self.state.evals().filter(|eval| wanted(&eval.namespace)).cloned().collect();
        evals.sort_by_key(|eval| (eval.create_index, eval.id));
        evals
    }

    fn evals_between(&self, first: EvalId, last: EvalId) -> Vec<Arc<Evaluation>> {
        self.state.evals_between(first, last).cloned().collect()
    }

    fn evals_of_job(&self, key: &JobKey) -> Vec<Arc<Evaluation>> {
        self.state.evals_of_job(key).cloned().collect()
    }

    fn deployment(&self, id: DeploymentId) -> Option<Arc<Deployment>> {
        self.state.deployment(&id).cloned()
    }

    fn deployments(&self, namespace: Option<&Namespace>) -> Vec<Arc<Deployment>> {
        let wanted = in_namespace(namespace);
        in_order(self.state.deployments().filter(|deployment| wanted(&deployment.job_key().namespace)))
    }

    fn deployments_between(&self, first: DeploymentId, last: DeploymentId) -> Vec<Arc<Deployment>> {
        self.state.deployments_between(first, last).cloned().collect()
    }

    fn deployments_of_job(&self, key: &JobKey) -> Vec<Arc<Deployment>> {
        in_order(self.state.deployments_of_job(key))
    }

    fn allocs_of_deployment(&self, id: DeploymentId) -> Vec<Arc<Allocation>> {
        self.state.allocs_of_deployment(&id).cloned().collect()
    }

    fn scaling_events(&self, key: &JobKey) -> BTreeMap<String, Vec<ScalingEvent>> {
        let Some(events) = self.state.scaling_events(key) else { return BTreeMap::new() };
        events.iter().map(|(group, events)| (group.clone(), events.iter().map(scaling_event).collect())).collect()
    }

    fn host_volume(&self, id: HostVolumeId) -> Option<Arc<HostVolume>> {
        self.state.host_volume(&id).cloned()
    }

    fn host_volumes(&self, namespace: Option<&Namespace>) -> Vec<Arc<HostVolume>> {
        let wanted = in_namespace(namespace);
        let mut volumes: Vec<_> =
            self.state.host_volumes().filter(|volume| wanted(&volume.namespace)).cloned().collect();
        volumes.sort_by(|a, b| (&a.namespace, a.id).cmp(&(&b.namespace, b.id)));
        volumes
    }

    fn allocs_of_host_volume(&self, volume: &HostVolume) -> Vec<Arc<Allocation>> {
        self.state.users_of_volume(volume).cloned().collect()
    }

    fn volume_claims(&self, namespace: Option<&Namespace>) -> Vec<Arc<VolumeClaim>> {
        let wanted = in_namespace(namespace);
        let mut claims: Vec<_> =
            self.state.volume_claims().filter(|claim| wanted(&claim.job.namespace)).cloned().collect();
        claims.sort_by(|a, b| (&a.job.namespace, a.id).cmp(&(&b.job.namespace, b.id)));
        claims
    }

    fn node(&self, id: NodeId) -> Option<Arc<Node>> {
        self.state.node(&id).cloned()
    }

    fn nodes_between(&self, first: NodeId, last: NodeId) -> Vec<Arc<Node>> {
        self.state.nodes_between(first, last).cloned().collect()
    }

    fn namespaces(&self) -> Vec<NamespaceShape> {
        vec![NamespaceShape {
            name: Namespace::DEFAULT.into(),
            description: "Default shared namespace".into(),
            create_index: 1,
            modify_index: 1,
            ..NamespaceShape::default()
        }]
    }

    fn node_pools(&self) -> Vec<NodePool> {
        let built_in = |name: &str, description: &str| NodePool {
            name: name.into(),
            description: description.into(),
            create_index: 1,
            modify_index: 1,
            ..NodePool::default()
        };
        let mut pools: BTreeMap<String, NodePool> = BTreeMap::from([
            ("all".into(), built_in("all", "Node pool with all nodes in the cluster.")),
            ("default".into(), built_in("default", "Default node pool.")),
        ]);
        for node in self.state.nodes() {
            let name = &node.described.node_pool;
            if !pools.contains_key(name) {
                let pool = NodePool {
                    name: name.clone(),
                    create_index: node.create_index.0,
                    modify_index: node.create_index.0,
                    ..NodePool::default()
                };
                pools.insert(name.clone(), pool);
            }
        }
        pools.into_values().collect()
    }

    fn scheduler_config(&self) -> Arc<SchedulerConfig> {
        Arc::new(self.state.meta().scheduler.clone())
    }
}
