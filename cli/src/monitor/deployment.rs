//! Following a deployment: how far its groups are, how it ended, and the rollback that a failed one may have brought.

use std::time::Duration;

use orch_api::Deployment;
use orch_api::client::QueryOptions;
use orch_model::deployment::DeploymentStatus;
use tokio::time::Instant;

use super::patience::patiently;
use super::screen::Screen;
use super::{heading, now, step};
use crate::commands::job::allocs;
use crate::commands::{DONE, FAILED, Outcome, Verbose};
use crate::context::Context;
use crate::rollout;
use crate::terminal;

/// How long a rollback has to begin a deployment of its own.
const ROLLBACK_WITHIN: Duration = Duration::from_secs(10);

/// Follows the deployment `id` until it has ended, and then the one that rolls it back, if there is one.
///
/// The agent holds its answers back for `wait` at most. The exit code says whether the deployment itself succeeded.
pub(crate) async fn deployment(context: &Context, id: &str, wait: Duration, verbose: Verbose) -> Outcome {
    let mut outcome = None;
    let mut id = id.to_owned();
    loop {
        heading(&format!("Monitoring deployment \"{}\"", verbose.id(&id)));
        terminal::line("");
        let ended = follow(context, &id, wait, verbose).await?;
        if verbose.verbose {
            tell_allocations(context, &id, verbose).await?;
        }
        heading(&conclusion(&ended, verbose));
        let code = if ended.status == DeploymentStatus::Successful { DONE } else { FAILED };
        let code = *outcome.get_or_insert(code);
        if !rolls_back(&ended) {
            return Ok(code);
        }
        match rollback_of(context, &ended).await? {
            Some(next) => id = next.id,
            None => {
                step("The rollback has begun no deployment yet; `orch job status` shows how the job fares");
                return Ok(code);
            }
        }
    }
}

/// Shows the deployment as it goes on.
async fn follow(context: &Context, id: &str, wait: Duration, verbose: Verbose) -> anyhow::Result<Deployment> {
    let mut options = QueryOptions { wait: Some(wait), ..QueryOptions::default() };
    let mut screen = Screen::of_stdout();
    loop {
        let (deployment, meta) = patiently(async || context.client.deployment(id, &options).await).await?;
        screen.show(&now(), &rollout::detail(&deployment, verbose, context.style));
        if deployment.status.is_terminal() {
            return Ok(deployment);
        }
        options.index = meta.index;
    }
}

async fn tell_allocations(context: &Context, id: &str, verbose: Verbose) -> anyhow::Result<()> {
    let options = QueryOptions::default();
    let (allocs, _) = patiently(async || context.client.deployment_allocations(id, &options).await).await?;
    if !allocs.is_empty() {
        let table = allocs::table(allocs, verbose).render(context.style);
        terminal::out(format!("{}\n{table}\n", context.style.bold("Allocations")));
    }
    Ok(())
}

fn conclusion(ended: &Deployment, verbose: Verbose) -> String {
    let Deployment { id, status, status_description, .. } = ended;
    let id = verbose.id(id);
    format!("Deployment \"{id}\" finished with status \"{status}\" ({status_description})")
}

/// Whether the job went back to an earlier version; the API says so in words alone.
fn rolls_back(ended: &Deployment) -> bool {
    ended.status == DeploymentStatus::Failed
        && ended.task_groups.values().any(|group| group.auto_revert)
        && ended.status_description.contains(" - rolling back to job version ")
}

/// The deployment of the version that the job went back to, once there is one.
async fn rollback_of(context: &Context, failed: &Deployment) -> anyhow::Result<Option<Deployment>> {
    let deadline = Instant::now() + ROLLBACK_WITHIN;
    let mut options = QueryOptions { wait: Some(super::WAIT), ..QueryOptions::default() };
    loop {
        let read = async || context.client.job_deployments(&failed.job_id, false, &options).await;
        let (deployments, meta) = patiently(read).await?;
        let newer = deployments.into_iter().filter(|deployment| deployment.create_index > failed.create_index);
        if let Some(next) = newer.min_by_key(|deployment| deployment.create_index) {
            return Ok(Some(next));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        options.index = meta.index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::tests::{SHORT, deployment};

    #[test]
    fn only_a_failure_that_says_so_is_followed_by_its_rollback() {
        let with = |auto_revert: bool, description: &str| {
            let mut ended = Deployment { status: DeploymentStatus::Failed, ..deployment() };
            ended.status_description = description.to_owned();
            ended.task_groups.values_mut().for_each(|group| group.auto_revert = auto_revert);
            ended
        };
        let rolled = with(true, "Failed due to progress deadline - rolling back to job version 3");
        assert!(rolls_back(&rolled));
        assert!(!rolls_back(&with(true, "Failed due to progress deadline - no stable job version to auto revert to")));
        assert!(!rolls_back(&with(
            true,
            "Deployment marked as failed - not rolling back to stable job version 3 as current job has same specification"
        )));
        assert!(!rolls_back(&with(false, "Failed due to progress deadline")));
        assert_eq!(
            conclusion(&rolled, SHORT),
            "Deployment \"1a2b3c4d\" finished with status \"failed\" (Failed due to progress deadline - rolling back to job \
             version 3)"
        );
    }
}
