//! Capabilities by name.

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

/// The names in the order of their numbers.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];
/// What container engines give by default.
const USUAL: [&str; 14] = [
    "audit_write",
    "chown",
    "dac_override",
    "fowner",
    "fsetid",
    "kill",
    "mknod",
    "net_bind_service",
    "net_raw",
    "setfcap",
    "setgid",
    "setpcap",
    "setuid",
    "sys_chroot",
];

/// A set of capabilities, a bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

/// A name that no capability has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability {0:?}")]
pub struct UnknownCapability(pub String);

impl Capabilities {
    /// Every capability that has a name.
    pub const ALL: Self = Self((1 << NAMES.len()) - 1);

    /// What a node lets its tasks have unless it says otherwise: the usual ones of container engines.
    pub fn allowed_by_default() -> Self {
        Self(USUAL.iter().filter_map(|name| number(name)).fold(0, |set, number| set | 1 << number))
    }

    /// What a task has unless it says otherwise: the usual ones without raw sockets.
    pub fn default_of_tasks() -> Self {
        Self::allowed_by_default() - Self::of("net_raw").unwrap_or_default()
    }

    /// The one called `name`, in any case and with or without `CAP_` before it; `all` is every one.
    pub fn of(name: &str) -> Result<Self, UnknownCapability> {
        let lower = name.trim().to_ascii_lowercase();
        let plain = lower.strip_prefix("cap_").unwrap_or(&lower);
        if plain == "all" {
            return Ok(Self::ALL);
        }
        number(plain).map(|number| Self(1 << number)).ok_or_else(|| UnknownCapability(name.to_owned()))
    }

    /// Whether all of `other` are in it.
    pub fn contains(self, other: Self) -> bool {
        (other - self).is_empty()
    }

    /// Whether there is none in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

fn number(name: &str) -> Option<usize> {
    NAMES.iter().position(|known| *known == name)
}

impl BitOr for Capabilities {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Capabilities {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Sub for Capabilities {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Names with commas between.
impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().enumerate().filter(|(number, _)| self.0 & (1 << number) != 0);
        let names: Vec<&str> = names.map(|(_, name)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capabilities({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_in_the_spellings_people_use() {
        for spelling in ["net_raw", "NET_RAW", "CAP_NET_RAW", " cap_net_raw"] {
            assert_eq!(Capabilities::of(spelling), Ok(Capabilities(1 << 13)), "{spelling}");
        }
        assert_eq!(Capabilities::of("checkpoint_restore"), Ok(Capabilities(1 << 40)));
        assert_eq!(Capabilities::of("fly").unwrap_err().to_string(), "there is no capability \"fly\"");
        assert!(Capabilities::ALL.contains(Capabilities::allowed_by_default()));
    }

    #[test]
    fn a_task_has_no_raw_sockets_by_default() {
        let raw = Capabilities::of("net_raw").unwrap();
        assert!(Capabilities::allowed_by_default().contains(raw));
        assert!(!Capabilities::default_of_tasks().contains(raw));
        assert_eq!((Capabilities::default_of_tasks() | raw).to_string().split(", ").count(), 14);
    }
}
