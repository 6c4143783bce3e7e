//! A log file that is put aside when it is large or old enough.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use orch_config::LogFile;
use tracing_subscriber::fmt::MakeWriter;

/// The file that is written, and the rules of putting it aside.
#[derive(Debug)]
pub(super) struct RotatedFile {
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    rules: LogFile,
    file: File,
    written: u64,
    since: Instant,
}

impl RotatedFile {
    /// Opens the file and writes at its end; its directory is made if it is missing.
    pub(super) fn open(rules: LogFile) -> io::Result<Self> {
        if let Some(directory) = rules.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let (file, written) = open(&rules.path)?;
        Ok(Self { current: Mutex::new(Current { rules, file, written, since: Instant::now() }) })
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let written = file.metadata()?.len();
    Ok((file, written))
}

impl Current {
    fn rotate_if_due(&mut self, more: usize) -> io::Result<()> {
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        let full = self.rules.rotate_bytes > 0 && self.written.saturating_add(more) > self.rules.rotate_bytes;
        let old = !self.rules.rotate_after.is_zero() && self.since.elapsed() >= self.rules.rotate_after;
        if self.written == 0 || !(full || old) {
            return Ok(());
        }
        fs::rename(&self.rules.path, aside(&self.rules.path))?;
        (self.file, self.written) = open(&self.rules.path)?;
        self.since = Instant::now();
        if self.rules.max_files > 0 {
            let mut older = put_aside(&self.rules.path)?;
            older.sort();
            let surplus = older.len().saturating_sub(self.rules.max_files);
            for file in older.drain(..surplus) {
                fs::remove_file(file)?;
            }
        }
        Ok(())
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

/// One message being written.
#[derive(Debug)]
pub(super) struct Writing<'f>(MutexGuard<'f, Current>);

impl Write for Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.rotate_if_due(bytes.len())?;
        let written = self.0.file.write(bytes)?;
        self.0.written = self.0.written.saturating_add(u64::try_from(written).unwrap_or(0));
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.file.flush()
    }
}

impl<'f> MakeWriter<'f> for RotatedFile {
    type Writer = Writing<'f>;

    fn make_writer(&'f self) -> Writing<'f> {
        Writing(self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_only_so_many_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orch.log");
        let rules = LogFile { path: path.clone(), rotate_bytes: 8, rotate_after: Duration::ZERO, max_files: 2 };
        let file = RotatedFile::open(rules).unwrap();
        for number in 0..5 {
            writeln!(file.make_writer(), "line {number}").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "line 4\n");
        let mut older = put_aside(&path).unwrap();
        older.sort();
        let texts: Vec<String> = older.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        assert_eq!(texts, ["line 2\n", "line 3\n"]);
    }
}
