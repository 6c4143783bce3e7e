//! Every file in `examples/`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use orch_tests::http::Connection;
use orch_tests::{Cluster, address, processes, wait, wait_for};

use super::SOON;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples")
}

fn files(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn no_example_is_left_out_of_these_tests() {
    let known = [
        "batch.hcl",
        "mixed.hcl",
        "orch.service",
        "redis.hcl",
        "rolling.hcl",
        "variables.hcl",
        "variables.vars.hcl",
        "web.hcl",
    ];
    assert_eq!(files(&directory()), known.map(str::to_owned).into());
    assert_eq!(files(&directory().join("agent")), ["client.hcl", "dev.json", "server.hcl"].map(str::to_owned).into());
}

// `mixed.hcl` runs in `needs_docker`.
#[test]
fn every_example_job_runs() {
    let cluster = Cluster::empty();
    let dev = cluster.dev();
    let (api, cli) = (dev.api(), dev.cli());
    let path = |name: &str| directory().join(name).to_string_lossy().into_owned();

    for name in ["web.hcl", "batch.hcl", "redis.hcl", "rolling.hcl", "variables.hcl"] {
        cli.ok(["job", "validate", &path(name)]);
        cli.ok(["job", "run", "-detach", &path(name)]);
    }
    let variables = format!("-var-file={}", path("variables.vars.hcl"));
    let planned = cli.run(["job", "plan", &variables, &path("variables.hcl")]);
    assert_eq!(planned.status, Some(1), "{planned:?}");
    assert!(planned.stdout.contains("greet-prod"), "{}", planned.stdout);

    let web = [api.wait_running("web", 2, SOON), api.wait_running("rolling", 3, SOON)].concat();
    for alloc in web {
        let port = api.port(&alloc.id, "http").unwrap();
        wait_for("the web server answers", SOON, || {
            let answer = Connection::open(port, SOON).and_then(|mut open| open.send("GET", "/", b""));
            let answer = answer.map_err(|error| format!("{error:#}"))?;
            wait::that(answer.status == 200, || answer.text())
        });
    }
    let redis = api.wait_running("redis", 1, SOON);
    let port = api.port(&redis[0].id, "redis").unwrap();
    wait_for("redis answers", SOON, || redis_answers(port).map_err(|error| format!("{error:#}")));
    let greet = api.get("/v1/job/greet").unwrap();
    assert_eq!(greet["Name"], "greet-dev");
    let greeters = greet["TaskGroups"].as_array().unwrap().len();
    assert_eq!(greeters, 2, "one group for each greeting: {greet}");
    wait_for("everyone has greeted", SOON, || {
        let allocs = api.allocs("greet").map_err(|error| format!("{error:#}"))?;
        let greeted = allocs.iter().all(|alloc| ["running", "complete"].contains(&alloc.client.as_str()));
        wait::that(allocs.len() == greeters && greeted, || orch_tests::api::list(&allocs))
    });
    let batch = wait_for("the batch job is complete", SOON, || {
        let allocs = api.allocs("count").map_err(|error| format!("{error:#}"))?;
        let complete = allocs.iter().find(|alloc| alloc.client == "complete").cloned();
        complete.ok_or_else(|| orch_tests::api::list(&allocs))
    });
    let counted = api.stdout(&batch.id, "count").unwrap();
    let expected: String = (1..=10).map(|n| format!("{} counts {n}\n", batch.id)).collect();
    assert_eq!(counted, expected);
    wait_for("the batch job is dead", SOON, || {
        let job = api.get("/v1/job/count").map_err(|error| format!("{error:#}"))?;
        wait::that(job["Status"] == "dead", || job["Status"].to_string())
    });
}

fn redis_answers(port: std::net::SocketAddr) -> anyhow::Result<()> {
    use std::io::{Read as _, Write as _};
    let mut stream = std::net::TcpStream::connect(port)?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    anyhow::ensure!(&answer == b"+PONG\r\n", "{answer:?}");
    Ok(())
}

/// Flags stand over the file: the addresses and directories of an example are not those of a test.
#[test]
fn every_example_agent_starts() {
    let cluster = Cluster::empty();
    for name in ["server.hcl", "client.hcl", "dev.json"] {
        let ip = address::claim();
        let data = cluster.dir().join(name);
        let mut command = std::process::Command::new(orch_tests::cli::binary());
        command.arg("agent").arg(format!("-config={}", directory().join("agent").join(name).display()));
        command.arg(format!("-bind={ip}")).arg(format!("-data-dir={}", data.display()));
        let log = fs::File::create(cluster.dir().join("log")).unwrap();
        let mut agent = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        wait_for(&format!("the agent of {name} answers"), SOON, || {
            let told = orch_tests::Api::new(ip).get("/v1/agent/self");
            told.map_err(|error| {
                format!("{error:#}\n{}", fs::read_to_string(cluster.dir().join("log")).unwrap_or_default())
            })
        });
        processes::signal(i32::try_from(agent.id()).unwrap(), nix::sys::signal::Signal::SIGTERM);
        let status = agent.wait().unwrap();
        assert!(status.success(), "{name}: {status}");
    }
}

#[test]
fn the_example_unit_leaves_tasks_alone() {
    let unit = fs::read_to_string(directory().join("orch.service")).unwrap();
    for line in ["Type=notify", "KillMode=process", "Delegate=yes"] {
        assert!(unit.lines().any(|text| text == line), "the unit lacks {line}");
    }
}
