//! Components that serve requests: a fresh instance for each, from a pool.

use std::convert::Infallible;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::WasiHttpView as _;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;

use super::clock::{TICK, Ticker, TimedOut};
use super::grants::{self, Grants, State};
use super::memory::OutOfMemory;
use super::outcome::{Outcome, describe};
use super::program::unlinked;
use super::run::{Begun, Runnable, failed};
use crate::run_dir::Status;

/// Threads that serve; each costs memory, and a host with more processors has more tasks.
const MAX_THREADS: usize = 4;
/// Connections that are open at once; others wait in the kernel.
const MAX_CONNECTIONS: usize = 4096;
/// How long to wait where the process has no descriptor left for a connection.
const BACK_OFF: Duration = Duration::from_millis(50);
/// How long a client may take to send the head of its request.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

type Answer = Response<HyperOutgoingBody>;

/// Answers requests.
struct Server {
    component: ProxyPre<State>,
    engine: Engine,
    grants: Arc<Grants>,
    permits: Arc<Semaphore>,
    clock: Ticker,
    /// How long a request may take.
    limit: Duration,
    fuel: Option<u64>,
    /// The instances, also those that run on after their answer.
    instances: TaskTracker,
}

/// Links a component that exports `wasi:http/incoming-handler`.
pub(super) fn link(begun: Begun, component: &Component, max_concurrency: u32) -> Result<Runnable, Status> {
    let Begun { plan, engine, grants, listeners } = begun;
    let mut linker = Linker::new(&engine);
    grants::link(&mut linker).map_err(|error| failed(format!("WASI cannot be offered: {error:#}")))?;
    let instance = linker.instantiate_pre(component).map_err(|error| failed(unlinked(component, &error)))?;
    let component = ProxyPre::new(instance).map_err(|error| {
        failed(format!("the component exports no wasi:http/incoming-handler, which port asks for: {error:#}"))
    })?;
    let clock = Ticker::start(&engine).map_err(|error| failed(format!("the clock does not start: {error}")))?;
    let permits = usize::try_from(max_concurrency).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
    let limit = plan.timeout.unwrap_or(Duration::MAX);
    let server = Server {
        component,
        engine,
        grants,
        permits: Arc::new(Semaphore::new(permits)),
        clock,
        limit,
        fuel: plan.fuel,
        instances: TaskTracker::new(),
    };
    let runtime = runtime().map_err(|error| failed(format!("the server does not start: {error}")))?;
    // Before the agent is told: a stop that comes at once must find somebody who obeys it.
    let stops = runtime.block_on(async {
        Ok::<_, std::io::Error>([signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?])
    });
    let [mut terminate, mut interrupt] =
        stops.map_err(|error| failed(format!("signals cannot be received: {error}")))?;
    Ok(Box::new(move || {
        let outcome = runtime.block_on(serve(Arc::new(server), listeners, async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }));
        runtime.shutdown_background();
        outcome
    }))
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let mut builder = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads);
        builder
    };
    builder.enable_all().thread_stack_size(512 << 10).build()
}

/// Serves until `stop`, and then to the end of what has begun.
async fn serve(server: Arc<Server>, listeners: Vec<TcpListener>, stop: impl Future<Output = ()>) -> Outcome {
    let stopping = CancellationToken::new();
    let mut accepting = JoinSet::new();
    for listener in listeners {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => drop(accepting.spawn(accept(Arc::clone(&server), listener, stopping.clone()))),
            Err(error) => return Outcome::of(&error.into()),
        }
    }
    stop.await;
    stopping.cancel();
    while accepting.join_next().await.is_some() {}
    server.instances.close();
    server.instances.wait().await;
    Outcome::exited(0)
}

/// Takes connections until it is told to stop, and waits for those that are open.
async fn accept(server: Arc<Server>, listener: tokio::net::TcpListener, stopping: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let room = Arc::clone(&room).acquire_owned().await;
            (room, listener.accept().await)
        };
        let (room, stream) = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            (room, stream) = accepted => (room, stream),
        };
        let Ok((stream, _)) = stream else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        // An answer waits for nothing: small ones would, for the client's acknowledgement.
        let _slower = stream.set_nodelay(true);
        let server = Arc::clone(&server);
        let service = hyper::service::service_fn(move |request| {
            let server = Arc::clone(&server);
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
        http.http2().timer(TokioTimer::new());
        let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            // A client that goes away is no news.
            let _ended = connection.await;
            drop(room);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    while connections.join_next().await.is_some() {}
}

impl Server {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let waiting = tokio::time::timeout(self.limit, Arc::clone(&self.permits).acquire_owned());
        let Ok(Ok(permit)) = waiting.await else {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "too many requests are being handled");
        };
        let (sender, answer) = oneshot::channel();
        let tracked = self.instances.spawn(Arc::clone(&self).handle(request, sender, permit));
        // A client that goes away takes its instance with it; one that was answered does not.
        let instance = AbortOnDropHandle::new(tracked);
        match answer.await {
            Ok(Ok(answer)) => {
                drop(instance.detach());
                answer
            }
            Ok(Err(code)) => {
                super::write(std::io::stderr(), &format!("the component answers with an error: {code:?}"));
                plain(StatusCode::INTERNAL_SERVER_ERROR, "the component failed")
            }
            Err(_) => match instance.await {
                Ok(Some(status)) => plain(status, status.canonical_reason().unwrap_or("the component failed")),
                Ok(None) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the component did not answer"),
                Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "the component failed"),
            },
        }
    }

    /// Runs one instance to its end. Returns what to answer where it failed.
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        sender: oneshot::Sender<Result<Answer, ErrorCode>>,
        permit: OwnedSemaphorePermit,
    ) -> Option<StatusCode> {
        let limit = self.limit;
        let running = pin!(tokio::time::timeout(limit.saturating_add(TICK * 2), self.call(request, sender)));
        let ended = running.await.unwrap_or_else(|_| Err(TimedOut { limit }.into()));
        drop(permit);
        let error = ended.err()?;
        super::write(std::io::stderr(), &format!("a request failed: {}", describe(&error)));
        Some(if error.downcast_ref::<TimedOut>().is_some() {
            StatusCode::GATEWAY_TIMEOUT
        } else if error.downcast_ref::<OutOfMemory>().is_some() {
            StatusCode::INSUFFICIENT_STORAGE
        } else if error.downcast_ref::<BadRequest>().is_some() {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }

    async fn call(
        &self,
        request: Request<Incoming>,
        sender: oneshot::Sender<Result<Answer, ErrorCode>>,
    ) -> wasmtime::Result<()> {
        let mut store = Store::new(&self.engine, self.grants.state(false)?);
        store.limiter(|state| &mut state.memory);
        if let Some(fuel) = self.fuel {
            store.set_fuel(fuel)?;
        }
        let _ticking = self.clock.watch(&mut store, self.limit);
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request);
        let request = request.map_err(|error| error.context(BadRequest))?;
        let out = store.data_mut().http().new_response_outparam(sender)?;
        let component = self.component.instantiate_async(&mut store).await?;
        component.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
    }
}

/// The request cannot be given to a component.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the request cannot be given to the component")]
struct BadRequest;

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(|never: Infallible| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = status;
    answer
}
