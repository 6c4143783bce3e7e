//! System calls without a wrapper elsewhere. Each is async-signal-safe: it allocates nothing and locks nothing.

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::RawFd;

pub(crate) const ATTR_RDONLY: u64 = 0x1;
pub(crate) const ATTR_NOSUID: u64 = 0x2;
pub(crate) const ATTR_NODEV: u64 = 0x4;

const OPEN_TREE_CLONE: libc::c_uint = 1;
const OPEN_TREE_CLOEXEC: libc::c_uint = libc::O_CLOEXEC as libc::c_uint;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x4;
const MOVE_MOUNT_T_SYMLINKS: libc::c_uint = 0x10;
const RECURSIVE: libc::c_uint = libc::AT_RECURSIVE as libc::c_uint;
const EMPTY_PATH: libc::c_uint = libc::AT_EMPTY_PATH as libc::c_uint;

/// The calling thread's errno.
pub(crate) fn errno() -> i32 {
    // SAFETY: errno is an integer of this thread.
    unsafe { *libc::__errno_location() }
}

fn checked(result: libc::c_long) -> Result<i32, i32> {
    if result < 0 { Err(errno()) } else { Ok(i32::try_from(result).unwrap_or(i32::MAX)) }
}

/// A detached copy of what is mounted at `path` and below.
pub(crate) fn open_tree(path: &CStr) -> Result<RawFd, i32> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | RECURSIVE;
    // SAFETY: the path ends in a zero and lives through the call.
    checked(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Attaches a detached mount at `target`, following symbolic links there.
pub(crate) fn move_mount(mount: RawFd, target: &CStr) -> Result<(), i32> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS;
    // SAFETY: both paths end in a zero and live through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_move_mount, mount, c"".as_ptr(), libc::AT_FDCWD, target.as_ptr(), flags) };
    checked(result).map(drop)
}

/// Adds attributes, and changes the propagation unless it is 0, of a mount and, if `recursive`, of those below it.
pub(crate) fn set_attributes(
    mount: RawFd,
    path: &CStr,
    recursive: bool,
    set: u64,
    propagation: u64,
) -> Result<(), i32> {
    #[repr(C)]
    struct MountAttr {
        attr_set: u64,
        attr_clr: u64,
        propagation: u64,
        userns_fd: u64,
    }
    let attributes = MountAttr { attr_set: set, attr_clr: 0, propagation, userns_fd: 0 };
    let flags = if path.is_empty() { EMPTY_PATH } else { 0 } | if recursive { RECURSIVE } else { 0 };
    // SAFETY: the structure is as the kernel describes it and lives through the call, like the path.
    let result = unsafe {
        let size = size_of::<MountAttr>();
        libc::syscall(libc::SYS_mount_setattr, mount, path.as_ptr(), flags, &raw const attributes, size)
    };
    checked(result).map(drop)
}

/// Sets the permitted, effective and inheritable capabilities of this thread to `set`.
pub(crate) fn set_capabilities(set: u64) -> Result<(), i32> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header { version: VERSION_3, pid: 0 };
    let [a, b, c, d, e, f, g, h] = set.to_le_bytes();
    let (low, high) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let data: [u32; 6] = [low, low, low, high, high, high];
    // SAFETY: version 3 reads a header and two times three numbers, all of which live through the call.
    checked(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}

fn prctl(option: libc::c_int, argument: u64, second: u64) -> Result<i32, i32> {
    // SAFETY: the options that this is called with take numbers only.
    checked(unsafe { libc::syscall(libc::SYS_prctl, option, argument, second, 0, 0) })
}

/// Takes every capability that is not in `kept` out of what this process may ever have.
pub(crate) fn bound_capabilities(kept: u64) -> Result<(), i32> {
    for capability in 0..64u64 {
        // The first one that the kernel does not know ends the list.
        match prctl(libc::PR_CAPBSET_READ, capability, 0) {
            Err(libc::EINVAL) => return Ok(()),
            Err(errno) => return Err(errno),
            Ok(1) if kept & (1 << capability) == 0 => drop(prctl(libc::PR_CAPBSET_DROP, capability, 0)?),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Raises each capability in `set`, which must be permitted and inheritable, into the ambient set.
pub(crate) fn raise_ambient(set: u64) -> Result<(), i32> {
    for capability in (0..64u64).filter(|capability| set & (1 << capability) != 0) {
        prctl(libc::PR_CAP_AMBIENT, u64::from(libc::PR_CAP_AMBIENT_RAISE.unsigned_abs()), capability)?;
    }
    Ok(())
}

/// Whether capabilities outlive a change of the user.
pub(crate) fn keep_capabilities(keep: bool) -> Result<(), i32> {
    prctl(libc::PR_SET_KEEPCAPS, u64::from(keep), 0).map(drop)
}

/// From here on no program gains anything by being executed.
pub(crate) fn no_new_privileges() -> Result<(), i32> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Keeps others of the same user out of this process's memory and from its files, until it executes something.
pub(crate) fn hide_process() -> Result<(), i32> {
    prctl(libc::PR_SET_DUMPABLE, 0, 0).map(drop)
}

/// Has this process killed when its parent ends. Forgotten by a change of the user.
pub(crate) fn die_with_parent() -> Result<(), i32> {
    prctl(libc::PR_SET_PDEATHSIG, u64::from(libc::SIGKILL.unsigned_abs()), 0).map(drop)
}

/// Installs a system call filter.
pub(crate) fn install_filter(instructions: &[u64]) -> Result<(), i32> {
    #[repr(C)]
    struct Program {
        length: libc::c_ushort,
        filter: *const u64,
    }
    let length = libc::c_ushort::try_from(instructions.len()).map_err(|_| libc::EINVAL)?;
    let program = Program { length, filter: instructions.as_ptr() };
    // SAFETY: the program points to as many instructions of eight bytes as it says, and all live through the call.
    let result = unsafe {
        libc::syscall(libc::SYS_prctl, libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program, 0, 0)
    };
    checked(result).map(drop)
}

/// Confines this process by Landlock to itself and its children, in what `scopes` names. A kernel that does not know them confines nothing.
pub(crate) fn confine(scopes: u64) -> Result<(), i32> {
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    if scopes == 0 {
        return Ok(());
    }
    let ruleset = Ruleset { handled_access_fs: 0, handled_access_net: 0, scoped: scopes };
    // SAFETY: the structure is as the kernel describes it and lives through the call.
    let made = checked(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size_of::<Ruleset>(), 0)
    });
    let fd = match made {
        Ok(fd) => fd,
        // Too old, or switched off.
        Err(libc::E2BIG | libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOMSG) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    // SAFETY: the call takes an open descriptor and a number; the descriptor is ours alone.
    unsafe {
        let confined = checked(libc::syscall(libc::SYS_landlock_restrict_self, fd, 0));
        libc::close(fd);
        confined.map(drop)
    }
}
