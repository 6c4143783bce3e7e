//! What one allocation of a group needs from a node, in units that the fit function computes with.

use super::{LifecycleKind, Port, Resources, Task, TaskGroup};
use crate::units::{MebiBytes, Mhz, Usage};

/// A quantity in a job that no node could be asked for; admission reports it before anyone computes with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// A quantity is negative or too large.
    #[error("{field} of {place} is {value}, which is out of range")]
    OutOfRange {
        /// The field's name in the job specification.
        field: &'static str,
        /// The group, task or port.
        place: String,
        /// What it says.
        value: i64,
    },
    /// The tasks of a group together ask for more than can be represented.
    #[error("the tasks of group {group:?} together ask for more than can be counted")]
    Overflow {
        /// The group.
        group: String,
    },
    /// A task's lifecycle hook is no known word.
    #[error("task {task:?} has an unknown lifecycle hook")]
    UnknownHook {
        /// The task.
        task: String,
    },
}

/// What one task needs from its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TaskAsk {
    /// Processor share; 0 where whole cores are asked for.
    pub cpu: Mhz,
    /// Reserved memory, its secrets directory included.
    pub memory: MebiBytes,
    /// Memory it may use where there is some to spare, at least `memory`; `None` is unlimited.
    pub memory_max: Option<MebiBytes>,
    /// Whole cores for it alone.
    pub cores: u32,
}

/// What one allocation of a group needs from its node.
///
/// Prestart tasks are done before the main tasks start and poststop tasks start after they have stopped, so the
/// largest of the three phases counts in each dimension; sidecars of prestart run beside all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupAsk {
    /// Processor, reserved memory (secrets included) and disk.
    pub usage: Usage,
    /// Memory it may use where there is some to spare; `None` is unlimited.
    pub memory_max: Option<MebiBytes>,
    /// Whole cores for it alone.
    pub cores: u32,
    /// Its ports, those with a stated number first.
    pub ports: Vec<PortAsk>,
}

/// A port that an allocation needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortAsk {
    /// Its label.
    pub label: String,
    /// The number on the host; `None` is assigned.
    pub value: Option<u16>,
    /// The number inside the network.
    pub to: PortTo,
    /// The host network it is on.
    pub host_network: String,
    /// Whether others on the same address may use the same number.
    pub ignore_collision: bool,
}

/// The number of a port inside the allocation's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortTo {
    /// Not stated: the host's number, recorded as 0.
    #[default]
    Unset,
    /// Recorded as the number that is assigned on the host.
    Assigned,
    /// This number.
    Number(u16),
}

impl PortTo {
    /// The `To` that an allocation records once `value` is the number on the host.
    pub const fn recorded(self, value: u16) -> u16 {
        match self {
            Self::Unset => 0,
            Self::Assigned => value,
            Self::Number(number) => number,
        }
    }
}

impl TaskGroup {
    /// What one allocation of this group needs; an error only for a job that admission has not accepted.
    pub fn ask(&self) -> Result<GroupAsk, AskError> {
        let overflow = || AskError::Overflow { group: self.name.clone() };
        let mut phases = Phases::default();
        for task in &self.tasks {
            let kind = task.lifecycle_kind().ok_or_else(|| AskError::UnknownHook { task: task.name.clone() })?;
            phases.add(kind, task.ask()?).ok_or_else(overflow)?;
        }
        let sum = phases.total().ok_or_else(overflow)?;
        let disk = self.ephemeral_disk.as_ref().map_or(0, |disk| disk.size_mb);
        let place = || format!("group {:?}", self.name);
        Ok(GroupAsk {
            usage: Usage {
                cpu: sum.cpu,
                memory: sum.memory,
                disk: MebiBytes(in_range("ephemeral_disk.size", place, disk)?),
            },
            memory_max: sum.memory_max,
            cores: sum.cores,
            ports: self.port_asks()?,
        })
    }

    /// The ports of its network.
    fn port_asks(&self) -> Result<Vec<PortAsk>, AskError> {
        let Some(network) = self.networks.first() else { return Ok(Vec::new()) };
        let reserved = network.reserved_ports.iter().map(|port| port_ask(port, true));
        let dynamic = network.dynamic_ports.iter().map(|port| port_ask(port, false));
        reserved.chain(dynamic).collect()
    }
}

impl Task {
    /// What this task needs; an error only for a job that admission has not accepted.
    pub fn ask(&self) -> Result<TaskAsk, AskError> {
        let place = || format!("task {:?}", self.name);
        let default = Resources::default();
        let resources = self.resources.as_ref().unwrap_or(&default);
        let secrets: u64 = in_range("secrets", place, resources.secrets_mb)?;
        let memory: u64 = in_range("memory", place, resources.memory_mb)?;
        let with_secrets = |memory: u64| {
            memory.checked_add(secrets).ok_or_else(|| AskError::OutOfRange {
                field: "memory",
                place: place(),
                value: resources.memory_mb,
            })
        };
        let memory_max = match resources.memory_max_mb {
            -1 => None,
            max => Some(MebiBytes(with_secrets(in_range::<u64>("memory_max", place, max)?.max(memory))?)),
        };
        Ok(TaskAsk {
            cpu: Mhz(in_range("cpu", place, resources.cpu)?),
            memory: MebiBytes(with_secrets(memory)?),
            memory_max,
            cores: in_range("cores", place, resources.cores)?,
        })
    }
}

fn in_range<T: TryFrom<i64>>(field: &'static str, place: impl Fn() -> String, value: i64) -> Result<T, AskError> {
    T::try_from(value).map_err(|_| AskError::OutOfRange { field, place: place(), value })
}

fn port_ask(port: &Port, is_static: bool) -> Result<PortAsk, AskError> {
    let place = || format!("port {:?}", port.label);
    let to = match port.to {
        0 => PortTo::Unset,
        -1 => PortTo::Assigned,
        number => PortTo::Number(in_range("to", place, number)?),
    };
    let value = if is_static { Some(in_range("static", place, port.value)?) } else { None };
    let host_network = if port.host_network.is_empty() { "default" } else { &port.host_network };
    Ok(PortAsk {
        label: port.label.clone(),
        value,
        to,
        host_network: host_network.to_owned(),
        ignore_collision: port.ignore_collision,
    })
}

/// The sums of a group's tasks by when they run.
#[derive(Default)]
struct Phases {
    prestart: Sum,
    main: Sum,
    poststop: Sum,
    sidecars: Sum,
}

impl Phases {
    fn add(&mut self, kind: LifecycleKind, ask: TaskAsk) -> Option<()> {
        let phase = match kind {
            LifecycleKind::Main | LifecycleKind::Poststart { .. } => &mut self.main,
            LifecycleKind::Prestart { sidecar: false } => &mut self.prestart,
            LifecycleKind::Prestart { sidecar: true } => &mut self.sidecars,
            LifecycleKind::Poststop => &mut self.poststop,
        };
        *phase = phase.plus(Sum(ask))?;
        Some(())
    }

    fn total(self) -> Option<TaskAsk> {
        Some(self.prestart.max(self.main).max(self.poststop).plus(self.sidecars)?.0)
    }
}

/// What several tasks need together.
#[derive(Clone, Copy)]
struct Sum(TaskAsk);

impl Default for Sum {
    fn default() -> Self {
        Self(TaskAsk { memory_max: Some(MebiBytes::ZERO), ..TaskAsk::default() })
    }
}

impl Sum {
    fn plus(self, other: Self) -> Option<Self> {
        let (a, b) = (self.0, other.0);
        let memory_max = match (a.memory_max, b.memory_max) {
            (Some(a), Some(b)) => Some(a.checked_add(b)?),
            (None, _) | (_, None) => None,
        };
        Some(Self(TaskAsk {
            cpu: a.cpu.checked_add(b.cpu)?,
            memory: a.memory.checked_add(b.memory)?,
            memory_max,
            cores: a.cores.checked_add(b.cores)?,
        }))
    }

    fn max(self, other: Self) -> Self {
        let (a, b) = (self.0, other.0);
        Self(TaskAsk {
            cpu: a.cpu.max(b.cpu),
            memory: a.memory.max(b.memory),
            memory_max: a.memory_max.zip(b.memory_max).map(|(a, b)| a.max(b)),
            cores: a.cores.max(b.cores),
        })
    }
}

/// The name of the allocation of `group` with this index: `<job>.<group>[<index>]`.
pub fn alloc_name(job_id: &str, group: &str, index: u32) -> String {
    format!("{job_id}.{group}[{index}]")
}

/// The index at the end of an allocation's name.
pub fn alloc_name_index(name: &str) -> Option<u32> {
    let (_, tail) = name.rsplit_once('[')?;
    tail.strip_suffix(']')?.parse().ok()
}
