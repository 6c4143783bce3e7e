//! What the deployment watcher asks for, and what clients find out about the health of allocations.

use std::time::Instant;

use orch_model::evaluation::{Evaluation, Trigger};
use orch_model::job::{JobType, UpdateStrategy};
use orch_model::{Allocation, DeploymentId, Nanos};
use orch_server::leader::deployments::{Action, Cause};

use super::*;

/// So often in a row the watcher may be called in vain at the time it asked for.
const IN_VAIN: u32 = 50;

/// So long people wait for a deployment without a deadline to move on.
const PATIENCE: Nanos = Nanos::from_secs(300);

impl Cluster {
    /// Calls the watcher, now that something changed or its time has come.
    pub(super) fn watch(&mut self) {
        let asked = self.leader.watch(&self.state, self.now());
        self.ask(asked);
    }

    /// It is the time that the watcher asked for.
    pub(super) fn watch_in_time(&mut self) {
        self.watches_at = None;
        let asked = self.leader.watch(&self.state, self.now());
        self.in_vain = if asked.is_empty() { self.in_vain + 1 } else { 0 };
        assert!(self.in_vain < IN_VAIN, "the watcher wants to be called again and again for nothing");
        self.ask(asked);
    }

    pub(super) fn watcher_answered(&mut self, id: DeploymentId, done: bool) {
        let asked = self.leader.answered(id, done, &self.state, self.now());
        self.ask(asked);
    }

    /// Proposes what the watcher asked for, and sees to it that it is called in time.
    fn ask(&mut self, asked: Vec<Action>) {
        for action in asked {
            let id = action.deployment();
            let command = match action {
                Action::Evaluate { job, .. } => self.watcher_eval(id, &job),
                Action::Reschedule { allocs, .. } => Command::RescheduleAllocs(RescheduleAllocs {
                    allocs,
                    evals_seed: self.seed.next_u64(),
                    trigger: Trigger::DeploymentWatcher,
                }),
                Action::Fail { cause, .. } => {
                    let failure = match cause {
                        Cause::UnhealthyAllocs => DeploymentFailure::UnhealthyAllocs,
                        Cause::ProgressDeadline => DeploymentFailure::ProgressDeadline,
                    };
                    let eval_id = self.eval_id();
                    let change = DeploymentChange::Fail(failure);
                    Command::ChangeDeployment(ChangeDeployment { id, change, eval_id })
                }
            };
            self.propose(command, Origin::Watcher { term: self.leader.term, id });
        }
        let now = self.now();
        let Some(wakes_at) = self.leader.watcher.wakes_at(now.for_watcher(&self.state)) else { return };
        let at = self.millis(wakes_at).max(self.now_ms + 1);
        if self.watches_at.is_none_or(|known| at < known) {
            self.watches_at = Some(at);
            self.after(at - self.now_ms, Event::Watch { at });
        }
    }

    /// The first millisecond that is not before `instant`.
    fn millis(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.began);
        u64::try_from(since.as_nanos().div_ceil(1_000_000)).unwrap()
    }

    fn watcher_eval(&mut self, id: DeploymentId, key: &JobKey) -> Command {
        let eval_id = self.eval_id();
        let eval = self.state.job(key).map(|job| {
            let priority = u16::try_from(job.priority).unwrap();
            let kind = job.kind().unwrap_or(JobType::Service);
            let mut eval = Evaluation::new(eval_id, key, priority, kind, Trigger::DeploymentWatcher);
            eval.job_modify_index = job.job_modify_index;
            eval.deployment_id = Some(id);
            eval
        });
        Command::PutEvals(PutEvals { evals: eval.into_iter().collect() })
    }

    /// A client will find out whether an allocation that runs is well, if a deployment waits to be told.
    pub(super) fn judge_later(&mut self, client: usize, alloc: AllocId, run: u64) {
        let Some(of) = self.clients[client].watched(&alloc) else { return };
        let Some(found) = self.state.alloc(&alloc).cloned() else { return };
        let Some(update) = update_of(&found) else { return };
        let is_slow = match workload::temper(&found.job) {
            Temper::NeverWell => true,
            Temper::Good | Temper::Crashes => !self.is_calm && self.happens(4),
        };
        let healthy = !is_slow;
        let lasts = if healthy { update.min_healthy_time } else { update.healthy_deadline };
        let lasts = lasts.unwrap_or(Nanos::ZERO).to_std().as_millis();
        let delay = u64::try_from(lasts).unwrap() + self.between(0, 500);
        self.after(delay, Event::Judged { client, alloc, run, of, healthy });
    }

    /// Deployments that were paused go on, now that the cluster is left alone, and those that may wait for room for
    /// ever are given up after a while.
    pub(super) fn tidy_rollouts(&mut self) {
        let now = self.now().wall;
        let active: Vec<_> = self.state.deployments().filter(|found| found.is_active()).cloned().collect();
        for deployment in active {
            let has_no_deadline = deployment.groups.values().all(|group| group.progress_deadline <= Nanos::ZERO);
            let change = if deployment.status == DeploymentStatus::Paused {
                DeploymentChange::Resume
            } else if has_no_deadline && now.since(deployment.modify_time) > PATIENCE {
                DeploymentChange::Fail(DeploymentFailure::ByUser)
            } else {
                continue;
            };
            let eval_id = self.eval_id();
            let command = ChangeDeployment { id: deployment.id, change, eval_id };
            self.propose(Command::ChangeDeployment(command), Origin::User);
        }
    }

    /// Something that a person wants of deployments or versions; nothing if there is none to want it of.
    pub(super) fn rollout_wish(&mut self, wish: RolloutWish, eval_id: EvalId) -> Option<Command> {
        let change = |id, change| Command::ChangeDeployment(ChangeDeployment { id, change, eval_id });
        Some(match wish {
            RolloutWish::Pause => change(self.some_deployment()?, DeploymentChange::Pause),
            RolloutWish::Resume => change(self.some_deployment()?, DeploymentChange::Resume),
            RolloutWish::Fail => change(self.some_deployment()?, DeploymentChange::Fail(DeploymentFailure::ByUser)),
            RolloutWish::SetHealth => {
                let deployment = self.some_deployment()?;
                let allocs: Vec<_> = self.state.allocs_of_deployment(&deployment).map(|alloc| alloc.id).collect();
                let (mut healthy, mut unhealthy) = (Vec::new(), Vec::new());
                for alloc in allocs {
                    match self.seed.below(8) {
                        0 => unhealthy.push(alloc),
                        1..4 => healthy.push(alloc),
                        _ => {}
                    }
                }
                Command::SetAllocHealth(SetAllocHealth { deployment, healthy, unhealthy, eval_id })
            }
            RolloutWish::Revert => {
                let key = self.some_job()?;
                let versions: Vec<_> = self.state.job_versions(&key).map(|job| job.version).collect();
                let to_version = self.one_of(&versions)?;
                Command::RevertJob(RevertJob { key, to_version, enforce_prior: None, eval_id })
            }
            RolloutWish::Stable => {
                let key = self.some_job()?;
                let versions: Vec<_> = self.state.job_versions(&key).map(|job| job.version).collect();
                let version = self.one_of(&versions)?;
                let stable = self.happens(80);
                Command::SetJobStability(SetJobStability { key, version, stable })
            }
            RolloutWish::Scale => {
                let key = self.some_job()?;
                let count = Some(u32::try_from(self.seed.below(9)).unwrap());
                Command::ScaleJob(ScaleJob {
                    key,
                    group: "web".into(),
                    count,
                    message: "scaled".into(),
                    error: false,
                    meta: BTreeMap::new(),
                    eval_id,
                    enforce_index: None,
                })
            }
            RolloutWish::Reschedule => {
                let key = self.some_job()?;
                let is_failed = |alloc: &&Arc<Allocation>| alloc.client_status == ClientStatus::Failed;
                let allocs = self.state.allocs_of_job(&key).filter(is_failed).map(|alloc| alloc.id).collect();
                let (evals_seed, trigger) = (self.seed.next_u64(), Trigger::JobRegister);
                Command::RescheduleAllocs(RescheduleAllocs { allocs, evals_seed, trigger })
            }
        })
    }

    fn some_deployment(&mut self) -> Option<DeploymentId> {
        let active: Vec<_> = self.state.deployments().filter(|found| found.is_active()).map(|found| found.id).collect();
        self.one_of(&active)
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let at = usize::try_from(self.seed.below(all.len() as u64)).unwrap();
        all.get(at).copied()
    }
}

fn update_of(alloc: &Allocation) -> Option<&UpdateStrategy> {
    alloc.task_group()?.update.as_ref()
}
