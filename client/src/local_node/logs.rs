//! A task's output across its rotated files.

use std::fs::File;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::try_unfold;
use orch_api::StreamFrame;
use orch_host::logs::{Stream, indexes, path};
use orch_http::Error;
use orch_http::local::{FrameStream, LogKind, LogRequest, Origin, Position};
use orch_model::AllocId;
use orch_model::allocation::TaskRunState;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::files::{LOOK_EVERY, PIECE, blocking, failed, piece, read_at};
use super::growth::Growth;
use crate::alloc_dir::AllocDir;
use crate::registry::{AllocView, Registry};

/// Opens a task's log.
pub(super) async fn open(
    registry: Registry,
    watchers: &Arc<Semaphore>,
    dir: &AllocDir,
    view: &AllocView,
    request: LogRequest,
) -> Result<FrameStream, Error> {
    let LogRequest { task, kind, from, follow } = request;
    let Some(state) = view.task(&task) else {
        return Err(Error::not_found(format!("task {task:?} not found")));
    };
    let stream = match kind {
        LogKind::Stdout => Stream::Stdout,
        LogKind::Stderr => Stream::Stderr,
    };
    let mut log = Log {
        alloc: view.alloc.id,
        dir: dir.logs(),
        task,
        stream,
        current: None,
        index: 0,
        offset: 0,
        end: None,
        follow,
        drained: false,
        // Before the first look, so that nothing falls between a look and waiting.
        growth: follow.then(|| Growth::of(&dir.logs(), watchers)).flatten(),
        changed: registry.subscribe(),
        registry,
        looked: Instant::now(),
    };
    if state.started_at.is_none() && log.sizes().await?.is_empty() {
        return Err(Error::not_found(format!("task {:?} not started yet. No logs available", log.task)));
    }
    log.seek(from).await?;
    Ok(try_unfold(log, |log| async move { log.next().await }).boxed())
}

/// A log that is being read.
struct Log {
    registry: Registry,
    alloc: AllocId,
    dir: PathBuf,
    task: String,
    stream: Stream,
    /// The file being read, once it is open.
    current: Option<File>,
    index: u64,
    offset: u64,
    /// Where to stop if the log is not followed: the newest file and its size when reading began.
    end: Option<(u64, u64)>,
    follow: bool,
    /// The task had ended before the last look found nothing more.
    drained: bool,
    /// Tells that the log has grown, where that is to be had.
    growth: Option<Growth>,
    /// Tells that some allocation has changed.
    changed: watch::Receiver<()>,
    /// When the last look began.
    looked: Instant,
}

/// How long nobody looks at a log that is not known to have grown. Growth is told, so this only bounds what a defect costs.
const LOOK_AT_LAST: Duration = Duration::from_secs(5);

impl Log {
    /// The files there are, ascending, with their sizes.
    async fn sizes(&self) -> Result<Vec<(u64, u64)>, Error> {
        let (dir, task, stream) = (self.dir.clone(), self.task.clone(), self.stream);
        blocking(move || {
            let found = match indexes(&dir, &task, stream) {
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                found => found.map_err(|error| failed("alloc/logs", &error))?,
            };
            // One that has just been rotated away is as good as none.
            let size = |index: u64| Some((index, std::fs::metadata(path(&dir, &task, stream, index)).ok()?.len()));
            Ok(found.into_iter().filter_map(size).collect())
        })
        .await
    }

    /// Goes to where reading begins.
    async fn seek(&mut self, from: Position) -> Result<(), Error> {
        let sizes = self.sizes().await?;
        let mut left = from.offset;
        match from.origin {
            Origin::Start => {
                for (index, size) in &sizes {
                    (self.index, self.offset) = (*index, left.min(*size));
                    if left <= *size {
                        break;
                    }
                    left -= size;
                }
            }
            Origin::End => {
                for (index, size) in sizes.iter().rev() {
                    (self.index, self.offset) = (*index, size.saturating_sub(left));
                    if left <= *size {
                        break;
                    }
                    left -= size;
                }
            }
        }
        if !self.follow {
            self.end = Some(sizes.last().copied().unwrap_or_default());
        }
        Ok(())
    }

    /// The next frame, with what follows it; `None` at the end.
    async fn next(mut self) -> Result<Option<(StreamFrame, Self)>, Error> {
        loop {
            if self.at_end() {
                return Ok(None);
            }
            self.looked = Instant::now();
            self.changed.mark_unchanged();
            // Whether there is a newer file is asked before reading: then what is read here is all of this one.
            let newer = self.sizes().await?.into_iter().map(|(index, _)| index).find(|index| *index > self.index);
            let over = self.is_over();
            if let Some(bytes) = self.read().await? {
                self.offset += bytes.len() as u64;
                self.drained = false;
                let frame = piece(&self.name(), self.offset, bytes);
                return Ok(Some((frame, self)));
            }
            if let Some(newer) = newer {
                (self.current, self.index, self.offset) = (None, newer, 0);
                continue;
            }
            if !self.follow || (over && self.drained) {
                return Ok(None);
            }
            // The end of the output may be written a moment after the end of the task is known: one more look.
            self.drained = over;
            self.wait(over).await;
        }
    }

    /// Waits until another look may find something; looks are never closer together than [`LOOK_EVERY`].
    async fn wait(&mut self, over: bool) {
        let next = self.looked + LOOK_EVERY;
        if let (Some(growth), false) = (&self.growth, over) {
            tokio::select! {
                () = growth.changed() => {}
                Ok(()) = self.changed.changed() => {}
                () = tokio::time::sleep(LOOK_AT_LAST) => {}
            }
        }
        tokio::time::sleep_until(next).await;
    }

    fn at_end(&self) -> bool {
        self.end.is_some_and(|end| (self.index, self.offset) >= end)
    }

    /// The next bytes of the current file; `None` if there are none now.
    async fn read(&mut self) -> Result<Option<bytes::Bytes>, Error> {
        let file = match self.current.take() {
            Some(file) => file,
            None => match File::open(path(&self.dir, &self.task, self.stream, self.index)) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(&self.name(), &error)),
            },
        };
        let limit = match self.end {
            Some((index, size)) if index == self.index => size.saturating_sub(self.offset).min(PIECE),
            Some(_) | None => PIECE,
        };
        let (file, bytes) = read_at(file, self.offset, limit, &self.name()).await?;
        self.current = Some(file);
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    /// The current file, from the allocation's directory.
    fn name(&self) -> String {
        format!("alloc/logs/{}.{}.{}", self.task, self.stream, self.index)
    }

    /// Whether nothing more will be written.
    fn is_over(&self) -> bool {
        let task = self.registry.get(self.alloc).and_then(|view| view.task(&self.task));
        task.is_none_or(|task| task.state == TaskRunState::Dead)
    }
}

#[cfg(test)]
mod tests {
    use orch_model::allocation::{ClientStatus, TaskState};
    use orch_model::{Allocation, Timestamp};

    use super::*;

    struct Fixture {
        top: tempfile::TempDir,
        registry: Registry,
        view: AllocView,
    }

    impl Fixture {
        fn new(files: &[(u64, &str)]) -> Self {
            let top = tempfile::tempdir().unwrap();
            let job = Arc::new(orch_model::testing::job("j", 1));
            let alloc: Allocation = crate::testing::alloc(1, &job);
            let fixture = Self {
                view: AllocView {
                    alloc: Arc::new(alloc),
                    runner: None,
                    status: ClientStatus::Running,
                    tasks: [].into(),
                    collected: false,
                },
                registry: Registry::default(),
                top,
            };
            std::fs::create_dir_all(fixture.dir().logs()).unwrap();
            for (index, text) in files {
                fixture.write(*index, text);
            }
            fixture.set(TaskRunState::Running);
            fixture
        }

        fn dir(&self) -> AllocDir {
            AllocDir::new(self.top.path(), self.view.alloc.id)
        }

        fn write(&self, index: u64, text: &str) {
            std::fs::write(path(&self.dir().logs(), "app", Stream::Stdout, index), text).unwrap();
        }

        fn set(&self, state: TaskRunState) {
            let task = TaskState { state, started_at: Timestamp(1), ..TaskState::default() };
            self.registry.set(self.view.alloc.id, AllocView { tasks: [task].into(), ..self.view.clone() });
        }

        async fn open(&self, origin: Origin, offset: u64, follow: bool) -> FrameStream {
            let from = Position { origin, offset };
            let request = LogRequest { task: "app".into(), kind: LogKind::Stdout, from, follow };
            let view = self.registry.get(self.view.alloc.id).unwrap();
            let watchers = Arc::new(Semaphore::new(1));
            open(self.registry.clone(), &watchers, &self.dir(), &view, request).await.unwrap()
        }

        async fn text(&self, origin: Origin, offset: u64) -> String {
            let frames: Vec<_> = self.open(origin, offset, false).await.collect().await;
            frames.into_iter().map(|frame| String::from_utf8(frame.unwrap().data.0.to_vec()).unwrap()).collect()
        }
    }

    #[tokio::test]
    async fn offsets_count_across_rotated_files() {
        let fixture = Fixture::new(&[(3, "abc"), (4, "def"), (10, "ghi")]);
        assert_eq!(fixture.text(Origin::Start, 0).await, "abcdefghi");
        assert_eq!(fixture.text(Origin::Start, 4).await, "efghi");
        assert_eq!(fixture.text(Origin::Start, 99).await, "");
        assert_eq!(fixture.text(Origin::End, 0).await, "");
        assert_eq!(fixture.text(Origin::End, 4).await, "fghi");
        assert_eq!(fixture.text(Origin::End, 99).await, "abcdefghi");
    }

    #[tokio::test(start_paused = true)]
    async fn a_followed_log_goes_on_in_the_next_file_and_ends_with_the_task() {
        let fixture = Fixture::new(&[(0, "one")]);
        let mut frames = fixture.open(Origin::Start, 0, true).await;
        let frame = frames.next().await.unwrap().unwrap();
        assert_eq!((frame.file.as_str(), frame.offset), ("alloc/logs/app.stdout.0", 3));
        fixture.write(0, "one more");
        fixture.write(1, "two");
        assert_eq!(frames.next().await.unwrap().unwrap().data.0.as_ref(), b" more");
        let frame = frames.next().await.unwrap().unwrap();
        assert_eq!((frame.file.as_str(), frame.data.0.as_ref()), ("alloc/logs/app.stdout.1", b"two".as_slice()));
        fixture.set(TaskRunState::Dead);
        assert!(frames.next().await.is_none());
    }

    #[tokio::test]
    async fn an_unknown_task_has_no_log() {
        let fixture = Fixture::new(&[]);
        let from = Position::default();
        let request = LogRequest { task: "x".into(), kind: LogKind::Stderr, from, follow: false };
        let watchers = Arc::new(Semaphore::new(0));
        let Err(error) = open(fixture.registry.clone(), &watchers, &fixture.dir(), &fixture.view, request).await else {
            panic!("there is no such task")
        };
        assert_eq!(error.kind(), orch_http::Kind::NotFound);
    }
}
