//! The host's name, kernel and operating system.

use std::fs;

use orch_host::cgroup::{Hierarchies, Version};
use orch_model::node::NodeDescription;
use sysinfo::System;

/// The name of the host; `localhost` where it has none.
pub fn hostname() -> String {
    let named = System::host_name().ok().filter(|name| !name.is_empty() && name != "(none)");
    named.unwrap_or_else(|| "localhost".to_owned())
}

pub(super) fn describe(node: &mut NodeDescription) {
    let release = System::kernel_version().unwrap_or_default();
    let mut set = |key: &str, value: String| {
        if !value.is_empty() {
            node.attributes.insert(key.to_owned(), value);
        }
    };
    set("kernel.name", "linux".to_owned());
    set("kernel.arch", std::env::consts::ARCH.to_owned());
    if let Some(abi) = landlock(&release) {
        set("kernel.landlock", format!("v{abi}"));
    }
    set("kernel.version", release);
    set("os.signals", orch_host::signals::advertised().join(","));
    set("unique.hostname", hostname());
    let id = text("/sys/class/dmi/id/product_uuid").or_else(|| text("/etc/machine-id"));
    set("unique.host_id", id.unwrap_or_default());
    set("os.name", System::distribution_id());
    set("os.version", System::os_version().unwrap_or_default());
    match Hierarchies::detect().map(|found| found.version()) {
        Ok(Version::V2) => set("os.cgroups.version", "2".to_owned()),
        Ok(Version::V1 | Version::Hybrid) => set("os.cgroups.version", "1".to_owned()),
        Ok(Version::None) | Err(_) => {}
    }
}

/// The first line of a file, if there is one with something in it.
pub(super) fn text(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The version of Landlock that a kernel with this release speaks, where it is switched on.
///
/// Asking the kernel itself takes a system call without a safe wrapper; its documentation names the release of each.
fn landlock(release: &str) -> Option<u32> {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").ok()?;
    if !modules.trim().split(',').any(|module| module == "landlock") {
        return None;
    }
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let release = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let known = [((5, 13), 1), ((5, 19), 2), ((6, 2), 3), ((6, 7), 4), ((6, 10), 5), ((6, 12), 6), ((6, 15), 7)];
    known.iter().rev().find(|(since, _)| *since <= release).map(|(_, version)| *version)
}
