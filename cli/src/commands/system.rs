//! `orch system …`.

use clap::Subcommand;

use super::{DONE, Outcome};
use crate::context::Context;
use crate::terminal;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum SystemCommand {
    /// Remove ended jobs, evaluations, allocations and lost nodes now
    Gc,
    /// Set right what the servers derive
    Reconcile {
        #[command(subcommand)]
        command: ReconcileCommand,
    },
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum ReconcileCommand {
    /// Count the summaries of all jobs anew
    Summaries,
}

pub(crate) async fn run(context: &Context, command: SystemCommand) -> Outcome {
    match command {
        SystemCommand::Gc => {
            context.client.system_gc().await?;
            terminal::line("System GC requested");
        }
        SystemCommand::Reconcile { command: ReconcileCommand::Summaries } => {
            context.client.reconcile_summaries().await?;
            terminal::line("Job summaries counted anew");
        }
    }
    Ok(DONE)
}
