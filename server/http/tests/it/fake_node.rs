//! A local node in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use hyper_util::rt::TokioIo;
use orch_api::{AllocResourceUsage, Blob, FileInfo, HostStats, NodeMetadata, PartHealth, StreamFrame};
use orch_http::local::{
    ByteStream, Connection, ExecRequest, ExecSession, FrameStream, LogRequest, PortRequest, Position, RestartTarget,
};
use orch_http::{Body, Error, Kind, LocalNode, Request, Response};
use orch_model::{AllocId, NodeId};

use super::fake_task::FakeTask;

/// A client with one allocation, whose one file is `alloc/logs/app.stdout.0`.
pub struct FakeNode {
    pub id: NodeId,
    pub alloc: AllocId,
    pub healthy: bool,
    /// Its task `app`.
    pub task: FakeTask,
    /// The server that it has a session with; without one it answers itself.
    pub server: Option<SocketAddr>,
}

const FILE: &[u8] = b"hello\n";

impl FakeNode {
    fn check(&self, alloc: AllocId, path: &str) -> Result<(), Error> {
        if alloc != self.alloc {
            return Err(Error::not_found(format!("Unknown allocation \"{alloc}\"")));
        }
        match path.trim_start_matches('/') {
            "" | "alloc/logs/app.stdout.0" => Ok(()),
            path if path.starts_with("..") => Err(Error::invalid("Path escapes the alloc directory")),
            path if path.starts_with("app/secrets") => {
                Err(Error::new(Kind::Forbidden, "Reading secret file prohibited"))
            }
            path => Err(Error::not_found(format!("{path}: no such file or directory"))),
        }
    }

    fn frame() -> StreamFrame {
        StreamFrame {
            offset: 6,
            data: Blob(Bytes::from_static(FILE)),
            file: "alloc/logs/app.stdout.0".into(),
            file_event: String::new(),
        }
    }
}

#[async_trait]
impl LocalNode for FakeNode {
    fn node_id(&self) -> NodeId {
        self.id
    }
    fn has_alloc(&self, alloc: AllocId) -> bool {
        alloc == self.alloc
    }
    async fn list(&self, alloc: AllocId, path: &str) -> Result<Vec<FileInfo>, Error> {
        self.check(alloc, path)?;
        Ok(vec![FileInfo { name: "alloc".into(), is_dir: true, ..FileInfo::default() }])
    }
    async fn stat(&self, alloc: AllocId, path: &str) -> Result<FileInfo, Error> {
        self.check(alloc, path)?;
        Ok(FileInfo { name: "app.stdout.0".into(), size: 6, ..FileInfo::default() })
    }
    async fn read(&self, alloc: AllocId, path: &str, offset: u64, _: Option<u64>) -> Result<ByteStream, Error> {
        self.check(alloc, path)?;
        let rest = FILE.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        Ok(stream::iter([Ok(Bytes::from_static(rest))]).boxed())
    }
    async fn stream(&self, alloc: AllocId, path: &str, _: Position, _: bool) -> Result<FrameStream, Error> {
        self.check(alloc, path)?;
        Ok(stream::iter([Ok(Self::frame())]).boxed())
    }
    async fn logs(&self, alloc: AllocId, request: LogRequest) -> Result<FrameStream, Error> {
        self.check(alloc, "")?;
        let first = stream::iter([Ok(Self::frame())]);
        if !request.follow {
            return Ok(first.boxed());
        }
        let later = stream::once(async {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            Ok(Self::frame())
        });
        Ok(first.chain(later).boxed())
    }
    async fn alloc_stats(&self, _: AllocId, _: Option<&str>) -> Result<AllocResourceUsage, Error> {
        Ok(AllocResourceUsage::default())
    }
    async fn restart(&self, _: AllocId, which: RestartTarget) -> Result<(), Error> {
        match which {
            RestartTarget::Task(name) if name != "app" => Err(Error::not_found("unknown task")),
            RestartTarget::Task(_) | RestartTarget::Running | RestartTarget::All => Ok(()),
        }
    }
    async fn signal(&self, _: AllocId, _: Option<&str>, _: &str) -> Result<(), Error> {
        Ok(())
    }
    async fn exec(&self, alloc: AllocId, request: ExecRequest) -> Result<ExecSession, Error> {
        self.check(alloc, "")?;
        self.task.exec(&request)
    }
    async fn connect_port(&self, alloc: AllocId, request: PortRequest) -> Result<Connection, Error> {
        self.check(alloc, "")?;
        self.task.connect(&request)
    }
    async fn snapshot(&self, alloc: AllocId) -> Result<ByteStream, Error> {
        self.check(alloc, "")?;
        Ok(stream::iter([Ok(Bytes::from_static(b"a tar ")), Ok(Bytes::from_static(b"archive"))]).boxed())
    }
    async fn gc_alloc(&self, _: AllocId) -> Result<(), Error> {
        Ok(())
    }
    async fn gc(&self) -> Result<(), Error> {
        Ok(())
    }
    async fn host_stats(&self) -> Result<HostStats, Error> {
        Ok(HostStats { uptime: 7, ..HostStats::default() })
    }
    fn metadata(&self) -> NodeMetadata {
        NodeMetadata::default()
    }
    fn servers(&self) -> Vec<String> {
        vec!["127.0.0.1:4647".into()]
    }
    async fn tunnel(&self, request: Request) -> Result<Response, Error> {
        match self.server {
            Some(server) => ask(server, request).await,
            None => Ok(Response::new(Body::from(format!("a server answers {}", request.uri())))),
        }
    }
    async fn health(&self) -> PartHealth {
        if self.healthy { PartHealth::well() } else { PartHealth::unwell("no known servers") }
    }
    fn task_metrics(&self) -> Arc<str> {
        "# TYPE nomad_client_allocs_memory_rss gauge\nnomad_client_allocs_memory_rss{task=\"app\"} 4096\n".into()
    }

    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        BTreeMap::new()
    }
}

/// Sends a request to another agent, over a connection that may switch protocols.
pub async fn ask(agent: SocketAddr, request: Request) -> Result<Response, Error> {
    let stream = tokio::net::TcpStream::connect(agent).await.unwrap();
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(driver.with_upgrades());
    Ok(sender.send_request(request).await.unwrap().map(Body::new))
}
