//! openraft's own checks of a storage, run against ours.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use orch_wal::{Log, Options, RealDisk};
use tempfile::TempDir;

use super::log_store::LogStore;
use super::snapshots::Snapshots;
use super::state_machine::StateMachine;
use super::types::TypeConfig;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(RealDisk::open(dir.path().join("raft")).unwrap());
        let (log, _) = Log::open(disk, Options::small()).unwrap();
        let snapshots = Snapshots::open(dir.path().join("snapshots")).unwrap();
        let (machine, _) = StateMachine::open(snapshots).unwrap();
        Ok((dir, LogStore::new(log), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_and_state_machine_pass_the_storage_suite() {
    Suite::test_all(Builder).await.unwrap();
}
