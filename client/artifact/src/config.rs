//! What the agent sets for all fetches.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
const HUNDRED_GB: u64 = 100_000_000_000;

/// Limits and isolation of fetches; mirrors the agent's block `client { artifact { … } }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The program that is started with the argument [`crate::CHILD`] and calls [`crate::child_main`]; absolute.
    pub exe: PathBuf,
    /// Where downloads wait until they are complete, best on the file system of the allocations. It is created; its
    /// parents must let everybody pass (`o+x`), since the child runs as nobody where the agent runs as root.
    pub scratch: PathBuf,
    /// The most bytes that one fetch may download over http(s) or s3; 0 is no limit. Default 100 GB.
    pub http_max_size: u64,
    /// How long one http(s) request may take, body included. Default 30 minutes.
    pub http_read_timeout: Duration,
    /// How long all of one git fetch may take. Default 30 minutes.
    pub git_timeout: Duration,
    /// How long all of one s3 fetch may take. Default 30 minutes.
    pub s3_timeout: Duration,
    /// The most bytes that an archive, a repository or a bucket's directory may unfold to; 0 is no limit. Default 100 GB.
    pub decompression_size_limit: u64,
    /// The most entries that an archive or a bucket's directory may have; 0 is no limit. Default 4096.
    pub decompression_file_count_limit: u64,
    /// Leaves the child without Landlock: it may then read and write what its user may. Default false.
    pub disable_filesystem_isolation: bool,
    /// Places what was fetched without looking for links that lead out of it. Default false.
    pub disable_artifact_inspection: bool,
    /// What the child may use beside its scratch directory and the system's libraries and certificates.
    pub filesystem_isolation_extra_paths: Vec<ExtraPath>,
    /// Variables of the agent's environment that the child gets too, such as `HTTPS_PROXY` or `AWS_PROFILE`.
    pub set_environment_variables: Vec<String>,
    /// Whether `file://` sources (files, directories and git repositories of this machine) may be fetched. Default false.
    pub allow_file: bool,
    /// A file in the format of netrc with logins for http(s) and git; one that does not exist is ignored.
    pub netrc: Option<PathBuf>,
    /// How often a fetch is tried while its errors look transient. Default 3.
    pub attempts: u32,
    /// How long to wait before the second attempt; doubles each time, up to ten seconds. Default 500 ms.
    pub backoff: Duration,
}

impl Config {
    /// The defaults, for a program and a scratch directory.
    pub fn new(exe: impl Into<PathBuf>, scratch: impl Into<PathBuf>) -> Self {
        Self {
            exe: exe.into(),
            scratch: scratch.into(),
            http_max_size: HUNDRED_GB,
            http_read_timeout: HALF_AN_HOUR,
            git_timeout: HALF_AN_HOUR,
            s3_timeout: HALF_AN_HOUR,
            decompression_size_limit: HUNDRED_GB,
            decompression_file_count_limit: 4096,
            disable_filesystem_isolation: false,
            disable_artifact_inspection: false,
            filesystem_isolation_extra_paths: Vec::new(),
            set_environment_variables: Vec::new(),
            allow_file: false,
            netrc: None,
            attempts: 3,
            backoff: Duration::from_millis(500),
        }
    }

    /// After how long a child is killed, whatever it does: a minute past the longest of the limits, and past half an hour.
    pub fn deadline(&self) -> Duration {
        let longest =
            [self.http_read_timeout, self.git_timeout, self.s3_timeout].into_iter().fold(HALF_AN_HOUR, Duration::max);
        longest.saturating_add(Duration::from_secs(60))
    }
}

/// A path that the child may use, written `<f|d>:<some of r, w, c, x>:<absolute path>` as in `d:rx:/opt/bin`.
///
/// `r` is reading, `w` writing, `c` creating and removing, `x` executing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraPath {
    pub path: PathBuf,
    pub read: bool,
    pub write: bool,
    pub create: bool,
    pub execute: bool,
}

impl FromStr for ExtraPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("{text:?} is not <f|d>:<some of rwcx>:<absolute path>, such as d:rx:/opt/bin");
        let mut parts = text.splitn(3, ':');
        let (Some("f" | "d"), Some(rights), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refuse());
        };
        if rights.is_empty() || !rights.chars().all(|right| "rwcx".contains(right)) || !path.starts_with('/') {
            return Err(refuse());
        }
        let has = |right| rights.contains(right);
        Ok(Self { path: path.into(), read: has('r'), write: has('w'), create: has('c'), execute: has('x') })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extra_path_names_kind_rights_and_an_absolute_path() {
        let path: ExtraPath = "d:rx:/opt/bin:odd".parse().unwrap();
        assert_eq!(
            path,
            ExtraPath { path: "/opt/bin:odd".into(), read: true, write: false, create: false, execute: true }
        );
        for bad in ["", "/opt", "x:r:/opt", "d::/opt", "d:q:/opt", "f:r:opt"] {
            assert!(bad.parse::<ExtraPath>().is_err(), "{bad:?} was taken");
        }
    }
}
