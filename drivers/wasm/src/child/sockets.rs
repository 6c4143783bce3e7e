//! Which sockets a program may use, and whose addresses it may ask for.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::component::{HasData, Resource};
use wasmtime_wasi::p2::bindings::sockets::ip_name_lookup::{self, ResolveAddressStream};
use wasmtime_wasi::p2::bindings::sockets::network::{self, ErrorCode, IpAddress, Network};
use wasmtime_wasi::p2::{DynPollable, SocketError};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView};

use crate::hosts::HostPattern;

/// How long the addresses of a name are remembered.
const REMEMBERED: Duration = Duration::from_secs(30);
/// How many names that end in an allowed domain are remembered.
const MAX_NAMES: usize = 1024;

/// What is open to a program.
#[derive(Debug)]
pub(super) struct Reach {
    allowed: Vec<HostPattern>,
    ports: Vec<u16>,
    /// Names that the program asked for and may speak to.
    asked: Mutex<BTreeSet<String>>,
    known: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
}

impl Reach {
    pub(super) fn new(allowed: Vec<HostPattern>, ports: Vec<u16>) -> Self {
        Self { allowed, ports, asked: Mutex::default(), known: Mutex::default() }
    }

    /// Whether a server called `name` may be spoken to.
    pub(super) fn allows(&self, name: &str, port: u16) -> bool {
        self.allowed.iter().any(|pattern| pattern.allows(name, port))
    }

    /// Whether anybody may be spoken to.
    pub(super) fn is_open(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Whether a socket may be used so.
    pub(super) async fn allows_use(&self, address: SocketAddr, reason: SocketAddrUse) -> bool {
        let own = self.ports.contains(&address.port());
        match reason {
            SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => own || (address.port() == 0 && self.is_open()),
            SocketAddrUse::TcpListen => own,
            SocketAddrUse::TcpAccept => true,
            SocketAddrUse::UdpReceive => !self.ports.is_empty() || self.allows_address(address).await,
            SocketAddrUse::TcpConnect | SocketAddrUse::UdpSend => self.allows_address(address).await,
        }
    }

    /// Whether `address` is allowed as such, or is one of a name that is.
    async fn allows_address(&self, address: SocketAddr) -> bool {
        if self.allowed.iter().any(|pattern| pattern.allows_address(address)) {
            return true;
        }
        let asked: Vec<String> = self.asked.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let named = self.allowed.iter().filter_map(|pattern| pattern.name().map(str::to_owned));
        let names: BTreeSet<String> = named.chain(asked).filter(|name| self.allows(name, address.port())).collect();
        for name in names {
            if self.addresses(&name).await.contains(&address.ip().to_canonical()) {
                return true;
            }
        }
        false
    }

    async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some((at, addresses)) = known
            && at.elapsed() < REMEMBERED
        {
            return addresses;
        }
        let found = tokio::net::lookup_host((name, 0)).await;
        let addresses: Vec<IpAddr> =
            found.map(|found| found.map(|address| address.ip().to_canonical()).collect()).unwrap_or_default();
        let entry = (Instant::now(), addresses.clone());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), entry);
        addresses
    }

    fn may_look_up(&self, name: &str) -> bool {
        let allowed = self.allowed.iter().any(|pattern| pattern.allows_lookup(name));
        if allowed {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.len() < MAX_NAMES {
                asked.insert(name.to_ascii_lowercase());
            }
        }
        allowed
    }
}

/// Names in place of those of the host, so that a question for a name does not carry anything out.
pub(super) struct Lookup;

impl HasData for Lookup {
    type Data<'a> = LookupView<'a>;
}

pub(super) struct LookupView<'a> {
    pub(super) inner: WasiSocketsCtxView<'a>,
    pub(super) reach: &'a Reach,
}

impl network::Host for LookupView<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        self.inner.convert_error_code(error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.inner.network_error_code(error)
    }
}

impl network::HostNetwork for LookupView<'_> {
    fn drop(&mut self, network: Resource<Network>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.inner, network)
    }
}

impl ip_name_lookup::Host for LookupView<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        if !self.reach.may_look_up(&name) {
            return Err(ErrorCode::AccessDenied.into());
        }
        self.inner.resolve_addresses(network, name)
    }
}

impl ip_name_lookup::HostResolveAddressStream for LookupView<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        self.inner.resolve_next_address(stream)
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        ip_name_lookup::HostResolveAddressStream::subscribe(&mut self.inner, stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        ip_name_lookup::HostResolveAddressStream::drop(&mut self.inner, stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(allowed: &[&str], ports: &[u16]) -> Reach {
        Reach::new(allowed.iter().map(|text| text.parse().unwrap()).collect(), ports.to_vec())
    }

    #[tokio::test]
    async fn a_program_listens_on_its_own_ports_and_speaks_to_whom_it_may() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let closed = reach(&[], &[8080]);
        assert!(closed.allows_use(address("0.0.0.0:8080"), SocketAddrUse::TcpListen).await);
        for (text, reason) in [
            ("0.0.0.0:8081", SocketAddrUse::TcpBind),
            ("0.0.0.0:0", SocketAddrUse::TcpBind),
            ("0.0.0.0:50000", SocketAddrUse::TcpListen),
            ("127.0.0.1:80", SocketAddrUse::TcpConnect),
            ("127.0.0.1:53", SocketAddrUse::UdpSend),
        ] {
            assert!(!closed.allows_use(address(text), reason).await, "{text} {reason:?}");
        }
        let open = reach(&["10.0.0.0/8:80", "localhost:90"], &[]);
        assert!(open.allows_use(address("10.1.1.1:80"), SocketAddrUse::TcpConnect).await);
        assert!(open.allows_use(address("127.0.0.1:90"), SocketAddrUse::TcpConnect).await);
        assert!(!open.allows_use(address("127.0.0.1:91"), SocketAddrUse::TcpConnect).await);
        assert!(!open.allows_use(address("10.1.1.1:81"), SocketAddrUse::TcpConnect).await);
        assert!(open.may_look_up("LOCALHOST") && !open.may_look_up("data.in.a.name.example"));
    }
}
