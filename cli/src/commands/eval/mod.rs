//! `orch eval …`.

mod list;
pub(crate) mod status;

use clap::Subcommand;

use super::Outcome;
use crate::context::Context;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum EvalCommand {
    /// List evaluations
    List(list::ListArgs),
    /// Show an evaluation
    Status(status::StatusArgs),
}

pub(crate) async fn run(context: &Context, command: EvalCommand) -> Outcome {
    match command {
        EvalCommand::List(args) => list::run(context, args).await,
        EvalCommand::Status(args) => status::run(context, args).await,
    }
}
