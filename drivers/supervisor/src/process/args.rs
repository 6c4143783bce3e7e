use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use orch_host::limits::OriginalLimits;

use crate::client::Options;
use crate::spec::Lifetime;

/// The command line of a supervisor, written by the agent that starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupervisorArgs {
    pub socket: PathBuf,
    pub node_mark: String,
    pub cgroup_parent: String,
    pub lifetime: Lifetime,
    /// What tasks get.
    pub limits: OriginalLimits,
    /// The descriptor of a memory file with the state of the supervisor that replaces itself by this one.
    pub(crate) resume: Option<i32>,
}

/// The command line is not one that an agent writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgsError {
    #[error("the supervisor is started by the agent and takes no argument \"{0}\"")]
    Unknown(String),
    #[error("the supervisor's argument {0} has no valid value")]
    Value(&'static str),
    #[error("the supervisor is started by the agent: its argument {0} is missing")]
    Missing(&'static str),
}

const SOCKET: &str = "--socket";
const MARK: &str = "--mark";
const PARENT: &str = "--cgroup-parent";
const LIMITS: &str = "--limits";
const GRACE: &str = "--stop-with-agent-ms";
const REMOVE: &str = "--remove-dir";
pub(super) const RESUME: &str = "--resume-fd";
const FLAGS: [&str; 7] = [SOCKET, MARK, PARENT, LIMITS, GRACE, REMOVE, RESUME];

impl SupervisorArgs {
    /// Reads what stands after the word that selects this mode.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut values: [Option<OsString>; FLAGS.len()] = Default::default();
        let mut args = args.into_iter();
        while let Some(flag) = args.next() {
            let known = FLAGS.iter().zip(&mut values).find(|(name, _)| OsStr::new(name) == flag);
            let (name, value) = known.ok_or_else(|| ArgsError::Unknown(flag.to_string_lossy().into_owned()))?;
            *value = Some(args.next().ok_or(ArgsError::Value(name))?);
        }
        let [socket, mark, parent, limits, grace, remove, resume] = values;
        let lifetime = match grace {
            None => Lifetime::Outlives,
            Some(grace) => Lifetime::StopsWithAgent {
                grace: Duration::from_millis(text(grace, GRACE)?.parse().map_err(|_| ArgsError::Value(GRACE))?),
                remove_dir: remove.map(PathBuf::from),
            },
        };
        Ok(Self {
            socket: socket.ok_or(ArgsError::Missing(SOCKET))?.into(),
            node_mark: text(mark.ok_or(ArgsError::Missing(MARK))?, MARK)?,
            cgroup_parent: text(parent.ok_or(ArgsError::Missing(PARENT))?, PARENT)?,
            lifetime,
            limits: match limits {
                Some(limits) => text(limits, LIMITS)?.parse().map_err(|_| ArgsError::Value(LIMITS))?,
                None => OriginalLimits::capture(),
            },
            resume: resume.map(|fd| text(fd, RESUME)?.parse().map_err(|_| ArgsError::Value(RESUME))).transpose()?,
        })
    }

    pub(crate) fn of(options: &Options) -> Self {
        let Options { socket, exe: _, args: _, node_mark, cgroup_parent, lifetime, limits } = options.clone();
        Self { socket, node_mark, cgroup_parent, lifetime, limits, resume: None }
    }

    /// The command line that [`Self::parse`] reads.
    pub(crate) fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            SOCKET.into(),
            self.socket.clone().into(),
            MARK.into(),
            self.node_mark.clone().into(),
            PARENT.into(),
            self.cgroup_parent.clone().into(),
            LIMITS.into(),
            self.limits.to_string().into(),
        ];
        if let Lifetime::StopsWithAgent { grace, remove_dir } = &self.lifetime {
            args.extend([GRACE.into(), grace.as_millis().to_string().into()]);
            if let Some(directory) = remove_dir {
                args.extend([REMOVE.into(), directory.clone().into()]);
            }
        }
        if let Some(fd) = self.resume {
            args.extend([RESUME.into(), fd.to_string().into()]);
        }
        args
    }
}

fn text(value: OsString, name: &'static str) -> Result<String, ArgsError> {
    value.into_string().map_err(|_| ArgsError::Value(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_command_line_is_read_back() {
        let stops = Lifetime::StopsWithAgent { grace: Duration::from_secs(5), remove_dir: Some("/tmp/a b".into()) };
        for (lifetime, resume) in [(Lifetime::Outlives, None), (stops, Some(9))] {
            let args = SupervisorArgs {
                socket: "/run/s.sock".into(),
                node_mark: "0011aabb".into(),
                cgroup_parent: "orch".into(),
                lifetime,
                limits: OriginalLimits::capture(),
                resume,
            };
            assert_eq!(SupervisorArgs::parse(args.to_args()), Ok(args));
        }
        assert_eq!(SupervisorArgs::parse([]), Err(ArgsError::Missing(SOCKET)));
        assert_eq!(SupervisorArgs::parse(["-v".into()]), Err(ArgsError::Unknown("-v".into())));
        assert_eq!(SupervisorArgs::parse([SOCKET.into()]), Err(ArgsError::Value(SOCKET)));
    }
}
