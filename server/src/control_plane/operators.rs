//! What operators ask of the servers themselves: the brake, and servers to be known.

use bytes::Bytes;
use orch_api::operator::HeldNode;
use orch_api::{BrakeStatus, Time};
use orch_http::control::Joined;
use orch_http::{Body, Kind};
use orch_model::Nanos;
use orch_proto::v1::StatusReply;

use super::{Answer, Plane};
use crate::consensus::Consensus;
use crate::leader::brake::BrakeWish;
use crate::leader::detector::BrakeState;
use crate::leader::wall_clock;
use crate::membership;

/// The RPC port where an address names none.
const RPC_PORT: u16 = 4647;

/// The longest answer of another server that is read.
const ANSWER_BYTES: usize = 4 << 20;

impl Plane {
    /// Asks the leader about the brake, wherever it is.
    pub(super) async fn ask_brake(&self, wish: BrakeWish) -> Answer<BrakeStatus> {
        if self.leads() {
            let state = self.brake.ask(wish).await.ok_or_else(orch_http::Error::no_leader)?;
            return Ok(self.brake_status_of(state));
        }
        let (method, path) = match wish {
            BrakeWish::Status => ("GET", "/v1/operator/brake"),
            BrakeWish::Release => ("PUT", "/v1/operator/brake/release"),
        };
        let bytes = self.ask_leader(method, path).await?;
        serde_json::from_slice(&bytes).map_err(|error| orch_http::Error::internal(error.to_string()))
    }

    /// Whether this server leads, so that what only the leader does is done here.
    pub(super) fn leads(&self) -> bool {
        self.node.leadership().borrow().is_self
    }

    /// Has the leader answer a request without a body; for what only the leader does.
    pub(super) async fn ask_leader(&self, method: &str, path: &str) -> Answer<Bytes> {
        let leader = self.node.leadership().borrow().leader_addr.clone();
        let leader = leader.ok_or_else(orch_http::Error::no_leader)?;
        let internal = |error: &dyn std::fmt::Display| orch_http::Error::internal(error.to_string());
        let request = http::Request::builder().method(method).uri(path).header("host", leader.as_str());
        let request = request.body(Body::empty()).map_err(|error| internal(&error))?;
        let (head, body) = self.forward(&leader, request).await?.into_parts();
        let bytes = axum::body::to_bytes(body, ANSWER_BYTES).await.map_err(|error| internal(&error))?;
        if head.status.is_success() {
            return Ok(bytes);
        }
        Err(refusal(head.status, &bytes))
    }

    fn brake_status_of(&self, brake: BrakeState) -> BrakeStatus {
        let state = self.node.store().snapshot();
        let now = wall_clock();
        let held = brake.held.iter().map(|(id, waited)| HeldNode {
            id: id.to_string(),
            name: state.node(id).map(|node| node.described.name.to_string()).unwrap_or_default(),
            since: Time(now.plus(Nanos(-Nanos::from(*waited).0))),
        });
        BrakeStatus {
            tokens: brake.tokens,
            capacity: brake.capacity,
            refill_period: brake.refill.into(),
            hold: brake.hold.into(),
            held: held.collect(),
        }
    }

    /// Asks servers who they are; those of this region that belong together with this one are known from then on.
    pub(super) async fn join_servers(&self, addresses: Vec<String>) -> Joined {
        let addresses: Vec<_> = addresses.into_iter().map(with_port).collect();
        let questions = addresses.iter().map(|addr| membership::ask(&self.channels, addr));
        let answers = futures::future::join_all(questions).await;
        let mut joined = Joined::default();
        for (addr, answer) in addresses.into_iter().zip(answers) {
            match answer.and_then(|reply| self.may_know(&reply)) {
                Ok(()) => {
                    self.roster.ask_also(addr);
                    joined.joined += 1;
                }
                Err(reason) => joined.errors.push(format!("{addr}: {reason}")),
            }
        }
        joined
    }

    fn may_know(&self, reply: &StatusReply) -> Result<(), String> {
        if reply.region != self.config.region {
            return Err(format!("it is of region {:?}, this server of {:?}", reply.region, self.config.region));
        }
        let own = self.identity.cluster_id().map(|id| id.to_string()).unwrap_or_default();
        if own.is_empty() || own == reply.cluster_id {
            Ok(())
        } else if reply.cluster_id.is_empty() {
            Err("it belongs to no cluster yet: have it join this one, as `orch server join` on its side does".into())
        } else {
            Err(format!("it belongs to cluster {}, this server to {own}", reply.cluster_id))
        }
    }
}

/// A value as it stands in a query: whatever may mean something there is escaped.
pub(super) fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    value.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// An address with a port: the usual one where it names none.
fn with_port(addr: String) -> String {
    let has_port = addr
        .rsplit_once(':')
        .is_some_and(|(host, port)| port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')));
    match addr {
        addr if has_port => addr,
        addr if addr.contains(':') && !addr.starts_with('[') => format!("[{addr}]:{RPC_PORT}"),
        addr => format!("{addr}:{RPC_PORT}"),
    }
}

/// What another agent answered with that was not a success.
pub(super) fn refusal(status: http::StatusCode, body: &[u8]) -> orch_http::Error {
    let kind = match status.as_u16() {
        400 => Kind::Invalid,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        501 => Kind::NotImplemented,
        _ => Kind::Unavailable,
    };
    orch_http::Error::new(kind, String::from_utf8_lossy(body).trim())
}

#[cfg(test)]
mod tests {
    use super::{encoded, with_port};

    #[test]
    fn what_means_something_in_a_query_is_escaped() {
        assert_eq!(encoded("s-1.global"), "s-1.global");
        assert_eq!(encoded("a&b=c d/ü"), "a%26b%3Dc%20d%2F%C3%BC");
    }

    #[test]
    fn an_address_without_a_port_gets_the_usual_one() {
        for (given, full) in [
            ("10.0.0.1", "10.0.0.1:4647"),
            ("10.0.0.1:5000", "10.0.0.1:5000"),
            ("server.example", "server.example:4647"),
            ("fd00::1", "[fd00::1]:4647"),
            ("[fd00::1]", "[fd00::1]:4647"),
            ("[fd00::1]:5000", "[fd00::1]:5000"),
        ] {
            assert_eq!(with_port(given.into()), full);
        }
    }
}
