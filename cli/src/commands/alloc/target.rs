//! Which allocation and which of its tasks are meant.

use anyhow::bail;
use orch_api::client::QueryOptions;
use orch_api::{AllocListStub, Allocation};
use orch_model::allocation::{ClientStatus, DesiredStatus};

use crate::context::Context;
use crate::resolve;

/// The allocation `given`; with `by_job`, one of the job of that name, running ones first, and of `group` if that is set.
pub(super) async fn allocation(
    context: &Context,
    given: &str,
    by_job: bool,
    group: Option<&str>,
) -> anyhow::Result<(Context, Allocation)> {
    let found = if by_job { of_job(context, given, group).await? } else { resolve::allocation(context, given).await? };
    let context = context.in_namespace(&found.namespace);
    let (alloc, _) = context.client.allocation(&found.id, &QueryOptions::default()).await?;
    Ok((context, alloc))
}

async fn of_job(context: &Context, given: &str, group: Option<&str>) -> anyhow::Result<AllocListStub> {
    let found = resolve::job(context, given).await?;
    let context = context.in_namespace(&found.namespace);
    let (mut allocs, _) = context.client.job_allocations(&found.id, false, &QueryOptions::default()).await?;
    allocs.retain(|alloc| group.is_none_or(|group| alloc.task_group == group));
    let best = allocs.into_iter().max_by_key(|alloc| {
        let runs = alloc.client_status == ClientStatus::Running;
        (runs, alloc.desired_status == DesiredStatus::Run, alloc.create_index)
    });
    match best {
        Some(alloc) => Ok(alloc),
        None => bail!(
            "the job {:?} has no allocations{}",
            found.id,
            group.map_or(String::new(), |group| format!(" of the group {group:?}"))
        ),
    }
}

/// The task that is named, else the only one.
pub(super) fn task(alloc: &Allocation, named: Option<&str>) -> anyhow::Result<String> {
    let tasks = tasks(alloc);
    match (named, tasks.as_slice()) {
        (Some(name), tasks) if tasks.iter().any(|task| task == name) => Ok(name.to_owned()),
        (Some(name), tasks) => {
            bail!("the allocation has no task {name:?}; its tasks are: {}", tasks.join(", "))
        }
        (None, [only]) => Ok(only.clone()),
        (None, tasks) => bail!(
            "the allocation has {} tasks, name one with -task or after the allocation:\n{}",
            tasks.len(),
            tasks.iter().map(|task| format!("  * {task}")).collect::<Vec<_>>().join("\n")
        ),
    }
}

/// The names of all tasks, in the order of the job.
pub(super) fn tasks(alloc: &Allocation) -> Vec<String> {
    let group = alloc.job.as_ref().and_then(|job| job.task_groups.iter().find(|group| group.name == alloc.task_group));
    match group {
        Some(group) => group.tasks.iter().map(|task| task.name.clone()).collect(),
        None => alloc.task_states.keys().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_task_needs_no_name_and_several_are_listed() {
        let with = |names: &[&str]| Allocation {
            task_states: names.iter().map(|name| ((*name).to_owned(), Default::default())).collect(),
            ..Allocation::default()
        };
        assert_eq!(task(&with(&["app"]), None).unwrap(), "app");
        assert_eq!(task(&with(&["app", "log"]), Some("log")).unwrap(), "log");
        let error = task(&with(&["app", "log"]), None).unwrap_err().to_string();
        assert_eq!(error, "the allocation has 2 tasks, name one with -task or after the allocation:\n  * app\n  * log");
        assert!(task(&with(&["app"]), Some("web")).is_err());
    }
}
