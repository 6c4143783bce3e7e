use super::*;

fn dirs() -> TaskDirs {
    TaskDirs {
        task: "/var/allocs/1/web".into(),
        local: "/var/allocs/1/web/local".into(),
        secrets: "/var/allocs/1/web/secrets".into(),
        shared: "/var/allocs/1/alloc".into(),
    }
}

fn host(path: &str) -> HostPath {
    HostPath { source: path.into(), target: path.into(), is_dir: true }
}

fn volume(host_path: &str, task_path: &str) -> (TaskMount, bool) {
    let propagation = Propagation::Private;
    (TaskMount { host_path: host_path.into(), task_path: task_path.into(), read_only: false, propagation }, true)
}

fn plan_of(chroot: &[HostPath], mounts: &[(TaskMount, bool)], mode: Mode) -> Result<SandboxPlan, PlanError> {
    plan(&World {
        dirs: &dirs(),
        logs: Path::new("/var/allocs/1/alloc/logs"),
        chroot: chroot.to_vec(),
        mounts,
        resolver: None,
        programs: Vec::new(),
        pid_mode: mode,
        ipc_mode: mode,
        capabilities: Capabilities::default_of_tasks(),
        ambient: Capabilities::default(),
        pivot: true,
    })
}

/// Source, target and whether it is read-only, in order.
fn binds_of(plan: &SandboxPlan) -> Vec<(String, String, bool)> {
    let steps = plan.sandbox.steps.iter();
    let bind = steps.filter_map(|step| match step {
        Step::Bind { source, target, read_only, .. } => {
            Some((source.display().to_string(), target.display().to_string(), *read_only))
        }
        Step::Filesystem { .. }
        | Step::Node { .. }
        | Step::Directory { .. }
        | Step::Symlink { .. }
        | Step::Seal { .. }
        | Step::Lock { .. }
        | Step::Hide { .. } => None,
    });
    bind.collect()
}

#[test]
fn the_hosts_parts_are_read_only_and_the_outer_come_before_the_inner() {
    let mounts = [volume("/srv/data", "/alloc/data/db"), volume("/srv/etc", "/etc/app")];
    let plan = plan_of(&[host("/run/resolvconf"), host("/etc"), host("/usr")], &mounts, Mode::Private).unwrap();
    let expected = [
        ("/etc", "/etc", true),
        ("/usr", "/usr", true),
        ("/var/allocs/1/alloc", "/alloc", false),
        ("/run/resolvconf", "/run/resolvconf", true),
        ("/var/allocs/1/alloc/logs", "/alloc/logs", true),
        ("/srv/etc", "/etc/app", false),
        ("/srv/data", "/alloc/data/db", false),
    ];
    assert_eq!(binds_of(&plan), expected.map(|(source, target, ro)| (source.to_owned(), target.to_owned(), ro)));
}

#[test]
fn what_is_missing_is_made_in_the_allocation_and_nowhere_else() {
    let mounts = [volume("/srv/a", "/data"), volume("/srv/b", "/alloc/b"), volume("/srv/c", "/etc/c")];
    let plan = plan_of(&[host("/etc")], &mounts, Mode::Private).unwrap();
    let made = |base: &str, inside: &str| Mountpoint::Made { base: base.into(), inside: inside.into(), is_dir: true };
    for expected in [
        made("/var/allocs/1/web", "proc"),
        made("/var/allocs/1/web", "etc"),
        made("/var/allocs/1/web", "data"),
        made("/var/allocs/1/alloc", "b"),
        Mountpoint::Found { on_host: "/etc/c".into(), target: "/etc/c".into() },
    ] {
        assert!(plan.mountpoints.contains(&expected), "{expected:?} in {:?}", plan.mountpoints);
    }
}

#[test]
fn nothing_is_mounted_upon_what_the_kernel_gives_or_shows_other_allocations() {
    for target in ["/", "/proc/self", "/dev", "/sys/x", "relative", "/a/../proc"] {
        let refused = plan_of(&[], &[volume("/srv", target)], Mode::Private);
        assert_eq!(refused, Err(PlanError::Target(target.into())));
    }
    let refused = plan_of(&[host("/var")], &[], Mode::Private);
    assert_eq!(refused, Err(PlanError::ShowsAllocations("/var".into())));
}

#[test]
fn a_task_that_shares_with_the_host_is_confined_by_other_means() {
    let private = plan_of(&[], &[], Mode::Private).unwrap().sandbox;
    assert_eq!(private.namespaces, Namespaces { pid: true, ipc: true, uts: true });
    assert_eq!(private.privileges.scopes, ABSTRACT_SOCKETS);
    let shared = plan_of(&[], &[], Mode::Host).unwrap().sandbox;
    assert_eq!(shared.namespaces, Namespaces { pid: false, ipc: false, uts: true });
    assert_eq!(shared.privileges.scopes, SIGNALS, "the host's processes are seen, and must not be signalled");
    let seals = |sandbox: &Sandbox| sandbox.steps.iter().any(|step| matches!(step, Step::Seal { .. }));
    assert!(seals(&private) && seals(&shared));
}
