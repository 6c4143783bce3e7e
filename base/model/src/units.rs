//! Quantities with their unit in the type; arithmetic on them never wraps.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty), $suffix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// None of it.
            pub const ZERO: Self = Self(0);

            /// The sum, or `None` where it cannot be represented.
            pub const fn checked_add(self, other: Self) -> Option<Self> {
                match self.0.checked_add(other.0) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }

            /// The sum, at most the largest quantity.
            #[must_use]
            pub const fn saturating_add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }

            /// The difference, at least nothing.
            #[must_use]
            pub const fn saturating_sub(self, other: Self) -> Self {
                Self(self.0.saturating_sub(other.0))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{} ", $suffix), self.0)
            }
        }
    };
}

unit!(
    /// Processor capacity in MHz summed over cores.
    Mhz(u32), "MHz"
);
unit!(
    /// Memory or disk in MiB.
    MebiBytes(u64), "MiB"
);

/// What an allocation takes from a node, or a node has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Processor capacity.
    pub cpu: Mhz,
    /// Memory that is reserved (not the burst limit).
    pub memory: MebiBytes,
    /// Disk of the allocation's directory.
    pub disk: MebiBytes,
}

impl Usage {
    /// Both together, each dimension at most its largest quantity.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_add(other.cpu),
            memory: self.memory.saturating_add(other.memory),
            disk: self.disk.saturating_add(other.disk),
        }
    }

    /// What is left, each dimension at least nothing.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(other.cpu),
            memory: self.memory.saturating_sub(other.memory),
            disk: self.disk.saturating_sub(other.disk),
        }
    }

    /// Whether every dimension is at most that of `capacity`.
    pub const fn fits_in(self, capacity: Self) -> bool {
        self.cpu.0 <= capacity.cpu.0 && self.memory.0 <= capacity.memory.0 && self.disk.0 <= capacity.disk.0
    }
}
