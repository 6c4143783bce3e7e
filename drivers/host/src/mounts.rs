//! What is mounted, and unmounting what is ours.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How many directory entries are looked at one by one before the list of all mounts is read instead: that costs a microsecond for
/// each mount of the machine, and each task has one.
const FEW_ENTRIES: usize = 256;
/// How often mounts are looked for again, as one may have hidden others.
const LAYERS: usize = 16;

/// One line of `/proc/self/mountinfo`, as far as we ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub target: PathBuf,
    /// Which directory of the file system is mounted there.
    pub root: PathBuf,
    /// `ext4`, `tmpfs`, `cgroup2`, …
    pub filesystem: String,
    /// The device, or whatever name it was given.
    pub source: String,
    /// The options of the file system itself.
    pub super_options: String,
}

/// Everything mounted in our mount namespace, in the order in which it was mounted.
pub fn list() -> io::Result<Vec<Mount>> {
    Ok(std::fs::read_to_string("/proc/self/mountinfo")?.lines().filter_map(parse).collect())
}

/// Unmounts everything at or below `directory`, the deepest first, and says how many there were.
///
/// The caller passes a directory that is its own (it carries its mark); mounts elsewhere are never touched.
pub fn unmount_below(directory: &Path) -> io::Result<usize> {
    let mut unmounted = 0;
    for _ in 0..LAYERS {
        let mut few = FEW_ENTRIES;
        let mut targets = Vec::new();
        let complete = collect(directory, true, &mut few, &mut targets);
        if !complete {
            targets =
                list()?.into_iter().map(|mount| mount.target).filter(|target| target.starts_with(directory)).collect();
        }
        if targets.is_empty() {
            break;
        }
        for target in targets.iter().rev() {
            unmounted += unmount_at(target)?;
        }
        if !complete {
            break;
        }
    }
    Ok(unmounted)
}

/// Unmounts what lies upon `target`, layer by layer, and says how many layers there were.
fn unmount_at(target: &Path) -> io::Result<usize> {
    let mut layers = 0;
    loop {
        match nix::mount::umount2(target, nix::mount::MntFlags::MNT_DETACH) {
            Ok(()) => layers += 1,
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => return Ok(layers),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Adds the outermost mounts at or below `path` to `found`, looking at no more than `few` entries; whether it saw all there is.
///
/// What is mounted inside of another mount goes with it.
fn collect(path: &Path, enter: bool, few: &mut usize, found: &mut Vec<PathBuf>) -> bool {
    let Some(left) = few.checked_sub(1) else { return false };
    *few = left;
    match is_mount(path) {
        Ok(true) => {
            found.push(path.to_owned());
            return true;
        }
        Ok(false) if enter => {}
        Ok(false) => return true,
        Err(error) => return error.kind() == io::ErrorKind::NotFound,
    }
    let Ok(mut entries) = std::fs::read_dir(path) else { return false };
    entries.all(|entry| {
        let kind = entry.and_then(|entry| Ok((entry.file_type()?, entry.path())));
        kind.is_ok_and(|(kind, path)| collect(&path, kind.is_dir(), few, found))
    })
}

/// Whether something is mounted exactly at `path`; an error also where the kernel cannot say (before Linux 5.8).
fn is_mount(path: &Path) -> io::Result<bool> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the path ends in a zero, and the kernel fills a structure that lives through the call; zeroed it is valid already.
    let (result, found) = unsafe {
        let result = libc::statx(libc::AT_FDCWD, path.as_ptr(), flags, libc::STATX_TYPE, found.as_mut_ptr());
        (result, found.assume_init())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let mount_root = u64::from(libc::STATX_ATTR_MOUNT_ROOT.unsigned_abs());
    if found.stx_attributes_mask & mount_root == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(found.stx_attributes & mount_root != 0)
}

fn parse(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let mut head = head.split(' ').skip(3);
    let root = unescape(head.next()?);
    let target = unescape(head.next()?);
    let mut tail = tail.split(' ');
    Some(Mount {
        target: target.into(),
        root: root.into(),
        filesystem: tail.next()?.to_owned(),
        source: unescape(tail.next()?),
        super_options: tail.next().unwrap_or_default().to_owned(),
    })
}

/// Undoes the kernel's `\040` for space and the like.
fn unescape(field: &str) -> String {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(value) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(value);
            rest = after.get(3..).unwrap_or_default();
        } else {
            out.push(byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_and_escapes_is_read() {
        let line = r"36 35 98:0 /m /mnt\040a rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue";
        let expected = Mount {
            target: "/mnt a".into(),
            root: "/m".into(),
            filesystem: "ext3".into(),
            source: "/dev/root".into(),
            super_options: "rw,errors=continue".into(),
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("nonsense"), None);
        assert!(list().unwrap().iter().any(|mount| mount.target == Path::new("/proc")));
    }
}
