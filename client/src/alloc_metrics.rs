//! What each task that runs uses, in the form that Prometheus reads.
//!
//! Not told to the recorder of the other metrics, which never forgets a series: these end with their allocation.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::PoisonError;

use orch_api::stats::ResourceUsage;
use orch_driver::{TaskId, TaskStats};
use orch_model::Allocation;
use orch_model::job::Task;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::handle::Handle;
use crate::local_node::float;

/// How many figures there are of a task.
const FIGURES: usize = 19;

/// Measures what runs as often as configured, until `shutdown`; [`Handle::allocation_metrics`] tells the result.
pub(crate) async fn publish(handle: Handle, shutdown: CancellationToken) {
    // Rates are since the last measurement, and others measure, too.
    let handle = handle.with_own_samples();
    let mut ticks = interval(handle.context.config.telemetry.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let mut families = Families::default();
        for view in handle.registry.running() {
            let id = view.alloc.id;
            let usage = match handle.usage(id, None).await {
                Ok(usage) => usage,
                Err(error) => {
                    debug!(alloc_id = %id, %error, "what an allocation uses cannot be measured");
                    continue;
                }
            };
            let stats: BTreeMap<TaskId, TaskStats> = {
                let samples = handle.samples.lock().unwrap_or_else(PoisonError::into_inner);
                let own = samples.tasks.iter().filter(|(task, _)| task.alloc_id == id);
                own.map(|(task, (_, stats))| (task.clone(), *stats)).collect()
            };
            for (task, stats) in stats {
                let asked = view.alloc.task_group().and_then(|group| group.task(&task.task));
                if let (Some(used), Some(asked)) = (usage.tasks.get(&task.task), asked) {
                    families.add(&labels(&view.alloc, &task.task), &figures(asked, &used.resource_usage, &stats));
                }
            }
        }
        handle.alloc_metrics.send_replace(families.text().into());
    }
}

fn labels(alloc: &Allocation, task: &str) -> String {
    let job = &alloc.job;
    let id = alloc.id.to_string();
    let labels = [
        ("alloc_id", id.as_str()),
        ("job", job.id.as_str()),
        ("namespace", job.namespace.as_str()),
        ("task", task),
        ("task_group", alloc.group_name()),
    ];
    let quoted = labels.map(|(name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    });
    quoted.join(",")
}

/// The end of each figure's name, and its value: percent of a core, MHz, nanoseconds, bytes.
fn figures(task: &Task, used: &ResourceUsage, stats: &TaskStats) -> [(&'static str, f64); FIGURES] {
    let ask = task.ask().unwrap_or_default();
    let mib = |size: orch_model::MebiBytes| float(size.0.saturating_mul(1 << 20));
    let (cpu, memory) = (&used.cpu_stats, &used.memory_stats);
    [
        ("cpu_allocated", f64::from(ask.cpu.0)),
        ("cpu_system", cpu.system_mode),
        ("cpu_user", cpu.user_mode),
        ("cpu_throttled_periods", float(cpu.throttled_periods)),
        ("cpu_throttled_time", float(cpu.throttled_time)),
        ("cpu_total_percent", cpu.percent),
        ("cpu_total_ticks", cpu.total_ticks),
        ("memory_allocated", mib(ask.memory)),
        ("memory_max_allocated", ask.memory_max.map_or(0.0, mib)),
        ("memory_rss", float(memory.rss)),
        ("memory_cache", float(memory.cache)),
        ("memory_swap", float(memory.swap)),
        ("memory_usage", float(memory.usage)),
        ("memory_max_usage", float(memory.max_usage)),
        ("memory_kernel_usage", float(memory.kernel_usage)),
        ("memory_kernel_max_usage", float(memory.kernel_max_usage)),
        ("io_read_bytes", float(stats.io_read_bytes)),
        ("io_write_bytes", float(stats.io_write_bytes)),
        ("processes", f64::from(stats.processes)),
    ]
}

/// Lines by the name that they have in common.
#[derive(Debug, Default)]
struct Families(BTreeMap<&'static str, String>);

impl Families {
    fn add(&mut self, labels: &str, figures: &[(&'static str, f64)]) {
        for (name, value) in figures {
            let lines = self.0.entry(name).or_default();
            // Writing to a text never fails.
            let _written = writeln!(lines, "nomad_client_allocs_{name}{{{labels}}} {value}");
        }
    }

    fn text(&self) -> String {
        let family = |(name, lines): (&&str, &String)| format!("# TYPE nomad_client_allocs_{name} gauge\n{lines}\n");
        self.0.iter().map(family).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_task_has_its_figures_under_its_own_labels() {
        let mut job = orch_model::testing::job("we\"b", 1);
        job.namespace = "prod".into();
        let alloc = crate::testing::alloc(1, &Arc::new(job));
        let task = &alloc.task_group().unwrap().tasks[0];
        let stats = TaskStats { io_read_bytes: 4096, ..TaskStats::default() };
        let mut families = Families::default();
        families.add(&labels(&alloc, &task.name), &figures(task, &ResourceUsage::default(), &stats));
        let text = families.text();
        let labels =
            format!("alloc_id=\"{}\",job=\"we\\\"b\",namespace=\"prod\",task=\"app\",task_group=\"web\"", alloc.id);
        for line in [
            "# TYPE nomad_client_allocs_io_read_bytes gauge".to_owned(),
            format!("nomad_client_allocs_io_read_bytes{{{labels}}} 4096"),
            format!("nomad_client_allocs_memory_allocated{{{labels}}} 104857600"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in {text}");
        }
    }
}
