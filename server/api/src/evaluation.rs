//! Evaluations as the API shows them.

use std::collections::BTreeMap;

use orch_model::Evaluation as ModelEvaluation;
use orch_model::evaluation::EvalStatus;

use crate::allocation::AllocMetric;
use crate::job::PlanAnnotations;
use crate::json::{Time, shape, sparse};

sparse! {
    /// An evaluation.
    pub struct Evaluation {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The job's namespace.
        pub namespace: String,
        /// More important ones go first.
        pub priority: u64,
        /// The kind of scheduler it needs.
        pub r#type: String,
        /// What brought it about.
        pub triggered_by: String,
        /// The job to look at.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// When the job was last written.
        pub job_modify_index: u64,
        /// The node whose change brought it about.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// The deployment whose change brought it about.
        #[serde(rename = "DeploymentID")]
        pub deployment_id: String,
        /// How far it is.
        pub status: EvalStatus,
        /// Why.
        pub status_description: String,
        /// Not to be run before then.
        pub wait_until: Time,
        /// The one that follows.
        pub next_eval: String,
        /// The one that it follows.
        pub previous_eval: String,
        /// The one that waits for what could not be placed.
        pub blocked_eval: String,
        /// Those connected to it, where asked for.
        pub related_evals: Vec<EvaluationStub>,
        /// Why not everything was placed, by group.
        #[serde(rename = "FailedTGAllocs")]
        pub failed_tg_allocs: BTreeMap<String, AllocMetric>,
        /// What a dry run would do.
        pub plan_annotations: Option<PlanAnnotations>,
        /// Node classes looked at, and whether work could run there.
        pub class_eligibility: BTreeMap<String, bool>,
        /// Whether classes say nothing.
        pub escaped_computed_class: bool,
        /// How many wait to be placed, by group.
        pub queued_allocations: BTreeMap<String, u64>,
        /// The state that it was processed against.
        pub snapshot_index: u64,
        /// When it was created.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
        /// When it was created, in nanoseconds since the epoch.
        pub create_time: i64,
        /// When it last changed, in nanoseconds since the epoch.
        pub modify_time: i64,
    }
}

shape! {
    /// An evaluation connected to another.
    pub struct EvaluationStub {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The job's namespace.
        pub namespace: String,
        /// More important ones go first.
        pub priority: u64,
        /// The kind of scheduler it needs.
        pub r#type: String,
        /// What brought it about.
        pub triggered_by: String,
        /// The job to look at.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// The node whose change brought it about.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// The deployment it belongs to.
        #[serde(rename = "DeploymentID")]
        pub deployment_id: String,
        /// How far it is.
        pub status: EvalStatus,
        /// Why.
        pub status_description: String,
        /// Not to be run before then.
        pub wait_until: Time,
        /// The one that follows.
        pub next_eval: String,
        /// The one that it follows.
        pub previous_eval: String,
        /// The one that waits for what could not be placed.
        pub blocked_eval: String,
        /// When it was created.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
        /// When it was created, in nanoseconds since the epoch.
        pub create_time: i64,
        /// When it last changed, in nanoseconds since the epoch.
        pub modify_time: i64,
    }

    /// How many evaluations there are.
    pub struct EvalCountResponse {
        /// How many.
        pub count: u64,
        /// The index of the answer.
        pub index: u64,
        /// Nanoseconds since the server heard from the leader.
        pub last_contact: i64,
        /// Whether there is a leader.
        pub known_leader: bool,
        /// Always empty.
        pub next_token: String,
    }
}

fn text<T: ToString>(id: Option<T>) -> String {
    id.map(|id| id.to_string()).unwrap_or_default()
}

impl Evaluation {
    /// How the API shows `eval`.
    pub fn of(eval: &ModelEvaluation) -> Self {
        let ModelEvaluation {
            id,
            namespace,
            job_id,
            priority,
            kind,
            trigger,
            status,
            status_description,
            job_modify_index,
            node_id,
            deployment_id,
            wait_until,
            previous,
            next,
            blocked,
            outcome,
            waits_for,
            snapshot_index,
            create_index,
            modify_index,
            create_time,
            modify_time,
        } = eval;
        let outcome = outcome.as_deref();
        let waits_for = waits_for.as_deref();
        Self {
            id: id.to_string(),
            namespace: namespace.to_string(),
            priority: u64::from(*priority),
            r#type: kind.to_string(),
            triggered_by: trigger.to_string(),
            job_id: job_id.to_string(),
            job_modify_index: job_modify_index.0,
            node_id: text(*node_id),
            deployment_id: text(*deployment_id),
            status: *status,
            status_description: status_description.to_string(),
            wait_until: Time(*wait_until),
            next_eval: text(*next),
            previous_eval: text(*previous),
            blocked_eval: text(*blocked),
            related_evals: Vec::new(),
            failed_tg_allocs: outcome.map(|outcome| AllocMetric::by_group(&outcome.failed)).unwrap_or_default(),
            plan_annotations: None,
            class_eligibility: waits_for
                .map(|waits| waits.classes.iter().map(|(class, able)| (class.to_string(), *able)).collect())
                .unwrap_or_default(),
            escaped_computed_class: waits_for.is_some_and(|waits| waits.escaped),
            queued_allocations: outcome
                .map(|outcome| outcome.queued.iter().map(|(group, count)| (group.clone(), u64::from(*count))).collect())
                .unwrap_or_default(),
            snapshot_index: snapshot_index.0,
            create_index: create_index.0,
            modify_index: modify_index.0,
            create_time: create_time.0,
            modify_time: modify_time.0,
        }
    }
}

impl EvaluationStub {
    /// The short form of `eval`.
    pub fn of(eval: &ModelEvaluation) -> Self {
        Self {
            id: eval.id.to_string(),
            namespace: eval.namespace.to_string(),
            priority: u64::from(eval.priority),
            r#type: eval.kind.to_string(),
            triggered_by: eval.trigger.to_string(),
            job_id: eval.job_id.to_string(),
            node_id: text(eval.node_id),
            deployment_id: text(eval.deployment_id),
            status: eval.status,
            status_description: eval.status_description.to_string(),
            wait_until: Time(eval.wait_until),
            next_eval: text(eval.next),
            previous_eval: text(eval.previous),
            blocked_eval: text(eval.blocked),
            create_index: eval.create_index.0,
            modify_index: eval.modify_index.0,
            create_time: eval.create_time.0,
            modify_time: eval.modify_time.0,
        }
    }
}
