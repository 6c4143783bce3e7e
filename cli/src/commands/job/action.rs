//! `orch job action` and `orch action`.

use anyhow::bail;
use orch_api::client::{ActionOptions, QueryOptions};

use crate::commands::Outcome;
use crate::context::Context;
use crate::interactive::InteractiveArgs;
use crate::resolve;

#[derive(Debug, clap::Args)]
pub(crate) struct ActionArgs {
    /// The action's name
    action: String,
    /// The job; needed unless an allocation is named
    #[arg(long, value_name = "job")]
    job: Option<String>,
    /// The allocation; by default the newest that runs and has the action
    #[arg(long, value_name = "id")]
    alloc: Option<String>,
    /// Only allocations of this group
    #[arg(long, value_name = "group")]
    group: Option<String>,
    /// The task, where several have the action
    #[arg(long, value_name = "task")]
    task: Option<String>,
    #[command(flatten)]
    interactive: InteractiveArgs,
}

pub(crate) async fn run(context: &Context, args: ActionArgs) -> Outcome {
    let session = args.interactive.session()?;
    let alloc = match &args.alloc {
        Some(given) => Some(resolve::allocation(context, given).await?),
        None => None,
    };
    let (job, namespace) = match (&args.job, &alloc) {
        (Some(given), _) => {
            let found = resolve::job(context, given).await?;
            (found.id, found.namespace)
        }
        (None, Some(alloc)) => (alloc.job_id.clone(), alloc.namespace.clone()),
        (None, None) => bail!("name the job with -job, or an allocation with -alloc"),
    };
    let context = context.in_namespace(&namespace);
    let options = ActionOptions {
        action: args.action,
        alloc: alloc.map(|alloc| alloc.id).unwrap_or_default(),
        group: args.group.unwrap_or_default(),
        task: args.task.unwrap_or_default(),
        tty: session.tty,
    };
    match context.client.run_action(&job, &options).await {
        Ok(exec) => session.run(exec).await,
        Err(error) if error.is_not_found() => {
            let (known, _) = context.client.job_actions(&job, &QueryOptions::default()).await?;
            let known: Vec<_> = known.iter().map(|action| action.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(anyhow::Error::new(error).context(format!("the job's actions are: {known}")))
        }
        Err(error) => Err(error.into()),
    }
}
