//! `orch job allocs`, and the table of allocations that other commands show as well.

use orch_api::AllocListStub;
use orch_api::client::QueryOptions;

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Table, ago, time_nanos, to_json};
use crate::resolve;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct AllocsArgs {
    /// The job
    job: String,
    /// Also allocations of earlier jobs of that name
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: AllocsArgs) -> Outcome {
    let found = resolve::job(context, &args.job).await?;
    let context = context.in_namespace(&found.namespace);
    let (allocs, _) = context.client.job_allocations(&found.id, args.all, &QueryOptions::default()).await?;
    if args.json {
        terminal::out(to_json(&allocs)?);
    } else if allocs.is_empty() {
        terminal::line("No allocations placed");
    } else {
        terminal::out(table(allocs, args.verbose).render(context.style));
    }
    Ok(DONE)
}

/// The allocations, newest first.
pub(crate) fn table(mut allocs: Vec<AllocListStub>, verbose: Verbose) -> Table {
    allocs.sort_by_key(|alloc| std::cmp::Reverse(alloc.create_index));
    let when = |nanos| if verbose.verbose { time_nanos(nanos) } else { ago(nanos) };
    let mut table = if verbose.verbose {
        Table::new([
            "ID",
            "Eval ID",
            "Node ID",
            "Node Name",
            "Task Group",
            "Version",
            "Desired",
            "Status",
            "Created",
            "Modified",
        ])
    } else {
        Table::new(["ID", "Node ID", "Task Group", "Version", "Desired", "Status", "Created", "Modified"])
    };
    for alloc in allocs {
        let mut row = vec![verbose.id(&alloc.id)];
        if verbose.verbose {
            row.push(alloc.eval_id.clone());
        }
        row.push(verbose.id(&alloc.node_id));
        if verbose.verbose {
            row.push(alloc.node_name.clone());
        }
        row.extend([
            alloc.task_group.clone(),
            alloc.job_version.to_string(),
            alloc.desired_status.to_string(),
            alloc.client_status.to_string(),
            when(alloc.create_time),
            when(alloc.modify_time),
        ]);
        table.row(row);
    }
    table
}
