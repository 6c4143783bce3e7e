//! The first process of a process namespace: reaps orphans, passes signals on, and ends with the task.
//!
//! The kernel spares such a process every signal that it does not handle itself, so a task in its place could not be interrupted or
//! terminated as usual. This one is a copy of the supervisor that has given its memory back; it makes system calls only, and never returns.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::RawFd;

use crate::sys;

/// How many ranges of memory are given back; the largest ones, should there be more.
const RANGES: usize = 48;
/// The capability to signal processes of other users: all that is kept.
const CAP_KILL: u64 = 1 << 5;

/// The memory of this process that a copy of it can do without: where `malloc` and other threads keep theirs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spare([(usize, usize); RANGES]);

impl Default for Spare {
    fn default() -> Self {
        Self([(0, 0); RANGES])
    }
}

impl Spare {
    /// Looks through the memory map. Finds nothing where that cannot be read.
    pub(super) fn find() -> Self {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
        let here = 0u8;
        // The C library keeps errno with whatever else belongs to the thread, and the stack is in use.
        // SAFETY: only the address is taken.
        let errno = unsafe { libc::__errno_location() }.addr();
        Self::of(&maps, [errno, (&raw const here).addr()])
    }

    fn of(maps: &str, used: [usize; 2]) -> Self {
        let mut found: Vec<(usize, usize)> = Vec::new();
        let mut end_of_file = 0;
        for line in maps.lines() {
            let mut words = line.split_ascii_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let Some((Ok(start), Ok(end))) =
                range.map(|(start, end)| (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16)))
            else {
                continue;
            };
            let private = words.next().is_some_and(|mode| mode.starts_with("rw") && mode.ends_with('p'));
            let name = words.nth(3);
            // Right behind a file lies what belongs to the program itself.
            let of_program = name.is_none() && start == end_of_file;
            if name.is_some_and(|name| name.starts_with('/')) || of_program {
                end_of_file = end;
            }
            let anonymous = name.is_none_or(|name| name == "[heap]" || name.starts_with("[anon"));
            if private && anonymous && !of_program && !used.iter().any(|address| (start..end).contains(address)) {
                found.push((start, end - start));
            }
        }
        found.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
        let mut ranges = [(0, 0); RANGES];
        ranges.iter_mut().zip(found).for_each(|(range, found)| *range = found);
        Self(ranges)
    }
}

/// Waits for the end of `task`, tells its raw status to `status`, and ends.
///
/// # Safety
/// Only in a forked child with one thread and every signal blocked: it takes away all descriptors and memory that anything else would need.
pub(super) unsafe fn run(task: i32, status: RawFd, spare: &Spare) -> ! {
    // On the stack, as what it was is about to go.
    let spare = *spare;
    // SAFETY: system calls on numbers, on memory of this stack, and on memory that nothing below uses.
    unsafe {
        libc::syscall(libc::SYS_close_range, 0, status - 1, 0);
        libc::syscall(libc::SYS_close_range, status + 1, libc::c_uint::MAX, 0);
        libc::syscall(libc::SYS_prctl, libc::PR_SET_NAME, c"orch-init".as_ptr(), 0, 0, 0);
        // A task of the same user must not look into it. What fails here leaves it as able as it was, which nobody can make use of.
        let _as_able = sys::hide_process().and_then(|()| sys::set_capabilities(CAP_KILL));
        for (start, length) in spare.0 {
            if length > 0 {
                libc::syscall(libc::SYS_munmap, start, length);
            }
        }
        let all = [u64::MAX; 1];
        loop {
            let mut raw: libc::c_int = 0;
            let nobody = std::ptr::null_mut::<libc::c_void>();
            let ended = libc::syscall(libc::SYS_wait4, -1, &raw mut raw, libc::WNOHANG, nobody);
            if ended == libc::c_long::from(task) {
                libc::syscall(libc::SYS_write, status, &raw const raw, size_of::<libc::c_int>());
                let code = if libc::WIFSIGNALED(raw) { 128 + libc::WTERMSIG(raw) } else { libc::WEXITSTATUS(raw) };
                libc::syscall(libc::SYS_exit_group, code);
            }
            if ended > 0 {
                continue;
            }
            let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
            let forever = std::ptr::null::<libc::timespec>();
            let signal =
                libc::syscall(libc::SYS_rt_sigtimedwait, all.as_ptr(), info.as_mut_ptr(), forever, size_of::<u64>());
            if signal > 0 && signal != libc::c_long::from(libc::SIGCHLD) {
                // Before its setsid the task has no group of its own.
                if libc::syscall(libc::SYS_kill, -task, signal) < 0 {
                    libc::syscall(libc::SYS_kill, task, signal);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_heap_goes_and_what_the_program_stands_on_stays() {
        let maps = "\
55d0-55e0 r-xp 00000000 08:01 11 /usr/bin/orch
55e0-55f0 rw-p 00010000 08:01 11 /usr/bin/orch
55f0-5600 rw-p 00000000 00:00 0 
6000-6100 rw-p 00000000 00:00 0          [heap]
7000-7010 rw-p 00000000 00:00 0 
7020-7060 rw-p 00000000 00:00 0 
7060-7070 ---p 00000000 00:00 0 
7100-7200 rw-s 00000000 00:01 5 /memfd:x (deleted)
7f00-8000 rw-p 00000000 00:00 0          [stack]
";
        let found = Spare::of(maps, [0x7005, 0x7f80]);
        let found: Vec<_> = found.0.into_iter().filter(|(_, length)| *length > 0).collect();
        assert_eq!(found, [(0x6000, 0x100), (0x7020, 0x40)]);
    }

    #[test]
    fn this_very_process_has_memory_to_spare() {
        assert!(Spare::find().0.iter().any(|(_, length)| *length > 0));
    }
}
