//! The servers as such: leader, peers, regions, and collecting what has ended.

use crate::Response;
use crate::call::Call;
use crate::control::Consistency;
use crate::error::Error;

/// `/v1/status/leader`, which is empty while there is none.
pub(crate) async fn leader(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let leader = call.agent.control()?.leader().await.unwrap_or_default();
    call.answer(&leader)
}

/// `/v1/status/peers`
pub(crate) async fn peers(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let peers = call.agent.control()?.peers().await?;
    call.answer(&peers)
}

/// `/v1/regions`
pub(crate) async fn regions(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    call.answer(&[&call.agent.info.region])
}

/// `/v1/system/gc`
pub(crate) async fn gc(call: Call) -> Result<Response, Error> {
    call.must_put()?;
    call.agent.control()?.system_gc().await?;
    Ok(call.done())
}

/// `/v1/system/reconcile/summaries`
///
/// There is nothing to repair: the entry that changes an allocation changes the summary of its job. It answers once this
/// server shows every write that was acknowledged before, so that what it shows next is reconciled.
pub(crate) async fn reconcile_summaries(call: Call) -> Result<Response, Error> {
    call.must_put()?;
    call.agent.control()?.view(Consistency::Linearizable).await?;
    Ok(call.done())
}
