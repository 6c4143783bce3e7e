use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use orch_driver::{ConfigReader, Error};
use serde_json::Value;

use crate::hosts::HostPattern;

const DEFAULT_CACHE_MIB: u64 = 1024;
const DEFAULT_CONCURRENCY: u32 = 64;
/// Each needs address space for its memory, of which a process has an end.
const MAX_CONCURRENCY: u32 = 1024;
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The node's settings for this driver: the `plugin "wasm"` block of the agent's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Whether it may be used at all; it may, unless said otherwise.
    pub enabled: bool,
    /// Where compiled modules are kept; a directory in the driver's own unless said otherwise. Whoever can write in it can run code as the
    /// agent's user.
    pub cache_dir: Option<PathBuf>,
    /// How large the cache may grow in MiB before what was not used for longest is removed; 1024 unless said otherwise.
    pub cache_max_mib: u64,
    /// Directories of the host from which every task may take its module; none unless said otherwise.
    pub module_dirs: Vec<PathBuf>,
    /// Whether tasks may bring modules that are compiled already. Those are machine code, which nothing checks: no, unless said otherwise.
    pub allow_precompiled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            cache_dir: None,
            cache_max_mib: DEFAULT_CACHE_MIB,
            module_dirs: Vec::new(),
            allow_precompiled: false,
        }
    }
}

impl Config {
    /// Reads the block's `config`.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] with everything that is wrong.
    pub fn read(config: &BTreeMap<String, Value>) -> Result<Self, Error> {
        let keys = ["enabled", "cache_dir", "cache_max_mib", "module_dirs", "allow_precompiled"];
        let mut reader = ConfigReader::new(config, &keys);
        let said = config.get("enabled").is_some_and(|value| !value.is_null());
        let enabled = reader.boolean("enabled");
        let read = Self {
            enabled: enabled || !said,
            cache_dir: reader.text("cache_dir").filter(|path| !path.is_empty()).map(PathBuf::from),
            cache_max_mib: positive(&mut reader, "cache_max_mib").unwrap_or(DEFAULT_CACHE_MIB),
            module_dirs: reader.texts("module_dirs").into_iter().map(PathBuf::from).collect(),
            allow_precompiled: reader.boolean("allow_precompiled"),
        };
        for (key, path) in read
            .cache_dir
            .iter()
            .map(|path| ("cache_dir", path))
            .chain(read.module_dirs.iter().map(|path| ("module_dirs", path)))
        {
            if !path.is_absolute() {
                reader.refuse(key, format_args!("must be an absolute path, not {:?}", path.display().to_string()));
            }
        }
        reader.finish(read)
    }
}

/// The keys that the `config` of a task may have.
pub const OPTIONS: &[&str] = &["module", "args", "dirs", "port", "max_concurrency", "timeout", "fuel", "allowed_hosts"];

/// A task's `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskConfig {
    pub(crate) module: String,
    pub(crate) args: Vec<String>,
    pub(crate) dirs: Vec<Directory>,
    pub(crate) http: Option<Http>,
    /// How long the program may run; where it serves requests, each has a time of its own instead.
    pub(crate) timeout: Option<Duration>,
    pub(crate) fuel: Option<u64>,
    pub(crate) allowed_hosts: Vec<HostPattern>,
}

/// How requests are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Http {
    /// The label of the port.
    pub(crate) port: String,
    pub(crate) max_concurrency: u32,
    pub(crate) timeout: Duration,
}

/// A directory of the task that the program sees under a path of its choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) host: PathBuf,
    pub(crate) guest: String,
    pub(crate) read_only: bool,
}

impl TaskConfig {
    pub(crate) fn read(config: &BTreeMap<String, Value>) -> Result<Self, Error> {
        let mut reader = ConfigReader::new(config, OPTIONS);
        let module = reader.required_text("module");
        let port = reader.text("port").filter(|label| !label.is_empty());
        let timeout = reader.duration("timeout").filter(|timeout| !timeout.is_zero());
        let concurrency = positive(&mut reader, "max_concurrency");
        if concurrency.is_some() && port.is_none() {
            reader.refuse("max_concurrency", "needs a port to serve on");
        }
        let wanted = concurrency.unwrap_or(u64::from(DEFAULT_CONCURRENCY));
        let max_concurrency = u32::try_from(wanted).ok().filter(|wanted| *wanted <= MAX_CONCURRENCY);
        if max_concurrency.is_none() {
            reader.refuse("max_concurrency", format_args!("must be at most {MAX_CONCURRENCY}, not {wanted}"));
        }
        let http = port.map(|port| Http {
            port,
            max_concurrency: max_concurrency.unwrap_or(DEFAULT_CONCURRENCY),
            timeout: timeout.unwrap_or(DEFAULT_REQUEST_TIMEOUT),
        });
        let read = Self {
            module,
            args: reader.texts("args"),
            dirs: parsed(&mut reader, "dirs", directory),
            timeout: if http.is_some() { None } else { timeout },
            http,
            fuel: positive(&mut reader, "fuel"),
            allowed_hosts: parsed(&mut reader, "allowed_hosts", |text| text.parse::<HostPattern>()),
        };
        reader.finish(read)
    }
}

fn positive(reader: &mut ConfigReader<'_>, key: &str) -> Option<u64> {
    let number = reader.integer(key)?;
    let positive = u64::try_from(number).ok().filter(|number| *number > 0);
    if positive.is_none() {
        reader.refuse(key, format_args!("must be more than 0, not {number}"));
    }
    positive
}

fn parsed<T>(
    reader: &mut ConfigReader<'_>,
    key: &str,
    parse: impl Fn(&str) -> Result<T, crate::hosts::InvalidPattern>,
) -> Vec<T> {
    let mut values = Vec::new();
    for text in reader.texts(key) {
        match parse(&text) {
            Ok(value) => values.push(value),
            Err(problem) => reader.refuse(key, format_args!("holds {text:?}, {problem}")),
        }
    }
    values
}

fn directory(text: &str) -> Result<Directory, crate::hosts::InvalidPattern> {
    let invalid = crate::hosts::InvalidPattern;
    let mut parts = text.split(':');
    let (Some(host), Some(guest)) = (parts.next(), parts.next()) else {
        return Err(invalid("which is not of the form host:guest or host:guest:ro"));
    };
    let read_only = match (parts.next(), parts.next()) {
        (None, _) | (Some("rw"), None) => false,
        (Some("ro"), None) => true,
        (Some(_), _) => return Err(invalid("where only ro or rw may stand behind the second colon")),
    };
    if host.is_empty() || guest.is_empty() {
        return Err(invalid("where a path is missing"));
    }
    if host.split('/').any(|part| part == "..") {
        return Err(invalid("whose host path must not contain \"..\""));
    }
    Ok(Directory { host: host.into(), guest: guest.to_owned(), read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(json: Value) -> Result<TaskConfig, Error> {
        TaskConfig::read(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn the_agents_block_is_read_whole() {
        assert_eq!(Config::read(&BTreeMap::new()).unwrap(), Config::default());
        let block = serde_json::json!({
            "enabled": false, "cache_dir": "/c", "cache_max_mib": "5", "module_dirs": ["/m"], "allow_precompiled": true,
        });
        let config = Config::read(&serde_json::from_value(block).unwrap()).unwrap();
        let expected = Config {
            enabled: false,
            cache_dir: Some("/c".into()),
            cache_max_mib: 5,
            module_dirs: vec!["/m".into()],
            allow_precompiled: true,
        };
        assert_eq!(config, expected);
        let wrong = BTreeMap::from([("cache_dir".to_owned(), Value::from("c"))]);
        assert!(Config::read(&wrong).unwrap_err().to_string().contains("cache_dir must be an absolute path"));
    }

    #[test]
    fn a_tasks_mistakes_are_all_told() {
        let wrong = serde_json::json!({
            "max_concurrency": 4, "fuel": 0, "dirs": ["a", "../b:/b", "c:/c:x"], "allowed_hosts": ["a b", "x:99999"],
        });
        let message = task(wrong).unwrap_err().to_string();
        for part in [
            "module is required",
            "max_concurrency needs a port",
            "fuel must be more than 0",
            "dirs holds \"a\"",
            "must not contain \"..\"",
            "only ro or rw",
            "allowed_hosts holds \"a b\"",
            "allowed_hosts holds \"x:99999\"",
        ] {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }

    #[test]
    fn a_timeout_is_for_each_request_where_there_is_a_port() {
        let served = task(serde_json::json!({"module": "a.wasm", "port": "http", "timeout": "2s"})).unwrap();
        let http = Http { port: "http".to_owned(), max_concurrency: 64, timeout: Duration::from_secs(2) };
        assert_eq!((served.http, served.timeout), (Some(http), None));
        let program = task(serde_json::json!({"module": "a.wasm", "timeout": "2s", "dirs": ["x:/y:ro"]})).unwrap();
        assert_eq!((program.http, program.timeout), (None, Some(Duration::from_secs(2))));
        assert_eq!(program.dirs, [Directory { host: "x".into(), guest: "/y".to_owned(), read_only: true }]);
    }
}
