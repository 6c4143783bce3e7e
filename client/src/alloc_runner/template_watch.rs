//! Renders the templates of one task beside it, and says what a change of them brings about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orch_model::allocation::EventKind;
use orch_model::job::ChangeScript;
use orch_template::{Change, Config, Local, Manager, Sandbox, Template, Update};
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Command;
use super::hooks::Teller;
use super::task::{Event, KillReason};
use crate::config::TemplateConfig;
use crate::error::chain;

/// What a change of a template brings about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    Nothing,
    Restart,
    /// This signal.
    Signal(String),
    Script(Box<ChangeScript>),
}

/// What a change of a template brings about, and within which time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub(crate) effect: Effect,
    /// The longest random wait before it takes effect.
    pub(crate) splay: Duration,
}

/// What is rendered for a task.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) templates: Vec<Template>,
    /// What becomes of a change of each.
    pub(crate) rules: Vec<Rule>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) sandbox: Sandbox,
    pub(crate) settings: TemplateConfig,
    /// Whether the task runs, so that what differs from its files is a change.
    pub(crate) running: bool,
    pub(crate) teller: Teller,
}

/// What several changes bring about together: a restart makes everything else needless.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Effects {
    pub(crate) restart: bool,
    pub(crate) signals: BTreeSet<String>,
    pub(crate) scripts: Vec<ChangeScript>,
}

impl Effects {
    fn add(&mut self, effect: &Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Restart => self.restart = true,
            Effect::Signal(signal) => {
                self.signals.insert(signal.clone());
            }
            Effect::Script(script) if !self.scripts.contains(script) => self.scripts.push(ChangeScript::clone(script)),
            Effect::Script(_) => {}
        }
    }

    fn is_nothing(&self) -> bool {
        !self.restart && self.signals.is_empty() && self.scripts.is_empty()
    }
}

/// The templates of one task, rendered for as long as it lives.
#[derive(Debug, Default)]
pub(crate) struct TemplateWatch(Mutex<Option<Watching>>);

#[derive(Debug)]
struct Watching {
    _service: AbortOnDropHandle<()>,
    rendered: watch::Receiver<Rendered>,
}

/// How far rendering has come.
#[derive(Debug, Clone, Default)]
enum Rendered {
    #[default]
    Waiting,
    /// All is written; what the templates set of the environment.
    Ready(Arc<BTreeMap<String, String>>),
    Failed(String),
}

impl TemplateWatch {
    pub(crate) fn is_watching(&self) -> bool {
        self.lock().is_some()
    }

    /// Renders by this plan from now on.
    pub(crate) fn begin(&self, plan: Plan) {
        let (sender, rendered) = watch::channel(Rendered::Waiting);
        let service = AbortOnDropHandle::new(tokio::spawn(attend(plan, sender)));
        *self.lock() = Some(Watching { _service: service, rendered });
    }

    /// Renders no more; a task that starts again begins anew.
    pub(crate) fn stop(&self) {
        self.lock().take();
    }

    /// Waits until every template was rendered; why that can never be.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        let Some(mut rendered) = self.lock().as_ref().map(|watching| watching.rendered.clone()) else { return Ok(()) };
        let settled = rendered.wait_for(|rendered| !matches!(rendered, Rendered::Waiting)).await;
        let failure = match settled.as_deref() {
            Ok(Rendered::Ready(_)) => return Ok(()),
            Ok(Rendered::Failed(failure)) => failure.clone(),
            Ok(Rendered::Waiting) | Err(_) => "Template failed: rendering was cut short".to_owned(),
        };
        drop(settled);
        // The next try begins anew.
        self.stop();
        Err(failure)
    }

    /// What the templates set of the environment.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        match self.lock().as_ref().map(|watching| watching.rendered.borrow().clone()) {
            Some(Rendered::Ready(env)) => BTreeMap::clone(&env),
            Some(Rendered::Waiting | Rendered::Failed(_)) | None => BTreeMap::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Watching>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Renders, and tells the runner what that means for the task.
async fn attend(plan: Plan, rendered: watch::Sender<Rendered>) {
    let Plan { templates, rules, env, sandbox, settings, running, teller } = plan;
    let config = Config { wait: settings.wait, restored: running, ..Config::new(sandbox) };
    let (manager, updates) = Manager::new(templates, Arc::new(Local { env }), config);
    let shutdown = CancellationToken::new();
    let listener = Listener { rules, running, teller, rendered, due: None };
    tokio::join!(manager.run(shutdown.clone()), listener.listen(updates));
}

/// Hears what was rendered.
struct Listener {
    rules: Vec<Rule>,
    running: bool,
    teller: Teller,
    rendered: watch::Sender<Rendered>,
    /// What takes effect at this time.
    due: Option<(Instant, Effects)>,
}

impl Listener {
    async fn listen(mut self, mut updates: mpsc::Receiver<Update>) {
        loop {
            let at = self.due.as_ref().map(|(at, _)| *at);
            tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => self.hear(update).await,
                    None => break,
                },
                () = tokio::time::sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {
                    self.take_effect().await;
                }
            }
        }
        // All are rendered only once, but what was decided still takes effect.
        if let Some((at, _)) = &self.due {
            tokio::time::sleep_until(*at).await;
            self.take_effect().await;
        }
    }

    async fn hear(&mut self, update: Update) {
        match update {
            Update::Missing(text) => self.teller.note(EventKind::Template(text.into())),
            Update::Ready(change) => self.show(change),
            Update::Changed(change) => {
                let templates = change.templates.clone();
                self.show(change);
                self.schedule(&templates);
            }
            Update::Failed(error) => {
                let text = format!("Template failed: {}", chain(&error));
                let waiting = matches!(*self.rendered.borrow(), Rendered::Waiting);
                self.rendered.send_replace(Rendered::Failed(text.clone()));
                if !waiting || self.running {
                    let reason = KillReason::Broken(Box::new(EventKind::Template(text.into())));
                    self.teller.ask(Command::Task { place: self.teller.place, event: Event::Kill(reason) }).await;
                }
            }
        }
    }

    fn show(&self, change: Change) {
        self.rendered.send_replace(Rendered::Ready(Arc::new(change.env)));
    }

    /// Has the change of these templates take effect within their splay.
    fn schedule(&mut self, changed: &[usize]) {
        let rules: Vec<&Rule> = changed.iter().filter_map(|place| self.rules.get(*place)).collect();
        let (at, mut effects) = self.due.take().unwrap_or_else(|| {
            let effective = rules.iter().filter(|rule| rule.effect != Effect::Nothing);
            let longest = effective.map(|rule| rule.splay).max().unwrap_or_default();
            (Instant::now() + rand::rng().random_range(Duration::ZERO..=longest), Effects::default())
        });
        rules.iter().for_each(|rule| effects.add(&rule.effect));
        self.due = Some((at, effects)).filter(|(_, effects)| !effects.is_nothing());
    }

    async fn take_effect(&mut self) {
        if let Some((_, effects)) = self.due.take() {
            self.teller.ask(Command::Changed { place: self.teller.place, effects }).await;
        }
    }
}
