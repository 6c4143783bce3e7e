//! Changing how the scheduler behaves.

use std::sync::Arc;

use orch_model::StateIndex;
use orch_model::operator::SchedulerConfig;
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::tx::Tx;

/// Change how the scheduler behaves, for the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSchedulerConfig {
    /// The new configuration; indexes in it are ignored.
    pub config: SchedulerConfig,
    /// Only if it was last written at this index.
    #[serde(default)]
    pub check_index: Option<StateIndex>,
}

impl SetSchedulerConfig {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let current = &tx.state.meta.scheduler;
        if let Some(wanted) = self.check_index
            && wanted != current.modify_index
        {
            return Reply::conflict(format!(
                "the scheduler configuration was last written at {}",
                current.modify_index
            ));
        }
        let create_index = if current.create_index == StateIndex(0) { tx.index } else { current.create_index };
        let meta = Arc::make_mut(&mut tx.state.meta);
        meta.scheduler = SchedulerConfig { create_index, modify_index: tx.index, ..self.config.clone() };
        tx.touch_scheduler_config();
        Reply::Done
    }
}
