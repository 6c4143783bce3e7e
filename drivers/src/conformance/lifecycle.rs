//! From start to destroy.

use std::time::Duration;

use orch_model::AllocId;
use uuid::Uuid;

use super::Program;
use super::bench::{Bench, Checked, Stop, ensure, within};
use crate::error::Error;
use crate::handle::TaskHandle;
use crate::spec::TaskId;

pub(super) async fn start_returns_while_the_task_runs(bench: &mut Bench<'_>) -> Checked {
    let (spec, handle) = bench.run(&Program::Forever).await?;
    ensure!(handle.id == spec.id, "the handle is of {}, not of {}", handle.id, spec.id);
    ensure!(handle.driver == bench.driver().name(), "the handle names driver {:?}", handle.driver);
    ensure!(!handle.started_at.is_none(), "the handle does not say when the task started");
    ensure!(bench.is_listed(&spec.id).await?, "the task is not listed");
    bench.ensure_runs(&spec.id).await
}

pub(super) async fn wait_answers_with_the_exit_code(bench: &mut Bench<'_>) -> Checked {
    for code in [0, 7] {
        let (spec, _) = bench.run(&Program::Exit(code)).await?;
        let status = bench.wait(&spec.id).await?;
        ensure!(status.code == Some(code), "a task that exits with {code} is told as {status:?}");
        ensure!(status.signal.is_none() && !status.oom_killed, "a plain exit is told as {status:?}");
        ensure!(status.success() == (code == 0), "success is {} for {status:?}", status.success());
    }
    Ok(())
}

pub(super) async fn every_waiter_gets_the_same_status(bench: &mut Bench<'_>) -> Checked {
    let (spec, _) = bench.run(&Program::Forever).await?;
    let (first, second, stopped) = tokio::join!(
        bench.wait(&spec.id),
        bench.wait(&spec.id),
        // The waiters are polled first, so they wait already when the task is stopped.
        bench.stop(&spec.id, Duration::from_secs(5)),
    );
    stopped?;
    let (first, second, late) = (first?, second?, bench.wait(&spec.id).await?);
    ensure!(first == second, "two waiters got {first:?} and {second:?}");
    ensure!(first == late, "who waited got {first:?}, and who asked later {late:?}");
    Ok(())
}

pub(super) async fn a_failed_start_leaves_nothing(bench: &mut Bench<'_>) -> Checked {
    let spec = bench.spec(&Program::Unstartable)?;
    for attempt in 1..=2 {
        let answer = bench.driver().start(spec.clone()).await;
        ensure!(matches!(answer, Err(Error::StartFailed { .. })), "attempt {attempt} answered {answer:?}");
        ensure!(!bench.is_listed(&spec.id).await?, "a task that did not start is listed after attempt {attempt}");
        let answer = bench.driver().wait(&spec.id).await;
        ensure!(matches!(answer, Err(Error::UnknownTask(_))), "waiting for it after attempt {attempt} gave {answer:?}");
    }
    let mut good = spec.clone();
    good.config = bench.config(&Program::Exit(3))?;
    bench.start(&good).await?;
    let status = bench.wait(&good.id).await?;
    ensure!(status.code == Some(3), "the same run started afterwards ended with {status:?}");
    Ok(())
}

pub(super) async fn a_run_is_started_only_once(bench: &mut Bench<'_>) -> Checked {
    let (spec, _) = bench.run(&Program::Forever).await?;
    let answer = bench.driver().start(spec.clone()).await;
    ensure!(answer.is_err(), "starting the same run again answered {answer:?}");
    bench.ensure_runs(&spec.id).await
}

pub(super) async fn runs_of_one_task_are_apart(bench: &mut Bench<'_>) -> Checked {
    let (first, _) = bench.run(&Program::Exit(7)).await?;
    bench.wait(&first.id).await?;
    let second = bench.next_run(&first, &Program::Forever)?;
    bench.start(&second).await?;
    let status = bench.wait(&first.id).await?;
    ensure!(status.code == Some(7), "after the second run began, the first is told as {status:?}");
    bench.stop(&first.id, Duration::ZERO).await?;
    bench.destroy(&first.id).await?;
    bench.ensure_runs(&second.id).await
}

pub(super) async fn an_ended_task_is_known_until_it_is_destroyed(bench: &mut Bench<'_>) -> Checked {
    let (spec, _) = bench.run(&Program::Exit(0)).await?;
    bench.wait(&spec.id).await?;
    bench.stop(&spec.id, Duration::from_secs(5)).await?;
    ensure!(bench.is_listed(&spec.id).await?, "a task that ended is not listed");
    bench.destroy(&spec.id).await?;
    ensure!(!bench.is_listed(&spec.id).await?, "a task that was destroyed is listed");
    ensure_unknown(bench, &spec.id, None).await
}

pub(super) async fn unknown_tasks_are_errors(bench: &mut Bench<'_>) -> Checked {
    let id = TaskId { alloc_id: AllocId::from_uuid(Uuid::new_v4()), task: "nobody".to_owned(), run: 0 };
    let (spec, handle) = bench.run(&Program::Forever).await?;
    let other_run = TaskId { run: spec.id.run + 1, ..spec.id };
    ensure_unknown(bench, &id, Some(TaskHandle { id: id.clone(), ..handle.clone() })).await?;
    ensure_unknown(bench, &other_run, None).await
}

async fn ensure_unknown(bench: &Bench<'_>, id: &TaskId, handle: Option<TaskHandle>) -> Checked {
    let driver = bench.driver();
    let mut answers = vec![
        ("wait", driver.wait(id).await.err()),
        ("stop", driver.stop(id, None, Duration::ZERO).await.err()),
        ("signal", driver.signal(id, "SIGHUP").await.err()),
        ("stats", driver.stats(id).await.err()),
        ("destroy", driver.destroy(id).await.err()),
    ];
    if let Some(handle) = handle {
        answers.push(("recover", driver.recover(&handle).await.err()));
    }
    for (what, error) in answers {
        match error {
            Some(Error::UnknownTask(named)) if named == *id => {}
            Some(Error::Unsupported { .. }) if what == "signal" && !driver.capabilities().signals => {}
            other => return Err(Stop::Broken(format!("{what} of a task that nobody knows answered {other:?}"))),
        }
    }
    Ok(())
}

pub(super) async fn a_running_task_has_figures(bench: &mut Bench<'_>) -> Checked {
    let (spec, _) = bench.run(&Program::Forever).await?;
    let earlier = within("stats", bench.driver().stats(&spec.id)).await?;
    ensure!(earlier.processes > 0, "a running task has no process: {earlier:?}");
    let later = within("stats", bench.driver().stats(&spec.id)).await?;
    ensure!(later.cpu_nanos >= earlier.cpu_nanos, "processor time went back from {earlier:?} to {later:?}");
    Ok(())
}
