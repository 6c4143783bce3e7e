//! `orch job eval`.

use super::follow;
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::resolve;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {
    /// The job
    job: String,
    /// Replace failed allocations also where their limit of attempts is reached
    #[arg(long)]
    force_reschedule: bool,
    /// Return at once instead of following the evaluation
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: EvalArgs) -> Outcome {
    let found = resolve::job(context, &args.job).await?;
    let context = context.in_namespace(&found.namespace);
    let answer = context.client.evaluate_job(&found.id, args.force_reschedule).await?;
    if args.detach {
        terminal::line(format!("Created eval ID: \"{}\"", args.verbose.id(&answer.eval_id)));
        return Ok(DONE);
    }
    follow(&context, &answer.eval_id, false, args.verbose).await
}
