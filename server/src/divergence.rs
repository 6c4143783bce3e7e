//! What a server does whose state went another way than the leader's: it stops taking part, and installs the state anew.
//!
//! Its log is sound, what it made of it is not. So it goes on to vote and to store until the leader has taken it out of
//! the cluster; only then is its directory of no use to anybody. At the next start that is put aside, and the server
//! joins the same cluster under a new raft id. A note in the data directory says how far this has come.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orch_api::Time;
use orch_model::{StateIndex, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::consensus::Consensus;
use crate::identity::{self, Error};
use crate::membership::Departure;
use crate::metrics;
use crate::sessions::Sessions;

/// The name of the note.
const NOTE: &str = "diverged";

/// What is put aside: log, snapshots, and the raft id that both belong to.
const ASIDE: [&str; 3] = ["raft", "snapshots", "raft-id"];

/// How often the leader is asked to let this server go before its process ends without that.
const TRIES: u32 = 20;

/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// How far a server has come that must install its state anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The checkpoint at which its state was another than the leader's.
    pub index: StateIndex,
    /// When that was found, as a part of file names.
    pub found: String,
    /// Where the other servers were then.
    pub servers: Vec<String>,
    /// What has been done about it.
    pub stage: Stage,
}

/// What has been done about a state that went its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It was found; the server is still a member of the cluster.
    Found,
    /// The cluster has let the server go.
    Left,
    /// Log and snapshots were put aside; the server is to join under its new raft id.
    Aside,
}

/// Reads the note in the data directory `dir`; puts aside what is of no use any more. Before anything else is read there.
/// Blocks.
pub fn prepare(dir: &Path) -> Result<Option<Note>, Error> {
    let Some(mut note) = read(dir)? else { return Ok(None) };
    if note.stage == Stage::Left {
        for name in ASIDE {
            let (from, to) = (dir.join(name), dir.join(format!("{name}.diverged-{}", note.found)));
            match fs::rename(&from, &to) {
                Ok(()) => info!(path = %to.display(), "put aside what a diverged state was made from"),
                // A start before this one got so far.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(identity::error("put aside", &from, source)),
            }
        }
        note.stage = Stage::Aside;
        write(dir, &note)?;
    }
    Ok(Some(note))
}

/// Takes note that the server is in the cluster again. Blocks.
pub fn forget(dir: &Path) -> Result<(), Error> {
    let path = dir.join(NOTE);
    match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(identity::error("remove", &path, source)),
    }
}

fn read(dir: &Path) -> Result<Option<Note>, Error> {
    let path = dir.join(NOTE);
    let Some(text) = identity::read(&path)? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|error| Error::Damaged { path, what: error.to_string() })
}

fn write(dir: &Path, note: &Note) -> Result<(), Error> {
    let path = dir.join(NOTE);
    let text = serde_json::to_string(note).map_err(|error| identity::error("write", &path, io::Error::other(error)))?;
    identity::write(&path, &text)
}

/// Watches for this server's state going its own way, and takes it out of the cluster then.
#[derive(Debug)]
pub struct Divergence {
    /// What takes it out.
    pub departure: Departure,
    /// The sessions held here.
    pub sessions: std::sync::Arc<Sessions>,
    /// The note that was there at the start.
    pub note: Option<Note>,
    /// Cancelled so that this server serves nobody any more.
    pub serving: CancellationToken,
    /// Cancelled when the process must end.
    pub failed: CancellationToken,
}

impl Divergence {
    /// Runs until `shutdown`, or until this server is out of the cluster and its process must end.
    pub async fn run(self, shutdown: CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.watch() => {}
        }
    }

    async fn watch(self) {
        let note = match self.note.clone().filter(|note| note.stage == Stage::Found) {
            Some(note) => note,
            None => {
                let Some(index) = self.found().await else { return };
                metrics::diverged();
                error!(
                    raft.index = index.0,
                    "this server's state differs from the leader's: it leaves the cluster, and installs the leader's \
                    state when it starts again"
                );
                let note = self.note_of(index);
                self.store(note.clone()).await;
                note
            }
        };
        self.serving.cancel();
        self.departure.node.store().wake_all();
        self.sessions.close_all();
        for _ in 0..TRIES {
            match self.departure.leave().await {
                Ok(()) => {
                    info!("the cluster has let this server go");
                    self.store(Note { stage: Stage::Left, ..note }).await;
                    break;
                }
                Err(reason) => warn!(reason, "the cluster has not let this server go yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.failed.cancel();
    }

    /// Waits until a checkpoint of this server is another than the leader's.
    async fn found(&self) -> Option<StateIndex> {
        let mut changes = self.departure.node.store().subscribe();
        loop {
            match changes.recv().await {
                Ok(change) => {
                    if let Some(index) = change.diverged {
                        return Some(index);
                    }
                }
                // What was missed shows again at the next checkpoint.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    fn note_of(&self, index: StateIndex) -> Note {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = Time(Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)));
        let found = time.text().unwrap_or_default().chars().take(19).filter(|part| *part != ':').collect();
        let own = &self.departure.config.rpc_advertise;
        let members = self.departure.node.members().into_iter().map(|status| status.member.rpc_addr);
        Note { index, found, servers: members.filter(|addr| addr != own).collect(), stage: Stage::Found }
    }

    async fn store(&self, note: Note) {
        let dir = self.departure.config.data_dir.clone();
        match tokio::task::spawn_blocking(move || write(&dir, &note)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                error!(%error, "cannot note that this server must install its state anew: empty its data directory");
            }
            Err(error) => error!(%error, "the note that this server must install its state anew was interrupted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn note(stage: Stage) -> Note {
        Note {
            index: StateIndex(10_000),
            found: "2026-01-02T030405".into(),
            servers: vec!["10.0.0.1:4647".into()],
            stage,
        }
    }

    #[test]
    fn a_server_that_was_let_go_starts_with_a_new_raft_id_and_keeps_the_old_log_aside() {
        let dir = tempfile::tempdir().unwrap();
        let old = Identity::open(dir.path()).unwrap().raft_id();
        fs::create_dir(dir.path().join("raft")).unwrap();
        fs::write(dir.path().join("raft/segment"), "old").unwrap();
        write(dir.path(), &note(Stage::Left)).unwrap();
        let prepared = prepare(dir.path()).unwrap().unwrap();
        assert_eq!(prepared, note(Stage::Aside));
        assert_ne!(Identity::open(dir.path()).unwrap().raft_id(), old);
        assert!(!dir.path().join("raft").exists());
        let kept = fs::read_to_string(dir.path().join("raft.diverged-2026-01-02T030405/segment")).unwrap();
        assert_eq!(kept, "old");
        let again = Identity::open(dir.path()).unwrap().raft_id();
        assert_eq!(prepare(dir.path()).unwrap(), Some(note(Stage::Aside)), "nothing is put aside twice");
        assert_eq!(Identity::open(dir.path()).unwrap().raft_id(), again);
        forget(dir.path()).unwrap();
        assert_eq!(prepare(dir.path()).unwrap(), None);
    }

    #[test]
    fn a_server_that_is_still_a_member_keeps_its_log() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("raft")).unwrap();
        write(dir.path(), &note(Stage::Found)).unwrap();
        assert_eq!(prepare(dir.path()).unwrap(), Some(note(Stage::Found)));
        assert!(dir.path().join("raft").exists());
    }
}
