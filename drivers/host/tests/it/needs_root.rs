//! What needs root and mounted control groups; it fails where they are missing.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use orch_host::cgroup::{CgroupLayout, Hierarchies, Limits, TaskCgroup, Version};

fn limits() -> Limits {
    Limits {
        cpu_shares: Some(512),
        memory_hard: Some(64 << 20),
        memory_soft: Some(32 << 20),
        cpuset: Some("0".to_owned()),
        pids_max: Some(50),
        swap: false,
    }
}

/// A shell with two children in `group`, ready when this returns.
fn family(group: &TaskCgroup) -> Child {
    let script = "read go; sleep 1000 & (setsid sleep 1000 &); echo up; wait";
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    for directory in group.directories() {
        std::fs::write(directory.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut line = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
    child
}

fn until(what: &str, reached: impl Fn() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < Duration::from_secs(20), "waited in vain for {what}");
        std::thread::yield_now();
    }
}

fn end_to_end(hierarchies: Hierarchies, mark: &str) {
    let mark = format!("{mark}-{}", std::process::id());
    let layout = CgroupLayout::new(hierarchies.clone(), "orch-host-test", &mark);
    let stranger = CgroupLayout::new(hierarchies, "orch-host-test", &format!("{mark}-other"));
    let (group, warnings) = layout.create("task", &limits());
    assert_eq!(warnings, []);
    assert!(layout.exists("task") && group.is_vacant());
    let mut first = family(&group);
    assert!(!group.is_vacant());
    assert_eq!(group.processes().unwrap().len(), 3);
    assert!(group.remove().is_err(), "a group in use stays");
    assert_eq!(layout.open("task"), group, "it is found again");
    group.kill().unwrap();
    first.wait().unwrap();
    until("the group to be empty", || group.is_vacant());
    std::fs::create_dir(group.directories()[0].join("nested")).unwrap();
    assert_eq!(layout.list(), ["task".to_owned()].into());
    assert!(stranger.list().is_empty(), "another agent's groups are not ours");
    until("the group to be removable", || group.remove().is_ok());
    assert!(!group.exists());
    layout.remove_roots();
    stranger.remove_roots();
}

fn read(directory: &Path, file: &str) -> Option<String> {
    std::fs::read_to_string(directory.join(file)).ok().map(|text| text.trim().to_owned())
}

#[test]
fn a_group_is_made_killed_and_removed_with_what_the_host_has() {
    let hierarchies = Hierarchies::detect().unwrap();
    assert_ne!(hierarchies.version(), Version::None);
    end_to_end(hierarchies, "all");
}

#[test]
fn a_group_is_frozen_and_killed_where_there_is_only_version_1() {
    let hierarchies = Hierarchies { v2: None, ..Hierarchies::detect().unwrap() };
    assert_eq!(hierarchies.version(), Version::V1, "this test needs a host with version 1 controllers");
    end_to_end(hierarchies, "v1");
}

#[test]
fn limits_are_what_the_kernel_reads_back() {
    let layout =
        CgroupLayout::new(Hierarchies::detect().unwrap(), "orch-host-test", &format!("limits-{}", std::process::id()));
    let (group, warnings) = layout.create("task", &limits());
    assert_eq!(warnings, []);
    let found = |v1: &str, v2: &str| {
        group.directories().iter().find_map(|directory| read(directory, v1).or_else(|| read(directory, v2)))
    };
    let expected = [
        ("cpu.shares", "cpu.weight", ["512", "59"]),
        ("memory.limit_in_bytes", "memory.max", ["67108864", "67108864"]),
        ("memory.soft_limit_in_bytes", "memory.low", ["33554432", "33554432"]),
        ("cpuset.cpus", "cpuset.cpus", ["0", "0"]),
        ("pids.max", "pids.max", ["50", "50"]),
    ];
    for (v1, v2, values) in expected {
        assert!(values.contains(&found(v1, v2).unwrap().as_str()), "{v1} is {:?}", found(v1, v2));
    }
    group.remove().unwrap();
    layout.remove_roots();
}

#[test]
fn a_host_that_allows_nothing_gives_an_empty_group_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("file");
    std::fs::write(&missing, "").unwrap();
    let hierarchies = Hierarchies { v1: [("memory".to_owned(), missing)].into(), ..Hierarchies::default() };
    let (group, warnings) = CgroupLayout::new(hierarchies, "orch", "mark").create("task", &limits());
    assert!(group.is_none() && !warnings.is_empty(), "{warnings:?}");
    assert!(group.kill().is_ok() && group.is_vacant() && group.remove().is_ok());
}

#[test]
fn mounts_below_a_directory_go_in_all_layers_however_many_files_stand_beside_them() {
    use orch_host::mounts::{list, unmount_below};
    let own = tempfile::tempdir().unwrap();
    let (inside, beside) = (own.path().join("inside"), own.path().join("beside"));
    let mount = |target: &Path| {
        std::fs::create_dir_all(target).unwrap();
        assert!(Command::new("mount").args(["-t", "tmpfs", "none"]).arg(target).status().unwrap().success());
    };
    for files in [0, 1000] {
        std::fs::create_dir_all(inside.join("local")).unwrap();
        for file in 0..files {
            std::fs::write(inside.join("local").join(file.to_string()), "").unwrap();
        }
        for target in [inside.join("secrets"), inside.join("secrets"), inside.join("secrets/deeper"), beside.clone()] {
            mount(&target);
        }
        let link = inside.join("link");
        let _there_from_before = std::os::unix::fs::symlink(&beside, &link);
        unmount_below(&inside).unwrap();
        let left: Vec<_> =
            list().unwrap().into_iter().map(|mount| mount.target).filter(|at| at.starts_with(own.path())).collect();
        assert_eq!(left, std::slice::from_ref(&beside), "{files} files");
        assert_eq!(unmount_below(own.path()).unwrap(), 1);
    }
}
