use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Something the host did not allow, and without which the workload runs all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What was tried, as a gerund: "setting the memory limit".
    pub action: String,
    /// The file or object it was tried on, if any.
    pub path: Option<PathBuf>,
    /// What the kernel answered.
    pub errno: i32,
}

impl Warning {
    /// A warning about `action` on `path`, with what `error` says.
    pub fn new(action: impl Into<String>, path: impl Into<PathBuf>, error: &io::Error) -> Self {
        Self { action: action.into(), path: Some(path.into()), errno: error.raw_os_error().unwrap_or(0) }
    }

    /// A warning about something that is no file.
    pub fn without_path(action: impl Into<String>, errno: i32) -> Self {
        Self { action: action.into(), path: None, errno }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not possible", self.action)?;
        if let Some(path) = &self.path {
            write!(f, " on {}", path.display())?;
        }
        write!(f, ": {}", io::Error::from_raw_os_error(self.errno))
    }
}
