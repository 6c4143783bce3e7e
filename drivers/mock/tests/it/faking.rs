use std::path::Path;
use std::time::Duration;

use orch_driver::{Driver, Error, ExecSpec, ExitStatus, LogSpec, TaskId, TaskSpec};
use orch_driver_mock::MockDriver;
use orch_model::AllocId;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;
use uuid::Uuid;

fn spec(config: Value, logs: &Path) -> TaskSpec {
    TaskSpec {
        id: TaskId { alloc_id: AllocId::from_uuid(Uuid::new_v4()), task: "fake".to_owned(), run: 0 },
        job_id: "job".to_owned(),
        group: "group".to_owned(),
        config: serde_json::from_value(config).unwrap(),
        logs: LogSpec { dir: logs.to_owned(), max_files: 1, max_file_bytes: 1 << 20, disabled: false },
        ..TaskSpec::default()
    }
}

async fn started(driver: &MockDriver, config: Value) -> TaskId {
    driver.start(spec(config, Path::new("/nowhere"))).await.unwrap().id
}

#[tokio::test(start_paused = true)]
async fn a_task_ends_when_and_how_it_was_told() {
    let driver = MockDriver::new();
    let config = json!({"run_for": "90s", "exit_code": 3, "exit_signal": 11, "exit_err_msg": "told to crash"});
    let began = Instant::now();
    let task = started(&driver, config).await;
    let status = driver.wait(&task).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 90);
    let message = "told to crash".to_owned();
    assert_eq!(status, ExitStatus { code: Some(3), signal: Some(11), oom_killed: false, message });
}

#[tokio::test(start_paused = true)]
async fn a_start_blocks_and_fails_as_told() {
    let driver = MockDriver::new();
    let began = Instant::now();
    started(&driver, json!({"start_block_for": "5s"})).await;
    assert_eq!(began.elapsed().as_secs(), 5);
    for recoverable in [true, false] {
        let config = json!({"start_error": "told to", "start_error_recoverable": recoverable});
        let error = driver.start(spec(config, Path::new("/nowhere"))).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_recoverable()), ("told to", recoverable));
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_start_gives_its_place_back() {
    let driver = MockDriver::new();
    let spec = spec(json!({"start_block_for": "1h"}), Path::new("/nowhere"));
    let abandoned = tokio::time::timeout(Duration::from_secs(1), driver.start(spec.clone())).await;
    assert!(abandoned.is_err());
    let again = TaskSpec { config: [].into(), ..spec };
    driver.start(again).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_takes_as_long_as_kill_after_says() {
    let driver = MockDriver::new();
    for (kill_after, timeout, seconds, signal) in [("3s", 10, 3, 15), ("30s", 10, 10, 9), ("0s", 10, 0, 15)] {
        let task = started(&driver, json!({"kill_after": kill_after})).await;
        let began = Instant::now();
        driver.stop(&task, Some("TERM"), Duration::from_secs(timeout)).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), seconds, "{kill_after}");
        assert_eq!(driver.wait(&task).await.unwrap().signal, Some(signal), "{kill_after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_fails_as_told_and_sigkill_ends() {
    let driver = MockDriver::new();
    let deaf = started(&driver, json!({"signal_error": "told not to hear"})).await;
    let error = driver.signal(&deaf, "SIGHUP").await.unwrap_err();
    assert_eq!(error.to_string(), "told not to hear");
    let mortal = started(&driver, json!({})).await;
    driver.signal(&mortal, "SIGHUP").await.unwrap();
    driver.signal(&mortal, "SIGKILL").await.unwrap();
    assert_eq!(driver.wait(&mortal).await.unwrap().code, Some(137));
}

#[tokio::test(start_paused = true)]
async fn output_is_repeated_until_the_task_ends() {
    let logs = tempfile::tempdir().unwrap();
    let driver = MockDriver::new();
    let config = json!({
        "run_for": "1m",
        "stdout_string": "out\n", "stdout_repeat": 3, "stdout_repeat_duration": "1s",
        "stderr_string": "err\n", "stderr_repeat": 1000, "stderr_repeat_duration": "25s",
    });
    let began = Instant::now();
    let task = driver.start(spec(config, logs.path())).await.unwrap().id;
    driver.wait(&task).await.unwrap();
    driver.stop(&task, None, Duration::ZERO).await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 60);
    let read = |stream: &str| std::fs::read_to_string(logs.path().join(format!("fake.{stream}.0"))).unwrap();
    assert_eq!(read("stdout"), "out\n".repeat(4));
    assert_eq!(read("stderr"), "err\n".repeat(3));
}

#[tokio::test(start_paused = true)]
async fn another_process_knows_none_of_the_tasks() {
    let driver = MockDriver::new();
    let handle = driver.start(spec(json!({}), Path::new("/nowhere"))).await.unwrap();
    driver.clone().recover(&handle).await.unwrap();
    let gone = MockDriver::new().recover(&handle).await;
    assert!(matches!(gone, Err(Error::UnknownTask(id)) if id == handle.id));
}

#[tokio::test(start_paused = true)]
async fn a_command_inside_a_task_does_as_told_and_ends_with_the_task() {
    let driver = MockDriver::new();
    let config = json!({"run_for": "1h", "exec_command": {
        "run_for": "5s", "exit_code": 4, "stdout_string": "out ", "stdout_repeat": 1, "stderr_string": "err",
    }});
    let task = started(&driver, config).await;
    let spec = ExecSpec { command: vec!["any".to_owned()], terminal: None, env: Vec::new() };
    let began = Instant::now();
    let mut session = driver.exec(&task, spec.clone()).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout.read_to_string(&mut out).await.unwrap();
    session.stderr.read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("out out ", "err"));
    assert_eq!(session.control.wait().await.unwrap(), 4);
    assert_eq!(began.elapsed().as_secs(), 5);
    let mut cut_short = driver.exec(&task, spec.clone()).await.unwrap();
    driver.stop(&task, None, Duration::ZERO).await.unwrap();
    assert_eq!(cut_short.control.wait().await.unwrap(), 137);
    assert!(matches!(driver.exec(&task, spec).await, Err(Error::UnknownTask(_))));
}
