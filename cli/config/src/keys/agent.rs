//! Keys of the agent as a whole.

use super::{Contents, Kind, Label, Section, ignored, keys, moot, refused, supported};

const TLS: &str = "TLS is not built yet, so the agent would speak in clear text: remove the key, and keep the ports \
                   away from untrusted networks";
const SYSLOG: &str = "syslog is not built yet; logs go to standard error and to log_file";
const NO_GOSSIP: &str = "there is no gossip: servers find each other over their RPC port";
const ACL: &str = "it has no effect, because ACLs are not built yet";
const CERTIFICATE: &str = "it has no effect, because TLS is not built yet";

pub(super) const SECTIONS: &[Section] = &[
    keys(
        "",
        &[
            supported("region", Kind::Text),
            supported("datacenter", Kind::Text),
            supported("name", Kind::Text),
            supported("data_dir", Kind::Text),
            ignored("plugin_dir", Kind::Text, "external driver plugins are not built yet"),
            supported("bind_addr", Kind::Text),
            supported("log_level", Kind::Text),
            supported("log_json", Kind::Bool),
            supported("log_file", Kind::Text),
            supported("log_include_location", Kind::Bool),
            supported("log_rotate_bytes", Kind::Int),
            supported("log_rotate_duration", Kind::Duration),
            supported("log_rotate_max_files", Kind::Int),
            ignored("enable_debug", Kind::Bool, "there are no profiling endpoints yet"),
            supported("leave_on_interrupt", Kind::Bool),
            supported("leave_on_terminate", Kind::Bool),
            ignored("enable_syslog", Kind::Bool, SYSLOG),
            ignored("syslog_facility", Kind::Text, SYSLOG),
            moot("disable_update_check", Kind::Bool),
            moot("disable_anonymous_signature", Kind::Bool),
            supported("http_api_response_headers", Kind::Map),
        ],
    ),
    keys("ports", &[supported("http", Kind::Int), supported("rpc", Kind::Int), ignored("serf", Kind::Int, NO_GOSSIP)]),
    keys(
        "addresses",
        &[supported("http", Kind::Text), supported("rpc", Kind::Text), ignored("serf", Kind::Text, NO_GOSSIP)],
    ),
    keys(
        "advertise",
        &[supported("http", Kind::Text), supported("rpc", Kind::Text), ignored("serf", Kind::Text, NO_GOSSIP)],
    ),
    keys(
        "acl",
        &[
            refused(
                "enabled",
                Kind::Bool,
                "ACLs are not built yet, so everybody who reaches the agent may do everything: remove the key",
            ),
            ignored("token_ttl", Kind::Duration, ACL),
            ignored("policy_ttl", Kind::Duration, ACL),
            ignored("role_ttl", Kind::Duration, ACL),
            ignored("replication_token", Kind::Text, ACL),
            ignored("token_min_expiration_ttl", Kind::Duration, ACL),
            ignored("token_max_expiration_ttl", Kind::Duration, ACL),
        ],
    ),
    keys(
        "tls",
        &[
            refused("http", Kind::Bool, TLS),
            refused("rpc", Kind::Bool, TLS),
            refused("verify_server_hostname", Kind::Bool, TLS),
            refused("verify_https_client", Kind::Bool, TLS),
            ignored("rpc_upgrade_mode", Kind::Bool, CERTIFICATE),
            ignored("ca_file", Kind::Text, CERTIFICATE),
            ignored("cert_file", Kind::Text, CERTIFICATE),
            ignored("key_file", Kind::Text, CERTIFICATE),
            ignored("tls_cipher_suites", Kind::Text, CERTIFICATE),
            ignored("tls_min_version", Kind::Text, CERTIFICATE),
        ],
    ),
    keys(
        "telemetry",
        &[
            supported("prometheus_metrics", Kind::Bool),
            ignored("in_memory_collection_interval", Kind::Duration, TELEMETRY),
            ignored("in_memory_retention_period", Kind::Duration, TELEMETRY),
            supported("collection_interval", Kind::Duration),
            ignored("statsite_address", Kind::Text, TELEMETRY),
            ignored("statsd_address", Kind::Text, TELEMETRY),
            ignored("datadog_address", Kind::Text, TELEMETRY),
            ignored("datadog_tags", Kind::List, TELEMETRY),
            ignored("disable_hostname", Kind::Bool, TELEMETRY),
            ignored("use_node_name", Kind::Bool, TELEMETRY),
            supported("publish_allocation_metrics", Kind::Bool),
            supported("publish_node_metrics", Kind::Bool),
            ignored("include_alloc_metadata_in_metrics", Kind::Bool, TELEMETRY),
            ignored("allowed_metadata_keys_in_metrics", Kind::List, TELEMETRY),
            ignored("prefix_filter", Kind::List, TELEMETRY),
            ignored("filter_default", Kind::Bool, TELEMETRY),
            ignored("disable_dispatched_job_summary_metrics", Kind::Bool, TELEMETRY),
            ignored("disable_rpc_rate_metrics_labels", Kind::Bool, TELEMETRY),
            ignored("disable_quota_utilization_metrics", Kind::Bool, TELEMETRY),
            ignored("disable_allocation_hook_metrics", Kind::Bool, TELEMETRY),
            ignored("circonus_api_token", Kind::Text, TELEMETRY),
            ignored("circonus_api_app", Kind::Text, TELEMETRY),
            ignored("circonus_api_url", Kind::Text, TELEMETRY),
            ignored("circonus_submission_interval", Kind::Text, TELEMETRY),
            ignored("circonus_submission_url", Kind::Text, TELEMETRY),
            ignored("circonus_check_id", Kind::Text, TELEMETRY),
            ignored("circonus_check_force_metric_activation", Kind::Text, TELEMETRY),
            ignored("circonus_check_instance_id", Kind::Text, TELEMETRY),
            ignored("circonus_check_search_tag", Kind::Text, TELEMETRY),
            ignored("circonus_check_tags", Kind::Text, TELEMETRY),
            ignored("circonus_check_display_name", Kind::Text, TELEMETRY),
            ignored("circonus_broker_id", Kind::Text, TELEMETRY),
            ignored("circonus_broker_select_tag", Kind::Text, TELEMETRY),
        ],
    ),
    keys(
        "limits",
        &[
            supported("http_max_conns_per_client", Kind::Int),
            ignored(
                "https_handshake_timeout",
                Kind::Duration,
                "there is no TLS yet; the head of a request may take 30 s",
            ),
            supported("rpc_max_conns_per_client", Kind::Int),
            supported("rpc_handshake_timeout", Kind::Duration),
        ],
    ),
    Section { path: "plugin", label: Label::Name, contents: Contents::Plugin },
];

const TELEMETRY: &str = "metrics are only offered in the Prometheus format, at /v1/metrics?format=prometheus";
