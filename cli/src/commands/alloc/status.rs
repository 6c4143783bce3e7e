//! `orch alloc status`.

use orch_api::allocation::{AllocatedTaskResources, TaskState};
use orch_api::client::QueryOptions;
use orch_api::{AllocMetric, AllocResourceUsage, Allocation, Evaluation};
use orch_model::allocation::ClientStatus;

use super::target;
use crate::commands::job::allocs;
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Pairs, Style, Table, ago, from_now, mebibytes, size, time, time_nanos, to_json};
use crate::{explain, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The allocation; without one, all are listed
    allocation: Option<String>,
    /// Only the last event of each task
    #[arg(long)]
    short: bool,
    /// Also what its tasks use
    #[arg(long)]
    stats: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

impl StatusArgs {
    /// The status of one allocation as the other options are by default.
    pub(crate) fn of(alloc: &str, verbose: Verbose) -> Self {
        Self { allocation: Some(alloc.to_owned()), short: false, stats: false, json: false, verbose }
    }
}

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Outcome {
    let Some(given) = &args.allocation else { return list(context, &args).await };
    let (context, alloc) = target::allocation(context, given, false, None).await?;
    if args.json {
        terminal::out(to_json(&alloc)?);
        return Ok(DONE);
    }
    let verbose = args.verbose;
    let followup = followup(&context, &alloc).await?;
    terminal::out(overview(&alloc, followup.as_ref(), verbose).render());
    if args.short {
        terminal::out(format!("\n{}\n{}", context.style.bold("Tasks"), short_table(&alloc).render(context.style)));
        return Ok(DONE);
    }
    let usage = if alloc.client_status == ClientStatus::Running {
        // What is used is extra: an unreachable node must not hide what is known.
        context.client.allocation_stats(&alloc.id, "").await.ok()
    } else {
        None
    };
    terminal::out(addresses(&alloc, context.style));
    for task in target::tasks(&alloc) {
        terminal::out(task_section(&alloc, &task, usage.as_ref(), context.style));
    }
    if args.stats && usage.is_none() {
        terminal::line("\nThe node does not say what the tasks use now");
    }
    if verbose.verbose
        && let Some(metrics) = &alloc.metrics
    {
        terminal::out(placement(metrics, context.style));
    }
    Ok(DONE)
}

/// The evaluation that may replace the allocation later; `None` if none is to come.
async fn followup(context: &Context, alloc: &Allocation) -> anyhow::Result<Option<Evaluation>> {
    if alloc.followup_eval_id.is_empty() || !alloc.next_allocation.is_empty() {
        return Ok(None);
    }
    match context.client.evaluation(&alloc.followup_eval_id, &QueryOptions::default()).await {
        Ok((eval, _)) => Ok(Some(eval)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Why it was placed where it is: what ruled nodes out, and how those that remained scored.
fn placement(metrics: &AllocMetric, style: Style) -> String {
    let mut text = format!("\n{}\n", style.bold("Placement Metrics"));
    if metrics.nodes_evaluated > 0 {
        let reasons = explain::placement(metrics, "  ");
        if !reasons.is_empty() {
            text.push_str(&format!("{reasons}\n"));
        }
    }
    if let Some(scores) = explain::scores(metrics, style, str::to_owned) {
        text.push_str(&scores);
    }
    text
}

async fn list(context: &Context, args: &StatusArgs) -> Outcome {
    let (allocs, _) = context.client.allocations(&QueryOptions::default()).await?;
    if args.json {
        terminal::out(to_json(&allocs)?);
    } else if allocs.is_empty() {
        terminal::line("No allocations placed");
    } else {
        terminal::out(allocs::table(allocs, args.verbose).render(context.style));
    }
    Ok(DONE)
}

fn overview(alloc: &Allocation, followup: Option<&Evaluation>, verbose: Verbose) -> Pairs {
    let when = |nanos| if verbose.verbose { time_nanos(nanos) } else { ago(nanos) };
    let version = alloc.job.as_ref().map(|job| job.version.to_string()).unwrap_or_default();
    let mut pairs = Pairs::new();
    pairs
        .add("ID", &alloc.id)
        .add("Eval ID", verbose.id(&alloc.eval_id))
        .add("Name", &alloc.name)
        .add("Node ID", verbose.id(&alloc.node_id))
        .add("Node Name", &alloc.node_name)
        .add("Job ID", &alloc.job_id)
        .add("Job Version", version)
        .add("Client Status", alloc.client_status)
        .add("Client Description", or_empty(&alloc.client_description))
        .add("Desired Status", alloc.desired_status)
        .add("Desired Description", or_empty(&alloc.desired_description))
        .add("Created", when(alloc.create_time))
        .add("Modified", when(alloc.modify_time))
        .add_some("Deployment ID", &verbose.id(&alloc.deployment_id))
        .add_some("Deployment Health", deployment_health(alloc));
    if alloc.deployment_status.as_ref().is_some_and(|status| status.canary) {
        pairs.add("Canary", true);
    }
    pairs
        .add_some("Reschedule Attempts", &reschedule_attempts(alloc))
        .add_some("Replacement Alloc ID", &verbose.id(&alloc.next_allocation))
        .add_some("Previous Alloc ID", &verbose.id(&alloc.previous_allocation));
    if let Some(followup) = followup {
        pairs
            .add_some("Reschedule Eligibility", &from_now(followup.wait_until.0.0))
            .add("Followup Eval ID", verbose.id(&followup.id));
    }
    if let (true, Some(metrics)) = (verbose.verbose, &alloc.metrics) {
        pairs
            .add("Evaluated Nodes", metrics.nodes_evaluated)
            .add("Filtered Nodes", metrics.nodes_filtered)
            .add("Exhausted Nodes", metrics.nodes_exhausted)
            .add("Failures", metrics.coalesced_failures);
    }
    pairs
}

/// How its deployment sees it; empty if it is part of none.
fn deployment_health(alloc: &Allocation) -> &'static str {
    if alloc.deployment_id.is_empty() {
        return "";
    }
    match alloc.deployment_status.as_ref().and_then(|status| status.healthy) {
        Some(true) => "healthy",
        Some(false) => "unhealthy",
        None => "unset",
    }
}

/// How many attempts were made of how many that are allowed in the interval before its end; empty if none were made.
fn reschedule_attempts(alloc: &Allocation) -> String {
    let events = alloc.reschedule_tracker.as_ref().map(|tracker| tracker.events.as_slice()).unwrap_or_default();
    let group = alloc.job.as_ref().and_then(|job| job.task_groups.iter().find(|group| group.name == alloc.task_group));
    let limited = group.and_then(|group| group.reschedule_policy.as_ref()).filter(|policy| !policy.unlimited());
    match limited {
        _ if events.is_empty() => String::new(),
        None => events.len().to_string(),
        Some(policy) => {
            let since = ended_at(alloc).saturating_sub(policy.interval().0);
            let recent = events.iter().filter(|event| event.reschedule_time > since).count();
            format!("{recent}/{}", policy.attempts())
        }
    }
}

/// When the last of its tasks ended, else when it last changed, in nanoseconds since 1970.
fn ended_at(alloc: &Allocation) -> i64 {
    let ends = alloc.task_states.values().map(|state| state.finished_at.0.0);
    ends.max().filter(|end| *end > 0).unwrap_or(alloc.modify_time)
}

fn or_empty(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

fn addresses(alloc: &Allocation, style: Style) -> String {
    let Some(resources) = alloc.allocated_resources.as_ref().filter(|resources| !resources.shared.ports.is_empty())
    else {
        return String::new();
    };
    let mode = resources.shared.networks.first().map_or("", |network| network.mode.as_str());
    let title = if mode.is_empty() || mode == "host" {
        "Allocation Addresses:".to_owned()
    } else {
        format!("Allocation Addresses (mode = \"{mode}\"):")
    };
    let mut table = Table::new(["Label", "Dynamic", "Address"]);
    for port in &resources.shared.ports {
        let host = if port.host_ip.contains(':') { format!("[{}]", port.host_ip) } else { port.host_ip.clone() };
        let to = if port.to > 0 { format!(" -> {}", port.to) } else { String::new() };
        table.row([format!("*{}", port.label), "yes".to_owned(), format!("{host}:{}{to}", port.value)]);
    }
    format!("\n{}\n{}", style.bold(&title), table.render(style))
}

fn task_section(alloc: &Allocation, task: &str, usage: Option<&AllocResourceUsage>, style: Style) -> String {
    let state = alloc.task_states.get(task).cloned().unwrap_or_default();
    let title = format!("Task \"{task}\" is \"{}\"", state.state.as_str());
    let mut text = format!("\n{}\n", style.bold(&title));
    if let Some(resources) = alloc.allocated_resources.as_ref()
        && let Some(of_task) = resources.tasks.get(task)
    {
        let table = resource_table(of_task, resources.shared.disk_mb, task, usage);
        text.push_str(&format!("{}\n{}\n", style.bold("Task Resources:"), table.render(style)));
    }
    text.push_str(&events(&state, style));
    text
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "megahertz in use, shown without fraction")]
fn resource_table(
    resources: &AllocatedTaskResources,
    disk_mb: u64,
    task: &str,
    usage: Option<&AllocResourceUsage>,
) -> Table {
    let used = usage.and_then(|usage| usage.tasks.get(task)).map(|usage| &usage.resource_usage);
    let cpu = match used {
        Some(used) => format!("{}/{} MHz", used.cpu_stats.total_ticks as u64, resources.cpu.cpu_shares),
        None => format!("{} MHz", resources.cpu.cpu_shares),
    };
    let memory = mebibytes(u64::try_from(resources.memory.memory_mb).unwrap_or(0));
    let memory = match used {
        Some(used) => {
            let stats = &used.memory_stats;
            let bytes = if stats.rss > 0 { stats.rss } else { stats.usage };
            format!("{}/{memory}", size(bytes))
        }
        None => memory,
    };
    let cores = resources.cpu.reserved_cores.len();
    let heading = if cores > 0 { format!("CPU ({cores} cores)") } else { "CPU".to_owned() };
    let mut table = Table::new([heading.as_str(), "Memory", "Disk", "Addresses"]);
    table.row([cpu, memory, mebibytes(disk_mb), " ".to_owned()]);
    table
}

fn events(state: &TaskState, style: Style) -> String {
    let at = |when| match time(when) {
        text if text.is_empty() => "N/A".to_owned(),
        text => text,
    };
    let mut pairs = Pairs::new();
    pairs
        .add("Started At", at(state.started_at))
        .add("Finished At", at(state.finished_at))
        .add("Total Restarts", state.restarts)
        .add("Last Restart", at(state.last_restart));
    let mut table = Table::new(["Time", "Type", "Description"]);
    for event in state.events.iter().rev() {
        table.row([&time_nanos(event.time), &event.r#type, one_line(&event.display_message).as_str()]);
    }
    let recent = if table.is_empty() {
        String::new()
    } else {
        format!("\n{}\n{}", style.bold("Recent Events:"), table.render(style))
    };
    format!("{}\n{}{recent}", style.bold("Task Events:"), pairs.render())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn short_table(alloc: &Allocation) -> Table {
    let mut table = Table::new(["Name", "State", "Last Event", "Time", "Lifecycle"]);
    let lifecycles = alloc.allocated_resources.as_ref().map(|resources| &resources.task_lifecycles);
    for task in target::tasks(alloc) {
        let state = alloc.task_states.get(&task).cloned().unwrap_or_default();
        let last = state.events.last().cloned().unwrap_or_default();
        let lifecycle = lifecycles.and_then(|all| all.get(&task)).and_then(Option::as_ref);
        let hook = lifecycle.map_or_else(|| "main".to_owned(), |lifecycle| lifecycle.hook.clone());
        table.row([task, state.state.as_str().to_owned(), last.r#type, time_nanos(last.time), hook]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orch_api::Time;
    use orch_api::allocation::{AllocDeploymentStatus, NodeScoreMeta, RescheduleEvent, RescheduleTracker, TaskEvent};
    use orch_model::job::{ReschedulePolicy, TaskGroup};
    use orch_model::{Job, Nanos, Timestamp};

    use super::*;

    /// The third attempt of a group that may have two an hour.
    fn third_attempt() -> Allocation {
        let policy = ReschedulePolicy {
            attempts: Some(2),
            interval: Some(Nanos::from_secs(3_600)),
            ..ReschedulePolicy::default()
        };
        let group = TaskGroup { name: "front".into(), reschedule_policy: Some(policy), ..TaskGroup::default() };
        let at = |seconds: i64| RescheduleEvent { reschedule_time: seconds * 1_000_000_000, ..Default::default() };
        Allocation {
            id: "5e6f7a8b".into(),
            name: "web.front[0]".into(),
            job: Some(Arc::new(Job { version: 2, task_groups: vec![group], ..Job::default() })),
            task_group: "front".into(),
            modify_time: 5_000_000_000_000,
            reschedule_tracker: Some(RescheduleTracker {
                events: vec![at(1_000), at(4_900)],
                ..RescheduleTracker::default()
            }),
            ..Allocation::default()
        }
    }

    #[test]
    fn the_overview_tells_of_deployment_and_attempts() {
        let mut alloc = third_attempt();
        let lines = |alloc: &Allocation, followup: Option<&Evaluation>| {
            let text = overview(alloc, followup, Verbose { verbose: false }).render();
            let wanted = ["Deployment", "Reschedule", "Followup"];
            text.lines()
                .filter(|line| wanted.iter().any(|word| line.starts_with(word)))
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&alloc, None), ["Reschedule Attempts = 1/2"]);
        alloc.deployment_id = "1a2b3c4d-0".into();
        alloc.deployment_status = Some(AllocDeploymentStatus { healthy: Some(false), ..Default::default() });
        let followup = Evaluation { id: "9c0d1e2f-0".into(), wait_until: Time(Timestamp(1)), ..Evaluation::default() };
        let expected = [
            "Deployment ID = 1a2b3c4d",
            "Deployment Health = unhealthy",
            "Reschedule Attempts = 1/2",
            "Followup Eval ID = 9c0d1e2f",
        ];
        assert_eq!(lines(&alloc, Some(&followup)), expected);
    }

    #[test]
    fn placement_shows_what_was_ruled_out_and_how_the_rest_scored() {
        let node = NodeScoreMeta {
            node_id: "9c0d1e2f".into(),
            scores: [("binpack".to_owned(), 0.5), ("job-anti-affinity".to_owned(), -0.25)].into(),
            norm_score: 0.125,
        };
        let metrics = AllocMetric {
            nodes_evaluated: 3,
            constraint_filtered: [("${attr.kernel.name} = plan9".to_owned(), 1)].into(),
            score_meta_data: vec![node],
            ..AllocMetric::default()
        };
        let expected = "\nPlacement Metrics\n  \
            * Constraint \"${attr.kernel.name} = plan9\": 1 node excluded by filter\n\
            Node      binpack  job-anti-affinity  final score\n\
            9c0d1e2f  0.5      -0.25              0.125\n";
        assert_eq!(placement(&metrics, Style::Plain), expected);
    }

    #[test]
    fn events_are_shown_newest_first() {
        let event = |kind: &str, text: &str| TaskEvent {
            r#type: kind.into(),
            display_message: text.into(),
            ..TaskEvent::default()
        };
        let state = TaskState {
            finished_at: Time(Timestamp(0)),
            restarts: 2,
            events: vec![event("Received", "Task received\nby client"), event("Started", "Task started by client")],
            ..TaskState::default()
        };
        let expected = "Task Events:\n\
            Started At     = N/A\n\
            Finished At    = N/A\n\
            Total Restarts = 2\n\
            Last Restart   = N/A\n\
            \n\
            Recent Events:\n\
            Time    Type      Description\n\
            <none>  Started   Task started by client\n\
            <none>  Received  Task received by client\n";
        assert_eq!(events(&state, Style::Plain), expected);
    }
}
