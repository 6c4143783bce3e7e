//! What the router is made of: the handles of one agent and the facts it answers with itself.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use metrics_exporter_prometheus::PrometheusHandle;
use orch_api::job::JobParseRequest;
use orch_model::Job;
use orch_model::admission::AdmissionContext;
use serde_json::Value;

use crate::control::ControlPlane;
use crate::error::Error;
use crate::local::LocalNode;

/// Turns an HCL text into a job, or says what is wrong with it.
pub type ParseJob = Arc<dyn Fn(&JobParseRequest) -> Result<Job, String> + Send + Sync>;

/// One agent, as the router sees it.
///
/// At least one of `control` and `local` is there: a server has the first, a client the second, a dev agent both.
pub struct Agent {
    /// The servers, if this agent is one.
    pub control: Option<Arc<dyn ControlPlane>>,
    /// This machine, if this agent is a client.
    pub local: Option<Arc<dyn LocalNode>>,
    /// Facts about the agent.
    pub info: AgentInfo,
    /// Renders the metrics of this process; `None` switches the Prometheus format off.
    pub metrics: Option<PrometheusHandle>,
    /// Turns HCL texts into jobs.
    pub parse_job: ParseJob,
}

/// Facts about an agent.
#[derive(Debug, Clone, Default)]
pub struct AgentInfo {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its datacenter.
    pub datacenter: String,
    /// Its configuration without secrets, as `/v1/agent/self` shows it.
    pub config: Value,
    /// What admission must know beside a job.
    pub admission: Admission,
    /// Headers added to every answer.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
}

/// The cluster's limits on jobs, as the agent is configured.
#[derive(Debug, Clone)]
pub struct Admission {
    /// The priority of a job that names none.
    pub default_priority: i64,
    /// The highest priority.
    pub max_priority: i64,
    /// How many allocations the groups of a job may want together; 0 is unlimited.
    pub max_count: i64,
    /// The names of the drivers that exist.
    pub drivers: Vec<&'static str>,
    /// The keys that the `config` of a driver's tasks may have, by the driver's name.
    pub driver_options: &'static [(&'static str, &'static [&'static str])],
}

impl Default for Admission {
    fn default() -> Self {
        let usual = AdmissionContext::new(&[]);
        Self {
            default_priority: usual.default_priority,
            max_priority: usual.max_priority,
            max_count: usual.max_count,
            drivers: Vec::new(),
            driver_options: &[],
        }
    }
}

impl AgentInfo {
    /// What admission must know beside a job.
    pub(crate) fn admission_context(&self) -> AdmissionContext<'_> {
        let Admission { default_priority, max_priority, max_count, drivers, driver_options } = &self.admission;
        let mut context = AdmissionContext::new(drivers);
        if !self.region.is_empty() {
            context.region = &self.region;
        }
        context.default_priority = *default_priority;
        context.max_priority = *max_priority;
        context.max_count = *max_count;
        context.driver_options = driver_options;
        context
    }
}

impl Agent {
    /// The servers; an error on an agent that is none, which only requests that are never tunnelled can meet.
    pub(crate) fn control(&self) -> Result<&Arc<dyn ControlPlane>, Error> {
        self.control.as_ref().ok_or_else(|| Error::internal("this agent is not a server"))
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent")
            .field("server", &self.control.is_some())
            .field("client", &self.local.is_some())
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}
