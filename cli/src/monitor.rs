//! Following an evaluation: what it placed, how that fares, and how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_api::client::QueryOptions;
use orch_api::{AllocListStub, Evaluation};
use orch_model::allocation::ClientStatus;
use orch_model::evaluation::EvalStatus;
use tokio::time::Instant;

use crate::commands::{DONE, FAILED, Outcome, Verbose};
use crate::context::Context;
use crate::explain;
use crate::output::time_nanos;
use crate::terminal;

/// What was asked for could not all be placed.
const NOT_PLACED: u8 = 2;
/// How long the agent may hold an answer back while nothing changes.
const WAIT: Duration = Duration::from_secs(2);
/// How long what was placed is followed until it runs.
const PLACED_WITHIN: Duration = Duration::from_secs(10);
/// How often what was placed is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Follows the evaluation `id` and those that continue it; the exit code says how it ended.
pub(crate) async fn evaluation(context: &Context, id: &str, verbose: Verbose) -> Outcome {
    let mut monitor = Monitor { context, verbose, known: BTreeMap::new() };
    let mut id = id.to_owned();
    loop {
        heading(&format!("Monitoring evaluation \"{}\"", verbose.id(&id)));
        let eval = monitor.follow(&id).await?;
        monitor.settle(&id).await?;
        let code = monitor.conclude(&eval);
        if eval.next_eval.is_empty() || eval.wait_until.0.0 > 0 {
            return Ok(code);
        }
        id = eval.next_eval;
    }
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
            let (eval, meta) = self.context.client.evaluation(id, &options).await?;
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
        let (allocs, _) = self.context.client.evaluation_allocations(id, &QueryOptions::default()).await?;
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

fn heading(text: &str) {
    terminal::line(format!("==> {}: {text}", now()));
}

fn step(text: &str) {
    terminal::line(format!("    {}: {text}", now()));
}

fn now() -> String {
    time_nanos(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}
