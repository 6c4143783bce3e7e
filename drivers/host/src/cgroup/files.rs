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
    Table::read(path).get(key)
}

/// A file of `key value` lines; empty where there is none.
pub(super) struct Table(String);

impl Table {
    pub(super) fn read(path: &Path) -> Self {
        Self(std::fs::read_to_string(path).unwrap_or_default())
    }

    /// The number behind `key`.
    pub(super) fn get(&self, key: &str) -> Option<u64> {
        self.0.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
    }

    /// The sum of all `key=number` in it, as version 2 tells what each device has moved; `None` if there is no such file.
    pub(super) fn sum(&self, key: &str) -> Option<u64> {
        if self.0.is_empty() {
            return None;
        }
        let numbers = self.0.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        Some(numbers.filter_map(|number| number.parse::<u64>().ok()).sum())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_whole_and_devices_are_added_up() {
        let table = Table("usage_usec 7\nuser_usec 5\nuser 3\n".to_owned());
        assert_eq!([table.get("user"), table.get("usage_usec"), table.get("usage")], [Some(3), Some(7), None]);
        let devices = Table("8:0 rbytes=10 wbytes=1 rios=2\n8:16 rbytes=5 wbytes=2 rios=1\n".to_owned());
        assert_eq!([devices.sum("rbytes"), devices.sum("wbytes"), devices.sum("none")], [Some(15), Some(3), Some(0)]);
        assert_eq!(Table(String::new()).sum("rbytes"), None);
    }
}
