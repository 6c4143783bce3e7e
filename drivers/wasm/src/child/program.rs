//! Programs that run from their beginning to their end.

use std::sync::Arc;

use wasmtime::component::{Component, Linker};
use wasmtime::{Module, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::clock::{Ticker, TimedOut};
use super::grants::{self, State};
use super::memory::Meter;
use super::outcome::Outcome;
use super::run::{Begun, Runnable, failed};
use crate::plan::Plan;
use crate::run_dir::Status;

/// What the host keeps for a module.
struct ModuleState {
    wasi: WasiP1Ctx,
    memory: Meter,
}

/// Links a module of WASI preview 1.
pub(super) fn link_module(begun: Begun, module: &Module) -> Result<Runnable, Status> {
    let Begun { plan, engine, grants, listeners: _ } = begun;
    let mut linker = wasmtime::Linker::new(&engine);
    wasmtime_wasi::p1::add_to_linker_async(&mut linker, |state: &mut ModuleState| &mut state.wasi)
        .map_err(|error| failed(format!("WASI cannot be offered: {error:#}")))?;
    let wasi = grants
        .context(plan.timeout.is_none())
        .map_err(|error| failed(format!("WASI cannot be offered: {error:#}")))?
        .build_p1();
    let mut store = Store::new(&engine, ModuleState { wasi, memory: Meter::new(&grants.memory) });
    store.limiter(|state| &mut state.memory);
    let unknown = module.imports().filter(|import| linker.get_by_import(&mut store, import).is_none());
    let unknown: Vec<String> = unknown.map(|import| format!("{}.{}", import.module(), import.name())).collect();
    if !unknown.is_empty() {
        return Err(failed(format!(
            "the module imports what this driver does not have: {}; it has WASI preview 1 (wasi_snapshot_preview1)",
            unknown.join(", ")
        )));
    }
    let instance =
        linker.instantiate_pre(module).map_err(|error| failed(format!("the module cannot be linked: {error:#}")))?;
    if module.get_export("_start").is_none() {
        return Err(failed("the module exports no _start: it is not a WASI command module".to_owned()));
    }
    let clock = prepare(&mut store, &plan)?;
    Ok(Box::new(move || {
        run(async move {
            let _ticking = watch(clock.as_ref(), &mut store, &plan);
            within(&plan, async {
                let instance = instance.instantiate_async(&mut store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
                start.call_async(&mut store, ()).await
            })
            .await
        })
    }))
}

/// Links a component that exports `wasi:cli/run`.
pub(super) fn link_component(begun: Begun, component: &Component) -> Result<Runnable, Status> {
    let Begun { plan, engine, grants, listeners: _ } = begun;
    let mut linker = Linker::new(&engine);
    grants::link(&mut linker).map_err(|error| failed(format!("WASI cannot be offered: {error:#}")))?;
    let instance = linker.instantiate_pre(component).map_err(|error| failed(unlinked(component, &error)))?;
    let command = CommandPre::new(instance).map_err(|error| {
        failed(format!("the component exports no wasi:cli/run; to serve requests set port: {error:#}"))
    })?;
    let state =
        grants.state(plan.timeout.is_none()).map_err(|error| failed(format!("WASI cannot be offered: {error:#}")))?;
    let mut store = Store::new(&engine, state);
    store.limiter(|state: &mut State| &mut state.memory);
    let clock = prepare(&mut store, &plan)?;
    let grants = Arc::clone(&grants);
    Ok(Box::new(move || {
        // Its directories are opened; the descriptors they came from stay with it all the same.
        let _grants = grants;
        run(async move {
            let _ticking = watch(clock.as_ref(), &mut store, &plan);
            within(&plan, async {
                let command = command.instantiate_async(&mut store).await?;
                let ended = command.wasi_cli_run().call_run(&mut store).await?;
                ended.map_err(|()| I32Exit(1).into())
            })
            .await
        })
    }))
}

/// Why a component cannot be linked, with all that nobody offers.
pub(super) fn unlinked(component: &Component, error: &wasmtime::Error) -> String {
    let kind = component.component_type();
    let foreign: Vec<&str> =
        kind.imports(component.engine()).map(|(name, _)| name).filter(|name| !name.starts_with("wasi:")).collect();
    if foreign.is_empty() {
        return format!("the component cannot be linked: {error:#}");
    }
    let foreign = foreign.join(", ");
    format!(
        "the component imports what this driver does not have: {foreign}; it has WASI preview 2 and wasi:http: {error:#}"
    )
}

/// Gives the program its fuel and, if its time is limited, a clock.
fn prepare<T>(store: &mut Store<T>, plan: &Plan) -> Result<Option<Ticker>, Status> {
    if let Some(fuel) = plan.fuel {
        store.set_fuel(fuel).map_err(|error| failed(format!("fuel cannot be given: {error:#}")))?;
    }
    let start = |_| Ticker::start(store.engine()).map_err(|error| failed(format!("the clock does not start: {error}")));
    plan.timeout.map(start).transpose()
}

fn watch<T: 'static>(clock: Option<&Ticker>, store: &mut Store<T>, plan: &Plan) -> Option<super::clock::Watch> {
    Some(clock?.watch(store, plan.timeout?))
}

/// Ends a program that waits when its time is over; the clock ends one that computes.
async fn within(plan: &Plan, program: impl Future<Output = wasmtime::Result<()>>) -> wasmtime::Result<()> {
    match plan.timeout {
        None => program.await,
        // A moment later than the clock, which can tell where the program was.
        Some(limit) => match tokio::time::timeout(limit.saturating_add(super::clock::TICK * 2), program).await {
            Ok(ended) => ended,
            Err(_) => Err(TimedOut { limit }.into()),
        },
    }
}

fn run(program: impl Future<Output = wasmtime::Result<()>>) -> Outcome {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::of(&error.into()),
    };
    let outcome = match runtime.block_on(program) {
        Ok(()) => Outcome::exited(0),
        Err(error) => Outcome::of(&error),
    };
    // Whatever waits for something in another thread need not be waited for.
    runtime.shutdown_background();
    outcome
}
