//! The evaluation broker: which evaluation is next, one at a time per job.
//!
//! A state machine without I/O. It lives on the leader alone and is rebuilt from a snapshot when leadership is won.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orch_model::evaluation::{EvalStatus, Trigger};
use orch_model::seed::Seed;
use orch_model::{EvalId, Evaluation, JobKey, StateIndex, Timestamp};

/// How long a worker may hold an evaluation before it is given to another.
pub const LEASE: Duration = Duration::from_secs(60);

/// How often an evaluation is tried before it is given up.
pub const ATTEMPTS: u32 = 3;

/// What orders evaluations that are ready: important ones first, then older ones.
type Rank = (Reverse<u16>, StateIndex, EvalId);

/// Which evaluation is next.
#[derive(Debug, Default)]
pub struct Broker {
    ready: BTreeMap<Rank, Arc<Evaluation>>,
    leased: BTreeMap<EvalId, Leased>,
    jobs: BTreeMap<JobKey, JobQueue>,
    /// Evaluations whose time has not come, by that time; and those times, by job.
    waiting: BTreeMap<(Timestamp, EvalId), Arc<Evaluation>>,
    times: BTreeMap<JobKey, BTreeMap<EvalId, Timestamp>>,
    /// Evaluations that are tried again after a pause.
    delayed: BTreeMap<(Instant, EvalId), Arc<Evaluation>>,
    attempts: BTreeMap<EvalId, u32>,
    superseded: Vec<Arc<Evaluation>>,
}

#[derive(Debug)]
struct Leased {
    eval: Arc<Evaluation>,
    token: u64,
    deadline: Instant,
}

/// The evaluations of one job: at most one is ready, leased or delayed, and the newest of the others waits for it.
#[derive(Debug, Default)]
struct JobQueue {
    active: Option<EvalId>,
    pending: Option<Arc<Evaluation>>,
}

/// An evaluation given to a worker.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The evaluation.
    pub eval: Arc<Evaluation>,
    /// Names this lease; a later lease of the same evaluation has another.
    pub token: u64,
    /// The how-manieth attempt it is, counted from 0.
    pub attempt: u32,
}

impl Lease {
    /// Where the ids of this attempt's plan come from, for the `round`-th plan, counted from 1.
    ///
    /// It differs between runs of an evaluation that blocks again and again, and is the same for every leader who runs
    /// it from the same point, so that what a deposed leader planned is known when it comes late.
    pub fn seed(&self, round: u32) -> Seed {
        let run = Seed::of(self.eval.id.as_uuid(), self.eval.modify_index.0).next_u64();
        Seed::of(self.eval.id.as_uuid(), run ^ (u64::from(self.attempt) << 32) ^ u64::from(round))
    }
}

/// What came of an attempt that did not succeed.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// It will be tried again.
    Again,
    /// It is given up.
    GivenUp(Arc<Evaluation>),
}

impl Broker {
    /// Takes an evaluation in, or takes over what it says now.
    pub fn offer(&mut self, eval: Arc<Evaluation>, now: Timestamp) {
        if eval.status.is_terminal() {
            self.forget(&eval);
            return;
        }
        self.stop_waiting(&eval.job_key(), &eval.id);
        if eval.wait_until > now {
            self.times.entry(eval.job_key()).or_default().insert(eval.id, eval.wait_until);
            self.waiting.insert((eval.wait_until, eval.id), eval);
            return;
        }
        if eval.trigger == Trigger::JobDeregister {
            // What was to be looked at later will not be there any more.
            self.supersede_waiting(&eval.job_key());
        }
        let queue = self.jobs.entry(eval.job_key()).or_default();
        match queue.active {
            None => {
                queue.active = Some(eval.id);
                self.ready.insert(rank(&eval), eval);
            }
            // Changed while a worker holds it: it is looked at once more, unless another of the job follows anyway.
            Some(active) if active == eval.id && self.leased.contains_key(&active) => match &queue.pending {
                Some(other) if other.id != eval.id => {}
                Some(_) | None => queue.pending = Some(eval),
            },
            Some(active) if active == eval.id => {}
            Some(_) => match &queue.pending {
                Some(other) if other.create_index > eval.create_index => self.superseded.push(eval),
                Some(other) if other.id == eval.id => queue.pending = Some(eval),
                Some(other) => {
                    self.superseded.push(Arc::clone(other));
                    queue.pending = Some(eval);
                }
                None => queue.pending = Some(eval),
            },
        }
    }

    /// Forgets an evaluation that has ended, unless a worker holds it.
    fn forget(&mut self, eval: &Evaluation) {
        self.stop_waiting(&eval.job_key(), &eval.id);
        if self.ready.remove(&rank(eval)).is_some() {
            self.release(&eval.job_key(), eval.id);
        } else if let Some(queue) = self.jobs.get_mut(&eval.job_key())
            && queue.pending.as_ref().is_some_and(|pending| pending.id == eval.id)
        {
            queue.pending = None;
        }
    }

    fn stop_waiting(&mut self, job: &JobKey, id: &EvalId) -> Option<Arc<Evaluation>> {
        let times = self.times.get_mut(job)?;
        let time = times.remove(id)?;
        if times.is_empty() {
            self.times.remove(job);
        }
        self.waiting.remove(&(time, *id))
    }

    fn supersede_waiting(&mut self, job: &JobKey) {
        let Some(times) = self.times.remove(job) else { return };
        let waiting = times.into_iter().filter_map(|(id, time)| self.waiting.remove(&(time, id)));
        self.superseded.extend(waiting);
    }

    /// The evaluation that is next.
    pub fn next(&self) -> Option<&Evaluation> {
        self.ready.first_key_value().map(|(_, eval)| &**eval)
    }

    /// Gives the next evaluation to a worker, under `token`.
    pub fn lease(&mut self, token: u64, now: Instant) -> Option<Lease> {
        let (_, eval) = self.ready.pop_first()?;
        let attempt = self.attempts.get(&eval.id).copied().unwrap_or(0);
        self.leased.insert(eval.id, Leased { eval: Arc::clone(&eval), token, deadline: now + LEASE });
        Some(Lease { eval, token, attempt })
    }

    /// Whether a lease still holds.
    pub fn holds(&self, id: &EvalId, token: u64) -> bool {
        self.leased.get(id).is_some_and(|leased| leased.token == token)
    }

    /// Takes note that an evaluation was processed.
    pub fn done(&mut self, id: &EvalId, token: u64) {
        if let Some(leased) = self.take(id, token) {
            self.attempts.remove(id);
            self.release(&leased.eval.job_key(), *id);
        }
    }

    /// Takes note that an attempt failed.
    pub fn failed(&mut self, id: &EvalId, token: u64, now: Instant) -> Failure {
        let Some(leased) = self.take(id, token) else { return Failure::Again };
        self.try_again(leased.eval, now)
    }

    fn try_again(&mut self, eval: Arc<Evaluation>, now: Instant) -> Failure {
        let attempts = self.attempts.entry(eval.id).or_default();
        *attempts += 1;
        if *attempts >= ATTEMPTS {
            self.attempts.remove(&eval.id);
            self.release(&eval.job_key(), eval.id);
            return Failure::GivenUp(eval);
        }
        let pause = if *attempts == 1 { Duration::from_secs(1) } else { Duration::from_secs(20) };
        self.delayed.insert((now + pause, eval.id), eval);
        Failure::Again
    }

    fn take(&mut self, id: &EvalId, token: u64) -> Option<Leased> {
        if self.holds(id, token) { self.leased.remove(id) } else { None }
    }

    /// Lets the next evaluation of a job go.
    fn release(&mut self, job: &JobKey, id: EvalId) {
        let Some(queue) = self.jobs.get_mut(job) else { return };
        if queue.active != Some(id) {
            return;
        }
        match queue.pending.take() {
            Some(next) => {
                queue.active = Some(next.id);
                self.ready.insert(rank(&next), next);
            }
            None => {
                self.jobs.remove(job);
            }
        }
    }

    /// Lets go what is due; answers what was given up because its workers never came back.
    pub fn tick(&mut self, now: Instant, time: Timestamp) -> Vec<Arc<Evaluation>> {
        while let Some((_, eval)) = self.waiting.first_key_value().filter(|((due, _), _)| *due <= time) {
            // It does not wait any more by this time, so it is offered to its job.
            let eval = Arc::clone(eval);
            self.offer(eval, time);
        }
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            let eval = entry.remove();
            self.ready.insert(rank(&eval), eval);
        }
        let expired: Vec<EvalId> =
            self.leased.iter().filter(|(_, leased)| leased.deadline <= now).map(|(id, _)| *id).collect();
        let mut given_up = Vec::new();
        for id in expired {
            if let Some(leased) = self.leased.remove(&id)
                && let Failure::GivenUp(eval) = self.try_again(leased.eval, now)
            {
                given_up.push(eval);
            }
        }
        given_up
    }

    /// Evaluations that a newer one of their job replaced since the last call, to be canceled.
    pub fn take_superseded(&mut self) -> Vec<Evaluation> {
        std::mem::take(&mut self.superseded)
            .into_iter()
            .map(|eval| Evaluation {
                status: EvalStatus::Canceled,
                status_description: Arc::from("canceled after more recent eval was processed"),
                ..(*eval).clone()
            })
            .collect()
    }

    /// Whether an evaluation is ready.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many are ready, leased, waiting behind another of their job, and waiting for their time.
    pub fn counts(&self) -> (usize, usize, usize, usize) {
        let pending = self.jobs.values().filter(|queue| queue.pending.is_some()).count();
        (self.ready.len(), self.leased.len(), pending, self.waiting.len() + self.delayed.len())
    }
}

fn rank(eval: &Evaluation) -> Rank {
    (Reverse(eval.priority), eval.create_index, eval.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::job::JobType;
    use uuid::Uuid;

    fn eval(number: u128, job: &str, priority: u16, created: u64) -> Arc<Evaluation> {
        let key = JobKey::new(&"default".into(), &job.into());
        let id = EvalId::from_uuid(Uuid::from_u128(number));
        let mut eval = Evaluation::new(id, &key, priority, JobType::Service, Trigger::JobRegister);
        eval.create_index = StateIndex(created);
        Arc::new(eval)
    }

    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn important_evaluations_go_first_then_older_ones() {
        let mut broker = Broker::default();
        broker.offer(eval(1, "a", 50, 1), NOW);
        broker.offer(eval(2, "b", 80, 2), NOW);
        broker.offer(eval(3, "c", 50, 0), NOW);
        let now = Instant::now();
        let order: Vec<_> = (0..3).map(|token| broker.lease(token, now).unwrap().eval.job_id.to_string()).collect();
        assert_eq!(order, ["b", "c", "a"]);
        assert!(broker.lease(9, now).is_none());
    }

    #[test]
    fn one_evaluation_per_job_is_out_and_the_newest_of_the_others_follows() {
        let mut broker = Broker::default();
        let now = Instant::now();
        broker.offer(eval(1, "a", 50, 1), NOW);
        let first = broker.lease(1, now).unwrap();
        broker.offer(eval(2, "a", 50, 2), NOW);
        broker.offer(eval(3, "a", 50, 3), NOW);
        assert!(broker.lease(2, now).is_none());
        broker.done(&first.eval.id, 1);
        assert_eq!(broker.lease(3, now).unwrap().eval.id, eval(3, "a", 50, 3).id);
        let canceled = broker.take_superseded();
        assert_eq!(canceled.len(), 1);
        assert_eq!((canceled[0].id, canceled[0].status), (eval(2, "a", 50, 2).id, EvalStatus::Canceled));
    }

    #[test]
    fn an_evaluation_that_changes_while_it_is_out_does_not_push_aside_a_newer_one() {
        let mut broker = Broker::default();
        let now = Instant::now();
        broker.offer(eval(1, "a", 50, 1), NOW);
        let first = broker.lease(1, now).unwrap();
        broker.offer(eval(2, "a", 50, 2), NOW);
        broker.offer(Arc::clone(&first.eval), NOW);
        broker.done(&first.eval.id, 1);
        assert_eq!(broker.lease(2, now).unwrap().eval.id, eval(2, "a", 50, 2).id);
    }

    #[test]
    fn runs_of_an_evaluation_that_blocks_again_draw_different_ids() {
        let lease = |modified: u64, attempt: u32| {
            let mut eval = (*eval(1, "a", 50, 1)).clone();
            eval.modify_index = StateIndex(modified);
            Lease { eval: Arc::new(eval), token: 1, attempt }
        };
        let seeds = [lease(1, 0).seed(1), lease(1, 0).seed(2), lease(1, 1).seed(1), lease(2, 0).seed(1)];
        for (at, seed) in seeds.iter().enumerate() {
            assert!(!seeds[..at].contains(seed));
        }
        assert_eq!(lease(1, 0).seed(1), seeds[0], "another leader draws the same");
    }

    #[test]
    fn an_evaluation_whose_worker_fails_is_tried_again_and_then_given_up() {
        let mut broker = Broker::default();
        let mut now = Instant::now();
        broker.offer(eval(1, "a", 50, 1), NOW);
        for attempt in 0..ATTEMPTS {
            let lease = broker.lease(u64::from(attempt), now).unwrap();
            assert_eq!(lease.attempt, attempt);
            now += LEASE;
            let given_up = broker.tick(now, NOW);
            assert_eq!(given_up.len(), usize::from(attempt + 1 == ATTEMPTS));
            now += Duration::from_secs(20);
            broker.tick(now, NOW);
        }
        assert!(!broker.has_ready());
        assert_eq!(broker.counts(), (0, 0, 0, 0));
    }

    #[test]
    fn an_answer_under_an_old_lease_counts_for_nothing() {
        let mut broker = Broker::default();
        let now = Instant::now();
        broker.offer(eval(1, "a", 50, 1), NOW);
        let lease = broker.lease(1, now).unwrap();
        broker.tick(now + LEASE, NOW);
        broker.tick(now + LEASE + Duration::from_secs(2), NOW);
        let again = broker.lease(2, now + LEASE + Duration::from_secs(2)).unwrap();
        broker.done(&lease.eval.id, 1);
        assert!(broker.holds(&again.eval.id, 2));
        broker.done(&again.eval.id, 2);
        assert_eq!(broker.counts(), (0, 0, 0, 0));
    }

    #[test]
    fn an_evaluation_waits_for_its_time() {
        let mut broker = Broker::default();
        let mut later = (*eval(1, "a", 50, 1)).clone();
        later.wait_until = Timestamp(NOW.0 + 5);
        broker.offer(Arc::new(later), NOW);
        assert!(!broker.has_ready());
        broker.tick(Instant::now(), Timestamp(NOW.0 + 5));
        assert!(broker.has_ready());
    }

    fn later(number: u128, job: &str, due: i64) -> Arc<Evaluation> {
        let mut later = (*eval(number, job, 50, 1)).clone();
        later.wait_until = Timestamp(NOW.0 + due);
        Arc::new(later)
    }

    #[test]
    fn thousands_wait_without_being_looked_at_and_go_in_the_order_of_their_times() {
        let mut broker = Broker::default();
        let now = Instant::now();
        for number in 0..10_000_u16 {
            broker.offer(later(u128::from(number), &format!("job-{number}"), 10_000 - i64::from(number)), NOW);
        }
        broker.offer(eval(99_999, "job-7", 50, 2), NOW);
        assert_eq!(broker.lease(1, now).unwrap().eval.job_id.as_str(), "job-7", "one that waits is in nobody's way");
        assert_eq!(broker.counts(), (0, 1, 0, 10_000));
        broker.tick(now, Timestamp(NOW.0 + 3));
        assert_eq!(broker.counts(), (3, 1, 0, 9_997));
        let first = broker.lease(2, now).unwrap().eval.wait_until;
        assert!(first <= Timestamp(NOW.0 + 3));
    }

    #[test]
    fn an_evaluation_whose_time_changes_waits_for_the_new_time_alone() {
        let mut broker = Broker::default();
        let now = Instant::now();
        broker.offer(later(1, "a", 5), NOW);
        broker.offer(later(1, "a", 9), NOW);
        broker.tick(now, Timestamp(NOW.0 + 5));
        assert_eq!(broker.counts(), (0, 0, 0, 1));
        let mut ended = (*later(1, "a", 5)).clone();
        ended.status = EvalStatus::Canceled;
        broker.offer(Arc::new(ended), NOW);
        assert_eq!(broker.counts(), (0, 0, 0, 0));
    }

    #[test]
    fn what_waits_for_a_job_that_is_stopped_is_canceled() {
        let mut broker = Broker::default();
        broker.offer(later(1, "a", 5), NOW);
        broker.offer(later(2, "a", 9), NOW);
        broker.offer(later(3, "b", 5), NOW);
        let mut stop = (*eval(4, "a", 50, 2)).clone();
        stop.trigger = Trigger::JobDeregister;
        broker.offer(Arc::new(stop), NOW);
        assert_eq!(broker.take_superseded().len(), 2);
        assert_eq!(broker.counts(), (1, 0, 0, 1));
    }
}
