//! Keys of what the client brings to its tasks: artifacts and templates.

use super::{Contents, Kind, Label, Section, ignored, keys, refused, supported};

const NOT_FETCHED: &str = "sources of this kind cannot be fetched; jobs that name one get a clear error";
const NOTHING_TO_ASK: &str = "there is no Consul, Vault or Nomad that templates would ask";

const WAIT: Contents = Contents::Keys(&[
    supported("enabled", Kind::Bool),
    supported("min", Kind::Duration),
    supported("max", Kind::Duration),
]);
const RETRY: &[&str] = &["attempts", "backoff", "max_backoff"];

pub(super) const SECTIONS: &[Section] = &[
    keys(
        "client.artifact",
        &[
            supported("http_read_timeout", Kind::Duration),
            supported("http_max_size", Kind::Bytes),
            ignored("gcs_timeout", Kind::Duration, NOT_FETCHED),
            supported("git_timeout", Kind::Duration),
            ignored("hg_timeout", Kind::Duration, NOT_FETCHED),
            supported("s3_timeout", Kind::Duration),
            supported("decompression_size_limit", Kind::Bytes),
            supported("decompression_file_count_limit", Kind::Int),
            supported("disable_artifact_inspection", Kind::Bool),
            supported("disable_filesystem_isolation", Kind::Bool),
            supported("filesystem_isolation_extra_paths", Kind::List),
            supported("set_environment_variables", Kind::Text),
        ],
    ),
    keys(
        "client.template",
        &[
            refused(
                "function_denylist",
                Kind::List,
                "which functions templates may not call is fixed: those that reach beyond the task",
            ),
            ignored("disable_file_sandbox", Kind::Bool, "templates never leave their allocation's directory"),
            ignored("max_stale", Kind::Duration, NOTHING_TO_ASK),
            ignored("block_query_wait", Kind::Duration, NOTHING_TO_ASK),
            ignored("vault_default_lease_duration", Kind::Duration, NOTHING_TO_ASK),
            ignored("use_client_consul_token", Kind::Bool, NOTHING_TO_ASK),
        ],
    ),
    Section { path: "client.template.wait", label: Label::None, contents: WAIT },
    Section { path: "client.template.wait_bounds", label: Label::None, contents: WAIT },
    Section {
        path: "client.template.consul_retry",
        label: Label::None,
        contents: Contents::Ignored(NOTHING_TO_ASK, RETRY),
    },
    Section {
        path: "client.template.vault_retry",
        label: Label::None,
        contents: Contents::Ignored(NOTHING_TO_ASK, RETRY),
    },
    Section {
        path: "client.template.nomad_retry",
        label: Label::None,
        contents: Contents::Ignored(NOTHING_TO_ASK, RETRY),
    },
];
