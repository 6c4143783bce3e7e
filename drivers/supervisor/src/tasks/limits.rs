use std::collections::BTreeSet;

use orch_driver::TaskLimits;
use orch_host::cgroup::Limits;
use orch_model::MebiBytes;

/// The limits of a control group that hold a task to what its job gives it. Nothing asked for is nothing limited.
pub fn limits_of(limits: TaskLimits) -> Limits {
    let TaskLimits { cpu, node_cpu: _, memory, memory_max, cpuset_cores } = limits;
    let bytes = |amount: MebiBytes| amount.0.checked_mul(1 << 20).filter(|bytes| *bytes > 0);
    let highest = memory_max.filter(|highest| *highest > memory);
    Limits {
        cpu_shares: (cpu.0 > 0).then_some(u64::from(cpu.0)),
        memory_hard: bytes(highest.unwrap_or(memory)),
        memory_soft: highest.and(bytes(memory)),
        cpuset: cpuset(&cpuset_cores),
        swap: false,
        ..Limits::default()
    }
}

/// Numbers of processors as control groups take them, `0-2,7`; `None` if there are none.
fn cpuset(cores: &[u16]) -> Option<String> {
    let sorted: BTreeSet<u16> = cores.iter().copied().collect();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for core in sorted {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(core) => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let texts =
        ranges.iter().map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") });
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| texts.join(","))
}

#[cfg(test)]
mod tests {
    use orch_model::Mhz;

    use super::*;

    fn limits(cpu: u32, memory: u64, memory_max: Option<u64>) -> Limits {
        limits_of(TaskLimits {
            cpu: Mhz(cpu),
            node_cpu: Mhz(4000),
            memory: MebiBytes(memory),
            memory_max: memory_max.map(MebiBytes),
            cpuset_cores: Vec::new(),
        })
    }

    #[test]
    fn the_reservation_is_the_limit_unless_more_is_allowed() {
        let mib = 1 << 20;
        let plain = limits(500, 300, None);
        assert_eq!((plain.cpu_shares, plain.memory_hard, plain.memory_soft), (Some(500), Some(300 * mib), None));
        let burst = limits(500, 300, Some(600));
        assert_eq!((burst.memory_hard, burst.memory_soft), (Some(600 * mib), Some(300 * mib)));
        assert_eq!(limits(0, 0, None), Limits { swap: false, ..Limits::default() });
    }

    #[test]
    fn neighbouring_processors_are_written_as_ranges() {
        for (cores, text) in
            [(&[][..], None), (&[3], Some("3")), (&[7, 0, 2, 1, 2], Some("0-2,7")), (&[65535, 4, 5], Some("4-5,65535"))]
        {
            assert_eq!(cpuset(cores).as_deref(), text);
        }
    }
}
