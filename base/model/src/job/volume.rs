//! Volumes that groups ask for and tasks mount.

use super::nullable::document;

document! {
    /// A volume that a group asks for.
    pub struct VolumeRequest {
        /// Its name within the group.
        pub name: String,
        /// `host` or `csi`.
        pub r#type: String,
        /// The volume's name on the node or its id.
        pub source: String,
        /// Whether it is only read.
        pub read_only: bool,
        /// Whether replacements get the same volume.
        pub sticky: bool,
        /// Who may use it at the same time.
        pub access_mode: String,
        /// `file-system` or `block-device`.
        pub attachment_mode: String,
        /// How it is mounted.
        pub mount_options: Option<CsiMountOptions>,
        /// Whether each allocation has its own, named by its index.
        pub per_alloc: bool,
    }

    /// Where a task sees a volume.
    pub struct VolumeMount {
        /// Name of the group's volume.
        pub volume: String,
        /// Path inside the task.
        pub destination: String,
        /// Whether it is only read.
        pub read_only: bool,
        /// `private`, `host-to-task` or `bidirectional`.
        pub propagation_mode: String,
        /// "", `z` or `Z`.
        #[serde(rename = "SELinuxLabel")]
        pub selinux_label: String,
    }

    /// How a CSI volume is mounted.
    pub struct CsiMountOptions {
        /// File system type.
        #[serde(rename = "FSType")]
        pub fs_type: String,
        /// Mount flags.
        pub mount_flags: Vec<String>,
    }
}
