//! Ending tasks with everything that came of them.
//!
//! With a control group this is one write, and the group says when it is empty. Without one a task is what has its session or process
//! group, carries its mark in the environment, or descends from any of these; a daemon that left them all was re-parented to us
//! or to init, and is found by the mark. As such a search is a walk through `/proc`, one walk serves all tasks that are being killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orch_host::ProcessId;
use orch_host::cgroup::TaskCgroup;
use orch_host::process::{self, Stat};

use super::spawn::mark_of;
use super::supervisor::{KILL_TICK, Supervisor};
use super::tasks::{Phase, Task};
use crate::protocol::Answer;
use crate::spec::TaskKey;

/// How long remains without a task may take to go.
const SWEEP: Duration = Duration::from_millis(100);
const SWEEP_STEP: Duration = Duration::from_millis(2);
/// How long an empty control group may refuse to be removed.
const REMOVE: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Kills everything of a task once; without a control group only its first group, and the rest when the processes are next looked at.
    pub(super) fn kill_round(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.killed_at.get_or_insert_with(Instant::now);
        // Where any of this fails the next round tries again, and the agent's deadline decides.
        task.kill_first();
        let _repeated =
            if task.entry.cgroup.is_none() { task.signal(libc::SIGKILL).map(drop) } else { task.entry.cgroup.kill() };
    }

    /// Looks at all tasks being killed, if that was not done just now.
    pub(super) fn check_killing(&mut self) {
        if self.killing.is_empty() || self.killing_checked.elapsed() < KILL_TICK {
            return;
        }
        self.killing_checked = Instant::now();
        let groupless = |task: &&Task| task.entry.cgroup.is_none();
        let tasks = self.killing.iter().filter_map(|key| self.tasks.get(key));
        let searched: Vec<&ProcessId> = tasks.filter(groupless).map(|task| &task.entry.process).collect();
        let processes = (!searched.is_empty()).then(|| Processes::now(&searched));
        for key in self.killing.clone() {
            let Some(task) = self.tasks.get(&key) else { continue };
            let left =
                processes.as_ref().filter(|_| task.entry.cgroup.is_none()).map(|all| all.of(&task.entry.process, &key));
            let vacant = left.as_ref().map_or_else(|| task.entry.cgroup.is_vacant(), Vec::is_empty);
            if vacant && task.is_over() {
                self.killed(&key);
            } else if let Some(left) = left {
                kill_all(&left);
            } else if !vacant {
                self.kill_round(&key);
            }
        }
    }

    /// Looks at one task being killed, where that is cheap.
    pub(super) fn check_killed(&mut self, key: &TaskKey) {
        if !self.killing.contains(key) {
            return;
        }
        let Some(task) = self.tasks.get(key) else { return };
        if task.is_over() && !task.entry.cgroup.is_none() && task.entry.cgroup.is_vacant() {
            self.killed(key);
        }
    }

    /// Nothing is left of a task: whoever waited for that is told, and it is dropped if that was wanted.
    fn killed(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let (forget, kill): (Vec<_>, Vec<_>) =
            std::mem::take(&mut task.waiting).into_iter().partition(|waiter| waiter.forget);
        let drop = !forget.is_empty()
            || matches!(task.phase, Phase::Remains)
            || self.ending.as_ref().is_some_and(|ending| ending.kill);
        let removed = if drop { task.entry.cgroup.remove() } else { Ok(()) };
        let patient = task.killed_at.is_some_and(|at| at.elapsed() < REMOVE);
        let mut answers: Vec<_> = kill.into_iter().map(|waiter| (waiter, Answer::Done)).collect();
        match removed {
            Ok(()) => {
                answers.extend(forget.into_iter().map(|waiter| (waiter, Answer::Done)));
                self.killing.remove(key);
                task.killed_at = None;
                if drop {
                    self.drop_task(key);
                }
            }
            // The kernel lets go of the last process a moment after it has gone: the next tick tries again.
            Err(_) if patient => task.waiting = forget,
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EBUSY);
                answers.extend(forget.into_iter().map(|waiter| (waiter, Answer::Failed { errno })));
                self.killing.remove(key);
                task.killed_at = None;
                if matches!(task.phase, Phase::Remains) {
                    self.drop_task(key);
                }
            }
        }
        for (waiter, answer) in answers {
            self.answer(waiter.connection, waiter.request, answer);
        }
    }

    /// Begins to kill and remove every group with our mark that belongs to no task; returns their names.
    pub(super) fn sweep_groups(&mut self) -> Vec<String> {
        let known = |name: &String| self.tasks.contains_key(&TaskKey::new(name));
        let left: Vec<String> = self.layout.list().into_iter().filter(|name| !known(name)).collect();
        for name in &left {
            let key = TaskKey::new(name);
            self.tasks.insert(key.clone(), Task::remains(key.clone(), self.layout.open(name)));
            self.begin_killing(&key);
        }
        left
    }

    /// Kills everything of a task, unless that is under way.
    pub(super) fn begin_killing(&mut self, key: &TaskKey) {
        if self.killing.insert(key.clone()) {
            self.kill_round(key);
            self.check_killed(key);
        }
    }

    /// Kills and removes what there is under the name of a task that we do not know; whether nothing is left.
    pub(super) fn sweep(&mut self, key: &TaskKey) -> bool {
        let group = self.layout.open(key.as_str());
        let deadline = Instant::now() + SWEEP;
        loop {
            let _repeated = group.kill();
            let marked = Processes::now(&[]).marked(key);
            kill_all(&marked);
            self.reap();
            if marked.is_empty() && group.is_vacant() && group.remove().is_ok() {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(SWEEP_STEP);
        }
    }

    /// Removes a group in which nothing has run; one that stays is found by the sweep.
    pub(super) fn discard_group(&self, group: &TaskCgroup) {
        for _ in 0..5 {
            if group.remove().is_ok() {
                return;
            }
            std::thread::sleep(SWEEP_STEP);
        }
    }
}

/// All processes at one moment, with the marks of those that may belong to a task.
struct Processes {
    all: Vec<Stat>,
    /// Keyed by pid; only for those that started no earlier than the oldest task asked for.
    marks: BTreeMap<i32, String>,
}

impl Processes {
    /// Looks at the machine once, with `tasks` in mind; with none, every mark is read.
    fn now(tasks: &[&ProcessId]) -> Self {
        let oldest = tasks.iter().map(|process| process.start_time).min().unwrap_or(0);
        // Without /proc nothing could be found at all; the kill of the first process has to do then.
        let all = process::all().unwrap_or_default();
        let young = all.iter().filter(|stat| stat.start_time >= oldest && !stat.is_dead());
        let marks = young.filter_map(|stat| Some((stat.pid, mark(stat.pid)?))).collect();
        Self { all, marks }
    }

    /// What is left of the task `key` that began as `first`.
    fn of(&self, first: &ProcessId, key: &TaskKey) -> Vec<Stat> {
        // A session or group outlives its leader, and while it does its number is not given out again. If another process has it, it is gone.
        let reused = self.all.iter().any(|stat| stat.pid == first.pid && stat.start_time != first.start_time);
        let mark = mark_of(key.as_str());
        let belongs = |stat: &&Stat| {
            let related = !reused && (stat.pid == first.pid || stat.session == first.pid || stat.group == first.pid);
            stat.start_time >= first.start_time && (related || self.marks.get(&stat.pid) == Some(&mark))
        };
        let mut found: BTreeMap<i32, Stat> = BTreeMap::new();
        for seed in self.all.iter().filter(belongs) {
            found.insert(seed.pid, *seed);
            found.extend(process::descendants_in(&self.all, seed.pid).into_iter().map(|stat| (stat.pid, stat)));
        }
        found.into_values().filter(|stat| !stat.is_dead()).collect()
    }

    fn marked(&self, key: &TaskKey) -> Vec<Stat> {
        let mark = mark_of(key.as_str());
        self.all.iter().filter(|stat| self.marks.get(&stat.pid) == Some(&mark)).copied().collect()
    }
}

/// The mark in the environment that a process was started with.
fn mark(pid: i32) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = mark_of("");
    let entry = environment.split(|byte| *byte == 0).find(|entry| entry.starts_with(prefix.as_bytes()))?;
    Some(String::from_utf8_lossy(entry).into_owned())
}

fn kill_all(processes: &[Stat]) {
    for stat in processes {
        let Ok(boot_id) = process::boot_id() else { return };
        let id = ProcessId { boot_id: boot_id.to_owned(), pid: stat.pid, start_time: stat.start_time };
        // Through a descriptor, so that a pid given out again since the look is spared.
        if let Ok(Some(pidfd)) = id.open() {
            let _gone_by_itself = pidfd.signal(libc::SIGKILL);
        }
    }
}
