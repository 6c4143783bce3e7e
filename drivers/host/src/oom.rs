//! The score by which the kernel picks a victim when memory runs out.

use std::io;

use crate::Warning;

/// The smallest and largest value that the kernel knows.
pub const RANGE: std::ops::RangeInclusive<i32> = -1000..=1000;

/// The file through which a process changes its own score.
pub const OWN_FILE: &std::ffi::CStr = c"/proc/self/oom_score_adj";

/// `score` within what the kernel knows.
pub fn clamp(score: i32) -> i32 {
    score.clamp(*RANGE.start(), *RANGE.end())
}

/// The score of `pid`.
pub fn get(pid: i32) -> io::Result<i32> {
    let text = std::fs::read_to_string(path(pid))?;
    text.trim().parse().map_err(io::Error::other)
}

/// Sets the score of `pid` and returns the one that now holds.
///
/// Lowering it below the present value may be refused; the present value then stays, with a warning.
pub fn set(pid: i32, score: i32) -> io::Result<(i32, Option<Warning>)> {
    let wanted = clamp(score);
    match std::fs::write(path(pid), wanted.to_string()) {
        Ok(()) => Ok((wanted, None)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {
            let warning = Warning::new(format!("lowering the out-of-memory score to {wanted}"), path(pid), &error);
            Ok((get(pid)?, Some(warning)))
        }
        Err(error) => Err(error),
    }
}

fn path(pid: i32) -> String {
    format!("/proc/{pid}/oom_score_adj")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_score_is_raised_and_one_out_of_range_is_clamped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert_eq!(set(pid, 2000).unwrap(), (1000, None));
        assert_eq!(get(pid).unwrap(), 1000);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
