//! `orch node purge`.

use anyhow::bail;
use orch_model::node::NodeStatus;

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::terminal;
use crate::{monitor, resolve};

#[derive(Debug, clap::Args)]
pub(crate) struct PurgeArgs {
    /// The node
    node: String,
    /// Also a node that is up, which then registers again
    #[arg(long)]
    force: bool,
    /// Return at once instead of following what becomes of its work
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: PurgeArgs) -> Outcome {
    let node = resolve::node(context, &args.node).await?;
    if node.status == NodeStatus::Ready && !args.force {
        bail!("the node {} is up and would register again: stop its agent first, or use -force", node.id);
    }
    let answer = context.client.purge_node(&node.id).await?;
    terminal::line(format!("Node \"{}\" purged", node.id));
    if !args.detach {
        for eval in &answer.eval_ids {
            monitor::evaluation(context, eval, args.verbose).await?;
        }
    }
    Ok(DONE)
}
