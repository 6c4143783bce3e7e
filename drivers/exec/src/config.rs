use std::collections::BTreeMap;
use std::path::PathBuf;

use orch_driver::{ConfigReader, Error};
use orch_supervisor::IdRanges;
use serde_json::Value;

use crate::capabilities::Capabilities;

/// What of the host tasks see, unless the agent's configuration says otherwise.
const CHROOT: [&str; 9] =
    ["/bin", "/etc", "/lib", "/lib32", "/lib64", "/run/resolvconf", "/run/systemd/resolve", "/sbin", "/usr"];
/// How many processes and threads a task may have, unless the node or the task says otherwise.
///
/// Far more than a service needs, and far fewer than would use up the numbers of a host, of which many have 32768.
const PIDS_LIMIT: u64 = 4096;

/// The node's settings for this driver: the `plugin "exec"` block of the agent's configuration, and `client { chroot_env }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Directories and files of the host, and where tasks see them, read-only. What the host does not have is left out.
    pub chroot_env: BTreeMap<PathBuf, PathBuf>,
    /// Covers the host's files instead of unmounting them, for hosts that run from an initial RAM disk. Weaker: a task that runs as root
    /// must not have `sys_chroot` then.
    pub no_pivot_root: bool,
    pub default_pid_mode: Mode,
    pub default_ipc_mode: Mode,
    /// The capabilities that tasks may ask for.
    pub allow_caps: Capabilities,
    /// The users that no task may run as.
    pub denied_host_uids: IdRanges,
    /// The groups that no task's user may be in.
    pub denied_host_gids: IdRanges,
    /// How many processes and threads a task may have at most; `None` for as many as the host lets it.
    pub pids_limit: Option<u64>,
}

/// Whether a task has something for itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It has its own.
    #[default]
    Private,
    /// It shares the host's.
    Host,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chroot_env: default_chroot_env(),
            no_pivot_root: false,
            default_pid_mode: Mode::Private,
            default_ipc_mode: Mode::Private,
            allow_caps: Capabilities::allowed_by_default(),
            denied_host_uids: IdRanges::default(),
            denied_host_gids: IdRanges::default(),
            pids_limit: Some(PIDS_LIMIT),
        }
    }
}

/// What of the host tasks see by default, each under its own path.
pub fn default_chroot_env() -> BTreeMap<PathBuf, PathBuf> {
    CHROOT.into_iter().map(|path| (PathBuf::from(path), PathBuf::from(path))).collect()
}

impl Config {
    /// Reads the block's `config`; `chroot_env` is the agent's, and empty where that has none.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] with everything that is wrong.
    pub fn read(config: &BTreeMap<String, Value>, chroot_env: &BTreeMap<String, String>) -> Result<Self, Error> {
        let keys = [
            "no_pivot_root",
            "default_pid_mode",
            "default_ipc_mode",
            "allow_caps",
            "denied_host_uids",
            "denied_host_gids",
            "pids_limit",
        ];
        let mut reader = ConfigReader::new(config, &keys);
        let read = Self {
            chroot_env: read_chroot_env(&mut reader, chroot_env),
            no_pivot_root: reader.boolean("no_pivot_root"),
            default_pid_mode: mode(&mut reader, "default_pid_mode").unwrap_or_default(),
            default_ipc_mode: mode(&mut reader, "default_ipc_mode").unwrap_or_default(),
            allow_caps: if reader.has("allow_caps") {
                capabilities(&mut reader, "allow_caps")
            } else {
                Capabilities::allowed_by_default()
            },
            denied_host_uids: ranges(&mut reader, "denied_host_uids"),
            denied_host_gids: ranges(&mut reader, "denied_host_gids"),
            pids_limit: match pids_limit(&mut reader) {
                None => Some(PIDS_LIMIT),
                Some(0) => None,
                limit => limit,
            },
        };
        if read.no_pivot_root && read.allow_caps.contains(Capabilities::of("sys_chroot").unwrap_or_default()) {
            reader.refuse(
                "no_pivot_root",
                "leaves a way out to tasks with sys_chroot: name in allow_caps what they may have, and leave that out",
            );
        }
        reader.finish(read)
    }
}

/// The keys that the `config` of a task may have.
pub const OPTIONS: &[&str] =
    &["command", "args", "pid_mode", "ipc_mode", "cap_add", "cap_drop", "work_dir", "pids_limit"];

/// A task's `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskConfig {
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    pub(crate) pid_mode: Mode,
    pub(crate) ipc_mode: Mode,
    /// All that it may ever have.
    pub(crate) capabilities: Capabilities,
    /// Those of them that it named, and has also as another user than root.
    pub(crate) asked: Capabilities,
    /// Absolute, as the task sees it.
    pub(crate) work_dir: PathBuf,
    pub(crate) pids_limit: Option<u64>,
}

impl TaskConfig {
    pub(crate) fn read(config: &BTreeMap<String, Value>, node: &Config) -> Result<Self, Error> {
        let mut reader = ConfigReader::new(config, OPTIONS);
        let (add, drop) = (capabilities(&mut reader, "cap_add"), capabilities(&mut reader, "cap_drop"));
        // All means all that there are to be had.
        let asked = if add == Capabilities::ALL { node.allow_caps } else { add };
        let denied = asked - node.allow_caps;
        if !denied.is_empty() {
            reader.refuse("cap_add", format_args!("names {denied}, which this node does not allow"));
        }
        let work_dir =
            reader.text("work_dir").filter(|path| !path.is_empty()).map_or_else(|| "/".into(), PathBuf::from);
        if !work_dir.is_absolute() {
            reader.refuse("work_dir", format_args!("must be an absolute path, not {:?}", work_dir.display()));
        }
        let asked_pids = pids_limit(&mut reader).filter(|limit| *limit > 0);
        if let (Some(asked), Some(most)) = (asked_pids, node.pids_limit)
            && asked > most
        {
            reader.refuse("pids_limit", format_args!("may be {most} at most on this node, not {asked}"));
        }
        let read = Self {
            command: reader.required_text("command"),
            args: reader.texts("args"),
            pid_mode: mode(&mut reader, "pid_mode").unwrap_or(node.default_pid_mode),
            ipc_mode: mode(&mut reader, "ipc_mode").unwrap_or(node.default_ipc_mode),
            capabilities: ((Capabilities::default_of_tasks() & node.allow_caps) - drop) | asked,
            asked,
            work_dir,
            pids_limit: asked_pids.or(node.pids_limit),
        };
        reader.finish(read)
    }
}

fn read_chroot_env(reader: &mut ConfigReader<'_>, env: &BTreeMap<String, String>) -> BTreeMap<PathBuf, PathBuf> {
    if env.is_empty() {
        return default_chroot_env();
    }
    for path in env.iter().flat_map(|(source, target)| [source, target]) {
        if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
            reader.refuse("chroot_env", format_args!("must name absolute paths without \"..\", not {path:?}"));
        }
    }
    env.iter().map(|(source, target)| (source.into(), target.into())).collect()
}

fn mode(reader: &mut ConfigReader<'_>, key: &str) -> Option<Mode> {
    match reader.text(key)?.as_str() {
        "" => None,
        "private" => Some(Mode::Private),
        "host" => Some(Mode::Host),
        other => {
            reader.refuse(key, format_args!("must be \"private\" or \"host\", not {other:?}"));
            None
        }
    }
}

fn capabilities(reader: &mut ConfigReader<'_>, key: &str) -> Capabilities {
    let mut set = Capabilities::default();
    for name in reader.texts(key) {
        match Capabilities::of(&name) {
            Ok(capability) => set = set | capability,
            Err(error) => reader.refuse(key, format_args!("is not valid: {error}")),
        }
    }
    set
}

fn ranges(reader: &mut ConfigReader<'_>, key: &str) -> IdRanges {
    let text = reader.text(key).unwrap_or_default();
    text.parse().unwrap_or_else(|error| {
        reader.refuse(key, format_args!("is not valid: {error}"));
        IdRanges::default()
    })
}

fn pids_limit(reader: &mut ConfigReader<'_>) -> Option<u64> {
    let limit = reader.integer("pids_limit")?;
    let count = u64::try_from(limit).ok();
    if count.is_none() {
        reader.refuse("pids_limit", format_args!("must not be negative: {limit}"));
    }
    count
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(json: Value) -> Result<Config, Error> {
        Config::read(&serde_json::from_value(json).unwrap(), &BTreeMap::new())
    }

    fn task(json: Value, node: &Config) -> Result<TaskConfig, Error> {
        TaskConfig::read(&serde_json::from_value(json).unwrap(), node)
    }

    fn set(names: &[&str]) -> Capabilities {
        names.iter().fold(Capabilities::default(), |set, name| set | Capabilities::of(name).unwrap())
    }

    #[test]
    fn a_block_that_says_nothing_gives_the_defaults() {
        assert_eq!(node(json!({})).unwrap(), Config::default());
        let told = node(json!({"default_pid_mode": "host", "allow_caps": ["kill"], "pids_limit": 0})).unwrap();
        assert_eq!((told.default_pid_mode, told.allow_caps, told.pids_limit), (Mode::Host, set(&["kill"]), None));
        let env = BTreeMap::from([("/opt/tools".to_owned(), "/tools".to_owned())]);
        let own = Config::read(&BTreeMap::new(), &env).unwrap();
        assert_eq!(own.chroot_env, BTreeMap::from([("/opt/tools".into(), "/tools".into())]));
    }

    #[test]
    fn every_mistake_of_a_node_is_told() {
        let env = BTreeMap::from([("/opt/../etc".to_owned(), "tools".to_owned())]);
        let wrong =
            json!({"default_ipc_mode": "shared", "allow_caps": ["fly"], "pids_limit": -1, "no_pivot_root": true});
        let message = Config::read(&serde_json::from_value(wrong).unwrap(), &env).unwrap_err().to_string();
        for part in ["/opt/../etc", "\"tools\"", "default_ipc_mode must be", "\"fly\"", "must not be negative"] {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
        assert!(node(json!({"no_pivot_root": true})).unwrap_err().to_string().contains("sys_chroot"));
        node(json!({"no_pivot_root": true, "allow_caps": ["kill"]})).unwrap();
    }

    #[test]
    fn capabilities_are_the_usual_ones_less_what_is_dropped_and_with_what_is_added() {
        let default = Config::default();
        let of = |config: Value| task(config, &default).unwrap();
        let plain = of(json!({"command": "x"}));
        assert_eq!((plain.capabilities, plain.asked), (Capabilities::default_of_tasks(), Capabilities::default()));
        let one = of(json!({"command": "x", "cap_drop": ["all"], "cap_add": ["NET_BIND_SERVICE"]}));
        assert_eq!((one.capabilities, one.asked), (set(&["net_bind_service"]), set(&["net_bind_service"])));
        assert!(of(json!({"command": "x", "cap_add": ["net_raw"]})).capabilities.contains(set(&["net_raw"])));
        assert_eq!(of(json!({"command": "x", "cap_add": ["all"]})).capabilities, Capabilities::allowed_by_default());
        let narrow = Config { allow_caps: set(&["kill"]), ..Config::default() };
        assert_eq!(task(json!({"command": "x"}), &narrow).unwrap().capabilities, set(&["kill"]));
    }

    #[test]
    fn every_mistake_of_a_task_is_told() {
        let wrong = json!({"cap_add": ["sys_admin"], "pid_mode": "other", "work_dir": "local", "pids_limit": 100_000});
        let message = task(wrong, &Config::default()).unwrap_err().to_string();
        for part in
            ["command is required", "cap_add names sys_admin", "pid_mode must be", "work_dir must be", "4096 at most"]
        {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }
}
