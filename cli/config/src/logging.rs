//! What is logged, how, and where.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::merged::Merged;

/// What is logged, how, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingConfig {
    /// The least important message that is logged.
    pub level: LogLevel,
    /// How messages look.
    pub format: LogFormat,
    /// Whether each message names its file and line.
    pub with_location: bool,
    /// A file that gets them, too.
    pub file: Option<LogFile>,
}

/// How messages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object for each line.
    Json,
}

/// A file of messages that is rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The file; older ones stand beside it.
    pub path: PathBuf,
    /// A new one is begun before it would grow beyond so many bytes; 0, the default, is never.
    pub rotate_bytes: u64,
    /// A new one is begun after so long, counted from the making of the file; 0 is never. By default 24 h.
    pub rotate_after: Duration,
    /// How many older ones are kept; `None`, the default, keeps all.
    pub max_files: Option<usize>,
}

/// The importance of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Every message passed.
    Trace,
    /// Why decisions were made.
    Debug,
    /// Changes that belong in a timeline.
    Info,
    /// Odd, and recovered from.
    Warn,
    /// A person must act.
    Error,
    /// Nothing.
    Off,
}

impl LogLevel {
    /// Its name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Off => "off",
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "trace" => Ok(Self::Trace),
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" | "warning" => Ok(Self::Warn),
            "error" | "err" => Ok(Self::Error),
            "off" => Ok(Self::Off),
            _ => Err(format!("must be one of trace, debug, info, warn, error and off, not \"{text}\"")),
        }
    }
}

pub(crate) fn build(merged: &mut Merged) -> LoggingConfig {
    let level = merged.text("log_level").map(LogLevel::from_str).unwrap_or(Ok(LogLevel::Info));
    let level = level.unwrap_or_else(|message| {
        merged.refuse("log_level", message);
        LogLevel::Info
    });
    let rotate_bytes = merged.int("log_rotate_bytes", 0, i64::MAX).unwrap_or(0);
    // As operators know it: 0 keeps all, -1 none.
    let max_files = match merged.int::<i64>("log_rotate_max_files", -1, 100_000).unwrap_or(0) {
        0 => None,
        number => Some(usize::try_from(number).unwrap_or(0)),
    };
    let file = merged.text("log_file").map(|path| {
        // A directory gets a file of the usual name.
        let path = if path.ends_with('/') { format!("{path}orch.log") } else { path.to_owned() };
        LogFile {
            path: path.into(),
            rotate_bytes,
            rotate_after: merged.duration("log_rotate_duration").unwrap_or(Duration::from_secs(24 * 3600)),
            max_files,
        }
    });
    LoggingConfig {
        level,
        format: if merged.flag("log_json").unwrap_or(false) { LogFormat::Json } else { LogFormat::Text },
        with_location: merged.flag("log_include_location").unwrap_or(false),
        file,
    }
}
