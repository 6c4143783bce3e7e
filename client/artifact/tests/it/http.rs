//! Plain files over http: names, modes, headers, logins, checksums, redirects, retries.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use orch_artifact::{Error, Mode, Request};

use crate::server::{Answer, End, Server};
use crate::world::{World, as_file, files, options};

const HELLO_SHA256: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
const HELLO_SHA512: &str = "e7c22b994c59d9cf2b48e549b1e24666636045930d3da7c1acb299d1c3b7f931f94aae41edda2c2b207a36e10f8bcb8d\
                            45223e54878f5b316e7ce3b6bc019629";

#[tokio::test]
async fn a_file_lands_in_the_directory_under_its_own_name() {
    let (world, server) = (World::new(), Server::of("hello\n"));
    world.fetch(world.request(server.url("dir/hello%20world?version=1"))).await.unwrap();
    assert_eq!(fs::read_to_string(world.local("hello world")).unwrap(), "hello\n");
    assert_eq!(server.asked()[0].query, "version=1");

    let named = Request { options: options(&[("filename", "mine")]), ..world.request(server.url("x")) };
    world.fetch(named).await.unwrap();
    assert_eq!(files(&world.root()), ["web/local/hello world", "web/local/mine"]);
}

#[tokio::test]
async fn with_mode_file_the_destination_is_the_file() {
    let (world, server) = (World::new(), Server::of("hello\n"));
    fs::create_dir(world.local("there")).unwrap();
    fs::write(world.local("there/config"), "old").unwrap();
    world.fetch(as_file(&world, server.url(""), "local/there/config")).await.unwrap();
    assert_eq!(fs::read_to_string(world.local("there/config")).unwrap(), "hello\n");

    let error = world.fetch(as_file(&world, server.url("x"), "local/there")).await.unwrap_err();
    assert!(matches!(error, Error::Place { .. }), "{error}");
}

#[tokio::test]
async fn mode_dir_takes_no_single_file() {
    let (world, server) = (World::new(), Server::of("hello\n"));
    let error = world.refused(Request { mode: Mode::Dir, ..world.request(server.url("x")) }).await;
    assert!(!error.is_recoverable() && error.to_string().contains("archive"), "{error}");
}

#[tokio::test]
async fn checksums_are_checked_whatever_their_form() {
    let (world, server) = (World::new(), {
        Server::start(|asked| match asked.path.as_str() {
            "/SHA256SUMS" => Answer::ok(format!("{HELLO_SHA256}  hello\n{}  other\n", HELLO_SHA256.replace('5', "6"))),
            _ => Answer::ok("hello\n"),
        })
    });
    let listed = format!("file:{}", server.url("SHA256SUMS"));
    let sum =
        |checksum: &str| Request { options: options(&[("checksum", checksum)]), ..world.request(server.url("hello")) };
    let digests = ["md5:b1946ac92492d2347c6235b4d2611184", "sha1:f572d396fae9206628714fb2ce00f72e94f2258f"];
    let sha256 = format!("sha256:{}", HELLO_SHA256.to_uppercase());
    for good in digests.into_iter().chain([&*sha256, HELLO_SHA256, &format!("sha512:{HELLO_SHA512}"), &listed]) {
        world.fetch(sum(good)).await.unwrap_or_else(|error| panic!("{good}: {error}"));
        fs::remove_file(world.local("hello")).unwrap();
    }
    let wrong = format!("sha256:{}", HELLO_SHA256.replace('5', "6"));
    let error = world.refused(sum(&wrong)).await;
    assert!(matches!(error, Error::Checksum { .. }) && error.is_recoverable(), "{error}");
    assert!(error.to_string().contains(HELLO_SHA256), "{error}");

    let other = Request { source: server.url("other"), ..sum(&listed) };
    assert!(matches!(world.refused(other).await, Error::Checksum { .. }));
    let missing = Request { source: server.url("third"), ..sum(&listed) };
    assert!(world.refused(missing).await.to_string().contains("does not list \"third\""));
}

#[tokio::test]
async fn headers_and_logins_go_to_the_named_host_only() {
    let mut world = World::new();
    let other = Server::of("hello\n");
    let target = other.url("there");
    let server = Server::start(move |asked| match asked.path.as_str() {
        "/away" => Answer::redirect(target.clone()),
        "/near" => Answer::redirect("/final"),
        _ => Answer::ok("hello\n"),
    });
    world.config.netrc = Some(world.path("netrc"));
    fs::write(world.path("netrc"), "machine 127.0.0.1 login ann password secret\n").unwrap();
    let request = |path: &str| Request { headers: options(&[("X-Token", "t")]), ..world.request(server.url(path)) };

    world.fetch(request("near")).await.unwrap();
    world.fetch(request("away")).await.unwrap();
    let with_user = server.url("user").replace("http://", "http://bob:pw@");
    world.fetch(Request { source: with_user, ..request("user") }).await.unwrap();

    let seen: Vec<_> = server
        .asked()
        .into_iter()
        .map(|asked| {
            let header = |name: &str| asked.header(name).unwrap_or("-").to_owned();
            format!("{} {} {}", asked.path, header("x-token"), header("authorization"))
        })
        .collect();
    let ann = "Basic YW5uOnNlY3JldA==";
    assert_eq!(
        seen,
        [
            format!("/near t {ann}"),
            format!("/final t {ann}"),
            format!("/away t {ann}"),
            "/user t Basic Ym9iOnB3".to_owned(),
        ]
    );
    let there = &other.asked()[0];
    assert_eq!((there.header("x-token"), there.header("authorization")), (None, None));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    let world = World::new();
    let flaky = |first: fn() -> Answer| {
        let count = Arc::new(AtomicUsize::new(0));
        Server::start(move |_| if count.fetch_add(1, Ordering::SeqCst) < 2 { first() } else { Answer::ok("hello\n") })
    };
    for first in [|| Answer::status(503), || Answer { end: End::BrokenOff, ..Answer::ok("he") }] {
        let server = flaky(first);
        world.fetch(world.request(server.url("x"))).await.unwrap();
        assert_eq!(fs::read_to_string(world.local("x")).unwrap(), "hello\n");
        assert_eq!(server.asked().len(), 3);
        fs::remove_file(world.local("x")).unwrap();
    }
    for (status, attempts) in [(503, 3), (404, 1), (403, 1)] {
        let server = Server::start(move |_| Answer::status(status));
        let error = world.refused(world.request(server.url("x"))).await;
        assert!(matches!(error, Error::Fetch { .. }) && error.is_recoverable(), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(server.asked().len(), attempts, "{status}");
    }
}
