//! Files that are put into a task's directory before it starts: templates and artifacts.

use std::collections::BTreeMap;

use super::ChangeMode;
use super::nullable::document;
use crate::time::Nanos;

document! {
    /// A file rendered from a template.
    pub struct Template {
        /// Path of the template in the task's directory.
        pub source_path: String,
        /// Path of the rendered file.
        pub dest_path: String,
        /// The template itself.
        pub embedded_tmpl: String,
        /// What happens when it changes; see [`Template::change_mode`].
        pub change_mode: String,
        /// The signal for mode `signal`.
        pub change_signal: String,
        /// The script for mode `script`.
        pub change_script: Option<ChangeScript>,
        /// Whether it is rendered only once.
        pub once: bool,
        /// Longest random wait before a change has its effect.
        pub splay: Nanos = Nanos::from_secs(5),
        /// Octal permissions.
        pub perms: String,
        /// Owner.
        pub uid: Option<i64>,
        /// Group.
        pub gid: Option<i64>,
        /// Left delimiter of actions.
        pub left_delim: String,
        /// Right delimiter of actions.
        pub right_delim: String,
        /// Whether its lines become environment variables.
        pub envvars: bool,
        /// Ignored.
        pub vault_grace: Nanos,
        /// How long to wait for further changes.
        pub wait: Option<WaitConfig>,
        /// Whether a missing key fails rendering.
        pub err_missing_key: bool,
    }

    /// A script that runs when a template changes.
    pub struct ChangeScript {
        /// The command.
        pub command: String,
        /// Its arguments.
        pub args: Vec<String>,
        /// How long it may take.
        pub timeout: Nanos = Nanos::from_secs(5),
        /// Whether the task fails with it.
        pub fail_on_error: bool,
        /// Whether it also runs after the first rendering.
        pub run_on_first_render: bool,
    }

    /// How long rendering waits for further changes.
    pub struct WaitConfig {
        /// At least.
        pub min: Option<Nanos>,
        /// At most.
        pub max: Option<Nanos>,
    }

    /// Something fetched into the task's directory.
    pub struct TaskArtifact {
        /// Where it comes from.
        pub getter_source: String,
        /// Options of the source, among them `checksum`.
        pub getter_options: BTreeMap<String, String>,
        /// HTTP headers.
        pub getter_headers: BTreeMap<String, String>,
        /// `any`, `file` or `dir`.
        pub getter_mode: String,
        /// Whether certificates go unchecked.
        pub getter_insecure: bool,
        /// Where it goes, relative to the task's directory.
        pub relative_dest: String,
        /// Whether it is given to the task's user.
        pub chown: bool,
    }
}

impl Template {
    /// What happens when it changes, a restart where nothing is written; `None` if the word is unknown.
    pub fn change_mode(&self) -> Option<ChangeMode> {
        if self.change_mode.is_empty() { Some(ChangeMode::Restart) } else { ChangeMode::parse(&self.change_mode) }
    }
}
