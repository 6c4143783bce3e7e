//! `orch volume status`.

use anyhow::bail;
use orch_api::client::QueryOptions;
use orch_api::{HostVolume, HostVolumeStub};

use super::must_be_host;
use crate::commands::job::allocs;
use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Pairs, Style, Table, or_none, to_json};
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// The volume, by the beginning of its id or name; without one, all are listed
    volume: Option<String>,
    /// The type of volume
    #[arg(long = "type", value_name = "type", default_value = "host")]
    kind: String,
    /// Only volumes of this node
    #[arg(long, value_name = "node", default_value = "")]
    node: String,
    /// Only volumes of this pool
    #[arg(long = "node-pool", value_name = "pool", default_value = "")]
    node_pool: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(super) async fn run(context: &Context, args: StatusArgs) -> Outcome {
    must_be_host(&args.kind)?;
    if let Some(given) = &args.volume {
        let found = find(context, given).await?;
        let context = context.in_namespace(&found.namespace);
        let (volume, _) = context.client.host_volume(&found.id, &QueryOptions::default()).await?;
        let text = if args.json { to_json(&volume)? } else { detail(volume, args.verbose, context.style) };
        terminal::out(text);
        return Ok(DONE);
    }
    let params = [("node_id", args.node.as_str()), ("node_pool", args.node_pool.as_str())];
    let (volumes, _) = context.client.host_volumes(&QueryOptions::default(), &params).await?;
    if args.json {
        terminal::out(to_json(&volumes)?);
    } else if volumes.is_empty() {
        terminal::line("No host volumes");
    } else {
        terminal::out(table(volumes, args.verbose).render(context.style));
    }
    Ok(DONE)
}

/// The volume whose id or name begins with `given`, or has that name exactly.
pub(super) async fn find(context: &Context, given: &str) -> anyhow::Result<HostVolumeStub> {
    let namespace = context.client.config().namespace.is_empty().then(|| "*".to_owned());
    let options = QueryOptions { prefix: given.to_owned(), namespace, ..QueryOptions::default() };
    let (mut found, _) = context.client.host_volumes(&options, &[]).await?;
    if found.iter().filter(|volume| volume.name == given || volume.id == given).count() == 1 {
        found.retain(|volume| volume.name == given || volume.id == given);
    }
    if found.len() > 1 {
        let table = table(found, Verbose { verbose: true }).render(Style::Plain);
        bail!("Prefix matched multiple volumes\n\n{}", table.trim_end());
    }
    found.pop().ok_or_else(|| anyhow::anyhow!("No volume with the prefix or ID {given:?}"))
}

fn table(volumes: Vec<HostVolumeStub>, verbose: Verbose) -> Table {
    let mut table = Table::new(["ID", "Name", "Namespace", "Plugin ID", "Node ID", "Node Pool", "State"]);
    for volume in volumes {
        let (id, node) = (verbose.id(&volume.id), verbose.id(&volume.node_id));
        table.row([id, volume.name, volume.namespace, volume.plugin_id, node, volume.node_pool, volume.state]);
    }
    table
}

fn detail(volume: HostVolume, verbose: Verbose, style: Style) -> String {
    let modes =
        volume.requested_capabilities.iter().map(|mode| format!("{}/{}", mode.access_mode, mode.attachment_mode));
    let modes = modes.collect::<Vec<_>>().join(",");
    let mut pairs = Pairs::new();
    pairs
        .add("ID", &volume.id)
        .add("Name", &volume.name)
        .add("Namespace", &volume.namespace)
        .add("Plugin ID", or_none(&volume.plugin_id))
        .add("Node ID", verbose.id(&volume.node_id))
        .add("Node Pool", &volume.node_pool)
        .add("Capacity", volume.capacity_bytes)
        .add("State", &volume.state)
        .add("Host Path", or_none(&volume.host_path))
        .add("Capabilities", or_none(&modes));
    let mut text = pairs.render();
    if !volume.allocations.is_empty() {
        let table = allocs::table(volume.allocations, verbose).render(style);
        text.push_str(&format!("\n{}\n{table}", style.bold("Allocations")));
    }
    text
}
