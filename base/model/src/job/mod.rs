//! The job tree: what a user submits, as HTTP JSON and as a model document alike.
//!
//! Field names are snake_case of the JSON names. A field that is missing or `null` takes the default written beside
//! it, unknown fields are ignored, an empty list or map prints as `null`. Words chosen from a fixed set (a job's type,
//! a restart mode) stay text here, so that validation can name a wrong one; a typed accessor reads them. Fields of
//! policy blocks that are merged from several levels are `None` until admission has filled them.

pub(crate) mod nullable;

mod connect;
mod group;
mod network;
mod placement;
mod policies;
mod resources;
mod service;
mod spec;
mod task;
mod task_files;
mod volume;

mod ask;
mod cores;
mod kinds;
mod version;

pub use ask::{AskError, GroupAsk, PortAsk, PortTo, TaskAsk, alloc_name, alloc_name_index};
pub use connect::{
    ConsulConnect, ConsulExposeConfig, ConsulExposePath, ConsulGateway, ConsulGatewayBindAddress, ConsulGatewayProxy,
    ConsulGatewayTlsConfig, ConsulGatewayTlsSdsConfig, ConsulHttpHeaderModifiers, ConsulIngressConfigEntry,
    ConsulIngressListener, ConsulIngressService, ConsulLinkedService, ConsulMeshConfigEntry, ConsulMeshGateway,
    ConsulProxy, ConsulSidecarService, ConsulTerminatingConfigEntry, ConsulTransparentProxy, ConsulUpstream,
    SidecarTask,
};
pub use group::{Consul, DisconnectStrategy, EphemeralDisk, ScalingPolicy, TaskGroup};
pub use kinds::{
    ChangeMode, DelayFunction, HealthCheck, JobStatus, JobType, LifecycleKind, NetworkMode, Operator, Reconcile,
    RestartMode, ServiceProvider,
};
pub use network::{CniConfig, DnsConfig, NetworkResource, Port};
pub use placement::{Affinity, Constraint, Spread, SpreadTarget};
pub use policies::{MigrateStrategy, ReschedulePolicy, RestartPolicy, UpdateStrategy};
pub use resources::{Numa, RequestedDevice, Resources};
pub use service::{CheckRestart, Service, ServiceCheck, ServiceWeights};
pub use spec::{
    Job, JobUiConfig, JobUiLink, JobVersionTag, Multiregion, MultiregionRegion, MultiregionStrategy,
    ParameterizedJobConfig, PeriodicConfig,
};
pub use task::{
    Action, DispatchPayloadConfig, LogConfig, Secret, Task, TaskCsiPluginConfig, TaskLifecycleConfig, TaskSchedule,
    TaskScheduleCron, Vault, WorkloadIdentity,
};
pub use task_files::{ChangeScript, TaskArtifact, Template, WaitConfig};
pub use version::{InvalidVersion, Version, VersionConstraints, VersionRule};
pub use volume::{CsiMountOptions, VolumeMount, VolumeRequest};

#[cfg(test)]
mod tests;
