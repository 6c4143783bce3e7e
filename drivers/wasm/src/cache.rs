//! The agent's half of the cache of compiled modules: who is in it, and having compiled what is not.
//!
//! An entry is two files: `<key>.cwasm`, and `<key>.json` that says how large the first is and what it hashes to, and is written last. The
//! key names the engine and the content. An entry is checked against its hash the first time that this agent uses it, and whenever the
//! file's identity has changed since; what does not fit is removed and compiled again.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use orch_driver::{Error, Progress};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::sync::{OnceCell, Semaphore};
use tracing::{debug, warn};

use crate::child::{CHILD, COMPILE, IDENTIFY};
use crate::codegen::Codegen;
use crate::plan::{Kind, refused};

/// What the agent asks of the process that compiles; the file is its standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) cache: PathBuf,
    pub(crate) codegen: Codegen,
    pub(crate) allow_precompiled: bool,
}

/// What that process answers: the key of the entry, or what is wrong with the file.
pub(crate) type Answer = Result<String, String>;

/// What is known of a compiled file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) bytes: u64,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
}

/// A compiled file that may be mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artifact {
    pub(crate) key: String,
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
}

/// The cache of one agent.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    exe: PathBuf,
    max_bytes: u64,
    allow_precompiled: bool,
    engines: [OnceCell<u64>; Codegen::KINDS],
    /// Compiling takes every processor there is, so one at a time.
    compiling: Semaphore,
    /// One of each key looks, and compiles, at a time.
    flights: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    checked: Arc<Checked>,
}

type Checked = Mutex<HashMap<String, Identity>>;

/// Tells whether a file is still the one that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

impl Identity {
    fn of(facts: &std::fs::Metadata) -> Self {
        Self { inode: (facts.dev(), facts.ino()), bytes: facts.len(), changed: (facts.ctime(), facts.ctime_nsec()) }
    }
}

impl Cache {
    /// The cache in `dir`, filled by `exe`.
    pub(crate) fn new(dir: PathBuf, exe: PathBuf, max_bytes: u64, allow_precompiled: bool) -> Self {
        Self {
            dir,
            exe,
            max_bytes,
            allow_precompiled,
            engines: Default::default(),
            compiling: Semaphore::new(1),
            flights: Mutex::default(),
            checked: Arc::default(),
        }
    }

    /// The compiled form of `module`, made now if it is not there.
    pub(crate) async fn artifact(
        &self,
        module: &File,
        codegen: Codegen,
        progress: &Progress,
    ) -> Result<Artifact, Error> {
        let engine = self.engine(codegen).await?;
        let copy = |module: &File| module.try_clone().map_err(|error| Error::failed("cannot read the module", error));
        let mut reader = copy(module)?;
        let hash = blocking(move || hash_of(&mut reader))
            .await?
            .map_err(|error| refused(format!("the module cannot be read: {error}")))?;
        let key = key_of(engine, &hash);
        let flight = self.flight(&key);
        let _one = flight.lock().await;
        if let Some(found) = self.find(&key).await? {
            debug!(key, "module is compiled already");
            return Ok(found);
        }
        progress.tell("Compiling the module");
        let _turn = self.compiling.acquire().await.map_err(|error| Error::failed("compiling is over", error))?;
        let key = self.compile(copy(module)?, codegen).await?;
        let found = self.find(&key).await?;
        self.evict(key).await?;
        found.ok_or_else(|| Error::Failed {
            message: format!("{} does not keep what is put there", self.dir.display()),
            source: None,
        })
    }

    /// Removes an entry that turned out to be of no use.
    pub(crate) async fn discard(&self, key: &str) -> Result<(), Error> {
        let (dir, key) = (self.dir.clone(), key.to_owned());
        blocking(move || remove(&dir, &key))
            .await?
            .map_err(|error| Error::failed("removing a compiled module failed", error))
    }

    fn flight(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| Arc::strong_count(flight) > 1);
        Arc::clone(flights.entry(key.to_owned()).or_default())
    }

    async fn engine(&self, codegen: Codegen) -> Result<u64, Error> {
        let Some(cell) = self.engines.get(codegen.index()) else {
            return Err(Error::Failed { message: "no such kind of code".to_owned(), source: None });
        };
        let ask = || async {
            let text = self.ask(IDENTIFY, &codegen, None).await?;
            let text = String::from_utf8_lossy(&text);
            u64::from_str_radix(text.trim(), 16)
                .map_err(|error| Error::failed("the engine cannot be identified", error))
        };
        cell.get_or_try_init(ask).await.copied()
    }

    async fn find(&self, key: &str) -> Result<Option<Artifact>, Error> {
        let (dir, key, checked) = (self.dir.clone(), key.to_owned(), Arc::clone(&self.checked));
        blocking(move || find(&dir, key, &checked)).await
    }

    async fn compile(&self, mut module: File, codegen: Codegen) -> Result<String, Error> {
        module.rewind().map_err(|error| Error::failed("cannot read the module", error))?;
        let order = Order { cache: self.dir.clone(), codegen, allow_precompiled: self.allow_precompiled };
        let answer = self.ask(COMPILE, &order, Some(module)).await?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| Error::failed("the compiler's answer cannot be understood", error))?;
        answer.map_err(refused)
    }

    /// Has a process of the agent's own program do one thing, and returns what it writes. It is killed if nobody waits for it any more.
    async fn ask(&self, mode: &str, order: &impl Serialize, stdin: Option<File>) -> Result<Vec<u8>, Error> {
        let order =
            serde_json::to_string(order).map_err(|error| Error::failed("the order cannot be written", error))?;
        let mut command = Command::new(&self.exe);
        command.args([CHILD, mode, &order]).env_clear().kill_on_drop(true);
        command.stdin(stdin.map_or_else(Stdio::null, Stdio::from)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().await;
        let output = output.map_err(|error| Error::failed(format!("{} cannot be run", self.exe.display()), error))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let message = format!("compiling the module ended with {}: {}", output.status, said.trim());
        Err(Error::StartFailed { message, recoverable: true })
    }

    async fn evict(&self, newest: String) -> Result<(), Error> {
        let (dir, max_bytes) = (self.dir.clone(), self.max_bytes);
        blocking(move || {
            if let Err(error) = evict(&dir, max_bytes, &newest) {
                warn!(%error, cache = %dir.display(), "the cache of compiled modules could not be cut down");
            }
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::failed("looking at the compiled modules failed", error))
}

/// The key of what an engine makes of a content.
pub(crate) fn key_of(engine: u64, content_hash: &str) -> String {
    format!("{engine:016x}-{content_hash}")
}

/// What all that is left of `reader` hashes to.
pub(crate) fn hash_of(reader: &mut impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(reader, &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// `bytes` in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the compiled file of `key` is.
pub(crate) fn artifact_file(dir: &Path, key: &str) -> PathBuf {
    dir.join(format!("{key}.cwasm"))
}

/// Where its entry is.
pub(crate) fn entry_file(dir: &Path, key: &str) -> PathBuf {
    dir.join(format!("{key}.json"))
}

/// The lock of whoever makes it.
pub(crate) fn lock_file(dir: &Path, key: &str) -> PathBuf {
    dir.join(format!("{key}.lock"))
}

/// Whether an entry is there, sound or not.
pub(crate) fn exists(dir: &Path, key: &str) -> bool {
    entry_file(dir, key).exists() && artifact_file(dir, key).exists()
}

fn find(dir: &Path, key: String, checked: &Checked) -> Option<Artifact> {
    match check(dir, &key, checked) {
        Ok(kind) => Some(Artifact { path: artifact_file(dir, &key), key, kind }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            warn!(%error, key, "a compiled module is damaged and is made again");
            if let Err(error) = remove(dir, &key) {
                warn!(%error, key, "a damaged compiled module cannot be removed");
            }
            None
        }
    }
}

fn check(dir: &Path, key: &str, checked: &Checked) -> io::Result<Kind> {
    let entry_file = File::options().write(true).read(true).open(entry_file(dir, key))?;
    let entry: Entry = serde_json::from_reader(&entry_file)?;
    let mut file = File::open(artifact_file(dir, key))?;
    let facts = file.metadata()?;
    let identity = Identity::of(&facts);
    let own = nix::unistd::geteuid().as_raw();
    if facts.uid() != own || facts.mode() & 0o022 != 0 {
        return Err(io::Error::other("others than the agent can write it"));
    }
    let known = checked.lock().unwrap_or_else(PoisonError::into_inner).get(key) == Some(&identity);
    if !known {
        if facts.len() != entry.bytes || hash_of(&mut file)? != entry.sha256 {
            return Err(io::Error::other("its content is not what was written"));
        }
        checked.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), identity);
    }
    // Tells when it was last used, for the eviction.
    entry_file.set_modified(SystemTime::now())?;
    Ok(entry.kind)
}

fn remove(dir: &Path, key: &str) -> io::Result<()> {
    for file in [entry_file(dir, key), artifact_file(dir, key)] {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Removes what was not used for longest until the rest fits, and what compilers that are gone left behind. Never `newest`.
///
/// A task that runs keeps its mapping of a file that is removed.
fn evict(dir: &Path, max_bytes: u64, newest: &str) -> io::Result<()> {
    let mut entries = Vec::new();
    let mut total = 0u64;
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        let (Some(key), Some(end)) = (path.file_stem().and_then(|key| key.to_str()), path.extension()) else {
            continue;
        };
        if end == "lock" {
            remove_abandoned(&path)?;
        }
        if end != "json" {
            continue;
        }
        let (Ok(entry), Ok(artifact)) = (path.metadata(), artifact_file(dir, key).metadata()) else { continue };
        total = total.saturating_add(artifact.len());
        entries.push((entry.modified()?, artifact.len(), key.to_owned()));
    }
    entries.sort();
    for (_, bytes, key) in entries {
        if total <= max_bytes {
            break;
        }
        if key != newest {
            remove(dir, &key)?;
            total = total.saturating_sub(bytes);
        }
    }
    Ok(())
}

/// Removes a lock that nobody holds. Whoever waits for it sees that it is gone and takes another.
fn remove_abandoned(lock: &Path) -> io::Result<()> {
    let file = match File::open(lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        answer => answer?,
    };
    match file.try_lock() {
        Ok(()) => {
            // What its holder had not finished, if it had begun.
            let _absent = std::fs::remove_file(lock.with_extension("tmp"));
            std::fs::remove_file(lock)
        }
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn put(dir: &Path, key: &str, content: &str, used: u64) {
        std::fs::write(artifact_file(dir, key), content).unwrap();
        let sha256 = hash_of(&mut content.as_bytes()).unwrap();
        let entry = Entry { kind: Kind::Module, bytes: content.len() as u64, sha256 };
        std::fs::write(entry_file(dir, key), serde_json::to_vec(&entry).unwrap()).unwrap();
        let file = File::options().write(true).open(entry_file(dir, key)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(used)).unwrap();
    }

    #[test]
    fn a_damaged_entry_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        let find = |checked: &Checked| find(dir, "k".to_owned(), checked);
        let checked = Checked::default();
        assert_eq!(find(&checked), None);
        put(dir, "k", "code", 1);
        assert!(find(&checked).is_some() && find(&checked).is_some());
        std::fs::write(artifact_file(dir, "k"), "evil").unwrap();
        assert_eq!(find(&checked), None, "changed under a running agent");
        assert!(!exists(dir, "k"));
        put(dir, "k", "code", 1);
        std::fs::write(artifact_file(dir, "k"), "cod").unwrap();
        assert_eq!(find(&Checked::default()), None, "cut off before the agent started");
        put(dir, "k", "code", 1);
        std::fs::write(entry_file(dir, "k"), "{").unwrap();
        assert_eq!(find(&Checked::default()), None, "an entry that cannot be read");
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        for (key, used) in [("old", 1), ("older", 0), ("used", 3), ("new", 2)] {
            put(dir, key, "12345", used);
        }
        std::fs::write(lock_file(dir, "gone"), "").unwrap();
        let held = File::create(lock_file(dir, "held")).unwrap();
        held.lock().unwrap();
        evict(dir, 10, "new").unwrap();
        let left: Vec<&str> = ["old", "older", "used", "new"].into_iter().filter(|key| exists(dir, key)).collect();
        assert_eq!(left, ["used", "new"]);
        assert!(!lock_file(dir, "gone").exists() && lock_file(dir, "held").exists());
    }
}
