use std::collections::BTreeMap;
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::models::{NetworkInspect, SystemInfo};
use bollard::query_parameters::InspectNetworkOptions;
use orch_driver::{Fingerprint, Health};
use tokio::time::timeout;

use crate::config::Config;
use crate::engine::{self, Engine};

/// How long the engine may take to say what it is.
const PATIENCE: Duration = Duration::from_millis(900);

/// Asks the engine what it is. `seen` says that it was here before, so that its absence is a fault and no fact.
pub(crate) async fn take(engine: &Engine, config: &Config, seen: bool) -> Fingerprint {
    let asked = timeout(PATIENCE, ask(engine)).await;
    let (health, description) = match asked {
        Ok(Ok((info, bridge))) => {
            let attributes = attributes(&info, bridge.as_ref(), config);
            return Fingerprint { attributes, health: Health::Healthy, description: "Healthy".to_owned() };
        }
        Ok(Err(error)) => {
            let absent = matches!(error, EngineError::SocketNotFoundError(_)) && !seen;
            let health = if absent { Health::Undetected } else { Health::Unhealthy };
            let words = engine::words(&error);
            let known = words.starts_with("Failed to connect");
            (health, if known { words } else { format!("Failed to connect to docker daemon: {words}") })
        }
        Err(_late) => {
            let ms = PATIENCE.as_millis();
            (Health::Unhealthy, format!("Failed to connect to docker daemon: no answer within {ms} ms"))
        }
    };
    Fingerprint { attributes: BTreeMap::new(), health, description }
}

async fn ask(engine: &Engine) -> Result<(SystemInfo, Option<NetworkInspect>), EngineError> {
    let docker = engine.client()?;
    let (info, bridge) = tokio::join!(docker.info(), docker.inspect_network("bridge", None::<InspectNetworkOptions>));
    // An engine may have no bridge.
    Ok((info?, bridge.ok()))
}

fn attributes(info: &SystemInfo, bridge: Option<&NetworkInspect>, config: &Config) -> BTreeMap<String, String> {
    let mut runtimes: Vec<&str> = info.runtimes.iter().flatten().map(|(name, _)| name.as_str()).collect();
    runtimes.sort_unstable();
    let pools = bridge.and_then(|bridge| bridge.ipam.as_ref()?.config.as_deref()).unwrap_or_default();
    let flag = |set: bool| if set { "true".to_owned() } else { String::new() };
    let facts = [
        ("", "1".to_owned()),
        (".version", info.server_version.clone().unwrap_or_default()),
        (".os_type", info.os_type.clone().unwrap_or_default()),
        (".runtimes", runtimes.join(",")),
        (".bridge_ip", pools.iter().find_map(|pool| pool.gateway.clone()).unwrap_or_default()),
        (".volumes.enabled", flag(config.volumes_enabled)),
        (".privileged.enabled", flag(config.allow_privileged)),
        (".pids.limit", if config.pids_limit > 0 { config.pids_limit.to_string() } else { String::new() }),
    ];
    let told = facts.into_iter().filter(|(_, value)| !value.is_empty());
    told.map(|(name, value)| (format!("driver.docker{name}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_engine_becomes_attributes_of_the_node() {
        let info: SystemInfo = serde_json::from_value(json!({
            "ServerVersion": "20.10.24", "OSType": "linux", "Runtimes": {"runc": {"path": "runc"}, "crun": {"path": "crun"}},
        }))
        .unwrap();
        let bridge: NetworkInspect =
            serde_json::from_value(json!({"IPAM": {"Config": [{"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1"}]}}))
                .unwrap();
        let config = Config { volumes_enabled: true, pids_limit: 100, ..Config::default() };
        let attributes = attributes(&info, Some(&bridge), &config);
        let expected = [
            ("driver.docker", "1"),
            ("driver.docker.bridge_ip", "172.17.0.1"),
            ("driver.docker.os_type", "linux"),
            ("driver.docker.pids.limit", "100"),
            ("driver.docker.runtimes", "crun,runc"),
            ("driver.docker.version", "20.10.24"),
            ("driver.docker.volumes.enabled", "true"),
        ];
        let told: Vec<(&str, &str)> = attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn an_engine_that_was_never_here_is_undetected_and_one_that_went_is_unhealthy() {
        let config = Config { endpoint: "unix:///no/such/docker.sock".to_owned(), ..Config::default() };
        for (seen, health) in [(false, Health::Undetected), (true, Health::Unhealthy)] {
            let fingerprint = take(&Engine::new(&config), &config, seen).await;
            assert_eq!(fingerprint.health, health);
            assert_eq!(fingerprint.description, "Failed to connect to docker daemon: there is no /no/such/docker.sock");
            assert!(fingerprint.attributes.is_empty());
        }
    }
}
