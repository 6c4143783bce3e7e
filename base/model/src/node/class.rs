//! The computed class: nodes of one class answer every class-safe constraint alike.

use serde::{Deserialize, Serialize};

use super::NodeDescription;

/// A hash of what constraints can see of a node and what is not unique to it.
///
/// It covers datacenter, class, pool, drivers' health, and those attributes and metadata whose key does not start with
/// `unique.`. Two nodes of one class differ, as far as scheduling goes, only in what is used of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ComputedClass(pub u64);

impl ComputedClass {
    /// The class of a node so described.
    pub fn of(node: &NodeDescription) -> Self {
        let mut hash = Fnv::new();
        for part in [&node.datacenter, &node.node_class, &node.node_pool] {
            hash.text(part);
        }
        for (section, map) in [("attr", &node.attributes), ("meta", &node.meta)] {
            hash.text(section);
            for (key, value) in map.iter().filter(|(key, _)| !key.starts_with("unique.")) {
                hash.text(key);
                hash.text(value);
            }
        }
        hash.text("driver");
        for (name, info) in &node.drivers {
            hash.text(name);
            hash.text(if info.detected && info.healthy { "1" } else { "0" });
        }
        hash.text("network");
        for network in &node.resources.networks {
            hash.text(&network.mode);
            for address in &network.addresses {
                hash.text(&address.alias);
            }
        }
        Self(hash.0)
    }
}

impl std::fmt::Display for ComputedClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v1:{:016x}", self.0)
    }
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo), with each text closed by a byte that no text contains.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn text(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(change: impl FnOnce(&mut NodeDescription)) -> ComputedClass {
        let mut node = NodeDescription { datacenter: "dc1".into(), ..NodeDescription::default() };
        node.attributes.insert("kernel.name".into(), "linux".into());
        change(&mut node);
        ComputedClass::of(&node)
    }

    #[test]
    fn what_is_unique_to_a_node_does_not_change_its_class() {
        let class = described(|_| {});
        assert_eq!(class, described(|n| drop(n.attributes.insert("unique.hostname".into(), "a".into()))));
        assert_eq!(class, described(|n| n.name = "other".into()));
        assert_ne!(class, described(|n| n.datacenter = "dc2".into()));
        assert_ne!(class, described(|n| drop(n.meta.insert("rack".into(), "r1".into()))));
    }
}
