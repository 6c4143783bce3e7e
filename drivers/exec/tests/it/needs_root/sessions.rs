//! Commands inside of tasks.

use std::time::Duration;

use orch_driver::{Driver, Error, ExecSession, ExecSpec, TaskHandle, TerminalSize};
use orch_driver_exec::Exec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::{DEADLINE, Node, eventually, first_line, shell, stdout};

async fn running(node: &Node, driver: &Exec, script: &str) -> TaskHandle {
    let spec = node.spec(shell(&format!("echo ready; {script}")));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    first_line(&file).await;
    handle
}

fn command(words: &[&str]) -> ExecSpec {
    ExecSpec {
        command: words.iter().map(|word| (*word).to_owned()).collect(),
        terminal: None,
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned()), ("OWN".to_owned(), "given".to_owned())],
    }
}

/// Reads both outputs to their ends, and waits for the command's.
async fn finish(mut session: ExecSession) -> (String, String, i32) {
    let (mut out, mut err) = (String::new(), String::new());
    let done = async {
        drop(session.stdin);
        let (read_out, read_err) =
            tokio::join!(session.stdout.read_to_string(&mut out), session.stderr.read_to_string(&mut err));
        read_out.and(read_err).unwrap();
        session.control.wait().await.unwrap()
    };
    let code = tokio::time::timeout(DEADLINE, done).await.unwrap();
    (out, err, code)
}

#[tokio::test]
async fn a_command_runs_where_and_as_whom_the_task_does() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = running(&node, &driver, "exec sleep 1000").await;
    let script = "echo $OWN; id -un; pwd; set -- /proc/[0-9]*; echo $#; echo wrong >&2; cat /proc/1/comm; \
                  grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status; exit 3";
    let session = driver.exec(&handle.id, command(&["sh", "-c", script])).await.unwrap();
    let (out, err, code) = finish(session).await;
    // Three processes: the first one, the task, and the shell.
    let expected = "given\nnobody\n/\n3\norch-init\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";
    assert_eq!((out.as_str(), err.as_str(), code), (expected, "wrong\n", 3));
    let killed = driver.exec(&handle.id, command(&["sh", "-c", "kill -9 $$"])).await.unwrap();
    assert_eq!(finish(killed).await.2, 137);
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn input_reaches_the_command_and_its_end_too() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = running(&node, &driver, "exec sleep 1000").await;
    let mut session = driver.exec(&handle.id, command(&["sort"])).await.unwrap();
    session.stdin.write_all(b"b\na\n").await.unwrap();
    assert_eq!(finish(session).await.0, "a\nb\n");
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_terminal_is_one_and_takes_another_size() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = running(&node, &driver, "exec sleep 1000").await;
    let mut spec = command(&["sh", "-c", "tty; stty size; read line; stty size; read line; echo end $TERM"]);
    spec.terminal = Some(TerminalSize { rows: 24, columns: 80 });
    let mut session = driver.exec(&handle.id, spec).await.unwrap();
    read_until(&mut session, "24 80\r\n").await;
    session.control.resize(TerminalSize { rows: 50, columns: 132 }).await.unwrap();
    session.stdin.write_all(b"\n").await.unwrap();
    read_until(&mut session, "50 132\r\n").await;
    // The end of input ends the reading.
    session.stdin.shutdown().await.unwrap();
    let (out, err, code) = finish(session).await;
    assert!(out.ends_with("end xterm\r\n") && err.is_empty() && code == 0, "{out:?} {err:?} {code}");
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

async fn read_until(session: &mut ExecSession, expected: &str) {
    let mut told = String::new();
    let reading = async {
        while !told.contains(expected) {
            let mut bytes = [0; 256];
            let count = session.stdout.read(&mut bytes).await.unwrap();
            assert!(count > 0, "{told:?} and no more");
            told.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    };
    let done = tokio::time::timeout(DEADLINE, reading).await;
    assert!(done.is_ok(), "waited in vain for {expected:?} in {told:?}");
}

#[tokio::test]
async fn control_c_interrupts_what_runs_in_a_terminal() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = running(&node, &driver, "exec sleep 1000").await;
    let mut spec = command(&["sh", "-c", "echo begun; exec sleep 1000"]);
    spec.terminal = Some(TerminalSize { rows: 24, columns: 80 });
    let mut session = driver.exec(&handle.id, spec).await.unwrap();
    read_until(&mut session, "begun").await;
    session.stdin.write_all(&[3]).await.unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, session.control.wait()).await.unwrap().unwrap(), 130);
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_session_that_is_dropped_ends_its_command() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = running(&node, &driver, "exec sleep 1000").await;
    let processes = || async { driver.stats(&handle.id).await.unwrap().processes };
    assert_eq!(processes().await, 2);
    let mut session = driver.exec(&handle.id, command(&["sh", "-c", "echo begun; sleep 1000; true"])).await.unwrap();
    read_until(&mut session, "begun").await;
    assert!(processes().await > 2, "it counts as the task's");
    drop(session);
    let began = std::time::Instant::now();
    while processes().await > 2 {
        assert!(began.elapsed() < DEADLINE, "the command goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_command_ends_with_its_task() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = running(&node, &driver, "exec sleep 1000").await;
    let mut session = driver.exec(&handle.id, command(&["sleep", "1000"])).await.unwrap();
    driver.stop(&handle.id, None, Duration::from_secs(10)).await.unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, session.control.wait()).await.unwrap().unwrap(), 137);
    let refused = driver.exec(&handle.id, command(&["true"])).await.unwrap_err();
    assert!(refused.to_string().contains("has ended"), "{refused}");
    driver.destroy(&handle.id).await.unwrap();
    assert!(matches!(driver.exec(&handle.id, command(&["true"])).await, Err(Error::UnknownTask(_))));
    node.close().await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_told() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = running(&node, &driver, "exec sleep 1000").await;
    let error = driver.exec(&handle.id, command(&["no-such-program"])).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("no-such-program") && cause.contains("No such file"), "{error}: {cause}");
    eventually("the process to go", || {
        let children = orch_host::process::children(std::process::id().try_into().unwrap()).unwrap();
        (!children.iter().any(|child| !child.is_dead() && has_mode(child.pid))).then_some(())
    })
    .await;
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

fn has_mode(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.windows(7).any(|part| part == b"__enter"))
}
