//! `orch job inspect`.

use anyhow::bail;
use orch_api::client::QueryOptions;

use crate::commands::{DONE, Outcome};
use crate::context::Context;
use crate::output::to_json;
use crate::resolve;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The job; without one, -json lists all
    job: Option<String>,
    /// Show this version instead of the newest
    #[arg(long, value_name = "n")]
    version: Option<u64>,
    /// Print the job without the object around it
    #[arg(long)]
    json: bool,
    /// Print the text that the job was made from
    #[arg(long, conflicts_with = "json")]
    hcl: bool,
    /// With -hcl, print the variables that were used to standard error
    #[arg(long, requires = "hcl")]
    with_vars: bool,
}

pub(crate) async fn run(context: &Context, args: InspectArgs) -> Outcome {
    let Some(given) = &args.job else {
        if !args.json {
            bail!("This command takes one argument: <job>");
        }
        let (jobs, _) = context.client.jobs(&QueryOptions::default()).await?;
        terminal::out(to_json(&jobs)?);
        return Ok(DONE);
    };
    let found = resolve::job(context, given).await?;
    let context = context.in_namespace(&found.namespace);
    let options = QueryOptions::default();
    let job = match args.version {
        None => context.client.job(&found.id, &options).await?.0,
        Some(version) => {
            let (answer, _) = context.client.job_versions(&found.id, false, &options).await?;
            match answer.versions.into_iter().find(|job| job.version == version) {
                Some(job) => std::sync::Arc::unwrap_or_clone(job),
                None => bail!("the job {:?} has no version {version}", found.id),
            }
        }
    };
    if args.hcl {
        let (submission, _) = context.client.job_submission(&found.id, job.version, &options).await?;
        if args.with_vars {
            for (name, value) in &submission.variable_flags {
                terminal::err(format!("{name}={value}"));
            }
            if !submission.variables.is_empty() {
                terminal::err(&submission.variables);
            }
        }
        terminal::line(submission.source.trim_end());
    } else if args.json {
        terminal::out(to_json(&job)?);
    } else {
        terminal::out(to_json(&serde_json::json!({ "Job": job }))?);
    }
    Ok(DONE)
}
