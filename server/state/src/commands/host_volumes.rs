//! Dynamic host volumes being made, taken over and removed.

use orch_model::ids::VolumeClaimId;
use orch_model::volume::VolumeState;
use orch_model::{HostVolume, HostVolumeId};
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::tx::Tx;

/// Write a volume: first as pending, so that nobody else takes its name, then as its node made it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PutHostVolume {
    /// The volume; indexes and times are set by the state.
    pub volume: HostVolume,
}

impl PutHostVolume {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let new = &self.volume;
        let Some(node) = tx.state.node(&new.node_id) else {
            return Reply::not_found(format!("there is no node {} to hold volume {:?}", new.node_id, new.name));
        };
        let listed = node.described.host_volumes.get(&new.name);
        if listed.is_some_and(|listed| listed.id.is_none()) {
            let node = node.described.name.clone();
            return Reply::conflict(format!("node {node:?} has a volume {:?} in its configuration", new.name));
        }
        let same_name = tx.state.host_volumes_of_node(&new.node_id).find(|volume| volume.name == new.name);
        if let Some(other) = same_name.filter(|other| other.id != new.id) {
            let message = format!("node {} has a volume {:?} already: {}", new.node_id, new.name, other.id);
            return Reply::conflict(message);
        }
        if let Some(old) = tx.state.host_volume(&new.id) {
            let is_same = (old.node_id, &old.name, &old.namespace, &old.plugin_id)
                == (new.node_id, &new.name, &new.namespace, &new.plugin_id);
            if !is_same {
                return Reply::conflict(format!(
                    "volume {} is {:?} of node {}: its name, namespace, plugin and node stay as they are",
                    old.id, old.name, old.node_id
                ));
            }
            if old.deleting {
                return Reply::conflict(format!("volume {} is being removed", old.id));
            }
            if new.state == VolumeState::Pending && old.state != VolumeState::Pending {
                // A request delivered again; the volume goes on as it is.
                return Reply::Done;
            }
        } else if new.state != VolumeState::Pending {
            return Reply::conflict(format!("volume {} was removed while it was made", new.id));
        }
        tx.put_volume(HostVolume { deleting: false, ..new.clone() });
        Reply::Done
    }
}

/// Remove a volume, in steps: nobody gets it any more, then its node removes the directory, then it is forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteHostVolume {
    /// Which.
    pub id: HostVolumeId,
    /// Which step.
    pub step: DeleteStep,
}

/// A step of removing a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeleteStep {
    /// Nobody gets it any more; refused while somebody has it.
    Begin {
        /// Whether claims on it do not count.
        force: bool,
    },
    /// It is forgotten, with the claims on it.
    Finish,
    /// It stays, because its node could not remove it.
    Abort,
}

impl DeleteHostVolume {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let Some(volume) = tx.state.host_volume(&self.id).cloned() else {
            return Reply::not_found(format!("volume {} not found", self.id));
        };
        match self.step {
            DeleteStep::Begin { force } => {
                if let Some(user) = tx.state.users_of_volume(&volume).next() {
                    return Reply::conflict(format!("volume {} is in use by allocation {}", self.id, user.id));
                }
                let claim = tx.state.volume_claims().find(|claim| claim.volume_id == self.id);
                if let Some(claim) = claim.filter(|_| !force) {
                    return Reply::conflict(format!(
                        "volume {} is claimed by group {:?} of job {}: delete the claim, or force",
                        self.id, claim.group, claim.job
                    ));
                }
                let state = VolumeState::Unavailable;
                tx.put_volume(HostVolume { deleting: true, state, ..(*volume).clone() });
            }
            DeleteStep::Finish if !volume.deleting && volume.state != VolumeState::Pending => {
                return Reply::conflict(format!("volume {} is not being removed", self.id));
            }
            DeleteStep::Finish => tx.remove_volume(&self.id),
            DeleteStep::Abort => tx.revive_volume(&volume),
        }
        Reply::Done
    }
}

/// Forget a claim, so that the instance may use another volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteVolumeClaim {
    /// Which.
    pub id: VolumeClaimId,
}

impl DeleteVolumeClaim {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if !tx.state.volume_claims().any(|claim| claim.id == self.id) {
            return Reply::not_found(format!("volume claim {} not found", self.id));
        }
        tx.remove_claims(|claim| claim.id == self.id);
        Reply::Done
    }
}
