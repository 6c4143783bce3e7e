//! The job itself.

use std::collections::BTreeMap;

use super::nullable::{document, is_default};
use super::{
    Affinity, Constraint, JobStatus, JobType, MigrateStrategy, ReschedulePolicy, Spread, TaskGroup, UpdateStrategy,
};
use crate::ids::{JobId, JobKey, JobVersionKey, Namespace, StateIndex};
use crate::time::Timestamp;

document! {
    /// A declared workload: what should run, how often, and under which rules.
    pub struct Job {
        /// Whether it was stopped; its groups then want nothing.
        pub stop: bool,
        /// Name of the region it runs in.
        pub region: String,
        /// The namespace that its id is unique in.
        pub namespace: Namespace,
        /// Its id.
        #[serde(rename = "ID")]
        pub id: JobId,
        /// The periodic or parameterized job it was derived from, or "".
        #[serde(rename = "ParentID")]
        pub parent_id: String,
        /// What people call it.
        pub name: String,
        /// `service`, `batch`, `system` or `sysbatch`; see [`Job::kind`].
        pub r#type: String,
        /// 1 to 100, larger is more important; 0 is unset.
        pub priority: i64,
        /// Whether a plan places all of it or nothing.
        pub all_at_once: bool,
        /// Globs of the datacenters that it may run in.
        pub datacenters: Vec<String>,
        /// The pool of nodes that it may run on.
        pub node_pool: String,
        /// What every node must fulfil.
        pub constraints: Vec<Constraint>,
        /// What nodes should rather fulfil.
        pub affinities: Vec<Affinity>,
        /// How allocations spread over values of an attribute.
        pub spreads: Vec<Spread>,
        /// Its groups, at least one.
        pub task_groups: Vec<TaskGroup>,
        /// Defaults for its groups' updates; after admission only `stagger` and `max_parallel` are kept.
        pub update: UpdateStrategy,
        /// Defaults for its groups' rescheduling; merged into them and dropped by admission.
        #[serde(skip_serializing_if = "is_default")]
        pub reschedule: Option<ReschedulePolicy>,
        /// Defaults for its groups' migration; merged into them and dropped by admission.
        #[serde(skip_serializing_if = "is_default")]
        pub migrate: Option<MigrateStrategy>,
        /// Several regions at once.
        pub multiregion: Option<Multiregion>,
        /// When it is launched again and again.
        pub periodic: Option<PeriodicConfig>,
        /// How it is dispatched with parameters.
        pub parameterized_job: Option<ParameterizedJobConfig>,
        /// Whether it came from dispatching a parameterized job.
        pub dispatched: bool,
        /// The token under which it was dispatched.
        pub dispatch_idempotency_token: String,
        /// What it was dispatched with, base64.
        pub payload: Option<String>,
        /// Free texts for people and tasks.
        pub meta: BTreeMap<String, String>,
        /// Consul namespace of the job.
        pub consul_namespace: String,
        /// Vault namespace of the job.
        pub vault_namespace: String,
        /// Accessor of the token that submitted it.
        #[serde(rename = "NomadTokenID")]
        pub nomad_token_id: String,
        /// What has become of it.
        pub status: JobStatus,
        /// Why, in a sentence.
        pub status_description: String,
        /// Whether a deployment of this version succeeded.
        pub stable: bool,
        /// Counts its changes, from 0.
        pub version: u64,
        /// When this version was submitted.
        pub submit_time: Timestamp,
        /// The index at which this incarnation was created.
        pub create_index: StateIndex,
        /// The index of its last change of any kind.
        pub modify_index: StateIndex,
        /// The index of its last change of specification.
        pub job_modify_index: StateIndex,
        /// What the web pages show about it.
        #[serde(rename = "UI")]
        pub ui: Option<JobUiConfig>,
        /// The name this version was tagged with.
        pub version_tag: Option<JobVersionTag>,
    }

    /// What the web pages show about a job.
    pub struct JobUiConfig {
        /// Text, at most 1000 characters.
        pub description: String,
        /// Links.
        pub links: Vec<JobUiLink>,
    }

    /// A link on a job's page.
    pub struct JobUiLink {
        /// Its text.
        pub label: String,
        /// Where it leads.
        pub url: String,
    }

    /// The name that a version of a job was given.
    pub struct JobVersionTag {
        /// The name.
        pub name: String,
        /// Why.
        pub description: String,
        /// When.
        pub tagged_time: Timestamp,
    }

    /// When a job is launched.
    pub struct PeriodicConfig {
        /// Whether it is launched at all.
        pub enabled: bool = true,
        /// One cron expression (older form).
        pub spec: String,
        /// Cron expressions; the earliest launch of all counts.
        pub specs: Vec<String>,
        /// `cron`.
        pub spec_type: String,
        /// Whether a launch is skipped while an earlier child lives.
        pub prohibit_overlap: bool,
        /// IANA name of the zone that the expressions are meant in.
        pub time_zone: String,
    }

    /// What a dispatch of a job must and may bring.
    pub struct ParameterizedJobConfig {
        /// `optional`, `required` or `forbidden`.
        pub payload: String,
        /// Meta keys that must be given.
        pub meta_required: Vec<String>,
        /// Meta keys that may be given.
        pub meta_optional: Vec<String>,
    }

    /// The regions that a job runs in.
    pub struct Multiregion {
        /// How a change travels over them.
        pub strategy: Option<MultiregionStrategy>,
        /// The regions.
        pub regions: Vec<MultiregionRegion>,
    }

    /// How a change of a multiregion job travels.
    pub struct MultiregionStrategy {
        /// Regions at the same time; 0 is all.
        pub max_parallel: i64,
        /// "", `fail_all` or `fail_local`.
        pub on_failure: String,
    }

    /// One region of a multiregion job.
    pub struct MultiregionRegion {
        /// The region's name.
        pub name: String,
        /// Replaces the count of groups that have none.
        pub count: i64 = 1,
        /// Replaces the job's datacenters.
        pub datacenters: Vec<String>,
        /// Replaces the job's node pool.
        pub node_pool: String,
        /// Added to the job's meta.
        pub meta: BTreeMap<String, String>,
    }
}

impl Job {
    /// How it is scheduled; `None` if its type is no known word. An empty type is a service.
    pub fn kind(&self) -> Option<JobType> {
        if self.r#type.is_empty() { Some(JobType::Service) } else { JobType::parse(&self.r#type) }
    }

    /// Namespace and id.
    pub fn key(&self) -> JobKey {
        JobKey::new(&self.namespace, &self.id)
    }

    /// This version of this incarnation.
    pub fn version_key(&self) -> JobVersionKey {
        JobVersionKey { job: self.key(), created: self.create_index, version: self.version }
    }

    /// The group called `name`.
    pub fn group(&self, name: &str) -> Option<&TaskGroup> {
        self.task_groups.iter().find(|group| group.name == name)
    }

    /// Whether it was stopped, so that its groups want nothing.
    pub fn is_stopped(&self) -> bool {
        self.stop
    }

    /// Whether it is launched by the clock.
    pub fn is_periodic(&self) -> bool {
        self.periodic.is_some()
    }

    /// Whether it only runs as dispatched children.
    pub fn is_parameterized(&self) -> bool {
        self.parameterized_job.is_some() && !self.dispatched
    }

    /// The meta that `task` of `group` sees: the job's, under the group's, under the task's.
    pub fn combined_meta(&self, group: &str, task: &str) -> BTreeMap<String, String> {
        let mut meta = self.meta.clone();
        if let Some(group) = self.group(group) {
            meta.extend(group.meta.clone());
            if let Some(task) = group.task(task) {
                meta.extend(task.meta.clone());
            }
        }
        meta
    }
}
