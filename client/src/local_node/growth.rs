//! Learning at once that something in a directory has grown, instead of looking again and again.

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use sysinfo::System;
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::debug;

/// How many directories an agent watches at a time; by default a user may have 128 watchers on a machine.
pub(crate) const WATCHERS: usize = 32;

/// The first kernel that tells of what `splice` writes, which is how output of tasks gets into its files.
const TOLD_SINCE: (u32, u32) = (6, 4);

static TOLD: LazyLock<bool> = LazyLock::new(|| release(&System::kernel_version().unwrap_or_default()) >= TOLD_SINCE);

/// A watched directory.
#[derive(Debug)]
pub(super) struct Growth {
    /// No pipe, but a descriptor that is read in the same way.
    events: pipe::Receiver,
    _permit: OwnedSemaphorePermit,
}

impl Growth {
    /// Watches `dir` from now on; `None` where that is not to be had, so that the caller has to look again and again.
    pub(super) fn of(dir: &Path, watchers: &Arc<Semaphore>) -> Option<Self> {
        if !*TOLD {
            return None;
        }
        let permit = Arc::clone(watchers).try_acquire_owned().ok()?;
        let watch = || -> io::Result<pipe::Receiver> {
            let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let mask = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVE | WatchFlags::DELETE;
            inotify::add_watch(&events, dir, mask | WatchFlags::ONLYDIR)?;
            pipe::Receiver::from_owned_fd_unchecked(events)
        };
        let watched = watch().inspect_err(|error| debug!(%error, dir = %dir.display(), "a directory is not watched"));
        Some(Self { events: watched.ok()?, _permit: permit })
    }

    /// Waits until something has changed since the last call; for ever if watching breaks.
    pub(super) async fn changed(&self) {
        loop {
            let told = match self.events.readable().await {
                Ok(()) => self.drain(),
                Err(error) => Err(error),
            };
            match told {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    debug!(%error, "a watched directory cannot be read");
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Takes all events and says whether there were any; what they say is for the caller to find.
    fn drain(&self) -> io::Result<bool> {
        let mut buffer = [0_u8; 4096];
        let mut any = false;
        loop {
            match self.events.try_read(&mut buffer) {
                Ok(_) => any = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The first two numbers of a kernel's release.
fn release(text: &str) -> (u32, u32) {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn releases_of_kernels_are_compared_by_number() {
        assert_eq!(release("6.18.44-fc-v669"), (6, 18));
        assert!(release("6.1.0") < TOLD_SINCE && release("5.15.0-generic") < TOLD_SINCE && release("") < TOLD_SINCE);
    }

    #[tokio::test]
    async fn what_was_written_before_somebody_waits_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let watchers = Arc::new(Semaphore::new(1));
        let Some(growth) = Growth::of(dir.path(), &watchers) else {
            assert!(!*TOLD, "this kernel tells");
            return;
        };
        assert!(Growth::of(dir.path(), &watchers).is_none(), "there is one watcher to be had");
        std::fs::write(dir.path().join("log"), "one").unwrap();
        tokio::time::timeout(Duration::from_secs(10), growth.changed()).await.unwrap();
        tokio::time::timeout(Duration::ZERO, growth.changed()).await.unwrap_err();
        drop(growth);
        assert!(Growth::of(dir.path(), &watchers).is_some());
    }
}
