//! Jobs that change while they are used, and versions that do not work.

use std::time::Duration;

use orch_tests::api::{Alloc, text};
use orch_tests::load::Load;
use orch_tests::{Api, Cluster, report, wait, wait_for};
use serde_json::Value;

use super::SOON;

const COUNT: usize = 6;
const AT_ONCE: usize = 2;
/// How long a rollout of three steps may take; it takes some ten seconds on a quiet machine.
const ROLLED_OUT: Duration = Duration::from_secs(120);

/// A web server whose every version differs by `version`; `script` runs instead of it if it is not empty.
fn versioned(version: u32, script: &str) -> String {
    let serve = "exec python3 -m http.server $NOMAD_PORT_http --bind $NOMAD_IP_http --directory $NOMAD_TASK_DIR";
    let script = if script.is_empty() { serve } else { script };
    format!(
        r#"
job "changing" {{
  group "web" {{
    count          = {COUNT}
    shutdown_delay = "1s"
    update {{
      max_parallel      = {AT_ONCE}
      min_healthy_time  = "3s"
      healthy_deadline  = "30s"
      progress_deadline = "60s"
    }}
    reschedule {{
      attempts  = 0
      unlimited = false
    }}
    restart {{
      attempts = 0
      mode     = "fail"
    }}
    network {{
      port "http" {{}}
    }}
    task "server" {{
      driver = "raw_exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "{script}"]
      }}
      env {{
        VERSION = "{version}"
      }}
      resources {{
        cpu    = 20
        memory = 32
      }}
    }}
  }}
}}
"#
    )
}

fn deployments(api: &Api) -> Vec<Value> {
    api.get("/v1/job/changing/deployments").unwrap().as_array().unwrap().clone()
}

/// Waits until the newest deployment, which is of `version`, has ended, and returns it.
#[track_caller]
fn wait_ended(cluster: &Cluster, version: u64) -> Value {
    wait_for(&format!("the deployment of version {version} has ended"), ROLLED_OUT, || {
        let deployment = cluster.api().get("/v1/job/changing/deployment").map_err(|error| format!("{error:#}"))?;
        let is_over = deployment["JobVersion"] == version && deployment["Status"] != "running";
        if is_over { Ok(deployment) } else { Err(deployment.to_string()) }
    })
}

#[test]
fn a_rolling_update_under_load_fails_no_request_also_when_the_leader_is_lost() {
    let mut cluster = Cluster::new().servers(3).clients(2).start();
    cluster.run_job(&versioned(0, ""));
    cluster.api().wait_running("changing", COUNT, SOON);
    assert_eq!(wait_ended(&cluster, 0)["Status"], "successful");
    let apis: Vec<Api> = cluster.servers.iter().map(|server| server.api()).collect();

    let load = Load::default();
    std::thread::scope(|scope| {
        scope.spawn(|| load.follow(&apis, "changing"));
        scope.spawn(|| load.ask(COUNT));
        let _stops = load.stops();
        wait_for("all instances answer", SOON, || wait::that(load.report().fewest.is_some(), || load.report()));

        cluster.run_job(&versioned(1, ""));
        let ended = wait_ended(&cluster, 1);
        assert_eq!(ended["Status"], "successful", "{ended}");
        cluster.api().wait_running("changing", COUNT, SOON);
        assert_eq!(load.report().failed, Vec::<String>::new(), "requests failed in the update: {}", load.report());

        cluster.run_job(&versioned(2, ""));
        wait_for("the update is under way", SOON, || {
            let deployment = cluster.api().get("/v1/job/changing/deployment").map_err(|error| format!("{error:#}"))?;
            let healthy = deployment["TaskGroups"]["web"]["HealthyAllocs"].as_u64().unwrap_or(0);
            wait::that(deployment["JobVersion"] == 2 && healthy >= 1, || deployment)
        });
        let leader = cluster.wait_leader();
        cluster.servers[leader].kill();
        cluster.wait_leader();
        let ended = wait_ended(&cluster, 2);
        assert_eq!(ended["Status"], "successful", "{ended}");
        cluster.api().wait_running("changing", COUNT, SOON);
        wait_for("instances of all three versions have answered", SOON, || {
            wait::that(load.report().instances >= 3 * COUNT, || load.report())
        });
    });
    let seen = load.report();
    report::line(format!("two rolling updates, the leader killed in the second: {seen}"));
    assert_eq!(seen.failed, Vec::<String>::new(), "requests failed: {seen}");
    assert!(seen.fewest >= Some(COUNT - AT_ONCE), "too few answered: {seen}");
}

#[test]
fn a_version_that_crashes_leaves_the_old_one_running_until_a_revert_heals() {
    let cluster = Cluster::new().servers(1).clients(1).start();
    cluster.run_job(&versioned(0, ""));
    assert_eq!(wait_ended(&cluster, 0)["Status"], "successful");
    let old = cluster.api().wait_running("changing", COUNT, SOON);

    let broken = cluster.write_job(&versioned(1, "exit 3"));
    let run = cluster.cli().run(["job".as_ref(), "run".as_ref(), broken.as_os_str()]);
    assert_ne!(run.status, Some(0), "`job run` does not tell that the deployment failed: {run:?}");
    let failed = wait_ended(&cluster, 1);
    assert_eq!(failed["Status"], "failed", "{failed}");
    let api = cluster.api();
    // The deployment fails with the first crash; what else of the version was placed crashes a moment later.
    let kept = wait_for("nothing of the version that crashes runs", SOON, || {
        let allocs = api.allocs("changing").map_err(|error| format!("{error:#}"))?;
        let running: Vec<Alloc> = allocs.into_iter().filter(Alloc::runs).collect();
        let all_old = running.iter().all(|alloc| old.iter().any(|before| before.id == alloc.id));
        if all_old { Ok(running) } else { Err(format!("{running:?}")) }
    });
    assert_eq!(kept.len(), COUNT - AT_ONCE, "the failed deployment took more than its step, or placed again: {kept:?}");

    let history = cluster.cli().ok(["job", "history", "changing"]);
    assert!(history.contains("Version") && history.matches("Stable").count() >= 2, "{history}");
    cluster.cli().ok(["job", "revert", "-detach", "changing", "0"]);
    let healed = wait_ended(&cluster, 2);
    assert_eq!(healed["Status"], "successful", "{healed}");
    let now = api.wait_running("changing", COUNT, SOON);
    let unmoved = now.iter().filter(|alloc| old.iter().any(|before| before.id == alloc.id)).count();
    assert_eq!(unmoved, COUNT - AT_ONCE, "instances that ran the right version all along were replaced");
    let ended: Vec<String> = deployments(&api).iter().map(|deployment| text(&deployment["Status"])).collect();
    assert!(!ended.iter().any(|status| status == "running"), "a deployment did not end: {ended:?}");

    let scaled = cluster.cli().ok(["job", "scale", "-detach", "changing", "web", "3"]);
    assert!(!scaled.is_empty());
    api.wait_running("changing", 3, SOON);
}
