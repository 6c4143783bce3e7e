//! The drivers of a client, and the supervisor that most of them start their tasks through.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use orch_driver::Driver;
use orch_driver_docker::{DockerDriver, NodeIdentity};
use orch_driver_exec::Exec;
use orch_driver_mock::MockDriver;
use orch_driver_raw_exec::RawExec;
use orch_driver_wasm::{Place, WasmDriver};
use orch_host::limits::OriginalLimits;
use orch_supervisor::{Handle, Lifetime, Options};
use serde_json::Value;
use tokio::task::JoinSet;

/// The drivers that there are, by their names in job files.
pub(crate) const NAMES: &[&str] = &["docker", "exec", "mock_driver", "raw_exec", "wasm"];
/// The keys that the `config` of their tasks may have.
pub(crate) const OPTIONS: &[(&str, &[&str])] = &[
    ("docker", orch_driver_docker::OPTIONS),
    ("exec", orch_driver_exec::OPTIONS),
    ("mock_driver", orch_driver_mock::OPTIONS),
    ("raw_exec", orch_driver_raw_exec::OPTIONS),
    ("wasm", orch_driver_wasm::OPTIONS),
];
/// How long tasks of a development agent may live after it was killed.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// The drivers of a client, by their names in job files.
#[derive(Debug, Default)]
pub(super) struct Drivers {
    pub(super) drivers: BTreeMap<String, Arc<dyn Driver>>,
    pub(super) supervisor: Option<RunningSupervisor>,
}

/// The way to the supervisor, whose process comes with the first task.
#[derive(Debug)]
pub(super) struct RunningSupervisor {
    pub(super) handle: Handle,
    pub(super) service: JoinSet<()>,
}

impl Drivers {
    /// The drivers that the configuration offers; none without a client.
    pub(super) async fn start(config: &orch_config::Agent, limits: OriginalLimits) -> anyhow::Result<Self> {
        let Some(client) = &config.client else { return Ok(Self::default()) };
        let exe = std::env::current_exe().context("cannot find the agent's own program")?;
        let node_id = orch_client::node_id(&client.state_dir)?.to_string();
        let mut drivers = Self::default();
        if offered(config, "mock_driver") && settings(config, "mock_driver").get("enabled") == Some(&Value::Bool(true))
        {
            drivers.add(MockDriver::new());
        }
        if offered(config, "docker") {
            let own = orch_driver_docker::Config::read(&settings(config, "docker")).context(plugin("docker"))?;
            drivers
                .add(DockerDriver::new(own, NodeIdentity { node_id: node_id.clone(), node_name: client.name.clone() }));
        }
        drivers.add_supervised(config, client, exe, node_id, limits).await?;
        Ok(drivers)
    }

    async fn add_supervised(
        &mut self,
        config: &orch_config::Agent,
        client: &orch_client::Config,
        exe: PathBuf,
        node_id: String,
        limits: OriginalLimits,
    ) -> anyhow::Result<()> {
        let raw_exec = orch_driver_raw_exec::Config::read(&settings(config, "raw_exec")).context(plugin("raw_exec"))?;
        let exec = orch_driver_exec::Config::read(&settings(config, "exec"), &config.chroot_env);
        let exec = exec.context(plugin("exec"))?;
        let wasm = orch_driver_wasm::Config::read(&settings(config, "wasm")).context(plugin("wasm"))?;
        let socket = client.state_dir.join("supervisor.sock");
        // Tasks of an earlier start are found again even where no new ones are allowed.
        let has_run = lock_file(&socket).exists();
        let raw_exec = (offered(config, "raw_exec") && (raw_exec.enabled || has_run)).then_some(raw_exec);
        let exec = offered(config, "exec").then_some(exec);
        let wasm = (offered(config, "wasm") && (wasm.enabled || has_run)).then_some(wasm);
        if raw_exec.is_none() && exec.is_none() && wasm.is_none() {
            return Ok(());
        }
        let lifetime = match &config.scratch_dir {
            Some(directory) => Lifetime::StopsWithAgent { grace: GRACE, remove_dir: Some(directory.clone()) },
            None => Lifetime::Outlives,
        };
        let options = Options {
            socket,
            exe: exe.clone(),
            args: vec![crate::SUPERVISOR.into()],
            node_mark: node_id,
            cgroup_parent: client.cgroup_parent.clone(),
            lifetime,
            limits,
        };
        let connected = Handle::connect(options).await;
        let (handle, service) = connected.context("the supervisor of tasks cannot be reached")?;
        if let Some(own) = raw_exec {
            self.add(RawExec::new(own, handle.clone()));
        }
        if let Some(own) = exec {
            self.add(Exec::new(own, handle.clone()));
        }
        if let Some(own) = wasm {
            self.add(WasmDriver::new(own, handle.clone(), Place { exe, dir: config.data_dir.join("wasm") }));
        }
        let mut running = JoinSet::new();
        running.spawn(service.run());
        self.supervisor = Some(RunningSupervisor { handle, service: running });
        Ok(())
    }

    fn add(&mut self, driver: impl Driver + 'static) {
        self.drivers.insert(driver.name().to_owned(), Arc::new(driver));
    }
}

/// Whether jobs may use a driver.
fn offered(config: &orch_config::Agent, driver: &str) -> bool {
    config.driver_allowlist.as_ref().is_none_or(|allowed| allowed.contains(driver))
        && !config.driver_denylist.contains(driver)
}

fn settings(config: &orch_config::Agent, driver: &str) -> BTreeMap<String, Value> {
    config.plugins.get(driver).cloned().unwrap_or_default()
}

fn plugin(driver: &str) -> String {
    format!("the configuration of plugin \"{driver}\"")
}

/// What a supervisor leaves beside its socket as long as it runs.
fn lock_file(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
