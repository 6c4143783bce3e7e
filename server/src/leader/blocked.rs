//! Blocked evaluations: what waits for capacity, and what lets it go.
//!
//! A state machine without I/O, on the leader alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::evaluation::Trigger;
use orch_model::node::ComputedClass;
use orch_model::{EvalId, Evaluation, JobKey, StateIndex};

/// What waits for capacity: at most one evaluation per job.
#[derive(Debug, Default)]
pub struct Blocked {
    by_job: BTreeMap<JobKey, Arc<Evaluation>>,
    /// When capacity last came free in each class, so that what came free while an evaluation was on its way counts.
    freed: BTreeMap<ComputedClass, StateIndex>,
}

impl Blocked {
    /// Takes an evaluation in; answers it if what it waits for has come free since it was processed.
    pub fn block(&mut self, eval: Arc<Evaluation>) -> Option<Arc<Evaluation>> {
        let missed = self.freed.iter().any(|(class, index)| {
            *index > eval.snapshot_index && eval.waits_for.as_ref().is_none_or(|waits| waits.may_be_helped_by(*class))
        });
        if missed {
            return Some(eval);
        }
        self.by_job.insert(eval.job_key(), eval);
        None
    }

    /// Forgets an evaluation that is not blocked any more.
    pub fn forget(&mut self, job: &JobKey, id: &EvalId) {
        if self.by_job.get(job).is_some_and(|eval| eval.id == *id) {
            self.by_job.remove(job);
        }
    }

    /// Lets go what may be helped by capacity in `class` that came free at `index`.
    pub fn unblock(&mut self, class: ComputedClass, index: StateIndex) -> Vec<Arc<Evaluation>> {
        let newest = self.freed.entry(class).or_default();
        *newest = (*newest).max(index);
        let helped: Vec<_> = self
            .by_job
            .iter()
            .filter(|(_, eval)| eval.waits_for.as_ref().is_none_or(|waits| waits.may_be_helped_by(class)))
            .map(|(job, _)| job.clone())
            .collect();
        helped.iter().filter_map(|job| self.by_job.remove(job)).collect()
    }

    /// Lets go what waits because its plans were refused too often, which no capacity may ever help.
    pub fn retry_conflicts(&mut self) -> Vec<Arc<Evaluation>> {
        let conflicts: Vec<_> = self
            .by_job
            .iter()
            .filter(|(_, eval)| eval.trigger == Trigger::MaxPlanAttempts)
            .map(|(job, _)| job.clone())
            .collect();
        conflicts.iter().filter_map(|job| self.by_job.remove(job)).collect()
    }

    /// How many wait, and how many of them for any class.
    pub fn counts(&self) -> (usize, usize) {
        let escaped = self.by_job.values().filter(|eval| eval.waits_for.as_ref().is_some_and(|waits| waits.escaped));
        (self.by_job.len(), escaped.count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::evaluation::{EvalStatus, WaitsFor};
    use orch_model::job::JobType;
    use uuid::Uuid;

    fn blocked(job: &str, feasible: u64, infeasible: u64) -> Arc<Evaluation> {
        let key = JobKey::new(&"default".into(), &job.into());
        let mut eval = Evaluation::new(
            EvalId::from_uuid(Uuid::from_u128(u128::from(feasible))),
            &key,
            50,
            JobType::Service,
            Trigger::QueuedAllocs,
        );
        eval.status = EvalStatus::Blocked;
        eval.snapshot_index = StateIndex(10);
        let classes = BTreeMap::from([(ComputedClass(feasible), true), (ComputedClass(infeasible), false)]);
        eval.waits_for = Some(Arc::new(WaitsFor { classes, escaped: false }));
        Arc::new(eval)
    }

    #[test]
    fn capacity_wakes_only_what_it_may_help() {
        let mut all = Blocked::default();
        assert!(all.block(blocked("a", 1, 2)).is_none());
        assert!(all.block(blocked("b", 2, 1)).is_none());
        let woken = all.unblock(ComputedClass(1), StateIndex(11));
        assert_eq!(woken.iter().map(|eval| eval.job_id.as_str()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(all.counts(), (1, 0));
        assert_eq!(all.unblock(ComputedClass(9), StateIndex(12)).len(), 1, "a class nobody looked at may help");
    }

    #[test]
    fn capacity_that_came_free_meanwhile_is_not_missed() {
        let mut all = Blocked::default();
        all.unblock(ComputedClass(1), StateIndex(11));
        assert!(all.block(blocked("a", 1, 2)).is_some());
        all.unblock(ComputedClass(3), StateIndex(9));
        assert!(all.block(blocked("b", 3, 1)).is_none());
    }
}
