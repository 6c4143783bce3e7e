//! `orch deployment list`.

use orch_api::client::QueryOptions;

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::to_json;
use crate::rollout;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only what this expression holds for
    #[arg(long, value_name = "expression", default_value = "")]
    filter: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: ListArgs) -> Outcome {
    let options = QueryOptions { filter: args.filter, ..QueryOptions::default() };
    show(context, &options, args.json, args.verbose).await
}

/// Lists the deployments that `options` ask for.
pub(super) async fn show(context: &Context, options: &QueryOptions, json: bool, verbose: Verbose) -> Outcome {
    let (deployments, _) = context.client.deployments(options).await?;
    if json {
        terminal::out(to_json(&deployments)?);
    } else if deployments.is_empty() {
        terminal::line("No deployments found");
    } else {
        terminal::out(rollout::table(deployments, verbose, context.all_namespaces()).render(context.style));
    }
    Ok(DONE)
}
