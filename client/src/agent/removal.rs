//! Giving back what allocations held.

use orch_model::{AllocId, Timestamp};
use tokio::task::JoinError;
use tracing::{debug, error, warn};

use super::{Agent, Collected, Entry};
use crate::alloc_dir::AllocDir;
use crate::alloc_runner::KillReason;
use crate::error::chain;
use crate::gc::{self, Finished};

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
        self.cleanups.spawn_blocking(move || {
            if let Err(error) = dir.remove() {
                warn!(alloc_id = %id, error = chain(&error), "an allocation's directory cannot be removed");
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

    /// Gives up the directory of one allocation that has ended, or of all.
    pub(super) fn collect(&mut self, which: Option<AllocId>) -> Collected {
        if let Some(id) = which {
            let Some(entry) = self.entries.get(&id) else { return Collected::Unknown };
            if entry.runner.is_some() || !entry.status().is_terminal() {
                return Collected::Running;
            }
            self.give_up(id);
            return Collected::Done;
        }
        for id in self.finished().into_iter().map(|finished| finished.id).collect::<Vec<_>>() {
            self.give_up(id);
        }
        Collected::Done
    }

    pub(super) fn collect_surplus(&mut self) {
        for id in gc::surplus(self.finished(), self.context.config.gc_max_allocs) {
            self.give_up(id);
        }
    }

    /// Those that have ended, as the servers know, and still have a directory.
    fn finished(&self) -> Vec<Finished> {
        let finished = self.entries.iter().filter(|(id, entry)| {
            let ended = entry.runner.is_none() && entry.status().is_terminal();
            ended && !entry.collected && !entry.forgotten && !self.outbox.holds(**id)
        });
        finished.map(|(id, entry)| Finished { id: *id, at: finished_at(entry) }).collect()
    }

    fn give_up(&mut self, id: AllocId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.collected = true;
        }
        self.remember(id);
        self.show(id);
        self.clean_up(id);
    }
}

fn finished_at(entry: &Entry) -> Timestamp {
    let tasks = entry.last.as_ref().map_or(&entry.alloc.tasks, |last| &last.tasks);
    tasks.iter().map(|task| task.finished_at).max().unwrap_or_default()
}
