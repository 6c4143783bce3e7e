use orch_host::logs::{self, Stream};

use crate::harness::Fixture;

#[tokio::test]
async fn fifty_megabytes_arrive_in_rotated_files_without_loss() {
    let fixture = Fixture::new().await;
    let last = 6_600_000;
    let script = format!("seq 1 {last}; echo problem >&2; seq 1 1000 >&2");
    let mut spec = fixture.shell("much", &script);
    spec.logs.max_file_bytes = 3 << 20;
    let key = fixture.handle.start(spec).await.unwrap().entry.key;
    assert!(fixture.handle.wait(&key).await.unwrap().success());
    let out = fixture.stdout("much");
    assert!(out.len() > 50_000_000);
    assert!(out.lines().map(|line| line.parse::<u64>().unwrap()).eq(1..=last));
    let err = String::from_utf8(fixture.log("much", Stream::Stderr)).unwrap();
    assert_eq!((err.lines().next(), err.lines().count()), (Some("problem"), 1001));
    let indexes = logs::indexes(fixture.path(), "much", Stream::Stdout).unwrap();
    for index in indexes.iter().take(indexes.len() - 1) {
        let size = std::fs::metadata(logs::path(fixture.path(), "much", Stream::Stdout, *index)).unwrap().len();
        assert_eq!(size, 3 << 20, "file {index} is full before the next begins");
    }
    assert_eq!(fixture.handle.stats(&key).await.unwrap().log_bytes_dropped, 0);
    fixture.end().await;
}

#[tokio::test]
async fn only_the_newest_files_stay_and_a_later_run_goes_on_counting() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.shell("few", "head -c 100000 /dev/zero");
    (spec.logs.max_file_bytes, spec.logs.max_files) = (10_000, 3);
    for (run, newest) in [("few-1", 9), ("few-2", 19)] {
        spec.key = orch_supervisor::TaskKey::new(run);
        let key = fixture.handle.start(spec.clone()).await.unwrap().entry.key;
        fixture.handle.wait(&key).await.unwrap();
        let indexes = logs::indexes(fixture.path(), "few", Stream::Stdout).unwrap();
        assert_eq!(indexes, [newest - 2, newest - 1, newest]);
    }
    fixture.end().await;
}

#[tokio::test]
async fn disabled_logs_leave_no_file() {
    let fixture = Fixture::new().await;
    let mut spec = fixture.shell("silent", "echo something; readlink /proc/$$/fd/2 >fd");
    spec.logs.disabled = true;
    let key = fixture.handle.start(spec).await.unwrap().entry.key;
    assert!(fixture.handle.wait(&key).await.unwrap().success());
    assert_eq!(logs::indexes(fixture.path(), "silent", Stream::Stdout).unwrap(), [0; 0]);
    assert_eq!(std::fs::read_to_string(fixture.path().join("fd")).unwrap(), "/dev/null\n");
    fixture.end().await;
}
