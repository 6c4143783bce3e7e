//! What scenarios print: what came of an evaluation, and how things stand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use orch_model::allocation::StopReason;
use orch_model::evaluation::{EvalOutcome, Evaluation};
use orch_model::volume::VolumeClaim;
use orch_model::{Allocation, JobKey};
use orch_scheduler::Decision;

use crate::world::World;

fn name_of(alloc: &Allocation) -> String {
    format!("{}[{}]", alloc.group_name(), alloc.index)
}

/// How the job's latest deployment stands.
pub(crate) fn deployment(world: &World, job: &JobKey) -> Vec<String> {
    let Some(deployment) = world.state.latest_deployment(job) else { return vec!["no deployment".into()] };
    let mut lines = vec![format!("version {} is {}: {}", deployment.job.version, deployment.status, deployment.reason)];
    for (name, group) in &deployment.groups {
        lines.push(format!(
            "  {name}: {} wanted, {} placed, {} healthy, {} unhealthy",
            group.desired_total, group.placed, group.healthy, group.unhealthy
        ));
    }
    lines
}

/// The failures that led to an allocation.
pub(crate) fn failures(world: &World, alloc: &Allocation) -> Vec<String> {
    let failure = |event: &orch_model::allocation::RescheduleEvent| {
        let of = world.state.alloc(&event.alloc).map_or("one forgotten".into(), |alloc| name_of(alloc));
        format!("{of} was replaced after {}", event.delay)
    };
    let lines: Vec<_> = alloc.reschedules.iter().map(failure).collect();
    if lines.is_empty() { vec!["no failures".into()] } else { lines }
}

/// Which instances have a claim on which node's volume.
pub(crate) fn claims(world: &World) -> Vec<String> {
    let claim = |claim: &VolumeClaim| {
        let volume = world.state.host_volume(&claim.volume_id).unwrap();
        let alloc = world.state.alloc(&claim.alloc_id).unwrap();
        let is_there = alloc.node_id == volume.node_id;
        let place = if is_there { "where it is" } else { "elsewhere" };
        format!("{}[{}] claims {:?}, {place}", claim.group, claim.index, claim.volume_name)
    };
    let lines: Vec<_> = world.state.volume_claims().map(|known| claim(known)).collect();
    if lines.is_empty() { vec!["no claims".into()] } else { lines }
}

/// Processes an evaluation; what came of it.
pub(crate) fn processed(world: &mut World, eval: &Arc<Evaluation>) -> Vec<String> {
    let before = world.state.clone();
    let decision = world.process(eval);
    let mut lines = vec![format!("{} of {}: {}", eval.trigger, eval.job_id, decision.eval.status)];
    let mut stops: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for stop in &decision.plan.stops {
        let alloc = before.alloc(&stop.alloc_id).unwrap();
        let lost = if stop.client_status.is_some() && stop.reason != StopReason::Lost { ", client lost" } else { "" };
        stops.entry(format!("{}{lost}", stop.reason.description())).or_default().push(name_of(alloc));
    }
    for (reason, mut names) in stops {
        names.sort();
        lines.push(format!("  stop {}: {reason}", names.join(" ")));
    }
    let job = before.job(&eval.job_key()).cloned();
    let group = |at: u16| job.as_ref().map_or("", |job| job.task_groups[usize::from(at)].name.as_str());
    let mut placed: Vec<String> = Vec::new();
    for placement in &decision.plan.placements {
        let name = format!("{}[{}]", group(placement.group), placement.index);
        let elsewhere = placement
            .previous
            .and_then(|id| before.alloc(&id))
            .map(|old| if old.node_id == placement.node_id { "on its node" } else { "on another node" });
        match elsewhere {
            Some(elsewhere) => lines.push(format!("  replace {name} {elsewhere}")),
            None => placed.push(name),
        }
    }
    if !placed.is_empty() {
        lines.push(format!("  place {}", placed.join(" ")));
    }
    if !decision.plan.in_place.is_empty() {
        lines.push(format!("  update {} of them in place", decision.plan.in_place.len()));
    }
    if let Some(started) = &decision.plan.deployment {
        let groups: Vec<_> =
            started.groups.iter().map(|(name, group)| format!("{name} {}", group.desired_total)).collect();
        lines.push(format!("  start a deployment of version {}: {}", started.job.version, groups.join(", ")));
    }
    for update in &decision.plan.deployment_updates {
        lines.push(format!("  the deployment is {}: {}", update.status, update.reason));
    }
    outcome(&decision, &mut lines);
    follow(world, eval, &decision, &mut lines);
    lines
}

fn outcome(decision: &Decision, lines: &mut Vec<String>) {
    let empty = Arc::new(EvalOutcome::default());
    let outcome = decision.eval.outcome.as_ref().unwrap_or(&empty);
    for (group, updates) in &outcome.updates {
        let counts = [
            ("ignore", updates.ignore),
            ("place", updates.place),
            ("migrate", updates.migrate),
            ("stop", updates.stop),
            ("in-place", updates.in_place),
            ("destructive", updates.destructive),
        ];
        let counts: Vec<_> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what} {count}")).collect();
        lines.push(format!("  {group}: {}", if counts.is_empty() { "nothing".into() } else { counts.join(", ") }));
    }
    for (group, why) in &outcome.failed {
        let queued = outcome.queued.get(group).copied().unwrap_or_default();
        let mut text = format!("  {group} is short of {queued}: {} nodes looked at", why.nodes_evaluated);
        let reasons = why.constraint_filtered.iter().map(|(reason, count)| format!("{count} filtered by {reason:?}"));
        let dimensions = why.dimension_exhausted.iter().map(|(what, count)| format!("{count} exhausted of {what}"));
        for reason in reasons.chain(dimensions) {
            write!(text, ", {reason}").unwrap();
        }
        write!(text, "; {} more failed alike", why.coalesced_failures).unwrap();
        lines.push(text);
    }
}

fn follow(world: &World, eval: &Evaluation, decision: &Decision, lines: &mut Vec<String>) {
    if let Some(blocked) = &decision.blocked {
        let which = if blocked.id == eval.id { "blocked again" } else { "blocked evaluation" };
        lines.push(format!("  {which}: {}", blocked.status_description));
    }
    for follow_up in &decision.follow_ups {
        let wait = follow_up.wait_until.since(world.now);
        let waits = decision.plan.follow_ups.iter().filter(|waits| waits.eval_id == follow_up.id);
        let mut names: Vec<_> = waits.map(|waits| name_of(world.state.alloc(&waits.alloc_id).unwrap())).collect();
        names.sort();
        lines.push(format!("  follow-up {} in {wait} for {}", follow_up.trigger, names.join(" ")));
    }
    for canceled in &decision.canceled {
        lines.push(format!("  cancel a blocked {}", canceled.trigger));
    }
}
