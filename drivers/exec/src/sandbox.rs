//! What a task's world is made of, as data. Reads and changes nothing.

use std::path::{Component, Path, PathBuf};

use orch_driver::{Propagation, TaskDirs, TaskMount};
use orch_supervisor::{MountFlags, Namespaces, Privileges, Sandbox, Sharing, Step};

use crate::capabilities::Capabilities;
use crate::config::Mode;
use crate::filter;

/// The Landlock scope of abstract Unix sockets, which belong to the network and so are the host's.
const ABSTRACT_SOCKETS: u64 = 1;
/// The Landlock scope of signals.
const SIGNALS: u64 = 1 << 1;
/// What a task keeps in `/dev/shm` is limited to half of the host's memory by the kernel, and by its own limit in any case.
const SHARED_MEMORY: &str = "mode=1777";
/// Where tasks have what the kernel makes: nothing of the host can be seen there.
const KERNELS: [&str; 3] = ["/dev", "/proc", "/sys"];
/// What a task may read of the kernel's, but not change.
const LOCKED: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];
/// What tells too much of the host.
const HIDDEN: [&str; 8] = [
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];
/// The devices that every program may count on: name, major and minor number.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// What the sandbox of a task depends on.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) dirs: &'a TaskDirs,
    /// The directory of the log files, which the task may read only.
    pub(crate) logs: &'a Path,
    /// What of the host it sees, and where. All of it exists.
    pub(crate) chroot: Vec<HostPath>,
    /// The volumes, each with whether it is a directory.
    pub(crate) mounts: &'a [(TaskMount, bool)],
    /// A file of name servers that takes the place of the host's.
    pub(crate) resolver: Option<PathBuf>,
    pub(crate) programs: Vec<PathBuf>,
    pub(crate) pid_mode: Mode,
    pub(crate) ipc_mode: Mode,
    pub(crate) capabilities: Capabilities,
    pub(crate) ambient: Capabilities,
    pub(crate) pivot: bool,
}

/// Something of the host that tasks see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPath {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) is_dir: bool,
}

/// A sandbox, and what has to be there before it can be built.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SandboxPlan {
    pub(crate) sandbox: Sandbox,
    pub(crate) mountpoints: Vec<Mountpoint>,
}

/// Where something is going to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mountpoint {
    /// In a directory of the allocation: made if it is not there.
    Made { base: PathBuf, inside: PathBuf, is_dir: bool },
    /// In something of the host or in a volume: it is there, or the task cannot be started.
    Found { on_host: PathBuf, target: PathBuf },
}

/// Why a task cannot have the world that it asks for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PlanError {
    #[error("nothing can be mounted at {}: a task has what the kernel gives it there, or its own directory", .0.display())]
    Target(PathBuf),
    #[error("chroot_env shows tasks {}, in which the allocations are: leave it out, or name what is wanted in it", .0.display())]
    ShowsAllocations(PathBuf),
}

/// One thing of the host with where the task sees it.
struct Bind {
    source: PathBuf,
    target: PathBuf,
    is_dir: bool,
    read_only: bool,
    sharing: Sharing,
    /// Whether what is missing in it may be made.
    ours: bool,
}

/// The world of a task.
pub(crate) fn plan(world: &World<'_>) -> Result<SandboxPlan, PlanError> {
    let binds = binds(world)?;
    let private_pids = world.pid_mode == Mode::Private;
    let private_ipc = world.ipc_mode == Mode::Private;
    let mut mountpoints: Vec<Mountpoint> = KERNELS
        .iter()
        .map(|path| Mountpoint::Made { base: world.dirs.task.clone(), inside: relative(Path::new(path)), is_dir: true })
        .collect();
    mountpoints.extend(binds.iter().map(|bind| mountpoint(bind, &binds, world.dirs)));
    let mut steps = kernels_own(private_ipc);
    // What the agent keeps beside the task's files is nobody else's business.
    steps.push(Step::Hide { path: "/private".into() });
    steps.extend(binds.into_iter().map(|bind| Step::Bind {
        source: bind.source,
        target: bind.target,
        read_only: bind.read_only,
        sharing: bind.sharing,
    }));
    let scopes = if private_ipc { ABSTRACT_SOCKETS } else { 0 } | if private_pids { 0 } else { SIGNALS };
    let sandbox = Sandbox {
        namespaces: Namespaces { pid: private_pids, ipc: private_ipc, uts: true },
        root: world.dirs.task.clone(),
        pivot: world.pivot,
        steps,
        programs: world.programs.clone(),
        privileges: Privileges { bounding: world.capabilities.0, ambient: world.ambient.0, scopes },
        filter: filter::program(world.capabilities),
    };
    Ok(SandboxPlan { sandbox, mountpoints })
}

/// What is mounted from the host, the outer before the inner.
fn binds(world: &World<'_>) -> Result<Vec<Bind>, PlanError> {
    let TaskDirs { task, local: _, secrets: _, shared } = world.dirs;
    let mut binds = Vec::new();
    for HostPath { source, target, is_dir } in &world.chroot {
        if task.starts_with(source) {
            return Err(PlanError::ShowsAllocations(source.clone()));
        }
        let (source, target) = (source.clone(), target.clone());
        binds.push(Bind { source, target, is_dir: *is_dir, read_only: true, sharing: Sharing::Private, ours: false });
    }
    let mut own = |source: &Path, target: &str, is_dir, read_only| {
        let (source, target) = (source.to_owned(), target.into());
        binds.push(Bind { source, target, is_dir, read_only, sharing: Sharing::Private, ours: true });
    };
    own(shared, "/alloc", true, false);
    if world.logs.starts_with(shared) {
        own(world.logs, "/alloc/logs", true, true);
    }
    if let Some(resolver) = &world.resolver {
        own(resolver, "/etc/resolv.conf", false, true);
    }
    for (mount, is_dir) in world.mounts {
        let TaskMount { host_path, task_path, read_only, propagation } = mount;
        binds.push(Bind {
            source: host_path.clone(),
            target: task_path.clone(),
            is_dir: *is_dir,
            read_only: *read_only,
            sharing: match propagation {
                Propagation::Private => Sharing::Private,
                Propagation::HostToTask => Sharing::FromHost,
                Propagation::Bidirectional => Sharing::Both,
            },
            ours: false,
        });
    }
    if let Some(bind) = binds.iter().find(|bind| !is_mountable(&bind.target)) {
        return Err(PlanError::Target(bind.target.clone()));
    }
    // A later one of the same target lies upon the earlier.
    binds.sort_by_key(|bind| bind.target.components().count());
    Ok(binds)
}

fn is_mountable(target: &Path) -> bool {
    let plain = target.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let inside = target.components().count() > 1;
    target.is_absolute() && plain && inside && !KERNELS.iter().any(|kernels| target.starts_with(kernels))
}

/// Where `bind` is mounted: in the innermost of the others that it lies in, or in the task's directory.
fn mountpoint(bind: &Bind, binds: &[Bind], dirs: &TaskDirs) -> Mountpoint {
    let around = binds
        .iter()
        .filter(|other| other.target != bind.target && bind.target.starts_with(&other.target))
        .max_by_key(|other| other.target.components().count());
    let is_dir = bind.is_dir;
    match around {
        None => Mountpoint::Made { base: dirs.task.clone(), inside: relative(&bind.target), is_dir },
        Some(around) => {
            let inside = bind.target.strip_prefix(&around.target).unwrap_or(&bind.target).to_owned();
            if around.ours {
                Mountpoint::Made { base: around.source.clone(), inside, is_dir }
            } else {
                Mountpoint::Found { on_host: around.source.join(inside), target: bind.target.clone() }
            }
        }
    }
}

fn relative(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

/// `/proc`, `/sys` and `/dev`.
fn kernels_own(private_ipc: bool) -> Vec<Step> {
    let filesystem = |kind: &str, target: &str, data: &str, flags| Step::Filesystem {
        kind: kind.to_owned(),
        target: target.into(),
        data: data.to_owned(),
        flags,
    };
    let plain = MountFlags::default();
    let devices = MountFlags { devices: true, ..plain };
    let mut steps = vec![
        filesystem("proc", "/proc", "", plain),
        filesystem("sysfs", "/sys", "", MountFlags { read_only: true, ..plain }),
    ];
    steps.extend(LOCKED.map(|path| Step::Lock { path: path.into() }));
    steps.push(filesystem("tmpfs", "/dev", "mode=0755,size=64k", devices));
    steps.extend(DEVICES.map(|(name, major, minor)| Step::Node { path: Path::new("/dev").join(name), major, minor }));
    steps.extend(["/dev/pts", "/dev/shm"].map(|path| Step::Directory { path: path.into() }));
    steps.push(filesystem("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620,gid=5", devices));
    steps.push(filesystem("tmpfs", "/dev/shm", SHARED_MEMORY, plain));
    if private_ipc {
        steps.push(Step::Directory { path: "/dev/mqueue".into() });
        steps.push(filesystem("mqueue", "/dev/mqueue", "", plain));
    }
    let links = [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    steps.extend(
        links.map(|(name, content)| Step::Symlink { path: Path::new("/dev").join(name), content: content.into() }),
    );
    // A file is hidden by the task's own /dev/null.
    steps.extend(HIDDEN.map(|path| Step::Hide { path: path.into() }));
    // Or a task that runs as root could add the host's disks to it.
    steps.push(Step::Seal { path: "/dev".into() });
    steps
}

#[cfg(test)]
#[path = "sandbox_tests.rs"]
mod tests;
