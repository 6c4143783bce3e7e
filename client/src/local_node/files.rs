//! Files of an allocation, for those who look from outside.
//!
//! Every path is opened beneath the allocation's directory by the kernel itself, so that no symbolic link leads out; and
//! what was opened is checked once more against the directories of secrets.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::try_unfold;
use orch_api::{Blob, FileInfo, StreamFrame, Time};
use orch_http::Error;
use orch_http::local::{ByteStream, FrameStream, Origin, Position};
use orch_model::Timestamp;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use crate::alloc_dir::AllocDir;

/// The largest piece read at once, in bytes.
pub(super) const PIECE: u64 = 64 * 1024;
/// How often a file that is followed is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much of a file tells what is in it.
const SNIFF: usize = 512;

/// The files of one allocation.
#[derive(Debug, Clone)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub(super) fn new(dir: &AllocDir) -> Self {
        Self { root: dir.root().to_owned() }
    }

    /// What is in a directory, by name.
    pub(super) async fn list(self, path: &str) -> Result<Vec<FileInfo>, Error> {
        let path = path.to_owned();
        blocking(move || {
            let (dir, real) = self.open(&path)?;
            if !metadata(&dir, &path)?.is_dir() {
                return Err(Error::invalid(format!("{path} is not a directory")));
            }
            let mut found = Vec::new();
            let failed = |error: io::Error| failed(&path, &error);
            for entry in std::fs::read_dir(format!("/proc/self/fd/{}", dir.as_raw_fd())).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                let name = name.to_string_lossy();
                // A link that leads out, or an entry that has just gone, is not shown.
                if let Ok((file, real)) = self.open_real(&real.join(&*name).to_string_lossy())
                    && let Ok(meta) = file.metadata()
                {
                    let hidden = is_secret(&real);
                    found.push(info(&name, &meta, if hidden { None } else { Some(&file) }));
                }
            }
            found.sort_by(|one: &FileInfo, other| one.name.cmp(&other.name));
            Ok(found)
        })
        .await
    }

    /// One file or directory.
    pub(super) async fn stat(self, path: &str) -> Result<FileInfo, Error> {
        let path = path.to_owned();
        blocking(move || {
            let (file, real) = self.open(&path)?;
            let name = real.file_name().map_or_else(|| "/".into(), |name| name.to_string_lossy().into_owned());
            Ok(info(&name, &metadata(&file, &path)?, Some(&file)))
        })
        .await
    }

    /// The bytes of a file.
    pub(super) async fn read(self, path: &str, offset: u64, limit: Option<u64>) -> Result<ByteStream, Error> {
        let (file, _, path) = self.open_file(path).await?;
        let left = limit.unwrap_or(u64::MAX);
        Ok(try_unfold((file, offset, left, path), |(file, offset, left, path)| async move {
            let (file, bytes) = read_at(file, offset, left.min(PIECE), &path).await?;
            let length = bytes.len() as u64;
            let next = (file, offset.saturating_add(length), left.saturating_sub(length), path);
            Ok((!bytes.is_empty()).then_some((bytes, next)))
        })
        .boxed())
    }

    /// A file as frames, and its growth if it is followed.
    pub(super) async fn stream(self, path: &str, from: Position, follow: bool) -> Result<FrameStream, Error> {
        let (file, size, path) = self.open_file(path).await?;
        let offset = match from.origin {
            Origin::Start => from.offset,
            Origin::End => size.saturating_sub(from.offset),
        };
        let watched = Watched { file: Some(file), offset, path, follow };
        Ok(try_unfold(watched, |watched| async move { watched.next().await }).boxed())
    }

    /// A regular file, its size, and its path as it was asked for.
    async fn open_file(self, path: &str) -> Result<(File, u64, String), Error> {
        let path = path.to_owned();
        blocking(move || {
            let (file, _) = self.open(&path)?;
            let meta = metadata(&file, &path)?;
            if !meta.is_file() {
                let what = if meta.is_dir() { "a directory" } else { "not a regular file" };
                return Err(Error::invalid(format!("{path} is {what}")));
            }
            Ok((file, meta.len(), path))
        })
        .await
    }

    /// Opens what `path` names, unless it is secret, with its place beneath the root.
    fn open(&self, path: &str) -> Result<(File, PathBuf), Error> {
        let (file, real) = self.open_real(path)?;
        if is_secret(&real) {
            return Err(Error::new(orch_http::Kind::Forbidden, format!("Reading secret file prohibited: {path}")));
        }
        Ok((file, real))
    }

    fn open_real(&self, path: &str) -> Result<(File, PathBuf), Error> {
        let relative = relative(path)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let root = openat2(CWD, &self.root, flags | OFlags::DIRECTORY, Mode::empty(), ResolveFlags::empty());
        let root: OwnedFd = root.map_err(|errno| failed(path, &errno.into()))?;
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(&root, &relative, flags, Mode::empty(), inside);
        let file = File::from(opened.map_err(|errno| failed(path, &errno.into()))?);
        let at = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).map_err(|error| failed(path, &error));
        let (top, place) = (at(root.as_raw_fd())?, at(file.as_raw_fd())?);
        let real = place.strip_prefix(&top).map_err(|_| escapes(path))?.to_owned();
        Ok((file, real))
    }
}

/// A file that is being followed.
struct Watched {
    file: Option<File>,
    offset: u64,
    path: String,
    follow: bool,
}

impl Watched {
    /// The next frame, with what follows it; `None` at the end.
    async fn next(mut self) -> Result<Option<(StreamFrame, Self)>, Error> {
        loop {
            let Some(file) = self.file.take() else { return Ok(None) };
            let meta = metadata(&file, &self.path)?;
            if meta.len() < self.offset && self.follow {
                self.offset = 0;
                self.file = Some(file);
                let frame = event(&self.path, StreamFrame::TRUNCATED);
                return Ok(Some((frame, self)));
            }
            let (file, bytes) = read_at(file, self.offset, PIECE, &self.path).await?;
            if !bytes.is_empty() {
                self.offset += bytes.len() as u64;
                let frame = piece(&self.path, self.offset, bytes);
                self.file = Some(file);
                return Ok(Some((frame, self)));
            }
            if !self.follow {
                return Ok(None);
            }
            if meta.nlink() == 0 {
                let frame = event(&self.path, StreamFrame::DELETED);
                return Ok(Some((frame, self)));
            }
            self.file = Some(file);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// A frame with bytes; `offset` is the position after them.
pub(super) fn piece(path: &str, offset: u64, bytes: Bytes) -> StreamFrame {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    StreamFrame { offset, data: Blob(bytes), file: path.to_owned(), file_event: String::new() }
}

fn event(path: &str, event: &str) -> StreamFrame {
    StreamFrame { file: path.to_owned(), file_event: event.to_owned(), ..StreamFrame::default() }
}

/// Reads at most `length` bytes, none at the end of the file.
pub(super) async fn read_at(file: File, offset: u64, length: u64, path: &str) -> Result<(File, Bytes), Error> {
    let path = path.to_owned();
    blocking(move || {
        let mut buffer = vec![0; usize::try_from(length).unwrap_or(0)];
        let read = file.read_at(&mut buffer, offset).map_err(|error| failed(&path, &error))?;
        buffer.truncate(read);
        Ok((file, Bytes::from(buffer)))
    })
    .await
}

/// Runs what may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(error.to_string()))?
}

/// The path from the root, with `.` for the root itself. What a `..` leads to is for the kernel to say.
fn relative(path: &str) -> Result<PathBuf, Error> {
    if path.contains('\0') {
        return Err(Error::invalid("the path must not hold a zero byte"));
    }
    let trimmed = path.trim_start_matches('/');
    Ok(PathBuf::from(if trimmed.is_empty() { "." } else { trimmed }))
}

/// Whether a place beneath the root is a task's `secrets` or `private`, or in it.
fn is_secret(real: &Path) -> bool {
    let mut parts = real.components().map(Component::as_os_str);
    let (task, below) = (parts.next(), parts.next());
    task.is_some_and(|task| task != "alloc") && below.is_some_and(|below| below == "secrets" || below == "private")
}

fn metadata(file: &File, path: &str) -> Result<Metadata, Error> {
    file.metadata().map_err(|error| failed(path, &error))
}

fn escapes(path: &str) -> Error {
    Error::invalid(format!("Path escapes the alloc directory: {path}"))
}

pub(super) fn failed(path: &str, error: &io::Error) -> Error {
    if error.raw_os_error() == Some(rustix::io::Errno::XDEV.raw_os_error()) {
        return escapes(path);
    }
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Error::not_found(format!("{path}: no such file or directory"))
        }
        ErrorKind::PermissionDenied => {
            Error::new(orch_http::Kind::Forbidden, format!("{path}: the agent may not read this"))
        }
        _ => Error::internal(format!("{path}: {error}")),
    }
}

fn info(name: &str, meta: &Metadata, file: Option<&File>) -> FileInfo {
    let modified = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
    FileInfo {
        name: name.to_owned(),
        is_dir: meta.is_dir(),
        size: i64::try_from(meta.len()).unwrap_or(i64::MAX),
        file_mode: mode_text(meta),
        mod_time: Time(Timestamp(modified)),
        content_type: file.filter(|_| meta.is_file()).map_or_else(String::new, content_type),
    }
}

fn mode_text(meta: &Metadata) -> String {
    let kind = meta.file_type();
    let first = if kind.is_dir() {
        'd'
    } else if kind.is_fifo() {
        'p'
    } else if kind.is_socket() {
        'S'
    } else if kind.is_char_device() || kind.is_block_device() {
        'D'
    } else {
        '-'
    };
    let bits = (0..9).rev().zip("rwxrwxrwx".chars());
    let bits: String = bits.map(|(bit, letter)| if meta.mode() >> bit & 1 == 1 { letter } else { '-' }).collect();
    // A sticky directory reads `dtrwxrwxrwx`.
    let sticky = if meta.is_dir() && meta.mode() & 0o1000 != 0 { "t" } else { "" };
    format!("{first}{sticky}{bits}")
}

/// A media type guessed from the first bytes.
fn content_type(file: &File) -> String {
    let mut buffer = [0; SNIFF];
    let read = file.read_at(&mut buffer, 0).unwrap_or(0);
    let start = buffer.get(..read).unwrap_or_default();
    let lower = String::from_utf8_lossy(start).trim_start().to_ascii_lowercase();
    let known: &[(&[u8], &str)] = &[
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
        (b"%PDF-", "application/pdf"),
        (b"\x1f\x8b\x08", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
    ];
    if let Some((_, name)) = known.iter().find(|(magic, _)| start.starts_with(magic)) {
        return (*name).to_owned();
    }
    let text = !start.iter().any(|byte| matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31));
    let kind = if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        "text/html; charset=utf-8"
    } else if lower.starts_with("<?xml") {
        "text/xml; charset=utf-8"
    } else if text {
        "text/plain; charset=utf-8"
    } else {
        "application/octet-stream"
    };
    kind.to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use orch_http::Kind;

    use super::*;

    fn alloc() -> (tempfile::TempDir, Files) {
        let top = tempfile::tempdir().unwrap();
        let root = top.path().join("a");
        for dir in ["alloc/logs", "web/secrets", "web/local"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        std::fs::write(top.path().join("outside"), "no").unwrap();
        std::fs::write(root.join("web/secrets/token"), "no").unwrap();
        std::fs::write(root.join("web/local/page"), "<html>hello").unwrap();
        symlink(top.path().join("outside"), root.join("web/local/absolute")).unwrap();
        symlink("../../../outside", root.join("web/local/climbing")).unwrap();
        symlink("../secrets/token", root.join("web/local/sneaky")).unwrap();
        symlink("page", root.join("web/local/inside")).unwrap();
        let files = Files { root };
        (top, files)
    }

    async fn text(files: &Files, path: &str) -> Result<String, Error> {
        let pieces: Vec<_> = files.clone().read(path, 0, None).await?.collect().await;
        let bytes: Result<Vec<Bytes>, Error> = pieces.into_iter().collect();
        Ok(String::from_utf8(bytes?.concat()).unwrap())
    }

    #[tokio::test]
    async fn no_path_leads_out_of_the_allocation_or_into_secrets() {
        let (_top, files) = alloc();
        assert_eq!(text(&files, "/web/local/inside").await.unwrap(), "<html>hello");
        for (path, kind) in [
            ("../outside", Kind::Invalid),
            ("web/local/../../../outside", Kind::Invalid),
            ("web/local/absolute", Kind::Invalid),
            ("web/local/climbing", Kind::Invalid),
            ("web/local/sneaky", Kind::Forbidden),
            ("web/secrets/token", Kind::Forbidden),
            ("web/local/../secrets/token", Kind::Forbidden),
            ("web/local/none", Kind::NotFound),
            ("web/local", Kind::Invalid),
        ] {
            assert_eq!(text(&files, path).await.unwrap_err().kind(), kind, "{path}");
        }
        assert_eq!(files.clone().list("web/secrets").await.unwrap_err().kind(), Kind::Forbidden);
        assert_eq!(files.list("..").await.unwrap_err().kind(), Kind::Invalid);
    }

    #[tokio::test]
    async fn a_listing_tells_names_kinds_and_sizes() {
        let (_top, files) = alloc();
        let found = files.clone().list("web/local").await.unwrap();
        let names: Vec<_> = found.iter().map(|info| info.name.as_str()).collect();
        assert_eq!(names, ["inside", "page", "sneaky"], "links that lead out are not shown");
        let sneaky = found.iter().find(|info| info.name == "sneaky").unwrap();
        assert_eq!(sneaky.content_type, "", "nobody looks into a secret");
        let page = files.clone().stat("web/local/page").await.unwrap();
        assert_eq!((page.size, page.is_dir), (11, false));
        assert_eq!(page.content_type, "text/html; charset=utf-8");
        assert!(page.file_mode.starts_with("-rw"), "{}", page.file_mode);
        assert_eq!(files.stat("/").await.unwrap().name, "/");
    }

    #[tokio::test(start_paused = true)]
    async fn a_followed_file_tells_growth_truncation_and_deletion() {
        let (top, files) = alloc();
        let path = top.path().join("a/web/local/page");
        let position = Position { origin: Origin::End, offset: 5 };
        let mut frames = files.stream("web/local/page", position, true).await.unwrap();
        let frame = frames.next().await.unwrap().unwrap();
        assert_eq!((frame.data.0.as_ref(), frame.offset), (b"hello".as_slice(), 11));
        std::fs::write(&path, "new").unwrap();
        assert_eq!(frames.next().await.unwrap().unwrap().file_event, StreamFrame::TRUNCATED);
        assert_eq!(frames.next().await.unwrap().unwrap().data.0.as_ref(), b"new");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(frames.next().await.unwrap().unwrap().file_event, StreamFrame::DELETED);
        assert!(frames.next().await.is_none());
    }
}
