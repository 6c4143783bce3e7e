//! Components that serve requests.

use std::time::{Duration, Instant};

use futures::future::join_all;
use orch_driver::{Driver, TaskHandle};
use orch_driver_wasm::WasmDriver;
use serde_json::{Value, json};

use crate::guests;
use crate::node::{Node, eventually, log, with_port};

struct Service {
    node: Node,
    driver: WasmDriver,
    handle: TaskHandle,
    url: String,
    stderr: std::path::PathBuf,
}

impl Service {
    async fn start(more: Value) -> Self {
        let node = Node::new();
        let driver = node.driver().await;
        let mut config = json!({"module": guests::service(), "port": "http"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (spec, url) = with_port(node.spec(config));
        let stderr = log(&spec, "stderr");
        let handle = driver.start(spec).await.unwrap();
        Self { node, driver, handle, url, stderr }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        get(&reqwest::Client::new(), &self.url, path).await
    }

    async fn end(self) {
        self.driver.destroy(&self.handle.id).await.unwrap();
        self.node.close().await;
    }
}

async fn get(client: &reqwest::Client, url: &str, path: &str) -> (u16, String) {
    let answer = client.get(format!("{url}{path}")).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn every_request_has_a_fresh_instance_over_both_versions_of_http() {
    let service = Service::start(json!({})).await;
    let second = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for client in [reqwest::Client::new(), second] {
        assert_eq!(get(&client, &service.url, "/hello").await, (200, "hello\n".to_owned()));
        for _ in 0..3 {
            assert_eq!(get(&client, &service.url, "/count").await, (200, "1".to_owned()));
        }
    }
    service.end().await;
}

#[tokio::test]
async fn a_request_that_fails_fails_alone() {
    let service = Service::start(json!({"timeout": "100ms"})).await;
    for (path, status) in [("/trap", 500), ("/silent", 500), ("/grow", 507), ("/spin", 504), ("/sleep/60000", 504)] {
        assert_eq!(service.get(path).await.0, status, "{path}");
        assert_eq!(service.get("/hello").await.0, 200, "after {path}");
    }
    eventually("the reasons in the log", || {
        let text = std::fs::read_to_string(&service.stderr).unwrap_or_default();
        let parts = ["a request failed: trap: wasm trap", "wasm backtrace:", "out of memory", "timeout of 100ms"];
        parts.iter().all(|part| text.contains(part)).then_some(())
    })
    .await;
    service.end().await;
}

#[tokio::test]
async fn requests_share_the_process_and_no_more_than_allowed_run_at_once() {
    let service = Service::start(json!({"max_concurrency": 2})).await;
    let client = reqwest::Client::new();
    let timed = |requests: usize| {
        let (client, url) = (client.clone(), service.url.clone());
        async move {
            let began = Instant::now();
            let answers = join_all((0..requests).map(|_| get(&client, &url, "/sleep/200"))).await;
            assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
            began.elapsed()
        }
    };
    // Two fit at once, so six take three turns.
    assert!(timed(6).await >= Duration::from_millis(600));
    service.end().await;
    let service = Service::start(json!({"timeout": "300ms", "max_concurrency": 1})).await;
    let (url, client) = (service.url.clone(), reqwest::Client::new());
    let answers = join_all((0..3).map(|_| get(&client, &url, "/sleep/250"))).await;
    let refused = answers.iter().filter(|(status, _)| *status == 503).count();
    assert!(refused >= 1, "who waits for longer than a request may take is refused: {answers:?}");
    service.end().await;
}

#[tokio::test]
async fn a_computing_request_does_not_keep_others_waiting() {
    let service = Service::start(json!({"timeout": "20s"})).await;
    let client = reqwest::Client::new();
    let spinning: Vec<_> = (0..8).map(|_| tokio::spawn(client.get(format!("{}/spin", service.url)).send())).collect();
    for _ in 0..5 {
        let answer = tokio::time::timeout(Duration::from_secs(10), service.get("/hello")).await.unwrap();
        assert_eq!(answer.0, 200);
    }
    spinning.iter().for_each(tokio::task::JoinHandle::abort);
    service.end().await;
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_takes_no_new_ones() {
    let service = Service::start(json!({})).await;
    let running = tokio::spawn(reqwest::get(format!("{}/sleep/500", service.url)));
    // Answered means that the other one, asked before, has been taken.
    for _ in 0..3 {
        service.get("/hello").await;
    }
    service.driver.stop(&service.handle.id, None, Duration::from_secs(20)).await.unwrap();
    let answer = running.await.unwrap().unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "slept\n"));
    assert!(service.driver.wait(&service.handle.id).await.unwrap().success());
    assert!(reqwest::get(format!("{}/hello", service.url)).await.is_err());
    service.end().await;
    let stubborn = Service::start(json!({"timeout": "1h"})).await;
    let running = tokio::spawn(reqwest::get(format!("{}/sleep/3600000", stubborn.url)));
    for _ in 0..3 {
        stubborn.get("/hello").await;
    }
    stubborn.driver.stop(&stubborn.handle.id, None, Duration::from_millis(200)).await.unwrap();
    assert_eq!(stubborn.driver.wait(&stubborn.handle.id).await.unwrap().signal, Some(9));
    running.abort();
    stubborn.end().await;
}

#[tokio::test]
async fn a_component_asks_only_those_that_it_may() {
    let target = Service::start(json!({})).await;
    let host = target.url.trim_start_matches("http://").to_owned();
    let closed = Service::start(json!({})).await;
    // 15 is "HTTP-request-denied".
    assert_eq!(closed.get(&format!("/fetch/{host}")).await, (200, "2015".to_owned()));
    closed.end().await;
    let open = Service::start(json!({"allowed_hosts": [&host]})).await;
    assert_eq!(open.get(&format!("/fetch/{host}")).await, (200, "200".to_owned()));
    for other in ["127.0.0.1:1", "localhost:80", "example.com", "2130706433:80"] {
        assert_eq!(open.get(&format!("/fetch/{other}")).await, (200, "2015".to_owned()), "{other}");
    }
    open.end().await;
    target.end().await;
}
