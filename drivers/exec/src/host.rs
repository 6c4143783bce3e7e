//! What this host has for isolating tasks.

use nix::errno::Errno;

use crate::capabilities::Capabilities;

/// What the agent needs to build a sandbox.
const NEEDED: [&str; 9] =
    ["sys_admin", "sys_chroot", "setuid", "setgid", "setpcap", "mknod", "chown", "dac_override", "kill"];

/// What the host lacks, in sentences; empty where tasks can be isolated.
pub(crate) fn lacks() -> Vec<String> {
    let mut lacking = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        lacking.push("the agent does not run as root, so tasks cannot be isolated".to_owned());
        return lacking;
    }
    let needed = NEEDED
        .iter()
        .filter_map(|name| Capabilities::of(name).ok())
        .fold(Capabilities::default(), |set, one| set | one);
    let missing = needed - held();
    if !missing.is_empty() {
        lacking.push(format!("the agent lacks capabilities, so tasks cannot be isolated: {missing}"));
    }
    if !has_mount_attributes() {
        lacking.push("this kernel cannot change the attributes of mounts: Linux 5.12 can".to_owned());
    }
    if !std::path::Path::new("/proc/self/ns/pid").exists() {
        lacking.push("this kernel has no process namespaces".to_owned());
    }
    lacking
}

/// What this process may give its children; nothing where it cannot be read.
pub(crate) fn held() -> Capabilities {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"));
    let set = line.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    Capabilities(set.unwrap_or_default())
}

fn has_mount_attributes() -> bool {
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: no structure of size 0 is read; a kernel that knows the call refuses it.
    unsafe { libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, nothing, 0) };
    Errno::last() != Errno::ENOSYS
}
