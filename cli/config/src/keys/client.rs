//! Keys of the `client` block.

use super::{Contents, Kind, Label, Section, ignored, keys, moot, supported};

const BRIDGE: &str = "bridge and CNI networks are not built yet; jobs that ask for them are refused";
const VOLUME_PLUGINS: &str = "volume plugins of one's own are not built yet; there is mkdir";
const ISOLATION: &str = "isolated drivers are not built yet";
const KEEPS_TRYING: &str = "clients keep trying without limit";

pub(super) const SECTIONS: &[Section] = &[
    keys(
        "client",
        &[
            supported("enabled", Kind::Bool),
            supported("state_dir", Kind::Text),
            supported("alloc_dir", Kind::Text),
            ignored("alloc_mounts_dir", Kind::Text, ISOLATION),
            supported("host_volumes_dir", Kind::Text),
            ignored("host_volume_plugin_dir", Kind::Text, VOLUME_PLUGINS),
            ignored("common_plugin_dir", Kind::Text, "external plugins are not built yet"),
            supported("servers", Kind::List),
            supported("node_class", Kind::Text),
            supported("node_pool", Kind::Text),
            supported("options", Kind::Map),
            supported("meta", Kind::Map),
            supported("chroot_env", Kind::Map),
            supported("network_interface", Kind::Text),
            ignored("preferred_address_family", Kind::Text, "IPv4 addresses come first"),
            supported("network_speed", Kind::Int),
            supported("cpu_total_compute", Kind::Int),
            ignored("cpu_disable_dmidecode", Kind::Bool, "DMI tables are never read"),
            supported("memory_total_mb", Kind::Int),
            supported("disk_total_mb", Kind::Int),
            supported("disk_free_mb", Kind::Int),
            supported("reservable_cores", Kind::Text),
            supported("max_kill_timeout", Kind::Duration),
            ignored("client_min_port", Kind::Int, "there are no plugin processes that need ports"),
            ignored("client_max_port", Kind::Int, "there are no plugin processes that need ports"),
            supported("min_dynamic_port", Kind::Int),
            supported("max_dynamic_port", Kind::Int),
            supported("gc_interval", Kind::Duration),
            supported("gc_parallel_destroys", Kind::Int),
            supported("gc_disk_usage_threshold", Kind::Float),
            supported("gc_inode_usage_threshold", Kind::Float),
            supported("gc_max_allocs", Kind::Int),
            ignored(
                "gc_volumes_on_node_gc",
                Kind::Bool,
                "volumes of a node that is forgotten stay until they are deleted",
            ),
            moot("no_host_uuid", Kind::Bool),
            supported("disable_remote_exec", Kind::Bool),
            ignored("cni_path", Kind::Text, BRIDGE),
            ignored("cni_config_dir", Kind::Text, BRIDGE),
            ignored("bridge_network_name", Kind::Text, BRIDGE),
            ignored("bridge_network_subnet", Kind::Text, BRIDGE),
            ignored("bridge_network_subnet_ipv6", Kind::Text, BRIDGE),
            ignored("bridge_network_hairpin_mode", Kind::Bool, BRIDGE),
            ignored("bind_wildcard_default_host_network", Kind::Bool, BRIDGE),
            supported("cgroup_parent", Kind::Text),
            ignored("nomad_service_discovery", Kind::Bool, "services are not registered anywhere yet"),
            supported("node_max_allocs", Kind::Int),
            supported("default_ineligible", Kind::Bool),
            ignored("log_file", Kind::Text, "use log_file at the top level"),
            supported("offline_restart_delay", Kind::Duration),
        ],
    ),
    keys(
        "client.server_join",
        &[
            supported("start_join", Kind::List),
            supported("retry_join", Kind::List),
            ignored("retry_interval", Kind::Duration, KEEPS_TRYING),
            ignored("retry_max", Kind::Int, KEEPS_TRYING),
        ],
    ),
    keys(
        "client.reserved",
        &[
            supported("cpu", Kind::Int),
            supported("memory", Kind::Int),
            supported("disk", Kind::Int),
            supported("cores", Kind::Text),
            supported("reserved_ports", Kind::Text),
        ],
    ),
    Section {
        path: "client.host_network",
        label: Label::Name,
        contents: Contents::Keys(&[
            supported("cidr", Kind::Text),
            supported("interface", Kind::Text),
            supported("reserved_ports", Kind::Text),
        ]),
    },
    Section {
        path: "client.host_volume",
        label: Label::Name,
        contents: Contents::Keys(&[supported("path", Kind::Text), supported("read_only", Kind::Bool)]),
    },
];
