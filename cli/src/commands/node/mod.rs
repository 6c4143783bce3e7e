//! `orch node …`.

mod eligibility;
mod purge;
pub(crate) mod status;

use clap::Subcommand;

use super::Outcome;
use crate::context::Context;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum NodeCommand {
    /// Show nodes, or one in detail
    Status(status::StatusArgs),
    /// Say whether work may be placed on a node
    Eligibility(eligibility::EligibilityArgs),
    /// Forget a node that will not come back
    Purge(purge::PurgeArgs),
}

pub(crate) async fn run(context: &Context, command: NodeCommand) -> Outcome {
    match command {
        NodeCommand::Status(args) => status::run(context, args).await,
        NodeCommand::Eligibility(args) => eligibility::run(context, args).await,
        NodeCommand::Purge(args) => purge::run(context, args).await,
    }
}
