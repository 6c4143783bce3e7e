//! Keeping a task's files as its templates say, for as long as it lives.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::data::{Data, Dependency};
use crate::env_file;
use crate::error::{Error, Fault};
use crate::parse::Program;
use crate::render::{attempt, compile};
use crate::sandbox::{Sandbox, Stamp};
use crate::template::{Limits, Template, Wait};

/// How a task's templates are kept.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where files are read and written.
    pub sandbox: Sandbox,
    /// What each rendering may take.
    pub limits: Limits,
    /// How long changes are collected, for templates that do not say.
    pub wait: Option<Wait>,
    /// Whether the task already runs, so that what is found changed at first has to be told as a change.
    pub restored: bool,
    /// How often files that were read are looked at.
    pub poll: Duration,
}

impl Config {
    /// The usual: a task that is about to start, usual limits, no waiting, files looked at each second.
    pub fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, limits: Limits::default(), wait: None, restored: false, poll: Duration::from_secs(1) }
    }
}

/// What became of a task's templates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// What templates still wait for before [`Update::Ready`], as a sentence: `Missing: a, b, c, and 2 more`. Sent at
    /// most every three seconds, and only if it differs from the one before.
    Missing(String),
    /// All files are there for the first time. Sent once.
    Ready(Change),
    /// Files became different after that.
    Changed(Change),
    /// A template failed, and no more is done.
    Failed(Error),
}

/// Which files are new, and what the environment is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// The templates whose files became different, by their position; sorted.
    pub templates: Vec<usize>,
    /// What all templates with `env` say together; later templates win.
    pub env: BTreeMap<String, String>,
}

/// Keeps a task's files as its templates say, for as long as it lives.
pub struct Manager {
    slots: Vec<Slot>,
    data: Arc<dyn Data>,
    config: Config,
    updates: mpsc::Sender<Update>,
    /// When a message about what is missing may be sent, and the last one.
    report_at: Instant,
    reported: String,
}

/// A template and how it stands.
struct Slot {
    template: Arc<Template>,
    program: Option<Arc<Program>>,
    /// Whether its file is there.
    done: bool,
    env: BTreeMap<String, String>,
    reads: Vec<Dependency>,
    missing: Vec<Dependency>,
    files: BTreeMap<String, Option<Stamp>>,
    /// When it is to be rendered.
    due: Option<Due>,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    at: Instant,
    /// When the first of the changes came that are being collected.
    since: Instant,
}

/// Why the loop goes on.
enum Woken {
    Due,
    Data,
    Poll,
    Report,
    End,
}

/// How many updates may wait for being read; the templates wait when there are more.
const UPDATES: usize = 16;
const REPORT_EVERY: Duration = Duration::from_secs(3);
/// How many missing things a message names.
const NAMED: usize = 3;

impl std::fmt::Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager")
            .field("templates", &self.slots.len())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Manager {
    /// Makes it, with the updates that it will send. Nothing happens before [`run`](Self::run).
    pub fn new(templates: Vec<Template>, data: Arc<dyn Data>, config: Config) -> (Self, mpsc::Receiver<Update>) {
        let (updates, receiver) = mpsc::channel(UPDATES);
        let now = Instant::now();
        let slots = templates.into_iter().map(|template| Slot::new(template, now)).collect();
        (Self { slots, data, config, updates, report_at: now, reported: String::new() }, receiver)
    }

    /// Renders, waits and renders again, until `shutdown`, a failure, or until nobody listens or nothing can change any
    /// more; then the updates end. Files are in place before the update that names them is sent.
    pub async fn run(mut self, shutdown: CancellationToken) {
        if let Err(error) = self.keep(&shutdown).await {
            self.send(Update::Failed(error), &shutdown).await;
        }
    }

    async fn keep(&mut self, shutdown: &CancellationToken) -> Result<(), Error> {
        let mut changes = self.data.changes();
        let mut changed = BTreeSet::new();
        let mut ready = false;
        let mut poll_at = Instant::now() + self.config.poll;
        self.report_at = Instant::now() + REPORT_EVERY;
        loop {
            for index in 0..self.slots.len() {
                if self.slots[index].due.is_some_and(|due| due.at <= Instant::now()) && self.render(index).await? {
                    changed.insert(index);
                }
                if shutdown.is_cancelled() {
                    return Ok(());
                }
            }
            if !ready && self.slots.iter().all(|slot| slot.done) {
                ready = true;
                // To a task that runs already, what is new is a change.
                let templates =
                    if self.config.restored { Vec::new() } else { std::mem::take(&mut changed).into_iter().collect() };
                self.send(Update::Ready(Change { templates, env: self.env() }), shutdown).await;
            }
            if ready && !changed.is_empty() {
                let templates = std::mem::take(&mut changed).into_iter().collect();
                self.send(Update::Changed(Change { templates, env: self.env() }), shutdown).await;
            }
            if self.slots.iter().all(|slot| slot.is_final(changes.is_some())) {
                return Ok(());
            }
            match self.wait(&mut changes, poll_at, ready, shutdown).await {
                Woken::End => return Ok(()),
                Woken::Due => {}
                Woken::Data => self.data_changed(),
                Woken::Poll => {
                    self.look_at_files().await;
                    poll_at = Instant::now() + self.config.poll;
                }
                Woken::Report => {
                    let text = self.missing();
                    if text != self.reported {
                        self.send(Update::Missing(text.clone()), shutdown).await;
                        self.reported = text;
                    }
                    self.report_at = Instant::now() + REPORT_EVERY;
                }
            }
        }
    }

    /// Waits for something to do.
    async fn wait(
        &self,
        changes: &mut Option<watch::Receiver<u64>>,
        poll_at: Instant,
        ready: bool,
        shutdown: &CancellationToken,
    ) -> Woken {
        let due = self.slots.iter().filter_map(|slot| slot.due).map(|due| due.at).min();
        let poll = self.slots.iter().any(Slot::watches_files).then_some(poll_at);
        let report = (!ready && self.slots.iter().any(|slot| !slot.missing.is_empty())).then_some(self.report_at);
        tokio::select! {
            () = shutdown.cancelled() => Woken::End,
            () = self.updates.closed() => Woken::End,
            () = at(due) => Woken::Due,
            () = at(poll) => Woken::Poll,
            () = at(report) => Woken::Report,
            () = changed(changes) => Woken::Data,
        }
    }

    /// Renders a template and writes its file. Says whether the file is another one now.
    async fn render(&mut self, index: usize) -> Result<bool, Error> {
        let slot = &self.slots[index];
        let (template, program) = (slot.template.clone(), slot.program.clone());
        let (data, config) = (self.data.clone(), self.config.clone());
        let name = template.name().to_owned();
        // Whoever drops this while it renders does not get the file any more.
        let unwanted = CancellationToken::new();
        let _guard = unwanted.clone().drop_guard();
        let outcome = spawn_blocking(move || Outcome::of(&template, program, &*data, &config, &unwanted)).await;
        let outcome = outcome.map_err(|_| Fault::somewhere("rendering it was broken off").of(&name))??;
        let Outcome { program, reads, missing, files, written } = outcome;
        let slot = &mut self.slots[index];
        slot.program = Some(program);
        (slot.reads, slot.missing, slot.files) = (reads, missing, files);
        slot.due = None;
        let Some(Written { new, env }) = written else {
            debug!(template = %name.display(), missing = slot.missing.len(), "template waits for what is missing");
            return Ok(false);
        };
        slot.done = true;
        slot.env = env;
        Ok(new)
    }

    fn data_changed(&mut self) {
        let wait = self.config.wait;
        for slot in
            self.slots.iter_mut().filter(|slot| slot.reads.iter().any(|read| !matches!(read, Dependency::File(_))))
        {
            slot.change(wait);
        }
    }

    async fn look_at_files(&mut self) {
        let paths: BTreeSet<String> =
            self.slots.iter().filter(|slot| slot.watches_files()).flat_map(|slot| slot.files.keys().cloned()).collect();
        let sandbox = self.config.sandbox.clone();
        let look = move || -> BTreeMap<String, Option<Stamp>> {
            paths.into_iter().map(|path| (path.clone(), sandbox.stamp(Path::new(&path)))).collect()
        };
        let Ok(seen) = spawn_blocking(look).await else { return };
        let wait = self.config.wait;
        for slot in self.slots.iter_mut().filter(|slot| slot.watches_files()) {
            let mut differs = false;
            for (path, stamp) in &mut slot.files {
                if let Some(now) = seen.get(path)
                    && now != stamp
                {
                    *stamp = *now;
                    differs = true;
                }
            }
            if differs {
                slot.change(wait);
            }
        }
    }

    /// All variables of all environment templates.
    fn env(&self) -> BTreeMap<String, String> {
        self.slots.iter().flat_map(|slot| slot.env.clone()).collect()
    }

    fn missing(&self) -> String {
        let missing: BTreeSet<String> =
            self.slots.iter().flat_map(|slot| slot.missing.iter().map(Dependency::to_string)).collect();
        let named: Vec<&str> = missing.iter().take(NAMED).map(String::as_str).collect();
        let more = match missing.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        format!("Missing: {}{more}", named.join(", "))
    }

    /// Waits for room, but not beyond the end. Whoever does not listen any more is noticed while waiting.
    async fn send(&self, update: Update, shutdown: &CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            Ok(()) | Err(_) = self.updates.send(update) => {}
        }
    }
}

impl Slot {
    fn new(template: Template, now: Instant) -> Self {
        Self {
            template: Arc::new(template),
            program: None,
            done: false,
            env: BTreeMap::new(),
            reads: Vec::new(),
            missing: Vec::new(),
            files: BTreeMap::new(),
            due: Some(Due { at: now, since: now }),
        }
    }

    /// Whether it stays as it is for ever.
    fn is_final(&self, data_changes: bool) -> bool {
        let can_change = |read: &Dependency| data_changes || matches!(read, Dependency::File(_));
        self.done && self.due.is_none() && (self.template.once || !self.reads.iter().any(can_change))
    }

    /// Whether it was rendered as often as it is to be.
    fn is_fixed(&self) -> bool {
        self.done && self.template.once
    }

    fn watches_files(&self) -> bool {
        !self.files.is_empty() && !self.is_fixed()
    }

    /// Notes that something it is made of has changed.
    fn change(&mut self, default: Option<Wait>) {
        let now = Instant::now();
        if self.is_fixed() {
            return;
        }
        let since = self.due.map_or(now, |due| due.since);
        let at = match self.template.wait.or(default) {
            Some(wait) if self.done => (now + wait.min).min(since + wait.max.max(wait.min)),
            Some(_) | None => now,
        };
        self.due = Some(Due { at, since });
    }
}

/// What came of rendering a template.
struct Outcome {
    program: Arc<Program>,
    reads: Vec<Dependency>,
    missing: Vec<Dependency>,
    files: BTreeMap<String, Option<Stamp>>,
    /// `None` while something is missing.
    written: Option<Written>,
}

struct Written {
    /// Whether the file is another one now.
    new: bool,
    env: BTreeMap<String, String>,
}

impl Outcome {
    fn of(
        template: &Template,
        program: Option<Arc<Program>>,
        data: &dyn Data,
        config: &Config,
        unwanted: &CancellationToken,
    ) -> Result<Self, Error> {
        let Config { sandbox, limits, .. } = config;
        let program = match program {
            Some(program) => program,
            None => Arc::new(compile(template, sandbox, *limits)?),
        };
        let attempt = attempt(template, &program, data, sandbox, *limits)?;
        let rendered = attempt.rendered;
        let written = if rendered.missing.is_empty() && !unwanted.is_cancelled() {
            let env = if template.env { env_file::parse(&rendered.content) } else { Ok(BTreeMap::new()) };
            let env = env.map_err(|fault| fault.of(template.name()))?;
            let new = sandbox.write(template, &rendered.content);
            Some(Written { new: new.map_err(|cause| Fault::somewhere(cause).of(template.name()))?, env })
        } else {
            None
        };
        Ok(Self { program, reads: rendered.reads, missing: rendered.missing, files: attempt.files, written })
    }
}

/// Ends at a time; without one it never does.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Ends when the count moves; never if there is none, or none that could move any more.
async fn changed(changes: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = changes
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests;
