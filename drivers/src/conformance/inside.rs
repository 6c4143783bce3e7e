//! Commands inside tasks, and what is mounted there.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bench::{Bench, Checked, SOON, Stop, ensure, eventually, within};
use super::{Command, Program};
use crate::error::Error;
use crate::exec::{ExecSession, ExecSpec, TerminalSize};
use crate::spec::{Propagation, TaskId, TaskMount, TaskSpec};

/// How long a command that was ended may go on unnoticed.
const STILL: Duration = Duration::from_millis(500);

pub(super) async fn commands_are_refused_where_they_cannot_be_run(bench: &mut Bench<'_>) -> Checked {
    let (spec, _) = bench.run(&Program::Forever).await?;
    let asked = |command: Vec<String>| ExecSpec { command, terminal: None, env: Vec::new() };
    if !bench.driver().capabilities().exec {
        let answer = bench.driver().exec(&spec.id, asked(vec!["true".to_owned()])).await;
        ensure!(matches!(answer, Err(Error::Unsupported { .. })), "it runs no commands, but answered {answer:?}");
        return Ok(());
    }
    let command = command(bench, &Command::ShowsVariable)?;
    let nobody = TaskId { run: spec.id.run + 1, ..spec.id.clone() };
    let answer = bench.driver().exec(&nobody, asked(command.clone())).await;
    ensure!(matches!(answer, Err(Error::UnknownTask(_))), "a command in a task that nobody knows answered {answer:?}");
    bench.stop(&spec.id, SOON / 2).await?;
    let answer = bench.driver().exec(&spec.id, asked(command)).await;
    ensure!(answer.is_err(), "a command in a task that has ended answered {answer:?}");
    Ok(())
}

pub(super) async fn a_command_reads_writes_and_tells_its_code(bench: &mut Bench<'_>) -> Checked {
    require_exec(bench)?;
    let (spec, _) = bench.run(&Program::Forever).await?;
    let typed = "a line\n".repeat(20_000);
    for code in [0, 9] {
        let mut session = exec(bench, &spec, &Command::Copies(code), None, &[]).await?;
        let (mut stdin, mut stdout, mut stderr) = (session.stdin, session.stdout, session.stderr);
        let (mut written, mut complained) = (String::new(), String::new());
        let text = typed.clone();
        let typing = async move {
            let typed = stdin.write_all(text.as_bytes()).await;
            // To drop it says that nothing more comes.
            drop(stdin);
            typed
        };
        let talk =
            async { tokio::join!(typing, stdout.read_to_string(&mut written), stderr.read_to_string(&mut complained)) };
        let talked = tokio::time::timeout(SOON, talk).await;
        let Ok((Ok(()), Ok(_), Ok(_))) = talked else {
            return Err(Stop::Broken(format!("its streams should end, but: {talked:?}")));
        };
        ensure!(written == typed, "{} bytes were typed, but {} came back", typed.len(), written.len());
        ensure!(complained == "done\n", "its errors are {complained:?}");
        let first = within("wait", session.control.wait()).await?;
        let second = within("wait again", session.control.wait()).await?;
        ensure!((first, second) == (code, code), "it exits with {code}, but is told as {first} and {second}");
    }
    bench.ensure_runs(&spec.id).await
}

pub(super) async fn a_command_has_the_environment_it_is_given(bench: &mut Bench<'_>) -> Checked {
    require_exec(bench)?;
    let (spec, _) = bench.run(&Program::Forever).await?;
    let session = exec(bench, &spec, &Command::ShowsVariable, None, &[("ORCH_CHECK", "of \"this\" command")]).await?;
    let written = finish(session).await?.1;
    ensure!(written == "of \"this\" command\n", "it wrote {written:?}");
    Ok(())
}

pub(super) async fn a_terminal_has_the_size_it_is_given(bench: &mut Bench<'_>) -> Checked {
    require_exec(bench)?;
    let (spec, _) = bench.run(&Program::Forever).await?;
    let size = TerminalSize { rows: 33, columns: 101 };
    let mut session = exec(bench, &spec, &Command::ShowsTerminal, Some(size), &[]).await?;
    let mut seen = String::new();
    for (rows, columns) in [(33, 101), (44, 55)] {
        within("resize", session.control.resize(TerminalSize { rows, columns })).await?;
        let asked = session.stdin.write_all(b"\n").await;
        ensure!(asked.is_ok(), "it does not read: {asked:?}");
        let answer = format!("{rows} {columns}");
        let found = tokio::time::timeout(SOON, read_until(&mut session, &mut seen, &answer)).await;
        ensure!(found == Ok(true), "its terminal should be {answer}, but it wrote {seen:?}");
    }
    // The end of what is typed at a terminal is a character.
    let asked = session.stdin.write_all(b"\x04").await;
    ensure!(asked.is_ok(), "it does not read: {asked:?}");
    let (code, _) = finish(session).await?;
    ensure!(code == 0, "it exits with 0, but is told as {code}");
    Ok(())
}

pub(super) async fn a_dropped_session_ends_its_command(bench: &mut Bench<'_>) -> Checked {
    require_exec(bench)?;
    let (spec, _) = bench.run(&Program::Forever).await?;
    for terminal in [None, Some(TerminalSize { rows: 24, columns: 80 })] {
        let file = format!("ticks-{}", terminal.is_some());
        let ticks = spec.dirs.local.join(&file);
        let command = Command::Ticks(bench.fixture().local_dir(&spec).join(&file));
        let mut session = exec(bench, &spec, &command, terminal, &[]).await?;
        let mut seen = String::new();
        let began = tokio::time::timeout(SOON, read_until(&mut session, &mut seen, "started")).await;
        ensure!(began == Ok(true), "it should have started, but wrote {seen:?}");
        eventually("the command ticks", || size(&ticks) > 0).await?;
        drop(session);
        stands_still(&ticks).await?;
    }
    bench.ensure_runs(&spec.id).await
}

pub(super) async fn a_command_cannot_outlive_its_task(bench: &mut Bench<'_>) -> Checked {
    require_exec(bench)?;
    let (spec, _) = bench.run(&Program::Forever).await?;
    let ticks = spec.dirs.local.join("ticks");
    let command = Command::Ticks(bench.fixture().local_dir(&spec).join("ticks"));
    let mut session = exec(bench, &spec, &command, None, &[]).await?;
    eventually("the command ticks", || size(&ticks) > 0).await?;
    bench.stop(&spec.id, Duration::from_secs(5)).await?;
    stands_still(&ticks).await?;
    let answer = tokio::time::timeout(SOON, session.control.wait()).await;
    ensure!(answer.is_ok(), "who waits for the command is not told that it has ended");
    Ok(())
}

pub(super) async fn mounts_are_seen_where_they_should_be(bench: &mut Bench<'_>) -> Checked {
    require_exec(bench)?;
    if !bench.driver().capabilities().mounts {
        return Err(Stop::NotClaimed);
    }
    let mut spec = bench.spec(&Program::Forever)?;
    let root = bench.fixture().root();
    for (name, read_only) in [("writable", false), ("readable", true)] {
        let host_path = root.join(format!("{name}-{}", spec.id.alloc_id));
        let made = std::fs::create_dir(&host_path).and_then(|()| std::fs::write(host_path.join("file"), name));
        ensure!(made.is_ok(), "{} cannot be made: {made:?}", host_path.display());
        let task_path = Path::new("/mounted").join(name);
        spec.mounts.push(TaskMount { host_path, task_path, read_only, propagation: Propagation::Private });
    }
    bench.start(&spec).await?;
    for mount in spec.mounts.clone() {
        let session = exec(bench, &spec, &Command::Reads(mount.task_path.join("file")), None, &[]).await?;
        let (code, text) = finish(session).await?;
        let name = mount.task_path.file_name().unwrap_or_default().to_string_lossy();
        ensure!(code == 0 && text == name, "{} gives {text:?} and code {code}", mount.task_path.display());
        let session = exec(bench, &spec, &Command::Makes(mount.task_path.join("made")), None, &[]).await?;
        let (code, _) = finish(session).await?;
        let made = mount.host_path.join("made").exists();
        let expected = !mount.read_only;
        ensure!(
            made == expected && (code == 0) == expected,
            "a file in {} (read-only: {}) was made: {made}, with code {code}",
            mount.task_path.display(),
            mount.read_only
        );
    }
    Ok(())
}

fn require_exec(bench: &Bench<'_>) -> Checked {
    if bench.driver().capabilities().exec { Ok(()) } else { Err(Stop::NotClaimed) }
}

fn command(bench: &Bench<'_>, command: &Command) -> Result<Vec<String>, Stop> {
    bench.fixture().command(command).ok_or(Stop::NoProgram)
}

/// Runs `asked` in the task, with the suite's environment and `env`.
async fn exec(
    bench: &Bench<'_>,
    spec: &TaskSpec,
    asked: &Command,
    terminal: Option<TerminalSize>,
    env: &[(&str, &str)],
) -> Result<ExecSession, Stop> {
    let command = command(bench, asked)?;
    let own = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let env = bench.fixture().env().into_iter().chain(own).collect();
    within("exec", bench.driver().exec(&spec.id, ExecSpec { command, terminal, env })).await
}

/// Waits for the end of a command that reads nothing more; its code, and what it wrote to stdout.
async fn finish(session: ExecSession) -> Result<(i32, String), Stop> {
    let ExecSession { stdin, mut stdout, stderr: _open, mut control } = session;
    drop(stdin);
    let mut written = String::new();
    let read = tokio::time::timeout(SOON, stdout.read_to_string(&mut written)).await;
    ensure!(matches!(read, Ok(Ok(_))), "its output should end, but: {read:?}");
    Ok((within("wait", control.wait()).await?, written))
}

/// Reads until `seen` holds `text`; whether it came before the end.
async fn read_until(session: &mut ExecSession, seen: &mut String, text: &str) -> bool {
    let mut buffer = [0; 1024];
    while !seen.contains(text) {
        match session.stdout.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                seen.push_str(&String::from_utf8_lossy(buffer.get(..count).unwrap_or_default()));
            }
            Ok(_) | Err(_) => return false,
        }
    }
    true
}

/// Waits until a file that was being written has been left alone for a while.
async fn stands_still(file: &Path) -> Checked {
    let watch = async {
        let mut before = size(file);
        loop {
            tokio::time::sleep(STILL).await;
            let now = size(file);
            if now == before {
                return;
            }
            before = now;
        }
    };
    let stood = tokio::time::timeout(SOON, watch).await;
    ensure!(stood.is_ok(), "the command still runs: {} grows", file.display());
    Ok(())
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |data| data.len())
}
