//! A registration that was acknowledged is there until someone purges the job or it is dead and collected.

use std::collections::BTreeMap;

use orch_model::job::JobStatus;
use orch_model::{JobKey, StateIndex};
use orch_state::{Command, State};

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    written: BTreeMap<JobKey, StateIndex>,
}

impl Registrations {
    /// Someone was told that a job was written.
    pub(crate) fn acknowledged(&mut self, job: JobKey, index: StateIndex) {
        let known = self.written.entry(job).or_default();
        *known = index.max(*known);
    }

    /// Takes note of what may rightly make jobs go, before it is applied.
    pub(crate) fn before(&mut self, command: &Command, state: &State) {
        if let Command::DeregisterJob(command) = command
            && command.purge
        {
            self.written.remove(&command.job);
        }
        if let Command::Reap(command) = command {
            for job in &command.jobs {
                if state.job(job).is_none_or(|job| job.status == JobStatus::Dead) {
                    self.written.remove(job);
                }
            }
        }
    }

    pub(crate) fn check(&self, state: &State) {
        for (job, index) in &self.written {
            let found = state.job(job).map(|job| job.job_modify_index);
            assert!(found >= Some(*index), "job {job} was written at {index}, acknowledged, and is {found:?}");
        }
    }
}
