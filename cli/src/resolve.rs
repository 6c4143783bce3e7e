//! From what a user types to the one thing that is meant: exact ids, or prefixes that only one has.

use anyhow::bail;
use orch_api::client::QueryOptions;
use orch_api::{AllocListStub, Deployment, Evaluation, JobListStub, NodeListStub};

use crate::commands::short;
use crate::context::Context;
use crate::output::{Style, Table};

/// A job that was found.
#[derive(Debug, Clone)]
pub(crate) struct FoundJob {
    pub(crate) id: String,
    pub(crate) namespace: String,
}

/// The job with this id, else the only one whose id begins with it.
pub(crate) async fn job(context: &Context, given: &str) -> anyhow::Result<FoundJob> {
    let options = QueryOptions { prefix: given.to_owned(), ..QueryOptions::default() };
    let (jobs, _) = context.client.jobs(&options).await?;
    let found = |job: &JobListStub| FoundJob { id: job.id.clone(), namespace: job.namespace.clone() };
    let mut exact = jobs.iter().filter(|job| job.id == given);
    if let (Some(job), None) = (exact.next(), exact.next()) {
        return Ok(found(job));
    }
    match jobs.as_slice() {
        [] => bail!("No job(s) with prefix or ID {given:?} found"),
        [job] => Ok(found(job)),
        several => {
            let mut table = Table::new(["ID", "Namespace", "Type", "Priority", "Status"]);
            for job in several {
                let status = job_status(job);
                table.row([&job.id, &job.namespace, &job.r#type, &job.priority.to_string(), &status]);
            }
            bail!("Prefix matched multiple jobs\n\n{}", table.render(Style::Plain).trim_end())
        }
    }
}

/// The status of a job as lists show it.
pub(crate) fn job_status(job: &JobListStub) -> String {
    if job.stop { format!("{} (stopped)", job.status.as_str()) } else { job.status.as_str().to_owned() }
}

/// A text that can be the beginning of a UUID; an odd last digit is dropped, as servers compare whole bytes.
fn prefix(given: &str) -> anyhow::Result<String> {
    let digits = given.chars().filter(|c| *c != '-').count();
    if digits < 2 {
        bail!("Identifier must contain at least two characters.");
    }
    if let Some(wrong) = given.chars().find(|c| !c.is_ascii_hexdigit() && *c != '-') {
        bail!("{given:?} is not an identifier: it holds {wrong:?}, and identifiers are hexadecimal digits and dashes");
    }
    let mut text = given.to_ascii_lowercase();
    if digits % 2 == 1 {
        text.pop();
        if text.ends_with('-') {
            text.pop();
        }
    }
    Ok(text)
}

fn options(given: &str) -> anyhow::Result<QueryOptions> {
    Ok(QueryOptions { prefix: prefix(given)?, ..QueryOptions::default() })
}

/// The only one of `found`; `row` makes a line of a table of several.
fn only<T>(
    what: &str,
    given: &str,
    mut found: Vec<T>,
    id: impl Fn(&T) -> &str,
    heading: &[&str],
    row: impl Fn(&T) -> Vec<String>,
) -> anyhow::Result<T> {
    let given = given.to_ascii_lowercase();
    found.retain(|one| id(one).starts_with(&given));
    if found.len() > 1 {
        let mut table = Table::new(heading);
        for one in &found {
            table.row(row(one));
        }
        bail!("Prefix matched multiple {what}s\n\n{}", table.render(Style::Plain).trim_end());
    }
    match found.pop() {
        Some(one) => Ok(one),
        None => bail!("No {what}(s) with prefix or id {given:?} found"),
    }
}

/// The allocation whose id begins with `given`.
pub(crate) async fn allocation(context: &Context, given: &str) -> anyhow::Result<AllocListStub> {
    let mut options = options(given)?;
    if context.client.config().namespace.is_empty() {
        options.namespace = Some("*".to_owned());
    }
    let (found, _) = context.client.allocations(&options).await?;
    let heading = ["ID", "Node ID", "Job ID", "Task Group", "Desired", "Status"];
    only(
        "allocation",
        given,
        found,
        |alloc| &alloc.id,
        &heading,
        |alloc| {
            vec![
                alloc.id.clone(),
                short(&alloc.node_id),
                alloc.job_id.clone(),
                alloc.task_group.clone(),
                alloc.desired_status.as_str().to_owned(),
                alloc.client_status.as_str().to_owned(),
            ]
        },
    )
}

/// The evaluation whose id begins with `given`.
pub(crate) async fn evaluation(context: &Context, given: &str) -> anyhow::Result<Evaluation> {
    let mut options = options(given)?;
    if context.client.config().namespace.is_empty() {
        options.namespace = Some("*".to_owned());
    }
    let (found, _) = context.client.evaluations(&options).await?;
    let heading = ["ID", "Priority", "Triggered By", "Job ID", "Status"];
    only(
        "evaluation",
        given,
        found,
        |eval| &eval.id,
        &heading,
        |eval| {
            vec![
                eval.id.clone(),
                eval.priority.to_string(),
                eval.triggered_by.clone(),
                eval.job_id.clone(),
                eval.status.as_str().to_owned(),
            ]
        },
    )
}

/// The deployment whose id begins with `given`.
pub(crate) async fn deployment(context: &Context, given: &str) -> anyhow::Result<Deployment> {
    let mut options = options(given)?;
    if context.client.config().namespace.is_empty() {
        options.namespace = Some("*".to_owned());
    }
    let (found, _) = context.client.deployments(&options).await?;
    let heading = ["ID", "Job ID", "Job Version", "Status", "Description"];
    only(
        "deployment",
        given,
        found,
        |deployment| &deployment.id,
        &heading,
        |deployment| {
            vec![
                deployment.id.clone(),
                deployment.job_id.clone(),
                deployment.job_version.to_string(),
                deployment.status.to_string(),
                deployment.status_description.clone(),
            ]
        },
    )
}

/// The node whose id begins with `given`.
pub(crate) async fn node(context: &Context, given: &str) -> anyhow::Result<NodeListStub> {
    let (found, _) = context.client.nodes(&options(given)?).await?;
    let heading = ["ID", "Node Pool", "DC", "Name", "Eligibility", "Status"];
    only(
        "node",
        given,
        found,
        |node| &node.id,
        &heading,
        |node| {
            vec![
                node.id.clone(),
                node.node_pool.clone(),
                node.datacenter.clone(),
                node.name.clone(),
                node.scheduling_eligibility.as_str().to_owned(),
                node.status.as_str().to_owned(),
            ]
        },
    )
}

/// The node that the agent itself is.
pub(crate) async fn own_node(context: &Context) -> anyhow::Result<String> {
    let agent = context.client.agent_self().await?;
    match agent.stats.get("client").and_then(|client| client.get("node_id")) {
        Some(id) => Ok(id.clone()),
        None => bail!("The agent at {} is not a client, so it is no node", context.client.config().address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_an_even_number_of_digits() {
        assert_eq!(prefix("5e6").unwrap(), "5e");
        assert_eq!(prefix("5E6F").unwrap(), "5e6f");
        assert_eq!(prefix("5e6f7a8b-9").unwrap(), "5e6f7a8b");
        assert_eq!(prefix("5").unwrap_err().to_string(), "Identifier must contain at least two characters.");
        assert!(prefix("web").is_err());
    }

    #[test]
    fn several_matches_are_listed() {
        let found = vec!["ab01".to_owned(), "ab02".to_owned()];
        let error = only("node", "ab", found.clone(), |id| id, &["ID"], |id| vec![id.clone()]).unwrap_err().to_string();
        assert_eq!(error, "Prefix matched multiple nodes\n\nID\nab01\nab02");
        assert_eq!(only("node", "ab02", found, |id| id, &["ID"], |id| vec![id.clone()]).unwrap(), "ab02");
        let none = only("node", "ff", vec![], |id: &String| id, &["ID"], |id| vec![id.clone()]).unwrap_err();
        assert_eq!(none.to_string(), "No node(s) with prefix or id \"ff\" found");
    }
}
