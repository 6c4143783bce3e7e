//! Every group has as many instances as it wants, or no node has room for one more; and another look changes nothing.

use std::collections::BTreeSet;

use orch_model::allocation::{AllocPort, ClientStatus};
use orch_model::deployment::DeploymentStatus;
use orch_model::evaluation::{Evaluation, Trigger};
use orch_model::job::{JobType, TaskGroup};
use orch_model::seed::Seed;
use orch_model::{EvalId, Job, JobKey, Timestamp};
use orch_scheduler::{Memo, Overlay, Request, schedule};
use orch_state::fits::Asked;
use orch_state::{State, fits};

pub(crate) fn check(state: &State, now: Timestamp) {
    let mut keys: BTreeSet<JobKey> = state.jobs().map(|row| row.job.key()).collect();
    keys.extend(state.allocs().map(|alloc| alloc.job_key()));
    for key in keys {
        check_nothing_to_do(state, &key, now);
        if let Some(job) = state.job(&key).filter(|job| !job.stop) {
            check_counts(state, job);
        }
    }
}

fn check_nothing_to_do(state: &State, key: &JobKey, now: Timestamp) {
    let kind = state.job(key).and_then(|job| job.kind()).unwrap_or(JobType::Service);
    let eval = Evaluation::new(EvalId::default(), key, 50, kind, Trigger::JobRegister);
    let overlay = Overlay::default();
    let memo = &mut Memo::new();
    let decision = schedule(Request { state, overlay: &overlay, eval: &eval, now, seed: Seed::new(1), memo });
    assert!(decision.plan.is_empty(), "{key} is at rest, yet this is left to do: {:#?}", decision.plan);
    assert!(decision.follow_ups.is_empty(), "{key}: nobody will look at {:#?}", decision.follow_ups);
}

fn check_counts(state: &State, job: &Job) {
    for (position, group) in (0_u16..).zip(&job.task_groups) {
        let is_done = |status, version| {
            job.kind() == Some(JobType::Batch) && status == ClientStatus::Complete && version == job.version
        };
        let held = state
            .allocs_of_job(&job.key())
            .filter(|alloc| alloc.job.create_index == job.create_index && alloc.group_name() == group.name)
            .filter(|alloc| !alloc.desired.is_stop())
            .filter(|alloc| !alloc.is_terminal() || is_done(alloc.client_status, alloc.job.version))
            .count();
        let wanted = usize::try_from(group.count).unwrap();
        assert!(held <= wanted, "{}.{} wants {wanted} and has {held}", job.id, group.name);
        if held < wanted && !job.all_at_once && !is_held(state, job, group) {
            check_no_room(state, job, position);
        }
    }
}

/// Whether nothing is added to a group because its current version was given up.
fn is_held(state: &State, job: &Job, group: &TaskGroup) -> bool {
    let takes_steps = group.update.as_ref().is_some_and(|update| update.max_parallel() > 0);
    let latest = state.latest_deployment(&job.key());
    let is_failed =
        latest.is_some_and(|latest| latest.job == job.version_key() && latest.status == DeploymentStatus::Failed);
    takes_steps && is_failed && job.kind() == Some(JobType::Service)
}

/// No node that may be used could take one more instance of a group.
fn check_no_room(state: &State, job: &Job, position: u16) {
    let group = &job.task_groups[usize::from(position)];
    let ask = group.ask().unwrap();
    for (_, row) in state.usage().rows() {
        let node = row.node.as_deref().unwrap();
        let address = node.described.resources.networks[0].addresses[0].address.parse().unwrap();
        let statics = ask.ports.iter().filter_map(|port| port.value);
        let ports: Vec<_> =
            statics.map(|value| AllocPort { ask: 0, value, address, ignore_collision: false }).collect();
        let asked = Asked { usage: ask.usage, ports: &ports, ..Asked::default() };
        let fit = fits(row, &asked);
        assert!(fit.is_err(), "{}.{} falls short, yet {} has room for it", job.id, group.name, node.described.name);
    }
}
