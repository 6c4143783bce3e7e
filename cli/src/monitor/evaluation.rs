//! Following an evaluation: what it placed, how that fares, and how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_api::client::QueryOptions;
use orch_api::{AllocListStub, Deployment, Evaluation};
use orch_model::allocation::ClientStatus;
use orch_model::evaluation::EvalStatus;
use tokio::time::Instant;

use super::patience::patiently;
use super::{WAIT, deployment, heading, step};
use crate::commands::{DONE, FAILED, Outcome, Verbose};
use crate::context::Context;
use crate::explain;
use crate::terminal;

/// What was asked for could not all be placed.
const NOT_PLACED: u8 = 2;
/// How long what was placed is followed until it runs.
const PLACED_WITHIN: Duration = Duration::from_secs(10);
/// How often what was placed is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Follows the evaluation `id` and those that continue it; the exit code says how it ended.
pub(crate) async fn evaluation(context: &Context, id: &str, verbose: Verbose) -> Outcome {
    follow(context, id, Extent::Evaluations, verbose).await
}

/// Follows the evaluation `id`, and the deployment that it began or took further; the exit code says how that ended.
pub(crate) async fn rollout(context: &Context, id: &str, verbose: Verbose) -> Outcome {
    follow(context, id, Extent::Deployment, verbose).await
}

/// How far is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Evaluations,
    Deployment,
}

async fn follow(context: &Context, id: &str, extent: Extent, verbose: Verbose) -> Outcome {
    let mut monitor = Monitor { context, verbose, known: BTreeMap::new() };
    let mut id = id.to_owned();
    loop {
        heading(&format!("Monitoring evaluation \"{}\"", verbose.id(&id)));
        let eval = monitor.follow(&id).await?;
        let rollout = match extent {
            Extent::Evaluations => None,
            Extent::Deployment => rollout_of(context, &eval).await?,
        };
        match &rollout {
            Some(rollout) => step(&format!("Evaluation within deployment: \"{}\"", verbose.id(&rollout.id))),
            None => monitor.settle(&id).await?,
        }
        let code = monitor.conclude(&eval);
        if let Some(rollout) = rollout {
            return deployment(context, &rollout.id, WAIT, verbose).await;
        }
        if eval.next_eval.is_empty() || eval.wait_until.0.0 > 0 {
            return Ok(code);
        }
        id = eval.next_eval;
    }
}

/// The deployment that an evaluation began, else the one that it took further; `None` if its job needs none.
async fn rollout_of(context: &Context, eval: &Evaluation) -> anyhow::Result<Option<Deployment>> {
    if eval.job_id.is_empty() {
        return Ok(None);
    }
    let options = QueryOptions::default();
    let read = async || context.client.job_deployments(&eval.job_id, false, &options).await;
    let (deployments, _) = patiently(read).await?;
    Ok(concerned(deployments, eval.create_index))
}

/// The first of `deployments` from `index` on, else the one that has not ended.
fn concerned(deployments: Vec<Deployment>, index: u64) -> Option<Deployment> {
    let (since, before): (Vec<_>, Vec<_>) =
        deployments.into_iter().partition(|deployment| deployment.create_index >= index);
    let first = since.into_iter().min_by_key(|deployment| deployment.create_index);
    first.or_else(|| before.into_iter().find(|deployment| deployment.status.is_active()))
}

struct Monitor<'c> {
    context: &'c Context,
    verbose: Verbose,
    /// The status and modify index of each allocation when it was last told.
    known: BTreeMap<String, (ClientStatus, u64)>,
}

impl Monitor<'_> {
    /// Tells what happens until the evaluation has ended or waits for capacity.
    async fn follow(&mut self, id: &str) -> anyhow::Result<Evaluation> {
        let mut options = QueryOptions { wait: Some(WAIT), ..QueryOptions::default() };
        let mut told: Option<EvalStatus> = None;
        loop {
            let (eval, meta) = patiently(async || self.context.client.evaluation(id, &options).await).await?;
            match told {
                None => self.introduce(&eval),
                Some(before) if before != eval.status => {
                    step(&format!("Evaluation status changed: \"{before}\" -> \"{}\"", eval.status));
                }
                Some(_) => {}
            }
            told = Some(eval.status);
            self.tell_allocations(id).await?;
            if eval.status.is_terminal() || eval.status == EvalStatus::Blocked {
                return Ok(eval);
            }
            options.index = meta.index;
        }
    }

    fn introduce(&self, eval: &Evaluation) {
        if !eval.node_id.is_empty() {
            step(&format!("Evaluation triggered by node \"{}\"", self.verbose.id(&eval.node_id)));
        } else if !eval.job_id.is_empty() {
            step(&format!("Evaluation triggered by job \"{}\"", eval.job_id));
        }
        if eval.status != EvalStatus::Pending {
            step(&format!("Evaluation status changed: \"pending\" -> \"{}\"", eval.status));
        }
    }

    /// Tells what became of the allocations that the evaluation placed; whether all of them have begun or ended.
    async fn tell_allocations(&mut self, id: &str) -> anyhow::Result<bool> {
        let options = QueryOptions::default();
        let read = async || self.context.client.evaluation_allocations(id, &options).await;
        let (allocs, _) = patiently(read).await?;
        for alloc in &allocs {
            let now = (alloc.client_status, alloc.modify_index);
            match self.known.insert(alloc.id.clone(), now) {
                None => self.tell_new(alloc),
                Some((status, _)) if status != alloc.client_status => self.tell_change(alloc, status),
                Some(_) => {}
            }
        }
        Ok(allocs.iter().all(|alloc| alloc.client_status != ClientStatus::Pending))
    }

    fn tell_new(&self, alloc: &AllocListStub) {
        let verb = if alloc.create_index < alloc.modify_index && alloc.client_status != ClientStatus::Pending {
            "modified"
        } else {
            "created"
        };
        let AllocListStub { id, node_id, task_group, client_status, .. } = alloc;
        let (id, node) = (self.verbose.id(id), self.verbose.id(node_id));
        step(&format!("Allocation \"{id}\" {verb}: node \"{node}\", group \"{task_group}\""));
        if *client_status != ClientStatus::Pending {
            self.tell_change(alloc, ClientStatus::Pending);
        }
    }

    fn tell_change(&self, alloc: &AllocListStub, before: ClientStatus) {
        let AllocListStub { id, client_status, client_description, .. } = alloc;
        let why = if client_description.is_empty() { String::new() } else { format!(" ({client_description})") };
        let id = self.verbose.id(id);
        step(&format!("Allocation \"{id}\" status changed: \"{before}\" -> \"{client_status}\"{why}"));
    }

    /// Follows what was placed until it runs or ends, for some seconds at most.
    async fn settle(&mut self, id: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + PLACED_WITHIN;
        while !self.tell_allocations(id).await? {
            if Instant::now() >= deadline {
                step("Some allocations have not begun yet; `orch job status` shows how they fare");
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn conclude(&self, eval: &Evaluation) -> u8 {
        let id = self.verbose.id(&eval.id);
        if eval.failed_tg_allocs.is_empty() {
            let why = match eval.status_description.as_str() {
                "" => String::new(),
                text => format!(" ({text})"),
            };
            heading(&format!("Evaluation \"{id}\" finished with status \"{}\"{why}", eval.status));
            return if eval.status == EvalStatus::Failed { FAILED } else { DONE };
        }
        heading(&format!(
            "Evaluation \"{id}\" finished with status \"{}\" but failed to place all allocations:",
            eval.status
        ));
        for (group, metric) in &eval.failed_tg_allocs {
            let count = explain::failures(metric);
            let plural = if count == 1 { "" } else { "s" };
            terminal::line(format!("    Task Group \"{group}\" (failed to place {count} allocation{plural}):"));
            terminal::line(explain::placement(metric, "      "));
            if self.verbose.verbose
                && let Some(scores) = explain::scores(metric, self.context.style, str::to_owned)
            {
                terminal::line(scores);
            }
        }
        if !eval.blocked_eval.is_empty() {
            let blocked = self.verbose.id(&eval.blocked_eval);
            terminal::line(format!("    Evaluation \"{blocked}\" waiting for additional capacity to place remainder"));
        }
        NOT_PLACED
    }
}

#[cfg(test)]
mod tests {
    use orch_model::deployment::DeploymentStatus;

    use super::*;

    #[test]
    fn an_evaluation_is_followed_by_the_deployment_it_began_else_by_the_one_under_way() {
        let of = |create_index: u64, status: DeploymentStatus| Deployment {
            create_index,
            status,
            id: create_index.to_string(),
            ..Deployment::default()
        };
        let id = |found: Option<Deployment>| found.map(|deployment| deployment.id);
        let ended = of(5, DeploymentStatus::Successful);
        let active = of(8, DeploymentStatus::Paused);
        let newer = of(20, DeploymentStatus::Failed);
        let newest = of(30, DeploymentStatus::Running);
        assert_eq!(id(concerned(vec![ended.clone(), newer, newest], 12)).as_deref(), Some("20"));
        assert_eq!(id(concerned(vec![ended.clone(), active], 12)).as_deref(), Some("8"));
        assert_eq!(id(concerned(vec![ended], 12)), None);
    }
}
