use orch_driver::TaskId;

use crate::spec::{TaskEntry, TaskKey};

/// The name of a run of `driver` towards the supervisor: `<driver>.<allocation>.<run>.<task>`.
///
/// A task's name that does not fit into a key goes in as far as it does, and a hash of it behind the run keeps two such names apart.
pub(super) fn of(driver: &str, id: &TaskId) -> TaskKey {
    let TaskId { alloc_id, task, run } = id;
    let plain = format!("{driver}.{alloc_id}.{run}.{task}");
    let key = TaskKey::new(&plain);
    if key.as_str() == plain {
        return key;
    }
    TaskKey::new(&format!("{driver}.{alloc_id}.{run}-{:016x}.{task}", fnv(task.as_bytes())))
}

/// Whose run `entry` is; `None` if it is none of `driver`'s.
pub(super) fn id_of(driver: &str, entry: &TaskEntry) -> Option<TaskId> {
    let mut parts = entry.key.as_str().strip_prefix(driver)?.strip_prefix('.')?.splitn(3, '.');
    let alloc_id = parts.next()?.parse().ok()?;
    let run = parts.next()?.split('-').next()?.parse().ok()?;
    let id = TaskId { alloc_id, task: entry.logs.task.clone(), run };
    (of(driver, &id) == entry.key).then_some(id)
}

/// FNV-1a: keys are compared with those of earlier agents, so the hash must never change.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use orch_host::ProcessId;
    use orch_host::cgroup::TaskCgroup;

    use super::*;
    use crate::spec::{LogSpec, Place};

    const DRIVER: &str = "raw_exec";

    fn id(task: &str, run: u32) -> TaskId {
        TaskId { alloc_id: "5f0c7a1e-9b3d-4c55-8f0a-2d7b1c6e4a90".parse().unwrap(), task: task.to_owned(), run }
    }

    fn entry(key: TaskKey, task: &str) -> TaskEntry {
        let logs =
            LogSpec { dir: "/logs".into(), task: task.to_owned(), max_files: 1, max_file_bytes: 1, disabled: false };
        TaskEntry {
            key,
            process: ProcessId { boot_id: "b".to_owned(), pid: 2, start_time: 3 },
            started_at_ms: 1,
            exit: None,
            command: "/bin/true".into(),
            logs,
            cgroup: TaskCgroup::empty(),
            place: Place::default(),
        }
    }

    #[test]
    fn a_key_leads_back_to_its_run() {
        assert_eq!(of(DRIVER, &id("web", 3)).as_str(), "raw_exec.5f0c7a1e-9b3d-4c55-8f0a-2d7b1c6e4a90.3.web");
        for task in ["web", "with space", "dots.and-dashes", "ä", &"x".repeat(300)] {
            assert_eq!(id_of(DRIVER, &entry(of(DRIVER, &id(task, 7)), task)), Some(id(task, 7)), "{task}");
        }
    }

    #[test]
    fn names_that_do_not_fit_stay_apart() {
        let keys = [
            of(DRIVER, &id("a b", 0)),
            of(DRIVER, &id("a_b", 0)),
            of(DRIVER, &id("a:b", 0)),
            of(DRIVER, &id("a b", 1)),
        ];
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys.iter().take(index).any(|other| other == key), "{key}");
        }
    }

    #[test]
    fn keys_of_others_are_nobodys() {
        for key in ["exec.5f0c7a1e-9b3d-4c55-8f0a-2d7b1c6e4a90.0.web", "raw_exec.x.0.web", "raw_exec.", "web"] {
            assert_eq!(id_of(DRIVER, &entry(TaskKey::new(key), "web")), None, "{key}");
        }
    }
}
