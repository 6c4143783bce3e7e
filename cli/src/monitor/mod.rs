//! Following what a command set in motion to its end, and telling it: evaluations, then the deployment that they began.

mod deployment;
mod evaluation;
mod patience;
mod screen;

use std::time::Duration;

use crate::output::time_nanos;
use crate::terminal;

pub(crate) use deployment::deployment;
pub(crate) use evaluation::{evaluation, rollout};

/// How long the agent may hold an answer back while nothing changes.
pub(crate) const WAIT: Duration = Duration::from_secs(2);

fn heading(text: &str) {
    terminal::line(format!("==> {}: {text}", now()));
}

fn step(text: &str) {
    terminal::line(format!("    {}: {text}", now()));
}

fn now() -> String {
    time_nanos(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}
