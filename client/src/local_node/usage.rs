//! What tasks use, as rates since they were last measured.

use std::sync::PoisonError;

use orch_api::AllocResourceUsage;
use orch_api::stats::{CpuStats, MemoryStats, ResourceUsage, TaskResourceUsage};
use orch_driver::TaskStats;
use orch_http::Error;
use orch_model::{AllocId, Timestamp};

use crate::alloc_runner::RunningTask;
use crate::error::{Refusal, chain};
use crate::handle::Handle;

/// The figures of memory that drivers measure.
const MEMORY: [&str; 8] =
    ["RSS", "Cache", "Swap", "Mapped File", "Usage", "Max Usage", "Kernel Usage", "Kernel Max Usage"];

impl Handle {
    /// What an allocation uses; of one task only, if `only` names it.
    pub(crate) async fn usage(&self, alloc: AllocId, only: Option<&str>) -> Result<AllocResourceUsage, Error> {
        let view = self.view(alloc)?;
        if let Some(name) = only
            && view.task(name).is_none()
        {
            return Err(Refusal::UnknownTask(name.to_owned()).into());
        }
        let mut whole = AllocResourceUsage { timestamp: self.context.clock.now().0, ..AllocResourceUsage::default() };
        let running = self.running(&view).await?;
        for RunningTask { id, driver } in
            running.into_iter().filter(|task| only.is_none_or(|name| name == task.id.task))
        {
            let stats = match driver.stats(&id).await {
                Ok(stats) => stats,
                // It has ended meanwhile.
                Err(orch_driver::Error::UnknownTask(_)) => continue,
                Err(error) => return Err(Error::internal(chain(&error))),
            };
            let now = self.context.clock.now();
            let earlier = {
                let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
                samples
                    .tasks
                    .retain(|known, _| known.alloc_id != id.alloc_id || known.task != id.task || known.run == id.run);
                samples.tasks.retain(|known, _| self.registry.get(known.alloc_id).is_some());
                samples.tasks.insert(id.clone(), (now, stats))
            };
            let usage = self.rated(now, &stats, earlier);
            add(&mut whole.resource_usage, &usage);
            let pids = std::collections::BTreeMap::new();
            whole.tasks.insert(id.task, TaskResourceUsage { resource_usage: usage, timestamp: now.0, pids });
        }
        Ok(whole)
    }

    fn rated(&self, now: Timestamp, stats: &TaskStats, earlier: Option<(Timestamp, TaskStats)>) -> ResourceUsage {
        let (since, before) = earlier.unwrap_or((now, *stats));
        let elapsed = float(u64::try_from(now.since(since).0).unwrap_or(0));
        let percent = |later: u64, earlier: u64| {
            if elapsed > 0.0 { 100.0 * float(later.saturating_sub(earlier)) / elapsed } else { 0.0 }
        };
        let used = percent(stats.cpu_nanos, before.cpu_nanos);
        let node = self.description();
        let per_core = f64::from(node.resources.cpu.0) / f64::from(node.resources.total_cores.max(1));
        ResourceUsage {
            memory_stats: MemoryStats {
                rss: stats.memory_rss,
                cache: stats.memory_cache,
                swap: stats.memory_swap,
                mapped_file: stats.memory_mapped_file,
                usage: stats.memory_usage,
                max_usage: stats.memory_max_usage,
                kernel_usage: stats.memory_kernel_usage,
                kernel_max_usage: stats.memory_kernel_max_usage,
                measured: MEMORY.map(str::to_owned).to_vec(),
            },
            cpu_stats: CpuStats {
                system_mode: percent(stats.cpu_system_nanos, before.cpu_system_nanos),
                user_mode: percent(stats.cpu_user_nanos, before.cpu_user_nanos),
                total_ticks: used / 100.0 * per_core,
                throttled_periods: stats.throttled_periods,
                throttled_time: stats.throttled_nanos,
                percent: used,
                measured: ["System Mode", "User Mode", "Percent", "Throttled Periods", "Throttled Time"]
                    .map(str::to_owned)
                    .to_vec(),
            },
        }
    }
}

fn add(sum: &mut ResourceUsage, one: &ResourceUsage) {
    let (memory, cpu) = (&mut sum.memory_stats, &mut sum.cpu_stats);
    memory.rss += one.memory_stats.rss;
    memory.cache += one.memory_stats.cache;
    memory.swap += one.memory_stats.swap;
    memory.mapped_file += one.memory_stats.mapped_file;
    memory.usage += one.memory_stats.usage;
    memory.max_usage += one.memory_stats.max_usage;
    memory.kernel_usage += one.memory_stats.kernel_usage;
    memory.kernel_max_usage += one.memory_stats.kernel_max_usage;
    memory.measured.clone_from(&one.memory_stats.measured);
    cpu.system_mode += one.cpu_stats.system_mode;
    cpu.user_mode += one.cpu_stats.user_mode;
    cpu.total_ticks += one.cpu_stats.total_ticks;
    cpu.throttled_periods += one.cpu_stats.throttled_periods;
    cpu.throttled_time += one.cpu_stats.throttled_time;
    cpu.percent += one.cpu_stats.percent;
    cpu.measured.clone_from(&one.cpu_stats.measured);
}

/// The nearest floating-point number; what is lost beyond 2⁵³ does not matter in a rate.
#[expect(clippy::cast_precision_loss, reason = "rates are shown to people")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}
