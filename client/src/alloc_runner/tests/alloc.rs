//! Whole groups, played through with drivers that do what they are told at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orch_driver::{ExitStatus, TaskHandle};
use orch_model::allocation::ClientStatus;
use orch_model::job::{JobType, LifecycleKind};
use orch_model::{AllocId, Nanos, Timestamp};

use super::{START, exit, handle, timing, tracker};
use crate::alloc_runner::machine::{AllocEvent, AllocMachine, Member};
use crate::alloc_runner::task::{Action, Event, KillReason, TaskMachine, Timing};
use crate::state::StoredTask;

/// A group whose tasks do as they are told, and what they did: `+a` started, `~a` found again, `-a` stopped.
struct Play {
    alloc: AllocMachine,
    now: Timestamp,
    did: Vec<String>,
    /// Tasks that take their time to stop.
    slow: BTreeSet<String>,
    /// Tasks that are gone when they are looked for.
    lost: BTreeSet<String>,
}

/// `name:kind`, where the kind is `pre`, `pre+`, `main`, `lead`, `post`, `post+` or `stop`; `+` is a sidecar.
fn parts(text: &str) -> Vec<(String, LifecycleKind, bool)> {
    let part = |part: &str| {
        let (name, kind) = part.split_once(':').unwrap();
        let (kind, leader) = match kind {
            "pre" => (LifecycleKind::Prestart { sidecar: false }, false),
            "pre+" => (LifecycleKind::Prestart { sidecar: true }, false),
            "main" => (LifecycleKind::Main, false),
            "lead" => (LifecycleKind::Main, true),
            "post" => (LifecycleKind::Poststart { sidecar: false }, false),
            "post+" => (LifecycleKind::Poststart { sidecar: true }, false),
            "stop" => (LifecycleKind::Poststop, false),
            other => panic!("{other}"),
        };
        (name.to_owned(), kind, leader)
    };
    text.split_whitespace().map(part).collect()
}

impl Play {
    fn new(job: JobType, group: &str) -> Self {
        Self::restore(job, group, &BTreeMap::new())
    }

    fn restore(job: JobType, group: &str, stored: &BTreeMap<String, StoredTask>) -> Self {
        let members = parts(group).into_iter().map(|(name, kind, leader)| {
            let restarts = tracker(0, job, kind);
            let machine = match stored.get(&name) {
                Some(stored) => TaskMachine::restore(timing(), restarts, stored.clone(), false),
                None => TaskMachine::new(timing(), restarts, START),
            };
            Member { name, kind, leader, machine }
        });
        let alloc = AllocMachine::new(AllocId::default(), members.collect(), Nanos::ZERO);
        Self { alloc, now: START, did: Vec::new(), slow: BTreeSet::new(), lost: BTreeSet::new() }
    }

    /// One that has started.
    fn started(job: JobType, group: &str) -> Self {
        let mut play = Self::new(job, group);
        play.tell(AllocEvent::Start);
        play
    }

    fn tell(&mut self, event: AllocEvent) {
        let mut queue = VecDeque::from([event]);
        while let Some(event) = queue.pop_front() {
            for (place, action) in self.alloc.step(self.now, event) {
                queue.extend(self.perform(place, action).into_iter().map(|event| AllocEvent::Task(place, event)));
            }
        }
    }

    fn perform(&mut self, place: usize, action: Action) -> Vec<Event> {
        let name = self.alloc.tasks()[place].name.clone();
        match action {
            Action::Prepare { .. } => vec![Event::Prepared],
            Action::Start { run } => {
                self.did.push(format!("+{name}"));
                vec![Event::Started(TaskHandle { started_at: self.now, ..handle(run) })]
            }
            Action::Recover(_) if self.lost.contains(&name) => {
                vec![Event::RecoverFailed { gone: true, message: "gone".into() }]
            }
            Action::Recover(_) => {
                self.did.push(format!("~{name}"));
                vec![Event::Recovered]
            }
            Action::Stop { run, .. } => {
                self.did.push(format!("-{name}"));
                if self.slow.contains(&name) { Vec::new() } else { stopped(run) }
            }
            Action::Wait { .. } | Action::Destroy { .. } | Action::Save => Vec::new(),
        }
    }

    fn run_of(&self, name: &str) -> (usize, u32) {
        let place = self.alloc.position(name).unwrap();
        (place, self.alloc.tasks()[place].machine.run())
    }

    /// A task ends by itself.
    fn ends(&mut self, name: &str, code: i32) {
        let (place, run) = self.run_of(name);
        self.tell(AllocEvent::Task(place, exit(run, code)));
    }

    /// A slow task has stopped.
    fn stops(&mut self, name: &str) {
        let (place, run) = self.run_of(name);
        for event in stopped(run) {
            self.tell(AllocEvent::Task(place, event));
        }
    }

    fn pass(&mut self, secs: i64) {
        self.now = self.now.plus(Nanos::from_secs(secs));
        self.tell(AllocEvent::Timer);
    }

    /// What was done since this was last asked.
    fn did(&mut self) -> String {
        std::mem::take(&mut self.did).join(" ")
    }

    fn events(&self, name: &str) -> Vec<&'static str> {
        super::events(&self.alloc.tasks()[self.run_of(name).0].machine)
    }

    fn status(&self) -> ClientStatus {
        self.alloc.update().client_status
    }

    /// What a restarted agent finds.
    fn stored(&self) -> BTreeMap<String, StoredTask> {
        self.alloc.tasks().iter().map(|member| (member.name.clone(), member.machine.stored())).collect()
    }
}

fn stopped(run: u32) -> Vec<Event> {
    let status = ExitStatus { code: Some(143), signal: Some(15), ..ExitStatus::default() };
    vec![Event::Stopped { run }, Event::Exited { run, status }]
}

const EVERYTHING: &str = "init:pre side:pre+ app:main ping:post mesh:post+ bye:stop";

#[test]
fn tasks_start_in_the_order_of_the_stages() {
    for (group, script) in [
        ("a:main b:main", "+a +b"),
        ("init:pre a:main", "+init; init=0 +a"),
        ("a:main init:pre second:pre", "+init +second; init=0; second=0 +a"),
        ("side:pre+ a:main", "+side +a"),
        ("init:pre side:pre+ a:main", "+init +side; init=0 +a"),
        ("a:main ping:post", "+a +ping"),
        ("init:pre a:main ping:post", "+init; init=0 +a +ping"),
        ("a:main mesh:post+", "+a +mesh"),
        ("a:main bye:stop", "+a"),
        (EVERYTHING, "+init +side; init=0 +app +ping +mesh; ping=0; app=0 -side -mesh +bye; bye=0"),
        ("a:main b:main bye:stop", "+a +b; a=0; b=0 +bye"),
        ("a:lead b:main side:pre+", "+side +a +b; a=0 -b -side"),
        ("a:main ping:post", "+a +ping; a=0; ping=0"),
        ("a:main side:pre+ ping:post", "+side +a +ping; a=0; ping=0 -side"),
    ] {
        let mut play = Play::new(JobType::Batch, group);
        for (number, step) in script.split("; ").enumerate() {
            let (cause, expected) = match step.split_once('=') {
                None => (None, step),
                Some((name, rest)) => (Some(name), rest.strip_prefix("0").unwrap().trim_start()),
            };
            match cause {
                None => play.tell(AllocEvent::Start),
                Some(name) => play.ends(name, 0),
            }
            assert_eq!(play.did(), expected, "{group}: step {number} of {script}");
        }
    }
}

#[test]
fn what_fails_takes_the_others_along_and_poststop_still_runs() {
    for (group, fails, expected, after) in [
        ("init:pre a:main bye:stop", "init", "+bye", "bye"),
        ("side:pre+ a:main bye:stop", "side", "-a +bye", "bye"),
        ("a:main b:main side:pre+ bye:stop", "a", "-b -side +bye", "bye"),
        ("a:main ping:post bye:stop", "ping", "-a +bye", "bye"),
        ("a:main mesh:post+ bye:stop", "mesh", "-a +bye", "bye"),
        ("a:lead b:main bye:stop", "b", "-a +bye", "bye"),
    ] {
        let mut play = Play::started(JobType::Service, group);
        play.did();
        play.ends(fails, 1);
        assert_eq!(play.did(), expected, "{group}");
        assert_ne!(play.status(), ClientStatus::Failed, "{group}: something still runs");
        play.ends(after, 0);
        assert_eq!(play.status(), ClientStatus::Failed, "{group}");
        assert!(play.alloc.is_done(), "{group}");
    }
}

#[test]
fn main_tasks_never_start_after_a_failed_prestart_and_say_why() {
    let mut play = Play::started(JobType::Service, "init:pre a:main");
    play.ends("init", 1);
    assert_eq!(play.events("a"), ["Received", "Sibling Task Failed", "Killed"]);
    assert_eq!(play.did(), "+init");
    assert_eq!(play.status(), ClientStatus::Failed);
}

#[test]
fn the_leader_ends_first_then_the_tasks_then_the_sidecars_and_poststop_runs_last() {
    let mut play = Play::started(JobType::Service, "side:pre+ a:lead b:main c:main mesh:post+ bye:stop");
    play.did();
    play.slow = ["a", "b", "c", "side", "mesh"].map(str::to_owned).into();
    play.tell(AllocEvent::Stop(KillReason::Requested));
    assert_eq!(play.did(), "-a");
    play.stops("a");
    assert_eq!(play.did(), "-b -c");
    play.stops("c");
    assert_eq!(play.did(), "");
    play.stops("b");
    assert_eq!(play.did(), "-side -mesh");
    play.stops("side");
    assert_eq!(play.did(), "");
    play.stops("mesh");
    assert_eq!(play.did(), "+bye");
    assert_eq!(play.status(), ClientStatus::Running);
    play.tell(AllocEvent::Stop(KillReason::Requested));
    assert_eq!(play.did(), "", "what runs last is left to end");
    play.ends("bye", 0);
    assert_eq!(play.status(), ClientStatus::Complete);
}

#[test]
fn each_end_is_told_to_those_that_it_takes_along() {
    let mut play = Play::started(JobType::Batch, "a:lead b:main");
    play.ends("a", 0);
    assert_eq!(play.events("b")[3..], ["Leader Task Dead", "Killing", "Terminated", "Killed"]);
    assert_eq!(play.status(), ClientStatus::Complete);

    let mut play = Play::started(JobType::Batch, "a:main side:pre+");
    play.ends("a", 0);
    assert_eq!(play.events("side")[3..], ["Main Tasks Dead", "Killing", "Terminated", "Killed"]);
    assert_eq!(play.status(), ClientStatus::Complete);

    // A failure counts before the end of the leader.
    let mut play = Play::started(JobType::Batch, "a:lead b:main");
    play.ends("a", 1);
    assert!(play.events("b").contains(&"Sibling Task Failed"));
    assert_eq!(play.status(), ClientStatus::Failed);
}

#[test]
fn a_failing_poststop_fails_the_allocation_and_ends_no_other() {
    let mut play = Play::started(JobType::Batch, "a:main bye:stop log:stop");
    play.ends("a", 0);
    play.did();
    play.ends("bye", 1);
    assert_eq!((play.did().as_str(), play.status()), ("", ClientStatus::Running));
    play.ends("log", 0);
    assert_eq!(play.status(), ClientStatus::Failed);
}

#[test]
fn a_stop_in_each_stage_starts_nothing_but_poststop() {
    for (ends, expected) in [(vec![], "-init -side +bye"), (vec!["init"], "-app -ping -side -mesh +bye")] {
        let mut play = Play::started(JobType::Service, EVERYTHING);
        for name in ends {
            play.ends(name, 0);
        }
        play.did();
        play.tell(AllocEvent::Stop(KillReason::Requested));
        assert_eq!(play.did(), expected);
        play.ends("bye", 0);
        assert_eq!(play.status(), ClientStatus::Complete);
    }
}

#[test]
fn a_stop_before_the_start_and_a_shutdown_of_the_node_run_nothing_more() {
    let mut play = Play::new(JobType::Service, EVERYTHING);
    play.tell(AllocEvent::Stop(KillReason::Requested));
    play.tell(AllocEvent::Start);
    assert_eq!(play.did(), "");
    assert_eq!(play.status(), ClientStatus::Complete);

    let mut play = Play::started(JobType::Service, "a:main bye:stop");
    play.tell(AllocEvent::Stop(KillReason::Shutdown));
    assert_eq!(play.did(), "+a -a");
    assert!(play.alloc.is_done());
}

#[test]
fn the_group_waits_once_before_anything_is_stopped() {
    let mut play = Play::started(JobType::Service, "a:lead b:main");
    play.alloc.set_shutdown_delay(Nanos::from_secs(10));
    play.did();
    play.tell(AllocEvent::Stop(KillReason::Requested));
    assert_eq!(play.alloc.deadline(), Some(START.plus(Nanos::from_secs(10))));
    play.pass(9);
    assert_eq!(play.did(), "");
    play.pass(1);
    assert_eq!(play.did(), "-a -b");
    assert_eq!(play.alloc.deadline(), None);
}

#[test]
fn the_wait_ends_when_it_is_not_wanted_any_more_and_never_begins_where_nothing_runs() {
    let mut play = Play::started(JobType::Service, "a:main");
    play.alloc.set_shutdown_delay(Nanos::from_secs(10));
    play.tell(AllocEvent::Stop(KillReason::Requested));
    play.did();
    play.alloc.set_shutdown_delay(Nanos::ZERO);
    play.pass(0);
    assert_eq!(play.did(), "-a");

    let mut play = Play::new(JobType::Service, "a:main");
    play.alloc.set_shutdown_delay(Nanos::from_secs(10));
    play.tell(AllocEvent::Stop(KillReason::Requested));
    assert!(play.alloc.is_done());
}

#[test]
fn a_task_waits_by_itself_after_the_group_has() {
    let mut play = Play::started(JobType::Service, "a:main");
    play.alloc.set_shutdown_delay(Nanos::from_secs(10));
    let own = Timing { shutdown_delay: Nanos::from_secs(5), ..timing() };
    play.alloc.tasks_mut()[0].machine.set_terms(own, super::policy(0));
    play.did();
    play.tell(AllocEvent::Stop(KillReason::Requested));
    for (secs, expected) in [(10, ""), (4, ""), (1, "-a")] {
        play.pass(secs);
        assert_eq!(play.did(), expected);
    }
}

#[test]
fn starting_all_again_begins_with_the_first_stage_once_nothing_runs() {
    let mut play = Play::started(JobType::Service, "init:pre side:pre+ a:main ping:post bye:stop");
    play.ends("init", 0);
    play.ends("ping", 0);
    play.did();
    play.slow.insert("a".into());
    play.tell(AllocEvent::RestartAll { reason: "User requested task to restart".into() });
    assert_eq!(play.did(), "-side -a");
    assert_eq!(play.status(), ClientStatus::Running);
    play.stops("a");
    assert_eq!(play.did(), "+init +side");
    play.ends("init", 0);
    assert_eq!(play.did(), "+a +ping");
    assert!(
        play.alloc
            .tasks()
            .iter()
            .all(|member| member.kind == LifecycleKind::Poststop || member.machine.state().restarts == 1)
    );
}

#[test]
fn an_allocation_that_is_ending_is_not_started_again() {
    let mut play = Play::started(JobType::Batch, "a:main bye:stop");
    play.ends("a", 0);
    assert!(play.alloc.is_ending());
    play.did();
    play.tell(AllocEvent::RestartAll { reason: "User requested task to restart".into() });
    assert_eq!(play.did(), "");
}

#[test]
fn an_agent_that_restarts_in_any_stage_goes_on_from_there() {
    for (ends, found, then, expected) in [
        (vec![], "~init ~side", "init", "+app +ping +mesh"),
        (vec!["init"], "~side ~app ~ping ~mesh", "ping", ""),
        (vec!["init", "ping"], "~side ~app ~mesh", "app", "-side -mesh +bye"),
        (vec!["init", "ping", "app"], "~bye", "bye", ""),
    ] {
        let mut before = Play::started(JobType::Batch, EVERYTHING);
        for name in &ends {
            before.ends(name, 0);
        }
        let mut play = Play::restore(JobType::Batch, EVERYTHING, &before.stored());
        play.tell(AllocEvent::Start);
        assert_eq!(play.did(), found, "after {ends:?}");
        play.ends(then, 0);
        assert_eq!(play.did(), expected, "after {ends:?} and {then}");
    }
}

#[test]
fn a_stop_that_came_while_the_agent_was_away_ends_what_it_finds_in_order() {
    let group = "side:pre+ a:main bye:stop";
    let before = Play::started(JobType::Service, group);
    let mut play = Play::restore(JobType::Service, group, &before.stored());
    play.tell(AllocEvent::Stop(KillReason::Requested));
    play.tell(AllocEvent::Start);
    assert_eq!(play.did(), "~a -a ~side -side +bye");
}

#[test]
fn a_main_task_that_is_lost_starts_again_only_beside_its_sidecar() {
    let group = "side:pre+ a:main";
    let before = Play::started(JobType::Service, group);
    let mut play = Play::restore(JobType::Service, group, &before.stored());
    for member in play.alloc.tasks_mut() {
        member.machine.set_terms(timing(), super::policy(1));
    }
    play.lost = ["side", "a"].map(str::to_owned).into();
    play.tell(AllocEvent::Start);
    assert_eq!(play.did(), "");
    play.pass(20);
    assert_eq!(play.did(), "+side +a");
}

#[test]
fn a_finished_allocation_is_restored_as_it_ended() {
    let group = "init:pre a:main bye:stop";
    let mut before = Play::started(JobType::Batch, group);
    for name in ["init", "a", "bye"] {
        before.ends(name, 0);
    }
    let mut play = Play::restore(JobType::Batch, group, &before.stored());
    play.tell(AllocEvent::Start);
    assert_eq!((play.did().as_str(), play.status()), ("", ClientStatus::Complete));
}

#[test]
fn an_allocation_that_ran_is_running_while_its_task_waits_to_start_again() {
    let mut play = Play::new(JobType::Service, "a:main");
    play.alloc.tasks_mut()[0].machine.set_terms(timing(), super::policy(1));
    assert_eq!(play.status(), ClientStatus::Pending);
    play.tell(AllocEvent::Start);
    play.ends("a", 1);
    assert_eq!(play.status(), ClientStatus::Running);
    assert!(play.alloc.deadline().is_some());
}

#[test]
fn a_sidecar_that_fails_once_is_started_again_beside_the_others() {
    let mut play = Play::new(JobType::Batch, "side:pre+ a:main");
    play.alloc.tasks_mut()[0].machine.set_terms(timing(), super::policy(3));
    play.tell(AllocEvent::Start);
    play.did();
    for code in [1, 0] {
        play.ends("side", code);
        assert_eq!(play.did(), "");
        play.pass(20);
        assert_eq!(play.did(), "+side", "after exit code {code}");
    }
}
