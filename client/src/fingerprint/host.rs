//! The host's name, kernel and operating system.

use std::fs;

use orch_host::cgroup::{Hierarchies, Version};
use orch_model::node::NodeDescription;

/// The name of the host; `localhost` where it has none.
pub(crate) fn hostname() -> String {
    text("/proc/sys/kernel/hostname").unwrap_or_else(|| "localhost".to_owned())
}

pub(super) fn describe(node: &mut NodeDescription) {
    let release = text("/proc/sys/kernel/osrelease").unwrap_or_default();
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
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    set("os.name", field(&system, "ID").unwrap_or_else(|| "linux".to_owned()));
    set("os.version", field(&system, "VERSION_ID").unwrap_or_default());
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

/// The value of `KEY=value` or `KEY="value"`.
fn field(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_release_file_lose_their_quotes() {
        let text = "NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n";
        assert_eq!(field(text, "ID").as_deref(), Some("debian"));
        assert_eq!(field(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(field(text, "BUILD_ID"), None);
    }
}
