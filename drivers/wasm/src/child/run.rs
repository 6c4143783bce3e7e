//! From a plan to a program that runs, and what is told on the way.

use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use wasmtime::component::Component;
use wasmtime::{Engine, Module, PoolingAllocationConfig};

use super::confine::confine;
use super::grants::Grants;
use super::outcome::Outcome;
use super::{program, server};
use crate::plan::{HttpPlan, Kind, Plan};
use crate::run_dir::{RunDir, Status};

/// What is told of a status, in bytes: as much as fits into a pipe whether or not anybody reads.
const MAX_STATUS: usize = 8 << 10;
/// How large a table may be where instances come from a pool.
const TABLE_ELEMENTS: usize = 100_000;
/// A page of a program's memory, in bytes.
const PAGE_BYTES: u64 = 64 << 10;
/// What a slot of the pool keeps of an instance's memory for the next one.
const KEPT_BYTES: usize = 64 << 10;

/// Compiled code, mapped.
pub(super) enum Code {
    Module(Module),
    Component(Component),
}

/// A process before its program's first instruction.
pub(super) struct Begun {
    pub(super) plan: Plan,
    pub(super) engine: Engine,
    pub(super) grants: Arc<Grants>,
    /// Where requests are served; empty where none are.
    pub(super) listeners: Vec<TcpListener>,
}

/// Something that runs when it is told to.
pub(super) type Runnable = Box<dyn FnOnce() -> Outcome>;

/// Runs the task whose directory is `dir`.
pub(super) fn run(dir: &Path) -> ExitCode {
    let dir = RunDir::at(dir.to_owned());
    let (mut status, mut last_words) = match dir.speak().and_then(|status| Ok((status, dir.open_end()?))) {
        Ok(both) => both,
        Err(error) => {
            super::write(std::io::stderr(), &format!("the agent cannot be spoken to: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let plan = dir.take_plan().map_err(|error| failed(format!("the plan cannot be read: {error}")));
    match plan.and_then(begin) {
        Ok((runnable, warnings)) => {
            say(&mut status, &Status::Ready { warnings });
            drop(status);
            let outcome = runnable();
            if let Some(end) = &outcome.end {
                super::write(std::io::stderr(), &end.message);
                // Without it the exit code says it, if less clearly.
                let _untold = serde_json::to_vec(end).map_err(Into::into).and_then(|end| last_words.write_all(&end));
            }
            ExitCode::from(outcome.code)
        }
        Err(problem) => {
            say(&mut status, &problem);
            ExitCode::FAILURE
        }
    }
}

fn say(to: &mut File, status: &Status) {
    let line = serde_json::to_vec(status).map(|mut line| {
        line.push(b'\n');
        line
    });
    // An agent that is gone learns from the process's end.
    let _unheard = line.map_err(Into::into).and_then(|line| to.write_all(&line));
}

pub(super) fn failed(mut message: String) -> Status {
    let end = (0..=MAX_STATUS).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
    message.truncate(end);
    Status::Failed { message }
}

/// Maps, opens and binds with the agent's rights, gives those up, and links.
fn begin(plan: Plan) -> Result<(Runnable, Vec<String>), Status> {
    let engine = engine(&plan).map_err(|error| failed(format!("the engine does not start: {error:#}")))?;
    let code = map(&engine, &plan)?;
    let listen = plan.http.as_ref().map(|http| http.listen.as_slice()).unwrap_or_default();
    let listeners = listen.iter().map(bind).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let grants = Grants::open(&plan).map_err(failed)?;
    let warnings = confine(&plan, &grants.dirs).map_err(failed)?;
    check_memory(&code, plan.memory)?;
    let http = plan.http.clone();
    let begun = Begun { plan, engine, grants: Arc::new(grants), listeners };
    let runnable = match (code, http) {
        (Code::Module(module), None) => program::link_module(begun, &module)?,
        (Code::Component(component), None) => program::link_component(begun, &component)?,
        (Code::Component(component), Some(http)) => server::link(begun, &component, http.max_concurrency)?,
        (Code::Module(_), Some(_)) => {
            let message = "port is set, but the module is no component: only one that exports wasi:http/incoming-handler can serve";
            return Err(failed(message.to_owned()));
        }
    };
    Ok((runnable, warnings))
}

fn engine(plan: &Plan) -> wasmtime::Result<Engine> {
    let mut config = plan.codegen.config();
    if let Some(HttpPlan { listen: _, max_concurrency }) = plan.http {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(max_concurrency)
            .total_core_instances(max_concurrency.saturating_mul(16))
            .total_memories(max_concurrency.saturating_mul(4))
            .total_tables(max_concurrency.saturating_mul(16))
            .total_stacks(max_concurrency.saturating_mul(2))
            .total_gc_heaps(max_concurrency)
            .table_elements(TABLE_ELEMENTS)
            .linear_memory_keep_resident(KEPT_BYTES)
            .table_keep_resident(KEPT_BYTES);
        config.allocation_strategy(pool);
    }
    Engine::new(&config)
}

fn map(engine: &Engine, plan: &Plan) -> Result<Code, Status> {
    // SAFETY: the file is an entry of the agent's cache, made by `compile` or allowed by the node's configuration, checked by the agent
    // against the hash that was noted when it was made, and in a directory where nobody else can write; entries are replaced whole,
    // never changed, so the mapping stays what was checked. Code of another engine or processor is refused by wasmtime's own header.
    let code = unsafe {
        match plan.kind {
            Kind::Module => Module::deserialize_file(engine, &plan.artifact).map(Code::Module),
            Kind::Component => Component::deserialize_file(engine, &plan.artifact).map(Code::Component),
        }
    };
    code.map_err(|error| Status::BadArtifact { message: format!("the compiled module cannot be used: {error:#}") })
}

fn bind(address: &SocketAddr) -> Result<TcpListener, String> {
    let listener = TcpListener::bind(address).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    listener.set_nonblocking(true).map_err(|error| format!("cannot listen on {address}: {error}"))?;
    Ok(listener)
}

/// Refuses a program that would be out of memory before its first instruction.
fn check_memory(code: &Code, limit: Option<u64>) -> Result<(), Status> {
    let needed = match code {
        Code::Module(module) => Some(module.resources_required()),
        Code::Component(component) => component.resources_required(),
    };
    let pages = needed.and_then(|needed| needed.max_initial_memory_size).unwrap_or(0);
    let bytes = pages.saturating_mul(PAGE_BYTES);
    match limit {
        Some(limit) if bytes > limit => {
            let (bytes, limit) = (bytes.div_ceil(1 << 20), limit >> 20);
            Err(failed(format!("the module begins with {bytes} MiB of memory, but its resources allow {limit} MiB")))
        }
        Some(_) | None => Ok(()),
    }
}
