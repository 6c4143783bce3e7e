//! `orch job scaling-events`.

use orch_api::JobScaleStatus;
use orch_api::client::QueryOptions;

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Table, time_nanos};
use crate::{resolve, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct ScalingEventsArgs {
    /// The job
    job: String,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: ScalingEventsArgs) -> Outcome {
    let found = resolve::job(context, &args.job).await?;
    let context = context.in_namespace(&found.namespace);
    let (status, _) = context.client.job_scale_status(&found.id, &QueryOptions::default()).await?;
    let table = table(&status, args.verbose);
    if table.is_empty() {
        terminal::line("No events to display");
    } else {
        terminal::out(table.render(context.style));
    }
    Ok(DONE)
}

/// The events of all groups, newest first.
fn table(status: &JobScaleStatus, verbose: Verbose) -> Table {
    let groups = status.task_groups.iter();
    let mut events: Vec<_> =
        groups.flat_map(|(name, group)| group.events.iter().map(move |event| (name, event))).collect();
    events.sort_by_key(|(_, event)| std::cmp::Reverse((event.time, event.create_index)));
    let mut table = if verbose.verbose {
        Table::new(["Task Group", "Count", "PrevCount", "Error", "Message", "Eval ID", "Date"])
    } else {
        Table::new(["Task Group", "Count", "PrevCount", "Date"])
    };
    for (group, event) in events {
        let count = event.count.map(|count| count.to_string()).unwrap_or_default();
        let mut row = vec![group.clone(), count, event.previous_count.to_string()];
        if verbose.verbose {
            row.extend([
                event.error.to_string(),
                event.message.clone(),
                event.eval_id.as_deref().map(|id| verbose.id(id)).unwrap_or_default(),
            ]);
        }
        row.push(time_nanos(i64::try_from(event.time).unwrap_or(i64::MAX)));
        table.row(row);
    }
    table
}

#[cfg(test)]
mod tests {
    use orch_api::ScalingEvent;
    use orch_api::scaling::TaskGroupScaleStatus;

    use super::*;
    use crate::output::Style;

    #[test]
    fn events_of_all_groups_are_shown_newest_first() {
        let event = |create_index: u64, count: Option<i64>| ScalingEvent {
            create_index,
            count,
            previous_count: 1,
            message: "more load".into(),
            ..ScalingEvent::default()
        };
        let of = |events: Vec<ScalingEvent>| TaskGroupScaleStatus { events, ..TaskGroupScaleStatus::default() };
        let status = JobScaleStatus {
            task_groups: [
                ("back".to_owned(), of(vec![event(4, Some(2))])),
                ("front".to_owned(), of(vec![event(9, None), event(3, Some(0))])),
            ]
            .into(),
            ..JobScaleStatus::default()
        };
        let expected = "\
            Task Group  Count   PrevCount  Date\n\
            front       <none>  1          <none>\n\
            back        2       1          <none>\n\
            front       0       1          <none>\n";
        assert_eq!(table(&status, Verbose { verbose: false }).render(Style::Plain), expected);
        let verbose = table(&status, Verbose { verbose: true }).render(Style::Plain);
        assert!(verbose.starts_with("Task Group  Count   PrevCount  Error  Message    Eval ID  Date\n"), "{verbose}");
    }
}
