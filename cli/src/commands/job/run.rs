//! `orch job run`.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use orch_api::client::Error;
use orch_api::job::JobRegisterRequest;

use super::file::FileArgs;
use super::{follow, print_warnings};
use crate::commands::{DONE, FAILED, Outcome, Verbose};
use crate::context::Context;
use crate::output::to_json;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Run it only if the stored job was last changed at this index; 0 is for a job that must not exist
    #[arg(long, value_name = "index")]
    check_index: Option<u64>,
    /// Return at once instead of following what becomes of the job
    #[arg(long)]
    detach: bool,
    /// Priority of the evaluation instead of the job's
    #[arg(long, value_name = "n")]
    eval_priority: Option<u16>,
    /// Print the job as the API's JSON and send nothing
    #[arg(long)]
    output: bool,
    /// Keep the counts of the stored job
    #[arg(long)]
    preserve_counts: bool,
    /// Keep the resources of the stored job
    #[arg(long)]
    preserve_resources: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: RunArgs) -> Outcome {
    let read = args.file.read()?;
    let job = Arc::new(read.job);
    if args.output {
        terminal::out(to_json(&serde_json::json!({ "Job": *job }))?);
        return Ok(DONE);
    }
    let context = context.in_namespace(written_namespace(&job));
    let request = JobRegisterRequest {
        job: Some(Arc::clone(&job)),
        submission: Some(read.submission),
        enforce_index: args.check_index.is_some(),
        job_modify_index: args.check_index.unwrap_or(0),
        preserve_counts: args.preserve_counts,
        preserve_resources: args.preserve_resources,
        eval_priority: args.eval_priority.map_or(0, i64::from),
        ..JobRegisterRequest::default()
    };
    let answer = match context.client.register_job(&request).await {
        Ok(answer) => answer,
        Err(Error::Status { message, .. }) if args.check_index.is_some() && message.contains("job modify index") => {
            terminal::err(&message);
            terminal::err("Job not updated");
            return Ok(FAILED);
        }
        Err(error) if matches!(error, Error::Status { .. }) => bail!("the job was not accepted: {error}"),
        Err(error) => return Err(error).context("the job was not sent"),
    };
    print_warnings(context.style, &answer.warnings);
    if args.detach || job.is_periodic() || job.is_parameterized() {
        terminal::line("Job registration successful");
        return follow(&context, &answer.eval_id, true, args.verbose).await;
    }
    follow(&context, &answer.eval_id, false, args.verbose).await
}

/// The namespace that the job itself names, else none.
pub(super) fn written_namespace(job: &orch_model::Job) -> &str {
    job.namespace.as_str()
}
