//! What all commands that talk to an agent share: its address, the namespace, the looks of the output.

use anyhow::{Context as _, bail};
use orch_api::Client;
use orch_api::client::{Address, Config};

use crate::output::Style;

/// Options of every command that talks to an agent.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "General options")]
pub(crate) struct GeneralOptions {
    /// Address of the agent, http://host:port or unix:///path [env: ORCH_ADDR, NOMAD_ADDR]
    #[arg(long, global = true, value_name = "addr")]
    address: Option<String>,
    /// Region that requests are meant for [env: ORCH_REGION, NOMAD_REGION]
    #[arg(long, global = true, value_name = "region")]
    pub(crate) region: Option<String>,
    /// Namespace of jobs and allocations, * for all where that makes sense [env: ORCH_NAMESPACE, NOMAD_NAMESPACE]
    #[arg(long, global = true, value_name = "namespace")]
    namespace: Option<String>,
    /// Secret to send along [env: ORCH_TOKEN, NOMAD_TOKEN]
    #[arg(long, global = true, value_name = "secret")]
    token: Option<String>,
    /// No colour [env: ORCH_CLI_NO_COLOR, NOMAD_CLI_NO_COLOR]
    #[arg(long, global = true)]
    no_color: bool,
    /// Colour also where output is no terminal [env: ORCH_CLI_FORCE_COLOR, NOMAD_CLI_FORCE_COLOR]
    #[arg(long, global = true)]
    force_color: bool,
    #[command(flatten)]
    tls: TlsOptions,
}

/// Options of a connection with TLS, which is not built yet.
#[derive(Debug, Clone, Default, clap::Args)]
struct TlsOptions {
    #[arg(long, global = true, hide = true)]
    ca_cert: Option<String>,
    #[arg(long, global = true, hide = true)]
    ca_path: Option<String>,
    #[arg(long, global = true, hide = true)]
    client_cert: Option<String>,
    #[arg(long, global = true, hide = true)]
    client_key: Option<String>,
    #[arg(long, global = true, hide = true)]
    tls_server_name: Option<String>,
    #[arg(long, global = true, hide = true, alias = "insecure")]
    tls_skip_verify: bool,
}

impl TlsOptions {
    fn used(&self) -> Option<&'static str> {
        let Self { ca_cert, ca_path, client_cert, client_key, tls_server_name, tls_skip_verify } = self;
        [
            ("-ca-cert", ca_cert.is_some()),
            ("-ca-path", ca_path.is_some()),
            ("-client-cert", client_cert.is_some()),
            ("-client-key", client_key.is_some()),
            ("-tls-server-name", tls_server_name.is_some()),
            ("-tls-skip-verify", *tls_skip_verify),
        ]
        .into_iter()
        .find_map(|(flag, used)| used.then_some(flag))
    }
}

/// A variable of the environment under our prefix, else under Nomad's; empty counts as unset.
#[expect(
    clippy::disallowed_methods,
    reason = "what a command is told by the environment is read here and nowhere else"
)]
pub(crate) fn env(name: &str) -> Option<String> {
    let read = |prefix: &str| std::env::var(format!("{prefix}_{name}")).ok().filter(|value| !value.is_empty());
    read("ORCH").or_else(|| read("NOMAD"))
}

fn env_flag(name: &str) -> bool {
    env(name).is_some_and(|value| !matches!(value.as_str(), "0" | "false"))
}

/// What a command works with.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) style: Style,
}

impl Context {
    /// From flags, then the environment, then defaults.
    pub(crate) fn new(options: &GeneralOptions) -> anyhow::Result<Self> {
        if let Some(flag) = options.tls.used() {
            bail!("{flag} asks for TLS, which is not built yet: agents speak plain HTTP");
        }
        let or = |flag: &Option<String>, name: &str| flag.clone().or_else(|| env(name));
        let address = match or(&options.address, "ADDR") {
            Some(text) => text.parse().context("the address of the agent cannot be used")?,
            None => Address::default(),
        };
        let config = Config {
            address,
            namespace: or(&options.namespace, "NAMESPACE").unwrap_or_default(),
            region: or(&options.region, "REGION").unwrap_or_default(),
            token: or(&options.token, "TOKEN").unwrap_or_default(),
        };
        let no_color = options.no_color || env_flag("CLI_NO_COLOR") || std::env::var_os("NO_COLOR").is_some();
        let style = Style::choose(no_color, options.force_color || env_flag("CLI_FORCE_COLOR"));
        Ok(Self { client: Client::new(config), style })
    }

    /// Whether all namespaces are asked for.
    pub(crate) fn all_namespaces(&self) -> bool {
        self.client.config().namespace == "*"
    }

    /// The same, in the namespace that something was found in.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        if namespace.is_empty() {
            return self.clone();
        }
        Self { client: self.client.in_namespace(namespace), style: self.style }
    }
}
