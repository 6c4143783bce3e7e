//! `orch volume claim …`.

use clap::Subcommand;
use orch_api::client::QueryOptions;

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Table, to_json};
use crate::terminal;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum ClaimCommand {
    /// List the claims of jobs on host volumes
    List(ListArgs),
    /// Forget a claim, so that the instance may use another volume
    Delete(DeleteArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only claims of this job
    #[arg(long, value_name = "job", default_value = "")]
    job: String,
    /// Only claims of groups of this name
    #[arg(long, value_name = "group", default_value = "")]
    group: String,
    /// Only claims on volumes of this name
    #[arg(long = "volume-name", value_name = "name", default_value = "")]
    volume_name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// The claim, by its whole id
    claim: String,
}

pub(super) async fn run(context: &Context, command: ClaimCommand) -> Outcome {
    match command {
        ClaimCommand::List(args) => list(context, args).await,
        ClaimCommand::Delete(args) => {
            context.client.delete_volume_claim(&args.claim).await?;
            terminal::line(format!("Successfully deleted claim {:?}", args.claim));
            Ok(DONE)
        }
    }
}

async fn list(context: &Context, args: ListArgs) -> Outcome {
    let params = [("job_id", &args.job), ("task_group", &args.group), ("volume_name", &args.volume_name)];
    let params = params.map(|(name, value)| (name, value.as_str()));
    let (claims, _) = context.client.volume_claims(&QueryOptions::default(), &params).await?;
    if args.json {
        terminal::out(to_json(&claims)?);
    } else if claims.is_empty() {
        terminal::line("No volume claims");
    } else {
        let mut table = Table::new(["ID", "Namespace", "Job ID", "Volume ID", "Volume Name"]);
        for claim in claims {
            let volume = args.verbose.id(&claim.volume_id);
            table.row([claim.id, claim.namespace, claim.job_id, volume, claim.volume_name]);
        }
        terminal::out(table.render(context.style));
    }
    Ok(DONE)
}
