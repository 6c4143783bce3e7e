//! The job block, and what its groups and tasks inherit from it.

use std::cell::RefCell;

use orch_hcl::{Block, Scope};
use orch_model::Job;
use orch_model::admission::{FieldPath, Step};
use orch_model::ids::{JobId, Namespace};
use orch_model::job::{
    JobUiConfig, JobUiLink, Multiregion, MultiregionRegion, MultiregionStrategy, ParameterizedJobConfig,
    PeriodicConfig, TaskGroup,
};

use super::access::{Shared, shared};
use super::{Body, group, placement, policies};
use crate::places::Places;

/// Reads the job block; names are looked up in `scope`.
pub(crate) fn job(block: &Block<'_>, scope: Scope, places: &RefCell<Places>) -> Job {
    let mut body = Body::of_job(block, scope, places);
    let label = block.label(0);
    let mut job = Job {
        id: JobId::new(&body.text_or("id", label)),
        name: body.text_or("name", label),
        region: body.text("region"),
        namespace: Namespace::new(&body.text("namespace")),
        r#type: body.text("type"),
        priority: body.int("priority"),
        all_at_once: body.flag("all_at_once"),
        datacenters: body.texts("datacenters"),
        node_pool: body.text("node_pool"),
        constraints: placement::constraints(&mut body),
        affinities: placement::affinities(&mut body),
        spreads: placement::spreads(&mut body),
        update: body.block("update").map(policies::update).unwrap_or_default(),
        reschedule: body.block("reschedule").map(policies::reschedule),
        migrate: body.block("migrate").map(policies::migrate),
        multiregion: body.block("multiregion").map(multiregion),
        periodic: body.block("periodic").map(periodic),
        parameterized_job: body.block("parameterized").map(parameterized),
        meta: body.text_map("meta"),
        ui: body.block("ui").map(ui),
        // The rest is written by servers.
        ..Job::default()
    };
    job.task_groups =
        body.labelled("task", "name").into_iter().map(|(name, task)| group::of_task(name, task)).collect();
    job.task_groups.extend(body.labelled("group", "name").into_iter().map(|(name, body)| group::group(name, body)));
    let shared = shared(&mut body);
    for group in &mut job.task_groups {
        share(&body, group, &shared);
    }
    body.finish();
    job
}

/// Gives a group what the job states for all of them.
fn share(body: &Body<'_, '_>, group: &mut TaskGroup, shared: &Shared) {
    let group_path = FieldPath(vec![Step::Block("group", group.name.clone())]);
    for policy in ["update", "reschedule", "migrate"] {
        let mut to = group_path.clone();
        to.0.push(Step::Nth(policy, 0));
        body.inherit(&FieldPath(vec![Step::Nth(policy, 0)]), &to);
    }
    for task in &mut group.tasks {
        shared.give_vault(task, body, &group_path);
        shared.add_secrets(task, body, &group_path);
    }
}

fn multiregion(mut body: Body<'_, '_>) -> Multiregion {
    let strategy = body.block("strategy").map(|mut body| {
        let strategy =
            MultiregionStrategy { max_parallel: body.int("max_parallel"), on_failure: body.text("on_failure") };
        body.finish();
        strategy
    });
    let regions = body.labelled("region", "name").into_iter().map(|(name, mut body)| {
        let region = MultiregionRegion {
            name,
            count: body.opt_int("count").unwrap_or(1),
            datacenters: body.texts("datacenters"),
            node_pool: body.text("node_pool"),
            meta: body.text_map("meta"),
        };
        body.finish();
        region
    });
    let multiregion = Multiregion { strategy, regions: regions.collect() };
    body.finish();
    multiregion
}

fn periodic(mut body: Body<'_, '_>) -> PeriodicConfig {
    let has_expression = body.has("cron") || body.has("crons");
    let periodic = PeriodicConfig {
        enabled: body.opt_flag("enabled").unwrap_or(true),
        spec: body.text("cron"),
        specs: body.texts("crons"),
        spec_type: if has_expression { "cron".to_owned() } else { String::new() },
        prohibit_overlap: body.flag("prohibit_overlap"),
        time_zone: body.text("time_zone"),
    };
    body.finish();
    periodic
}

fn parameterized(mut body: Body<'_, '_>) -> ParameterizedJobConfig {
    let parameterized = ParameterizedJobConfig {
        payload: body.text("payload"),
        meta_required: body.texts("meta_required"),
        meta_optional: body.texts("meta_optional"),
    };
    body.finish();
    parameterized
}

fn ui(mut body: Body<'_, '_>) -> JobUiConfig {
    let links = body.blocks("link").into_iter().map(|mut body| {
        let link = JobUiLink { label: body.text("label"), url: body.text("url") };
        body.finish();
        link
    });
    let ui = JobUiConfig { links: links.collect(), description: body.text("description") };
    body.finish();
    ui
}
