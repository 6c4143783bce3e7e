//! Commands inside tasks, connections to their ports, and what they leave to their successors.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use orch_driver::ExecSpec;
use orch_http::local::{ByteStream, Connection, ExecControl, ExecRequest, ExecSession, PortRequest, TerminalSize};
use orch_http::{Error, Kind};
use orch_model::AllocId;
use orch_model::allocation::TaskRunState;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::alloc_dir::AllocDir;
use crate::alloc_runner::{Command, Entrance};
use crate::env::{LabelledPort, ports_of};
use crate::error::{Refusal, chain};
use crate::handle::{Handle, unknown};
use crate::snapshot;

/// How long a port may take to answer.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How many pieces of a snapshot wait for a slow reader.
const PIECES: usize = 8;

impl Handle {
    /// Runs a command inside a task that runs.
    pub(super) async fn enter(&self, alloc: AllocId, request: ExecRequest) -> Result<ExecSession, Error> {
        if self.context.config.disable_remote_exec {
            let message = "commands inside tasks are switched off on this node (client.disable_remote_exec)";
            return Err(Error::new(Kind::Forbidden, message));
        }
        let view = self.view(alloc)?;
        let ExecRequest { task, command, terminal } = request;
        if view.task(&task).is_none() {
            return Err(Refusal::UnknownTask(task).into());
        }
        if command.is_empty() {
            return Err(Error::invalid("a command is missing"));
        }
        let entrance = self.ask_runner(&view, |reply| Command::Enter { task, reply }).await?;
        let Entrance { task, env } = entrance.unwrap_or(Err(Refusal::Ended))?;
        if !task.driver.capabilities().exec {
            let message = format!("the driver {} cannot run commands inside tasks", task.driver.name());
            return Err(Error::new(Kind::NotImplemented, message));
        }
        let terminal = terminal.map(driver_size);
        let spec = ExecSpec { command, terminal, env: env.into_iter().collect() };
        let session = task.driver.exec(&task.id, spec).await.map_err(refused)?;
        let orch_driver::ExecSession { stdin, stdout, stderr, control } = session;
        Ok(ExecSession { stdin, stdout, stderr, control: Box::new(Control(control)) })
    }

    /// Connects to a port of an allocation.
    pub(super) async fn connect(&self, alloc: AllocId, request: PortRequest) -> Result<Connection, Error> {
        let view = self.view(alloc)?;
        let PortRequest { port, task } = request;
        let running = match &task {
            Some(name) => {
                let state = view.task(name).ok_or_else(|| Refusal::UnknownTask(name.clone()))?;
                state.state == TaskRunState::Running
            }
            None => view.tasks.iter().any(|task| task.state == TaskRunState::Running),
        };
        let is_meant = |found: &LabelledPort| {
            let number = port.parse::<u16>().ok();
            found.label == port || number.is_some_and(|number| number == found.host || number == found.inside)
        };
        let found = ports_of(&view.alloc).find(is_meant).ok_or_else(|| {
            let known: Vec<String> =
                ports_of(&view.alloc).map(|port| format!("{} ({})", port.label, port.host)).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Error::not_found(format!("the allocation has no port {port:?}; its ports: {known}"))
        })?;
        if !running {
            return Err(Refusal::NotRunning.into());
        }
        let address = SocketAddr::new(found.address, found.host);
        let unavailable = |why: &dyn std::fmt::Display| {
            Error::new(Kind::Unavailable, format!("port {port:?} of the allocation, {address}, does not answer: {why}"))
        };
        match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // People type into such connections.
                let _slower = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Ok(Err(error)) => Err(unavailable(&error)),
            Err(_late) => Err(unavailable(&"it took too long")),
        }
    }

    /// What an allocation leaves to its successor on another node.
    pub(super) fn hand_over(&self, alloc: AllocId) -> Result<ByteStream, Error> {
        let view = self.view(alloc)?;
        if view.collected {
            return Err(unknown(alloc));
        }
        if view.runner.is_some() {
            return Err(Error::new(Kind::Conflict, "the allocation has not ended yet, so its data may still change"));
        }
        let tasks: Vec<String> = view
            .alloc
            .task_group()
            .map_or_else(Vec::new, |group| group.tasks.iter().map(|task| task.name.clone()).collect());
        let dir = AllocDir::new(&self.context.config.alloc_dir, alloc);
        let (pieces, receiver) = mpsc::channel(PIECES);
        // It ends by itself when nobody reads.
        self.tasks.spawn(async move {
            let packed = tokio::task::spawn_blocking(move || snapshot::pack(&dir, &tasks, pieces));
            if let Err(error) = packed.await {
                tracing::error!(alloc_id = %alloc, %error, "packing an allocation's data was cut short by a fault of the agent");
            }
        });
        let failed = |error: std::io::Error| Error::internal(format!("the allocation's data cannot be read: {error}"));
        Ok(Box::pin(ReceiverStream::new(receiver).map(move |piece| piece.map_err(failed))))
    }
}

struct Control(Box<dyn orch_driver::ExecControl>);

#[async_trait]
impl ExecControl for Control {
    async fn resize(&mut self, size: TerminalSize) -> Result<(), Error> {
        self.0.resize(driver_size(size)).await.map_err(refused)
    }

    async fn wait(&mut self) -> Result<i32, Error> {
        self.0.wait().await.map_err(refused)
    }
}

const fn driver_size(size: TerminalSize) -> orch_driver::TerminalSize {
    let TerminalSize { rows, columns } = size;
    orch_driver::TerminalSize { rows, columns }
}

fn refused(error: orch_driver::Error) -> Error {
    let kind = match &error {
        orch_driver::Error::InvalidConfig { .. } | orch_driver::Error::StartFailed { .. } => Kind::Invalid,
        orch_driver::Error::UnknownTask(_) => Kind::Conflict,
        orch_driver::Error::Unsupported { .. } => Kind::NotImplemented,
        orch_driver::Error::Failed { .. } => Kind::Internal,
    };
    Error::new(kind, chain(&error))
}
