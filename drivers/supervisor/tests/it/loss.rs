use std::time::Duration;

use orch_supervisor::{ExitStatus, Lifetime, TaskKey};

use crate::harness::{Fixture, until};

/// Writes one number per line, up to `last`.
fn counting(last: u32) -> String {
    format!("i=1; while [ $i -le {last} ]; do echo $i; i=$((i+1)); done")
}

fn assert_counted(log: &str, last: u32) {
    let numbers = log.lines().map(|line| line.parse::<u32>().unwrap_or(0));
    let wrong = numbers.zip(1..).find(|(found, expected)| found != expected);
    assert_eq!(wrong, None, "a number is missing or torn");
    assert_eq!(log.lines().count(), last as usize);
}

#[tokio::test]
async fn killing_the_supervisor_loses_no_task_and_no_byte() {
    let fixture = Fixture::new().await;
    let last = 400_000;
    let mut spec = fixture.shell("count", &counting(last));
    spec.logs.max_file_bytes = 100_000;
    let started = fixture.handle.start(spec).await.unwrap();
    let key = started.entry.key.clone();
    for round in 1..=3 {
        until("some output", || fixture.log("count", orch_host::logs::Stream::Stdout).len() > 100_000 * round).await;
        fixture.kill_supervisor().await;
        let other = format!("other-{round}");
        let other = fixture.handle.start(fixture.shell(&other, "exit 4")).await.unwrap().entry.key;
        assert_eq!(fixture.handle.wait(&other).await.unwrap().code, Some(4), "a new task gets the new supervisor");
    }
    assert!(started.process.is_running(), "the task outlives its supervisors");
    assert_eq!(fixture.handle.wait(&key).await.unwrap(), ExitStatus::UNKNOWN);
    assert_counted(&fixture.stdout("count"), last);
    let tasks = fixture.handle.list().await.unwrap();
    let codes: Vec<_> = tasks.iter().map(|task| (task.key.as_str(), task.exit.unwrap().code)).collect();
    assert_eq!(codes, [("count", None), ("other-1", Some(4)), ("other-2", Some(4)), ("other-3", Some(4))]);
    fixture.end().await;
}

#[tokio::test]
async fn an_adopted_task_is_signalled_killed_and_forgotten_like_any_other() {
    let fixture = Fixture::new().await;
    let trap = "trap 'echo caught; exit' USR1; echo up; while :; do sleep 0.01; done";
    let polite = fixture.handle.start(fixture.shell("polite", trap)).await.unwrap();
    let stubborn = fixture.handle.start(fixture.shell("stubborn", "trap '' TERM; sleep 1000")).await.unwrap();
    until("the trap", || fixture.stdout("polite").contains("up")).await;
    fixture.kill_supervisor().await;
    fixture.handle.signal(&polite.entry.key, libc::SIGUSR1).await.unwrap();
    assert!(fixture.handle.wait(&polite.entry.key).await.unwrap().unknown);
    assert_eq!(fixture.stdout("polite"), "up\ncaught\n");
    fixture.handle.kill(&stubborn.entry.key).await.unwrap();
    assert!(!stubborn.process.is_running());
    fixture.handle.forget(&stubborn.entry.key).await.unwrap();
    fixture.handle.forget(&polite.entry.key).await.unwrap();
    assert_eq!(fixture.handle.list().await.unwrap(), []);
    fixture.end().await;
}

#[tokio::test]
async fn a_restarted_agent_learns_what_happened_while_it_was_away() {
    let mut fixture = Fixture::with(|_| {}).await;
    let gate = fixture.path().join("gate");
    let script = "echo before; while ! [ -e gate ]; do sleep 0.01; done; echo after; exit 6";
    let started = fixture.handle.start(fixture.shell("away", script)).await.unwrap();
    fixture.stop_agent().await;
    std::fs::write(gate, "").unwrap();
    until("the end of the task", || !started.process.is_running()).await;
    fixture.restart_agent().await;
    assert_eq!(fixture.handle.wait(&started.entry.key).await.unwrap().code, Some(6));
    assert_eq!(fixture.stdout("away"), "before\nafter\n");
    let listed = fixture.handle.list().await.unwrap();
    assert_eq!((listed.len(), &listed[0].process), (1, &started.process));
    fixture.end().await;
}

#[tokio::test]
async fn a_supervisor_replaced_in_place_keeps_its_children_and_their_exit_codes() {
    let fixture = Fixture::new().await;
    let last = 100_000;
    let script = format!("{}; exit 8", counting(last));
    let key = fixture.handle.start(fixture.shell("kept", &script)).await.unwrap().entry.key;
    let short = fixture.handle.start(fixture.shell("ended", "exit 9")).await.unwrap().entry.key;
    fixture.handle.wait(&short).await.unwrap();
    let pid = fixture.supervisor_pid().unwrap();
    let begun = orch_host::process::Stat::read(pid).unwrap().start_time;
    for _ in 0..2 {
        fixture.handle.upgrade().await.unwrap();
        assert_eq!(fixture.handle.list().await.unwrap().len(), 2);
    }
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(arguments.windows(11).any(|window| window == b"--resume-fd"), "it runs the next program");
    assert_eq!(orch_host::process::Stat::read(pid).unwrap().start_time, begun, "in the same process");
    assert_eq!(fixture.handle.wait(&key).await.unwrap().code, Some(8));
    assert_eq!(fixture.handle.wait(&short).await.unwrap().code, Some(9));
    assert_counted(&fixture.stdout("kept"), last);
    fixture.end().await;
}

#[tokio::test]
async fn a_task_whose_agent_and_supervisor_died_together_is_adopted_from_what_was_stored() {
    let mut fixture = Fixture::with(|_| {}).await;
    let entry = fixture.handle.start(fixture.task("orphan", "sleep", &["1000"])).await.unwrap().entry;
    let gone = fixture.handle.start(fixture.shell("gone", "exit 1")).await.unwrap().entry;
    fixture.handle.wait(&gone.key).await.unwrap();
    fixture.stop_agent().await;
    let pid = fixture.supervisor_pid().unwrap();
    // SAFETY: kill takes two integers.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    until("the end of the supervisor", || fixture.supervisor_pid().is_none()).await;
    fixture.restart_agent().await;
    assert_eq!(fixture.handle.list().await.unwrap(), []);
    assert!(fixture.handle.adopt(entry.clone()).await.unwrap());
    assert!(!fixture.handle.adopt(gone.clone()).await.unwrap());
    assert!(fixture.handle.wait(&gone.key).await.unwrap().unknown);
    fixture.handle.kill(&entry.key).await.unwrap();
    assert!(fixture.handle.wait(&entry.key).await.unwrap().unknown);
    fixture.end().await;
}

#[tokio::test]
async fn where_tasks_stop_with_the_agent_its_death_removes_everything() {
    let remove = tempfile::tempdir().unwrap();
    std::fs::write(remove.path().join("file"), "").unwrap();
    let mut fixture = Fixture::with(|options| {
        let (grace, remove_dir) = (Duration::from_millis(300), Some(remove.path().to_owned()));
        options.lifetime = Lifetime::StopsWithAgent { grace, remove_dir };
    })
    .await;
    let started = fixture.handle.start(fixture.task("dev", "sleep", &["1000"])).await.unwrap();
    fixture.restart_agent().await;
    assert!(started.process.is_running(), "a restart within the grace stops nothing");
    fixture.stop_agent().await;
    until("the end of the task", || !started.process.is_running()).await;
    until("the end of the supervisor", || fixture.supervisor_pid().is_none()).await;
    assert!(!remove.path().exists());
}

#[tokio::test]
async fn two_agents_that_start_at_once_get_one_supervisor() {
    let fixture = Fixture::new().await;
    let pid = fixture.supervisor_pid().unwrap();
    fixture.handle.start(fixture.task("shared", "sleep", &["1000"])).await.unwrap();
    let (other, service) = orch_supervisor::Handle::connect(fixture.options.clone()).await.unwrap();
    let service = tokio::spawn(service.run());
    assert_eq!(other.list().await.unwrap()[0].key, TaskKey::new("shared"));
    assert_eq!(fixture.supervisor_pid(), Some(pid));
    drop(other);
    service.await.unwrap();
    fixture.end().await;
}
