//! Which of an allocation's cores each of its tasks has for itself.

use super::{LifecycleKind, Task, TaskGroup};

/// Tasks that run at the same time; each phase may use the cores that an earlier one has given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Throughout,
    Prestart,
    Main,
    Poststop,
}

impl Phase {
    const fn of(kind: LifecycleKind) -> Self {
        match kind {
            LifecycleKind::Prestart { sidecar: true } => Self::Throughout,
            LifecycleKind::Prestart { sidecar: false } => Self::Prestart,
            LifecycleKind::Main | LifecycleKind::Poststart { .. } => Self::Main,
            LifecycleKind::Poststop => Self::Poststop,
        }
    }
}

impl TaskGroup {
    /// The cores of the task at `place`, out of `cores`, those of its allocation.
    ///
    /// As the group's ask counts them: sidecars of prestart come first, then each phase shares the rest. Empty where the task asks
    /// for none; `None` if the allocation has too few.
    pub fn cores_of(&self, place: usize, cores: &[u16]) -> Option<Vec<u16>> {
        let asks = |task: &Task| -> Option<(Phase, usize)> {
            let count = task.resources.as_ref().map_or(0, |resources| resources.cores);
            let kind = task.lifecycle_kind().unwrap_or(LifecycleKind::Main);
            Some((Phase::of(kind), usize::try_from(count).ok()?))
        };
        let (phase, count) = asks(self.tasks.get(place)?)?;
        if count == 0 {
            return Some(Vec::new());
        }
        let taken = |tasks: &[Task], wanted: Phase| -> usize {
            tasks.iter().filter_map(asks).filter(|(phase, _)| *phase == wanted).map(|(_, count)| count).sum()
        };
        let throughout = if phase == Phase::Throughout { 0 } else { taken(&self.tasks, Phase::Throughout) };
        let start = throughout + taken(self.tasks.get(..place)?, phase);
        cores.get(start..start + count).map(<[u16]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Resources, TaskLifecycleConfig};

    fn task(hook: &str, sidecar: bool, cores: i64) -> Task {
        let lifecycle = (!hook.is_empty()).then(|| TaskLifecycleConfig { hook: hook.into(), sidecar });
        Task { lifecycle, resources: Some(Resources { cores, ..Resources::default() }), ..Task::default() }
    }

    #[test]
    fn tasks_that_run_together_never_share_a_core() {
        let tasks = vec![
            task("", false, 2),
            task("prestart", false, 3),
            task("prestart", true, 1),
            task("poststart", false, 1),
            task("", false, 0),
            task("poststop", false, 1),
        ];
        let group = TaskGroup { tasks, ..TaskGroup::default() };
        let cores = [2, 3, 5, 8];
        assert_eq!(u32::try_from(cores.len()), Ok(group.ask().unwrap().cores));
        let given: Vec<_> = (0..6).map(|place| group.cores_of(place, &cores).unwrap()).collect();
        assert_eq!(given, [vec![3, 5], vec![3, 5, 8], vec![2], vec![8], vec![], vec![3]]);
        assert_eq!(group.cores_of(0, &cores[..2]), None);
    }
}
