//! Commands inside tasks, connections to ports of allocations, and the actions of jobs.

use std::sync::Arc;

use http::Uri;
use orch_api::JobAction;
use orch_api::exec::PORT_FORWARD;
use orch_model::allocation::ClientStatus;
use orch_model::job::{Action, TaskGroup};
use orch_model::{AllocId, Allocation};
use tokio::io::copy_bidirectional;
use tokio::time::timeout;
use tracing::debug;

use super::forward::{Place, for_alloc};
use super::jobs;
use crate::Response;
use crate::call::Call;
use crate::control::{Scope, Table, View};
use crate::error::{Error, Kind};
use crate::exec::{self, Start};
use crate::local::{ExecRequest, PortRequest, TerminalSize};
use crate::params::Params;
use crate::upgrade::{self, Upgrade, Upgrades};
use crate::{ids, limits, query};

/// What a terminal measures until its user says how large it is.
const USUAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };

/// `/v1/client/allocation/:id/exec`
pub(crate) async fn exec(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let request = exec_request(&call.params)?;
    let handshake = call.params.flag("ws_handshake")?.unwrap_or(false);
    let alloc: AllocId = ids::parse(id, &format!("Unknown allocation {id:?}"))?;
    let (local, mut call) = match for_alloc(call, alloc).await? {
        Place::Here(local, call) => (local, call),
        Place::Elsewhere(response) => return Ok(response),
    };
    let upgrade = Upgrade::websocket(call.request_mut())?;
    let seat = Upgrades::seat(&call.upgrades.commands, "commands inside tasks")?;
    let (response, caller) = upgrade.accept();
    let start = Start { local, alloc, request, handshake };
    call.upgrades.run(async move {
        let _seat = seat;
        match caller.await {
            Ok(upgraded) => exec::serve(upgrade::socket(upgraded).await, start).await,
            Err(error) => debug!(%error, "whoever wanted to run a command has gone"),
        }
    });
    Ok(response)
}

fn exec_request(params: &Params) -> Result<ExecRequest, Error> {
    let task = match params.get("task") {
        "" => return Err(Error::invalid("must provide task name")),
        task => task.to_owned(),
    };
    let command = match params.get("command") {
        "" => Vec::new(),
        text => serde_json::from_str::<Vec<String>>(text).map_err(|error| {
            Error::invalid(format!(
                "the command {text:?} is not a JSON array of texts, such as [\"ls\",\"-l\"]: {error}"
            ))
        })?,
    };
    if command.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("must provide a command: a JSON array such as [\"ls\",\"-l\"]"));
    }
    let terminal = params.flag("tty")?.unwrap_or(false).then_some(USUAL);
    Ok(ExecRequest { task, command, terminal })
}

/// `/v1/client/allocation/:id/port-forward`
pub(crate) async fn port_forward(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let given = |name: &str| Some(call.params.get(name)).filter(|value| !value.is_empty()).map(str::to_owned);
    let port = given("port").ok_or_else(|| Error::invalid("must provide a port: its label or its number"))?;
    let request = PortRequest { port, task: given("task") };
    let alloc: AllocId = ids::parse(id, &format!("Unknown allocation {id:?}"))?;
    let (local, mut call) = match for_alloc(call, alloc).await? {
        Place::Here(local, call) => (local, call),
        Place::Elsewhere(response) => return Ok(response),
    };
    let upgrade = Upgrade::to(PORT_FORWARD, call.request_mut())?;
    let seat = Upgrades::seat(&call.upgrades.connections, "connections to ports of allocations")?;
    let late = || Error::new(Kind::Unavailable, "the port did not accept the connection in time");
    let mut connection =
        timeout(limits::START_WITHIN, local.connect_port(alloc, request)).await.map_err(|_| late())??;
    let (response, caller) = upgrade.accept();
    call.upgrades.run(async move {
        let _seat = seat;
        match caller.await {
            Ok(caller) => {
                let mut caller = hyper_util::rt::TokioIo::new(caller);
                if let Err(error) = copy_bidirectional(&mut caller, &mut connection).await {
                    debug!(%error, "a connection to a port of an allocation broke");
                }
            }
            Err(error) => debug!(%error, "whoever wanted a connection to a port has gone"),
        }
    });
    Ok(response)
}

/// `/v1/job/:id/actions`
pub(crate) async fn actions(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let key = jobs::key(&call, id);
    let scopes = [Scope::Job(Table::Jobs, key.clone())];
    query::object::<Vec<JobAction>>(&call, &scopes, |view| {
        let job = view.job(&key).ok_or_else(jobs::not_found)?;
        let found = job.task_groups.iter().flat_map(|group| {
            actions_of(group).map(|(task, action)| JobAction {
                name: action.name.clone(),
                command: action.command.clone(),
                args: action.args.clone(),
                task_name: task.to_owned(),
                task_group_name: group.name.clone(),
            })
        });
        Ok(found.collect())
    })
    .await
}

fn actions_of(group: &TaskGroup) -> impl Iterator<Item = (&str, &Action)> {
    group.tasks.iter().flat_map(|task| task.actions.iter().map(|action| (task.name.as_str(), action)))
}

/// `/v1/job/:id/action`: the action's command, as the allocation's version of the job knows it.
pub(crate) async fn action(mut call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let wanted = Wanted::parse(&call.params)?;
    let view = call.agent.control()?.view(call.read()?.consistency).await?;
    let key = jobs::key(&call, id);
    view.job(&key).ok_or_else(jobs::not_found)?;
    let alloc = wanted.alloc(&*view, view.allocs_of_job(&key))?;
    let (task, action) = wanted.action(&alloc)?;
    let query = exec_query(task, action, &call.params)?;
    let uri = format!("/v1/client/allocation/{}/exec?{query}", alloc.id);
    *call.request_mut().uri_mut() = uri.parse::<Uri>().map_err(|error| Error::internal(error.to_string()))?;
    call.params = Params::parse(&query)?;
    let id = alloc.id.to_string();
    Box::pin(exec(call, &id)).await
}

/// The query that asks for the command of `action` in `task`.
fn exec_query(task: &str, action: &Action, params: &Params) -> Result<String, Error> {
    let command: Vec<&str> = std::iter::once(&action.command).chain(&action.args).map(String::as_str).collect();
    let command = serde_json::to_string(&command).map_err(|error| Error::internal(error.to_string()))?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("task", task).append_pair("command", &command);
    for passed_on in ["tty", "ws_handshake"] {
        query.append_pair(passed_on, params.get(passed_on));
    }
    Ok(query.finish())
}

/// Which action of a job is asked for, and where.
struct Wanted {
    action: String,
    alloc: Option<AllocId>,
    group: String,
    task: String,
}

impl Wanted {
    fn parse(params: &Params) -> Result<Self, Error> {
        let action = match params.get("action") {
            "" => return Err(Error::invalid("must provide an action name")),
            action => action.to_owned(),
        };
        let alloc = match params.get("allocID") {
            "" => None,
            id => Some(ids::parse(id, "alloc not found")?),
        };
        let (group, task) = (params.get("group").to_owned(), params.get("task").to_owned());
        Ok(Self { action, alloc, group, task })
    }

    /// The allocation that is named, else the newest that runs and knows the action.
    fn alloc(&self, view: &dyn View, allocs: Vec<Arc<Allocation>>) -> Result<Arc<Allocation>, Error> {
        if let Some(id) = self.alloc {
            let found = view.alloc(id).filter(|found| allocs.iter().any(|alloc| alloc.id == found.id));
            return found.ok_or_else(|| Error::not_found("alloc not found"));
        }
        let knows = |alloc: &Allocation| alloc.task_group().is_some_and(|group| self.found_in(group).next().is_some());
        let runs = |alloc: &Allocation| alloc.client_status == ClientStatus::Running;
        let (running, ended): (Vec<_>, Vec<_>) =
            allocs.into_iter().filter(|alloc| knows(alloc)).partition(|alloc| runs(alloc));
        running.into_iter().max_by_key(|alloc| alloc.create_index).ok_or_else(|| match ended.is_empty() {
            true => self.unknown(),
            false => Error::new(Kind::Conflict, format!("no allocation with the action {:?} runs", self.action)),
        })
    }

    /// The action in an allocation, with its task.
    fn action<'a>(&self, alloc: &'a Allocation) -> Result<(&'a str, &'a Action), Error> {
        let mut found = alloc.task_group().into_iter().flat_map(|group| self.found_in(group)).collect::<Vec<_>>();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(self.unknown()),
            _ => {
                let tasks: Vec<_> = found.iter().map(|(task, _)| *task).collect();
                let tasks = tasks.join(", ");
                Err(Error::invalid(format!("several tasks have the action {:?}, name one: {tasks}", self.action)))
            }
        }
    }

    fn found_in<'a>(&self, group: &'a TaskGroup) -> impl Iterator<Item = (&'a str, &'a Action)> {
        let in_group = self.group.is_empty() || self.group == group.name;
        let wanted = move |task: &str, action: &Action| {
            in_group && action.name == self.action && (self.task.is_empty() || self.task == task)
        };
        actions_of(group).filter(move |(task, action)| wanted(task, action))
    }

    fn unknown(&self) -> Error {
        Error::not_found(format!("the job has no action {:?} there", self.action))
    }
}
