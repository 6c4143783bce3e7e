//! Changing the count of a group, or noting why it was not changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::evaluation::Trigger;
use orch_model::job::JobType;
use orch_model::scaling::ScalingEvent;
use orch_model::{EvalId, Job, JobKey, StateIndex};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MAX_GROUP_COUNT, Reply, requested_eval, write_version};
use crate::tx::Tx;

/// Change the count of a group as a new version of its job, or note something about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleJob {
    /// The job.
    pub key: JobKey,
    /// The group.
    pub group: String,
    /// The new count; `None` only leaves a note.
    #[serde(default)]
    pub count: Option<u32>,
    /// Why, in a sentence.
    #[serde(default)]
    pub message: String,
    /// Whether the note tells of an error; not together with a count.
    #[serde(default)]
    pub error: bool,
    /// Particulars, for whoever scales.
    #[serde(default)]
    pub meta: BTreeMap<String, Value>,
    /// The evaluation that follows a new count.
    pub eval_id: EvalId,
    /// Only if the job was last written at this index.
    #[serde(default)]
    pub enforce_index: Option<StateIndex>,
}

impl ScaleJob {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if let Some(eval) = tx.state.eval(&self.eval_id) {
            return Reply::Job { eval_id: Some(eval.id), job_modify_index: eval.job_modify_index };
        }
        if tx.state.meta.scheduler.reject_job_registration {
            return Reply::registration_disabled();
        }
        let Some(current) = tx.state.job(&self.key).cloned() else {
            return Reply::not_found("job not found");
        };
        if let Err(refusal) = self.check(tx, &current) {
            return refusal;
        }
        let previous_count = current.group(&self.group).map_or(0, |group| group.count);
        let job = match self.count {
            Some(count) if i64::from(count) != previous_count => self.write(tx, &current, count),
            Some(_) | None => current,
        };
        let event = ScalingEvent {
            time: tx.now,
            previous_count,
            count: self.count.map(i64::from),
            message: self.message.clone(),
            error: self.error,
            meta: self.meta.clone(),
            eval_id: self.count.map(|_| self.eval_id),
            create_index: tx.index,
        };
        self.note(tx, event);
        if self.count.is_some() {
            tx.put_eval(requested_eval(self.eval_id, &job, None, Trigger::JobScaling));
        }
        Reply::Job { eval_id: self.count.map(|_| self.eval_id), job_modify_index: job.job_modify_index }
    }

    fn check(&self, tx: &Tx<'_>, job: &Job) -> Result<(), Reply> {
        if let Some(wanted) = self.enforce_index.filter(|wanted| *wanted != job.job_modify_index) {
            return Err(Reply::conflict(format!(
                "Enforcing job modify index {wanted}: job exists with conflicting job modify index: {}",
                job.job_modify_index
            )));
        }
        let Some(group) = job.group(&self.group) else {
            return Err(Reply::invalid(format!(
                "task group {:?} specified for scaling does not exist in job",
                self.group
            )));
        };
        let Some(count) = self.count else { return Ok(()) };
        let wanted = i64::from(count);
        if self.error {
            return Err(Reply::invalid("scaling action should not contain count if error is true"));
        }
        if count > MAX_GROUP_COUNT {
            return Err(Reply::invalid(format!("group count {count} is more than {MAX_GROUP_COUNT}")));
        }
        let is_per_node = match job.kind() {
            Some(JobType::System | JobType::Sysbatch) => true,
            Some(JobType::Service | JobType::Batch) | None => false,
        };
        if is_per_node && count > 1 {
            return Err(Reply::invalid("the count of a group of a system job is 0 or 1"));
        }
        if let Some(policy) = &group.scaling {
            if let Some(max) = policy.max.filter(|max| wanted > *max) {
                return Err(Reply::invalid(format!(
                    "group count was greater than scaling policy maximum: {wanted} > {max}"
                )));
            }
            if let Some(min) = policy.min.filter(|min| wanted < *min) {
                return Err(Reply::invalid(format!(
                    "group count was less than scaling policy minimum: {wanted} < {min}"
                )));
            }
        }
        if tx.state.active_deployment(&self.key).is_some() {
            return Err(Reply::invalid("job scaling blocked due to active deployment"));
        }
        Ok(())
    }

    fn write(&self, tx: &mut Tx<'_>, current: &Job, count: u32) -> Arc<Job> {
        let mut job = Job { version_tag: None, ..current.clone() };
        let scaled = job.task_groups.iter_mut().filter(|group| group.name == self.group);
        scaled.for_each(|group| group.count = i64::from(count));
        let submission = tx.state.submission(&current.version_key()).cloned();
        write_version(tx, job, submission)
    }

    fn note(&self, tx: &mut Tx<'_>, event: ScalingEvent) {
        tx.update_row(&self.key, |row, index| {
            let events = Arc::make_mut(&mut row.scaling).entry(self.group.clone()).or_default();
            events.insert(0, event);
            events.truncate(ScalingEvent::MAX_EVENTS);
            row.scaling_index = index;
            true
        });
    }
}
