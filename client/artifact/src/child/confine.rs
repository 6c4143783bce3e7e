//! Giving up of rights, before anything is read that others wrote.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::config::ExtraPath;
use crate::order::{Failure, FailureKind, Note, OUT, Order};
use crate::source::Place;

/// What is asked of Landlock; older kernels enforce the part that they know.
const ABI_WANTED: ABI = ABI::V6;

/// What programs, their libraries, name resolution and TLS read.
const READABLE: [&str; 44] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/networks",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/pki",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/static",
    "/etc/timezone",
    "/run/NetworkManager/resolv.conf",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/var/lib/ca-certificates",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/proc/self",
    "/proc/sys",
    "/sys/devices/system/cpu",
];

/// More than any archive or repository needs that is not made to exhaust the node.
const MOST_MEMORY: u64 = 4 << 30;

/// Limits, isolates and demotes this process, as far as this machine lets it; `notes` says what it does not.
pub(super) fn confine(order: &Order, notes: &mut Vec<Note>) -> Result<(), Failure> {
    umask(Mode::from_bits_truncate(0o022));
    limit(Resource::RLIMIT_CORE, 0, notes);
    limit(Resource::RLIMIT_DATA, MOST_MEMORY, notes);
    let (downloaded, unpacked) = (order.limits.download_bytes, order.limits.unpacked_bytes);
    if downloaded > 0 && unpacked > 0 {
        // What this process writes is counted; this is for git.
        limit(Resource::RLIMIT_FSIZE, downloaded.max(unpacked).saturating_add(1 << 20), notes);
    }
    // Paths are opened with the rights that are given up afterwards.
    let ruleset = if order.confinement.isolate { Some(rules(order)?) } else { None };
    if let Some((user, group)) = order.confinement.user {
        demote(Uid::from_raw(user), Gid::from_raw(group), notes);
    }
    match ruleset {
        None => {
            set_no_new_privs().map_err(|error| refuse(format!("cannot give up new privileges: {error}")))?;
        }
        Some(ruleset) => match ruleset.restrict_self() {
            Ok(status) if status.ruleset == RulesetStatus::NotEnforced => {
                notes.push(Note::Isolation("this kernel has no Landlock, or it is off".into()));
            }
            Ok(_) => {}
            Err(error) => return Err(refuse(format!("cannot isolate itself: {error}"))),
        },
    }
    make_directories(&order.scratch)
}

fn refuse(reason: String) -> Failure {
    Failure::new(FailureKind::Local, reason)
}

fn limit(resource: Resource, to: u64, notes: &mut Vec<Note>) {
    let lowered = getrlimit(resource).and_then(|(_, hard)| setrlimit(resource, to.min(hard), to.min(hard)));
    if let Err(error) = lowered {
        notes.push(Note::Isolation(format!("cannot limit {resource:?}: {error}")));
    }
}

fn rules(order: &Order) -> Result<RulesetCreated, Failure> {
    let read = AccessFs::from_read(ABI_WANTED);
    let all = AccessFs::from_all(ABI_WANTED);
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    let build = || -> Result<RulesetCreated, landlock::RulesetError> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::from_all(ABI_WANTED))?
            .create()?
            .add_rules(path_beneath_rules(READABLE, read))?
            .add_rules(path_beneath_rules(["/dev/null"], device))?
            .add_rules(path_beneath_rules([&order.scratch], all))?;
        if let Place::File { path } = &order.source.place {
            rules = rules.add_rules(path_beneath_rules([path], read))?;
        }
        if let Some(path) = repository(order) {
            rules = rules.add_rules(path_beneath_rules([path], read))?;
        }
        for extra in &order.confinement.extra {
            rules = allow(rules, extra)?;
        }
        Ok(rules)
    };
    build().map_err(|error| refuse(format!("cannot prepare its isolation: {error}")))
}

/// The repository on this machine that is to be fetched.
fn repository(order: &Order) -> Option<&str> {
    match &order.source.place {
        Place::Git(git) if order.allow_file => git.url.strip_prefix("file://"),
        Place::Git(_) | Place::Http { .. } | Place::S3(_) | Place::File { .. } => None,
    }
}

/// A path that is not there needs no rule.
fn allow(rules: RulesetCreated, extra: &ExtraPath) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(open) = PathFd::new(&extra.path) else { return Ok(rules) };
    let mut access = BitFlags::<AccessFs>::empty();
    if extra.read {
        access |= AccessFs::ReadFile | AccessFs::ReadDir;
    }
    if extra.write {
        access |= AccessFs::WriteFile | AccessFs::Truncate;
    }
    if extra.execute {
        access |= AccessFs::Execute;
    }
    if extra.create {
        access |= AccessFs::from_write(ABI_WANTED) & !(AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev);
    }
    if !extra.path.is_dir() {
        access &= AccessFs::from_file(ABI_WANTED);
    }
    if access.is_empty() { Ok(rules) } else { rules.add_rule(PathBeneath::new(open, access)) }
}

fn demote(user: Uid, group: Gid, notes: &mut Vec<Note>) {
    let mut note = |what: &str, result: nix::Result<()>| {
        if let Err(error) = result {
            notes.push(Note::User(format!("cannot change its {what}: {error}")));
        }
    };
    note("supplementary groups", setgroups(&[]));
    note("group", setresgid(group, group, group));
    note("user", setresuid(user, user, user));
}

fn make_directories(scratch: &Path) -> Result<(), Failure> {
    let user = Uid::effective();
    for name in ["home", "tmp", OUT] {
        let path = scratch.join(name);
        std::fs::create_dir(&path).map_err(Failure::local(format!(
            "user {user} cannot make {} (its parents must let everybody pass)",
            path.display()
        )))?;
    }
    Ok(())
}
