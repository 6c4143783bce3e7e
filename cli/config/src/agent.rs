//! The whole configuration of an agent: everything merged, checked and typed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::http::{self, HttpConfig};
use crate::logging::{self, LoggingConfig};
use crate::merged::Merged;
use crate::source::{self, Sources};
use crate::{client, server};

pub(crate) const DEFAULT_HTTP_PORT: u16 = 4646;
pub(crate) const DEFAULT_RPC_PORT: u16 = 4647;

/// Facts of the machine and the build that defaults are made from.
#[derive(Debug, Clone)]
pub struct Host {
    /// The machine's name.
    pub hostname: String,
    /// The address that others reach it at, if it has one beyond loopback.
    pub address: Option<IpAddr>,
    /// How many processors it has.
    pub cores: usize,
    /// The version of this build.
    pub version: String,
    /// The environment, of which tasks see what is not denied.
    pub env: BTreeMap<String, String>,
    /// Where a development agent without a data directory keeps its data; it does not have to exist yet.
    pub scratch_dir: PathBuf,
}

/// The configuration of an agent.
#[derive(Debug, Clone)]
pub struct Agent {
    /// The agent's name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Whether it is a development agent.
    pub dev: bool,
    /// The directory to remove when the agent ends, with everything in it; only for a development agent.
    pub scratch_dir: Option<PathBuf>,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
    /// The server, if it is one.
    pub server: Option<orch_server::Config>,
    /// The client, if it is one.
    pub client: Option<orch_client::Config>,
    /// Whether a server leaves the cluster for good when SIGINT ends it; by default it does not.
    pub leave_on_interrupt: bool,
    /// The same for SIGTERM.
    pub leave_on_terminate: bool,
    /// The HTTP API.
    pub http: HttpConfig,
    /// Logs.
    pub logging: LoggingConfig,
    /// The configuration of drivers that have one, by name.
    pub plugins: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    /// Drivers that are offered; `None` offers all.
    pub driver_allowlist: Option<BTreeSet<String>>,
    /// Drivers that are not offered.
    pub driver_denylist: BTreeSet<String>,
    /// What of the host tasks of the driver `exec` see, and where; empty takes the driver's own list.
    pub chroot_env: BTreeMap<String, String>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// What the operator should know, one sentence each.
    pub warnings: Vec<String>,
    /// What was set, as `/v1/agent/self` shows it.
    pub shown: serde_json::Value,
}

/// Everything that is wrong with a configuration; its text has all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// One entry for each finding, those in files with their place and source line.
    pub problems: Vec<String>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n\n"))
    }
}

impl std::error::Error for Error {}

/// How the agent is called and where it belongs.
pub(crate) struct Naming {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) datacenter: String,
}

/// Where the agent listens and how it is reached.
pub(crate) struct Addresses {
    pub(crate) bind: IpAddr,
    pub(crate) http: Vec<SocketAddr>,
    pub(crate) rpc: SocketAddr,
    pub(crate) http_advertise: (String, u16),
    pub(crate) rpc_advertise: (String, u16),
}

/// Reads and merges `sources` and checks the result.
///
/// # Errors
///
/// Everything that is wrong, at once.
pub fn load(sources: &Sources, host: &Host) -> Result<Agent, Error> {
    let mut merged = Merged::default();
    let files = source::read(sources, &mut merged);
    let merged = &mut merged;
    let dev = sources.dev;
    let is_server = merged.flag("server.enabled").unwrap_or(dev);
    let is_client = merged.flag("client.enabled").unwrap_or(dev);
    if !is_server && !is_client && merged.problems.is_empty() {
        merged.problems.push(
            "the agent is neither server nor client: enable one in a configuration file, or use -server, -client or -dev"
                .to_owned(),
        );
    }
    let naming = naming(merged, host);
    let scratch_dir = (dev && merged.text("data_dir").is_none()).then(|| host.scratch_dir.clone());
    let data_dir = data_dir(merged, scratch_dir.as_deref());
    let addresses = addresses(merged, host, dev);
    let logging = logging::build(merged);
    let http = http::build(merged, &addresses, dev);
    let ephemeral = scratch_dir.is_some();
    let server = is_server.then(|| server::build(merged, &naming, &addresses, host, &data_dir, dev));
    let client = is_client.then(|| client::build(merged, &naming, &addresses, host, &data_dir, ephemeral));
    if let Some(client) = &client
        && client.servers.is_empty()
        && !is_server
    {
        merged.problems.push(
            "this client knows no server: name at least one with `servers` in its `client` block or with -servers"
                .to_owned(),
        );
    }
    warn_of_exposure(merged, &addresses, is_server);
    let plugins = plugins(merged, dev);
    let (driver_allowlist, driver_denylist) = driver_lists(merged);
    if !merged.problems.is_empty() {
        return Err(Error { problems: std::mem::take(&mut merged.problems) });
    }
    Ok(Agent {
        shown: merged.to_json(),
        name: naming.name,
        region: naming.region,
        datacenter: naming.datacenter,
        dev,
        scratch_dir,
        data_dir,
        server,
        client,
        leave_on_interrupt: merged.flag("leave_on_interrupt").unwrap_or(false),
        leave_on_terminate: merged.flag("leave_on_terminate").unwrap_or(false),
        http,
        logging,
        plugins,
        driver_allowlist,
        driver_denylist,
        chroot_env: merged.map("client.chroot_env"),
        files,
        warnings: std::mem::take(&mut merged.warnings),
    })
}

fn naming(merged: &mut Merged, host: &Host) -> Naming {
    for path in ["region", "datacenter", "name"] {
        let wrong = |c: char| c == '\0' || c.is_whitespace() || c == '/';
        if let Some(text) = merged.text(path)
            && (text.contains(wrong) || (path == "datacenter" && text.contains('*')))
        {
            let text = text.to_owned();
            merged.refuse(path, format_args!("must not hold spaces, slashes or wildcards: {text:?}"));
        }
    }
    let or = |path, usual: &str| merged.text(path).unwrap_or(usual).to_owned();
    Naming { name: or("name", &host.hostname), region: or("region", "global"), datacenter: or("datacenter", "dc1") }
}

fn data_dir(merged: &mut Merged, scratch: Option<&Path>) -> PathBuf {
    if let Some(scratch) = scratch {
        return scratch.to_owned();
    }
    let Some(directory) = merged.text("data_dir").map(PathBuf::from) else {
        merged.problems.push(
            "`data_dir` is missing: say where the agent keeps its data, in a configuration file or with -data-dir"
                .to_owned(),
        );
        return PathBuf::new();
    };
    for path in ["data_dir", "server.data_dir", "client.state_dir", "client.alloc_dir"] {
        if let Some(text) = merged.text(path)
            && !Path::new(text).is_absolute()
        {
            let text = text.to_owned();
            merged.refuse(path, format_args!("must be an absolute path, not {text:?}"));
        }
    }
    directory
}

fn addresses(merged: &mut Merged, host: &Host, dev: bool) -> Addresses {
    let usual = if dev { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let bind = ip(merged, "bind_addr").unwrap_or(usual.into());
    let http_port = merged.int("ports.http", 0, 65_535).unwrap_or(DEFAULT_HTTP_PORT);
    let rpc_port = merged.int("ports.rpc", 0, 65_535).unwrap_or(DEFAULT_RPC_PORT);
    let mut http = Vec::new();
    for address in merged.text("addresses.http").unwrap_or_default().to_owned().split_whitespace() {
        match parse_ip(address) {
            Ok(ip) => http.push(SocketAddr::new(ip, http_port)),
            Err(message) => merged.refuse("addresses.http", message),
        }
    }
    if http.is_empty() {
        http.push(SocketAddr::new(bind, http_port));
    }
    let rpc = SocketAddr::new(ip(merged, "addresses.rpc").unwrap_or(bind), rpc_port);
    let http_advertise = advertise(merged, "advertise.http", http[0], host);
    let rpc_advertise = advertise(merged, "advertise.rpc", rpc, host);
    Addresses { bind, http, rpc, http_advertise, rpc_advertise }
}

/// Where others reach what listens on `bound`: as configured, as bound, or at the machine's own address.
fn advertise(merged: &mut Merged, path: &str, bound: SocketAddr, host: &Host) -> (String, u16) {
    if let Some(text) = merged.text(path).map(str::to_owned) {
        match with_port(&text, bound.port()) {
            Ok(address) => {
                let (name, port) = address.rsplit_once(':').unwrap_or((&address, ""));
                let name = name.trim_start_matches('[').trim_end_matches(']');
                return (name.to_owned(), port.parse().unwrap_or(bound.port()));
            }
            Err(message) => merged.refuse(path, message),
        }
    }
    let ip =
        if bound.ip().is_unspecified() { host.address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { bound.ip() };
    (ip.to_string(), bound.port())
}

fn ip(merged: &mut Merged, path: &str) -> Option<IpAddr> {
    let text = merged.text(path)?.to_owned();
    parse_ip(&text).map_err(|message| merged.refuse(path, message)).ok()
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    if text.contains("{{") {
        return Err(format!("must be an IP address: templates such as {text:?} are not built yet"));
    }
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map_err(|_| format!("must be an IP address such as 10.0.0.1, not {text:?}"))
}

/// `host:port` of a text that may lack the port.
pub(crate) fn with_port(text: &str, port: u16) -> Result<String, String> {
    if text.contains("provider=") {
        return Err(format!("names {text:?}: servers cannot be discovered from a cloud yet, write host:port"));
    }
    if text.contains("{{") || text.contains("://") || text.contains(['/', ' ']) || text.is_empty() {
        return Err(format!("must be host or host:port, not {text:?}"));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port).to_string());
    }
    match text.rsplit_once(':') {
        None => Ok(format!("{text}:{port}")),
        Some((host, "")) => Ok(format!("{host}:{port}")),
        Some((host, given)) if !host.is_empty() && given.parse::<u16>().is_ok() => Ok(text.to_owned()),
        Some(_) if text.ends_with(']') => Ok(format!("{text}:{port}")),
        Some(_) => Err(format!("must be host or host:port, not {text:?}")),
    }
}

fn warn_of_exposure(merged: &mut Merged, addresses: &Addresses, is_server: bool) {
    let mut open: Vec<String> = addresses.http.iter().map(ToString::to_string).collect();
    let mut ips: Vec<IpAddr> = addresses.http.iter().map(SocketAddr::ip).collect();
    if is_server {
        open.push(addresses.rpc.to_string());
        ips.push(addresses.rpc.ip());
    }
    let open: Vec<String> =
        open.into_iter().zip(ips).filter(|(_, ip)| http::reachable(*ip)).map(|(address, _)| address).collect();
    if !open.is_empty() {
        merged.warnings.push(format!(
            "the agent listens on {} without TLS and access control: whoever reaches these ports can run any program on \
             every node of the cluster",
            open.join(" and ")
        ));
    }
}

/// The configured drivers; a development agent runs any program unless that is switched off.
fn plugins(merged: &mut Merged, dev: bool) -> BTreeMap<String, BTreeMap<String, serde_json::Value>> {
    let mut plugins = std::mem::take(&mut merged.plugins);
    let option = merged.map("client.options").get("driver.raw_exec.enable").cloned();
    let option = option.map(|text| matches!(text.as_str(), "1" | "true"));
    for (driver, option) in [("raw_exec", option), ("mock_driver", None)] {
        if let Some(enabled) = option.or(dev.then_some(true)) {
            plugins.entry(driver.to_owned()).or_default().entry("enabled".to_owned()).or_insert(enabled.into());
        }
    }
    for (key, value) in plugins.get("mock_driver").into_iter().flatten() {
        if key != "enabled" || !value.is_boolean() {
            merged.problems.push(format!("the configuration of plugin \"mock_driver\" knows `enabled` alone, true or false, not `{key} = {value}`"));
        }
    }
    plugins
}

fn driver_lists(merged: &Merged) -> (Option<BTreeSet<String>>, BTreeSet<String>) {
    let options = merged.map("client.options");
    let list = |names: [&str; 2]| {
        let text = names.iter().find_map(|name| options.get(*name))?;
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        Some(names.collect::<BTreeSet<_>>())
    };
    let allowed = list(["driver.allowlist", "driver.whitelist"]).filter(|names| !names.is_empty());
    (allowed, list(["driver.denylist", "driver.blacklist"]).unwrap_or_default())
}
