//! Limits, unreachable sources, destinations that are links, and fetches that are given up.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use orch_artifact::{Error, Fetcher, Request};

use crate::server::{Answer, End, Server};
use crate::world::{World, as_file, files, options};

#[tokio::test]
async fn an_unresolvable_host_and_a_closed_port_are_told_apart() {
    let world = World::new();
    let error = world.refused(world.request("http://orch-no-such-host.invalid/x")).await;
    assert!(matches!(error, Error::Fetch { .. }) && error.is_recoverable(), "{error}");
    assert!(error.to_string().contains("lookup"), "{error}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = world.refused(world.request(format!("http://{closed}/x"))).await;
    assert!(error.to_string().contains("refused") && error.to_string().contains("tried 3 times"), "{error}");
}

#[tokio::test]
async fn a_download_over_the_limit_is_stopped_whether_announced_or_not() {
    let mut world = World::new();
    world.config.http_max_size = 1000;
    let server = Server::of(vec![b'x'; 1001]);
    let error = world.refused(world.request(server.url("x"))).await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");

    let chunked = Server::start(|_| Answer {
        headers: vec![("transfer-encoding".into(), "chunked".into())],
        ..Answer::ok([&b"3e9\r\n"[..], &[b'x'; 1001], b"\r\n0\r\n\r\n"].concat())
    });
    let error = world.refused(world.request(chunked.url("x"))).await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let mut world = World::new();
    world.config.http_read_timeout = Duration::from_millis(300);
    let server = Server::start(|_| Answer { end: End::Silent, ..Answer::ok("he") });
    let error = world.refused(world.request(server.url("x"))).await;
    assert!(matches!(error, Error::TooSlow { limit, .. } if limit == Duration::from_millis(300)), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn dropping_a_fetch_ends_its_process() {
    let world = World::new();
    let (asked, hear) = tokio::sync::oneshot::channel();
    let asked = std::sync::Mutex::new(Some(asked));
    let server = Server::start(move |_| {
        if let Some(asked) = asked.lock().unwrap().take() {
            asked.send(()).unwrap();
        }
        Answer { end: End::Silent, ..Answer::ok("he") }
    });
    let fetcher = Fetcher::new(world.config.clone());
    tokio::select! {
        result = fetcher.fetch(world.request(server.url("x"))) => panic!("{result:?}"),
        heard = hear => heard.unwrap(),
    }
    // The server's thread waits for the end of the connection.
    drop(server);
    assert!(files(&world.root()).is_empty());
}

#[tokio::test]
async fn a_destination_behind_a_link_is_refused() {
    let (world, server) = (World::new(), Server::of("hello\n"));
    fs::create_dir(world.path("outside")).unwrap();
    fs::write(world.path("outside/x"), "untouched").unwrap();
    symlink(world.path("outside"), world.local("link")).unwrap();
    for destination in ["local/link", "local/link/deeper"] {
        let request = Request { destination: world.at(destination), ..world.request(server.url("x")) };
        let error = world.fetch(request).await.unwrap_err();
        assert!(matches!(error, Error::Place { .. }), "{destination}: {error}");
    }
    // The link itself is replaced, not what it leads to.
    symlink(world.path("outside/x"), world.local("x")).unwrap();
    world.fetch(as_file(&world, server.url("x"), "local/x")).await.unwrap();
    assert_eq!(fs::read_to_string(world.local("x")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(world.path("outside/x")).unwrap(), "untouched");
    assert_eq!(files(&world.path("outside")), ["x"]);

    let outside = Request { destination: world.path("outside"), ..world.request(server.url("x")) };
    assert!(matches!(world.fetch(outside).await.unwrap_err(), Error::Destination { .. }));
}

#[tokio::test]
async fn a_request_at_fault_starts_nothing_and_is_not_recoverable() {
    let mut world = World::new();
    world.config.exe = "/no/such/program".into();
    for source in ["", "hg::https://x.example/r", "file:///etc/passwd", "https://x.example/a.tar.bz2"] {
        let error = world.refused(world.request(source)).await;
        assert!(matches!(error, Error::Malformed { .. }) && !error.is_recoverable(), "{error}");
    }
    let bad = Request { options: options(&[("checksum", "sha256:12")]), ..world.request("https://x.example/f") };
    assert!(!world.refused(bad).await.is_recoverable());
    let error = world.refused(world.request("https://x.example/f")).await;
    assert!(matches!(error, Error::Child { .. }) && error.is_recoverable(), "{error}");
}
