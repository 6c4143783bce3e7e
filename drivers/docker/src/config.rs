use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use orch_driver::{ConfigReader, Error};
use serde_json::Value;

/// The capabilities that an engine gives to a container which asks for none.
pub(crate) const DEFAULT_CAPS: [&str; 14] = [
    "audit_write",
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "mknod",
    "net_bind_service",
    "net_raw",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys_chroot",
];

/// The names that `extra_labels` may speak of.
const LABEL_NAMES: [&str; 8] =
    ["job_name", "job_id", "parent_job_id", "task_group_name", "task_name", "namespace", "node_name", "node_id"];

const KEYS: [&str; 22] = [
    "endpoint",
    "auth",
    "tls",
    "extra_labels",
    "logging",
    "gc",
    "volumes",
    "allow_privileged",
    "allow_caps",
    "allow_runtimes",
    "nvidia_runtime",
    "image_pull_timeout",
    "pull_activity_timeout",
    "container_exists_attempts",
    "oom_score_adj",
    "pids_limit",
    "disable_log_collection",
    "allowed_modes",
    "infra_image",
    "infra_image_pull_timeout",
    "windows_allow_insecure_container_admin",
    "engine_timeout",
];

/// The node's settings for this driver: the `plugin "docker"` block of the agent's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the engine listens: `unix:///path`, `tcp://host:port`, `http://…` or `https://…`.
    pub endpoint: String,
    /// How to speak to an engine that wants TLS.
    pub tls: Option<Tls>,
    /// Where credentials for registries come from.
    pub auth: Auth,
    /// Which labels containers get besides those of the driver; `*` stands for anything.
    pub extra_labels: Vec<String>,
    /// Where the engine puts output, unless a task says otherwise.
    pub logging: Logging,
    /// What is removed when it is not needed any more.
    pub gc: Gc,
    /// Whether tasks may see directories of the host outside their own.
    pub volumes_enabled: bool,
    /// The SELinux label that mounted directories of a task get, such as `z`.
    pub selinux_label: Option<String>,
    /// Whether tasks may be privileged.
    pub allow_privileged: bool,
    /// The capabilities that a task may have at most, in small letters without `cap_`; `all` for every one.
    pub allow_caps: Vec<String>,
    /// The runtimes that a task may name.
    pub allow_runtimes: Vec<String>,
    /// The runtime of tasks with NVIDIA devices.
    pub nvidia_runtime: String,
    /// How long the download of an image may take, unless a task says otherwise.
    pub image_pull_timeout: Duration,
    /// How long a download may go on without any progress.
    pub pull_activity_timeout: Duration,
    /// How often the creation of a container is tried while its name is taken, unless a task says otherwise.
    pub container_exists_attempts: u32,
    /// The out-of-memory score of tasks that name none.
    pub oom_score_adj: i64,
    /// How many processes a task may have at most; 0 for no limit.
    pub pids_limit: i64,
    /// Whether output stays with the engine instead of being collected.
    pub disable_log_collection: bool,
    /// The modes that tasks may use without `allow_privileged`; `*` stands for anything.
    pub allowed_modes: AllowedModes,
    /// How long the engine may take to answer a request.
    pub engine_timeout: Duration,
}

/// The files of a TLS connection to the engine, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Our certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Who must have signed the engine's certificate.
    pub ca: PathBuf,
}

/// Where credentials for registries come from, besides what a task says itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Auth {
    /// A file as `docker login` writes it.
    pub config: Option<PathBuf>,
    /// A credential helper: `docker-credential-<this>` on the agent's path, or the path of a program.
    pub helper: Option<String>,
}

/// Where the engine puts a container's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logging {
    /// The engine's log driver.
    pub driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// What is removed when it is not needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gc {
    /// Whether images are.
    pub image: bool,
    /// How long after the last container that used one.
    pub image_delay: Duration,
    /// Whether containers are, when their task is forgotten.
    pub container: bool,
    /// Whether containers of this node are that belong to no task.
    pub dangling: bool,
    /// How often these are looked for.
    pub dangling_period: Duration,
    /// How old they have to be.
    pub dangling_grace: Duration,
    /// Whether they are only told.
    pub dangling_dry_run: bool,
}

/// The modes that tasks may use without `allow_privileged`; `*` stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedModes {
    /// Of `pid_mode`.
    pub pid: Vec<String>,
    /// Of `ipc_mode`.
    pub ipc: Vec<String>,
    /// Of `userns_mode`.
    pub userns: Vec<String>,
    /// Of `uts_mode`.
    pub uts: Vec<String>,
}

impl Default for Gc {
    fn default() -> Self {
        Self {
            image: true,
            image_delay: Duration::from_secs(180),
            container: true,
            dangling: true,
            dangling_period: Duration::from_secs(300),
            dangling_grace: Duration::from_secs(300),
            dangling_dry_run: false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: "unix:///var/run/docker.sock".to_owned(),
            tls: None,
            auth: Auth::default(),
            extra_labels: Vec::new(),
            logging: Logging {
                driver: "json-file".to_owned(),
                options: BTreeMap::from(
                    [("max-file", "2"), ("max-size", "2m")].map(|(key, value)| (key.to_owned(), value.to_owned())),
                ),
            },
            gc: Gc::default(),
            volumes_enabled: false,
            selinux_label: None,
            allow_privileged: false,
            allow_caps: DEFAULT_CAPS.map(str::to_owned).into(),
            allow_runtimes: vec!["runc".to_owned(), "nvidia".to_owned()],
            nvidia_runtime: "nvidia".to_owned(),
            image_pull_timeout: Duration::from_secs(300),
            pull_activity_timeout: Duration::from_secs(120),
            container_exists_attempts: 5,
            oom_score_adj: 0,
            pids_limit: 0,
            disable_log_collection: false,
            allowed_modes: AllowedModes::default(),
            engine_timeout: Duration::from_secs(120),
        }
    }
}

impl Config {
    /// Reads the block's `config`.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] with everything that is wrong.
    pub fn read(config: &BTreeMap<String, Value>) -> Result<Self, Error> {
        let mut reader = ConfigReader::new(config, &KEYS);
        let read = read(&mut reader, Self::default());
        for (key, why) in [
            ("infra_image", "has no use: groups have no network of their own here"),
            ("infra_image_pull_timeout", "has no use: groups have no network of their own here"),
            ("windows_allow_insecure_container_admin", "is for Windows"),
        ] {
            if reader.has(key) {
                reader.refuse(key, why);
            }
        }
        reader.finish(read)
    }
}

fn read(reader: &mut ConfigReader<'_>, default: Config) -> Config {
    let volumes = reader.block("volumes", &["enabled", "selinuxlabel"], |volumes| {
        (volumes.boolean("enabled"), volumes.text("selinuxlabel").filter(|label| !label.is_empty()))
    });
    let (volumes_enabled, selinux_label) = volumes.unwrap_or_default();
    let endpoint = reader.text("endpoint").unwrap_or(default.endpoint);
    if !["unix://", "tcp://", "http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme)) {
        reader
            .refuse("endpoint", format_args!("must begin with unix://, tcp://, http:// or https://, not {endpoint:?}"));
    }
    Config {
        tls: tls(reader, &endpoint),
        endpoint,
        auth: reader
            .block("auth", &["config", "helper"], |auth| Auth {
                config: path(auth, "config"),
                helper: auth.text("helper").filter(|helper| !helper.is_empty()),
            })
            .unwrap_or_default(),
        extra_labels: extra_labels(reader),
        logging: logging(reader, default.logging),
        gc: gc(reader),
        volumes_enabled,
        selinux_label,
        allow_privileged: reader.boolean("allow_privileged"),
        allow_caps: if reader.has("allow_caps") { caps(reader, "allow_caps") } else { default.allow_caps },
        allow_runtimes: texts_or(reader, "allow_runtimes", default.allow_runtimes),
        nvidia_runtime: reader.text("nvidia_runtime").unwrap_or(default.nvidia_runtime),
        image_pull_timeout: positive(reader, "image_pull_timeout", default.image_pull_timeout),
        pull_activity_timeout: positive(reader, "pull_activity_timeout", default.pull_activity_timeout),
        container_exists_attempts: count(reader, "container_exists_attempts")
            .unwrap_or(default.container_exists_attempts),
        oom_score_adj: oom_score(reader).unwrap_or(default.oom_score_adj),
        pids_limit: reader.integer("pids_limit").unwrap_or(default.pids_limit).max(0),
        disable_log_collection: reader.boolean("disable_log_collection"),
        allowed_modes: reader
            .block("allowed_modes", &["pid", "ipc", "userns", "uts"], |modes| AllowedModes {
                pid: modes.texts("pid"),
                ipc: modes.texts("ipc"),
                userns: modes.texts("userns"),
                uts: modes.texts("uts"),
            })
            .unwrap_or_default(),
        engine_timeout: positive(reader, "engine_timeout", default.engine_timeout),
    }
}

fn tls(reader: &mut ConfigReader<'_>, endpoint: &str) -> Option<Tls> {
    let files = reader.block("tls", &["cert", "key", "ca"], |tls| {
        let present = ["cert", "key", "ca"].map(|key| path(tls, key));
        if let [Some(cert), Some(key), Some(ca)] = present {
            return Some(Tls { cert, key, ca });
        }
        if present.iter().any(Option::is_some) {
            tls.refuse("cert", "key and ca go together: name all three or none");
        }
        None
    });
    let files = files.flatten();
    if files.is_some() && endpoint.starts_with("unix://") {
        reader.refuse("tls", format_args!("needs an endpoint tcp:// or https://, not {endpoint:?}"));
    }
    if files.is_none() && endpoint.starts_with("https://") {
        reader.refuse("endpoint", "https:// needs the files of a tls block: cert, key and ca");
    }
    files
}

fn extra_labels(reader: &mut ConfigReader<'_>) -> Vec<String> {
    let globs = reader.texts("extra_labels");
    for glob in &globs {
        if !LABEL_NAMES.iter().any(|name| matches(glob, name)) {
            let names = LABEL_NAMES.join(", ");
            reader.refuse("extra_labels", format_args!("{glob:?} fits none of {names}"));
        }
    }
    globs
}

fn logging(reader: &mut ConfigReader<'_>, default: Logging) -> Logging {
    let read = reader.block("logging", &["type", "config"], |logging| {
        let driver = logging.text("type").filter(|driver| !driver.is_empty());
        let options = logging.has("config").then(|| logging.text_map("config"));
        (driver, options)
    });
    let Some((driver, options)) = read else { return default };
    // Options belong to one driver: those of another have no default.
    let same = driver.as_ref().is_none_or(|driver| *driver == default.driver);
    let options = options.unwrap_or(if same { default.options } else { BTreeMap::new() });
    Logging { driver: driver.unwrap_or(default.driver), options }
}

fn gc(reader: &mut ConfigReader<'_>) -> Gc {
    let default = Gc::default();
    let read = reader.block("gc", &["image", "image_delay", "container", "dangling_containers"], |gc| {
        let default = Gc::default();
        let image = gc.boolean_or("image", default.image);
        let image_delay = gc.duration("image_delay").unwrap_or(default.image_delay);
        let container = gc.boolean_or("container", default.container);
        let keys = ["enabled", "period", "creation_grace", "dry_run"];
        let dangling = gc.block("dangling_containers", &keys, |dangling| Gc {
            dangling: dangling.boolean_or("enabled", true),
            dangling_period: positive(dangling, "period", default.dangling_period),
            dangling_grace: dangling.duration("creation_grace").unwrap_or(default.dangling_grace),
            dangling_dry_run: dangling.boolean("dry_run"),
            ..Gc::default()
        });
        Gc { image, image_delay, container, ..dangling.unwrap_or_default() }
    });
    read.unwrap_or(default)
}

fn path(reader: &mut ConfigReader<'_>, key: &str) -> Option<PathBuf> {
    reader.text(key).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn texts_or(reader: &mut ConfigReader<'_>, key: &str, default: Vec<String>) -> Vec<String> {
    if reader.has(key) { reader.texts(key) } else { default }
}

/// Names of capabilities as they are compared: small letters, without `cap_`.
pub(crate) fn caps(reader: &mut ConfigReader<'_>, key: &str) -> Vec<String> {
    let names = reader.texts(key).into_iter().map(|name| name.to_ascii_lowercase());
    names.map(|name| name.strip_prefix("cap_").map_or(name.clone(), str::to_owned)).collect()
}

pub(crate) fn count(reader: &mut ConfigReader<'_>, key: &str) -> Option<u32> {
    let number = reader.integer(key)?;
    match u32::try_from(number) {
        Ok(count) if count > 0 => Some(count),
        _ => {
            reader.refuse(key, format_args!("must be a number from 1 on, not {number}"));
            None
        }
    }
}

pub(crate) fn oom_score(reader: &mut ConfigReader<'_>) -> Option<i64> {
    let score = reader.small_integer("oom_score_adj")?;
    if !orch_host::oom::RANGE.contains(&score) {
        reader.refuse("oom_score_adj", format_args!("must be between -1000 and 1000, not {score}"));
    }
    Some(i64::from(score))
}

fn positive(reader: &mut ConfigReader<'_>, key: &str, default: Duration) -> Duration {
    let duration = reader.duration(key).unwrap_or(default);
    if duration.is_zero() {
        reader.refuse(key, "must be longer than 0");
    }
    duration
}

/// Whether `text` is what `glob` describes, in which `*` stands for any letters.
pub(crate) fn matches(glob: &str, text: &str) -> bool {
    match glob.split_once('*') {
        None => glob == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|left| {
            (0..=left.len()).filter(|at| left.is_char_boundary(*at)).any(|at| matches(rest, &left[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Config, Error> {
        Config::read(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn nothing_said_is_the_default() {
        assert_eq!(read(json!({})).unwrap(), Config::default());
        assert_eq!(read(json!({"gc": {}, "volumes": [{}], "auth": {}})).unwrap(), Config::default());
    }

    #[test]
    fn every_key_is_read() {
        let config = read(json!({
            "endpoint": "tcp://10.0.0.1:2376", "tls": {"cert": "/c", "key": "/k", "ca": "/a"},
            "auth": {"config": "/root/.docker/config.json", "helper": "pass"}, "extra_labels": ["job_*", "node_id"],
            "logging": {"type": "local"}, "allow_privileged": true, "allow_caps": ["CAP_NET_ADMIN", "Chown"],
            "gc": {"image": false, "image_delay": "1h", "container": false,
                "dangling_containers": {"enabled": true, "period": "1m", "creation_grace": "2m", "dry_run": true}},
            "volumes": {"enabled": true, "selinuxlabel": "z"}, "allow_runtimes": ["crun"], "nvidia_runtime": "nv",
            "image_pull_timeout": "9m", "pull_activity_timeout": "1m", "container_exists_attempts": 3,
            "oom_score_adj": 10, "pids_limit": 100, "disable_log_collection": true,
            "allowed_modes": {"pid": ["host"], "uts": ["*"]}, "engine_timeout": "5s",
        }));
        let config = config.unwrap();
        assert_eq!(config.tls.unwrap().ca, PathBuf::from("/a"));
        assert_eq!(config.auth.helper.as_deref(), Some("pass"));
        assert_eq!(config.logging, Logging { driver: "local".to_owned(), options: BTreeMap::new() });
        assert_eq!(config.allow_caps, ["net_admin", "chown"]);
        assert!(config.volumes_enabled && config.allow_privileged && config.disable_log_collection);
        assert_eq!(config.gc.image_delay, Duration::from_secs(3600));
        assert!(!config.gc.image && !config.gc.container && config.gc.dangling && config.gc.dangling_dry_run);
        assert_eq!(config.gc.dangling_grace, Duration::from_secs(120));
        assert_eq!(config.allowed_modes.pid, ["host"]);
        assert_eq!((config.pids_limit, config.oom_score_adj, config.container_exists_attempts), (100, 10, 3));
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = json!({
            "endpoint": "10.0.0.1", "tls": {"cert": "/c"}, "auth": {"helpre": "x"}, "extra_labels": ["zone"],
            "gc": {"dangling_containers": {"period": 0}}, "volumes": {"enabled": "perhaps"},
            "container_exists_attempts": 0, "oom_score_adj": 5000, "infra_image": "pause", "allow_privilegde": true,
        });
        let message = read(wrong).unwrap_err().to_string();
        for part in [
            "endpoint must begin with unix://",
            "tls.cert key and ca go together",
            "auth.helpre is not a known key: did you mean helper?",
            "extra_labels \"zone\" fits none of",
            "gc.dangling_containers.period must be longer than 0",
            "volumes.enabled must be true or false",
            "container_exists_attempts must be a number from 1 on",
            "oom_score_adj must be between -1000 and 1000",
            "infra_image has no use",
            "allow_privilegde is not a known key: did you mean allow_privileged?",
        ] {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }

    #[test]
    fn a_star_stands_for_any_letters() {
        for (glob, text, fits) in [
            ("host", "host", true),
            ("host", "hosts", false),
            ("*", "", true),
            ("job_*", "job_id", true),
            ("*_id", "node_id", true),
            ("container:*x", "container:abcx", true),
            ("container:*x", "container:abc", false),
        ] {
            assert_eq!(matches(glob, text), fits, "{glob} {text}");
        }
    }
}
