//! Renders the templates of tasks, in the dialect of Go templates, and says when what they are made of has changed.
//!
//! A [`Template`] is rendered by [`render`] or, for as long as its task lives, by a [`Manager`], which sends
//! [`Update`]s: what is missing, that all is there, what has changed, that it cannot go on.
//!
//! ```no_run
//! # use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
//! # use orch_template::{Config, Local, Manager, Sandbox, Source, Template, Update};
//! # async fn example(task_dir: PathBuf, alloc_dir: PathBuf, env: BTreeMap<String, String>) {
//! let sandbox = Sandbox::new(task_dir, alloc_dir);
//! let template = Template::new(Source::Inline("{{ env \"NOMAD_ALLOC_ID\" }}".into()), "local/id.txt");
//! let (manager, mut updates) = Manager::new(vec![template], Arc::new(Local { env }), Config::new(sandbox));
//! let shutdown = tokio_util::sync::CancellationToken::new();
//! let running = manager.run(shutdown); // spawn it where it is awaited
//! # drop(running);
//! while let Some(update) = updates.recv().await {
//!     match update {
//!         Update::Missing(_text) => { /* a task event; the task goes on waiting */ }
//!         Update::Ready(_change) => { /* all files are written: the task may start, with `change.env` */ }
//!         Update::Changed(_change) => { /* the change modes of `change.templates` apply */ }
//!         Update::Failed(_error) => { /* the task is to be killed as failed */ }
//!     }
//! }
//! # }
//! ```
//!
//! The templates are read by gotmpl's parser and executed here, because a task's template must say in which line it
//! failed and must neither run for ever nor fill the agent's memory. Nothing here knows of jobs, allocations or agents:
//! values come from a [`Data`] that the caller gives, files from a [`Sandbox`]. Carrying out a change mode is the
//! caller's.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod data;
mod env_file;
mod error;
mod execute;
mod functions;
mod parse;
mod render;
mod run;
mod sandbox;
mod show;
mod template;
mod value;
mod watch;

pub use data::{Answer, Data, Dependency, Local, Service, ServiceName, Variable, VariablePath};
pub use error::Error;
pub use render::{Rendered, render};
pub use sandbox::Sandbox;
pub use template::{Limits, Source, Template, Wait};
pub use watch::{Change, Config, Manager, Update};
