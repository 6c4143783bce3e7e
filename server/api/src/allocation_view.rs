//! How a model allocation becomes the shapes that the API shows.

use std::collections::BTreeMap;

use orch_model::allocation::{
    AllocHealth, ClientStatus, EventKind, RescheduleEvent as ModelReschedule, ScoreEntry, Scorer,
    TaskEvent as ModelEvent, TaskState as ModelTaskState,
};
use orch_model::evaluation::{Explanation, NodeScore};
use orch_model::job::{NetworkResource, Port, Task, TaskGroup};
use orch_model::{Allocation as ModelAllocation, Evaluation, Nanos};

use crate::allocation::{
    AllocDeploymentStatus, AllocListStub, AllocMetric, AllocatedCpuResources, AllocatedMemoryResources,
    AllocatedPortMapping, AllocatedResources, AllocatedSharedResources, AllocatedTaskResources, Allocation,
    DesiredTransition, NodeScoreMeta, RescheduleEvent, RescheduleTracker, TaskEvent, TaskState,
};
use crate::json::Time;

/// Which parts of an allocation a list shows beyond the usual, or leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllocListParts {
    /// What it takes from its node.
    pub resources: bool,
    /// The states and events of its tasks.
    pub task_states: bool,
}

impl Default for AllocListParts {
    fn default() -> Self {
        Self { resources: false, task_states: true }
    }
}

fn text<T: ToString>(id: Option<T>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

impl Allocation {
    /// How the API shows `alloc`; `eval` is the one that placed it, if it is still known.
    pub fn of(alloc: &ModelAllocation, node_name: &str, eval: Option<&Evaluation>) -> Self {
        let ModelAllocation {
            id,
            job,
            group: _,
            index: _,
            node_id,
            eval_id,
            usage: _,
            ports: _,
            cores: _,
            oversubscribed: _,
            desired,
            stop_reason,
            transition: _,
            client_status,
            tasks: _,
            previous,
            next,
            deployment_id,
            health: _,
            reschedules: _,
            followup_eval,
            scores: _,
            handed_over: _,
            create_index,
            modify_index,
            alloc_modify_index,
            create_time,
            modify_time,
        } = alloc;
        Self {
            id: id.to_string(),
            namespace: job.namespace.to_string(),
            eval_id: eval_id.to_string(),
            name: alloc.name(),
            node_id: node_id.to_string(),
            node_name: node_name.to_owned(),
            job_id: job.id.to_string(),
            job: Some(job.clone()),
            task_group: alloc.group_name().to_owned(),
            allocated_resources: Some(AllocatedResources::of(alloc)),
            metrics: Some(AllocMetric::of_placement(alloc, eval)),
            desired_status: *desired,
            desired_description: stop_reason.map(|reason| reason.description().to_owned()).unwrap_or_default(),
            desired_transition: DesiredTransition::of(alloc),
            client_status: *client_status,
            client_description: client_status.description().to_owned(),
            task_states: task_states(alloc),
            previous_allocation: text(*previous),
            next_allocation: text(*next),
            deployment_id: text(*deployment_id),
            deployment_status: AllocDeploymentStatus::of(alloc),
            reschedule_tracker: RescheduleTracker::of(alloc),
            network_status: None,
            followup_eval_id: text(*followup_eval),
            create_index: create_index.0,
            modify_index: modify_index.0,
            alloc_modify_index: alloc_modify_index.0,
            create_time: create_time.0,
            modify_time: modify_time.0,
        }
    }
}

impl AllocListStub {
    /// The list row of `alloc`.
    pub fn of(alloc: &ModelAllocation, node_name: &str, parts: AllocListParts) -> Self {
        let job = &alloc.job;
        Self {
            id: alloc.id.to_string(),
            eval_id: alloc.eval_id.to_string(),
            name: alloc.name(),
            namespace: job.namespace.to_string(),
            node_id: alloc.node_id.to_string(),
            node_name: node_name.to_owned(),
            job_id: job.id.to_string(),
            job_type: job.r#type.clone(),
            job_version: job.version,
            task_group: alloc.group_name().to_owned(),
            allocated_resources: parts.resources.then(|| AllocatedResources::of(alloc)),
            desired_status: alloc.desired,
            desired_description: alloc.stop_reason.map(|reason| reason.description().to_owned()).unwrap_or_default(),
            client_status: alloc.client_status,
            client_description: alloc.client_status.description().to_owned(),
            desired_transition: DesiredTransition::of(alloc),
            task_states: if parts.task_states { task_states(alloc) } else { BTreeMap::new() },
            deployment_status: AllocDeploymentStatus::of(alloc),
            followup_eval_id: text(alloc.followup_eval),
            next_allocation: text(alloc.next),
            reschedule_tracker: RescheduleTracker::of(alloc),
            preempted_allocations: Vec::new(),
            preempted_by_allocation: String::new(),
            create_index: alloc.create_index.0,
            modify_index: alloc.modify_index.0,
            create_time: alloc.create_time.0,
            modify_time: alloc.modify_time.0,
        }
    }
}

impl DesiredTransition {
    fn of(alloc: &ModelAllocation) -> Self {
        let transition = alloc.transition;
        Self {
            migrate: transition.migrate.then_some(true),
            reschedule: transition.reschedule.then_some(true),
            force_reschedule: None,
            no_shutdown_delay: transition.no_shutdown_delay.then_some(true),
            migrate_disable_placement: None,
        }
    }
}

impl AllocDeploymentStatus {
    /// How the deployment of `alloc` sees it; `None` where it is part of none, or nothing was found out yet.
    pub fn of(alloc: &ModelAllocation) -> Option<Self> {
        alloc.deployment_id?;
        let AllocHealth { healthy, at, index } = alloc.health?;
        Some(Self { healthy: Some(healthy), timestamp: Time(at), canary: false, modify_index: index.0 })
    }
}

impl RescheduleTracker {
    /// The attempts that led to `alloc`, and what becomes of it where it failed; `None` if there is nothing to tell.
    pub fn of(alloc: &ModelAllocation) -> Option<Self> {
        let last_reschedule = match (alloc.next, alloc.followup_eval) {
            (Some(_), _) if matches!(alloc.client_status, ClientStatus::Failed | ClientStatus::Lost) => "ok",
            (None, Some(_)) => "pending",
            (Some(_) | None, _) => "",
        };
        if alloc.reschedules.is_empty() && last_reschedule.is_empty() {
            return None;
        }
        Some(Self {
            events: alloc.reschedules.iter().map(RescheduleEvent::of).collect(),
            last_reschedule: last_reschedule.to_owned(),
        })
    }
}

impl RescheduleEvent {
    fn of(event: &ModelReschedule) -> Self {
        let ModelReschedule { at, alloc, node, delay } = *event;
        Self { reschedule_time: at.0, prev_alloc_id: alloc.to_string(), prev_node_id: node.to_string(), delay }
    }
}

/// The states of an allocation's tasks by name; those of which the client has said nothing yet are left out.
fn task_states(alloc: &ModelAllocation) -> BTreeMap<String, TaskState> {
    let tasks = alloc.task_group().map(|group| group.tasks.as_slice()).unwrap_or_default();
    tasks.iter().zip(alloc.tasks.iter()).map(|(task, state)| (task.name.clone(), TaskState::of(state))).collect()
}

impl TaskState {
    /// How the API shows `state`.
    pub fn of(state: &ModelTaskState) -> Self {
        let ModelTaskState { state, failed, restarts, last_restart, started_at, finished_at, events } = state;
        Self {
            state: *state,
            failed: *failed,
            restarts: u64::from(*restarts),
            last_restart: Time(*last_restart),
            started_at: Time(*started_at),
            finished_at: Time(*finished_at),
            events: events.iter().map(TaskEvent::of).collect(),
            paused: String::new(),
        }
    }
}

impl TaskEvent {
    /// The event in words, with its particulars by name.
    pub fn of(event: &ModelEvent) -> Self {
        let mut shown = Self {
            r#type: event.kind.type_name().to_owned(),
            time: event.time.0,
            display_message: event.kind.message(),
            ..Self::default()
        };
        shown.fill(&event.kind);
        shown
    }

    fn fill(&mut self, kind: &EventKind) {
        let text = |text: &str| text.to_owned();
        match kind {
            EventKind::Received
            | EventKind::Started
            | EventKind::DownloadingArtifacts
            | EventKind::LeaderDead
            | EventKind::MainDead
            | EventKind::Reconnected => {}
            EventKind::BuildingTaskDir => {
                self.message = self.display_message.clone();
                self.detail("message", &self.message.clone());
            }
            EventKind::TaskSetup(message)
            | EventKind::Template(message)
            | EventKind::AllocUnhealthy(message)
            | EventKind::DiskExceeded(message) => {
                self.message = text(message);
                self.detail("message", message);
            }
            EventKind::Driver(message) => {
                self.driver_message = text(message);
                self.detail("driver_message", message);
            }
            EventKind::DriverFailure(error) => {
                self.driver_error = text(error);
                self.detail("driver_error", error);
            }
            EventKind::SetupFailure(error) => {
                self.setup_error = text(error);
                self.fails_task = true;
                self.detail("setup_error", error);
                self.detail("fails_task", "true");
            }
            EventKind::FailedValidation(error) => {
                self.validation_error = text(error);
                self.fails_task = true;
                self.detail("validation_error", error);
                self.detail("fails_task", "true");
            }
            EventKind::Terminated(end) => {
                self.exit_code = end.exit_code.map_or(-1, i64::from);
                self.signal = end.signal.map_or(0, i64::from);
                self.message = text(&end.message);
                self.detail("exit_code", &self.exit_code.to_string());
                self.detail("signal", &self.signal.to_string());
                self.detail("oom_killed", if end.oom_killed { "true" } else { "false" });
                if !end.message.is_empty() {
                    self.detail("exit_message", &end.message);
                }
            }
            EventKind::Restarting { reason, delay } => {
                self.restart_reason = text(reason);
                self.start_delay = delay.0;
                self.detail("restart_reason", reason);
                self.detail("start_delay", &delay.0.to_string());
            }
            EventKind::NotRestarting(reason) => {
                self.restart_reason = text(reason);
                self.fails_task = true;
                self.detail("restart_reason", reason);
                self.detail("fails_task", "true");
            }
            EventKind::RestartSignaled(reason) => {
                self.restart_reason = text(reason);
                self.detail("restart_reason", reason);
            }
            EventKind::Signaling { signal, reason } => {
                self.task_signal = text(signal);
                self.task_signal_reason = text(reason);
                self.detail("task_signal", signal);
                self.detail("task_signal_reason", reason);
            }
            EventKind::Killing { timeout } => {
                self.kill_timeout = *timeout;
                self.detail("kill_timeout", &timeout.to_string());
            }
            EventKind::Killed(error) => {
                self.kill_error = text(error);
                if !error.is_empty() {
                    self.detail("kill_error", error);
                }
            }
            EventKind::WaitingForShutdownDelay { delay } | EventKind::SkippingShutdownDelay { delay } => {
                self.detail("delay", &delay.to_string());
            }
            EventKind::FailedArtifactDownload(error) => {
                self.download_error = text(error);
                self.detail("download_error", error);
            }
            EventKind::SiblingFailed { task } => {
                self.failed_sibling = text(task);
                self.detail("failed_sibling", task);
            }
            EventKind::FailedRestoring(error) => {
                self.message = text(error);
                self.detail("message", error);
            }
        }
    }

    fn detail(&mut self, name: &str, value: &str) {
        self.details.insert(name.to_owned(), value.to_owned());
    }
}

impl AllocatedResources {
    /// What `alloc` takes from its node, made from its group and its ports.
    pub fn of(alloc: &ModelAllocation) -> Self {
        let Some(group) = alloc.task_group() else { return Self::default() };
        Self {
            tasks: task_resources(alloc, group),
            task_lifecycles: group.tasks.iter().map(|task| (task.name.clone(), task.lifecycle.clone())).collect(),
            shared: AllocatedSharedResources::of(alloc, group),
        }
    }
}

/// What each task takes.
fn task_resources(alloc: &ModelAllocation, group: &TaskGroup) -> BTreeMap<String, AllocatedTaskResources> {
    let tasks = group.tasks.iter().enumerate().map(|(place, task)| {
        let own = group.cores_of(place, &alloc.cores).unwrap_or_default();
        (task.name.clone(), AllocatedTaskResources::of(task, own, alloc.oversubscribed))
    });
    tasks.collect()
}

impl AllocatedTaskResources {
    fn of(task: &Task, reserved_cores: Vec<u16>, oversubscribed: bool) -> Self {
        let default = orch_model::job::Resources::default();
        let asked = task.resources.as_ref().unwrap_or(&default);
        Self {
            cpu: AllocatedCpuResources { cpu_shares: asked.cpu, reserved_cores },
            memory: AllocatedMemoryResources {
                memory_mb: asked.memory_mb.saturating_add(asked.secrets_mb),
                memory_max_mb: if oversubscribed { asked.memory_max_mb } else { 0 },
            },
            networks: Vec::new(),
            devices: Vec::new(),
        }
    }
}

impl AllocatedSharedResources {
    fn of(alloc: &ModelAllocation, group: &TaskGroup) -> Self {
        let ports = port_mappings(alloc, group);
        let networks = group.networks.first().map(|network| assigned_network(network, &ports));
        Self { networks: networks.into_iter().collect(), disk_mb: alloc.usage.disk.0, ports }
    }
}

fn port_mappings(alloc: &ModelAllocation, group: &TaskGroup) -> Vec<AllocatedPortMapping> {
    let asks = group.ask().map(|ask| ask.ports).unwrap_or_default();
    let mapping = |port: &orch_model::allocation::AllocPort| {
        let ask = asks.get(usize::from(port.ask))?;
        Some(AllocatedPortMapping {
            label: ask.label.clone(),
            value: u64::from(port.value),
            to: u64::from(ask.to.recorded(port.value)),
            host_ip: port.address.to_string(),
            ignore_collision: ask.ignore_collision,
        })
    };
    alloc.ports.iter().filter_map(mapping).collect()
}

/// The group's network with the address and the numbers that were assigned.
fn assigned_network(network: &NetworkResource, ports: &[AllocatedPortMapping]) -> NetworkResource {
    let assign = |port: &Port| {
        let mut port = port.clone();
        if let Some(mapping) = ports.iter().find(|mapping| mapping.label == port.label) {
            port.value = i64::try_from(mapping.value).unwrap_or(0);
            port.to = i64::try_from(mapping.to).unwrap_or(0);
        }
        if port.host_network.is_empty() {
            port.host_network = "default".to_owned();
        }
        port
    };
    let mut assigned = network.clone();
    assigned.ip = ports.first().map(|port| port.host_ip.clone()).unwrap_or_default();
    assigned.reserved_ports = network.reserved_ports.iter().map(assign).collect();
    assigned.dynamic_ports = network.dynamic_ports.iter().map(assign).collect();
    assigned
}

impl AllocMetric {
    /// How the nodes looked, per group.
    pub fn by_group(explanations: &BTreeMap<String, Explanation>) -> BTreeMap<String, Self> {
        explanations.iter().map(|(group, explanation)| (group.clone(), Self::of(explanation))).collect()
    }

    /// How the API shows `explanation`.
    pub fn of(explanation: &Explanation) -> Self {
        let Explanation {
            nodes_evaluated,
            nodes_filtered,
            nodes_in_pool,
            node_pool,
            nodes_available,
            class_filtered,
            constraint_filtered,
            nodes_exhausted,
            class_exhausted,
            dimension_exhausted,
            scores,
            coalesced_failures,
        } = explanation;
        Self {
            nodes_evaluated: u64::from(*nodes_evaluated),
            nodes_filtered: u64::from(*nodes_filtered),
            nodes_in_pool: u64::from(*nodes_in_pool),
            node_pool: node_pool.clone(),
            nodes_available: counts(nodes_available),
            class_filtered: counts(class_filtered),
            constraint_filtered: counts(constraint_filtered),
            nodes_exhausted: u64::from(*nodes_exhausted),
            class_exhausted: counts(class_exhausted),
            dimension_exhausted: counts(dimension_exhausted),
            quota_exhausted: Vec::new(),
            scores: BTreeMap::new(),
            score_meta_data: scores.iter().map(NodeScoreMeta::of).collect(),
            allocation_time: Nanos::ZERO,
            coalesced_failures: u64::from(*coalesced_failures),
        }
    }

    /// How the nodes looked when `alloc` was placed by `eval`; its own node comes first.
    fn of_placement(alloc: &ModelAllocation, eval: Option<&Evaluation>) -> Self {
        let outcome = eval.and_then(|eval| eval.outcome.as_deref());
        let mut metric = outcome
            .and_then(|outcome| outcome.placed.get(alloc.group_name()))
            .map(Self::of)
            .unwrap_or_else(|| Self { node_pool: alloc.job.node_pool.clone(), ..Self::default() });
        if !alloc.scores.is_empty() {
            let own = NodeScoreMeta::named(alloc.node_id.to_string(), &alloc.scores);
            metric.score_meta_data.retain(|other| other.node_id != own.node_id);
            metric.score_meta_data.insert(0, own);
        }
        metric
    }
}

fn counts(counts: &BTreeMap<String, u32>) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| (name.clone(), u64::from(*count))).collect()
}

impl NodeScoreMeta {
    fn of(score: &NodeScore) -> Self {
        Self::named(score.node_id.to_string(), &score.scores)
    }

    fn named(node_id: String, entries: &[ScoreEntry]) -> Self {
        let named =
            |wanted: Scorer| entries.iter().find(|entry| entry.scorer == wanted).map(|entry| entry.score.to_f64());
        Self {
            node_id,
            scores: entries
                .iter()
                .filter(|entry| entry.scorer != Scorer::Normalized)
                .map(|entry| (entry.scorer.as_str().to_owned(), entry.score.to_f64()))
                .collect(),
            norm_score: named(Scorer::Normalized).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::Timestamp;
    use orch_model::allocation::Termination;

    #[test]
    fn an_event_is_told_in_a_sentence_and_by_its_particulars() {
        let end = Termination { exit_code: Some(137), signal: Some(9), oom_killed: true, message: "OOM Killed".into() };
        let event = TaskEvent::of(&ModelEvent { time: Timestamp(5), kind: EventKind::Terminated(Box::new(end)) });
        assert_eq!((event.r#type.as_str(), event.time, event.exit_code, event.signal), ("Terminated", 5, 137, 9));
        assert_eq!(event.display_message, "Exit Code: 137, Signal: 9, Exit Message: \"OOM Killed\"");
        let details: Vec<_> = event.details.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            details,
            [("exit_code", "137"), ("exit_message", "OOM Killed"), ("oom_killed", "true"), ("signal", "9")]
        );
        let restart = EventKind::Restarting { reason: "Restart within policy".into(), delay: Nanos::from_secs(15) };
        let event = TaskEvent::of(&ModelEvent { time: Timestamp(5), kind: restart });
        assert_eq!(event.details["start_delay"], "15000000000");
    }
}
