//! The system call filter of a task: what reaches for the host is refused, everything else goes through.
//!
//! The program is written out here rather than by a library, as it has to refuse the second system call table of x86-64 too, through which
//! everything else could be had.

use crate::capabilities::Capabilities;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;

/// Where the number of the call, its table, and the lower half of its first argument stand.
const NUMBER: u32 = 0;
const TABLE: u32 = 4;
const FIRST: u32 = 16;

#[cfg(target_arch = "x86_64")]
const OUR_TABLE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const OUR_TABLE: u32 = 0xc000_00b7;
/// The first number of the second table of x86-64.
const SECOND_TABLE: u32 = 0x4000_0000;

const PERMITTED_NEVER: &str = "";

/// What is refused, and the capability with which it is not.
const REFUSED: &[(libc::c_long, &str)] = &[
    (libc::SYS_mount, "sys_admin"),
    (libc::SYS_umount2, "sys_admin"),
    (libc::SYS_pivot_root, "sys_admin"),
    (libc::SYS_fsopen, "sys_admin"),
    (libc::SYS_fsconfig, "sys_admin"),
    (libc::SYS_fsmount, "sys_admin"),
    (libc::SYS_fspick, "sys_admin"),
    (libc::SYS_open_tree, "sys_admin"),
    (libc::SYS_move_mount, "sys_admin"),
    (libc::SYS_mount_setattr, "sys_admin"),
    (libc::SYS_setns, "sys_admin"),
    (libc::SYS_unshare, "sys_admin"),
    (libc::SYS_quotactl, "sys_admin"),
    (libc::SYS_swapon, "sys_admin"),
    (libc::SYS_swapoff, "sys_admin"),
    (libc::SYS_fanotify_init, "sys_admin"),
    (libc::SYS_lookup_dcookie, "sys_admin"),
    (libc::SYS_bpf, "sys_admin"),
    (libc::SYS_perf_event_open, "sys_admin"),
    (libc::SYS_ptrace, "sys_ptrace"),
    (libc::SYS_process_vm_readv, "sys_ptrace"),
    (libc::SYS_process_vm_writev, "sys_ptrace"),
    (libc::SYS_kcmp, "sys_ptrace"),
    (libc::SYS_pidfd_getfd, "sys_ptrace"),
    (libc::SYS_init_module, "sys_module"),
    (libc::SYS_finit_module, "sys_module"),
    (libc::SYS_delete_module, "sys_module"),
    (libc::SYS_kexec_load, "sys_boot"),
    (libc::SYS_reboot, "sys_boot"),
    (libc::SYS_acct, "sys_pacct"),
    (libc::SYS_settimeofday, "sys_time"),
    (libc::SYS_clock_settime, "sys_time"),
    (libc::SYS_clock_adjtime, "sys_time"),
    (libc::SYS_open_by_handle_at, "dac_read_search"),
    (libc::SYS_syslog, "syslog"),
    (libc::SYS_vhangup, "sys_tty_config"),
    // Not of any namespace, or too often a way out.
    (libc::SYS_add_key, PERMITTED_NEVER),
    (libc::SYS_keyctl, PERMITTED_NEVER),
    (libc::SYS_request_key, PERMITTED_NEVER),
    (libc::SYS_userfaultfd, PERMITTED_NEVER),
    (libc::SYS_io_uring_setup, PERMITTED_NEVER),
    (libc::SYS_io_uring_enter, PERMITTED_NEVER),
    (libc::SYS_io_uring_register, PERMITTED_NEVER),
    (libc::SYS_nfsservctl, PERMITTED_NEVER),
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[(libc::c_long, &str)] = &[
    (libc::SYS_kexec_file_load, "sys_boot"),
    (libc::SYS_iopl, "sys_rawio"),
    (libc::SYS_ioperm, "sys_rawio"),
    (libc::SYS_uselib, PERMITTED_NEVER),
    (libc::SYS_ustat, PERMITTED_NEVER),
    (libc::SYS_sysfs, PERMITTED_NEVER),
    (libc::SYS__sysctl, PERMITTED_NEVER),
];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[(libc::c_long, &str)] = &[];

/// `CLONE_NEW…` of everything but time, which `clone` cannot make new.
const NEW_NAMESPACES: u32 =
    0x0002_0000 | 0x0200_0000 | 0x0400_0000 | 0x0800_0000 | 0x1000_0000 | 0x2000_0000 | 0x4000_0000;

/// The filter for a task that has `capabilities`, as instructions of eight bytes each.
///
/// What is refused answers `EPERM`. `clone3`, whose flags a filter cannot see, answers `ENOSYS`, and programs fall back to `clone`.
/// 32-bit programs are ended, as their calls have other numbers.
pub(crate) fn program(capabilities: Capabilities) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD, 0, 0, TABLE),
        instruction(JUMP_EQUAL, 1, 0, OUR_TABLE),
        instruction(RETURN, 0, 0, KILL),
        instruction(LOAD, 0, 0, NUMBER),
        instruction(JUMP_AT_LEAST, 0, 1, SECOND_TABLE),
        instruction(RETURN, 0, 0, ERRNO | errno(libc::ENOSYS)),
    ];
    let lifted = |by: &str| Capabilities::of(by).is_ok_and(|needed| capabilities.contains(needed));
    for (call, _) in REFUSED.iter().chain(REFUSED_HERE).filter(|(_, by)| !lifted(by)) {
        program.push(instruction(JUMP_EQUAL, 0, 1, number(*call)));
        program.push(instruction(RETURN, 0, 0, ERRNO | errno(libc::EPERM)));
    }
    if !lifted("sys_admin") {
        program.extend([
            instruction(JUMP_EQUAL, 0, 1, number(libc::SYS_clone3)),
            instruction(RETURN, 0, 0, ERRNO | errno(libc::ENOSYS)),
            instruction(JUMP_EQUAL, 0, 3, number(libc::SYS_clone)),
            instruction(LOAD, 0, 0, FIRST),
            instruction(JUMP_ANY_BIT, 0, 1, NEW_NAMESPACES),
            instruction(RETURN, 0, 0, ERRNO | errno(libc::EPERM)),
        ]);
    }
    program.push(instruction(RETURN, 0, 0, ALLOW));
    program
}

fn instruction(code: u16, if_true: u8, if_false: u8, value: u32) -> u64 {
    let ([a, b], [e, f, g, h]) = (code.to_ne_bytes(), value.to_ne_bytes());
    u64::from_ne_bytes([a, b, if_true, if_false, e, f, g, h])
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

fn errno(errno: i32) -> u32 {
    errno.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program on a call, as the kernel does.
    fn answer(program: &[u64], table: u32, call: libc::c_long, first: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let [a, b, if_true, if_false, e, f, g, h] = program[at].to_ne_bytes();
            let value = u32::from_ne_bytes([e, f, g, h]);
            at += 1;
            let holds = match u16::from_ne_bytes([a, b]) {
                LOAD => {
                    loaded = match value {
                        NUMBER => number(call),
                        TABLE => table,
                        _ => first,
                    };
                    continue;
                }
                RETURN => return value,
                JUMP_EQUAL => loaded == value,
                JUMP_AT_LEAST => loaded >= value,
                _ => loaded & value != 0,
            };
            at += usize::from(if holds { if_true } else { if_false });
        }
    }

    #[test]
    fn calls_that_reach_for_the_host_are_refused_and_others_are_not() {
        let program = program(Capabilities::default_of_tasks());
        let ask = |call, first| answer(&program, OUR_TABLE, call, first);
        for call in [libc::SYS_read, libc::SYS_execve, libc::SYS_socket, libc::SYS_kill, libc::SYS_chroot] {
            assert_eq!(ask(call, u32::MAX), ALLOW, "{call}");
        }
        let refused = ERRNO | errno(libc::EPERM);
        for call in [libc::SYS_mount, libc::SYS_ptrace, libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_unshare] {
            assert_eq!(ask(call, 0), refused, "{call}");
        }
        assert_eq!(ask(libc::SYS_clone, 0x0100_0011), ALLOW, "a fork");
        assert_eq!(ask(libc::SYS_clone, 0x1000_0011), refused, "a user namespace");
        assert_eq!(ask(libc::SYS_clone3, 0), ERRNO | errno(libc::ENOSYS));
        assert_eq!(answer(&program, 0x4000_0003, libc::SYS_read, 0), KILL, "a 32-bit program");
        assert_eq!(ask(libc::SYS_mount + 0x4000_0000, 0), ERRNO | errno(libc::ENOSYS), "by the second table");
    }

    #[test]
    fn a_capability_lifts_what_it_is_about() {
        let tracing = program(Capabilities::of("sys_ptrace").unwrap());
        assert_eq!(answer(&tracing, OUR_TABLE, libc::SYS_ptrace, 0), ALLOW);
        assert_ne!(answer(&tracing, OUR_TABLE, libc::SYS_mount, 0), ALLOW);
        let administrating = program(Capabilities::of("sys_admin").unwrap());
        for call in [libc::SYS_mount, libc::SYS_clone3, libc::SYS_clone] {
            assert_eq!(answer(&administrating, OUR_TABLE, call, u32::MAX), ALLOW);
        }
        assert_ne!(answer(&program(Capabilities::ALL), OUR_TABLE, libc::SYS_keyctl, 0), ALLOW);
    }
}
