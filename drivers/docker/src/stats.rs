use bollard::models::{ContainerBlkioStatEntry, ContainerStatsResponse};
use orch_driver::TaskStats;

/// The engine's figures in our terms. Version 1 and 2 of control groups name memory differently.
pub(crate) fn of(stats: ContainerStatsResponse) -> TaskStats {
    let cpu = stats.cpu_stats.unwrap_or_default();
    let usage = cpu.cpu_usage.unwrap_or_default();
    let throttled = cpu.throttling_data.unwrap_or_default();
    let memory = stats.memory_stats.unwrap_or_default();
    let detail = memory.stats.unwrap_or_default();
    let named = |names: [&str; 2]| names.iter().find_map(|name| detail.get(*name)).copied().unwrap_or(0);
    let io = stats.blkio_stats.and_then(|io| io.io_service_bytes_recursive).unwrap_or_default();
    let memory_usage = memory.usage.unwrap_or(0);
    TaskStats {
        cpu_nanos: usage.total_usage.unwrap_or(0),
        cpu_user_nanos: usage.usage_in_usermode.unwrap_or(0),
        cpu_system_nanos: usage.usage_in_kernelmode.unwrap_or(0),
        throttled_periods: throttled.throttled_periods.unwrap_or(0),
        throttled_nanos: throttled.throttled_time.unwrap_or(0),
        memory_rss: named(["total_rss", "anon"]),
        memory_cache: named(["total_cache", "file"]),
        memory_mapped_file: named(["total_mapped_file", "file_mapped"]),
        memory_swap: named(["total_swap", "swap"]),
        memory_usage,
        memory_max_usage: memory.max_usage.unwrap_or(memory_usage),
        memory_kernel_usage: named(["kernel", "kernel_stack"]),
        memory_kernel_max_usage: 0,
        io_read_bytes: bytes(&io, "read"),
        io_write_bytes: bytes(&io, "write"),
        log_bytes_dropped: 0,
        processes: u32::try_from(stats.pids_stats.and_then(|pids| pids.current).unwrap_or(0)).unwrap_or(u32::MAX),
    }
}

fn bytes(entries: &[ContainerBlkioStatEntry], operation: &str) -> u64 {
    let of_kind =
        entries.iter().filter(|entry| entry.op.as_deref().is_some_and(|op| op.eq_ignore_ascii_case(operation)));
    of_kind.filter_map(|entry| entry.value).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> TaskStats {
        of(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn both_versions_of_control_groups_are_understood() {
        let one = read(json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 9, "usage_in_usermode": 5, "usage_in_kernelmode": 4},
                "throttling_data": {"throttled_periods": 2, "throttled_time": 70}},
            "memory_stats": {"usage": 100, "max_usage": 150, "stats": {"total_rss": 40, "total_cache": 60}},
            "blkio_stats": {"io_service_bytes_recursive": [
                {"op": "Read", "value": 1}, {"op": "Write", "value": 2}, {"op": "Read", "value": 10}]},
            "pids_stats": {"current": 3},
        }));
        assert_eq!((one.cpu_nanos, one.cpu_user_nanos, one.throttled_nanos), (9, 5, 70));
        assert_eq!((one.memory_rss, one.memory_cache, one.memory_max_usage), (40, 60, 150));
        assert_eq!((one.io_read_bytes, one.io_write_bytes, one.processes), (11, 2, 3));
        let two = read(json!({"memory_stats": {"usage": 100, "stats": {"anon": 40, "file": 60, "file_mapped": 7}},
            "blkio_stats": {"io_service_bytes_recursive": null}}));
        assert_eq!((two.memory_rss, two.memory_mapped_file, two.memory_max_usage), (40, 7, 100));
        assert_eq!(read(json!({})), TaskStats::default());
    }
}
