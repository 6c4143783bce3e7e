//! Admission as a whole: the acceptance cases and defaults of the job specification.

use serde_json::{Value, json};

use super::validate::rules;
use super::*;
use crate::job::Job;

const DRIVERS: &[&str] = &["raw_exec", "mock_driver", "docker"];

fn ctx() -> AdmissionContext<'static> {
    AdmissionContext::new(DRIVERS)
}

fn minimal(kind: &str) -> Value {
    json!({"ID": "j", "Type": kind, "TaskGroups": [{"Name": "g", "Tasks": [{"Name": "t", "Driver": "mock_driver"}]}]})
}

fn canonical(value: Value) -> Job {
    let mut job: Job = serde_json::from_value(value).unwrap();
    canonicalize(&mut job, &ctx());
    job
}

/// The minimal job with one field set, by JSON pointer from the job, the group (`g/`) or the task (`t/`).
fn with(kind: &str, settings: &[(&str, Value)]) -> Value {
    let mut job = minimal(kind);
    for (pointer, value) in settings {
        let (root, rest) = match pointer.split_once('/') {
            Some(("g", rest)) => ("/TaskGroups/0", rest),
            Some(("t", rest)) => ("/TaskGroups/0/Tasks/0", rest),
            _ => ("", *pointer),
        };
        job.pointer_mut(root).unwrap()[rest] = value.clone();
    }
    job
}

fn task(name: &str) -> Value {
    json!({"Name": name, "Driver": "mock_driver"})
}

fn service(settings: Value) -> Value {
    let mut service = json!({"Name": "s", "Provider": "nomad", "PortLabel": "http"});
    service.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    service
}

fn check(settings: Value) -> Value {
    let mut check = json!({"Type": "http", "Path": "/", "Interval": "10s", "Timeout": "2s"});
    check.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    check
}

fn http_network() -> Value {
    json!([{"DynamicPorts": [{"Label": "http"}]}])
}

/// What the rules must say: nothing, an error with this text, or no error and a warning with this text.
enum Verdict {
    Accepted,
    Refused(&'static str),
    Warned(&'static str),
}

use Verdict::{Accepted, Refused, Warned};

fn judge(cases: Vec<(&str, Value, Verdict)>) {
    for (case, value, verdict) in cases {
        let report = rules(&canonical(value), None, &ctx());
        let all = format!("{report}");
        match verdict {
            Accepted => assert!(report.is_accepted(), "{case}: {all}"),
            Refused(text) => assert!(report.errors.iter().any(|e| e.to_string().contains(text)), "{case}: {all}"),
            Warned(text) => {
                assert!(report.is_accepted(), "{case}: {all}");
                assert!(report.warnings_text().contains(text), "{case}: {}", report.warnings_text());
            }
        }
    }
}

#[test]
fn jobs_and_groups_are_accepted_or_refused_as_specified() {
    let two_tasks = |a: Value, b: Value| json!([a, b]);
    let hook = json!({"Name": "t", "Driver": "mock_driver", "Lifecycle": {"Hook": "prestart"}});
    let leader = |name| json!({"Name": name, "Driver": "mock_driver", "Leader": true});
    let group = |name| json!({"Name": name, "Tasks": [task("t")]});
    let affinity = json!([{"LTarget": "${node.class}", "RTarget": "a"}]);
    let spread = json!([{"Attribute": "${node.datacenter}"}]);
    judge(vec![
        ("no datacenters", minimal("service"), Accepted),
        ("no task", with("service", &[("g/Tasks", json!([]))]), Refused("group \"g\": Missing tasks for task group")),
        ("no group", with("service", &[("TaskGroups", json!([]))]), Refused("Missing job task groups")),
        (
            "same task twice",
            with("service", &[("g/Tasks", two_tasks(task("t"), task("t")))]),
            Refused("task \"t\" is given more"),
        ),
        ("same task in two groups", with("service", &[("TaskGroups", json!([group("a"), group("b")]))]), Accepted),
        (
            "same group twice",
            with("service", &[("TaskGroups", json!([group("a"), group("a")]))]),
            Refused("group \"a\""),
        ),
        ("only a prestart task", with("service", &[("g/Tasks", json!([hook]))]), Refused("no lifecycle hook")),
        ("two leaders", with("service", &[("g/Tasks", json!([leader("a"), leader("b")]))]), Refused("only one task")),
        ("count -1", with("service", &[("g/Count", json!(-1))]), Refused("group \"g\" > count: must not be negative")),
        ("count over the limit", with("service", &[("g/Count", json!(50_001))]), Refused("the limit is 50000")),
        ("system, count 2", with("system", &[("g/Count", json!(2))]), Refused("must not exceed 1")),
        ("system, job affinity", with("system", &[("Affinities", affinity.clone())]), Refused("affinity")),
        ("system, task affinity", with("system", &[("t/Affinities", affinity.clone())]), Refused("affinity")),
        ("system, group spread", with("system", &[("g/Spreads", spread)]), Refused("spread")),
        ("sysbatch, affinity", with("sysbatch", &[("Affinities", affinity)]), Accepted),
        (
            "batch, job update",
            with("batch", &[("Update", json!({"MaxParallel": 2}))]),
            Refused("update: jobs of type batch"),
        ),
        ("batch, group update", with("batch", &[("g/Update", json!({}))]), Refused("group \"g\" > update")),
        ("batch, migrate", with("batch", &[("g/Migrate", json!({}))]), Refused("only service jobs migrate")),
        ("batch, job migrate", with("batch", &[("Migrate", json!({}))]), Refused("migrate: only service")),
        ("system, reschedule", with("system", &[("Reschedule", json!({}))]), Refused("reschedule")),
        ("sysbatch, group reschedule", with("sysbatch", &[("g/ReschedulePolicy", json!({}))]), Refused("reschedule")),
        ("service, run duration", with("service", &[("g/MaxRunDuration", json!("1h"))]), Refused("max_run_duration")),
        ("batch, run duration", with("batch", &[("g/MaxRunDuration", json!("1h"))]), Accepted),
        (
            "periodic service",
            with("service", &[("Periodic", json!({"Specs": ["@daily"]}))]),
            Refused("can be periodic"),
        ),
        ("parameterized system", with("system", &[("ParameterizedJob", json!({}))]), Refused("can be parameterized")),
        (
            "cron and crons",
            with("batch", &[("Periodic", json!({"Spec": "@daily", "Specs": ["@daily"]}))]),
            Refused("exclude"),
        ),
        ("cron only", with("batch", &[("Periodic", json!({"Spec": "0 * * * *"}))]), Warned("deprecated")),
        ("cron of 4 fields", with("batch", &[("Periodic", json!({"Specs": ["* * * *"]}))]), Refused("is not a cron")),
        ("priority 0", with("service", &[("Priority", json!(0))]), Accepted),
        (
            "priority 101",
            with("service", &[("Priority", json!(101))]),
            Refused("priority: 101 is not between 1 and 100"),
        ),
        ("id with a space", with("service", &[("ID", json!("a b"))]), Refused("must not contain spaces")),
        ("unknown type", with("service", &[("Type", json!("cron"))]), Refused("type: \"cron\" is not one of service")),
        (
            "ui text too long",
            with("service", &[("UI", json!({"Description": "x".repeat(1001)}))]),
            Refused("ui.description"),
        ),
        ("scaling without max", with("service", &[("g/Scaling", json!({}))]), Refused("scaling.max")),
        (
            "count above scaling max",
            with("service", &[("g/Count", json!(4)), ("g/Scaling", json!({"Min": 1, "Max": 3}))]),
            Refused("not between"),
        ),
    ]);
}

#[test]
fn policies_are_accepted_or_refused_as_specified() {
    let update = |value| with("service", &[("g/Update", value)]);
    let restart = |value| with("service", &[("g/RestartPolicy", value)]);
    let reschedule = |value| with("service", &[("g/ReschedulePolicy", value)]);
    let limited = |attempts: i64, interval: &str, function: &str| {
        reschedule(json!({"Attempts": attempts, "Interval": interval, "Unlimited": false, "Delay": "10s",
                          "DelayFunction": function, "MaxDelay": "40s"}))
    };
    judge(vec![
        ("deadlines equal", update(json!({"HealthyDeadline": "10m"})), Refused("update.healthy_deadline")),
        ("no progress deadline", update(json!({"HealthyDeadline": "1h", "ProgressDeadline": 0})), Accepted),
        ("auto_promote without canary", update(json!({"AutoPromote": true})), Refused("update.auto_promote")),
        ("max_parallel 0", update(json!({"MaxParallel": 0})), Accepted),
        (
            "parallel over count",
            with("service", &[("g/Count", json!(2)), ("g/Update", json!({"MaxParallel": 3}))]),
            Warned("exceeds"),
        ),
        (
            "restarts do not fit",
            restart(json!({"Attempts": 10, "Delay": "1m", "Interval": "5m"})),
            Refused("do not fit into 5m0s"),
        ),
        ("restart attempts 0, delay", restart(json!({"Attempts": 0, "Mode": "delay"})), Refused("restart.attempts")),
        ("unknown restart mode", restart(json!({"Mode": "never"})), Refused("\"never\" is not one of fail, delay")),
        (
            "unlimited and attempts",
            reschedule(json!({"Attempts": 3, "Interval": "1h"})),
            Refused("reschedule.unlimited"),
        ),
        ("disabled", reschedule(json!({"Attempts": 0, "Unlimited": false})), Accepted),
        ("constant fits", limited(3, "30s", "constant"), Accepted),
        ("constant does not fit", limited(4, "30s", "constant"), Refused("only 3 of 4")),
        ("exponential fits: 10 20 40 80", limited(4, "81s", "exponential"), Accepted),
        ("exponential does not fit", limited(4, "80s", "exponential"), Refused("only 3 of 4")),
        ("fibonacci fits: 10 10 20 30 70", limited(5, "71s", "fibonacci"), Accepted),
        ("fibonacci does not fit", limited(5, "70s", "fibonacci"), Refused("only 4 of 5")),
        (
            "lost_after and stop",
            with("service", &[("g/Disconnect", json!({"LostAfter": "1h", "StopOnClientAfter": "1m"}))]),
            Refused("excludes"),
        ),
    ]);
}

#[test]
fn tasks_are_accepted_or_refused_as_specified() {
    let resources = |value| with("service", &[("t/Resources", value)]);
    let template = |value: Value| with("service", &[("t/Templates", json!([value]))]);
    let twice = json!([{"EmbeddedTmpl": "x", "DestPath": "local/a"}, {"EmbeddedTmpl": "y", "DestPath": "./local/a"}]);
    let constraint = |value: Value| with("service", &[("t/Constraints", json!([value]))]);
    let affinity = |weight: i64| {
        with("service", &[("g/Affinities", json!([{"LTarget": "${node.class}", "RTarget": "a", "Weight": weight}]))])
    };
    let spread = |a, b| {
        let targets = json!([{"Value": "a", "Percent": a}, {"Value": "b", "Percent": b}]);
        with("service", &[("g/Spreads", json!([{"Attribute": "${node.datacenter}", "SpreadTarget": targets}]))])
    };
    let csi = json!({"v": {"Type": "csi", "Source": "s", "AttachmentMode": "file-system"}});
    let per_alloc = json!({"v": {"Type": "host", "Source": "s", "PerAlloc": true}});
    judge(vec![
        (
            "no driver",
            with("service", &[("t/Driver", json!(""))]),
            Refused("task \"t\" > driver: a task needs a driver"),
        ),
        ("unknown driver", with("service", &[("t/Driver", json!("java"))]), Refused("there is no driver \"java\"")),
        ("cpu and cores", resources(json!({"CPU": 500, "Cores": 2})), Refused("excludes cores")),
        ("cores only", resources(json!({"Cores": 2})), Accepted),
        ("memory 5", resources(json!({"MemoryMB": 5})), Refused("resources.memory: must be at least 10 MB")),
        (
            "memory_max below memory",
            resources(json!({"MemoryMB": 50, "MemoryMaxMB": 40})),
            Refused("resources.memory_max"),
        ),
        ("memory_max unlimited", resources(json!({"MemoryMaxMB": -1})), Accepted),
        ("disk", resources(json!({"DiskMB": 1})), Refused("resources.disk")),
        ("cpu beyond counting", resources(json!({"CPU": 5_000_000_000_i64})), Refused("out of range")),
        (
            "logs fill the disk",
            with("service", &[("t/LogConfig", json!({"MaxFiles": 10, "MaxFileSizeMB": 30}))]),
            Refused("logs"),
        ),
        ("template without destination", template(json!({"EmbeddedTmpl": "x"})), Refused("template.destination")),
        ("template escapes", template(json!({"EmbeddedTmpl": "x", "DestPath": "../../x"})), Refused("leads out")),
        ("same destination", with("service", &[("t/Templates", twice)]), Refused("template destination \"local/a\"")),
        (
            "signal and env",
            template(json!({"EmbeddedTmpl": "x", "DestPath": "a", "ChangeMode": "signal", "Envvars": true})),
            Refused("template.change_mode"),
        ),
        (
            "artifact escapes",
            with("service", &[("t/Artifacts", json!([{"GetterSource": "x", "RelativeDest": "../../a"}]))]),
            Refused("artifact.destination"),
        ),
        ("task alloc", with("service", &[("g/Tasks", json!([task("alloc")]))]), Refused("`alloc`")),
        ("task with a slash", with("service", &[("g/Tasks", json!([task("a/b")]))]), Refused("slashes")),
        (
            "bad version",
            constraint(json!({"LTarget": "${attr.x}", "RTarget": ">> 1", "Operand": "version"})),
            Refused("constraint.value"),
        ),
        (
            "bad regexp",
            constraint(json!({"LTarget": "${attr.x}", "RTarget": "(", "Operand": "regexp"})),
            Refused("constraint.value"),
        ),
        (
            "unsupported attribute",
            constraint(json!({"LTarget": "${env.x}", "RTarget": "a"})),
            Refused("unsupported attribute"),
        ),
        ("distinct_hosts on a task", constraint(json!({"Operand": "distinct_hosts"})), Refused("constraint.operator")),
        ("affinity weight 0", affinity(0), Refused("affinity.weight")),
        ("affinity weight 101", affinity(101), Refused("affinity.weight")),
        ("spread of 110 %", spread(60, 50), Refused("sum to 110")),
        ("spread of 100 %", spread(60, 40), Accepted),
        ("csi without access mode", with("service", &[("g/Volumes", csi)]), Refused("volume \"v\" > access_mode")),
        (
            "per_alloc and canary",
            with("service", &[("g/Volumes", per_alloc), ("g/Update", json!({"Canary": 1}))]),
            Refused("canaries"),
        ),
        (
            "mount of no volume",
            with("service", &[("t/VolumeMounts", json!([{"Volume": "x", "Destination": "/d"}]))]),
            Refused("no volume \"x\""),
        ),
        (
            "identity with a space",
            with("service", &[("t/Identities", json!([{"Name": "a b"}]))]),
            Refused("identity \"a b\" > name"),
        ),
        (
            "two identities without name",
            with("service", &[("t/Identities", json!([{}, {}]))]),
            Refused("Duplicate default identities"),
        ),
    ]);
}

#[test]
fn networks_and_services_are_accepted_or_refused_as_specified() {
    let ports = |reserved: Value| with("service", &[("g/Networks", json!([{"ReservedPorts": reserved}]))]);
    let group_service =
        |settings| with("service", &[("g/Networks", http_network()), ("g/Services", json!([service(settings)]))]);
    let checked = |settings| group_service(json!({"Checks": [check(settings)]}));
    let no_port = json!([service(json!({"PortLabel": "", "Checks": [check(json!({}))]}))]);
    let numeric = json!([service(
        json!({"Provider": "consul", "PortLabel": "80", "AddressMode": "driver", "Checks": [check(json!({}))]})
    )]);
    let mixed = json!([service(json!({})), service(json!({"Name": "s2", "Provider": "consul"}))]);
    judge(vec![
        (
            "same label twice",
            ports(json!([{"Label": "a", "Value": 1}, {"Label": "a", "Value": 2}])),
            Refused("port \"a\" is given more"),
        ),
        (
            "same number twice",
            ports(json!([{"Label": "a", "Value": 1}, {"Label": "b", "Value": 1}])),
            Refused("both want number 1"),
        ),
        (
            "same number, other network",
            ports(json!([{"Label": "a", "Value": 1}, {"Label": "b", "Value": 1, "HostNetwork": "x"}])),
            Accepted,
        ),
        ("port 70000", ports(json!([{"Label": "a", "Value": 70000}])), Refused("port \"a\" > static")),
        ("unknown mode", with("service", &[("g/Networks", json!([{"Mode": "mesh"}]))]), Refused("network.mode")),
        ("a service and its check", checked(json!({})), Accepted),
        ("check without port", with("service", &[("g/Services", no_port)]), Refused("check.port")),
        ("numeric port, plain check", with("service", &[("t/Services", numeric)]), Refused("check.port")),
        ("unknown port", group_service(json!({"PortLabel": "x"})), Refused("the network has no port \"x\"")),
        ("grpc check", checked(json!({"Type": "grpc"})), Refused("check.type")),
        ("script check", checked(json!({"Type": "script"})), Refused("check.type")),
        (
            "mixed providers",
            with("service", &[("g/Networks", http_network()), ("g/Services", mixed)]),
            Refused("same provider"),
        ),
        ("interval 500ms", checked(json!({"Interval": "500ms"})), Refused("check.interval: must be at least 1s")),
        ("odd name", group_service(json!({"Name": "a_b"})), Refused("service.name")),
        ("interpolated name", group_service(json!({"Name": "a-${NOMAD_ALLOC_INDEX}"})), Accepted),
    ]);
}

#[test]
fn what_a_stored_job_is_cannot_change() {
    let old = canonical(minimal("batch"));
    let report = rules(&canonical(minimal("service")), Some(&old), &ctx());
    assert!(
        report.to_string().contains("type: the type of a job cannot change from \"batch\" to \"service\""),
        "{report}"
    );
    let periodic = canonical(with("batch", &[("Periodic", json!({"Specs": ["@daily"]}))]));
    assert!(!rules(&periodic, Some(&old), &ctx()).is_accepted());
    assert!(rules(&old.clone(), Some(&old), &ctx()).is_accepted());
}

#[test]
fn every_error_is_collected_and_counted() {
    let job = canonical(with("service", &[("Priority", json!(200)), ("g/Count", json!(-1)), ("t/Driver", json!("x"))]));
    let report = validate(&job, None, &ctx());
    assert_eq!(
        report.to_string(),
        "3 error(s) occurred:\n\t* priority: 200 is not between 1 and 100\n\t* group \"g\" > count: must not be negative\n\t\
         * group \"g\" > task \"t\" > driver: there is no driver \"x\": it is not one of raw_exec, mock_driver, docker"
    );
}

#[test]
fn a_feature_that_is_not_built_is_refused_or_warned_about() {
    let report = validate(&canonical(worked_example()), None, &ctx());
    let refused: Vec<_> = report.errors.iter().map(|error| error.path.to_string()).collect();
    assert_eq!(refused, ["group \"web\" > network.mode", "group \"web\" > update.canary"]);
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.starts_with("group \"web\" > service: `service` is not registered"))
    );
    let minimal = validate(&canonical(minimal("service")), None, &ctx());
    assert_eq!(minimal, Report::default());
}

#[test]
fn defaults_follow_the_type_of_the_job() {
    let second: i64 = 1_000_000_000;
    for kind in ["service", "batch", "system", "sysbatch"] {
        let job = serde_json::to_value(canonical(minimal(kind))).unwrap();
        let group = &job["TaskGroups"][0];
        let (lasting, rescheduled) = (["service", "system"].contains(&kind), ["service", "batch"].contains(&kind));
        let expect = |value: &Value, expected: Value| assert_eq!(*value, expected, "{kind}");
        expect(&json!([job["Region"], job["Namespace"], job["NodePool"]]), json!(["global", "default", "default"]));
        expect(&json!([job["Priority"], job["Datacenters"], job["AllAtOnce"]]), json!([50, ["*"], false]));
        expect(
            &json!([job["Update"]["Stagger"], job["Update"]["MaxParallel"]]),
            if lasting { json!([30 * second, 1]) } else { json!([0, 0]) },
        );
        expect(&json!([job["Update"]["HealthCheck"], job["Update"]["MinHealthyTime"]]), json!(["", 0]));
        expect(
            &group["Update"],
            if lasting {
                json!({"Stagger": 30 * second, "MaxParallel": 1, "HealthCheck": "checks", "MinHealthyTime": 10 * second,
                       "HealthyDeadline": 300 * second, "ProgressDeadline": 600 * second, "AutoRevert": false,
                       "AutoPromote": false, "Canary": 0})
            } else {
                Value::Null
            },
        );
        let (attempts, interval) = if lasting { (2, 1800) } else { (3, 86_400) };
        let restart = json!({"Attempts": attempts, "Interval": interval * second, "Delay": 15 * second, "Mode": "fail", "RenderTemplates": false});
        expect(&group["RestartPolicy"], restart.clone());
        expect(&group["Tasks"][0]["RestartPolicy"], restart);
        assert_eq!(group["Migrate"].is_null(), kind != "service");
        assert_eq!(group["ReschedulePolicy"].is_null(), !rescheduled);
        expect(&group["EphemeralDisk"], json!({"Sticky": false, "SizeMB": 300, "Migrate": false}));
        let task = &group["Tasks"][0];
        expect(
            &json!([task["Resources"]["CPU"], task["Resources"]["MemoryMB"], task["KillTimeout"]]),
            json!([100, 300, 5 * second]),
        );
        expect(&task["LogConfig"], json!({"MaxFiles": 10, "MaxFileSizeMB": 10, "Disabled": false}));
        expect(
            &json!([task["Identity"]["Name"], task["Identity"]["Audience"]]),
            json!(["default", ["nomadproject.io"]]),
        );
    }
    let job = serde_json::to_value(canonical(minimal("batch"))).unwrap();
    assert_eq!(
        job["TaskGroups"][0]["ReschedulePolicy"],
        json!({"Attempts": 1, "Interval": 86_400 * second, "Delay": 5 * second, "DelayFunction": "constant", "MaxDelay": 0, "Unlimited": false})
    );
}

#[test]
fn policies_merge_field_by_field_from_job_to_task() {
    let job = canonical(with(
        "service",
        &[
            ("Update", json!({"MaxParallel": 3, "Canary": 1})),
            ("g/Update", json!({"Canary": 0})),
            ("Reschedule", json!({"Delay": "7s"})),
            ("g/RestartPolicy", json!({"Attempts": 0})),
            ("t/RestartPolicy", json!({"Mode": "delay"})),
        ],
    ));
    let group = &job.task_groups[0];
    let update = group.update.as_ref().unwrap();
    assert_eq!((update.max_parallel(), update.canary()), (3, 0));
    assert_eq!(job.update.canary, Some(0));
    assert_eq!(group.reschedule_policy.as_ref().unwrap().delay(), crate::Nanos::from_secs(7));
    assert_eq!(job.reschedule, None);
    let restart = group.tasks[0].restart_policy.as_ref().unwrap();
    assert_eq!((restart.attempts(), restart.mode.as_str()), (0, "delay"));
}

fn worked_example() -> Value {
    json!({
        "ID": "shop", "Datacenters": ["dc1"], "Meta": {"owner": "team"}, "Update": {"MaxParallel": 2, "Canary": 1},
        "TaskGroups": [{
            "Name": "web", "Count": 3,
            "Networks": [{"Mode": "bridge", "DynamicPorts": [{"Label": "http", "To": 8080}], "ReservedPorts": [{"Label": "adm", "Value": 9001}]}],
            "Services": [{"Name": "shop-web", "PortLabel": "http", "Provider": "nomad",
                "Checks": [{"Type": "http", "Path": "/ok", "Interval": "10s", "Timeout": "2s"}]}],
            "Tasks": [
                {"Name": "app", "Driver": "docker", "Config": {"image": "shop:1", "ports": ["http"], "labels": [{"tier": "web"}]},
                 "Env": {"LOG": "info", "PORT": "${NOMAD_PORT_http}"}, "Resources": {"CPU": 200, "MemoryMB": 128},
                 "Templates": [{"EmbeddedTmpl": "x", "DestPath": "local/x.txt"}]},
                {"Name": "init", "Driver": "docker", "Lifecycle": {"Hook": "prestart"}, "Config": {"image": "shop-init:1"}}
            ]
        }]
    })
}

#[test]
fn the_worked_example_is_stored_as_documented() {
    let job = serde_json::to_value(canonical(worked_example())).unwrap();
    let group = &job["TaskGroups"][0];
    assert_eq!(json!([job["Name"], job["Type"], job["Priority"]]), json!(["shop", "service", 50]));
    assert_eq!(json!([job["Update"]["MaxParallel"], job["Update"]["Canary"]]), json!([2, 0]));
    assert_eq!(
        json!([group["Update"]["MaxParallel"], group["Update"]["Canary"], group["Update"]["HealthCheck"]]),
        json!([2, 1, "checks"])
    );
    assert_eq!(
        group["Networks"][0],
        json!({"Mode": "bridge", "DynamicPorts": [{"Label": "http", "To": 8080, "HostNetwork": "default"}],
               "ReservedPorts": [{"Label": "adm", "Value": 9001, "HostNetwork": "default"}]})
    );
    let service = &group["Services"][0];
    assert_eq!(
        json!([service["AddressMode"], service["OnUpdate"], service["Cluster"], service["Namespace"]]),
        json!(["auto", "require_healthy", "default", "default"])
    );
    assert_eq!(
        json!([service["Checks"][0]["Name"], service["Checks"][0]["OnUpdate"]]),
        json!(["service: \"shop-web\" check", "require_healthy"])
    );
    let template = &group["Tasks"][0]["Templates"][0];
    assert_eq!(
        json!([
            template["ChangeMode"],
            template["Splay"],
            template["Perms"],
            template["LeftDelim"],
            template["RightDelim"]
        ]),
        json!(["restart", 5_000_000_000_i64, "0644", "{{", "}}"])
    );
    let plugins: Vec<_> =
        group["Constraints"].as_array().unwrap().iter().map(|c| c["LTarget"].as_str().unwrap()).collect();
    assert_eq!(plugins.iter().filter(|target| target.starts_with("${attr.plugins.cni.version.")).count(), 5);
}

#[test]
fn filling_defaults_twice_changes_nothing() {
    let mut value: Value = serde_json::from_str(include_str!("../job/full.json")).unwrap();
    value["TaskGroups"][0]["Tasks"][0]["KillSignal"] = json!("SIGTERM");
    for value in [value, worked_example(), minimal("service"), minimal("batch"), minimal("system"), minimal("sysbatch")]
    {
        let once = canonical(value);
        let mut twice = once.clone();
        canonicalize(&mut twice, &ctx());
        assert_eq!(once, twice);
    }
}

#[test]
fn used_signals_become_a_constraint() {
    let job = canonical(with("service", &[("t/KillSignal", json!("SIGUSR1"))]));
    let constraint = &job.task_groups[0].constraints[0];
    assert_eq!((constraint.l_target.as_str(), constraint.r_target.as_str()), ("${attr.os.signals}", "SIGUSR1"));
}

#[test]
fn options_that_a_driver_does_not_have_are_refused_where_its_options_are_known() {
    let options: &[(&str, &[&str])] = &[("docker", &["image", "command"])];
    let ctx = AdmissionContext { driver_options: options, ..ctx() };
    let found = |driver: &str, config: Value| -> Vec<String> {
        let job = canonical(with("service", &[("t/Driver", json!(driver)), ("t/Config", config)]));
        validate(&job, None, &ctx).errors.iter().map(ToString::to_string).collect()
    };
    let path = "group \"g\" > task \"t\" > config: the driver docker has no option";
    assert_eq!(
        found("docker", json!({"imgae": "x", "zzzzzz": 1, "command": "c"})),
        [format!("{path} `imgae`: did you mean `image`?"), format!("{path} `zzzzzz`: it has image, command")]
    );
    assert_eq!(found("raw_exec", json!({"imgae": "x"})), [""; 0]);
}
