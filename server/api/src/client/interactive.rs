//! Commands inside tasks, and connections to ports of allocations.

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Method, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::connection::Connection;
use super::jobs::bool_text;
use super::query::Query;
use super::{ANSWER_TIMEOUT, CONNECT_TIMEOUT, Client, Error, QueryMeta, QueryOptions, path};
use crate::exec::{ExecInput, ExecOutput, JobAction, MESSAGE_BYTES, PORT_FORWARD};

/// A command to run inside a task of an allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecOptions {
    /// The task.
    pub task: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Whether it gets a terminal.
    pub tty: bool,
}

/// An action of a job to run; what is left empty is found where there is only one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActionOptions {
    /// The action's name.
    pub action: String,
    /// The allocation; the id must be complete.
    pub alloc: String,
    /// The group, where no allocation is given.
    pub group: String,
    /// The task.
    pub task: String,
    /// Whether it gets a terminal.
    pub tty: bool,
}

/// A command that runs inside a task. When both halves are dropped, it is ended.
#[derive(Debug)]
pub struct Exec {
    /// What goes to the command.
    pub input: ExecWriter,
    /// What comes from it.
    pub output: ExecReader,
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The way to a command.
#[derive(Debug)]
pub struct ExecWriter(SplitSink<Socket, Message>);

/// The way from a command.
#[derive(Debug)]
pub struct ExecReader(SplitStream<Socket>);

/// Bytes to and from a port of an allocation; shutting it down ends the way there alone.
pub trait PortConnection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> PortConnection for T {}

impl Client {
    /// Runs a command inside a task; the id must be complete.
    pub async fn exec(&self, alloc: &str, options: &ExecOptions) -> Result<Exec, Error> {
        let command = serde_json::to_string(&options.command).map_err(Error::Encode)?;
        let params = [("task", options.task.as_str()), ("command", &command), ("tty", bool_text(options.tty))];
        self.websocket(&path(["client", "allocation", alloc, "exec"]), &params).await
    }

    /// Runs an action of a job.
    pub async fn run_action(&self, job: &str, options: &ActionOptions) -> Result<Exec, Error> {
        let given = [
            ("action", options.action.as_str()),
            ("allocID", &options.alloc),
            ("group", &options.group),
            ("task", &options.task),
            ("tty", bool_text(options.tty)),
        ];
        let params: Vec<_> = given.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        self.websocket(&path(["job", job, "action"]), &params).await
    }

    /// The actions of a job.
    pub async fn job_actions(&self, job: &str, options: &QueryOptions) -> Result<(Vec<JobAction>, QueryMeta), Error> {
        self.get(&path(["job", job, "actions"]), options).await
    }

    /// Connects to a port of an allocation by its label or number; a task that must run for it may be named.
    pub async fn connect_port(&self, alloc: &str, port: &str, task: &str) -> Result<Box<dyn PortConnection>, Error> {
        let given = [("port", port), ("task", task)];
        let params: Vec<_> = given.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let path = path(["client", "allocation", alloc, "port-forward"]);
        Ok(Box::new(self.upgraded(&path, &params, PORT_FORWARD, &[]).await?))
    }

    async fn websocket(&self, path: &str, params: &[(&str, &str)]) -> Result<Exec, Error> {
        let key = HeaderValue::try_from(generate_key())
            .map_err(|source| Error::Request { uri: path.to_owned(), source: source.into() })?;
        let headers =
            [(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")), (header::SEC_WEBSOCKET_KEY, key)];
        let connection = self.upgraded(path, params, "websocket", &headers).await?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES))
            .max_frame_size(Some(MESSAGE_BYTES))
            .write_buffer_size(0);
        let (sink, stream) = WebSocketStream::from_raw_socket(connection, Role::Client, Some(config)).await.split();
        Ok(Exec { input: ExecWriter(sink), output: ExecReader(stream) })
    }

    /// A connection of its own that speaks `protocol` from now on.
    async fn upgraded(
        &self,
        path: &str,
        params: &[(&str, &str)],
        protocol: &'static str,
        headers: &[(header::HeaderName, HeaderValue)],
    ) -> Result<TokioIo<Upgraded>, Error> {
        let query = Query::default().add_all(params).add_defaults(&self.config);
        let mut request = self.request(Method::GET, path, &query, Bytes::new())?;
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        request.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
        request.headers_mut().extend(headers.iter().cloned());
        let connection = Connection::open(&self.config.address, CONNECT_TIMEOUT).await?;
        let answer = self.send_over(connection, request, ANSWER_TIMEOUT).await?;
        let (connection, mut response) = answer.map_err(|failure| self.broken(failure.source))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status();
            let body = self.read(connection, response.into_body(), ANSWER_TIMEOUT).await?;
            return Err(Error::status(status, &body));
        }
        let upgraded = hyper::upgrade::on(&mut response).await.map_err(|source| self.broken(source))?;
        Ok(TokioIo::new(upgraded))
    }
}

impl ExecWriter {
    /// Sends a message; it waits while the command does not read.
    pub async fn send(&mut self, input: &ExecInput) -> Result<(), Error> {
        let text = serde_json::to_string(input).map_err(Error::Encode)?;
        self.0.send(Message::text(text)).await.map_err(lost)
    }
}

impl ExecReader {
    /// The next message, signs of life left out; the one that says `exited` is the last.
    ///
    /// Errors: [`Error::Ended`] where the agent ended the command or refused it.
    pub async fn next(&mut self) -> Result<ExecOutput, Error> {
        loop {
            let text = match self.0.next().await {
                None => return Err(lost(tungstenite::Error::ConnectionClosed)),
                Some(Err(error)) => return Err(lost(error)),
                Some(Ok(Message::Close(Some(frame)))) if frame.code != CloseCode::Normal => {
                    return Err(Error::Ended { message: frame.reason.to_string() });
                }
                Some(Ok(Message::Close(_))) => return Err(lost(tungstenite::Error::ConnectionClosed)),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Binary(_))) => {
                    return Err(Error::Ended { message: "the agent sent what is no message of a command".to_owned() });
                }
            };
            let output: ExecOutput = serde_json::from_str(&text)
                .map_err(|source| Error::Decode { path: "a message of a command".to_owned(), source })?;
            if output != ExecOutput::default() {
                return Ok(output);
            }
        }
    }
}

fn lost(source: tungstenite::Error) -> Error {
    Error::Lost { source: Box::new(source) }
}
