//! What a restarted agent finds.

use std::time::Duration;

use super::Program;
use super::bench::{Bench, Checked, SOON, Stop, ensure, within};
use crate::error::Error;

pub(super) async fn a_reopened_driver_finds_a_running_task(bench: &mut Bench<'_>) -> Checked {
    let (spec, handle) = bench.run(&Program::Forever).await?;
    bench.reopen().await;
    within("recover", bench.driver().recover(&handle)).await?;
    within("recover once more", bench.driver().recover(&handle)).await?;
    bench.ensure_runs(&spec.id).await?;
    within("stats", bench.driver().stats(&spec.id)).await?;
    bench.stop(&spec.id, SOON / 2).await?;
    bench.wait(&spec.id).await.map(drop)
}

pub(super) async fn a_recovered_task_is_signalled_and_tells_its_code(bench: &mut Bench<'_>) -> Checked {
    let spec = bench.run_until_ready(&Program::ExitsOnUsr1).await?;
    let handle = handle_of(bench, &spec.id).await?;
    bench.reopen().await;
    within("recover", bench.driver().recover(&handle)).await?;
    within("signal", bench.driver().signal(&spec.id, "SIGUSR1")).await?;
    let status = bench.wait(&spec.id).await?;
    ensure!(status.code == Some(7), "the recovered task ended with {status:?}");
    Ok(())
}

pub(super) async fn a_reopened_driver_tells_how_a_task_ended(bench: &mut Bench<'_>) -> Checked {
    let (spec, handle) = bench.run(&Program::Exit(7)).await?;
    bench.wait(&spec.id).await?;
    bench.reopen().await;
    within("recover", bench.driver().recover(&handle)).await?;
    let status = bench.wait(&spec.id).await?;
    ensure!(status.code == Some(7), "a task that had exited with 7 before the restart is told as {status:?}");
    Ok(())
}

pub(super) async fn a_destroyed_task_is_not_recovered(bench: &mut Bench<'_>) -> Checked {
    let (spec, handle) = bench.run(&Program::Forever).await?;
    bench.destroy(&spec.id).await?;
    bench.reopen().await;
    let answer = bench.driver().recover(&handle).await;
    ensure!(matches!(answer, Err(Error::UnknownTask(_))), "recovering a destroyed task answered {answer:?}");
    Ok(())
}

pub(super) async fn list_gives_handles_that_can_be_recovered(bench: &mut Bench<'_>) -> Checked {
    let (first, started) = bench.run(&Program::Forever).await?;
    let (second, _) = bench.run(&Program::Forever).await?;
    bench.reopen().await;
    let mut listed: Vec<_> = within("list", bench.driver().list()).await?.into_iter().map(|handle| handle.id).collect();
    let mut expected = vec![first.id.clone(), second.id.clone()];
    listed.sort();
    expected.sort();
    ensure!(listed == expected, "{expected:?} run, but list gives {listed:?}");
    let handle = handle_of(bench, &first.id).await?;
    ensure!(handle.driver == started.driver, "the listed handle names driver {:?}", handle.driver);
    within("recover", bench.driver().recover(&handle)).await?;
    bench.stop(&first.id, Duration::from_secs(5)).await?;
    bench.ensure_runs(&second.id).await
}

async fn handle_of(bench: &Bench<'_>, id: &crate::TaskId) -> Result<crate::TaskHandle, Stop> {
    let handles = within("list", bench.driver().list()).await?;
    handles.into_iter().find(|handle| handle.id == *id).ok_or_else(|| Stop::Broken(format!("{id} is not listed")))
}
