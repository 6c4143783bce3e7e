//! `orch alloc stop`.

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::terminal;
use crate::{monitor, resolve};

#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// The allocation
    allocation: String,
    /// Return at once instead of following its replacement
    #[arg(long)]
    detach: bool,
    /// Skip the shutdown delay of its tasks
    #[arg(long)]
    no_shutdown_delay: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: StopArgs) -> Outcome {
    let found = resolve::allocation(context, &args.allocation).await?;
    let context = context.in_namespace(&found.namespace);
    let answer = context.client.stop_allocation(&found.id, args.no_shutdown_delay).await?;
    if args.detach {
        terminal::line(args.verbose.id(&answer.eval_id));
        return Ok(DONE);
    }
    monitor::rollout(&context, &answer.eval_id, args.verbose).await
}
