//! From the engine's log of a container into the task's own rotated files, without loss or repetition across restarts of the agent.
//!
//! The engine keeps what a container writes; we follow it, and note in a file beside the logs how far we are ([`sink`]). The note also says
//! how long the log files were then: what a crash left behind it is cut off and fetched again.

mod record;
mod sink;

use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::LogsOptions;
use futures::StreamExt;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use self::record::Record;
use self::sink::Sink;
use crate::engine::{self, Engine};
use crate::plan::Note;

/// How many pieces of output are written at once.
const BATCH: usize = 512;
/// How long written output may be without a note of it.
const SAVE_WITHIN: Duration = Duration::from_millis(100);
/// How long to wait before following again what broke off.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why following broke off.
#[derive(Debug)]
enum Broken {
    /// The container is gone, or its log driver keeps nothing that could be read.
    ForGood(String),
    ForNow(String),
}

/// Writes the output of `container` to its files until it has ended, and all of its output is there.
pub(crate) async fn collect(engine: Arc<Engine>, container: String, note: Note, mut ended: watch::Receiver<bool>) {
    let mut sink = None;
    let mut pause = PAUSE;
    loop {
        let last = *ended.borrow();
        let began = Instant::now();
        match follow(&engine, &container, &note, &mut sink, !last).await {
            Ok(()) if last => return,
            Ok(()) => pause = PAUSE,
            Err(Broken::ForGood(why)) => {
                info!(alloc_id = %note.id.alloc_id, task = note.id.task, why, "the output of a container is not collected");
                return;
            }
            Err(Broken::ForNow(error)) => {
                if began.elapsed() > LONGEST_PAUSE {
                    pause = PAUSE;
                }
                if pause == PAUSE {
                    warn!(alloc_id = %note.id.alloc_id, task = note.id.task, error, "collecting output broke off");
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        if last {
            sleep(pause).await;
        } else {
            // An error says that nobody tells of the end any more: then this is aborted too.
            let _ended = timeout(pause, ended.wait_for(|ended| *ended)).await;
        }
    }
}

/// Takes over what there is, and with `on` what comes, until the engine has no more.
///
/// A sink that failed is dropped, so that the next one begins at what was noted last.
async fn follow(
    engine: &Engine,
    container: &str,
    note: &Note,
    kept: &mut Option<Sink>,
    on: bool,
) -> Result<(), Broken> {
    let docker = engine.client().map_err(|error| broken(&error))?;
    let mut sink = match kept.take() {
        Some(mut sink) => {
            sink.rewind();
            sink
        }
        None => {
            let (note, container) = (note.clone(), container.to_owned());
            blocking(move || Sink::open(note.logs, note.id.task, container)).await?
        }
    };
    let options = LogsOptions {
        follow: on,
        stdout: true,
        stderr: true,
        since: sink.since(),
        timestamps: true,
        tail: "all".to_owned(),
        ..LogsOptions::default()
    };
    let mut batches = docker.logs(container, Some(options)).ready_chunks(BATCH);
    let mut saved = Instant::now();
    loop {
        let next = if sink.is_saved() {
            batches.next().await
        } else {
            match timeout(SAVE_WITHIN, batches.next()).await {
                Ok(next) => next,
                Err(_idle) => {
                    sink = save(sink).await?;
                    saved = Instant::now();
                    continue;
                }
            }
        };
        let Some(batch) = next else { break };
        let mut records = Vec::with_capacity(batch.len());
        let mut failure = None;
        for output in batch {
            match output {
                Ok(output) => records.extend(Record::read(output)),
                Err(error) => failure = Some(error),
            }
        }
        let due = saved.elapsed() >= SAVE_WITHIN;
        sink = blocking(move || {
            sink.write(records)?;
            if due {
                sink.save()?
            }
            Ok(sink)
        })
        .await?;
        if due {
            saved = Instant::now();
        }
        if let Some(error) = failure {
            *kept = Some(save(sink).await?);
            return Err(broken(&error));
        }
    }
    *kept = Some(save(sink).await?);
    Ok(())
}

async fn save(mut sink: Sink) -> Result<Sink, Broken> {
    blocking(move || {
        sink.save()?;
        Ok(sink)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> Result<T, Broken> {
    let done = spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    done.map_err(|error| Broken::ForNow(format!("writing the log files: {error}")))
}

fn broken(error: &bollard::errors::Error) -> Broken {
    let words = engine::words(error);
    if engine::is_missing(error) || words.contains("does not support reading") {
        Broken::ForGood(words)
    } else {
        Broken::ForNow(words)
    }
}
