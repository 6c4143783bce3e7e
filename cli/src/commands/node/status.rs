//! `orch node status`.

use std::collections::BTreeMap;

use orch_api::client::QueryOptions;
use orch_api::{Allocation, HostStats, Node, NodeListStub};
use orch_model::allocation::ClientStatus;

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Pairs, Style, Table, ago, duration, mebibytes, or_none, size, time, time_nanos, to_json};
use crate::resolve;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The node; without one, all are listed
    node: Option<String>,
    /// The node that the agent itself is
    #[arg(long = "self")]
    own: bool,
    /// Only the node itself
    #[arg(long)]
    short: bool,
    /// Print ids alone
    #[arg(long)]
    quiet: bool,
    /// In the list: the operating system of each
    #[arg(long)]
    os: bool,
    /// In the list: how many allocations run on each
    #[arg(long)]
    allocs: bool,
    /// Also what the machine uses
    #[arg(long)]
    stats: bool,
    /// In the list: only what this expression holds for
    #[arg(long, value_name = "expression", default_value = "")]
    filter: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

impl StatusArgs {
    /// The status of one node as the other options are by default.
    pub(crate) fn of(node: &str, verbose: Verbose) -> Self {
        Self {
            node: Some(node.to_owned()),
            own: false,
            short: false,
            quiet: false,
            os: false,
            allocs: false,
            stats: false,
            filter: String::new(),
            json: false,
            verbose,
        }
    }
}

pub(crate) async fn run(context: &Context, args: StatusArgs) -> Outcome {
    let id = match &args.node {
        Some(given) => resolve::node(context, given).await?.id,
        None if args.own => resolve::own_node(context).await?,
        None => return list(context, &args).await,
    };
    let (node, _) = context.client.node(&id, &QueryOptions::default()).await?;
    if args.json {
        terminal::out(to_json(&node)?);
        return Ok(DONE);
    }
    if args.quiet {
        terminal::line(&node.id);
        return Ok(DONE);
    }
    // What the machine uses is extra: an unreachable node must not hide what is known.
    let usage = if args.stats || args.verbose.verbose { context.client.host_stats(&id).await.ok() } else { None };
    terminal::out(overview(&node, usage.as_ref(), args.verbose).render());
    if args.short {
        return Ok(DONE);
    }
    let (allocs, _) = context.client.node_allocations(&id, &QueryOptions::default()).await?;
    terminal::out(details(&node, usage.as_ref(), &allocs, args.verbose, context.style));
    Ok(DONE)
}

async fn list(context: &Context, args: &StatusArgs) -> Outcome {
    let params = if args.os { vec![("os".to_owned(), "true".to_owned())] } else { Vec::new() };
    let options = QueryOptions { filter: args.filter.clone(), params, ..QueryOptions::default() };
    let (nodes, _) = context.client.nodes(&options).await?;
    if args.json {
        terminal::out(to_json(&nodes)?);
        return Ok(DONE);
    }
    if args.quiet {
        nodes.iter().for_each(|node| terminal::line(args.verbose.id(&node.id)));
        return Ok(DONE);
    }
    if nodes.is_empty() {
        terminal::line("No nodes registered");
        return Ok(DONE);
    }
    let running = if args.allocs { Some(running_by_node(context).await?) } else { None };
    terminal::out(node_table(&nodes, args, running.as_ref()).render(context.style));
    Ok(DONE)
}

async fn running_by_node(context: &Context) -> anyhow::Result<BTreeMap<String, u64>> {
    let options = QueryOptions { namespace: Some("*".to_owned()), ..QueryOptions::default() };
    let (allocs, _) = context.client.allocations(&options).await?;
    let mut running = BTreeMap::new();
    for alloc in allocs.into_iter().filter(|alloc| alloc.client_status == ClientStatus::Running) {
        *running.entry(alloc.node_id).or_default() += 1;
    }
    Ok(running)
}

fn node_table(nodes: &[NodeListStub], args: &StatusArgs, running: Option<&BTreeMap<String, u64>>) -> Table {
    let verbose = args.verbose;
    let mut heading = vec!["ID", "Node Pool", "DC", "Name", "Class"];
    if args.os {
        heading.push("OS");
    }
    if verbose.verbose {
        heading.extend(["Address", "Version"]);
    }
    heading.extend(["Drain", "Eligibility", "Status"]);
    if running.is_some() {
        heading.push("Running Allocs");
    }
    let mut table = Table::new(heading);
    for node in nodes {
        let mut row = vec![
            verbose.id(&node.id),
            node.node_pool.clone(),
            node.datacenter.clone(),
            node.name.clone(),
            node.node_class.clone(),
        ];
        if args.os {
            row.push(node.attributes.get("os.name").cloned().unwrap_or_default());
        }
        if verbose.verbose {
            row.extend([node.address.clone(), node.version.clone()]);
        }
        row.extend([node.drain.to_string(), node.scheduling_eligibility.to_string(), node.status.to_string()]);
        if let Some(running) = running {
            row.push(running.get(&node.id).copied().unwrap_or(0).to_string());
        }
        table.row(row);
    }
    table
}

fn overview(node: &Node, usage: Option<&HostStats>, verbose: Verbose) -> Pairs {
    let drivers: Vec<String> = node
        .drivers
        .iter()
        .filter(|(_, info)| info.detected)
        .map(|(name, info)| if info.healthy { name.clone() } else { format!("{name} (unhealthy)") })
        .collect();
    let networks: Vec<&str> = node.host_networks.keys().map(String::as_str).collect();
    let volumes: Vec<&str> = node.host_volumes.keys().map(String::as_str).collect();
    let mut pairs = Pairs::new();
    pairs
        .add("ID", &node.id)
        .add("Name", &node.name)
        .add("Node Pool", &node.node_pool)
        .add("Class", or_none(&node.node_class))
        .add("DC", &node.datacenter)
        .add("Drain", node.drain)
        .add("Eligibility", node.scheduling_eligibility)
        .add("Status", node.status);
    if verbose.verbose {
        pairs.add_some("Status Description", &node.status_description);
    }
    if let Some(usage) = usage {
        pairs.add("Uptime", duration(i64::try_from(usage.uptime).unwrap_or(0)));
    }
    pairs
        .add("Host Volumes", or_none(&volumes.join(",")))
        .add("Host Networks", or_none(&networks.join(",")))
        .add("Driver Status", or_none(&drivers.join(",")));
    pairs
}

fn details(node: &Node, usage: Option<&HostStats>, allocs: &[Allocation], verbose: Verbose, style: Style) -> String {
    let section = |title: &str, body: String| format!("\n{}\n{body}", style.bold(title));
    let mut text = String::new();
    if verbose.verbose {
        text.push_str(&section("Drivers", driver_table(node).render(style)));
    }
    text.push_str(&section("Node Events", event_table(node).render(style)));
    text.push_str(&section("Allocated Resources", allocated(node, allocs).render(style)));
    if let Some(usage) = usage {
        text.push_str(&section("Host Resource Utilization", utilisation(node, usage).render(style)));
    }
    let body = if allocs.is_empty() {
        "No allocations placed\n".to_owned()
    } else {
        alloc_table(allocs, verbose).render(style)
    };
    text.push_str(&section("Allocations", body));
    if verbose.verbose {
        text.push_str(&section("Attributes", pairs_of(&node.attributes)));
        text.push_str(&section("Meta", pairs_of(&node.meta)));
    }
    text
}

fn pairs_of(map: &BTreeMap<String, String>) -> String {
    let mut pairs = Pairs::new();
    for (name, value) in map {
        pairs.add(name, value);
    }
    pairs.render()
}

fn driver_table(node: &Node) -> Table {
    let mut table = Table::new(["Driver", "Detected", "Healthy", "Message", "Time"]);
    for (name, info) in &node.drivers {
        table.row([
            name.clone(),
            info.detected.to_string(),
            info.healthy.to_string(),
            info.health_description.clone(),
            time(info.update_time),
        ]);
    }
    table
}

fn event_table(node: &Node) -> Table {
    let mut table = Table::new(["Time", "Subsystem", "Message"]);
    for event in node.events.iter().rev() {
        table.row([time(event.timestamp), event.subsystem.clone(), event.message.clone()]);
    }
    table
}

/// What is promised to allocations that have not ended, of what the node has to give.
fn allocated(node: &Node, allocs: &[Allocation]) -> Table {
    let live = || {
        allocs.iter().filter(|alloc| {
            matches!(alloc.client_status, ClientStatus::Pending | ClientStatus::Running | ClientStatus::Unknown)
        })
    };
    let resources = || live().filter_map(|alloc| alloc.allocated_resources.as_ref());
    let tasks = || resources().flat_map(|resources| resources.tasks.values());
    let cpu: i64 = tasks().map(|task| task.cpu.cpu_shares).sum();
    let memory: i64 = tasks().map(|task| task.memory.memory_mb).sum();
    let disk: u64 = resources().map(|resources| resources.shared.disk_mb).sum();
    let has = node.node_resources.clone().unwrap_or_default();
    let kept = node.reserved_resources.clone().unwrap_or_default();
    let cpu_total = has.cpu.cpu_shares.saturating_sub(kept.cpu.cpu_shares);
    let memory_total = has.memory.memory_mb.saturating_sub(kept.memory.memory_mb);
    let disk_total = has.disk.disk_mb.saturating_sub(kept.disk.disk_mb);
    let count = live().count();
    let count = if node.node_max_allocs > 0 { format!("{count}/{}", node.node_max_allocs) } else { count.to_string() };
    let mut table = Table::new(["CPU", "Memory", "Disk", "Alloc Count"]);
    table.row([
        format!("{cpu}/{cpu_total} MHz"),
        format!("{}/{}", mebibytes(u64::try_from(memory).unwrap_or(0)), mebibytes(memory_total)),
        format!("{}/{}", mebibytes(disk), mebibytes(disk_total)),
        count,
    ]);
    table
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "megahertz in use, shown without fraction")]
fn utilisation(node: &Node, usage: &HostStats) -> Table {
    let total = node.node_resources.as_ref().map_or(0, |resources| resources.cpu.cpu_shares);
    let disk = &usage.alloc_dir_stats;
    let mut table = Table::new(["CPU", "Memory", "Disk"]);
    table.row([
        format!("{}/{total} MHz", usage.cpu_ticks_consumed as u64),
        format!("{}/{}", size(usage.memory.used), size(usage.memory.total)),
        format!("{}/{}", size(disk.used), size(disk.size)),
    ]);
    table
}

fn alloc_table(allocs: &[Allocation], verbose: Verbose) -> Table {
    let mut sorted: Vec<&Allocation> = allocs.iter().collect();
    sorted.sort_by_key(|alloc| std::cmp::Reverse(alloc.create_index));
    let when = |nanos| if verbose.verbose { time_nanos(nanos) } else { ago(nanos) };
    let mut table =
        Table::new(["ID", "Node ID", "Job ID", "Task Group", "Version", "Desired", "Status", "Created", "Modified"]);
    for alloc in sorted {
        table.row([
            verbose.id(&alloc.id),
            verbose.id(&alloc.node_id),
            alloc.job_id.clone(),
            alloc.task_group.clone(),
            alloc.job.as_ref().map(|job| job.version.to_string()).unwrap_or_default(),
            alloc.desired_status.to_string(),
            alloc.client_status.to_string(),
            when(alloc.create_time),
            when(alloc.modify_time),
        ]);
    }
    table
}
