//! The agent that answers, and the servers of its region.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json::shape;

shape! {
    /// A server of the cluster.
    pub struct AgentMember {
        /// Its name, `<node>.<region>`.
        pub name: String,
        /// Its address.
        pub addr: String,
        /// Its port.
        pub port: u16,
        /// Facts: `role`, `region`, `dc`, `build`, `id`, `rpc_addr`, …
        pub tags: BTreeMap<String, String>,
        /// `alive`, `failed` or `left`.
        pub status: String,
        /// The oldest protocol it speaks.
        pub protocol_min: u8,
        /// The newest protocol it speaks.
        pub protocol_max: u8,
        /// The protocol it speaks.
        pub protocol_cur: u8,
        /// As `protocol_min`, of the layer above.
        pub delegate_min: u8,
        /// As `protocol_max`, of the layer above.
        pub delegate_max: u8,
        /// As `protocol_cur`, of the layer above.
        pub delegate_cur: u8,
    }

    /// The servers that a server knows.
    pub struct AgentMembers {
        /// Who answers.
        pub server_name: String,
        /// Its region.
        pub server_region: String,
        /// Its datacenter.
        #[serde(rename = "ServerDC")]
        pub server_dc: String,
        /// The servers.
        pub members: Vec<AgentMember>,
    }
}

/// The agent that answers: its configuration, itself as a member, and counters as text.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentSelf {
    /// The configuration, without secrets.
    pub config: Value,
    /// Itself, if it is a server.
    pub member: AgentMember,
    /// Counters by group and name.
    pub stats: BTreeMap<String, BTreeMap<String, String>>,
}

/// What came of asking servers to join.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct JoinResponse {
    /// How many did.
    pub num_joined: usize,
    /// Why others did not; empty if all did.
    pub error: String,
    /// What is odd about the request.
    pub warning: String,
}

/// Whether the parts of an agent are well; a part that does not run is absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AgentHealth {
    /// The client part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<PartHealth>,
    /// The server part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<PartHealth>,
}

/// Whether a part of an agent is well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartHealth {
    /// Whether it is.
    pub ok: bool,
    /// Why, or `ok`.
    pub message: String,
}

impl PartHealth {
    /// All is well.
    pub fn well() -> Self {
        Self { ok: true, message: "ok".into() }
    }

    /// Something is wrong, as `message` says.
    pub fn unwell(message: impl Into<String>) -> Self {
        Self { ok: false, message: message.into() }
    }
}
