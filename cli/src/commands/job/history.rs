//! `orch job history`.

use anyhow::bail;
use orch_api::client::QueryOptions;
use orch_api::job::JobVersionsResponse;
use orch_model::Job;
use orch_model::diff::JobDiff;

use super::diff;
use crate::commands::{DONE, Outcome};
use crate::context::Context;
use crate::output::{Pairs, Style, time_nanos, to_json};
use crate::{resolve, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The job
    job: String,
    /// Show what each version changed
    #[arg(short = 'p', conflicts_with = "json")]
    diff: bool,
    /// Show all of each version
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Only this version
    #[arg(long, value_name = "n")]
    version: Option<u64>,
    /// With -p: compare with this version instead of the one before
    #[arg(long, value_name = "n", requires = "diff", conflicts_with = "diff_tag")]
    diff_version: Option<u64>,
    /// With -p: compare with the version of this tag instead of the one before
    #[arg(long, value_name = "tag", requires = "diff")]
    diff_tag: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(context: &Context, args: HistoryArgs) -> Outcome {
    let found = resolve::job(context, &args.job).await?;
    let context = context.in_namespace(&found.namespace);
    let base = [("diff_version", args.diff_version.map(|version| version.to_string())), ("diff_tag", args.diff_tag)];
    let params = base.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    let options = QueryOptions { params, ..QueryOptions::default() };
    let (answer, _) = context.client.job_versions(&found.id, args.diff, &options).await?;
    let mut shown = versions(&answer);
    if let Some(wanted) = args.version {
        shown.retain(|(job, _)| job.version == wanted);
        if shown.is_empty() {
            bail!("the job {:?} has no version {wanted}", found.id);
        }
    }
    if args.json {
        let jobs: Vec<&Job> = shown.iter().map(|(job, _)| *job).collect();
        terminal::out(match (args.version, jobs.as_slice()) {
            (Some(_), [job]) => to_json(job)?,
            _ => to_json(&jobs)?,
        });
        return Ok(DONE);
    }
    let texts: Vec<String> = shown
        .into_iter()
        .map(|(job, changed)| version(job, changed, args.full, context.style))
        .collect::<anyhow::Result<_>>()?;
    terminal::out(texts.join("\n"));
    Ok(DONE)
}

/// The versions, each with what it changed where that was asked for; the oldest one changed nothing that is known.
fn versions(answer: &JobVersionsResponse) -> Vec<(&Job, Option<&JobDiff>)> {
    let jobs = answer.versions.iter().map(AsRef::as_ref);
    jobs.enumerate().map(|(number, job)| (job, answer.diffs.get(number))).collect()
}

fn version(job: &Job, changed: Option<&JobDiff>, full: bool, style: Style) -> anyhow::Result<String> {
    let mut pairs = Pairs::new();
    pairs.add("Version", job.version).add("Stable", job.stable).add("Submit Date", time_nanos(job.submit_time.0));
    if let Some(tag) = &job.version_tag {
        pairs.add("Tag Name", &tag.name).add_some("Tag Description", &tag.description);
    }
    if changed.is_some() {
        pairs.add("Diff", "");
    }
    let mut text = pairs.render();
    if let Some(changed) = changed {
        text.push_str(&format!("{}\n", diff::render(changed, false, style).trim_end()));
    }
    if full {
        text.push_str(&format!("Full =\n{}", to_json(job)?));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orch_model::diff::{DiffType, FieldDiff};

    use super::*;

    fn job(number: u64) -> Job {
        Job { version: number, stable: number == 0, ..Job::default() }
    }

    #[test]
    fn a_version_shows_what_it_changed() {
        let priority = FieldDiff {
            r#type: DiffType::Edited,
            name: "Priority".into(),
            old: "50".into(),
            new: "60".into(),
            annotations: vec![],
        };
        let changed =
            JobDiff { r#type: DiffType::Edited, id: "web".into(), fields: vec![priority], ..JobDiff::default() };
        let expected = "Version     = 1\nStable      = false\nSubmit Date =\nDiff        =\n\
            +/- Job: \"web\"\n+/- Priority: \"50\" => \"60\"\n";
        assert_eq!(version(&job(1), Some(&changed), false, Style::Plain).unwrap(), expected);
        let plain = version(&job(0), None, false, Style::Plain).unwrap();
        assert_eq!(plain, "Version     = 0\nStable      = true\nSubmit Date =\n");
    }

    #[test]
    fn differences_belong_to_the_newer_version_of_each_pair() {
        let answer = JobVersionsResponse {
            versions: vec![Arc::new(job(3)), Arc::new(job(2))],
            diffs: vec![JobDiff { id: "of 3".into(), ..JobDiff::default() }],
            ..JobVersionsResponse::default()
        };
        let found: Vec<_> =
            versions(&answer).into_iter().map(|(job, diff)| (job.version, diff.map(|diff| diff.id.as_str()))).collect();
        assert_eq!(found, [(3, Some("of 3")), (2, None)]);
    }
}
