//! What takes the rights of root: a disk of our own to fill.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use orch_tests::{Agent, Cluster, Role, address, jobs, wait, wait_for};
use serde_json::json;

use super::SOON;

/// Too small for many large jobs.
const SMALL: &str = "size=96m";
/// Room again.
const LARGE: &str = "size=512m";
/// What each job carries in its metadata.
const BALLAST: usize = 256 * 1024;

#[test]
fn a_server_whose_disk_is_full_says_so_and_loses_nothing_it_acknowledged() {
    let cluster = Cluster::empty();
    let mut server = cluster.agent("s1", address::claim(), Role::Server { expect: 1, join: Vec::new() }, "");
    fs::create_dir_all(server.data_dir()).unwrap();
    tmpfs(&server.data_dir(), MsFlags::empty(), SMALL);
    server.start();
    wait_for("a job is registered", SOON, || server.api().register(&jobs::unplaceable("first")));

    let mut acknowledged = vec!["first".to_owned()];
    let refusal = (0..2000).find_map(|n| {
        let id = format!("large-{n}");
        let mut job = jobs::unplaceable(&id);
        job["Meta"] = json!({ "ballast": noise(n) });
        match server.api().register(&job) {
            Ok(_) => {
                acknowledged.push(id);
                None
            }
            Err(error) => Some(format!("{error:#}")),
        }
    });
    let refusal = refusal.expect("the disk is full at some time");
    wait_for("the log tells that the disk is full", SOON, || {
        let log = server.log();
        wait::that(log.contains("No space left on device"), || format!("{refusal}\n{log}"))
    });
    assert!(!server.log().contains("panicked"), "{}", server.log());
    server.kill();

    tmpfs(&server.data_dir(), MsFlags::MS_REMOUNT, LARGE);
    server.start();
    wait_for("everything acknowledged is there", SOON, || all_known(&server, &acknowledged));
    wait_for("the server accepts jobs again", SOON, || server.api().register(&jobs::unplaceable("last")));
}

fn all_known(server: &Agent, ids: &[String]) -> Result<(), String> {
    let unknown = |id: &&String| server.api().get(&format!("/v1/job/{id}")).is_err();
    let lost: Vec<&String> = ids.iter().filter(unknown).collect();
    wait::that(lost.is_empty(), || format!("{} of {} are lost: {lost:?}", lost.len(), ids.len()))
}

fn tmpfs(directory: &Path, flags: MsFlags, options: &str) {
    let mounted = mount(Some("tmpfs"), directory, Some("tmpfs"), flags, Some(options));
    mounted.unwrap_or_else(|error| panic!("this test mounts a tmpfs, which takes root: {error}"));
}

/// Text that does not compress.
fn noise(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'0' + u8::try_from(state % 75).unwrap())
    };
    std::iter::repeat_with(next).take(BALLAST).collect::<String>().replace('\\', "/")
}
