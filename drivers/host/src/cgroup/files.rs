//! Reading and writing the small files of a group.

use std::io;
use std::path::Path;

use crate::Warning;

/// Writes `value`, or says what could not be done.
pub(super) fn write(action: &str, path: &Path, value: &str) -> Option<Warning> {
    // Opened without O_CREAT: where a controller is missing the file is, and the answer should be ENOENT.
    let result = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    result.err().map(|error| Warning::new(action, path, &error))
}

/// The number in a file that holds one.
pub(super) fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number behind `key` in a file of `key value` lines.
pub(super) fn keyed(path: &Path, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The process ids in a `cgroup.procs`. Empty if the group has gone.
pub(super) fn processes(directory: &Path) -> io::Result<Vec<i32>> {
    match std::fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.trim().parse().ok()).collect()),
        Err(error) if is_gone(&error) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Whether `error` says that the group was removed.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}
