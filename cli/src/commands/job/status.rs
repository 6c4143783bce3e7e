//! `orch job status`.

use std::collections::BTreeSet;

use orch_api::client::QueryOptions;
use orch_api::{AllocListStub, Deployment, Evaluation, JobListStub, JobSummary};
use orch_model::Job;
use orch_model::evaluation::EvalStatus;
use orch_model::job::ReschedulePolicy;

use super::allocs;
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::explain;
use crate::output::{Pairs, Table, from_now, time_nanos, to_json};
use crate::terminal;
use crate::{resolve, rollout};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The job; without one, all jobs are listed
    job: Option<String>,
    /// Only the job itself
    #[arg(long)]
    short: bool,
    /// Also its evaluations
    #[arg(long)]
    evals: bool,
    /// Also allocations of earlier jobs of that name
    #[arg(long)]
    all_allocs: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

impl StatusArgs {
    /// The status of one job as the other options are by default.
    pub(crate) fn of(job: &str, verbose: Verbose) -> Self {
        Self { job: Some(job.to_owned()), short: false, evals: false, all_allocs: false, json: false, verbose }
    }

    /// The list of jobs.
    pub(crate) fn list(verbose: Verbose) -> Self {
        Self { job: None, short: false, evals: false, all_allocs: false, json: false, verbose }
    }
}

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Outcome {
    match &args.job {
        None => list(context, &args).await,
        Some(job) => detail(context, &args, job).await,
    }
}

async fn list(context: &Context, args: &StatusArgs) -> Outcome {
    let (jobs, _) = context.client.jobs(&QueryOptions::default()).await?;
    if args.json {
        terminal::out(to_json(&jobs)?);
    } else if jobs.is_empty() {
        terminal::line("No running jobs");
    } else {
        terminal::out(job_table(&jobs, context.all_namespaces()).render(context.style));
    }
    Ok(DONE)
}

fn job_table(jobs: &[JobListStub], with_namespace: bool) -> Table {
    let mut heading = vec!["ID", "Type", "Priority", "Status", "Submit Date"];
    if with_namespace {
        heading.insert(1, "Namespace");
    }
    let mut table = Table::new(heading);
    for job in jobs {
        let suffix = match (job.periodic, job.parameterized_job) {
            (true, _) => "/periodic",
            (_, true) => "/parameterized",
            (false, false) => "",
        };
        let mut row = vec![
            job.id.clone(),
            format!("{}{suffix}", job.r#type),
            job.priority.to_string(),
            resolve::job_status(job),
            time_nanos(job.submit_time),
        ];
        if with_namespace {
            row.insert(1, job.namespace.clone());
        }
        table.row(row);
    }
    table
}

async fn detail(context: &Context, args: &StatusArgs, given: &str) -> Outcome {
    let found = resolve::job(context, given).await?;
    let context = context.in_namespace(&found.namespace);
    let options = QueryOptions::default();
    let (job, _) = context.client.job(&found.id, &options).await?;
    let (allocs, _) = context.client.job_allocations(&found.id, args.all_allocs, &options).await?;
    let (evals, _) = context.client.job_evaluations(&found.id, &options).await?;
    let (summary, _) = context.client.job_summary(&found.id, &options).await?;
    let (deployment, _) = context.client.job_latest_deployment(&found.id, &options).await?;
    if args.json {
        let value = serde_json::json!([{
            "Job": job, "Allocations": allocs, "Evaluations": evals, "JobSummary": summary, "LatestDeployment": deployment,
        }]);
        terminal::out(to_json(&value)?);
        return Ok(DONE);
    }
    terminal::out(overview(&job).render());
    if !args.short {
        terminal::out(sections(&context, args, &Known { job, summary, deployment, evals, allocs }));
    }
    Ok(DONE)
}

fn overview(job: &Job) -> Pairs {
    let status = if job.stop { format!("{} (stopped)", job.status) } else { job.status.to_string() };
    let mut pairs = Pairs::new();
    pairs
        .add("ID", &job.id)
        .add("Name", &job.name)
        .add("Submit Date", time_nanos(job.submit_time.0))
        .add("Type", &job.r#type)
        .add("Priority", job.priority)
        .add("Datacenters", job.datacenters.join(","))
        .add("Namespace", &job.namespace)
        .add("Node Pool", &job.node_pool)
        .add("Status", status)
        .add("Periodic", job.is_periodic())
        .add("Parameterized", job.is_parameterized());
    pairs
}

/// What is known about a job.
struct Known {
    job: Job,
    summary: JobSummary,
    deployment: Option<Deployment>,
    evals: Vec<Evaluation>,
    allocs: Vec<AllocListStub>,
}

fn sections(context: &Context, args: &StatusArgs, known: &Known) -> String {
    let (style, verbose) = (context.style, args.verbose);
    let section = |title: &str, body: &str| format!("\n{}\n{body}", style.bold(title));
    let mut text = section("Summary", &summary_table(&known.summary).render(style));
    let mut evals: Vec<&Evaluation> = known.evals.iter().collect();
    evals.sort_by_key(|eval| std::cmp::Reverse(eval.create_index));
    if (args.evals || verbose.verbose) && !evals.is_empty() {
        text.push_str(&section("Evaluations", &eval_table(&evals, verbose).render(style)));
    }
    let future = reschedules(known, verbose);
    if !future.is_empty() {
        text.push_str(&section("Future Rescheduling Attempts", &future.render(style)));
    }
    // What is still missing stands in the newest evaluation that failed to place something.
    let waits = evals.iter().any(|eval| eval.status == EvalStatus::Blocked);
    if let (true, Some(failed)) = (waits, evals.iter().find(|eval| !eval.failed_tg_allocs.is_empty())) {
        let failed: String = failed
            .failed_tg_allocs
            .iter()
            .map(|(group, metric)| format!("Task Group \"{group}\":\n{}\n", explain::placement(metric, "  ")))
            .collect();
        text.push_str(&section("Placement Failure", &failed));
    }
    if let Some(deployment) = &known.deployment {
        text.push_str(&section("Latest Deployment", &rollout::summary(deployment, verbose, style)));
    }
    let body = if known.allocs.is_empty() {
        "No allocations placed\n".to_owned()
    } else {
        allocs::table(known.allocs.clone(), verbose).render(style)
    };
    text.push_str(&section("Allocations", &body));
    text
}

/// The evaluations that will replace failed allocations once their delay is over.
fn reschedules(known: &Known, verbose: Verbose) -> Table {
    let mut heading = vec!["Task Group", "Eval ID", "Eval Time"];
    if verbose.verbose {
        heading.insert(1, "Reschedule Policy");
    }
    let mut table = Table::new(heading);
    let waiting = known.allocs.iter().filter(|alloc| alloc.next_allocation.is_empty());
    let followed: BTreeSet<(&str, &str)> =
        waiting.map(|alloc| (alloc.task_group.as_str(), alloc.followup_eval_id.as_str())).collect();
    for (group, id) in followed {
        let due = known.evals.iter().find(|eval| eval.id == id).map(|eval| from_now(eval.wait_until.0.0));
        let Some(due) = due.filter(|due| !due.is_empty()) else { continue };
        let mut row = vec![group.to_owned(), verbose.id(id), due];
        if verbose.verbose {
            let of_group = known.job.task_groups.iter().find(|known| known.name == group);
            row.insert(1, of_group.and_then(|group| group.reschedule_policy.as_ref()).map(policy).unwrap_or_default());
        }
        table.row(row);
    }
    table
}

/// A policy in words.
fn policy(policy: &ReschedulePolicy) -> String {
    let (function, delay, max) = (&policy.delay_function, policy.delay(), policy.max_delay());
    if policy.unlimited() {
        format!("unlimited with {function} delay of {delay}, at most {max}")
    } else {
        format!("{} in {} with {function} delay of {delay}", policy.attempts(), policy.interval())
    }
}

fn summary_table(summary: &JobSummary) -> Table {
    let mut table =
        Table::new(["Task Group", "Queued", "Starting", "Running", "Failed", "Complete", "Lost", "Unknown"]);
    for (group, counts) in &summary.summary {
        let mut row = vec![group.clone()];
        row.extend(
            [
                counts.queued,
                counts.starting,
                counts.running,
                counts.failed,
                counts.complete,
                counts.lost,
                counts.unknown,
            ]
            .map(|count| count.to_string()),
        );
        table.row(row);
    }
    table
}

fn eval_table(evals: &[&Evaluation], verbose: Verbose) -> Table {
    let mut table = Table::new(["ID", "Priority", "Triggered By", "Status", "Placement Failures"]);
    for eval in evals {
        table.row([
            verbose.id(&eval.id),
            eval.priority.to_string(),
            eval.triggered_by.clone(),
            eval.status.to_string(),
            placement_failures(eval),
        ]);
    }
    table
}

/// Whether an evaluation failed to place something, as tables show it.
pub(crate) fn placement_failures(eval: &Evaluation) -> String {
    match eval.status {
        EvalStatus::Blocked => "N/A - In Progress".to_owned(),
        EvalStatus::Pending | EvalStatus::Complete | EvalStatus::Failed | EvalStatus::Canceled => {
            (!eval.failed_tg_allocs.is_empty()).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use orch_api::Time;
    use orch_model::job::TaskGroup;
    use orch_model::{Nanos, Timestamp};

    use super::*;
    use crate::output::Style;

    #[test]
    fn attempts_to_come_are_shown_until_there_is_a_replacement() {
        let failed = |group: &str, followup: &str, next: &str| AllocListStub {
            task_group: group.into(),
            followup_eval_id: followup.into(),
            next_allocation: next.into(),
            ..AllocListStub::default()
        };
        let policy = ReschedulePolicy {
            unlimited: Some(true),
            delay: Some(Nanos::from_secs(30)),
            delay_function: "constant".into(),
            max_delay: Some(Nanos::from_secs(60)),
            ..ReschedulePolicy::default()
        };
        let front = TaskGroup { name: "front".into(), reschedule_policy: Some(policy), ..TaskGroup::default() };
        let at = |id: &str, wait_until: i64| Evaluation {
            id: id.into(),
            wait_until: Time(Timestamp(wait_until)),
            ..Evaluation::default()
        };
        let known = Known {
            job: Job { task_groups: vec![front], ..Job::default() },
            summary: JobSummary::default(),
            deployment: None,
            evals: vec![at("5e6f7a8b-0", i64::MAX), at("passed", 5)],
            allocs: vec![
                failed("front", "5e6f7a8b-0", ""),
                failed("front", "5e6f7a8b-0", ""),
                failed("back", "5e6f7a8b-0", "replaced"),
                failed("back", "passed", ""),
                failed("back", "", ""),
            ],
        };
        let shown = reschedules(&known, Verbose { verbose: true }).render(Style::Plain);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines.len(), 2, "{shown}");
        let expected = "front       unlimited with constant delay of 30s, at most 1m0s  5e6f7a8b-0  ";
        assert!(lines[1].starts_with(expected) && lines[1].ends_with(" from now"), "{shown}");
    }
}
