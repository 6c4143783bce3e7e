//! `orch job promote`.

use anyhow::bail;
use orch_api::client::QueryOptions;

use super::follow;
use crate::commands::{Outcome, Verbose};
use crate::context::Context;
use crate::resolve;

#[derive(Debug, clap::Args)]
pub(crate) struct PromoteArgs {
    /// The job
    job: String,
    /// Only the canaries of this group; may be repeated
    #[arg(long = "group", value_name = "group")]
    groups: Vec<String>,
    /// Return at once instead of following the deployment
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: PromoteArgs) -> Outcome {
    let found = resolve::job(context, &args.job).await?;
    let context = context.in_namespace(&found.namespace);
    let (latest, _) = context.client.job_latest_deployment(&found.id, &QueryOptions::default()).await?;
    let Some(latest) = latest else { bail!("the job {:?} has no deployment to promote", found.id) };
    let answer = context.client.promote_deployment(&latest.id, &args.groups).await?;
    follow(&context, &answer.eval_id, args.detach, args.verbose).await
}
