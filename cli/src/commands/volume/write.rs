//! `orch volume create` and `orch volume register`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use orch_api::HostVolume;
use orch_api::volume::HostVolumeWriteResponse;

use super::spec;
use crate::commands::{DONE, Outcome};
use crate::context::Context;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct WriteArgs {
    /// The volume file; - reads standard input
    path: PathBuf,
    /// The id of a volume that is to be written anew
    #[arg(long)]
    id: Option<String>,
}

pub(super) async fn create(context: &Context, args: WriteArgs) -> Outcome {
    let (context, volume) = asked(context, &args)?;
    told(context.client.create_host_volume(volume).await?, "Created")
}

pub(super) async fn register(context: &Context, args: WriteArgs) -> Outcome {
    let (context, volume) = asked(context, &args)?;
    told(context.client.register_host_volume(volume).await?, "Registered")
}

fn asked(context: &Context, args: &WriteArgs) -> anyhow::Result<(Context, HostVolume)> {
    let (name, text) = if args.path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        ("<stdin>".to_owned(), text)
    } else {
        let name = args.path.display().to_string();
        let text = std::fs::read_to_string(&args.path).with_context(|| format!("cannot read {name}"))?;
        (name, text)
    };
    let mut volume = spec::read(&name, &text)?;
    match &args.id {
        Some(id) if !volume.id.is_empty() && volume.id != *id => bail!("{name} has another id than -id: {}", volume.id),
        Some(id) => volume.id.clone_from(id),
        None => {}
    }
    let context = if volume.namespace.is_empty() { context.clone() } else { context.in_namespace(&volume.namespace) };
    Ok((context, volume))
}

fn told(response: HostVolumeWriteResponse, done: &str) -> Outcome {
    if !response.warnings.is_empty() {
        terminal::err(format!("Warning: {}", response.warnings));
    }
    let volume = response.volume.context("the answer names no volume")?;
    terminal::line(format!(
        "{done} host volume {} with ID {} on node {}, state {}",
        volume.name, volume.id, volume.node_id, volume.state
    ));
    Ok(DONE)
}
