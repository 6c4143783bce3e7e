//! `orch operator …`.

mod brake;
mod metrics;

use std::io::{IsTerminal as _, Read as _};

use anyhow::{Context as _, bail};
use clap::Subcommand;
use orch_api::operator::{SchedulerConfiguration, TransferLeadership};

use super::{DONE, Outcome};
use crate::context::Context;
use crate::output::{Pairs, Table, to_json};
use crate::terminal;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum OperatorCommand {
    /// Send any request to the API and print the answer as it is
    Api(ApiArgs),
    /// Look after the brake, which holds nodes back from being given up when many fall silent together
    Brake {
        #[command(subcommand)]
        command: brake::BrakeCommand,
    },
    /// Show the metrics of the agent
    Metrics(metrics::MetricsArgs),
    /// Look after Raft
    Raft {
        #[command(subcommand)]
        command: RaftCommand,
    },
    /// Change how work is scheduled
    Scheduler {
        #[command(subcommand)]
        command: SchedulerCommand,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct ApiArgs {
    /// The path, such as /v1/jobs?prefix=a
    path: String,
    /// The method; GET, or POST with a body on standard input
    #[arg(short = 'X', value_name = "method")]
    method: Option<http::Method>,
    /// Show the status on standard error
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum RaftCommand {
    /// List the members of Raft
    ListPeers {
        /// Answer from whatever this server knows
        #[arg(long)]
        stale: bool,
    },
    /// Take a server out of Raft
    RemovePeer {
        /// Its Raft id, as list-peers shows it
        #[arg(long, value_name = "id")]
        peer_id: String,
    },
    /// Hand leadership to another server
    TransferLeadership {
        /// The Raft id of the next leader; any, if not given
        #[arg(long, value_name = "id")]
        peer_id: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum SchedulerCommand {
    /// Show the settings
    GetConfig {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Change settings
    SetConfig(SetConfigArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetConfigArgs {
    /// binpack or spread
    #[arg(long, value_name = "name")]
    scheduler_algorithm: Option<String>,
    /// Whether jobs are refused
    #[arg(long, value_name = "bool", require_equals = true, num_args = 0..=1, default_missing_value = "true")]
    reject_job_registration: Option<bool>,
    /// Whether evaluations wait
    #[arg(long, value_name = "bool", require_equals = true, num_args = 0..=1, default_missing_value = "true")]
    pause_eval_broker: Option<bool>,
    /// Change them only if they were last changed at this index
    #[arg(long, value_name = "index")]
    check_index: Option<u64>,
}

pub(crate) async fn run(context: &Context, command: OperatorCommand) -> Outcome {
    match command {
        OperatorCommand::Api(args) => api(context, args).await,
        OperatorCommand::Brake { command } => brake::run(context, command).await,
        OperatorCommand::Metrics(args) => metrics::run(context, args).await,
        OperatorCommand::Raft { command } => raft(context, command).await,
        OperatorCommand::Scheduler { command } => scheduler(context, command).await,
    }
}

async fn api(context: &Context, args: ApiArgs) -> Outcome {
    let with_body = !std::io::stdin().is_terminal() && args.method != Some(http::Method::GET);
    let mut body = Vec::new();
    if with_body {
        std::io::stdin().read_to_end(&mut body).context("cannot read the body from standard input")?;
    }
    let method = args.method.unwrap_or(if body.is_empty() { http::Method::GET } else { http::Method::POST });
    let path = match args.path.split_once("://") {
        // Of a whole address only the path counts: which agent is asked stands in -address.
        Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]).to_owned(),
        None if args.path.starts_with('/') => args.path.clone(),
        None => format!("/{}", args.path),
    };
    let body = (!body.is_empty()).then(|| body.into());
    if args.verbose {
        terminal::err(format!("> {method} {path}"));
    }
    let answer = context.client.raw(method, &path, body).await?;
    if args.verbose {
        terminal::err(format!("< {}", answer.status));
        for (name, value) in &answer.headers {
            terminal::err(format!("< {name}: {}", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    terminal::out(&answer.body);
    Ok(DONE)
}

async fn raft(context: &Context, command: RaftCommand) -> Outcome {
    match command {
        RaftCommand::ListPeers { stale } => {
            let configuration = context.client.raft_configuration(stale).await?;
            let mut table = Table::new(["Node", "ID", "Address", "State", "Voter", "RaftProtocol"]);
            for server in &configuration.servers {
                let state = if server.leader { "leader" } else { "follower" };
                table.row([
                    &server.node,
                    &server.id,
                    &server.address,
                    state,
                    &server.voter.to_string(),
                    &server.raft_protocol,
                ]);
            }
            terminal::out(table.render(context.style));
        }
        RaftCommand::RemovePeer { peer_id } => {
            context.client.remove_raft_peer(&peer_id).await?;
            terminal::line(format!("Removed peer with id \"{peer_id}\""));
        }
        RaftCommand::TransferLeadership { peer_id } => {
            let TransferLeadership { to, noop, err, .. } =
                context.client.transfer_leadership(peer_id.as_deref()).await?;
            if let Some(error) = err.filter(|error| !error.is_empty()) {
                bail!("leadership was not handed over: {error}");
            }
            let name = if to.node.is_empty() { to.id } else { to.node };
            terminal::line(if noop { format!("{name} leads already") } else { format!("Leadership went to {name}") });
        }
    }
    Ok(DONE)
}

async fn scheduler(context: &Context, command: SchedulerCommand) -> Outcome {
    match command {
        SchedulerCommand::GetConfig { json } => {
            let answer = context.client.scheduler_configuration().await?;
            if json {
                terminal::out(to_json(&answer)?);
            } else {
                terminal::out(settings(&answer.scheduler_config).render());
            }
        }
        SchedulerCommand::SetConfig(args) => {
            let before = context.client.scheduler_configuration().await?.scheduler_config;
            let mut after = SchedulerConfiguration { ..before.clone() };
            if let Some(algorithm) = args.scheduler_algorithm {
                after.scheduler_algorithm = algorithm;
            }
            if let Some(reject) = args.reject_job_registration {
                after.reject_job_registration = reject;
            }
            if let Some(pause) = args.pause_eval_broker {
                after.pause_eval_broker = pause;
            }
            // Between reading and writing somebody else may have changed them.
            let expected = args.check_index.unwrap_or(before.modify_index);
            let answer = context.client.set_scheduler_configuration(&after, Some(expected)).await?;
            if !answer.updated {
                bail!("Scheduler configuration could not be atomically updated, please try again");
            }
            terminal::line("Scheduler configuration updated!");
        }
    }
    Ok(DONE)
}

fn settings(config: &SchedulerConfiguration) -> Pairs {
    let mut pairs = Pairs::new();
    pairs
        .add("Scheduler Algorithm", &config.scheduler_algorithm)
        .add("Reject Job Registration", config.reject_job_registration)
        .add("Pause Eval Broker", config.pause_eval_broker)
        .add("Modify Index", config.modify_index);
    pairs
}
