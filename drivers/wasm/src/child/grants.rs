//! What a program is given, opened once for the process and handed to each of its instances.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::cli::OutputFile;
use wasmtime_wasi::sockets::WasiSocketsCtxView;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::egress::{Egress, Hooks};
use super::memory::{Budget, Meter};
use super::sockets::{Lookup, LookupView, Reach};
use crate::files::Beneath;
use crate::plan::Plan;

/// A directory that the program sees.
#[derive(Debug)]
pub(super) struct OpenDir {
    pub(super) fd: OwnedFd,
    pub(super) guest: String,
    pub(super) read_only: bool,
}

/// What every instance of the process is given.
pub(super) struct Grants {
    args: Vec<String>,
    env: Vec<(String, String)>,
    pub(super) dirs: Vec<OpenDir>,
    stdout: OutputFile,
    stderr: OutputFile,
    reach: Arc<Reach>,
    egress: Arc<Egress>,
    pub(super) memory: Arc<Budget>,
}

impl Grants {
    /// Opens what `plan` gives. An error is a sentence.
    pub(super) fn open(plan: &Plan) -> Result<Self, String> {
        let mut dirs = Vec::with_capacity(plan.dirs.len());
        for dir in &plan.dirs {
            let place = Beneath { base: dir.base.clone(), below: dir.below.clone() };
            let opened = place.open_directory();
            let fd = opened.map_err(|error| {
                format!("directory {} cannot be opened: {error}", dir.base.join(&dir.below).display())
            })?;
            dirs.push(OpenDir { fd, guest: dir.guest.clone(), read_only: dir.read_only });
        }
        let output = |fd: BorrowedFd<'_>| {
            let copy = fd.try_clone_to_owned().map_err(|error| format!("the task's output cannot be used: {error}"))?;
            Ok::<_, String>(OutputFile::new(File::from(copy)))
        };
        let reach = Arc::new(Reach::new(plan.allowed_hosts.clone(), plan.ports.clone()));
        Ok(Self {
            args: plan.args.clone(),
            env: plan.env.clone(),
            dirs,
            stdout: output(std::io::stdout().as_fd())?,
            stderr: output(std::io::stderr().as_fd())?,
            egress: Egress::new(Arc::clone(&reach)),
            reach,
            memory: Budget::new(plan.memory),
        })
    }

    /// The context of a new instance. `alone` says that nobody waits while it sleeps or reads and writes files: not
    /// another instance, nor its own timeout.
    pub(super) fn context(&self, alone: bool) -> wasmtime::Result<WasiCtxBuilder> {
        let mut builder = WasiCtx::builder();
        builder.allow_blocking_current_thread(alone).args(&self.args).envs(&self.env);
        builder.stdout(self.stdout.clone()).stderr(self.stderr.clone());
        for dir in &self.dirs {
            let perms = if dir.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
            builder.preopened_dir(format!("/proc/self/fd/{}", dir.fd.as_raw_fd()), &dir.guest, perms)?;
        }
        builder.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(self.reach.is_open());
        let reach = Arc::clone(&self.reach);
        builder.socket_addr_check(move |address, reason| {
            let reach = Arc::clone(&reach);
            Box::pin(async move { reach.allows_use(address, reason).await })
        });
        Ok(builder)
    }

    /// The store's data for a new instance of a component.
    pub(super) fn state(&self, alone: bool) -> wasmtime::Result<State> {
        Ok(State {
            wasi: self.context(alone)?.build(),
            table: ResourceTable::new(),
            http: WasiHttpCtx::new(),
            hooks: Hooks(Arc::clone(&self.egress)),
            reach: Arc::clone(&self.reach),
            memory: Meter::new(&self.memory),
        })
    }
}

/// What the host keeps for an instance of a component.
pub(super) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    hooks: Hooks,
    reach: Arc<Reach>,
    pub(super) memory: Meter,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

impl State {
    fn lookup(&mut self) -> LookupView<'_> {
        // Apart, as the sockets borrow all of `self` otherwise.
        let Self { wasi, table, reach, .. } = self;
        LookupView { inner: WasiSocketsCtxView { ctx: wasi.sockets(), table }, reach }
    }
}

/// What components may import.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::add_to_linker::<State, Lookup>(linker, State::lookup)?;
    linker.allow_shadowing(false);
    Ok(())
}
