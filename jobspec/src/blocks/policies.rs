//! Blocks that say what happens when things change or fail; a field that is not written stays unset.

use orch_model::job::{MigrateStrategy, ReschedulePolicy, RestartPolicy, UpdateStrategy};

use super::Body;

pub(super) fn update(mut body: Body<'_, '_>) -> UpdateStrategy {
    let update = UpdateStrategy {
        stagger: body.opt_nanos("stagger"),
        max_parallel: body.opt_int("max_parallel"),
        health_check: body.text("health_check"),
        min_healthy_time: body.opt_nanos("min_healthy_time"),
        healthy_deadline: body.opt_nanos("healthy_deadline"),
        progress_deadline: body.opt_nanos("progress_deadline"),
        auto_revert: body.opt_flag("auto_revert"),
        auto_promote: body.opt_flag("auto_promote"),
        canary: body.opt_int("canary"),
    };
    body.finish();
    update
}

pub(super) fn migrate(mut body: Body<'_, '_>) -> MigrateStrategy {
    let migrate = MigrateStrategy {
        max_parallel: body.opt_int("max_parallel"),
        health_check: body.text("health_check"),
        min_healthy_time: body.opt_nanos("min_healthy_time"),
        healthy_deadline: body.opt_nanos("healthy_deadline"),
    };
    body.finish();
    migrate
}

pub(super) fn restart(mut body: Body<'_, '_>) -> RestartPolicy {
    let restart = RestartPolicy {
        attempts: body.opt_int("attempts"),
        interval: body.opt_nanos("interval"),
        delay: body.opt_nanos("delay"),
        mode: body.text("mode"),
        render_templates: body.opt_flag("render_templates"),
    };
    body.finish();
    restart
}

pub(super) fn reschedule(mut body: Body<'_, '_>) -> ReschedulePolicy {
    let reschedule = ReschedulePolicy {
        attempts: body.opt_int("attempts"),
        interval: body.opt_nanos("interval"),
        delay: body.opt_nanos("delay"),
        delay_function: body.text("delay_function"),
        max_delay: body.opt_nanos("max_delay"),
        unlimited: body.opt_flag("unlimited"),
    };
    body.finish();
    reschedule
}
