//! The driver `wasm`: WebAssembly modules and components as tasks, through wasmtime in a supervised process for each.
//!
//! # A task's `config`
//!
//! | key | meaning |
//! | --- | --- |
//! | `module` | The file: `.wasm`, `.wat`, or what `allow_precompiled` allows. Counted from `local` and then from the task's directory, or a path as the task sees it (`/local/app.wasm`, `/alloc/…`, a mounted volume), or one in the node's `module_dirs`. Required. |
//! | `args` | Arguments after the program's name. |
//! | `dirs` | More directories, each `host:guest[:ro]`; `host` counts from the task's directory and may not leave it. `/alloc`, `/local`, `/secrets` and the task's volumes are there without saying. |
//! | `port` | The label of a port: the file is a component that exports `wasi:http/incoming-handler`, and is served on it. |
//! | `max_concurrency` | How many requests are handled at once; others wait. 64 unless said otherwise. Only with `port`. |
//! | `timeout` | How long one request may take, 30 s unless said otherwise; without `port` how long the whole program may, for ever unless said otherwise. |
//! | `fuel` | How many steps one request, or the whole program, may make. Unlimited unless said otherwise. |
//! | `allowed_hosts` | Whom it may connect to: `name`, `*.domain`, an address, `10.0.0.0/8`, or `*`, each with `:port` behind it or not. Nobody unless said otherwise. |
//!
//! Memory is limited by the task's `resources`. Programs are WASI preview 1 command modules and preview 2 components that export
//! `wasi:cli/run`.
//!
//! # How it runs
//!
//! The process of a task is the agent's own program in a hidden mode ([`CHILD`], [`child_main`]). The agent never compiles: another process
//! of that mode does, into a cache shared by all tasks ([`Config::cache_dir`]), and what is in there is only mapped. Read in this order:
//! `config`, `codegen`, `hosts`, `files`, `plan`, `limits`, `run_dir`, `cache`, `driver` for the agent's half; then `child`.
//!
//! Never in here: forking, pipes, log files, waiting for processes. Those are the supervisor's.

#![allow(unsafe_code, reason = "maps compiled modules out of the agent's own cache")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod cache;
mod child;
mod codegen;
mod config;
mod driver;
mod files;
mod hosts;
mod limits;
mod plan;
mod run_dir;

pub use child::{CHILD, child_main};
pub use config::{Config, OPTIONS};
pub use driver::{Place, WasmDriver};
