//! The agent that answers.

use http::StatusCode;
use orch_api::agent::JoinResponse;
use orch_api::{AgentHealth, AgentMembers, AgentSelf};

use crate::Response;
use crate::call::Call;
use crate::control::Joined;
use crate::error::{Error, Kind};

/// `/v1/agent/self`
pub(crate) async fn own(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let agent = &call.agent;
    let mut answer = AgentSelf { config: agent.info.config.clone(), ..AgentSelf::default() };
    if let Some(control) = &agent.control {
        answer.stats.extend(control.stats());
        let name = format!("{}.{}", agent.info.name, agent.info.region);
        let members = control.members().await?;
        answer.member = members.into_iter().find(|member| member.name == name).unwrap_or_default();
    }
    if let Some(local) = &agent.local {
        answer.stats.extend(local.stats());
    }
    call.answer(&answer)
}

/// `/v1/agent/members`
pub(crate) async fn members(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let info = &call.agent.info;
    call.answer(&AgentMembers {
        server_name: info.name.clone(),
        server_region: info.region.clone(),
        server_dc: info.datacenter.clone(),
        members: call.agent.control()?.members().await?,
    })
}

/// `/v1/agent/health`
pub(crate) async fn health(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let mut asked: Vec<&str> = call.params.all("type").collect();
    if asked.is_empty() {
        asked = vec!["client", "server"];
    }
    let mut health = AgentHealth::default();
    if let Some(local) = call.agent.local.as_ref().filter(|_| asked.contains(&"client")) {
        health.client = Some(local.health().await);
    }
    if let Some(control) = call.agent.control.as_ref().filter(|_| asked.contains(&"server")) {
        health.server = Some(control.health().await);
    }
    let well = [&health.client, &health.server].into_iter().flatten().all(|part| part.ok);
    let mut response = call.answer(&health)?;
    if !well {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    Ok(response)
}

/// `/v1/agent/servers`
pub(crate) async fn servers(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    match &call.agent.local {
        Some(local) => call.answer(&local.servers()),
        None => Err(Error::new(Kind::NotImplemented, "this agent is not a client")),
    }
}

/// `/v1/agent/force-leave`
pub(crate) async fn force_leave(call: Call) -> Result<Response, Error> {
    call.must_put()?;
    let name = match call.params.get("node") {
        "" => return Err(Error::invalid("missing node to force leave")),
        name => name,
    };
    let prune = call.params.find("prune").is_some_and(|value| value != "0" && value != "false");
    call.agent.control()?.force_leave(name, prune).await?;
    Ok(call.done())
}

/// `/v1/agent/join`
pub(crate) async fn join(call: Call) -> Result<Response, Error> {
    call.must_put()?;
    let addresses: Vec<String> =
        call.params.all("address").filter(|address| !address.is_empty()).map(str::to_owned).collect();
    if addresses.is_empty() {
        return Err(Error::invalid("missing address to join"));
    }
    let Some(control) = &call.agent.control else {
        return Err(Error::new(Kind::NotImplemented, "this agent is not a server"));
    };
    let Joined { joined, errors } = control.join(addresses).await?;
    call.answer(&JoinResponse { num_joined: joined, error: errors.join("; "), warning: String::new() })
}
