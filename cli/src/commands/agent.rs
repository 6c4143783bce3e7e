//! The flags of `orch agent`, each of which sets a key of the configuration.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use orch_config::keys::{self, Kind};
use orch_config::{Flag, Sources};

/// A flag: its name, the key it sets, and its help.
struct Known {
    name: &'static str,
    /// As messages show it.
    shown: &'static str,
    key: &'static str,
    help: &'static str,
}

macro_rules! known {
    ($($name:literal => $key:literal, $help:literal;)*) => {
        &[$( Known { name: $name, shown: concat!("-", $name), key: $key, help: $help } ),*]
    };
}

const FLAGS: &[Known] = known! {
    "server" => "server.enabled", "Be a server";
    "client" => "client.enabled", "Be a client";
    "bootstrap-expect" => "server.bootstrap_expect", "How many fresh servers form the cluster";
    "encrypt" => "server.encrypt", "Key of the encryption between servers (not built yet)";
    "raft-protocol" => "server.raft_protocol", "Accepted; there is one protocol";
    "join" => "server.start_join", "Server to join, host:port; may be repeated";
    "retry-join" => "server.retry_join", "Server to join, host:port, asked until it answers; may be repeated";
    "retry-max" => "server.retry_max", "Accepted; servers keep trying";
    "retry-interval" => "server.retry_interval", "How long to wait between rounds of joining";
    "rejoin" => "server.rejoin_after_leave", "Accepted; a server that left joins again";
    "state-dir" => "client.state_dir", "Where the client keeps its state";
    "alloc-dir" => "client.alloc_dir", "Where allocations have their directories";
    "node-class" => "client.node_class", "Class of the node";
    "node-pool" => "client.node_pool", "Pool of the node";
    "servers" => "client.servers", "Servers of the client, host:port, separated by commas";
    "meta" => "client.meta", "Metadata of the node, key=value; may be repeated";
    "network-interface" => "client.network_interface", "Interface whose address allocations use";
    "network-speed" => "client.network_speed", "Speed of the interface in Mbit/s";
    "preferred-address-family" => "client.preferred_address_family", "Accepted; IPv4 comes first";
    "bind" => "bind_addr", "Address to listen on";
    "data-dir" => "data_dir", "Where the agent keeps its data; with -dev, makes it keep it";
    "dc" => "datacenter", "Datacenter";
    "node" => "name", "Name of the agent";
    "log-level" => "log_level", "trace, debug, info, warn, error or off";
    "log-json" => "log_json", "Log JSON";
    "log-include-location" => "log_include_location", "Log the place in the source of each message";
    "acl-enabled" => "acl.enabled", "Access control (not built yet)";
};

/// What `orch agent` was called with.
#[derive(Debug)]
pub(crate) struct AgentArgs {
    dev: bool,
    files: Vec<PathBuf>,
    flags: Vec<Flag>,
}

impl AgentArgs {
    /// Where the configuration comes from; the region is one of the general options.
    pub(crate) fn sources(&self, region: Option<&str>) -> Sources {
        let region = region.map(|region| Flag { name: "-region", key: "region", value: region.to_owned() });
        let flags = self.flags.iter().cloned().chain(region).collect();
        Sources { dev: self.dev, files: self.files.clone(), flags }
    }
}

impl clap::Args for AgentArgs {
    fn augment_args(command: Command) -> Command {
        let command = command
            .arg(
                Arg::new("dev")
                    .long("dev")
                    .action(ArgAction::SetTrue)
                    .help("Be server and client on 127.0.0.1, keep nothing, and run any program"),
            )
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("path")
                    .action(ArgAction::Append)
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("Configuration file, or directory of them; may be repeated"),
            );
        FLAGS.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.name).long(flag.name).help(flag.help);
            command.arg(match kind(flag) {
                Kind::Bool => arg.action(ArgAction::SetTrue),
                Kind::List | Kind::Map => arg.action(ArgAction::Append).value_name("value"),
                Kind::Int | Kind::Float | Kind::Text | Kind::Duration | Kind::Bytes => {
                    arg.action(ArgAction::Set).value_name("value")
                }
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for AgentArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Vec::new();
        for known in FLAGS {
            let mut push = |value: String| flags.push(Flag { name: known.shown, key: known.key, value });
            if kind(known) == Kind::Bool {
                if matches.get_flag(known.name) {
                    push("true".to_owned());
                }
            } else if let Some(values) = matches.get_many::<String>(known.name) {
                values.cloned().for_each(&mut push);
            }
        }
        let files = matches.get_many::<PathBuf>("config").map(|files| files.cloned().collect()).unwrap_or_default();
        Ok(Self { dev: matches.get_flag("dev"), files, flags })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn kind(flag: &Known) -> Kind {
    keys::find(flag.key).expect("every flag names a key of the table").kind
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    #[test]
    fn every_flag_sets_the_key_it_names() {
        let command = AgentArgs::augment_args(Command::new("agent").no_binary_name(true));
        let matches = command.get_matches_from([
            "--dev",
            "--config=a.hcl",
            "--bind=127.0.0.2",
            "--retry-join=a",
            "--retry-join=b",
        ]);
        let args = AgentArgs::from_arg_matches(&matches).unwrap();
        let sources = args.sources(Some("eu"));
        let shown: Vec<String> =
            sources.flags.iter().map(|flag| format!("{}={} {}", flag.key, flag.value, flag.name)).collect();
        assert_eq!(
            shown,
            [
                "server.retry_join=a -retry-join",
                "server.retry_join=b -retry-join",
                "bind_addr=127.0.0.2 -bind",
                "region=eu -region"
            ]
        );
        assert!(sources.dev);
        assert_eq!(sources.files, [PathBuf::from("a.hcl")]);
    }
}
