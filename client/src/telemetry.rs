//! Measuring the machine again and again, for its metrics.

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::handle::Handle;
use crate::metrics;

/// Publishes what the machine uses as often as configured, until `shutdown`.
pub(crate) async fn publish_node(handle: Handle, shutdown: CancellationToken) {
    // Rates are since the last measurement, and others measure, too.
    let handle = handle.with_own_samples();
    let mut ticks = interval(handle.context.config.telemetry.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let measured = handle.clone();
        // A file system may be slow to answer.
        match spawn_blocking(move || measured.measure_host()).await {
            Ok(stats) => metrics::host(&stats),
            Err(error) => {
                error!(%error, "measuring the machine was cut short by a fault of the agent");
                return;
            }
        }
    }
}
