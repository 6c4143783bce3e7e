//! Whose files they are.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;

use orch_artifact::{Error, Request};

use crate::server::Server;
use crate::world::World;

const NOBODY: u32 = 65534;

#[tokio::test]
async fn files_belong_to_nobody_or_with_chown_to_the_task() {
    let (world, server) = (World::new(), Server::of("hello\n"));
    let request = |relative: &str, chown: bool| Request {
        destination: world.at(relative),
        owner: Some((1234, 1235)),
        chown,
        ..world.request(server.url("x"))
    };
    world.fetch(request("local/plain", false)).await.unwrap();
    world.fetch(request("local/given/deep", true)).await.unwrap();
    let owner = |name: &str| {
        let data = fs::metadata(world.local(name)).unwrap();
        (data.uid(), data.gid())
    };
    assert_eq!(owner("plain/x"), (NOBODY, NOBODY));
    assert_eq!(owner("plain"), (0, 0));
    assert_eq!([owner("given/deep/x"), owner("given/deep"), owner("given")], [(1234, 1235); 3]);
    assert_eq!(owner(""), (0, 0), "what was there keeps its owner");
}

#[tokio::test]
async fn the_child_has_no_rights_of_root() {
    let mut world = World::new();
    world.config.allow_file = true;
    fs::write(world.path("private"), "x").unwrap();
    fs::set_permissions(world.path("private"), fs::Permissions::from_mode(0o600)).unwrap();
    let error = world.refused(world.request(format!("file://{}", world.path("private").display()))).await;
    assert!(matches!(error, Error::Fetch { .. }) && error.to_string().contains("denied"), "{error}");
}

#[tokio::test]
async fn a_destination_on_another_file_system_gets_a_copy() {
    let (world, server) = (World::new(), Server::of("hello\n"));
    let shared = tempfile::TempDir::new_in("/dev/shm").unwrap();
    let request = Request {
        root: shared.path().to_owned(),
        destination: shared.path().join("local/deep"),
        owner: Some((1234, 1235)),
        chown: true,
        ..world.request(server.url("x"))
    };
    world.fetch(request).await.unwrap();
    let data = fs::metadata(shared.path().join("local/deep/x")).unwrap();
    assert_eq!((data.uid(), data.gid(), data.mode() & 0o7777), (1234, 1235, 0o644));
}
