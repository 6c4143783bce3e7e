//! `orch server …`.

use anyhow::bail;
use clap::Subcommand;

use super::{DONE, Outcome};
use crate::context::Context;
use crate::output::{Table, to_json};
use crate::terminal;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum ServerCommand {
    /// List the servers
    Members(MembersArgs),
    /// Have the server that answers join others
    Join(JoinArgs),
    /// Mark a server that is gone as left
    ForceLeave(ForceLeaveArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct MembersArgs {
    /// Also protocol and tags
    #[arg(long, visible_alias = "detailed")]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct JoinArgs {
    /// RPC addresses of servers that are to be joined, host:port
    #[arg(required = true)]
    addresses: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ForceLeaveArgs {
    /// The server's name
    node: String,
    /// Forget it, too
    #[arg(long)]
    prune: bool,
}

pub(crate) async fn run(context: &Context, command: ServerCommand) -> Outcome {
    match command {
        ServerCommand::Members(args) => members(context, args).await,
        ServerCommand::Join(args) => join(context, args).await,
        ServerCommand::ForceLeave(args) => force_leave(context, args).await,
    }
}

pub(crate) async fn members(context: &Context, args: MembersArgs) -> Outcome {
    let members = context.client.agent_members().await?;
    if args.json {
        terminal::out(to_json(&members.members)?);
        return Ok(DONE);
    }
    // A cluster without a leader still lists its servers.
    let leader = context.client.leader().await.unwrap_or_default();
    let mut heading = vec!["Name", "Address", "Port", "Status", "Leader"];
    if args.verbose {
        heading.push("Protocol");
    }
    heading.extend(["Raft Version", "Build", "Datacenter", "Region"]);
    if args.verbose {
        heading.push("Tags");
    }
    let mut table = Table::new(heading);
    for member in &members.members {
        let tag = |name: &str| member.tags.get(name).cloned().unwrap_or_default();
        let rpc = match tag("rpc_addr").as_str() {
            "" => member.addr.clone(),
            addr => addr.to_owned(),
        };
        let port = match tag("port").as_str() {
            "" => member.port.to_string(),
            port => port.to_owned(),
        };
        let leads = !leader.is_empty() && (format!("{rpc}:{port}") == leader || rpc == leader);
        let mut row = vec![
            member.name.clone(),
            member.addr.clone(),
            member.port.to_string(),
            member.status.clone(),
            leads.to_string(),
        ];
        if args.verbose {
            row.push(member.protocol_cur.to_string());
        }
        row.extend([tag("raft_vsn"), tag("build"), tag("dc"), tag("region")]);
        if args.verbose {
            let tags: Vec<String> = member.tags.iter().map(|(name, value)| format!("{name}={value}")).collect();
            row.push(tags.join(","));
        }
        table.row(row);
    }
    terminal::out(table.render(context.style));
    if leader.is_empty() {
        terminal::err("There is no leader: a majority of the servers must be up and reach each other");
    }
    Ok(DONE)
}

pub(crate) async fn join(context: &Context, args: JoinArgs) -> Outcome {
    let answer = context.client.join(&args.addresses).await?;
    if answer.num_joined == 0 {
        bail!("no server was joined: {}", answer.error);
    }
    if !answer.error.is_empty() {
        terminal::err(&answer.error);
    }
    terminal::line(format!("Joined {} servers successfully", answer.num_joined));
    Ok(DONE)
}

pub(crate) async fn force_leave(context: &Context, args: ForceLeaveArgs) -> Outcome {
    context.client.force_leave(&args.node, args.prune).await?;
    Ok(DONE)
}
