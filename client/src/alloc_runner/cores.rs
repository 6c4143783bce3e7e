//! Which of an allocation's cores each of its tasks has for itself.

use orch_model::job::{LifecycleKind, TaskGroup};

use super::lifecycle::kind_of;

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

/// The cores of the task at `place`, out of `cores`, those of its allocation.
///
/// As the group's ask counts them: sidecars of prestart come first, then each phase shares the rest. Empty where the task asks
/// for none; `None` if the allocation has too few.
pub(crate) fn cores_of(group: &TaskGroup, cores: &[u16], place: usize) -> Option<Vec<u16>> {
    let asks = |place: usize| -> Option<(Phase, usize)> {
        let task = group.tasks.get(place)?;
        let count = task.resources.as_ref().map_or(0, |resources| resources.cores);
        Some((Phase::of(kind_of(task)), usize::try_from(count).ok()?))
    };
    let (phase, count) = asks(place)?;
    if count == 0 {
        return Some(Vec::new());
    }
    let before = |wanted: Phase, end: usize| -> usize {
        (0..end).filter_map(asks).filter(|(phase, _)| *phase == wanted).map(|(_, count)| count).sum()
    };
    let throughout = if phase == Phase::Throughout { 0 } else { before(Phase::Throughout, group.tasks.len()) };
    let start = throughout + before(phase, place);
    cores.get(start..start + count).map(<[u16]>::to_vec)
}

#[cfg(test)]
mod tests {
    use orch_model::job::{Resources, Task, TaskLifecycleConfig};

    use super::*;

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
        let given: Vec<_> = (0..6).map(|place| cores_of(&group, &cores, place).unwrap()).collect();
        assert_eq!(given, [vec![3, 5], vec![3, 5, 8], vec![2], vec![8], vec![], vec![3]]);
        assert_eq!(cores_of(&group, &cores[..2], 0), None);
    }
}
