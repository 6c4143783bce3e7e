//! What is mounted, and unmounting what is ours.

use std::io;
use std::path::{Path, PathBuf};

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
    let mut targets: Vec<PathBuf> =
        list()?.into_iter().map(|mount| mount.target).filter(|target| target.starts_with(directory)).collect();
    targets.reverse();
    for target in &targets {
        match nix::mount::umount2(target, nix::mount::MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(targets.len())
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
