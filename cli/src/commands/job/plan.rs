//! `orch job plan`.

use std::sync::Arc;

use anyhow::Context as _;
use orch_api::job::{DesiredUpdates, JobPlanRequest, JobPlanResponse};
use orch_model::diff::DiffType;

use super::file::FileArgs;
use super::run::written_namespace;
use super::{diff, print_warnings};
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::explain;
use crate::output::to_json;
use crate::terminal;

/// The plan creates or destroys allocations.
const CHANGES: u8 = 1;

#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    file: FileArgs,
    /// Whether the differences to the stored job are shown
    #[arg(long, value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    diff: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json_output: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: PlanArgs) -> Outcome {
    let read = args.file.read()?;
    let job = Arc::new(read.job);
    let context = context.in_namespace(written_namespace(&job));
    let request = JobPlanRequest { job: Some(Arc::clone(&job)), diff: true, policy_override: false };
    let plan = context.client.plan_job(job.id.as_str(), &request).await.context("the job cannot be planned")?;
    let code = if changes(&plan) { CHANGES } else { DONE };
    if args.json_output {
        terminal::out(to_json(&plan)?);
        return Ok(code);
    }
    if let (true, Some(difference)) = (args.diff, &plan.diff) {
        terminal::out(diff::render(difference, args.verbose.verbose, context.style));
    }
    terminal::line(context.style.bold("Scheduler dry-run:"));
    terminal::line(dry_run(&plan));
    print_warnings(context.style, &plan.warnings);
    terminal::line(context.style.bold(&format!("Job Modify Index: {}", plan.job_modify_index)));
    terminal::line(format!(
        "To run the job only if nobody changed it meanwhile, use:\n\norch job run -check-index {} {}\n",
        plan.job_modify_index,
        read.path.display()
    ));
    Ok(code)
}

fn changes(plan: &JobPlanResponse) -> bool {
    if plan.diff.as_ref().is_some_and(|diff| diff.r#type == DiffType::None) {
        return false;
    }
    let changes = |updates: &DesiredUpdates| {
        updates.stop + updates.place + updates.migrate + updates.destructive_update + updates.canary > 0
    };
    plan.annotations.as_ref().is_some_and(|notes| notes.desired_tg_updates.values().any(changes))
}

fn dry_run(plan: &JobPlanResponse) -> String {
    if plan.failed_tg_allocs.is_empty() {
        return "- All tasks successfully allocated.\n".to_owned();
    }
    let mut text = "- WARNING: Failed to place all allocations.\n".to_owned();
    for (group, metric) in &plan.failed_tg_allocs {
        let count = explain::failures(metric);
        let plural = if count == 1 { "" } else { "s" };
        text.push_str(&format!("  Task Group \"{group}\" (failed to place {count} allocation{plural}):\n"));
        text.push_str(&explain::placement(metric, "    "));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use orch_api::job::PlanAnnotations;
    use orch_model::diff::JobDiff;

    use super::*;

    #[test]
    fn only_what_creates_or_destroys_counts_as_a_change() {
        let plan = |r#type: DiffType, updates: DesiredUpdates| JobPlanResponse {
            diff: Some(JobDiff { r#type, ..JobDiff::default() }),
            annotations: Some(PlanAnnotations {
                desired_tg_updates: [("web".to_owned(), updates)].into(),
                ..PlanAnnotations::default()
            }),
            ..JobPlanResponse::default()
        };
        let place = DesiredUpdates { place: 1, ..DesiredUpdates::default() };
        let in_place = DesiredUpdates { in_place_update: 3, ignore: 1, ..DesiredUpdates::default() };
        assert!(changes(&plan(DiffType::Added, place.clone())));
        assert!(!changes(&plan(DiffType::Edited, in_place)));
        assert!(!changes(&plan(DiffType::None, place)));
    }
}
