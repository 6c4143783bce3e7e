//! A fleet of simulated nodes: each registers, beats, obeys and reports like a client agent, but runs nothing.
//!
//! Commands come on standard input, one a line, and each is answered by one line of JSON:
//!
//! - `count`: how many nodes are connected and what they hold,
//! - `fail N`: N running allocations, spread over the nodes, end badly,
//! - `lose N`: N nodes fall silent; what they held goes on, as on a machine that is cut off,
//! - `return`: all of them come back.
//!
//! The fleet ends when its input does. `ulimit -n` must allow a connection per node.

#![allow(clippy::print_stdout, reason = "its answers go to standard output")]

mod holdings;
mod node;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use holdings::Shared;
use node::{Node, Order};

/// The options, `-name=value` each.
#[derive(Debug)]
struct Options {
    servers: Vec<String>,
    nodes: usize,
    cpu: u32,
    memory: u64,
}

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { servers: Vec::new(), nodes: 10, cpu: 100_000, memory: 1_000_000 };
        for arg in args {
            let (name, value) = arg.split_once('=').with_context(|| format!("{arg} is not -name=value"))?;
            match name {
                "-servers" => options.servers = value.split(',').map(str::to_owned).collect(),
                "-nodes" => options.nodes = value.parse().context("-nodes")?,
                "-cpu" => options.cpu = value.parse().context("-cpu")?,
                "-memory" => options.memory = value.parse().context("-memory")?,
                _ => bail!("{name} is none of -servers, -nodes, -cpu, -memory"),
            }
        }
        if options.servers.is_empty() {
            bail!("-servers=host:port,... is missing");
        }
        Ok(options)
    }
}

/// The nodes, as those who command them see them.
struct Fleet {
    orders: Vec<mpsc::Sender<Order>>,
    held: Vec<Arc<Shared>>,
    lost: Vec<usize>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut fleet = Fleet { orders: Vec::new(), held: Vec::new(), lost: Vec::new() };
    let mut running = JoinSet::new();
    for number in 0..options.nodes {
        let held = Arc::<Shared>::default();
        // An order waits until the node has done the one before.
        let (orders, receiver) = mpsc::channel(4);
        let id = Uuid::from_u128(0x0f1e_e700_0000_4000_8000_0000_0000_0000 + number as u128);
        let mut servers = options.servers.clone();
        servers.rotate_left(number % options.servers.len());
        let node = Node::new(id, number, servers, options.cpu, options.memory, Arc::clone(&held));
        running.spawn(node.run(receiver));
        fleet.orders.push(orders);
        fleet.held.push(held);
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = fleet.command(&line).await.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        println!("{answer}");
    }
    running.shutdown().await;
    Ok(())
}

impl Fleet {
    async fn command(&mut self, line: &str) -> Result<Value> {
        let mut words = line.split_whitespace();
        let command = words.next().unwrap_or_default();
        let number: usize = words.next().unwrap_or("0").parse().context("a number follows the command")?;
        match command {
            "count" => {}
            "fail" => self.fail(number).await?,
            "lose" => {
                let next = self.lost.last().map_or(0, |last| last + 1);
                for at in next..(next + number).min(self.orders.len()) {
                    self.order(at, Order::Vanish).await?;
                    self.lost.push(at);
                }
            }
            "return" => {
                for at in std::mem::take(&mut self.lost) {
                    self.order(at, Order::Return).await?;
                }
            }
            _ => bail!("{command} is none of count, fail, lose, return"),
        }
        Ok(self.count())
    }

    async fn order(&self, at: usize, order: Order) -> Result<()> {
        let node = self.orders.get(at).with_context(|| format!("there is no node {at}"))?;
        node.send(order).await.context("the node has ended")
    }

    /// Has `count` allocations fail, as evenly as nodes hold any.
    async fn fail(&self, count: usize) -> Result<()> {
        let nodes = self.orders.len();
        let share = count.div_ceil(nodes.max(1));
        let mut left = count;
        for at in 0..nodes {
            let now = share.min(left).min(self.held.get(at).map_or(0, |held| held.running()));
            if now > 0 {
                self.order(at, Order::Fail(now)).await?;
                left -= now;
            }
        }
        Ok(())
    }

    fn count(&self) -> Value {
        let mut jobs: BTreeMap<String, usize> = BTreeMap::new();
        let mut connected = 0;
        for held in &self.held {
            connected += usize::from(held.is_connected());
            held.count_into(&mut jobs);
        }
        json!({ "nodes": self.held.len(), "connected": connected, "running": jobs.values().sum::<usize>(), "jobs": jobs })
    }
}
