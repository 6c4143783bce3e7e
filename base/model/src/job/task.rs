//! Tasks: one program each.

use std::collections::BTreeMap;

use serde_json::Value;

use super::nullable::document;
use super::{
    Affinity, Constraint, Consul, LifecycleKind, Resources, RestartPolicy, ScalingPolicy, Service, TaskArtifact,
    Template, VolumeMount,
};
use crate::time::Nanos;

document! {
    /// A program that runs by a driver.
    pub struct Task {
        /// Its name, unique in the group.
        pub name: String,
        /// The driver that runs it.
        pub driver: String,
        /// The user it runs as; empty is the driver's choice.
        pub user: String,
        /// For the driver, whose schema it follows.
        pub config: BTreeMap<String, Value>,
        /// Environment variables, which may interpolate.
        pub env: BTreeMap<String, String>,
        /// Its services.
        pub services: Vec<Service>,
        /// Access to Vault.
        pub vault: Option<Vault>,
        /// Secrets read before it starts.
        pub secrets: Vec<Secret>,
        /// Consul settings.
        pub consul: Option<Consul>,
        /// Files rendered for it.
        pub templates: Vec<Template>,
        /// What its node must fulfil.
        pub constraints: Vec<Constraint>,
        /// What its node should rather fulfil.
        pub affinities: Vec<Affinity>,
        /// What it asks of its node.
        pub resources: Option<Resources>,
        /// How often it is restarted when it fails.
        pub restart_policy: Option<RestartPolicy>,
        /// Where a dispatched payload is written.
        pub dispatch_payload: Option<DispatchPayloadConfig>,
        /// When it runs; none is a main task. See [`Task::lifecycle_kind`].
        pub lifecycle: Option<TaskLifecycleConfig>,
        /// Free texts for people and the task.
        pub meta: BTreeMap<String, String>,
        /// How long it has between the kill signal and being killed.
        pub kill_timeout: Nanos = Nanos::from_secs(5),
        /// What becomes of its output.
        pub log_config: Option<LogConfig>,
        /// Things fetched for it.
        pub artifacts: Vec<TaskArtifact>,
        /// Whether the other tasks stop when it ends.
        pub leader: bool,
        /// Wait between taking its services away and killing it.
        pub shutdown_delay: Nanos,
        /// Volumes it sees.
        pub volume_mounts: Vec<VolumeMount>,
        /// Bounds for changes of its resources.
        pub scaling_policies: Vec<ScalingPolicy>,
        /// The signal that asks it to end; empty is the driver's choice.
        pub kill_signal: String,
        /// What it is to the mesh.
        pub kind: String,
        /// Makes it a CSI plugin.
        #[serde(rename = "CSIPluginConfig")]
        pub csi_plugin_config: Option<TaskCsiPluginConfig>,
        /// Its default identity.
        pub identity: Option<WorkloadIdentity>,
        /// Further identities.
        pub identities: Vec<WorkloadIdentity>,
        /// Commands that may be run in it.
        pub actions: Vec<Action>,
        /// When it may run.
        pub schedule: Option<TaskSchedule>,
    }

    /// What becomes of a task's output.
    pub struct LogConfig {
        /// Files kept per stream.
        pub max_files: i64 = 10,
        /// Size of a file in MiB.
        #[serde(rename = "MaxFileSizeMB")]
        pub max_file_size_mb: i64 = 10,
        /// Whether nothing is kept.
        pub disabled: bool,
    }

    /// Where a dispatched payload is written.
    pub struct DispatchPayloadConfig {
        /// Path under `local/`.
        pub file: String,
    }

    /// When a task runs in the life of its allocation.
    pub struct TaskLifecycleConfig {
        /// `prestart`, `poststart` or `poststop`.
        pub hook: String,
        /// Whether it keeps running beside the main tasks.
        pub sidecar: bool,
    }

    /// Access to Vault.
    pub struct Vault {
        /// The role.
        pub role: String,
        /// Vault namespace.
        pub namespace: String,
        /// Name of the Vault cluster.
        pub cluster: String,
        /// Whether the token becomes an environment variable.
        pub env: bool = true,
        /// Whether the token is not written to a file.
        pub disable_file: bool,
        /// What happens when the token changes.
        pub change_mode: String,
        /// The signal for mode `signal`.
        pub change_signal: String,
        /// Whether the token may expire.
        pub allow_token_expiration: bool,
    }

    /// A secret read before the task starts.
    pub struct Secret {
        /// Its name.
        pub name: String,
        /// Who knows it.
        pub provider: String,
        /// Where it is kept there.
        pub path: String,
        /// For a built-in provider.
        pub config: BTreeMap<String, Value>,
        /// For a provider plugin.
        pub env: BTreeMap<String, String>,
    }

    /// Makes a task a CSI plugin.
    pub struct TaskCsiPluginConfig {
        /// The plugin's id.
        #[serde(rename = "ID")]
        pub id: String,
        /// `node`, `controller` or `monolith`.
        pub r#type: String,
        /// Where its socket is, inside the task.
        pub mount_dir: String,
        /// Where volumes are staged, inside the task.
        pub stage_publish_base_dir: String,
        /// By when it must answer.
        pub health_timeout: Nanos = Nanos::from_secs(30),
    }

    /// A signed statement of who a workload is.
    pub struct WorkloadIdentity {
        /// Its name; empty is `default`.
        pub name: String,
        /// Whom it is for.
        pub audience: Vec<String>,
        /// What happens when it is renewed.
        pub change_mode: String,
        /// The signal for mode `signal`.
        pub change_signal: String,
        /// Whether it becomes an environment variable.
        pub env: bool,
        /// Whether it is written to a file.
        pub file: bool,
        /// The file's path.
        pub filepath: String,
        /// The service it belongs to; servers set it.
        pub service_name: String,
        /// How long it is valid.
        #[serde(rename = "TTL")]
        pub ttl: Nanos,
        /// Names of further claims.
        pub extra_claims: Vec<String>,
    }

    /// A command that may be run in a task.
    pub struct Action {
        /// Its name, unique in the task.
        pub name: String,
        /// The command.
        pub command: String,
        /// Its arguments.
        pub args: Vec<String>,
    }

    /// When a task may run.
    pub struct TaskSchedule {
        /// By the clock.
        pub cron: Option<TaskScheduleCron>,
    }

    /// The hours in which a task may run.
    pub struct TaskScheduleCron {
        /// Cron expression of the start.
        pub start: String,
        /// Minute and hour of the end.
        pub end: String,
        /// IANA name of the zone.
        pub timezone: String,
    }
}

impl Task {
    /// Whether it is the work itself, not a hook around it.
    pub fn is_main(&self) -> bool {
        self.lifecycle.is_none()
    }

    /// When it runs; `None` if the hook's word is unknown.
    pub fn lifecycle_kind(&self) -> Option<LifecycleKind> {
        let Some(lifecycle) = &self.lifecycle else { return Some(LifecycleKind::Main) };
        let sidecar = lifecycle.sidecar;
        match lifecycle.hook.as_str() {
            "prestart" => Some(LifecycleKind::Prestart { sidecar }),
            "poststart" => Some(LifecycleKind::Poststart { sidecar }),
            "poststop" => Some(LifecycleKind::Poststop),
            _ => None,
        }
    }
}
