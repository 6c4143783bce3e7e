//! What every part of the agent may use.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_driver::Driver;
use orch_model::NodeId;
use orch_model::node::NodeDescription;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use crate::clock::Clock;
use crate::config::Config;
use crate::state::LocalState;
use crate::volumes::Volumes;

/// What every part of the agent may use.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) node_id: NodeId,
    pub(crate) clock: Clock,
    pub(crate) state: LocalState,
    pub(crate) drivers: BTreeMap<String, Arc<dyn Driver>>,
    /// What the agent says of its machine; it changes as slow facts come in.
    pub(crate) description: watch::Receiver<Arc<NodeDescription>>,
    /// The host volumes that tasks can mount.
    pub(crate) volumes: Volumes,
    /// Fetches artifacts.
    pub(crate) fetcher: orch_artifact::Fetcher,
    /// The connection of the session, while there is one.
    pub(crate) connected: watch::Receiver<Option<Channel>>,
    /// Streams through that connection.
    pub(crate) streams: TaskTracker,
}
