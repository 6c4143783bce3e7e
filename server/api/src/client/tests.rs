use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::{Address, Client, Config, Error, LogOptions, QueryOptions};

/// An agent that repeats what it is asked, and how many connections it took.
async fn agent() -> (Client, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)),
            );
        }
    });
    let address = Address::Tcp { host: "127.0.0.1".into(), port };
    let config = Config { address, namespace: "team".into(), token: "secret".into(), ..Config::default() };
    (Client::new(config), connections)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, http::Error> {
    let token = request.headers().get("x-nomad-token").is_some_and(|token| token == "secret");
    let body = |text: &str| Full::new(Bytes::from(text.to_owned()));
    match request.uri().path() {
        _ if !token => Response::builder().status(403).body(body("Permission denied")),
        "/v1/jobs" => Response::builder()
            .header("X-Nomad-Index", "42")
            .header("X-Nomad-KnownLeader", "true")
            .header("X-Nomad-LastContact", "7")
            .header("X-Nomad-NextToken", "default.b")
            .body(body(r#"[{"ID":"a","Status":"running","JobSummary":null,"Datacenters":null}]"#)),
        "/v1/agent/health" => {
            Response::builder().status(500).body(body(r#"{"client":{"ok":false,"message":"no known servers"}}"#))
        }
        "/v1/node/pools" => Response::builder().body(body("{")),
        "/v1/client/fs/logs/x" => {
            Response::builder().body(body(r#"{"Offset":6,"Data":"aGVsbG8K","File":"f"}{}{"FileEvent":"file deleted"}"#))
        }
        path if path.starts_with("/v1/job/") => Response::builder().status(404).body(body("job not found")),
        _ => Response::builder().body(body(&request.uri().to_string())),
    }
}

#[tokio::test]
async fn reads_tell_what_the_answer_says_of_itself_and_use_connections_again() {
    let (client, connections) = agent().await;
    for _ in 0..5 {
        let (jobs, meta) = client.jobs(&QueryOptions::default()).await.unwrap();
        assert_eq!(jobs[0].id, "a");
        assert_eq!((meta.index, meta.known_leader, meta.last_contact.as_millis()), (42, true, 7));
        assert_eq!(meta.next_token.as_deref(), Some("default.b"));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refusals_carry_the_status_and_the_text() {
    let (client, _) = agent().await;
    let error = client.job("a/b", &QueryOptions::default()).await.unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "job not found (HTTP 404)");
    let stranger = Client::new(Config { token: String::new(), ..client.config().clone() });
    assert_eq!(stranger.system_gc().await.unwrap_err().to_string(), "Permission denied (HTTP 403)");
    let error = client.node_pools(&QueryOptions::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot understand the answer to /v1/node/pools");
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let client = Client::new(Config { address: Address::Tcp { host: "127.0.0.1".into(), port }, ..Config::default() });
    let error = client.leader().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("cannot reach an agent at http://127.0.0.1:{port}: ")), "{text}");
    assert!(text.ends_with("(is it running? set ORCH_ADDR or -address)"), "{text}");
}

#[tokio::test]
async fn health_is_read_also_when_it_is_bad() {
    let (client, _) = agent().await;
    let health = client.agent_health().await.unwrap();
    assert_eq!((health.server, health.client.unwrap().message.as_str()), (None, "no known servers"));
}

#[tokio::test]
async fn raw_requests_keep_their_query_and_get_the_clients_namespace() {
    let (client, _) = agent().await;
    let answer = client.raw(Method::GET, "/v1/anything?x=%20y", None).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"/v1/anything?x=%20y&namespace=team"[..]));
}

#[tokio::test]
async fn frames_come_one_by_one_until_the_stream_ends() {
    let (client, _) = agent().await;
    let mut frames = client.logs("x", &LogOptions::default()).await.unwrap();
    assert_eq!(&frames.next().await.unwrap().unwrap().data.0[..], b"hello\n");
    assert!(frames.next().await.unwrap().unwrap().is_heartbeat());
    assert_eq!(frames.next().await.unwrap().unwrap().file_event, "file deleted");
    assert_eq!(frames.next().await.unwrap(), None);
}
