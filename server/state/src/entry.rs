//! One entry of the log: a command, the leader's stamp, and the rules it was stamped under.

use orch_model::{Timestamp, document};
use serde::{Deserialize, Serialize};

use crate::commands::Command;

/// The newest rules that this build knows how to apply.
///
/// A change to what `apply` does with an existing command raises it; entries stamped under older rules are applied as
/// they were.
pub const RULES: u16 = 3;

/// The rules that brought deployments, the digest, epochs that a purge does not start again, and stricter collecting.
pub(crate) const RULES_WITH_DEPLOYMENTS: u16 = 2;

// Rules 3 brought host volumes, which only commands and jobs ask for that older rules do not have: nothing that stands
// in an older log is applied otherwise.

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The rules under which the leader stamped it.
    pub rules: u16,
    /// The leader's clock when it stamped it; `apply` uses the later of this and the previous entry's.
    pub stamp: Timestamp,
    /// What is to change.
    pub command: Command,
}

/// Why bytes of the log are not an entry that this build can apply.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// They were written under newer rules.
    #[error("the log holds an entry of rules {found}, this build knows rules up to {RULES}: run a newer orch")]
    NewerRules {
        /// The rules of the entry.
        found: u16,
    },
    /// They cannot be read.
    #[error(transparent)]
    Document(#[from] document::Error),
}

impl Entry {
    /// The entry as it stands in the log.
    pub fn encode(&self) -> Result<Vec<u8>, document::Error> {
        document::encode(self)
    }

    /// Reads an entry; whatever this build does not know is an error, never skipped.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        #[derive(Deserialize)]
        struct Head {
            rules: u16,
        }
        match document::decode_strict::<Self>(bytes) {
            Ok(entry) if entry.rules > RULES => Err(EntryError::NewerRules { found: entry.rules }),
            Ok(entry) => Ok(entry),
            Err(error) => match document::decode::<Head>(bytes) {
                Ok(head) if head.rules > RULES => Err(EntryError::NewerRules { found: head.rules }),
                Ok(_) | Err(_) => Err(error.into()),
            },
        }
    }
}
