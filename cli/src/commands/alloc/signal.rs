//! `orch alloc signal`.

use orch_api::allocation::AllocSignalRequest;

use super::target;
use crate::commands::{DONE, Outcome};
use crate::context::Context;

#[derive(Debug, clap::Args)]
pub(crate) struct SignalArgs {
    /// The allocation
    allocation: String,
    /// The task; without one, all that run
    task: Option<String>,
    /// The task
    #[arg(long = "task", value_name = "task", conflicts_with = "task")]
    named_task: Option<String>,
    /// The signal
    #[arg(short = 's', value_name = "signal", default_value = "SIGKILL")]
    signal: String,
    /// Accepted as elsewhere
    #[arg(long, hide = true)]
    verbose: bool,
}

pub(crate) async fn run(context: &Context, args: SignalArgs) -> Outcome {
    let (context, alloc) = target::allocation(context, &args.allocation, false, None).await?;
    let task = match args.task.or(args.named_task) {
        Some(name) => target::task(&alloc, Some(&name))?,
        None => String::new(),
    };
    let request = AllocSignalRequest { task, signal: args.signal };
    context.client.signal_allocation(&alloc.id, &request).await?;
    Ok(DONE)
}
