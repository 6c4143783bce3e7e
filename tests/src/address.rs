//! Loopback addresses that no other test uses at the same time.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

/// The addresses `127.a.b.1` to `127.a.b.254` of this process.
struct Block {
    a: u8,
    b: u8,
    next: AtomicU8,
    /// Holding its first address tells other processes that the block is taken.
    _claim: TcpListener,
}

/// The port whose use on the first address of a block claims the block.
const CLAIM_PORT: u16 = 4600;

static BLOCK: OnceLock<Block> = OnceLock::new();

/// An address that nobody else has: not this process before, nor any other test process that runs.
///
/// # Panics
///
/// After 250 addresses, or when no block is free.
pub fn claim() -> Ipv4Addr {
    let block = BLOCK.get_or_init(claim_block);
    let host = block.next.fetch_add(1, Ordering::Relaxed);
    assert!(host < 252, "this process has used up its loopback addresses");
    Ipv4Addr::new(127, block.a, block.b, host)
}

fn claim_block() -> Block {
    let start = std::process::id() % 50_000;
    let blocks = (start..50_000).chain(0..start);
    let split = |n: u32| Some((u8::try_from(40 + n / 250).ok()?, u8::try_from(1 + n % 250).ok()?));
    blocks
        .filter_map(split)
        .find_map(|(a, b)| {
            let _claim = TcpListener::bind((Ipv4Addr::new(127, a, b, 1), CLAIM_PORT)).ok()?;
            Some(Block { a, b, next: AtomicU8::new(2), _claim })
        })
        .expect("a block of loopback addresses is free")
}
