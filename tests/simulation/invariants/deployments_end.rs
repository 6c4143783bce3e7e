//! Every deployment has ended, and no job waits for one.

use orch_state::State;

pub(crate) fn check(state: &State) {
    for deployment in state.deployments() {
        let (id, key) = (deployment.id, deployment.job_key());
        assert!(!deployment.is_active(), "deployment {id} of {key} never ended: {deployment:#?}");
    }
    for row in state.jobs() {
        assert_eq!(row.active_deployment, None, "{} waits for a deployment", row.job.key());
    }
}
