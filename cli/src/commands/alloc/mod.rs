//! `orch alloc …`.

pub(crate) mod exec;
mod follow;
pub(crate) mod fs;
pub(crate) mod logs;
mod port_forward;
mod restart;
mod signal;
pub(crate) mod status;
mod stop;
mod target;

use clap::Subcommand;

use super::Outcome;
use crate::context::Context;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum AllocCommand {
    /// Show an allocation
    Status(status::StatusArgs),
    /// Show the output of a task
    Logs(logs::LogsArgs),
    /// Show the files of an allocation
    Fs(fs::FsArgs),
    /// Stop an allocation, so that it is replaced
    Stop(stop::StopArgs),
    /// Start tasks of an allocation again, where they are
    Restart(restart::RestartArgs),
    /// Send a signal to tasks of an allocation
    Signal(signal::SignalArgs),
    /// Run a command inside a task
    Exec(exec::ExecArgs),
    /// Listen here and pass connections on to a port of an allocation, until interrupted
    PortForward(port_forward::PortForwardArgs),
}

pub(crate) async fn run(context: &Context, command: AllocCommand) -> Outcome {
    match command {
        AllocCommand::Status(args) => status::run(context, args).await,
        AllocCommand::Logs(args) => logs::run(context, args).await,
        AllocCommand::Fs(args) => fs::run(context, args).await,
        AllocCommand::Stop(args) => stop::run(context, args).await,
        AllocCommand::Restart(args) => restart::run(context, args).await,
        AllocCommand::Signal(args) => signal::run(context, args).await,
        AllocCommand::Exec(args) => exec::run(context, args).await,
        AllocCommand::PortForward(args) => port_forward::run(context, args).await,
    }
}
