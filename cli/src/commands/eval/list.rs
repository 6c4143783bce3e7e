//! `orch eval list`.

use orch_api::client::QueryOptions;

use crate::commands::job::status::placement_failures;
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Table, to_json};
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only those of this job
    #[arg(long, value_name = "id")]
    job: Option<String>,
    /// Only those with this status
    #[arg(long, value_name = "status")]
    status: Option<String>,
    /// Only what this expression holds for
    #[arg(long, value_name = "expression", default_value = "")]
    filter: String,
    /// How many at once; 0 is all
    #[arg(long, value_name = "n", default_value_t = 0)]
    per_page: u32,
    /// Where the page begins
    #[arg(long, value_name = "token", default_value = "")]
    page_token: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: ListArgs) -> Outcome {
    let params = [("job", &args.job), ("status", &args.status)];
    let options = QueryOptions {
        filter: args.filter.clone(),
        per_page: args.per_page,
        next_token: args.page_token.clone(),
        params: params.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect(),
        ..QueryOptions::default()
    };
    let (evals, meta) = context.client.evaluations(&options).await?;
    if args.json {
        terminal::out(to_json(&evals)?);
        return Ok(DONE);
    }
    if evals.is_empty() {
        terminal::line("No evals found");
        return Ok(DONE);
    }
    let mut table = Table::new([
        "ID",
        "Priority",
        "Triggered By",
        "Job ID",
        "Namespace",
        "Node ID",
        "Status",
        "Placement Failures",
    ]);
    for eval in &evals {
        table.row([
            args.verbose.id(&eval.id),
            eval.priority.to_string(),
            eval.triggered_by.clone(),
            eval.job_id.clone(),
            eval.namespace.clone(),
            args.verbose.id(&eval.node_id),
            eval.status.to_string(),
            placement_failures(eval),
        ]);
    }
    terminal::out(table.render(context.style));
    if let Some(token) = meta.next_token {
        terminal::line(format!(
            "\nResults have been paginated. To get the next page run:\n\norch eval list -per-page {} -page-token {token}",
            args.per_page
        ));
    }
    Ok(DONE)
}
