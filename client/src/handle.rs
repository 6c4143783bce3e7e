//! A way to the running agent, for the HTTP router and for whoever starts and stops it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::Router;
use orch_driver::{TaskId, TaskStats};
use orch_http::{Error, Kind};
use orch_model::node::NodeDescription;
use orch_model::{AllocId, NodeId, Timestamp};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use crate::agent::Request;
use crate::alloc_runner::{Command, RunningTask};
use crate::context::Context;
use crate::error::Refusal;
use crate::local_node::growth::WATCHERS;
use crate::local_node::host::CpuSample;
use crate::registry::{AllocView, Registry};

/// How long the agent may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A way to the running agent; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) context: Arc<Context>,
    pub(crate) registry: Registry,
    requests: mpsc::Sender<Request>,
    pub(crate) connected: watch::Receiver<Option<Channel>>,
    pub(crate) known_servers: watch::Receiver<Vec<String>>,
    router: Arc<OnceLock<Router>>,
    pub(crate) tasks: TaskTracker,
    leaving: Arc<AtomicBool>,
    /// Where changes of the node's description are told.
    pub(crate) describe: watch::Sender<Arc<NodeDescription>>,
    /// What tasks that run used when they were last measured.
    pub(crate) alloc_metrics: watch::Sender<Arc<str>>,
    pub(crate) samples: Arc<Mutex<Samples>>,
    /// Bounds how many directories are watched.
    pub(crate) watchers: Arc<Semaphore>,
}

/// Earlier measurements, by which the next ones become rates.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) tasks: BTreeMap<TaskId, (Timestamp, TaskStats)>,
    pub(crate) cores: BTreeMap<String, CpuSample>,
}

/// What ties a handle to the running agent and its session.
#[derive(Debug)]
pub(crate) struct Ties {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) connected: watch::Receiver<Option<Channel>>,
    pub(crate) known_servers: watch::Receiver<Vec<String>>,
    pub(crate) router: Arc<OnceLock<Router>>,
    pub(crate) leaving: Arc<AtomicBool>,
    pub(crate) describe: watch::Sender<Arc<NodeDescription>>,
}

impl Handle {
    pub(crate) fn new(context: Arc<Context>, registry: Registry, tasks: TaskTracker, ties: Ties) -> Self {
        let Ties { requests, connected, known_servers, router, leaving, describe } = ties;
        Self {
            context,
            registry,
            requests,
            connected,
            known_servers,
            router,
            tasks,
            leaving,
            describe,
            alloc_metrics: watch::Sender::new("".into()),
            samples: Arc::default(),
            watchers: Arc::new(Semaphore::new(WATCHERS)),
        }
    }

    /// The same handle for one whose rates are since its own last measurement.
    pub(crate) fn with_own_samples(self) -> Self {
        Self { samples: Arc::default(), ..self }
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.context.node_id
    }

    /// What the agent says of its machine now.
    pub fn description(&self) -> Arc<NodeDescription> {
        Arc::clone(&self.context.description.borrow())
    }

    /// Gives the router that answers requests which servers pass on to this node. Only the first one counts.
    pub fn set_router(&self, router: Router) {
        // A second router would be the same one: there is one per agent.
        let _already_set = self.router.set(router);
    }

    /// What each task that runs used when it was last measured, as lines that Prometheus reads; empty unless the agent was told to
    /// measure that. What has ended is not among it.
    pub fn allocation_metrics(&self) -> Arc<str> {
        Arc::clone(&self.alloc_metrics.borrow())
    }

    /// Whether the agent has a session with a server.
    pub fn is_connected(&self) -> bool {
        self.connected.borrow().is_some()
    }

    /// Waits until the agent has a session with a server; `false` if the agent stops before.
    pub async fn wait_connected(&self) -> bool {
        self.connected.clone().wait_for(Option::is_some).await.is_ok()
    }

    /// When the agent ends, the node leaves: the servers give it up at once, and replace its work without waiting for it.
    ///
    /// Tasks go on all the same. Those that were replaced are stopped if the agent is started again.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Stops every task and starts no more. Whether all had ended within `timeout`.
    pub async fn stop_all_tasks(&self, timeout: Duration) -> bool {
        let (reply, done) = oneshot::channel();
        let stopped = async { self.requests.send(Request::StopAll { reply }).await.is_ok() && done.await.is_ok() };
        tokio::time::timeout(timeout, stopped).await.unwrap_or(false)
    }

    pub(crate) fn view(&self, id: AllocId) -> Result<AllocView, Error> {
        self.registry.get(id).ok_or_else(|| unknown(id))
    }

    /// Asks the agent's loop.
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.requests.send(request(reply)).await.ok()?;
            answer.await.ok()
        };
        answered(tokio::time::timeout(ANSWER_WITHIN, asked).await)
    }

    /// Asks an allocation's runner; `None` if it has none any more.
    pub(crate) async fn ask_runner<T>(
        &self,
        view: &AllocView,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<Option<T>, Error> {
        let Some(runner) = &view.runner else { return Ok(None) };
        let (reply, answer) = oneshot::channel();
        let asked = async {
            runner.commands.send(Box::new(command(reply))).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(answer) => Ok(answer),
            Err(late) => answered(Err(late)),
        }
    }

    /// The tasks of an allocation that run.
    pub(crate) async fn running(&self, view: &AllocView) -> Result<Vec<RunningTask>, Error> {
        Ok(self.ask_runner(view, |reply| Command::Running { reply }).await?.unwrap_or_default())
    }
}

fn answered<T>(answer: Result<Option<T>, tokio::time::error::Elapsed>) -> Result<T, Error> {
    match answer {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Error::new(Kind::Unavailable, "the client is shutting down")),
        Err(_late) => Err(Error::new(Kind::Unavailable, "the client did not answer in time")),
    }
}

/// There is no such allocation here.
pub(crate) fn unknown(id: AllocId) -> Error {
    Error::not_found(format!("Unknown allocation \"{id}\""))
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal {
            Refusal::UnknownTask(_) => Kind::NotFound,
            Refusal::NotRunning | Refusal::Ended => Kind::Conflict,
            Refusal::Driver(_) => Kind::Internal,
        };
        Self::new(kind, refusal.to_string())
    }
}
