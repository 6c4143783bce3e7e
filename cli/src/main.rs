//! The one binary: commands that talk to an agent, the agent itself, and the processes that it starts: supervisor, Wasm tasks, commands
//! in tasks, fetches.
//!
//! Those fork or give up rights, so they are entered before anything else exists: no runtime, no thread, no parsed command line.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod argv;
mod terminal;

mod context;
mod output;

mod resolve;

mod explain;
mod interactive;
mod monitor;
mod rollout;

mod commands;

mod agent;

use std::ffi::OsString;
use std::process::ExitCode;

use orch_supervisor::{AgentCommand, SupervisorArgs, run_as_init, run_supervisor, speak_with_init};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The first argument of a process that is to become the supervisor.
const SUPERVISOR: &str = "supervisor";
/// The first argument of an agent whose parent is process 1 of a container and its supervisor; a descriptor and the agent's own follow.
const SUPERVISED: &str = "supervised";
const AGENT: &str = "agent";

fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    match args.first().and_then(|first| first.to_str()) {
        Some(SUPERVISOR) => return supervise(args.into_iter().skip(1)),
        Some(orch_supervisor::enter::MODE) => return orch_supervisor::enter::main(),
        Some(orch_driver_wasm::CHILD) => return orch_driver_wasm::child_main(),
        Some(orch_artifact::CHILD) => return orch_artifact::child_main(),
        _ => {}
    }
    if std::process::id() == 1 && args.first().is_some_and(|first| first == AGENT) {
        return contain(args);
    }
    if args.first().is_some_and(|first| first == SUPERVISED) {
        let fd = args.get(1).and_then(|fd| fd.to_str()).and_then(|fd| fd.parse().ok());
        if let Some(Err(error)) = fd.map(speak_with_init) {
            terminal::err(format!("The socket to process 1 cannot be used: {error}"));
            return ExitCode::FAILURE;
        }
        args.drain(..args.len().min(2));
    }
    commands::main(args)
}

/// As process 1 of a container: the agent becomes a child, so that its tasks outlive it.
fn contain(args: Vec<OsString>) -> ExitCode {
    let exe = std::env::current_exe().map_err(anyhow::Error::from);
    let ended = exe.and_then(|exe| Ok(run_as_init(AgentCommand { exe, args, born: SUPERVISED.into() })?));
    ended.unwrap_or_else(|error| {
        terminal::err(terminal::describe(&error));
        ExitCode::FAILURE
    })
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
