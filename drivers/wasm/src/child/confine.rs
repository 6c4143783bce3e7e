//! Giving up what the program does not need, so that a hole in the engine opens little more than what the program was given.

use std::path::Path;

use caps::CapSet;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope,
};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use orch_supervisor::UserIds;

use super::grants::OpenDir;
use crate::plan::Plan;

/// The newest rules that are known here; of these the kernel takes what it knows.
const RULES: ABI = ABI::V6;
/// What looking up names and checking certificates reads.
const FOR_NAMES: [&str; 12] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/share/ca-certificates",
];

/// Gives up files, ports, privileges and user, in this order. For ever, and for every thread: there must be no other one yet.
///
/// Returns what the host cannot take away. An error is a sentence.
pub(super) fn confine(plan: &Plan, dirs: &[OpenDir]) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    match restrict(plan, dirs) {
        Ok(RulesetStatus::NotEnforced) => {
            warnings.push(
                "this kernel has no Landlock: only the engine keeps the program from the host's files".to_owned(),
            );
        }
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {}
        Err(error) => return Err(format!("the process cannot be confined: {error}")),
    }
    if let Some(user) = &plan.user {
        become_user(user).map_err(|error| format!("the process cannot become user {}: {error}", user.uid))?;
        // A change of user hides the process's own descriptors from it, through which its directories are found.
        nix::sys::prctl::set_dumpable(true).map_err(|error| format!("the process cannot see itself: {error}"))?;
    }
    // Ambient ones go with those that can be inherited.
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(|error| format!("the process cannot give up its privileges: {error}"))?;
    }
    Ok(warnings)
}

fn restrict(plan: &Plan, dirs: &[OpenDir]) -> Result<RulesetStatus, RulesetError> {
    let mut net = BitFlags::from(AccessNet::BindTcp);
    if plan.allowed_hosts.is_empty() {
        net |= AccessNet::ConnectTcp;
    }
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(net)?
        .scope(Scope::from_all(RULES))?
        .create()?;
    let unwanted = AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock;
    for OpenDir { fd, guest: _, read_only } in dirs {
        let access = if *read_only { AccessFs::from_read(RULES) } else { AccessFs::from_all(RULES) };
        rules = rules.add_rule(PathBeneath::new(fd, access & !unwanted))?;
    }
    for port in &plan.ports {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    if !plan.allowed_hosts.is_empty() {
        for path in FOR_NAMES {
            let Ok(fd) = PathFd::new(path) else { continue };
            let access = if Path::new(path).is_dir() { AccessFs::from_read(RULES) } else { AccessFs::ReadFile.into() };
            rules = rules.add_rule(PathBeneath::new(fd, access))?;
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

fn become_user(user: &UserIds) -> nix::Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}
