//! One agent: a process, its address and its directory.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::api::{Api, HTTP_PORT};
use crate::cli::{self, Cli, binary};
use crate::processes;
use crate::wait::wait_within;

/// The port of RPC on each agent's own address.
pub const RPC_PORT: u16 = 4647;
/// How long an agent may take to answer after its start; far more than it should, for machines under load.
const START: Duration = Duration::from_secs(30);
/// How long an agent may take to end when asked to.
const STOP: Duration = Duration::from_secs(30);

/// What an agent is.
#[derive(Debug, Clone)]
pub enum Role {
    /// One of `expect` servers that find each other at `join`.
    Server {
        /// How many form the cluster.
        expect: usize,
        /// The addresses of all of them.
        join: Vec<Ipv4Addr>,
    },
    /// A client of these servers.
    Client {
        /// Their addresses.
        servers: Vec<Ipv4Addr>,
    },
    /// Server and client in one process, with a data directory.
    Both,
    /// A development agent, which has none.
    Dev,
}

/// An agent, running or not.
#[derive(Debug)]
pub struct Agent {
    /// Its name, also its node's.
    pub name: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// The directory with its configuration, log and data.
    pub dir: PathBuf,
    role: Role,
    child: Option<Child>,
}

impl Agent {
    /// Writes the configuration; nothing runs yet.
    ///
    /// `extra` is HCL for the role's own block. `cgroup_parent` is where its tasks' cgroups go.
    pub fn new(name: &str, ip: Ipv4Addr, parent: &Path, role: Role, cgroup_parent: &str, extra: &str) -> Self {
        let dir = parent.join(name);
        let written = fs::create_dir_all(dir.join("tmp")).and_then(|()| {
            // Tasks of other users must reach their directories.
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
            fs::write(dir.join("agent.hcl"), configuration(name, ip, &dir, &role, cgroup_parent, extra))
        });
        written.unwrap_or_else(|error| panic!("writing the configuration into {}: {error}", dir.display()));
        Self { name: name.to_owned(), ip, dir, role, child: None }
    }

    /// Adds to the configuration, from the next start on.
    pub fn configure(&self, hcl: &str) {
        let path = self.dir.join("agent.hcl");
        let written = OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(hcl.as_bytes()));
        written.unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
    }

    /// Starts the process and waits until its API answers.
    #[track_caller]
    pub fn start(&mut self) {
        self.spawn();
        self.wait_up();
    }

    /// Starts the process.
    #[track_caller]
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log = OpenOptions::new().create(true).append(true).open(self.log_path());
        let log = log.unwrap_or_else(|error| panic!("opening {}: {error}", self.log_path().display()));
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(duplicate(&log)).stderr(log);
        self.child = Some(command.spawn().unwrap_or_else(|error| panic!("starting {}: {error}", self.name)));
    }

    /// The command that [`Self::spawn`] starts.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command.arg("agent");
        if matches!(self.role, Role::Dev) {
            command.arg("-dev");
        }
        command.arg(format!("-config={}", self.dir.join("agent.hcl").display()));
        // A development agent makes its directory in here.
        command.env("TMPDIR", self.dir.join("tmp"));
        command
    }

    /// Waits until the API answers.
    #[track_caller]
    pub fn wait_up(&mut self) {
        let api = self.api();
        let answered = wait_within(START, || match self.exited() {
            Some(status) => Ok(Err(format!("it ended with {status}"))),
            None => api.send("GET", "/v1/agent/self", &serde_json::Value::Null).map(|_| Ok(())),
        });
        match answered {
            Ok(Ok(())) => {}
            Ok(Err(ended)) => panic!("agent {}: {ended}\n{}", self.name, self.log()),
            Err(error) => panic!("agent {} does not answer: {error:#}\n{}", self.name, self.log()),
        }
    }

    /// The process's id.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        i32::try_from(child.id()).expect("a process id is a pid_t")
    }

    /// Whether the process was started and neither killed nor stopped by the test since.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// The status with which the process ended by itself.
    fn exited(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        processes::signal(self.pid(), signal);
    }

    /// Kills the process without warning; its supervisor and tasks are left alone.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait_exit();
    }

    /// Asks the process to end, and waits for that.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait_exit()
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        cli::wait(&mut child, STOP).unwrap_or_else(|| {
            // It is to end either way; the test fails now.
            let _ended = child.kill();
            panic!("agent {} does not end\n{}", self.name, self.log())
        })
    }

    /// Where the agent keeps its data.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Its API.
    pub fn api(&self) -> Api {
        Api::new(self.ip)
    }

    /// Commands that go to it.
    pub fn cli(&self) -> Cli {
        Cli::new(&format!("http://{}:{HTTP_PORT}", self.ip))
    }

    /// The node id of this client, asked from `api`.
    #[track_caller]
    pub fn node_id(&self, api: &Api) -> String {
        let nodes = api.nodes().unwrap_or_else(|error| panic!("{error:#}"));
        let own = nodes.into_iter().find(|(name, _, _)| *name == self.name);
        own.unwrap_or_else(|| panic!("there is no node {}", self.name)).1
    }

    /// Its supervisor's process id, if it has one.
    pub fn supervisor(&self) -> Option<i32> {
        processes::supervisor_of(&self.dir).map(|process| process.pid)
    }

    /// Everything the agent logged, all starts together.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.join("agent.log")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Errors mean that it has ended already.
            let _ended = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn duplicate(log: &File) -> Stdio {
    log.try_clone().map_or_else(|_| Stdio::null(), Stdio::from)
}

fn configuration(name: &str, ip: Ipv4Addr, dir: &Path, role: &Role, cgroup_parent: &str, extra: &str) -> String {
    let addresses = |ips: &[Ipv4Addr]| ips.iter().map(|ip| format!("\"{ip}\"")).collect::<Vec<_>>().join(", ");
    let data_dir = match role {
        Role::Dev => String::new(),
        Role::Server { .. } | Role::Client { .. } | Role::Both => {
            format!("data_dir  = \"{}\"", dir.join("data").display())
        }
    };
    let server = |body: &str| format!("server {{\n  enabled = true\n{body}\n}}\n");
    // What a machine has differs; tests count on these, unless they say otherwise.
    let capacity: String =
        [("cpu_total_compute", 8000), ("memory_total_mb", 8192), ("disk_total_mb", 65_536), ("disk_free_mb", 65_536)]
            .into_iter()
            .filter(|(key, _)| !extra.contains(key))
            .map(|(key, value)| format!("  {key} = {value}\n"))
            .collect();
    let client = |body: &str| {
        format!(
            r#"client {{
  enabled       = true
  cgroup_parent = "{cgroup_parent}"
{capacity}{body}
}}
plugin "raw_exec" {{
  config {{
    enabled = true
  }}
}}
plugin "mock_driver" {{
  config {{
    enabled = true
  }}
}}
"#
        )
    };
    let blocks = match role {
        Role::Server { expect, join } => server(&format!(
            "  bootstrap_expect = {expect}\n  server_join {{\n    retry_join     = [{}]\n    retry_interval = \"1s\"\n  }}\n{extra}",
            addresses(join)
        )),
        Role::Client { servers } => client(&format!("  servers = [{}]\n{extra}", addresses(servers))),
        Role::Both => server("  bootstrap_expect = 1") + &client(extra),
        Role::Dev => client(extra),
    };
    format!(
        "name      = \"{name}\"\nbind_addr = \"{ip}\"\nlog_level = \"DEBUG\"\n{data_dir}\n\
         ports {{\n  http = {HTTP_PORT}\n  rpc  = {RPC_PORT}\n}}\n{blocks}"
    )
}
