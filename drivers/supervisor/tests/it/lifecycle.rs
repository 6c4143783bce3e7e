use std::collections::BTreeSet;

use orch_supervisor::{Error, ExitStatus, Stage, StartError};

use crate::harness::{Fixture, marked, until};

#[tokio::test]
async fn exit_codes_and_signals_are_told_as_often_as_asked() {
    let fixture = Fixture::new().await;
    let handle = &fixture.handle;
    for (name, script, code, signal) in
        [("ok", "exit 0", Some(0), None), ("seven", "exit 7", Some(7), None), ("killed", "kill -9 $$", None, Some(9))]
    {
        let started = handle.start(fixture.shell(name, script)).await.unwrap();
        let status = ExitStatus { code, signal, oom_killed: false, unknown: false };
        assert_eq!(handle.wait(&started.entry.key).await.unwrap(), status, "{name}");
        assert_eq!(handle.wait(&started.entry.key).await.unwrap(), status, "{name}, asked again");
    }
    assert_eq!(handle.list().await.unwrap().len(), 3);
    fixture.end().await;
}

#[tokio::test]
async fn a_signal_reaches_the_whole_group_and_not_an_ended_task() {
    let fixture = Fixture::new().await;
    let script = "sh -c 'trap \"echo inner; exit\" TERM; echo up; while :; do sleep 0.01; done' & trap 'wait; exit 5' TERM; wait; wait";
    let key = fixture.handle.start(fixture.shell("group", script)).await.unwrap().entry.key;
    until("the inner shell", || fixture.stdout("group").contains("up")).await;
    fixture.handle.signal(&key, libc::SIGTERM).await.unwrap();
    assert_eq!(fixture.handle.wait(&key).await.unwrap().code, Some(5));
    assert_eq!(fixture.stdout("group"), "up\ninner\n");
    assert!(matches!(fixture.handle.signal(&key, libc::SIGTERM).await, Err(Error::NotRunning(_))));
    fixture.end().await;
}

#[tokio::test]
async fn a_task_gets_three_descriptors_the_original_limits_and_no_blocked_or_ignored_signal() {
    let fixture = Fixture::with(|options| {
        let original = options.limits.to_string();
        let open_files = original.split(',').find(|entry| entry.starts_with("7:")).unwrap();
        let hard = open_files.rsplit(':').next().unwrap();
        options.limits = original.replace(open_files, &format!("7:333:{hard}")).parse().unwrap();
    })
    .await;
    let started = fixture.handle.start(fixture.task("sleep", "sleep", &["1000"])).await.unwrap();
    let proc = format!("/proc/{}", started.process.pid);
    let open = || -> BTreeSet<String> {
        let entries = std::fs::read_dir(format!("{proc}/fd")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    // The loader has a library open for a moment; what we leaked would stay.
    until("three descriptors and no more", || open() == ["0", "1", "2"].map(str::to_owned).into()).await;
    let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_ascii_whitespace().nth(3), Some("333"), "{files}");
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
    for field in ["SigBlk", "SigIgn"] {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    let stat = orch_host::process::Stat::read(started.process.pid).unwrap();
    assert_eq!((stat.group, stat.session), (stat.pid, stat.pid), "it leads a session of its own");
    fixture.end().await;
}

#[tokio::test]
async fn a_task_that_cannot_be_executed_says_at_which_step_and_leaves_nothing() {
    let fixture = Fixture::new().await;
    let plain = fixture.path().join("plain");
    std::fs::write(&plain, "no program").unwrap();
    let mut no_dir = fixture.shell("no-dir", "true");
    no_dir.work_dir = fixture.path().join("missing");
    let cases = [
        (fixture.task("missing", "/nowhere/program", &[]), Stage::Exec, libc::ENOENT),
        (fixture.task("unknown-name", "no-such-program", &[]), Stage::Exec, libc::ENOENT),
        (fixture.task("plain", plain.to_str().unwrap(), &[]), Stage::Exec, libc::EACCES),
        (no_dir, Stage::WorkDir, libc::ENOENT),
    ];
    for (spec, expected, errno) in cases {
        let name = spec.key.to_string();
        match fixture.handle.start(spec).await {
            Err(StartError::Stage { stage, detail, source }) => {
                assert_eq!((stage, source.raw_os_error()), (expected, Some(errno)), "{name}");
                assert!(detail.is_some(), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let zero = fixture.handle.start(fixture.task("zero", "true", &["a\0b"])).await;
    assert!(matches!(zero, Err(StartError::ZeroByte { .. })));
    assert_eq!(fixture.handle.list().await.unwrap(), []);
    fixture.end().await;
}

#[tokio::test]
async fn a_key_is_free_again_once_forgotten() {
    let fixture = Fixture::new().await;
    let key = fixture.handle.start(fixture.task("once", "sleep", &["1000"])).await.unwrap().entry.key;
    let again = fixture.handle.start(fixture.shell("once", "exit 3")).await;
    assert!(matches!(again, Err(StartError::Exists(_))), "{again:?}");
    fixture.handle.forget(&key).await.unwrap();
    fixture.handle.forget(&key).await.unwrap();
    assert!(matches!(fixture.handle.wait(&key).await, Err(Error::UnknownTask(_))));
    fixture.handle.start(fixture.shell("once", "exit 3")).await.unwrap();
    assert_eq!(fixture.handle.wait(&key).await.unwrap().code, Some(3));
    fixture.end().await;
}

#[tokio::test]
async fn killing_reaches_daemons_that_left_group_and_session() {
    let fixture = Fixture::new().await;
    let name = format!("daemon-{}", std::process::id());
    let spec = fixture.shell(&name, "(setsid sh -c 'sleep 1000 & sleep 1000' &) ; sleep 1000");
    let key = fixture.handle.start(spec).await.unwrap().entry.key;
    until("the daemon with its child", || marked(&name).len() >= 3).await;
    fixture.handle.kill(&key).await.unwrap();
    assert_eq!(marked(&name), [0; 0]);
    assert_eq!(fixture.handle.wait(&key).await.unwrap().signal, Some(libc::SIGKILL));
    fixture.handle.kill(&key).await.unwrap();
    fixture.end().await;
}
