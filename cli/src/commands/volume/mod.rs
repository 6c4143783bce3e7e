//! `orch volume …`.

mod claim;
mod delete;
mod init;
mod spec;
mod status;
mod write;

use anyhow::bail;
use clap::Subcommand;

use super::Outcome;
use crate::context::Context;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum VolumeCommand {
    /// Have a node make a host volume
    Create(write::WriteArgs),
    /// Have a node take over a directory as a host volume
    Register(write::WriteArgs),
    /// Show host volumes, or one in detail
    Status(status::StatusArgs),
    /// Remove a host volume that nobody uses, with all that is in it
    Delete(delete::DeleteArgs),
    /// Write an example of a volume file
    Init(init::InitArgs),
    /// Work with the claims of jobs on host volumes
    Claim {
        #[command(subcommand)]
        command: claim::ClaimCommand,
    },
}

pub(crate) async fn run(context: &Context, command: VolumeCommand) -> Outcome {
    match command {
        VolumeCommand::Create(args) => write::create(context, args).await,
        VolumeCommand::Register(args) => write::register(context, args).await,
        VolumeCommand::Status(args) => status::run(context, args).await,
        VolumeCommand::Delete(args) => delete::run(context, args).await,
        VolumeCommand::Init(args) => init::run(&args),
        VolumeCommand::Claim { command } => claim::run(context, command).await,
    }
}

/// Refuses any type of volume but `host`.
fn must_be_host(given: &str) -> anyhow::Result<()> {
    match given {
        "host" => Ok(()),
        "csi" => bail!("CSI volumes are not supported yet; host volumes are: use -type host"),
        other => bail!("there is no volume type {other:?}: use \"host\""),
    }
}
