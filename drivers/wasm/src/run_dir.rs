//! The directory of one run, through which the agent and the task's process speak.
//!
//! Private to the agent's user, and outside of what the program sees. It lives as long as the supervisor knows the run.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use serde::{Deserialize, Serialize};
use tokio::net::unix::pipe;

use crate::plan::Plan;

/// What the process says once, before the program's first instruction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// The program begins, or the port is open.
    Ready {
        /// What the host does not allow, and the task does without.
        warnings: Vec<String>,
    },
    /// It cannot begin.
    Failed { message: String },
    /// The compiled file cannot be used; another one has to be made.
    BadArtifact { message: String },
}

/// What the process says last, where there is more to say than its exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) message: String,
    /// Whether the program wanted more memory than it may have.
    pub(crate) out_of_memory: bool,
}

/// The most that a process may say, in bytes: a program could make its backtrace endless.
const MAX_SAID: u64 = 64 << 10;

/// The directory of one run.
#[derive(Debug, Clone)]
pub(crate) struct RunDir {
    path: PathBuf,
}

impl RunDir {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, in place of what an earlier attempt left.
    pub(crate) fn make(&self, plan: &Plan) -> io::Result<()> {
        self.remove()?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path.join("plan"))?;
        file.write_all(&serde_json::to_vec(plan)?)?;
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, self.path.join("status"), FileType::Fifo, mode, 0)?;
        Ok(())
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The agent's end of the status. It holds the other end too, so that there is no end of file; who waits for it watches the process.
    pub(crate) fn listen(&self) -> io::Result<Listener> {
        let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(self.path.join("status"))?;
        Ok(Listener { pipe, said: Vec::new() })
    }

    /// What the process was told. The process calls it; afterwards nothing of it is on the disk.
    pub(crate) fn take_plan(&self) -> io::Result<Plan> {
        let file = self.path.join("plan");
        let plan = serde_json::from_slice(&std::fs::read(&file)?)?;
        std::fs::remove_file(file)?;
        Ok(plan)
    }

    /// The process's end of the status. An agent that is gone is an error.
    pub(crate) fn speak(&self) -> io::Result<File> {
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new().write(true).custom_flags(flags).open(self.path.join("status"))
    }

    /// Where the process leaves its last words.
    pub(crate) fn open_end(&self) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.path.join("end"))
    }

    /// The process's last words, if it had any.
    pub(crate) fn end(&self) -> Option<End> {
        let mut text = Vec::new();
        let file = File::open(self.path.join("end")).ok()?;
        io::Read::read_to_end(&mut io::Read::take(file, MAX_SAID), &mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }
}

/// The agent's end of a status.
#[derive(Debug)]
pub(crate) struct Listener {
    pipe: pipe::Receiver,
    said: Vec<u8>,
}

impl Listener {
    /// Waits for the status. Nothing is lost if it is dropped and called again.
    pub(crate) async fn status(&mut self) -> io::Result<Status> {
        loop {
            self.pipe.readable().await?;
            if let Some(status) = self.status_now()? {
                return Ok(status);
            }
        }
    }

    /// The status, if it has been said already.
    pub(crate) fn status_now(&mut self) -> io::Result<Option<Status>> {
        let mut part = [0; 1024];
        loop {
            match self.pipe.try_read(&mut part) {
                Ok(read) => self.said.extend(part.iter().take(read)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let line = self.said.split(|byte| *byte == b'\n').next().filter(|line| line.len() < self.said.len());
        line.map(serde_json::from_slice).transpose().map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_status_arrives_whole() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::at(root.path().to_owned());
        rustix::fs::mknodat(rustix::fs::CWD, root.path().join("status"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        assert!(dir.speak().is_err(), "nobody listens yet");
        let mut listener = dir.listen().unwrap();
        let mut speaker = dir.speak().unwrap();
        let status = Status::Failed { message: "x".repeat(3000) };
        let line = serde_json::to_vec(&status).unwrap();
        let (first, second) = line.split_at(1500);
        speaker.write_all(first).unwrap();
        assert_eq!(listener.status_now().unwrap(), None);
        speaker.write_all(second).unwrap();
        speaker.write_all(b"\n").unwrap();
        assert_eq!(listener.status().await.unwrap(), status);
    }

    #[test]
    fn last_words_are_read_as_far_as_they_go() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::at(root.path().to_owned());
        assert_eq!(dir.end(), None);
        let end = End { message: "trap".to_owned(), out_of_memory: true };
        dir.open_end().unwrap().write_all(&serde_json::to_vec(&end).unwrap()).unwrap();
        assert_eq!(dir.end(), Some(end));
        std::fs::write(root.path().join("end"), "{").unwrap();
        assert_eq!(dir.end(), None);
    }
}
