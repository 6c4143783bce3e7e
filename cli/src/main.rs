//! The one binary: commands that talk to an agent, the agent itself, and the supervisor that it starts.
//!
//! The supervisor forks, so it is entered before anything else exists: no runtime, no thread, no parsed command line.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod argv;
mod terminal;

mod context;
mod output;

mod resolve;

mod explain;
mod monitor;

mod commands;

mod agent;

use std::ffi::OsString;
use std::process::ExitCode;

use orch_supervisor::{SupervisorArgs, run_supervisor};

/// The first argument of a process that is to become the supervisor.
const SUPERVISOR: &str = "supervisor";

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == SUPERVISOR) {
        return supervise(args.into_iter().skip(1));
    }
    commands::main(args)
}

fn supervise(args: impl Iterator<Item = OsString>) -> ExitCode {
    let outcome = match SupervisorArgs::parse(args) {
        Ok(args) => run_supervisor(args).map_err(anyhow::Error::from),
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| {
        terminal::err(terminal::describe(&error));
        ExitCode::FAILURE
    })
}
