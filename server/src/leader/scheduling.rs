//! Processing evaluations: the broker hands them out, workers schedule, the plan applier commits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orch_model::evaluation::EvalStatus;
use orch_model::job::JobType;
use orch_model::plan::PlanResult;
use orch_model::seed::Seed;
use orch_model::{EvalId, Evaluation, Nanos};
use orch_scheduler::{Decision, Memo, Overlay, Request, give_up, schedule};
use orch_state::commands::PutEvals;
use orch_state::{Changes, Command};
use tokio::sync::{Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info_span, warn};

use super::blocked::Blocked;
use super::broker::{Broker, Failure, Lease};
use super::plan_applier::{PlanApplier, PlanQueue};
use super::{Context, wall_clock};
use crate::consensus::{Consensus, Error};
use crate::metrics;
use crate::store::Store;

/// How many evaluations are under way at a time; most of them wait for their plan to be committed.
const IN_FLIGHT: usize = 64;

/// How many proposals in line take one half, two thirds, three quarters .. of that away: whoever waits for an answer goes first.
const CROWD: usize = 8;

/// And how few are left, however many proposals there are.
const FEWEST: usize = 2;

/// How long an evaluation gives way to proposals at most.
const GIVES_WAY: Nanos = Nanos::from_secs(1);

/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(100);

/// How often evaluations whose plans were refused too often are tried again.
const RETRY_CONFLICTS: Duration = Duration::from_secs(60);

/// Owns broker and blocked list, and runs the workers.
#[derive(Debug)]
pub(super) struct Scheduling {
    broker: Broker,
    blocked: Blocked,
    changes: broadcast::Receiver<Arc<Changes>>,
    shared: Arc<Shared>,
    next_token: u64,
    /// Evaluations that are to be written; tried again until they are, or this server does not lead any more.
    unwritten: Vec<Evaluation>,
}

/// What every worker needs.
#[derive(Debug)]
struct Shared {
    consensus: Arc<dyn Consensus>,
    store: Arc<Store>,
    plans: PlanQueue,
    /// Placements in flight of all workers.
    overlay: Mutex<Overlay>,
    /// Memos that no worker uses at the moment.
    memos: Mutex<Vec<Memo>>,
    /// As many schedulers compute at a time as the operator allows.
    processors: Semaphore,
}

/// What came of one evaluation.
struct Finished {
    id: EvalId,
    token: u64,
    result: Result<(), Error>,
}

/// Rebuilds broker and blocked list from the state; the applier is to be run beside.
pub(super) fn start(context: &Context) -> (Scheduling, PlanApplier) {
    let (plans, applier) = PlanQueue::new(Arc::clone(&context.consensus));
    let shared = Arc::new(Shared {
        consensus: Arc::clone(&context.consensus),
        store: Arc::clone(&context.store),
        plans,
        overlay: Mutex::default(),
        memos: Mutex::default(),
        processors: Semaphore::new(context.config.num_schedulers.max(1)),
    });
    let mut scheduling = Scheduling {
        broker: Broker::default(),
        blocked: Blocked::default(),
        changes: context.store.subscribe(),
        shared,
        next_token: 0,
        unwritten: Vec::new(),
    };
    scheduling.rebuild();
    (scheduling, applier)
}

impl Scheduling {
    /// Offers everything that has not ended; blocked evaluations are run once, since what came free is not known.
    fn rebuild(&mut self) {
        let state = self.shared.store.snapshot();
        let now = wall_clock();
        for eval in state.evals().filter(|eval| !eval.status.is_terminal()) {
            self.broker.offer(Arc::clone(eval), now);
        }
    }

    /// Runs until `ended`; workers that are under way then are abandoned, and the next leader begins afresh.
    pub(super) async fn run(mut self, ended: CancellationToken) {
        let mut workers: JoinSet<Finished> = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut conflicts = tokio::time::interval(RETRY_CONFLICTS);
        loop {
            self.hand_out(&mut workers);
            tokio::select! {
                () = ended.cancelled() => return,
                change = self.changes.recv() => match change {
                    Ok(change) => self.take_changes(&change),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        warn!(missed, "fell behind the state; starting over from a snapshot");
                        self.rebuild();
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                Some(finished) = workers.join_next() => self.take_finished(finished),
                _ = conflicts.tick() => {
                    let now = wall_clock();
                    self.blocked.retry_conflicts().into_iter().for_each(|eval| self.broker.offer(eval, now));
                }
                _ = ticks.tick() => self.tick().await,
            }
        }
    }

    fn hand_out(&mut self, workers: &mut JoinSet<Finished>) {
        if self.shared.store.snapshot().meta().scheduler.pause_eval_broker {
            return;
        }
        while workers.len() < self.at_a_time()
            && let Some(lease) = self.broker.lease(self.next_token, Instant::now())
        {
            self.next_token += 1;
            let shared = Arc::clone(&self.shared);
            workers.spawn(async move { shared.process(lease).await });
        }
    }

    /// How many evaluations may be under way now.
    fn at_a_time(&self) -> usize {
        let has_waited = |eval: &Evaluation| wall_clock().since(eval.create_time) >= GIVES_WAY;
        if self.broker.next().is_some_and(has_waited) {
            return IN_FLIGHT;
        }
        (IN_FLIGHT / (1 + self.shared.consensus.in_line() / CROWD)).max(FEWEST)
    }

    fn take_changes(&mut self, change: &Changes) {
        let now = wall_clock();
        for eval in &change.evals {
            self.blocked.forget(&eval.job_key(), &eval.id);
            match eval.status {
                EvalStatus::Blocked => {
                    if let Some(helped) = self.blocked.block(Arc::clone(eval)) {
                        self.broker.offer(helped, now);
                    }
                }
                EvalStatus::Pending | EvalStatus::Complete | EvalStatus::Failed | EvalStatus::Canceled => {
                    self.broker.offer(Arc::clone(eval), now);
                }
            }
        }
        for class in change.freed.values() {
            for eval in self.blocked.unblock(*class, change.last_index) {
                self.broker.offer(eval, now);
            }
        }
    }

    fn take_finished(&mut self, finished: Result<Finished, tokio::task::JoinError>) {
        let finished = match finished {
            Ok(finished) => finished,
            // Its lease runs out, and another worker tries.
            Err(error) => return error!(%error, "a worker failed; its evaluation will be tried again"),
        };
        match finished.result {
            Ok(()) => self.broker.done(&finished.id, finished.token),
            Err(error) => {
                debug!(eval_id = %finished.id, %error, "an evaluation could not be processed");
                if let Failure::GivenUp(eval) = self.broker.failed(&finished.id, finished.token, Instant::now()) {
                    self.write_off(vec![eval]);
                }
            }
        }
    }

    async fn tick(&mut self) {
        let given_up = self.broker.tick(Instant::now(), wall_clock());
        self.write_off(given_up);
        self.unwritten.extend(self.broker.take_superseded());
        self.write().await;
        let (ready, leased, pending, waiting) = self.broker.counts();
        metrics::broker(ready, leased, pending, waiting);
        let (blocked, escaped) = self.blocked.counts();
        metrics::blocked(blocked, escaped);
    }

    /// Marks evaluations as failed that were tried too often, and has each followed by another after a while.
    fn write_off(&mut self, evals: Vec<Arc<Evaluation>>) {
        metrics::evals_given_up(evals.len());
        let now = wall_clock();
        for eval in evals {
            warn!(eval_id = %eval.id, job_id = %eval.job_id, "an evaluation failed too often and is given up");
            let mut seed = Seed::of(eval.id.as_uuid(), u64::MAX);
            let pause = 60 + seed.below(300);
            let mut next = Evaluation::new(
                EvalId::from_uuid(seed.uuid()),
                &eval.job_key(),
                eval.priority,
                eval.kind,
                orch_model::evaluation::Trigger::FailedFollowUp,
            );
            next.previous = Some(eval.id);
            next.wait_until = now.plus(orch_model::Nanos::from_secs(i64::try_from(pause).unwrap_or(60)));
            let mut failed = (*eval).clone();
            failed.status = EvalStatus::Failed;
            failed.status_description = "evaluation reached delivery limit (3)".into();
            failed.next = Some(next.id);
            self.unwritten.extend([failed, next]);
        }
    }

    async fn write(&mut self) {
        if self.unwritten.is_empty() {
            return;
        }
        let command = Command::PutEvals(PutEvals { evals: self.unwritten.clone() });
        match self.shared.consensus.propose(command).await {
            Ok(_) => self.unwritten.clear(),
            Err(error) => warn!(%error, "evaluations could not be stored yet"),
        }
    }
}

impl Shared {
    async fn process(&self, lease: Lease) -> Finished {
        let (id, token) = (lease.eval.id, lease.token);
        let began = Instant::now();
        let result = self.attempt(&lease).await;
        metrics::evaluated(lease.eval.kind.as_str(), began.elapsed());
        self.overlay().remove(orch_scheduler::Lease(token));
        Finished { id, token, result }
    }

    /// Schedules and commits until the plan is committed whole, or refused too often.
    async fn attempt(&self, lease: &Lease) -> Result<(), Error> {
        let limit = if lease.eval.kind == JobType::Batch { 2 } else { 5 };
        let mut fruitless = 0;
        let mut round = 0;
        while fruitless < limit {
            round += 1;
            let Some(decision) = self.decide(lease, lease.seed(round)).await? else { return Ok(()) };
            let placements = decision.plan.placements.len();
            let (result, _) = self.plans.submit(decision.plan).await?;
            self.overlay().remove(orch_scheduler::Lease(lease.token));
            match result {
                PlanResult::Committed { refused, .. } if refused.is_empty() => return Ok(()),
                PlanResult::Committed { refused, .. } if refused.len() < placements => fruitless = 0,
                PlanResult::Committed { .. } | PlanResult::Stale { .. } => fruitless += 1,
            }
        }
        let snapshot = self.store.snapshot();
        let evals = give_up(&lease.eval, snapshot.last_index(), lease.seed(round + 1));
        let command = Command::PutEvals(PutEvals { evals: evals.to_vec() });
        self.consensus.propose(command).await.map(|_| ())
    }

    /// Runs the scheduler on the newest state; `None` if the evaluation has ended meanwhile.
    async fn decide(&self, lease: &Lease, seed: Seed) -> Result<Option<Decision>, Error> {
        let stopped = |error: &dyn std::fmt::Display| Error::Stopped(error.to_string());
        let waits = Instant::now();
        let permit = self.processors.acquire().await.map_err(|error| stopped(&error))?;
        metrics::waited_for_processor(waits.elapsed());
        let state = self.store.snapshot();
        let Some(eval) = state.eval(&lease.eval.id).filter(|eval| !eval.status.is_terminal()).cloned() else {
            return Ok(None);
        };
        let overlay = self.overlay().clone();
        let mut memo = self.memos().pop().unwrap_or_default();
        let now = wall_clock().max(state.now());
        let task = tokio::task::spawn_blocking(move || {
            let span = info_span!("eval.process", eval_id = %eval.id, job_id = %eval.job_id);
            let _entered = span.enter();
            let began = Instant::now();
            let request = Request { state: &state, overlay: &overlay, eval: &eval, now, seed, memo: &mut memo };
            let decision = schedule(request);
            metrics::scheduled(eval.kind.as_str(), began.elapsed());
            (decision, memo)
        });
        let (decision, memo) = task.await.map_err(|error| stopped(&error))?;
        self.memos().push(memo);
        self.overlay().add(orch_scheduler::Lease(lease.token), &decision.plan);
        drop(permit);
        Ok(Some(decision))
    }

    fn overlay(&self) -> std::sync::MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memos(&self) -> std::sync::MutexGuard<'_, Vec<Memo>> {
        self.memos.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
