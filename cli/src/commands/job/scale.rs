//! `orch job scale`.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use orch_api::client::QueryOptions;
use orch_api::scaling::ScalingRequest;
use orch_model::Job;

use super::{follow, print_warnings};
use crate::commands::{Outcome, Verbose};
use crate::context::Context;
use crate::{resolve, terminal};

#[derive(Debug, clap::Args)]
#[command(override_usage = "orch job scale [options] <job> [<group>] <count>")]
pub(crate) struct ScaleArgs {
    /// The job, the group if there are several, and how many of it are to run
    #[arg(required = true, num_args = 1..=3, value_names = ["job", "group", "count"])]
    what: Vec<String>,
    /// Scale it only if the stored job was last changed at this index
    #[arg(long, value_name = "index")]
    check_index: Option<u64>,
    /// Return at once instead of following what becomes of the job
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: ScaleArgs) -> Outcome {
    let (job, group, count) = match args.what.as_slice() {
        [job, count] => (job, None, count),
        [job, group, count] => (job, Some(group.as_str()), count),
        _ => bail!("This command takes two or three arguments: <job> [<group>] <count>"),
    };
    let Ok(count) = count.parse::<u32>() else { bail!("The count must be a whole number from 0, not {count:?}") };
    let found = resolve::job(context, job).await?;
    let context = context.in_namespace(&found.namespace);
    let group = match group {
        Some(group) => group.to_owned(),
        None => only_group(&context.client.job(&found.id, &QueryOptions::default()).await?.0)?,
    };
    let request = ScalingRequest {
        count: Some(count.into()),
        target: BTreeMap::from([("Group".to_owned(), group)]),
        message: "submitted using the orch CLI".to_owned(),
        enforce_index: args.check_index.is_some(),
        job_modify_index: args.check_index.unwrap_or(0),
        ..ScalingRequest::default()
    };
    let scaling = context.client.scale_job(&found.id, &request).await;
    let answer = scaling.with_context(|| format!("the job {:?} was not scaled", found.id))?;
    print_warnings(context.style, &answer.warnings);
    if args.detach {
        terminal::line("Job scale successful");
    }
    follow(&context, &answer.eval_id, args.detach, args.verbose).await
}

fn only_group(job: &Job) -> anyhow::Result<String> {
    match job.task_groups.as_slice() {
        [only] => Ok(only.name.clone()),
        several => bail!(
            "the job {:?} has {} groups, name one before the count:\n{}",
            job.id.as_str(),
            several.len(),
            several.iter().map(|group| format!("  * {}", group.name)).collect::<Vec<_>>().join("\n")
        ),
    }
}

#[cfg(test)]
mod tests {
    use orch_model::JobId;
    use orch_model::job::TaskGroup;

    use super::*;

    #[test]
    fn the_only_group_needs_no_name_and_several_are_listed() {
        let with = |names: &[&str]| Job {
            id: JobId::from("web"),
            task_groups: names
                .iter()
                .map(|name| TaskGroup { name: (*name).to_owned(), ..TaskGroup::default() })
                .collect(),
            ..Job::default()
        };
        assert_eq!(only_group(&with(&["front"])).unwrap(), "front");
        let error = only_group(&with(&["front", "back"])).unwrap_err().to_string();
        assert_eq!(error, "the job \"web\" has 2 groups, name one before the count:\n  * front\n  * back");
    }
}
