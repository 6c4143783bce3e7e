//! The agent's half: it starts the child, waits for it, and places what it made.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, Uid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tracing::warn;

use crate::config::Config;
use crate::error::Error;
use crate::netrc;
use crate::order::{Confinement, Failure, FailureKind, Limits, Note, OUT, Order, Report};
use crate::place::{Placement, Refusal};
use crate::request::{Mode, Request};
use crate::source::{Source, shown};

/// Whom the child becomes where the agent is root: nobody and nogroup, by the numbers that all Linux systems give them.
const NOBODY: (u32, u32) = (65534, 65534);
/// Where programs are looked for, by the child.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most that is kept of what a child writes.
const LONGEST_OUTPUT: usize = 1024 * 1024;

/// Fetches artifacts. Cheap to clone; clones share what they have told the log.
#[derive(Clone, Debug)]
pub struct Fetcher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    /// What was said of missing isolation, so that it is said once.
    told: Mutex<Vec<Note>>,
}

impl Fetcher {
    /// Starts nothing yet.
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner { config, told: Mutex::default() }))
    }

    /// Fetches one artifact and puts it at its destination, which has nothing of it before it is complete.
    ///
    /// It may be repeated: what is at the destination is replaced file by file. Dropping the future kills the child.
    /// Transient errors were retried already ([`Config::attempts`]).
    ///
    /// # Errors
    /// See [`Error`]; [`Error::is_recoverable`] says whether the same request may work later.
    pub async fn fetch(&self, request: Request) -> Result<(), Error> {
        let text = shown(request.source.trim());
        let mut order = self.order(&request, &text)?;
        let scratch = &self.0.config.scratch;
        let work = Workspace::new(scratch);
        let mut work = work.map_err(|source| Error::Scratch { path: scratch.clone(), source })?;
        order.scratch = work.path.clone();
        if Uid::effective().is_root() {
            // Where the agent is root of a namespace that knows no such user, the child stays what it is.
            match chown(&work.path, Some(NOBODY.0), Some(NOBODY.1)) {
                Ok(()) => order.confinement.user = Some(NOBODY),
                Err(error) => self.tell([Note::User(format!("cannot give its directory to nobody: {error}"))]),
            }
        }
        let report = self.run(&mut work, &order, &text).await.and_then(|report| {
            self.tell(report.notes);
            report.result.map_err(|failure| named(failure, &text))
        });
        let product = match report {
            Ok(product) => product,
            Err(error) => {
                // There may be much to remove.
                drop(tokio::task::spawn_blocking(move || drop(work)).await);
                return Err(error);
            }
        };

        let owner = request.owner.filter(|_| request.chown && Uid::effective().is_root());
        let (inspect, most_bytes) =
            (!self.0.config.disable_artifact_inspection, self.0.config.decompression_size_limit);
        let place = move || {
            let placement = Placement {
                from: &work.path.join(OUT),
                product: &product,
                destination: &request.destination,
                as_file: request.mode == Mode::File,
                root: &request.root,
                owner,
                inspect,
                most_bytes,
            };
            placement.carry_out().map_err(|refusal| match refusal {
                Refusal::Content(failure) => named(failure, &text),
                Refusal::Place(source) => {
                    Error::Place { source_text: text, destination: request.destination.clone(), source }
                }
            })
        };
        match tokio::task::spawn_blocking(place).await {
            Ok(result) => result,
            Err(fault) => std::panic::resume_unwind(fault.into_panic()),
        }
    }

    fn order(&self, request: &Request, text: &str) -> Result<Order, Error> {
        let config = &self.0.config;
        let mut source = Source::read(request, config.allow_file)
            .map_err(|reason| Error::Malformed { source_text: text.to_owned(), reason })?;
        if !request.destination.starts_with(&request.root) {
            return Err(Error::Destination { path: request.destination.display().to_string() });
        }
        if let (None, Some(host), Some(path)) = (&source.login, source.login_host(), &config.netrc) {
            source.login = match fs::read_to_string(path) {
                Ok(logins) => netrc::find(&logins, &host),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(Error::Scratch { path: path.clone(), source }),
            };
        }
        Ok(Order {
            source,
            mode: request.mode,
            headers: request.headers.clone(),
            insecure: request.insecure,
            scratch: PathBuf::new(),
            limits: Limits {
                download_bytes: config.http_max_size,
                unpacked_bytes: config.decompression_size_limit,
                unpacked_entries: config.decompression_file_count_limit,
                http_timeout: config.http_read_timeout,
                git_timeout: config.git_timeout,
                s3_timeout: config.s3_timeout,
                attempts: config.attempts,
                backoff: config.backoff,
            },
            confinement: Confinement {
                isolate: !config.disable_filesystem_isolation,
                extra: config.filesystem_isolation_extra_paths.clone(),
                user: None,
            },
            allow_file: config.allow_file,
        })
    }

    /// Runs the child to its end, or kills it at the deadline.
    async fn run(&self, work: &mut Workspace, order: &Order, text: &str) -> Result<Report, Error> {
        let failed = |reason: String| Error::Child { source_text: text.to_owned(), reason };
        let mut line =
            serde_json::to_vec(order).map_err(|error| failed(format!("cannot tell it what to do: {error}")))?;
        line.push(b'\n');
        let exe = &self.0.config.exe;
        let mut child = self.command(work).spawn().map_err(|error| failed(format!("cannot start {exe:?}: {error}")))?;
        work.group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let limit = self.0.config.deadline();
        let Ok(conversation) = tokio::time::timeout(limit, converse(&mut child, &line)).await else {
            work.end_group();
            // Reaps it, so that nothing writes any more when the directory is removed.
            drop(child.wait().await);
            return Err(Error::TooSlow { source_text: text.to_owned(), limit });
        };
        // What it may have started does not outlive it.
        work.end_group();
        let (said, complained, status) = conversation.map_err(|error| failed(error.to_string()))?;
        serde_json::from_slice(&said).map_err(|_| {
            let complained = String::from_utf8_lossy(&complained);
            let last = complained.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it gave no reason");
            failed(format!("{status}: {last}"))
        })
    }

    fn command(&self, work: &Workspace) -> Command {
        let config = &self.0.config;
        let passed = config.set_environment_variables.iter();
        let passed = passed.filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
        let mut command = Command::new(&config.exe);
        command
            .arg(crate::CHILD)
            .env_clear()
            .env("PATH", PATH)
            .envs(passed)
            .env("LC_ALL", "C")
            .env("HOME", work.path.join("home"))
            .env("TMPDIR", work.path.join("tmp"))
            .current_dir(&work.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    /// Logs what a child could not give up, each kind once.
    fn tell(&self, notes: impl IntoIterator<Item = Note>) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        for note in notes {
            if told.contains(&note) {
                continue;
            }
            match &note {
                Note::Isolation(reason) => warn!(reason, "artifacts are fetched with less isolation than asked for"),
                Note::User(reason) => warn!(reason, "artifacts are fetched with the rights of the agent's user"),
            }
            told.push(note);
        }
    }
}

/// Says the order and hears the child out. Its input stays open until it has ended: an end would say that we are gone.
async fn converse(child: &mut Child, order: &[u8]) -> io::Result<(Vec<u8>, Vec<u8>, std::process::ExitStatus)> {
    let missing = || io::Error::other("it has no pipes");
    let (mut stdin, mut stdout, mut stderr) = (
        child.stdin.take().ok_or_else(missing)?,
        child.stdout.take().ok_or_else(missing)?,
        child.stderr.take().ok_or_else(missing)?,
    );
    let tell = async {
        // A child that fell over before reading says why on its other end.
        match stdin.write_all(order).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            Ok(()) | Err(_) => stdin.flush().await.or(Ok(())),
        }
    };
    let ((), said, complained) = tokio::try_join!(tell, hear(&mut stdout), hear(&mut stderr))?;
    let status = child.wait().await?;
    drop(stdin);
    Ok((said, complained, status))
}

/// Reads to the end, and keeps the beginning.
async fn hear(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(kept);
        }
        let room = LONGEST_OUTPUT.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..count.min(room)]);
    }
}

fn named(failure: Failure, text: &str) -> Error {
    let (source_text, reason) = (text.to_owned(), failure.reason);
    match failure.kind {
        FailureKind::Malformed => Error::Malformed { source_text, reason },
        FailureKind::Transient | FailureKind::Fetch => Error::Fetch { source_text, reason },
        FailureKind::Checksum => Error::Checksum { source_text, reason },
        FailureKind::Content => Error::Content { source_text, reason },
        FailureKind::TooLarge => Error::TooLarge { source_text, reason },
        FailureKind::TooSlow { limit } => Error::TooSlow { source_text, limit },
        FailureKind::Local => Error::Child { source_text, reason },
    }
}

/// A directory of one fetch and the processes that work in it; both end with it.
#[derive(Debug)]
struct Workspace {
    path: PathBuf,
    group: Option<Pid>,
}

impl Workspace {
    fn new(scratch: &Path) -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        DirBuilder::new().recursive(true).mode(0o711).create(scratch)?;
        fs::set_permissions(scratch, Permissions::from_mode(0o711))?;
        sweep(scratch);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = scratch.join(format!("fetch-{}-{number}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, group: None })
    }

    /// Kills the child, unless it has ended, with all that it started.
    fn end_group(&mut self) {
        if let Some(group) = self.group.take() {
            match killpg(group, Signal::SIGKILL) {
                // Mostly there is no such group any more.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => warn!(%error, "cannot end the process that fetches an artifact"),
            }
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        self.end_group();
        // A child that was killed just now may still end a write; what then stays goes with the next sweep.
        let removed = (0..3).any(|_| fs::remove_dir_all(&self.path).is_ok());
        if !removed && self.path.exists() {
            warn!(path = %self.path.display(), "cannot remove the scratch directory of an artifact");
        }
    }
}

/// Removes what fetches of agents left behind that are no more.
fn sweep(scratch: &Path) {
    let Ok(entries) = fs::read_dir(scratch) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("fetch-")?.split('-').next()?.parse::<u32>().ok());
        let gone = pid.is_some_and(|pid| pid != std::process::id() && !Path::new(&format!("/proc/{pid}")).exists());
        if gone && let Err(error) = fs::remove_dir_all(entry.path()) {
            warn!(%error, path = %entry.path().display(), "cannot remove what an earlier fetch of artifacts left");
        }
    }
}
