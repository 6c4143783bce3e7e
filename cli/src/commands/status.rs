//! `orch status`: whatever an id, or its beginning, stands for.

use anyhow::bail;
use orch_api::search::SearchRequest;

use super::{Outcome, Verbose, alloc, deployment, eval, job, node};
use crate::context::Context;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// An id or its beginning; without one, the jobs are listed
    id: Option<String>,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Outcome {
    let verbose = args.verbose;
    let Some(id) = args.id else { return job::status::run(context, job::status::StatusArgs::list(verbose)).await };
    let request = SearchRequest { prefix: id.clone(), context: "all".to_owned(), ..SearchRequest::default() };
    let answer = context.client.search(&request).await?;
    let all: Vec<(&str, &String)> =
        answer.matches.iter().flat_map(|(kind, ids)| ids.iter().map(move |id| (kind.as_str(), id))).collect();
    let exact: Vec<_> = all.iter().copied().filter(|(_, found)| **found == id).collect();
    let (kind, id) = match (exact.as_slice(), all.as_slice()) {
        ([one], _) | (_, [one]) => *one,
        (_, []) => bail!("Unable to resolve ID: {id:?}"),
        (_, several) => {
            let mut text = format!("Multiple matches found for id {id:?}\n");
            for (kind, ids) in &answer.matches {
                if !ids.is_empty() {
                    text.push_str(&format!("\n{}:\n{}\n", heading(kind), ids.join(", ")));
                }
            }
            if several.len() >= 20 {
                text.push_str("\nThere may be more: write more of the id\n");
            }
            terminal::err(text.trim_end());
            return Ok(super::FAILED);
        }
    };
    match kind {
        "jobs" => job::status::run(context, job::status::StatusArgs::of(id, verbose)).await,
        "allocs" => alloc::status::run(context, alloc::status::StatusArgs::of(id, verbose)).await,
        "evals" => eval::status::run(context, eval::status::StatusArgs::of(id, verbose)).await,
        "nodes" => node::status::run(context, node::status::StatusArgs::of(id, verbose)).await,
        "deployment" => deployment::status::run(context, deployment::status::StatusArgs::of(id, verbose)).await,
        other => bail!("{id:?} is one of the {other}, which have no status command yet"),
    }
}

fn heading(kind: &str) -> &str {
    match kind {
        "jobs" => "Jobs",
        "allocs" => "Allocations",
        "evals" => "Evaluations",
        "nodes" => "Nodes",
        "deployment" => "Deployments",
        other => other,
    }
}
