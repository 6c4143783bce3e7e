//! Commands about the cluster as a whole.

use std::sync::Arc;

use orch_model::ids::ClusterId;
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::tx::Tx;

/// The first entry of a cluster: gives it its id. A second one changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormCluster {
    /// The new cluster's id.
    pub cluster_id: ClusterId,
    /// The version that every member runs at least.
    pub version: u16,
}

impl FormCluster {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let meta = Arc::make_mut(&mut tx.state.meta);
        match meta.cluster_id {
            None => {
                meta.cluster_id = Some(self.cluster_id);
                meta.version = meta.version.max(self.version);
                Reply::Done
            }
            Some(id) if id == self.cluster_id => Reply::Done,
            Some(id) => Reply::conflict(format!("the cluster was formed already, its id is {id}")),
        }
    }
}

/// Every member runs this version at least; it never falls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaiseVersion {
    /// The version.
    pub version: u16,
}

impl RaiseVersion {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let meta = Arc::make_mut(&mut tx.state.meta);
        meta.version = meta.version.max(self.version);
        Reply::Done
    }
}
