//! What happened lately, to be shown when an invariant breaks.

use std::collections::VecDeque;

use orch_state::Command;

use crate::workload::temper;

const KEPT: usize = 150;

/// The newest lines of a life.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn note(&mut self, at: &str, what: &str) {
        if self.lines.len() >= KEPT {
            self.lines.pop_front();
        }
        let mut line = format!("{at} {what}");
        if line.len() > 1000 {
            line.truncate(line.floor_char_boundary(1000));
        }
        self.lines.push_back(line);
    }

    pub(crate) fn tail(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}

/// A command in a line.
pub(crate) fn told(command: &Command) -> String {
    match command {
        Command::ApplyPlans(command) => {
            let plans = command.plans.iter().map(|plan| {
                let places: Vec<_> =
                    plan.placements.iter().map(|place| (place.alloc_id.short(), place.index)).collect();
                let stops: Vec<_> = plan.stops.iter().map(|stop| (stop.alloc_id.short(), stop.client_status)).collect();
                let (eval, job) = (plan.eval_id.short(), &plan.job.job.job_id);
                let begins: Vec<_> = plan.deployment.iter().map(|deployment| deployment.id.short()).collect();
                let ends: Vec<_> =
                    plan.deployment_updates.iter().map(|update| (update.id.short(), update.status)).collect();
                let in_place: Vec<_> = plan.in_place.iter().map(|update| update.alloc_id.short()).collect();
                format!(
                    "[eval {eval} of {job}@{} places {places:?} stops {stops:?} in place {in_place:?} deployments {begins:?} {ends:?}]",
                    plan.job.version
                )
            });
            plans.fold("apply_plans".to_owned(), |text, plan| text + " " + &plan)
        }
        Command::UpdateAllocs(command) => {
            let updates =
                command.updates.iter().map(|(_, update)| (update.id.short(), update.client_status, update.health));
            format!("update_allocs {:?}", updates.collect::<Vec<_>>())
        }
        Command::PutEvals(command) => {
            let evals = command.evals.iter().map(|eval| (eval.id.short(), eval.job_id.to_string(), eval.status));
            format!("put_evals {:?}", evals.collect::<Vec<_>>())
        }
        Command::RegisterJob(command) => {
            let counts: Vec<_> = command.job.task_groups.iter().map(|group| group.count).collect();
            let temper = temper(&command.job);
            format!("register_job {} ({temper:?}) of {counts:?} with eval {}", command.job.id, command.eval_id.short())
        }
        Command::Reap(command) => {
            let jobs: Vec<_> = command.jobs.iter().map(ToString::to_string).collect();
            let deployments: Vec<_> = command.deployments.iter().map(|id| id.short()).collect();
            let (evals, allocs) = (command.evals.len(), command.allocs.len());
            format!("reap {evals} evaluations, {allocs} allocations, jobs {jobs:?}, deployments {deployments:?}")
        }
        Command::RegisterNode(command) => format!("register_node {} at {}", command.description.name, command.server),
        other => format!("{other:?}"),
    }
}
