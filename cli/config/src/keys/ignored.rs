//! Whole blocks of features that are not built yet.

use super::{Contents, Label, Section, unbuilt};

const CONSUL: &[&str] = &[
    "name",
    "address",
    "token",
    "auth",
    "ssl",
    "verify_ssl",
    "share_ssl",
    "ca_file",
    "cert_file",
    "key_file",
    "namespace",
    "grpc_address",
    "grpc_ca_file",
    "auto_advertise",
    "server_service_name",
    "client_service_name",
    "server_auto_join",
    "client_auto_join",
    "checks_use_advertise",
    "tags",
    "timeout",
    "service_auth_method",
    "task_auth_method",
    "service_identity",
    "task_identity",
    "server_http_check_name",
    "server_serf_check_name",
    "server_rpc_check_name",
    "client_http_check_name",
];
const VAULT: &[&str] = &[
    "name",
    "enabled",
    "address",
    "token",
    "create_from_role",
    "allow_unauthenticated",
    "task_token_ttl",
    "jwt_auth_backend_path",
    "namespace",
    "ca_file",
    "ca_path",
    "cert_file",
    "key_file",
    "tls_server_name",
    "tls_skip_verify",
    "default_identity",
];
const RPC: &[&str] = &[
    "accept_backlog",
    "keep_alive_interval",
    "connection_write_timeout",
    "stream_open_timeout",
    "stream_close_timeout",
    "dial_timeout",
];
const AUTOPILOT: &[&str] = &[
    "cleanup_dead_servers",
    "last_contact_threshold",
    "max_trailing_logs",
    "min_quorum",
    "server_stabilization_time",
    "enable_redundancy_zones",
    "disable_upgrade_migration",
    "enable_custom_upgrades",
];
const SCHEDULER: &[&str] = &[
    "scheduler_algorithm",
    "memory_oversubscription_enabled",
    "reject_job_registration",
    "pause_eval_broker",
    "preemption_config",
    "node_limit_for_feasibility_checks",
];
const REPORTING: &[&str] =
    &["license", "address", "export_interval", "snapshot_retention_time", "disable_product_usage_reporting"];

pub(super) const SECTIONS: &[Section] = &[
    Section {
        path: "audit",
        label: Label::None,
        contents: Contents::Refused("the audit log is not built yet, so nothing would be recorded: remove the block"),
    },
    Section {
        path: "sentinel",
        label: Label::None,
        contents: Contents::Refused("policies are not built yet, so nothing would be enforced: remove the block"),
    },
    Section {
        path: "keyring",
        label: Label::OptionalName,
        contents: Contents::Refused("there is no keyring yet, so nothing would be encrypted: remove the block"),
    },
    unbuilt("rpc", Label::None, "connections between agents have fixed timings", RPC),
    unbuilt("autopilot", Label::None, "autopilot is not built yet", AUTOPILOT),
    unbuilt("consul", Label::OptionalName, "Consul is not spoken to", CONSUL),
    unbuilt("vault", Label::OptionalName, "Vault is not spoken to; jobs that ask for it are refused", VAULT),
    unbuilt(
        "ui",
        Label::None,
        "there is no web page yet",
        &["enabled", "content_security_policy", "consul", "vault", "label", "show_cli_hints"],
    ),
    unbuilt("reporting", Label::None, "nothing is reported to anybody", REPORTING),
    unbuilt("eventlog", Label::None, "there is no Windows event log here", &["enabled", "level"]),
    unbuilt(
        "server.default_scheduler_config",
        Label::None,
        "set it in the running cluster with `orch operator scheduler set-config`",
        SCHEDULER,
    ),
    unbuilt(
        "server.plan_rejection_tracker",
        Label::None,
        "a plan is never refused for what its scheduler knew, so there is nothing to track",
        &["enabled", "node_threshold", "node_window"],
    ),
    unbuilt(
        "server.search",
        Label::None,
        "only searches by prefix are built",
        &["fuzzy_enabled", "limit_query", "limit_results", "min_term_length"],
    ),
    unbuilt(
        "server.raft_logstore",
        Label::None,
        "the Raft log has its own format",
        &["backend", "boltdb", "wal", "disable_log_cache", "verification"],
    ),
    unbuilt("server.raft_boltdb", Label::None, "the Raft log has its own format", &["no_freelist_sync"]),
    unbuilt(
        "client.drain_on_shutdown",
        Label::None,
        "nodes are not drained yet: tasks outlive the agent and are found again when it returns",
        &["deadline", "force", "ignore_system_jobs"],
    ),
    unbuilt("client.users", Label::None, "no driver uses dynamic users yet", &["dynamic_user_min", "dynamic_user_max"]),
    unbuilt(
        "client.fingerprint",
        Label::Name,
        "clouds are not fingerprinted yet",
        &["retry_attempts", "retry_interval", "exit_on_failure"],
    ),
];
