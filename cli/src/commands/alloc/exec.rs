//! `orch alloc exec`.

use orch_api::client::ExecOptions;

use super::target;
use crate::commands::Outcome;
use crate::context::Context;
use crate::interactive::InteractiveArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct ExecArgs {
    /// The allocation; with -job, the job
    allocation: String,
    /// The program and its arguments; flags before it are this command's, those after it are the program's
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// The task, where there are several
    #[arg(long, value_name = "task")]
    task: Option<String>,
    /// With -job: only allocations of this group
    #[arg(long, value_name = "group")]
    group: Option<String>,
    /// The argument is a job, of which one allocation is picked
    #[arg(long)]
    job: bool,
    #[command(flatten)]
    interactive: InteractiveArgs,
}

pub(crate) async fn run(context: &Context, args: ExecArgs) -> Outcome {
    let session = args.interactive.session()?;
    let (context, alloc) = target::allocation(context, &args.allocation, args.job, args.group.as_deref()).await?;
    let task = target::task(&alloc, args.task.as_deref())?;
    let options = ExecOptions { task, command: args.command, tty: session.tty };
    let exec = context.client.exec(&alloc.id, &options).await?;
    session.run(exec).await
}
