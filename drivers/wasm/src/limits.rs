//! From what a task may use to the limits of its control group.

use orch_driver::TaskLimits;
use orch_host::cgroup::Limits;
use orch_model::MebiBytes;
use orch_supervisor::limits_of;

/// What the process around a program may use besides the program's own memory, in bytes.
///
/// The program's memory has the task's limit by itself, and this is on top of it in the group: so a program that wants too much is told
/// from one whose host process did, and ends at the instruction that asked.
const PROCESS_BYTES: u64 = 32 << 20;

/// How much memory the program may have, in bytes; `None` where nothing was asked for.
pub(crate) fn program_memory(limits: &TaskLimits) -> Option<u64> {
    let highest = limits.memory_max.filter(|highest| *highest > limits.memory);
    bytes(highest.unwrap_or(limits.memory))
}

/// The limits of the group.
pub(crate) fn group(limits: &TaskLimits) -> Limits {
    let mut group = limits_of(limits.clone());
    group.memory_hard = group.memory_hard.and_then(|bytes| bytes.checked_add(PROCESS_BYTES));
    group
}

fn bytes(amount: MebiBytes) -> Option<u64> {
    amount.0.checked_mul(1 << 20).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use orch_model::Mhz;

    use super::*;

    #[test]
    fn the_group_has_room_for_the_process_above_the_program() {
        let mib = 1 << 20;
        let plain = TaskLimits { cpu: Mhz(500), memory: MebiBytes(10), ..TaskLimits::default() };
        assert_eq!(program_memory(&plain), Some(10 * mib));
        assert_eq!((group(&plain).memory_hard, group(&plain).memory_soft), (Some(42 * mib), None));
        let burst = TaskLimits { memory_max: Some(MebiBytes(20)), cpuset_cores: vec![3, 1, 3], ..plain };
        assert_eq!(program_memory(&burst), Some(20 * mib));
        let limits = group(&burst);
        assert_eq!((limits.memory_hard, limits.memory_soft), (Some(52 * mib), Some(10 * mib)));
        assert_eq!((limits.cpu_shares, limits.cpuset.as_deref()), (Some(500), Some("1,3")));
        assert_eq!(group(&TaskLimits::default()), Limits { swap: false, ..Limits::default() });
    }
}
