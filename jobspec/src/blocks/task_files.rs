//! Files that are put into a task's directory: templates and artifacts.

use orch_model::job::{ChangeScript, TaskArtifact, Template, WaitConfig};
use orch_model::time::Nanos;

use super::Body;

pub(super) fn template(mut body: Body<'_, '_>) -> Template {
    let template = Template {
        source_path: body.text("source"),
        dest_path: body.text("destination"),
        embedded_tmpl: body.text("data"),
        change_mode: body.text_or("change_mode", "restart"),
        change_signal: body.text("change_signal"),
        change_script: body.block("change_script").map(change_script),
        once: body.flag("once"),
        splay: body.opt_nanos("splay").unwrap_or(Nanos::from_secs(5)),
        perms: body.text_or("perms", "0644"),
        uid: body.opt_int("uid"),
        gid: body.opt_int("gid"),
        left_delim: body.text("left_delimiter"),
        right_delim: body.text("right_delimiter"),
        envvars: body.flag("env"),
        vault_grace: body.nanos("vault_grace"),
        wait: body.block("wait").map(wait),
        err_missing_key: body.flag("error_on_missing_key"),
    };
    if body.has("vault_grace") {
        body.warn("vault_grace", "`vault_grace` is deprecated and has no effect");
    }
    body.finish();
    template
}

fn change_script(mut body: Body<'_, '_>) -> ChangeScript {
    body.require("command");
    body.require("fail_on_error");
    let script = ChangeScript {
        command: body.text("command"),
        args: body.texts("args"),
        timeout: body.opt_nanos("timeout").unwrap_or(Nanos::from_secs(5)),
        fail_on_error: body.flag("fail_on_error"),
        run_on_first_render: body.flag("run_on_first_render"),
    };
    body.finish();
    script
}

fn wait(mut body: Body<'_, '_>) -> WaitConfig {
    let wait = WaitConfig { min: body.opt_nanos("min"), max: body.opt_nanos("max") };
    body.finish();
    wait
}

pub(super) fn artifact(mut body: Body<'_, '_>) -> TaskArtifact {
    let artifact = TaskArtifact {
        getter_source: body.text("source"),
        getter_options: body.text_map("options"),
        getter_headers: body.text_map("headers"),
        getter_mode: body.text("mode"),
        getter_insecure: body.flag("insecure"),
        relative_dest: body.text("destination"),
        chown: body.flag("chown"),
    };
    body.finish();
    artifact
}
