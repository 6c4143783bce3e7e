//! Nodes, node pools, and what clients say of themselves.

use http::Method;
use orch_model::node::Eligibility;

use super::{Client, Error, NO_BODY, QueryMeta, QueryOptions, path};
use crate::allocation::Allocation;
use crate::job::JobListStub;
use crate::namespace::NodePool;
use crate::node::{Node, NodeEligibilityRequest, NodeEligibilityResponse, NodeListStub, NodeUpdateResponse};
use crate::stats::{HostStats, NodeMetadata};

impl Client {
    /// The nodes.
    pub async fn nodes(&self, options: &QueryOptions) -> Result<(Vec<NodeListStub>, QueryMeta), Error> {
        self.get("/v1/nodes", options).await
    }

    /// A node; the id must be complete.
    pub async fn node(&self, id: &str, options: &QueryOptions) -> Result<(Node, QueryMeta), Error> {
        self.get(&path(["node", id]), options).await
    }

    /// The allocations of a node.
    pub async fn node_allocations(
        &self,
        id: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<Allocation>, QueryMeta), Error> {
        self.get(&path(["node", id, "allocations"]), options).await
    }

    /// Says whether work may be placed on a node; repeating it does no harm.
    pub async fn set_eligibility(&self, id: &str, eligibility: Eligibility) -> Result<NodeEligibilityResponse, Error> {
        let request = NodeEligibilityRequest { node_id: id.to_owned(), eligibility: eligibility.to_string() };
        self.write(Method::PUT, &path(["node", id, "eligibility"]), &[], Some(&request)).await
    }

    /// Creates an evaluation of every job that has work on a node.
    pub async fn evaluate_node(&self, id: &str) -> Result<NodeUpdateResponse, Error> {
        self.write(Method::PUT, &path(["node", id, "evaluate"]), &[], NO_BODY).await
    }

    /// Forgets a node.
    pub async fn purge_node(&self, id: &str) -> Result<NodeUpdateResponse, Error> {
        self.write(Method::PUT, &path(["node", id, "purge"]), &[], NO_BODY).await
    }

    /// What a node's machine uses; an empty id is the agent's own.
    pub async fn host_stats(&self, node: &str) -> Result<HostStats, Error> {
        self.get_with("/v1/client/stats", &QueryOptions::default(), &node_param(node)).await.map(|(stats, _)| stats)
    }

    /// A node's metadata; an empty id is the agent's own.
    pub async fn node_metadata(&self, node: &str) -> Result<NodeMetadata, Error> {
        self.get_with("/v1/client/metadata", &QueryOptions::default(), &node_param(node)).await.map(|(meta, _)| meta)
    }

    /// Removes the directories of a node's allocations that have ended; an empty id is the agent's own.
    pub async fn gc_node(&self, node: &str) -> Result<(), Error> {
        self.get_bytes("/v1/client/gc", &QueryOptions::default(), &node_param(node)).await.map(drop)
    }

    /// The node pools.
    pub async fn node_pools(&self, options: &QueryOptions) -> Result<(Vec<NodePool>, QueryMeta), Error> {
        self.get("/v1/node/pools", options).await
    }

    /// A node pool.
    pub async fn node_pool(&self, name: &str, options: &QueryOptions) -> Result<(NodePool, QueryMeta), Error> {
        self.get(&path(["node", "pool", name]), options).await
    }

    /// The nodes of a pool.
    pub async fn node_pool_nodes(
        &self,
        name: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<NodeListStub>, QueryMeta), Error> {
        self.get(&path(["node", "pool", name, "nodes"]), options).await
    }

    /// The jobs of a pool.
    pub async fn node_pool_jobs(
        &self,
        name: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<JobListStub>, QueryMeta), Error> {
        self.get(&path(["node", "pool", name, "jobs"]), options).await
    }
}

fn node_param(node: &str) -> Vec<(&'static str, &str)> {
    if node.is_empty() { Vec::new() } else { vec![("node_id", node)] }
}
