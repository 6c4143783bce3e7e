//! From a task's specification to the container that the engine is asked to create. Touches nothing.

mod labels;
mod limits;
mod network;
mod privileges;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use orch_driver::{Error, TaskId, TaskSpec};

use crate::NodeIdentity;
use crate::config::{Config, Logging};
use crate::task_config::TaskConfig;

pub(crate) use labels::{Note, OWNER, note_of};

/// What the mapping has to know of the node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host<'a> {
    pub(crate) config: &'a Config,
    pub(crate) identity: &'a NodeIdentity,
    /// How many processors there are.
    pub(crate) cores: u32,
}

/// A container to create.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) platform: String,
    pub(crate) body: ContainerCreateBody,
    /// Mounted paths that may lead nowhere but into the allocation's directories, wherever links in them point.
    pub(crate) inside: Vec<PathBuf>,
}

/// The container for `spec`, whose `config` is `task`.
///
/// # Errors
/// What this node does not allow, or what does not go together: it fails the same way however often it is tried.
pub(crate) fn container(spec: &TaskSpec, task: &TaskConfig, host: Host<'_>) -> Result<Plan, Error> {
    let mut host_config = HostConfig { log_config: Some(logging(task, host.config)), ..HostConfig::default() };
    limits::apply(&mut host_config, spec, &task.limits, host).map_err(refused)?;
    privileges::apply(&mut host_config, spec, &task.privileges, host.config).map_err(refused)?;
    let inside = storage::apply(&mut host_config, spec, &task.storage, host.config).map_err(refused)?;
    let exposed = network::apply(&mut host_config, spec, &task.network).map_err(refused)?;
    host_config.init = Some(task.process.init);
    let body = ContainerCreateBody {
        image: Some(task.image.clone()),
        hostname: task.network.hostname.clone(),
        user: spec.user.clone().filter(|user| !user.is_empty()),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        entrypoint: some_of(task.process.entrypoint.clone()),
        cmd: some_of(task.process.command.iter().chain(&task.process.args).cloned().collect()),
        working_dir: task.process.work_dir.clone(),
        tty: Some(task.process.tty),
        open_stdin: Some(task.process.interactive),
        healthcheck: task
            .healthchecks_disabled
            .then(|| HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }),
        labels: Some(labels::of(spec, task, host)),
        exposed_ports: some_of(exposed),
        networking_config: network::endpoint(&task.network),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    };
    Ok(Plan { name: name(&spec.id), platform: task.platform.clone(), body, inside })
}

/// The name of a task's container.
pub(crate) fn name(id: &TaskId) -> String {
    format!("{}-{}", id.task.replace('/', "_"), id.alloc_id)
}

fn logging(task: &TaskConfig, node: &Config) -> HostConfigLogConfig {
    let Logging { driver, options } = match &task.logging {
        // A task that only has options means them for the node's driver.
        Some(own) if own.driver.is_empty() => {
            Logging { driver: node.logging.driver.clone(), options: own.options.clone() }
        }
        Some(own) => own.clone(),
        None => node.logging.clone(),
    };
    HostConfigLogConfig { typ: Some(driver), config: Some(options.into_iter().collect()) }
}

fn refused(message: String) -> Error {
    Error::StartFailed { message, recoverable: false }
}

fn some_of<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn some_map(map: &std::collections::BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}
