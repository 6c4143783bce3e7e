//! `orch eval status`.

use orch_api::Evaluation;
use orch_api::client::QueryOptions;

use crate::commands::job::{allocs, status::placement_failures};
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Pairs, Table, ago, from_now, time_nanos, to_json};
use crate::terminal;
use crate::{explain, monitor, resolve};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The evaluation
    eval: String,
    /// Follow it to its end
    #[arg(long)]
    monitor: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

impl StatusArgs {
    /// The status of one evaluation as the other options are by default.
    pub(crate) fn of(eval: &str, verbose: Verbose) -> Self {
        Self { eval: eval.to_owned(), monitor: false, json: false, verbose }
    }
}

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Outcome {
    let found = resolve::evaluation(context, &args.eval).await?;
    let context = context.in_namespace(&found.namespace);
    if args.monitor {
        return monitor::rollout(&context, &found.id, args.verbose).await;
    }
    let (eval, _) = context.client.evaluation(&found.id, &QueryOptions::default()).await?;
    if args.json {
        terminal::out(to_json(&eval)?);
        return Ok(DONE);
    }
    terminal::out(overview(&eval, args.verbose).render());
    if !eval.failed_tg_allocs.is_empty() {
        terminal::line(format!("\n{}", context.style.bold("Failed Placements")));
        for (group, metric) in &eval.failed_tg_allocs {
            let count = explain::failures(metric);
            let plural = if count == 1 { "" } else { "s" };
            terminal::line(format!("Task Group \"{group}\" (failed to place {count} allocation{plural}):"));
            terminal::line(explain::placement(metric, "  "));
            if args.verbose.verbose
                && let Some(scores) = explain::scores(metric, context.style, str::to_owned)
            {
                terminal::line(format!("\n{}", scores.trim_end()));
            }
        }
    }
    if !eval.blocked_eval.is_empty() {
        let blocked = args.verbose.id(&eval.blocked_eval);
        terminal::line(format!("\nEvaluation \"{blocked}\" waiting for additional capacity to place remainder"));
    }
    if !eval.related_evals.is_empty() {
        let mut table = Table::new(["ID", "Priority", "Triggered By", "Node ID", "Status", "Description"]);
        for related in &eval.related_evals {
            table.row([
                args.verbose.id(&related.id),
                related.priority.to_string(),
                related.triggered_by.clone(),
                args.verbose.id(&related.node_id),
                related.status.to_string(),
                related.status_description.clone(),
            ]);
        }
        terminal::out(format!("\n{}\n{}", context.style.bold("Related Evaluations"), table.render(context.style)));
    }
    let (placed, _) = context.client.evaluation_allocations(&eval.id, &QueryOptions::default()).await?;
    if !placed.is_empty() {
        let table = allocs::table(placed, args.verbose).render(context.style);
        terminal::out(format!("\n{}\n{table}", context.style.bold("Allocations")));
    }
    Ok(DONE)
}

fn overview(eval: &Evaluation, verbose: Verbose) -> Pairs {
    let when = |nanos| if verbose.verbose { time_nanos(nanos) } else { ago(nanos) };
    let mut pairs = Pairs::new();
    pairs
        .add("ID", verbose.id(&eval.id))
        .add("Create Time", when(eval.create_time))
        .add("Modify Time", when(eval.modify_time))
        .add("Status", eval.status)
        .add(
            "Status Description",
            if eval.status_description.is_empty() { eval.status.as_str() } else { &eval.status_description },
        )
        .add("Type", &eval.r#type)
        .add("TriggeredBy", &eval.triggered_by)
        .add("Job ID", &eval.job_id)
        .add("Namespace", &eval.namespace)
        .add_some("Node ID", &verbose.id(&eval.node_id))
        .add_some("Deployment ID", &verbose.id(&eval.deployment_id))
        .add("Priority", eval.priority)
        .add("Placement Failures", placement_failures(eval))
        .add_some("Wait Until", &when_due(eval, verbose))
        .add_some("Previous Eval", &verbose.id(&eval.previous_eval))
        .add_some("Next Eval", &verbose.id(&eval.next_eval))
        .add_some("Blocked Eval", &verbose.id(&eval.blocked_eval));
    pairs
}

/// When an evaluation that waits for a time is due; empty if that has passed or there is none.
fn when_due(eval: &Evaluation, verbose: Verbose) -> String {
    let due = from_now(eval.wait_until.0.0);
    if due.is_empty() || !verbose.verbose { due } else { time_nanos(eval.wait_until.0.0) }
}
