use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use orch_driver::{Error, LogSpec};
use tokio_util::task::AbortOnDropHandle;

use crate::config::Output;
use crate::task::Task;

/// One stream of a task and the file it goes to. There is no rotation: all of it goes to the first file.
#[derive(Debug)]
pub(crate) struct Writer {
    file: PathBuf,
    output: Output,
}

impl Writer {
    /// `None` where nothing is to be written.
    pub(crate) fn new(logs: &LogSpec, task: &str, stream: &str, output: &Output) -> Option<Self> {
        let silent = logs.disabled || output.text.is_empty();
        (!silent).then(|| Self { file: logs.dir.join(format!("{task}.{stream}.0")), output: output.clone() })
    }

    /// Writes the text once.
    pub(crate) async fn write(&self) -> Result<(), Error> {
        let (file, text) = (self.file.clone(), self.output.text.clone());
        let append = move || {
            let mut log = std::fs::OpenOptions::new().create(true).append(true).open(&file)?;
            log.write_all(text.as_bytes())
        };
        let written =
            tokio::task::spawn_blocking(append).await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|error| Error::failed(format!("cannot write the log file {}", self.file.display()), error))
    }

    /// Writes it again as often as it should, until `task` ends; `None` where once is enough.
    ///
    /// A write that fails ends it: a fake task does not care about its output.
    pub(crate) fn repeat(self, task: Arc<Task>) -> Option<AbortOnDropHandle<()>> {
        if self.output.repeat == 0 {
            return None;
        }
        let repeat = async move {
            for _ in 0..self.output.repeat {
                tokio::time::sleep(self.output.every).await;
                if self.write().await.is_err() {
                    return;
                }
            }
        };
        let until_end = async move {
            tokio::select! {
                biased;
                _status = task.ended() => {}
                () = repeat => {}
            }
        };
        Some(AbortOnDropHandle::new(tokio::spawn(until_end)))
    }
}
