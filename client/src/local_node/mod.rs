//! What the HTTP router asks of this node: files, logs, figures, and requests by hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use orch_api::{AllocResourceUsage, FileInfo, HostStats, NodeMetadata, PartHealth};
use orch_http::local::{
    ByteStream, Connection, ExecRequest, ExecSession, FrameStream, HostVolumeInfo, HostVolumeRequest, LogRequest,
    PortRequest, Position, RestartTarget,
};
use orch_http::{Error, Kind, LocalNode, Request, Response};
use orch_model::allocation::ClientStatus;
use orch_model::node::NodeDescription;
use orch_model::{AllocId, HostVolumeId, NodeId};

mod files;
pub(crate) mod growth;
pub(crate) mod host;
mod inside;
mod logs;
mod usage;

pub(crate) use self::usage::float;

use self::files::Files;
use crate::agent::{Collected, Request as Ask};
use crate::alloc_dir::AllocDir;
use crate::alloc_runner::Command;
use crate::error::Refusal;
use crate::handle::{Handle, unknown};
use crate::session::tunnel;
use crate::volumes::Volumes;

impl Handle {
    /// The files of an allocation that has a directory here.
    fn files(&self, alloc: AllocId) -> Result<Files, Error> {
        let view = self.view(alloc)?;
        if view.collected {
            return Err(unknown(alloc));
        }
        Ok(Files::new(&AllocDir::new(&self.context.config.alloc_dir, alloc)))
    }
}

impl Handle {
    /// Changes the dynamic host volumes, and tells the servers what there is then.
    async fn change_volumes<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Volumes) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let volumes = self.context.volumes.clone();
        // A file system may be slow to answer.
        let changed = tokio::task::spawn_blocking(move || change(&volumes)).await;
        let changed =
            changed.map_err(|error| Error::internal(format!("the change of volumes was cut short: {error}")))?;
        self.describe.send_if_modified(|current| {
            let mut node = NodeDescription::clone(current);
            self.context.volumes.describe(&mut node);
            let news = node != **current;
            if news {
                *current = Arc::new(node);
            }
            news
        });
        changed
    }
}

#[async_trait]
impl LocalNode for Handle {
    fn node_id(&self) -> NodeId {
        self.id()
    }

    fn has_alloc(&self, alloc: AllocId) -> bool {
        self.registry.get(alloc).is_some_and(|view| !view.collected)
    }

    async fn list(&self, alloc: AllocId, path: &str) -> Result<Vec<FileInfo>, Error> {
        self.files(alloc)?.list(path).await
    }

    async fn stat(&self, alloc: AllocId, path: &str) -> Result<FileInfo, Error> {
        self.files(alloc)?.stat(path).await
    }

    async fn read(&self, alloc: AllocId, path: &str, offset: u64, limit: Option<u64>) -> Result<ByteStream, Error> {
        self.files(alloc)?.read(path, offset, limit).await
    }

    async fn stream(&self, alloc: AllocId, path: &str, from: Position, follow: bool) -> Result<FrameStream, Error> {
        self.files(alloc)?.stream(path, from, follow).await
    }

    async fn logs(&self, alloc: AllocId, request: LogRequest) -> Result<FrameStream, Error> {
        let view = self.view(alloc)?;
        if view.collected {
            return Err(unknown(alloc));
        }
        let dir = AllocDir::new(&self.context.config.alloc_dir, alloc);
        logs::open(self.registry.clone(), &self.watchers, &dir, &view, request).await
    }

    async fn alloc_stats(&self, alloc: AllocId, task: Option<&str>) -> Result<AllocResourceUsage, Error> {
        self.usage(alloc, task).await
    }

    async fn restart(&self, alloc: AllocId, which: RestartTarget) -> Result<(), Error> {
        let view = self.view(alloc)?;
        let (task, dead) = match which {
            RestartTarget::Task(name) => (Some(name), false),
            RestartTarget::Running => (None, false),
            RestartTarget::All => (None, true),
        };
        let answer = self.ask_runner(&view, |reply| Command::Restart { task, dead, reply }).await?;
        answer.unwrap_or(Err(Refusal::Ended)).map_err(Error::from)
    }

    async fn signal(&self, alloc: AllocId, task: Option<&str>, signal: &str) -> Result<(), Error> {
        let view = self.view(alloc)?;
        if orch_host::signals::number(signal).is_none() {
            return Err(Error::invalid(format!("{signal:?} is no signal: use a name such as SIGHUP")));
        }
        let (task, signal) = (task.map(str::to_owned), signal.to_owned());
        let answer = self.ask_runner(&view, |reply| Command::Signal { task, signal, reply }).await?;
        answer.unwrap_or(Err(Refusal::Ended)).map_err(Error::from)
    }

    async fn exec(&self, alloc: AllocId, request: ExecRequest) -> Result<ExecSession, Error> {
        self.enter(alloc, request).await
    }

    async fn connect_port(&self, alloc: AllocId, request: PortRequest) -> Result<Connection, Error> {
        self.connect(alloc, request).await
    }

    async fn snapshot(&self, alloc: AllocId) -> Result<ByteStream, Error> {
        self.hand_over(alloc)
    }

    async fn gc_alloc(&self, alloc: AllocId) -> Result<(), Error> {
        match self.ask(|reply| Ask::Collect { alloc: Some(alloc), reply }).await? {
            Collected::Done => Ok(()),
            Collected::Running => Err(Error::new(Kind::Conflict, "the allocation has not ended yet")),
            Collected::Unknown => Err(unknown(alloc)),
        }
    }

    async fn gc(&self) -> Result<(), Error> {
        self.ask(|reply| Ask::Collect { alloc: None, reply }).await.map(drop)
    }

    async fn create_host_volume(&self, request: HostVolumeRequest) -> Result<HostVolumeInfo, Error> {
        self.change_volumes(move |volumes| volumes.create(&request)).await
    }

    async fn delete_host_volume(&self, id: HostVolumeId) -> Result<(), Error> {
        self.change_volumes(move |volumes| volumes.delete(id)).await
    }

    async fn host_stats(&self) -> Result<HostStats, Error> {
        Ok(self.measure_host())
    }

    fn metadata(&self) -> NodeMetadata {
        let meta = self.context.config.meta.clone();
        NodeMetadata { meta: meta.clone(), dynamic: BTreeMap::new(), r#static: meta }
    }

    fn servers(&self) -> Vec<String> {
        self.known_servers.borrow().clone()
    }

    async fn tunnel(&self, request: Request) -> Result<Response, Error> {
        let channel = self.connected.borrow().clone();
        let channel = channel.ok_or_else(|| {
            Error::new(Kind::Unavailable, "this client has no connection to a server at the moment: try again shortly")
        })?;
        tunnel(channel, request, &self.tasks).await
    }

    async fn health(&self) -> PartHealth {
        if self.is_connected() { PartHealth::well() } else { PartHealth::unwell("no connection to a server") }
    }

    fn task_metrics(&self) -> Arc<str> {
        self.allocation_metrics()
    }

    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let counts = self.registry.counts();
        let total: u32 = counts.values().sum();
        let running = counts.get(&ClientStatus::Running).copied().unwrap_or(0);
        let client = BTreeMap::from([
            ("node_id".to_owned(), self.id().to_string()),
            ("connected".to_owned(), self.is_connected().to_string()),
            ("known_servers".to_owned(), self.servers().join(",")),
            ("num_allocations".to_owned(), total.to_string()),
            ("num_running".to_owned(), running.to_string()),
        ]);
        BTreeMap::from([("client".to_owned(), client)])
    }
}
