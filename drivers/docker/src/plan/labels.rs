//! Labels: what other tools know allocations by, what the operator asks for, and by what this node finds its containers again.

use std::collections::HashMap;

use orch_driver::{LogSpec, TaskId, TaskSpec};
use serde::{Deserialize, Serialize};

use super::Host;
use crate::config::matches;
use crate::task_config::TaskConfig;

/// The label that holds the id of the node which made a container.
pub(crate) const OWNER: &str = "io.orch.node_id";
/// The label that holds a [`Note`].
const NOTE: &str = "io.orch.task";
const PREFIX: &str = "com.hashicorp.nomad.";

/// What a container says about its task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) id: TaskId,
    pub(crate) logs: LogSpec,
}

/// All labels of a container. Those of the task come first, so that they cannot pretend to be ours.
pub(super) fn of(spec: &TaskSpec, task: &TaskConfig, host: Host<'_>) -> HashMap<String, String> {
    let mut labels: HashMap<String, String> = task.labels.clone().into_iter().collect();
    let parent = ["/dispatch-", "/periodic-"].iter().find_map(|mark| spec.job_id.rfind(mark));
    let facts = [
        ("job_name", spec.job_name.as_str()),
        ("job_id", &spec.job_id),
        ("parent_job_id", parent.and_then(|at| spec.job_id.get(..at)).unwrap_or_default()),
        ("task_group_name", &spec.group),
        ("task_name", &spec.id.task),
        ("namespace", &spec.namespace),
        ("node_name", &host.identity.node_name),
        ("node_id", &host.identity.node_id),
    ];
    for (name, value) in facts {
        if !value.is_empty() && host.config.extra_labels.iter().any(|glob| matches(glob, name)) {
            labels.insert(format!("{PREFIX}{name}"), value.to_owned());
        }
    }
    labels.insert(format!("{PREFIX}alloc_id"), spec.id.alloc_id.to_string());
    labels.insert(OWNER.to_owned(), host.identity.node_id.clone());
    let logs = LogSpec { disabled: spec.logs.disabled || host.config.disable_log_collection, ..spec.logs.clone() };
    let note = Note { id: spec.id.clone(), logs };
    labels.insert(NOTE.to_owned(), serde_json::to_string(&note).unwrap_or_default());
    labels
}

/// What a container with `labels` says about its task, if it was made by `node_id`.
pub(crate) fn note_of(labels: Option<&HashMap<String, String>>, node_id: &str) -> Option<Note> {
    let labels = labels?;
    if labels.get(OWNER)? != node_id {
        return None;
    }
    serde_json::from_str(labels.get(NOTE)?).ok()
}
