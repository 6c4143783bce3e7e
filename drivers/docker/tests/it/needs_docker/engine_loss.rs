use std::time::{Duration, Instant};

use orch_driver::{Driver, Health};
use serde_json::json;

use crate::node::{Node, eventually, shell, stdout};
use orch_tests::engine::Engine;

#[tokio::test]
async fn an_engine_that_goes_away_is_told_and_its_tasks_are_kept() {
    let engine = Engine::start();
    let node = Node::new(&engine);
    let driver = node.driver();
    assert_eq!(driver.fingerprint().await.health, Health::Healthy);
    let mut config = shell("i=0; while [ ! -e /local/end ]; do echo line $i; i=$((i+1)); sleep 0.02; done; exit 5");
    config["logging"] = json!({"config": {"max-size": "10m"}});
    let spec = node.spec(config);
    let (logs, end) = (spec.logs.clone(), spec.dirs.local.join("end"));
    let handle = driver.start(spec).await.unwrap();
    let lines = || stdout(&logs).lines().count();
    eventually("output", async || (lines() > 3).then_some(())).await;

    engine.freeze();
    let began = Instant::now();
    let frozen = driver.fingerprint().await;
    assert!(began.elapsed() < Duration::from_millis(1_500), "it took {:?}", began.elapsed());
    assert_eq!(frozen.health, Health::Unhealthy);
    assert!(frozen.description.contains("no answer within"), "{}", frozen.description);
    engine.thaw();
    assert_eq!(driver.fingerprint().await.health, Health::Healthy);

    engine.stop();
    let gone = driver.fingerprint().await;
    assert_eq!(gone.health, Health::Unhealthy);
    assert!(gone.description.starts_with("Failed to connect to docker daemon"), "{}", gone.description);
    let refused = driver.start(node.spec(shell("true"))).await.unwrap_err();
    assert!(refused.is_recoverable(), "{refused}");
    // An agent that starts now does not know better, and waits.
    drop(driver);
    let next = node.driver();
    next.recover(&handle).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_millis(200), next.wait(&handle.id)).await;
    assert!(waiting.is_err(), "{waiting:?}");

    let before = lines();
    engine.start_again();
    eventually("more output", async || (lines() > before + 3).then_some(())).await;
    std::fs::write(end, "").unwrap();
    assert_eq!(next.wait(&handle.id).await.unwrap().code, Some(5));
    let written = stdout(&logs);
    let wrong = written.lines().enumerate().find(|(number, line)| *line != format!("line {number}"));
    assert_eq!(wrong, None, "{} lines", written.lines().count());
    next.destroy(&handle.id).await.unwrap();
}
