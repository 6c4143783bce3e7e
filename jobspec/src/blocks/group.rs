//! Groups.

use orch_model::admission::Step;
use orch_model::job::{DisconnectStrategy, EphemeralDisk, ScalingPolicy, TaskGroup};

use super::access::{consul, shared};
use super::task::task;
use super::{Body, network, placement, policies, service, volume};

/// A task that stands directly in the job: a group of its own, with the same name.
pub(super) fn of_task(name: String, body: Body<'_, '_>) -> TaskGroup {
    let body = body.within(Step::Block("group", name.clone()));
    TaskGroup { name: name.clone(), count: 1, tasks: vec![task(name, body)], ..TaskGroup::default() }
}

pub(super) fn group(name: String, mut body: Body<'_, '_>) -> TaskGroup {
    let scaling = body.block("scaling").map(horizontal_scaling);
    let count = body.opt_int("count").or(scaling.as_ref().and_then(|scaling| scaling.min)).unwrap_or(1);
    let mut group = TaskGroup {
        name,
        count,
        update: body.block("update").map(policies::update),
        migrate: body.block("migrate").map(policies::migrate),
        constraints: placement::constraints(&mut body),
        scaling,
        restart_policy: body.block("restart").map(policies::restart),
        disconnect: body.block("disconnect").map(disconnect),
        tasks: body.labelled("task", "name").into_iter().map(|(name, body)| task(name, body)).collect(),
        ephemeral_disk: body.block("ephemeral_disk").map(ephemeral_disk),
        meta: body.text_map("meta"),
        reschedule_policy: body.block("reschedule").map(policies::reschedule),
        affinities: placement::affinities(&mut body),
        spreads: placement::spreads(&mut body),
        networks: network::networks(&mut body),
        consul: body.block("consul").map(consul),
        services: service::services(&mut body),
        volumes: volume::volumes(&mut body),
        shutdown_delay: body.opt_nanos("shutdown_delay"),
        max_run_duration: body.opt_nanos("max_run_duration"),
        stop_after_client_disconnect: body.opt_nanos("stop_after_client_disconnect"),
        max_client_disconnect: body.opt_nanos("max_client_disconnect"),
        prevent_reschedule_on_lost: body.flag("prevent_reschedule_on_lost"),
    };
    for key in ["stop_after_client_disconnect", "max_client_disconnect", "prevent_reschedule_on_lost"] {
        if body.has(key) {
            body.warn(key, &format!("`{key}` has no effect: write a `disconnect` block"));
        }
    }
    share(&mut body, &mut group);
    body.finish();
    group
}

/// Gives the tasks what their group states for all of them.
fn share(body: &mut Body<'_, '_>, group: &mut TaskGroup) {
    let shared = shared(body);
    let group_path = body.path();
    for task in &mut group.tasks {
        let mut task_path = group_path.clone();
        task_path.0.extend([Step::Block("task", task.name.clone()), Step::Nth("restart", 0)]);
        body.inherit(&body.path_of(Step::Nth("restart", 0)), &task_path);
        shared.give_vault(task, body, &group_path);
        if task.secrets.is_empty() {
            shared.add_secrets(task, body, &group_path);
        }
    }
}

fn horizontal_scaling(mut body: Body<'_, '_>) -> ScalingPolicy {
    body.require("max");
    let kind = body.text_or("type", "horizontal");
    scaling(body, kind)
}

/// The scaling policy of a task, whose label says what it scales.
pub(super) fn vertical_scaling(label: &str, body: Body<'_, '_>) -> Option<ScalingPolicy> {
    let kind = match label {
        "cpu" => "vertical_cpu",
        "mem" => "vertical_mem",
        other => {
            body.refuse_block(&format!("a task is scaled by \"cpu\" or \"mem\", not by {other:?}"));
            return None;
        }
    };
    Some(scaling(body, kind.to_owned()))
}

fn scaling(mut body: Body<'_, '_>, kind: String) -> ScalingPolicy {
    let scaling = ScalingPolicy {
        r#type: kind,
        policy: body.values("policy"),
        min: body.opt_int("min"),
        max: body.opt_int("max"),
        enabled: body.opt_flag("enabled").unwrap_or(true),
        // The rest is written by servers.
        ..ScalingPolicy::default()
    };
    body.finish();
    scaling
}

fn disconnect(mut body: Body<'_, '_>) -> DisconnectStrategy {
    let disconnect = DisconnectStrategy {
        lost_after: body.nanos("lost_after"),
        stop_on_client_after: body.opt_nanos("stop_on_client_after"),
        replace: body.opt_flag("replace"),
        reconcile: body.text("reconcile"),
    };
    body.finish();
    disconnect
}

fn ephemeral_disk(mut body: Body<'_, '_>) -> EphemeralDisk {
    let disk = EphemeralDisk {
        sticky: body.flag("sticky"),
        size_mb: body.opt_int("size").unwrap_or(300),
        migrate: body.flag("migrate"),
    };
    body.finish();
    disk
}
