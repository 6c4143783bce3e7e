//! When the tasks of a group may start: the stages of an allocation, each of which opens gates. No I/O.

use orch_model::allocation::{TaskRunState, TaskState};
use orch_model::job::{LifecycleKind, Task};

/// How far an allocation has come. Only starting all of its tasks again leads back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) enum Stage {
    /// Nothing may start before nothing runs any more; so it begins, and begins again.
    #[default]
    Init,
    /// What comes before the main tasks.
    Prestart,
    /// The main tasks start.
    Main,
    /// They have started, and so may everything that comes beside them.
    Poststart,
    /// Everything else has ended.
    Poststop,
}

impl Stage {
    /// Whether tasks of this kind may start.
    pub(super) const fn opens(self, kind: LifecycleKind) -> bool {
        match self {
            Self::Init => false,
            Self::Prestart => matches!(kind, LifecycleKind::Prestart { .. }),
            Self::Main => matches!(kind, LifecycleKind::Prestart { .. } | LifecycleKind::Main),
            Self::Poststart => !matches!(kind, LifecycleKind::Poststop),
            Self::Poststop => matches!(kind, LifecycleKind::Poststop),
        }
    }

    /// The stage that follows at once from how the tasks are; itself if there is none.
    pub(super) fn next(self, tasks: &[(LifecycleKind, &TaskState)]) -> Self {
        let over = |(kind, state): &(LifecycleKind, &TaskState)| {
            *kind == LifecycleKind::Poststop || state.state == TaskRunState::Dead
        };
        if tasks.iter().all(over) {
            return Self::Poststop;
        }
        let ready = |(kind, state): &(LifecycleKind, &TaskState)| match kind {
            LifecycleKind::Prestart { sidecar: false } => state.succeeded(),
            LifecycleKind::Prestart { sidecar: true } => state.state == TaskRunState::Running,
            LifecycleKind::Main | LifecycleKind::Poststart { .. } | LifecycleKind::Poststop => true,
        };
        let begun = |(kind, state): &(LifecycleKind, &TaskState)| {
            *kind != LifecycleKind::Main || state.state != TaskRunState::Pending
        };
        match self {
            Self::Init if tasks.iter().all(|(_, task)| task.state != TaskRunState::Running) => Self::Prestart,
            Self::Prestart if tasks.iter().all(ready) => Self::Main,
            Self::Main if tasks.iter().all(begun) => Self::Poststart,
            Self::Init | Self::Prestart | Self::Main | Self::Poststart | Self::Poststop => self,
        }
    }
}

/// When a task runs; one whose hook nobody knows counts as a main task, and admission lets none pass.
pub(super) fn kind_of(task: &Task) -> LifecycleKind {
    task.lifecycle_kind().unwrap_or(LifecycleKind::Main)
}

/// Whether it runs beside the main tasks until they have ended.
pub(super) const fn is_sidecar(kind: LifecycleKind) -> bool {
    matches!(kind, LifecycleKind::Prestart { sidecar: true } | LifecycleKind::Poststart { sidecar: true })
}

/// Whether it is to end by itself, and well, beside or before the main tasks.
pub(super) const fn is_passing(kind: LifecycleKind) -> bool {
    matches!(kind, LifecycleKind::Prestart { sidecar: false } | LifecycleKind::Poststart { sidecar: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRE: LifecycleKind = LifecycleKind::Prestart { sidecar: false };
    const PRE_SIDE: LifecycleKind = LifecycleKind::Prestart { sidecar: true };
    const MAIN: LifecycleKind = LifecycleKind::Main;
    const POST: LifecycleKind = LifecycleKind::Poststart { sidecar: false };
    const POST_SIDE: LifecycleKind = LifecycleKind::Poststart { sidecar: true };
    const STOP: LifecycleKind = LifecycleKind::Poststop;

    #[test]
    fn each_stage_opens_its_gates() {
        let kinds = [PRE, PRE_SIDE, MAIN, POST, POST_SIDE, STOP];
        for (stage, expected) in [
            (Stage::Init, [false, false, false, false, false, false]),
            (Stage::Prestart, [true, true, false, false, false, false]),
            (Stage::Main, [true, true, true, false, false, false]),
            (Stage::Poststart, [true, true, true, true, true, false]),
            (Stage::Poststop, [false, false, false, false, false, true]),
        ] {
            assert_eq!(kinds.map(|kind| stage.opens(kind)), expected, "{stage:?}");
        }
    }

    /// `p` pending, `r` running, `d` dead and well, `f` dead and failed.
    fn states(text: &str) -> Vec<TaskState> {
        let state = |letter| match letter {
            'p' => TaskState::default(),
            'r' => TaskState { state: TaskRunState::Running, ..TaskState::default() },
            letter => TaskState { state: TaskRunState::Dead, failed: letter == 'f', ..TaskState::default() },
        };
        text.chars().map(state).collect()
    }

    #[test]
    fn a_stage_is_left_when_its_tasks_are_where_they_should_be() {
        use Stage::{Init, Main, Poststart, Poststop, Prestart};
        for (from, kinds, tasks, expected) in [
            (Init, vec![MAIN], "p", Prestart),
            (Init, vec![PRE, MAIN], "pr", Init),
            (Prestart, vec![MAIN], "p", Main),
            (Prestart, vec![PRE, MAIN], "pp", Prestart),
            (Prestart, vec![PRE, MAIN], "rp", Prestart),
            (Prestart, vec![PRE, MAIN], "dp", Main),
            (Prestart, vec![PRE, MAIN], "fp", Prestart),
            (Prestart, vec![PRE_SIDE, MAIN], "pp", Prestart),
            (Prestart, vec![PRE_SIDE, MAIN], "rp", Main),
            (Prestart, vec![PRE, PRE_SIDE, MAIN], "drp", Main),
            (Prestart, vec![PRE, PRE_SIDE, MAIN], "dpp", Prestart),
            (Prestart, vec![MAIN, POST], "pp", Main),
            (Main, vec![MAIN, MAIN, POST], "rpp", Main),
            (Main, vec![MAIN, MAIN, POST], "rrp", Poststart),
            (Main, vec![MAIN, MAIN, POST], "drp", Poststart),
            (Main, vec![MAIN, POST], "dp", Poststart),
            (Poststart, vec![MAIN, POST_SIDE, STOP], "drp", Poststart),
            (Poststart, vec![MAIN, POST_SIDE, STOP], "ddp", Poststop),
            (Prestart, vec![PRE, MAIN, STOP], "fdp", Poststop),
            (Init, vec![PRE, MAIN, STOP], "ddr", Poststop),
            (Poststop, vec![MAIN, STOP], "dr", Poststop),
        ] {
            let tasks_of = states(tasks);
            let view: Vec<_> = kinds.iter().copied().zip(&tasks_of).collect();
            assert_eq!(from.next(&view), expected, "{from:?} {kinds:?} {tasks}");
        }
    }
}
