//! Making room: ended allocations keep their directory, logs included, until there are too many or the disk is full.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::statvfs::statvfs;
use orch_model::{AllocId, Timestamp};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::{Agent, Collected, Entry};
use crate::config::GcConfig;
use crate::gc::{self, Ended, Fullness, Reason};
use crate::metrics;

/// How long after one look new allocations may bring on the next.
const PAUSE: Duration = Duration::from_secs(1);

/// When there is a look at what can be given up, and what is being removed.
#[derive(Debug)]
pub(super) struct Collection {
    /// When there is a look, unless one is under way.
    due: Instant,
    last: Instant,
    measuring: JoinSet<nix::Result<Fullness>>,
    /// How many directories are still to be removed before what that freed can be measured.
    removing: usize,
    /// Disk or inodes were short at the last look.
    short: bool,
    /// That nothing more can be given up was said.
    complained: bool,
    /// Bounds how many directories are removed at a time.
    pub(super) removals: Arc<Semaphore>,
}

impl Collection {
    pub(super) fn new(rules: &GcConfig) -> Self {
        let now = Instant::now();
        Self {
            due: now + rules.interval,
            last: now,
            measuring: JoinSet::new(),
            removing: 0,
            short: false,
            complained: false,
            removals: Arc::new(Semaphore::new(rules.parallel_destroys.max(1))),
        }
    }

    /// New allocations have come, which need room.
    pub(super) fn hurry(&mut self) {
        self.due = self.due.min(Instant::now().max(self.last + PAUSE));
    }

    /// Waits for the next look.
    pub(super) async fn next(&mut self) -> Look {
        if self.removing > 0 {
            return std::future::pending().await;
        }
        match self.measuring.join_next().await {
            Some(measured) => Look::Measured(measured),
            None => {
                tokio::time::sleep_until(self.due).await;
                Look::Due
            }
        }
    }

    /// A directory that was given up is gone; after the last one of a shortage there is a new look at once.
    pub(super) fn removed(&mut self) {
        self.removing = self.removing.saturating_sub(1);
        if self.removing == 0 && self.short {
            self.due = Instant::now();
        }
    }
}

/// What a look consists of.
#[derive(Debug)]
pub(super) enum Look {
    /// It is time to measure.
    Due,
    /// How full the disk is.
    Measured(Result<nix::Result<Fullness>, JoinError>),
}

impl Agent {
    pub(super) fn look(&mut self, look: Look) {
        match look {
            Look::Due => {
                let now = Instant::now();
                self.collection.last = now;
                self.collection.due = now + self.context.config.gc.interval;
                let dir = self.context.config.alloc_dir.clone();
                // A file system may be slow to answer.
                self.collection.measuring.spawn_blocking(move || measure(&dir));
            }
            Look::Measured(Ok(Ok(full))) => self.make_room(full),
            Look::Measured(Ok(Err(error))) => {
                warn!(%error, path = %self.context.config.alloc_dir.display(), "how full the disk is cannot be found");
                self.make_room(Fullness::default());
            }
            Look::Measured(Err(error)) => error!(%error, "measuring the disk was cut short by a fault of the agent"),
        }
    }

    fn make_room(&mut self, full: Fullness) {
        let rules = &self.context.config.gc;
        let ended = self.ended();
        let directories = self.entries.values().filter(|entry| !entry.collected).count();
        metrics::gc_held(ended.len(), full);
        let chosen = gc::choose(ended, directories, full, rules, self.context.clock.now());
        let shortage = gc::shortage(full, rules);
        self.collection.short = shortage.is_some() && !chosen.is_empty();
        if let Some(reason) = shortage
            && chosen.is_empty()
            && !self.collection.complained
        {
            warn!(
                disk_percent = full.disk,
                inodes_percent = full.inodes,
                short_of = reason.as_str(),
                "the disk of the allocations is full, and no ended allocation is left to give up"
            );
        }
        self.collection.complained = shortage.is_some() && chosen.is_empty();
        for (id, reason) in chosen {
            self.give_up(id, reason);
        }
    }

    /// Gives up the directory of one allocation that has ended, or of all.
    pub(super) fn collect(&mut self, which: Option<AllocId>) -> Collected {
        if let Some(id) = which {
            let Some(entry) = self.entries.get(&id) else { return Collected::Unknown };
            if entry.runner.is_some() || !entry.status().is_terminal() {
                return Collected::Running;
            }
            if !entry.collected {
                self.give_up(id, Reason::Asked);
            }
            return Collected::Done;
        }
        for id in self.ended().into_iter().map(|ended| ended.id).collect::<Vec<_>>() {
            self.give_up(id, Reason::Asked);
        }
        Collected::Done
    }

    /// Those that have ended, as the servers know, and still have a directory.
    fn ended(&self) -> Vec<Ended> {
        let ended = self.entries.iter().filter(|(id, entry)| {
            let over = entry.runner.is_none() && entry.status().is_terminal();
            over && !entry.collected && !entry.forgotten && !self.outbox.holds(**id)
        });
        ended.map(|(id, entry)| Ended { id: *id, at: ended_at(entry) }).collect()
    }

    fn give_up(&mut self, id: AllocId, reason: Reason) {
        info!(alloc_id = %id, reason = reason.as_str(), "an ended allocation gives up its directory");
        metrics::gc_collected(reason);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.collected = true;
        }
        self.collection.removing += 1;
        self.remember(id);
        self.show(id);
        self.clean_up(id);
    }
}

fn ended_at(entry: &Entry) -> Timestamp {
    let tasks = entry.last.as_ref().map_or(&entry.alloc.tasks, |last| &last.tasks);
    tasks.iter().map(|task| task.finished_at).max().unwrap_or_default()
}

fn measure(dir: &std::path::Path) -> nix::Result<Fullness> {
    let found = statvfs(dir)?;
    // As df counts: what only root may take is no room.
    let used = found.blocks().saturating_sub(found.blocks_free());
    let inodes_used = found.files().saturating_sub(found.files_free());
    Ok(Fullness {
        disk: percent(used, used.saturating_add(found.blocks_available())),
        inodes: percent(inodes_used, found.files()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share in percent")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole > 0 { 100.0 * part as f64 / whole as f64 } else { 0.0 }
}
