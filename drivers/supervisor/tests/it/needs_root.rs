//! What needs root: control groups, mounts, other users. They fail where that is missing.

use std::collections::BTreeMap;
use std::time::Instant;

use orch_host::cgroup::{CgroupLayout, Hierarchies, Limits};
use orch_host::logs::{self, Stream};
use orch_supervisor::{CgroupSpec, SpawnSpec, TaskKey, UserIds};

use crate::container::INIT;
use crate::harness::{Fixture, until};

fn limited(mut spec: SpawnSpec, limits: Limits) -> SpawnSpec {
    spec.cgroup = Some(CgroupSpec::Own(limits));
    spec
}

fn limits() -> Limits {
    Limits { cpu_shares: Some(500), memory_hard: Some(64 << 20), memory_soft: Some(32 << 20), ..Limits::default() }
}

fn layout(fixture: &Fixture) -> CgroupLayout {
    CgroupLayout::new(Hierarchies::detect().unwrap(), &fixture.options.cgroup_parent, &fixture.options.node_mark)
}

#[tokio::test]
async fn a_task_runs_in_its_group_and_forgetting_removes_it() {
    let fixture = Fixture::new().await;
    let started = fixture.handle.start(limited(fixture.task("grouped", "sleep", &["1000"]), limits())).await.unwrap();
    assert_eq!(started.warnings, []);
    let group = &started.entry.cgroup;
    assert_eq!(group.processes().unwrap(), [started.process.pid]);
    let membership = std::fs::read_to_string(format!("/proc/{}/cgroup", started.process.pid)).unwrap();
    let ours = membership.lines().filter(|line| line.contains(&fixture.options.node_mark)).count();
    assert_eq!(ours, group.directories().len(), "{membership}");
    assert!(fixture.handle.stats(&started.entry.key).await.unwrap().usage.memory.is_some());
    assert!(layout(&fixture).list().contains("grouped"));
    fixture.handle.forget(&started.entry.key).await.unwrap();
    assert!(!group.exists());
    let layout = layout(&fixture);
    let mark = fixture.options.node_mark.clone();
    fixture.end().await;
    assert!(layout.list().is_empty());
    let trees = layout.hierarchies().v1.values().chain(&layout.hierarchies().v2);
    assert!(!trees.map(|tree| tree.join("orch-test").join(&mark)).any(|directory| directory.exists()));
}

#[tokio::test]
async fn killing_empties_the_group_with_daemons_in_it_also_after_the_supervisor_was_lost() {
    let fixture = Fixture::new().await;
    for (name, lose) in [("near", false), ("far", true)] {
        let spec = fixture.shell(name, "(setsid sh -c 'env -i sleep 1000 & env -i sleep 1000' &) ; exit 0");
        let started = fixture.handle.start(limited(spec, limits())).await.unwrap();
        let group = &started.entry.cgroup;
        assert!(fixture.handle.wait(&started.entry.key).await.unwrap().success());
        until("the daemon with its child", || group.processes().unwrap().len() >= 2).await;
        if lose {
            fixture.kill_supervisor().await;
        }
        fixture.handle.kill(&started.entry.key).await.unwrap();
        assert!(group.is_vacant(), "{name}");
        fixture.handle.forget(&started.entry.key).await.unwrap();
        assert!(!group.exists(), "{name}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn what_an_unfinished_start_left_behind_is_gone_before_the_same_task_starts_again() {
    let fixture = Fixture::new().await;
    let (group, _) = layout(&fixture).create("again", &limits());
    let mut left = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    for directory in group.directories() {
        std::fs::write(directory.join("cgroup.procs"), left.id().to_string()).unwrap();
    }
    let reaper = tokio::task::spawn_blocking(move || left.wait().unwrap());
    let started = fixture.handle.start(limited(fixture.task("again", "sleep", &["1000"]), limits())).await.unwrap();
    assert_eq!(reaper.await.unwrap().code(), None, "the first one was killed");
    assert_eq!(started.entry.cgroup.processes().unwrap(), [started.process.pid]);
    fixture.end().await;
}

#[tokio::test]
async fn what_belongs_to_no_task_is_swept_when_asked_and_nothing_else() {
    let fixture = Fixture::new().await;
    let kept = fixture.handle.start(limited(fixture.task("kept", "sleep", &["1000"]), limits())).await.unwrap();
    let stranger = CgroupLayout::new(Hierarchies::detect().unwrap(), "orch-test", "of-another-node");
    let (foreign, _) = stranger.create("left", &limits());
    let (left, _) = layout(&fixture).create("left", &limits());
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    for directory in left.directories() {
        std::fs::write(directory.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    let reaper = tokio::task::spawn_blocking(move || child.wait().unwrap());
    assert_eq!(fixture.handle.sweep().await.unwrap(), ["left"]);
    assert_eq!(fixture.handle.list().await.unwrap().len(), 1, "remains are no tasks");
    assert_eq!(reaper.await.unwrap().code(), None, "it was killed");
    until("the group to be removed", || !left.exists()).await;
    assert!(kept.process.is_running() && foreign.exists());
    assert_eq!(fixture.handle.sweep().await.unwrap(), [""; 0]);
    foreign.remove().unwrap();
    stranger.remove_roots();
    fixture.end().await;
}

#[tokio::test]
async fn as_the_first_process_of_a_container_it_outlives_the_agent_and_ends_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let note = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    let mut container = std::process::Command::new("unshare");
    container.args(["--pid", "--fork", "--mount-proc", "--kill-child"]).arg(std::env::current_exe().unwrap());
    let mut container = container.arg(INIT).arg(directory.path()).spawn().unwrap();
    until("the second life of the agent", || !note("second").is_empty()).await;
    let parts = note("first");
    let [parent, task, running] = parts.split(' ').collect::<Vec<_>>()[..] else { panic!("{parts}") };
    assert_eq!((parent, running), ("1", "true"), "the first process is the agent's parent");
    assert_eq!(note("second"), format!("1 {task} true"), "the task has outlived the agent");

    let outside = i32::try_from(container.id()).unwrap();
    let first = orch_host::process::children(outside).unwrap()[0].pid;
    // SAFETY: kill takes two integers.
    assert_eq!(unsafe { libc::kill(first, libc::SIGTERM) }, 0);
    let status = tokio::task::spawn_blocking(move || container.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(128 + libc::SIGTERM), "the agent's end is the container's");
    assert_eq!(note("ended"), "ended\n", "the task could end by itself");
    assert!(!directory.path().join("supervisor.sock").exists());
}

#[tokio::test]
async fn a_task_that_the_kernel_killed_for_memory_says_so() {
    let fixture = Fixture::new().await;
    let small = Limits { memory_hard: Some(16 << 20), ..Limits::default() };
    let spec = fixture.shell("hungry", "x=a; while :; do x=$x$x; done");
    let key = fixture.handle.start(limited(spec, small)).await.unwrap().entry.key;
    let status = fixture.handle.wait(&key).await.unwrap();
    assert_eq!((status.signal, status.oom_killed), (Some(libc::SIGKILL), true));
    fixture.end().await;
}

#[tokio::test]
async fn a_full_disk_blocks_no_task_and_what_was_dropped_is_counted() {
    let fixture = Fixture::new().await;
    let small = fixture.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mount = |program: &str, args: &[&str]| {
        assert!(std::process::Command::new(program).args(args).arg(&small).status().unwrap().success(), "{program}");
    };
    mount("mount", &["-t", "tmpfs", "-o", "size=1m", "none"]);
    let mut spec = fixture.shell("flood", "head -c 8000000 /dev/zero; echo done >&2");
    spec.logs.dir = small.clone();
    let key = fixture.handle.start(spec).await.unwrap().entry.key;
    let fine = fixture.handle.start(fixture.shell("fine", "echo hello")).await.unwrap().entry.key;
    assert!(fixture.handle.wait(&key).await.unwrap().success(), "the task is not held up");
    fixture.handle.wait(&fine).await.unwrap();
    assert_eq!(fixture.stdout("fine"), "hello\n", "nor is the output of another one");
    let dropped = fixture.handle.stats(&key).await.unwrap().log_bytes_dropped;
    let written: u64 = Stream::BOTH
        .iter()
        .flat_map(|stream| {
            let indexes = logs::indexes(&small, "flood", *stream).unwrap();
            indexes
                .into_iter()
                .map(|index| std::fs::metadata(logs::path(&small, "flood", *stream, index)).unwrap().len())
        })
        .sum();
    assert_eq!(written + dropped, 8_000_000 + 5, "every byte is written or counted");
    assert!(dropped > 6_000_000);
    let _dir = fixture.end().await;
    mount("umount", &[]);
}

#[tokio::test]
async fn a_disk_that_does_not_answer_holds_up_no_other_task() {
    let fixture = Fixture::new().await;
    let (image, frozen) = (fixture.path().join("image"), fixture.path().join("frozen"));
    std::fs::create_dir(&frozen).unwrap();
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let run = |program: &str, args: &[&std::ffi::OsStr]| {
        let output = std::process::Command::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("mkfs.ext4", &["-q".as_ref(), image.as_os_str()]);
    run("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), frozen.as_os_str()]);
    let mut stuck = fixture.shell("stuck", "echo begun; while ! [ -e go ]; do sleep 0.01; done; echo stuck");
    stuck.logs.dir = frozen.clone();
    let stuck = fixture.handle.start(stuck).await.unwrap().entry.key;
    let begun = || std::fs::read(logs::path(&frozen, "stuck", Stream::Stdout, 0)).is_ok_and(|log| log == b"begun\n");
    until("the first line", begun).await;
    let busy = fixture.shell("busy", "while ! [ -e gone ]; do sleep 0.01; done; head -c 3000000 /dev/zero; exit 2");
    let busy = fixture.handle.start(busy).await.unwrap().entry.key;
    run("fsfreeze", &["-f".as_ref(), frozen.as_os_str()]);
    std::fs::write(fixture.path().join("go"), "").unwrap();
    fixture.handle.wait(&stuck).await.unwrap();
    std::fs::write(fixture.path().join("gone"), "").unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(20), fixture.handle.wait(&busy)).await;
    run("fsfreeze", &["-u".as_ref(), frozen.as_os_str()]);
    assert_eq!(ended.expect("the other task waits for the disk").unwrap().code, Some(2));
    assert!(fixture.handle.stats(&busy).await.unwrap().log_bytes_dropped > 0);
    let complete =
        || std::fs::read(logs::path(&frozen, "stuck", Stream::Stdout, 0)).is_ok_and(|log| log == b"begun\nstuck\n");
    until("the output that waited for the disk", complete).await;
    let _dir = fixture.end().await;
    run("umount", &[frozen.as_os_str()]);
}

#[tokio::test]
async fn a_task_runs_as_its_user_with_its_groups_only() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.shell("nobody", "grep -E '^(Uid|Gid|Groups):' /proc/self/status");
    spec.user = Some(UserIds { uid: 65534, gid: 65533, groups: vec![7, 9] });
    spec.work_dir = "/".into();
    let key = fixture.handle.start(spec).await.unwrap().entry.key;
    assert!(fixture.handle.wait(&key).await.unwrap().success());
    let ids = fixture.stdout("nobody").split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(ids, "Uid: 65534 65534 65534 65534 Gid: 65533 65533 65533 65533 Groups: 7 9");
    fixture.end().await;
}

/// Prints figures for the reader; what it asserts is that everything starts and ends.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "figures for the reader")]
async fn three_hundred_tasks_start_and_stop() {
    const COUNT: u64 = 300;
    let fixture = Fixture::new().await;
    let pid = fixture.supervisor_pid().unwrap();
    let empty = private_kib(pid);
    let cpu = |pid: i32| orch_host::process::Stat::read(pid).unwrap().cpu_ticks() * 10;
    let start = Instant::now();
    let mut keys = Vec::new();
    let mut groups = BTreeMap::new();
    for index in 0..COUNT {
        let mut spec = limited(fixture.task(&format!("task-{index}"), "sleep", &["1000"]), limits());
        spec.logs.dir = fixture.path().join(index.to_string());
        std::fs::create_dir(&spec.logs.dir).unwrap();
        let started = fixture.handle.start(spec).await.unwrap();
        groups.insert(started.entry.key.clone(), started.entry.cgroup);
        keys.push(started.entry.key);
    }
    let started = start.elapsed();
    let full = private_kib(pid);
    let stop = Instant::now();
    let kills: Vec<_> = keys
        .iter()
        .map(|key| {
            let (handle, key): (_, TaskKey) = (fixture.handle.clone(), key.clone());
            tokio::spawn(async move {
                handle.kill(&key).await.unwrap();
                handle.forget(&key).await.unwrap();
            })
        })
        .collect();
    for kill in kills {
        kill.await.unwrap();
    }
    eprintln!(
        "supervisor: {empty} KiB private empty, {full} KiB with {COUNT} tasks ({} KiB each); started in {started:?}, stopped in {:?}, {} ms CPU",
        full.saturating_sub(empty).div_ceil(COUNT),
        stop.elapsed(),
        cpu(pid),
    );
    assert!(groups.values().all(|group| !group.exists()));
    assert_eq!(fixture.handle.list().await.unwrap(), []);
    fixture.end().await;
}

fn private_kib(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    lines.map(|line| line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}
