//! What the child can reach of this machine.

use std::fs;
use std::process::Command;

use orch_artifact::Error;

use crate::world::{World, files};

fn git(dir: &std::path::Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@x.example"];
    let mut command = Command::new("git");
    command.args(identity).args(arguments).current_dir(dir).env("GIT_CONFIG_GLOBAL", "/dev/null");
    assert!(command.status().unwrap().success(), "git {arguments:?}");
}

/// A repository whose objects are elsewhere: who may read only the repository cannot clone it.
fn borrowed(world: &World) -> String {
    let secret = world.path("secret");
    fs::create_dir(&secret).unwrap();
    git(&secret, &["init", "--quiet"]);
    fs::write(secret.join("s"), "secret").unwrap();
    git(&secret, &["add", "-A"]);
    git(&secret, &["commit", "--quiet", "-m", "x"]);
    git(&world.path(""), &["clone", "--quiet", "--bare", "--shared", "secret", "open"]);
    format!("git::file://{}", world.path("open").display())
}

#[tokio::test]
async fn the_child_reads_what_its_source_names_and_nothing_beside_it() {
    let mut world = World::new();
    world.config.allow_file = true;
    let source = borrowed(&world);
    let error = world.refused(world.request(&source)).await;
    assert!(matches!(error, Error::Fetch { .. }), "{error}");

    world.config.filesystem_isolation_extra_paths =
        vec![format!("d:r:{}", world.path("secret").display()).parse().unwrap()];
    world.fetch(world.request(&source)).await.unwrap();
    fs::remove_dir_all(world.local("")).unwrap();

    world.config.filesystem_isolation_extra_paths = Vec::new();
    world.config.disable_filesystem_isolation = true;
    world.fetch(world.request(&source)).await.unwrap();
    assert_eq!(fs::read_to_string(world.local("s")).unwrap(), "secret");
}

#[tokio::test]
async fn files_of_this_machine_are_fetched_only_where_that_is_allowed() {
    let mut world = World::new();
    fs::create_dir(world.path("dir")).unwrap();
    fs::write(world.path("dir/f"), "f").unwrap();
    std::os::unix::fs::symlink("f", world.path("dir/l")).unwrap();
    let (dir, file) = (world.path("dir").display().to_string(), format!("file://{}", world.path("dir/f").display()));
    let error = world.refused(world.request(&file)).await;
    assert!(matches!(error, Error::Malformed { .. }), "{error}");

    world.config.allow_file = true;
    world.fetch(world.request(&file)).await.unwrap();
    world.fetch(orch_artifact::Request { destination: world.at("local/d"), ..world.request(&dir) }).await.unwrap();
    assert_eq!(files(&world.local("")), ["d/f", "d/l", "f"]);
}
