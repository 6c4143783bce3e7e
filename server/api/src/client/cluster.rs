//! The agent itself, the servers, and what operators do.

use http::{Method, StatusCode};

use super::{Client, Error, NO_BODY, QueryMeta, QueryOptions, decode, path};
use crate::agent::{AgentHealth, AgentMembers, AgentSelf, JoinResponse};
use crate::metrics::MetricsSummary;
use crate::namespace::Namespace;
use crate::operator::{
    BrakeStatus, RaftConfiguration, SchedulerConfiguration, SchedulerConfigurationResponse, SchedulerSetResponse,
    TransferLeadership,
};
use crate::search::{SearchRequest, SearchResponse};

impl Client {
    /// The agent that answers.
    pub async fn agent_self(&self) -> Result<AgentSelf, Error> {
        self.get("/v1/agent/self", &QueryOptions::default()).await.map(|(agent, _)| agent)
    }

    /// The servers of the region.
    pub async fn agent_members(&self) -> Result<AgentMembers, Error> {
        self.get("/v1/agent/members", &QueryOptions::default()).await.map(|(members, _)| members)
    }

    /// Whether the agent is well; it answers also when it is not.
    pub async fn agent_health(&self) -> Result<AgentHealth, Error> {
        let answer = self.raw(Method::GET, "/v1/agent/health", None).await?;
        if answer.status.is_success() || answer.status == StatusCode::INTERNAL_SERVER_ERROR {
            return decode("/v1/agent/health", &answer.body);
        }
        Err(Error::status(answer.status, &answer.body))
    }

    /// The servers that a client agent knows.
    pub async fn agent_servers(&self) -> Result<Vec<String>, Error> {
        self.get("/v1/agent/servers", &QueryOptions::default()).await.map(|(servers, _)| servers)
    }

    /// Makes servers known to the one that answers, by their RPC addresses.
    pub async fn join(&self, addresses: &[String]) -> Result<JoinResponse, Error> {
        let params: Vec<_> = addresses.iter().map(|address| ("address", address.as_str())).collect();
        self.write(Method::PUT, "/v1/agent/join", &params, NO_BODY).await
    }

    /// Marks a server that is gone as left; with `prune`, forgets it.
    pub async fn force_leave(&self, node: &str, prune: bool) -> Result<(), Error> {
        let mut params = vec![("node", node)];
        if prune {
            params.push(("prune", "1"));
        }
        self.write_bytes(Method::PUT, "/v1/agent/force-leave", &params, NO_BODY).await.map(drop)
    }

    /// The RPC address of the leader; empty if there is none.
    pub async fn leader(&self) -> Result<String, Error> {
        self.get("/v1/status/leader", &QueryOptions::default()).await.map(|(leader, _)| leader)
    }

    /// The RPC addresses of the servers.
    pub async fn peers(&self) -> Result<Vec<String>, Error> {
        self.get("/v1/status/peers", &QueryOptions::default()).await.map(|(peers, _)| peers)
    }

    /// The regions.
    pub async fn regions(&self) -> Result<Vec<String>, Error> {
        self.get("/v1/regions", &QueryOptions::default()).await.map(|(regions, _)| regions)
    }

    /// The namespaces.
    pub async fn namespaces(&self, options: &QueryOptions) -> Result<(Vec<Namespace>, QueryMeta), Error> {
        self.get("/v1/namespaces", options).await
    }

    /// A namespace.
    pub async fn namespace(&self, name: &str, options: &QueryOptions) -> Result<(Namespace, QueryMeta), Error> {
        self.get(&path(["namespace", name]), options).await
    }

    /// The members of Raft.
    pub async fn raft_configuration(&self, stale: bool) -> Result<RaftConfiguration, Error> {
        let options = QueryOptions { stale, ..QueryOptions::default() };
        self.get("/v1/operator/raft/configuration", &options).await.map(|(configuration, _)| configuration)
    }

    /// Takes a server out of Raft.
    pub async fn remove_raft_peer(&self, id: &str) -> Result<(), Error> {
        self.write_bytes(Method::DELETE, "/v1/operator/raft/peer", &[("id", id)], NO_BODY).await.map(drop)
    }

    /// Hands leadership to the server with this Raft id, or to any other.
    pub async fn transfer_leadership(&self, id: Option<&str>) -> Result<TransferLeadership, Error> {
        let params: Vec<_> = id.map(|id| ("id", id)).into_iter().collect();
        self.write(Method::PUT, "/v1/operator/raft/transfer-leadership", &params, NO_BODY).await
    }

    /// The scheduler's settings.
    pub async fn scheduler_configuration(&self) -> Result<SchedulerConfigurationResponse, Error> {
        let path = "/v1/operator/scheduler/configuration";
        self.get(path, &QueryOptions::default()).await.map(|(configuration, _)| configuration)
    }

    /// Replaces the scheduler's settings; with `cas`, only if they were last changed at that index.
    pub async fn set_scheduler_configuration(
        &self,
        configuration: &SchedulerConfiguration,
        cas: Option<u64>,
    ) -> Result<SchedulerSetResponse, Error> {
        let cas = cas.map(|index| index.to_string());
        let params: Vec<_> = cas.iter().map(|index| ("cas", index.as_str())).collect();
        self.write(Method::PUT, "/v1/operator/scheduler/configuration", &params, Some(configuration)).await
    }

    /// How the brake on the loss of nodes stands.
    pub async fn brake_status(&self) -> Result<BrakeStatus, Error> {
        self.get("/v1/operator/brake", &QueryOptions::default()).await.map(|(status, _)| status)
    }

    /// Gives up the nodes that the brake holds back, at once.
    pub async fn release_brake(&self) -> Result<BrakeStatus, Error> {
        self.write(Method::PUT, "/v1/operator/brake/release", &[], NO_BODY).await
    }

    /// Counts the summaries of jobs anew.
    pub async fn reconcile_summaries(&self) -> Result<(), Error> {
        self.write_bytes(Method::PUT, "/v1/system/reconcile/summaries", &[], NO_BODY).await.map(drop)
    }

    /// Removes what has ended, at once.
    pub async fn system_gc(&self) -> Result<(), Error> {
        self.write_bytes(Method::PUT, "/v1/system/gc", &[], NO_BODY).await.map(drop)
    }

    /// Ids that start with a text.
    pub async fn search(&self, request: &SearchRequest) -> Result<SearchResponse, Error> {
        self.write(Method::PUT, "/v1/search", &[], Some(request)).await
    }

    /// The agent's metrics.
    pub async fn metrics(&self) -> Result<MetricsSummary, Error> {
        self.get("/v1/metrics", &QueryOptions::default()).await.map(|(metrics, _)| metrics)
    }

    /// The agent's metrics as Prometheus reads them.
    pub async fn metrics_text(&self) -> Result<(String, QueryMeta), Error> {
        let (body, meta) = self.get_bytes("/v1/metrics", &QueryOptions::default(), &[("format", "prometheus")]).await?;
        Ok((String::from_utf8_lossy(&body).into_owned(), meta))
    }
}
