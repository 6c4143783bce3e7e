//! What the agent remembers on its own disk, so that tasks outlive it.
//!
//! A change is in the file when the call returns, and so survives the end of the agent. A power failure ends the tasks as
//! well, so flushing to the disk happens behind, see [`LocalState::keep_flushed`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use orch_driver::TaskHandle;
use orch_model::allocation::TaskState;
use orch_model::{AllocId, Allocation, HostVolumeId, StateIndex, document};
use orch_wal::{Journal, JournalOptions, RealDisk};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::alloc_runner::StoredHealth;
use crate::config::Config;
use crate::error::{Error, chain};
use crate::volumes::StoredVolume;

/// The newest format of the records that this version writes and reads.
const FORMAT: u32 = 1;
/// How long changes gather before they are flushed.
const FLUSH_AFTER: Duration = Duration::from_millis(200);
const META_KEY: &[u8] = b"meta";

/// What the agent knows of its place in the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Meta {
    /// The format of all records.
    pub(crate) format: u32,
    /// The cluster that the node belongs to; empty before first contact.
    pub(crate) cluster_id: String,
    /// The highest index obeyed.
    pub(crate) seen_index: StateIndex,
    /// How often the agent was started.
    pub(crate) boots: u64,
    /// The machine's boot in which the agent last ran.
    pub(crate) boot_id: String,
    /// The servers last heard of.
    pub(crate) servers: Vec<String>,
}

/// An allocation with its job, as the servers last described it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredAlloc {
    pub(crate) alloc: Allocation,
    /// Whether its directory and task states were given up to make room.
    #[serde(default)]
    pub(crate) collected: bool,
}

/// A task of an allocation: how it is, and where to find it again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredTask {
    /// The how-manieth start of it the handle belongs to.
    pub(crate) run: u32,
    /// The driver's note about the run that is going on.
    pub(crate) handle: Option<TaskHandle>,
    /// What was last said of it.
    pub(crate) state: TaskState,
}

/// Everything that was remembered.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) meta: Meta,
    pub(crate) allocs: BTreeMap<AllocId, StoredAlloc>,
    pub(crate) tasks: BTreeMap<(AllocId, String), StoredTask>,
    pub(crate) volumes: BTreeMap<HostVolumeId, StoredVolume>,
}

/// The journal of the agent; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LocalState {
    journal: Arc<Journal>,
    changed: Arc<Notify>,
    flush: bool,
}

impl LocalState {
    /// Opens what is kept in the state directory. Damaged records are logged and left out.
    pub(crate) fn open(config: &Config) -> Result<(Self, Remembered), Error> {
        let state_error = |source| Error::State { path: config.state_dir.clone(), source };
        let disk = RealDisk::open(&config.state_dir).map_err(state_error)?;
        let (journal, damage) = Journal::open(Arc::new(disk), JournalOptions::new("state")).map_err(state_error)?;
        for spot in damage {
            warn!(file = %spot.file.display(), offset = spot.offset, detail = spot.detail, "local state is damaged");
        }
        let remembered = read_all(&journal);
        if remembered.meta.format > FORMAT {
            let (path, found) = (config.state_dir.clone(), remembered.meta.format);
            return Err(Error::NewerState { path, found, known: FORMAT });
        }
        let state = Self { journal: Arc::new(journal), changed: Arc::default(), flush: !config.dev };
        Ok((state, remembered))
    }

    /// Remembers the agent's place in the cluster.
    pub(crate) fn put_meta(&self, meta: &Meta) {
        self.put(META_KEY, &Meta { format: FORMAT, ..meta.clone() });
    }

    /// Remembers an allocation.
    pub(crate) fn put_alloc(&self, stored: &StoredAlloc) {
        self.put(&alloc_key(stored.alloc.id), stored);
    }

    /// Remembers a task.
    pub(crate) fn put_task(&self, alloc_id: AllocId, task: &str, stored: &StoredTask) {
        self.put(&task_key(alloc_id, task), stored);
    }

    /// Remembers how far the health of an allocation is known.
    pub(crate) fn put_health(&self, alloc_id: AllocId, stored: &StoredHealth) {
        self.put(&health_key(alloc_id), stored);
    }

    /// What is remembered of the health of an allocation; `None` also where that cannot be read, so watching begins anew.
    pub(crate) fn health(&self, alloc_id: AllocId) -> Option<StoredHealth> {
        let bytes = self.journal.get(&health_key(alloc_id)).ok()??;
        document::decode(&bytes).ok()
    }

    /// Remembers which artifacts of a task, by their number in the job, have been fetched.
    pub(crate) fn put_fetched(&self, alloc_id: AllocId, task: &str, numbers: &BTreeSet<u32>) {
        self.put(&fetched_key(alloc_id, task), numbers);
    }

    /// Which artifacts of a task have been fetched; none where that cannot be read, so they are fetched again.
    pub(crate) fn fetched(&self, alloc_id: AllocId, task: &str) -> BTreeSet<u32> {
        let bytes = self.journal.get(&fetched_key(alloc_id, task)).ok().flatten();
        bytes.and_then(|bytes| document::decode(&bytes).ok()).unwrap_or_default()
    }

    /// Remembers a dynamic host volume.
    pub(crate) fn put_volume(&self, id: HostVolumeId, stored: &StoredVolume) {
        self.put(&volume_key(id), stored);
    }

    /// Forgets a dynamic host volume.
    pub(crate) fn forget_volume(&self, id: HostVolumeId) {
        self.delete(&volume_key(id));
    }

    /// Forgets an allocation's tasks and its health.
    pub(crate) fn forget_tasks(&self, alloc_id: AllocId, tasks: impl IntoIterator<Item = String>) {
        for task in tasks {
            self.delete(&task_key(alloc_id, &task));
            self.delete(&fetched_key(alloc_id, &task));
        }
        self.delete(&health_key(alloc_id));
    }

    /// Forgets an allocation.
    pub(crate) fn forget_alloc(&self, alloc_id: AllocId) {
        self.delete(&alloc_key(alloc_id));
    }

    /// Flushes changes to the disk soon after they were made, until `shutdown`; once more then.
    pub(crate) async fn keep_flushed(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = self.changed.notified() => {}
                () = shutdown.cancelled() => break,
            }
            tokio::select! {
                () = tokio::time::sleep(FLUSH_AFTER) => {}
                () = shutdown.cancelled() => break,
            }
            self.flush().await;
        }
        self.flush().await;
    }

    async fn flush(&self) {
        if !self.flush {
            return;
        }
        let journal = Arc::clone(&self.journal);
        match tokio::task::spawn_blocking(move || journal.sync()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(error = chain(&error), "local state cannot be flushed to the disk"),
            Err(error) => error!(%error, "flushing the local state was cut short"),
        }
    }

    /// A failure is logged: the task goes on, but a restarted agent will have to find it by its driver's own list.
    fn put<T: Serialize>(&self, key: &[u8], value: &T) {
        let written = document::encode(value)
            .map_err(|error| chain(&error))
            .and_then(|bytes| self.journal.put(key, &bytes).map_err(|error| chain(&error)));
        if let Err(error) = written {
            error!(key = %String::from_utf8_lossy(key), error, "local state cannot be written");
        }
        self.changed.notify_one();
    }

    fn delete(&self, key: &[u8]) {
        if let Err(error) = self.journal.delete(key) {
            error!(key = %String::from_utf8_lossy(key), error = chain(&error), "local state cannot be written");
        }
        self.changed.notify_one();
    }
}

fn alloc_key(alloc_id: AllocId) -> Vec<u8> {
    format!("alloc/{alloc_id}").into_bytes()
}

fn fetched_key(alloc_id: AllocId, task: &str) -> Vec<u8> {
    format!("fetched/{alloc_id}/{task}").into_bytes()
}

fn volume_key(id: HostVolumeId) -> Vec<u8> {
    format!("volume/{id}").into_bytes()
}

fn health_key(alloc_id: AllocId) -> Vec<u8> {
    format!("health/{alloc_id}").into_bytes()
}

fn task_key(alloc_id: AllocId, task: &str) -> Vec<u8> {
    format!("task/{alloc_id}/{task}").into_bytes()
}

/// What a key names.
enum Key {
    Meta,
    Alloc(AllocId),
    Task(AllocId, String),
    Health,
    Fetched,
    Volume(HostVolumeId),
}

fn parse_key(key: &[u8]) -> Option<Key> {
    let key = std::str::from_utf8(key).ok()?;
    if key.as_bytes() == META_KEY {
        return Some(Key::Meta);
    }
    match key.split_once('/')? {
        ("alloc", id) => id.parse().ok().map(Key::Alloc),
        ("health", id) => id.parse::<AllocId>().ok().map(|_| Key::Health),
        ("volume", id) => id.parse().ok().map(Key::Volume),
        ("fetched", rest) => rest.split_once('/')?.0.parse::<AllocId>().ok().map(|_| Key::Fetched),
        ("task", rest) => {
            let (id, task) = rest.split_once('/')?;
            Some(Key::Task(id.parse().ok()?, task.to_owned()))
        }
        _ => None,
    }
}

fn read_all(journal: &Journal) -> Remembered {
    let mut found = Remembered::default();
    for (key, value) in journal.iter() {
        let text = String::from_utf8_lossy(&key).into_owned();
        let read = value.map_err(|error| chain(&error)).and_then(|value| take(&mut found, &key, &value));
        if let Err(error) = read {
            warn!(key = text, error, "a record of the local state cannot be read and is left out");
        }
    }
    found
}

fn take(found: &mut Remembered, key: &[u8], value: &[u8]) -> Result<(), String> {
    let undecodable = |error: document::Error| chain(&error);
    match parse_key(key).ok_or("its key is unknown")? {
        Key::Meta => found.meta = document::decode(value).map_err(undecodable)?,
        Key::Alloc(id) => {
            found.allocs.insert(id, document::decode(value).map_err(undecodable)?);
        }
        Key::Task(id, task) => {
            found.tasks.insert((id, task), document::decode(value).map_err(undecodable)?);
        }
        // The allocation's runner reads them when it needs them.
        Key::Health => document::decode::<StoredHealth>(value).map(drop).map_err(undecodable)?,
        Key::Fetched => document::decode::<BTreeSet<u32>>(value).map(drop).map_err(undecodable)?,
        Key::Volume(id) => {
            found.volumes.insert(id, document::decode(value).map_err(undecodable)?);
        }
    }
    Ok(())
}
