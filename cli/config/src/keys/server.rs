//! Keys of the `server` block.

use super::{Kind, Section, ignored, keys, moot, refused, refused_as, supported};

const DETECTION: &str = "failure detection does not depend on the size of the cluster: clients beat every 3 s, and a \
                         node is down after 10 s of silence";
const ENTERPRISE: &str = "this feature is not built yet";
const RAFT_LOG: &str = "the Raft log has its own format and keeps trailing entries by bytes";
const NO_SUCH_OBJECTS: &str = "objects of that kind do not exist yet, so there is nothing to collect";
const KEEPS_TRYING: &str = "servers keep trying to join without limit";
const EVENTS: &str = "the event stream is not built yet";

pub(super) const SECTIONS: &[Section] = &[
    keys(
        "server",
        &[
            supported("enabled", Kind::Bool),
            supported("bootstrap_expect", Kind::Int),
            ignored("authoritative_region", Kind::Text, "regions are not federated yet"),
            supported("data_dir", Kind::Text),
            moot("protocol_version", Kind::Int),
            moot("raft_protocol", Kind::Int),
            supported("raft_multiplier", Kind::Int),
            supported("num_schedulers", Kind::Int),
            ignored("enabled_schedulers", Kind::List, "every scheduler runs on the leader"),
            supported("node_gc_threshold", Kind::Duration),
            supported("job_gc_interval", Kind::Duration),
            supported("job_gc_threshold", Kind::Duration),
            supported("eval_gc_threshold", Kind::Duration),
            supported("batch_eval_gc_threshold", Kind::Duration),
            supported("deployment_gc_threshold", Kind::Duration),
            ignored("csi_volume_claim_gc_interval", Kind::Duration, NO_SUCH_OBJECTS),
            ignored("csi_volume_claim_gc_threshold", Kind::Duration, NO_SUCH_OBJECTS),
            ignored("csi_plugin_gc_threshold", Kind::Duration, NO_SUCH_OBJECTS),
            ignored("acl_token_gc_threshold", Kind::Duration, NO_SUCH_OBJECTS),
            ignored("root_key_gc_interval", Kind::Duration, NO_SUCH_OBJECTS),
            ignored("root_key_gc_threshold", Kind::Duration, NO_SUCH_OBJECTS),
            ignored("root_key_rotation_threshold", Kind::Duration, NO_SUCH_OBJECTS),
            ignored("heartbeat_grace", Kind::Duration, DETECTION),
            ignored("min_heartbeat_ttl", Kind::Duration, DETECTION),
            ignored("max_heartbeats_per_second", Kind::Float, DETECTION),
            ignored("failover_heartbeat_ttl", Kind::Duration, DETECTION),
            supported("start_join", Kind::List),
            supported("retry_join", Kind::List),
            supported("retry_interval", Kind::Duration),
            ignored("retry_max", Kind::Int, KEEPS_TRYING),
            ignored("rejoin_after_leave", Kind::Bool, "a server that left joins again when it is started"),
            refused(
                "non_voting_server",
                Kind::Bool,
                "servers without a vote are not built yet, and this one would become a voter: remove the key",
            ),
            ignored("redundancy_zone", Kind::Text, ENTERPRISE),
            ignored("upgrade_version", Kind::Text, ENTERPRISE),
            ignored("license_path", Kind::Text, "orch needs no licence file"),
            refused(
                "encrypt",
                Kind::Text,
                "encryption between servers is not built yet, so they would speak in clear text: remove the key, and \
                 keep their ports on a trusted network",
            ),
            ignored("plan_apply_pipeline", Kind::Int, "plans are always pipelined"),
            ignored("enable_event_broker", Kind::Bool, EVENTS),
            ignored("event_buffer_size", Kind::Int, EVENTS),
            ignored("deploy_query_rate_limit", Kind::Float, "deployments are followed without queries"),
            supported("raft_snapshot_threshold", Kind::Int),
            ignored("raft_snapshot_interval", Kind::Duration, "snapshots follow raft_snapshot_threshold alone"),
            ignored("raft_trailing_logs", Kind::Int, RAFT_LOG),
            supported("job_default_priority", Kind::Int),
            supported("job_max_priority", Kind::Int),
            supported("job_max_count", Kind::Int),
            ignored("job_max_source_size", Kind::Bytes, "the limit on job sources is fixed"),
            ignored("job_tracked_versions", Kind::Int, "the number of kept job versions is fixed"),
            ignored("oidc_issuer", Kind::Text, "workload identities are not built yet"),
            ignored("start_timeout", Kind::Duration, "the server waits for its state without limit"),
            ignored("non_production", Kind::Bool, ENTERPRISE),
            ignored("log_file", Kind::Text, "use log_file at the top level"),
        ],
    ),
    keys(
        "server.server_join",
        &[
            supported("start_join", Kind::List),
            supported("retry_join", Kind::List),
            supported("retry_interval", Kind::Duration),
            ignored("retry_max", Kind::Int, KEEPS_TRYING),
        ],
    ),
    keys(
        "server.client_introduction",
        &[
            refused_as(
                "enforcement",
                "strict",
                "clients are not introduced by tokens yet, so any client that reaches a server joins: remove the key",
            ),
            ignored("default_identity_ttl", Kind::Duration, "clients are not introduced by tokens yet"),
            ignored("max_identity_ttl", Kind::Duration, "clients are not introduced by tokens yet"),
        ],
    ),
];
