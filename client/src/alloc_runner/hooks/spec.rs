//! What the driver is given in the end.

use std::sync::Arc;

use orch_driver::{LogSpec, Progress, TaskId, TaskLimits, TaskPort, TaskSpec};
use orch_model::allocation::EventKind;
use orch_model::job::{DnsConfig, LogConfig, Task};
use orch_model::{Allocation, MebiBytes};

use super::{Made, TaskSetup};
use crate::alloc_dir::AllocDir;
use crate::alloc_runner::task::PrepareError;
use crate::env;
use crate::interpolate::Names;

/// Everything that the steps have made.
pub(super) fn make(setup: &TaskSetup, made: Made) -> Result<TaskSpec, PrepareError> {
    let TaskSetup { context: _, alloc, dir, place: _, run, teller, templates: _ } = setup;
    let (task, group) = (setup.task()?, setup.group()?);
    let dns = group.networks.first().and_then(|network| network.dns.as_ref());
    let (job, teller) = (&alloc.job, teller.clone());
    Ok(TaskSpec {
        id: TaskId { alloc_id: alloc.id, task: task.name.clone(), run: *run },
        namespace: job.namespace.to_string(),
        job_id: job.id.to_string(),
        job_name: job.name.clone(),
        group: group.name.clone(),
        config: made.config,
        user: made.user,
        limits: limits(setup, task)?,
        dirs: dir.task(&task.name),
        logs: log_spec(dir, task.log_config.as_ref()),
        mounts: made.mounts,
        ports: ports(alloc),
        dns: dns.map(|dns| name_servers(dns, &made.names)),
        env: made.names.env,
        progress: Progress::new(move |text| teller.note(EventKind::Driver(text.into()))),
    })
}

/// A task with cores of its own has their whole capacity.
fn limits(setup: &TaskSetup, task: &Task) -> Result<TaskLimits, PrepareError> {
    let ask = task.ask().map_err(|error| PrepareError::Invalid(error.to_string()))?;
    let node = Arc::clone(&setup.context.description.borrow());
    let cores = setup.cores()?;
    // More than is reserved only where the scheduler counted with that.
    let memory_max = setup.alloc.oversubscribed.then(|| ask.memory_max.unwrap_or(node.resources.memory));
    Ok(TaskLimits {
        cpu: if cores.is_empty() { ask.cpu } else { env::cores_capacity(&node, cores.len()) },
        node_cpu: node.resources.cpu,
        memory: ask.memory,
        memory_max: memory_max.filter(|max| *max > ask.memory),
        cpuset_cores: cores,
    })
}

fn log_spec(dir: &AllocDir, config: Option<&LogConfig>) -> LogSpec {
    let default = LogConfig::default();
    let LogConfig { max_files, max_file_size_mb, disabled } = config.unwrap_or(&default);
    let mib = MebiBytes(u64::try_from(*max_file_size_mb).unwrap_or(0).max(1));
    LogSpec {
        dir: dir.logs(),
        max_files: u32::try_from(*max_files).unwrap_or(0).max(1),
        max_file_bytes: mib.0.saturating_mul(1 << 20),
        disabled: *disabled,
    }
}

fn ports(alloc: &Allocation) -> Vec<TaskPort> {
    let ports = env::ports_of(alloc);
    ports
        .map(|port| TaskPort { label: port.label, host_ip: port.address, host: port.host, inside: port.inside })
        .collect()
}

fn name_servers(dns: &DnsConfig, names: &Names) -> DnsConfig {
    let fill = |texts: &[String]| texts.iter().map(|text| names.fill(text)).collect();
    DnsConfig { servers: fill(&dns.servers), searches: fill(&dns.searches), options: fill(&dns.options) }
}
