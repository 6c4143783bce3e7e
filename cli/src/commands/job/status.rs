//! `orch job status`.

use orch_api::client::QueryOptions;
use orch_api::{AllocListStub, Evaluation, JobListStub, JobSummary};
use orch_model::Job;
use orch_model::evaluation::EvalStatus;

use super::allocs;
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::explain;
use crate::output::{Pairs, Table, time_nanos, to_json};
use crate::resolve;
use crate::terminal;

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
    if args.json {
        let value = serde_json::json!([{
            "Job": job, "Allocations": allocs, "Evaluations": evals, "JobSummary": summary,
        }]);
        terminal::out(to_json(&value)?);
        return Ok(DONE);
    }
    terminal::out(overview(&job).render());
    if !args.short {
        terminal::out(sections(&context, args, &summary, evals, allocs));
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

fn sections(
    context: &Context,
    args: &StatusArgs,
    summary: &JobSummary,
    mut evals: Vec<Evaluation>,
    allocs: Vec<AllocListStub>,
) -> String {
    let style = context.style;
    let section = |title: &str, body: &str| format!("\n{}\n{body}", style.bold(title));
    let mut text = section("Summary", &summary_table(summary).render(style));
    evals.sort_by_key(|eval| std::cmp::Reverse(eval.create_index));
    if (args.evals || args.verbose.verbose) && !evals.is_empty() {
        text.push_str(&section("Evaluations", &eval_table(&evals, args.verbose).render(style)));
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
    let body = if allocs.is_empty() {
        "No allocations placed\n".to_owned()
    } else {
        allocs::table(allocs, args.verbose).render(style)
    };
    text.push_str(&section("Allocations", &body));
    text
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

fn eval_table(evals: &[Evaluation], verbose: Verbose) -> Table {
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
