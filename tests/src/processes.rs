//! The processes, cgroups and mounts that belong to a directory or an allocation, as the kernel tells.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process that runs; zombies do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its command line, arguments separated by spaces.
    pub command: String,
}

/// Every process for which `wanted` holds, given its arguments and its environment, each ended by a zero byte.
fn find(wanted: impl Fn(&[u8], &[u8]) -> bool) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| u32::try_from(*pid) != Ok(std::process::id()))
        .filter_map(|pid| {
            let args = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            // A process of someone else, or one that is just ending, has no readable environment.
            let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let command = String::from_utf8_lossy(&args).replace('\0', " ").trim_end().to_owned();
            (!args.is_empty() && wanted(&args, &env)).then_some(Process { pid, command })
        })
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Processes whose command line or environment names `directory`: agents, supervisors and tasks of a test.
pub fn of_directory(directory: &Path) -> Vec<Process> {
    let text = directory.to_string_lossy();
    find(|args, env| holds(args, &text) || holds(env, &text))
}

/// Processes of tasks of allocation `id`.
pub fn of_alloc(id: &str) -> Vec<Process> {
    let variable = format!("NOMAD_ALLOC_ID={id}\0");
    find(|_, env| holds(env, &variable))
}

/// Processes of tasks that have the allocation name `name` and belong to `directory`.
pub fn of_name(name: &str, directory: &Path) -> Vec<Process> {
    let variable = format!("NOMAD_ALLOC_NAME={name}\0");
    let text = directory.to_string_lossy();
    find(|_, env| holds(env, &variable) && holds(env, &text))
}

/// The supervisor of the agent whose data is in `directory`.
pub fn supervisor_of(directory: &Path) -> Option<Process> {
    let text = directory.to_string_lossy();
    let mut found = find(|args, _| args.split(|b| *b == 0).nth(1) == Some(b"supervisor") && holds(args, &text));
    found.sort_by_key(|process| process.pid);
    found.into_iter().next()
}

/// Sends `signal` to `pid`; one that is gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(error) => panic!("sending {signal} to process {pid}: {error}"),
    }
}

/// Whether `pid` runs; a zombie does not.
pub fn alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// Resident memory of `pid` in KiB, as `VmRSS` tells.
pub fn resident_kib(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Memory in KiB that only `pid` holds, as `smaps_rollup` tells.
pub fn private_kib(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    Some(private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

/// Every directory below a cgroup called `parent` at the top of a tree, innermost first, that one included.
pub fn cgroups(parent: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut all = Vec::new();
    for mount in mounts.lines() {
        let mut fields = mount.split(' ').skip(1);
        let (Some(root), Some(kind)) = (fields.next(), fields.next()) else { continue };
        if matches!(kind, "cgroup" | "cgroup2") {
            descend(&Path::new(root).join(parent), &mut all);
        }
    }
    all
}

fn descend(directory: &Path, all: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        descend(&entry.path(), all);
    }
    all.push(directory.to_owned());
}

/// The mount points below `directory`, innermost first.
pub fn mounts(directory: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(PathBuf::from);
    let mut points: Vec<PathBuf> = points.filter(|point| point.starts_with(directory)).collect();
    points.sort();
    points.reverse();
    points
}

/// Ends everything that names `directory` or is in a cgroup below `cgroup_parent`, and removes those groups.
///
/// Returns what would not go.
pub fn wipe(directory: &Path, cgroup_parent: &str) -> Result<(), String> {
    let gone = crate::wait::wait_within(std::time::Duration::from_secs(10), || {
        let mut left: Vec<i32> = of_directory(directory).iter().map(|process| process.pid).collect();
        let groups = cgroups(cgroup_parent);
        for group in &groups {
            let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            left.extend(members.lines().filter_map(|line| line.parse::<i32>().ok()));
        }
        for pid in &left {
            signal(*pid, Signal::SIGKILL);
        }
        let stuck: Vec<PathBuf> = groups.into_iter().filter(|group| fs::remove_dir(group).is_err()).collect();
        if left.is_empty() && stuck.is_empty() { Ok(()) } else { Err(format!("processes {left:?}, cgroups {stuck:?}")) }
    });
    unmount(directory)?;
    gone
}

/// Unmounts everything below `directory`.
pub fn unmount(directory: &Path) -> Result<(), String> {
    for point in mounts(directory) {
        nix::mount::umount2(&point, nix::mount::MntFlags::MNT_DETACH).map_err(|error| format!("{point:?}: {error}"))?;
    }
    Ok(())
}
