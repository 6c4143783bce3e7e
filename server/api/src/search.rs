//! Finding things by the first characters of their ids.

use std::collections::BTreeMap;

use crate::json::shape;

shape! {
    /// Asks for ids that start with a text.
    pub struct SearchRequest {
        /// What they start with.
        pub prefix: String,
        /// `jobs`, `evals`, `allocs`, `nodes`, `node_pools`, `namespaces` or `all`; empty is all.
        pub context: String,
        /// Where to look; empty is the request's namespace.
        pub namespace: String,
    }

    /// Ids that start with a text.
    pub struct SearchResponse {
        /// At most 20 per context.
        pub matches: BTreeMap<String, Vec<String>>,
        /// Whether there are more, per context.
        pub truncations: BTreeMap<String, bool>,
        /// The index of the answer.
        pub index: u64,
        /// Nanoseconds since the server heard from the leader.
        pub last_contact: i64,
        /// Whether there is a leader.
        pub known_leader: bool,
        /// Always empty.
        pub next_token: String,
    }
}
