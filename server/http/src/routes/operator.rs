//! What operators read and change: Raft's members, the scheduler's settings, the brake on the loss of nodes.

use orch_api::SchedulerConfiguration;
use orch_api::operator::{SchedulerConfigurationResponse, SchedulerSetResponse};
use orch_model::StateIndex;

use crate::Response;
use crate::call::{Call, Verb};
use crate::control::{LeadershipTarget, Scope, Table};
use crate::error::Error;
use crate::params;
use crate::query;

/// `/v1/operator/raft/configuration`
pub(crate) async fn raft_configuration(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let configuration = call.agent.control()?.raft_configuration(params::consistency(&call.params)?).await?;
    call.answer(&configuration)
}

/// `/v1/operator/raft/peer`
pub(crate) async fn raft_peer(call: Call) -> Result<Response, Error> {
    if call.verb != Verb::Delete {
        return Err(Error::method());
    }
    match call.params.get("id") {
        "" => Err(Error::invalid("Must specify ?id with the server's ID; see /v1/operator/raft/configuration")),
        id => {
            call.agent.control()?.remove_peer(id).await?;
            Ok(call.done())
        }
    }
}

/// `/v1/operator/raft/transfer-leadership`
pub(crate) async fn transfer_leadership(call: Call) -> Result<Response, Error> {
    call.must_put()?;
    let target = match (call.params.get("id"), call.params.get("address")) {
        ("", "") => LeadershipTarget::Any,
        (id, "") => LeadershipTarget::Id(id.to_owned()),
        ("", address) => LeadershipTarget::Address(address.to_owned()),
        (_, _) => return Err(Error::invalid("Must specify either ?id or ?address, not both")),
    };
    let transferred = call.agent.control()?.transfer_leadership(target).await?;
    call.answer(&transferred)
}

/// `/v1/operator/scheduler/configuration`
pub(crate) async fn scheduler_configuration(call: Call) -> Result<Response, Error> {
    match call.verb {
        Verb::Get => {
            query::enveloped(&call, &[Scope::Table(Table::SchedulerConfig)], |view, meta| {
                Ok(SchedulerConfigurationResponse {
                    scheduler_config: SchedulerConfiguration::of(&view.scheduler_config()),
                    index: meta.index.0,
                    last_contact: meta.last_contact_nanos(),
                    known_leader: meta.known_leader,
                    next_token: String::new(),
                })
            })
            .await
        }
        Verb::Put => set_scheduler_configuration(call).await,
        Verb::Delete => Err(Error::method()),
    }
}

async fn set_scheduler_configuration(mut call: Call) -> Result<Response, Error> {
    let wanted: SchedulerConfiguration = call.json().await?;
    let config = wanted.to_model().map_err(|error| Error::invalid(error.to_string()))?;
    let cas = call.params.number("cas")?.map(StateIndex);
    let written = call.agent.control()?.set_scheduler_config(config, cas).await?;
    call.written(&SchedulerSetResponse { updated: written.updated, index: written.index.0 }, written.index)
}

/// `/v1/operator/brake`
pub(crate) async fn brake(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let status = call.agent.control()?.brake_status().await?;
    call.answer(&status)
}

/// `/v1/operator/brake/release`
pub(crate) async fn release_brake(call: Call) -> Result<Response, Error> {
    call.must_put()?;
    let status = call.agent.control()?.brake_release().await?;
    call.answer(&status)
}
