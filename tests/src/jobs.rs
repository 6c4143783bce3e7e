//! Jobs that tests run.

use serde_json::{Value, json};

/// `count` copies of Python's web server on a port each; a killed one is started again after a second.
pub fn web(id: &str, count: usize) -> String {
    format!(
        r#"
job "{id}" {{
  group "web" {{
    count = {count}
    network {{
      port "http" {{}}
    }}
    restart {{
      attempts = 10
      interval = "10m"
      delay    = "1s"
      mode     = "delay"
    }}
    task "server" {{
      driver       = "raw_exec"
      kill_timeout = "2s"
      config {{
        command = "python3"
        args    = ["-m", "http.server", "${{NOMAD_PORT_http}}", "--bind", "${{NOMAD_IP_http}}", "--directory", "${{NOMAD_TASK_DIR}}"]
      }}
      env {{
        PYTHONUNBUFFERED = "1"
      }}
      resources {{
        cpu    = 50
        memory = 64
      }}
    }}
  }}
}}
"#
    )
}

/// `count` copies of a shell that runs `script`, in group and task `main`, with `extra` in the group.
pub fn shell(id: &str, count: usize, script: &str, extra: &str) -> String {
    let script = script.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "$${");
    format!(
        r#"
job "{id}" {{
  group "main" {{
    count = {count}
    restart {{
      attempts = 10
      interval = "10m"
      delay    = "1s"
      mode     = "delay"
    }}
{extra}
    task "main" {{
      driver       = "raw_exec"
      kill_timeout = "2s"
      config {{
        command = "/bin/sh"
        args    = ["-c", "{script}"]
      }}
      resources {{
        cpu    = 20
        memory = 16
      }}
    }}
  }}
}}
"#
    )
}

/// Configuration of a client that takes thousands of small tasks.
pub const ROOMY: &str = "  cpu_total_compute = 10000000\n  memory_total_mb = 10000000\n  disk_total_mb = 100000000\n  disk_free_mb = 100000000\n  gc_max_allocs = 5000\n";

/// A script that writes `line 0`, `line 1` .. 50 times a second, each with one write.
pub const COUNTING: &str = "i=0; while true; do echo line $i; i=$((i + 1)); sleep 0.02; done";

/// A service of one allocation that sleeps, as the API takes it.
pub fn sleeper(id: &str) -> Value {
    json!({
        "ID": id, "Name": id, "Type": "service", "Datacenters": ["*"],
        "TaskGroups": [{
            "Name": "main", "Count": 1,
            "EphemeralDisk": { "SizeMB": 10 },
            "Tasks": [{
                "Name": "main", "Driver": "raw_exec",
                "Config": { "command": "/bin/sleep", "args": ["100000"] },
                "KillTimeout": 1_000_000_000_u64,
                "Resources": { "CPU": 10, "MemoryMB": 10 },
                "LogConfig": { "MaxFiles": 1, "MaxFileSizeMB": 1 },
            }],
        }],
    })
}

/// The same without a node that could run it, so that it costs the control plane only.
pub fn unplaceable(id: &str) -> Value {
    let mut job = sleeper(id);
    job["Constraints"] = json!([{ "LTarget": "${meta.never}", "RTarget": "there", "Operand": "=" }]);
    job
}

/// A service of `count` such tasks, all started and changed at once.
pub fn sleepers(id: &str, count: usize) -> Value {
    let mut job = sleeper(id);
    let group = &mut job["TaskGroups"][0];
    group["Count"] = json!(count);
    group["Update"] = json!({ "MaxParallel": 0 });
    group["Tasks"][0]["Resources"]["CPU"] = json!(1);
    job
}
