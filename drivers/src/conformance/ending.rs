//! How tasks are ended.

use std::time::Duration;

use tokio::time::Instant;

use super::Program;
use super::bench::{Bench, Checked, SOON, ensure, within};
use crate::error::Error;

const SIGKILL: i32 = 9;

pub(super) async fn stop_ends_a_task_and_may_be_repeated(bench: &mut Bench<'_>) -> Checked {
    let (spec, _) = bench.run(&Program::Forever).await?;
    let began = Instant::now();
    bench.stop(&spec.id, SOON / 2).await?;
    let took = began.elapsed();
    ensure!(took < SOON / 2, "a task that obeys its signal was stopped only after {took:?}");
    let first = bench.wait(&spec.id).await?;
    bench.stop(&spec.id, SOON / 2).await?;
    let second = bench.wait(&spec.id).await?;
    ensure!(first == second, "a second stop changed the status from {first:?} to {second:?}");
    Ok(())
}

pub(super) async fn stop_kills_what_ignores_its_signal(bench: &mut Bench<'_>) -> Checked {
    let spec = bench.run_until_ready(&Program::IgnoresSignals).await?;
    let timeout = Duration::from_millis(300);
    let began = Instant::now();
    bench.stop(&spec.id, timeout).await?;
    let took = began.elapsed();
    ensure!(took >= timeout, "it was given {took:?} instead of {timeout:?}");
    let status = bench.wait(&spec.id).await?;
    let expected = (Some(SIGKILL), Some(128 + SIGKILL));
    ensure!((status.signal, status.code) == expected, "a task that was killed is told as {status:?}");
    ensure!(!status.oom_killed, "it was killed, but not for want of memory: {status:?}");
    Ok(())
}

pub(super) async fn two_stops_at_once_both_end(bench: &mut Bench<'_>) -> Checked {
    let spec = bench.run_until_ready(&Program::IgnoresSignals).await?;
    let began = Instant::now();
    let (patient, hasty) =
        tokio::join!(bench.stop(&spec.id, SOON * 10), bench.stop(&spec.id, Duration::from_millis(100)));
    patient?;
    hasty?;
    let took = began.elapsed();
    ensure!(took < SOON, "a stop with a short timeout beside a patient one was done after {took:?}");
    Ok(())
}

pub(super) async fn signals_reach_the_task(bench: &mut Bench<'_>) -> Checked {
    if !bench.driver().capabilities().signals {
        let (spec, _) = bench.run(&Program::Forever).await?;
        let answer = bench.driver().signal(&spec.id, "SIGHUP").await;
        ensure!(matches!(answer, Err(Error::Unsupported { .. })), "it has no signals, but answered {answer:?}");
        return Ok(());
    }
    for spelling in ["SIGUSR1", "usr1"] {
        let spec = bench.run_until_ready(&Program::ExitsOnUsr1).await?;
        within("signal", bench.driver().signal(&spec.id, spelling)).await?;
        let status = bench.wait(&spec.id).await?;
        ensure!(status.code == Some(7), "{spelling} ended the task with {status:?}");
    }
    Ok(())
}

pub(super) async fn a_signal_that_does_not_exist_is_an_error(bench: &mut Bench<'_>) -> Checked {
    let (spec, _) = bench.run(&Program::Forever).await?;
    let signalled = bench.driver().signal(&spec.id, "SIGNOTHING").await;
    ensure!(signalled.is_err(), "signal took SIGNOTHING");
    let stopped = bench.driver().stop(&spec.id, Some("SIGNOTHING"), Duration::ZERO).await;
    ensure!(stopped.is_err(), "stop took SIGNOTHING");
    bench.ensure_runs(&spec.id).await
}

pub(super) async fn destroy_ends_a_running_task(bench: &mut Bench<'_>) -> Checked {
    let spec = bench.run_until_ready(&Program::IgnoresSignals).await?;
    let (waited, destroyed) = tokio::join!(bench.wait(&spec.id), bench.destroy(&spec.id));
    destroyed?;
    let status = waited?;
    ensure!(status.signal == Some(SIGKILL), "who waited meanwhile got {status:?}");
    ensure!(!bench.is_listed(&spec.id).await?, "a task that was destroyed is listed");
    let answer = bench.driver().wait(&spec.id).await;
    ensure!(matches!(answer, Err(Error::UnknownTask(_))), "waiting for a destroyed task gave {answer:?}");
    Ok(())
}
