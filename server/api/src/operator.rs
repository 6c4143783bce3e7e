//! What operators read and change: Raft's members, the scheduler's settings, the brake on the loss of nodes.

use orch_model::operator::{SchedulerConfig, UnknownAlgorithm};
use orch_model::{Nanos, StateIndex};

use crate::json::{Time, shape};

shape! {
    /// The members of Raft.
    pub struct RaftConfiguration {
        /// The members.
        pub servers: Vec<RaftServer>,
        /// The index of this configuration.
        pub index: u64,
    }

    /// A member of Raft.
    pub struct RaftServer {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// Its name.
        pub node: String,
        /// Its RPC address.
        pub address: String,
        /// Whether it leads.
        pub leader: bool,
        /// Whether it votes.
        pub voter: bool,
        /// The version of the protocol.
        pub raft_protocol: String,
    }

    /// What became of a wish to hand leadership over.
    pub struct TransferLeadership {
        /// Who led.
        pub from: RaftServer,
        /// Who should lead.
        pub to: RaftServer,
        /// Whether nothing had to change.
        pub noop: bool,
        /// What went wrong; `None` if nothing did.
        pub err: Option<String>,
    }

    /// The scheduler's settings and the index of the answer.
    pub struct SchedulerConfigurationResponse {
        /// The settings.
        pub scheduler_config: SchedulerConfiguration,
        /// The index of the answer.
        pub index: u64,
        /// Nanoseconds since the server heard from the leader.
        pub last_contact: i64,
        /// Whether there is a leader.
        pub known_leader: bool,
        /// Always empty.
        pub next_token: String,
    }

    /// The scheduler's settings.
    pub struct SchedulerConfiguration {
        /// `binpack` or `spread`.
        pub scheduler_algorithm: String,
        /// Which kinds of work may displace less important work.
        pub preemption_config: PreemptionConfig,
        /// Whether `memory_max` counts.
        pub memory_oversubscription_enabled: bool,
        /// Whether registering jobs is refused.
        pub reject_job_registration: bool,
        /// Whether evaluations wait.
        pub pause_eval_broker: bool,
        /// Kept for compatibility: every node is looked at.
        pub node_limit_for_feasibility_checks: u64,
        /// When they were first set.
        pub create_index: u64,
        /// When they last changed.
        pub modify_index: u64,
    }

    /// Which kinds of work may displace less important work.
    pub struct PreemptionConfig {
        /// System jobs.
        pub system_scheduler_enabled: bool,
        /// Sysbatch jobs.
        pub sys_batch_scheduler_enabled: bool,
        /// Batch jobs.
        pub batch_scheduler_enabled: bool,
        /// Service jobs.
        pub service_scheduler_enabled: bool,
    }

    /// The brake that holds nodes back from being given up when many fall silent together.
    pub struct BrakeStatus {
        /// How many nodes may be given up now; a part of one is still filling.
        pub tokens: f64,
        /// How many may be given up at once.
        pub capacity: f64,
        /// How long an empty bucket takes to fill.
        pub refill_period: Nanos,
        /// How long a node is held back at most.
        pub hold: Nanos,
        /// The nodes that are held back, longest first.
        pub held: Vec<HeldNode>,
    }

    /// A node that is silent and was not given up yet.
    pub struct HeldNode {
        /// The node.
        #[serde(rename = "ID")]
        pub id: String,
        /// Its name.
        pub name: String,
        /// Since when it is held back.
        pub since: Time,
    }

    /// Whether a conditional write of the scheduler's settings took place.
    pub struct SchedulerSetResponse {
        /// Whether it did.
        pub updated: bool,
        /// The index of the write.
        pub index: u64,
    }
}

impl SchedulerConfiguration {
    /// How the API shows `config`.
    pub fn of(config: &SchedulerConfig) -> Self {
        let SchedulerConfig {
            algorithm,
            memory_oversubscription,
            reject_job_registration,
            pause_eval_broker,
            create_index,
            modify_index,
        } = config;
        Self {
            scheduler_algorithm: algorithm.as_str().to_owned(),
            preemption_config: PreemptionConfig::default(),
            memory_oversubscription_enabled: *memory_oversubscription,
            reject_job_registration: *reject_job_registration,
            pause_eval_broker: *pause_eval_broker,
            node_limit_for_feasibility_checks: 100,
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }

    /// What is to be stored; an empty algorithm is the default one. An error if the algorithm is unknown.
    pub fn to_model(&self) -> Result<SchedulerConfig, UnknownAlgorithm> {
        let algorithm = if self.scheduler_algorithm.is_empty() {
            orch_model::operator::Algorithm::default()
        } else {
            self.scheduler_algorithm.parse()?
        };
        Ok(SchedulerConfig {
            algorithm,
            memory_oversubscription: self.memory_oversubscription_enabled,
            reject_job_registration: self.reject_job_registration,
            pause_eval_broker: self.pause_eval_broker,
            create_index: StateIndex(self.create_index),
            modify_index: StateIndex(self.modify_index),
        })
    }
}
