//! `orch deployment …`.

mod change;
mod list;
pub(crate) mod status;

use clap::Subcommand;

use super::Outcome;
use crate::context::Context;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum DeploymentCommand {
    /// List the deployments
    List(list::ListArgs),
    /// Show a deployment, or follow it to its end
    Status(status::StatusArgs),
    /// Give a deployment up; its job goes back to its last stable version where a group asks for that
    Fail(change::FollowedArgs),
    /// Hold a deployment: nothing more is placed, and no deadline runs
    Pause(change::PauseArgs),
    /// Let a paused deployment go on
    Resume(change::FollowedArgs),
    /// Let the canaries of a deployment replace what ran before
    Promote(change::PromoteArgs),
}

pub(crate) async fn run(context: &Context, command: DeploymentCommand) -> Outcome {
    match command {
        DeploymentCommand::List(args) => list::run(context, args).await,
        DeploymentCommand::Status(args) => status::run(context, args).await,
        DeploymentCommand::Fail(args) => change::fail(context, args).await,
        DeploymentCommand::Pause(args) => change::pause(context, args).await,
        DeploymentCommand::Resume(args) => change::resume(context, args).await,
        DeploymentCommand::Promote(args) => change::promote(context, args).await,
    }
}
