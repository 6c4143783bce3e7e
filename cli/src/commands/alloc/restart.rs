//! `orch alloc restart`.

use anyhow::bail;
use orch_api::allocation::AllocRestartRequest;

use super::target;
use crate::commands::{DONE, Outcome};
use crate::context::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct RestartArgs {
    /// The allocation
    allocation: String,
    /// The task; without one, all that run
    task: Option<String>,
    /// The task
    #[arg(long = "task", value_name = "task", conflicts_with = "task")]
    named_task: Option<String>,
    /// Also tasks that have ended
    #[arg(long)]
    all_tasks: bool,
    /// Accepted as elsewhere
    #[arg(long, hide = true)]
    verbose: bool,
}

pub(crate) async fn run(context: &Context, args: RestartArgs) -> Outcome {
    let named = args.task.or(args.named_task);
    if args.all_tasks && named.is_some() {
        bail!("-all-tasks means every task: name none beside it");
    }
    let (context, alloc) = target::allocation(context, &args.allocation, false, None).await?;
    let task_name = match named {
        Some(name) => target::task(&alloc, Some(&name))?,
        None => String::new(),
    };
    let request = AllocRestartRequest { task_name, all_tasks: args.all_tasks };
    context.client.restart_allocation(&alloc.id, &request).await?;
    Ok(DONE)
}
