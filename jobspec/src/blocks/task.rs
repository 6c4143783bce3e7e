//! Tasks and their small blocks.

use std::collections::BTreeSet;

use orch_model::admission::Step;
use orch_model::job::{
    Action, DispatchPayloadConfig, LogConfig, ScalingPolicy, Task, TaskCsiPluginConfig, TaskLifecycleConfig,
    TaskSchedule, TaskScheduleCron,
};
use orch_model::time::Nanos;

use super::access::{consul, identities, secrets, vault};
use super::group::vertical_scaling;
use super::{Body, placement, policies, resources, service, task_files, volume};

pub(super) fn task(name: String, mut body: Body<'_, '_>) -> Task {
    let (identity, identities) = identities(&mut body);
    let task = Task {
        name,
        driver: body.text("driver"),
        user: body.text("user"),
        config: body.values("config"),
        env: body.text_map("env"),
        services: service::services(&mut body),
        vault: body.block("vault").map(vault),
        secrets: secrets(&mut body),
        consul: body.block("consul").map(consul),
        templates: body.blocks("template").into_iter().map(task_files::template).collect(),
        constraints: placement::constraints(&mut body),
        affinities: placement::affinities(&mut body),
        resources: body.block("resources").map(resources::resources),
        restart_policy: body.block("restart").map(policies::restart),
        dispatch_payload: body.block("dispatch_payload").map(dispatch_payload),
        lifecycle: body.block("lifecycle").map(lifecycle),
        meta: body.text_map("meta"),
        kill_timeout: body.opt_nanos("kill_timeout").unwrap_or(Nanos::from_secs(5)),
        log_config: body.block("logs").map(logs),
        artifacts: body.blocks("artifact").into_iter().map(task_files::artifact).collect(),
        leader: body.flag("leader"),
        shutdown_delay: body.nanos("shutdown_delay"),
        volume_mounts: volume::mounts(&mut body),
        scaling_policies: scaling(&mut body),
        kill_signal: body.text("kill_signal"),
        kind: body.text("kind"),
        csi_plugin_config: body.block("csi_plugin").map(csi_plugin),
        identity,
        identities,
        actions: actions(&mut body),
        schedule: body.block("schedule").map(schedule),
    };
    body.finish();
    task
}

fn scaling(body: &mut Body<'_, '_>) -> Vec<ScalingPolicy> {
    let mut policies = Vec::new();
    let mut seen = BTreeSet::new();
    for (label, policy) in body.labelled("scaling", "resource") {
        let (from, to) = (Step::Block("scaling", label.clone()), Step::Nth("scaling", policies.len()));
        if seen.insert(label.clone()) {
            policies.extend(vertical_scaling(&label, policy));
            body.inherit(&body.path_of(from), &body.path_of(to));
        } else {
            policy.refuse_block(&format!("scaling {label:?} is given twice"));
        }
    }
    policies
}

pub(super) fn logs(mut body: Body<'_, '_>) -> LogConfig {
    if body.has("enabled") {
        body.warn("enabled", "`enabled` is deprecated: write `disabled`, which means the opposite");
    }
    let enabled = body.opt_flag("enabled");
    let logs = LogConfig {
        max_files: body.opt_int("max_files").unwrap_or(10),
        max_file_size_mb: body.opt_int("max_file_size").unwrap_or(10),
        disabled: body.opt_flag("disabled").unwrap_or(enabled == Some(false)),
    };
    body.finish();
    logs
}

fn dispatch_payload(mut body: Body<'_, '_>) -> DispatchPayloadConfig {
    let payload = DispatchPayloadConfig { file: body.text("file") };
    body.finish();
    payload
}

fn lifecycle(mut body: Body<'_, '_>) -> TaskLifecycleConfig {
    let lifecycle = TaskLifecycleConfig { hook: body.text("hook"), sidecar: body.flag("sidecar") };
    body.finish();
    lifecycle
}

fn csi_plugin(mut body: Body<'_, '_>) -> TaskCsiPluginConfig {
    let plugin = TaskCsiPluginConfig {
        id: body.text("id"),
        r#type: body.text("type"),
        mount_dir: body.text("mount_dir"),
        stage_publish_base_dir: body.text("stage_publish_base_dir"),
        health_timeout: body.opt_nanos("health_timeout").unwrap_or(Nanos::from_secs(30)),
    };
    body.finish();
    plugin
}

fn actions(body: &mut Body<'_, '_>) -> Vec<Action> {
    let actions = body.labelled("action", "name").into_iter().map(|(name, mut body)| {
        let action = Action { name, command: body.text("command"), args: body.texts("args") };
        body.finish();
        action
    });
    actions.collect()
}

fn schedule(mut body: Body<'_, '_>) -> TaskSchedule {
    let cron = body.block("cron").map(|mut body| {
        let cron =
            TaskScheduleCron { start: body.text("start"), end: body.text("end"), timezone: body.text("timezone") };
        body.finish();
        cron
    });
    let schedule = TaskSchedule { cron };
    body.finish();
    schedule
}
