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
