//! `orch node eligibility`.

use anyhow::bail;
use orch_model::node::Eligibility;

use crate::commands::{DONE, Outcome};
use crate::context::Context;
use crate::resolve;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct EligibilityArgs {
    /// The node
    node: Option<String>,
    /// Work may be placed on it
    #[arg(long)]
    enable: bool,
    /// No more work is placed on it; what runs stays
    #[arg(long)]
    disable: bool,
    /// The node that the agent itself is
    #[arg(long = "self")]
    own: bool,
}

pub(crate) async fn run(context: &Context, args: EligibilityArgs) -> Outcome {
    let eligibility = match (args.enable, args.disable) {
        (true, false) => Eligibility::Eligible,
        (false, true) => Eligibility::Ineligible,
        (true, true) | (false, false) => bail!("Exactly one of -enable and -disable must be given"),
    };
    let id = match (&args.node, args.own) {
        (None, true) => resolve::own_node(context).await?,
        (Some(given), false) => resolve::node(context, given).await?.id,
        (None, false) | (Some(_), true) => bail!("This command takes one argument: <node>, or -self"),
    };
    context.client.set_eligibility(&id, eligibility).await?;
    let words = match eligibility {
        Eligibility::Eligible => "eligible for scheduling",
        Eligibility::Ineligible => "ineligible for scheduling",
    };
    terminal::line(format!("Node \"{id}\" scheduling eligibility set: {words}"));
    Ok(DONE)
}
