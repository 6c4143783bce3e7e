//! The names of rotated log files: `<task>.<stdout|stderr>.<index>`, where the index only ever grows.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Which of a task's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// Both, in the order of their descriptors.
    pub const BOTH: [Self; 2] = [Self::Stdout, Self::Stderr];
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        })
    }
}

/// The path of the file with `index`.
pub fn path(directory: &Path, task: &str, stream: Stream, index: u64) -> PathBuf {
    directory.join(format!("{task}.{stream}.{index}"))
}

/// The indexes that exist, ascending. Files of other tasks and streams are not among them.
pub fn indexes(directory: &Path, task: &str, stream: Stream) -> io::Result<Vec<u64>> {
    let prefix = format!("{task}.{stream}.");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let name = entry?.file_name();
        let index =
            name.to_str().and_then(|name| name.strip_prefix(&prefix)).and_then(|index| index.parse::<u64>().ok());
        found.extend(index);
    }
    found.sort_unstable();
    Ok(found)
}

/// Removes the oldest files so that at most `keep` remain; an error names the first that could not be removed.
pub fn prune(directory: &Path, task: &str, stream: Stream, keep: u32) -> io::Result<()> {
    let found = indexes(directory, task, stream)?;
    let keep = usize::try_from(keep.max(1)).unwrap_or(usize::MAX);
    let surplus = found.len().saturating_sub(keep);
    let mut result = Ok(());
    for index in found.into_iter().take(surplus) {
        match std::fs::remove_file(path(directory, task, stream, index)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => result = result.and(Err(error)),
            _ => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_oldest_files_of_the_same_stream_are_pruned() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["web.stdout.8", "web.stdout.9", "web.stdout.10", "web.stderr.0", "web.stdout.x", "web2.stdout.1"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        assert_eq!(indexes(directory.path(), "web", Stream::Stdout).unwrap(), [8, 9, 10]);
        prune(directory.path(), "web", Stream::Stdout, 2).unwrap();
        assert_eq!(indexes(directory.path(), "web", Stream::Stdout).unwrap(), [9, 10]);
        assert_eq!(indexes(directory.path(), "web", Stream::Stderr).unwrap(), [0]);
        assert!(directory.path().join("web2.stdout.1").exists());
    }
}
