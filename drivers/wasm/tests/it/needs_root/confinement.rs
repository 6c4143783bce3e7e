//! What a program does not get at.

use orch_driver::{TaskMount, TaskSpec};
use serde_json::json;

use crate::guests;
use crate::node::Node;

#[tokio::test]
async fn a_program_reads_and_writes_what_it_was_given_and_nothing_else() {
    let node = Node::new();
    let driver = node.driver().await;
    for module in [guests::program(), guests::component()] {
        let args = [
            "files",
            "read",
            "/local/own",
            "write",
            "/alloc/new",
            "write",
            "/secrets/new",
            "read",
            "/data/volume",
            "write",
            "/data/new",
            "read",
            "/extra/file",
            "write",
            "/extra/new",
            "read",
            "/etc/passwd",
            "read",
            "/local/../../secret",
            "read",
            "/local/link",
            "read",
            "/local/absolute",
            "read",
            "/alloc/../web/local/own",
            "read",
            "/proc/self/environ",
        ];
        let mut spec = node.spec(json!({"module": module, "args": args, "dirs": ["more:/extra:ro"]}));
        let volume = tempfile::tempdir().unwrap();
        prepare(&mut spec, volume.path());
        let (shared, secrets) = (spec.dirs.shared.clone(), spec.dirs.secrets.clone());
        let ended = node.run(&driver, spec).await;
        assert!(ended.status.success(), "{:?} {}", ended.status, ended.stderr);
        let lines: Vec<&str> = ended.stdout.lines().collect();
        let open =
            ["/local/own: mine", "/alloc/new: ok", "/secrets/new: ok", "/data/volume: kept", "/extra/file: more"];
        for line in open {
            assert!(lines.contains(&line), "{line:?} in {lines:?}");
        }
        for closed in [
            "/data/new",
            "/extra/new",
            "/etc/passwd",
            "/local/../../secret",
            "/local/link",
            "/local/absolute",
            "/proc/self/environ",
        ] {
            let answer = lines.iter().find(|line| line.starts_with(&format!("{closed}: "))).unwrap();
            assert!(!answer.ends_with(": ok") && !answer.contains("forbidden") && !answer.contains("root"), "{answer}");
        }
        assert!(shared.join("new").exists() && secrets.join("new").exists());
        assert!(!volume.path().join("new").exists());
    }
    node.close().await;
}

fn prepare(spec: &mut TaskSpec, volume: &std::path::Path) {
    let dirs = &spec.dirs;
    let more = dirs.task.join("more");
    std::fs::create_dir(&more).unwrap();
    for (file, text) in [
        (dirs.local.join("own"), "mine"),
        (more.join("file"), "more"),
        (volume.join("volume"), "kept"),
        (dirs.task.parent().unwrap().join("secret"), "forbidden"),
    ] {
        std::fs::write(file, text).unwrap();
    }
    std::os::unix::fs::symlink("../../secret", dirs.local.join("link")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dirs.local.join("absolute")).unwrap();
    spec.mounts.push(TaskMount {
        host_path: volume.to_owned(),
        task_path: "/data".into(),
        read_only: true,
        propagation: orch_driver::Propagation::Private,
    });
}

#[tokio::test]
async fn the_process_has_the_tasks_user_and_no_privileges() {
    use orch_driver::Driver as _;
    let node = Node::new();
    let driver = node.driver().await;
    for (user, uid) in [(None, "0"), (Some("65534:65534"), "65534")] {
        let mut spec = node.spec(json!({"module": guests::program(), "args": ["forever"]}));
        spec.user = user.map(str::to_owned);
        let handle = driver.start(spec).await.unwrap();
        assert_eq!(handle.warnings, [""; 0]);
        let note: serde_json::Value = serde_json::from_slice(&handle.state).unwrap();
        let pid = note["process"]["pid"].as_i64().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        assert_eq!(field("Uid:"), uid);
        assert_eq!(
            (field("CapEff:"), field("CapPrm:"), field("NoNewPrivs:")),
            ("0".repeat(16), "0".repeat(16), "1".to_owned())
        );
        assert_eq!(std::fs::read(format!("/proc/{pid}/environ")).unwrap(), b"");
        driver.destroy(&handle.id).await.unwrap();
    }
    node.close().await;
}

#[tokio::test]
async fn another_user_sees_its_directories_too() {
    let node = Node::new();
    let driver = node.driver().await;
    let mut spec =
        node.spec(json!({"module": guests::program(), "args": ["files", "read", "/local/own", "write", "/local/new"]}));
    spec.user = Some("65534:65534".to_owned());
    std::fs::write(spec.dirs.local.join("own"), "mine").unwrap();
    let ended = node.run(&driver, spec).await;
    assert!(ended.status.success(), "{:?} {}", ended.status, ended.stderr);
    assert_eq!(ended.stdout, "/local/own: mine\n/local/new: Permission denied\n");
    node.close().await;
}
