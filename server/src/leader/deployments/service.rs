//! The watcher's shell: follows the state's changes, tells the watcher, proposes what it asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orch_model::evaluation::Trigger;
use orch_model::job::JobType;
use orch_model::{AllocId, DeploymentId, EvalId, Evaluation, JobKey};
use orch_state::commands::{ChangeDeployment, DeploymentChange, DeploymentFailure, PutEvals, RescheduleAllocs};
use orch_state::{Changes, Command, State};
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{Action, Cause, Event, Now, Watcher, observe};
use crate::consensus::Error;
use crate::leader::{Context, wall_clock};
use crate::metrics;

/// Deployments are looked at this often at most: changes of a large job come in many entries.
const LOOK: Duration = Duration::from_millis(50);

/// How often all active deployments are looked at, changed or not.
const SWEEP: Duration = Duration::from_secs(30);

/// Proposals under way at a time.
const IN_FLIGHT: usize = 16;

/// The most allocations in one entry.
const ALLOCS: usize = 1_000;

/// Watches deployments until `ended`.
pub(in crate::leader) async fn watch(context: Context, ended: CancellationToken) {
    let changes = context.store.subscribe();
    let service = Service {
        context,
        changes,
        watcher: Watcher::default(),
        wakes_at: None,
        dirty: BTreeSet::new(),
        looked_at: None,
        asked: Vec::new(),
        asking: JoinSet::new(),
    };
    service.run(ended).await;
}

struct Service {
    context: Context,
    changes: broadcast::Receiver<Arc<Changes>>,
    watcher: Watcher,
    /// When the watcher wants to be called.
    wakes_at: Option<Instant>,
    /// Deployments about which something changed since they were looked at.
    dirty: BTreeSet<DeploymentId>,
    looked_at: Option<Instant>,
    /// What is to be proposed once fewer proposals are under way.
    asked: Vec<Action>,
    asking: JoinSet<Answer>,
}

/// What came of a proposal.
struct Answer {
    ids: Vec<DeploymentId>,
    result: Result<(), Error>,
}

impl Service {
    async fn run(mut self, ended: CancellationToken) {
        let mut sweeps = tokio::time::interval(SWEEP);
        sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.propose();
            let wakes_at = self.looks_at().into_iter().chain(self.wakes_at).min();
            tokio::select! {
                () = ended.cancelled() => return,
                change = self.changes.recv() => match change {
                    Ok(change) => self.note(&change),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.sweep(),
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(answer) = self.asking.join_next() => match answer {
                    Ok(answer) => self.take_answer(answer),
                    Err(error) => warn!(%error, "a proposal about deployments was lost"),
                },
                _ = sweeps.tick() => self.sweep(),
                () = sleep_until(wakes_at) => self.look_and_tick(),
            }
        }
    }

    /// When what is dirty is looked at.
    fn looks_at(&self) -> Option<Instant> {
        (!self.dirty.is_empty()).then(|| self.looked_at.map_or_else(Instant::now, |at| at + LOOK))
    }

    /// Takes note of what the watcher came to.
    fn settle(&mut self, state: &State) {
        self.wakes_at = self.watcher.wakes_at(now(state));
        let (watched, asking) = self.watcher.counts();
        metrics::deployments(watched, asking);
    }

    fn note(&mut self, change: &Changes) {
        self.dirty.extend(change.deployments.iter().map(|deployment| deployment.id));
        self.dirty.extend(&change.deployment_allocs);
    }

    /// Looks at every active deployment, as at the start and after a gap in what is known.
    fn sweep(&mut self) {
        let state = self.context.store.snapshot();
        let active = state.deployments().filter(|deployment| deployment.is_active());
        self.dirty.extend(active.map(|deployment| deployment.id));
        self.dirty.extend(self.watcher.ids());
    }

    fn look_and_tick(&mut self) {
        let state = self.context.store.snapshot();
        let due = self.looked_at.is_none_or(|at| at.elapsed() >= LOOK);
        if due && !self.dirty.is_empty() {
            self.looked_at = Some(Instant::now());
            for id in std::mem::take(&mut self.dirty) {
                self.look(&state, id);
            }
        }
        let actions = self.watcher.step(now(&state), Event::Tick);
        self.asked.extend(actions);
        self.settle(&state);
    }

    fn look(&mut self, state: &State, id: DeploymentId) {
        let event = match state.deployment(&id) {
            Some(deployment) => Event::Stands(observe(state, deployment)),
            None => Event::Gone(id),
        };
        let actions = self.watcher.step(now(state), event);
        self.asked.extend(actions);
    }

    fn take_answer(&mut self, answer: Answer) {
        let done = match answer.result {
            Ok(()) => true,
            Err(error) => {
                warn!(%error, "what deployments need could not be stored yet");
                false
            }
        };
        // The answer came when the state here showed it, so what follows is decided on what it made.
        let state = self.context.store.snapshot();
        for id in answer.ids {
            self.dirty.remove(&id);
            self.look(&state, id);
            let actions = self.watcher.step(now(&state), Event::Answered { id, done });
            self.asked.extend(actions);
        }
        self.settle(&state);
    }

    /// Proposes what was asked for: evaluations and replacements of many deployments in one entry each.
    fn propose(&mut self) {
        if self.asked.is_empty() || self.asking.len() >= IN_FLIGHT {
            return;
        }
        let mut jobs = BTreeMap::new();
        let mut allocs = BTreeMap::new();
        for action in std::mem::take(&mut self.asked) {
            match action {
                Action::Evaluate { id, job } => drop(jobs.insert(id, job)),
                Action::Reschedule { id, allocs: failed } => drop(allocs.insert(id, failed)),
                Action::Fail { id, cause } => {
                    let context = self.context.clone();
                    self.asking.spawn(async move { Answer { ids: vec![id], result: fail(&context, id, cause).await } });
                }
            }
        }
        if !jobs.is_empty() {
            let context = self.context.clone();
            self.asking.spawn(evaluate(context, jobs));
        }
        if !allocs.is_empty() {
            let context = self.context.clone();
            self.asking.spawn(reschedule(context, allocs));
        }
    }
}

async fn evaluate(context: Context, jobs: BTreeMap<DeploymentId, JobKey>) -> Answer {
    let state = context.store.snapshot();
    let evals: Vec<_> = jobs.iter().filter_map(|(id, key)| evaluation(&state, *id, key)).collect();
    drop(state);
    let result = context.consensus.propose(Command::PutEvals(PutEvals { evals })).await.map(|_| ());
    Answer { ids: jobs.into_keys().collect(), result }
}

fn evaluation(state: &State, id: DeploymentId, key: &JobKey) -> Option<Evaluation> {
    let job = state.job(key)?;
    let priority = u16::try_from(job.priority).unwrap_or_default();
    let kind = job.kind().unwrap_or(JobType::Service);
    let mut eval = Evaluation::new(EvalId::from_uuid(Uuid::new_v4()), key, priority, kind, Trigger::DeploymentWatcher);
    eval.job_modify_index = job.job_modify_index;
    eval.deployment_id = Some(id);
    Some(eval)
}

async fn reschedule(context: Context, of: BTreeMap<DeploymentId, Vec<AllocId>>) -> Answer {
    let (ids, allocs): (Vec<_>, Vec<_>) = of.into_iter().unzip();
    let allocs = allocs.concat();
    for part in allocs.chunks(ALLOCS) {
        let command = Command::RescheduleAllocs(RescheduleAllocs {
            allocs: part.to_vec(),
            evals_seed: Uuid::new_v4().as_u64_pair().0,
            trigger: Trigger::DeploymentWatcher,
        });
        if let Err(error) = context.consensus.propose(command).await {
            return Answer { ids, result: Err(error) };
        }
    }
    Answer { ids, result: Ok(()) }
}

async fn fail(context: &Context, id: DeploymentId, cause: Cause) -> Result<(), Error> {
    let failure = match cause {
        Cause::UnhealthyAllocs => DeploymentFailure::UnhealthyAllocs,
        Cause::ProgressDeadline => DeploymentFailure::ProgressDeadline,
    };
    let eval_id = EvalId::from_uuid(Uuid::new_v4());
    let command = ChangeDeployment { id, change: DeploymentChange::Fail(failure), eval_id };
    context.consensus.propose(Command::ChangeDeployment(command)).await?;
    if let Some(deployment) = context.store.snapshot().deployment(&id) {
        info!(deployment_id = %id, job_id = %deployment.job_key().job_id, reason = %deployment.reason, "a deployment has failed");
    }
    metrics::deployment_failed();
    Ok(())
}

fn now(state: &State) -> Now {
    Now { at: Instant::now(), time: wall_clock().max(state.now()) }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
