//! `orch job revert`.

use anyhow::{Context as _, bail};
use orch_api::client::QueryOptions;

use super::{follow, print_warnings};
use crate::commands::{Outcome, Verbose};
use crate::context::Context;
use crate::resolve;

#[derive(Debug, clap::Args)]
pub(crate) struct RevertArgs {
    /// The job
    job: String,
    /// The number of the version, or the name of its tag
    version: String,
    /// Return at once instead of following what becomes of the job
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: RevertArgs) -> Outcome {
    let found = resolve::job(context, &args.job).await?;
    let context = context.in_namespace(&found.namespace);
    let version = match args.version.parse() {
        Ok(version) => version,
        Err(_) => tagged(&context, &found.id, &args.version).await?,
    };
    let reverting = context.client.revert_job(&found.id, version, None).await;
    let answer = reverting.with_context(|| format!("the job {:?} was not reverted", found.id))?;
    print_warnings(context.style, &answer.warnings);
    follow(&context, &answer.eval_id, args.detach, args.verbose).await
}

/// The version that has this tag.
async fn tagged(context: &Context, job: &str, tag: &str) -> anyhow::Result<u64> {
    let (answer, _) = context.client.job_versions(job, false, &QueryOptions::default()).await?;
    let has_tag = |job: &&std::sync::Arc<orch_model::Job>| job.version_tag.as_ref().is_some_and(|it| it.name == tag);
    match answer.versions.iter().find(has_tag) {
        Some(job) => Ok(job.version),
        None => {
            bail!("the job {job:?} has no version with the tag {tag:?}; `orch job history {job}` lists its versions")
        }
    }
}
