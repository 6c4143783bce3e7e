//! Taking up again what an earlier run of the agent left.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use orch_model::AllocId;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::{Agent, Listed};
use crate::alloc_dir;
use crate::alloc_runner::destroy;
use crate::error::chain;

/// How long a driver may take to list its tasks.
const LIST_WITHIN: Duration = Duration::from_secs(5);

impl Agent {
    /// Finds what runs and takes it up, or, after a reboot, waits for a server's word first.
    pub(super) async fn restore(&mut self) {
        let earlier_work = !self.entries.is_empty() || self.meta.boots > 1;
        if earlier_work || self.context.config.alloc_dir.exists() {
            self.list_tasks().await;
        }
        let ids: Vec<AllocId> = self.entries.keys().copied().collect();
        if !ids.is_empty() {
            info!(allocations = ids.len(), rebooted = self.rebooted, "taking up allocations of an earlier run");
        }
        if self.rebooted {
            self.held_allocs = ids.into_iter().collect();
            if !self.held_allocs.is_empty() {
                self.held = Some(Instant::now() + self.context.config.offline_restart_delay);
            }
            return;
        }
        // Those that end first: others may have to wait for them.
        let (ending, going): (Vec<_>, Vec<_>) =
            ids.into_iter().partition(|id| self.entries.get(id).is_some_and(|entry| entry.alloc.is_terminal()));
        for id in ending.into_iter().chain(going) {
            self.start(id);
        }
    }

    async fn list_tasks(&mut self) {
        let drivers = self.context.drivers.clone();
        let lists = drivers.into_iter().map(|(name, driver)| async move {
            let listed = timeout(LIST_WITHIN, driver.list()).await;
            (name, driver, listed)
        });
        for (name, driver, listed) in join_all(lists).await {
            match listed {
                Ok(Ok(handles)) => self.listed.extend(
                    handles
                        .into_iter()
                        .map(|handle| (handle.id.clone(), Listed { handle, driver: std::sync::Arc::clone(&driver) })),
                ),
                Ok(Err(error)) => warn!(driver = name, error = chain(&error), "a driver cannot list its tasks"),
                Err(_late) => warn!(driver = name, "a driver did not list its tasks in time"),
            }
        }
    }

    /// Ends and removes what belongs to no allocation that anyone knows.
    pub(super) fn sweep(&mut self) {
        let known: BTreeSet<AllocId> = self.entries.keys().copied().collect();
        for (task, listed) in std::mem::take(&mut self.listed) {
            warn!(alloc_id = %task.alloc_id, task = task.task, driver = listed.handle.driver,
                "ending a task that belongs to no allocation");
            self.cleanups.spawn(async move {
                destroy(listed.driver.as_ref(), &task).await;
                None
            });
        }
        for (id, task) in std::mem::take(&mut self.remembered_tasks).into_keys() {
            if !known.contains(&id) {
                self.context.state.forget_tasks(id, [task]);
            }
        }
        let alloc_dir = self.context.config.alloc_dir.clone();
        match alloc_dir::list(&alloc_dir) {
            Ok(found) => {
                for id in found.into_iter().filter(|id| !known.contains(id)) {
                    warn!(alloc_id = %id, "removing the directory of an allocation that nobody knows");
                    self.remove_dir(id);
                }
            }
            Err(error) => warn!(path = %alloc_dir.display(), %error, "the allocations' directories cannot be listed"),
        }
        for (name, driver) in self.context.drivers.clone() {
            self.cleanups.spawn(async move {
                match driver.sweep().await {
                    Ok(removed) => {
                        removed.into_iter().for_each(|what| warn!(driver = name, what, "removed a leftover"))
                    }
                    Err(error) => warn!(driver = name, error = chain(&error), "a driver cannot sweep its leftovers"),
                }
                None
            });
        }
    }
}
