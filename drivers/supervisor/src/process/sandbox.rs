//! Building the world of a task between fork and exec.
//!
//! Sources on the host are opened as detached mounts first; then the root changes, and only then anything is attached: by paths that
//! cannot lead out any more, whatever symbolic links the task's directory holds.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

use super::reaper::Spare;
use crate::protocol::Stage;
use crate::sandbox::{MountFlags, Namespaces, Privileges, Sandbox, Sharing, Step};
use crate::sys;

/// What failed: at which stage, why, and which step it was if it was one.
pub(super) type Failed = (Stage, i32, Option<u16>);

/// A sandbox as text and numbers, ready for the kernel.
pub(super) struct Prepared {
    pub(super) namespaces: Namespaces,
    pub(super) privileges: Privileges,
    pub(super) filter: Vec<u64>,
    /// The memory that the first process of a process namespace does without.
    pub(super) spare: Spare,
    root: CString,
    pivot: bool,
    steps: Vec<Ready>,
}

enum Ready {
    /// The descriptor of the detached mount is kept here between the two passes.
    Bind {
        source: CString,
        target: CString,
        attributes: u64,
        propagation: u64,
        mount: AtomicI32,
    },
    Filesystem {
        kind: CString,
        target: CString,
        data: CString,
        flags: libc::c_ulong,
    },
    Node {
        path: CString,
        device: libc::dev_t,
    },
    Directory(CString),
    Symlink {
        path: CString,
        content: CString,
    },
    Seal(CString),
    Lock(CString),
    Hide(CString),
}

impl Prepared {
    /// Fails with what holds a zero byte.
    pub(super) fn new(sandbox: &Sandbox) -> Result<Self, String> {
        let Sandbox { namespaces, root, pivot, steps, programs: _, privileges, filter } = sandbox;
        Ok(Self {
            namespaces: *namespaces,
            privileges: *privileges,
            filter: filter.clone(),
            spare: if namespaces.pid { Spare::find() } else { Spare::default() },
            root: path(root)?,
            pivot: *pivot,
            steps: steps.iter().map(prepare).collect::<Result<_, _>>()?,
        })
    }

    /// What `clone3` is to make new.
    pub(super) fn clone_flags(&self) -> u64 {
        let Namespaces { pid, ipc, uts } = self.namespaces;
        let flag = |wanted: bool, flag: libc::c_int| if wanted { u64::from(flag.unsigned_abs()) } else { 0 };
        flag(true, libc::CLONE_NEWNS)
            | flag(pid, libc::CLONE_NEWPID)
            | flag(ipc, libc::CLONE_NEWIPC)
            | flag(uts, libc::CLONE_NEWUTS)
    }

    /// Builds everything, in a process that has namespaces of its own. Async-signal-safe.
    pub(super) fn build(&self) -> Result<(), Failed> {
        let numbered = || (0u16..).zip(&self.steps);
        // While mounts are still those that the host shares, so that what is to stay shared does.
        for (index, step) in numbered() {
            step.open().map_err(|errno| (Stage::Mount, errno, Some(index)))?;
        }
        self.change_root().map_err(|errno| (Stage::Root, errno, None))?;
        for (index, step) in numbered() {
            step.attach().map_err(|errno| (Stage::Mount, errno, Some(index)))?;
        }
        Ok(())
    }

    fn change_root(&self) -> Result<(), i32> {
        let root = sys::open_tree(&self.root)?;
        let attributes = sys::ATTR_NODEV | sys::ATTR_NOSUID;
        sys::set_attributes(root, c"", true, attributes, libc::MS_PRIVATE)?;
        // From here on nothing that is mounted here is seen on the host.
        sys::set_attributes(libc::AT_FDCWD, c"/", true, 0, libc::MS_SLAVE)?;
        sys::move_mount(root, &self.root)?;
        // SAFETY: system calls on an open descriptor and on constants.
        unsafe {
            check(libc::fchdir(root).into())?;
            libc::close(root);
            if self.pivot {
                // The old root comes to lie upon the new one, and is taken away there.
                check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
                check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
            } else {
                let none = std::ptr::null();
                check(libc::mount(c".".as_ptr(), c"/".as_ptr(), none, libc::MS_MOVE, none.cast()).into())?;
                check(libc::chroot(c".".as_ptr()).into())?;
            }
            check(libc::chdir(c"/".as_ptr()).into())
        }
    }
}

impl Ready {
    /// What has to be done while the host's files can still be reached.
    fn open(&self) -> Result<(), i32> {
        let Self::Bind { source, target: _, attributes, propagation, mount } = self else { return Ok(()) };
        let tree = sys::open_tree(source)?;
        mount.store(tree, Ordering::Relaxed);
        sys::set_attributes(tree, c"", true, *attributes, *propagation)
    }

    fn attach(&self) -> Result<(), i32> {
        match self {
            Self::Bind { target, mount, .. } => {
                let tree = mount.load(Ordering::Relaxed);
                sys::move_mount(tree, target)?;
                close(tree);
                Ok(())
            }
            Self::Filesystem { kind, target, data, flags } => mount(kind, target, data, *flags),
            Self::Node { path, device } => {
                // SAFETY: the path ends in a zero and lives through the calls.
                unsafe {
                    check(libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, *device).into())?;
                    // The mask of this process took part of the mode away.
                    check(libc::chmod(path.as_ptr(), 0o666).into())
                }
            }
            // SAFETY: the path ends in a zero and lives through the call.
            Self::Directory(path) => check(unsafe { libc::mkdir(path.as_ptr(), 0o755) }.into()),
            Self::Symlink { path, content } => {
                // SAFETY: both paths end in a zero and live through the call.
                check(unsafe { libc::symlink(content.as_ptr(), path.as_ptr()) }.into())
            }
            Self::Seal(path) => sys::set_attributes(libc::AT_FDCWD, path, false, sys::ATTR_RDONLY, 0),
            Self::Lock(path) => if_there(lock(path)),
            Self::Hide(path) => if_there(hide(path)),
        }
    }
}

fn lock(path: &CStr) -> Result<(), i32> {
    let tree = sys::open_tree(path)?;
    sys::set_attributes(tree, c"", true, sys::ATTR_RDONLY, 0)?;
    sys::move_mount(tree, path)?;
    close(tree);
    Ok(())
}

fn hide(path: &CStr) -> Result<(), i32> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;
    match mount(c"tmpfs", path, c"size=0,mode=0755", flags) {
        Err(libc::ENOTDIR) => {
            // What is not there must not be taken for the file that is to be hidden.
            let tree = sys::open_tree(c"/dev/null").map_err(|_| libc::ENODEV)?;
            sys::move_mount(tree, path)?;
            close(tree);
            Ok(())
        }
        result => result,
    }
}

fn if_there(result: Result<(), i32>) -> Result<(), i32> {
    if result == Err(libc::ENOENT) { Ok(()) } else { result }
}

fn mount(kind: &CStr, target: &CStr, data: &CStr, flags: libc::c_ulong) -> Result<(), i32> {
    let (kind, data) = (kind.as_ptr(), data.as_ptr().cast());
    // SAFETY: all texts end in a zero and live through the call.
    check(unsafe { libc::mount(kind, target.as_ptr(), kind, flags, data) }.into())
}

fn close(fd: RawFd) {
    // SAFETY: the caller opened it and does not use it again.
    unsafe { libc::close(fd) };
}

fn check(result: libc::c_long) -> Result<(), i32> {
    if result < 0 { Err(sys::errno()) } else { Ok(()) }
}

fn prepare(step: &Step) -> Result<Ready, String> {
    Ok(match step {
        Step::Bind { source, target, read_only, sharing } => Ready::Bind {
            source: path(source)?,
            target: path(target)?,
            attributes: sys::ATTR_NODEV | sys::ATTR_NOSUID | if *read_only { sys::ATTR_RDONLY } else { 0 },
            propagation: match sharing {
                Sharing::Private => libc::MS_PRIVATE,
                Sharing::FromHost => libc::MS_SLAVE,
                Sharing::Both => 0,
            },
            mount: AtomicI32::new(-1),
        },
        Step::Filesystem { kind, target, data, flags } => Ready::Filesystem {
            kind: text("the kind of a file system", kind.as_bytes())?,
            target: path(target)?,
            data: text("the options of a file system", data.as_bytes())?,
            flags: mount_flags(*flags),
        },
        Step::Node { path: at, major, minor } => Ready::Node { path: path(at)?, device: libc::makedev(*major, *minor) },
        Step::Directory { path: at } => Ready::Directory(path(at)?),
        Step::Symlink { path: at, content } => Ready::Symlink { path: path(at)?, content: path(content)? },
        Step::Seal { path: at } => Ready::Seal(path(at)?),
        Step::Lock { path: at } => Ready::Lock(path(at)?),
        Step::Hide { path: at } => Ready::Hide(path(at)?),
    })
}

fn mount_flags(flags: MountFlags) -> libc::c_ulong {
    let MountFlags { read_only, devices, executables } = flags;
    libc::MS_NOSUID
        | if read_only { libc::MS_RDONLY } else { 0 }
        | if devices { 0 } else { libc::MS_NODEV }
        | if executables { 0 } else { libc::MS_NOEXEC }
}

fn path(path: &Path) -> Result<CString, String> {
    text(&format!("the path {}", path.display().to_string().replace('\0', "\\0")), path.as_os_str().as_bytes())
}

fn text(what: &str, bytes: &[u8]) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| what.to_owned())
}
