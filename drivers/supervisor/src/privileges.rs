//! Becoming the user that a task runs as, with no more than it may have. Async-signal-safe throughout.

use crate::protocol::Stage;
use crate::sandbox::Privileges;
use crate::spec::UserIds;
use crate::sys;

/// The step that failed, and what the kernel said.
type Failed = (Stage, i32);

/// Takes on user and groups and gives up capabilities, for good.
pub(crate) fn become_user(user: Option<&UserIds>, privileges: Option<Privileges>) -> Result<(), Failed> {
    let capabilities = |result: Result<(), i32>| result.map_err(|errno| (Stage::Capabilities, errno));
    if let Some(privileges) = privileges {
        capabilities(sys::bound_capabilities(privileges.bounding))?;
        capabilities(sys::keep_capabilities(true))?;
    }
    if let Some(user) = user {
        set_ids(user).map_err(|errno| (Stage::User, errno))?;
    }
    if let Some(Privileges { bounding, ambient, scopes: _ }) = privileges {
        let is_root = user.is_none_or(|user| user.uid == 0);
        capabilities(sys::set_capabilities(if is_root { bounding } else { ambient & bounding }))?;
        capabilities(sys::raise_ambient(ambient & bounding))?;
        capabilities(sys::keep_capabilities(false))?;
    }
    Ok(())
}

/// The last steps before the program: nothing is gained any more, and what is refused from here on stays so.
pub(crate) fn close_in(privileges: Privileges, filter: &[u64]) -> Result<(), Failed> {
    sys::no_new_privileges().map_err(|errno| (Stage::Capabilities, errno))?;
    sys::confine(privileges.scopes).map_err(|errno| (Stage::Capabilities, errno))?;
    if filter.is_empty() {
        return Ok(());
    }
    sys::install_filter(filter).map_err(|errno| (Stage::Filter, errno))
}

/// By raw calls, because the C library's would signal threads that a process between fork and exec does not have.
fn set_ids(user: &UserIds) -> Result<(), i32> {
    let check = |result: libc::c_long| if result < 0 { Err(sys::errno()) } else { Ok(()) };
    // SAFETY: the groups live through the call; the others take numbers.
    unsafe {
        check(libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid))?;
        check(libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid))
    }
}
