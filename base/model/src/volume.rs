//! Dynamic host volumes: directories that clients make, or take over, on request, and who uses them.
//!
//! The volumes that an agent's configuration names are part of the node's description; see
//! [`NodeVolume`](crate::node::NodeVolume).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{AllocId, HostVolumeId, JobKey, Namespace, NodeId, StateIndex, VolumeClaimId};
use crate::job::{Constraint, TaskGroup, VolumeRequest};
use crate::time::Timestamp;

/// A directory on one node that jobs ask for by name.
///
/// Its name is unique among the volumes of its node. What was asked for is written once, by whoever asked for it;
/// `state` follows the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostVolume {
    /// The volume's id.
    pub id: HostVolumeId,
    /// The name by which jobs ask for it.
    pub name: String,
    /// Jobs of this namespace can use it.
    pub namespace: Namespace,
    /// What makes and removes the directory.
    pub plugin_id: String,
    /// The pool that its node was taken from.
    pub node_pool: String,
    /// The node that it is on.
    pub node_id: NodeId,
    /// What the node had to satisfy.
    #[serde(default)]
    pub constraints: Vec<Constraint>,
    /// The ways in which it can be used; a request must name one of them exactly.
    pub capabilities: Vec<VolumeCapability>,
    /// The least size that was asked for, in bytes; 0 is any.
    #[serde(default)]
    pub capacity_min: u64,
    /// The largest size that was asked for, in bytes; 0 is any.
    #[serde(default)]
    pub capacity_max: u64,
    /// Its size as the client reported it, in bytes; 0 where it has no size of its own.
    #[serde(default)]
    pub capacity: u64,
    /// What the plugin was told.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The directory on the node.
    pub host_path: String,
    /// Whether it can be used now.
    pub state: VolumeState,
    /// Whether its node was asked to remove it.
    #[serde(default)]
    pub deleting: bool,
    /// When it was created.
    #[serde(default)]
    pub create_index: StateIndex,
    /// When anything about it last changed.
    #[serde(default)]
    pub modify_index: StateIndex,
    /// When it was created.
    #[serde(default)]
    pub create_time: Timestamp,
    /// When anything about it last changed.
    #[serde(default)]
    pub modify_time: Timestamp,
}

impl HostVolume {
    /// The plugin that every client has: it makes a directory of its own below the client's `host_volumes_dir`.
    pub const MKDIR: &'static str = "mkdir";

    /// The most bytes that a name may have.
    pub const MAX_NAME: usize = 128;

    /// Whether an allocation can use the volume in the way that it asks for, as far as the volume alone can say: who
    /// else uses it is not looked at.
    pub fn allows(&self, ask: &VolumeAsk) -> bool {
        self.state == VolumeState::Ready
            && self.namespace == ask.namespace
            && ask.claimed.is_none_or(|claimed| claimed == self.id)
            && self.capabilities.contains(&ask.capability)
            && ask.read_only == ask.capability.access.is_read_only()
    }
}

/// Whether a volume can be used now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeState {
    /// Its node has not said yet that it is there.
    Pending,
    /// It can.
    Ready,
    /// Its node is gone or no longer lists it.
    Unavailable,
}

impl VolumeState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Ready, Self::Unavailable];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for VolumeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A way in which a volume can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct VolumeCapability {
    /// Who may use it at the same time.
    pub access: AccessMode,
    /// As what it is seen.
    pub attachment: AttachmentMode,
}

/// Who may use a host volume at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessMode {
    /// Any number of allocations, none of which writes.
    SingleNodeReaderOnly,
    /// Any number of allocations, which may write.
    #[default]
    SingleNodeWriter,
    /// One allocation that writes.
    SingleNodeSingleWriter,
    /// Any number of allocations that write.
    SingleNodeMultiWriter,
}

/// As what a task sees a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentMode {
    /// As a directory.
    #[default]
    FileSystem,
    /// As a device.
    BlockDevice,
}

/// A word that is not one of those that are known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not one of {known}")]
pub struct UnknownMode {
    text: String,
    known: &'static str,
}

impl AccessMode {
    /// Every mode that a host volume can have.
    pub const ALL: [Self; 4] =
        [Self::SingleNodeReaderOnly, Self::SingleNodeWriter, Self::SingleNodeSingleWriter, Self::SingleNodeMultiWriter];

    /// The name in jobs and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleNodeReaderOnly => "single-node-reader-only",
            Self::SingleNodeWriter => "single-node-writer",
            Self::SingleNodeSingleWriter => "single-node-single-writer",
            Self::SingleNodeMultiWriter => "single-node-multi-writer",
        }
    }

    /// Whether it is for reading alone.
    pub const fn is_read_only(self) -> bool {
        match self {
            Self::SingleNodeReaderOnly => true,
            Self::SingleNodeWriter | Self::SingleNodeSingleWriter | Self::SingleNodeMultiWriter => false,
        }
    }
}

impl FromStr for AccessMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let known = "single-node-reader-only, single-node-writer, single-node-single-writer, single-node-multi-writer";
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| UnknownMode { text: text.to_owned(), known })
    }
}

impl AttachmentMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::FileSystem, Self::BlockDevice];

    /// The name in jobs and in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FileSystem => "file-system",
            Self::BlockDevice => "block-device",
        }
    }
}

impl FromStr for AttachmentMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == text);
        found.ok_or_else(|| UnknownMode { text: text.to_owned(), known: "file-system, block-device" })
    }
}

/// A host volume that an allocation asks its node for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeAsk {
    /// The namespace of the job.
    pub namespace: Namespace,
    /// The volume's name on the node.
    pub source: String,
    /// Whether it is only read.
    pub read_only: bool,
    /// How it is used, where it is a dynamic volume.
    pub capability: VolumeCapability,
    /// Whether replacements get the same volume.
    pub sticky: bool,
    /// The one volume that it must be, where the instance has a claim on it.
    pub claimed: Option<HostVolumeId>,
}

impl VolumeAsk {
    /// Whether the allocation writes and nobody else may.
    pub fn is_single_writer(&self) -> bool {
        self.capability.access == AccessMode::SingleNodeSingleWriter && !self.read_only
    }

    fn of(request: &VolumeRequest, namespace: &Namespace, index: u32) -> Option<Self> {
        if request.r#type != "host" {
            return None;
        }
        // Admission has refused words that are not known.
        let access = request.access_mode.parse().unwrap_or_else(|_| VolumeRequest::default_access(request.read_only));
        let attachment = request.attachment_mode.parse().unwrap_or_default();
        Some(Self {
            namespace: namespace.clone(),
            source: request.source_for(index),
            read_only: request.read_only,
            capability: VolumeCapability { access, attachment },
            sticky: request.sticky,
            claimed: None,
        })
    }
}

impl VolumeRequest {
    /// The mode that a host volume has where a job names none.
    pub const fn default_access(read_only: bool) -> AccessMode {
        if read_only { AccessMode::SingleNodeReaderOnly } else { AccessMode::SingleNodeWriter }
    }

    /// The volume that instance `index` of the group uses: with `per_alloc` its own, `<source>[<index>]`.
    pub fn source_for(&self, index: u32) -> String {
        if self.per_alloc { format!("{}[{index}]", self.source) } else { self.source.clone() }
    }
}

impl TaskGroup {
    /// The host volumes that instance `index` of this group, of a job in `namespace`, asks its node for, in the order
    /// of their names in the group; claims are not known here.
    pub fn host_volumes<'a>(&'a self, namespace: &'a Namespace, index: u32) -> impl Iterator<Item = VolumeAsk> + 'a {
        self.volumes.values().filter_map(move |request| VolumeAsk::of(request, namespace, index))
    }

    /// Whether each instance asks for volumes of its own.
    pub fn has_own_volumes(&self) -> bool {
        self.volumes.values().any(|volume| volume.r#type == "host" && (volume.per_alloc || volume.sticky))
    }
}

/// That an instance of a group is to find the volume again which it had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeClaim {
    /// The claim's id.
    pub id: VolumeClaimId,
    /// The job.
    pub job: JobKey,
    /// The group.
    pub group: String,
    /// The instance of the group.
    pub index: u32,
    /// The allocation that has it, or had it last.
    pub alloc_id: AllocId,
    /// The volume.
    pub volume_id: HostVolumeId,
    /// The volume's name.
    pub volume_name: String,
    /// When it was made.
    #[serde(default)]
    pub create_index: StateIndex,
    /// When it last went over to another allocation.
    #[serde(default)]
    pub modify_index: StateIndex,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(read_only: bool, access_mode: &str) -> VolumeRequest {
        VolumeRequest {
            r#type: "host".into(),
            source: "data".into(),
            read_only,
            access_mode: access_mode.into(),
            ..VolumeRequest::default()
        }
    }

    #[test]
    fn each_instance_names_its_own_volume_where_the_group_wants_that() {
        let mut group = TaskGroup::default();
        group.volumes.insert("own".into(), VolumeRequest { per_alloc: true, ..request(false, "") });
        group.volumes.insert("shared".into(), request(true, ""));
        group.volumes.insert("remote".into(), VolumeRequest { r#type: "csi".into(), ..request(true, "") });
        let names: Vec<_> =
            group.host_volumes(&Namespace::default(), 7).map(|ask| (ask.source, ask.capability.access)).collect();
        let expected = [
            ("data[7]".to_owned(), AccessMode::SingleNodeWriter),
            ("data".to_owned(), AccessMode::SingleNodeReaderOnly),
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_volume_is_for_who_asks_in_a_way_that_it_offers() {
        let volume = |access| HostVolume {
            capabilities: vec![VolumeCapability { access, attachment: AttachmentMode::FileSystem }],
            ..crate::testing::host_volume(1, "data")
        };
        let default = Namespace::from(Namespace::DEFAULT);
        let asks =
            |read_only, mode: AccessMode| VolumeAsk::of(&request(read_only, mode.as_str()), &default, 0).unwrap();
        for offered in AccessMode::ALL {
            for asked in AccessMode::ALL {
                for read_only in [false, true] {
                    let fits = offered == asked && read_only == (asked == AccessMode::SingleNodeReaderOnly);
                    let allows = volume(offered).allows(&asks(read_only, asked));
                    assert_eq!(allows, fits, "{offered:?} for {asked:?}, read only {read_only}");
                }
            }
        }
        let ask = asks(false, AccessMode::SingleNodeWriter);
        let ready = volume(AccessMode::SingleNodeWriter);
        assert!(!ready.allows(&VolumeAsk { namespace: "other".into(), ..ask.clone() }));
        assert!(ready.allows(&VolumeAsk { claimed: Some(ready.id), ..ask.clone() }));
        assert!(!ready.allows(&VolumeAsk { claimed: Some(HostVolumeId::default()), ..ask.clone() }));
        for state in [VolumeState::Pending, VolumeState::Unavailable] {
            assert!(!HostVolume { state, ..ready.clone() }.allows(&ask), "{state}");
        }
        assert!("single-node".parse::<AccessMode>().is_err());
    }
}
