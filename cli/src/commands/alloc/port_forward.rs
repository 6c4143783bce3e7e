//! `orch alloc port-forward`.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use orch_api::Client;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::target;
use crate::commands::{DONE, Outcome, short};
use crate::context::Context;
use crate::terminal;

/// How many connections of one port are open at a time; further ones wait.
const CONNECTIONS: usize = 256;

#[derive(Debug, clap::Args)]
pub(crate) struct PortForwardArgs {
    /// The allocation; with -job, the job
    allocation: String,
    /// A port here and one of the allocation by label or number, such as 8080:http; without the first, any that is free
    #[arg(required = true, value_name = "local:port")]
    ports: Vec<Mapping>,
    /// A task that must run for it
    #[arg(long, value_name = "task")]
    task: Option<String>,
    /// With -job: only allocations of this group
    #[arg(long, value_name = "group")]
    group: Option<String>,
    /// The argument is a job, of which one allocation is picked
    #[arg(long)]
    job: bool,
}

/// A port of this machine, 0 for any, and one of an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    local: u16,
    remote: String,
}

impl FromStr for Mapping {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (local, remote) = text.split_once(':').unwrap_or(("", text));
        if remote.is_empty() || remote.contains(':') {
            bail!("write a port here and one of the allocation, such as 8080:http");
        }
        let local = match local {
            "" => 0,
            local => local.parse().ok().with_context(|| format!("{local:?} is no port: use 1 to 65535"))?,
        };
        Ok(Self { local, remote: remote.to_owned() })
    }
}

/// What every connection through one of the ports needs.
struct Way {
    client: Client,
    alloc: String,
    task: String,
    port: String,
}

pub(crate) async fn run(context: &Context, args: PortForwardArgs) -> Outcome {
    let (context, alloc) = target::allocation(context, &args.allocation, args.job, args.group.as_deref()).await?;
    let task = args.task.as_deref().map(|task| target::task(&alloc, Some(task))).transpose()?.unwrap_or_default();
    let mut listeners = JoinSet::new();
    for Mapping { local, remote } in args.ports {
        let asked = SocketAddr::from((Ipv4Addr::LOCALHOST, local));
        let listener = TcpListener::bind(asked).await.with_context(|| format!("cannot listen at {asked}"))?;
        let addr = listener.local_addr().context("cannot tell where it listens")?;
        terminal::line(format!("Forwarding {addr} to port {remote:?} of allocation {:?}", short(&alloc.id)));
        let client = context.client.clone();
        listeners.spawn(serve(listener, Way { client, alloc: alloc.id.clone(), task: task.clone(), port: remote }));
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for signals")?,
        _ = terminate.recv() => {}
        Some(ended) = listeners.join_next() => ended.context("a listener ended by a fault")??,
    }
    Ok(DONE)
}

/// Passes connections on until accepting fails.
async fn serve(listener: TcpListener, way: Way) -> anyhow::Result<()> {
    let way = Arc::new(way);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let seat = Arc::clone(&room).acquire_owned().await.context("no more connections are taken")?;
        let (stream, _) = listener.accept().await.context("cannot accept a connection")?;
        let way = Arc::clone(&way);
        connections.spawn(async move {
            let _seat = seat;
            if let Err(error) = way.pass(stream).await {
                terminal::err(format!("port {:?}: {}", way.port, terminal::describe(&error)));
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Way {
    /// Passes one connection on until both of its ends have ended.
    async fn pass(&self, mut stream: TcpStream) -> anyhow::Result<()> {
        // A socket that refuses is served all the same.
        drop(stream.set_nodelay(true));
        let mut connection = self.client.connect_port(&self.alloc, &self.port, &self.task).await?;
        copy_bidirectional(&mut stream, &mut connection).await.context("the connection broke")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_a_port_here_and_a_label_or_number_there() {
        let mapping = |text: &str| text.parse::<Mapping>().map(|Mapping { local, remote }| (local, remote));
        assert_eq!(mapping("8080:http").unwrap(), (8080, "http".into()));
        assert_eq!(mapping("8080:80").unwrap(), (8080, "80".into()));
        assert_eq!(mapping(":http").unwrap(), (0, "http".into()));
        assert_eq!(mapping("http").unwrap(), (0, "http".into()));
        for bad in ["", ":", "8080:", "x:http", "99999:http", "1:2:3"] {
            assert!(mapping(bad).is_err(), "{bad}");
        }
    }
}
