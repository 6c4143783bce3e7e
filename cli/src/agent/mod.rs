//! `orch agent`: the one place where the parts are wired together.
//!
//! Read in this order: `host` (facts of the machine), `banner`, `logging`, `parts` (what runs), `http` (the listener),
//! `metrics`, `signals`, and here the order in which all of it starts and ends.

mod banner;
mod drivers;
mod host;
mod http;
mod log_file;
mod logging;
mod metrics;
mod parts;
mod ports;
mod signals;

use std::path::Path;

use anyhow::Context as _;
use orch_config::Sources;
use orch_server::StopMode;
use sd_notify::NotifyState;
use tracing::{debug, info, warn};

use crate::commands::{DONE, FAILED, Outcome};
use crate::terminal;
pub(crate) use drivers::{NAMES as DRIVERS, OPTIONS as DRIVER_OPTIONS};
use logging::Logging;
use parts::Parts;
use signals::{Signal, Signals};

/// How many files the agent may have open, where the host allows it: sockets of clients and pipes of tasks.
const OPEN_FILES: u64 = 65_536;

/// With fewer than these, sockets and pipes of a busy agent may run out.
const FEW_FILES: u64 = 8_192;

/// Runs an agent until it is told to end; returns its exit code.
pub(crate) fn run(sources: &Sources) -> u8 {
    let outcome = start(sources);
    outcome.unwrap_or_else(|error| {
        terminal::err(format!("==> {}", terminal::describe(&error)));
        FAILED
    })
}

fn start(sources: &Sources) -> Outcome {
    let host = host::facts();
    let config = orch_config::load(sources, &host)
        .map_err(|error| anyhow::anyhow!("The agent cannot start with this configuration:\n\n{error}"))?;
    let limits = orch_host::limits::OriginalLimits::capture();
    let raised = orch_host::limits::raise_open_files(OPEN_FILES);
    let logging = Logging::start(&config.logging)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("orch")
        .build()
        .context("cannot start the agent's threads")?;
    let scratch_dir = config.scratch_dir.clone();
    let outcome = runtime.block_on(async {
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        banner::loaded(&config);
        let parts = Parts::start(&config, limits).await?;
        banner::started(&config, &parts);
        for detail in &config.warnings {
            warn!(detail, "configuration");
        }
        match raised {
            Ok((limit, Some(warning))) if limit < FEW_FILES => warn!(%warning, "few files can be open at a time"),
            Ok((limit, _)) => debug!(limit, "files that can be open at a time"),
            Err(error) => warn!(%error, "the limit of open files cannot be raised"),
        }
        notify(&[NotifyState::Ready]);
        let (code, mode) = until_told(sources, &config, &logging, &parts, &mut signals).await;
        notify(&[NotifyState::Stopping]);
        tokio::select! {
            () = parts.stop(&config, mode) => Ok(code),
            _ = signals.next_end() => {
                warn!("a second signal: ending at once");
                Ok(FAILED)
            }
        }
    });
    // What is still blocked in a system call must not hold up the end.
    runtime.shutdown_background();
    if let Some(directory) = scratch_dir {
        remove(&directory);
    }
    outcome
}

/// Waits for a signal to end, reloading on the way, or for a failure of the server's storage: the exit code, and whether
/// the agent leaves the cluster.
async fn until_told(
    sources: &Sources,
    config: &orch_config::Agent,
    logging: &Logging,
    parts: &Parts,
    signals: &mut Signals,
) -> (u8, StopMode) {
    let mut reloaded = config.clone();
    loop {
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = parts.failed() => {
                terminal::err("==> The server's storage failed; the agent ends (see the log above)");
                return (FAILED, StopMode::Stay);
            }
        };
        let leave = match signal {
            Signal::Interrupt => reloaded.leave_on_interrupt,
            Signal::Terminate => reloaded.leave_on_terminate,
            Signal::Hangup => false,
        };
        match signal {
            Signal::Interrupt | Signal::Terminate => {
                info!(signal = signal.name(), leave, "the agent was told to end");
                return (DONE, if leave { StopMode::Leave } else { StopMode::Stay });
            }
            Signal::Hangup => {
                notify(&[NotifyState::Reloading, monotonic_now()]);
                reload(sources, &mut reloaded, logging);
                notify(&[NotifyState::Ready]);
            }
        }
    }
}

fn monotonic_now() -> NotifyState<'static> {
    NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Status("reloading"))
}

/// What a reload changes at once.
const RELOADED: [&str; 3] = ["log_level", "leave_on_interrupt", "leave_on_terminate"];

/// Reads the configuration again and opens the log file anew, which may have been moved away. [`RELOADED`] changes at
/// once, everything else is named and needs a new start.
fn reload(sources: &Sources, current: &mut orch_config::Agent, logging: &Logging) {
    if let Err(error) = logging.reopen() {
        warn!(%error, "the log file could not be opened again; messages go to the one that was open");
    }
    let next = match orch_config::load(sources, &host::facts()) {
        Ok(next) => next,
        Err(error) => {
            tracing::error!(%error, "the new configuration is wrong, the old one stays");
            return;
        }
    };
    if next.logging.level != current.logging.level {
        match logging.set_level(next.logging.level) {
            Ok(()) => info!(level = next.logging.level.as_str(), "the log level has changed"),
            Err(error) => warn!(%error, "the log level could not be changed"),
        }
    }
    let changed: Vec<String> = differing("", &current.shown, &next.shown)
        .into_iter()
        .filter(|key| !RELOADED.contains(&key.as_str()))
        .collect();
    if changed.is_empty() {
        info!("configuration reloaded");
    } else {
        warn!(keys = changed.join(" "), "configuration reloaded; these keys take effect when the agent starts again");
    }
    *current = next;
}

/// The keys whose values differ between two nested objects.
fn differing(path: &str, old: &serde_json::Value, new: &serde_json::Value) -> Vec<String> {
    let (serde_json::Value::Object(before), serde_json::Value::Object(after)) = (old, new) else {
        return if old == new { Vec::new() } else { vec![path.to_owned()] };
    };
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let null = serde_json::Value::Null;
    keys.into_iter()
        .flat_map(|key| {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            differing(&path, before.get(key).unwrap_or(&null), after.get(key).unwrap_or(&null))
        })
        .collect()
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager cannot be told");
    }
}

fn remove(directory: &Path) {
    match std::fs::remove_dir_all(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => terminal::err(format!("==> The data in {} could not be removed: {error}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reload_names_every_key_that_changed() {
        let old = json!({"region": "a", "server": {"enabled": true, "retry_join": ["x"]}});
        let new = json!({"region": "a", "server": {"enabled": true, "retry_join": ["y"]}, "client": {"enabled": true}});
        assert_eq!(differing("", &old, &new), ["client", "server.retry_join"]);
        assert_eq!(differing("", &old, &old), Vec::<String>::new());
    }
}
