//! Giving back what allocations held.

use std::sync::Arc;

use orch_model::AllocId;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::Agent;
use crate::alloc_dir::AllocDir;
use crate::alloc_runner::KillReason;
use crate::error::chain;
use crate::metrics;

impl Agent {
    /// The servers have forgotten an allocation: nothing of it is kept.
    pub(super) fn forget(&mut self, id: AllocId) {
        self.outbox.forget(id);
        self.held_allocs.remove(&id);
        self.waiting.remove(&id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.forgotten = true;
        match &entry.runner {
            Some(runner) => runner.wanted.send_modify(|wanted| wanted.stop = Some(KillReason::Requested)),
            None => self.clean_up(id),
        }
        self.show(id);
    }

    /// Removes the directory of an allocation of which nothing runs.
    pub(super) fn clean_up(&mut self, id: AllocId) {
        // After a reboot or a crash a driver may still hold something of it.
        let tasks: Vec<_> = self.listed.keys().filter(|task| task.alloc_id == id).cloned().collect();
        for task in tasks {
            if let Some(listed) = self.listed.remove(&task) {
                self.cleanups.spawn(async move {
                    crate::alloc_runner::destroy(listed.driver.as_ref(), &task).await;
                    None
                });
            }
        }
        self.remove_dir(id);
    }

    pub(super) fn remove_dir(&mut self, id: AllocId) {
        let dir = AllocDir::new(&self.context.config.alloc_dir, id);
        let removals = Arc::clone(&self.collection.removals);
        self.cleanups.spawn(async move {
            // The semaphore is never closed.
            let _permit = removals.acquire().await;
            let began = Instant::now();
            match spawn_blocking(move || dir.remove()).await {
                Ok(Ok(())) => metrics::dir_removed(began.elapsed()),
                Ok(Err(error)) => {
                    warn!(alloc_id = %id, error = chain(&error), "an allocation's directory cannot be removed");
                }
                Err(error) => {
                    error!(alloc_id = %id, %error, "removing a directory was cut short by a fault of the agent")
                }
            }
            Some(id)
        });
    }

    /// A directory is gone: what was remembered may go, too.
    pub(super) fn cleaned(&mut self, cleaned: Result<Option<AllocId>, JoinError>) {
        let id = match cleaned {
            Ok(Some(id)) => id,
            Ok(None) => return,
            Err(error) => {
                error!(%error, "cleaning up was cut short by a fault of the agent");
                return;
            }
        };
        let Some(entry) = self.entries.get(&id) else { return };
        if entry.collected {
            self.collection.removed();
        }
        let tasks: Vec<String> = entry
            .alloc
            .task_group()
            .map(|group| group.tasks.iter().map(|task| task.name.clone()).collect())
            .unwrap_or_default();
        if entry.forgotten {
            debug!(alloc_id = %id, "an allocation is gone");
            self.entries.remove(&id);
            self.context.state.forget_alloc(id);
        }
        self.context.state.forget_tasks(id, tasks);
        self.show(id);
    }
}
