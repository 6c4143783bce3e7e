//! The bounds on what a request may ask for, in one table.

use std::time::Duration;

/// Bytes of a request's body that is read as JSON.
pub(crate) const BODY_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a request's query.
pub(crate) const QUERY_BYTES: usize = 64 * 1024;
/// Bytes from which on an answer is compressed.
pub(crate) const GZIP_BYTES: usize = 1024;
/// Bytes from which on that is done on a thread that may block.
pub(crate) const GZIP_BLOCKING_BYTES: usize = 64 * 1024;
/// How long a read without `wait` waits.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(300);
/// The longest that a read may ask to wait.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);
/// A wait is lengthened by up to this part of itself, so that waiters do not all return at once.
pub(crate) const WAIT_JITTER_PART: u32 = 16;
/// Bytes of a filter expression.
pub(crate) const FILTER_BYTES: usize = 8 * 1024;
/// How deep a filter expression may nest.
pub(crate) const FILTER_DEPTH: usize = 32;
/// Bytes of memory that one regular expression of a filter may compile to.
pub(crate) const FILTER_REGEX_BYTES: usize = 256 * 1024;
/// Matches that a search answers with, per context.
pub(crate) const SEARCH_MATCHES: usize = 20;
/// The silence after which a stream of frames gives a sign of life.
pub(crate) const FRAME_HEARTBEAT: Duration = Duration::from_secs(1);
/// Reads that may wait for something newer at the same time; further ones are told to come back later.
pub(crate) const WAITING_READS: usize = 20_000;
/// Commands inside tasks of this machine that run at the same time.
pub(crate) const COMMANDS: usize = 256;
/// Connections to ports of allocations of this machine that are open at the same time.
pub(crate) const PORT_CONNECTIONS: usize = 4096;
/// Upgraded connections that are passed on to other agents at the same time.
pub(crate) const PASSED_ON: usize = 8192;
/// How long a command inside a task may take to start, and a port to accept a connection.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(30);
/// The silence after which the websocket of a command gives a sign of life.
pub(crate) const EXEC_HEARTBEAT: Duration = Duration::from_secs(10);
/// The silence after which whoever runs a command is taken to be gone.
pub(crate) const PEER_SILENCE: Duration = Duration::from_secs(60);
/// How long the outputs of a command that has ended may be silent before they are left.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// How long the other side of a websocket may take to read its end.
pub(crate) const CLOSE_WITHIN: Duration = Duration::from_secs(5);
