//! What a task names as artifacts is fetched into its directory, once per allocation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use async_trait::async_trait;
use futures::StreamExt;
use nix::unistd::{Uid, User};
use orch_artifact::{Mode, Request};
use orch_model::allocation::EventKind;
use orch_model::job::TaskArtifact;

use super::{Made, TaskHook, TaskSetup};
use crate::alloc_runner::task::PrepareError;
use crate::error::chain;
use crate::interpolate::Names;

/// How many artifacts of a task are fetched at a time.
const AT_A_TIME: usize = 3;

/// Fetches the artifacts that are not there yet; which are is remembered across restarts of task and agent.
pub(super) struct Artifacts;

#[async_trait]
impl TaskHook for Artifacts {
    fn name(&self) -> &'static str {
        "artifacts"
    }

    async fn prestart(&self, setup: &TaskSetup, made: &mut Made) -> Result<(), PrepareError> {
        let task = setup.task()?;
        if task.artifacts.is_empty() {
            return Ok(());
        }
        let (state, alloc) = (&setup.context.state, setup.alloc.id);
        let mut fetched: BTreeSet<u32> = state.fetched(alloc, &task.name);
        let numbered = (0_u32..).zip(&task.artifacts).filter(|(number, _)| !fetched.contains(number));
        let owner = owner(made.user.clone()).await;
        let requests = numbered
            .map(|(number, artifact)| Ok((number, request(setup, &task.name, artifact, &made.names, owner)?)))
            .collect::<Result<Vec<_>, PrepareError>>()?;
        if requests.is_empty() {
            return Ok(());
        }
        setup.teller.note(EventKind::DownloadingArtifacts);
        let fetcher = &setup.context.fetcher;
        let fetches =
            requests.into_iter().map(|(number, request)| async move { (number, fetcher.fetch(request).await) });
        let mut outcomes = futures::stream::iter(fetches).buffer_unordered(AT_A_TIME);
        let mut failures = Vec::new();
        while let Some((number, outcome)) = outcomes.next().await {
            match outcome {
                Ok(()) => {
                    fetched.insert(number);
                    state.put_fetched(alloc, &task.name, &fetched);
                }
                Err(error) => failures.push(chain(&error)),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(PrepareError::Artifacts(failures.join("; "))) }
    }
}

fn request(
    setup: &TaskSetup,
    task: &str,
    artifact: &TaskArtifact,
    names: &Names,
    owner: Option<(u32, u32)>,
) -> Result<Request, PrepareError> {
    let TaskArtifact {
        getter_source,
        getter_options,
        getter_headers,
        getter_mode,
        getter_insecure,
        relative_dest,
        chown,
    } = artifact;
    let fill = |texts: &BTreeMap<String, String>| {
        texts.iter().map(|(key, value)| (names.fill(key), names.fill(value))).collect::<BTreeMap<_, _>>()
    };
    let unknown = || PrepareError::Invalid(format!("an artifact has the unknown mode {getter_mode:?}"));
    let mode = Mode::parse(getter_mode).ok_or_else(unknown)?;
    let source = names.fill(getter_source);
    let mut relative = names.fill(relative_dest);
    if mode == Mode::File && (relative.is_empty() || relative.ends_with('/')) {
        // Where the job names a directory, the file keeps its own name.
        let path = source.split(['?', '#']).next().unwrap_or_default();
        let name = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
        relative = format!("{relative}{}", name.unwrap_or_else(|| "artifact".to_owned()));
    }
    let dirs = setup.dir.task(task);
    let relative = if relative.is_empty() { "local/".to_owned() } else { seen_by_task(relative, setup) };
    let destination = orch_artifact::destination(&dirs.task, setup.dir.root(), &relative);
    Ok(Request {
        source,
        options: fill(getter_options),
        headers: fill(getter_headers),
        mode,
        insecure: *getter_insecure,
        destination: destination.map_err(|error| PrepareError::Invalid(chain(&error)))?,
        root: setup.dir.root().to_owned(),
        owner,
        chown: *chown,
    })
}

/// A task with a root of its own sees what the tasks share as `/alloc`.
fn seen_by_task(path: String, setup: &TaskSetup) -> String {
    match Path::new(&path).strip_prefix("/alloc") {
        Ok(rest) => setup.dir.shared().join(rest).to_string_lossy().into_owned(),
        Err(_) => path,
    }
}

/// User and group of the task; `None` where it names no user that the host knows.
async fn owner(user: Option<String>) -> Option<(u32, u32)> {
    let user = user?;
    let found = tokio::task::spawn_blocking(move || match user.parse::<u32>() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(&user),
    });
    let user = found.await.ok()?.ok()??;
    Some((user.uid.as_raw(), user.gid.as_raw()))
}
