use std::collections::BTreeMap;

use orch_driver::{ConfigReader, Error};
use orch_supervisor::IdRanges;
use serde_json::Value;

/// The node's settings for this driver: the `plugin "raw_exec"` block of the agent's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Whether it may be used at all. Off unless said otherwise, as its programs see the whole host.
    pub enabled: bool,
    /// The users that no task may run as.
    pub denied_host_uids: IdRanges,
    /// The groups that no task's user may be in.
    pub denied_host_gids: IdRanges,
    /// Variables taken out of every task's environment; `*` at either end stands for anything.
    pub denied_envvars: Vec<String>,
}

impl Config {
    /// Reads the block's `config`.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] with everything that is wrong.
    pub fn read(config: &BTreeMap<String, Value>) -> Result<Self, Error> {
        let keys = ["enabled", "denied_host_uids", "denied_host_gids", "denied_envvars"];
        let mut reader = ConfigReader::new(config, &keys);
        let read = Self {
            enabled: reader.boolean("enabled"),
            denied_host_uids: ranges(&mut reader, "denied_host_uids"),
            denied_host_gids: ranges(&mut reader, "denied_host_gids"),
            denied_envvars: reader.texts("denied_envvars"),
        };
        reader.finish(read)
    }
}

fn ranges(reader: &mut ConfigReader<'_>, key: &str) -> IdRanges {
    let text = reader.text(key).unwrap_or_default();
    text.parse().unwrap_or_else(|error| {
        reader.refuse(key, format_args!("is not valid: {error}"));
        IdRanges::default()
    })
}

/// The keys that the `config` of a task may have.
pub const OPTIONS: &[&str] =
    &["command", "args", "work_dir", "cgroup_v2_override", "cgroup_v1_override", "oom_score_adj", "denied_envvars"];

/// A task's `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TaskConfig {
    pub(crate) command: String,
    pub(crate) args: Vec<String>,
    /// Absolute, or counted from the task's directory, which is also the default.
    pub(crate) work_dir: Option<String>,
    /// A directory of the version 2 tree to run in, instead of one with limits.
    pub(crate) cgroup_v2_override: Option<String>,
    /// The same for version 1, by controller.
    pub(crate) cgroup_v1_override: BTreeMap<String, String>,
    pub(crate) oom_score_adj: Option<i32>,
    pub(crate) denied_envvars: Vec<String>,
}

impl TaskConfig {
    pub(crate) fn read(config: &BTreeMap<String, Value>) -> Result<Self, Error> {
        let mut reader = ConfigReader::new(config, OPTIONS);
        let read = Self {
            command: reader.required_text("command"),
            args: reader.texts("args"),
            work_dir: reader.text("work_dir").filter(|path| !path.is_empty()),
            cgroup_v2_override: reader.text("cgroup_v2_override").filter(|path| !path.is_empty()),
            cgroup_v1_override: reader.text_map("cgroup_v1_override"),
            oom_score_adj: reader.small_integer("oom_score_adj"),
            denied_envvars: reader.texts("denied_envvars"),
        };
        if let Some(score) = read.oom_score_adj.filter(|score| !orch_host::oom::RANGE.contains(score)) {
            reader.refuse("oom_score_adj", format_args!("must be between -1000 and 1000, not {score}"));
        }
        if read.cgroup_v2_override.is_some() && !read.cgroup_v1_override.is_empty() {
            reader.refuse("cgroup_v2_override", "and cgroup_v1_override exclude each other");
        }
        let v2 = read.cgroup_v2_override.iter().map(|path| ("cgroup_v2_override", path));
        for (key, path) in v2.chain(read.cgroup_v1_override.values().map(|path| ("cgroup_v1_override", path))) {
            if path.split('/').any(|segment| segment == "..") {
                reader.refuse(key, format_args!("must not contain \"..\": {path:?}"));
            }
        }
        reader.finish(read)
    }
}

/// Whether one of `patterns` is about the variable `name`; `*` at either end of a pattern stands for anything.
pub(crate) fn is_denied(name: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        _ if pattern == "*" => true,
        (Some(inner), Some(_)) => name.contains(inner.trim_end_matches('*')),
        (Some(end), None) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(json: serde_json::Value) -> Result<TaskConfig, Error> {
        TaskConfig::read(&serde_json::from_value(json).unwrap())
    }

    #[test]
    fn the_agents_block_is_read_whole() {
        let block = serde_json::from_value(serde_json::json!({
            "enabled": true, "denied_host_uids": "0,1000-2000", "denied_host_gids": 7, "denied_envvars": ["AWS_*"],
        }));
        let config = Config::read(&block.unwrap()).unwrap();
        assert!(config.enabled && config.denied_host_uids.contains(1500) && config.denied_host_gids.contains(7));
        let wrong = BTreeMap::from([("denied_host_uids".to_owned(), Value::from("5-1"))]);
        assert!(Config::read(&wrong).unwrap_err().to_string().contains("denied_host_uids"));
        assert!(!Config::read(&BTreeMap::new()).unwrap().enabled);
    }

    #[test]
    fn a_tasks_mistakes_are_all_told() {
        let wrong = serde_json::json!({
            "oom_score_adj": 1001, "cgroup_v2_override": "../other", "cgroup_v1_override": [{"cpu": "mine"}],
        });
        let message = task(wrong).unwrap_err().to_string();
        for part in ["command is required", "between -1000 and 1000", "exclude each other", "must not contain"] {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }

    #[test]
    fn a_variable_is_denied_by_name_or_by_an_end_of_it() {
        let patterns = ["TOKEN", "AWS_*", "*_KEY", "*SECRET*"].map(str::to_owned);
        for denied in ["TOKEN", "AWS_", "AWS_ID", "MY_KEY", "A_SECRET_B"] {
            assert!(is_denied(denied, &patterns), "{denied}");
        }
        for kept in ["MY_TOKEN", "TOKENS", "XAWS_ID", "KEYS"] {
            assert!(!is_denied(kept, &patterns), "{kept}");
        }
        assert!(is_denied("ANY", &["*".to_owned()]));
    }
}
