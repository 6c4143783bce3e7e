//! Resource limits: the ones the agent was started with, and raising them for itself.

use std::fmt;
use std::io;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Warning;

/// How many kinds of limit Linux has (`RLIM_NLIMITS`).
const KINDS: u32 = 16;
/// `RLIMIT_NOFILE` has this number on every architecture we run on.
const NOFILE: u32 = 7;

/// The soft and hard value of every limit at one moment.
///
/// The agent raises some of its own; what it starts gets those back that it was started with itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalLimits {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    kind: u32,
    soft: u64,
    hard: u64,
}

impl OriginalLimits {
    /// The limits of this process now: to be called before any is changed.
    pub fn capture() -> Self {
        let entries =
            (0..KINDS).filter_map(|kind| get(kind).ok().map(|(soft, hard)| Entry { kind, soft, hard })).collect();
        Self { entries }
    }

    /// Puts them back in this process and calls `refused` with the errno of each that the host does not allow.
    ///
    /// Async-signal-safe as long as `refused` is: it allocates nothing, so it may run between fork and exec.
    pub fn restore(&self, mut refused: impl FnMut(i32)) {
        for entry in &self.entries {
            if let Err(errno) = set_raw(entry.kind, entry.soft, entry.hard) {
                refused(errno);
            }
        }
    }

    /// Drops those that this process has anyway, so that restoring costs a call only for what differs.
    ///
    /// For a process that changes none of its limits any more, and hands its own on to its children.
    pub fn forget_current(&mut self) {
        self.entries.retain(|entry| get(entry.kind).ok() != Some((entry.soft, entry.hard)));
    }

    /// Soft and hard limit of open files.
    pub fn open_files(&self) -> Option<(u64, u64)> {
        self.entries.iter().find(|entry| entry.kind == NOFILE).map(|entry| (entry.soft, entry.hard))
    }
}

/// `kind:soft:hard,…`, numbers only: for a command line.
impl fmt::Display for OriginalLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Entry { kind, soft, hard }) in self.entries.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{kind}:{soft}:{hard}")?;
        }
        Ok(())
    }
}

/// The text is no list of limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no resource limit: write kind:soft:hard")]
pub struct ParseLimitsError(String);

impl FromStr for OriginalLimits {
    type Err = ParseLimitsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let entry = |part: &str| {
            let mut numbers = part.splitn(3, ':');
            let kind = numbers.next()?.parse().ok()?;
            let soft = numbers.next()?.parse().ok()?;
            let hard = numbers.next()?.parse().ok()?;
            Some(Entry { kind, soft, hard })
        };
        let entries = text
            .split(',')
            .filter(|part| !part.is_empty())
            .map(|part| entry(part).ok_or_else(|| ParseLimitsError(part.to_owned())))
            .collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }
}

/// Raises the limit of open files of this process to `wanted`, or as far as the host allows.
///
/// Returns the limit that now holds, and a warning if it is less than `wanted`.
pub fn raise_open_files(wanted: u64) -> io::Result<(u64, Option<Warning>)> {
    let (soft, hard) = get(NOFILE)?;
    if soft >= wanted {
        return Ok((soft, None));
    }
    if set_raw(NOFILE, wanted, hard.max(wanted)).is_ok() {
        return Ok((wanted, None));
    }
    let clamped = wanted.min(hard);
    set_raw(NOFILE, clamped, hard).map_err(io::Error::from_raw_os_error)?;
    let warning = (clamped < wanted).then(|| {
        Warning::without_path(format!("raising the limit of open files from {clamped} to {wanted}"), libc::EPERM)
    });
    Ok((clamped, warning))
}

fn get(kind: u32) -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let none: *const libc::rlimit64 = std::ptr::null();
    // SAFETY: the last argument points to a rlimit64 that lives through the call; pid 0 is this process.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, 0, kind, none, &raw mut limit) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok((limit.rlim_cur, limit.rlim_max)) }
}

fn set_raw(kind: u32, soft: u64, hard: u64) -> Result<(), i32> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    let none: *mut libc::rlimit64 = std::ptr::null_mut();
    // SAFETY: the third argument points to a rlimit64 that lives through the call; pid 0 is this process.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, 0, kind, &raw const limit, none) };
    // SAFETY: errno is a thread-local integer of the C library.
    if result < 0 { Err(unsafe { *libc::__errno_location() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_their_way_through_a_command_line() {
        let limits = OriginalLimits::capture();
        assert!(limits.open_files().is_some());
        assert_eq!(limits.to_string().parse::<OriginalLimits>().unwrap(), limits);
        assert!("7:12".parse::<OriginalLimits>().is_err());
    }

    #[test]
    fn an_impossible_limit_is_clamped_with_a_warning() {
        let before = OriginalLimits::capture();
        let (now, warning) = raise_open_files(u64::from(u32::MAX)).unwrap();
        assert_eq!(now < u64::from(u32::MAX), warning.is_some());
        let mut refused = Vec::new();
        before.restore(|errno| refused.push(errno));
        assert_eq!(refused, []);
        let mut changed = before.clone();
        changed.forget_current();
        assert_eq!(
            changed.open_files(),
            (before != OriginalLimits::capture()).then_some(before.open_files()).flatten()
        );
    }
}
