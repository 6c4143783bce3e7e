//! `orch operator brake …`.

use clap::Subcommand;
use orch_api::BrakeStatus;
use orch_api::operator::HeldNode;

use crate::commands::{DONE, Outcome, Verbose};
use crate::context::Context;
use crate::output::{Pairs, Style, Table, time, to_json};
use crate::terminal;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum BrakeCommand {
    /// Show how many nodes may be given up now, and which are held back
    Status(StatusArgs),
    /// Give up the nodes that are held back, at once: what they ran is placed elsewhere
    Release(ReleaseArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    verbose: Verbose,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    verbose: Verbose,
}

pub(super) async fn run(context: &Context, command: BrakeCommand) -> Outcome {
    match command {
        BrakeCommand::Status(args) => {
            let status = context.client.brake_status().await?;
            if args.json {
                terminal::out(to_json(&status)?);
            } else {
                terminal::out(render(&status, args.verbose, context.style));
            }
        }
        BrakeCommand::Release(args) => {
            let before = context.client.brake_status().await?;
            let after = context.client.release_brake().await?;
            let still = |node: &HeldNode| after.held.iter().any(|held| held.id == node.id);
            let released: Vec<HeldNode> = before.held.into_iter().filter(|node| !still(node)).collect();
            if released.is_empty() {
                terminal::line("No nodes were held back");
            } else {
                terminal::line("Gave up what was held back:\n");
                terminal::out(table(&released, args.verbose).render(context.style));
            }
        }
    }
    Ok(DONE)
}

fn render(status: &BrakeStatus, verbose: Verbose, style: Style) -> String {
    let mut pairs = Pairs::new();
    pairs
        .add("Tokens", format!("{:.1} of {:.1}", status.tokens, status.capacity))
        .add("Refill Period", status.refill_period)
        .add("Longest Hold", status.hold)
        .add("Held Back", status.held.len());
    let mut text = pairs.render();
    if !status.held.is_empty() {
        text.push_str(&format!("\n{}\n{}", style.bold("Nodes Held Back"), table(&status.held, verbose).render(style)));
    }
    text
}

fn table(nodes: &[HeldNode], verbose: Verbose) -> Table {
    let mut table = Table::new(["ID", "Name", "Since"]);
    for node in nodes {
        table.row([verbose.id(&node.id), node.name.clone(), time(node.since)]);
    }
    table
}

#[cfg(test)]
mod tests {
    use orch_model::Nanos;

    use super::*;

    #[test]
    fn the_nodes_that_are_held_back_are_listed() {
        let held = HeldNode { id: "9c0d1e2f-0000".into(), name: "c7".into(), ..HeldNode::default() };
        let status = BrakeStatus {
            tokens: 0.25,
            capacity: 5.0,
            refill_period: Nanos::from_secs(60),
            hold: Nanos::from_secs(300),
            held: vec![held],
        };
        let expected = "Tokens        = 0.2 of 5.0\n\
            Refill Period = 1m0s\n\
            Longest Hold  = 5m0s\n\
            Held Back     = 1\n\
            \n\
            Nodes Held Back\n\
            ID        Name  Since\n\
            9c0d1e2f  c7    <none>\n";
        assert_eq!(render(&status, Verbose { verbose: false }, Style::Plain), expected);
    }
}
