//! Writing dynamic host volumes and the claims on them.

use std::sync::Arc;

use orch_model::ids::VolumeClaimId;
use orch_model::node::NodeStatus;
use orch_model::seed::Seed;
use orch_model::volume::{VolumeAsk, VolumeClaim, VolumeState};
use orch_model::{Allocation, HostVolume, HostVolumeId, Node, NodeId};

use super::Tx;
use crate::digest::Record;
use crate::scope::{Scope, Table};
use crate::state::ClaimKey;

/// Where a claim stands.
pub(crate) fn claim_key(claim: &VolumeClaim) -> ClaimKey {
    (claim.job.clone(), claim.group.clone(), claim.index, claim.volume_name.clone())
}

impl Tx<'_> {
    /// Writes a volume; one that can be used from now on makes its node look new to what waits.
    pub(crate) fn put_volume(&mut self, mut volume: HostVolume) {
        volume.modify_index = self.index;
        volume.modify_time = self.now;
        match self.state.host_volumes.get(&volume.id) {
            Some(old) => {
                volume.create_index = old.create_index;
                volume.create_time = old.create_time;
            }
            None => {
                volume.create_index = self.index;
                volume.create_time = self.now;
            }
        }
        let node_bits = volume.node_id.as_uuid().as_u64_pair().1;
        let fields = [volume.state as u64, u64::from(volume.deleting), volume.create_index.0, node_bits];
        self.digest.id(Record::Volume, volume.id.as_uuid(), &fields);
        let volume = Arc::new(volume);
        if volume.state == VolumeState::Ready
            && let Some(node) = self.state.nodes.get(&volume.node_id).filter(|node| node.is_ready())
        {
            self.changes.freed.insert(node.id, node.computed_class);
        }
        self.state.usage.put_volume(&volume);
        self.state.host_volumes_by_node.entry(volume.node_id).or_default().insert(volume.id);
        self.state.host_volumes.insert(volume.id, Arc::clone(&volume));
        self.touch_volume(&volume);
    }

    /// Has a volume that was to be removed go on as its node says.
    pub(crate) fn revive_volume(&mut self, volume: &HostVolume) {
        let mut revived = HostVolume { deleting: false, ..volume.clone() };
        revived.state = state_on(self.state.nodes.get(&volume.node_id).map(|node| &**node), &revived);
        self.put_volume(revived);
    }

    /// Forgets a volume, with all claims on it.
    pub(crate) fn remove_volume(&mut self, id: &HostVolumeId) {
        let Some(volume) = self.state.host_volumes.remove(id) else { return };
        self.digest.id(Record::Gone, id.as_uuid(), &[]);
        self.state.usage.remove_volume(&volume);
        if let Some(ids) = self.state.host_volumes_by_node.get_mut(&volume.node_id) {
            ids.remove(id);
            if ids.is_empty() {
                self.state.host_volumes_by_node.remove(&volume.node_id);
            }
        }
        self.remove_claims(|claim| claim.volume_id == *id);
        self.touch_volume(&volume);
    }

    fn touch_volume(&mut self, volume: &HostVolume) {
        self.touch(Table::HostVolumes, Some(&volume.namespace));
        self.changes.scopes.insert(Scope::HostVolume(volume.id));
    }

    /// Has the volumes of a node follow what it says of itself; where it `is_new`, its row has yet to learn of them.
    pub(super) fn settle_volumes(&mut self, id: &NodeId, is_new: bool) {
        let volumes: Vec<_> = self.state.host_volumes_of_node(id).cloned().collect();
        let node = self.state.nodes.get(id).cloned();
        for volume in volumes {
            let state = state_on(node.as_deref(), &volume);
            if state != volume.state {
                self.put_volume(HostVolume { state, ..(*volume).clone() });
            } else if is_new {
                self.state.usage.put_volume(&volume);
            }
        }
    }

    /// Has a new allocation claim the volumes that its replacements are to find again.
    pub(crate) fn claim_volumes(&mut self, alloc: &Allocation, asks: &[VolumeAsk]) {
        for ask in asks.iter().filter(|ask| ask.sticky) {
            let row = self.state.usage.row(&alloc.node_id);
            let Some(volume) = row.and_then(|row| row.dynamic_volume(&ask.source)).cloned() else { continue };
            let key = (alloc.job_key(), alloc.group_name().to_owned(), alloc.index, ask.source.clone());
            let mut claim = match self.state.volume_claims.get(&key) {
                Some(claim) => (**claim).clone(),
                None => VolumeClaim {
                    id: claim_id(alloc, &volume),
                    job: key.0.clone(),
                    group: key.1.clone(),
                    index: alloc.index,
                    alloc_id: alloc.id,
                    volume_id: volume.id,
                    volume_name: ask.source.clone(),
                    create_index: self.index,
                    modify_index: self.index,
                },
            };
            claim.alloc_id = alloc.id;
            claim.modify_index = self.index;
            let bits = |id: uuid::Uuid| id.as_u64_pair().1;
            let fields = [bits(claim.alloc_id.as_uuid()), bits(claim.volume_id.as_uuid()), claim.create_index.0];
            self.digest.id(Record::Claim, claim.id.as_uuid(), &fields);
            self.touch(Table::VolumeClaims, Some(&key.0.namespace));
            self.state.volume_claims.insert(key, Arc::new(claim));
        }
    }

    /// Forgets the claims that `which` says.
    pub(crate) fn remove_claims(&mut self, which: impl Fn(&VolumeClaim) -> bool) {
        let gone: Vec<_> = self.state.volume_claims.values().filter(|claim| which(claim)).cloned().collect();
        for claim in gone {
            self.state.volume_claims.remove(&claim_key(&claim));
            self.digest.id(Record::Gone, claim.id.as_uuid(), &[]);
            self.touch(Table::VolumeClaims, Some(&claim.job.namespace));
        }
    }
}

/// The claim's id, the same on every server.
fn claim_id(alloc: &Allocation, volume: &HostVolume) -> VolumeClaimId {
    let (high, low) = volume.id.as_uuid().as_u64_pair();
    VolumeClaimId::from_uuid(Seed::of(alloc.id.as_uuid(), high ^ low).uuid())
}

/// How a volume stands by what its node says; `None` where the node is gone.
fn state_on(node: Option<&Node>, volume: &HostVolume) -> VolumeState {
    let in_contact = |node: &&Node| match node.status {
        NodeStatus::Ready | NodeStatus::Initializing => true,
        NodeStatus::Down | NodeStatus::Disconnected => false,
    };
    let listed = node.filter(in_contact).and_then(|node| node.described.host_volumes.get(&volume.name));
    if listed.is_some_and(|listed| listed.id == Some(volume.id)) && !volume.deleting {
        VolumeState::Ready
    } else if volume.state == VolumeState::Pending {
        VolumeState::Pending
    } else {
        VolumeState::Unavailable
    }
}
