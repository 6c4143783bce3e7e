//! How deployments look: their lists, their state, and how far each group is.

use orch_api::Deployment;
use orch_api::deployment::DeploymentState;

use crate::commands::Verbose;
use crate::output::{Pairs, Style, Table, time};

const NOT_APPLICABLE: &str = "N/A";

/// A list of deployments, newest first.
pub(crate) fn table(mut deployments: Vec<Deployment>, verbose: Verbose, with_namespace: bool) -> Table {
    deployments.sort_by_key(|deployment| std::cmp::Reverse(deployment.create_index));
    let mut heading = vec!["ID", "Job ID", "Job Version", "Status", "Description"];
    if with_namespace {
        heading.insert(1, "Namespace");
    }
    let mut table = Table::new(heading);
    for deployment in deployments {
        let mut row = vec![
            verbose.id(&deployment.id),
            deployment.job_id,
            deployment.job_version.to_string(),
            deployment.status.to_string(),
            deployment.status_description,
        ];
        if with_namespace {
            row.insert(1, deployment.namespace);
        }
        table.row(row);
    }
    table
}

/// One deployment: what it is, how it stands, and its groups.
pub(crate) fn detail(deployment: &Deployment, verbose: Verbose, style: Style) -> String {
    let mut pairs = Pairs::new();
    pairs
        .add("ID", verbose.id(&deployment.id))
        .add("Job ID", &deployment.job_id)
        .add("Job Version", deployment.job_version)
        .add("Status", deployment.status)
        .add("Description", &deployment.status_description);
    with_groups(&pairs, deployment, style)
}

/// The same in short, for where the job is shown already.
pub(crate) fn summary(deployment: &Deployment, verbose: Verbose, style: Style) -> String {
    let mut pairs = Pairs::new();
    pairs
        .add("ID", verbose.id(&deployment.id))
        .add("Status", deployment.status)
        .add("Description", &deployment.status_description);
    with_groups(&pairs, deployment, style)
}

fn with_groups(pairs: &Pairs, deployment: &Deployment, style: Style) -> String {
    let mut text = pairs.render();
    if !deployment.task_groups.is_empty() {
        text.push_str(&format!("\n{}\n{}", style.bold("Deployed"), groups(deployment).render(style)));
    }
    text
}

/// How far each group is; columns that concern no group are left out.
fn groups(deployment: &Deployment) -> Table {
    let any = |used: fn(&DeploymentState) -> bool| deployment.task_groups.values().any(used);
    let reverts = any(|group| group.auto_revert);
    let canaries = any(|group| group.desired_canaries > 0);
    let deadlines = any(|group| group.progress_deadline.0 > 0);
    let columns = [
        ("Task Group", true),
        ("Auto Revert", reverts),
        ("Promoted", canaries),
        ("Desired", true),
        ("Canaries", canaries),
        ("Placed", true),
        ("Healthy", true),
        ("Unhealthy", true),
        ("Progress Deadline", deadlines),
    ];
    let mut table = Table::new(columns.iter().filter(|(_, shown)| *shown).map(|(name, _)| *name));
    for (name, group) in &deployment.task_groups {
        let of_canaries = |text: String| if group.desired_canaries > 0 { text } else { NOT_APPLICABLE.to_owned() };
        let deadline = match time(group.require_progress_by) {
            none if none.is_empty() => NOT_APPLICABLE.to_owned(),
            text => text,
        };
        let cells = [
            name.clone(),
            group.auto_revert.to_string(),
            of_canaries(group.promoted.to_string()),
            group.desired_total.to_string(),
            of_canaries(group.desired_canaries.to_string()),
            group.placed_allocs.to_string(),
            group.healthy_allocs.to_string(),
            group.unhealthy_allocs.to_string(),
            deadline,
        ];
        table.row(cells.into_iter().zip(columns).filter(|(_, (_, shown))| *shown).map(|(cell, _)| cell));
    }
    table
}

#[cfg(test)]
pub(crate) mod tests {
    use orch_model::Nanos;
    use orch_model::deployment::DeploymentStatus;

    use super::*;

    pub(crate) const SHORT: Verbose = Verbose { verbose: false };

    pub(crate) fn deployment() -> Deployment {
        let front = DeploymentState { desired_total: 3, placed_allocs: 2, healthy_allocs: 1, ..Default::default() };
        Deployment {
            id: "1a2b3c4d-0000-0000-0000-000000000000".into(),
            job_id: "web".into(),
            job_version: 4,
            status: DeploymentStatus::Running,
            status_description: "Deployment is running".into(),
            task_groups: [("front".to_owned(), front)].into(),
            ..Deployment::default()
        }
    }

    #[test]
    fn a_deployment_shows_only_the_columns_that_its_groups_use() {
        let expected = "ID          = 1a2b3c4d\n\
            Job ID      = web\n\
            Job Version = 4\n\
            Status      = running\n\
            Description = Deployment is running\n\
            \n\
            Deployed\n\
            Task Group  Desired  Placed  Healthy  Unhealthy\n\
            front       3        2       1        0\n";
        assert_eq!(detail(&deployment(), SHORT, Style::Plain), expected);
    }

    #[test]
    fn a_column_that_one_group_uses_says_of_others_that_it_does_not_apply() {
        let mut deployment = deployment();
        let back = DeploymentState {
            auto_revert: true,
            promoted: true,
            desired_canaries: 1,
            progress_deadline: Nanos::from_secs(600),
            desired_total: 2,
            ..DeploymentState::default()
        };
        deployment.task_groups.insert("back".into(), back);
        let expected = "\
            Task Group  Auto Revert  Promoted  Desired  Canaries  Placed  Healthy  Unhealthy  Progress Deadline\n\
            back        true         true      2        1         0       0        0          N/A\n\
            front       false        N/A       3        N/A       2       1        0          N/A\n";
        assert_eq!(groups(&deployment).render(Style::Plain), expected);
    }

    #[test]
    fn lists_begin_with_the_newest() {
        let older = Deployment { create_index: 5, ..deployment() };
        let newer = Deployment { create_index: 9, job_version: 5, namespace: "apps".into(), ..deployment() };
        let expected = "\
            ID        Namespace  Job ID  Job Version  Status   Description\n\
            1a2b3c4d  apps       web     5            running  Deployment is running\n\
            1a2b3c4d  <none>     web     4            running  Deployment is running\n";
        assert_eq!(table(vec![older, newer], SHORT, true).render(Style::Plain), expected);
    }
}
