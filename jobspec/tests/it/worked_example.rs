//! One job from its text to what servers store.

use orch_model::admission::{canonicalize, gates};
use serde_json::json;

use super::{context, job};

const SHOP: &str = r#"
job "shop" {
  datacenters = ["dc1"]
  meta {
    owner = "team"
  }
  update {
    max_parallel = 2
    canary       = 1
  }
  group "web" {
    count = 3
    network {
      mode = "bridge"
      port "http" {
        to = 8080
      }
      port "adm" {
        static = 9001
      }
    }
    service {
      name     = "shop-web"
      port     = "http"
      provider = "nomad"
      check {
        type     = "http"
        path     = "/ok"
        interval = "10s"
        timeout  = "2s"
      }
    }
    task "app" {
      driver = "docker"
      config {
        image = "shop:1"
        ports = ["http"]
        labels {
          tier = "web"
        }
      }
      env {
        LOG  = "info"
        PORT = "${NOMAD_PORT_http}"
      }
      resources {
        cpu    = 200
        memory = 128
      }
      template {
        data        = "x={{ env \"NOMAD_ALLOC_ID\" }}"
        destination = "local/x.txt"
      }
    }
    task "init" {
      driver = "docker"
      lifecycle {
        hook = "prestart"
      }
      config {
        image = "shop-init:1"
      }
    }
  }
}
"#;

const SECOND: i64 = 1_000_000_000;

#[test]
fn the_worked_example_is_stored_as_documented() {
    let mut job = job(SHOP);
    canonicalize(&mut job, &context());
    let stored = serde_json::to_value(&job).unwrap();
    for (pointer, expected) in [
        ("/ID", json!("shop")),
        ("/Name", json!("shop")),
        ("/Type", json!("service")),
        ("/Priority", json!(50)),
        ("/Datacenters", json!(["dc1"])),
        ("/NodePool", json!("default")),
        ("/Namespace", json!("default")),
        ("/Region", json!("global")),
        ("/Meta", json!({"owner": "team"})),
        ("/Update/Stagger", json!(30 * SECOND)),
        ("/Update/MaxParallel", json!(2)),
        ("/Update/Canary", json!(0)),
        (
            "/TaskGroups/0/Update",
            json!({"Stagger": 30 * SECOND, "MaxParallel": 2, "HealthCheck": "checks", "MinHealthyTime": 10 * SECOND,
                   "HealthyDeadline": 300 * SECOND, "ProgressDeadline": 600 * SECOND, "AutoRevert": false,
                   "AutoPromote": false, "Canary": 1}),
        ),
        (
            "/TaskGroups/0/Networks/0",
            json!({"Mode": "bridge", "DynamicPorts": [{"Label": "http", "To": 8080, "HostNetwork": "default"}],
                   "ReservedPorts": [{"Label": "adm", "Value": 9001, "HostNetwork": "default"}]}),
        ),
        ("/TaskGroups/0/Services/0/Name", json!("shop-web")),
        ("/TaskGroups/0/Services/0/PortLabel", json!("http")),
        ("/TaskGroups/0/Services/0/AddressMode", json!("auto")),
        ("/TaskGroups/0/Services/0/OnUpdate", json!("require_healthy")),
        ("/TaskGroups/0/Services/0/Cluster", json!("default")),
        ("/TaskGroups/0/Services/0/Namespace", json!("default")),
        ("/TaskGroups/0/Services/0/Checks/0/Name", json!("service: \"shop-web\" check")),
        ("/TaskGroups/0/Services/0/Checks/0/Interval", json!(10 * SECOND)),
        ("/TaskGroups/0/Services/0/Checks/0/OnUpdate", json!("require_healthy")),
        ("/TaskGroups/0/Tasks/0/Config", json!({"image": "shop:1", "ports": ["http"], "labels": [{"tier": "web"}]})),
        ("/TaskGroups/0/Tasks/0/Env", json!({"LOG": "info", "PORT": "${NOMAD_PORT_http}"})),
        ("/TaskGroups/0/Tasks/0/Templates/0/EmbeddedTmpl", json!("x={{ env \"NOMAD_ALLOC_ID\" }}")),
        ("/TaskGroups/0/Tasks/0/Templates/0/DestPath", json!("local/x.txt")),
        ("/TaskGroups/0/Tasks/0/Templates/0/ChangeMode", json!("restart")),
        ("/TaskGroups/0/Tasks/0/Templates/0/Splay", json!(5 * SECOND)),
        ("/TaskGroups/0/Tasks/0/Templates/0/Perms", json!("0644")),
        ("/TaskGroups/0/Tasks/0/Templates/0/LeftDelim", json!("{{")),
        ("/TaskGroups/0/Tasks/0/Templates/0/RightDelim", json!("}}")),
        ("/TaskGroups/0/Tasks/1/Lifecycle", json!({"Hook": "prestart", "Sidecar": false})),
        ("/TaskGroups/0/Tasks/1/Identity/Name", json!("default")),
        ("/TaskGroups/0/Tasks/1/Identity/Audience", json!(["nomadproject.io"])),
    ] {
        assert_eq!(stored.pointer(pointer), Some(&expected), "{pointer}");
    }
    let constraints: Vec<_> = stored["TaskGroups"][0]["Constraints"].as_array().unwrap().iter().collect();
    let about = |name: &str| constraints.iter().filter(|c| c["LTarget"].as_str().unwrap().starts_with(name)).count();
    // Services ask nothing of a node as long as they are not registered anywhere.
    let registered = gates::remaining().iter().all(|gate| gate.block != "service");
    assert_eq!(about("${attr.nomad.service_discovery}"), usize::from(registered));
    assert_eq!(about("${attr.nomad.version}"), usize::from(registered));
    assert_eq!(about("${attr.plugins.cni.version."), 5);
}
