//! `orch deployment fail`, `pause`, `resume` and `promote`.

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::terminal;
use crate::{monitor, resolve};

#[derive(Debug, clap::Args)]
pub(crate) struct FollowedArgs {
    /// The deployment
    deployment: String,
    /// Return at once instead of following what comes of it
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    verbose: Verbose,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// The deployment
    deployment: String,
    #[command(flatten)]
    verbose: Verbose,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// The deployment
    deployment: String,
    /// Only the canaries of this group; may be repeated
    #[arg(long = "group", value_name = "group")]
    groups: Vec<String>,
    /// Return at once instead of following what comes of it
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(super) async fn fail(context: &Context, args: FollowedArgs) -> Outcome {
    let found = resolve::deployment(context, &args.deployment).await?;
    let context = context.in_namespace(&found.namespace);
    let answer = context.client.fail_deployment(&found.id).await?;
    let id = args.verbose.id(&found.id);
    match answer.reverted_job_version {
        Some(version) => {
            terminal::line(format!("Deployment \"{id}\" failed; the job goes back to what version {version} says"));
        }
        None => terminal::line(format!("Deployment \"{id}\" failed")),
    }
    follow(&context, &answer.eval_id, args.detach, args.verbose).await
}

pub(super) async fn pause(context: &Context, args: PauseArgs) -> Outcome {
    let found = resolve::deployment(context, &args.deployment).await?;
    let context = context.in_namespace(&found.namespace);
    context.client.pause_deployment(&found.id, true).await?;
    terminal::line(format!("Deployment \"{}\" paused", args.verbose.id(&found.id)));
    Ok(DONE)
}

pub(super) async fn resume(context: &Context, args: FollowedArgs) -> Outcome {
    let found = resolve::deployment(context, &args.deployment).await?;
    let context = context.in_namespace(&found.namespace);
    let answer = context.client.pause_deployment(&found.id, false).await?;
    terminal::line(format!("Deployment \"{}\" resumed", args.verbose.id(&found.id)));
    follow(&context, &answer.eval_id, args.detach, args.verbose).await
}

pub(super) async fn promote(context: &Context, args: PromoteArgs) -> Outcome {
    let found = resolve::deployment(context, &args.deployment).await?;
    let context = context.in_namespace(&found.namespace);
    let answer = context.client.promote_deployment(&found.id, &args.groups).await?;
    follow(&context, &answer.eval_id, args.detach, args.verbose).await
}

/// Follows the evaluation that a change created, if it did, and the deployment that goes on or begins with it.
async fn follow(context: &Context, eval: &str, detach: bool, verbose: Verbose) -> Outcome {
    if eval.is_empty() {
        return Ok(DONE);
    }
    if detach {
        terminal::line(format!("Evaluation ID: {}", verbose.id(eval)));
        return Ok(DONE);
    }
    terminal::line("");
    monitor::rollout(context, eval, verbose).await
}
