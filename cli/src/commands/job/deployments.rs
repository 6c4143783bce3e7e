//! `orch job deployments`.

use orch_api::client::QueryOptions;

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::to_json;
use crate::terminal;
use crate::{resolve, rollout};

#[derive(Debug, clap::Args)]
pub(crate) struct DeploymentsArgs {
    /// The job
    job: String,
    /// Show the newest one in detail
    #[arg(long, conflicts_with = "all")]
    latest: bool,
    /// Also deployments of earlier jobs of that name
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: DeploymentsArgs) -> Outcome {
    let found = resolve::job(context, &args.job).await?;
    let context = context.in_namespace(&found.namespace);
    let options = QueryOptions::default();
    if args.latest {
        let (latest, _) = context.client.job_latest_deployment(&found.id, &options).await?;
        match latest {
            _ if args.json => terminal::out(to_json(&latest)?),
            Some(latest) => terminal::out(rollout::detail(&latest, args.verbose, context.style)),
            None => terminal::line("No deployment found"),
        }
        return Ok(DONE);
    }
    let (deployments, _) = context.client.job_deployments(&found.id, args.all, &options).await?;
    if args.json {
        terminal::out(to_json(&deployments)?);
    } else if deployments.is_empty() {
        terminal::line("No deployments found");
    } else {
        terminal::out(rollout::table(deployments, args.verbose, false).render(context.style));
    }
    Ok(DONE)
}
