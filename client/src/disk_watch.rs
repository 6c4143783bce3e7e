//! Whether allocations keep to the disk that they asked for: measured now and then, and told when one does not.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_model::allocation::EventKind;
use orch_model::{AllocId, MebiBytes};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::alloc_dir::AllocDir;
use crate::alloc_runner::note_to_all;
use crate::handle::Handle;
use crate::registry::AllocView;

/// After so many entries measuring rests, so that it never keeps a disk or a core busy.
const BURST: u32 = 1000;
/// How long it rests.
const REST: Duration = Duration::from_millis(10);

/// Measures the allocations that run again and again, until `shutdown`.
pub(crate) async fn watch(handle: Handle, shutdown: CancellationToken) {
    let mut ticks = interval(handle.context.config.disk_watch_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over = BTreeSet::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let views = handle.registry.running();
        let running: BTreeSet<AllocId> = views.iter().map(|view| view.alloc.id).collect();
        over.retain(|id| running.contains(id));
        for view in views {
            let Some(limit) = limit(&view) else { continue };
            let dirs = directories(&handle.context.config.alloc_dir, &view);
            let stop = shutdown.clone();
            let used = match tokio::task::spawn_blocking(move || measure(&dirs, &stop)).await {
                Ok(Some(used)) => used,
                Ok(None) => return,
                Err(error) => {
                    error!(%error, "measuring an allocation was cut short by a fault of the agent");
                    return;
                }
            };
            judge(&view, used, limit, &mut over);
        }
    }
}

/// What an allocation may use, in bytes; `None` where its job says nothing.
fn limit(view: &AllocView) -> Option<u64> {
    let MebiBytes(mib) = view.alloc.usage.disk;
    (mib > 0).then(|| mib.saturating_mul(1 << 20))
}

fn judge(view: &AllocView, used: u64, limit: u64, over: &mut BTreeSet<AllocId>) {
    let id = view.alloc.id;
    if used <= limit {
        if over.remove(&id) {
            info!(alloc_id = %id, used_bytes = used, limit_bytes = limit, "an allocation is within its disk limit again");
        }
        return;
    }
    if over.insert(id) {
        warn!(alloc_id = %id, used_bytes = used, limit_bytes = limit, "disk limit exceeded");
        crate::metrics::disk_exceeded();
        let text = format!(
            "Disk limit exceeded: the allocation uses {} MiB, and its ephemeral_disk has {} MiB",
            used.div_ceil(1 << 20),
            limit >> 20
        );
        view.runner.iter().for_each(|runner| note_to_all(runner, EventKind::DiskExceeded(text.clone().into())));
    }
}

/// What counts: everything that tasks keep on the disk, their logs included. What the agent puts there for them does not.
fn directories(alloc_dir: &Path, view: &AllocView) -> Vec<PathBuf> {
    let dir = AllocDir::new(alloc_dir, view.alloc.id);
    let tasks = view.alloc.task_group().into_iter().flat_map(|group| &group.tasks);
    let own = tasks.flat_map(|task| {
        let dirs = dir.task(&task.name);
        [dirs.task.join("tmp"), dirs.local]
    });
    std::iter::once(dir.shared()).chain(own).collect()
}

/// What directories take up on their disk, in bytes; mounts in them are not looked into. `None` if `stop` came before the end.
fn measure(dirs: &[PathBuf], stop: &CancellationToken) -> Option<u64> {
    let mut used: u64 = 0;
    let mut seen: u32 = 0;
    for dir in dirs {
        let Ok(root) = fs::symlink_metadata(dir) else { continue };
        let mut left = vec![dir.clone()];
        while let Some(dir) = left.pop() {
            // What goes while it is looked at uses nothing.
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                seen += 1;
                if seen.is_multiple_of(BURST) {
                    std::thread::sleep(REST);
                }
                if stop.is_cancelled() {
                    return None;
                }
                let Ok(metadata) = entry.metadata() else { continue };
                if metadata.dev() != root.dev() {
                    continue;
                }
                let bytes = metadata.blocks().saturating_mul(512);
                if metadata.is_dir() {
                    used = used.saturating_add(bytes);
                    left.push(entry.path());
                } else {
                    // Each name of a file counts its share.
                    used = used.saturating_add(bytes / metadata.nlink().max(1));
                }
            }
        }
    }
    Some(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_take_up_is_counted_once_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("data"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(deep.join("data"), deep.join("again")).unwrap();
        std::os::unix::fs::symlink("/usr", deep.join("link")).unwrap();
        let sparse = fs::File::create(dir.path().join("sparse")).unwrap();
        sparse.set_len(1 << 30).unwrap();
        let dirs = [dir.path().to_owned(), dir.path().join("none")];
        let used = measure(&dirs, &CancellationToken::new()).unwrap();
        assert!((1 << 20..(1 << 20) + (1 << 17)).contains(&used), "{used}");
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(measure(&dirs, &stop), None);
    }
}
