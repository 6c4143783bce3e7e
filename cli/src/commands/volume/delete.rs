//! `orch volume delete`.

use super::{must_be_host, status};
use crate::commands::{DONE, Outcome};
use crate::context::Context;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The volume
    volume: String,
    /// The type of volume
    #[arg(long = "type", value_name = "type", default_value = "host")]
    kind: String,
    /// Forget it although jobs have claims on it or its node does not answer
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(context: &Context, args: DeleteArgs) -> Outcome {
    must_be_host(&args.kind)?;
    let found = status::find(context, &args.volume).await?;
    context.in_namespace(&found.namespace).client.delete_host_volume(&found.id, args.force).await?;
    terminal::line(format!("Successfully deleted volume {:?}", found.id));
    Ok(DONE)
}
