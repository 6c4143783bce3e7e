//! Repositories of this machine, by `file://`, by dumb http and by `git http-backend`.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use orch_artifact::{Error, Mode, Request};

use crate::server::{Answer, Asked, Server};
use crate::world::{World, as_file, files, options};

/// Runs git with an identity and without the machine's settings.
fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@x.example", "-c", "init.defaultBranch=main"])
        .args(["-c", "protocol.file.allow=always", "-c", "uploadpack.allowAnySHA1InWant=true"])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn commit(dir: &Path, files: &[(&str, &str)]) -> String {
    for (name, content) in files {
        fs::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs::write(dir.join(name), content).unwrap();
    }
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "--quiet", "-m", "x"]);
    git(dir, &["rev-parse", "HEAD"])
}

/// `<world>/repos/r`, bare: tag `v1` has `a` = one, branch `main` has `a` = two; returns the first commit.
fn repository(world: &World) -> String {
    let work = world.path("work");
    fs::create_dir_all(world.path("repos")).unwrap();
    fs::create_dir(&work).unwrap();
    git(&work, &["init", "--quiet"]);
    let first = commit(&work, &[("a", "one"), ("sub/b", "b")]);
    git(&work, &["tag", "v1"]);
    commit(&work, &[("a", "two")]);
    let bare = world.path("repos/r");
    git(&work, &["clone", "--quiet", "--bare", ".", bare.to_str().unwrap()]);
    git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
    git(&bare, &["update-server-info"]);
    first
}

/// Serves `<world>/repos` as plain files.
fn dumb(world: &World) -> Server {
    let root = world.path("repos");
    Server::start(move |asked| match fs::read(root.join(asked.path.trim_start_matches('/'))) {
        Ok(content) => Answer::ok(content),
        Err(_) => Answer::status(404),
    })
}

/// Serves `<world>/repos` through git's own program, to those who know the password and the token.
fn smart(world: &World) -> Server {
    let root = world.path("repos");
    Server::start(move |asked| {
        if asked.header("authorization") != Some("Basic YW5uOnNlY3JldA==") {
            let challenge = ("www-authenticate".to_owned(), "Basic realm=x".to_owned());
            return Answer { headers: vec![challenge], ..Answer::status(401) };
        }
        if asked.header("x-token") != Some("t\"k") { Answer::status(403) } else { backend(&root, asked) }
    })
}

fn backend(root: &Path, asked: &Asked) -> Answer {
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("PATH_INFO", &asked.path)
        .env("QUERY_STRING", &asked.query)
        .env("REQUEST_METHOD", &asked.method)
        .env("CONTENT_TYPE", asked.header("content-type").unwrap_or_default())
        .env("CONTENT_LENGTH", asked.body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", asked.header("content-encoding").unwrap_or_default())
        .env("GIT_PROTOCOL", asked.header("git-protocol").unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&asked.body).unwrap();
    let mut output = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    child.wait().unwrap();
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(output[..end].to_vec()).unwrap();
    let mut answer = Answer::ok(&output[end + 4..]);
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match name {
            "Status" => answer.status = value[..3].parse().unwrap(),
            _ => answer.headers.push((name.to_owned(), value.to_owned())),
        }
    }
    answer
}

fn read(world: &World, name: &str) -> String {
    fs::read_to_string(world.local(name)).unwrap()
}

#[tokio::test]
async fn a_repository_is_checked_out_at_a_branch_a_tag_or_a_commit() {
    let mut world = World::new();
    let first = repository(&world);
    world.config.allow_file = true;
    let source = format!("git::file://{}", world.path("repos/r").display());
    for (reference, depth, expected) in [
        (None, None, "two"),
        (Some("main"), None, "two"),
        (Some("v1"), None, "one"),
        (Some(&*first), None, "one"),
        (None, Some("1"), "two"),
        (Some("v1"), Some("1"), "one"),
        (Some(&*first), Some("1"), "one"),
    ] {
        let pairs: Vec<_> =
            [("ref", reference), ("depth", depth)].into_iter().filter_map(|(k, v)| Some((k, v?))).collect();
        let request = Request { options: options(&pairs), destination: world.at("local/r"), ..world.request(&source) };
        world.fetch(request).await.unwrap_or_else(|error| panic!("{pairs:?}: {error}"));
        assert_eq!(read(&world, "r/a"), expected, "{pairs:?}");
        assert_eq!(read(&world, "r/sub/b"), "b");
        let shallow = world.local("r/.git/shallow").exists();
        assert_eq!(shallow, depth.is_some(), "{pairs:?}");
        fs::remove_dir_all(world.local("r")).unwrap();
    }
}

#[tokio::test]
async fn a_part_of_a_repository_comes_without_its_history() {
    let mut world = World::new();
    repository(&world);
    world.config.allow_file = true;
    let source = |sub: &str| format!("git::file://{}//{sub}?ref=v1", world.path("repos/r").display());
    world.fetch(Request { mode: Mode::Dir, ..world.request(source("sub")) }).await.unwrap();
    world.fetch(as_file(&world, source("a"), "local/given")).await.unwrap();
    assert_eq!(files(&world.local("")), ["b", "given"]);
    assert_eq!(read(&world, "given"), "one");
}

#[tokio::test]
async fn git_over_http_shows_logins_and_headers_to_the_host_and_keeps_them_out_of_the_repository() {
    let mut world = World::new();
    repository(&world);
    let server = smart(&world);
    world.config.netrc = Some(world.path("netrc"));
    fs::write(world.path("netrc"), "machine 127.0.0.1 login ann password secret\n").unwrap();
    let request = || Request {
        headers: options(&[("X-Token", "t\"k")]),
        options: options(&[("depth", "1")]),
        destination: world.at("local/r"),
        ..world.request(format!("git::{}", server.url("r")))
    };
    world.fetch(request()).await.unwrap();
    assert_eq!(read(&world, "r/a"), "two");
    let config = read(&world, "r/.git/config");
    assert!(config.contains("127.0.0.1") && !config.contains("secret") && !config.contains("Token"), "{config}");

    let with_user = server.url("r").replace("http://", "http://ann:secret@");
    world.fetch(Request { source: format!("git::{with_user}"), ..request() }).await.unwrap();
    assert!(!read(&world, "r/.git/config").contains("secret"));

    fs::remove_dir_all(world.local("r")).unwrap();
    let wrong = server.url("r").replace("http://", "http://ann:wrong@");
    let error = world.refused(Request { source: format!("git::{wrong}"), ..request() }).await;
    assert!(matches!(error, Error::Fetch { .. }) && !error.to_string().contains("wrong"), "{error}");
}

#[tokio::test]
async fn a_repository_served_as_plain_files_is_cloned() {
    let world = World::new();
    repository(&world);
    let server = dumb(&world);
    world.fetch(world.request(format!("git::{}//sub", server.url("r")))).await.unwrap();
    assert_eq!(files(&world.local("")), ["b"]);

    let world = World::new();
    let error = world.refused(world.request(format!("git::{}", server.url("missing")))).await;
    assert!(matches!(error, Error::Fetch { .. }) && error.to_string().contains("not found"), "{error}");
    let request = Request { options: options(&[("ref", "v9")]), ..world.request(format!("git::{}", server.url("r"))) };
    let error = world.refused(request).await;
    assert!(error.to_string().contains("v9"), "{error}");
}

#[tokio::test]
async fn submodules_come_along_but_not_from_this_machine_unless_allowed() {
    let world = World::new();
    repository(&world);
    let outer = world.path("outer");
    fs::create_dir(&outer).unwrap();
    git(&outer, &["init", "--quiet"]);
    git(&outer, &["submodule", "--quiet", "add", world.path("repos/r").to_str().unwrap(), "inner"]);
    commit(&outer, &[("c", "c")]);
    git(&outer, &["clone", "--quiet", "--bare", ".", world.path("repos/outer").to_str().unwrap()]);
    git(&world.path("repos/outer"), &["update-server-info"]);
    let server = dumb(&world);
    let error = world.refused(world.request(format!("git::{}", server.url("outer")))).await;
    assert!(matches!(error, Error::Fetch { .. }) && error.to_string().contains("inner"), "{error}");

    // By an address relative to its own.
    git(&outer, &["config", "-f", ".gitmodules", "submodule.inner.url", "../r"]);
    commit(&outer, &[("c", "d")]);
    git(&outer, &["push", "--quiet", world.path("repos/outer").to_str().unwrap(), "HEAD:main"]);
    git(&world.path("repos/outer"), &["update-server-info"]);
    world.fetch(world.request(format!("git::{}", server.url("outer")))).await.unwrap();
    assert_eq!((read(&world, "c"), read(&world, "inner/a")), ("d".into(), "two".into()));
}

#[tokio::test]
async fn links_in_a_repository_must_stay_in_what_is_placed() {
    let mut world = World::new();
    world.config.allow_file = true;
    let work = world.path("work");
    fs::create_dir_all(work.join("sub")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", work.join("sub/users")).unwrap();
    std::os::unix::fs::symlink("../a", work.join("near")).unwrap();
    git(&work, &["init", "--quiet"]);
    commit(&work, &[("a", "one")]);
    let source = format!("git::file://{}", work.display());
    for source in [source.clone(), format!("{source}//sub")] {
        let error = world.refused(world.request(&source)).await;
        assert!(matches!(error, Error::Content { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_time_limit_ends_git() {
    let mut world = World::new();
    world.config.git_timeout = std::time::Duration::from_millis(500);
    let server = Server::start(|_| Answer { end: crate::server::End::Silent, ..Answer::ok("") });
    let error = world.refused(world.request(format!("git::{}", server.url("r")))).await;
    assert!(matches!(error, Error::TooSlow { .. }), "{error}");
}
