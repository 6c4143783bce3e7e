//! What a task tries, and does not get.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use orch_driver::TaskSpec;
use serde_json::{Value, json};

use crate::node::{Node, probe, shell};

fn as_root(mut spec: TaskSpec) -> TaskSpec {
    spec.user = Some("root".to_owned());
    spec
}

/// What the probe tells as `nobody`, and as root.
async fn tried(node: &Node, config: Value) -> [String; 2] {
    let driver = node.driver().await;
    let as_nobody = node.output(&driver, node.spec(config.clone())).await;
    let as_root = node.output(&driver, as_root(node.spec(config))).await;
    [as_nobody, as_root].map(|text| text.trim().to_owned())
}

#[tokio::test]
async fn mounting_and_new_namespaces_are_refused_also_to_root() {
    let node = Node::new();
    for what in ["mount", "unmount", "user-namespace"] {
        assert_eq!(tried(&node, probe(&[what])).await, ["refused: \"EPERM\""; 2], "{what}");
    }
    node.close().await;
}

#[tokio::test]
async fn raw_sockets_are_refused_unless_they_were_asked_for() {
    let node = Node::new();
    for what in ["raw-socket", "packet-socket"] {
        assert_eq!(tried(&node, probe(&[what])).await, ["refused: \"EPERM\""; 2], "{what}");
        let mut asked = probe(&[what]);
        asked["cap_add"] = json!(["net_raw"]);
        for told in tried(&node, asked).await {
            assert!(told.starts_with("allowed"), "{what}: {told}");
        }
    }
    node.close().await;
}

#[tokio::test]
async fn processes_of_the_host_can_be_neither_seen_nor_signalled_nor_traced() {
    let node = Node::new();
    let own = std::process::id().to_string();
    for what in ["kill", "trace"] {
        for told in tried(&node, probe(&[what, &own])).await {
            assert!(["refused: \"ESRCH\"", "refused: \"EPERM\""].contains(&told.as_str()), "{what}: {told}");
        }
    }
    let listed = tried(&node, shell("set -- /proc/[0-9]*; echo $#")).await;
    // The first process and the shell.
    assert_eq!(listed, ["2"; 2]);
    node.close().await;
}

#[tokio::test]
async fn a_task_that_sees_the_hosts_processes_cannot_signal_them() {
    let node = Node::new();
    let mut config = probe(&["kill", &std::process::id().to_string()]);
    config["pid_mode"] = json!("host");
    assert_eq!(tried(&node, config).await, ["refused: \"EPERM\""; 2]);
    node.close().await;
}

#[tokio::test]
async fn disks_of_the_host_are_out_of_reach() {
    let node = Node::new();
    let [nobody, root] = tried(&node, probe(&["disk"])).await;
    assert!(nobody.starts_with("refused") && root == "allowed: 0", "root may make the file: {nobody} {root}");
    // And that is all: the device behind it does not open.
    let script = "mknod /tmp/disk b 8 0; head -c 1 /tmp/disk; echo $?";
    assert_eq!(tried(&node, shell(script)).await, ["1"; 2]);
    for told in tried(&node, probe(&["device"])).await {
        assert!(["refused: \"EROFS\"", "refused: \"EPERM\"", "refused: \"EACCES\""].contains(&told.as_str()), "{told}");
    }
    node.close().await;
}

#[tokio::test]
async fn nothing_of_the_host_or_of_other_allocations_can_be_read_or_written() {
    let node = Node::new();
    let other = node.spec(shell("true"));
    let secret = other.dirs.secrets.join("key");
    std::fs::write(&secret, "secret").unwrap();
    let secret = secret.display();
    let script = format!(
        "cat /proc/timer_list /proc/keys; cat {secret} /proc/1/root{secret} /../../..{secret} ../../{}/web/secrets/key; \
         ls -d /root /home /var /alloc/../../web /proc/1/root/root; \
         for file in /etc/new /usr/new /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/new /dev/new; do \
           (echo x > $file) && echo wrote $file; done; echo done",
        other.id.alloc_id
    );
    for told in tried(&node, shell(&script)).await {
        assert_eq!(told, "done");
    }
    node.close().await;
}

#[tokio::test]
async fn no_more_is_gained_by_executing_something() {
    let node = Node::new();
    let script = "grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd|CapAmb):' /proc/self/status | tr -d '\\n'";
    let [nobody, root] = tried(&node, shell(script)).await;
    let plain = |text: &str| text.replace(['\t', ' '], "");
    let none = "0000000000000000";
    let usual = "00000000a80405fb";
    let usual_without_raw = u64::from_str_radix(usual, 16).unwrap() & !(1 << 13);
    let bound = format!("{usual_without_raw:016x}");
    assert_eq!(plain(&nobody), format!("CapEff:{none}CapBnd:{bound}CapAmb:{none}NoNewPrivs:1Seccomp:2"));
    assert_eq!(plain(&root), format!("CapEff:{bound}CapBnd:{bound}CapAmb:{none}NoNewPrivs:1Seccomp:2"));
    node.close().await;
}

#[tokio::test]
async fn abstract_sockets_of_the_host_are_out_of_reach() {
    let node = Node::new();
    let name = format!("orch-test-{}", node.mark);
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    assert_eq!(tried(&node, probe(&["abstract-socket", &name])).await, ["refused: \"EPERM\""; 2]);
    node.close().await;
}

#[tokio::test]
async fn links_that_a_task_leaves_do_not_lead_the_next_run_out() {
    let node = Node::new();
    let outside = tempfile::tempdir().unwrap();
    let driver = node.driver().await;
    let spec = as_root(node.spec(shell("echo ran")));
    for name in ["alloc", "dev"] {
        std::os::unix::fs::symlink(outside.path(), spec.dirs.task.join(name)).unwrap();
    }
    let error = orch_driver::Driver::start(&driver, spec).await.unwrap_err();
    assert!(error.to_string().contains("symbolic link"), "{error}");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    node.close().await;
}
