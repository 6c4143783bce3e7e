use bollard::models::HostConfig;
use orch_driver::TaskSpec;
use orch_model::MebiBytes;

use super::{Host, some_map, some_of};
use crate::task_config::Limits;

/// The least and the most that an engine takes as a share.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// How long a period of the processor quota is unless said otherwise, in microseconds.
const PERIOD: i64 = 100_000;

pub(super) fn apply(container: &mut HostConfig, spec: &TaskSpec, task: &Limits, host: Host<'_>) -> Result<(), String> {
    memory(container, spec, task)?;
    let (cpu, node_cpu) = (u64::from(spec.limits.cpu.0), u64::from(spec.limits.node_cpu.0));
    if cpu > 0 {
        container.cpu_shares = i64::try_from(shares(cpu, node_cpu)).ok();
    }
    if task.cpu_hard_limit {
        let period = task.cpu_cfs_period.unwrap_or(PERIOD);
        container.cpu_period = Some(period);
        container.cpu_quota = quota(cpu, node_cpu, period, host.cores);
    }
    container.cpuset_cpus = if spec.limits.cpuset_cores.is_empty() {
        task.cpuset_cpus.clone()
    } else {
        // What is reserved for the task goes before what it wishes for.
        Some(spec.limits.cpuset_cores.iter().map(u16::to_string).collect::<Vec<_>>().join(","))
    };
    container.pids_limit = pids(task.pids_limit, host.config.pids_limit)?;
    let score = task.oom_score_adj.unwrap_or(host.config.oom_score_adj);
    container.oom_score_adj = (score != 0).then_some(score);
    container.shm_size = task.shm_size;
    container.ulimits = some_of(task.ulimits.clone());
    container.sysctls = some_map(&task.sysctl);
    Ok(())
}

/// The limit is the largest that is named; where one goes beyond the reserved memory, that is what the task is pressed back to when
/// memory is short. There is no swap beyond the limit.
fn memory(container: &mut HostConfig, spec: &TaskSpec, task: &Limits) -> Result<(), String> {
    let reserved = spec.limits.memory;
    let highest = spec.limits.memory_max.into_iter().chain(task.memory_hard_limit.map(MebiBytes)).max();
    if let Some(limit) = task.memory_hard_limit.filter(|limit| *limit < reserved.0) {
        return Err(format!("memory_hard_limit of {limit} MiB is less than the {} MiB of its resources", reserved.0));
    }
    let limit = highest.unwrap_or(reserved).max(reserved);
    container.memory = bytes(limit);
    container.memory_swap = container.memory;
    container.memory_reservation = if limit > reserved { bytes(reserved) } else { None };
    Ok(())
}

fn bytes(amount: MebiBytes) -> Option<i64> {
    amount.0.checked_mul(1 << 20).and_then(|bytes| i64::try_from(bytes).ok()).filter(|bytes| *bytes > 0)
}

/// One share for each MHz; on a node of so many that they would not fit, in proportion.
fn shares(cpu: u64, node_cpu: u64) -> u64 {
    let scaled = if node_cpu >= *SHARES.end() { cpu.saturating_mul(*SHARES.end()) / node_cpu } else { cpu };
    scaled.clamp(*SHARES.start(), *SHARES.end())
}

/// The part of each period that the task may use, over all processors; `None` where nothing is known of the node.
fn quota(cpu: u64, node_cpu: u64, period: i64, cores: u32) -> Option<i64> {
    let whole = u128::try_from(period).ok()? * u128::from(cores);
    let quota = (u128::from(cpu) * whole).checked_div(u128::from(node_cpu))?;
    // The kernel takes no less than a millisecond.
    i64::try_from(quota).ok().map(|quota| quota.max(1_000))
}

fn pids(task: Option<i64>, node: i64) -> Result<Option<i64>, String> {
    match (task, node) {
        (None, 0) => Ok(None),
        (None, node) => Ok(Some(node)),
        (Some(task), node) if node > 0 && task > node => {
            Err(format!("pids_limit of {task} is more than this node allows: {node}"))
        }
        (Some(task), _) => Ok(Some(task)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_mhz_as_long_as_they_fit() {
        for (cpu, node, expected) in
            [(1, 4_000, 2), (500, 4_000, 500), (262_144, 524_288, 131_072), (1_000, 524_288, 500), (1, 524_288, 2)]
        {
            assert_eq!(shares(cpu, node), expected, "{cpu} of {node}");
        }
    }

    #[test]
    fn the_quota_is_the_part_of_all_processors() {
        assert_eq!(quota(1_000, 4_000, PERIOD, 2), Some(50_000));
        assert_eq!(quota(4_000, 4_000, 50_000, 4), Some(200_000));
        assert_eq!(quota(1, 400_000, PERIOD, 2), Some(1_000));
        assert_eq!(quota(100, 0, PERIOD, 2), None);
    }

    #[test]
    fn a_task_may_have_fewer_processes_than_the_node_allows() {
        assert_eq!(pids(None, 0), Ok(None));
        assert_eq!(pids(None, 50), Ok(Some(50)));
        assert_eq!(pids(Some(20), 50), Ok(Some(20)));
        assert_eq!(pids(Some(20), 0), Ok(Some(20)));
        assert!(pids(Some(60), 50).unwrap_err().contains("60"));
    }
}
