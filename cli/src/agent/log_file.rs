//! A log file that is put aside when it is large or old enough.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use orch_config::LogFile;

/// How long a rotation that failed is not tried again.
const PAUSE: Duration = Duration::from_secs(10);

/// The file that is written, and the rules of putting it aside.
#[derive(Debug)]
pub(super) struct RotatedFile {
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    rules: LogFile,
    file: File,
    /// Bytes in it.
    written: u64,
    /// How old it was when it was opened, and when that was.
    opened: (Duration, Instant),
    /// When a rotation failed last.
    failed: Option<Instant>,
}

impl RotatedFile {
    /// Opens the file and writes at its end; its directory is made if it is missing.
    pub(super) fn open(rules: LogFile) -> io::Result<Self> {
        if let Some(directory) = rules.path.parent() {
            fs::create_dir_all(directory)?;
        }
        Ok(Self { current: Mutex::new(Current::open(rules)?) })
    }

    /// Opens the file of that name again, which may be another one by now.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut current = self.lock();
        *current = Current::open(current.rules.clone())?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Current {
    fn open(rules: LogFile) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&rules.path)?;
        let found = file.metadata()?;
        // Where the file system does not say when a file was made, it is as old as this start of the agent.
        let age = found.created().ok().and_then(|made| made.elapsed().ok()).unwrap_or_default();
        Ok(Self { rules, written: found.len(), file, opened: (age, Instant::now()), failed: None })
    }

    fn is_due(&self, more: usize) -> bool {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        let full = self.rules.rotate_bytes > 0 && self.written.saturating_add(more) > self.rules.rotate_bytes;
        let (age, since) = self.opened;
        let old = !self.rules.rotate_after.is_zero() && age + since.elapsed() >= self.rules.rotate_after;
        self.written > 0 && (full || old) && self.failed.is_none_or(|at| at.elapsed() >= PAUSE)
    }

    /// Puts the file aside and begins a new one. What fails leaves the file as it is: a message is worth more than its place.
    fn rotate(&mut self) {
        let rotated = fs::rename(&self.rules.path, aside(&self.rules.path))
            .and_then(|()| Self::open(self.rules.clone()))
            .map(|new| *self = new);
        let swept = rotated.and_then(|()| self.sweep());
        // There is nowhere to say it: this is where messages go.
        self.failed = swept.is_err().then(Instant::now);
    }

    /// Removes the oldest of those put aside beyond what is kept.
    fn sweep(&self) -> io::Result<()> {
        let Some(kept) = self.rules.max_files else { return Ok(()) };
        let mut older = put_aside(&self.rules.path)?;
        older.sort();
        let surplus = older.len().saturating_sub(kept);
        older.drain(..surplus).try_for_each(fs::remove_file)
    }
}

/// The name under which the file is put aside: `orch-<nanoseconds since 1970>.log`.
fn aside(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|text| format!(".{}", text.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{:020}{extension}", jiff::Timestamp::now().as_nanosecond()))
}

/// The files that were put aside, of which the oldest sorts first.
fn put_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{}-", path.file_stem().unwrap_or_default().to_string_lossy());
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let number =
            stem.strip_prefix(&prefix).is_some_and(|rest| rest.len() == 20 && rest.bytes().all(|b| b.is_ascii_digit()));
        if number && file.extension() == path.extension() {
            found.push(file);
        }
    }
    Ok(found)
}

impl Write for &RotatedFile {
    /// Writes a message, which comes whole.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut current = self.lock();
        if current.is_due(bytes.len()) {
            current.rotate();
        }
        let written = current.file.write(bytes)?;
        current.written = current.written.saturating_add(u64::try_from(written).unwrap_or(0));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lock().file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(dir: &tempfile::TempDir) -> LogFile {
        let path = dir.path().join("orch.log");
        LogFile { path, rotate_bytes: 8, rotate_after: Duration::ZERO, max_files: None }
    }

    fn say(mut file: &RotatedFile, line: std::fmt::Arguments<'_>) {
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn older(path: &Path) -> Vec<String> {
        let mut older = put_aside(path).unwrap();
        older.sort();
        older.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn a_full_file_is_put_aside_and_only_so_many_are_kept() {
        for (max_files, kept) in [
            (Some(2), ["line 2\n", "line 3\n"].as_slice()),
            (Some(0), &[]),
            (None, &["line 0\n", "line 1\n", "line 2\n", "line 3\n"]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let rules = LogFile { max_files, ..rules(&dir) };
            let path = rules.path.clone();
            let file = RotatedFile::open(rules).unwrap();
            for number in 0..5 {
                say(&file, format_args!("line {number}"));
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), "line 4\n");
            assert_eq!(older(&path), kept);
        }
    }

    #[test]
    fn a_file_is_old_by_when_it_was_made_not_by_when_the_agent_started() {
        let dir = tempfile::tempdir().unwrap();
        let rules = LogFile { rotate_bytes: 0, rotate_after: Duration::from_nanos(1), ..rules(&dir) };
        fs::write(&rules.path, "yesterday\n").unwrap();
        let file = RotatedFile::open(rules.clone()).unwrap();
        say(&file, format_args!("today"));
        assert_eq!(fs::read_to_string(&rules.path).unwrap(), "today\n");
        assert_eq!(older(&rules.path), ["yesterday\n"]);
    }

    #[test]
    fn nothing_is_lost_where_a_file_cannot_be_put_aside_and_one_moved_away_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let rules = rules(&dir);
        let file = RotatedFile::open(rules.clone()).unwrap();
        say(&file, format_args!("first line"));
        fs::rename(&rules.path, dir.path().join("moved")).unwrap();
        say(&file, format_args!("second line"));
        assert_eq!(fs::read_to_string(dir.path().join("moved")).unwrap(), "first line\nsecond line\n");
        file.reopen().unwrap();
        say(&file, format_args!("third line"));
        assert_eq!(fs::read_to_string(&rules.path).unwrap(), "third line\n");
    }
}
