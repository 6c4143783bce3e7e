//! What tasks are given: volumes, templates, files from elsewhere; and ways into them through any agent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use orch_tests::{Cluster, wait, wait_for};

use super::SOON;

/// A task that counts its starts in a volume, and shows what it was given.
fn counting(volume: &str, artifact: &str) -> String {
    format!(
        r#"
job "counting" {{
  group "main" {{
    volume "data" {{
      type            = "host"
      source          = "{volume}"
      access_mode     = "single-node-single-writer"
      attachment_mode = "file-system"
    }}
    volume "shared" {{
      type      = "host"
      source    = "shared"
      read_only = true
    }}
    network {{
      port "echo" {{}}
    }}
    task "main" {{
      driver = "exec"
      config {{
        command = "/bin/sh"
        args    = ["-c", "cat /shared/word local/fetched local/made; echo start >> /data/starts; wc -l < /data/starts; exec sleep 100000"]
      }}
      volume_mount {{
        volume      = "data"
        destination = "/data"
      }}
      volume_mount {{
        volume      = "shared"
        destination = "/shared"
      }}
      artifact {{
        source      = "{artifact}"
        destination = "local/fetched"
        mode        = "file"
      }}
      template {{
        destination = "local/made"
        data        = "{{{{ env \"NOMAD_JOB_NAME\" | toUpper }}}}\n"
      }}
      action "greet" {{
        command = "/bin/sh"
        args    = ["-c", "echo hello from $NOMAD_TASK_NAME"]
      }}
      resources {{
        cpu    = 50
        memory = 32
      }}
    }}
    task "echo" {{
      driver = "raw_exec"
      config {{
        command = "python3"
        args    = ["-c", "import os,socket\ns=socket.create_server((os.environ['NOMAD_IP_echo'],int(os.environ['NOMAD_PORT_echo'])))\nwhile True:\n c=s.accept()[0]\n while d:=c.recv(4096): c.sendall(d.upper())\n c.close()"]
      }}
      resources {{
        cpu    = 50
        memory = 32
      }}
    }}
  }}
}}
"#
    )
}

const VOLUME: &str = r#"
name      = "ledger"
type      = "host"
plugin_id = "mkdir"
capability {
  access_mode     = "single-node-single-writer"
  attachment_mode = "file-system"
}
parameters {
  mode = "0777"
}
"#;

#[test]
fn volumes_keep_their_data_and_tasks_are_reached_through_every_agent() {
    let shared = tempfile::tempdir().unwrap();
    fs::write(shared.path().join("word"), "shared\n").unwrap();
    let volume = format!("  host_volume \"shared\" {{ path = \"{}\" }}\n", shared.path().display());
    let cluster = Cluster::new().servers(3).clients(2).client_hcl(&volume).start();
    let api = cluster.api();
    let cli = cluster.cli();

    let spec = cluster.dir().join("volume.hcl");
    // One of the servers holds the node's session: the others have to find the way.
    for server in &cluster.servers {
        fs::write(&spec, VOLUME.replace("ledger", "spare")).unwrap();
        server.cli().ok(["volume".as_ref(), "create".as_ref(), spec.as_os_str()]);
        let spare = server.api().get("/v1/volumes?type=host").unwrap();
        server.cli().ok(["volume", "delete", spare[0]["ID"].as_str().unwrap()]);
    }
    fs::write(&spec, VOLUME).unwrap();
    cli.ok(["volume".as_ref(), "create".as_ref(), spec.as_os_str()]);
    let volumes = wait_for("the volume is ready", SOON, || {
        let volumes = api.get("/v1/volumes?type=host").map_err(|error| format!("{error:#}"))?;
        wait::that(volumes[0]["State"] == "ready", || volumes.clone()).map(|()| volumes.clone())
    });
    let (id, node) = (volumes[0]["ID"].as_str().unwrap(), volumes[0]["NodeID"].as_str().unwrap());

    let job = counting("ledger", &serve_file("fetched\n"));
    for starts in 1..=2 {
        cluster.run_job(&job);
        let alloc = api.wait_running("counting", 1, SOON).remove(0);
        assert_eq!(alloc.node_id, node, "the task is not where its volume is");
        wait_for("the task shows what it was given", SOON, || {
            let log = api.stdout(&alloc.id, "main").map_err(|error| format!("{error:#}"))?;
            wait::that(log == format!("shared\nfetched\nCOUNTING\n{starts}\n"), || log)
        });
        if starts == 1 {
            let refused = cli.run(["volume", "delete", id]);
            assert_ne!(refused.status, Some(0), "a volume in use was deleted: {refused:?}");
            reach(&cluster, &alloc.id);
            cli.ok(["job", "stop", "-purge", "counting"]);
        }
    }
    cli.ok(["job", "stop", "-purge", "counting"]);
    wait_for("the volume can be deleted", SOON, || {
        let deleted = cli.run(["volume", "delete", id]);
        wait::that(deleted.status == Some(0), || format!("{deleted:?}"))
    });
}

/// Looks into the tasks through each server, and through both clients.
fn reach(cluster: &Cluster, alloc: &str) {
    for agent in cluster.servers.iter().chain(&cluster.clients) {
        let (name, cli) = (&agent.name, agent.cli());
        let run = cli.run([
            "alloc",
            "exec",
            "-i=false",
            "-t=false",
            "-task",
            "main",
            alloc,
            "sh",
            "-c",
            "cat local/made; exit 7",
        ]);
        assert_eq!((run.status, run.stdout.as_str()), (Some(7), "COUNTING\n"), "through {name}: {run:?}");
        let greeted = cli.ok(["action", "-i=false", "-t=false", "-alloc", alloc, "-task", "main", "greet"]);
        assert_eq!(greeted, "hello from main\n", "through {name}");
        let local = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut forward =
            cli.command(["alloc", "port-forward", "-task", "echo", alloc, &format!("{}:echo", local.port())]);
        let mut forward = forward.spawn().unwrap();
        let answered = wait_for("the port answers", SOON, || {
            let mut stream = TcpStream::connect(local).map_err(|error| error.to_string())?;
            stream.write_all(b"through").map_err(|error| error.to_string())?;
            stream.shutdown(std::net::Shutdown::Write).map_err(|error| error.to_string())?;
            let mut text = String::new();
            stream.read_to_string(&mut text).map_err(|error| error.to_string())?;
            Ok::<_, String>(text)
        });
        forward.kill().unwrap();
        forward.wait().unwrap();
        assert_eq!(answered, "THROUGH", "through {name}");
    }
}

/// The address of a file with `text` on a server that lives as long as the test.
fn serve_file(text: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let body = if request[..read].starts_with(b"GET ") { text } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            // Whoever asked may have gone.
            let _gone = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}/file")
}
