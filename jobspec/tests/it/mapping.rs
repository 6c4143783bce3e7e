//! Fragments of job files and the JSON that they become.

use serde_json::{Value, json};

use super::{errors, job};

fn at(text: &str, pointer: &str) -> Value {
    let value = serde_json::to_value(job(text)).unwrap();
    value.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is not in {value:#}")).clone()
}

/// Whether `found` has everything that `expected` says.
fn says(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(key, value)| found.get(key).is_some_and(|found| says(found, value)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len() && found.iter().zip(expected).all(|(found, expected)| says(found, expected))
        }
        (found, expected) => found == expected,
    }
}

fn check(fragments: &[(&str, &str, &str, Value)]) {
    for (level, fragment, pointer, expected) in fragments {
        let text = match *level {
            "job" => format!("job \"j\" {{\n{fragment}\n}}\n"),
            "group" => format!("job \"j\" {{\ngroup \"g\" {{\n{fragment}\n}}\n}}\n"),
            _ => format!("job \"j\" {{\ngroup \"g\" {{\ntask \"t\" {{\n{fragment}\n}}\n}}\n}}\n"),
        };
        let base = match *level {
            "job" => "",
            "group" => "/TaskGroups/0",
            _ => "/TaskGroups/0/Tasks/0",
        };
        let found = at(&text, &format!("{base}{pointer}"));
        assert!(says(&found, expected), "{fragment}\n{found:#}");
    }
}

#[test]
fn fragments_become_the_json_of_the_api() {
    check(&[
        (
            "group",
            "network {\n port \"http\" {\n to = 8080\n }\n }",
            "/Networks/0/DynamicPorts/0",
            json!({"Label": "http", "To": 8080}),
        ),
        (
            "group",
            "network {\n port \"db\" {\n static = 5432\n }\n }",
            "/Networks/0/ReservedPorts/0",
            json!({"Label": "db", "Value": 5432}),
        ),
        (
            "group",
            "update {\n min_healthy_time = \"15s\"\n }",
            "/Update",
            json!({"MinHealthyTime": 15_000_000_000_i64}),
        ),
        ("group", "ephemeral_disk {\n size = 500\n }", "/EphemeralDisk/SizeMB", json!(500)),
        ("task", "logs {\n max_file_size = 5\n }", "/LogConfig/MaxFileSizeMB", json!(5)),
        (
            "job",
            "constraint {\n attribute = \"${attr.kernel.name}\"\n value = \"linux\"\n }",
            "/Constraints/0",
            json!({"LTarget": "${attr.kernel.name}", "RTarget": "linux", "Operand": "="}),
        ),
        (
            "job",
            "constraint {\n distinct_hosts = true\n }",
            "/Constraints/0",
            json!({"LTarget": "", "RTarget": "true", "Operand": "distinct_hosts"}),
        ),
        (
            "group",
            "constraint {\n operator = \"distinct_property\"\n attribute = \"${meta.rack}\"\n value = \"3\"\n }",
            "/Constraints/0",
            json!({"LTarget": "${meta.rack}", "RTarget": "3", "Operand": "distinct_property"}),
        ),
        (
            "group",
            "constraint {\n distinct_property = \"${meta.rack}\"\n value = 2\n }",
            "/Constraints/0",
            json!({"LTarget": "${meta.rack}", "RTarget": "2", "Operand": "distinct_property"}),
        ),
        (
            "task",
            "constraint {\n attribute = attr.driver.docker.version\n version = \">= 20\"\n }",
            "/Constraints/0",
            json!({"LTarget": "${attr.driver.docker.version}", "RTarget": ">= 20", "Operand": "version"}),
        ),
        (
            "group",
            "affinity {\n attribute = \"${node.class}\"\n value = \"ssd\"\n weight = -50\n }",
            "/Affinities/0",
            json!({"LTarget": "${node.class}", "RTarget": "ssd", "Operand": "=", "Weight": -50}),
        ),
        (
            "job",
            "spread {\n attribute = \"${node.datacenter}\"\n target \"dc1\" {\n percent = 70\n }\n }",
            "/Spreads/0",
            json!({"Attribute": "${node.datacenter}", "Weight": 50, "SpreadTarget": [{"Value": "dc1", "Percent": 70}]}),
        ),
        (
            "task",
            "config {\n image = \"x\"\n labels {\n a = \"b\"\n }\n volumes = [\"a:b\"]\n }",
            "/Config",
            json!({"image": "x", "labels": [{"a": "b"}], "volumes": ["a:b"]}),
        ),
        (
            "task",
            "config {\n mount {\n type = \"bind\"\n }\n mount {\n type = \"tmpfs\"\n }\n }",
            "/Config",
            json!({"mount": [{"type": "bind"}, {"type": "tmpfs"}]}),
        ),
        ("task", "config {\n auth {\n username = \"u\"\n }\n }", "/Config", json!({"auth": [{"username": "u"}]})),
        (
            "task",
            "artifact {\n source = \"https://x/a.tgz\"\n options {\n checksum = \"md5:x\"\n }\n }",
            "/Artifacts/0",
            json!({"GetterSource": "https://x/a.tgz", "GetterOptions": {"checksum": "md5:x"}}),
        ),
        (
            "task",
            "template {\n data = \"d\"\n env = true\n destination = \"local/e\"\n }",
            "/Templates/0",
            json!({"EmbeddedTmpl": "d", "Envvars": true, "DestPath": "local/e", "ChangeMode": "restart",
                   "Perms": "0644", "Splay": 5_000_000_000_i64}),
        ),
        (
            "group",
            "service {\n check {\n header {\n Authorization = [\"x\"]\n }\n }\n }",
            "/Services/0/Checks/0/Header",
            json!({"Authorization": ["x"]}),
        ),
        (
            "group",
            "volume \"v\" {\n type = \"host\"\n source = \"s\"\n }",
            "/Volumes",
            json!({"v": {"Name": "v", "Type": "host", "Source": "s"}}),
        ),
        (
            "group",
            "scaling {\n min = 1\n max = 5\n policy {\n cooldown = \"1m\"\n }\n }",
            "/Scaling",
            json!({"Min": 1, "Max": 5, "Policy": {"cooldown": "1m"}, "Type": "horizontal", "Enabled": true}),
        ),
        (
            "job",
            "parameterized {\n meta_required = [\"a\"]\n }",
            "/ParameterizedJob",
            json!({"MetaRequired": ["a"], "Payload": ""}),
        ),
        (
            "job",
            "periodic {\n crons = [\"0 * * * *\"]\n }",
            "/Periodic",
            json!({"Specs": ["0 * * * *"], "SpecType": "cron", "Enabled": true}),
        ),
        (
            "task",
            "lifecycle {\n hook = \"prestart\"\n sidecar = true\n }",
            "/Lifecycle",
            json!({"Hook": "prestart", "Sidecar": true}),
        ),
        ("job", "", "", json!({"ID": "j", "Name": "j"})),
        ("job", "id = \"k\"", "", json!({"ID": "k", "Name": "j"})),
        ("group", "scaling {\n min = 4\n max = 5\n }", "/Count", json!(4)),
        ("group", "scaling {\n min = 4\n max = 9\n }\n count = 6", "/Count", json!(6)),
        ("task", "vault {}", "/Vault", json!({"Env": true, "DisableFile": false, "ChangeMode": "restart"})),
        ("task", "logs {\n enabled = false\n }", "/LogConfig/Disabled", json!(true)),
    ]);
}

#[test]
fn durations_are_texts_or_nanoseconds() {
    for (written, nanoseconds) in
        [("\"30s\"", 30_000_000_000_i64), ("\"1h30m\"", 5_400_000_000_000), ("30", 30), ("\"-5s\"", -5_000_000_000)]
    {
        check(&[("task", &format!("kill_timeout = {written}"), "/KillTimeout", json!(nanoseconds))]);
    }
    let found = errors("job \"j\" {\ngroup \"g\" {\ntask \"t\" {\nkill_timeout = \"1d\"\n}\n}\n}\n");
    assert!(found.starts_with("job.hcl:4:16: error: `kill_timeout` must be a duration"), "{found}");
}

#[test]
fn the_first_identity_without_a_name_is_the_default() {
    let text = "job \"j\" {\ngroup \"g\" {\ntask \"t\" {\nidentity {\nname = \"a\"\n}\nidentity {\nenv = true\n}\nidentity {}\n}\n}\n}\n";
    let task = &job(text).task_groups[0].tasks[0];
    assert!(task.identity.as_ref().unwrap().env);
    assert_eq!(task.identities.iter().map(|identity| identity.name.as_str()).collect::<Vec<_>>(), ["a", ""]);
}

#[test]
fn a_file_holds_one_job() {
    assert!(errors("").contains("Missing job block"));
    assert!(errors("job \"a\" {}\njob \"b\" {}\n").contains("2:1: error: Duplicate job block"));
    assert!(errors("job {}\n").contains("`job` needs a label"));
}
