//! Names of things: each id is its own type, parsed once at the edge.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that should have been an id but is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: expected a UUID such as 5f0c7a1e-9b3d-4c55-8f0a-2d7b1c6e4a90")]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The id made of these bits.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The bits of this id.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The first eight hexadecimal digits, as people see it in lists.
            pub fn short(&self) -> String {
                let mut text = self.0.to_string();
                text.truncate(8);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId { what: $what, text: text.to_owned() })
            }
        }
    };
}

uuid_id!(
    /// An allocation: one run of a task group on one node.
    AllocId, "allocation id"
);
uuid_id!(
    /// An evaluation.
    EvalId, "evaluation id"
);
uuid_id!(
    /// A deployment.
    DeploymentId, "deployment id"
);
uuid_id!(
    /// A client node; minted once with its data directory.
    NodeId, "node id"
);
uuid_id!(
    /// A cluster; minted when it is formed and checked on every RPC.
    ClusterId, "cluster id"
);
uuid_id!(
    /// A dynamic host volume: a directory that a client made, or took over, for jobs to use.
    HostVolumeId, "host volume id"
);
uuid_id!(
    /// A claim of one instance of a group on a host volume.
    VolumeClaimId, "volume claim id"
);
uuid_id!(
    /// One attempt at placing a job's groups; a repeated delivery carries the same one.
    PlanId, "plan id"
);

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id spelled `text`; whether it is well-formed is for admission to say.
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether no id was given.
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new("")
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self::new(text)
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Arc::from(text))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

text_id!(
    /// A job's id, unique within its namespace.
    JobId
);
text_id!(
    /// A namespace's name.
    Namespace
);

impl Namespace {
    /// The name of the namespace that always exists.
    pub const DEFAULT: &'static str = "default";
}

/// A job: its namespace and its id there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct JobKey {
    /// The namespace that the id is unique in.
    pub namespace: Namespace,
    /// The job's id.
    pub job_id: JobId,
}

impl JobKey {
    /// The key of `job_id` in `namespace`.
    pub fn new(namespace: &Namespace, job_id: &JobId) -> Self {
        Self { namespace: namespace.clone(), job_id: job_id.clone() }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.job_id, self.namespace)
    }
}

/// One version of a job, of one incarnation: purging a job and registering it again starts a new one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct JobVersionKey {
    /// The job.
    pub job: JobKey,
    /// The index at which this incarnation of the job was created.
    pub created: StateIndex,
    /// The version, counted from 0.
    pub version: u64,
}

/// A point in the history of the replicated state, as users see it in every `*Index`.
///
/// It is the replicated base plus the Raft log index, so that restoring a backup never makes it go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StateIndex(pub u64);

impl fmt::Display for StateIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A server's identity in Raft; minted with its data directory and never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RaftId(pub u64);

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A value that is kept but not shown: `Debug` prints a placeholder.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for comparing or storing it.
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_no_uuid_says_what_was_expected() {
        let error = "xyz".parse::<AllocId>().unwrap_err();
        assert!(error.to_string().starts_with("\"xyz\" is not a valid allocation id"), "{error}");
    }

    #[test]
    fn a_secret_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<redacted>");
    }

    #[test]
    fn ids_are_compact_in_documents_and_text_in_json() {
        let id = NodeId::from_uuid(Uuid::from_u128(7));
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"00000000-0000-0000-0000-000000000007\"");
        assert_eq!(rmp_serde::to_vec_named(&id).unwrap().len(), 18);
    }
}
